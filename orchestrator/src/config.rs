//! What an operator can set, with the defaults that hold for live video.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use alloy_primitives::{Address, U256};
use framemill_network::{PricePerPixel, QualityTerms};

use crate::error::OrchestratorError;

/// Settings of one orchestrator.
#[derive(Debug, Clone)]
pub struct OrchestratorConfig {
    /// What a produced pixel costs. A numerator of zero works for free and takes no tickets.
    pub price: PricePerPixel,
    /// What it costs these senders of tickets instead. Whoever names another's account gets its price, and nothing for it: tickets
    /// are signed by the account. Zero, where no ticket is signed, is no such price.
    pub prices: HashMap<Address, PricePerPixel>,
    /// Bounds of the session table.
    pub sessions: SessionLimits,
    /// Bounds of one segment.
    pub segments: SegmentLimits,
    /// How winners are redeemed.
    pub redemption: RedemptionConfig,
    /// Whether receipts carry commitments to the features of every rendition for clients that ask for them; `None` refuses
    /// such clients.
    pub commitments: Option<CommitmentOffer>,
    /// Signed receipts kept as evidence, newest first out of all sessions.
    pub receipts_kept: usize,
    /// File in which the commitments that came with segments are noted beside what was signed for them, so that it can be shown
    /// later whether results were looked at as they were drawn; `None` notes nothing.
    pub told: Option<PathBuf>,
    /// Folder of evidence bundles that this node serves by their hashes; `None` serves what its jury duty fetched alone.
    pub evidence: Option<PathBuf>,
    /// How long [`shutdown`](crate::OrchestratorHandle::shutdown) waits for segments in flight.
    pub drain_deadline: Duration,
}

/// What of the configuration may change while an orchestrator runs. It counts for quotes from then on; open sessions keep
/// what they were quoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// What a produced pixel costs.
    pub price: PricePerPixel,
    /// What it costs these senders instead.
    pub prices: HashMap<Address, PricePerPixel>,
    /// Millionths of the price that commitments add to it, where they are offered.
    pub surcharge_ppm: u32,
    /// How the price of a rendition follows its quality, where commitments are offered.
    pub quality: QualityTerms,
    /// Sessions open at once; those above it stay.
    pub max_sessions: usize,
}

impl Default for OrchestratorConfig {
    fn default() -> Self {
        Self {
            price: PricePerPixel::new(U256::ZERO, 1).expect("zero wei per pixel is a price"),
            prices: HashMap::new(),
            sessions: SessionLimits::default(),
            segments: SegmentLimits::default(),
            redemption: RedemptionConfig::default(),
            commitments: Some(CommitmentOffer::default()),
            receipts_kept: 4096,
            told: None,
            evidence: None,
            drain_deadline: Duration::from_secs(20),
        }
    }
}

/// What feature commitments cost.
///
/// For them this orchestrator decodes its own output, and for the quality the source, which no transcoder shares: `make bench`
/// prints what either takes beside the transcode.
#[derive(Debug, Clone, Copy)]
pub struct CommitmentOffer {
    /// Millionths of the price that are added to it.
    pub surcharge_ppm: u32,
    /// Renditions decoded at once, each on a core of its own; others wait.
    pub parallelism: usize,
    /// How the price of a rendition follows its quality, which the receipt then declares. For this the source is decoded,
    /// too, unless any quality is paid in whole ([`QualityTerms::WHOLE`]).
    pub quality: QualityTerms,
    /// How long what was committed to is kept, so that its client can have it opened.
    pub kept_for: Duration,
    /// Bytes of it that are kept; the oldest go first.
    pub kept_bytes: u64,
}

/// Terms that no sound encode falls under: x264 `veryfast` keeps six decibels above them on the hardest contents measured
/// (small moving text, at a third of its usual bits). Whoever knows its encoder promises more and is preferred for it.
pub const QUALITY_FLOOR: QualityTerms =
    QualityTerms { full_centi_db: 2_000, least_centi_db: 1_400, least_ppm: 500_000 };

