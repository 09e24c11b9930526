//! A market on loopback: one orchestrator, its transcoders, a broadcaster's side of the wire.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use alloy_primitives::{Address, B256, U256};
use bytes::Bytes;
use framemill_media::{ClipSpec, MediaLimits, Rational, VideoCodec, generate_clip, segment_info};
use framemill_network::{
    FrameRate, Identity, Ladder, Network, NetworkConfig, NetworkError, PricePerPixel, QuoteRequest,
    SegmentHeader, SegmentResult, SignedQuote, SigningDomain, SourceVideo, WireCode, WorkToken,
};
use framemill_orchestrator::{
    Orchestrator, OrchestratorConfig, OrchestratorDeps, OrchestratorEvent, OrchestratorHandle, Payments,
    RedemptionConfig,
};
use framemill_transcoder::{
    Capabilities, Capacity, Daemon, DaemonConfig, DaemonHandle, Engine, Job, RenditionSink, Renditions,
    SoftwareEngine,
};
use probabilistic_ticket::memory::MemoryBroker;
use probabilistic_ticket::{
    Broker, BrokerView, Domain, EthKey, RecipientConfig, RedeemPolicy, Sender, SenderConfig, SenderFunds,
    SenderSession, SqliteLedger, SystemClock, TicketParams, Wei,
};
use sha2::{Digest, Sha256};
use tokio::sync::{broadcast, mpsc};

/// Longer than anything takes on a busy machine; only a hang gets here.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// More than any test's session needs.
pub(crate) const LOTS: Capacity = Capacity { pixels_per_second: 1_000_000_000, max_sessions: 64 };

/// Secret of the test's orchestrator key; an address of no value.
pub(crate) const ORCHESTRATOR_KEY: [u8; 32] = [7; 32];

/// The ladder of every test: two small rungs.
pub(crate) fn ladder() -> Ladder {
    r#"[{"name":"a","width":128,"height":72,"bitrate":100000},{"name":"b","width":64,"height":36,"bitrate":50000}]"#
        .parse()
        .expect("a ladder")
}

/// Output pixels of the ladder for [`clip`].
pub(crate) const PIXELS: u64 = 30 * (128 * 72 + 64 * 36);

/// One second of moving picture and sound.
pub(crate) fn clip() -> Bytes {
    static CLIP: LazyLock<Bytes> = LazyLock::new(|| {
        let spec = ClipSpec::new(320, 180, Rational::new(30, 1), 1);
        generate_clip(&spec, &MediaLimits::default()).expect("a synthetic clip")
    });
    CLIP.clone()
}

pub(crate) struct Market {
    pub(crate) orchestrator: OrchestratorHandle,
    pub(crate) network: Network,
    pub(crate) client: Network,
    pub(crate) token: WorkToken,
    pub(crate) events: broadcast::Receiver<OrchestratorEvent>,
    pub(crate) bank: Option<Bank>,
}

/// The money side of a market.
pub(crate) struct Bank {
    /// The chain, where it is in memory.
    memory: Option<Arc<MemoryBroker>>,
    pub(crate) sender: Sender,
    _folder: tempfile::TempDir,
}

impl Bank {
    pub(crate) fn broker(&self) -> &MemoryBroker {
        self.memory.as_deref().expect("a chain in memory")
    }
}

impl Market {
    /// Work for free.
    pub(crate) async fn free() -> Self {
        Self::free_with(OrchestratorConfig::default()).await
    }

    pub(crate) async fn free_with(config: OrchestratorConfig) -> Self {
        Self::start(config, SigningDomain::default(), None).await
    }

    /// One wei per pixel; every ticket is worth `ticket` wei and wins with certainty. Winners wait.
    pub(crate) async fn paid(ticket: u64) -> Self {
        Self::paid_redeeming(ticket, PATIENCE).await
    }

    /// [`Market::paid`], looking after winners once per `interval`.
    pub(crate) async fn paid_redeeming(ticket: u64, interval: Duration) -> Self {
        let (bank, payments) = memory_bank(ticket).await;
        Self::with_bank(bank, payments, SigningDomain::default(), interval).await
    }

    /// One wei per pixel, paid in tickets worth `ticket` wei, and otherwise as configured.
    pub(crate) async fn paid_with(ticket: u64, config: OrchestratorConfig) -> Self {
        let (bank, payments) = memory_bank(ticket).await;
        let price = PricePerPixel::new(U256::from(1), 1).expect("a price");
        let config = OrchestratorConfig { price, ..config };
        let mut market = Self::start(config, SigningDomain::default(), Some(payments)).await;
        market.bank = Some(bank);
        market
    }

    /// One wei per pixel, paid through this bank.
    pub(crate) async fn with_bank(
        bank: Bank,
        payments: Payments,
        domain: SigningDomain,
        interval: Duration,
    ) -> Self {
        let config = OrchestratorConfig {
            price: PricePerPixel::new(U256::from(1), 1).expect("a price"),
            redemption: RedemptionConfig { interval, max_backoff: interval },
            ..OrchestratorConfig::default()
        };
        let mut market = Self::start(config, domain, Some(payments)).await;
        market.bank = Some(bank);
        market
    }

