//! Commitments to real encodes: a false one is found down to the block, a true one cannot be disputed.

use std::sync::OnceLock;

use alloy_primitives::B256;
use bytes::Bytes;
use framemill_media::{DecoderConfig, MediaLimits, VideoReader};
use framemill_network::RenditionClaim;
use framemill_verification::features::{FrameFeatures, Lattice, Picture, Range};
use framemill_verification::plane::Plane;
use framemill_verification::{
    Answer, BLOCK_BYTES, Bisection, BisectionError, COMMITMENT_VERSION, Commitment, CommitmentError,
    Difference, Features, FrameBlocks, Opening, Question, RenditionFeatures, answer, check_claim, commit,
    open_frame,
};
use sha2::{Digest, Sha256};

use crate::clips::{real_set, synthetic};
use crate::picture::Content;
use crate::studio::{Clip, Recipe, entry, honest, recipes};

pub(crate) const WIDTH: u32 = 320;
pub(crate) const HEIGHT: u32 = 180;

/// An honest encode, and its features measured by hand.
pub(crate) struct Sample {
    pub(crate) rendition: Bytes,
    pub(crate) features: Vec<FrameFeatures>,
}

pub(crate) fn sample() -> &'static Sample {
    static SAMPLE: OnceLock<Sample> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let clip = synthetic(Content::Landscape, 0, 480, 270);
        let rendition = honest(&clip, &entry(WIDTH, HEIGHT, 300_000), &Recipe::default());
        let features = measured(&rendition);
        Sample { rendition, features }
    })
}

fn measured(rendition: &Bytes) -> Vec<FrameFeatures> {
    let config = DecoderConfig { threads: 4, strict: true };
    let reader = VideoReader::open(rendition.clone(), &config, &MediaLimits::segment()).expect("it opens");
    let lattice = Lattice::for_picture(WIDTH as usize, HEIGHT as usize);
    reader
        .map(|frame| {
            let frame = frame.expect("it decodes");
            let plane = |index: usize| {
                let raw = frame.plane(index).expect("three planes");
                Plane::new(raw.data(), raw.stride(), raw.row_bytes(), raw.rows(), 8).expect("sound plane")
            };
            let pts = frame.pts().expect("a time").rem_euclid(1 << 33);
            let chroma = Some((plane(1), plane(2)));
            FrameFeatures::measure(&Picture { pts, range: Range::Limited, y: plane(0), chroma }, lattice)
        })
        .collect()
}

/// Features that somebody says a rendition has.
pub(crate) struct Stated {
    commitment: Commitment,
    frames: Vec<FrameBlocks>,
}

impl Stated {
    pub(crate) fn new(features: &[FrameFeatures]) -> Self {
        let frames: Vec<_> =
            (0..).zip(features).map(|(index, features)| FrameBlocks::new(index, features)).collect();
        let commitment = Commitment::new(WIDTH, HEIGHT, frames.iter().map(FrameBlocks::leaf).collect());
        Self { commitment, frames }
    }

    /// The true features but for one cell of one frame.
    pub(crate) fn with_false_cell(frame: usize, change: impl FnOnce(&mut FrameFeatures)) -> Self {
        let mut features = sample().features.clone();
        change(&mut features[frame]);
        Self::new(&features)
    }

    pub(crate) fn root(&self) -> B256 {
        self.commitment.root()
    }
}

impl Features for Stated {
    fn commitment(&self) -> &Commitment {
        &self.commitment
    }

    fn frame(&self, index: u32) -> Result<FrameBlocks, CommitmentError> {
        let frames = self.commitment.shape().frames;
        let frame = self.frames.get(index as usize).cloned();
        frame.ok_or(CommitmentError::NoSuchFrame { index, frames })
    }
}

pub(crate) fn truth() -> RenditionFeatures {
    RenditionFeatures::new(sample().rendition.clone(), MediaLimits::segment()).expect("it decodes")
}

pub(crate) fn claim(feature_root: B256) -> RenditionClaim {
    let rendition = &sample().rendition;
    RenditionClaim {
        index: 0,
        sha256: B256::from_slice(&Sha256::digest(rendition)),
        pixels: u64::from(WIDTH * HEIGHT) * sample().features.len() as u64,
        feature_root,
        psnr_centi_db: None,
    }
}

/// Asks until there is nothing more to ask; returns the opening and how many questions it took.
pub(crate) fn bisect(accuser: &impl Features, accused: &Stated) -> (Opening, usize) {
    let mut bisection = Bisection::new(accuser, accused.root()).expect("the roots differ");
    let mut asked = 0;
    while let Some(question) = bisection.question() {
        let told = answer(accused, question).expect("features are at hand").expect("the place exists");
        bisection.take(&told).expect("the answer is honest");
        asked += 1;
    }
    (bisection.opening().expect("the root was opened").clone(), asked)
}

