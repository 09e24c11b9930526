//! The plan of one segment: which orchestrator may be asked next, for how long, when a second one gets a copy, and when to
//! give up.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use super::scoreboard::Standing;

/// Share of the time left that an attempt may take while somebody else could still be asked.
const ATTEMPT_SHARE: f64 = 0.5;

/// Pause before an orchestrator that failed on this segment is asked again, when nobody else is left.
const SECOND_TRY_PAUSE: Duration = Duration::from_millis(300);

/// Pause before a copy that could not be sent when it was due is thought of again.
const SECOND_LOOK: Duration = Duration::from_millis(250);

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
    /// The attempt that runs is later than usual: send one of these a copy, and allow it this long. The first good answer
    /// counts.
    Hedge {
        /// Indices of the candidates to choose among, never empty.
        among: Vec<usize>,
        /// Time the attempt may take.
        budget: Duration,
    },
    /// Nothing is to be decided before an attempt that runs has ended, or this long has passed.
    Await(Option<Duration>),
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

/// What a plan is told beside who exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outlook {
    /// Others exist who are not candidates yet, so time is left for them.
    pub more: bool,
    /// A copy may be sent: it can be paid, and the lateness is not our own.
    pub may_hedge: bool,
}

/// An attempt that runs.
#[derive(Debug, Clone)]
struct Running<K> {
    key: K,
    /// When it is later than usual; `None` once its result is there.
    late_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
enum Tried {
    Excluded,
    Again(Instant),
}

#[derive(Default)]
struct Sorted {
    ranks: [Vec<usize>; 3],
    soonest: Option<Instant>,
}

/// State of one segment between its arrival and its delivery or loss.
#[derive(Debug)]
pub struct SegmentPlan<K> {
    deadline: Instant,
    limits: PlanLimits,
    attempts: u32,
    busy: HashMap<K, Instant>,
    tried: HashMap<K, Tried>,
    /// At most two.
    running: Vec<Running<K>>,
    hedged: bool,
}

impl<K: Clone + Eq + Hash> SegmentPlan<K> {
    /// A plan that must end by `deadline`.
    pub fn new(deadline: Instant, limits: PlanLimits) -> Self {
        Self {
            deadline,
            limits,
            attempts: 0,
            busy: HashMap::new(),
            tried: HashMap::new(),
            running: Vec::new(),
            hedged: false,
        }
    }

    /// Decides what to do at `now`, given who exists and how each stands.
    ///
    /// Order of preference: untried and in good standing; untried but suspended for unavailability; those that failed
    /// on this segment in a way that may pass. An empty `candidates` waits for discovery until the deadline.
    pub fn next(&self, now: Instant, candidates: &[(K, Standing)], outlook: Outlook) -> Step {
        let left = self.deadline.saturating_duration_since(now);
        if !self.running.is_empty() {
            return self.beside(now, left, candidates, outlook);
        }
        if left.is_zero() {
            return Step::GiveUp(GiveUp::Deadline);
        }
        if self.attempts >= self.limits.max_attempts {
            return Step::GiveUp(GiveUp::Attempts);
        }

        let Sorted { ranks, soonest } = self.sort(now, candidates);
        let open: usize = ranks.iter().map(Vec::len).sum();
        if let Some(among) = ranks.into_iter().find(|rank| !rank.is_empty()) {
            return Step::Attempt { budget: self.budget(left, outlook.more || open > 1), among };
        }
        match soonest {
            Some(at) if at < self.deadline => Step::Wait(at - now),
            Some(_) => Step::GiveUp(GiveUp::NobodyLeft),
            // Whoever there is has been ruled out, or nobody is known yet: discovery or a new quote may help.
            None if self.tried.is_empty() => Step::Wait(left.min(SECOND_TRY_PAUSE)),
            None => Step::GiveUp(GiveUp::NobodyLeft),
        }
    }

    /// What to do while attempts run: they end by themselves, so all there is to decide is a copy. One for each segment, and only
    /// to somebody untried and in good standing; whoever else there is gets the segment when the attempt has failed.
    fn beside(&self, now: Instant, left: Duration, candidates: &[(K, Standing)], outlook: Outlook) -> Step {
        let spent = self.hedged || self.attempts + 1 >= self.limits.max_attempts;
        let due = self.running.first().and_then(|first| first.late_at).filter(|_| !spent);
        let Some(due) = due.filter(|due| *due + self.limits.min_attempt <= self.deadline) else {
            return Step::Await(None);
        };
        if due > now {
            return Step::Await(Some(due - now));
        }
        let [among, ..] = self.sort(now, candidates).ranks;
        if left < self.limits.min_attempt {
            return Step::Await(None);
        }
        if among.is_empty() || !outlook.may_hedge {
            return Step::Await(Some(SECOND_LOOK));
        }
        Step::Hedge { budget: self.budget(left, outlook.more || among.len() > 1), among }
    }

