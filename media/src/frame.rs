//! Decoded pictures.

use std::fmt;
use std::sync::Arc;

use ffmpeg_next::ffi::{self, AVFrame};
use ffmpeg_next::frame::Video;

use crate::codec::PixelFormat;
use crate::color::ColorInfo;
use crate::error::MediaError;
use crate::limits::MediaLimits;
use crate::sys;
use crate::time::Ticks;
use crate::turn::Turner;
use crate::watch::PictureId;

/// A decoded picture, wherever it lies: what decoders make and encoders take.
pub trait Picture: sealed::Wrap + Clone + Send + fmt::Debug + 'static {
    /// Width in pixels.
    fn width(&self) -> u32;
    /// Height in pixels.
    fn height(&self) -> u32;
    /// Presentation time.
    fn pts(&self) -> Option<Ticks>;
    /// Whether the decoder had to conceal damage, as far as it tells.
    fn is_corrupt(&self) -> bool;
    /// Range, matrix, primaries and transfer.
    fn color(&self) -> ColorInfo;
}

/// What only this crate does with pictures.
pub(crate) mod sealed {
    use super::*;

    pub trait Wrap: Sized {
        /// Takes over a picture of a decoder; `None` when it lies elsewhere.
        fn wrap(video: Video, pts: Option<Ticks>) -> Option<Self>;
        /// The same picture at another time.
        fn at(self, pts: Ticks) -> Self;
        /// The picture as it is to be seen.
        fn upright(self, turner: &mut Turner) -> Result<Self, MediaError>;
        /// A second reference for FFmpeg, with nothing of the source's coding on it.
        fn reference(&self) -> Result<Video, MediaError>;
        /// Whether encoders take it as it is.
        fn is_encodable(&self) -> bool;
    }
}

/// A second reference to the pixels of a picture, at this time.
pub(crate) fn reference(raw: &AVFrame, pts: Option<Ticks>) -> Result<Video, MediaError> {
    let mut copy = Video::empty();
    // SAFETY: the pointer is used for the next call only.
    let destination = unsafe { copy.as_mut_ptr() };
    // SAFETY: the destination is empty and ours, the source alive and its buffers reference-counted.
    let status = unsafe { ffi::av_frame_ref(destination, raw) };
    sys::check("reference a frame", status)?;
    copy.set_pts(pts);
    copy.set_kind(ffmpeg_next::picture::Type::None);
    Ok(copy)
}

impl sealed::Wrap for Frame {
    fn wrap(video: Video, pts: Option<Ticks>) -> Option<Self> {
        Self::new(video, pts)
    }

    fn at(self, pts: Ticks) -> Self {
        self.with_pts(pts)
    }

    fn upright(self, turner: &mut Turner) -> Result<Self, MediaError> {
        turner.turn(&self)
    }

    fn reference(&self) -> Result<Video, MediaError> {
        reference(self.raw(), self.pts)
    }

    fn is_encodable(&self) -> bool {
        self.format == PixelFormat::YUV420P
    }
}

impl Picture for Frame {
    fn width(&self) -> u32 {
        Self::width(self)
    }

    fn height(&self) -> u32 {
        Self::height(self)
    }

    fn pts(&self) -> Option<Ticks> {
        Self::pts(self)
    }

    fn is_corrupt(&self) -> bool {
        Self::is_corrupt(self)
    }

    fn color(&self) -> ColorInfo {
        Self::color(self)
    }
}

