//! What an operator can set, with the defaults that hold for live video.

use std::time::Duration;

use alloy_primitives::U256;
use framemill_network::PricePerPixel;

use crate::error::OrchestratorError;

/// Settings of one orchestrator.
#[derive(Debug, Clone)]
pub struct OrchestratorConfig {
    /// What a produced pixel costs. A numerator of zero works for free and takes no tickets.
    pub price: PricePerPixel,
    /// Bounds of the session table.
    pub sessions: SessionLimits,
    /// Bounds of one segment.
    pub segments: SegmentLimits,
    /// How winners are redeemed.
    pub redemption: RedemptionConfig,
    /// Signed receipts kept as evidence, newest first out of all sessions.
    pub receipts_kept: usize,
    /// How long [`shutdown`](crate::OrchestratorHandle::shutdown) waits for segments in flight.
    pub drain_deadline: Duration,
}

impl Default for OrchestratorConfig {
    fn default() -> Self {
        Self {
            price: PricePerPixel::new(U256::ZERO, 1).expect("zero wei per pixel is a price"),
            sessions: SessionLimits::default(),
            segments: SegmentLimits::default(),
            redemption: RedemptionConfig::default(),
            receipts_kept: 4096,
            drain_deadline: Duration::from_secs(20),
        }
    }
}

/// Bounds of the session table, so that quotes cost a stranger nothing but us neither.
#[derive(Debug, Clone)]
pub struct SessionLimits {
    /// Sessions open at once.
    pub max_sessions: usize,
    /// Sessions open at once for one peer.
    pub max_sessions_per_peer: usize,
    /// Segments of one session in work at once.
    pub max_in_flight: usize,
    /// How long a quote that was not used yet counts against further quotes. It never counts
    /// against a session that pays.
    pub quote_hold: Duration,
    /// How long a session that sent segments keeps its pixels while it is silent.
    pub reservation_ttl: Duration,
    /// How long a session lives without a segment.
    pub idle_ttl: Duration,
    /// How long a session lives at most: then the price may change.
    pub max_lifetime: Duration,
    /// What a client is told to wait when all capacity is taken.
    pub busy_retry: Duration,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            max_sessions: 4096,
            max_sessions_per_peer: 256,
            max_in_flight: 4,
            quote_hold: Duration::from_secs(10),
            reservation_ttl: Duration::from_secs(15),
            idle_ttl: Duration::from_secs(120),
            max_lifetime: Duration::from_secs(6 * 3600),
            busy_retry: Duration::from_secs(1),
        }
    }
}

/// Bounds of one segment.
#[derive(Debug, Clone)]
pub struct SegmentLimits {
    /// Bytes of one source segment.
    pub max_source_bytes: u64,
    /// Source bytes held in memory by all segments in work.
    pub max_buffered_bytes: u64,
    /// Length of one segment on the source's timeline.
    pub max_duration: Duration,
    /// Frames of one segment.
    pub max_frames: u32,
    /// Pixels of one source picture.
    pub max_source_pixels: u64,
    /// Output pixels of one segment, all renditions together.
    pub max_output_pixels: u64,
    /// Longest time from a segment's header to its receipt, whatever its client asks for.
    pub max_deadline: Duration,
}

impl Default for SegmentLimits {
    fn default() -> Self {
        Self {
            max_source_bytes: 64 << 20,
            max_buffered_bytes: 1 << 30,
            max_duration: Duration::from_secs(30),
            max_frames: 3600,
            max_source_pixels: 8192 * 4320,
            max_output_pixels: 1 << 34,
            max_deadline: Duration::from_secs(60),
        }
    }
}

/// How the redeemer looks after winners.
#[derive(Debug, Clone)]
pub struct RedemptionConfig {
    /// Pause between two looks at the ledger and the chain.
    pub interval: Duration,
    /// Longest pause while the chain does not answer; the pause doubles up to it.
    pub max_backoff: Duration,
}

impl Default for RedemptionConfig {
    fn default() -> Self {
        Self { interval: Duration::from_secs(2), max_backoff: Duration::from_secs(15) }
    }
}

impl OrchestratorConfig {
    /// Checks every value that would stop or break the service.
    ///
    /// # Errors
    /// [`OrchestratorError::Config`] names the first field that is out of range.
    pub fn validate(&self) -> Result<(), OrchestratorError> {
        let positive = "must be above zero";
        let checks: [(&'static str, u64); 10] = [
            ("sessions.max_sessions", self.sessions.max_sessions as u64),
            ("sessions.max_sessions_per_peer", self.sessions.max_sessions_per_peer as u64),
            ("sessions.max_in_flight", self.sessions.max_in_flight as u64),
            ("segments.max_source_bytes", self.segments.max_source_bytes),
            ("segments.max_frames", u64::from(self.segments.max_frames)),
            ("segments.max_source_pixels", self.segments.max_source_pixels),
            ("segments.max_output_pixels", self.segments.max_output_pixels),
            ("segments.max_deadline", millis(self.segments.max_deadline)),
            ("redemption.interval", millis(self.redemption.interval)),
            ("receipts_kept", self.receipts_kept as u64),
        ];
        if let Some((field, value)) = checks.into_iter().find(|(_, value)| *value == 0) {
            return Err(OrchestratorError::Config { field, value: value.to_string(), expected: positive });
        }
        if self.segments.max_buffered_bytes < self.segments.max_source_bytes {
            return Err(OrchestratorError::Config {
                field: "segments.max_buffered_bytes",
                value: self.segments.max_buffered_bytes.to_string(),
                expected: "must hold at least one segment of segments.max_source_bytes",
            });
        }
        Ok(())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert!(OrchestratorConfig::default().validate().is_ok());
    }

    #[test]
    fn the_buffer_holds_at_least_one_segment() {
        let mut config = OrchestratorConfig::default();
        config.segments.max_buffered_bytes = config.segments.max_source_bytes - 1;
        let field = match config.validate() {
            Err(OrchestratorError::Config { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        assert_eq!(field, "segments.max_buffered_bytes");
    }
}
