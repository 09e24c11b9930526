//! One stream's seeds: committed to before the first result they decide is asked for, revealed after the last.

use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_primitives::B256;
use framemill_verification::policy::draw::{Draw, DrawnResult, Epoch, Seed};
use framemill_verification::policy::journal::Entry;
use framemill_verification::{PPM, Policy, Tier};
use tokio::sync::Mutex;

use crate::config::{DeadlinePolicy, StreamConfig, Verification};
use crate::core::governor::Load;
use crate::event::{Events, StreamEvent};
use crate::sampling::Sampling;
use crate::sessions::unix_ms;

/// How long one seed is used: short enough that a decision can be shown soon, long enough that the record stays small.
const EPOCH_MS: u64 = 3_600_000;

/// Longest wait for a commitment to be on disk: a live segment waits for no disk that hangs.
const COMMIT_LIMIT: Duration = Duration::from_secs(1);

/// The sampling of one stream.
pub(crate) struct StreamSampling {
    sampling: Arc<Sampling>,
    stream: B256,
    verification: Verification,
    deadline: DeadlinePolicy,
    events: Events,
    current: Mutex<Option<Arc<OpenEpoch>>>,
}

impl StreamSampling {
    /// `stream` identifies this run of the stream.
    pub(crate) fn new(sampling: Arc<Sampling>, stream: B256, config: &StreamConfig, events: Events) -> Self {
        let (verification, deadline) = (config.verification, config.deadline);
        Self { sampling, stream, verification, deadline, events, current: Mutex::default() }
    }

    /// The epoch that decides on results that are asked for from now on; its commitment is written down.
    pub(crate) async fn epoch(&self) -> Arc<OpenEpoch> {
        self.epoch_at(unix_ms()).await
    }

    async fn epoch_at(&self, now_ms: u64) -> Arc<OpenEpoch> {
        let number = now_ms / EPOCH_MS;
        let mut current = self.current.lock().await;
        if let Some(open) = current.as_ref().filter(|open| open.epoch.number == number) {
            return Arc::clone(open);
        }
        let open = Arc::new(self.open(Epoch { stream: self.stream, number }));
        self.commit(&open, now_ms).await;
        *current = Some(Arc::clone(&open));
        open
    }

    fn open(&self, epoch: Epoch) -> OpenEpoch {
        OpenEpoch {
            seed: self.sampling.seed(&epoch),
            sampling: Arc::clone(&self.sampling),
            epoch,
            verification: self.verification,
            deadline: self.deadline,
            events: self.events.clone(),
        }
    }

    async fn commit(&self, open: &Arc<OpenEpoch>, at_ms: u64) {
        let (epoch, commitment) = (open.epoch, open.seed.commitment(&open.epoch));
        let minimum = self.sampling.minimum(self.verification);
        self.sampling.write_durably(Entry::Commit { epoch, commitment, minimum, at_ms }, COMMIT_LIMIT).await;
        tracing::info!(stream = %epoch.stream, epoch = epoch.number, %commitment, "sampling seed committed");
        self.events.send(StreamEvent::SeedCommitted { epoch, commitment });
    }
}

/// A seed in use. Whoever may still draw from it holds it; when nobody does, it is revealed.
pub(crate) struct OpenEpoch {
    sampling: Arc<Sampling>,
    epoch: Epoch,
    seed: Seed,
    verification: Verification,
    deadline: DeadlinePolicy,
    events: Events,
}

impl OpenEpoch {
    /// The time that a segment of `duration` has in all.
    pub(crate) fn allows(&self, duration: Duration) -> Duration {
        self.deadline.allow(duration)
    }

    /// The seed of one result's own draw.
    pub(crate) fn seed_for(&self, result: &DrawnResult) -> [u8; 32] {
        self.seed.for_result(result)
    }

    /// What the seed was committed to as, and for what.
    pub(crate) fn committed(&self) -> (Epoch, B256) {
        (self.epoch, self.seed.commitment(&self.epoch))
    }

