//! What is asked of a transcoder: an ordered list of renditions, the same type in configuration, on the wire and in receipts.

mod entry;
mod frames;
mod json;
mod livepeer;
mod parse;
mod presets;
mod rate;
mod resolve;

pub use entry::{Codec, Gop, LadderEntry, Profile};
pub use frames::FrameGate;
pub use livepeer::TranscodeConfiguration;
pub use rate::FrameRate;
pub use resolve::SourceVideo;

use alloy_primitives::{B256, Keccak256};
use serde::{Deserialize, Serialize};

/// Most renditions in one ladder: beyond this no player profits, and every count on the wire stays a small number.
pub const MAX_ENTRIES: usize = 16;
/// Longest rendition name in bytes: names become file names, path segments and header values.
pub const MAX_NAME_BYTES: usize = 64;
/// Largest width or height of a rendition in pixels: the limit of H.264 level 6.2 and of the encoders in use.
pub const MAX_DIMENSION: u32 = 8_192;
/// Lowest bitrate in bits per second: below this no video encoder gives a picture.
pub const MIN_BITRATE: u32 = 10_000;
/// Highest bitrate in bits per second: bounds the bytes a rendition may have on the wire.
pub const MAX_BITRATE: u32 = 200_000_000;

/// Separates this hash from every other use of Keccak-256 in the protocol.
const HASH_DOMAIN: &[u8] = b"framemill ladder v1";

/// A ladder that could not be read or used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LadderError {
    /// No entry, or more than [`MAX_ENTRIES`].
    #[error("ladder has {count} renditions: give 1 to {MAX_ENTRIES}")]
    EntryCount {
        /// Number of entries found.
        count: usize,
    },
    /// The text of an entry does not follow `HEIGHT[pFPS]:BITRATE[:CODEC]`, a preset's name or a codec's name.
    #[error("cannot read {text:?} in a ladder: {expected}")]
    Syntax {
        /// The offending part of the text, shortened.
        text: String,
        /// What was expected there.
        expected: &'static str,
    },
    /// The JSON form is malformed.
    #[error("cannot read the ladder's json: {0}")]
    Json(String),
    /// A name that could not be used as a file name.
    #[error(
        "rendition name {name:?} is not usable: take 1 to {MAX_NAME_BYTES} of the characters a-z A-Z 0-9 _ - . and do not start with a dot"
    )]
    Name {
        /// The offending name, shortened.
        name: String,
    },
    /// Two entries with one name.
    #[error("two renditions are named {name:?}: give each its own name")]
    DuplicateName {
        /// The name found twice.
        name: String,
    },
    /// A field is outside its range.
    #[error("rendition {name:?}: {field} is {value}, must be {min} to {max}")]
    OutOfRange {
        /// Name of the entry.
        name: String,
        /// Field of the entry.
        field: &'static str,
        /// Value found.
        value: u64,
        /// Smallest legal value.
        min: u64,
        /// Largest legal value.
        max: u64,
    },
    /// A profile that the codec does not have.
    #[error("rendition {name:?}: {codec} has no {profile} profile; leave the profile out")]
    ProfileMismatch {
        /// Name of the entry.
        name: String,
        /// Codec of the entry.
        codec: Codec,
        /// Profile of the entry.
        profile: Profile,
    },
    /// The source has no picture that a ladder could be made for.
    #[error(
        "source of {width}x{height} pixels has no usable picture size: each side must be 2 to {MAX_DIMENSION}"
    )]
    Source {
        /// Source width in pixels.
        width: u32,
        /// Source height in pixels.
        height: u32,
    },
    /// A ladder with open fields where a resolved one is needed.
    #[error("rendition {name:?} has no size of its own: resolve the ladder against the source first")]
    NotConcrete {
        /// Name of the entry.
        name: String,
    },
}

/// One to [`MAX_ENTRIES`] renditions with valid fields and distinct names, in the order in which they are delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<LadderEntry>", into = "Vec<LadderEntry>")]
pub struct Ladder(Vec<LadderEntry>);

