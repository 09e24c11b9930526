//! What an orchestrator commits to: the features of every frame of the rendition it returned.
//!
//! Two trees, one in the other. The canonical bytes of a frame's features ([`FrameFeatures::canonical_bytes`]) are cut
//! into blocks of [`BLOCK_BYTES`]; the root over a frame's blocks, with their length and the frame's number, is the
//! frame's leaf; the root over the frames, with their number and size, is the commitment:
//!
//! ```text
//! block = sha256('B' ‖ up to 1024 bytes)
//! frame = leaf('F' ‖ u32 number ‖ u32 bytes ‖ root over blocks)
//! root  = keccak256(0x02 ‖ "framemill-features" ‖ version ‖ u32 width ‖ u32 height ‖ u32 frames ‖ root over frames),
//!         its first byte replaced by the version
//! ```
//!
//! The version stands in the root because a judge of another one must not take it for a false root of its own.
//! `leaf` and the roots are those of [`framemill_network::merkle`]. All counts are bound by the root, so every opening
//! has one possible place and one possible length. The features come from the rendition alone: its own size lays the
//! lattice, and times are those of its container. The root is therefore a function of the bytes.

use std::sync::Arc;

use alloy_primitives::{B256, Keccak256};
use bytes::Bytes;
use framemill_media::time::wrapped;
use framemill_media::{DecoderConfig, Frame, MediaError, MediaLimits};
use framemill_network::merkle::{self, MerkleTree};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::compare::Comparison;
use crate::error::VerifyError;
use crate::features::{FrameFeatures, Lattice};
use crate::frames::is_plain;
use crate::judge::Onlooker;
use crate::kernel::Kernel;
use crate::meter::FeatureMeter;
use crate::report::{Check, FIRST_PICTURE_CHECK, Report, Tier};
use crate::track;

/// Version of the trees and of the features in them, never zero: a change of either is a new one. It is the first byte
/// of every root; roots of another version cannot be compared.
pub const COMMITMENT_VERSION: u8 = 1;

/// Bytes of a block: 512 cells, three rows of the fine lattice. Smaller ones cost more hashing; where a block is opened, the
/// very cell shows.
pub const BLOCK_BYTES: usize = 1024;

const FRAME_TAG: u8 = b'F';
const BLOCK_TAG: u8 = b'B';

/// Neither a leaf (0) nor an inner node (1) of any tree.
const ROOT_PREFIX: u8 = 0x02;
const ROOT_DOMAIN: &[u8] = b"framemill-features";

/// How a rendition is decoded for a commitment: without concealment, since a stream that does not conform has no
/// features that everybody sees.
const STRICT: DecoderConfig = DecoderConfig { threads: 1, strict: true };

/// Why there is no commitment to a rendition.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum CommitmentError {
    /// Decoding it failed.
    #[error("rendition does not decode: {0}; make it again")]
    BadMedia(#[source] MediaError),
    /// A frame was patched up by the decoder.
    #[error("frame {index} decodes with errors; make the rendition again")]
    CorruptFrame {
        /// Number of the frame.
        index: u32,
    },
    /// A frame is no 8-bit 4:2:0 picture of the first frame's size.
    #[error(
        "frame {index} is {width}x{height} {format}, want 8-bit 4:2:0 of the first frame's size; encode it so"
    )]
    OddFrame {
        /// Number of the frame.
        index: u32,
        /// Its width.
        width: u32,
        /// Its height.
        height: u32,
        /// Its pixel format.
        format: String,
    },
    /// Some unit of the rendition's video is not one frame.
    #[error("units of the rendition are not one frame each; encode whole frames, and mux each as a unit")]
    UnevenUnits,
    /// A frame has no presentation time.
    #[error("frame {index} has no presentation time; mux the rendition with one for every frame")]
    UntimedFrame {
        /// Number of the frame.
        index: u32,
    },
    /// There is no such frame.
    #[error("rendition has {frames} frames, asked for number {index}; ask for one below that")]
    NoSuchFrame {
        /// Number that was asked for.
        index: u32,
        /// Frames there are.
        frames: u32,
    },
    /// The machine, not the rendition, is at fault.
    #[error(transparent)]
    Judge(VerifyError),
}

impl CommitmentError {
    /// Whether the rendition is at fault: it has no features that every decoder agrees on.
    #[must_use]
    pub fn is_nonconforming(&self) -> bool {
        !matches!(self, Self::Judge(_) | Self::NoSuchFrame { .. })
    }
}

impl From<MediaError> for CommitmentError {
    fn from(error: MediaError) -> Self {
        if error.is_bad_media() { Self::BadMedia(error) } else { Self::Judge(VerifyError::Judge(error)) }
    }
}

