//! How deep results are looked at: the record of each orchestrator, the load, and the seeds that decide.

mod epoch;
mod files;
mod keeper;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use alloy_primitives::Address;
use framemill_verification::policy::attention::{Attention, AttentionBook, Sight};
use framemill_verification::policy::draw::{Epoch, Secret, Seed};
use framemill_verification::policy::journal::Entry;
use framemill_verification::{PPM, Policy, Report};
use tokio::sync::Notify;

use crate::config::{SamplingConfig, Verification};
use crate::core::governor::{Governor, Load, Shift};
use crate::error::BroadcasterError;
use crate::metrics::Metrics;
use crate::service::{gauge, lock};
use crate::sessions::unix_ms;

pub(crate) use epoch::{OpenEpoch, StreamSampling};
use files::SamplingFiles;
pub(crate) use files::replace;
use keeper::RecordSender;
pub(crate) use keeper::{Keeper, off_thread};

/// The sampling of all streams.
pub(crate) struct Sampling {
    metrics: Metrics,
    book: Mutex<AttentionBook<Address>>,
    governor: Mutex<Governor>,
    waiting: AtomicUsize,
    later_below_ppm: u32,
    secret: Secret,
    record: Option<RecordSender>,
    /// Something suspicious is not saved yet.
    suspicious: Notify,
    /// Lines of the record were lost or late, which was said.
    behind: AtomicBool,
}

impl Sampling {
    /// Goes on from what the folder holds, where there is one; its keeper must be run then.
    pub(crate) fn open(
        config: &SamplingConfig,
        metrics: Metrics,
    ) -> Result<(Self, Option<Keeper>), BroadcasterError> {
        let (files, secret, known) = match &config.folder {
            Some(folder) => open_files(folder)?,
            None => (None, Secret::from_bytes(rand::random()), BTreeMap::new()),
        };
        let (record, keeper) = files.map(Keeper::new).unzip();
        metrics.sampling_share.set(1.0);
        let sampling = Self {
            metrics,
            book: Mutex::new(AttentionBook::new(config.attention, known)),
            governor: Mutex::new(Governor::new(config.max_waiting, Instant::now())),
            waiting: AtomicUsize::new(0),
            later_below_ppm: config.later_below_ppm,
            secret,
            record,
            suspicious: Notify::new(),
            behind: AtomicBool::new(false),
        };
        Ok((sampling, keeper))
    }

    /// Counts a judgement as waiting for a core for as long as the guard lives.
    pub(crate) fn wait(self: &Arc<Self>) -> Waiting {
        let waiting = self.waiting.fetch_add(1, Ordering::AcqRel) + 1;
        self.metrics.verify_waiting.set(gauge(waiting));
        Waiting(Arc::clone(self))
    }

    /// Whether judgements wait for a core.
    pub(crate) fn has_waiting(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }

    /// Whether rates are lowered because verification cannot keep up.
    pub(crate) fn is_strained(&self) -> bool {
        lock(&self.governor).load().share_ppm() < PPM
    }

    /// The rates that the record of `who` asks for.
    pub(crate) fn rates(&self, who: &Address) -> Policy {
        lock(&self.book).rates(who, unix_ms() / 1000)
    }

    /// Rates of whole looks up to which publication does not wait for them.
    pub(crate) fn later_below_ppm(&self) -> u32 {
        self.later_below_ppm
    }

    /// From how many thousandths of a bound on a whole result is compared.
    pub(crate) fn escalate_permille(&self) -> u32 {
        lock(&self.book).config().escalate_permille
    }

    /// Takes in a result that passed.
    pub(crate) fn passed(&self, who: &Address, reports: &[Report]) {
        let permille = lock(&self.book).config().borderline_permille;
        self.see(who, Sight::of(reports, permille));
    }

    /// Takes in what was seen of an orchestrator.
    pub(crate) fn see(&self, who: &Address, sight: Sight) {
        let Some(suspicion) = lock(&self.book).see(who, unix_ms() / 1000, sight) else { return };
        self.metrics.suspicions.inc(suspicion);
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

    /// A judgement at adaptive rates starts; returns how far the load lowers them.
    fn started(&self, waited: Duration, allowed: Duration) -> Load {
        let waiting = self.waiting.load(Ordering::Acquire);
        self.govern(waited, |governor| governor.started(Instant::now(), waiting, waited, allowed))
    }

    /// A result at adaptive rates found no room in the queue.
    fn overflowed(&self) -> Load {
        self.metrics.shed.inc();
        self.govern(Duration::ZERO, |governor| governor.overflowed(Instant::now()));
        Load::HEAVIEST
    }

    fn govern(&self, waited: Duration, sign: impl FnOnce(&mut Governor) -> Option<Shift>) -> Load {
        let waiting = self.waiting.load(Ordering::Acquire);
        let mut governor = lock(&self.governor);
        let shift = sign(&mut governor);
        let load = governor.load();
        let share_ppm = load.share_ppm();
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
        load
    }

    /// Has a line of the record written, where there is one.
    fn write(&self, entry: Entry) {
        if let Some(record) = &self.record {
            self.note_written(record.send(entry));
        }
    }

    /// The same, and waits until the line is on disk, for `limit` at most.
    async fn write_durably(&self, entry: Entry, limit: Duration) {
        if let Some(record) = &self.record {
            self.note_written(record.send_durably(entry, limit).await);
        }
    }

    /// Says once that the disk cannot follow, until it can again.
    fn note_written(&self, written: bool) {
        let said = self.behind.swap(!written, Ordering::Relaxed);
        if !written && !said {
            tracing::error!("draws are not recorded in time, so some cannot be shown later; check the disk");
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
