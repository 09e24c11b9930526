//! `framemill transcode`: one file into an HLS ladder, through the market or on this machine.

use std::{io::IsTerminal as _, path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use framemill_broadcaster::{
    Broadcaster, BroadcasterConfig, ObjectStorage, Pace, StaticOrchestrator, StreamConfig, StreamEvent,
    StreamSummary,
};
use framemill_network::{Network, NetworkConfig, WorkToken};
use framemill_orchestrator::{Orchestrator, OrchestratorConfig, OrchestratorDeps};
use framemill_transcoder::{Daemon, DaemonConfig};
use futures::StreamExt as _;
use indicatif::{ProgressBar, ProgressStyle};
use probabilistic_ticket::EthKey;
use prometheus::Registry;

use crate::{
    buyer::{self, Buyer},
    cli::{TranscodeArgs, TranscoderArgs},
    config::Config,
};

/// How long to wait for the first orchestrator.
const MARKET_LIMIT: Duration = Duration::from_secs(20);
/// A file has no viewers: a segment may take its time.
const SEGMENT_LIMIT: Duration = Duration::from_secs(120);
/// How long what ran for one file may take to end.
const DRAIN: Duration = Duration::from_secs(10);

/// Runs the command.
pub(crate) async fn run(config: &Config, args: &TranscodeArgs) -> anyhow::Result<()> {
    let mut stream = buyer::stream_config(config, stream_name(&args.input).as_str())?;
    stream.deadline.floor = SEGMENT_LIMIT;
    if let Some(ladder) = &args.ladder {
        stream.ladder = ladder.parse().context("--ladder")?;
    }
    let summary = match args.local {
        true => locally(config, args, stream).await?,
        false => {
            let buyer = Buyer::open(config, &args.output, &Registry::new()).await?;
            anyhow::ensure!(
                buyer.broadcaster.wait_for_orchestrators(1, MARKET_LIMIT).await,
                "no orchestrator is known: set chain.rpc and chain.deployment, or network.peers, or use --local"
            );
            let summary = play(&buyer.broadcaster, args, stream).await;
            buyer.close().await;
            summary?
        }
    };
    match args.json {
        true => println!("{}", serde_json::to_string(&summary)?),
        false => println!(
            "{} segments, {} renditions: {}",
            summary.totals.published,
            summary.totals.renditions,
            args.output.join(&summary.master_playlist).display()
        ),
    }
    anyhow::ensure!(
        summary.totals.lost == 0,
        "{} of {} segments were lost",
        summary.totals.lost,
        summary.totals.segments
    );
    anyhow::ensure!(summary.totals.published > 0, "{} holds no segment", args.input.display());
    Ok(())
}

/// A market of one on the loopback interface, free of charge: the same way through verification and publishing.
async fn locally(
    config: &Config,
    args: &TranscodeArgs,
    stream: StreamConfig,
) -> anyhow::Result<StreamSummary> {
    let selling = Network::start(NetworkConfig::loopback()).await?;
    let token = WorkToken::generate();
    let deps = OrchestratorDeps {
        network: selling.clone(),
        key: EthKey::random(),
        domain: Default::default(),
        work_token: token.clone(),
        payments: None,
        duties: None,
        jury: None,
        registry: Registry::new(),
    };
    let orchestrator = Orchestrator::start(OrchestratorConfig::default(), deps).await?;
    let service = selling.service_address().context("a loopback node listens")?;
    let working = Network::start(NetworkConfig::loopback()).await?;
    let chosen = super::transcoder::engines(config, &TranscoderArgs::default()).await?;
    let offers = super::transcoder::offers(chosen);
    let daemon = Daemon::offering(DaemonConfig::new(service.clone(), token, "local"), offers)?;
    let daemon = daemon.start(working.clone())?;
    daemon.state().wait_for(|state| *state == framemill_transcoder::DaemonState::Serving).await?;

    let buying = Network::start(NetworkConfig::loopback()).await?;
    let broadcaster = Broadcaster::builder()
        .network(buying.clone())
        .store(Arc::new(ObjectStorage::folder(&args.output)?))
        .config(BroadcasterConfig {
            orchestrators: vec![StaticOrchestrator::from(service)],
            ..Default::default()
        })
        .build()
        .await?;
    let summary = play(&broadcaster, args, stream).await;
    broadcaster.shutdown(DRAIN).await;
    daemon.drain();
    let drained = daemon.join().await;
    let ended = orchestrator.shutdown().await;
    for network in [buying, working, selling] {
        network.shutdown().await;
    }
    drained?;
    ended?;
    summary
}

async fn play(
    broadcaster: &Broadcaster,
    args: &TranscodeArgs,
    config: StreamConfig,
) -> anyhow::Result<StreamSummary> {
    let unusable = || format!("{} cannot be transcoded", args.input.display());
    let file = std::fs::File::open(&args.input).with_context(unusable)?;
    let stream = broadcaster.stream(config)?;
    let mut events = stream.events();
    let bar = progress();
    let playing = async {
        let pushed = stream.push_file(file, Pace::Fast).await;
        (pushed, stream.finish().await)
    };
    let showing = async {
        while let Some(event) = events.next().await {
            match event {
                StreamEvent::Segment(segment) => {
                    bar.inc(1);
                    if let Some(reason) = &segment.lost {
                        // A hidden bar prints nothing, and whoever reads a file's log needs the reasons too.
                        bar.suspend(|| eprintln!("segment {} was lost: {reason}", segment.sequence));
                    }
                }
                StreamEvent::Ended(_) => break,
                _ => {}
            }
        }
        bar.finish_and_clear();
    };
    let ((pushed, summary), ()) = tokio::join!(playing, showing);
    pushed.with_context(unusable)?;
    Ok(summary)
}

fn progress() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template("{spinner} {pos} segments in {elapsed}").expect("a literal template");
    ProgressBar::new_spinner().with_style(style)
}

/// The file's name as the stream's, as far as it can be one.
fn stream_name(input: &Path) -> String {
    let stem = input.file_stem().unwrap_or_default().to_string_lossy();
    let legal = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '-' };
    let name: String = stem.chars().map(legal).take(64).collect();
    if name.is_empty() { "stream".to_owned() } else { name }
}
