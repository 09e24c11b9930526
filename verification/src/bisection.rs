//! From a root that is not the rendition's down to the first frame and block that are not.
//!
//! Two sides, no network: the accuser holds the rendition and asks, who committed answers. Every answer is checked
//! against the hash that the answer before it fixed, beginning with the signed root, so that nobody can answer in two
//! ways; the descent takes a question for each level of the two trees, about fifteen for a segment.
//!
//! What was learned when no answer comes any more is an [`Opening`] all the same. It cannot be needed to prove the fault,
//! because the whole rendition still has another root than the one that was signed; it only saves work.

mod wire;

use alloy_primitives::{B256, Bytes as HexBytes};
use framemill_network::merkle::{MerkleTree, node_hash};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::commitment::{
    BLOCK_BYTES, CommitmentError, FrameBlocks, Shape, block_count, block_leaf, frame_leaf,
};
use crate::opening::{BadOpening, BlockOpening, Features, FrameContent, FrameOpening, Opening, require};

/// What the accuser asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub enum Question {
    /// What is the root the hash of?
    Root,
    /// What are the children of a node of the tree over frames?
    FramesNode {
        /// Height above the leaves, at least one.
        level: u32,
        /// Place in its level.
        index: u32,
    },
    /// What is a frame's leaf the hash of?
    Frame {
        /// Number of the frame.
        index: u32,
    },
    /// What are the children of a node of the tree over a frame's blocks?
    BlocksNode {
        /// Number of the frame.
        frame: u32,
        /// Height above the leaves, at least one.
        level: u32,
        /// Place in its level.
        index: u32,
    },
    /// What are a block's bytes?
    Block {
        /// Number of the frame.
        frame: u32,
        /// Number of the block.
        index: u32,
    },
}

impl Question {
    /// The frame that must be opened for an answer; none where the tree over the frames is enough.
    #[must_use]
    pub fn frame(self) -> Option<u32> {
        match self {
            Self::Root | Self::FramesNode { .. } => None,
            Self::Frame { index: frame } | Self::BlocksNode { frame, .. } | Self::Block { frame, .. } => {
                Some(frame)
            }
        }
    }
}

/// What who committed answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    /// To [`Question::Root`].
    Root {
        /// Size and number of the frames.
        shape: Shape,
        /// Root over the frames.
        frames_root: B256,
    },
    /// To [`Question::FramesNode`] and [`Question::BlocksNode`].
    Children {
        /// The left one.
        left: B256,
        /// The right one.
        right: B256,
    },
    /// To [`Question::Frame`].
    Frame {
        /// Bytes of the frame's features.
        bytes: u32,
        /// Root over its blocks.
        blocks_root: B256,
    },
    /// To [`Question::Block`].
    Block {
        /// The bytes, at most [`BLOCK_BYTES`].
        data: HexBytes,
    },
}

/// Answers a question about one's own commitment; none when there is no such place in it.
///
/// # Errors
/// When the features cannot be had.
pub fn answer<F: Features>(own: &F, question: Question) -> Result<Option<Answer>, CommitmentError> {
    let commitment = own.commitment();
    let frames = commitment.shape().frames;
    let open = |index: u32| if index < frames { own.frame(index).map(Some) } else { Ok(None) };
    Ok(match question {
        Question::Root => {
            Some(Answer::Root { shape: commitment.shape(), frames_root: commitment.frames().root() })
        }
        Question::FramesNode { level, index } => children(commitment.frames(), level, index),
        Question::Frame { index } => {
            open(index)?.map(|frame| Answer::Frame { bytes: frame.bytes(), blocks_root: frame.tree().root() })
        }
        Question::BlocksNode { frame, level, index } => {
            open(frame)?.and_then(|frame| children(frame.tree(), level, index))
        }
        Question::Block { frame, index } => {
            let frame = open(frame)?;
            let data = frame.as_ref().and_then(|frame| frame.block(index as usize));
            data.map(|data| Answer::Block { data: HexBytes::copy_from_slice(data) })
        }
    })
}

fn children(tree: &MerkleTree, level: u32, index: u32) -> Option<Answer> {
    let (below, first) = (level.checked_sub(1)? as usize, (index as usize).checked_mul(2)?);
    Some(Answer::Children { left: tree.node(below, first)?, right: tree.node(below, first + 1)? })
}

