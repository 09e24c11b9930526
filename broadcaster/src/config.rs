//! What a broadcaster and each of its streams may be told.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use alloy_primitives::Address;
use framemill_media::SegmenterConfig;
use framemill_network::{Ladder, PricePerPixel, ServiceAddress};
use framemill_verification::Policy;
use framemill_verification::policy::attention::AttentionConfig;

use crate::core::hedge::HedgePolicy;
use crate::core::parts::MAX_PARTS;
use crate::core::plan::PlanLimits;
use crate::core::playlist::Kind;
use crate::core::scoreboard::SuspensionPolicy;
use crate::core::select::SelectionPolicy;
use crate::error::StreamError;

/// Longest name of a stream in bytes: it becomes a folder and a path of a URL.
pub const MAX_STREAM_NAME: usize = 128;

/// An orchestrator named in the configuration instead of the chain's registry.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StaticOrchestrator {
    /// Who it is and where it is reached.
    pub service: ServiceAddress,
    /// The account its quotes must be signed by; `None` accepts the account of its first quote for as long as the process
    /// runs.
    pub account: Option<Address>,
}

impl From<ServiceAddress> for StaticOrchestrator {
    fn from(service: ServiceAddress) -> Self {
        Self { service, account: None }
    }
}

impl From<(Address, ServiceAddress)> for StaticOrchestrator {
    fn from((account, service): (Address, ServiceAddress)) -> Self {
        Self { service, account: Some(account) }
    }
}

/// Settings of the whole broadcaster; every value has a default.
#[derive(Debug, Clone)]
pub struct BroadcasterConfig {
    /// Orchestrators known without a chain. They are used beside those of the registry.
    pub orchestrators: Vec<StaticOrchestrator>,
    /// Pause before the chain's registry is read again when it could not be; otherwise events say when it has changed.
    pub registry_retry: Duration,
    /// Deadline of a round of quotes; who has not answered by then is not in it.
    pub quote_timeout: Duration,
    /// Orchestrators asked for a quote in one round, at most.
    pub max_quotes: usize,
    /// Sessions that a stream keeps warm: the ones in use and a spare.
    pub warm_sessions: usize,
    /// Highest price; `None` accepts any price the payment caps let through.
    pub price_ceiling: Option<PricePerPixel>,
    /// What counts in the choice of an orchestrator.
    pub selection: SelectionPolicy,
    /// How long failures shut an orchestrator out.
    pub suspension: SuspensionPolicy,
    /// File in which the performance and the suspensions of orchestrators are kept over restarts; `None` forgets them with the
    /// process. Two broadcasters must not share one.
    pub memory: Option<PathBuf>,
    /// Bounds of the attempts on one segment.
    pub plan: PlanLimits,
    /// When a segment is sent to the spare as well.
    pub hedging: HedgePolicy,
    /// Renditions judged at the same time, over all streams; each takes one core.
    pub verify_parallelism: usize,
    /// Renditions that may be judged or wait for it, over all streams. Results that find no room are looked at as little as the
    /// load ever leaves where the stream's rates are adaptive, and wait for room where they are fixed. A number below a ladder's
    /// rungs leaves no room for any of its results.
    pub verify_queue: usize,
    /// How deep results are looked at where a stream leaves it to the record of each orchestrator.
    pub sampling: SamplingConfig,
    /// Streams open at the same time.
    pub max_streams: usize,
    /// Asks for receipts with commitments to the renditions' features, and accepts no others. They cost more, and make a
    /// false statement about a rendition provable to anybody.
    pub commitments: bool,
    /// Of a million results, how many have a rendition encoded again and compared, which changes who gets work and nothing
    /// else.
    pub quality_audits_ppm: u32,
    /// Folder that rejected results are written to as bundles that anybody can judge again; `None` writes none.
    pub bundles: Option<PathBuf>,
    /// Bundles in that folder; when it is full no more are written, so that nobody can flush evidence out.
    pub max_bundles: usize,
    /// Evidence of failed verdicts kept in memory; the oldest is dropped.
    pub max_evidence: usize,
}

/// What of the settings may change while a broadcaster runs. Sessions that are open keep what they were quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Highest price that a quote may ask, also for streams that are open.
    pub price_ceiling: Option<PricePerPixel>,
    /// Streams open at the same time.
    pub max_streams: usize,
}

impl Default for Limits {
    fn default() -> Self {
        BroadcasterConfig::default().limits()
    }
}

impl BroadcasterConfig {
    /// The part of it that may change.
    pub fn limits(&self) -> Limits {
        Limits { price_ceiling: self.price_ceiling, max_streams: self.max_streams }
    }
}

