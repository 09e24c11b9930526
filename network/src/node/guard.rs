//! Turns connections away before they cost anything: addresses that have or make too many, and peers that are banned.
//!
//! It stands before the other behaviours, some of which keep state for a connection from the moment they are asked about it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use libp2p::PeerId;
use libp2p::core::transport::PortUse;
use libp2p::core::{Endpoint, Multiaddr};
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished, ListenFailure};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm, dummy,
};

use super::shared::Shared;
use crate::doors::{Doors, counted};

/// Addresses tried for one peer: a stranger may tell us any number, and each is a packet to somebody.
const MAX_DIALED: usize = 32;

/// The peer is banned: by [`crate::Network::ban`], or for what it did.
#[derive(Debug, thiserror::Error)]
#[error("this peer is banned for a while")]
struct Banned;

/// More addresses than are tried.
#[derive(Debug, thiserror::Error)]
#[error("{count} addresses to dial: at most {MAX_DIALED} are tried")]
struct TooManyAddresses {
    count: usize,
}

/// The behaviour.
pub(crate) struct Behaviour {
    shared: Arc<Shared>,
    doors: Doors,
    /// Connections that are counted. Bounded as connections are.
    entered: HashMap<ConnectionId, Entered>,
}

/// A counted connection.
struct Entered {
    /// For whom it counts.
    address: IpAddr,
    /// It is not being made any more.
    made: bool,
}

impl Behaviour {
    pub(crate) fn new(shared: Arc<Shared>, doors: Doors) -> Self {
        Self { shared, doors, entered: HashMap::new() }
    }

    fn admit(&self, peer: &PeerId) -> Result<dummy::ConnectionHandler, ConnectionDenied> {
        match self.shared.is_banned(peer) {
            true => Err(ConnectionDenied::new(Banned)),
            false => Ok(dummy::ConnectionHandler),
        }
    }

    fn leave(&mut self, connection: ConnectionId) {
        if let Some(Entered { address, made }) = self.entered.remove(&connection) {
            self.doors.leave(&address, made);
        }
    }

    fn made(&mut self, connection: ConnectionId) {
        if let Some(entered) = self.entered.get_mut(&connection) {
            entered.made = true;
            self.doors.made(&entered.address);
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let Some(address) = counted(remote) else { return Ok(()) };
        self.doors.enter(address, Instant::now()).map_err(ConnectionDenied::new)?;
        self.entered.insert(connection, Entered { address, made: false });
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.admit(&peer)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: Option<PeerId>,
        addresses: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        let count = addresses.len();
        if count > MAX_DIALED {
            return Err(ConnectionDenied::new(TooManyAddresses { count }));
        }
        Ok(Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.admit(&peer)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { connection_id, .. }) => {
                self.made(connection_id);
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. })
            | FromSwarm::ListenFailure(ListenFailure { connection_id, .. }) => self.leave(connection_id),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::NetworkConfig;

    #[test]
    fn a_peer_with_more_addresses_than_are_tried_is_not_dialed() {
        let config = NetworkConfig::loopback();
        let mut guard = Behaviour::new(Arc::new(Shared::new(&config)), Doors::new(config.limits));
        let mut dial = |count: usize| {
            let addresses: Vec<Multiaddr> = (0..count)
                .map(|port| format!("/ip4/192.0.2.1/tcp/{port}").parse().expect("an address"))
                .collect();
            let connection = ConnectionId::new_unchecked(1);
            guard.handle_pending_outbound_connection(connection, None, &addresses, Endpoint::Dialer).is_ok()
        };
        assert!(dial(MAX_DIALED));
        assert!(!dial(MAX_DIALED + 1));
    }
}
