//! What is known of one orchestrator: how it performed, its strikes, and until when it is shut out.

use std::time::{Duration, Instant};

use framemill_verification::PPM;
use serde::{Deserialize, Serialize};

use super::pace::Pace;
use super::scoreboard::{Severity, SuspensionPolicy};

/// Weight that the newest outcome gets in the averages: about the last ten segments count.
const NEWEST_WEIGHT: f64 = 0.1;

/// The same for what renditions were worth: audits are rare, so about the last four count.
const NEWEST_AUDIT_WEIGHT: f64 = 0.25;

/// Outcomes after which an orchestrator counts as known.
const KNOWN_AFTER: u32 = 3;

/// Times of its own after which they, and not everybody's, say when an orchestrator is late.
const PACED_AFTER: f64 = 20.0;

/// Share of segments that are in time by definition.
const PUNCTUAL: f64 = 0.95;

/// Strikes beyond this change nothing: the duration is at its cap long before.
const MAX_STRIKES: f64 = 24.0;

/// Longest time that is read from a file: what is longer is a mistake.
const MAX_MS: u64 = 30 * 24 * 3_600_000;

/// Averages over an orchestrator's recent segments.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Performance {
    /// Segments delivered in time and right.
    pub delivered: u32,
    /// Attempts that failed.
    pub failed: u32,
    /// Attempts that another outpaced before anything whole was there.
    pub outpaced: u32,
    /// Share of recent segments delivered in time and right, 0 to 1; one that was outpaced counts half.
    pub success: f64,
    /// Median of the time taken over the segment's duration; below 1 is faster than real time.
    pub slowness: f64,
    /// What 95 of 100 segments did not pass of that.
    pub tail: f64,
    /// Pixels of renditions delivered in a second of its time; 0 where unknown.
    pub throughput: f64,
    /// What audited renditions were worth beside a second encode, 0 to 1.
    pub worth: f64,
    /// What is left of the trust in it after results that were proven wrong, 0 to 1.
    pub trust: f64,
    /// Time over the segment's duration after which it is later than usual; `None` where nobody was measured.
    pub patience: Option<f64>,
}

impl Performance {
    /// Too few outcomes to judge by.
    pub fn is_unknown(&self) -> bool {
        self.delivered.saturating_add(self.failed).saturating_add(self.outpaced) < KNOWN_AFTER
    }

    /// The time over its duration that a segment is likely to take which asks for `demand` pixels for each second of video.
    ///
    /// Times of small ladders are too short for a large one, and a throughput measured on small ladders is too low: the more
    /// hopeful of both is taken, and the next segments correct it.
    pub fn expected_slowness(&self, demand: f64) -> f64 {
        // The tail counts as much as the middle: what is late is lost, however quick the rest was.
        let timed = (self.slowness + self.tail) / 2.0;
        if self.throughput > 0.0 && demand > 0.0 { timed.min(demand / self.throughput) } else { timed }
    }
}

impl Default for Performance {
    // Optimistic: a newcomer starts as an ordinary one would stand, so that it gets its share of work to prove itself.
    fn default() -> Self {
        Self {
            delivered: 0,
            failed: 0,
            outpaced: 0,
            success: 1.0,
            slowness: 1.0,
            tail: 1.0,
            throughput: 0.0,
            worth: 1.0,
            trust: 1.0,
            patience: None,
        }
    }
}

/// A delivery that passed its checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// From the offer to the last byte; our own checks are not part of it.
    pub took: Duration,
    /// Duration of the segment.
    pub duration: Duration,
    /// Pixels of its renditions.
    pub pixels: u64,
}

/// Times with the quantiles that are asked for far more often than a time comes in.
#[derive(Debug, Clone, Default)]
pub(super) struct Times {
    pace: Pace,
    median: Option<f64>,
    tail: Option<f64>,
    are_many: bool,
}

impl Times {
    pub(super) fn note(&mut self, slowness: f64) {
        self.pace.note(slowness);
        *self = Self::from(std::mem::take(&mut self.pace));
    }

