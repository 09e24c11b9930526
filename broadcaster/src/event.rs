//! What a stream tells while it runs. Everything here serializes to JSON.

use alloy_primitives::{Address, B256, U256};
use bytes::Bytes;
use framemill_network::{LadderEntry, PricePerPixel};
use framemill_verification::policy::draw::{Epoch, Seed};
use futures::stream::{Stream, StreamExt};
use serde::Serialize;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;

use crate::error::SegmentError;

/// Events a slow reader may lag behind before it misses some: minutes of a stream. Room for them is taken at once, for each stream.
const BACKLOG: usize = 128;
/// The same over all streams: seconds of hundreds.
const BACKLOG_OF_ALL: usize = 4_096;

/// Where a stream's events go: to its own readers and to those of the whole broadcaster.
#[derive(Clone)]
pub(crate) struct Events {
    name: String,
    stream: broadcast::Sender<StreamEvent>,
    all: broadcast::Sender<(String, StreamEvent)>,
}

impl Events {
    pub(crate) fn new(name: &str, all: broadcast::Sender<(String, StreamEvent)>) -> Self {
        Self { name: name.to_owned(), stream: broadcast::Sender::new(BACKLOG), all }
    }

    /// The channel over all streams.
    pub(crate) fn channel() -> broadcast::Sender<(String, StreamEvent)> {
        broadcast::Sender::new(BACKLOG_OF_ALL)
    }

    /// Tells everybody. Nobody listening is fine: events are an offer.
    pub(crate) fn send(&self, event: StreamEvent) {
        let _ = self.all.send((self.name.clone(), event.clone()));
        let _ = self.stream.send(event);
    }

    /// This stream's events from now on.
    pub(crate) fn subscribe(&self) -> impl Stream<Item = StreamEvent> + Send + Unpin + use<> {
        BroadcastStream::new(self.stream.subscribe()).map(|event| {
            event.unwrap_or_else(|BroadcastStreamRecvError::Lagged(events)| StreamEvent::Missed { events })
        })
    }
}

/// Something that happened on a stream, in the order in which it did.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum StreamEvent {
    /// An attempt on a segment ended, with or without a result.
    Attempt(AttemptReport),
    /// A segment was published or lost; segments come in order.
    Segment(SegmentReport),
    /// An orchestrator is not used for a while.
    Suspended {
        /// Account of the orchestrator.
        orchestrator: Address,
        /// Why.
        reason: String,
        /// For how long.
        millis: u64,
    },
    /// A published result was looked at whole afterwards, and is wrong. Its orchestrator bears what a rejected result costs it.
    FoundWrong {
        /// Sequence of the segment.
        sequence: u64,
        /// Account of the orchestrator.
        orchestrator: Address,
        /// The first check that failed.
        reason: String,
    },
    /// A rendition was held against a second encode. Of consequence for who gets work, never for a verdict.
    Audit(AuditReport),
    /// A secret seed decides from now on how deep results are looked at.
    SeedCommitted {
        /// What it decides.
        epoch: Epoch,
        /// What it will be held against.
        commitment: B256,
    },
    /// A seed decides nothing any more, and past draws can be checked with it.
    SeedRevealed {
        /// What it decided.
        epoch: Epoch,
        /// The seed.
        seed: Seed,
    },
    /// A store refuses what is published, or does not answer. Told once, until it works again.
    StoreFails {
        /// `first`, or the name that the further store was given.
        store: String,
        /// What it said.
        reason: String,
    },
    /// A store that failed takes what is published again.
    StoreWorks {
        /// As in [`StreamEvent::StoreFails`].
        store: String,
        /// Segments of the stream that are gaps in its playlists for its failures until now.
        missed: u64,
    },
    /// The reader of these events was too slow and missed some.
    Missed {
        /// How many.
        events: u64,
    },
    /// The stream has ended; nothing follows.
    Ended(StreamSummary),
}

/// A rendition beside a second encode of its segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AuditReport {
    /// Number of the segment.
    pub sequence: u64,
    /// Account of the orchestrator that delivered the rendition.
    pub orchestrator: Address,
    /// Name of the rendition.
    pub rendition: String,
    /// Its luma PSNR, in hundredths of a decibel.
    pub psnr_centi_db: u32,
    /// Its luma SSIM, in millionths.
    pub ssim_ppm: u32,
    /// Luma PSNR of the second encode.
    pub reference_psnr_centi_db: u32,
    /// Luma SSIM of the second encode.
    pub reference_ssim_ppm: u32,
    /// What the rendition is worth, in millionths of one that is as good.
    pub worth_ppm: u32,
}

