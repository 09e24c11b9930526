//! Decoded frames as planes to be measured.

use framemill_media::{Frame, MediaError, MediaLimits, PixelFormat, ScaleFilter, Scaler, ScalerConfig};

use crate::error::VerifyError;
use crate::features::{Picture, Range};
use crate::plane::{BadPlane, Plane};

/// Prefixes of the planar formats that are read as they come from the decoder, however their chroma is sampled. Anything
/// else (packed, RGB, semi-planar) is rare in live video and is brought to 4:2:0 first.
const PLANAR: [&str; 4] = ["yuv4", "yuvj4", "yuva4", "gray"];

/// Brings frames of unusual formats to planes.
pub(crate) struct Planes {
    limits: MediaLimits,
    scaler: Option<Scaler>,
}

impl Planes {
    pub(crate) fn new(limits: &MediaLimits) -> Self {
        Self { limits: limits.clone(), scaler: None }
    }

    /// The frame itself where its planes can be read, else a converted one.
    pub(crate) fn readable(&mut self, frame: Frame) -> Result<Frame, MediaError> {
        let name = frame.format().name();
        if PLANAR.iter().any(|planar| name.starts_with(planar)) && !name.ends_with("be") {
            return Ok(frame);
        }
        let fits = |scaler: &Scaler| {
            scaler.config().width == frame.width() && scaler.config().height == frame.height()
        };
        let scaler = match self.scaler.take().filter(fits) {
            Some(scaler) => scaler,
            None => {
                let config = ScalerConfig {
                    filter: ScaleFilter::Area,
                    exact: true,
                    ..ScalerConfig::yuv420p(frame.width(), frame.height())
                };
                Scaler::new(config, &self.limits)?
            }
        };
        self.scaler.insert(scaler).scale(&frame)
    }
}

/// A frame that [`Planes::readable`] returned, to be measured.
pub(crate) fn picture(frame: &Frame, pts: i64) -> Result<Picture<'_>, VerifyError> {
    let chroma = match (plane(frame, 1)?, plane(frame, 2)?) {
        (Some(u), Some(v)) => Some((u, v)),
        _ => None,
    };
    Ok(Picture { pts, range: range(frame), y: luma(frame)?, chroma })
}

/// The luma plane.
pub(crate) fn luma(frame: &Frame) -> Result<Plane<'_>, VerifyError> {
    plane(frame, 0)?.ok_or(VerifyError::NoSourcePicture)
}

/// The range its samples use.
pub(crate) fn range(frame: &Frame) -> Range {
    if frame.color().is_full_range() || frame.format().name().starts_with("yuvj") {
        Range::Full
    } else {
        Range::Limited
    }
}

pub(crate) fn plane(frame: &Frame, index: usize) -> Result<Option<Plane<'_>>, VerifyError> {
    let depth = frame.format().bit_depth();
    Ok(frame.plane(index).map(|raw| samples(&raw, depth)).transpose()?)
}

/// Samples of so many bits.
pub(crate) fn samples<'a>(raw: &framemill_media::Plane<'a>, depth: u8) -> Result<Plane<'a>, BadPlane> {
    let sample_bytes = if depth > 8 { 2 } else { 1 };
    Plane::new(raw.data(), raw.stride(), raw.row_bytes() / sample_bytes, raw.rows(), depth)
}

/// Whether pixels are 4:2:0 in 8 bits, whichever range they are tagged with.
pub(crate) fn is_plain(format: PixelFormat) -> bool {
    format == RENDITION_FORMAT || format.name() == "yuvj420p"
}

/// A picture kept at full size, to measure the quality of renditions. It shares the decoder's buffer.
#[derive(Clone, Debug)]
pub(crate) struct KeptPicture {
    pub(crate) pts: i64,
    pub(crate) frame: Frame,
}

/// The only pixel format of a rendition that every player shows.
pub(crate) const RENDITION_FORMAT: PixelFormat = PixelFormat::YUV420P;
