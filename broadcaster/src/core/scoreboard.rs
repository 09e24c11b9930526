//! What is remembered about each orchestrator: how it performed, and whether it is shut out for now.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use framemill_verification::PPM;

/// Orchestrators remembered at once; more than an active set holds, few enough to scan for every segment.
pub const MAX_REMEMBERED: usize = 1_024;

/// Weight that the newest outcome gets in the averages: about the last ten segments count.
const NEWEST_WEIGHT: f64 = 0.1;

/// The same for what renditions were worth: audits are rare, so about the last four count.
const NEWEST_AUDIT_WEIGHT: f64 = 0.25;

/// Outcomes after which an orchestrator counts as known.
const KNOWN_AFTER: u32 = 3;

/// Strikes beyond this change nothing: the duration is at its cap long before.
const MAX_STRIKES: f64 = 24.0;

/// How bad a failure was, in strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Late, unreachable, or failed with an error: anybody may have a bad minute.
    Unavailable,
    /// Signed something that is not what was asked for: never used again before its suspension is over.
    Dishonest,
}

impl Severity {
    fn strikes(self) -> f64 {
        match self {
            Self::Unavailable => 1.0,
            Self::Dishonest => 5.0,
        }
    }
}

/// How long failures shut an orchestrator out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SuspensionPolicy {
    /// Suspension after the first strike; each further strike doubles it.
    pub base: Duration,
    /// No suspension is longer.
    pub cap: Duration,
    /// Time in which the memory of strikes halves.
    pub half_life: Duration,
}