/// Why a bisection does not go on.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum BisectionError {
    /// The signed root is the rendition's own.
    #[error("the root is that of the rendition; there is nothing to dispute")]
    Agreed,
    /// The answer is to another question.
    #[error("the answer does not fit the question {0:?}; ask again")]
    WrongAnswer(Question),
    /// The answer does not hash to what was signed.
    #[error(transparent)]
    Forged(#[from] BadOpening),
    /// The rendition's own features cannot be had.
    #[error(transparent)]
    Truth(#[from] CommitmentError),
}

/// A node on the way down a tree, at which committed and true hash differ.
#[derive(Clone, Debug)]
struct Descent {
    /// Nodes of each level, leaves first.
    widths: Vec<usize>,
    level: usize,
    index: usize,
    hash: B256,
    /// Siblings passed, from the root down.
    siblings: Vec<B256>,
}

impl Descent {
    fn new(root: B256, leaves: usize) -> Self {
        let mut widths = vec![leaves];
        while let Some(width) = widths.last().copied().filter(|&width| width > 1) {
            widths.push(width.div_ceil(2));
        }
        let mut descent =
            Self { level: widths.len() - 1, widths, index: 0, hash: root, siblings: Vec::new() };
        descent.pass_lone_nodes();
        descent
    }

    /// A node without a sibling is its only child.
    fn pass_lone_nodes(&mut self) {
        while self.level > 0 && 2 * self.index + 1 >= self.widths[self.level - 1] {
            self.level -= 1;
            self.index *= 2;
        }
    }

    fn arrived(&self) -> bool {
        self.level == 0
    }

    /// Goes to the first child that differs from the truth.
    fn descend(&mut self, left: B256, right: B256, truth: &MerkleTree) -> Result<(), BadOpening> {
        require("node", node_hash(left, right) == self.hash)?;
        self.level -= 1;
        self.index *= 2;
        let sibling = if truth.node(self.level, self.index) == Some(left) {
            self.index += 1;
            self.hash = right;
            left
        } else {
            self.hash = left;
            right
        };
        self.siblings.push(sibling);
        self.pass_lone_nodes();
        Ok(())
    }

    fn branch(&self) -> Vec<B256> {
        self.siblings.iter().rev().copied().collect()
    }

    /// Where it stands. Indices and heights are below those of a tree over 2^32 leaves.
    fn place(&self) -> (u32, u32) {
        (self.level as u32, self.index as u32)
    }
}

#[derive(Clone, Debug)]
enum State {
    Root,
    Frames(Descent),
    Blocks(Box<FrameBlocks>, Descent),
    Ended,
}

/// The accuser's side.
#[derive(Debug)]
pub struct Bisection<'a, F> {
    truth: &'a F,
    root: B256,
    state: State,
    opening: Option<Opening>,
}

impl<'a, F: Features> Bisection<'a, F> {
    /// Begins with the root that was signed for the rendition whose features these are.
    ///
    /// # Errors
    /// [`BisectionError::Agreed`] when it is their root.
    pub fn new(truth: &'a F, root: B256) -> Result<Self, BisectionError> {
        if truth.commitment().root() == root {
            return Err(BisectionError::Agreed);
        }
        Ok(Self { truth, root, state: State::Root, opening: None })
    }

    /// What to ask next; none when the bisection has ended.
    #[must_use]
    pub fn question(&self) -> Option<Question> {
        match &self.state {
            State::Root => Some(Question::Root),
            State::Frames(at) => Some(match at.place() {
                (0, index) => Question::Frame { index },
                (level, index) => Question::FramesNode { level, index },
            }),
            State::Blocks(frame, at) => Some(match at.place() {
                (0, index) => Question::Block { frame: frame.index(), index },
                (level, index) => Question::BlocksNode { frame: frame.index(), level, index },
            }),
            State::Ended => None,
        }
    }

    /// What was learned up to now; complete when there is no further question. None before the root is opened.
    #[must_use]
    pub fn opening(&self) -> Option<&Opening> {
        self.opening.as_ref()
    }

