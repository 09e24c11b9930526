//! Bytes of pictures that a decoder may have in flight.
//!
//! FFmpeg asks for a buffer before it decodes into it, and holds as many as the stream says that it refers to. Here the buffers are
//! counted as they are given, and given back when nobody refers to the picture any more, in FFmpeg or beyond.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ffmpeg_next::ffi::{self, AVBufferRef, AVCodecContext, AVCodecParameters, AVFrame};

use crate::codec::{PixelFormat, VideoCodec};
use crate::error::{Limit, MediaError};
use crate::limits::{MediaLimits, check};
use crate::watch::{Callbacks, Watched};

/// Pictures that a stream may refer to while one is decoded: 16 of H.264 and HEVC, of others 8.
const REFERENCES: u64 = 16;
/// As many threads FFmpeg takes of itself at most.
const MAX_OWN_THREADS: u64 = 16;
/// Pictures that libdav1d, which allocates by itself, has beside one for each thread: 8 that the stream refers to, and one to take.
const HELD_BY_DAV1D: u64 = 9;

/// What the pictures of one decoder take, against what they may.
pub(crate) struct PictureBudget {
    bound: u64,
    used: AtomicU64,
    /// What the first picture that was refused would have made of it; zero while none was.
    refused: AtomicU64,
    /// Pictures that a decoder holds which does not ask for its buffers here; zero where it asks.
    held: u64,
}

impl PictureBudget {
    /// Sets the threads of a decoder that is not open yet to what the budget has room for; [`count_buffers`] spends it.
    pub(crate) fn new(
        context: &mut AVCodecContext,
        parameters: &AVCodecParameters,
        threads: u32,
        limits: &MediaLimits,
    ) -> Arc<Self> {
        let bound = limits.picture_bytes;
        let threads = affordable_threads(threads, picture_bytes(parameters), bound);
        context.thread_count = i32::try_from(threads).unwrap_or(i32::MAX);
        let asks = VideoCodec::from_id(parameters.codec_id) != VideoCodec::Av1;
        let held = if asks { 0 } else { HELD_BY_DAV1D + u64::from(threads) };
        Arc::new(Self { bound, used: AtomicU64::new(0), refused: AtomicU64::new(0), held })
    }

    /// An error once a picture was refused.
    pub(crate) fn check(&self) -> Result<(), MediaError> {
        check(Limit::PictureBytes, self.refused.load(Ordering::Relaxed), self.bound)
    }

    /// An error when a decoder that does not ask for its buffers has too many as large as this one.
    pub(crate) fn check_picture(&self, frame: &AVFrame) -> Result<(), MediaError> {
        check(Limit::PictureBytes, self.held.saturating_mul(buffer_bytes(frame)), self.bound)
    }

    /// Counts a picture of so many bytes.
    fn take(self: Arc<Self>, bytes: u64) -> Option<Share> {
        let used = self.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let share = Share { budget: self, bytes };
        if used > share.budget.bound {
            share.budget.refused.fetch_max(used, Ordering::Relaxed);
            return None;
        }
        Some(share)
    }
}

