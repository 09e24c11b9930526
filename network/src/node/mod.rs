//! The libp2p node behind every role.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId};

use crate::config::NetworkConfig;
use crate::discovery::ServiceAddress;
use crate::error::NetworkError;
use crate::quote::{QuoteRequest, SignedQuote};
use crate::quote_service::QuoteServer;
use crate::segment::{SegmentExchange, SegmentHeader, SegmentServer};
use crate::work::{WorkHello, WorkServer, WorkSession, WorkToken};

/// A running node. Clones are handles of the same node; it ends by [`Network::shutdown`] or when the last handle is dropped.
#[derive(Debug, Clone)]
pub struct Network {
    _private: (),
}

impl Network {
    /// Starts a node and waits until it listens on every configured address. Needs a tokio runtime.
    ///
    /// # Errors
    /// When an address cannot be listened on.
    pub async fn start(config: NetworkConfig) -> Result<Self, NetworkError> {
        let _ = config;
        todo!()
    }

    /// This node's identity.
    pub fn peer_id(&self) -> PeerId {
        todo!()
    }

    /// The addresses this node listens on, with real ports.
    pub fn listen_addresses(&self) -> Vec<Multiaddr> {
        todo!()
    }

    /// [`Network::listen_addresses`] in the form of the registry; `None` when this node does not listen.
    pub fn service_address(&self) -> Option<ServiceAddress> {
        todo!()
    }

    /// Remembers where a peer can be dialed, in place of what was known before. Connections are made on demand.
    ///
    /// # Errors
    /// When the address book is full.
    pub fn add_peer(&self, service: &ServiceAddress) -> Result<(), NetworkError> {
        let _ = service;
        todo!()
    }

    /// Forgets where a peer can be dialed.
    pub fn remove_peer(&self, peer: PeerId) {
        let _ = peer;
        todo!()
    }

    /// True while at least one connection with the peer is up.
    pub fn is_connected(&self, peer: PeerId) -> bool {
        let _ = peer;
        todo!()
    }

    /// Last measured round-trip time to a connected peer.
    pub fn round_trip(&self, peer: PeerId) -> Option<Duration> {
        let _ = peer;
        todo!()
    }

    /// Closes every connection with a peer and refuses new ones for a time.
    pub fn ban(&self, peer: PeerId, time: Duration) {
        let _ = (peer, time);
        todo!()
    }

    /// Asks an orchestrator for a quote and checks that the answer fits the request. The signature is for the role to check.
    ///
    /// # Errors
    /// When the peer cannot be reached, declines, or does not answer within `deadline`.
    pub async fn request_quote(
        &self,
        peer: PeerId,
        request: &QuoteRequest,
        deadline: Duration,
    ) -> Result<SignedQuote, NetworkError> {
        let _ = (peer, request, deadline);
        todo!()
    }

    /// Offers a segment and waits for the orchestrator's decision; nothing is uploaded before it accepts. The whole exchange
    /// must end within the header's deadline.
    ///
    /// # Errors
    /// [`NetworkError::Refused`] when the orchestrator declines, or why it cannot be reached.
    pub async fn open_segment(
        &self,
        peer: PeerId,
        header: SegmentHeader,
    ) -> Result<SegmentExchange, NetworkError> {
        let _ = (peer, header);
        todo!()
    }

    /// Connects to an orchestrator as a transcoder; both sides prove that they know the token.
    ///
    /// # Errors
    /// When the orchestrator cannot be reached, or one side does not know the token.
    pub async fn connect_work(
        &self,
        peer: PeerId,
        hello: WorkHello,
        token: &WorkToken,
    ) -> Result<WorkSession, NetworkError> {
        let _ = (peer, hello, token);
        todo!()
    }

    /// Serves quotes; at most `queue` requests wait for the application, further ones are answered with `busy`.
    ///
    /// # Errors
    /// When quotes are served already.
    pub fn serve_quotes(&self, queue: usize) -> Result<QuoteServer, NetworkError> {
        let _ = queue;
        todo!()
    }

    /// Serves segments; at most `queue` offers wait for the application, further ones are answered with `busy`.
    ///
    /// # Errors
    /// When segments are served already.
    pub fn serve_segments(&self, queue: usize) -> Result<SegmentServer, NetworkError> {
        let _ = queue;
        todo!()
    }

    /// Takes transcoders that know `token`; at most `queue` wait for the application, further ones are answered with `busy`.
    ///
    /// # Errors
    /// When work is served already.
    pub fn serve_work(&self, token: WorkToken, queue: usize) -> Result<WorkServer, NetworkError> {
        let _ = (token, queue);
        todo!()
    }

    /// Stops listening, ends every stream and connection, and waits until all tasks have ended.
    pub async fn shutdown(&self) {
        todo!()
    }
}