/// A decoded picture in main memory. Reference-counted and immutable: clones share the pixels and may go to other
/// threads.
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
        limits.check_frame_size(width, height)?;
        let mut video = allocate(PixelFormat::YUV420P, width, height)?;
        for (index, source) in planes.into_iter().enumerate() {
            let (row_bytes, rows) = plane_size(PixelFormat::YUV420P, index, width, height);
            if source.len() != row_bytes * rows {
                return Err(MediaError::InvalidSetting {
                    setting: "plane length",
                    value: source.len().to_string(),
                    hint: "give width times height bytes, half of both rounded up for chroma",
                });
            }
            let stride = video.stride(index);
            let target = video.data_mut(index).chunks_mut(stride);
            for (to, from) in target.zip(source.chunks(row_bytes)) {
                to[..row_bytes].copy_from_slice(from);
            }
        }
        Self::new(video, Some(pts)).ok_or(MediaError::NoFrames)
    }

    /// Wraps a picture of FFmpeg; `None` when its pixels are not bytes in main memory.
    pub(crate) fn new(mut video: Video, pts: Option<Ticks>) -> Option<Self> {
        // SAFETY: the pointer is used for the next line only.
        let raw = unsafe { video.as_mut_ptr() };
        // SAFETY: an allocated frame that nobody else refers to.
        let format = normalise_range(unsafe { &mut *raw })?;
        format.has_byte_planes().then(|| Self { inner: Arc::new(video), pts, format })
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
        finished_rows(self.raw(), self.format, index, (self.width(), self.height()), self.height())
    }

    /// Which of a decoder's pictures it is: what a [`Watcher`](crate::Watcher) saw it as. Of a picture that was converted it
    /// says nothing.
    pub fn picture(&self) -> PictureId {
        PictureId::of(self.raw())
    }

    pub(crate) fn raw(&self) -> &AVFrame {
        // SAFETY: the pointer is only turned into a shared reference that lives as long as `self`.
        let pointer = unsafe { self.inner.as_ptr() };
        // SAFETY: `Video` holds an allocated AVFrame until it is dropped; nothing writes to it while it is shared.
        unsafe { &*pointer }
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("width", &self.width())
            .field("height", &self.height())
            .field("format", &self.format)
            .field("pts", &self.pts)
            .field("key", &self.is_key())
            .finish()
    }
}

/// Turns the deprecated formats that mean "full range" into the plain one with a full-range tag: the bytes are the same.
fn normalise_range(frame: &mut AVFrame) -> Option<PixelFormat> {
    use ffi::AVPixelFormat as F;
    let format = PixelFormat::from_raw(frame.format)?;
    let plain = match format.0 {
        F::AV_PIX_FMT_YUVJ420P => F::AV_PIX_FMT_YUV420P,
        F::AV_PIX_FMT_YUVJ422P => F::AV_PIX_FMT_YUV422P,
        F::AV_PIX_FMT_YUVJ444P => F::AV_PIX_FMT_YUV444P,
        F::AV_PIX_FMT_YUVJ440P => F::AV_PIX_FMT_YUV440P,
        _ => return Some(format),
    };
    frame.format = plain as i32;
    frame.color_range = ffi::AVColorRange::AVCOL_RANGE_JPEG;
    Some(PixelFormat(plain))
}

/// The first rows of plane `index` of a picture: those of `done` rows of luma, which nobody changes while `frame` is borrowed.
pub(crate) fn finished_rows(
    frame: &AVFrame,
    format: PixelFormat,
    index: usize,
    (width, height): (u32, u32),
    done: u32,
) -> Option<Plane<'_>> {
    if index >= format.planes() {
        return None;
    }
    let (row_bytes, rows) = plane_size(format, index, width, height);
    let rows = if done == height { rows } else { rows.min((done as usize) >> row_shift(format, index)) };
    let stride = usize::try_from(*frame.linesize.get(index)?).ok()?;
    let start = *frame.data.get(index)?;
    if start.is_null() || rows == 0 || row_bytes > stride {
        return None;
    }
    let length = stride * (rows - 1) + row_bytes;
    // SAFETY: FFmpeg's buffer holds `rows` rows at `stride` from `start`, the last at least `row_bytes` long, and lives
    // as long as `frame`. Nobody writes to them, says the caller.
    let data = unsafe { std::slice::from_raw_parts(start, length) };
    Some(Plane { data, stride, row_bytes, rows })
}

/// How many times the rows of a plane are halved.
fn row_shift(format: PixelFormat, index: usize) -> u8 {
    let is_chroma = index == 1 || index == 2;
    if is_chroma { format.chroma_shift().1 } else { 0 }
}

