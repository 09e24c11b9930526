//! Calling peers back on their request, so that they learn whether they can be dialed: a bounded number at a time.
//!
//! Whoever is connected may ask for it again and again, and says where; each call is a socket here and a packet to somebody.

use std::collections::HashMap;
use std::task::{Context, Poll, ready};

use libp2p::PeerId;
use libp2p::core::transport::PortUse;
use libp2p::core::{Endpoint, Multiaddr};
use libp2p::swarm::behaviour::{ConnectionEstablished, DialFailure};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, DialError, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};

/// Calls under way.
const MAX_CALLS: usize = 64;
/// Of these, for one peer: it tries one address after the other.
const MAX_CALLS_OF_ONE: usize = 2;

/// A behaviour whose dials are such calls.
pub(crate) struct CallBacks<B> {
    inner: B,
    under_way: HashMap<ConnectionId, Option<PeerId>>,
}

impl<B> CallBacks<B> {
    pub(super) fn new(inner: B) -> Self {
        Self { inner, under_way: HashMap::new() }
    }

    fn has_room(&self, peer: Option<PeerId>) -> bool {
        let of_one = self.under_way.values().filter(|called| **called == peer).count();
        self.under_way.len() < MAX_CALLS && of_one < MAX_CALLS_OF_ONE
    }
}

impl<B: NetworkBehaviour> NetworkBehaviour for CallBacks<B> {
    type ConnectionHandler = B::ConnectionHandler;
    type ToSwarm = B::ToSwarm;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.inner.handle_pending_inbound_connection(connection, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.inner.handle_pending_outbound_connection(connection, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_outbound_connection(connection, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::ConnectionEstablished(ConnectionEstablished { connection_id, .. })
        | FromSwarm::DialFailure(DialFailure { connection_id, .. }) = &event
        {
            self.under_way.remove(connection_id);
        }
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.inner.on_connection_handler_event(peer, connection, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        loop {
            let action = ready!(self.inner.poll(cx));
            let ToSwarm::Dial { opts } = &action else { return Poll::Ready(action) };
            let (connection_id, peer_id) = (opts.connection_id(), opts.get_peer_id());
            if self.has_room(peer_id) {
                self.under_way.insert(connection_id, peer_id);
                return Poll::Ready(action);
            }
            // Who asked hears that it could not be dialed.
            let failure = DialFailure { peer_id, error: &DialError::Aborted, connection_id };
            self.inner.on_swarm_event(FromSwarm::DialFailure(failure));
        }
    }
}
