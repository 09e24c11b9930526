//! The daemon against a real work server over loopback.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use framemill_media::{MediaLimits, VideoCodec, segment_info};
use framemill_network::{
    Identity, JobExchange, JobHeader, JobResult, Ladder, Multiaddr, Network, NetworkConfig, NetworkError,
    ServiceAddress, WireCode, WorkServer, WorkToken, WorkerEvent, WorkerHandle, WorkerLink,
};
use framemill_transcoder::{
    Capabilities, Capacity, Daemon, DaemonConfig, DaemonError, DaemonHandle, DaemonState, Engine, Job,
    Metrics, RenditionEvent, RenditionSink, RenditionSummary, Renditions, SessionId, SoftwareEngine,
    WatchConfig,
};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use crate::support::*;

const LOTS: Capacity = Capacity { pixels_per_second: 1_000_000_000, max_sessions: 8 };

/// An orchestrator's side: a node that takes transcoders.
struct Orchestrator {
    network: Network,
    server: WorkServer,
}

impl Orchestrator {
    async fn start(token: &WorkToken) -> Self {
        Self::start_with(NetworkConfig::loopback(), token).await
    }

    async fn start_with(config: NetworkConfig, token: &WorkToken) -> Self {
        let network = Network::start(config).await.expect("a node on loopback");
        let server = network.serve_work(token.clone(), 8).expect("nobody serves work yet");
        Self { network, server }
    }

    fn address(&self) -> ServiceAddress {
        self.network.service_address().expect("the node listens")
    }

    async fn next_worker(&mut self) -> WorkerLink {
        let link = tokio::time::timeout(PATIENCE, self.server.next()).await;
        link.expect("a transcoder in time").expect("the node runs")
    }
}

fn token() -> WorkToken {
    WorkToken::generate()
}

async fn start(
    address: ServiceAddress,
    token: &WorkToken,
    engine: Arc<dyn Engine>,
    offer: Capacity,
) -> DaemonHandle {
    start_with(DaemonConfig::new(address, token.clone(), "test"), engine, offer).await
}

async fn start_with(config: DaemonConfig, engine: Arc<dyn Engine>, offer: Capacity) -> DaemonHandle {
    let network = Network::start(NetworkConfig::new(Identity::generate())).await.expect("a node that dials");
    let daemon = Daemon::offering(config, vec![(engine, offer)]).expect("one engine");
    daemon.start(network).expect("a new address book")
}

/// An orchestrator with one connected transcoder.
async fn connected(engine: Arc<dyn Engine>, offer: Capacity) -> (Orchestrator, WorkerLink, DaemonHandle) {
    let token = token();
    let mut orchestrator = Orchestrator::start(&token).await;
    let daemon = start(orchestrator.address(), &token, engine, offer).await;
    let link = orchestrator.next_worker().await;
    (orchestrator, link, daemon)
}

fn header(job: u64, session: u8, source: &Bytes, ladder: Ladder) -> JobHeader {
    let info = segment_info(source, &MediaLimits::default()).ok();
    let video = info.and_then(|info| info.video);
    JobHeader {
        job,
        session: SessionId::repeat_byte(session),
        sequence: job,
        duration_90k: video.as_ref().map_or(180_000, |video| video.duration.unsigned_abs()),
        frames: video.map_or(60, |video| u32::try_from(video.frames()).expect("a short clip")),
        source_len: source.len() as u64,
        source_sha256: SessionId::from_slice(&Sha256::digest(source)),
        ladder,
        deadline: Duration::from_secs(50),
    }
}

async fn open(
    handle: &WorkerHandle,
    job: u64,
    session: u8,
    source: &Bytes,
) -> Result<JobExchange, NetworkError> {
    handle.open_job(header(job, session, source, small_ladder())).await
}

async fn run(handle: &WorkerHandle, job: u64, source: &Bytes) -> Result<JobResult, NetworkError> {
    open(handle, job, 1, source).await?.complete(source.clone()).await
}

fn refusal<T>(outcome: Result<T, NetworkError>) -> Option<WireCode> {
    outcome.err().and_then(|error| error.wire_code())
}

async fn until(daemon: &DaemonHandle, wanted: DaemonState) {
    let mut state = daemon.state();
    let reached = tokio::time::timeout(PATIENCE, state.wait_for(|state| *state == wanted)).await;
    reached.expect("the state in time").expect("a running daemon");
}

/// An engine that leaves every job to the test.
#[derive(Debug)]
struct Puppet {
    capabilities: Capabilities,
    jobs: mpsc::UnboundedSender<RenditionSink>,
}

impl Puppet {
    fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<RenditionSink>) {
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
        self.jobs.send(sink).expect("the test waits for jobs");
        renditions
    }
}

/// Ends a [`header`] job of unreadable media the way an engine does.
fn finish(sink: RenditionSink) {
    let data = Bytes::from_static(b"pictures");
    let summary = RenditionSummary { frames: 60, pixels: 60 * 128 * 72, bytes: data.len() as u64 };
    sink.send(RenditionEvent::Chunk { index: 0, data }).expect("a live receiver");
    sink.send(RenditionEvent::End { index: 0, summary }).expect("a live receiver");
    sink.finish(Ok(()));
}

