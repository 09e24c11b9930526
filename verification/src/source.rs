//! The source segment: read once, decoded at most once, shared by every rendition and every attempt.

use std::sync::{Arc, OnceLock};

use alloy_primitives::B256;
use bytes::Bytes;
use framemill_media::{DecoderConfig, Frame, MediaError, MediaLimits};

use crate::compare::SourceFrame;
use crate::error::VerifyError;
use crate::features::Lattice;
use crate::frames::{KeptPicture, Planes};
use crate::kernel::Kernel;
use crate::meter::FeatureMeter;
use crate::outline::{Outline, near, sha256};
use crate::track::{Frames, first_frame};

/// A source segment to judge renditions against.
///
/// Construction reads the packets; pictures are decoded when a judgement first needs them. Kept per frame: about
/// 65 KiB of lattice means, plus three pictures at full size. Share it behind an `Arc`; judging blocks, so run it
/// off the async threads.
#[derive(Debug)]
pub struct SourceReference {
    data: Bytes,
    sha256: B256,
    limits: MediaLimits,
    decoder_threads: u32,
    kernel: Kernel,
    outline: Outline,
    lattice: Lattice,
    first: OnceLock<Result<DecodedSource, VerifyError>>,
    whole: OnceLock<Result<DecodedSource, VerifyError>>,
    pictures: OnceLock<Result<DecodedSource, VerifyError>>,
    /// Indices of frames kept beside the usual ones.
    also_kept: Vec<usize>,
}

/// Decoded frames of the source, measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct DecodedSource {
    /// Empty where only pictures are wanted.
    pub(crate) frames: Vec<SourceFrame>,
    times: Vec<i64>,
    pub(crate) kept: Vec<KeptPicture>,
}

impl SourceReference {
    /// Pictures that are kept at full size, unless more are asked for.
    pub const KEPT_PICTURES: u64 = 3;

    /// Reads the packets of a source segment.
    ///
    /// # Errors
    /// [`VerifyError::Source`] when it is no media or has no video, [`VerifyError::TooLarge`] beyond the limits'
    /// frames.
    pub fn new(data: Bytes, limits: &MediaLimits) -> Result<Self, VerifyError> {
        let sha256 = sha256(&data);
        Self::hashed(data, sha256, limits)
    }

    /// The same where the segment's SHA-256 is known already; it is believed.
    ///
    /// # Errors
    /// As [`SourceReference::new`].
    pub fn hashed(data: Bytes, sha256: B256, limits: &MediaLimits) -> Result<Self, VerifyError> {
        let outline = Outline::read(&data, limits).map_err(VerifyError::Source)?;
        let frames = outline.pts.len() as u64;
        if frames > limits.frames {
            return Err(VerifyError::TooLarge { what: "frames", value: frames, bound: limits.frames });
        }
        Ok(Self {
            sha256,
            lattice: Lattice::for_picture(outline.width as usize, outline.height as usize),
            data,
            limits: limits.clone(),
            decoder_threads: 1,
            kernel: Kernel::detect(),
            outline,
            first: OnceLock::new(),
            whole: OnceLock::new(),
            pictures: OnceLock::new(),
            also_kept: Vec::new(),
        })
    }

    /// Decodes with so many threads, zero for one per core. The default of one makes a judgement cost what it says and
    /// run beside others. Decoding of what conforms, and so a report that passes, is the same with any number; of a few
    /// damaged streams FFmpeg's threads make other pictures, so leave it at one where a report is to be evidence.
    #[must_use]
    pub fn with_decoder_threads(mut self, threads: u32) -> Self {
        self.decoder_threads = threads;
        self
    }

    /// Measures with this kernel instead of the machine's fastest; the report is the same.
    #[must_use]
    pub fn with_kernel(mut self, kernel: Kernel) -> Self {
        self.kernel = kernel;
        self
    }

