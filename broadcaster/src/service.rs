//! The broadcaster itself: what its streams share, and how it starts and ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use alloy_primitives::Address;
use framemill_contracts::{ChainClient, ChainFeed, Change, Changes, EventKind, FeedConfig, Follower, Start};
use framemill_network::{Network, SigningDomain};
use framemill_verification::Policy;
use framemill_verification::policy::attention::Sight;
use futures::stream::{Stream, StreamExt};
use probabilistic_ticket::Sender;
use prometheus::Registry;
use tokio::sync::{Semaphore, broadcast};
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::audit::AUDITS_AT_ONCE;
use crate::config::{BroadcasterConfig, Limits, StreamConfig, shorten};
use crate::core::hedge::Strain;
use crate::core::scoreboard::{Delivery, Performance, Severity, Standing};
use crate::cores::Cores;
use crate::directory::{Directory, Orchestrator, OrchestratorId};
use crate::editions::Editions;
use crate::error::{BroadcasterError, StreamError};
use crate::event::{Events, StreamEvent, Totals};
use crate::evidence::{Evidence, EvidenceLog};
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::outlets::NamedStore;
use crate::queue::VerifyQueue;
use crate::rounds::{RoundClock, keep_time};
use crate::sampling::Sampling;
use crate::store::Store;
use crate::stream::{StreamHandle, StreamInner};

/// Pause between two looks at the list while waiting for orchestrators.
const WAIT_STEP: Duration = Duration::from_millis(50);

/// Pause between two looks at round and deposit where no changes are followed, or the last look failed: about a block.
const PAYER_REFRESH: Duration = Duration::from_secs(5);

/// Collects the parts of a [`Broadcaster`].
#[derive(Default)]
pub struct BroadcasterBuilder {
    config: BroadcasterConfig,
    network: Option<Network>,
    store: Option<Arc<dyn Store>>,
    copies: Vec<NamedStore>,
    chain: Option<ChainClient>,
    payer: Option<Sender>,
    domain: SigningDomain,
    registry: Option<Registry>,
}

impl BroadcasterBuilder {
    /// Settings; the defaults otherwise.
    #[must_use]
    pub fn config(mut self, config: BroadcasterConfig) -> Self {
        self.config = config;
        self
    }

    /// The network to reach orchestrators through. Required.
    #[must_use]
    pub fn network(mut self, network: Network) -> Self {
        self.network = Some(network);
        self
    }

    /// Where published segments go. Required.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// A further store, by a name of your choice. Every stream goes there as well that does not choose others
    /// ([`StreamConfig::copies`]), with playlists of its own: what it refuses is a gap there, and neither the stream nor another store waits for it. A segment counts as published when the store
    /// of [`BroadcasterBuilder::store`] has it.
    #[must_use]
    pub fn copy_to(mut self, name: impl Into<String>, store: Arc<dyn Store>) -> Self {
        self.copies.push(NamedStore { name: name.into(), store });
        self
    }

    /// The chain, whose registry is read for orchestrators. Without one the configured list is all there is.
    #[must_use]
    pub fn chain(mut self, chain: ChainClient) -> Self {
        self.chain = Some(chain);
        self
    }

    /// Who pays. Without one, segments are sent without tickets: orchestrators that ask a price refuse them.
    #[must_use]
    pub fn payer(mut self, payer: Sender) -> Self {
        self.payer = Some(payer);
        self
    }

    /// The domain that quotes and receipts are signed in; that of no chain otherwise.
    #[must_use]
    pub fn domain(mut self, domain: SigningDomain) -> Self {
        self.domain = domain;
        self
    }

