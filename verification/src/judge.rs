//! One judgement: structure first, then as much of the picture as the policy draws.

use std::sync::Arc;

use alloy_primitives::B256;
use bytes::Bytes;
use framemill_media::{Frame, MediaError, MediaLimits};
use framemill_network::ladder::LadderEntry;

use crate::compare::Comparison;
use crate::error::VerifyError;
use crate::features::FrameFeatures;
use crate::frames::{KeptPicture, Planes, is_plain};
use crate::meter::FeatureMeter;
use crate::outline::{near, sha256};
use crate::policy::Policy;
use crate::quality::QualitySums;
use crate::report::{Check, FIRST_PICTURE_CHECK, Report, Tier};
use crate::source::{DecodedSource, SourceReference};
use crate::structure::{self, Structure};
use crate::track::{Frames, first_frame};

/// Judges a rendition: is it a faithful encode of this source for this ladder entry?
///
/// `entry` must be concrete (both sides given). `seed` is secret until the result is in and decides the tier; use one
/// per segment, so that the source is decoded once for all rungs. Blocks for about as long as decoding takes.
///
/// # Errors
/// Only when no verdict can be reached: the source is unusable, or the work was cancelled. Whatever is wrong with the
/// rendition, down to bytes that are no media, is a failed check.
pub fn verify(
    source: &SourceReference,
    rendition: &Bytes,
    entry: &LadderEntry,
    policy: &Policy,
    seed: &[u8; 32],
) -> Result<Report, VerifyError> {
    verify_hashed(source, (rendition, sha256(rendition)), entry, policy, seed)
}

/// [`verify`] where the rendition's SHA-256 is known already; it is believed.
///
/// # Errors
/// As [`verify`].
pub fn verify_hashed(
    source: &SourceReference,
    rendition: (&Bytes, B256),
    entry: &LadderEntry,
    policy: &Policy,
    seed: &[u8; 32],
) -> Result<Report, VerifyError> {
    judge_hashed(source, rendition, entry, policy.draw(seed), None)
}

