//! What is remembered about each orchestrator: how it performed, and whether it is shut out for now.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

pub use super::record::{Delivery, Performance, Record};
use super::record::{Entry, Times};

/// Orchestrators remembered at once; more than an active set holds, few enough to scan for every segment.
pub const MAX_REMEMBERED: usize = 1_024;

/// How bad a failure was, in strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Late, unreachable, or failed with an error: anybody may have a bad minute.
    Unavailable,
    /// Signed something that is not what was asked for: never used again before its suspension is over.
    Dishonest,
}

impl Severity {
    pub(super) fn strikes(self) -> f64 {
        match self {
            Self::Unavailable => 1.0,
            Self::Dishonest => 5.0,
        }
    }
}

/// How long failures shut an orchestrator out. Wrong results are counted beside failures, and remembered for longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SuspensionPolicy {
    /// Suspension after the first strike; each further strike doubles it.
    pub base: Duration,
    /// No suspension for being unavailable is longer.
    pub cap: Duration,
    /// Time in which the memory of unavailability halves.
    pub half_life: Duration,
    /// No suspension for wrong results is longer.
    pub dishonest_cap: Duration,
    /// Time in which the memory of wrong results halves. Trust is halved by each strike, and comes back with it.
    pub dishonest_half_life: Duration,
}

impl Default for SuspensionPolicy {
    /// The first wrong result bars for under three minutes, the second for over an hour, the third for a day.
    fn default() -> Self {
        Self {
            base: Duration::from_secs(10),
            cap: Duration::from_secs(3_600),
            half_life: Duration::from_secs(600),
            dishonest_cap: Duration::from_secs(24 * 3_600),
            dishonest_half_life: Duration::from_secs(7 * 24 * 3_600),
        }
    }
}

/// Whether an orchestrator may be used now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Use it.
    Good,
    /// Suspended for being unavailable; usable when nobody else is left.
    LastResort,
    /// Suspended for a wrong result: not usable.
    Barred,
}

/// Performance and suspensions of every orchestrator ever used, bounded by [`MAX_REMEMBERED`].
#[derive(Debug)]
pub struct Scoreboard<K> {
    policy: SuspensionPolicy,
    entries: HashMap<K, Entry>,
    /// Everybody's times: what is usual where too little is known of one.
    everybody: Times,
}

impl<K: Clone + Eq + Hash> Scoreboard<K> {
    /// An empty board.
    pub fn new(policy: SuspensionPolicy) -> Self {
        Self { policy, entries: HashMap::new(), everybody: Times::default() }
    }

    /// A board that goes on from records made `away` before `now`, at most [`MAX_REMEMBERED`] of them.
    pub fn restore(
        policy: SuspensionPolicy,
        records: impl IntoIterator<Item = (K, Record)>,
        now: Instant,
        away: Duration,
    ) -> Self {
        let mut board = Self::new(policy);
        for (key, record) in records.into_iter().take(MAX_REMEMBERED) {
            let entry = Entry::restored(record, now, away, &policy);
            board.everybody.absorb(entry.times());
            board.entries.insert(key, entry);
        }
        board
    }

    /// Everything worth keeping, as of `now`.
    pub fn records(&self, now: Instant) -> impl Iterator<Item = (&K, Record)> {
        self.entries.iter().map(move |(key, entry)| (key, entry.record(now, &self.policy)))
    }

    /// Records a verified delivery.
    pub fn delivered(&mut self, key: &K, now: Instant, delivery: &Delivery) {
        self.everybody.note(slowness(delivery.took, delivery.duration));
        self.entry(key, now).delivered(delivery);
    }

    /// Records that another was faster: after `elapsed` nothing was there yet. Slow is no failure: this changes what is expected,
    /// and suspends nobody.
    pub fn outpaced(&mut self, key: &K, now: Instant, elapsed: Duration, duration: Duration) {
        self.entry(key, now).outpaced(slowness(elapsed, duration));
    }

    /// Records what an audited rendition was worth, in millionths.
    pub fn audited(&mut self, key: &K, now: Instant, worth_ppm: u32) {
        self.entry(key, now).audited(worth_ppm);
    }

    /// Records a failure and returns for how long the orchestrator is suspended.
    pub fn failed(&mut self, key: &K, now: Instant, severity: Severity) -> Duration {
        let policy = self.policy;
        self.entry(key, now).failed(now, severity, &policy)
    }