    /// Where metrics are registered; they are counted and not shown otherwise.
    #[must_use]
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = Some(registry);
        self
    }

    /// Starts the broadcaster: reads the registry once and keeps it fresh from then on.
    ///
    /// # Errors
    /// When a required part is missing, a setting is out of its range or the sampling's folder cannot be used. An unreachable chain is not an error.
    ///
    /// Cancel safe: nothing of a dropped call goes on.
    pub async fn build(self) -> Result<Broadcaster, BroadcasterError> {
        check(&self.config)?;
        let directory = Directory::new(&self.config.orchestrators);
        let metrics = Metrics::new(self.registry.as_ref())?;
        let (sampling, keeper) = Sampling::open(&self.config.sampling, metrics.clone())?;
        let shared = Arc::new(Shared {
            network: self.network.ok_or(BroadcasterError::Missing("network"))?,
            store: self.store.ok_or(BroadcasterError::Missing("store"))?,
            copies: self.copies,
            editions: Arc::default(),
            payer: self.payer,
            domain: self.domain,
            directory,
            rounds: RoundClock::default(),
            memory: Arc::new(Memory::open(self.config.suspension, self.config.memory.as_deref())),
            strain: Mutex::default(),
            cores: Cores::new(self.config.verify_parallelism),
            audit_slots: Arc::new(Semaphore::new(AUDITS_AT_ONCE)),
            queue: VerifyQueue::new(self.config.verify_queue, self.config.verify_parallelism),
            evidence: EvidenceLog::new(self.config.max_evidence),
            metrics,
            sampling: Arc::new(sampling),
            totals: Mutex::new(Totals::default()),
            streams: Mutex::new(HashMap::new()),
            cancel: CancellationToken::new(),
            tasks: TaskTracker::new(),
            events: Events::channel(),
            limits: RwLock::new(self.config.limits()),
            config: self.config,
        });
        // The tasks from here on hold what they work for: a build that is dropped has to end them.
        let unfinished = shared.cancel.clone().drop_guard();
        if let Some(keeper) = keeper {
            shared.tasks.spawn(keeper.run(Arc::clone(&shared.sampling), shared.cancel.clone()));
        }
        shared.tasks.spawn(Arc::clone(&shared.memory).keep(shared.cancel.clone()));
        shared.metrics.suspended.set(gauge(shared.memory.with(|board| board.suspended(Instant::now()))));
        let feed = self
            .chain
            .clone()
            .map(|chain| ChainFeed::start(Follower::new(chain, Start::Now), FeedConfig::default()));
        if let Some(payer) = shared.payer.clone() {
            let changes = feed.as_ref().map(ChainFeed::subscribe);
            shared.tasks.spawn(keep_payer_fresh(payer, changes, shared.cancel.clone()));
        }
        if let (Some(chain), Some(feed)) = (self.chain, feed) {
            let changes = feed.subscribe();
            shared.rounds.look(&chain).await;
            shared.tasks.spawn(keep_time(Arc::clone(&shared), chain.clone(), feed.subscribe()));
            shared.directory.refresh(&chain).await;
            shared.tasks.spawn(keep_fresh(Arc::clone(&shared), chain, feed, changes));
        }
        shared.directory.follow_on(&shared.network);
        shared.metrics.orchestrators.set(gauge(shared.directory.list().len()));
        unfinished.disarm();
        Ok(Broadcaster { shared })
    }
}

/// Reads the registry when an event may have changed it, until the broadcaster ends. The feed lives as long.
async fn keep_fresh(shared: Arc<Shared>, chain: ChainClient, _feed: ChainFeed, mut changes: Changes) {
    // What happened between the first read and the feed's first block is in no event.
    let mut begun = false;
    let mut stale = false;
    loop {
        let wanted = |change: &Change| change.changes_orchestrators() || !begun;
        tokio::select! {
            () = shared.cancel.cancelled() => return,
            changed = changes.until(wanted) => if changed.is_none() { return },
            () = tokio::time::sleep(shared.config.registry_retry), if stale => {}
        }
        begun = true;
        stale = !shared.directory.refresh(&chain).await;
        shared.directory.follow_on(&shared.network);
        shared.metrics.orchestrators.set(gauge(shared.directory.list().len()));
    }
}

