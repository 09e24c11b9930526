//! `framemill transcoder`: the miner's daemon.

use std::sync::Arc;

use anyhow::Context as _;
use framemill_network::{ServiceAddress, WorkToken};
use framemill_transcoder::{
    Capacity, Chosen, Daemon, DaemonConfig, DaemonState, Engine, EngineConfig, Metrics, Offer,
    SoftwareConfig, WatchConfig, choose_engines,
};

use crate::{
    cli::TranscoderArgs,
    config::Config,
    dashboard::Role,
    demo::CheatingEngine,
    keystore,
    reload::{self, Reload},
    runtime::{self, Runtime},
};

/// Runs the daemon until it is asked to stop.
pub(crate) async fn run(config: &Config, args: &TranscoderArgs, reload: Reload) -> anyhow::Result<()> {
    let watch = Some(watch(&config.transcoder)?);
    let make = async |offer: DaemonConfig| {
        Ok(Daemon::offering(DaemonConfig { watch, ..offer }, offers(engines(config, args).await?))?)
    };
    serve(config, &format!("Transcoder {}", config.transcoder.name), make, Some(reload)).await
}

/// Runs the daemon that `make` makes of the configured offer until it is asked to stop.
pub(crate) async fn serve(
    config: &Config,
    title: &str,
    make: impl AsyncFnOnce(DaemonConfig) -> anyhow::Result<Daemon>,
    reload: Option<Reload>,
) -> anyhow::Result<()> {
    let offer = offer(&config.transcoder)?;
    let runtime = Runtime::start(config, Role::Transcoder, title).await?;
    let network = runtime::network(config, &[]).await?;
    let daemon = make(offer).await?.with_metrics(Metrics::register(&runtime.metrics)?);
    let handle = daemon.start(network.clone())?;

    let mut state = handle.state();
    let readiness = runtime.readiness.clone();
    let watch = tokio::spawn(async move {
        loop {
            readiness.set(match *state.borrow_and_update() {
                DaemonState::Serving => Vec::new(),
                DaemonState::Connecting => vec!["not connected to the orchestrator".to_owned()],
                _ => vec!["draining".to_owned()],
            });
            if state.changed().await.is_err() {
                break;
            }
        }
    });
    let mut ended = handle.state();
    let reloads = reload::following(reload, &runtime.metrics, |_| Ok(()))?;
    tokio::select! {
        stop = runtime::asked_to_stop() => stop?,
        never = reloads => match never {},
        // The state's sender lives as long as the daemon: an error means that it has ended.
        _ = ended.wait_for(|state| *state == DaemonState::Stopped) => {}
    }
    handle.drain();
    let ended = handle.join().await;
    watch.abort();
    network.shutdown().await;
    runtime.stop().await;
    Ok(ended?)
}

/// For whom to work, and under what name.
///
/// # Errors
/// The orchestrator or its secret is not there, or is none.
pub(crate) fn offer(settings: &crate::config::Transcoder) -> anyhow::Result<DaemonConfig> {
    let address = settings.orchestrator.as_ref().context(
        "no orchestrator to work for: set transcoder.orchestrator to its multiaddr, ending in /p2p/<peer id>",
    )?;
    let orchestrator: ServiceAddress = address.parse().context("transcoder.orchestrator")?;
    let token_file = settings.token_file.as_ref().context(
        "no secret to prove: set transcoder.token_file to a copy of the orchestrator's transcoder.token",
    )?;
    let token = WorkToken::new(keystore::read_secret(token_file)?)?;
    Ok(DaemonConfig {
        max_sessions: u32::try_from(settings.max_sessions).context("transcoder.max_sessions")?,
        ..DaemonConfig::new(orchestrator, token, &settings.name)
    })
}

/// When less is to be offered, because the machine does other work.
///
/// # Errors
/// A text that is no condition.
pub(crate) fn watch(settings: &crate::config::Transcoder) -> anyhow::Result<WatchConfig> {
    let conditions = settings.pause_when.iter().map(|text| text.parse());
    Ok(WatchConfig {
        sm_budget: Some(settings.sm_budget).filter(|&percent| percent < 100),
        power_limit: Some(settings.power_limit).filter(|&watts| watts > 0),
        pause_when: conditions.collect::<Result<_, _>>().context("transcoder.pause_when")?,
    })
}

/// The engines of this machine as the configuration wants them, measured.
pub(crate) async fn engines(config: &Config, args: &TranscoderArgs) -> anyhow::Result<Chosen> {
    let settings = &config.transcoder;
    let threads = u32::try_from(settings.threads).context("transcoder.threads")?;
    let mut chosen = choose_engines(EngineConfig {
        choice: settings.engine,
        software: SoftwareConfig { threads, ..SoftwareConfig::default() },
        gpus: settings.gpus.clone(),
        worker: Some(super::gpu_worker::program()?),
    })
    .await
    .context("transcoder.engine")?;
    if let Some(from) = args.cheat_from {
        for offer in &mut chosen.offers {
            offer.engine = Arc::new(CheatingEngine::new(Arc::clone(&offer.engine), from));
        }
    }
    Ok(chosen)
}

/// What a daemon offers of them.
pub(crate) fn offers(chosen: Chosen) -> Vec<(Arc<dyn Engine>, Capacity)> {
    let offer = |offer: Offer| {
        let capacity = offer.capacity();
        (offer.engine, capacity)
    };
    chosen.offers.into_iter().map(offer).collect()
}
