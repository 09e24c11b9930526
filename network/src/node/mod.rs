//! The libp2p node behind every role.

mod accept;
mod bounded;
mod callbacks;
mod dial;
mod discovery;
mod guard;
mod muxer;
mod nat;
mod opener;
mod shared;
mod streams;
mod swarm;

pub(crate) use accept::{Admitted, Context};
pub use shared::ReachTest;
pub(crate) use shared::{Shared, StreamPermit};

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use libp2p::{Multiaddr, PeerId};
use prost::Message as _;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::opener::Opener;
use self::shared::unix_ms;
use self::swarm::Driver;
use crate::announcement::{Announcement, Author, MAX_ANNOUNCEMENT_BYTES, SignedAnnouncement};
use crate::blob::{self, BlobRequest, BlobServer};
use crate::config::NetworkConfig;
use crate::discovery::ServiceAddress;
use crate::error::NetworkError;
use crate::opening::{self, OpeningAnswer, OpeningRequest, OpeningServer};
use crate::quote::{QuoteRequest, SignedQuote};
use crate::quote_service::{self, QuoteServer};
use crate::segment::{self, SegmentExchange, SegmentHeader, SegmentServer};
use crate::wire::WireMessage as _;
use crate::work::{self, WorkHello, WorkServer, WorkSession, WorkToken};

pub(crate) const QUOTE_PROTOCOL: &str = "/framemill/quote/1";
pub(crate) const SEGMENT_PROTOCOL: &str = "/framemill/segment/1";
pub(crate) const OPENING_PROTOCOL: &str = "/framemill/opening/1";
pub(crate) const BLOB_PROTOCOL: &str = "/framemill/blob/1";
pub(crate) const WORK_PROTOCOL: &str = "/framemill/work/1";

/// Requests of handles to the swarm's task that wait at one time.
const COMMAND_QUEUE: usize = 256;
/// Inbound streams that wait to be looked at; each is looked at at once, so this only smooths bursts.
const INBOUND_QUEUE: usize = 256;
/// How long tasks may take to end after they were told to.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(5);

/// A running node. Clones are handles of the same node; it ends by [`Network::shutdown`] or when the last handle is dropped.
#[derive(Debug, Clone)]
pub struct Network {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    context: Context,
    listening: Vec<Multiaddr>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.context.end();
    }
}

impl Network {
    /// Starts a node and waits until it listens on every configured address. Needs a tokio runtime.
    ///
    /// # Errors
    /// When an address cannot be listened on.
    pub async fn start(config: NetworkConfig) -> Result<Self, NetworkError> {
        let shared = Arc::new(Shared::new(&config));
        let (inbound_sender, inbound) = mpsc::channel(INBOUND_QUEUE);
        let mut swarm = swarm::build(&config, &shared, inbound_sender)?;
        let listening = swarm::listen(&mut swarm, &config.listen).await?;
        let driver = Driver::new(swarm, shared.clone(), &config);
        let (sender, commands) = mpsc::channel(COMMAND_QUEUE);
        let context = Context {
            local: config.identity.peer_id(),
            shared,
            opener: Opener::new(sender),
            limits: Arc::new(config.limits),
            timeouts: Arc::new(config.timeouts),
            tasks: TaskTracker::new(),
            cancel: CancellationToken::new(),
        };
        // The swarm ends by itself: it says goodbye to its peers first.
        context.tasks.spawn(driver.run(commands, context.cancel.clone()));
        context.spawn(accept::accept_loop(context.clone(), inbound));
        Ok(Self { inner: Arc::new(Inner { context, listening }) })
    }

    /// This node's identity.
    pub fn peer_id(&self) -> PeerId {
        self.context().local
    }

    /// The addresses this node listens on, with real ports.
    pub fn listen_addresses(&self) -> Vec<Multiaddr> {
        self.inner.listening.clone()
    }

    /// [`Network::listen_addresses`] in the form of the registry; `None` when this node does not listen.
    pub fn service_address(&self) -> Option<ServiceAddress> {
        ServiceAddress::new(self.peer_id(), self.listen_addresses()).ok()
    }

    /// Remembers where a peer can be dialed, in place of what was known before. Connections are made on demand.
    ///
    /// # Errors
    /// When the address book is full.
    pub fn add_peer(&self, service: &ServiceAddress) -> Result<(), NetworkError> {
        self.context().shared.add_peer(service)
    }

    /// Forgets where a peer can be dialed.
    pub fn remove_peer(&self, peer: PeerId) {
        self.context().shared.remove_peer(&peer);
    }

