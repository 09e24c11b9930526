//! The plan of one segment: which orchestrator may be asked next, for how long, and when to give up.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use super::scoreboard::Standing;

/// Share of the time left that an attempt may take while somebody else could still be asked.
const ATTEMPT_SHARE: f64 = 0.5;

/// Pause before an orchestrator that failed on this segment is asked again, when nobody else is left.
const SECOND_TRY_PAUSE: Duration = Duration::from_millis(300);

/// How often one orchestrator may answer "these ticket parameters are stale" within one attempt.
pub const MAX_REPAYS: u32 = 3;

/// Bounds of one segment's plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanLimits {
    /// Uploads begun at most; an answer of "busy" or "stale parameters" comes before the upload and is not counted.
    pub max_attempts: u32,
    /// An attempt gets at least this long, or what is left.
    pub min_attempt: Duration,
}

impl Default for PlanLimits {
    fn default() -> Self {
        Self { max_attempts: 6, min_attempt: Duration::from_secs(1) }
    }
}

/// How an attempt ended when it did not deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setback {
    /// Refused before upload for now; may be asked again after the given time.
    Busy(Duration),
    /// Failed in a way that may pass: asked again only when nobody else is left.
    Failed,
    /// Delivered something wrong, or refuses us for good: not asked again for this segment.
    Excluded,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Ask one of these candidates (indices into the slice given), and allow it this long.
    Attempt {
        /// Indices of the candidates to choose among, never empty.
        among: Vec<usize>,
        /// Time the attempt may take.
        budget: Duration,
    },
    /// Nobody can be asked now; look again after this long.
    Wait(Duration),
    /// The segment is lost.
    GiveUp(GiveUp),
}

/// Why a segment was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GiveUp {
    /// The deadline passed.
    Deadline,
    /// The bound on attempts was reached.
    Attempts,
    /// Nobody is left that could be asked before the deadline.
    NobodyLeft,
}

#[derive(Debug, Clone, Copy)]
enum Tried {
    Excluded,
    Again(Instant),
}

/// State of one segment between its arrival and its delivery or loss.
#[derive(Debug)]
pub struct SegmentPlan<K> {
    deadline: Instant,
    limits: PlanLimits,
    attempts: u32,
    busy: HashMap<K, Instant>,
    tried: HashMap<K, Tried>,
}

impl<K: Clone + Eq + Hash> SegmentPlan<K> {
    /// A plan that must end by `deadline`.
    pub fn new(deadline: Instant, limits: PlanLimits) -> Self {
        Self { deadline, limits, attempts: 0, busy: HashMap::new(), tried: HashMap::new() }
    }

    /// Decides what to do at `now`, given who exists and how each stands.
    ///
    /// Order of preference: untried and in good standing; untried but suspended for unavailability; those that failed
    /// on this segment in a way that may pass. An empty `candidates` waits for discovery until the deadline. `more` says
    /// that others exist who are not candidates yet, so that time is left for them.
    pub fn next(&self, now: Instant, candidates: &[(K, Standing)], more: bool) -> Step {
        let left = self.deadline.saturating_duration_since(now);
        if left.is_zero() {
            return Step::GiveUp(GiveUp::Deadline);
        }
        if self.attempts >= self.limits.max_attempts {
            return Step::GiveUp(GiveUp::Attempts);
        }

        let mut ranks: [Vec<usize>; 3] = Default::default();
        let mut soonest: Option<Instant> = None;
        for (index, (key, standing)) in candidates.iter().enumerate() {
            let Some(rank) = self.rank(key, *standing) else { continue };
            match self.closed_until(key).filter(|until| *until > now) {
                Some(until) => soonest = Some(soonest.map_or(until, |s| s.min(until))),
                None => ranks[rank].push(index),
            }
        }
        let open: usize = ranks.iter().map(Vec::len).sum();
        if let Some(among) = ranks.into_iter().find(|rank| !rank.is_empty()) {
            return Step::Attempt { budget: self.budget(left, more || open > 1), among };
        }
        match soonest {
            Some(at) if at < self.deadline => Step::Wait(at - now),
            Some(_) => Step::GiveUp(GiveUp::NobodyLeft),
            // Whoever there is has been ruled out, or nobody is known yet: discovery or a new quote may help.
            None if self.tried.is_empty() => Step::Wait(left.min(SECOND_TRY_PAUSE)),
            None => Step::GiveUp(GiveUp::NobodyLeft),
        }
    }

