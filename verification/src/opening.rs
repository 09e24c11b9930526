//! A signed root, opened at one place: what shows that the features behind it are not those of the rendition.

use alloy_primitives::{B256, Bytes as HexBytes};
use bytes::Bytes;
use framemill_media::MediaLimits;
use framemill_network::merkle;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::commitment::{
    BLOCK_BYTES, Commitment, CommitmentError, FrameBlocks, Shape, block_count, block_leaf, commit,
    frame_leaf, open_frame,
};

/// The true features of a rendition, as far as they are asked for.
pub trait Features {
    /// The commitment to all frames.
    fn commitment(&self) -> &Commitment;

    /// One frame, opened.
    ///
    /// # Errors
    /// As [`open_frame`].
    fn frame(&self, index: u32) -> Result<FrameBlocks, CommitmentError>;
}

/// A root opened as far as is known: its shape, perhaps a frame, perhaps what is in the frame, perhaps a block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// Size and number of the frames.
    pub shape: Shape,
    /// Root over the frames.
    pub frames_root: B256,
    /// One of the frames.
    pub frame: Option<FrameOpening>,
}

/// A frame under the root over frames.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameOpening {
    /// Number of the frame.
    pub index: u32,
    /// Its leaf.
    pub leaf: B256,
    /// Siblings from the leaf up to the root over frames.
    pub branch: Vec<B256>,
    /// What the leaf is the hash of, where it was told.
    pub content: Option<FrameContent>,
}

/// What a frame's leaf is the hash of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameContent {
    /// Bytes of the frame's features.
    pub bytes: u32,
    /// Root over its blocks.
    pub blocks_root: B256,
    /// One of the blocks.
    pub block: Option<BlockOpening>,
}

/// A block under the root over a frame's blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockOpening {
    /// Number of the block in the frame.
    pub index: u32,
    /// Its leaf.
    pub leaf: B256,
    /// Siblings from the leaf up to the root over blocks.
    pub branch: Vec<B256>,
    /// What the leaf is the hash of, where it was told.
    pub data: Option<HexBytes>,
}

/// An opening that does not belong to the root it is said to open.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the opening's {part} does not hash to the root above it; ask for it again")]
pub struct BadOpening {
    /// What does not fit.
    pub part: &'static str,
}

/// Where committed features and those of the rendition part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "where", rename_all = "snake_case")]
pub enum Difference {
    /// Size or number of frames.
    Shape {
        /// What was committed.
        committed: Shape,
        /// What the rendition has.
        found: Shape,
    },
    /// A frame; nothing inside of it was opened, or its committed length is impossible.
    Frame {
        /// Number of the frame.
        frame: u32,
    },
    /// A block of a frame.
    Block {
        /// Number of the frame.
        frame: u32,
        /// Number of the block.
        block: u32,
        /// First byte of the frame's canonical features that differs, where the committed ones were shown.
        byte: Option<u32>,
    },
}

impl Opening {
    /// Checks that this opens `root`.
    ///
    /// # Errors
    /// Names the first part that does not hash to what lies above it.
    pub fn verify(&self, root: B256) -> Result<(), BadOpening> {
        require("shape", self.shape.root(self.frames_root) == root)?;
        match &self.frame {
            Some(frame) => frame.verify(self.frames_root, self.shape.frames as usize),
            None => Ok(()),
        }
    }

    /// Where the opened features differ from the true ones; none where what was opened is true.
    ///
    /// # Errors
    /// When the true features cannot be had.
    pub fn difference<F: Features>(&self, truth: &F) -> Result<Option<Difference>, CommitmentError> {
        let found = truth.commitment().shape();
        if self.shape != found {
            return Ok(Some(Difference::Shape { committed: self.shape, found }));
        }
        match &self.frame {
            Some(frame) => Ok(frame.difference(&truth.frame(frame.index)?)),
            None => Ok(None),
        }
    }

    /// Like [`Opening::difference`], from the rendition's bytes: decodes them up to the opened frame and no further where
    /// that shows the difference.
    ///
    /// # Errors
    /// When the rendition's features cannot be had.
    pub fn difference_from(
        &self,
        rendition: &Bytes,
        limits: &MediaLimits,
    ) -> Result<Option<Difference>, CommitmentError> {
        if let Some(frame) = &self.frame {
            match open_frame(rendition, frame.index, limits) {
                Ok(truth) => {
                    let difference = frame.difference(&truth);
                    if difference.is_some() {
                        return Ok(difference);
                    }
                }
                // The rendition ends before: its shape is another one.
                Err(CommitmentError::NoSuchFrame { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let found = commit(rendition, limits)?.shape();
        let other = self.shape != found;
        Ok(other.then_some(Difference::Shape { committed: self.shape, found }))
    }
}

impl FrameOpening {
    fn verify(&self, root: B256, count: usize) -> Result<(), BadOpening> {
        require("frame", merkle::verify(root, self.leaf, self.index as usize, count, &self.branch))?;
        let Some(content) = &self.content else {
            return Ok(());
        };
        require("frame content", frame_leaf(self.index, content.bytes, content.blocks_root) == self.leaf)?;
        match &content.block {
            Some(block) => block.verify(content.blocks_root, block_count(content.bytes)),
            None => Ok(()),
        }
    }

    /// Where the frame differs from the true one of the same number.
    fn difference(&self, truth: &FrameBlocks) -> Option<Difference> {
        if truth.leaf() == self.leaf {
            return None;
        }
        let block = self.content.as_ref().and_then(|content| content.difference(truth));
        Some(block.unwrap_or(Difference::Frame { frame: self.index }))
    }
}

impl FrameContent {
    /// The block that differs, where one was opened that does.
    fn difference(&self, truth: &FrameBlocks) -> Option<Difference> {
        let block = self.block.as_ref().filter(|_| self.bytes == truth.bytes())?;
        let found = truth.block(block.index as usize)?;
        if truth.tree().node(0, block.index as usize) == Some(block.leaf) {
            return None;
        }
        let byte =
            block.data.as_ref().map(|data| block.index * BLOCK_BYTES as u32 + first_other(data, found));
        Some(Difference::Block { frame: truth.index(), block: block.index, byte })
    }
}

/// Place of the first byte in which two blocks differ, or of the end of the shorter.
fn first_other(a: &[u8], b: &[u8]) -> u32 {
    // Blocks have at most BLOCK_BYTES.
    a.iter().zip(b).take_while(|(a, b)| a == b).count() as u32
}

impl BlockOpening {
    fn verify(&self, root: B256, count: usize) -> Result<(), BadOpening> {
        require("block", merkle::verify(root, self.leaf, self.index as usize, count, &self.branch))?;
        match &self.data {
            Some(data) => {
                require("block's bytes", data.len() <= BLOCK_BYTES && block_leaf(data) == self.leaf)
            }
            None => Ok(()),
        }
    }
}

pub(crate) fn require(part: &'static str, holds: bool) -> Result<(), BadOpening> {
    if holds { Ok(()) } else { Err(BadOpening { part }) }
}