    /// True while at least one connection with the peer is up.
    pub fn is_connected(&self, peer: PeerId) -> bool {
        self.context().shared.is_connected(&peer)
    }

    /// Last measured round-trip time to a connected peer.
    pub fn round_trip(&self, peer: PeerId) -> Option<Duration> {
        self.context().shared.round_trip(&peer)
    }

    /// Where the connections with a peer lead, those through a relay with `/p2p-circuit` in them.
    pub fn remote_addresses(&self, peer: PeerId) -> Vec<Multiaddr> {
        self.context().shared.remote_addresses(&peer)
    }

    /// Where others reach this node: as configured, as others have tried it, and through its relays.
    pub fn external_addresses(&self) -> Vec<Multiaddr> {
        self.context().shared.external()
    }

    /// What came of asking peers to call this node, the newest for each address.
    pub fn reach_tests(&self) -> Vec<ReachTest> {
        self.context().shared.reach()
    }

    /// Whether a connected peer calls this node on request.
    pub fn has_reach_testers(&self) -> bool {
        self.context().shared.has_testers()
    }

    /// Closes every connection with a peer and refuses new ones for a time. What a peer does wrong on the wire is counted without
    /// this, and bans it when it is too much.
    pub fn ban(&self, peer: PeerId, time: Duration) {
        self.context().shared.ban(peer, time);
    }

    /// True while a peer is banned, for whatever reason.
    pub fn is_banned(&self, peer: PeerId) -> bool {
        self.context().shared.is_banned(&peer)
    }

    /// Replaces the orchestrators that are listened to and looked for, and remembers where they are said to be. Of several for
    /// one peer the first counts; at most [`MAX_AUTHORS`](crate::announcement::MAX_AUTHORS) are listened to. Without discovery ([`NetworkConfig::discovery`]) only the addresses count.
    ///
    /// # Errors
    /// When the address book is full.
    pub fn follow(&self, authors: Vec<Author>) -> Result<(), NetworkError> {
        self.context().shared.follow(authors)
    }

    /// Tells everybody who follows this node. Say it again well before it expires, for those that come later.
    ///
    /// # Errors
    /// When the announcement does not fit a message, or the node has been shut down.
    pub async fn announce(&self, announcement: &SignedAnnouncement) -> Result<(), NetworkError> {
        let bytes = announcement.to_proto().encode_to_vec();
        if bytes.len() > MAX_ANNOUNCEMENT_BYTES {
            let reason =
                format!("it has {} bytes: at most {MAX_ANNOUNCEMENT_BYTES} are passed on", bytes.len());
            return Err(NetworkError::Unsendable { what: "an announcement", reason });
        }
        self.context().opener.announce(bytes).await
    }

    /// What the followed orchestrators announced last, where it has not expired. A hint: money is gated on signed quotes.
    pub fn announcements(&self) -> Vec<Announcement> {
        let newest = self.context().shared.with_announcements(|store| store.newest(unix_ms()));
        newest.unwrap_or_default()
    }

    /// What one of them announced last.
    pub fn announced(&self, peer: PeerId) -> Option<Announcement> {
        self.context().shared.announced(&peer)
    }

    /// Counts up with every announcement that is taken.
    pub fn announcements_heard(&self) -> watch::Receiver<u64> {
        self.context().shared.heard().subscribe()
    }

    /// Looks for a followed peer's current addresses, which are used from then on beside the known ones; true when there are new
    /// ones. Done without being asked when a peer is not where it was said to be.
    pub async fn locate(&self, peer: PeerId) -> bool {
        self.context().opener.locate(peer).await
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
        let asked = quote_service::request(self.context(), peer, request, deadline);
        timeout(deadline, asked)
            .await
            .map_err(|_| NetworkError::Timeout { what: "asking for a quote", after: deadline })?
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
        segment::open(self.context(), peer, header, Bytes::new()).await
    }

    /// As [`Network::open_segment`], but the source's first bytes go out behind the header without waiting for the decision, so
    /// that an upload to an orchestrator that has room costs no round trip. For one that took the last segment: a refusal wastes
    /// them. At most [`MAX_AHEAD_BYTES`](crate::MAX_AHEAD_BYTES).
    ///
    /// # Errors
    /// As [`Network::open_segment`], and when more bytes are to go ahead.
    pub async fn open_segment_ahead(
        &self,
        peer: PeerId,
        header: SegmentHeader,
        ahead: Bytes,
    ) -> Result<SegmentExchange, NetworkError> {
        segment::open(self.context(), peer, header, ahead).await
    }