/// Bytes per row and rows of one plane.
fn plane_size(format: PixelFormat, index: usize, width: u32, height: u32) -> (usize, usize) {
    let plane = i32::try_from(index).unwrap_or(i32::MAX);
    let width = i32::try_from(width).unwrap_or(0);
    // SAFETY: pure arithmetic over a static table; unknown planes give an error or zero.
    let row_bytes = unsafe { ffi::av_image_get_linesize(format.0, width, plane) };
    let rows = (height as usize).div_ceil(1 << row_shift(format, index));
    (usize::try_from(row_bytes).unwrap_or(0), rows)
}

/// The rows of one plane of a picture that nobody else refers to, and their stride. `None` when there is no such plane.
pub(crate) fn plane_mut(
    frame: &mut AVFrame,
    format: PixelFormat,
    index: usize,
) -> Option<(&mut [u8], usize)> {
    let side = |side: i32| u32::try_from(side).unwrap_or(0);
    let (row_bytes, rows) = plane_size(format, index, side(frame.width), side(frame.height));
    let stride = usize::try_from(*frame.linesize.get(index)?).ok()?;
    let start = *frame.data.get(index)?;
    if start.is_null() || rows == 0 || row_bytes > stride {
        return None;
    }
    let length = stride * (rows - 1) + row_bytes;
    // SAFETY: FFmpeg's buffer holds `rows` rows at `stride` from `start`, the last at least `row_bytes` long, and is
    // borrowed exclusively with the frame.
    Some((unsafe { std::slice::from_raw_parts_mut(start, length) }, stride))
}

/// A picture with pixels of its own, not yet written.
fn allocate(format: PixelFormat, width: u32, height: u32) -> Result<Video, MediaError> {
    /// Wide enough for every SIMD kernel of FFmpeg.
    const ALIGNMENT: i32 = 64;
    sys::init();
    let mut video = Video::empty();
    // SAFETY: the pointer is used for the next lines only.
    let pointer = unsafe { video.as_mut_ptr() };
    // SAFETY: an allocated frame that nobody else refers to.
    let raw = unsafe { &mut *pointer };
    raw.format = format.0 as i32;
    raw.width = i32::try_from(width).unwrap_or(0);
    raw.height = i32::try_from(height).unwrap_or(0);
    // SAFETY: format and size are set, the frame has no buffer yet; bad sizes are refused with a status.
    let status = unsafe { ffi::av_frame_get_buffer(raw, ALIGNMENT) };
    sys::check("allocate a frame", status)?;
    Ok(video)
}

/// Pictures of one size and format that are used again when nobody looks at them any more.
#[derive(Default)]
pub(crate) struct FramePool {
    slots: Vec<Arc<Video>>,
}

/// Pictures a pool keeps: more are in flight only when encoders with deep look-ahead hold the pixels themselves.
const POOL_SLOTS: usize = 8;

impl FramePool {
    /// A picture to write into, used through `fill`, and its shareable form.
    pub(crate) fn produce(
        &mut self,
        (format, width, height): (PixelFormat, u32, u32),
        pts: Option<Ticks>,
        fill: impl FnOnce(&mut AVFrame) -> Result<(), MediaError>,
    ) -> Result<Frame, MediaError> {
        let mut picture = match self.take_free() {
            Some(picture) => picture,
            None => Arc::new(allocate(format, width, height)?),
        };
        let video = Arc::get_mut(&mut picture).expect("a free picture has one owner");
        // SAFETY: the pointer is used for the next line only.
        let raw = unsafe { video.as_mut_ptr() };
        // SAFETY: an allocated frame that nobody else refers to.
        fill(unsafe { &mut *raw })?;
        if self.slots.len() < POOL_SLOTS {
            self.slots.push(Arc::clone(&picture));
        }
        Ok(Frame { inner: picture, pts, format })
    }

    fn take_free(&mut self) -> Option<Arc<Video>> {
        let index = self.slots.iter_mut().position(|slot| Arc::get_mut(slot).is_some_and(is_writable))?;
        Some(self.slots.swap_remove(index))
    }
}

/// Whether no encoder holds on to the pixels.
fn is_writable(video: &mut Video) -> bool {
    // SAFETY: the pointer is used for the next call only.
    let raw = unsafe { video.as_mut_ptr() };
    // SAFETY: an allocated frame that nobody else refers to.
    unsafe { ffi::av_frame_is_writable(raw) > 0 }
}