#[test]
fn a_commitment_is_that_of_the_decoded_frames_features() {
    let stated = Stated::new(&sample().features);
    let commitment = commit(&sample().rendition, &MediaLimits::segment()).expect("it decodes");
    assert_eq!(commitment.root(), stated.root());
    let opened = open_frame(&sample().rendition, 17, &MediaLimits::segment()).expect("it decodes");
    assert_eq!(opened, stated.frames[17]);
}

/// Makes features false in one place.
type Change = fn(&mut FrameFeatures);

#[test]
fn a_false_block_in_one_frame_is_found_and_proven() {
    let cases: [(usize, usize, Change); 4] = [
        (0, 0, |features| features.pts += 1),
        (21, 8 + 2 * 7_777, |features| features.fine[7_777] += 1),
        (44, 8 + 2 * (14_400 + 5), |features| features.luma[5] -= 1),
        (30, 8 + 2 * (14_400 + 3 * 3_600 - 1), |features| features.v[3_599] += 40),
    ];
    for (frame, byte, change) in cases {
        let liar = Stated::with_false_cell(frame, change);
        let (opening, asked) = bisect(&truth(), &liar);
        assert!(asked <= 2 + 6 + 1 + 7 + 1, "{asked} questions");
        opening.verify(liar.root()).expect("it opens what was committed");
        // What differs is the low byte, or any byte of the cell where a carry changes both.
        match opening.difference(&truth()).expect("it decodes") {
            Some(Difference::Block { frame: found, block, byte: Some(at) }) => {
                assert_eq!((found as usize, block as usize), (frame, byte / BLOCK_BYTES));
                let width = if byte == 0 { 8 } else { 2 };
                assert!((byte..byte + width).contains(&(at as usize)), "{at} for {byte}");
            }
            other => panic!("frame {frame}: {other:?}"),
        }
    }
}

#[test]
fn the_first_of_several_false_frames_is_found() {
    let mut features = sample().features.clone();
    for frame in [40, 12, 33] {
        features[frame].u[0] ^= 1;
    }
    let (opening, _) = bisect(&truth(), &Stated::new(&features));
    assert_eq!(opening.frame.expect("a frame").index, 12);
}

#[test]
fn a_frame_left_out_is_proven_by_the_root_alone() {
    let liar = Stated::new(&sample().features[1..]);
    let (opening, asked) = bisect(&truth(), &liar);
    assert_eq!(asked, 1);
    assert!(matches!(opening.difference(&truth()), Ok(Some(Difference::Shape { .. }))));
}

#[test]
fn a_true_commitment_cannot_be_disputed() {
    let honest = Stated::new(&sample().features);
    let report = check_claim(&sample().rendition, &claim(honest.root()), &MediaLimits::segment());
    let report = report.expect("it decodes");
    assert!(!report.proves_false_features(), "{report:?}");
    assert!(matches!(Bisection::new(&truth(), honest.root()), Err(BisectionError::Agreed)));

    // An accuser who says other features are the true ones gets an opening that differs in nothing.
    let accuser = Stated::with_false_cell(20, |features| features.fine[0] += 1);
    let (opening, _) = bisect(&accuser, &honest);
    opening.verify(honest.root()).expect("it opens what was committed");
    assert_eq!(opening.difference(&truth()).expect("it decodes"), None);

    // Nor can one put features of its own under the signed root.
    let (forged, _) = bisect(&truth(), &accuser);
    assert!(forged.verify(honest.root()).is_err());
    let mut grafted = opening.clone();
    grafted.frame = forged.frame;
    assert!(grafted.verify(honest.root()).is_err());
}

#[test]
fn answers_that_do_not_hash_to_what_was_signed_are_refused() {
    let liar = Stated::with_false_cell(9, |features| features.fine[9] += 1);
    let honest = Stated::new(&sample().features);
    let accuser = truth();
    let mut bisection = Bisection::new(&accuser, liar.root()).expect("the roots differ");
    while let Some(question) = bisection.question() {
        // Who committed to false features cannot answer with the true ones, except where both are the same.
        let [true_answer, own_answer] = [&honest, &liar]
            .map(|told| answer(told, question).expect("features are at hand").expect("the place exists"));
        assert_ne!(true_answer, own_answer);
        assert!(matches!(bisection.take(&true_answer), Err(BisectionError::Forged(_))), "{question:?}");
        assert_eq!(bisection.question(), Some(question));
        bisection.take(&own_answer).expect("the committed answer");
    }
}

#[test]
fn an_answer_to_another_question_is_refused() {
    let liar = Stated::with_false_cell(9, |features| features.fine[9] += 1);
    let accuser = truth();
    let mut bisection = Bisection::new(&accuser, liar.root()).expect("the roots differ");
    let other = Answer::Children { left: B256::ZERO, right: B256::ZERO };
    assert!(matches!(bisection.take(&other), Err(BisectionError::WrongAnswer(Question::Root))));
}

