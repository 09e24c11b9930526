//! What the node's tasks and handles share: who serves what, where peers are, what they may use.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use tokio::sync::{Notify, mpsc, watch};

use super::{BLOB_PROTOCOL, OPENING_PROTOCOL, QUOTE_PROTOCOL, SEGMENT_PROTOCOL, WORK_PROTOCOL};
use crate::announcement::{Announcement, Announcements, Author};
use crate::blob::IncomingBlob;
use crate::conduct::Offence;
use crate::config::{DiscoveryConfig, NetworkConfig};
use crate::discovery::{MAX_ADDRESSES, ServiceAddress};
use crate::error::{NetworkError, ProtocolError};
use crate::gate::{PeerGate, Refusal};
use crate::opening::IncomingOpening;
use crate::quote_service::IncomingQuote;
use crate::segment::IncomingSegment;
use crate::wire_error::WireCode;
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

/// A connected peer: its connections and where each leads.
#[derive(Debug, Default)]
struct Peer {
    connections: HashMap<ConnectionId, Multiaddr>,
    round_trip: Option<Duration>,
}

/// Where one peer can be dialed.
#[derive(Debug, Default)]
struct Page {
    /// By the registry or the configuration.
    told: Vec<Multiaddr>,
    /// By a record that the peer signed and Kademlia kept.
    found: Vec<Multiaddr>,
}

/// What came of asking a peer to call this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReachTest {
    /// Where it was asked to call.
    pub address: Multiaddr,
    /// Who was asked.
    pub by: PeerId,
    /// Whether its call came.
    pub reached: bool,
}

#[derive(Debug)]
pub(crate) struct Shared {
    services: Mutex<Services>,
    book: Mutex<HashMap<PeerId, Page>>,
    peers: Mutex<HashMap<PeerId, Peer>>,
    gate: Mutex<PeerGate>,
    announcements: Option<Mutex<Announcements>>,
    /// Counts up with every announcement that was taken.
    heard: watch::Sender<u64>,
    /// Where others reach this node, as far as it knows.
    external: Mutex<Vec<Multiaddr>>,
    /// The newest test of each address; as many as there are candidates.
    reach: Mutex<Vec<ReachTest>>,
    /// Connected peers that call back on request.
    testers: Mutex<HashSet<PeerId>>,
    /// Peers whose connections are to be closed: at most those that are connected.
    evicted: Mutex<Vec<PeerId>>,
    eviction: Notify,
}

/// A stream that a peer has open here; counts against its limit until it is dropped.
#[derive(Debug, Clone)]
pub(crate) struct StreamPermit {
    /// The last clone's drop gives the stream back.
    guard: Option<Arc<PermitGuard>>,
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
        Self { guard: None }
    }

    /// Counts bytes that came on the stream, and says how long to read nothing more of it.
    pub(crate) fn spend(&self, bytes: usize) -> Duration {
        let Some(guard) = &self.guard else { return Duration::ZERO };
        lock(&guard.shared.gate).spend(&guard.peer, bytes as u64, Instant::now())
    }

    /// Notes what ended the stream where that was the peer's doing; what it did too often gets it banned.
    pub(crate) fn blame(&self, error: &NetworkError) {
        if let (Some(guard), Some(offence)) = (&self.guard, offence(error)) {
            guard.shared.offend(guard.peer, offence);
        }
    }
}

/// What a peer has done when serving it ended with `error`.
fn offence(error: &NetworkError) -> Option<Offence> {
    match error {
        // Whoever gives up in the middle of a message has not broken anything.
        NetworkError::Protocol(ProtocolError::Truncated { .. }) => None,
        NetworkError::Protocol(ProtocolError::TooSlow { .. }) | NetworkError::Timeout { .. } => {
            Some(Offence::Slow)
        }
        NetworkError::Protocol(_) => Some(Offence::Malformed),
        // Somebody tries to guess the token; once is a wrong file.
        NetworkError::Refused(refused) if refused.code == WireCode::Unauthorized => Some(Offence::Slow),
        _ => None,
    }
}

