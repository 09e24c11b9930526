//! The minimum rate of an upload: a peer that trickles bytes holds memory and capacity that others pay for.

use std::time::Duration;

use crate::error::ProtocolError;

/// Compares bytes with the time that was spent waiting for them. Time in which this side did not read does not count.
#[derive(Debug)]
pub(crate) struct RateGuard {
    min_rate: u64,
    grace: Duration,
    bytes: u64,
    waited: Duration,
}

impl RateGuard {
    pub(crate) fn new(min_rate: u64, grace: Duration) -> Self {
        Self { min_rate, grace, bytes: 0, waited: Duration::ZERO }
    }

    /// Adds bytes and the time waited for them.
    pub(crate) fn record(&mut self, bytes: usize, waited: Duration) -> Result<(), ProtocolError> {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        self.waited = self.waited.saturating_add(waited);
        let counted = self.waited.saturating_sub(self.grace).as_millis();
        if u128::from(self.bytes) * 1_000 < counted * u128::from(self.min_rate) {
            return Err(ProtocolError::TooSlow {
                bytes: self.bytes,
                waited: self.waited,
                min_rate: self.min_rate,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_one_byte_a_second_soon_after_the_grace() {
        let mut guard = RateGuard::new(1_000, Duration::from_secs(2));
        assert!(guard.record(1, Duration::from_secs(1)).is_ok());
        assert!(guard.record(1, Duration::from_secs(1)).is_ok());
        assert!(guard.record(1, Duration::from_secs(1)).is_err());
    }

    #[test]
    fn accepts_a_steady_upload_at_the_minimum_rate() {
        let mut guard = RateGuard::new(1_000, Duration::ZERO);
        assert!((0..100).all(|_| guard.record(1_000, Duration::from_secs(1)).is_ok()));
    }
}