    /// Whether `key` may be used at `now`.
    pub fn standing(&self, key: &K, now: Instant) -> Standing {
        match self.entries.get(key) {
            Some(entry) if entry.is_suspended(now) => match entry.severity {
                Severity::Unavailable => Standing::LastResort,
                Severity::Dishonest => Standing::Barred,
            },
            _ => Standing::Good,
        }
    }

    /// What is left of the suspension of `key`; zero when it is not suspended.
    pub fn suspended_for(&self, key: &K, now: Instant) -> Duration {
        let until = self.entries.get(key).and_then(|entry| entry.suspended_until);
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    /// The averages of `key` as of `now`; an optimistic prior for one never used.
    pub fn performance(&self, key: &K, now: Instant) -> Performance {
        match self.entries.get(key) {
            Some(entry) => entry.performance(now, &self.policy, &self.everybody),
            None => Entry::new(now).performance(now, &self.policy, &self.everybody),
        }
    }

    /// How many are suspended at `now`.
    pub fn suspended(&self, now: Instant) -> usize {
        self.entries.values().filter(|entry| entry.is_suspended(now)).count()
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Nothing is remembered yet.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn entry(&mut self, key: &K, now: Instant) -> &mut Entry {
        if !self.entries.contains_key(key) && self.entries.len() >= MAX_REMEMBERED {
            self.forget_one(now);
        }
        let entry = self.entries.entry(key.clone()).or_insert_with(|| Entry::new(now));
        entry.touched = now;
        entry
    }

    /// Drops the one unused for longest. Suspended and mistrusted ones go last: forgetting must not be a way out.
    fn forget_one(&mut self, now: Instant) {
        let policy = self.policy;
        let rank = |entry: &Entry| (entry.is_suspended(now), entry.is_marked(now, &policy), entry.touched);
        let stale = self.entries.iter().min_by_key(|(_, entry)| rank(entry)).map(|(key, _)| key.clone());
        if let Some(key) = stale {
            self.entries.remove(&key);
        }
    }
}

/// Time taken over the segment's duration.
fn slowness(took: Duration, duration: Duration) -> f64 {
    took.as_secs_f64() / duration.as_secs_f64().max(1e-3)
}

#[cfg(test)]
mod tests {
    use framemill_verification::PPM;
    use proptest::prelude::*;

    use super::*;

    const SEGMENT: Duration = Duration::from_secs(2);

    fn board() -> (Scoreboard<u32>, Instant) {
        (Scoreboard::new(SuspensionPolicy::default()), Instant::now())
    }

    fn delivery(took: Duration) -> Delivery {
        Delivery { took, duration: SEGMENT, pixels: 1_000_000 }
    }

    #[test]
    fn repeated_failures_suspend_for_longer() {
        let (mut board, now) = board();
        let first = board.failed(&1, now, Severity::Unavailable);
        let second = board.failed(&1, now + first, Severity::Unavailable);
        assert!(second > first, "{second:?} should exceed {first:?}");
    }

    #[test]
    fn strikes_fade_with_time() {
        let (mut board, now) = board();
        let first = board.failed(&1, now, Severity::Unavailable);
        let much_later = now + SuspensionPolicy::default().half_life * 20;
        let second = board.failed(&1, much_later, Severity::Unavailable);
        assert!(second.as_secs_f64() < first.as_secs_f64() * 1.01);
    }

    #[test]
    fn a_wrong_result_bars_even_as_last_resort() {
        let (mut board, now) = board();
        board.failed(&1, now, Severity::Dishonest);
        assert_eq!(board.standing(&1, now), Standing::Barred);
    }

    #[test]
    fn a_later_outage_does_not_lift_the_bar_for_a_wrong_result() {
        let (mut board, now) = board();
        board.failed(&1, now, Severity::Dishonest);
        board.failed(&1, now + Duration::from_secs(1), Severity::Unavailable);
        assert_eq!(board.standing(&1, now + Duration::from_secs(2)), Standing::Barred);
    }

    #[test]
    fn quality_changes_the_worth_and_nothing_else() {
        let (mut board, now) = board();
        board.delivered(&1, now, &delivery(SEGMENT));
        let before = board.performance(&1, now);
        board.audited(&1, now, PPM / 2);
        assert_eq!(board.performance(&1, now), Performance { worth: 0.875, ..before });
        assert_eq!(board.standing(&1, now), Standing::Good);
        board.audited(&1, now, PPM);
        assert!(board.performance(&1, now).worth > 0.875);
    }

    #[test]
    fn a_suspension_ends() {
        let (mut board, now) = board();
        let length = board.failed(&1, now, Severity::Unavailable);
        assert_eq!(board.standing(&1, now), Standing::LastResort);
        assert_eq!(board.standing(&1, now + length), Standing::Good);
    }

    #[test]
    fn a_flood_of_identities_does_not_free_a_suspended_one() {
        let (mut board, now) = board();
        board.failed(&0, now, Severity::Dishonest);
        for key in 1..=(2 * MAX_REMEMBERED as u32) {
            board.delivered(&key, now + Duration::from_millis(u64::from(key)), &delivery(SEGMENT));
        }
        assert_eq!(board.len(), MAX_REMEMBERED);
        assert_eq!(board.standing(&0, now + Duration::from_secs(3)), Standing::Barred);
    }

    #[test]
    fn each_wrong_result_bars_for_much_longer_however_far_apart_they_are() {
        let (mut board, mut now) = board();
        let mut lengths = Vec::new();
        for _ in 0..4 {
            let length = board.failed(&1, now, Severity::Dishonest);
            lengths.push(length);
            now += length + Duration::from_secs(3_600);
        }
        let minutes: Vec<_> = lengths.iter().map(|length| length.as_secs() / 60).collect();
        assert!(minutes[0] < 3 && minutes[1] >= 60 && minutes[2..] == [24 * 60; 2], "{minutes:?}");
    }

    #[test]
    fn trust_falls_with_a_wrong_result_and_comes_back_in_weeks() {
        let (mut board, now) = board();
        board.failed(&1, now, Severity::Dishonest);
        let trust = |board: &Scoreboard<u32>, days: u64| {
            board.performance(&1, now + Duration::from_secs(days * 24 * 3_600)).trust
        };
        assert!(trust(&board, 0) < 0.04 && trust(&board, 7) < 0.2 && trust(&board, 42) > 0.9);
        board.failed(&2, now, Severity::Unavailable);
        assert_eq!(board.performance(&2, now).trust, 1.0);
    }

    #[test]
    fn being_outpaced_changes_what_is_expected_and_suspends_nobody() {
        let (mut board, now) = board();
        (0..40).for_each(|_| board.delivered(&1, now, &delivery(SEGMENT / 4)));
        let before = board.performance(&1, now);
        (0..10).for_each(|_| board.outpaced(&1, now, SEGMENT * 2, SEGMENT));
        let after = board.performance(&1, now);
        assert!(after.tail > before.tail * 4.0, "{after:?}");
        assert_eq!((after.outpaced, after.failed, after.trust), (10, 0, 1.0));
        assert_eq!(board.standing(&1, now), Standing::Good);
    }

    #[test]
    fn who_is_always_outpaced_is_soon_known_and_expected_to_fail() {
        let (mut board, now) = board();
        (0..20).for_each(|_| board.outpaced(&1, now, SEGMENT / 2, SEGMENT));
        let known = board.performance(&1, now);
        assert!(!known.is_unknown() && known.success < 0.4, "{known:?}");
        // One in twenty, which is what the usual time leaves to chance, costs next to nothing.
        for _ in 0..40 {
            (0..19).for_each(|_| board.delivered(&2, now, &delivery(SEGMENT / 4)));
            board.outpaced(&2, now, SEGMENT / 2, SEGMENT);
        }
        assert!(board.performance(&2, now).success > 0.93);
    }

    #[test]
    fn everybodys_times_say_when_a_newcomer_is_late() {
        let (mut board, now) = board();
        assert_eq!(board.performance(&1, now).patience, None);
        (0..40).for_each(|_| board.delivered(&1, now, &delivery(SEGMENT / 4)));
        let usual = board.performance(&2, now).patience.unwrap();
        assert!((0.2..0.3).contains(&usual), "{usual}");
        (0..20).for_each(|_| board.delivered(&2, now, &delivery(SEGMENT)));
        assert!(board.performance(&2, now).patience.unwrap() > 0.8);
    }

    #[test]
    fn a_slow_small_ladder_says_little_about_a_large_one() {
        let (mut board, now) = board();
        (0..40).for_each(|_| board.delivered(&1, now, &delivery(SEGMENT / 2)));
        let known = board.performance(&1, now);
        // A million pixels in a second of its time.
        assert!((known.throughput - 1e6).abs() < 1.0);
        assert!((known.expected_slowness(2e6) - 0.5).abs() < 0.1, "{known:?}");
        assert!((known.expected_slowness(1e5) - 0.1).abs() < 0.01, "{known:?}");
    }

    fn kept(board: &Scoreboard<u32>, now: Instant) -> Vec<(u32, Record)> {
        let text = serde_json::to_string(&board.records(now).collect::<Vec<_>>()).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn what_is_known_outlives_the_process() {
        let (mut board, now) = board();
        (0..30).for_each(|_| board.delivered(&1, now, &delivery(SEGMENT / 4)));
        board.failed(&2, now, Severity::Dishonest);
        let left = board.suspended_for(&2, now);
        let away = Duration::from_secs(60);
        let again = Scoreboard::restore(SuspensionPolicy::default(), kept(&board, now), now, away);
        let (before, after) = (board.performance(&1, now), again.performance(&1, now));
        assert_eq!((after.delivered, after.slowness, after.tail), (30, before.slowness, before.tail));
        assert_eq!(again.standing(&2, now), Standing::Barred);
        assert!(again.suspended_for(&2, now) <= left - away);
        assert!(again.suspended_for(&2, now) > left - away - Duration::from_secs(1));
        assert!(again.performance(&2, now).trust < 0.04);
    }

    #[test]
    fn a_clock_that_jumped_back_neither_frees_nor_bars_for_good() {
        let (mut board, now) = board();
        let left = board.failed(&1, now, Severity::Dishonest);
        // Time that went backwards counts as none.
        let again = Scoreboard::restore(SuspensionPolicy::default(), kept(&board, now), now, Duration::ZERO);
        let found = again.suspended_for(&1, now);
        assert!(found <= left && left - found < Duration::from_secs(1), "{found:?} of {left:?}");
        assert_eq!(again.standing(&1, now + left), Standing::Good);
    }

    #[test]
    fn a_record_beyond_all_bounds_is_cut_to_them() {
        let now = Instant::now();
        let text = r#"[[1, {"delivered": 4294967295, "failed": 0, "outpaced": 0, "success": 1e300, "worth": -5.0, "throughput": 1e308,
            "pace": [[47, 1e30]], "unavailable_strikes": 1e300, "dishonest_strikes": 1e300,
            "suspended_ms": 18446744073709551615, "barred": true, "unused_ms": 18446744073709551615}]]"#;
        let records: Vec<(u32, Record)> = serde_json::from_str(text).unwrap();
        let policy = SuspensionPolicy::default();
        let mut board = Scoreboard::restore(policy, records, now, Duration::ZERO);
        assert_eq!(board.suspended_for(&1, now), policy.dishonest_cap);
        let known = board.performance(&1, now);
        assert!(known.success == 1.0 && known.worth == 0.0 && known.trust > 0.0, "{known:?}");
        board.delivered(&1, now, &delivery(SEGMENT));
    }

    proptest! {
        #[test]
        fn no_suspension_exceeds_the_cap(outcomes in prop::collection::vec((0u64..5_000, any::<bool>()), 1..200)) {
            let (mut board, mut now) = board();
            for (gap, wrong) in outcomes {
                now += Duration::from_secs(gap);
                let policy = SuspensionPolicy::default();
                let severity = if wrong { Severity::Dishonest } else { Severity::Unavailable };
                prop_assert!(board.failed(&7, now, severity) <= policy.dishonest_cap);
                prop_assert!(board.failed(&8, now, Severity::Unavailable) <= policy.cap);
            }
        }

        #[test]
        fn success_stays_a_share(outcomes in prop::collection::vec(any::<bool>(), 0..200)) {
            let (mut board, now) = board();
            for delivered in outcomes {
                if delivered {
                    board.delivered(&7, now, &delivery(SEGMENT));
                } else {
                    board.failed(&7, now, Severity::Unavailable);
                }
                let success = board.performance(&7, now).success;
                prop_assert!((0.0..=1.0).contains(&success));
            }
        }
    }
}
