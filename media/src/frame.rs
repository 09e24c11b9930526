//! Decoded pictures.

use std::sync::Arc;

use ffmpeg_next::ffi::{self, AV_NOPTS_VALUE, AVFrame};
use ffmpeg_next::frame::Video;

use crate::codec::PixelFormat;
use crate::color::ColorInfo;
use crate::error::MediaError;
use crate::limits::MediaLimits;
use crate::time::Ticks;

/// A decoded picture in main memory. Reference-counted and immutable: clones share the pixels and may go to other threads.
#[derive(Clone)]
pub struct Frame {
    inner: Arc<Video>,
    pts: Option<Ticks>,
    format: PixelFormat,
}

/// One plane of a [`Frame`].
#[derive(Clone, Copy)]
pub struct Plane<'a> {
    data: &'a [u8],
    stride: usize,
    row_bytes: usize,
    rows: usize,
}

impl<'a> Plane<'a> {
    /// All bytes from the first row to the end of the last, padding between rows included.
    pub const fn data(&self) -> &'a [u8] {
        self.data
    }

    /// Bytes from the start of one row to the start of the next.
    pub const fn stride(&self) -> usize {
        self.stride
    }

    /// Bytes of one row that carry pixels.
    pub const fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// Number of rows.
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// The pixels of row `index`.
    ///
    /// # Panics
    ///
    /// When `index` is not below [`Plane::rows`].
    pub fn row(&self, index: usize) -> &'a [u8] {
        assert!(index < self.rows, "row {index} of a plane with {} rows", self.rows);
        let start = index * self.stride;
        &self.data[start..start + self.row_bytes]
    }

    /// All rows from top to bottom, without padding.
    pub fn iter_rows(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let plane = *self;
        (0..plane.rows).map(move |index| plane.row(index))
    }
}

impl Frame {
    /// A YUV 4:2:0 8-bit picture from tightly packed planes: `width * height` bytes of luma, then twice
    /// `ceil(width / 2) * ceil(height / 2)` bytes of chroma.
    ///
    /// # Errors
    ///
    /// [`MediaError::LimitExceeded`] for a size beyond the limits, [`MediaError::InvalidSetting`] when a plane has the
    /// wrong length.
    pub fn from_yuv420p(
        width: u32,
        height: u32,
        planes: [&[u8]; 3],
        pts: Ticks,
        limits: &MediaLimits,
    ) -> Result<Self, MediaError> {
        let _ = (width, height, planes, pts, limits);
        Err(MediaError::NoFrames)
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.inner.width()
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.inner.height()
    }

    /// Width times height.
    pub fn pixels(&self) -> u64 {
        u64::from(self.width()) * u64::from(self.height())
    }

    /// How the pixels lie in memory.
    pub fn format(&self) -> PixelFormat {
        self.format
    }

    /// Presentation time.
    pub fn pts(&self) -> Option<Ticks> {
        self.pts
    }

    /// The same picture at another time; the pixels are shared.
    #[must_use]
    pub fn with_pts(mut self, pts: Ticks) -> Self {
        self.pts = Some(pts);
        self
    }

    /// Whether the picture was coded without reference to others and starts a sequence.
    pub fn is_key(&self) -> bool {
        self.inner.is_key()
    }

    /// Whether the decoder had to conceal damage.
    pub fn is_corrupt(&self) -> bool {
        self.inner.is_corrupt() || self.inner.has_decode_errors()
    }

    /// Range, matrix, primaries and transfer.
    pub fn color(&self) -> ColorInfo {
        ColorInfo::of_frame(self.raw())
    }

    /// Number of planes.
    pub fn planes(&self) -> usize {
        self.format.planes()
    }

    /// Plane `index`: luma first, then chroma (one interleaved plane for NV12). `None` when there is no such plane.
    pub fn plane(&self, index: usize) -> Option<Plane<'_>> {
        let _ = index;
        None
    }

    pub(crate) fn raw(&self) -> &AVFrame {
        // SAFETY: the pointer is only turned into a shared reference that lives as long as `self`.
        let pointer = unsafe { self.inner.as_ptr() };
        // SAFETY: `Video` holds an allocated AVFrame until it is dropped; nothing writes to it while it is shared.
        unsafe { &*pointer }
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Frame({}x{} {} pts {:?}{})",
            self.width(),
            self.height(),
            self.format,
            self.pts,
            if self.is_key() { " key" } else { "" }
        )
    }
}