/// Times of one segment's stages in milliseconds since its arrival; `None` where a stage was not reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Timeline {
    /// A session with a valid quote was there.
    pub quote_ms: Option<u64>,
    /// The orchestrator accepted header and payment.
    pub accepted_ms: Option<u64>,
    /// The source was uploaded.
    pub uploaded_ms: Option<u64>,
    /// The first byte of a rendition arrived.
    pub first_byte_ms: Option<u64>,
    /// All renditions and the receipt arrived.
    pub downloaded_ms: Option<u64>,
    /// Receipt and every rendition were checked.
    pub verified_ms: Option<u64>,
    /// The renditions stood in the store and in the playlists.
    pub published_ms: Option<u64>,
}

impl Timeline {
    /// How long each stage took that was reached, in milliseconds: `session` (a session was at hand), `pay` (the orchestrator
    /// took header and tickets), `upload`, `work` (renditions and receipt came in, beyond the upload), `verify`, `publish`.
    pub fn stages(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        let reached = [
            ("session", self.quote_ms),
            ("pay", self.accepted_ms),
            ("upload", self.uploaded_ms),
            ("work", self.downloaded_ms),
            ("verify", self.verified_ms),
            ("publish", self.published_ms),
        ];
        let mut last = 0;
        reached.into_iter().filter_map(move |(stage, at)| {
            let took = at?.saturating_sub(last);
            last = last.max(at?);
            Some((stage, took))
        })
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
#[non_exhaustive]
pub enum AttemptOutcome {
    /// All renditions arrived and passed.
    Delivered,
    /// Refused before the upload.
    Refused {
        /// Code of the wire error.
        code: String,
        /// What the orchestrator said.
        reason: String,
    },
    /// Ended with an error of the orchestrator or the connection.
    Failed {
        /// Code of the wire error, or `connection`.
        code: String,
        /// What happened.
        reason: String,
    },
    /// Took longer than the attempt was allowed.
    Late {
        /// What the attempt was allowed.
        allowed_ms: u64,
    },
    /// Another that had the segment as well delivered first, so this one was not waited for. It is paid if the source had reached
    /// it, and not blamed.
    Outpaced {
        /// How long it had taken until then.
        after_ms: u64,
    },
    /// A complete result that is not what was asked for.
    Rejected {
        /// The first check that failed.
        reason: String,
    },
}

impl AttemptOutcome {
    /// One line for a table.
    pub fn summary(&self) -> String {
        match self {
            Self::Delivered => "delivered".to_owned(),
            Self::Refused { code, reason } => format!("refused ({code}): {reason}"),
            Self::Failed { code, reason } => format!("failed ({code}): {reason}"),
            Self::Late { allowed_ms } => format!("late: nothing complete after {allowed_ms} ms"),
            Self::Outpaced { after_ms } => format!("outpaced: another was faster than {after_ms} ms"),
            Self::Rejected { reason } => format!("rejected: {reason}"),
        }
    }
}

/// What verification found of one rendition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RenditionVerdict {
    /// Name of the rendition.
    pub name: String,
    /// What was asked for, in pixels.
    pub width: u32,
    /// Likewise.
    pub height: u32,
    /// How deep the checks looked: 0 receipt and structure, 1 the first frame, too, 2 every frame.
    pub tier: u8,
    /// Its luma PSNR against the source, in hundredths of a decibel, where frames were compared.
    pub psnr_centi_db: Option<u32>,
    /// The first check that failed; `None` when it passed.
    pub fault: Option<String>,
}

/// One attempt on one segment.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct AttemptReport {
    /// Sequence of the segment.
    pub sequence: u64,
    /// Account of the orchestrator.
    pub orchestrator: Address,
    /// How it ended.
    #[serde(flatten)]
    pub result: AttemptOutcome,
    /// When it reached which stage.
    pub timeline: Timeline,
    /// What the orchestrator had quoted.
    pub price: PricePerPixel,
    /// What was found of each rendition, in ladder order; empty where it did not come to that.
    pub renditions: Vec<RenditionVerdict>,
    /// Tickets sent with it.
    pub tickets: u32,
    /// Their expected value in wei.
    pub expected_value: U256,
}

impl AttemptReport {
    /// One without times, renditions and payments, for code that reads events to be tried with; streams make theirs.
    pub fn new(sequence: u64, orchestrator: Address, result: AttemptOutcome, price: PricePerPixel) -> Self {
        Self {
            sequence,
            orchestrator,
            result,
            timeline: Timeline::default(),
            price,
            renditions: Vec::new(),
            tickets: 0,
            expected_value: U256::ZERO,
        }
    }
}

/// Who delivered a segment that was sent to two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HedgeWinner {
    /// The one that was asked first.
    First,
    /// The spare.
    Spare,
    /// Somebody asked after both had failed, or nobody.
    Neither,
}

impl HedgeWinner {
    /// A stable word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Spare => "spare",
            Self::Neither => "neither",
        }
    }
}