    pub(super) fn absorb(&mut self, other: &Self) {
        self.pace.absorb(&other.pace);
        *self = Self::from(std::mem::take(&mut self.pace));
    }
}

impl From<Pace> for Times {
    fn from(pace: Pace) -> Self {
        let (median, tail) = (pace.quantile(0.5), pace.quantile(PUNCTUAL));
        Self { median, tail, are_many: pace.counted() >= PACED_AFTER, pace }
    }
}

/// Strikes that fade.
#[derive(Debug, Clone, Copy)]
struct Strikes {
    count: f64,
    at: Instant,
}

impl Strikes {
    fn left(&self, now: Instant, half_life: Duration) -> f64 {
        let halves = now.saturating_duration_since(self.at).as_secs_f64() / half_life.as_secs_f64().max(1e-3);
        self.count * 0.5_f64.powf(halves)
    }
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    delivered: u32,
    failed: u32,
    outpaced: u32,
    success: f64,
    worth: f64,
    throughput: f64,
    times: Times,
    unavailable: Strikes,
    dishonest: Strikes,
    pub(super) suspended_until: Option<Instant>,
    pub(super) severity: Severity,
    pub(super) touched: Instant,
}

impl Entry {
    pub(super) fn new(now: Instant) -> Self {
        let none = Strikes { count: 0.0, at: now };
        Self {
            delivered: 0,
            failed: 0,
            outpaced: 0,
            success: 1.0,
            worth: 1.0,
            throughput: 0.0,
            times: Times::default(),
            unavailable: none,
            dishonest: none,
            suspended_until: None,
            severity: Severity::Unavailable,
            touched: now,
        }
    }

    pub(super) fn performance(
        &self,
        now: Instant,
        policy: &SuspensionPolicy,
        everybody: &Times,
    ) -> Performance {
        let Times { median, tail, are_many, .. } = self.times;
        let paced = if are_many { tail } else { everybody.tail };
        let dishonest = self.dishonest.left(now, policy.dishonest_half_life);
        Performance {
            delivered: self.delivered,
            failed: self.failed,
            outpaced: self.outpaced,
            success: self.success,
            slowness: median.unwrap_or(1.0),
            tail: tail.unwrap_or(1.0),
            throughput: self.throughput,
            worth: self.worth,
            trust: 0.5_f64.powf(dishonest),
            patience: paced,
        }
    }

    pub(super) fn times(&self) -> &Times {
        &self.times
    }

    pub(super) fn is_suspended(&self, now: Instant) -> bool {
        self.suspended_until.is_some_and(|until| until > now)
    }

    /// Whether forgetting it would be a way out of something.
    pub(super) fn is_marked(&self, now: Instant, policy: &SuspensionPolicy) -> bool {
        self.is_suspended(now) || self.dishonest.left(now, policy.dishonest_half_life) >= 1.0
    }

    pub(super) fn delivered(&mut self, delivery: &Delivery) {
        let took = delivery.took.as_secs_f64().max(1e-3);
        self.times.note(took / delivery.duration.as_secs_f64().max(1e-3));
        let throughput = delivery.pixels as f64 / took;
        self.throughput = match self.delivered {
            0 => throughput,
            _ => blend(self.throughput, throughput, NEWEST_WEIGHT),
        };
        self.success = blend(self.success, 1.0, NEWEST_WEIGHT);
        self.delivered = self.delivered.saturating_add(1);
    }

    /// Half a failure: who takes work and never delivers would otherwise stand as somebody who is always just too slow.
    pub(super) fn outpaced(&mut self, slowness: f64) {
        self.times.note(slowness);
        self.success = blend(self.success, 0.0, NEWEST_WEIGHT / 2.0);
        self.outpaced = self.outpaced.saturating_add(1);
    }

    pub(super) fn audited(&mut self, worth_ppm: u32) {
        let worth = f64::from(worth_ppm.min(PPM)) / f64::from(PPM);
        self.worth = blend(self.worth, worth, NEWEST_AUDIT_WEIGHT);
    }

