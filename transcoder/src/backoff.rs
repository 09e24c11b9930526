//! How long to wait before the next attempt to reach the orchestrator.

use std::time::Duration;

/// First and shortest wait.
pub(crate) const FIRST: Duration = Duration::from_millis(250);

/// Longest wait. An orchestrator that restarts is found again within this time.
pub(crate) const LONGEST: Duration = Duration::from_secs(15);

/// Doubling waits with jitter, so that a thousand transcoders do not return in the same instant.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The next wait: between half and the whole of the current step, placed by `random`.
    pub(crate) fn next(&mut self, random: u32) -> Duration {
        let step = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let half = step / 2;
        let jitter = half.as_nanos() * u128::from(random) / u128::from(u32::MAX);
        half + Duration::from_nanos(u64::try_from(jitter).unwrap_or(u64::MAX))
    }

    /// Starts over after a connection that lasted.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn doubles_up_to_the_longest_wait() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..10).map(|_| backoff.next(u32::MAX)).collect();
        assert_eq!(waits[..3], [FIRST, FIRST * 2, FIRST * 4]);
        assert_eq!(waits[9], LONGEST);
    }

    #[test]
    fn starts_over_after_reset() {
        let mut backoff = Backoff::default();
        backoff.next(0);
        backoff.next(0);
        backoff.reset();
        assert_eq!(backoff.next(u32::MAX), FIRST);
    }

    proptest! {
        #[test]
        fn stays_between_half_a_step_and_the_longest_wait(randoms in prop::collection::vec(any::<u32>(), 1..100)) {
            let mut backoff = Backoff::default();
            for random in randoms {
                let wait = backoff.next(random);
                prop_assert!(wait >= FIRST / 2 && wait <= LONGEST);
            }
        }
    }
}
