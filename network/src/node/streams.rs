//! Streams of our protocols as a libp2p behaviour: inbound ones go into one bounded queue, outbound ones are opened on a
//! chosen connection or after dialing.
//!
//! `libp2p-stream` has the same shape, but holds one inbound stream per protocol at a time and drops the others of a burst,
//! keeps a channel for every connection it ever had, and cannot open a stream on a given connection, which jobs need.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p::core::{Endpoint, Multiaddr};
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished, DialFailure};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound, SubstreamProtocol,
};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, DialError, FromSwarm,
    NetworkBehaviour, NotifyHandler, StreamUpgradeError, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm,
};
use libp2p::{PeerId, Stream, StreamProtocol};
use tokio::sync::{mpsc, oneshot};

use super::dial;
use super::shared::Shared;

/// Requests that wait for one peer to be dialed, and for one connection to negotiate.
const MAX_WAITING: usize = 256;

/// An inbound stream and where it came from.
#[derive(Debug)]
pub(crate) struct InboundStream {
    pub(crate) peer: PeerId,
    pub(crate) connection: ConnectionId,
    pub(crate) protocol: StreamProtocol,
    pub(crate) stream: Stream,
}

/// A stream that somebody waits for.
#[derive(Debug)]
pub(crate) struct OpenStream {
    pub(crate) protocol: StreamProtocol,
    pub(crate) timeout: Duration,
    pub(crate) reply: oneshot::Sender<Result<(ConnectionId, Stream), OpenError>>,
}

/// Why a stream was not opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OpenError {
    NoAddress,
    Unreachable { reason: String, answered_by: Option<Box<PeerId>> },
    Unsupported,
    TimedOut,
    TooMany,
}

impl OpenError {
    fn unreachable(reason: &str) -> Self {
        Self::Unreachable { reason: reason.to_owned(), answered_by: None }
    }
}

impl OpenStream {
    fn fail(self, error: OpenError) {
        // Whoever asked may have given up.
        let _ = self.reply.send(Err(error));
    }
}

/// An open connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Connection {
    id: ConnectionId,
    relayed: bool,
}

/// The newest direct connection, or the newest through a relay.
fn preferred(open: &[Connection]) -> Option<ConnectionId> {
    let direct = open.iter().rev().find(|open| !open.relayed);
    direct.or(open.last()).map(|open| open.id)
}

/// Requests for a peer that is being dialed.
struct Waiting {
    dial: ConnectionId,
    requests: Vec<OpenStream>,
}

/// The behaviour.
pub(crate) struct Behaviour {
    shared: Arc<Shared>,
    inbound: mpsc::Sender<InboundStream>,
    connections: HashMap<PeerId, Vec<Connection>>,
    waiting: HashMap<PeerId, Waiting>,
    actions: VecDeque<ToSwarm<Infallible, OpenStream>>,
    waker: Option<Waker>,
}

impl Behaviour {
    pub(crate) fn new(shared: Arc<Shared>, inbound: mpsc::Sender<InboundStream>) -> Self {
        Self {
            shared,
            inbound,
            connections: HashMap::new(),
            waiting: HashMap::new(),
            actions: VecDeque::new(),
            waker: None,
        }
    }

    /// Opens a stream on the given connection, else on any connection, else after dialing.
    pub(crate) fn open(&mut self, peer: PeerId, connection: Option<ConnectionId>, request: OpenStream) {
        let open = self.connections.get(&peer).map_or(&[][..], Vec::as_slice);
        match connection {
            Some(wanted) if open.iter().any(|open| open.id == wanted) => self.notify(peer, wanted, request),
            Some(_) => request.fail(OpenError::unreachable("the connection has ended")),
            None => match preferred(open) {
                Some(connection) => self.notify(peer, connection, request),
                None => self.dial(peer, request),
            },
        }
        self.waker.take().inspect(Waker::wake_by_ref);
    }

    fn dial(&mut self, peer: PeerId, request: OpenStream) {
        if let Some(waiting) = self.waiting.get_mut(&peer) {
            match waiting.requests.len() < MAX_WAITING {
                true => waiting.requests.push(request),
                false => request.fail(OpenError::TooMany),
            }
            return;
        }
        let addresses = self.shared.addresses(&peer);
        if addresses.is_empty() {
            return request.fail(OpenError::NoAddress);
        }
        let opts =
            DialOpts::peer_id(peer).addresses(addresses).condition(PeerCondition::Disconnected).build();
        let dial = opts.connection_id();
        self.waiting.insert(peer, Waiting { dial, requests: vec![request] });
        self.actions.push_back(ToSwarm::Dial { opts });
    }

