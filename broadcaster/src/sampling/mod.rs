//! How deep results are looked at: the record of each orchestrator, the load, and the seeds that decide.

mod epoch;
mod files;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use alloy_primitives::Address;
use framemill_verification::policy::attention::{Attention, AttentionBook, Sight, Suspicion};
use framemill_verification::policy::draw::{Epoch, Secret, Seed};
use framemill_verification::policy::journal::Entry;
use framemill_verification::{PPM, Policy, Report};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{SamplingConfig, Verification};
use crate::core::governor::{Governor, Shift};
use crate::error::BroadcasterError;
use crate::metrics::Metrics;
use crate::service::{gauge, lock};
use crate::sessions::unix_ms;

pub(crate) use epoch::{OpenEpoch, StreamSampling};
use files::SamplingFiles;

/// Attention that only fell is saved this often: a crash costs some looks more, never one less.
const SAVE_INTERVAL: Duration = Duration::from_secs(300);

/// Shortest time between two saves when suspicions come fast.
const SAVE_PAUSE: Duration = Duration::from_secs(1);

/// The sampling of all streams.
pub(crate) struct Sampling {
    metrics: Metrics,
    book: Mutex<AttentionBook<Address>>,
    governor: Mutex<Governor>,
    waiting: AtomicUsize,
    secret: Secret,
    files: Option<SamplingFiles>,
    /// Something suspicious is not saved yet.
    suspicious: Notify,
    /// The record could not be written lately, which was said.
    unwritten: AtomicBool,
    tasks: TaskTracker,
}

impl Sampling {
    /// Goes on from what the folder holds, where there is one.
    pub(crate) fn open(
        config: &SamplingConfig,
        metrics: Metrics,
        tasks: TaskTracker,
    ) -> Result<Self, BroadcasterError> {
        let (files, secret, known) = match &config.folder {
            Some(folder) => open_files(folder)?,
            None => (None, Secret::from_bytes(rand::random()), BTreeMap::new()),
        };
        metrics.sampling_share.set(1.0);
        for cause in Suspicion::ALL {
            // A cause that never came up counts zero, rather than being absent.
            metrics.suspicions.with_label_values(&[cause.as_str()]);
        }
        Ok(Self {
            metrics,
            book: Mutex::new(AttentionBook::new(config.attention, known)),
            governor: Mutex::new(Governor::new(config.max_waiting, Instant::now())),
            waiting: AtomicUsize::new(0),
            secret,
            files,
            suspicious: Notify::new(),
            unwritten: AtomicBool::new(false),
            tasks,
        })
    }

    /// Counts a judgement as waiting for a core for as long as the guard lives.
    pub(crate) fn wait(self: &Arc<Self>) -> Waiting {
        let waiting = self.waiting.fetch_add(1, Ordering::AcqRel) + 1;
        self.metrics.verify_waiting.set(gauge(waiting));
        Waiting(Arc::clone(self))
    }

    /// The rates that the record of `who` asks for.
    pub(crate) fn rates(&self, who: &Address) -> Policy {
        lock(&self.book).rates(who, unix_ms() / 1000)
    }

    /// Takes in a result that passed.
    pub(crate) fn passed(&self, who: &Address, reports: &[Report]) {
        let permille = lock(&self.book).config().borderline_permille;
        self.see(who, Sight::of(reports, permille));
    }

    /// Takes in what was seen of an orchestrator.
    pub(crate) fn see(&self, who: &Address, sight: Sight) {
        let Some(suspicion) = lock(&self.book).see(who, unix_ms() / 1000, sight) else { return };
        self.metrics.suspicions.with_label_values(&[suspicion.as_str()]).inc();
        self.suspicious.notify_one();
    }

    fn seed(&self, epoch: &Epoch) -> Seed {
        self.secret.seed(epoch)
    }

    /// Rates that nobody falls below, overload aside.
    fn minimum(&self, verification: Verification) -> Policy {
        match verification {
            Verification::Fixed(policy) => policy,
            Verification::Adaptive { minimum } => lock(&self.book).config().floor.at_least(minimum),
        }
    }

