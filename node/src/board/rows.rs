//! The rows of a board. Each is sent whole when it has changed.

use std::collections::VecDeque;

use alloy_primitives::U256;
use framemill_broadcaster::{RenditionVerdict, Timeline};
use framemill_network::PricePerPixel;
use serde::{Serialize, Serializer};

/// Attempts kept for one segment: more than a segment's deadline has room for.
const MAX_ATTEMPTS: usize = 16;
/// Characters of what a peer said that are kept.
const MAX_WORDS: usize = 400;

/// What a peer said, cut to what a page has room for.
pub(crate) fn words(text: &str) -> String {
    text.chars().take(MAX_WORDS).collect()
}

/// Amounts pass what a number of JSON holds.
fn decimal<S: Serializer>(amount: &U256, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(amount)
}

fn decimal_if_known<S: Serializer>(amount: &Option<U256>, serializer: S) -> Result<S::Ok, S::Error> {
    match amount {
        Some(amount) => serializer.collect_str(amount),
        None => serializer.serialize_none(),
    }
}

/// A row that knows when it changed.
pub(crate) trait Row {
    /// Count of the board's changes when it was changed last.
    fn changed(&self) -> u64;
    /// Says that it has changed now.
    fn stamp(&mut self, revision: u64);
}

macro_rules! rows {
    ($($row:ty),*) => { $(impl Row for $row {
        fn changed(&self) -> u64 {
            self.revision
        }

        fn stamp(&mut self, revision: u64) {
            self.revision = revision;
        }
    })* };
}
rows!(StreamRow, SegmentRow, OrchestratorRow, TranscoderRow, JobRow);

/// One stream.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct StreamRow {
    /// Count of the board's changes when this row was changed last.
    #[serde(skip)]
    pub revision: u64,
    /// Its name.
    pub name: String,
    /// When it was first heard of, in Unix milliseconds.
    pub started_ms: u64,
    /// Nothing follows.
    pub ended: bool,
    /// Path of its master playlist in the store; empty where nothing was published.
    pub playlist: String,
    /// Segments published.
    pub published: u64,
    /// Segments lost.
    pub lost: u64,
    /// Results that verification refused.
    pub rejected: u64,
    /// Attempts that brought nothing for another reason, those that another outpaced aside.
    pub failed: u64,
    /// Segments sent to a spare as well.
    pub hedges: u64,
    /// Tickets sent.
    pub tickets: u64,
    /// Their expected value.
    #[serde(serialize_with = "decimal")]
    pub value_wei: U256,
}

/// Where a segment stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SegmentState {
    /// It is being bought.
    #[default]
    Open,
    /// It stands in the playlists.
    Published,
    /// It does not and will not.
    Lost,
}

/// One segment's way through the market.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct SegmentRow {
    /// Count of the board's changes when this row was changed last.
    #[serde(skip)]
    pub revision: u64,
    /// The stream it belongs to.
    pub stream: String,
    /// Its number in the stream.
    pub sequence: u64,
    /// When it came in, in Unix milliseconds; zero while that is not known.
    pub arrived_ms: u64,
    /// How long it plays.
    pub duration_ms: u64,
    /// Bytes of the source.
    pub source_bytes: u64,
    /// Who made its renditions.
    pub orchestrator: String,
    /// Where it stands.
    pub state: SegmentState,
    /// Why it was lost.
    pub lost: Option<String>,
    /// Renditions published.
    pub renditions: usize,
    /// Tickets sent for it, to whomever.
    pub tickets: u64,
    /// Their expected value.
    #[serde(serialize_with = "decimal")]
    pub value_wei: U256,
    /// Who delivered, where it was sent to a spare as well.
    pub hedge: Option<&'static str>,
    /// When each stage ended, in milliseconds since it came in.
    pub timeline: Timeline,
    /// Every attempt, in the order in which they ended.
    pub attempts: VecDeque<AttemptRow>,
}

/// One attempt on a segment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AttemptRow {
    /// Who was asked.
    pub orchestrator: String,
    /// How it ended, in a word.
    pub outcome: &'static str,
    /// And why.
    pub reason: String,
    /// When each stage ended, in milliseconds since the segment came in.
    pub timeline: Timeline,
    /// What verification said of each rendition that it looked at.
    pub verdicts: Vec<RenditionVerdict>,
}