/// Looks at round and deposit until the broadcaster ends: a payer that never sees a top-up stops paying. With changes to
/// follow, only what concerns it makes it look.
async fn keep_payer_fresh(payer: Sender, mut changes: Option<Changes>, cancel: CancellationToken) {
    let me = payer.address();
    let mut by_clock = changes.is_none();
    let mut begun = false;
    loop {
        let concerns = |change: &Change| !begun || concerns_payer(change, me);
        let news = async {
            match &mut changes {
                Some(changes) => changes.until(concerns).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = cancel.cancelled() => return,
            changed = news => if changed.is_none() { return },
            () = tokio::time::sleep(PAYER_REFRESH), if by_clock => {}
        }
        begun = true;
        let refreshed = payer.refresh().await;
        if let Err(error) = &refreshed {
            tracing::debug!(%error, "deposit cannot be read, payments go on with the last one seen");
        }
        by_clock = changes.is_none() || refreshed.is_err();
    }
}

/// Whether round or deposit of an account may be another after a change.
fn concerns_payer(change: &Change, payer: Address) -> bool {
    match change {
        Change::Missed | Change::Answers(true) => true,
        other => other.event().is_some_and(|event| {
            event.kind.sender() == Some(payer) || matches!(event.kind, EventKind::RoundStarted { .. })
        }),
    }
}

fn check(config: &BroadcasterConfig) -> Result<(), BroadcasterError> {
    let positive = [
        ("max_quotes", config.max_quotes),
        ("warm_sessions", config.warm_sessions),
        ("verify_parallelism", config.verify_parallelism),
        ("verify_queue", config.verify_queue),
        ("max_streams", config.max_streams),
    ];
    positive.into_iter().try_for_each(|(setting, value)| check_positive(setting, value))
}

fn check_positive(setting: &'static str, value: usize) -> Result<(), BroadcasterError> {
    match value {
        0 => Err(BroadcasterError::Setting { setting, value: "0".into(), hint: "give at least 1" }),
        _ => Ok(()),
    }
}

/// What all streams of a broadcaster share.
pub(crate) struct Shared {
    pub(crate) config: BroadcasterConfig,
    pub(crate) network: Network,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) copies: Vec<NamedStore>,
    pub(crate) editions: Arc<Editions>,
    pub(crate) payer: Option<Sender>,
    pub(crate) domain: SigningDomain,
    pub(crate) directory: Directory,
    pub(crate) rounds: RoundClock,
    pub(crate) cores: Cores,
    pub(crate) audit_slots: Arc<Semaphore>,
    pub(crate) queue: VerifyQueue,
    pub(crate) sampling: Arc<Sampling>,
    pub(crate) evidence: EvidenceLog,
    pub(crate) metrics: Metrics,
    pub(crate) cancel: CancellationToken,
    pub(crate) tasks: TaskTracker,
    pub(crate) events: broadcast::Sender<(String, StreamEvent)>,
    pub(crate) memory: Arc<Memory>,
    limits: RwLock<Limits>,
    strain: Mutex<Strain<OrchestratorId>>,
    totals: Mutex<Totals>,
    streams: Mutex<HashMap<String, Weak<StreamInner>>>,
}

impl Shared {
    pub(crate) fn standing(&self, id: &OrchestratorId, now: Instant) -> Standing {
        self.memory.with(|board| board.standing(id, now))
    }

    pub(crate) fn performance(&self, id: &OrchestratorId) -> Performance {
        self.memory.with(|board| board.performance(id, Instant::now()))
    }

    pub(crate) fn delivered(&self, id: &OrchestratorId, delivery: &Delivery) {
        self.memory.with(|board| board.delivered(id, Instant::now(), delivery));
    }

    /// Records that another was faster.
    pub(crate) fn outpaced(&self, id: &OrchestratorId, elapsed: Duration, duration: Duration) {
        self.memory.with(|board| board.outpaced(id, Instant::now(), elapsed, duration));
    }

    /// Notes whether an attempt passed its usual time.
    pub(crate) fn note_late(&self, id: OrchestratorId, late: bool) {
        lock(&self.strain).note(id, late);
    }