    /// An upload to `key` begins.
    pub fn began(&mut self) {
        self.attempts += 1;
    }

    /// The attempt on `key` ended without a result.
    pub fn set_back(&mut self, key: &K, now: Instant, setback: Setback) {
        match setback {
            Setback::Busy(retry_after) => {
                self.busy.insert(key.clone(), now + retry_after.max(Duration::from_millis(50)));
            }
            Setback::Failed => {
                self.tried.insert(key.clone(), Tried::Again(now + SECOND_TRY_PAUSE));
            }
            Setback::Excluded => {
                self.tried.insert(key.clone(), Tried::Excluded);
            }
        }
    }

    /// Whether `key` has failed on this segment already.
    pub fn was_tried(&self, key: &K) -> bool {
        self.tried.contains_key(key)
    }

    /// Uploads begun so far.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// When the plan ends at the latest.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// In which order of preference `key` may be asked; `None` if not at all.
    fn rank(&self, key: &K, standing: Standing) -> Option<usize> {
        match (self.tried.get(key), standing) {
            (Some(Tried::Excluded), _) | (_, Standing::Barred) => None,
            (None, Standing::Good) => Some(0),
            (None, Standing::LastResort) => Some(1),
            (Some(Tried::Again(_)), _) => Some(2),
        }
    }

    /// Until when `key` asked, or is given, time before the next try.
    fn closed_until(&self, key: &K) -> Option<Instant> {
        let pause = match self.tried.get(key) {
            Some(Tried::Again(at)) => Some(*at),
            _ => None,
        };
        self.busy.get(key).copied().max(pause)
    }