/// Size and number of the frames that a root covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Width of every frame.
    pub width: u32,
    /// Height of every frame.
    pub height: u32,
    /// Number of frames.
    pub frames: u32,
}

impl Shape {
    /// The commitment over these frames: what a receipt's claim carries as feature root.
    #[must_use]
    pub fn root(&self, frames_root: B256) -> B256 {
        let mut hasher = Keccak256::new();
        hasher.update([ROOT_PREFIX]);
        hasher.update(ROOT_DOMAIN);
        hasher.update([COMMITMENT_VERSION]);
        for value in [self.width, self.height, self.frames] {
            hasher.update(value.to_be_bytes());
        }
        hasher.update(frames_root);
        let mut root = hasher.finalize();
        root[0] = COMMITMENT_VERSION;
        root
    }

    /// Pixels of all frames.
    #[must_use]
    pub fn pixels(&self) -> u64 {
        (u64::from(self.width) * u64::from(self.height)).saturating_mul(u64::from(self.frames))
    }
}

/// The leaf of a frame in the tree over frames.
pub(crate) fn frame_leaf(index: u32, bytes: u32, blocks_root: B256) -> B256 {
    let mut leaf = [0; 1 + 4 + 4 + 32];
    leaf[0] = FRAME_TAG;
    leaf[1..5].copy_from_slice(&index.to_be_bytes());
    leaf[5..9].copy_from_slice(&bytes.to_be_bytes());
    leaf[9..].copy_from_slice(blocks_root.as_slice());
    merkle::leaf_hash(&leaf)
}

/// The leaf of a block in the tree over a frame's blocks. Nearly all bytes that are hashed are hashed here: SHA-256 has
/// instructions of its own on usual processors, and a contract can compute it too.
pub(crate) fn block_leaf(data: &[u8]) -> B256 {
    let mut hasher = Sha256::new();
    hasher.update([BLOCK_TAG]);
    hasher.update(data);
    B256::from_slice(&hasher.finalize())
}

/// Blocks that so many bytes of features make.
pub(crate) fn block_count(bytes: u32) -> usize {
    (bytes as usize).div_ceil(BLOCK_BYTES)
}

/// One frame's features, opened down to its blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameBlocks {
    index: u32,
    data: Vec<u8>,
    blocks: MerkleTree,
}

impl FrameBlocks {
    /// The blocks of frame number `index`.
    #[must_use]
    pub fn new(index: u32, features: &FrameFeatures) -> Self {
        let data = features.canonical_bytes();
        let blocks = MerkleTree::new(data.chunks(BLOCK_BYTES).map(block_leaf).collect());
        Self { index, data, blocks }
    }

    /// Number of the frame.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Bytes of its features: a few ten thousand.
    #[must_use]
    pub fn bytes(&self) -> u32 {
        u32::try_from(self.data.len()).expect("features of one frame are far below 4 GiB")
    }

    /// The tree over its blocks.
    #[must_use]
    pub fn tree(&self) -> &MerkleTree {
        &self.blocks
    }

    /// The bytes of a block.
    #[must_use]
    pub fn block(&self, index: usize) -> Option<&[u8]> {
        self.data.chunks(BLOCK_BYTES).nth(index)
    }

    /// The frame's leaf in the tree over frames.
    #[must_use]
    pub fn leaf(&self) -> B256 {
        frame_leaf(self.index, self.bytes(), self.blocks.root())
    }
}

/// The commitment to one rendition, with the leaves of its frames: 32 bytes for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commitment {
    shape: Shape,
    frames: MerkleTree,
}

impl Commitment {
    /// The commitment to these frames, of which each must be of the given size.
    #[must_use]
    pub fn new(width: u32, height: u32, leaves: Vec<B256>) -> Self {
        let frames = u32::try_from(leaves.len()).expect("a rendition's frames are bounded to thousands");
        Self { shape: Shape { width, height, frames }, frames: MerkleTree::new(leaves) }
    }

    /// Size and number of the frames.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The tree over the frames.
    #[must_use]
    pub fn frames(&self) -> &MerkleTree {
        &self.frames
    }

    /// What a receipt carries.
    #[must_use]
    pub fn root(&self) -> B256 {
        self.shape.root(self.frames.root())
    }
}

/// Decodes a rendition and commits to its features. Blocks for as long as decoding takes.
///
/// # Errors
/// When the rendition has no features that everybody sees ([`CommitmentError::is_nonconforming`]), or a limit of the
/// work itself, such as its deadline, was passed.
pub fn commit(rendition: &Bytes, limits: &MediaLimits) -> Result<Commitment, CommitmentError> {
    commit_watched(rendition, limits, |_| Ok(()))
}

