//! The daemon's task: owns the connection and the jobs, and does what [`Link`] decides.

use std::{
    collections::HashMap,
    future::pending,
    time::{Duration, Instant},
};

use framemill_network::{
    IncomingJob, Network, NetworkError, PeerId, WireCode, WireError, WorkEvent, WorkHello, WorkSession,
};
use tokio::{
    sync::watch,
    task::{Id, JoinError, JoinSet},
    time::{Interval, MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    DaemonConfig, DaemonError, DaemonState,
    link::{Input, Link, Output, Stop},
    lookout::LOOK_EVERY,
    pool::{Pool, Ticket},
    serve::{serve, wire},
};
use crate::Metrics;

/// Answers to refused jobs that may be under way; further ones are dropped, which tells the orchestrator the same.
const MAX_REFUSALS: usize = 64;

/// How long a finished job's last bytes may take to leave this machine: no more of them wait than fit a stream's buffers.
const LINGER: Duration = Duration::from_secs(1);

pub(crate) struct Service {
    config: DaemonConfig,
    network: Network,
    orchestrator: PeerId,
    pool: Pool,
    metrics: Option<Metrics>,
    state: watch::Sender<DaemonState>,
    drain: CancellationToken,
    link: Link,
    session: Option<WorkSession>,
    dial: JoinSet<Result<WorkSession, NetworkError>>,
    jobs: JoinSet<Option<Duration>>,
    tickets: HashMap<Id, Ticket>,
    last_ended: Option<Instant>,
    refusals: JoinSet<()>,
    /// When to look at the engines, if they are watched.
    looks: Option<Interval>,
}

/// What the task woke up for.
enum Wake {
    Timer,
    Look,
    Drain,
    Dialed(Result<WorkSession, NetworkError>),
    Session(Result<WorkEvent, NetworkError>),
    JobEnded(Result<(Id, Option<Duration>), JoinError>),
}

impl Service {
    pub(crate) fn new(
        config: DaemonConfig,
        network: Network,
        mut pool: Pool,
        metrics: Option<Metrics>,
        state: watch::Sender<DaemonState>,
        drain: CancellationToken,
    ) -> Self {
        let link = Link::new(Instant::now(), config.drain_timeout);
        let orchestrator = config.orchestrator.peer();
        let looks = config.watch.as_ref().map(|watch| {
            pool.watch_by(watch);
            let mut looks = interval(LOOK_EVERY);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            looks
        });
        Self {
            config,
            network,
            orchestrator,
            pool,
            metrics,
            state,
            drain,
            link,
            session: None,
            dial: JoinSet::new(),
            jobs: JoinSet::new(),
            tickets: HashMap::new(),
            last_ended: None,
            refusals: JoinSet::new(),
            looks,
        }
    }

    pub(crate) async fn run(mut self) -> Result<(), DaemonError> {
        loop {
            let input = match self.wake().await {
                Wake::Timer => Input::Tick,
                Wake::Look => {
                    self.look();
                    continue;
                }
                Wake::Drain => self.draining(),
                Wake::Dialed(outcome) => self.dialed(outcome),
                Wake::Session(Ok(event)) => match self.event(event) {
                    Some(input) => input,
                    None => continue,
                },
                Wake::Session(Err(error)) => self.lost(&error),
                Wake::JobEnded(ended) => self.job_ended(ended),
            };
            match self.link.step(Instant::now(), input, rand::random()) {
                Some(Output::Dial) => self.start_dial(),
                Some(Output::AnnounceDrain) => self.announce_drain(),
                Some(Output::Stop(stop)) => {
                    self.linger().await;
                    return self.stopped(stop);
                }
                None => {}
            }
        }
    }

    async fn wake(&mut self) -> Wake {
        let drained = self.drain.is_cancelled();
        let timer = self.link.wake_at();
        tokio::select! {
            biased;
            () = self.drain.cancelled(), if !drained || self.link_unaware() => Wake::Drain,
            Some(ended) = self.jobs.join_next_with_id() => Wake::JobEnded(ended),
            Some(dialed) = self.dial.join_next() => Wake::Dialed(flatten(dialed)),
            event = next_event(&mut self.session) => Wake::Session(event),
            Some(_) = self.refusals.join_next() => Wake::Timer,
            () = next_look(&mut self.looks) => Wake::Look,
            () = wait_until(timer) => Wake::Timer,
        }
    }

    /// Keeps the connection for a moment after the last job: one that ends takes with it what it has not sent yet. Ends
    /// early when the orchestrator is gone.
    async fn linger(&mut self) {
        let Some(ended) = self.last_ended else { return };
        let orchestrator_gone = async { while next_event(&mut self.session).await.is_ok() {} };
        let _ = tokio::time::timeout(LINGER.saturating_sub(ended.elapsed()), orchestrator_gone).await;
    }

    /// Whether the drain was asked for and the link has not heard of it.
    fn link_unaware(&self) -> bool {
        !matches!(*self.state.borrow(), DaemonState::Draining | DaemonState::Stopped)
    }

    fn look(&mut self) {
        if self.pool.look(Instant::now()) {
            self.tell_capacity();
        }
    }

    fn tell_capacity(&self) {
        if let Some(session) = &self.session {
            session.control().set_capacity(self.pool.capacity());
        }
    }

    fn draining(&mut self) -> Input {
        info!(jobs = self.jobs.len(), "draining");
        self.state.send_replace(DaemonState::Draining);
        Input::Drain
    }

    fn start_dial(&mut self) {
        let hello = WorkHello {
            name: self.config.name.clone(),
            engines: self.pool.names(),
            capacity: self.pool.capacity(),
        };
        let (network, peer, token) = (self.network.clone(), self.orchestrator, self.config.token.clone());
        self.dial.spawn(async move { network.connect_work(peer, hello, &token).await });
    }

    fn dialed(&mut self, outcome: Result<WorkSession, NetworkError>) -> Input {
        match outcome {
            Ok(session) => {
                info!(orchestrator = %self.orchestrator, "connected");
                if let Some(metrics) = &self.metrics {
                    metrics.connected();
                }
                self.session = Some(session);
                // It was introduced with what was offered when the dialing began.
                self.tell_capacity();
                self.state.send_if_modified(|state| {
                    let connecting = *state == DaemonState::Connecting;
                    if connecting {
                        *state = DaemonState::Serving;
                    }
                    connecting
                });
                Input::Connected
            }
            Err(error) => {
                warn!(orchestrator = %self.orchestrator, %error, "could not connect; trying again");
                let unauthorized = error.wire_code() == Some(WireCode::Unauthorized);
                if unauthorized { Input::Unauthorized } else { Input::Lost }
            }
        }
    }

    fn lost(&mut self, error: &NetworkError) -> Input {
        warn!(orchestrator = %self.orchestrator, %error, "lost the orchestrator; trying again");
        self.session = None;
        self.pool.orphan(Instant::now());
        if let Some(metrics) = &self.metrics {
            metrics.disconnected();
        }
        self.state.send_if_modified(|state| {
            let serving = *state == DaemonState::Serving;
            if serving {
                *state = DaemonState::Connecting;
            }
            serving
        });
        Input::Lost
    }

    fn event(&mut self, event: WorkEvent) -> Option<Input> {
        match event {
            WorkEvent::Job(job) => self.job(job),
            WorkEvent::OrchestratorDraining => {
                info!(orchestrator = %self.orchestrator, "orchestrator is shutting down");
                None
            }
            _ => None,
        }
    }

    fn job(&mut self, job: IncomingJob) -> Option<Input> {
        if !self.link.takes_jobs() {
            let draining = "this transcoder is draining; send the segment to another";
            self.refuse(job, WireError::new(WireCode::ShuttingDown, draining));
            return None;
        }
        match self.pool.admit(Instant::now(), job.header()) {
            Ok((engine, ticket)) => {
                let task = self.jobs.spawn(serve(job, engine, self.metrics.clone()));
                self.tickets.insert(task.id(), ticket);
                Some(Input::JobStarted)
            }
            Err(error) => {
                self.refuse(job, wire(&error));
                None
            }
        }
    }

    fn refuse(&mut self, job: IncomingJob, error: WireError) {
        if self.refusals.len() < MAX_REFUSALS {
            self.refusals.spawn(job.reject(error));
        }
    }

    fn job_ended(&mut self, ended: Result<(Id, Option<Duration>), JoinError>) -> Input {
        let (id, took) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                warn!(%error, "a job's task died");
                (error.id(), None)
            }
        };
        self.last_ended = Some(Instant::now());
        if let Some(ticket) = self.tickets.remove(&id) {
            self.pool.finish(Instant::now(), ticket, took);
        }
        Input::JobEnded
    }

    fn announce_drain(&self) {
        if let Some(session) = &self.session {
            session.control().drain();
        }
    }

    fn stopped(&mut self, stop: Stop) -> Result<(), DaemonError> {
        self.state.send_replace(DaemonState::Stopped);
        if let Some(metrics) = &self.metrics {
            metrics.disconnected();
        }
        match stop {
            Stop::Drained => {
                info!("drained");
                Ok(())
            }
            Stop::DrainTimedOut { jobs } => {
                Err(DaemonError::DrainTimedOut { jobs, after: self.config.drain_timeout })
            }
            Stop::Unauthorized => Err(DaemonError::Unauthorized { orchestrator: self.orchestrator }),
        }
    }
}

async fn next_event(session: &mut Option<WorkSession>) -> Result<WorkEvent, NetworkError> {
    match session {
        Some(session) => session.next().await,
        None => pending().await,
    }
}

async fn next_look(looks: &mut Option<Interval>) {
    match looks {
        Some(looks) => drop(looks.tick().await),
        None => pending().await,
    }
}

async fn wait_until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => pending().await,
    }
}

fn flatten(
    dialed: Result<Result<WorkSession, NetworkError>, JoinError>,
) -> Result<WorkSession, NetworkError> {
    dialed.unwrap_or_else(|error| {
        Err(NetworkError::Disconnected { what: "connecting to the orchestrator", reason: error.to_string() })
    })
}