#[test]
fn what_was_learned_before_answers_stopped_is_proof_already() {
    let liar = Stated::with_false_cell(31, |features| features.luma[1] += 1);
    let accuser = truth();
    let mut bisection = Bisection::new(&accuser, liar.root()).expect("the roots differ");
    while !matches!(bisection.question(), Some(Question::Frame { .. })) {
        let question = bisection.question().expect("it has not ended");
        let told = answer(&liar, question).expect("features are at hand").expect("the place exists");
        bisection.take(&told).expect("the answer is honest");
    }
    let opening = bisection.opening().expect("the root was opened");
    opening.verify(liar.root()).expect("it opens what was committed");
    let difference = opening.difference(&accuser).expect("it decodes");
    assert_eq!(difference, Some(Difference::Frame { frame: 31 }));
    let shown = opening.difference_from(&sample().rendition, &MediaLimits::segment()).expect("it decodes");
    assert_eq!(shown, difference);
}

#[test]
fn places_outside_a_commitment_have_no_answer() {
    let honest = Stated::new(&sample().features);
    let outside = [
        Question::Frame { index: 45 },
        Question::Frame { index: u32::MAX },
        Question::FramesNode { level: 0, index: 0 },
        Question::FramesNode { level: 1, index: u32::MAX },
        Question::FramesNode { level: u32::MAX, index: 0 },
        Question::BlocksNode { frame: 45, level: 1, index: 0 },
        Question::BlocksNode { frame: 0, level: 9, index: 0 },
        Question::Block { frame: 0, index: 99 },
    ];
    for question in outside {
        assert_eq!(answer(&honest, question).expect("features are at hand"), None, "{question:?}");
    }
}

#[test]
fn a_claim_check_finds_false_features_and_false_pixels() {
    let check = |claim: &RenditionClaim| {
        check_claim(&sample().rendition, claim, &MediaLimits::segment()).expect("it decodes")
    };
    let root = Stated::new(&sample().features).root();
    let failed = |claim: &RenditionClaim| -> Vec<&str> {
        check(claim).checks.iter().filter(|check| !check.pass()).map(|check| check.name).collect()
    };
    let honest = claim(root);
    assert_eq!(failed(&honest), Vec::<&str>::new());
    assert_eq!(failed(&RenditionClaim { pixels: honest.pixels + 1, ..honest }), ["claimed_pixels"]);
    assert_eq!(failed(&RenditionClaim { sha256: root, ..honest }), ["claimed_hash"]);
    let mut other_version = honest;
    other_version.feature_root[0] += 1;
    assert_eq!(failed(&other_version), ["commitment_version"]);
    assert!(!check(&other_version).proves_false_features());
    let liar = claim(B256::repeat_byte(COMMITMENT_VERSION));
    assert_eq!(failed(&liar), ["claimed_features"]);
    assert!(check(&liar).proves_false_features());
    let silent = check(&claim(B256::ZERO));
    assert!(!silent.committed && !silent.proves_false_features() && silent.true_root.is_none());
}

#[test]
fn bytes_that_do_not_decode_cleanly_prove_nothing_about_features() {
    let mut broken = sample().rendition.to_vec();
    // Parts of the second half of the coded pictures.
    for at in (broken.len() / 2..broken.len()).step_by(301) {
        broken[at] ^= 0x55;
    }
    let broken = Bytes::from(broken);
    let claim = RenditionClaim {
        sha256: B256::from_slice(&Sha256::digest(&broken)),
        ..claim(Stated::new(&sample().features).root())
    };
    let report = check_claim(&broken, &claim, &MediaLimits::segment()).expect("a report");
    let names: Vec<_> = report.checks.iter().map(|check| (check.name, check.pass())).collect();
    assert_eq!(names, [("claimed_hash", true), ("commitment_version", true), ("committable", false)]);
    assert!(!report.proves_false_features());
}

#[test]
fn every_honest_encode_can_be_committed_to() {
    let synthetic = synthetic(Content::HighMotion, 0, 480, 270);
    let of = |clip: &Clip, recipe: &Recipe| {
        let rendition = honest(clip, &entry(WIDTH, HEIGHT, 300_000), recipe);
        let commitment = commit(&rendition, &MediaLimits::segment()).expect("it decodes cleanly");
        let hand = Stated::new(&measured(&rendition)).root();
        assert_eq!(commitment.root(), hand, "{} {recipe:?}", clip.name);
    };
    for recipe in &recipes() {
        of(&synthetic, recipe);
    }
    for clip in real_set().iter().take(4) {
        of(clip, &Recipe::default());
    }
}