/// As [`commit`], and shows every frame to `watch`.
pub(crate) fn commit_watched(
    rendition: &Bytes,
    limits: &MediaLimits,
    mut watch: impl FnMut(&Frame) -> Result<(), VerifyError>,
) -> Result<Commitment, CommitmentError> {
    let mut leaves = Vec::new();
    let mut frames = Frames::open(rendition, limits)?;
    while let Some((features, frame)) = frames.next()? {
        watch(&frame).map_err(CommitmentError::Judge)?;
        leaves.push(FrameBlocks::new(frames.measured.seen - 1, &features).leaf());
    }
    let (width, height) = frames.measured.size;
    Ok(Commitment::new(width, height, leaves))
}

/// Decodes a rendition up to one frame and opens that frame.
///
/// # Errors
/// As [`commit`], and [`CommitmentError::NoSuchFrame`].
pub fn open_frame(
    rendition: &Bytes,
    index: u32,
    limits: &MediaLimits,
) -> Result<FrameBlocks, CommitmentError> {
    let mut frames = Frames::open(rendition, limits)?;
    while let Some((features, _)) = frames.next()? {
        if frames.measured.seen > index {
            return Ok(FrameBlocks::new(index, &features));
        }
    }
    Err(CommitmentError::NoSuchFrame { index, frames: frames.measured.seen })
}

/// The commitment to a rendition that is decoded for a judgement: what [`commit`] would find, without decoding again.
#[derive(Default)]
pub(crate) struct Witness {
    measured: Measured,
    leaves: Vec<B256>,
    failed: bool,
}

impl Onlooker for Witness {
    fn see(&mut self, comparison: &Comparison<'_>, features: &FrameFeatures, frame: &Frame) {
        let index = self.measured.seen;
        match self.measured.measure_again(frame, (features, comparison.lattice())) {
            Ok(features) => self.leaves.push(FrameBlocks::new(index, &features).leaf()),
            Err(_) => self.failed = true,
        }
    }
}

impl Witness {
    /// None where the judgement did not see every frame, or [`commit`] would find fault with one.
    pub(crate) fn commitment(self, report: &Report) -> Option<Commitment> {
        let frames = self.leaves.len() as i64;
        let is_clean = |check: &Check| check.name == FIRST_PICTURE_CHECK && check.pass();
        let is_all = |check: &Check| check.name == "frames" && check.value == frames;
        let seen = report.checks.iter().any(is_clean) && report.checks.iter().any(is_all);
        let (width, height) = self.measured.size;
        let whole = report.tier == Tier::Whole && seen && !self.failed;
        whole.then(|| Commitment::new(width, height, self.leaves))
    }
}

/// The frames of a rendition with their features, in the order in which they are shown. They are found as a judgement finds
/// them.
struct Frames {
    frames: track::Frames,
    measured: Measured,
}

impl Frames {
    fn open(rendition: &Bytes, limits: &MediaLimits) -> Result<Self, CommitmentError> {
        // Features carry times as the container does, whatever they are unwrapped around.
        let measured = Measured::default();
        let frames = track::Frames::open(rendition, &STRICT, limits, 0, Some(&measured.meter))?;
        Ok(Self { frames, measured })
    }

    fn next(&mut self) -> Result<Option<(FrameFeatures, Frame)>, CommitmentError> {
        match self.frames.next_frame()? {
            Some(frame) => Ok(Some((self.measured.measure(&frame)?, frame))),
            None if self.frames.is_whole() => Ok(None),
            None => Err(CommitmentError::UnevenUnits),
        }
    }
}

/// Frames measured so far.
struct Measured {
    meter: Arc<FeatureMeter>,
    /// Size of the first frame, which the others must have.
    size: (u32, u32),
    seen: u32,
}

impl Default for Measured {
    fn default() -> Self {
        Self { meter: Arc::new(FeatureMeter::new(Kernel::detect(), None)), size: (0, 0), seen: 0 }
    }
}

impl Measured {
    /// The features of the next frame.
    fn measure(&mut self, frame: &Frame) -> Result<FrameFeatures, CommitmentError> {
        let pts = self.next(frame)?;
        self.meter.features(frame, pts).map_err(CommitmentError::Judge)
    }

    /// The features of the next frame, of which some are known on this lattice.
    fn measure_again(
        &mut self,
        frame: &Frame,
        (known, lattice): (&FrameFeatures, Lattice),
    ) -> Result<FrameFeatures, CommitmentError> {
        let pts = self.next(frame)?;
        if Lattice::for_picture(frame.width() as usize, frame.height() as usize) == lattice {
            return Ok(FrameFeatures { pts, ..known.clone() });
        }
        self.meter.features(frame, pts).map_err(CommitmentError::Judge)
    }