impl Shared {
    pub(crate) fn new(config: &NetworkConfig) -> Self {
        let heard_of =
            |discovery: &DiscoveryConfig| Mutex::new(Announcements::new(discovery.domain, discovery.recover));
        Self {
            services: Mutex::default(),
            book: Mutex::default(),
            peers: Mutex::default(),
            gate: Mutex::new(PeerGate::new(config.limits.clone())),
            announcements: config.discovery.as_ref().map(heard_of),
            heard: watch::Sender::new(0),
            external: Mutex::default(),
            reach: Mutex::default(),
            testers: Mutex::default(),
            evicted: Mutex::default(),
            eviction: Notify::new(),
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
        self.page(service.peer(), |page| page.told = service.addresses().to_vec())
    }

    /// Remembers what a peer's own record says, beside what was told.
    pub(crate) fn found_peer(&self, peer: PeerId, addresses: Vec<Multiaddr>) -> Result<(), NetworkError> {
        self.page(peer, |page| page.found = addresses)
    }

    pub(crate) fn remove_peer(&self, peer: &PeerId) {
        lock(&self.book).remove(peer);
    }

    /// Everywhere a peer may be reached: as told, as announced, as found; at most [`MAX_ADDRESSES`].
    pub(crate) fn addresses(&self, peer: &PeerId) -> Vec<Multiaddr> {
        let mut addresses = Vec::new();
        let announced = self.announced(peer).map(|announced| announced.addresses).unwrap_or_default();
        let book = lock(&self.book);
        let (told, found) =
            book.get(peer).map_or((&[][..], &[][..]), |page| (page.told.as_slice(), page.found.as_slice()));
        for address in told.iter().chain(&announced).chain(found) {
            if addresses.len() < MAX_ADDRESSES && !addresses.contains(address) {
                addresses.push(address.clone());
            }
        }
        addresses
    }

    pub(crate) fn on_connected(&self, peer: PeerId, connection: ConnectionId, address: Multiaddr) {
        lock(&self.peers).entry(peer).or_default().connections.insert(connection, address);
    }

    pub(crate) fn on_disconnected(&self, peer: &PeerId, connection: ConnectionId) {
        let mut peers = lock(&self.peers);
        let Some(state) = peers.get_mut(peer) else { return };
        state.connections.remove(&connection);
        if state.connections.is_empty() {
            peers.remove(peer);
            lock(&self.testers).remove(peer);
        }
    }

    pub(crate) fn note_tester(&self, peer: PeerId) {
        if self.is_connected(&peer) {
            lock(&self.testers).insert(peer);
        }
    }

    /// Whether a connected peer calls back on request.
    pub(crate) fn has_testers(&self) -> bool {
        !lock(&self.testers).is_empty()
    }

    pub(crate) fn note_reach(&self, test: ReachTest) {
        let mut reach = lock(&self.reach);
        reach.retain(|known| known.address != test.address);
        reach.push(test);
    }

    pub(crate) fn reach(&self) -> Vec<ReachTest> {
        lock(&self.reach).clone()
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

    /// Where the connections with a peer lead.
    pub(crate) fn remote_addresses(&self, peer: &PeerId) -> Vec<Multiaddr> {
        let peers = lock(&self.peers);
        peers.get(peer).map_or_else(Vec::new, |state| state.connections.values().cloned().collect())
    }

    pub(crate) fn admit(self: &Arc<Self>, peer: PeerId) -> Result<StreamPermit, Refusal> {
        let admitted = lock(&self.gate).admit(peer, Instant::now());
        if let Err(Refusal::TooOften { .. } | Refusal::TooManyStreams { .. }) = admitted {
            self.offend(peer, Offence::Flood);
        }
        admitted?;
        Ok(StreamPermit { guard: Some(Arc::new(PermitGuard { shared: self.clone(), peer })) })
    }

    pub(crate) fn ban(&self, peer: PeerId, time: Duration) {
        lock(&self.gate).ban(peer, time, Instant::now());
        self.evict(peer);
    }

    pub(crate) fn is_banned(&self, peer: &PeerId) -> bool {
        lock(&self.gate).is_banned(peer, Instant::now())
    }

    /// Notes an offence. One too many is a ban, and ends the peer's connections.
    pub(crate) fn offend(&self, peer: PeerId, offence: Offence) {
        if lock(&self.gate).offend(peer, offence, Instant::now()) {
            self.evict(peer);
        }
    }

    fn evict(&self, peer: PeerId) {
        if self.is_connected(&peer) {
            let mut evicted = lock(&self.evicted);
            if !evicted.contains(&peer) {
                evicted.push(peer);
            }
            self.eviction.notify_one();
        }
    }

    /// Peers whose connections are to be closed, as soon as there are some. Cancel safe.
    pub(crate) async fn evicted(&self) -> Vec<PeerId> {
        loop {
            let evicted = std::mem::take(&mut *lock(&self.evicted));
            if !evicted.is_empty() {
                return evicted;
            }
            self.eviction.notified().await;
        }
    }

    /// Replaces who may announce, and remembers where they are.
    pub(crate) fn follow(&self, mut authors: Vec<Author>) -> Result<(), NetworkError> {
        let mut peers = HashSet::new();
        authors.retain(|author| peers.insert(author.peer));
        for author in &authors {
            if !author.addresses.is_empty() {
                let addresses = author.addresses.clone();
                self.page(author.peer, |page| page.told = addresses)?;
            }
        }
        self.with_announcements(|announcements| announcements.follow(authors, Instant::now()));
        Ok(())
    }

    /// Runs `look` on the announcements; none where discovery is off.
    pub(crate) fn with_announcements<T>(&self, look: impl FnOnce(&mut Announcements) -> T) -> Option<T> {
        self.announcements.as_ref().map(|announcements| look(&mut lock(announcements)))
    }

    pub(crate) fn announced(&self, peer: &PeerId) -> Option<Announcement> {
        self.with_announcements(|announcements| announcements.of(peer, unix_ms()))?
    }

    pub(crate) fn heard(&self) -> &watch::Sender<u64> {
        &self.heard
    }

    pub(crate) fn set_external(&self, addresses: Vec<Multiaddr>) {
        *lock(&self.external) = addresses;
    }

    pub(crate) fn external(&self) -> Vec<Multiaddr> {
        lock(&self.external).clone()
    }

    fn page(&self, peer: PeerId, change: impl FnOnce(&mut Page)) -> Result<(), NetworkError> {
        let mut book = lock(&self.book);
        if book.len() >= MAX_BOOK && !book.contains_key(&peer) {
            return Err(NetworkError::AddressBookFull { bound: MAX_BOOK });
        }
        change(book.entry(peer).or_default());
        Ok(())
    }
}

pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Nothing panics while it holds one of these locks, and each update leaves a whole state.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
