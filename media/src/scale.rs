//! Pictures of another size or pixel format.

use std::ptr;

use ffmpeg_next::ffi::{self, AVFrame, AVPixelFormat, SwsContext};

use crate::codec::PixelFormat;
use crate::error::MediaError;
use crate::frame::{Frame, FramePool};
use crate::limits::MediaLimits;
use crate::sys;

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

impl ScaleFilter {
    const fn flag(self) -> i32 {
        match self {
            Self::Bilinear => ffi::SWS_BILINEAR,
            Self::Bicubic => ffi::SWS_BICUBIC,
            Self::Lanczos => ffi::SWS_LANCZOS,
            Self::Area => ffi::SWS_AREA,
        }
    }
}

/// What a [`Scaler`] makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScalerConfig {
    /// Width of the result.
    pub width: u32,
    /// Height of the result.
    pub height: u32,
    /// Pixel format of the result.
    pub format: PixelFormat,
    /// Kernel.
    pub filter: ScaleFilter,
    /// Whether every processor makes the same of a frame, to the bit. Slower: most of swscale's instructions for one kind of
    /// processor round in their own way.
    pub exact: bool,
}

impl ScalerConfig {
    /// YUV 4:2:0 8-bit of this size with the default kernel.
    pub fn yuv420p(width: u32, height: u32) -> Self {
        Self { width, height, format: PixelFormat::YUV420P, filter: ScaleFilter::default(), exact: false }
    }

    const fn flags(&self) -> i32 {
        self.filter.flag() | if self.exact { ffi::SWS_ACCURATE_RND | ffi::SWS_BITEXACT } else { 0 }
    }
}

/// Turns frames of any size and format into frames of one size and format. Times and colour tags are kept.
pub struct Scaler {
    config: ScalerConfig,
    limits: MediaLimits,
    kernel: Option<Kernel>,
    pool: FramePool,
}

impl Scaler {
    /// A scaler; the source's size and format are taken from each frame.
    ///
    /// # Errors
    ///
    /// [`MediaError::LimitExceeded`] or [`MediaError::InvalidSetting`] for a size that cannot be made.
    pub fn new(config: ScalerConfig, limits: &MediaLimits) -> Result<Self, MediaError> {
        sys::init();
        limits.check_frame_size(config.width, config.height)?;
        if config.width == 0 || config.height == 0 {
            return Err(MediaError::InvalidSetting {
                setting: "scaled size",
                value: format!("{}x{}", config.width, config.height),
                hint: "give a width and a height of at least 1",
            });
        }
        Ok(Self { config, limits: limits.clone(), kernel: None, pool: FramePool::default() })
    }

    /// What it makes.
    pub fn config(&self) -> &ScalerConfig {
        &self.config
    }

    /// Whether it makes just this.
    pub(crate) fn makes(&self, config: &ScalerConfig) -> bool {
        self.config == *config
    }

    /// The frame in the wanted size and format; a frame that already fits is returned as it is, sharing its pixels.
    ///
    /// # Errors
    ///
    /// The deadline, or a conversion FFmpeg does not know.
    pub fn scale(&mut self, frame: &Frame) -> Result<Frame, MediaError> {
        self.limits.check_time()?;
        let ScalerConfig { width, height, format, .. } = self.config;
        if (frame.width(), frame.height(), frame.format()) == (width, height, format) {
            return Ok(frame.clone());
        }
        let source = Source::of(frame);
        let mut kernel = match self.kernel.take() {
            Some(kernel) if kernel.source == source => kernel,
            _ => Kernel::new(source, &self.config)?,
        };
        let shape = (format, width, height);
        let result = self.pool.produce(shape, frame.pts(), |target| kernel.run(frame.raw(), target));
        self.kernel = Some(kernel);
        result
    }
}

/// What a kernel depends on.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Source {
    width: i32,
    height: i32,
    format: AVPixelFormat,
    matrix: i32,
    full_range: bool,
}

impl Source {
    fn of(frame: &Frame) -> Self {
        let raw = frame.raw();
        Self {
            width: raw.width,
            height: raw.height,
            format: frame.format().0,
            matrix: raw.colorspace as i32,
            full_range: frame.color().is_full_range(),
        }
    }
}

/// swscale for one kind of source.
struct Kernel {
    context: *mut SwsContext,
    source: Source,
}

// SAFETY: the context is owned and used through `&mut self` only; swscale keeps no thread state.
unsafe impl Send for Kernel {}

impl Kernel {
    fn new(source: Source, config: &ScalerConfig) -> Result<Self, MediaError> {
        let size = |side: u32| i32::try_from(side).unwrap_or(0);
        // SAFETY: sizes and formats are plain values, filters and parameters may be null; null comes back on refusal.
        let context = unsafe {
            ffi::sws_getContext(
                source.width,
                source.height,
                source.format,
                size(config.width),
                size(config.height),
                config.format.0,
                config.flags(),
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null(),
            )
        };
        if context.is_null() {
            return Err(MediaError::UnsupportedCodec {
                codec: PixelFormat(source.format).to_string(),
                used: "converted to the wanted pixel format",
            });
        }
        let mut kernel = Self { context, source };
        kernel.keep_colors();
        Ok(kernel)
    }

    /// Same matrix and range on both sides: numbers keep their meaning, tags are carried.
    fn keep_colors(&mut self) {
        const UNITY: i32 = 1 << 16;
        let range = i32::from(self.source.full_range);
        // SAFETY: returns a static table for every number.
        let table = unsafe { ffi::sws_getCoefficients(self.source.matrix) };
        // SAFETY: the context is ours and the tables static. A refusal (source without a matrix, as RGB or grey) leaves
        // the defaults, which are right there.
        unsafe { ffi::sws_setColorspaceDetails(self.context, table, range, table, range, 0, UNITY, UNITY) };
    }

    fn run(&mut self, source: &AVFrame, target: &mut AVFrame) -> Result<(), MediaError> {
        // SAFETY: the source has the size and format the context was made for, the target was allocated for the result;
        // both outlive the call.
        let rows = unsafe {
            ffi::sws_scale(
                self.context,
                source.data.as_ptr().cast(),
                source.linesize.as_ptr(),
                0,
                source.height,
                target.data.as_ptr(),
                target.linesize.as_ptr(),
            )
        };
        sys::check("scale a frame", rows)?;
        crate::color::ColorInfo::of_frame(source).put(target);
        target.key_frame = source.key_frame;
        Ok(())
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        // SAFETY: the context is ours and not used after this.
        unsafe { ffi::sws_freeContext(self.context) };
    }
}