    fn notify(&mut self, peer_id: PeerId, connection: ConnectionId, event: OpenStream) {
        let handler = NotifyHandler::One(connection);
        self.actions.push_back(ToSwarm::NotifyHandler { peer_id, handler, event });
    }

    /// Others dial too, with addresses of their own: only the end of our dial is the end for who waits for it.
    fn on_dial_failure(&mut self, peer: &PeerId, dial: ConnectionId, error: &DialError) {
        if self.waiting.get(peer).is_none_or(|waiting| waiting.dial != dial) {
            return;
        }
        let Some(waiting) = self.waiting.remove(peer) else { return };
        let error =
            OpenError::Unreachable { reason: dial::reason(error), answered_by: dial::answered_by(error) };
        for request in waiting.requests {
            request.fail(error.clone());
        }
    }

    fn handler(&self, peer: PeerId, connection: ConnectionId) -> Result<Handler, ConnectionDenied> {
        Ok(Handler {
            peer,
            connection,
            shared: self.shared.clone(),
            inbound: self.inbound.clone(),
            requests: VecDeque::new(),
        })
    }

    fn on_established(&mut self, peer: PeerId, id: ConnectionId, relayed: bool) {
        self.connections.entry(peer).or_default().push(Connection { id, relayed });
        let waiting = self.waiting.remove(&peer).map(|waiting| waiting.requests);
        for request in waiting.into_iter().flatten() {
            self.notify(peer, id, request);
        }
    }

    fn on_closed(&mut self, peer: PeerId, connection: ConnectionId) {
        if let Some(connections) = self.connections.get_mut(&peer) {
            connections.retain(|open| open.id != connection);
            if connections.is_empty() {
                self.connections.remove(&peer);
            }
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.handler(peer, connection)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.handler(peer, connection)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            }) => self.on_established(peer_id, connection_id, endpoint.is_relayed()),
            FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, connection_id, .. }) => {
                self.on_closed(peer_id, connection_id);
            }
            FromSwarm::DialFailure(DialFailure { peer_id: Some(peer), error, connection_id }) => {
                self.on_dial_failure(&peer, connection_id, error);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some(action) = self.actions.pop_front() {
            return Poll::Ready(action);
        }
        self.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

/// One connection's part of the behaviour.
pub(crate) struct Handler {
    peer: PeerId,
    connection: ConnectionId,
    shared: Arc<Shared>,
    inbound: mpsc::Sender<InboundStream>,
    requests: VecDeque<OpenStream>,
}

impl Handler {
    fn on_inbound(&self, stream: Stream, protocol: StreamProtocol) {
        let (peer, connection) = (self.peer, self.connection);
        if self.inbound.try_send(InboundStream { peer, connection, protocol, stream }).is_err() {
            tracing::debug!(%peer, "dropped an inbound stream: too many are waiting");
        }
    }
}

fn upgrade_error(error: StreamUpgradeError<Infallible>) -> OpenError {
    match error {
        StreamUpgradeError::Timeout => OpenError::TimedOut,
        StreamUpgradeError::NegotiationFailed => OpenError::Unsupported,
        StreamUpgradeError::Io(error) => OpenError::unreachable(&error.to_string()),
        StreamUpgradeError::Apply(never) => match never {},
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = OpenStream;
    type ToBehaviour = Infallible;
    type InboundProtocol = Raw;
    type OutboundProtocol = Raw;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = OpenStream;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(Raw { protocols: self.shared.served_protocols() }, ())
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Self::OutboundOpenInfo, Self::ToBehaviour>> {
        let Some(request) = self.requests.pop_front() else { return Poll::Pending };
        let upgrade = Raw { protocols: vec![request.protocol.clone()] };
        let timeout = request.timeout;
        let protocol = SubstreamProtocol::new(upgrade, request).with_timeout(timeout);
        Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol })
    }

    fn on_behaviour_event(&mut self, request: OpenStream) {
        if self.requests.len() >= MAX_WAITING {
            return request.fail(OpenError::TooMany);
        }
        self.requests.push_back(request);
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol, (), OpenStream>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. }) => {
                self.on_inbound(protocol.0, protocol.1);
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, info }) => {
                let _ = info.reply.send(Ok((self.connection, protocol.0)));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                info.fail(upgrade_error(error));
            }
            _ => {}
        }
    }
}

/// Agrees on a protocol's name and hands the stream over as it is.
#[derive(Debug)]
pub(crate) struct Raw {
    protocols: Vec<StreamProtocol>,
}

impl UpgradeInfo for Raw {
    type Info = StreamProtocol;
    type InfoIter = std::vec::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.protocols.clone().into_iter()
    }
}

impl InboundUpgrade<Stream> for Raw {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((stream, protocol)))
    }
}

impl OutboundUpgrade<Stream> for Raw {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((stream, protocol)))
    }
}
