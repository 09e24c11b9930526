//! The miner's daemon: connects outward to one orchestrator, offers its engines, serves jobs, comes back, drains.

mod link;
mod lookout;
mod pool;
mod serve;
mod service;

use std::{sync::Arc, time::Duration};

use framemill_network::{Network, NetworkError, PeerId, ServiceAddress, WorkToken};
use thiserror::Error;
use tokio::{sync::watch, task::JoinError};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::info;

use self::{pool::Pool, service::Service};
use crate::{
    Capacity, Engine, Metrics, TranscodeError, WatchConfig, capacity::MOST_SESSIONS, measure_capacity,
};

/// Longest name the work protocol carries.
const MAX_NAME_BYTES: usize = 64;

/// Settings of a [`Daemon`].
#[derive(Debug, Clone)]
pub struct DaemonConfig {
    /// Where the orchestrator is.
    pub orchestrator: ServiceAddress,
    /// The secret shared with it.
    pub token: WorkToken,
    /// Name in the orchestrator's logs, 1 to 64 bytes.
    pub name: String,
    /// How long a drain waits for segments in flight.
    pub drain_timeout: Duration,
    /// Sessions each engine takes at once at most, however many it sustains.
    pub max_sessions: u32,
    /// Offers less while the machine does other work that gets in the way, or that this gets in the way of; `None` offers the same
    /// whatever happens.
    pub watch: Option<WatchConfig>,
}

impl DaemonConfig {
    /// Settings with the default drain time of 30 s, longer than any live segment's deadline, and as many sessions as the engines
    /// sustain.
    pub fn new(orchestrator: ServiceAddress, token: WorkToken, name: impl Into<String>) -> Self {
        Self {
            orchestrator,
            token,
            name: name.into(),
            drain_timeout: Duration::from_secs(30),
            max_sessions: MOST_SESSIONS,
            watch: None,
        }
    }
}

/// Why a daemon could not start or had to end.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DaemonError {
    /// There is nothing to offer.
    #[error("no engine to offer; give at least one")]
    NoEngine,
    /// A name the protocol cannot carry.
    #[error("transcoder name {name:?} has {} bytes; use 1 to {MAX_NAME_BYTES}", name.len())]
    Name {
        /// The name.
        name: String,
    },
    /// An engine cannot transcode the built-in clip.
    #[error("engine {engine} failed its measurement: {source}")]
    Measure {
        /// Name of the engine.
        engine: &'static str,
        /// What went wrong.
        source: TranscodeError,
    },
    /// The orchestrator's address cannot be used.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The orchestrator never accepted the token.
    #[error(
        "orchestrator {orchestrator} does not accept this transcoder's token; give both sides the same one"
    )]
    Unauthorized {
        /// The orchestrator.
        orchestrator: PeerId,
    },
    /// A drain ran out of time.
    #[error("{jobs} segments were still in flight after {after:?} of draining and were cut off")]
    DrainTimedOut {
        /// Segments cut off.
        jobs: usize,
        /// The drain time.
        after: Duration,
    },
    /// The daemon's task died.
    #[error("the daemon's task died: {0}")]
    Died(#[from] JoinError),
}

/// What a daemon is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DaemonState {
    /// Not connected; trying.
    Connecting,
    /// Connected and taking jobs.
    Serving,
    /// Finishing what is in flight.
    Draining,
    /// Ended.
    Stopped,
}

/// Starts daemons.
#[derive(Debug)]
pub struct Daemon {
    config: DaemonConfig,
    offers: Vec<(Arc<dyn Engine>, Capacity)>,
    metrics: Option<Metrics>,
}

impl Daemon {
    /// Measures the engines, one after the other, and makes a daemon that offers what they sustain.
    ///
    /// # Errors
    /// When there is no engine, or one cannot transcode the built-in clip.
    pub async fn measured(config: DaemonConfig, engines: Vec<Arc<dyn Engine>>) -> Result<Self, DaemonError> {
        let mut offers = Vec::with_capacity(engines.len());
        for engine in engines {
            let name = engine.name();
            let capacity = measure_capacity(engine.as_ref())
                .await
                .map_err(|source| DaemonError::Measure { engine: name, source })?;
            info!(
                engine = name,
                pixels_per_second = capacity.pixels_per_second,
                max_sessions = capacity.max_sessions,
                "measured engine"
            );
            offers.push((engine, capacity));
        }
        Self::offering(config, offers)
    }

    /// A daemon that offers engines at capacities that are known already.
    ///
    /// # Errors
    /// When there is no engine, or the name cannot be used.
    pub fn offering(
        config: DaemonConfig,
        offers: Vec<(Arc<dyn Engine>, Capacity)>,
    ) -> Result<Self, DaemonError> {
        if offers.is_empty() {
            return Err(DaemonError::NoEngine);
        }
        if !(1..=MAX_NAME_BYTES).contains(&config.name.len()) {
            return Err(DaemonError::Name { name: config.name });
        }
        let most = config.max_sessions.max(1);
        let bounded = |(engine, capacity): (_, Capacity)| {
            (engine, Capacity { max_sessions: capacity.max_sessions.min(most), ..capacity })
        };
        let offers = offers.into_iter().map(bounded).collect();
        Ok(Self { config, offers, metrics: None })
    }

    /// Reports to these metrics.
    #[must_use]
    pub fn with_metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// What the engines sustain together.
    pub fn capacity(&self) -> Capacity {
        total(self.offers.iter().map(|(_, capacity)| *capacity))
    }

    /// Starts to connect and serve on the given network node. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the orchestrator's address cannot be remembered.
    pub fn start(self, network: Network) -> Result<DaemonHandle, DaemonError> {
        network.add_peer(&self.config.orchestrator)?;
        let (state, watch) = watch::channel(DaemonState::Connecting);
        let drain = CancellationToken::new();
        let pool = Pool::new(self.offers, self.metrics.clone());
        let service = Service::new(self.config, network, pool, self.metrics, state, drain.clone());
        let task = AbortOnDropHandle::new(tokio::spawn(service.run()));
        Ok(DaemonHandle { drain, state: watch, task })
    }
}

/// A running daemon. Dropping it cuts off everything in flight; [`drain`](Self::drain) first for an orderly end.
#[derive(Debug)]
pub struct DaemonHandle {
    drain: CancellationToken,
    state: watch::Receiver<DaemonState>,
    task: AbortOnDropHandle<Result<(), DaemonError>>,
}

impl DaemonHandle {
    /// Takes no new segments, finishes those in flight, then stops. Returns at once.
    pub fn drain(&self) {
        self.drain.cancel();
    }

    /// What the daemon is doing, now and later.
    pub fn state(&self) -> watch::Receiver<DaemonState> {
        self.state.clone()
    }

    /// Waits until the daemon ends: after a drain, or when the orchestrator never accepted its token.
    ///
    /// # Errors
    /// Why it ended, unless it was drained in time.
    pub async fn join(self) -> Result<(), DaemonError> {
        self.task.await?
    }
}

fn total(capacities: impl Iterator<Item = Capacity>) -> Capacity {
    capacities.fold(Capacity::default(), |sum, capacity| Capacity {
        pixels_per_second: sum.pixels_per_second.saturating_add(capacity.pixels_per_second),
        max_sessions: sum.max_sessions.saturating_add(capacity.max_sessions),
    })
}