    async fn start(config: OrchestratorConfig, domain: SigningDomain, payments: Option<Payments>) -> Self {
        let network = Network::start(NetworkConfig::loopback()).await.expect("a node on loopback");
        let token = WorkToken::generate();
        let deps = OrchestratorDeps {
            network: network.clone(),
            key: orchestrator_key(),
            domain,
            work_token: token.clone(),
            payments,
            duties: None,
            jury: None,
            registry: prometheus::Registry::new(),
        };
        let orchestrator = Orchestrator::start(config, deps).await.expect("an orchestrator");
        let events = orchestrator.events();
        let client = client_of(&network).await;
        Self { orchestrator, network, client, token, events, bank: None }
    }

    pub(crate) fn bank(&self) -> &Bank {
        self.bank.as_ref().expect("a paid market")
    }

    /// Waits for an event.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&OrchestratorEvent) -> bool) -> OrchestratorEvent {
        let search = async {
            loop {
                match self.events.recv().await {
                    Ok(event) if wanted(&event) => return event,
                    Ok(_) => {}
                    Err(error) => panic!("events ended: {error}"),
                }
            }
        };
        tokio::time::timeout(PATIENCE, search).await.expect("the event in time")
    }

    /// Connects a transcoder.
    pub(crate) async fn transcoder(&mut self, engine: Arc<dyn Engine>, offer: Capacity) -> Worker {
        let network =
            Network::start(NetworkConfig::new(Identity::generate())).await.expect("a node that dials");
        let service = self.network.service_address().expect("the orchestrator listens");
        let config = DaemonConfig::new(service, self.token.clone(), "test");
        let daemon = Daemon::offering(config, vec![(engine, offer)]).expect("one engine");
        let daemon = daemon.start(network.clone()).expect("a new address book");
        let peer = network.peer_id();
        self.until(
            |event| matches!(event, OrchestratorEvent::TranscoderConnected { peer: p, .. } if *p == peer),
        )
        .await;
        Worker { network, _daemon: daemon }
    }

    pub(crate) async fn software(&mut self) -> Worker {
        self.transcoder(Arc::new(SoftwareEngine::default()), LOTS).await
    }

    pub(crate) async fn quote(&self) -> Result<SignedQuote, NetworkError> {
        self.quote_for(&self.client, |_| {}).await
    }

    pub(crate) async fn quote_for(
        &self,
        client: &Network,
        change: impl FnOnce(&mut QuoteRequest),
    ) -> Result<SignedQuote, NetworkError> {
        let fps = FrameRate::new(30, 1).expect("a rate");
        let mut request = QuoteRequest {
            sender: self.bank.as_ref().map_or(Address::ZERO, |bank| bank.sender.address()),
            ladder: ladder(),
            source: SourceVideo { width: 320, height: 180, fps },
            pixels_per_second: ladder().pixels_per_second(fps),
            max_price: None,
            commitments: false,
        };
        change(&mut request);
        client.request_quote(self.network.peer_id(), &request, PATIENCE).await
    }

    /// A quote, and the sender's session for it.
    pub(crate) async fn session(&self) -> SignedQuote {
        self.opened(self.quote().await.expect("a quote")).await
    }

    /// The same for receipts with commitments.
    pub(crate) async fn session_with_commitments(&self) -> SignedQuote {
        let quote = self.quote_for(&self.client, |request| request.commitments = true).await;
        self.opened(quote.expect("a quote")).await
    }

    /// The sender's session for a quote.
    pub(crate) async fn opened(&self, signed: SignedQuote) -> SignedQuote {
        if let Some(bank) = &self.bank {
            let session = SenderSession {
                id: signed.quote.session,
                stream: B256::repeat_byte(1),
                recipient: self.orchestrator.address(),
                max_outstanding: Wei::from(u64::MAX),
            };
            bank.sender.open_session(session).await.expect("a spending session");
        }
        signed
    }

    /// Tickets for one segment of [`clip`].
    pub(crate) async fn pay(&self, quote: &SignedQuote) -> Bytes {
        let params = TicketParams::decode(&quote.quote.ticket_params).expect("ticket parameters");
        let cost = Wei(quote.quote.price.cost(PIXELS));
        let payment = self.bank().sender.pay(quote.quote.session, &params, cost).await.expect("tickets");
        payment.bytes.into()
    }

    pub(crate) async fn send(
        &self,
        header: SegmentHeader,
        source: Bytes,
    ) -> Result<SegmentResult, NetworkError> {
        self.send_from(&self.client, header, source).await
    }

    pub(crate) async fn send_from(
        &self,
        client: &Network,
        header: SegmentHeader,
        source: Bytes,
    ) -> Result<SegmentResult, NetworkError> {
        client.open_segment(self.network.peer_id(), header).await?.complete(source).await
    }
}

/// A node that knows the orchestrator.
pub(crate) async fn client_of(orchestrator: &Network) -> Network {
    let client = Network::start(NetworkConfig::new(Identity::generate())).await.expect("a node that dials");
    let service = orchestrator.service_address().expect("the orchestrator listens");
    client.add_peer(&service).expect("room in the address book");
    client
}