    /// Takes the answer to [`Bisection::question`]. After an error the question still stands.
    ///
    /// # Errors
    /// When the answer is to another question, or does not hash to what is known.
    pub fn take(&mut self, answer: &Answer) -> Result<(), BisectionError> {
        let Some(question) = self.question() else {
            return Ok(());
        };
        match (&mut self.state, answer) {
            (State::Root, Answer::Root { shape, frames_root }) => self.root(*shape, *frames_root),
            (State::Frames(at), Answer::Children { left, right }) if !at.arrived() => {
                at.descend(*left, *right, self.truth.commitment().frames())?;
                self.note_frame();
                Ok(())
            }
            (State::Frames(at), Answer::Frame { bytes, blocks_root }) if at.arrived() => {
                let index = at.place().1;
                self.frame(index, *bytes, *blocks_root)
            }
            (State::Blocks(frame, at), Answer::Children { left, right }) if !at.arrived() => {
                at.descend(*left, *right, frame.tree())?;
                self.note_block();
                Ok(())
            }
            (State::Blocks(_, at), Answer::Block { data }) if at.arrived() => {
                let known = data.len() <= BLOCK_BYTES && block_leaf(data) == at.hash;
                require("block's bytes", known)?;
                self.block(data.clone());
                Ok(())
            }
            _ => Err(BisectionError::WrongAnswer(question)),
        }
    }

    fn root(&mut self, shape: Shape, frames_root: B256) -> Result<(), BisectionError> {
        require("shape", shape.root(frames_root) == self.root)?;
        self.opening = Some(Opening { shape, frames_root, frame: None });
        if shape != self.truth.commitment().shape() {
            // Another number or size of frames is false as it stands.
            self.state = State::Ended;
            return Ok(());
        }
        self.state = State::Frames(Descent::new(frames_root, shape.frames as usize));
        self.note_frame();
        Ok(())
    }

    /// Once the descent has arrived at a frame, the opening holds it.
    fn note_frame(&mut self) {
        if let (State::Frames(at), Some(opening)) = (&self.state, &mut self.opening)
            && at.arrived()
        {
            let frame =
                FrameOpening { index: at.place().1, leaf: at.hash, branch: at.branch(), content: None };
            opening.frame = Some(frame);
        }
    }

    fn frame(&mut self, index: u32, bytes: u32, blocks_root: B256) -> Result<(), BisectionError> {
        let State::Frames(at) = &self.state else { return Ok(()) };
        require("frame content", frame_leaf(index, bytes, blocks_root) == at.hash)?;
        let truth = self.truth.frame(index)?;
        if let Some(frame) = self.opening.as_mut().and_then(|opening| opening.frame.as_mut()) {
            frame.content = Some(FrameContent { bytes, blocks_root, block: None });
        }
        if bytes != truth.bytes() {
            self.state = State::Ended;
            return Ok(());
        }
        self.state = State::Blocks(Box::new(truth), Descent::new(blocks_root, block_count(bytes)));
        self.note_block();
        Ok(())
    }

    /// Once the descent has arrived at a block, the opening holds it.
    fn note_block(&mut self) {
        if let (State::Blocks(_, at), Some(content)) = (&self.state, content(&mut self.opening))
            && at.arrived()
        {
            let block = BlockOpening { index: at.place().1, leaf: at.hash, branch: at.branch(), data: None };
            content.block = Some(block);
        }
    }

    fn block(&mut self, data: HexBytes) {
        if let Some(block) = content(&mut self.opening).and_then(|content| content.block.as_mut()) {
            block.data = Some(data);
        }
        self.state = State::Ended;
    }
}

