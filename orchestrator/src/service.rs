//! Tasks, sockets and their end: what turns the pure cores into a running orchestrator.

mod announce;
mod openings;
mod pool;
mod quotes;
mod segments;
mod vouch;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256};
use framemill_network::{
    Network, OpeningServer, QuoteServer, SegmentServer, SigningDomain, WorkServer, WorkToken,
};
use framemill_verification::evidence::find_in_bundles;
use probabilistic_ticket::EthKey;
use prometheus::Registry;
use tokio::sync::{Semaphore, broadcast};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::config::{Offer, OrchestratorConfig};
use crate::duties::{Duties, Keeper};
use crate::error::OrchestratorError;
use crate::events::{Events, OrchestratorEvent};
use crate::evidence::{Evidence, KeptReceipt};
use crate::jury::{Colleagues, Juror, JuryDuty};
use crate::metrics::{Metrics, level};
use crate::openings::Openings;
use crate::payments::{Payments, Till};
use crate::session::SessionTable;
use crate::told::Notes;
use pool::Pool;

/// Requests that wait for us before the network answers `busy` on our behalf: a few times what is
/// decided in the time of one round trip.
const REQUEST_QUEUE: usize = 64;

/// Transcoders that wait to be taken in.
const WORKER_QUEUE: usize = 16;

/// How often sessions are expired and gauges set.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// What an orchestrator works with. It starts and owns none of it.
#[derive(Debug)]
pub struct OrchestratorDeps {
    /// The running node; its quote, segment, opening, blob and work protocols are served by this orchestrator.
    pub network: Network,
    /// Signs quotes and receipts: the orchestrator's registered key.
    pub key: EthKey,
    /// What the signatures are for; the default when there is no chain.
    pub domain: SigningDomain,
    /// What transcoders prove to know.
    pub work_token: WorkToken,
    /// Takes tickets; `None` works for free.
    pub payments: Option<Payments>,
    /// Initializes rounds and calls for rewards; `None` leaves both to others.
    pub duties: Option<Duties>,
    /// Sits in juries; `None` leaves that to others, which costs nothing as long as no seat is claimed.
    pub jury: Option<JuryDuty>,
    /// Where the metrics go.
    pub registry: Registry,
}

/// State that all tasks share.
pub(crate) struct Shared {
    config: OrchestratorConfig,
    /// The configuration with the offer of this moment: what quotes and announcements are made of.
    offered: RwLock<Arc<OrchestratorConfig>>,
    network: Network,
    key: EthKey,
    domain: SigningDomain,
    pool: Arc<Pool>,
    sessions: Mutex<SessionTable>,
    till: Till,
    evidence: Mutex<Evidence>,
    notes: Notes,
    openings: Mutex<Openings>,
    /// Source bytes in memory, in units of [`segments::BUFFER_UNIT`].
    buffers: Arc<Semaphore>,
    /// Bytes of decoded pictures in memory, in units of [`segments::BUFFER_UNIT`].
    pictures: Arc<Semaphore>,
    /// Sessions that may be looked for in the ledger at once.
    recalls: Semaphore,
    /// Sources and renditions that may be decoded for commitments and quality at once.
    commitments: Arc<Semaphore>,
    metrics: Metrics,
    events: Events,
    /// The task that panicked, if one did.
    broken: OnceLock<&'static str>,
    /// No new work; segments in flight go on.
    draining: CancellationToken,
    /// Everything ends.
    stopped: CancellationToken,
}

impl Shared {
    fn sessions(&self) -> MutexGuard<'_, SessionTable> {
        locked(&self.sessions)
    }

    /// One offer, whole: whoever needs two of its figures reads them of one answer.
    fn offered(&self) -> Arc<OrchestratorConfig> {
        Arc::clone(&self.offered.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Settles what is left of a session that the table has dropped.
    async fn end(&self, session: B256) {
        self.till.close(session).await;
        self.events.send(OrchestratorEvent::SessionEnded { session });
    }

    async fn sweep(&self) {
        let now = Instant::now();
        let (ended, open, reserved) = {
            let mut sessions = self.sessions();
            (sessions.expire(now), sessions.len(), sessions.reserved(now))
        };
        for terms in ended {
            self.end(terms.id).await;
        }
        self.metrics.sessions.set(level(open));
        self.metrics.reserved.set(level(reserved));
    }
}

/// Locks state whose users never panic while they hold it.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics while holding the lock")
}

/// Starts orchestrators.
#[derive(Debug)]
pub struct Orchestrator;