impl Default for BroadcasterConfig {
    fn default() -> Self {
        Self {
            orchestrators: Vec::new(),
            registry_retry: Duration::from_secs(30),
            quote_timeout: Duration::from_secs(3),
            max_quotes: 16,
            warm_sessions: 4,
            price_ceiling: None,
            selection: SelectionPolicy::default(),
            suspension: SuspensionPolicy::default(),
            memory: None,
            plan: PlanLimits::default(),
            hedging: HedgePolicy::default(),
            verify_parallelism: cores(),
            verify_queue: cores() * QUEUED_PER_CORE,
            sampling: SamplingConfig::default(),
            max_streams: 256,
            commitments: false,
            quality_audits_ppm: 1_000,
            bundles: None,
            max_bundles: 64,
            max_evidence: 256,
        }
    }
}

/// Renditions in the queue for each core: those of eight results, which whole take a core about as long as two segments of two
/// seconds last, half of the usual deadline.
const QUEUED_PER_CORE: usize = 24;

/// A cheat that is looked at whole one time in ten gets nine results published before it is caught; looked at afterwards, ten.
const LATER_BELOW_PPM: u32 = 100_000;

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// How a broadcaster samples.
#[derive(Debug, Clone)]
pub struct SamplingConfig {
    /// How records turn into rates; its floor is the least that any adaptive stream gets.
    pub attention: AttentionConfig,
    /// Renditions that may wait for a core before rates are lowered; well below [`BroadcasterConfig::verify_queue`].
    pub max_waiting: usize,
    /// Where at most this share of an orchestrator's results is looked at whole, in millionths, such a look protects nobody from
    /// the one result it is drawn for, but tells who cheats: the segment is published once its first frames have passed, and
    /// the rest is looked at afterwards. Zero has publication wait for every look.
    pub later_below_ppm: u32,
    /// Where the secret, the record of draws and the attention on orchestrators are kept. `None` keeps them in memory: every
    /// start looks at everybody in full, and past draws cannot be shown.
    pub folder: Option<PathBuf>,
}

impl Default for SamplingConfig {
    fn default() -> Self {
        // A segment is some three renditions: about three whole results for each core.
        Self {
            attention: AttentionConfig::default(),
            max_waiting: cores() * 8,
            later_below_ppm: LATER_BELOW_PPM,
            folder: None,
        }
    }
}

/// How deep the results of a stream are checked before they are published. Receipt, hashes and structure always are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verification {
    /// At these rates, whoever delivers and however high the load: a result that has to wait may come too late.
    Fixed(Policy),
    /// As the record of the orchestrator asks for, and less while verification cannot keep up. What is not drawn is published
    /// with its picture unseen.
    Adaptive {
        /// Rates that this stream gets at least, overload aside.
        minimum: Policy,
    },
}

impl Verification {
    /// Every frame of every result.
    pub const FULL: Self = Self::Fixed(Policy::FULL);

    /// As the record of the orchestrator asks for.
    pub const ADAPTIVE: Self = Self::Adaptive { minimum: Policy::STRUCTURE_ONLY };
}

/// A word that names no verification.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not adaptive or full")]
pub struct UnknownVerification(String);

/// Reads `full` as [`Verification::FULL`] and `adaptive` as [`Verification::ADAPTIVE`].
impl FromStr for Verification {
    type Err = UnknownVerification;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "adaptive" => Ok(Self::ADAPTIVE),
            "full" => Ok(Self::FULL),
            other => Err(UnknownVerification(shorten(other))),
        }
    }
}

/// When a segment must be published at the latest: `factor` times its duration, and no sooner than `floor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadlinePolicy {
    /// Multiple of the segment's duration.
    pub factor: u32,
    /// Shortest deadline.
    pub floor: Duration,
}

impl DeadlinePolicy {
    /// The time a segment of `duration` has, from its arrival to its delivery.
    pub fn allow(&self, duration: Duration) -> Duration {
        duration.saturating_mul(self.factor).max(self.floor)
    }
}

impl Default for DeadlinePolicy {
    fn default() -> Self {
        Self { factor: 4, floor: Duration::from_secs(8) }
    }
}

/// What the media playlists of a stream show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlaylistMode {
    /// The newest `segments`; segments stay in the store, and a playlist of all of them (`vod.m3u8`) is written at the end.
    Live {
        /// Segments in the window.
        segments: usize,
    },
    /// The newest `segments`; older ones are deleted once no player can ask for them. For streams without an end.
    Sliding {
        /// Segments in the window.
        segments: usize,
    },
    /// Everything from the start; turns into a VOD playlist when the stream ends.
    Event,
}