impl Default for CommitmentOffer {
    fn default() -> Self {
        Self {
            surcharge_ppm: 300_000,
            parallelism: std::thread::available_parallelism().map_or(1, usize::from),
            quality: QUALITY_FLOOR,
            // Several times what a client takes to judge a segment.
            kept_for: Duration::from_secs(120),
            kept_bytes: 256 << 20,
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
    /// Bytes of decoded pictures held in memory by all segments in work, where their quality is measured; others wait. One
    /// segment may take all of it.
    pub max_picture_bytes: u64,
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
            max_picture_bytes: 2 << 30,
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
        let checks: [(&'static str, u64); 11] = [
            ("sessions.max_sessions", self.sessions.max_sessions as u64),
            ("sessions.max_sessions_per_peer", self.sessions.max_sessions_per_peer as u64),
            ("sessions.max_in_flight", self.sessions.max_in_flight as u64),
            ("segments.max_source_bytes", self.segments.max_source_bytes),
            ("segments.max_picture_bytes", self.segments.max_picture_bytes),
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
        if let Some(offer) = &self.commitments {
            self.validate_offer(offer)?;
        }
        if self.prices.values().any(|price| price.wei().is_zero()) {
            return Err(OrchestratorError::Config {
                field: "prices",
                value: "0".to_owned(),
                expected: "must be above zero: without tickets anybody may name the account",
            });
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

    fn validate_offer(&self, offer: &CommitmentOffer) -> Result<(), OrchestratorError> {
        offer.quality.checked()?;
        let (field, value, expected) = if offer.parallelism == 0 {
            ("commitments.parallelism", 0, "must be above zero")
        } else if self.all_prices().any(|price| price.surcharged(offer.surcharge_ppm).is_err()) {
            let value = u64::from(offer.surcharge_ppm);
            ("commitments.surcharge_ppm", value, "must leave the price within 128 bits of wei")
        } else {
            return Ok(());
        };
        Err(OrchestratorError::Config { field, value: value.to_string(), expected })
    }

    /// This configuration with another offer.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub(crate) fn offering(&self, offer: Offer) -> Result<Self, OrchestratorError> {
        let mut changed = self.clone();
        changed.price = offer.price;
        changed.prices = offer.prices;
        changed.sessions.max_sessions = offer.max_sessions;
        if let Some(commitments) = &mut changed.commitments {
            commitments.surcharge_ppm = offer.surcharge_ppm;
            commitments.quality = offer.quality;
        }
        changed.validate()?;
        Ok(changed)
    }

    /// How the price follows the quality for a client that wants commitments or does not.
    pub(crate) fn quality_for(&self, commitments: bool) -> QualityTerms {
        let offer = self.commitments.filter(|_| commitments);
        offer.map_or(QualityTerms::WHOLE, |offer| offer.quality)
    }

    /// Whether all work is free.
    pub(crate) fn is_free(&self) -> bool {
        self.all_prices().all(|price| price.wei().is_zero())
    }

    fn all_prices(&self) -> impl Iterator<Item = &PricePerPixel> {
        self.prices.values().chain([&self.price])
    }

    /// The price for this sender, or for any, that wants commitments or does not; none where they are wanted and not
    /// offered.
    pub(crate) fn price_for(&self, sender: Option<Address>, commitments: bool) -> Option<PricePerPixel> {
        let own = sender.and_then(|sender| self.prices.get(&sender));
        let price = own.copied().unwrap_or(self.price);
        if !commitments {
            return Some(price);
        }
        let surcharged = price.surcharged(self.commitments?.surcharge_ppm);
        Some(surcharged.expect("the configuration was checked before the start"))
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
    fn commitments_cost_their_surcharge() {
        let price = PricePerPixel::new(U256::from(100), 7).expect("a price");
        let offer = CommitmentOffer { surcharge_ppm: 130_000, ..CommitmentOffer::default() };
        let mut config =
            OrchestratorConfig { price, commitments: Some(offer), ..OrchestratorConfig::default() };
        assert_eq!(config.price_for(None, false), Some(price));
        let dearer = config.price_for(None, true).expect("they are offered");
        assert!(dearer.cmp_value(&PricePerPixel::new(U256::from(113), 7).expect("a price")).is_eq());
        config.commitments = None;
        assert_eq!(config.price_for(None, true), None);
    }

    #[test]
    fn quality_is_priced_only_with_commitments() {
        let config = OrchestratorConfig::default();
        assert_eq!(config.quality_for(true), QUALITY_FLOOR);
        assert_eq!(config.quality_for(false), QualityTerms::WHOLE);
    }

    #[test]
    fn quality_terms_that_contradict_themselves_are_refused() {
        let quality = QualityTerms { least_centi_db: 2_001, ..QUALITY_FLOOR };
        let offer = CommitmentOffer { quality, ..CommitmentOffer::default() };
        let config = OrchestratorConfig { commitments: Some(offer), ..OrchestratorConfig::default() };
        assert!(matches!(config.validate(), Err(OrchestratorError::Quality(_))));
    }

    #[test]
    fn a_surcharge_beyond_any_price_is_refused() {
        let price = PricePerPixel::new(U256::MAX >> 128, 1).expect("a price");
        let config = OrchestratorConfig { price, ..OrchestratorConfig::default() };
        let error = config.validate().expect_err("it overflows");
        assert!(error.to_string().contains("surcharge"), "{error}");
    }

    #[test]
    fn an_offer_changes_what_is_quoted_and_a_wrong_one_is_refused() {
        let config = OrchestratorConfig::default();
        let price = PricePerPixel::new(U256::from(7), 3).expect("a price");
        let special = PricePerPixel::new(U256::from(5), 3).expect("a price");
        let (prices, quality) = ([(Address::ZERO, special)].into(), QualityTerms::WHOLE);
        let offer = Offer { price, prices, surcharge_ppm: 0, quality, max_sessions: 5 };
        let changed = config.offering(offer.clone()).expect("it is valid");
        assert_eq!(changed.quality_for(true), QualityTerms::WHOLE);
        assert_eq!(changed.price_for(None, false), Some(price));
        assert_eq!(changed.price_for(Some(Address::ZERO), false), Some(special));
        assert_eq!(changed.price_for(Some(Address::repeat_byte(1)), false), Some(price));
        let committed = changed.price_for(Some(Address::ZERO), true).expect("they are offered");
        assert!(committed.cmp_value(&special).is_eq(), "no surcharge is left");
        assert_eq!(changed.sessions.max_sessions, 5);
        assert!(config.offering(Offer { max_sessions: 0, ..offer }).is_err());
    }

    #[test]
    fn nobody_gets_work_for_naming_an_account() {
        let free = PricePerPixel::new(U256::ZERO, 1).expect("a price");
        let config =
            OrchestratorConfig { prices: [(Address::ZERO, free)].into(), ..OrchestratorConfig::default() };
        let error = config.validate().expect_err("no ticket proves the account");
        assert!(error.to_string().contains("prices"), "{error}");
    }

    #[test]
    fn an_offer_does_not_begin_commitments() {
        let config = OrchestratorConfig { commitments: None, ..OrchestratorConfig::default() };
        let quality = QualityTerms::WHOLE;
        let prices = HashMap::new();
        let offer = Offer { price: config.price, prices, surcharge_ppm: 0, quality, max_sessions: 5 };
        assert_eq!(config.offering(offer).expect("it is valid").price_for(None, true), None);
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