impl Orchestrator {
    /// Starts to serve quotes, segments and transcoders. Needs a tokio runtime.
    ///
    /// # Errors
    /// The configuration contradicts itself, or another service has the network's protocols.
    pub async fn start(
        config: OrchestratorConfig,
        deps: OrchestratorDeps,
    ) -> Result<OrchestratorHandle, OrchestratorError> {
        config.validate()?;
        let price = config.price;
        check_payable(&config, deps.payments.is_some())?;
        let quotes = deps.network.serve_quotes(REQUEST_QUEUE)?;
        let segments = deps.network.serve_segments(REQUEST_QUEUE)?;
        let openings = deps.network.serve_openings(REQUEST_QUEUE)?;
        let folders = [config.evidence.clone(), deps.jury.as_ref().map(JuryDuty::evidence)];
        let folders: Vec<PathBuf> = folders.into_iter().flatten().collect();
        let blobs = match folders.is_empty() {
            true => None,
            false => Some(deps.network.serve_blobs(REQUEST_QUEUE)?),
        };
        let work = deps.network.serve_work(deps.work_token, WORKER_QUEUE)?;

        let (notes, scribe) = Notes::open(config.told.as_deref())?;
        let metrics = Metrics::new(&deps.registry)?;
        let juror = match deps.jury {
            Some(duty) => Juror::open(duty, deps.network.clone(), metrics.clone())?,
            None => None,
        };
        let colleagues = juror.as_ref().map_or_else(Colleagues::default, Juror::colleagues);
        let events = Events::new();
        let shared = Arc::new(Shared {
            pool: Arc::new(Pool::new(metrics.clone(), events.clone())),
            sessions: Mutex::new(SessionTable::new(config.sessions.clone())),
            till: Till::new(deps.payments, metrics.clone(), events.clone()),
            evidence: Mutex::new(Evidence::new(config.receipts_kept)),
            notes,
            openings: Mutex::new(Openings::new(config.commitments)),
            buffers: Arc::new(Semaphore::new(
                segments::buffer_units(config.segments.max_buffered_bytes) as usize
            )),
            pictures: Arc::new(Semaphore::new(
                segments::buffer_units(config.segments.max_picture_bytes) as usize
            )),
            recalls: Semaphore::new(segments::MAX_RECALLS),
            commitments: Arc::new(Semaphore::new(config.commitments.map_or(0, |offer| offer.parallelism))),
            network: deps.network,
            key: deps.key,
            domain: deps.domain,
            offered: RwLock::new(Arc::new(config.clone())),
            config,
            metrics,
            events,
            broken: OnceLock::new(),
            draining: CancellationToken::new(),
            stopped: CancellationToken::new(),
        });
        info!(address = %shared.key.address(), peer = %shared.network.peer_id(), price = %price, "orchestrator started");
        let mut tasks = Tasks::start(&shared, Servers { quotes, segments, openings, work });
        if let Some(keeper) = deps.duties.and_then(|duties| Keeper::new(duties, shared.metrics.clone())) {
            tasks.until_stopped(&shared, "keeper", keeper.run());
        }
        if let Some(juror) = juror {
            tasks.until_stopped(&shared, "juror", juror.run());
        }
        if let Some(blobs) = blobs {
            let find = move |sha256| folders.iter().find_map(|folder| find_in_bundles(folder, sha256));
            let blobs = blobs.preferring(move |peer| colleagues.know(peer));
            tasks.until_stopped(&shared, "blobs", blobs.serve_files(find));
        }
        if let Some(scribe) = scribe {
            let stopped = shared.stopped.clone();
            tasks.rest.spawn(watched(&shared, "notes", scribe.run(stopped)));
        }
        Ok(OrchestratorHandle {
            running: Arc::new(Running { shared, tasks: tokio::sync::Mutex::new(tasks) }),
        })
    }
}

fn check_payable(config: &OrchestratorConfig, paid: bool) -> Result<(), OrchestratorError> {
    let price = config.price;
    if config.is_free() || paid { Ok(()) } else { Err(OrchestratorError::PriceWithoutPayments { price }) }
}

/// The protocols that are served.
struct Servers {
    quotes: QuoteServer,
    segments: SegmentServer,
    openings: OpeningServer,
    work: WorkServer,
}

struct Tasks {
    /// Serves segments; ends by itself once draining and nothing is in flight.
    segments: JoinSet<()>,
    /// Everything else; ends on `stopped`.
    rest: JoinSet<()>,
}

impl Tasks {
    fn start(shared: &Arc<Shared>, servers: Servers) -> Self {
        let Servers { quotes, segments, openings, work } = servers;
        let mut tasks = Self { segments: JoinSet::new(), rest: JoinSet::new() };
        tasks.segments.spawn(watched(shared, "segments", segments::serve(shared.clone(), segments)));
        tasks.until_stopped(shared, "quotes", quotes::serve(shared.clone(), quotes));
        tasks.until_stopped(shared, "openings", openings::serve(shared.clone(), openings));
        tasks.until_stopped(shared, "workers", pool::serve(shared.clone(), work));
        tasks.until_stopped(shared, "redeemer", redeem(shared.clone()));
        tasks.until_stopped(shared, "sweeper", sweep(shared.clone()));
        tasks.until_stopped(shared, "announcer", announce::run(shared.clone()));
        tasks
    }