    /// Measures the quality of renditions on these frames, too, by their index; none of them can be foreseen where they
    /// are drawn after the result.
    #[must_use]
    pub fn with_frames_kept(mut self, indices: Vec<usize>) -> Self {
        self.also_kept = indices;
        self
    }

    /// SHA-256 of the segment.
    #[must_use]
    pub fn sha256(&self) -> B256 {
        self.sha256
    }

    /// Presentation times of its video packets in 90 kHz ticks, rising.
    #[must_use]
    pub fn pts(&self) -> &[i64] {
        &self.outline.pts
    }

    pub(crate) fn outline(&self) -> &Outline {
        &self.outline
    }

    pub(crate) fn kernel(&self) -> Kernel {
        self.kernel
    }

    pub(crate) fn lattice(&self) -> Lattice {
        self.lattice
    }

    pub(crate) fn limits(&self) -> &MediaLimits {
        &self.limits
    }

    /// How the source is decoded: as far as it goes, as a transcoder does.
    fn lenient(&self) -> DecoderConfig {
        DecoderConfig { threads: self.decoder_threads, strict: false }
    }

    /// How renditions are decoded: without concealment, since a stream that does not conform is not scored.
    pub(crate) fn strict(&self) -> DecoderConfig {
        DecoderConfig { threads: self.decoder_threads, strict: true }
    }

    /// First presentation time; the timeline of a judgement lies around it.
    pub(crate) fn origin(&self) -> i64 {
        self.outline.pts.first().copied().unwrap_or(0)
    }

    /// The first frame, measured.
    pub(crate) fn first(&self) -> Result<&DecodedSource, VerifyError> {
        if let Some(whole) = self.whole.get() {
            return whole.as_ref().map_err(Clone::clone);
        }
        self.first.get_or_init(|| self.decode_first()).as_ref().map_err(Clone::clone)
    }

    /// Every frame, measured.
    pub(crate) fn whole(&self) -> Result<&DecodedSource, VerifyError> {
        self.whole.get_or_init(|| self.decode_all(Want::Features)).as_ref().map_err(Clone::clone)
    }

    /// Decodes the pictures that quality is measured on now, rather than with the first rendition.
    ///
    /// # Errors
    /// When the source cannot be decoded.
    pub fn decode_pictures(&self) -> Result<(), VerifyError> {
        self.pictures().map(drop)
    }

    /// The pictures that quality is measured on, without the features that only a judgement needs.
    pub(crate) fn pictures(&self) -> Result<&[KeptPicture], VerifyError> {
        let decoded = match self.whole.get() {
            Some(whole) => whole,
            None => self.pictures.get_or_init(|| self.decode_all(Want::Pictures)),
        };
        decoded.as_ref().map(|decoded| decoded.kept.as_slice()).map_err(Clone::clone)
    }

    fn decode_first(&self) -> Result<DecodedSource, VerifyError> {
        let frame = first_frame(&self.data, &self.lenient(), &self.limits, self.origin())
            .map_err(VerifyError::Source)?
            .ok_or(VerifyError::NoSourcePicture)?;
        let mut planes = Planes::new(&self.limits);
        let mut decoded = DecodedSource::default();
        self.push(&mut decoded, &mut planes, frame, Some(&self.meter()))?;
        Ok(decoded)
    }

    fn decode_all(&self, want: Want) -> Result<DecodedSource, VerifyError> {
        let (config, limits) = (self.lenient(), &self.limits);
        let meter = (want == Want::Features).then(|| Arc::new(self.meter()));
        let mut frames = Frames::open(&self.data, &config, limits, self.origin(), meter.as_ref())
            .map_err(VerifyError::Source)?;
        match self.decode(&mut frames, meter.as_deref()) {
            Err(VerifyError::Source(error)) if !error.is_bad_media() => {
                return Err(VerifyError::Source(error));
            }
            Ok(decoded) if frames.is_whole() && self.has_times_of(&decoded) => return Ok(decoded),
            // Damaged, interlaced in parts or oddly timed: a transcoder sees what a demuxer makes of it.
            _ => {}
        }
        // What patching up comes to depends on the number of threads, unless it is one.
        let config = DecoderConfig { threads: 1, ..config };
        let mut frames = Frames::demuxed(&self.data, &config, limits).map_err(VerifyError::Source)?;
        self.decode(&mut frames, meter.as_deref())
    }