/// One segment, published or lost.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct SegmentReport {
    /// Name of the stream.
    pub stream: String,
    /// Sequence of the segment in its stream.
    pub sequence: u64,
    /// Duration in ticks of 90 kHz.
    pub duration_90k: u64,
    /// First timestamp in ticks of 90 kHz.
    pub start_pts_90k: i64,
    /// Bytes of the source.
    pub source_bytes: u64,
    /// Account of the orchestrator that delivered; `None` when the segment was lost.
    pub orchestrator: Option<Address>,
    /// Why it was lost; `None` when it was published.
    pub lost: Option<String>,
    /// Renditions published.
    pub renditions: u32,
    /// Bytes of all renditions.
    pub rendition_bytes: u64,
    /// Renditions that passed the checks, as deep as [`SegmentReport::tier`] says.
    pub verified: u32,
    /// How deep the checks looked: 0 receipt and structure, 1 the first frame, too, 2 every frame; `None` when the segment was
    /// lost.
    pub tier: Option<u8>,
    /// All attempts, the one that delivered last. One that was outpaced is not among them: it ends later, with an event and in
    /// the totals.
    pub attempts: Vec<AttemptReport>,
    /// Who delivered, where the segment was sent to the spare as well.
    pub hedge: Option<HedgeWinner>,
    /// Stages of the attempt that delivered, up to publication.
    pub timeline: Timeline,
    /// Tickets sent over all attempts.
    pub tickets: u32,
    /// Their expected value in wei.
    pub expected_value: U256,
}

impl SegmentReport {
    /// Whether the segment stands in the playlists as a full set of renditions.
    pub fn is_published(&self) -> bool {
        self.lost.is_none()
    }
}

/// One published rendition of a segment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RenditionResult {
    /// What was asked for, with its final size.
    pub entry: LadderEntry,
    /// The whole segment: MPEG-TS, or fragmented MP4 of an AV1 rendition, which begins with its initialization section.
    pub data: Bytes,
    /// SHA-256 of the bytes.
    pub sha256: B256,
    /// Where it lies in the store. Of MP4 that is what follows the initialization section, which is a file of its own beside it.
    pub path: String,
}

/// A delivered segment: what [`PendingSegment`](crate::PendingSegment) resolves to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SegmentResult {
    /// What happened to it.
    pub report: SegmentReport,
    /// The renditions in ladder order.
    pub renditions: Vec<RenditionResult>,
}

/// How a segment ended.
pub type SegmentOutcome = Result<SegmentResult, SegmentError>;

/// Totals of a stream or of a whole broadcaster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Totals {
    /// Segments taken.
    pub segments: u64,
    /// Segments published as a full set of renditions.
    pub published: u64,
    /// Segments lost.
    pub lost: u64,
    /// Renditions published; every one passed the checks before, as deep as the stream's policy had it drawn.
    pub renditions: u64,
    /// Complete results that failed a check, before or after publication.
    pub rejected: u64,
    /// Attempts that did not deliver and were followed by one at another orchestrator.
    pub failovers: u64,
    /// Segments that were sent to the spare as well because their orchestrator was later than usual.
    pub hedges: u64,
    /// Attempts on these that another outpaced.
    pub outpaced: u64,
    /// Expected value in wei of the tickets sent with them; the price of being in time.
    pub outpaced_value: U256,
    /// Tickets sent, over all attempts.
    pub tickets: u64,
    /// Their expected value in wei.
    pub expected_value: U256,
}

impl Totals {
    /// Adds what is counted in `other` of attempts that were outpaced.
    pub(crate) fn add_outpaced_of(&mut self, other: &Self) {
        self.outpaced += other.outpaced;
        self.outpaced_value = self.outpaced_value.saturating_add(other.outpaced_value);
        self.rejected += other.rejected;
        self.tickets += other.tickets;
        self.expected_value = self.expected_value.saturating_add(other.expected_value);
    }

    /// Adds an attempt that another outpaced.
    pub(crate) fn add_outpaced(&mut self, attempt: &AttemptReport) {
        self.outpaced += 1;
        self.outpaced_value = self.outpaced_value.saturating_add(attempt.expected_value);
        self.tickets += u64::from(attempt.tickets);
        self.expected_value = self.expected_value.saturating_add(attempt.expected_value);
    }
}

/// What a stream came to.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct StreamSummary {
    /// Name of the stream.
    pub stream: String,
    /// Counts.
    #[serde(flatten)]
    pub totals: Totals,
    /// Path of the master playlist in the store: of the whole stream where all segments were kept. Empty where nothing was
    /// published.
    pub master_playlist: String,
    /// What came to further stores.
    pub copies: Vec<CopySummary>,
    /// Durations of the published segments together, in ticks of 90 kHz.
    pub duration_90k: u64,
}

/// What of a stream came to a further store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CopySummary {
    /// The name that the store was given.
    pub store: String,
    /// Segments that it took.
    pub published: u64,
    /// Segments that are gaps in its playlists because it did not take them in time.
    pub missed: u64,
    /// Path of the master playlist in it, as [`StreamSummary::master_playlist`]; empty, too, where the store was away at the end.
    pub master_playlist: String,
}