    fn until_stopped(
        &mut self,
        shared: &Arc<Shared>,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let stopped = shared.stopped.clone();
        let task = watched(shared, name, task);
        self.rest.spawn(async move {
            stopped.run_until_cancelled_owned(task).await;
        });
    }
}

/// Remembers the task that panicked: nobody waits for it before the shutdown.
struct Watch {
    shared: Arc<Shared>,
    task: &'static str,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            error!(
                task = self.task,
                "a task of the orchestrator panicked; restart the node and report its log"
            );
            // The first one is the cause.
            let _ = self.shared.broken.set(self.task);
        }
    }
}

fn watched<F: Future<Output = ()>>(
    shared: &Arc<Shared>,
    task: &'static str,
    work: F,
) -> impl Future<Output = ()> + use<F> {
    let watch = Watch { shared: shared.clone(), task };
    async move {
        let _watch = watch;
        work.await;
    }
}

async fn redeem(shared: Arc<Shared>) {
    shared.till.run(&shared.config.redemption).await;
}

async fn sweep(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(SWEEP_INTERVAL);
    loop {
        ticks.tick().await;
        shared.sweep().await;
    }
}

struct Running {
    shared: Arc<Shared>,
    tasks: tokio::sync::Mutex<Tasks>,
}

/// A running orchestrator. Clones are handles of the same one; when the last is dropped without
/// [`shutdown`](Self::shutdown), all its tasks are aborted.
#[derive(Clone)]
pub struct OrchestratorHandle {
    running: Arc<Running>,
}

impl OrchestratorHandle {
    /// What happens from now on. A receiver that lags misses the oldest events.
    pub fn events(&self) -> broadcast::Receiver<OrchestratorEvent> {
        self.running.shared.events.subscribe()
    }

    /// Quotes and announces another offer from now on. Sessions that are open keep what they were quoted.
    ///
    /// # Errors
    /// The offer contradicts itself, or asks a price where nobody takes tickets; nothing has changed then.
    pub fn offer(&self, offer: Offer) -> Result<(), OrchestratorError> {
        let shared = &self.running.shared;
        let changed = shared.config.offering(offer)?;
        check_payable(&changed, shared.till.takes_payment())?;
        shared.sessions().set_max_sessions(changed.sessions.max_sessions);
        info!(price = %changed.price, max_sessions = changed.sessions.max_sessions, "another offer from now on");
        *shared.offered.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(changed);
        Ok(())
    }

    /// Why this orchestrator cannot earn now; empty when it can.
    pub fn readiness(&self) -> Vec<String> {
        let shared = &self.running.shared;
        let mut reasons = Vec::new();
        if shared.draining.is_cancelled() {
            reasons.push("draining: no new work is taken".to_owned());
        }
        if let Some(task) = shared.broken.get() {
            reasons.push(format!("task {task} panicked: restart the node and report its log"));
        }
        if shared.pool.capacity() == 0 {
            reasons.push("no transcoder with capacity is connected".to_owned());
        }
        if shared.till.waits_for_chain() {
            reasons.push("the chain does not answer: winners wait, unknown senders are refused".to_owned());
        }
        reasons
    }

    /// The account that signs quotes and receipts.
    pub fn address(&self) -> Address {
        self.running.shared.key.address()
    }

    /// The last receipts given out, oldest first, at most
    /// [`receipts_kept`](OrchestratorConfig::receipts_kept).
    pub fn receipts(&self) -> Vec<KeptReceipt> {
        locked(&self.running.shared.evidence).all()
    }

    /// The receipt of one segment, while it is kept.
    pub fn receipt(&self, session: B256, sequence: u64) -> Option<KeptReceipt> {
        locked(&self.running.shared.evidence).find(session, sequence)
    }

    /// Stops taking work, lets segments in flight end for at most
    /// [`drain_deadline`](OrchestratorConfig::drain_deadline), then ends everything. The network and
    /// the ledger stay open: their owner closes them afterwards. Safe to call again.
    ///
    /// # Errors
    /// Segments were cut off, or a task had panicked.
    pub async fn shutdown(&self) -> Result<(), OrchestratorError> {
        let Running { shared, tasks } = &*self.running;
        shared.draining.cancel();
        shared.pool.drain();
        let mut tasks = tasks.lock().await;
        let waited = shared.config.drain_deadline;
        let drained = tokio::time::timeout(waited, tasks.segments.join_next()).await;
        let segments = shared.pool.jobs();
        tasks.segments.shutdown().await;
        shared.stopped.cancel();
        while tasks.rest.join_next().await.is_some() {}
        info!("orchestrator stopped");
        match (shared.broken.get(), drained) {
            (Some(task), _) => Err(OrchestratorError::Task { task }),
            (None, Err(_)) => Err(OrchestratorError::Drain { segments, waited }),
            (None, Ok(_)) => Ok(()),
        }
    }
}

impl std::fmt::Debug for OrchestratorHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OrchestratorHandle").field("address", &self.address()).finish_non_exhaustive()
    }
}