    /// The time of the next frame, which must be fit to be measured.
    fn next(&mut self, frame: &Frame) -> Result<i64, CommitmentError> {
        let index = self.seen;
        self.seen += 1;
        let size = (frame.width(), frame.height());
        if frame.is_corrupt() {
            return Err(CommitmentError::CorruptFrame { index });
        }
        if index == 0 {
            self.size = size;
        }
        if !is_plain(frame.format()) || self.size != size {
            return Err(odd(index, frame));
        }
        Ok(wrapped(frame.pts().ok_or(CommitmentError::UntimedFrame { index })?))
    }
}

fn odd(index: u32, frame: &Frame) -> CommitmentError {
    let format = frame.format().name().to_owned();
    CommitmentError::OddFrame { index, width: frame.width(), height: frame.height(), format }
}

#[cfg(test)]
mod tests {
    use framemill_media::{ClipSpec, Rational, generate_clip};

    use super::*;

    fn features(seed: u16) -> FrameFeatures {
        let lattice = Lattice::for_picture(64, 36);
        let plane = |cells: usize, salt: u16| -> Vec<u16> {
            (0..cells).map(|cell| (cell as u16).wrapping_mul(31) ^ seed ^ salt).collect()
        };
        let coarse = lattice.coarse.cells();
        FrameFeatures {
            pts: i64::from(seed),
            fine: plane(lattice.fine.cells(), 1),
            luma: plane(coarse, 2),
            u: plane(coarse, 3),
            v: plane(coarse, 4),
        }
    }

    #[test]
    fn every_cell_of_a_frame_is_committed_to() {
        let frame = features(7);
        let leaf = FrameBlocks::new(0, &frame).leaf();
        for cell in [0, 100, 14_399] {
            let mut other = frame.clone();
            other.fine[cell] ^= 1;
            assert_ne!(FrameBlocks::new(0, &other).leaf(), leaf, "cell {cell}");
        }
        let mut other = frame.clone();
        *other.v.last_mut().expect("cells") ^= 1;
        assert_ne!(FrameBlocks::new(0, &other).leaf(), leaf);
        assert_ne!(FrameBlocks::new(0, &FrameFeatures { pts: 8, ..frame }).leaf(), leaf);
    }

    #[test]
    fn a_player_s_demuxer_finds_the_frames_that_are_committed_to() {
        let limits = MediaLimits::segment();
        let rate = Rational::new(30, 1);
        let spec = ClipSpec { start_pts: (1 << 33) - 20_000, ..ClipSpec::new(128, 72, rate, 1) };
        let clip = generate_clip(&spec, &limits).expect("a clip");
        let leaves = |frames: track::Frames| -> Vec<B256> {
            let mut frames = Frames { frames, measured: Measured::default() };
            let next = || frames.next().expect("it decodes");
            std::iter::from_fn(next)
                .zip(0..)
                .map(|((features, _), index)| FrameBlocks::new(index, &features).leaf())
                .collect()
        };
        let plain = track::Frames::open(&clip, &STRICT, &limits, 0, None).expect("it opens");
        let demuxed = track::Frames::demuxed(&clip, &STRICT, &limits).expect("it opens");
        assert!(matches!(plain, track::Frames::Plain(_)));
        assert_eq!(leaves(plain), leaves(demuxed));
    }

    #[test]
    fn number_size_and_order_of_frames_are_committed_to() {
        let leaf = |index| FrameBlocks::new(index, &features(1)).leaf();
        let root = Commitment::new(64, 36, vec![leaf(0), leaf(1)]).root();
        assert_ne!(leaf(0), leaf(1));
        let others = [
            Commitment::new(36, 64, vec![leaf(0), leaf(1)]),
            Commitment::new(64, 36, vec![leaf(1), leaf(0)]),
            Commitment::new(64, 36, vec![leaf(0)]),
            Commitment::new(64, 36, vec![leaf(0), leaf(1), leaf(2)]),
        ];
        assert!(others.iter().all(|other| other.root() != root));
    }

    #[test]
    fn a_frame_is_no_block_and_a_root_is_no_node() {
        let inner = B256::repeat_byte(5);
        let bytes = [[0; 4].as_slice(), &[0; 4], inner.as_slice()].concat();
        assert_ne!(frame_leaf(0, 0, inner), block_leaf(&bytes));
        let shape = Shape { width: 2, height: 3, frames: 1 };
        assert_ne!(shape.root(inner), merkle::node_hash(inner, inner));
        assert_ne!(shape.root(inner), inner);
    }
}
