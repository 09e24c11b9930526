//! A behaviour of the library within a bound that it does not keep by itself.

use std::task::{Context, Poll, ready};

use libp2p::PeerId;
use libp2p::core::transport::PortUse;
use libp2p::core::{Endpoint, Multiaddr};
use libp2p::swarm::behaviour::DialFailure;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, DialError, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};

/// What a behaviour may hear of and do.
pub(crate) trait Bound {
    /// Whether the behaviour hears of it.
    fn may_hear(&mut self, event: &FromSwarm<'_>) -> bool;

    /// Whether the behaviour may dial now; it is told that nobody was reached otherwise.
    fn may_dial(&mut self, dial: &DialOpts) -> bool;
}

/// A behaviour, and its bound.
pub(crate) struct Bounded<B, L> {
    inner: B,
    bound: L,
}

impl<B, L> Bounded<B, L> {
    pub(super) fn new(inner: B, bound: L) -> Self {
        Self { inner, bound }
    }
}

impl<B: NetworkBehaviour, L: Bound + 'static> NetworkBehaviour for Bounded<B, L> {
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
        if self.bound.may_hear(&event) {
            self.inner.on_swarm_event(event);
        }
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
            if self.bound.may_dial(opts) {
                return Poll::Ready(action);
            }
            let (connection_id, peer_id) = (opts.connection_id(), opts.get_peer_id());
            let failure = DialFailure { peer_id, error: &DialError::Aborted, connection_id };
            self.inner.on_swarm_event(FromSwarm::DialFailure(failure));
        }
    }
}