impl Ladder {
    /// Checks the entries and makes a ladder of them.
    ///
    /// # Errors
    /// Says which entry and which field is out of bounds.
    pub fn new(entries: Vec<LadderEntry>) -> Result<Self, LadderError> {
        if entries.is_empty() || entries.len() > MAX_ENTRIES {
            return Err(LadderError::EntryCount { count: entries.len() });
        }
        for (position, entry) in entries.iter().enumerate() {
            entry.validate()?;
            if entries[..position].iter().any(|other| other.name == entry.name) {
                return Err(LadderError::DuplicateName { name: entry.name.clone() });
            }
        }
        Ok(Self(entries))
    }

    /// The entries in order.
    pub fn entries(&self) -> &[LadderEntry] {
        &self.0
    }

    /// The entry at a rendition index.
    pub fn get(&self, index: u32) -> Option<&LadderEntry> {
        self.0.get(usize::try_from(index).ok()?)
    }

    /// Number of renditions, 1 to [`MAX_ENTRIES`].
    #[expect(clippy::len_without_is_empty, reason = "a ladder is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Iterates over the entries in order.
    pub fn iter(&self) -> std::slice::Iter<'_, LadderEntry> {
        self.0.iter()
    }

    /// True when every entry has its own even width and height, as [`Ladder::resolve`] makes it.
    pub fn is_concrete(&self) -> bool {
        self.ensure_concrete().is_ok()
    }

    /// Like [`Ladder::is_concrete`], naming the first entry that is not.
    ///
    /// # Errors
    /// [`LadderError::NotConcrete`].
    pub fn ensure_concrete(&self) -> Result<(), LadderError> {
        match self.iter().find(|entry| !entry.is_concrete()) {
            Some(entry) => Err(LadderError::NotConcrete { name: entry.name.clone() }),
            None => Ok(()),
        }
    }

    /// Keccak-256 over a fixed-width encoding of every field of every entry; what quotes and receipts bind to.
    pub fn hash(&self) -> B256 {
        let mut hasher = Keccak256::new();
        hasher.update(HASH_DOMAIN);
        hasher.update([self.0.len() as u8]);
        for entry in &self.0 {
            entry.hash_into(&mut hasher);
        }
        hasher.finalize()
    }

    /// Pixels that all renditions of a segment have together; what a segment is charged by.
    ///
    /// `frames` is the number of video frames of the source segment, `duration_90k` its duration in ticks of 90 kHz.
    /// Saturates instead of overflowing.
    pub fn expected_pixels(&self, frames: u32, duration_90k: u64) -> u64 {
        self.iter().fold(0, |sum, entry| sum.saturating_add(entry.expected_pixels(frames, duration_90k)))
    }

    /// Pixels per second that this ladder needs in the long run, for admission; `source` gives the rate of entries that keep it.
    pub fn pixels_per_second(&self, source: FrameRate) -> u64 {
        self.iter().fold(0, |sum, entry| {
            let rate = if entry.fps.is_source() { source } else { entry.fps };
            sum.saturating_add(rate.scale_up(entry.pixels_per_frame()))
        })
    }
}

impl<'a> IntoIterator for &'a Ladder {
    type Item = &'a LadderEntry;
    type IntoIter = std::slice::Iter<'a, LadderEntry>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Like [`Ladder::new`], but entries without a name get one from their size and rate.
impl TryFrom<Vec<LadderEntry>> for Ladder {
    type Error = LadderError;

    fn try_from(mut entries: Vec<LadderEntry>) -> Result<Self, LadderError> {
        json::fill_names(&mut entries);
        Self::new(entries)
    }
}

impl From<Ladder> for Vec<LadderEntry> {
    fn from(ladder: Ladder) -> Self {
        ladder.0
    }
}

/// 720p at 3 Mbit/s, 480p at 1.5 Mbit/s, 360p at 0.8 Mbit/s; [`Ladder::resolve`] drops what is above the source.
impl Default for Ladder {
    fn default() -> Self {
        let rung =
            |height, bitrate| LadderEntry::from_height(height, FrameRate::SOURCE, bitrate, Codec::H264);
        Self(vec![rung(720, 3_000_000), rung(480, 1_500_000), rung(360, 800_000)])
    }
}

#[cfg(test)]
pub(crate) mod tests;
