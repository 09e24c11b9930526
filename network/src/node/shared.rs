//! What the node's tasks and handles share: who serves what, where peers are, what they may use.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use tokio::sync::mpsc;

use super::{BLOB_PROTOCOL, OPENING_PROTOCOL, QUOTE_PROTOCOL, SEGMENT_PROTOCOL, WORK_PROTOCOL};
use crate::blob::IncomingBlob;
use crate::config::NetworkLimits;
use crate::discovery::ServiceAddress;
use crate::error::NetworkError;
use crate::gate::{PeerGate, Refusal};
use crate::opening::IncomingOpening;
use crate::quote_service::IncomingQuote;
use crate::segment::IncomingSegment;
use crate::work::{IncomingJob, WorkToken, WorkerLink};

/// Peers whose addresses are remembered: several times the largest active set.
const MAX_BOOK: usize = 4_096;

/// Who takes incoming requests.
#[derive(Debug, Default)]
pub(crate) struct Services {
    pub(crate) quotes: Option<mpsc::Sender<IncomingQuote>>,
    pub(crate) segments: Option<mpsc::Sender<IncomingSegment>>,
    pub(crate) openings: Option<mpsc::Sender<IncomingOpening>>,
    pub(crate) blobs: Option<mpsc::Sender<IncomingBlob>>,
    pub(crate) work: Option<mpsc::Sender<WorkerLink>>,
    pub(crate) work_token: Option<WorkToken>,
    /// Work sessions of this node as a transcoder, by the connection that jobs come down.
    pub(crate) jobs: HashMap<ConnectionId, mpsc::Sender<IncomingJob>>,
}

/// A connected peer.
#[derive(Debug, Default)]
struct Peer {
    connections: u32,
    round_trip: Option<Duration>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    services: Mutex<Services>,
    book: Mutex<HashMap<PeerId, Vec<Multiaddr>>>,
    peers: Mutex<HashMap<PeerId, Peer>>,
    gate: Mutex<PeerGate>,
}

/// A stream that a peer has open here; counts against its limit until it is dropped.
#[derive(Debug, Clone)]
pub(crate) struct StreamPermit {
    // Only held: the last clone's drop gives the stream back.
    _guard: Option<Arc<PermitGuard>>,
}

#[derive(Debug)]
struct PermitGuard {
    shared: Arc<Shared>,
    peer: PeerId,
}

impl Drop for PermitGuard {
    fn drop(&mut self) {
        lock(&self.shared.gate).release(&self.peer);
    }
}

impl StreamPermit {
    /// For a stream that this node opened itself.
    pub(crate) fn own() -> Self {
        Self { _guard: None }
    }
}

impl Shared {
    pub(crate) fn new(limits: NetworkLimits) -> Self {
        Self {
            services: Mutex::default(),
            book: Mutex::default(),
            peers: Mutex::default(),
            gate: Mutex::new(PeerGate::new(limits)),
        }
    }

    pub(crate) fn services(&self) -> MutexGuard<'_, Services> {
        lock(&self.services)
    }

    pub(crate) fn served_protocols(&self) -> Vec<StreamProtocol> {
        let services = self.services();
        let quotes = services.quotes.as_ref().is_some_and(|queue| !queue.is_closed());
        let segments = services.segments.as_ref().is_some_and(|queue| !queue.is_closed());
        let openings = services.openings.as_ref().is_some_and(|queue| !queue.is_closed());
        let blobs = services.blobs.as_ref().is_some_and(|queue| !queue.is_closed());
        let work = services.work.as_ref().is_some_and(|queue| !queue.is_closed());
        let mut protocols = Vec::with_capacity(5);
        protocols.extend(quotes.then_some(QUOTE_PROTOCOL));
        protocols.extend(segments.then_some(SEGMENT_PROTOCOL));
        protocols.extend(openings.then_some(OPENING_PROTOCOL));
        protocols.extend(blobs.then_some(BLOB_PROTOCOL));
        protocols.extend((work || !services.jobs.is_empty()).then_some(WORK_PROTOCOL));
        protocols.into_iter().map(StreamProtocol::new).collect()
    }

    pub(crate) fn add_peer(&self, service: &ServiceAddress) -> Result<(), NetworkError> {
        let mut book = lock(&self.book);
        if book.len() >= MAX_BOOK && !book.contains_key(&service.peer()) {
            return Err(NetworkError::AddressBookFull { bound: MAX_BOOK });
        }
        book.insert(service.peer(), service.addresses().to_vec());
        Ok(())
    }

    pub(crate) fn remove_peer(&self, peer: &PeerId) {
        lock(&self.book).remove(peer);
    }

    pub(crate) fn addresses(&self, peer: &PeerId) -> Vec<Multiaddr> {
        lock(&self.book).get(peer).cloned().unwrap_or_default()
    }

    pub(crate) fn on_connected(&self, peer: PeerId) {
        lock(&self.peers).entry(peer).or_default().connections += 1;
    }

    pub(crate) fn on_disconnected(&self, peer: &PeerId) {
        let mut peers = lock(&self.peers);
        let Some(state) = peers.get_mut(peer) else { return };
        state.connections -= 1;
        if state.connections == 0 {
            peers.remove(peer);
        }
    }

    pub(crate) fn set_round_trip(&self, peer: &PeerId, round_trip: Duration) {
        if let Some(state) = lock(&self.peers).get_mut(peer) {
            state.round_trip = Some(round_trip);
        }
    }

    pub(crate) fn round_trip(&self, peer: &PeerId) -> Option<Duration> {
        lock(&self.peers).get(peer)?.round_trip
    }

    pub(crate) fn is_connected(&self, peer: &PeerId) -> bool {
        lock(&self.peers).contains_key(peer)
    }

    pub(crate) fn admit(self: &Arc<Self>, peer: PeerId) -> Result<StreamPermit, Refusal> {
        lock(&self.gate).admit(peer, Instant::now())?;
        Ok(StreamPermit { _guard: Some(Arc::new(PermitGuard { shared: self.clone(), peer })) })
    }

    pub(crate) fn ban(&self, peer: PeerId, time: Duration) {
        lock(&self.gate).ban(peer, Instant::now() + time);
    }

    pub(crate) fn is_banned(&self, peer: &PeerId) -> bool {
        lock(&self.gate).is_banned(peer, Instant::now())
    }
}

/// Nothing panics while it holds one of these locks, and each update leaves a whole state.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
