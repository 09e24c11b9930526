//! When a segment is sent to the spare as well, and when not: second copies are for an orchestrator that is late, not for an
//! overload of our own, and their number is bounded.

use std::collections::VecDeque;
use std::time::Duration;

use super::record::Performance;

/// Newest attempts that tell whose fault lateness is.
const WINDOW: usize = 32;

/// Where this many of the newest attempts passed their time, and ...
const LATE_OF_WINDOW: usize = 8;

/// ... so many different orchestrators are among them, it is our own line or machine that is slow.
const LATE_DIFFERENT: usize = 3;

/// How second copies are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HedgePolicy {
    /// Share of a stream's segments that may be sent twice, 0 to 1; 0 sends none. Each costs the price of a segment.
    pub share: f64,
    /// Copies that a stream may send beyond that share at once: an orchestrator that turns slow has several segments out.
    pub burst: f64,
    /// Never before this share of the segment's duration, however fast the orchestrator usually is: what is in real time is not
    /// late, and a fast one's small jitter is no reason to pay twice.
    pub least: f64,
    /// The share of the duration after which a copy is sent where nobody was measured yet.
    pub unknown: f64,
}

impl Default for HedgePolicy {
    fn default() -> Self {
        Self { share: 0.05, burst: 3.0, least: 0.5, unknown: 1.0 }
    }
}

impl HedgePolicy {
    /// When the copy of a segment of `duration` is due: after the time that its orchestrator keeps in 95 of 100 cases.
    pub fn after(&self, performance: &Performance, duration: Duration) -> Duration {
        let usual = performance.patience.unwrap_or(self.unknown);
        // A time to wait stays a time, whatever was configured.
        duration.mul_f64(usual.max(self.least).clamp(0.0, 1_000.0))
    }
}

/// What is left of a stream's second copies.
#[derive(Debug, Clone)]
pub struct HedgeBudget {
    policy: HedgePolicy,
    left: f64,
}

impl HedgeBudget {
    /// A whole burst.
    pub fn new(policy: HedgePolicy) -> Self {
        let left = if policy.share > 0.0 { policy.burst } else { 0.0 };
        Self { policy, left }
    }

    /// A segment arrived.
    pub fn earn(&mut self) {
        self.left = (self.left + self.policy.share).min(self.policy.burst.max(1.0));
    }

    /// Whether a copy could be paid now.
    pub fn has_one(&self) -> bool {
        self.policy.share > 0.0 && self.left >= 1.0
    }

    /// A copy is sent.
    pub fn spend(&mut self) {
        self.left -= 1.0;
    }
}

/// Whether lateness is everybody's, which makes it our own: over all streams.
#[derive(Debug, Clone)]
pub struct Strain<K> {
    recent: VecDeque<(K, bool)>,
}

impl<K> Default for Strain<K> {
    fn default() -> Self {
        Self { recent: VecDeque::with_capacity(WINDOW) }
    }
}

impl<K: PartialEq> Strain<K> {
    /// An attempt at `who` delivered in its usual time, or passed it.
    pub fn note(&mut self, who: K, late: bool) {
        if self.recent.len() == WINDOW {
            self.recent.pop_front();
        }
        self.recent.push_back((who, late));
    }

    /// Whether many attempts at different orchestrators were late at once.
    pub fn is_ours(&self) -> bool {
        let late: Vec<&K> = self.recent.iter().filter(|(_, late)| *late).map(|(who, _)| who).collect();
        let mut different: Vec<&K> = Vec::new();
        for who in &late {
            if different.len() < LATE_DIFFERENT && !different.contains(who) {
                different.push(who);
            }
        }
        late.len() >= LATE_OF_WINDOW && different.len() >= LATE_DIFFERENT
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SEGMENT: Duration = Duration::from_secs(2);

    fn after(patience: Option<f64>) -> Duration {
        HedgePolicy::default().after(&Performance { patience, ..Performance::default() }, SEGMENT)
    }

    #[test]
    fn a_copy_is_due_at_the_usual_time_and_never_before_half_the_duration() {
        assert_eq!(after(Some(0.8)), SEGMENT.mul_f64(0.8));
        assert_eq!(after(Some(0.05)), SEGMENT / 2);
        assert_eq!(after(None), SEGMENT);
        assert_eq!(after(Some(f64::NAN)), SEGMENT / 2);
    }

    #[test]
    fn lateness_of_one_orchestrator_is_its_own() {
        let mut strain = Strain::default();
        for _ in 0..WINDOW {
            strain.note(1, true);
            strain.note(2, true);
        }
        assert!(!strain.is_ours());
        strain.note(3, true);
        assert!(strain.is_ours());
    }

    #[test]
    fn strain_passes_when_attempts_are_in_time_again() {
        let mut strain = Strain::default();
        (0..WINDOW).for_each(|who| strain.note(who, true));
        assert!(strain.is_ours());
        (0..WINDOW).for_each(|who| strain.note(who, false));
        assert!(!strain.is_ours());
    }

    #[test]
    fn no_share_means_no_copy() {
        let mut budget = HedgeBudget::new(HedgePolicy { share: 0.0, ..HedgePolicy::default() });
        (0..100).for_each(|_| budget.earn());
        assert!(!budget.has_one());
    }

    proptest! {
        #[test]
        fn copies_stay_within_their_share(wanted in prop::collection::vec(any::<bool>(), 0..2_000)) {
            let policy = HedgePolicy::default();
            let (mut budget, mut sent) = (HedgeBudget::new(policy), 0.0);
            for wants in &wanted {
                budget.earn();
                if *wants && budget.has_one() {
                    budget.spend();
                    sent += 1.0;
                }
            }
            prop_assert!(sent <= policy.burst + policy.share * wanted.len() as f64 + 1e-6);
        }
    }
}