    fn budget(&self, left: Duration, others: bool) -> Duration {
        let last = self.attempts + 1 >= self.limits.max_attempts;
        if last || !others {
            left
        } else {
            left.mul_f64(ATTEMPT_SHARE).max(self.limits.min_attempt).min(left)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(8);

    fn plan() -> (SegmentPlan<u8>, Instant) {
        let now = Instant::now();
        (SegmentPlan::new(now + DEADLINE, PlanLimits::default()), now)
    }

    fn good(keys: &[u8]) -> Vec<(u8, Standing)> {
        keys.iter().map(|key| (*key, Standing::Good)).collect()
    }

    fn among(step: Step) -> Vec<usize> {
        match step {
            Step::Attempt { among, .. } => among,
            other => panic!("expected an attempt, got {other:?}"),
        }
    }

    #[test]
    fn the_first_attempt_leaves_time_for_a_second() {
        let (plan, now) = plan();
        let Step::Attempt { budget, .. } = plan.next(now, &good(&[1, 2]), false) else {
            panic!("no attempt")
        };
        assert_eq!(budget, DEADLINE / 2);
    }

    #[test]
    fn time_is_left_for_those_who_have_not_quoted_yet() {
        let (plan, now) = plan();
        let Step::Attempt { budget, .. } = plan.next(now, &good(&[1]), true) else { panic!("no attempt") };
        assert_eq!(budget, DEADLINE / 2);
    }

    #[test]
    fn the_only_candidate_gets_all_the_time() {
        let (plan, now) = plan();
        let Step::Attempt { budget, .. } = plan.next(now, &good(&[1]), false) else { panic!("no attempt") };
        assert_eq!(budget, DEADLINE);
    }

    #[test]
    fn one_that_failed_is_passed_over_while_another_is_untried() {
        let (mut plan, now) = plan();
        plan.set_back(&1, now, Setback::Failed);
        assert_eq!(among(plan.next(now + SECOND_TRY_PAUSE, &good(&[1, 2]), false)), vec![1]);
    }

    #[test]
    fn one_that_failed_is_asked_again_when_it_is_the_only_one() {
        let (mut plan, now) = plan();
        plan.set_back(&1, now, Setback::Failed);
        assert_eq!(plan.next(now, &good(&[1]), false), Step::Wait(SECOND_TRY_PAUSE));
        assert_eq!(among(plan.next(now + SECOND_TRY_PAUSE, &good(&[1]), false)), vec![0]);
    }

    #[test]
    fn one_that_cheated_is_never_asked_again() {
        let (mut plan, now) = plan();
        plan.set_back(&1, now, Setback::Excluded);
        assert_eq!(plan.next(now, &good(&[1]), false), Step::GiveUp(GiveUp::NobodyLeft));
    }

    #[test]
    fn a_barred_one_is_not_asked() {
        let (plan, now) = plan();
        assert_eq!(among(plan.next(now, &[(1, Standing::Barred), (2, Standing::Good)], false)), vec![1]);
    }

    #[test]
    fn a_suspended_one_is_asked_when_nobody_else_is_left() {
        let (plan, now) = plan();
        assert_eq!(among(plan.next(now, &[(1, Standing::LastResort), (2, Standing::Good)], false)), vec![1]);
        assert_eq!(among(plan.next(now, &[(1, Standing::LastResort)], false)), vec![0]);
    }

    #[test]
    fn a_busy_one_is_asked_again_after_its_time() {
        let (mut plan, now) = plan();
        plan.set_back(&1, now, Setback::Busy(Duration::from_secs(1)));
        assert_eq!(plan.next(now, &good(&[1]), false), Step::Wait(Duration::from_secs(1)));
        assert_eq!(among(plan.next(now + Duration::from_secs(1), &good(&[1]), false)), vec![0]);
    }

    #[test]
    fn busy_beyond_the_deadline_gives_up_at_once() {
        let (mut plan, now) = plan();
        plan.set_back(&1, now, Setback::Busy(DEADLINE * 2));
        assert_eq!(plan.next(now, &good(&[1]), false), Step::GiveUp(GiveUp::NobodyLeft));
    }

    proptest! {
        /// Whatever the peers do, a plan ends: by its deadline and within its attempts.
        #[test]
        fn every_plan_ends(
            setbacks in prop::collection::vec((0u8..3, 0u64..3_000), 1..200),
            peers in 0u8..6,
        ) {
            let (mut plan, start) = plan();
            let mut now = start;
            let candidates = good(&(0..peers).collect::<Vec<_>>());
            let mut steps = 0;
            for (kind, millis) in setbacks.iter().cycle() {
                steps += 1;
                prop_assert!(steps < 1_000, "the plan does not end");
                match plan.next(now, &candidates, false) {
                    Step::GiveUp(_) => break,
                    Step::Wait(time) => {
                        prop_assert!(!time.is_zero() && now + time <= plan.deadline());
                        now += time;
                    }
                    Step::Attempt { among, budget } => {
                        prop_assert!(now + budget <= plan.deadline());
                        let key = candidates[among[0]].0;
                        match kind {
                            0 => plan.set_back(&key, now, Setback::Busy(Duration::from_millis(*millis))),
                            1 => {
                                plan.began();
                                now += budget.min(Duration::from_millis(*millis));
                                plan.set_back(&key, now, Setback::Failed);
                            }
                            _ => {
                                plan.began();
                                plan.set_back(&key, now, Setback::Excluded);
                            }
                        }
                    }
                }
            }
            prop_assert!(plan.attempts() <= PlanLimits::default().max_attempts);
        }
    }
}
