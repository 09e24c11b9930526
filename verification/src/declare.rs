//! What an orchestrator says of its own work: the commitment to a rendition's features and, against the source, its quality.

use bytes::Bytes;
use framemill_media::{Frame, MediaLimits};
use framemill_network::ladder::LadderEntry;

use crate::commitment::{Commitment, CommitmentError, commit_watched};
use crate::error::VerifyError;
use crate::frames::KeptPicture;
use crate::outline::near;
use crate::quality::QualitySums;
use crate::report::Quality;
use crate::source::SourceReference;
use crate::structure;

/// What can be said of a rendition.
#[derive(Clone, Debug)]
pub struct Declared {
    /// The commitment to its features.
    pub commitment: Commitment,
    /// The figures that a judgement of every frame comes to.
    pub quality: Quality,
}

impl Declared {
    /// What a claim carries as quality; none where no frame could be measured.
    #[must_use]
    pub fn psnr_centi_db(&self) -> Option<u32> {
        (self.quality.frames > 0).then_some(self.quality.psnr_centi_db)
    }
}

/// Decodes a rendition once for both. The quality is exactly what [`verify`](crate::verify) finds when it looks at every
/// frame. The first rendition of a source also pays for decoding that; use one [`SourceReference`] for all of them.
///
/// # Errors
/// As [`commit`](crate::commit), and [`CommitmentError::Judge`] where the source is unusable.
pub fn declare(
    rendition: &Bytes,
    source: &SourceReference,
    entry: &LadderEntry,
    limits: &MediaLimits,
) -> Result<Declared, CommitmentError> {
    let structure = structure::check(source, rendition, entry).map_err(CommitmentError::Judge)?;
    let mut meter = Meter::new(source).map_err(CommitmentError::Judge)?;
    let commitment = commit_watched(rendition, limits, |frame| meter.look(frame))?;
    let duration = source.outline().duration();
    Ok(Declared { commitment, quality: meter.sums.finish(structure.video_bytes, duration, entry.bitrate) })
}

/// Measures the frames whose source is kept.
struct Meter<'a> {
    source: &'a SourceReference,
    kept: &'a [KeptPicture],
    sums: QualitySums,
}

impl<'a> Meter<'a> {
    fn new(source: &'a SourceReference) -> Result<Self, VerifyError> {
        Ok(Self { source, kept: source.pictures()?, sums: QualitySums::default() })
    }

    fn look(&mut self, frame: &Frame) -> Result<(), VerifyError> {
        let Some(pts) = frame.pts().map(|pts| near(self.source.origin(), pts)) else { return Ok(()) };
        let Some(kept) = self.kept.iter().find(|kept| kept.pts == pts) else { return Ok(()) };
        self.sums.add_frames(self.source.kernel(), &kept.frame, frame)
    }
}