    fn meter(&self) -> FeatureMeter {
        FeatureMeter::new(self.kernel, Some(self.lattice))
    }

    /// Whether the frames stand at the times of the packets.
    fn has_times_of(&self, decoded: &DecodedSource) -> bool {
        let wanted = self.outline.pts.iter().map(|&pts| near(self.origin(), pts));
        decoded.times.iter().copied().eq(wanted)
    }

    /// The frame shown at this time, or the first one; none where it is not found.
    pub(crate) fn picture(&self, pts: Option<i64>) -> Result<Option<Frame>, VerifyError> {
        let (config, limits) = (self.lenient(), &self.limits);
        let open = Frames::open(&self.data, &config, limits, self.origin(), None);
        let found = open.and_then(|frames| self.find(frames, pts)).map_err(VerifyError::Source);
        // As in `decode_whole`.
        match found {
            Err(VerifyError::Source(error)) if !error.is_bad_media() => Err(VerifyError::Source(error)),
            Ok(Some(frame)) => Ok(Some(frame)),
            _ => {
                let demuxed = Frames::demuxed(&self.data, &config, limits);
                demuxed.and_then(|frames| self.find(frames, pts)).map_err(VerifyError::Source)
            }
        }
    }

    fn find(&self, mut frames: Frames, pts: Option<i64>) -> Result<Option<Frame>, MediaError> {
        let at = |frame: &Frame| frame.pts().map(|pts| near(self.origin(), pts));
        let mut planes = Planes::new(&self.limits);
        while let Some(frame) = frames.next_frame()? {
            if pts.is_none() || at(&frame) == pts {
                return planes.readable(frame).map(Some);
            }
        }
        Ok(None)
    }

    /// Every frame, measured where there is a meter.
    fn decode(
        &self,
        frames: &mut Frames,
        meter: Option<&FeatureMeter>,
    ) -> Result<DecodedSource, VerifyError> {
        let mut planes = Planes::new(&self.limits);
        let mut decoded = DecodedSource::default();
        while let Some(frame) = frames.next_frame().map_err(VerifyError::Source)? {
            self.push(&mut decoded, &mut planes, frame, meter)?;
        }
        if decoded.times.is_empty() {
            return Err(VerifyError::NoSourcePicture);
        }
        Ok(decoded)
    }

    fn push(
        &self,
        decoded: &mut DecodedSource,
        planes: &mut Planes,
        frame: Frame,
        meter: Option<&FeatureMeter>,
    ) -> Result<(), VerifyError> {
        let Some(pts) = frame.pts().map(|pts| near(self.origin(), pts)) else {
            return Ok(());
        };
        let keep = self.keeps(decoded.times.len());
        decoded.times.push(pts);
        if !keep && meter.is_none() {
            return Ok(());
        }
        let frame = planes.readable(frame).map_err(VerifyError::Source)?;
        if keep {
            decoded.kept.push(KeptPicture { pts, frame: frame.clone() });
        }
        if let Some(meter) = meter {
            let features = meter.features(&frame, pts)?;
            let frame = SourceFrame::new(features, decoded.frames.last(), self.lattice);
            decoded.frames.push(frame);
        }
        Ok(())
    }

    /// Whether the picture of a frame is kept: the first and, so that one of them survives a halved frame rate, two
    /// neighbours in the middle.
    fn keeps(&self, index: usize) -> bool {
        let middle = self.outline.pts.len() / 2;
        index == 0 || (middle..middle + 2).contains(&index) || self.also_kept.contains(&index)
    }
}

/// What a source is decoded for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    /// A judgement.
    Features,
    /// The pictures that are kept.
    Pictures,
}