    /// A judgement at adaptive rates starts; returns the share of them that the load leaves.
    fn started(&self, waited: Duration, allowed: Duration) -> u32 {
        let waiting = self.waiting.load(Ordering::Acquire);
        let mut governor = lock(&self.governor);
        let shift = governor.started(Instant::now(), waiting, waited, allowed);
        let share_ppm = governor.share_ppm();
        self.metrics.sampling_share.set(f64::from(share_ppm) / f64::from(PPM));
        drop(governor);
        match shift {
            Some(Shift::Lowered) => tracing::warn!(
                share_ppm,
                waiting,
                waited_ms = waited.as_millis(),
                "verification is behind: sampled results are fewer; give it more cores"
            ),
            Some(Shift::Raised) => {
                tracing::info!(share_ppm, "verification has caught up: sampling rates raised")
            }
            None => {}
        }
        share_ppm
    }

    /// Writes a line of the record, where there is one.
    fn write(&self, entry: &Entry, durable: bool) {
        let Some(files) = &self.files else { return };
        match files.append(entry, durable) {
            Ok(()) => self.unwritten.store(false, Ordering::Relaxed),
            Err(error) if !self.unwritten.swap(true, Ordering::Relaxed) => {
                tracing::error!(%error, "draws cannot be recorded, so they cannot be shown later; check the disk");
            }
            Err(_) => {}
        }
    }

    /// Writes a line off the async threads.
    fn write_later(self: &Arc<Self>, entry: Entry) {
        if self.files.is_none() {
            return;
        }
        let sampling = Arc::clone(self);
        match tokio::runtime::Handle::try_current() {
            Ok(handle) => drop(self.tasks.spawn_blocking_on(move || sampling.write(&entry, false), &handle)),
            Err(_) => sampling.write(&entry, false),
        }
    }

    /// Saves the attention until the broadcaster ends: suspicion soon, the rest now and then.
    pub(crate) async fn keep(self: Arc<Self>, cancel: CancellationToken) {
        if self.files.is_none() {
            return;
        }
        while !cancel.is_cancelled() {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = tokio::time::sleep(SAVE_INTERVAL) => {}
                () = self.suspicious.notified() => {
                    let _ = tokio::time::timeout(SAVE_PAUSE, cancel.cancelled()).await;
                }
            }
            let sampling = Arc::clone(&self);
            // Joining fails only if saving panicked; the next turn tries again.
            let _ = tokio::task::spawn_blocking(move || sampling.save()).await;
        }
    }

    fn save(&self) {
        let Some(files) = &self.files else { return };
        let known: BTreeMap<Address, Attention> =
            lock(&self.book).entries().map(|(who, entry)| (*who, *entry)).collect();
        if let Err(error) = files.save(&known) {
            tracing::error!(%error, "the record of orchestrators cannot be saved, a restart will know nobody; check the disk");
        }
    }
}

type Opened = (Option<SamplingFiles>, Secret, BTreeMap<Address, Attention>);

fn open_files(folder: &Path) -> Result<Opened, BroadcasterError> {
    let fail = |error: std::io::Error| BroadcasterError::Sampling {
        folder: folder.to_owned(),
        source: Arc::new(error),
    };
    let (files, secret) = SamplingFiles::open(folder).map_err(fail)?;
    let known = files.attention().unwrap_or_else(|error| {
        tracing::warn!(%error, "the record of orchestrators cannot be read: all of them get full attention again");
        BTreeMap::new()
    });
    Ok((Some(files), secret, known))
}

/// A judgement in the queue.
pub(crate) struct Waiting(Arc<Sampling>);

impl Drop for Waiting {
    fn drop(&mut self) {
        let waiting = self.0.waiting.fetch_sub(1, Ordering::AcqRel) - 1;
        self.0.metrics.verify_waiting.set(gauge(waiting));
    }
}