    /// Who may be asked now by order of preference, and when the first of the others may be.
    fn sort(&self, now: Instant, candidates: &[(K, Standing)]) -> Sorted {
        let mut sorted = Sorted::default();
        for (index, (key, standing)) in candidates.iter().enumerate() {
            let Some(rank) = self.rank(key, *standing) else { continue };
            match self.closed_until(key).filter(|until| *until > now) {
                Some(until) => sorted.soonest = Some(sorted.soonest.map_or(until, |s| s.min(until))),
                None => sorted.ranks[rank].push(index),
            }
        }
        sorted
    }

    /// An attempt at `key` starts; at `late_at` it is later than usual.
    pub fn started(&mut self, key: &K, late_at: Instant) {
        self.hedged |= !self.running.is_empty();
        self.running.push(Running { key: key.clone(), late_at: Some(late_at) });
    }

    /// The result of `key` is there and being checked, which is no time of its own.
    pub fn arrived(&mut self, key: &K) {
        self.running
            .iter_mut()
            .filter(|attempt| attempt.key == *key)
            .for_each(|attempt| attempt.late_at = None);
    }

    /// Whether a copy of this segment was sent.
    pub fn is_hedged(&self) -> bool {
        self.hedged
    }

    /// An upload began.
    pub fn began(&mut self) {
        self.attempts += 1;
    }

    /// The attempt on `key` ended without a result.
    pub fn set_back(&mut self, key: &K, now: Instant, setback: Setback) {
        self.running.retain(|attempt| attempt.key != *key);
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
        if self.running.iter().any(|attempt| attempt.key == *key) {
            return None;
        }
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
    const ALONE: Outlook = Outlook { more: false, may_hedge: false };
    const HEDGING: Outlook = Outlook { more: false, may_hedge: true };
    const USUAL: Duration = Duration::from_secs(1);

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
        let Step::Attempt { budget, .. } = plan.next(now, &good(&[1, 2]), ALONE) else {
            panic!("no attempt")
        };
        assert_eq!(budget, DEADLINE / 2);
    }

    #[test]
    fn time_is_left_for_those_who_have_not_quoted_yet() {
        let (plan, now) = plan();
        let Step::Attempt { budget, .. } = plan.next(now, &good(&[1]), Outlook { more: true, ..ALONE })
        else {
            panic!("no attempt")
        };
        assert_eq!(budget, DEADLINE / 2);
    }

    #[test]
    fn the_only_candidate_gets_all_the_time() {
        let (plan, now) = plan();
        let Step::Attempt { budget, .. } = plan.next(now, &good(&[1]), ALONE) else { panic!("no attempt") };
        assert_eq!(budget, DEADLINE);
    }

    #[test]
    fn one_that_failed_is_passed_over_while_another_is_untried() {
        let (mut plan, now) = plan();
        plan.set_back(&1, now, Setback::Failed);
        assert_eq!(among(plan.next(now + SECOND_TRY_PAUSE, &good(&[1, 2]), ALONE)), vec![1]);
    }

    #[test]
    fn one_that_failed_is_asked_again_when_it_is_the_only_one() {
        let (mut plan, now) = plan();
        plan.set_back(&1, now, Setback::Failed);
        assert_eq!(plan.next(now, &good(&[1]), ALONE), Step::Wait(SECOND_TRY_PAUSE));
        assert_eq!(among(plan.next(now + SECOND_TRY_PAUSE, &good(&[1]), ALONE)), vec![0]);
    }

    #[test]
    fn one_that_cheated_is_never_asked_again() {
        let (mut plan, now) = plan();
        plan.set_back(&1, now, Setback::Excluded);
        assert_eq!(plan.next(now, &good(&[1]), ALONE), Step::GiveUp(GiveUp::NobodyLeft));
    }

    #[test]
    fn a_barred_one_is_not_asked() {
        let (plan, now) = plan();
        assert_eq!(among(plan.next(now, &[(1, Standing::Barred), (2, Standing::Good)], ALONE)), vec![1]);
    }

    #[test]
    fn a_suspended_one_is_asked_when_nobody_else_is_left() {
        let (plan, now) = plan();
        assert_eq!(among(plan.next(now, &[(1, Standing::LastResort), (2, Standing::Good)], ALONE)), vec![1]);
        assert_eq!(among(plan.next(now, &[(1, Standing::LastResort)], ALONE)), vec![0]);
    }

    #[test]
    fn a_busy_one_is_asked_again_after_its_time() {
        let (mut plan, now) = plan();
        plan.set_back(&1, now, Setback::Busy(Duration::from_secs(1)));
        assert_eq!(plan.next(now, &good(&[1]), ALONE), Step::Wait(Duration::from_secs(1)));
        assert_eq!(among(plan.next(now + Duration::from_secs(1), &good(&[1]), ALONE)), vec![0]);
    }

    #[test]
    fn busy_beyond_the_deadline_gives_up_at_once() {
        let (mut plan, now) = plan();
        plan.set_back(&1, now, Setback::Busy(DEADLINE * 2));
        assert_eq!(plan.next(now, &good(&[1]), ALONE), Step::GiveUp(GiveUp::NobodyLeft));
    }

    fn started() -> (SegmentPlan<u8>, Instant) {
        let (mut plan, now) = plan();
        plan.started(&1, now + USUAL);
        (plan, now)
    }