#[tokio::test]
async fn transcodes_for_its_orchestrator() {
    let (_orchestrator, link, _daemon) = connected(Arc::new(SoftwareEngine::default()), LOTS).await;
    assert_eq!(link.hello().name, "test");
    assert_eq!(link.hello().engines, ["software"]);
    assert_eq!(link.hello().capacity.pixels_per_second, LOTS.pixels_per_second);

    let source = synthetic(320, 180, 30, 1);
    let result = run(&link.handle(), 1, &source).await.expect("a result");
    assert_eq!(result.ends[0].pixels, 30 * 128 * 72);
    assert_eq!(times(&result.renditions[0]), times(&source));
}

#[tokio::test]
async fn bad_media_costs_that_job_only() {
    let (_orchestrator, link, _daemon) = connected(Arc::new(SoftwareEngine::default()), LOTS).await;
    let bad = Bytes::from_static(b"this is no media at all");
    assert_eq!(refusal(run(&link.handle(), 1, &bad).await), Some(WireCode::BadMedia));
    let good = synthetic(320, 180, 30, 1);
    assert!(run(&link.handle(), 2, &good).await.is_ok());
}

#[tokio::test]
async fn a_job_that_hangs_ends_at_its_deadline() {
    let (engine, mut jobs) = Puppet::new();
    let (_orchestrator, link, _daemon) = connected(engine, LOTS).await;
    let source = Bytes::from_static(b"whatever");
    let mut header = header(1, 1, &source, small_ladder());
    header.deadline = Duration::from_millis(1_500);
    let exchange = link.handle().open_job(header).await.expect("an accepted job");
    let (outcome, _held) = tokio::join!(exchange.complete(source), jobs.recv());
    assert!(outcome.is_err(), "a hanging engine gives no result");

    let next = open(&link.handle(), 2, 1, &Bytes::from_static(b"next")).await;
    assert!(next.is_ok(), "the transcoder takes the next job");
}

#[tokio::test]
async fn a_job_whose_engine_dies_fails_and_the_next_is_taken() {
    let (engine, mut jobs) = Puppet::new();
    let (_orchestrator, link, _daemon) = connected(engine, LOTS).await;
    let source = Bytes::from_static(b"whatever");
    let exchange = open(&link.handle(), 1, 1, &source).await.expect("an accepted job");
    let dies = async { drop(jobs.recv().await) };
    let (outcome, ()) = tokio::join!(exchange.complete(source.clone()), dies);
    assert_eq!(refusal(outcome), Some(WireCode::TranscoderFailed));
    assert!(open(&link.handle(), 2, 1, &source).await.is_ok());
}

#[tokio::test]
async fn tells_its_orchestrator_that_it_offers_less_when_segments_are_late() {
    let (engine, mut jobs) = Puppet::new();
    let token = token();
    let mut orchestrator = Orchestrator::start(&token).await;
    let config = DaemonConfig {
        watch: Some(WatchConfig::default()),
        ..DaemonConfig::new(orchestrator.address(), token, "test")
    };
    let _daemon = start_with(config, engine, LOTS).await;
    let mut link = orchestrator.next_worker().await;
    let handle = link.handle();
    // Segments of two seconds that take twice as long, and come to nothing.
    let late = async {
        // An engine that hangs keeps its end.
        let mut held = Vec::new();
        for job in 1.. {
            let source = Bytes::from_static(b"whatever");
            let mut header = header(job, 1, &source, small_ladder());
            header.deadline = Duration::from_secs(4);
            let exchange = handle.open_job(header).await.expect("a stream that is alone stays");
            let (_, sink) = tokio::join!(exchange.complete(source), jobs.recv());
            held.push(sink);
        }
    };
    let told = tokio::select! {
        () = late => panic!("jobs never end"),
        told = tokio::time::timeout(PATIENCE, link.next()) => told.expect("news in time").expect("a running session"),
    };
    let WorkerEvent::Capacity(capacity) = told else { panic!("{told:?}") };
    assert_eq!(capacity.pixels_per_second, LOTS.pixels_per_second / 2);
    assert_eq!(capacity.max_sessions, LOTS.max_sessions / 2);
}

#[tokio::test]
async fn refuses_before_upload_what_would_make_others_late() {
    let (engine, mut jobs) = Puppet::new();
    let source = synthetic(320, 180, 30, 1);
    let one_session = Capacity { pixels_per_second: 128 * 72 * 30 * 3 / 2, max_sessions: 8 };
    let (_orchestrator, link, _daemon) = connected(engine, one_session).await;
    let first = open(&link.handle(), 1, 1, &source).await.expect("room for one");
    let second = open(&link.handle(), 2, 2, &source).await;
    assert_eq!(refusal(second), Some(WireCode::Busy));

    let ends = async { drop(jobs.recv().await) };
    let _ = tokio::join!(first.complete(source), ends);
}