    /// Decides with what rates a result is looked at, when its judgement starts, and has the decision written down.
    pub(crate) fn decide(&self, result: DrawnResult, queued: Instant, allowed: Duration) -> Policy {
        match self.verification {
            Verification::Fixed(policy) => self.draw(result, (PPM, policy, policy)),
            Verification::Adaptive { minimum } => {
                let load = self.sampling.started(queued.elapsed(), allowed);
                self.draw(result, self.lowered(&result, minimum, load))
            }
        }
    }

    /// The same on arrival, for a result at adaptive rates whose picture the present load leaves unseen. None where it is to be
    /// looked at: how deep is decided when a core is there for it.
    pub(crate) fn decide_unseen(&self, result: DrawnResult, allowed: Duration) -> Option<Policy> {
        self.decide_where(result, allowed, |rates| self.leaves_unseen(&result, rates))
    }

    /// The same for a result that finds no room in the queue: adaptive rates are lowered as far as they go. None where rates are
    /// fixed, however high the load.
    pub(crate) fn decide_without_room(&self, result: DrawnResult) -> Option<Policy> {
        let Verification::Adaptive { minimum } = self.verification else { return None };
        let load = self.sampling.overflowed();
        Some(self.draw(result, self.lowered(&result, minimum, load)))
    }

    /// The same on arrival, for a result of which more is drawn than publication has to wait for.
    pub(crate) fn decide_later(&self, result: DrawnResult, allowed: Duration) -> Option<Policy> {
        self.decide_where(result, allowed, |rates| self.leaves_for_later(&result, rates))
    }

    /// Decides on arrival, where rates are adaptive and `fits` says so of those in force.
    fn decide_where(
        &self,
        result: DrawnResult,
        allowed: Duration,
        fits: impl FnOnce(&Policy) -> bool,
    ) -> Option<Policy> {
        let Verification::Adaptive { minimum } = self.verification else { return None };
        let load = self.sampling.started(Duration::ZERO, allowed);
        let rates = self.lowered(&result, minimum, load);
        fits(&rates.2).then(|| self.draw(result, rates))
    }

    /// Whether so few are looked at whole at these rates that it protects no single segment, and this one is to be looked at
    /// deeper than at its first frames. Fixed rates say what is published: with them publication waits.
    pub(crate) fn leaves_for_later(&self, result: &DrawnResult, policy: &Policy) -> bool {
        let adaptive = matches!(self.verification, Verification::Adaptive { .. });
        let seed = self.seed_for(result);
        let deep = || policy.draw(&seed) == Tier::Whole || policy.draws_claim_check(&seed);
        adaptive && policy.whole_ppm <= self.sampling.later_below_ppm() && deep()
    }

    /// Whether nothing of a result is decoded at these rates.
    pub(crate) fn leaves_unseen(&self, result: &DrawnResult, policy: &Policy) -> bool {
        let seed = self.seed_for(result);
        policy.draw(&seed) == Tier::Structure && !policy.draws_claim_check(&seed)
    }

    /// What is left under a load, the rates wanted, and those in force.
    fn lowered(&self, result: &DrawnResult, minimum: Policy, load: Load) -> (u32, Policy, Policy) {
        let wanted = self.sampling.rates(&result.orchestrator).at_least(minimum);
        let floor = self.sampling.minimum(self.verification);
        (load.share_ppm(), wanted, load.lower(wanted, floor))
    }

    /// Draws at the lowered rates and writes that down; returns them.
    fn draw(&self, result: DrawnResult, (share_ppm, wanted, rates): (u32, Policy, Policy)) -> Policy {
        let draw = Draw::new(&self.seed, result, rates);
        if Draw::new(&self.seed, result, wanted).tier > draw.tier {
            self.sampling.metrics.downgraded.inc();
        }
        self.sampling.write(Entry::Draw { epoch: self.epoch, draw, share_ppm });
        rates
    }
}

impl Drop for OpenEpoch {
    fn drop(&mut self) {
        let (epoch, seed) = (self.epoch, self.seed);
        self.sampling.write(Entry::Reveal { epoch, seed });
        self.events.send(StreamEvent::SeedRevealed { epoch, seed });
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt};