    /// Whether lateness is our own: everybody seems late, or verification cannot keep up.
    pub(crate) fn is_strained(&self) -> bool {
        lock(&self.strain).is_ours() || self.sampling.is_strained()
    }

    /// Records what a rendition was worth beside a second encode.
    pub(crate) fn audited(&self, id: &OrchestratorId, worth_ppm: u32) {
        self.memory.with(|board| board.audited(id, Instant::now(), worth_ppm));
    }

    /// Records a failure and returns the length of the suspension.
    pub(crate) fn failed(&self, id: &OrchestratorId, severity: Severity) -> Duration {
        let now = Instant::now();
        let (length, suspended) =
            self.memory.with(|board| (board.failed(id, now, severity), board.suspended(now)));
        self.metrics.suspended.set(gauge(suspended));
        self.memory.note_suspension();
        length
    }

    /// What holds at this moment.
    pub(crate) fn limits(&self) -> Limits {
        *self.limits.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut Totals)) {
        change(&mut lock(&self.totals));
    }

    /// Whether there is a further store of each name.
    pub(crate) fn check_copies(&self, names: &[String]) -> Result<(), StreamError> {
        let is_known = |name: &String| self.copies.iter().any(|store| store.name == *name);
        let unknown = names.iter().find(|name| !is_known(name));
        unknown.map_or(Ok(()), |name| Err(StreamError::Store(shorten(name))))
    }

    /// Takes a stream out of the list of open ones.
    pub(crate) fn closed(&self, name: &str) {
        let mut streams = lock(&self.streams);
        streams.remove(name);
        self.metrics.streams.set(gauge(streams.len()));
    }

    /// The account that pays; zero without a payer.
    pub(crate) fn payer_address(&self) -> Address {
        self.payer.as_ref().map_or(Address::ZERO, Sender::address)
    }
}

/// One orchestrator as the broadcaster sees it now.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OrchestratorView {
    /// Who it is and where it is reached.
    pub orchestrator: Orchestrator,
    /// How it did so far.
    pub performance: Performance,
    /// Whether it may be used.
    pub standing: Standing,
    /// What is left of its suspension; zero when it is not suspended.
    pub suspended_for: Duration,
    /// Rates at which its next result is looked at on a stream that leaves it to the record; nothing is known of an account
    /// that has not quoted yet.
    pub rates: Option<Policy>,
}

/// Buys transcoding for any number of streams. Cheap to clone; all clones are one broadcaster.
#[derive(Clone)]
pub struct Broadcaster {
    pub(crate) shared: Arc<Shared>,
}

impl Broadcaster {
    /// A builder with defaults.
    pub fn builder() -> BroadcasterBuilder {
        BroadcasterBuilder::default()
    }

    /// Opens a stream. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// When the name cannot be used or is taken, there is no such store, or too many streams are open.
    pub fn stream(&self, config: StreamConfig) -> Result<StreamHandle, StreamError> {
        config.check()?;
        self.shared.check_copies(config.copies.as_deref().unwrap_or_default())?;
        if self.shared.cancel.is_cancelled() {
            return Err(StreamError::Ended(config.name));
        }
        let mut streams = lock(&self.shared.streams);
        if streams.contains_key(&config.name) {
            return Err(StreamError::Exists(config.name));
        }
        if streams.len() >= self.shared.limits().max_streams {
            return Err(StreamError::TooMany(streams.len()));
        }
        let name = config.name.clone();
        let handle = StreamHandle::start(Arc::clone(&self.shared), config);
        streams.insert(name, handle.downgrade());
        self.shared.metrics.streams.set(gauge(streams.len()));
        Ok(handle)
    }

    /// Sets other limits: for sessions that are opened from now on, also of streams that are open, and for new streams.
    ///
    /// # Errors
    /// A limit is out of its range; nothing has changed then.
    pub fn limit(&self, limits: Limits) -> Result<(), BroadcasterError> {
        check_positive("max_streams", limits.max_streams)?;
        *self.shared.limits.write().unwrap_or_else(PoisonError::into_inner) = limits;
        Ok(())
    }

