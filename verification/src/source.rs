//! The source segment: read once, decoded at most once, shared by every rendition and every attempt.

use std::sync::OnceLock;

use alloy_primitives::B256;
use bytes::Bytes;
use framemill_media::{DecoderConfig, Frame, MediaError, MediaLimits};

use crate::compare::SourceFrame;
use crate::error::VerifyError;
use crate::features::Lattice;
use crate::frames::{KeptPicture, Planes, measure};
use crate::kernel::Kernel;
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
}

/// Decoded frames of the source, measured.
#[derive(Clone, Debug)]
pub(crate) struct DecodedSource {
    pub(crate) frames: Vec<SourceFrame>,
    pub(crate) kept: Vec<KeptPicture>,
}

impl SourceReference {
    /// Reads the packets of a source segment.
    ///
    /// # Errors
    /// [`VerifyError::Source`] when it is no media or has no video, [`VerifyError::TooLarge`] beyond the limits'
    /// frames.
    pub fn new(data: Bytes, limits: &MediaLimits) -> Result<Self, VerifyError> {
        let outline = Outline::read(&data, limits).map_err(VerifyError::Source)?;
        let frames = outline.pts.len() as u64;
        if frames > limits.frames {
            return Err(VerifyError::TooLarge { what: "frames", value: frames, bound: limits.frames });
        }
        Ok(Self {
            sha256: sha256(&data),
            lattice: Lattice::for_picture(outline.width as usize, outline.height as usize),
            data,
            limits: limits.clone(),
            decoder_threads: 1,
            kernel: Kernel::detect(),
            outline,
            first: OnceLock::new(),
            whole: OnceLock::new(),
        })
    }

    /// Decodes with so many threads, zero for one per core. The default of one makes a judgement cost what it says and
    /// run beside others; decoding, and so every report, is the same with any number.
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
        self.whole.get_or_init(|| self.decode_whole()).as_ref().map_err(Clone::clone)
    }

    fn decode_first(&self) -> Result<DecodedSource, VerifyError> {
        let frame = first_frame(&self.data, &self.lenient(), &self.limits, self.origin())
            .map_err(VerifyError::Source)?
            .ok_or(VerifyError::NoSourcePicture)?;
        let mut planes = Planes::new(&self.limits);
        let mut decoded = DecodedSource { frames: Vec::with_capacity(1), kept: Vec::with_capacity(1) };
        self.push(&mut decoded, &mut planes, frame, true)?;
        Ok(decoded)
    }

    fn decode_whole(&self) -> Result<DecodedSource, VerifyError> {
        let (config, limits) = (self.lenient(), &self.limits);
        let mut frames =
            Frames::open(&self.data, &config, limits, self.origin()).map_err(VerifyError::Source)?;
        match self.decode(&mut frames) {
            Err(VerifyError::Source(error)) if !error.is_bad_media() => {
                return Err(VerifyError::Source(error));
            }
            Ok(decoded) if frames.is_whole() && self.has_times_of(&decoded) => return Ok(decoded),
            // Damaged, interlaced in parts or oddly timed: a transcoder sees what a demuxer makes of it.
            _ => {}
        }
        self.decode(&mut Frames::demuxed(&self.data, &config, limits).map_err(VerifyError::Source)?)
    }

    /// Whether the frames stand at the times of the packets.
    fn has_times_of(&self, decoded: &DecodedSource) -> bool {
        let wanted = self.outline.pts.iter().map(|&pts| near(self.origin(), pts));
        decoded.frames.iter().map(|frame| frame.features.pts).eq(wanted)
    }

    /// The frame shown at this time, or the first one; none where it is not found.
    pub(crate) fn picture(&self, pts: Option<i64>) -> Result<Option<Frame>, VerifyError> {
        let (config, limits) = (self.lenient(), &self.limits);
        let open = Frames::open(&self.data, &config, limits, self.origin());
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

    fn decode(&self, frames: &mut Frames) -> Result<DecodedSource, VerifyError> {
        let mut planes = Planes::new(&self.limits);
        let mut decoded = DecodedSource { frames: Vec::new(), kept: Vec::new() };
        let middle = self.outline.pts.len() / 2;
        while let Some(frame) = frames.next_frame().map_err(VerifyError::Source)? {
            // Two neighbours in the middle, so that one of them survives a halved frame rate.
            let index = decoded.frames.len();
            let keep = index == 0 || (middle..middle + 2).contains(&index);
            self.push(&mut decoded, &mut planes, frame, keep)?;
        }
        if decoded.frames.is_empty() {
            return Err(VerifyError::NoSourcePicture);
        }
        Ok(decoded)
    }

    fn push(
        &self,
        decoded: &mut DecodedSource,
        planes: &mut Planes,
        frame: Frame,
        keep: bool,
    ) -> Result<(), VerifyError> {
        let Some(pts) = frame.pts().map(|pts| near(self.origin(), pts)) else {
            return Ok(());
        };
        let frame = planes.readable(frame).map_err(VerifyError::Source)?;
        if keep {
            decoded.kept.push(KeptPicture { pts, frame: frame.clone() });
        }
        let features = measure(self.kernel, &frame, pts, self.lattice)?;
        let frame = SourceFrame::new(features, decoded.frames.last(), self.lattice);
        decoded.frames.push(frame);
        Ok(())
    }
}