/// Looks on while a rendition is decoded and compared.
pub(crate) trait Onlooker {
    /// Sees a frame before it is added to the comparison.
    fn see(&mut self, comparison: &Comparison<'_>, features: &FrameFeatures, frame: &Frame);

    /// Sees the comparison when all frames were added.
    fn end(&mut self, _comparison: &Comparison<'_>, _tier: Tier, _quality: &QualitySums) {}
}

/// Judges a rendition at this depth, where its structure allows that; `onlooker` sees every frame.
pub(crate) fn judge(
    source: &SourceReference,
    rendition: &Bytes,
    entry: &LadderEntry,
    tier: Tier,
    onlooker: Option<&mut dyn Onlooker>,
) -> Result<Report, VerifyError> {
    judge_hashed(source, (rendition, sha256(rendition)), entry, tier, onlooker)
}

fn judge_hashed(
    source: &SourceReference,
    (rendition, sha256): (&Bytes, B256),
    entry: &LadderEntry,
    tier: Tier,
    onlooker: Option<&mut dyn Onlooker>,
) -> Result<Report, VerifyError> {
    let structure = structure::check(source, rendition, entry)?;
    let sound = structure.checks.iter().all(Check::pass);
    // What is not in normal form is never decoded.
    let tier = if sound { tier } else { Tier::Structure };
    let mut checks = structure.checks.clone();
    let mut quality = QualitySums::default();
    if tier != Tier::Structure {
        let decoded = if tier == Tier::Whole { source.whole()? } else { source.first()? };
        let mut judge = PictureJudge::new(source, decoded, tier, entry, structure.frames);
        judge.onlooker = onlooker;
        judge.run(rendition, tier, entry, &structure)?;
        checks.extend(judge.checks(tier));
        if let Some(onlooker) = judge.onlooker {
            onlooker.end(&judge.comparison, tier, &judge.quality);
        }
        if judge.undecodable == 0 {
            quality = judge.quality;
        }
    }
    let quality = quality.finish(structure.video_bytes, source.outline().duration(), entry.bitrate);
    Ok(Report::new(tier, source.sha256(), sha256, structure.pixels, checks, quality))
}

/// Decodes a rendition and compares it frame by frame.
struct PictureJudge<'a, 'o> {
    source: &'a SourceReference,
    kept: &'a [KeptPicture],
    comparison: Comparison<'a>,
    planes: Planes,
    meter: Arc<FeatureMeter>,
    size: (u32, u32),
    decoded: u64,
    undecodable: i64,
    odd_frames: i64,
    quality: QualitySums,
    onlooker: Option<&'o mut dyn Onlooker>,
}

impl<'a> PictureJudge<'a, '_> {
    fn new(
        source: &'a SourceReference,
        decoded: &'a DecodedSource,
        tier: Tier,
        entry: &LadderEntry,
        frames: u64,
    ) -> Self {
        let limits = structure::limits(source, entry, frames as usize);
        // The first frame is judged alone, whether or not others have been decoded.
        let shown = if tier == Tier::Whole { &decoded.frames[..] } else { &decoded.frames[..1] };
        Self {
            source,
            kept: &decoded.kept,
            comparison: Comparison::new(
                shown,
                source.lattice(),
                (entry.width, entry.height),
                millibits(source, entry, frames),
                source.kernel(),
            ),
            planes: Planes::new(&limits),
            meter: Arc::new(FeatureMeter::new(source.kernel(), Some(source.lattice()))),
            size: (entry.width, entry.height),
            decoded: 0,
            undecodable: 0,
            odd_frames: 0,
            quality: QualitySums::default(),
            onlooker: None,
        }
    }

    fn run(
        &mut self,
        rendition: &Bytes,
        tier: Tier,
        entry: &LadderEntry,
        structure: &Structure,
    ) -> Result<(), VerifyError> {
        let limits = structure::limits(self.source, entry, structure.frames as usize);
        let outcome = if tier == Tier::FirstFrame {
            first_frame(rendition, &self.source.strict(), &limits, self.source.origin())
                .map_err(Stop::from)
                .and_then(|frame| frame.map_or(Ok(()), |frame| self.frame(frame).map_err(Stop::Judge)))
        } else {
            self.every_frame(rendition, &limits)
        };
        match outcome {
            Err(Stop::BadMedia) => self.undecodable += 1,
            Err(Stop::Judge(error)) => return Err(error),
            Ok(()) => {}
        }
        let expected = if tier == Tier::FirstFrame { 1 } else { structure.frames };
        if self.undecodable > 0 || self.decoded < expected {
            self.undecodable = i64::try_from(expected.max(1)).unwrap_or(i64::MAX);
        }
        Ok(())
    }

    fn every_frame(&mut self, rendition: &Bytes, limits: &MediaLimits) -> Result<(), Stop> {
        let (config, origin) = (self.source.strict(), self.source.origin());
        let mut frames = Frames::open(rendition, &config, limits, origin, Some(&self.meter))?;
        while let Some(frame) = frames.next_frame()? {
            self.frame(frame).map_err(Stop::Judge)?;
        }
        Ok(())
    }

    fn frame(&mut self, frame: Frame) -> Result<(), VerifyError> {
        self.decoded += 1;
        self.undecodable += i64::from(frame.is_corrupt());
        if (frame.width(), frame.height()) != self.size || !is_plain(frame.format()) {
            self.odd_frames += 1;
        }
        let pts = frame.pts().map_or(i64::MIN, |pts| near(self.source.origin(), pts));
        let frame = self.planes.readable(frame).map_err(VerifyError::Judge)?;
        let features = self.meter.features(&frame, pts)?;
        if let Some(kept) = self.kept.iter().find(|kept| kept.pts == pts) {
            self.quality.add_frames(self.source.kernel(), &kept.frame, &frame)?;
        }
        if let Some(onlooker) = &mut self.onlooker {
            onlooker.see(&self.comparison, &features, &frame);
        }
        self.comparison.add(features);
        Ok(())
    }

    /// Nothing is said of the pictures of a stream that does not decode cleanly: how much of it is seen before it breaks, and
    /// what is made of the rest, is the decoder's affair.
    fn checks(&self, tier: Tier) -> Vec<Check> {
        let undecodable = Check::is(FIRST_PICTURE_CHECK, self.undecodable, 0);
        if self.undecodable > 0 {
            return vec![undecodable];
        }
        let mut checks = vec![undecodable, Check::is("odd_frames", self.odd_frames, 0)];
        checks.extend(self.comparison.checks(tier, &self.quality));
        checks
    }
}

/// Thousandths of a bit that the ladder gives each pixel of a rendition of so many frames.
fn millibits(source: &SourceReference, entry: &LadderEntry, frames: u64) -> u64 {
    let bits = u128::from(entry.bitrate) * u128::from(source.outline().duration()) / 90;
    let pixels = u128::from(entry.pixels_per_frame()) * u128::from(frames);
    u64::try_from(bits / pixels.max(1)).unwrap_or(u64::MAX)
}

/// Why decoding a rendition ended early.
enum Stop {
    /// The rendition is at fault.
    BadMedia,
    /// Something else is.
    Judge(VerifyError),
}

impl From<MediaError> for Stop {
    fn from(error: MediaError) -> Self {
        if error.is_bad_media() { Self::BadMedia } else { Self::Judge(VerifyError::Judge(error)) }
    }
}
