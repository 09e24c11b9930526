//! Openings and answers about committed features: nothing false is ever shown of a true root.

#![no_main]

use std::sync::OnceLock;

use alloy_primitives::B256;
use framemill_verification::features::{FrameFeatures, Lattice};
use framemill_verification::{
    Answer, Bisection, Commitment, CommitmentError, Features, FrameBlocks, Opening, Question, answer,
};
use libfuzzer_sys::fuzz_target;

const FRAMES: u32 = 5;

/// Features of a rendition, one cell of which may be false.
struct Stated {
    commitment: Commitment,
    frames: Vec<FrameBlocks>,
}

impl Stated {
    fn new(falsified: Option<(u32, usize)>) -> Self {
        let lattice = Lattice::for_picture(64, 36);
        let frame = |index: u32| {
            let cells =
                |count: usize, salt: u16| (0..count).map(|i| (i as u16).wrapping_mul(37) ^ salt).collect();
            let coarse = lattice.coarse.cells();
            let mut features = FrameFeatures {
                pts: i64::from(index) * 3_000,
                fine: cells(lattice.fine.cells(), 1),
                luma: cells(coarse, 2),
                u: cells(coarse, 3),
                v: cells(coarse, 4),
            };
            if let Some((_, cell)) = falsified.filter(|(frame, _)| *frame == index) {
                features.fine[cell] ^= 1;
            }
            FrameBlocks::new(index, &features)
        };
        let frames: Vec<_> = (0..FRAMES).map(frame).collect();
        let leaves = frames.iter().map(FrameBlocks::leaf).collect();
        Self { commitment: Commitment::new(64, 36, leaves), frames }
    }
}

impl Features for Stated {
    fn commitment(&self) -> &Commitment {
        &self.commitment
    }

    fn frame(&self, index: u32) -> Result<FrameBlocks, CommitmentError> {
        let none = CommitmentError::NoSuchFrame { index, frames: FRAMES };
        self.frames.get(index as usize).cloned().ok_or(none)
    }
}

fn sides() -> &'static (Stated, Stated) {
    static SIDES: OnceLock<(Stated, Stated)> = OnceLock::new();
    SIDES.get_or_init(|| (Stated::new(None), Stated::new(Some((3, 5_000)))))
}

/// An opening from a stranger: whatever opens the true root is true.
fn opened(text: &[u8]) {
    let (truth, _) = sides();
    let Ok(opening) = serde_json::from_slice::<Opening>(text) else { return };
    let difference = opening.difference(truth);
    if opening.verify(truth.commitment.root()).is_ok() {
        assert!(!matches!(difference, Ok(Some(_))), "a true root shows {difference:?}");
    }
}

/// An answerer that lies where the input says so: what was learned always hashes to the signed root.
fn answered(lies: &[u8]) {
    let (truth, stated) = sides();
    let root = stated.commitment.root();
    let mut bisection = Bisection::new(truth, root).expect("the roots differ");
    for lie in lies.chunks_exact(2) {
        let Some(question) = bisection.question() else { break };
        let told = told(stated, question, lie[0], lie[1]);
        let fits = bisection.take(&told).is_ok();
        assert!(
            !fits || Some(&told) == answer(stated, question).expect("at hand").as_ref(),
            "a lie was taken"
        );
        if let Some(opening) = bisection.opening() {
            assert_eq!(opening.verify(root), Ok(()));
        }
    }
}

fn told(stated: &Stated, question: Question, kind: u8, value: u8) -> Answer {
    let true_one = answer(stated, question).expect("at hand").expect("there is such a place");
    match (kind % 4, true_one) {
        (1, Answer::Children { left, right }) => Answer::Children { left: right, right: left },
        (1, Answer::Root { mut shape, frames_root }) => {
            shape.frames = shape.frames.wrapping_add(u32::from(value));
            Answer::Root { shape, frames_root }
        }
        (1, Answer::Frame { bytes, blocks_root }) => {
            Answer::Frame { bytes: bytes.wrapping_mul(u32::from(value)), blocks_root }
        }
        (1, Answer::Block { data }) => {
            Answer::Block { data: data[..data.len().min(value.into())].to_vec().into() }
        }
        (2, _) => Answer::Children { left: B256::repeat_byte(value), right: B256::ZERO },
        (_, honest) => honest,
    }
}

fuzz_target!(|data: &[u8]| {
    match data.split_first() {
        Some((0, lies)) => answered(lies),
        Some((_, text)) => opened(text),
        None => {}
    }
});