    /// Asks an orchestrator about a commitment that it signed. Whether the answer fits is for the role to check.
    ///
    /// # Errors
    /// When the peer cannot be reached, declines, or does not answer within `deadline`.
    pub async fn request_opening(
        &self,
        peer: PeerId,
        request: &OpeningRequest,
        deadline: Duration,
    ) -> Result<OpeningAnswer, NetworkError> {
        let asked = opening::request(self.context(), peer, request, deadline);
        timeout(deadline, asked)
            .await
            .map_err(|_| NetworkError::Timeout { what: "asking for an opening", after: deadline })?
    }

    /// Fetches the file with this hash from a peer; it has at most the request's bytes, and the hash is checked.
    ///
    /// # Errors
    /// When the peer cannot be reached, does not have it, sends another one or too many bytes, or falls below the rate
    /// of an upload ([`NetworkLimits::min_upload_rate`](crate::NetworkLimits::min_upload_rate)); and when `deadline` passes.
    pub async fn request_blob(
        &self,
        peer: PeerId,
        request: &BlobRequest,
        deadline: Duration,
    ) -> Result<Bytes, NetworkError> {
        let asked = blob::request(self.context(), peer, request, deadline);
        timeout(deadline, asked)
            .await
            .map_err(|_| NetworkError::Timeout { what: "fetching a file", after: deadline })?
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
        work::connect(self.context(), peer, hello, token).await
    }

    /// Serves quotes; at most `queue` requests wait for the application, further ones are answered with `busy`.
    ///
    /// # Errors
    /// When quotes are served already.
    pub fn serve_quotes(&self, queue: usize) -> Result<QuoteServer, NetworkError> {
        let receiver = self.register(queue, QUOTE_PROTOCOL, |services| &mut services.quotes)?;
        Ok(QuoteServer::new(receiver, self.context().timeouts.application))
    }

    /// Serves segments; at most `queue` offers wait for the application, further ones are answered with `busy`.
    ///
    /// # Errors
    /// When segments are served already.
    pub fn serve_segments(&self, queue: usize) -> Result<SegmentServer, NetworkError> {
        let receiver = self.register(queue, SEGMENT_PROTOCOL, |services| &mut services.segments)?;
        Ok(SegmentServer::new(receiver, self.context().timeouts.application))
    }

    /// Serves questions about commitments; at most `queue` wait for the application, further ones are answered with `busy`.
    ///
    /// # Errors
    /// When they are served already.
    pub fn serve_openings(&self, queue: usize) -> Result<OpeningServer, NetworkError> {
        let receiver = self.register(queue, OPENING_PROTOCOL, |services| &mut services.openings)?;
        Ok(OpeningServer::new(receiver, self.context().timeouts.application))
    }

    /// Serves files by their hashes; at most `queue` requests wait for the application, further ones are answered with `busy`.
    ///
    /// # Errors
    /// When they are served already.
    pub fn serve_blobs(&self, queue: usize) -> Result<BlobServer, NetworkError> {
        let receiver = self.register(queue, BLOB_PROTOCOL, |services| &mut services.blobs)?;
        Ok(BlobServer::new(receiver, self.context().timeouts.application))
    }

    /// Takes transcoders that know `token`; at most `queue` wait for the application, further ones are answered with `busy`.
    ///
    /// # Errors
    /// When work is served already.
    pub fn serve_work(&self, token: WorkToken, queue: usize) -> Result<WorkServer, NetworkError> {
        let receiver = self.register(queue, WORK_PROTOCOL, |services| &mut services.work)?;
        self.context().shared.services().work_token = Some(token);
        Ok(WorkServer::new(receiver))
    }

    /// Stops listening, ends every stream and connection, and waits until all tasks have ended.
    pub async fn shutdown(&self) {
        let context = self.context();
        context.end();
        context.tasks.close();
        if timeout(SHUTDOWN_WAIT, context.tasks.wait()).await.is_err() {
            tracing::warn!("some network tasks did not end in time");
        }
    }

    fn context(&self) -> &Context {
        &self.inner.context
    }

    fn register<T>(
        &self,
        queue: usize,
        protocol: &'static str,
        slot: fn(&mut shared::Services) -> &mut Option<mpsc::Sender<T>>,
    ) -> Result<mpsc::Receiver<T>, NetworkError> {
        let mut services = self.context().shared.services();
        if self.context().cancel.is_cancelled() {
            return Err(NetworkError::ShutDown);
        }
        let slot = slot(&mut services);
        if slot.as_ref().is_some_and(|queue| !queue.is_closed()) {
            return Err(NetworkError::AlreadyServed { protocol });
        }
        let (sender, receiver) = mpsc::channel(queue.max(1));
        *slot = Some(sender);
        Ok(receiver)
    }
}
