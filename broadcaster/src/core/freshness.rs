//! Whether ticket parameters may have been replaced since they came.

use std::time::{Duration, Instant};

/// How long parameters are trusted not to have been replaced, once they were.
const FRESH: Duration = Duration::from_millis(500);

/// How long a replacement makes one wary. An honest orchestrator replaces parameters only after a while without payment,
/// and being wary costs a round trip for each segment.
const WARY: Duration = Duration::from_secs(60);

/// The age of a session's ticket parameters, and when tickets were last refused because of it.
#[derive(Debug, Clone, Copy)]
pub struct Freshness {
    since: Instant,
    stale: Option<Instant>,
}

impl Freshness {
    /// Parameters that came at `now`.
    pub fn new(now: Instant) -> Self {
        Self { since: now, stale: None }
    }

    /// Newer ones came.
    pub fn renewed(&mut self, now: Instant) {
        self.since = now;
    }

    /// Tickets were refused because the parameters had been replaced.
    pub fn found_stale(&mut self, now: Instant) {
        self.stale = Some(now);
    }

    /// Whether tickets on these parameters would be at risk. An orchestrator may redeem what it refuses, so value is not
    /// sent on old parameters to one that has lately replaced some.
    pub fn at_risk(&self, now: Instant) -> bool {
        let within = |since: Instant, limit| now.saturating_duration_since(since) < limit;
        self.stale.is_some_and(|stale| within(stale, WARY)) && !within(self.since, FRESH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_parameters_are_trusted_while_none_was_ever_replaced() {
        let now = Instant::now();
        assert!(!Freshness::new(now).at_risk(now + WARY * 100));
    }

    #[test]
    fn after_a_replacement_only_fresh_parameters_are_trusted_for_a_while() {
        let now = Instant::now();
        let mut freshness = Freshness::new(now);
        freshness.found_stale(now + FRESH);
        assert!(freshness.at_risk(now + FRESH));
        freshness.renewed(now + FRESH);
        assert!(!freshness.at_risk(now + FRESH));
        assert!(freshness.at_risk(now + FRESH * 2));
        assert!(!freshness.at_risk(now + FRESH + WARY));
    }
}