    use super::*;
    use crate::config::SamplingConfig;
    use crate::metrics::Metrics;

    fn stream(events: &Events) -> StreamSampling {
        let metrics = Metrics::new(None).unwrap();
        let (sampling, _) = Sampling::open(&SamplingConfig::default(), metrics).unwrap();
        StreamSampling::new(
            Arc::new(sampling),
            B256::repeat_byte(1),
            &StreamConfig { verification: Verification::ADAPTIVE, ..StreamConfig::new("cam") },
            events.clone(),
        )
    }

    #[tokio::test]
    async fn one_seed_serves_an_hour() {
        let sampling = stream(&Events::new("cam", Events::channel()));
        let (first, second) = (sampling.epoch_at(0).await, sampling.epoch_at(EPOCH_MS - 1).await);
        assert!(Arc::ptr_eq(&first, &second));
        let next = sampling.epoch_at(EPOCH_MS).await;
        assert_ne!(next.seed, first.seed);
    }

    #[tokio::test]
    async fn a_result_without_room_is_drawn_at_the_least_rates_and_never_at_none() {
        let sampling = stream(&Events::new("cam", Events::channel()));
        let epoch = sampling.epoch_at(0).await;
        let result = DrawnResult {
            orchestrator: Default::default(),
            session: B256::ZERO,
            sequence: 1,
            result: B256::ZERO,
        };
        let rates = epoch.decide_without_room(result).unwrap();
        assert_eq!(rates, Load::HEAVIEST.lower(Policy::FULL, Policy::FLOOR));
        assert!(rates.whole_ppm > 0 && rates.whole_ppm < Policy::FLOOR.whole_ppm);
        assert_eq!(sampling.sampling.metrics.shed.get(), 1);
    }

    #[tokio::test]
    async fn a_result_is_decided_on_arrival_only_where_its_picture_stays_unseen() {
        let events = Events::new("cam", Events::channel());
        let metrics = Metrics::new(None).unwrap();
        let (sampling, _) = Sampling::open(&SamplingConfig::default(), metrics).unwrap();
        let sampling = Arc::new(sampling);
        let epoch_of = |verification| {
            let config = StreamConfig { verification, ..StreamConfig::new("cam") };
            StreamSampling::new(Arc::clone(&sampling), B256::repeat_byte(1), &config, events.clone())
        };
        let result = DrawnResult {
            orchestrator: Default::default(),
            session: B256::ZERO,
            sequence: 1,
            result: B256::ZERO,
        };
        let fixed = epoch_of(Verification::FULL).epoch_at(0).await;
        assert_eq!(fixed.decide_unseen(result, Duration::from_secs(8)), None);
        let adaptive = epoch_of(Verification::ADAPTIVE).epoch_at(0).await;
        // Somebody unknown has full attention, until the load takes it away.
        assert_eq!(adaptive.decide_unseen(result, Duration::from_secs(8)), None);
        assert!(!adaptive.leaves_unseen(&result, &Policy::FULL));
        assert!(adaptive.leaves_unseen(&result, &Policy::STRUCTURE_ONLY));
    }

    #[tokio::test]
    async fn an_old_seed_stays_secret_while_a_result_may_be_drawn_from_it() {
        let events = Events::new("cam", Events::channel());
        let mut told = events.subscribe();
        let sampling = stream(&events);
        let in_flight = sampling.epoch_at(0).await;
        sampling.epoch_at(EPOCH_MS).await;
        let mut revealed = 0;
        while let Some(Some(event)) = told.next().now_or_never() {
            revealed += u32::from(matches!(event, StreamEvent::SeedRevealed { .. }));
        }
        assert_eq!(revealed, 0);
        let epoch = in_flight.epoch;
        drop(in_flight);
        let event = told.next().now_or_never().flatten().unwrap();
        assert!(matches!(event, StreamEvent::SeedRevealed { epoch: old, .. } if old == epoch), "{event:?}");
    }
}
