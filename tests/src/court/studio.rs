//! Real media, honest and false, and receipts about them that say what a test wants.

use std::{sync::Arc, time::Instant};

use alloy_primitives::B256;
use bytes::Bytes;
use framemill::demo::CheatingEngine;
use framemill_media::{ClipSpec, MediaLimits, Rational, generate_clip, segment_info};
use framemill_network::{
    FrameRate, Ladder, RenditionClaim, SignedReceipt, SourceVideo, TranscodeReceipt, renditions_root,
};
use framemill_transcoder::{Engine, Job, SoftwareEngine};
use framemill_verification::{
    Bisection, Opening, RenditionFeatures, answer, commit,
    evidence::{Bundle, Case, ClaimRecord, Parts, ReceiptRecord},
};
use probabilistic_ticket::EthKey;
use sha2::{Digest as _, Sha256};

use super::Court;
use crate::clip;

/// Time that a transcode may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);

/// Sources and what was made of them.
pub struct Bench {
    /// The only rung of every ladder here.
    pub ladder: Ladder,
    /// Of two segments: source and an honest rendition.
    pub segments: Vec<Made>,
}

/// A source with its renditions.
pub struct Made {
    /// The source.
    pub source: Bytes,
    /// A faithful encode.
    pub honest: Bytes,
    /// Well-formed, with the source's times, and of another picture.
    pub wrong: Bytes,
}

/// What is signed about a rendition.
pub struct Statement<'a> {
    /// Number of the segment.
    pub sequence: u64,
    /// The source.
    pub source: &'a Bytes,
    /// The rendition.
    pub rendition: &'a Bytes,
    /// Pixels beyond those that are there.
    pub more_pixels: u64,
    /// Feature root in place of the true one.
    pub feature_root: Option<B256>,
    /// What the accused opened of a false root.
    pub opening: Option<Opening>,
}

impl<'a> Statement<'a> {
    /// The truth about a rendition.
    pub fn honest(sequence: u64, source: &'a Bytes, rendition: &'a Bytes) -> Self {
        Self { sequence, source, rendition, more_pixels: 0, feature_root: None, opening: None }
    }
}

impl Bench {
    /// Two segments of a car's camera where the real clips are at hand, else synthetic ones.
    pub async fn set() -> Self {
        let mut segments = Vec::new();
        let mut ladder = Ladder::default();
        for number in [1, 2] {
            let source = source(number);
            ladder = ladder_for(&source);
            let honest = transcode(&SoftwareEngine::default(), &source, &ladder).await;
            let cheat = CheatingEngine::new(Arc::new(SoftwareEngine::default()), 0);
            let wrong = transcode(&cheat, &source, &ladder).await;
            segments.push(Made { source, honest, wrong });
        }
        Self { ladder, segments }
    }

    /// The root over the features of another rendition, and what its signer opens when it is asked down to where it parts
    /// from this one.
    pub fn bisected(&self, rendition: &Bytes, other: &Bytes) -> (B256, Opening) {
        let features =
            |data: &Bytes| RenditionFeatures::new(data.clone(), MediaLimits::segment()).expect("it decodes");
        let (truth, stated) = (features(rendition), features(other));
        let root = root(other);
        let mut bisection = Bisection::new(&truth, root).expect("the roots differ");
        while let Some(question) = bisection.question() {
            let told = answer(&stated, question).expect("features are at hand").expect("the place exists");
            bisection.take(&told).expect("the answer hashes to what was signed");
        }
        (root, bisection.opening().expect("the root was opened").clone())
    }

    /// The bundle about what the accused signed.
    pub async fn bundle(&self, court: &Court, statement: Statement<'_>) -> Bundle {
        let info = segment_info(statement.rendition, &MediaLimits::segment()).expect("it can be read");
        let video = info.require_video().expect("it has video");
        let true_pixels = u64::from(video.width) * u64::from(video.height) * video.pts.len() as u64;
        let pixels = true_pixels + statement.more_pixels;
        let claim = RenditionClaim {
            index: 0,
            sha256: B256::from_slice(&Sha256::digest(statement.rendition)),
            pixels,
            feature_root: statement.feature_root.unwrap_or_else(|| root(statement.rendition)),
            psnr_centi_db: None,
        };
        let signed = self.sign(court, &statement, &[claim], pixels).await;
        let key = key(court);
        let case = Case {
            chain_id: court.domain().chain_id,
            controller: court.domain().controller,
            signer: key.address(),
            receipt: ReceiptRecord::from(&signed),
            claims: vec![ClaimRecord::from(&claim)],
            accused: 0,
            draw: None,
        };
        let parts = Parts {
            case,
            ladder: &self.ladder,
            rendition: statement.rendition.clone(),
            source: Some(statement.source.clone()),
            report: None,
            opening: statement.opening,
        };
        Bundle::new(parts).expect("a bundle")
    }

    /// A receipt with the accused's signature over these claims.
    pub async fn sign(
        &self,
        court: &Court,
        statement: &Statement<'_>,
        claims: &[RenditionClaim],
        pixels: u64,
    ) -> SignedReceipt {
        let round = court.owner.round_info().await.expect("a round").last_initialized;
        let receipt = TranscodeReceipt {
            session: B256::repeat_byte(1),
            sequence: statement.sequence,
            source_hash: B256::from_slice(&Sha256::digest(statement.source)),
            ladder_hash: self.ladder.hash(),
            renditions_root: renditions_root(claims),
            pixels,
            round: u32::try_from(round).expect("a young chain"),
        };
        let signature = key(court).sign_digest(receipt.signing_hash(&court.domain())).0;
        SignedReceipt { receipt, signature }
    }
}

fn key(court: &Court) -> EthKey {
    EthKey::from_bytes(&court.accused.to_bytes().0).expect("a key")
}

fn root(rendition: &Bytes) -> B256 {
    commit(rendition, &MediaLimits::segment()).expect("it decodes").root()
}

fn source(number: u64) -> Bytes {
    match clip(&format!("car-720p-segment-{number}.ts")) {
        Some(path) => std::fs::read(path).expect("a clip that can be read").into(),
        None => {
            let spec =
                ClipSpec { audio: None, seed: number, ..ClipSpec::new(640, 360, Rational::new(30, 1), 1) };
            generate_clip(&spec, &MediaLimits::default()).expect("a synthetic clip can be made")
        }
    }
}

fn ladder_for(source: &Bytes) -> Ladder {
    let info = segment_info(source, &MediaLimits::segment()).expect("it can be read");
    let video = info.require_video().expect("it has video");
    let fps = FrameRate::new(video.frame_rate.num, video.frame_rate.den).unwrap_or(FrameRate::SOURCE);
    let source = SourceVideo { width: video.width, height: video.height, fps };
    "180:600k".parse::<Ladder>().and_then(|ladder| ladder.resolve(&source)).expect("a ladder")
}

async fn transcode(engine: &dyn Engine, source: &Bytes, ladder: &Ladder) -> Bytes {
    let job = Job {
        session: B256::ZERO,
        sequence: 1,
        source: source.clone(),
        ladder: ladder.clone(),
        deadline: Instant::now() + PATIENCE,
    };
    let renditions = engine.transcode(job).collect_all().await.expect("renditions");
    renditions.into_iter().next().expect("one rung").data
}