impl Default for SuspensionPolicy {
    fn default() -> Self {
        Self {
            base: Duration::from_secs(10),
            cap: Duration::from_secs(3_600),
            half_life: Duration::from_secs(600),
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

/// Averages over an orchestrator's recent segments.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Performance {
    /// Segments delivered in time and right.
    pub delivered: u32,
    /// Attempts that failed.
    pub failed: u32,
    /// Share of recent segments delivered in time and right, 0 to 1.
    pub success: f64,
    /// Time taken by a delivered segment over the segment's duration; below 1 is faster than real time.
    pub slowness: f64,
    /// What audited renditions were worth beside a second encode, 0 to 1.
    pub worth: f64,
}

impl Performance {
    /// Too few outcomes to judge by.
    pub fn is_unknown(&self) -> bool {
        self.delivered.saturating_add(self.failed) < KNOWN_AFTER
    }
}

impl Default for Performance {
    // Optimistic: a newcomer starts as an ordinary one would stand, so that it gets its share of work to prove itself.
    fn default() -> Self {
        Self { delivered: 0, failed: 0, success: 1.0, slowness: 1.0, worth: 1.0 }
    }
}

#[derive(Debug, Clone)]
struct Entry {
    performance: Performance,
    strikes: f64,
    struck_at: Instant,
    suspended_until: Option<Instant>,
    severity: Severity,
    touched: Instant,
}

impl Entry {
    fn new(now: Instant) -> Self {
        Self {
            performance: Performance::default(),
            strikes: 0.0,
            struck_at: now,
            suspended_until: None,
            severity: Severity::Unavailable,
            touched: now,
        }
    }

    fn decayed_strikes(&self, now: Instant, half_life: Duration) -> f64 {
        let halves =
            now.saturating_duration_since(self.struck_at).as_secs_f64() / half_life.as_secs_f64().max(1e-3);
        self.strikes * 0.5_f64.powf(halves)
    }
}

/// Performance and suspensions of every orchestrator ever used, bounded by [`MAX_REMEMBERED`].
#[derive(Debug)]
pub struct Scoreboard<K> {
    policy: SuspensionPolicy,
    entries: HashMap<K, Entry>,
}

impl<K: Clone + Eq + Hash> Scoreboard<K> {
    /// An empty board.
    pub fn new(policy: SuspensionPolicy) -> Self {
        Self { policy, entries: HashMap::new() }
    }

    /// Records a verified delivery that took `elapsed` for a segment of `duration`.
    pub fn delivered(&mut self, key: &K, now: Instant, elapsed: Duration, duration: Duration) {
        let slowness = elapsed.as_secs_f64() / duration.as_secs_f64().max(1e-3);
        let performance = &mut self.entry(key, now).performance;
        performance.slowness = if performance.delivered == 0 {
            slowness
        } else {
            blend(performance.slowness, slowness, NEWEST_WEIGHT)
        };
        performance.success = blend(performance.success, 1.0, NEWEST_WEIGHT);
        performance.delivered = performance.delivered.saturating_add(1);
    }

    /// Records what an audited rendition was worth, in millionths.
    pub fn audited(&mut self, key: &K, now: Instant, worth_ppm: u32) {
        let performance = &mut self.entry(key, now).performance;
        let worth = f64::from(worth_ppm.min(PPM)) / f64::from(PPM);
        performance.worth = blend(performance.worth, worth, NEWEST_AUDIT_WEIGHT);
    }

    /// Records a failure and returns for how long the orchestrator is suspended.
    pub fn failed(&mut self, key: &K, now: Instant, severity: Severity) -> Duration {
        let policy = self.policy;
        let entry = self.entry(key, now);
        entry.performance.success = blend(entry.performance.success, 0.0, NEWEST_WEIGHT);
        entry.performance.failed = entry.performance.failed.saturating_add(1);

        entry.strikes = (entry.decayed_strikes(now, policy.half_life) + severity.strikes()).min(MAX_STRIKES);
        entry.struck_at = now;
        let doubled = policy.base.mul_f64(2.0_f64.powf(entry.strikes - 1.0).max(1.0)).min(policy.cap);
        let still_barred =
            entry.severity == Severity::Dishonest && entry.suspended_until.is_some_and(|t| t > now);
        if severity == Severity::Dishonest || !still_barred {
            entry.severity = severity;
        }
        let until = (now + doubled).max(entry.suspended_until.unwrap_or(now));
        entry.suspended_until = Some(until);
        until - now
    }

    /// Whether `key` may be used at `now`.
    pub fn standing(&self, key: &K, now: Instant) -> Standing {
        match self.entries.get(key) {
            Some(entry) if entry.suspended_until.is_some_and(|until| until > now) => match entry.severity {
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

    /// The averages of `key`; an optimistic prior for one never used.
    pub fn performance(&self, key: &K) -> Performance {
        self.entries.get(key).map(|entry| entry.performance).unwrap_or_default()
    }

    /// How many are suspended at `now`.
    pub fn suspended(&self, now: Instant) -> usize {
        self.entries.values().filter(|entry| entry.suspended_until.is_some_and(|until| until > now)).count()
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

    /// Drops the one unused for longest. Suspended ones go last: forgetting must not be a way out of a suspension.
    fn forget_one(&mut self, now: Instant) {
        let stale = self
            .entries
            .iter()
            .min_by_key(|(_, entry)| (entry.suspended_until.is_some_and(|until| until > now), entry.touched))
            .map(|(key, _)| key.clone());
        if let Some(key) = stale {
            self.entries.remove(&key);
        }
    }
}

fn blend(old: f64, new: f64, weight: f64) -> f64 {
    old + (new - old) * weight
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SEGMENT: Duration = Duration::from_secs(2);

    fn board() -> (Scoreboard<u32>, Instant) {
        (Scoreboard::new(SuspensionPolicy::default()), Instant::now())
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
        board.delivered(&1, now, SEGMENT, SEGMENT);
        let before = board.performance(&1);
        board.audited(&1, now, PPM / 2);
        assert_eq!(board.performance(&1), Performance { worth: 0.875, ..before });
        assert_eq!(board.standing(&1, now), Standing::Good);
        board.audited(&1, now, PPM);
        assert!(board.performance(&1).worth > 0.875);
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
            board.delivered(&key, now + Duration::from_millis(u64::from(key)), SEGMENT, SEGMENT);
        }
        assert_eq!(board.len(), MAX_REMEMBERED);
        assert_eq!(board.standing(&0, now + Duration::from_secs(3)), Standing::Barred);
    }

    proptest! {
        #[test]
        fn no_suspension_exceeds_the_cap(outcomes in prop::collection::vec((0u64..5_000, any::<bool>()), 1..200)) {
            let (mut board, mut now) = board();
            for (gap, wrong) in outcomes {
                now += Duration::from_secs(gap);
                let severity = if wrong { Severity::Dishonest } else { Severity::Unavailable };
                prop_assert!(board.failed(&7, now, severity) <= SuspensionPolicy::default().cap);
            }
        }

        #[test]
        fn success_stays_a_share(outcomes in prop::collection::vec(any::<bool>(), 0..200)) {
            let (mut board, now) = board();
            for delivered in outcomes {
                if delivered {
                    board.delivered(&7, now, SEGMENT, SEGMENT);
                } else {
                    board.failed(&7, now, Severity::Unavailable);
                }
                let success = board.performance(&7).success;
                prop_assert!((0.0..=1.0).contains(&success));
            }
        }
    }
}
