//! Rows of pictures, seen while the decoder is at the rows below and they are still in the processor's caches.

use std::ffi::c_int;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ffmpeg_next::ffi::{self, AVCodecContext, AVFrame};

use crate::annexb::is_single_slice;
use crate::budget::PictureBudget;
use crate::codec::{PixelFormat, VideoCodec};
use crate::frame::{Plane, finished_rows};

/// Tells a picture of a decoder from the others that are alive at the time; see [`Frame::picture`](crate::Frame::picture).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PictureId(usize);

impl PictureId {
    /// By the place of its samples.
    pub(crate) fn of(frame: &AVFrame) -> Self {
        Self(frame.data[0].addr())
    }
}

/// Sees pictures while they are decoded, where a decoder shows them: H.264 on one thread. It holds up the thread that calls it.
pub trait Watcher: Send + Sync {
    /// The decoder is about to make a picture.
    fn begin(&self, picture: PictureId);

    /// The decoder is done with some rows of a picture. On the thread that decodes.
    fn rows(&self, rows: &FinishedRows<'_>);

    /// Nobody has the picture any more; another may come under its name. On whichever thread had it last.
    fn end(&self, picture: PictureId);
}

/// Rows of a picture, from the top down, that its decoder will not change, unless the picture comes out
/// [corrupt](crate::Frame::is_corrupt): what was seen of such a picture may not be what is shown.
///
/// None are shown of fields, nor once a packet held more than one slice: a second one may paint over what the first has finished.
#[derive(Clone, Copy)]
pub struct FinishedRows<'a> {
    frame: &'a AVFrame,
    format: PixelFormat,
    size: (u32, u32),
    /// The first that is new, and the one behind the last.
    new: (u32, u32),
}

impl<'a> FinishedRows<'a> {
    /// What [`Frame::picture`](crate::Frame::picture) will say of the picture, unless rows or columns are cut off its upper or left
    /// side.
    pub fn picture(&self) -> PictureId {
        PictureId::of(self.frame)
    }

    /// Width of the picture in pixels.
    pub const fn width(&self) -> u32 {
        self.size.0
    }

    /// Height of the picture in pixels.
    pub const fn height(&self) -> u32 {
        self.size.1
    }

    /// Format of the samples.
    pub const fn format(&self) -> PixelFormat {
        self.format
    }

    /// The luma row that the new ones begin with.
    pub const fn top(&self) -> u32 {
        self.new.0
    }

    /// The luma row behind the last new one.
    pub const fn bottom(&self) -> u32 {
        self.new.1
    }

    /// Plane `index` down to the last finished row, from the first of the picture on.
    pub fn plane(&self, index: usize) -> Option<Plane<'a>> {
        finished_rows(self.frame, self.format, index, self.size, self.new.1)
    }
}

/// What FFmpeg finds through the context of a decoder when it calls back.
pub(crate) struct Callbacks {
    pub(crate) budget: Arc<PictureBudget>,
    watcher: Option<Arc<dyn Watcher>>,
    /// Whether no rows are shown any more.
    blind: AtomicBool,
}

impl Callbacks {
    /// To be kept for longer than the context.
    pub(crate) fn attach(
        context: &mut AVCodecContext,
        budget: Arc<PictureBudget>,
        watcher: Option<Arc<dyn Watcher>>,
    ) -> Arc<Self> {
        let shows = context.codec_id == ffi::AVCodecID::AV_CODEC_ID_H264 && context.thread_count == 1;
        let watcher = watcher.filter(|_| shows);
        if watcher.is_some() {
            context.draw_horiz_band = Some(show_rows);
            context.slice_flags = ffi::SLICE_FLAG_CODED_ORDER as c_int;
        }
        let callbacks = Arc::new(Self { budget, watcher, blind: AtomicBool::new(false) });
        context.opaque = Arc::as_ptr(&callbacks).cast_mut().cast();
        callbacks
    }

    /// Of a context that [`Callbacks::attach`] was called with.
    ///
    /// # Safety
    /// The context, or the one that it is a copy of, is alive for as long as the reference is used.
    pub(crate) unsafe fn of<'a>(context: *const AVCodecContext) -> &'a Self {
        // SAFETY: alive, says the caller; FFmpeg's threads have a copy of the pointer.
        let opaque = unsafe { (*context).opaque };
        // SAFETY: set in `attach`, and kept for longer than the context.
        unsafe { &*opaque.cast_const().cast::<Self>() }
    }

    /// To be called with a packet before the decoder gets it, which may look into it only after later ones came.
    pub(crate) fn expect(&self, packet: &[u8]) {
        if self.watcher.is_some() && !is_single_slice(packet, &VideoCodec::H264) {
            self.blind.store(true, Ordering::Relaxed);
        }
    }

    /// A picture has its buffers.
    pub(crate) fn begin(&self, frame: &AVFrame) -> Option<Watched> {
        let (watcher, picture) = (self.watcher.clone()?, PictureId::of(frame));
        watcher.begin(picture);
        Some(Watched { watcher, picture })
    }
}

/// A picture that a watcher has seen begin. It ends when this drops.
pub(crate) struct Watched {
    watcher: Arc<dyn Watcher>,
    picture: PictureId,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.watcher.end(self.picture);
    }
}

/// FFmpeg has finished rows of a picture.
unsafe extern "C" fn show_rows(
    context: *mut AVCodecContext,
    frame: *const AVFrame,
    _offsets: *mut c_int,
    top: c_int,
    structure: c_int,
    height: c_int,
) {
    /// Not one of the fields.
    const WHOLE: c_int = 3;
    // SAFETY: FFmpeg's, alive for this call.
    let callbacks = unsafe { Callbacks::of(context) };
    // SAFETY: as above.
    let context = unsafe { &*context };
    let (width, rows) = (context.width, context.height);
    // SAFETY: as above. FFmpeg writes to rows below only, and not before this call returns.
    let frame = unsafe { &*frame };
    let inside = top >= 0 && height > 0 && top.saturating_add(height) <= rows;
    // What is cut off is still in the frame here.
    let holds = width > 0 && width <= frame.width && rows <= frame.height;
    let (Some(watcher), Some(format)) = (&callbacks.watcher, PixelFormat::from_raw(frame.format)) else {
        return;
    };
    if structure == WHOLE && inside && holds && !callbacks.blind.load(Ordering::Relaxed) {
        let [width, rows, top, bottom] = [width, rows, top, top + height].map(c_int::unsigned_abs);
        watcher.rows(&FinishedRows { frame, format, size: (width, rows), new: (top, bottom) });
    }
}