fn content(opening: &mut Option<Opening>) -> Option<&mut FrameContent> {
    opening.as_mut()?.frame.as_mut()?.content.as_mut()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::commitment::Commitment;
    use crate::features::FrameFeatures;
    use crate::opening::Difference;

    /// Frames of any number of cells.
    #[derive(Clone, Debug)]
    struct Stated {
        commitment: Commitment,
        frames: Vec<FrameBlocks>,
    }

    impl Stated {
        fn new(cells: &[Vec<u16>]) -> Self {
            let features = |fine: &Vec<u16>| FrameFeatures {
                pts: 1,
                fine: fine.clone(),
                luma: Vec::new(),
                u: Vec::new(),
                v: Vec::new(),
            };
            let frames: Vec<_> =
                (0..).zip(cells).map(|(index, fine)| FrameBlocks::new(index, &features(fine))).collect();
            let leaves = frames.iter().map(FrameBlocks::leaf).collect();
            Self { commitment: Commitment::new(2, 2, leaves), frames }
        }
    }

    impl Features for Stated {
        fn commitment(&self) -> &Commitment {
            &self.commitment
        }

        fn frame(&self, index: u32) -> Result<FrameBlocks, CommitmentError> {
            Ok(self.frames[index as usize].clone())
        }
    }

    fn bisect(truth: &Stated, stated: &Stated) -> Opening {
        let mut bisection = Bisection::new(truth, stated.commitment.root()).expect("the roots differ");
        while let Some(question) = bisection.question() {
            let told = answer(stated, question).expect("features are at hand").expect("the place exists");
            bisection.take(&told).expect("the answer is what was committed");
        }
        bisection.opening().expect("the root was opened").clone()
    }

    /// Frames of cells: up to a few blocks each, so that trees of every width occur.
    fn rendition() -> impl Strategy<Value = Vec<Vec<u16>>> {
        prop::collection::vec(prop::collection::vec(any::<u16>(), 0..2_000), 1..24)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_first_false_cell_of_any_rendition_is_found(
            cells in rendition(),
            falsified in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..4),
        ) {
            let truth = Stated::new(&cells);
            let mut lie = cells.clone();
            for (frame, cell) in &falsified {
                let frame = &mut lie[frame.index(cells.len())];
                if !frame.is_empty() {
                    let cell = cell.index(frame.len());
                    frame[cell] ^= 0x0100;
                }
            }
            prop_assume!(lie != cells);
            let first = (0..cells.len()).find(|&frame| cells[frame] != lie[frame]).expect("they differ");
            let cell = cells[first].iter().zip(&lie[first]).position(|(a, b)| a != b).expect("they differ");
            // The time comes first, then two bytes for each cell, of which the upper one was changed.
            let byte = 8 + 2 * cell;

            let stated = Stated::new(&lie);
            let opening = bisect(&truth, &stated);
            prop_assert_eq!(opening.verify(stated.commitment.root()), Ok(()));
            prop_assert!(opening.verify(truth.commitment.root()).is_err());
            let expected = Difference::Block {
                frame: first as u32,
                block: (byte / BLOCK_BYTES) as u32,
                byte: Some(byte as u32),
            };
            prop_assert_eq!(opening.difference(&truth).expect("features are at hand"), Some(expected));
        }

        #[test]
        fn renditions_of_other_lengths_part_somewhere(cells in rendition(), other in rendition()) {
            prop_assume!(cells != other);
            let (truth, stated) = (Stated::new(&cells), Stated::new(&other));
            let opening = bisect(&truth, &stated);
            prop_assert_eq!(opening.verify(stated.commitment.root()), Ok(()));
            prop_assert!(opening.difference(&truth).expect("features are at hand").is_some());
            // Seen from the other side the same opening shows nothing.
            prop_assert_eq!(opening.difference(&stated).expect("features are at hand"), None);
        }

        #[test]
        fn a_changed_opening_opens_nothing(
            cells in rendition(),
            at in any::<prop::sample::Index>(),
            change in 0..7_usize,
        ) {
            let truth = Stated::new(&cells);
            let mut lie = cells.clone();
            let frame = at.index(cells.len());
            lie[frame].push(1);
            lie[frame].resize(cells[frame].len().max(1), 0);
            prop_assume!(lie[frame].len() == cells[frame].len());
            lie[frame][0] ^= 1;
            let stated = Stated::new(&lie);
            let mut opening = bisect(&truth, &stated);
            let frame = opening.frame.as_mut().expect("a frame");
            let content = frame.content.as_mut().expect("its content");
            let block = content.block.as_mut().expect("a block");
            match change {
                0 => opening.shape.frames += 1,
                1 => opening.frames_root.0[31] ^= 1,
                2 => frame.index = frame.index.wrapping_add(1),
                3 => frame.branch.push(B256::ZERO),
                4 => content.bytes += 1,
                5 => block.index = block.index.wrapping_add(1),
                _ => block.data = Some(HexBytes::from_static(b"other")),
            }
            prop_assert!(opening.verify(stated.commitment.root()).is_err());
        }
    }
}