    /// Everybody who can be asked, with their record.
    pub fn orchestrators(&self) -> Vec<OrchestratorView> {
        let now = Instant::now();
        let rates = |account: Address| self.shared.sampling.rates(&account);
        self.shared.memory.with(|board| {
            let view = |orchestrator: &Orchestrator| OrchestratorView {
                performance: board.performance(&orchestrator.id, now),
                standing: board.standing(&orchestrator.id, now),
                suspended_for: board.suspended_for(&orchestrator.id, now),
                rates: orchestrator.account.map(rates),
                orchestrator: orchestrator.clone(),
            };
            self.shared.directory.list().iter().map(view).collect()
        })
    }

    /// Waits until at least `count` orchestrators are known; `false` when they are not within `limit`. Cancel safe.
    pub async fn wait_for_orchestrators(&self, count: usize, limit: Duration) -> bool {
        let wait = async {
            while self.shared.directory.list().len() < count {
                tokio::time::sleep(WAIT_STEP).await;
            }
        };
        tokio::time::timeout(limit, wait).await.is_ok()
    }

    /// Why no stream could be served now; `None` when at least one orchestrator can be asked, and paid where there is a payer.
    pub fn not_ready(&self) -> Option<String> {
        let orchestrators = self.orchestrators();
        if orchestrators.is_empty() {
            return Some("no orchestrator is known; configure one or check the chain's registry".into());
        }
        if orchestrators.iter().all(|view| view.standing == Standing::Barred) {
            return Some(format!(
                "all {} orchestrators are suspended for wrong results",
                orchestrators.len()
            ));
        }
        let unfunded = self.shared.payer.as_ref().filter(|payer| payer.deposit().is_zero())?;
        Some(format!(
            "account {} has no deposit, so that no ticket can be paid; fund it (framemill wallet fund)",
            unfunded.address()
        ))
    }

    /// Names of the streams open now.
    pub fn streams(&self) -> Vec<String> {
        lock(&self.shared.streams).keys().cloned().collect()
    }

    /// Evidence of rejected results, oldest first, bounded by [`BroadcasterConfig::max_evidence`].
    pub fn evidence(&self) -> Vec<Evidence> {
        self.shared.evidence.list()
    }

    /// Everything that happens on any stream from now on, with the stream's name. A reader that falls too far behind gets
    /// [`StreamEvent::Missed`] under an empty name.
    pub fn events(&self) -> impl Stream<Item = (String, StreamEvent)> + Send + Unpin + use<> {
        BroadcastStream::new(self.shared.events.subscribe()).map(|event| {
            event.unwrap_or_else(|BroadcastStreamRecvError::Lagged(events)| {
                (String::new(), StreamEvent::Missed { events })
            })
        })
    }

    /// Somebody found fault with what an orchestrator delivered: it gets full attention again, on streams that leave it to the
    /// record. A complaint costs it nothing else; repeat it as often as there is reason to.
    pub fn complain(&self, orchestrator: Address) {
        self.shared.sampling.see(&orchestrator, Sight::Complaint);
    }

    /// Totals over all streams since the start.
    pub fn totals(&self) -> Totals {
        lock(&self.shared.totals).clone()
    }

    /// Where published segments go.
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.shared.store)
    }

    /// Takes no new segments, lets those in flight end until `limit`, then stops. No task of the broadcaster is left when it
    /// returns.
    ///
    /// Cancel safe: the streams go on ending when the call is dropped; call it again to stop the rest.
    pub async fn shutdown(&self, limit: Duration) {
        let open: Vec<StreamHandle> =
            lock(&self.shared.streams).values().filter_map(Weak::upgrade).map(StreamHandle::from).collect();
        let drain = futures::future::join_all(open.iter().map(StreamHandle::finish));
        if tokio::time::timeout(limit, drain).await.is_err() {
            tracing::warn!("streams did not drain in time and are aborted");
        }
        self.shared.cancel.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nothing is left half-changed by a panic under these locks: every critical section is a few plain stores.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