    #[test]
    fn a_late_attempt_has_the_segment_sent_to_another_as_well() {
        let (mut plan, now) = started();
        assert_eq!(plan.next(now, &good(&[1, 2, 3]), HEDGING), Step::Await(Some(USUAL)));
        let late = now + USUAL;
        let Step::Hedge { among, budget } = plan.next(late, &good(&[1, 2, 3]), HEDGING) else {
            panic!("no copy")
        };
        assert_eq!(among, [1, 2]);
        assert!(late + budget <= plan.deadline());
        plan.started(&2, late + USUAL);
        assert!(plan.is_hedged());
        assert_eq!(plan.next(late + USUAL, &good(&[1, 2, 3]), HEDGING), Step::Await(None), "one copy each");
    }

    #[test]
    fn no_copy_is_sent_while_it_may_not_be() {
        let (plan, now) = started();
        assert_eq!(plan.next(now + USUAL, &good(&[1, 2]), ALONE), Step::Await(Some(SECOND_LOOK)));
        assert!(matches!(plan.next(now + USUAL, &good(&[1, 2]), HEDGING), Step::Hedge { .. }));
    }

    #[test]
    fn a_result_that_is_being_checked_is_not_late() {
        let (mut plan, now) = started();
        plan.arrived(&1);
        assert_eq!(plan.next(now + USUAL, &good(&[1, 2]), HEDGING), Step::Await(None));
    }

    #[test]
    fn a_copy_goes_to_nobody_suspended_tried_or_busy() {
        let (mut plan, now) = plan();
        plan.set_back(&4, now, Setback::Failed);
        plan.set_back(&5, now, Setback::Busy(DEADLINE));
        plan.started(&1, now + USUAL);
        let mut candidates = good(&[1, 4, 5]);
        candidates.extend([(2, Standing::LastResort), (3, Standing::Barred)]);
        assert_eq!(plan.next(now + USUAL, &candidates, HEDGING), Step::Await(Some(SECOND_LOOK)));
    }

    #[test]
    fn no_copy_is_sent_that_could_not_be_in_time() {
        let (mut plan, now) = plan();
        plan.started(&1, now + DEADLINE - USUAL / 2);
        assert_eq!(plan.next(now + DEADLINE, &good(&[1, 2]), HEDGING), Step::Await(None));
    }

    #[test]
    fn a_copy_goes_on_as_the_only_attempt_when_the_first_fails() {
        let (mut plan, now) = started();
        plan.started(&2, now + USUAL * 2);
        plan.set_back(&1, now, Setback::Failed);
        assert_eq!(plan.next(now + USUAL * 2, &good(&[1, 2, 3]), HEDGING), Step::Await(None));
        plan.set_back(&2, now, Setback::Excluded);
        assert_eq!(
            among(plan.next(now + USUAL * 2, &good(&[1, 2, 3]), HEDGING)),
            [2],
            "as if none had been sent"
        );
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
                match plan.next(now, &candidates, ALONE) {
                    Step::GiveUp(_) => break,
                    Step::Wait(time) => {
                        prop_assert!(!time.is_zero() && now + time <= plan.deadline());
                        now += time;
                    }
                    Step::Hedge { .. } | Step::Await(_) => prop_assert!(false, "nothing runs"),
                    Step::Attempt { among, budget } => {
                        prop_assert!(now + budget <= plan.deadline());
                        let key = candidates[among[0]].0;
                        plan.started(&key, now + budget);
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

        /// Attempts end when they like and copies are sent whenever they may be: there are never more than two, and of
        /// different orchestrators.
        #[test]
        fn at_most_two_attempts_run(
            ends in prop::collection::vec((any::<bool>(), 0u8..3, 1u64..2_000), 1..200),
            peers in 1u8..6,
        ) {
            let (mut plan, mut now) = plan();
            let candidates = good(&(0..peers).collect::<Vec<_>>());
            let mut running: Vec<u8> = Vec::new();
            for (hedges, kind, millis) in ends {
                let outlook = Outlook { more: false, may_hedge: hedges };
                match plan.next(now, &candidates, outlook) {
                    Step::GiveUp(_) => {
                        prop_assert!(running.is_empty());
                        break;
                    }
                    Step::Wait(time) => now += time,
                    Step::Attempt { among, budget } | Step::Hedge { among, budget } => {
                        prop_assert!(now + budget <= plan.deadline());
                        let key = candidates[among[0]].0;
                        prop_assert!(!running.contains(&key) && running.len() < 2);
                        running.push(key);
                        plan.started(&key, now + Duration::from_millis(millis));
                    }
                    Step::Await(time) => {
                        now += time.unwrap_or(Duration::from_millis(millis));
                        let setback = [Setback::Failed, Setback::Excluded, Setback::Busy(USUAL)][usize::from(kind)];
                        plan.began();
                        plan.set_back(&running.remove(usize::from(kind) % running.len()), now, setback);
                    }
                }
            }
            prop_assert!(plan.attempts() <= PlanLimits::default().max_attempts);
        }
    }
}