#[tokio::test]
async fn drains_by_finishing_what_is_in_flight() {
    let (engine, mut jobs) = Puppet::new();
    let (_orchestrator, mut link, daemon) = connected(engine, LOTS).await;
    let source = Bytes::from_static(b"whatever");
    let exchange = open(&link.handle(), 1, 1, &source).await.expect("an accepted job");
    let handle = link.handle();
    let drains = async {
        let sink = jobs.recv().await.expect("the job arrives");
        daemon.drain();
        let told = tokio::time::timeout(PATIENCE, link.next()).await.expect("a drain notice in time");
        assert_eq!(told.expect("a live session"), WorkerEvent::Draining);
        assert!(open(&handle, 2, 1, &source).await.is_err(), "no new job is taken");
        tokio::task::spawn_blocking(|| finish(sink)).await.expect("a live receiver");
    };
    let (outcome, ()) = tokio::join!(exchange.complete(source.clone()), drains);
    assert_eq!(outcome.expect("a result").renditions, [Bytes::from_static(b"pictures")]);
    daemon.join().await.expect("a clean drain");
}

#[tokio::test]
async fn stops_at_once_when_idle() {
    let (engine, _jobs) = Puppet::new();
    let (_orchestrator, _link, daemon) = connected(engine, LOTS).await;
    daemon.drain();
    daemon.join().await.expect("a clean drain");
}

#[tokio::test]
async fn comes_back_to_a_restarted_orchestrator() {
    let token = token();
    let identity = Identity::generate();
    let listen: Multiaddr = "/ip4/127.0.0.1/tcp/0".parse().expect("an address");
    let config = NetworkConfig { listen: vec![listen], ..NetworkConfig::new(identity.clone()) };
    let mut orchestrator = Orchestrator::start_with(config.clone(), &token).await;
    let address = orchestrator.address();
    let daemon = start(address, &token, Arc::new(SoftwareEngine::default()), LOTS).await;
    let first = orchestrator.next_worker().await;
    let listen = orchestrator.network.listen_addresses();

    orchestrator.network.shutdown().await;
    drop((first, orchestrator));
    until(&daemon, DaemonState::Connecting).await;

    let mut orchestrator = Orchestrator::start_with(NetworkConfig { listen, ..config }, &token).await;
    let second = orchestrator.next_worker().await;
    let source = synthetic(320, 180, 30, 1);
    assert!(run(&second.handle(), 1, &source).await.is_ok());
}

#[tokio::test]
async fn gives_up_when_the_token_is_wrong() {
    let orchestrator = Orchestrator::start(&token()).await;
    let (engine, _jobs) = Puppet::new();
    let daemon = start(orchestrator.address(), &token(), engine, LOTS).await;
    let outcome = tokio::time::timeout(PATIENCE, daemon.join()).await.expect("an answer in time");
    assert!(matches!(outcome, Err(DaemonError::Unauthorized { .. })), "{outcome:?}");
}

#[tokio::test]
async fn counts_what_it_does() {
    let registry = prometheus::Registry::new();
    let token = token();
    let mut orchestrator = Orchestrator::start(&token).await;
    let network = Network::start(NetworkConfig::new(Identity::generate())).await.expect("a node that dials");
    let config = DaemonConfig::new(orchestrator.address(), token, "test");
    let engine: Arc<dyn Engine> = Arc::new(SoftwareEngine::default());
    let daemon = Daemon::offering(config, vec![(engine, LOTS)])
        .expect("one engine")
        .with_metrics(Metrics::register(&registry).expect("a fresh registry"));
    let _daemon = daemon.start(network).expect("a new address book");
    let link = orchestrator.next_worker().await;
    run(&link.handle(), 1, &synthetic(320, 180, 30, 1)).await.expect("a result");

    let text =
        prometheus::TextEncoder::new().encode_to_string(&registry.gather()).expect("metrics in text form");
    assert!(text.contains(r#"framemill_transcoder_connections_total 1"#), "{text}");
    assert!(
        text.contains(r#"framemill_transcoder_capacity_pixels_per_second{engine="software"} 1000000000"#)
    );
}

#[tokio::test]
async fn a_daemon_without_an_engine_cannot_start() {
    let orchestrator = Orchestrator::start(&token()).await;
    let config = DaemonConfig::new(orchestrator.address(), token(), "test");
    assert!(matches!(Daemon::offering(config, Vec::new()), Err(DaemonError::NoEngine)));
}

#[tokio::test]
async fn offers_no_more_sessions_than_it_was_told_to() {
    let orchestrator = Orchestrator::start(&token()).await;
    let config =
        DaemonConfig { max_sessions: 2, ..DaemonConfig::new(orchestrator.address(), token(), "test") };
    let engine: Arc<dyn Engine> = Arc::new(SoftwareEngine::default());
    let daemon = Daemon::offering(config, vec![(engine, LOTS)]).expect("one engine");
    assert_eq!(daemon.capacity(), Capacity { max_sessions: 2, ..LOTS });
}