/// What one picture takes of a budget, until it drops.
struct Share {
    budget: Arc<PictureBudget>,
    bytes: u64,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Has the buffers of a decoder counted against the budget of its [`Callbacks`]. Not for decoders on a device: FFmpeg puts things of
/// its own where the shares go, and device memory has bounds of its own.
pub(crate) fn count_buffers(context: &mut AVCodecContext) {
    context.get_buffer2 = Some(give_buffer);
}

/// How many of the threads that are asked for the budget has room for: each has a picture in work, beside those that the stream
/// refers to. Zero leaves the number to FFmpeg.
fn affordable_threads(asked: u32, picture: u64, bound: u64) -> u32 {
    let room = (bound / picture.max(1)).saturating_sub(REFERENCES).max(1);
    match asked {
        0 if room >= MAX_OWN_THREADS => 0,
        0 => u32::try_from(room).unwrap_or(u32::MAX),
        asked => asked.min(u32::try_from(room).unwrap_or(u32::MAX)),
    }
}

/// Bytes of a picture as the container describes it; zero where it does not.
fn picture_bytes(parameters: &AVCodecParameters) -> u64 {
    /// FFmpeg's decoders align rows at least so.
    const ALIGNMENT: c_int = 64;
    let Some(format) = PixelFormat::from_raw(parameters.format) else { return 0 };
    // SAFETY: pure arithmetic over a static table; what cannot be gives an error.
    let bytes =
        unsafe { ffi::av_image_get_buffer_size(format.0, parameters.width, parameters.height, ALIGNMENT) };
    u64::try_from(bytes).unwrap_or(0)
}

/// Bytes of the buffers of a picture.
fn buffer_bytes(frame: &AVFrame) -> u64 {
    let sizes = frame.buf.iter().map(|&buffer| {
        // SAFETY: null or a reference that lives as long as the frame.
        unsafe { buffer.as_ref() }.map_or(0, |buffer| buffer.size as u64)
    });
    sizes.sum()
}

/// FFmpeg's own buffers for a picture, and a share of the budget that goes where they go.
unsafe extern "C" fn give_buffer(context: *mut AVCodecContext, frame: *mut AVFrame, flags: c_int) -> c_int {
    // SAFETY: what FFmpeg passes to this call it may pass to its own.
    let status = unsafe { ffi::avcodec_default_get_buffer2(context, frame, flags) };
    if status < 0 {
        return status;
    }
    // SAFETY: FFmpeg's frame is exclusively this call's until it returns.
    let frame = unsafe { &mut *frame };
    // SAFETY: the decoder that makes the call is alive until it returns.
    let callbacks = unsafe { Callbacks::of(context) };
    let budget = Arc::clone(&callbacks.budget);
    let bytes = buffer_bytes(frame);
    let attached =
        budget.take(bytes).map(|share| Attached { _share: share, _watched: callbacks.begin(frame) });
    if attached.is_some_and(|attached| attach(frame, attached)) {
        return status;
    }
    // SAFETY: gives back what the call above has put into the frame.
    unsafe { ffi::av_frame_unref(frame) };
    ffi::AVERROR(ffi::ENOMEM)
}

/// What goes with a picture's buffers, and ends with them.
struct Attached {
    _share: Share,
    _watched: Option<Watched>,
}

/// Whether the frame had a place for it: the last, since no format takes more than the first four of eight.
fn attach(frame: &mut AVFrame, attached: Attached) -> bool {
    let Some(place) = frame.buf.last_mut().filter(|buffer| buffer.is_null()) else { return false };
    let data = Box::into_raw(Box::new(attached));
    // SAFETY: the data lives until `give_back` is called, which happens once, by whoever drops the last reference.
    let buffer: *mut AVBufferRef = unsafe {
        ffi::av_buffer_create(data.cast(), size_of::<Attached>() as _, Some(give_back), ptr::null_mut(), 0)
    };
    if buffer.is_null() {
        // SAFETY: FFmpeg did not take it.
        drop(unsafe { Box::from_raw(data) });
        return false;
    }
    *place = buffer;
    true
}

unsafe extern "C" fn give_back(_: *mut c_void, data: *mut u8) {
    // SAFETY: made by `attach`, and dropped once.
    drop(unsafe { Box::from_raw(data.cast::<Attached>()) });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_as_many_as_the_budget_has_pictures_for() {
        let picture = 50;
        assert_eq!(affordable_threads(8, picture, 50 * (16 + 8)), 8);
        assert_eq!(affordable_threads(8, picture, 50 * (16 + 3)), 3);
        assert_eq!(affordable_threads(8, picture, 50), 1, "one thread there must be");
        assert_eq!(affordable_threads(8, 0, 1 << 30), 8, "nothing is known of the picture");
    }

    #[test]
    fn ffmpeg_chooses_where_every_choice_of_its_fits() {
        assert_eq!(affordable_threads(0, 50, u64::MAX), 0);
        assert_eq!(affordable_threads(0, 50, 50 * (16 + 3)), 3);
    }

    #[test]
    fn a_share_comes_back_when_it_drops() {
        let budget = Arc::new(PictureBudget {
            bound: 100,
            used: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            held: 0,
        });
        let share = Arc::clone(&budget).take(60);
        assert!(share.is_some() && Arc::clone(&budget).take(60).is_none());
        assert_eq!(budget.check().unwrap_err().code(), "limit_exceeded");
        drop(share);
        assert!(Arc::clone(&budget).take(100).is_some());
    }
}