async fn memory_bank(ticket: u64) -> (Bank, Payments) {
    let recipient = orchestrator_key().address();
    let domain = Domain::new(1, Address::repeat_byte(9));
    let broker = Arc::new(MemoryBroker::new(domain, recipient));
    broker.set_gas_price(Wei::ZERO);
    let key = EthKey::random();
    let deposit = Wei::from(1_000_000_000_000_000_000);
    broker.fund(key.address(), SenderFunds { deposit, ..SenderFunds::default() });
    let config =
        RecipientConfig { ticket_value: Wei::from(ticket), ..RecipientConfig::new(recipient, domain) };
    let (mut bank, payments) = open_bank(config, broker.clone(), key, broker.clone()).await;
    bank.memory = Some(broker);
    (bank, payments)
}

/// Books of both sides: `theirs` is the orchestrator's view of the chain, `ours` that of the sender with `key`.
pub(crate) async fn open_bank(
    config: RecipientConfig,
    theirs: Arc<dyn Broker>,
    key: EthKey,
    ours: Arc<dyn BrokerView>,
) -> (Bank, Payments) {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let ledger = Arc::new(SqliteLedger::open(folder.path().join("recipient.db")).await.expect("a ledger"));
    let sending = SenderConfig::new(config.domain);
    let policy = RedeemPolicy { min_batch: 1, confirmations: 1, ..RedeemPolicy::default() };
    let payments = Payments::open(config, policy, ledger, theirs).await.expect("open books");
    let spending = Arc::new(SqliteLedger::open(folder.path().join("sender.db")).await.expect("a ledger"));
    let sender = Sender::open(key, sending, spending, ours, Arc::new(SystemClock)).await.expect("a sender");
    (Bank { memory: None, sender, _folder: folder }, payments)
}

/// The key of every market's orchestrator.
pub(crate) fn orchestrator_key() -> EthKey {
    EthKey::from_bytes(&ORCHESTRATOR_KEY).expect("a key")
}

/// A connected transcoder.
pub(crate) struct Worker {
    network: Network,
    _daemon: DaemonHandle,
}

impl Worker {
    /// Goes away at once, as a process that is killed does.
    pub(crate) async fn vanish(self) {
        drop(self._daemon);
        self.network.shutdown().await;
    }
}

/// A header for [`clip`] in a session.
pub(crate) fn header(quote: &SignedQuote, sequence: u64) -> SegmentHeader {
    header_for(quote, sequence, &clip())
}

/// A header that announces `source` as what [`clip`] is.
pub(crate) fn header_for(quote: &SignedQuote, sequence: u64, source: &Bytes) -> SegmentHeader {
    SegmentHeader {
        session: quote.quote.session,
        sequence,
        duration_90k: 90_000,
        frames: 30,
        source_len: source.len() as u64,
        source_sha256: B256::from_slice(&Sha256::digest(source)),
        ladder: ladder(),
        deadline: Duration::from_secs(50),
        payment: Bytes::new(),
        sampling_commitment: None,
    }
}

/// The code a refusal carries.
pub(crate) fn code<T>(result: Result<T, NetworkError>) -> Option<WireCode> {
    match result {
        Ok(_) => None,
        Err(error) => error.wire_code(),
    }
}

/// Asserts that a result is the whole ladder of [`clip`].
pub(crate) fn assert_whole(result: &SegmentResult) {
    let entries = ladder();
    assert_eq!(result.renditions.len(), entries.len());
    for (rendition, entry) in result.renditions.iter().zip(&entries) {
        let info = segment_info(rendition, &MediaLimits::default()).expect("a readable rendition");
        let video = info.video.expect("a rendition with video");
        assert_eq!((video.width, video.height, video.pts.len()), (entry.width, entry.height, 30));
    }
}

/// An engine that leaves every job to the test.
#[derive(Debug)]
pub(crate) struct Puppet {
    capabilities: Capabilities,
    jobs: mpsc::UnboundedSender<RenditionSink>,
}

impl Puppet {
    pub(crate) fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<RenditionSink>) {
        let (jobs, receiver) = mpsc::unbounded_channel();
        let capabilities =
            Capabilities { codecs: vec![VideoCodec::H264], device: "a test".to_owned(), max_sessions: None };
        (Arc::new(Self { capabilities, jobs }), receiver)
    }
}

impl Engine for Puppet {
    fn name(&self) -> &'static str {
        "puppet"
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn transcode(&self, job: Job) -> Renditions {
        let (sink, renditions, _) = Renditions::channel("puppet", job.deadline);
        // A test that has seen enough does not wait for more jobs.
        let _ = self.jobs.send(sink);
        renditions
    }
}

/// The next job of a puppet.
pub(crate) async fn next_job(jobs: &mut mpsc::UnboundedReceiver<RenditionSink>) -> RenditionSink {
    tokio::time::timeout(PATIENCE, jobs.recv()).await.expect("a job in time").expect("a living engine")
}
