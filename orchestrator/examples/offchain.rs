//! A market without a chain on one machine: an orchestrator that works for free, a transcoder, and a
//! client that has one synthetic segment transcoded.
//!
//! Run with `cargo run -p framemill-orchestrator --example offchain`.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, B256};
use bytes::Bytes;
use framemill_media::{ClipSpec, MediaLimits, Rational, generate_clip, segment_info};
use framemill_network::{
    FrameRate, Identity, Ladder, Network, NetworkConfig, QuoteRequest, SegmentHeader, SignedQuote,
    SigningDomain, SourceVideo, WorkToken,
};
use framemill_orchestrator::{Orchestrator, OrchestratorConfig, OrchestratorDeps, OrchestratorEvent};
use framemill_transcoder::{Daemon, DaemonConfig, SoftwareEngine};
use probabilistic_ticket::EthKey;
use sha2::{Digest, Sha256};

type Failure = Box<dyn std::error::Error>;

/// Longer than any step takes.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let token = WorkToken::generate();
    let network = Network::start(NetworkConfig::loopback()).await?;
    let deps = OrchestratorDeps {
        network: network.clone(),
        key: EthKey::random(),
        domain: SigningDomain::default(),
        work_token: token.clone(),
        payments: None,
        duties: None,
        jury: None,
        registry: prometheus::Registry::new(),
    };
    let orchestrator = Orchestrator::start(OrchestratorConfig::default(), deps).await?;
    let service = network.service_address().ok_or("the orchestrator does not listen")?;

    let mut events = orchestrator.events();
    let daemon = Daemon::measured(
        DaemonConfig::new(service.clone(), token, "example"),
        vec![Arc::new(SoftwareEngine::default())],
    );
    let daemon = daemon.await?.start(Network::start(NetworkConfig::new(Identity::generate())).await?)?;
    while !matches!(events.recv().await?, OrchestratorEvent::TranscoderConnected { .. }) {}

    let client = Network::start(NetworkConfig::new(Identity::generate())).await?;
    client.add_peer(&service)?;
    let source = generate_clip(&ClipSpec::new(640, 360, Rational::new(30, 1), 2), &MediaLimits::default())?;
    let picture = SourceVideo { width: 640, height: 360, fps: FrameRate::new(30, 1)? };
    let ladder = "360:800k,180:200k".parse::<Ladder>()?.resolve(&picture)?;
    let request = QuoteRequest {
        sender: Address::ZERO,
        pixels_per_second: ladder.pixels_per_second(picture.fps),
        ladder: ladder.clone(),
        source: picture,
        max_price: None,
        commitments: false,
    };
    let quote = client.request_quote(service.peer(), &request, PATIENCE).await?;
    let exchange = client.open_segment(service.peer(), header(&quote, ladder.clone(), &source)?).await?;
    let result = exchange.complete(source).await?;
    for (entry, rendition) in ladder.iter().zip(&result.renditions) {
        println!("{}: {} bytes", entry.name, rendition.len());
    }
    println!("receipt over {} pixels, signed by {}", result.receipt.receipt.pixels, orchestrator.address());

    daemon.drain();
    daemon.join().await?;
    orchestrator.shutdown().await?;
    Ok(())
}

fn header(quote: &SignedQuote, ladder: Ladder, source: &Bytes) -> Result<SegmentHeader, Failure> {
    let info = segment_info(source, &MediaLimits::default())?;
    let video = info.require_video()?;
    Ok(SegmentHeader {
        session: quote.quote.session,
        sequence: 0,
        duration_90k: video.duration.unsigned_abs(),
        frames: u32::try_from(video.pts.len())?,
        source_len: source.len() as u64,
        source_sha256: B256::from_slice(&Sha256::digest(source)),
        ladder,
        deadline: PATIENCE,
        payment: Bytes::new(),
        sampling_commitment: None,
    })
}