impl PlaylistMode {
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Live { segments } | Self::Sliding { segments } => Kind::Window(segments),
            Self::Event => Kind::Event,
        }
    }

    /// The same time in segments of which there are so many more.
    fn times(self, parts: usize) -> Self {
        match self {
            Self::Live { segments } => Self::Live { segments: segments.saturating_mul(parts) },
            Self::Sliding { segments } => Self::Sliding { segments: segments.saturating_mul(parts) },
            Self::Event => Self::Event,
        }
    }
}

/// Settings of one stream.
#[derive(Debug, Clone)]
pub struct StreamConfig {
    /// Name of the stream, its manifest: letters, digits, `_`, `-` and `.`, not starting with a dot.
    pub name: String,
    /// Renditions to buy; rungs above the source are dropped when the first segment arrives.
    pub ladder: Ladder,
    /// What the playlists show.
    pub playlist: PlaylistMode,
    /// Time a segment has.
    pub deadline: DeadlinePolicy,
    /// Segments worked on at the same time; also bounds the memory of the stream.
    pub in_flight: usize,
    /// Length that segments are cut to, and the playlists' initial target duration.
    pub segment_duration: Duration,
    /// Segments that players of [`hls_router`](crate::hls_router) see as one of so many parts, each listed as soon as it is published: low
    /// latency with long segments. From 1, where nothing is seen otherwise than it is bought, to
    /// [`MAX_PARTS`]. A window of [`StreamConfig::playlist`] has so many times its segments then. Stores keep
    /// segments as they are bought, and their playlists list those. Allow more [`StreamConfig::in_flight`] for short segments.
    pub parts_per_segment: usize,
    /// How deep results are checked before they are published.
    pub verification: Verification,
    /// Publish the source as another rendition, named `source`, where it is MPEG-TS.
    pub publish_source: bool,
    /// Which further stores it is published to, by their names in [`BroadcasterBuilder::copy_to`](crate::BroadcasterBuilder::copy_to);
    /// `None` for all of them. The first store gets every stream.
    pub copies: Option<Vec<String>>,
}

impl StreamConfig {
    /// Defaults for a stream called `name`.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ladder: Ladder::default(),
            playlist: PlaylistMode::Live { segments: 6 },
            deadline: DeadlinePolicy::default(),
            in_flight: 3,
            segment_duration: Duration::from_secs(2),
            parts_per_segment: 1,
            verification: Verification::FULL,
            publish_source: false,
            copies: None,
        }
    }

    /// Whether it is published to the further store of this name.
    pub(crate) fn goes_to(&self, store: &str) -> bool {
        self.copies.as_ref().is_none_or(|copies| copies.iter().any(|name| name == store))
    }

    /// How a source of this stream is cut: video is required, segments end at the first keyframe at or after
    /// [`StreamConfig::segment_duration`].
    pub fn segmenter(&self) -> SegmenterConfig {
        let target = i64::try_from(self.target_90k()).unwrap_or(i64::MAX);
        SegmenterConfig { target, require_video: true, ..SegmenterConfig::default() }
    }

    /// Parts of a segment as players see it.
    pub(crate) fn parts(&self) -> u64 {
        (self.parts_per_segment as u64).clamp(1, MAX_PARTS)
    }

    /// What the playlists in stores show.
    pub(crate) fn stored_playlist(&self) -> PlaylistMode {
        self.playlist.times(self.parts() as usize)
    }

    /// The segment duration in ticks of 90 kHz.
    pub(crate) fn target_90k(&self) -> u64 {
        u64::try_from(self.segment_duration.as_micros() * 9 / 100).unwrap_or(u64::MAX)
    }

    /// Whether the name can be a folder and a part of a URL.
    pub(crate) fn check(&self) -> Result<(), StreamError> {
        if is_stream_name(&self.name) { Ok(()) } else { Err(StreamError::Name(shorten(&self.name))) }
    }
}

pub(crate) fn is_stream_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    !name.is_empty() && name.len() <= MAX_STREAM_NAME && !name.starts_with('.') && name.chars().all(legal)
}

pub(crate) fn shorten(text: &str) -> String {
    text.chars().take(MAX_STREAM_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_leave_their_folder_are_refused() {
        for name in ["", ".", "..", "../x", "a/b", "a b", "é", &"x".repeat(MAX_STREAM_NAME + 1)] {
            assert!(!is_stream_name(name), "{name:?} must be refused");
        }
        assert!(is_stream_name("cam-1.main_feed"));
    }

    #[test]
    fn short_segments_get_the_floor_and_long_ones_the_factor() {
        let policy = DeadlinePolicy { factor: 4, floor: Duration::from_secs(8) };
        assert_eq!(policy.allow(Duration::from_secs(1)), Duration::from_secs(8));
        assert_eq!(policy.allow(Duration::from_secs(5)), Duration::from_secs(20));
    }
}