impl SegmentRow {
    /// Adds an attempt, within bounds.
    pub(crate) fn add(&mut self, attempt: AttemptRow) {
        self.attempts.push_back(attempt);
        while self.attempts.len() > MAX_ATTEMPTS {
            self.attempts.pop_front();
        }
    }
}

/// How often the next result of an orchestrator is looked at, in a million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rates {
    /// Its first frame is compared.
    pub first_frame_ppm: u32,
    /// Every frame is.
    pub whole_ppm: u32,
    /// Its claims are.
    pub claim_ppm: u32,
}

/// What a broadcaster knows of one orchestrator.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct OrchestratorRow {
    /// Count of the board's changes when this row was changed last.
    #[serde(skip)]
    pub revision: u64,
    /// Its account, or its peer id where no account is known.
    pub address: String,
    /// Where it is reached.
    pub addresses: Vec<String>,
    /// Its stake, in base units of the token; zero where unknown.
    #[serde(serialize_with = "decimal")]
    pub stake_wei: U256,
    /// Whether it may be used: `good`, `last resort`, `barred`, `unknown`.
    pub standing: Standing,
    /// What is left of its suspension, in milliseconds.
    pub suspended_ms: u64,
    /// Segments published since this node started.
    pub segments: u64,
    /// Results rejected since this node started.
    pub rejected: u64,
    /// Attempts that brought nothing for another reason, since this node started.
    pub failed: u64,
    /// Segments delivered in time and right, as remembered over restarts.
    pub delivered: u32,
    /// Share of recent segments delivered in time and right.
    pub success_ppm: u32,
    /// Median of the time taken over the segment's duration.
    pub slowness_ppm: u64,
    /// What 95 of 100 did not pass of that.
    pub tail_ppm: u64,
    /// What audited renditions were worth beside a second encode.
    pub worth_ppm: u32,
    /// What is left of the trust in it.
    pub trust_ppm: u32,
    /// What it asked last.
    #[serde(serialize_with = "price")]
    pub price: Option<PricePerPixel>,
    /// How its next result is looked at, where the record decides.
    pub rates: Option<Rates>,
    /// Expected value of the tickets sent to it since this node started.
    #[serde(serialize_with = "decimal")]
    pub value_wei: U256,
    /// Fees paid on chain; none where that is not known.
    #[serde(serialize_with = "decimal_if_known")]
    pub fees_wei: Option<U256>,
    /// What is said of it: why it is suspended, or that it was killed.
    pub note: String,
}

/// Whether an orchestrator may be used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub enum Standing {
    /// Nothing is known of it.
    #[default]
    #[serde(rename = "unknown")]
    Unknown,
    /// It may.
    #[serde(rename = "good")]
    Good,
    /// Only when nobody else is left.
    #[serde(rename = "last resort")]
    LastResort,
    /// It may not.
    #[serde(rename = "barred")]
    Barred,
}

fn price<S: Serializer>(price: &Option<PricePerPixel>, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Shown {
        wei: String,
        pixels: String,
    }
    price
        .map(|price| Shown { wei: price.wei().to_string(), pixels: price.pixels().to_string() })
        .serialize(serializer)
}

/// A transcoder of an orchestrator.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct TranscoderRow {
    /// Count of the board's changes when this row was changed last.
    #[serde(skip)]
    pub revision: u64,
    /// Its network identity.
    pub peer: String,
    /// How it calls itself.
    pub name: String,
    /// Output pixels per second that it measured.
    pub pixels_per_second: u64,
    /// Whether it is there.
    pub connected: bool,
    /// Since when it is so, in Unix milliseconds.
    pub since_ms: u64,
}

/// A segment that an orchestrator worked on.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct JobRow {
    /// Count of the board's changes when this row was changed last.
    #[serde(skip)]
    pub revision: u64,
    /// Its session.
    pub session: String,
    /// Its number in the session.
    pub sequence: u64,
    /// When it ended, in Unix milliseconds.
    pub at_ms: u64,
    /// Output pixels of all renditions.
    pub pixels: u64,
    /// What it earned.
    #[serde(serialize_with = "decimal")]
    pub earned_wei: U256,
    /// The wire code that its client was given; empty where it was delivered.
    pub code: &'static str,
}