    /// Returns for how long it is suspended from `now` on.
    pub(super) fn failed(&mut self, now: Instant, severity: Severity, policy: &SuspensionPolicy) -> Duration {
        self.success = blend(self.success, 0.0, NEWEST_WEIGHT);
        self.failed = self.failed.saturating_add(1);
        let (strikes, half_life, cap) = match severity {
            Severity::Unavailable => (&mut self.unavailable, policy.half_life, policy.cap),
            Severity::Dishonest => (&mut self.dishonest, policy.dishonest_half_life, policy.dishonest_cap),
        };
        strikes.count = (strikes.left(now, half_life) + severity.strikes()).min(MAX_STRIKES);
        strikes.at = now;
        let length = policy.base.mul_f64(2.0_f64.powf(strikes.count - 1.0).max(1.0)).min(cap);
        let still_barred = self.severity == Severity::Dishonest && self.is_suspended(now);
        if severity == Severity::Dishonest || !still_barred {
            self.severity = severity;
        }
        let until = (now + length).max(self.suspended_until.unwrap_or(now));
        self.suspended_until = Some(until);
        until - now
    }

    pub(super) fn record(&self, now: Instant, policy: &SuspensionPolicy) -> Record {
        let left = self.suspended_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        Record {
            delivered: self.delivered,
            failed: self.failed,
            outpaced: self.outpaced,
            success: self.success,
            worth: self.worth,
            throughput: self.throughput,
            pace: self.times.pace.clone(),
            unavailable_strikes: self.unavailable.left(now, policy.half_life),
            dishonest_strikes: self.dishonest.left(now, policy.dishonest_half_life),
            suspended_ms: millis(left),
            barred: self.severity == Severity::Dishonest,
            unused_ms: millis(now.saturating_duration_since(self.touched)),
        }
    }

    /// What a record of `away` ago comes to at `now`.
    pub(super) fn restored(record: Record, now: Instant, away: Duration, policy: &SuspensionPolicy) -> Self {
        let fade = |count: f64, half_life| {
            let strikes = Strikes { count: within(count, MAX_STRIKES, 0.0), at: now };
            Strikes { count: strikes.left(now + away, half_life), at: now }
        };
        let severity = if record.barred { Severity::Dishonest } else { Severity::Unavailable };
        let cap = if record.barred { policy.dishonest_cap } else { policy.cap };
        let left = Duration::from_millis(record.suspended_ms).min(cap).saturating_sub(away);
        let unused = Duration::from_millis(record.unused_ms.min(MAX_MS)).saturating_add(away);
        Self {
            delivered: record.delivered,
            failed: record.failed,
            outpaced: record.outpaced,
            success: within(record.success, 1.0, 1.0),
            worth: within(record.worth, 1.0, 1.0),
            throughput: within(record.throughput, f64::MAX, 0.0),
            times: record.pace.into(),
            unavailable: fade(record.unavailable_strikes, policy.half_life),
            dishonest: fade(record.dishonest_strikes, policy.dishonest_half_life),
            suspended_until: (!left.is_zero()).then(|| now + left),
            severity,
            // A machine that runs for less than that has no such instant; who is dropped first matters little then.
            touched: now.checked_sub(unused).unwrap_or(now),
        }
    }
}

/// What outlives a process of what is known of one orchestrator. Times are lengths, not dates: a clock that jumps can neither
/// end a suspension nor make one longer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    delivered: u32,
    failed: u32,
    outpaced: u32,
    success: f64,
    worth: f64,
    throughput: f64,
    pace: Pace,
    unavailable_strikes: f64,
    dishonest_strikes: f64,
    /// What was left of its suspension.
    suspended_ms: u64,
    /// The suspension is for a wrong result.
    barred: bool,
    /// Since when it was not used.
    unused_ms: u64,
}

/// `value` where it is a number between zero and `most`, the nearer end where it is beyond, `otherwise` where it is none.
fn within(value: f64, most: f64, otherwise: f64) -> f64 {
    if value.is_finite() { value.clamp(0.0, most) } else { otherwise }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn blend(old: f64, new: f64, weight: f64) -> f64 {
    old + (new - old) * weight
}
