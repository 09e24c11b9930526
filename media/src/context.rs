//! An open codec of FFmpeg, for both directions.

use std::mem::ManuallyDrop;
use std::ptr;

use ffmpeg_next::ffi::{self, AVCodecContext};
use ffmpeg_next::frame::Video;
use ffmpeg_next::{Codec, Dictionary, codec, format};

use crate::av1;
use crate::error::MediaError;
use crate::sys;

/// A codec context that is ours alone.
pub(crate) struct CodecContext {
    raw: ManuallyDrop<codec::Context>,
    is_svt_av1: bool,
    fed: Fed,
}

/// What an encoder has been given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fed {
    Nothing,
    Frames,
    End,
}

impl CodecContext {
    /// A context that is not open yet.
    pub(crate) fn new(codec: Codec) -> Self {
        Self {
            raw: ManuallyDrop::new(codec::Context::new_with_codec(codec)),
            is_svt_av1: codec.name() == av1::NAME,
            fed: Fed::Nothing,
        }
    }

    /// Whether this is SVT-AV1, open or not.
    pub(crate) const fn is_svt_av1(&self) -> bool {
        self.is_svt_av1
    }

    pub(crate) fn get(&self) -> &AVCodecContext {
        // SAFETY: the pointer is only turned into a shared reference that lives as long as `self`.
        let pointer = unsafe { self.raw.as_ptr() };
        // SAFETY: allocated in `new`, freed with `self`.
        unsafe { &*pointer }
    }

    pub(crate) fn get_mut(&mut self) -> &mut AVCodecContext {
        // SAFETY: the pointer is only turned into a reference that borrows `self`.
        let pointer = unsafe { self.raw.as_mut_ptr() };
        // SAFETY: allocated in `new`, freed with `self`, exclusively ours.
        unsafe { &mut *pointer }
    }

    /// Opens the codec with private options. Returns FFmpeg's status.
    pub(crate) fn open(&mut self, options: Dictionary<'_>) -> i32 {
        // SAFETY: ownership passes to `raw`, which is taken back below.
        let mut raw = unsafe { options.disown() };
        // SAFETY: the context was allocated for its codec; the dictionary pointer is valid.
        let status = unsafe { ffi::avcodec_open2(self.get_mut(), std::ptr::null(), &raw mut raw) };
        // SAFETY: FFmpeg leaves the options it did not use in a dictionary we own again.
        drop(unsafe { Dictionary::own(raw) });
        status
    }

    /// Takes the next packet out of an encoder; `None` when it wants a frame or is empty.
    pub(crate) fn receive_packet(&mut self) -> Result<Option<codec::packet::Packet>, MediaError> {
        use codec::packet::Mut as _;
        let mut packet = codec::packet::Packet::empty();
        // SAFETY: the context is an open encoder; the packet is empty and ours.
        let status = unsafe { ffi::avcodec_receive_packet(self.get_mut(), packet.as_mut_ptr()) };
        if sys::is_again(status) || status == ffi::AVERROR_EOF {
            return Ok(None);
        }
        sys::check("encode a frame", status)?;
        Ok(Some(packet))
    }

    /// Hands a frame to an encoder; null says that none follows. Returns FFmpeg's status.
    pub(crate) fn send_frame(&mut self, frame: *const ffi::AVFrame) -> i32 {
        if frame.is_null() && self.waits_for_ever() {
            return 0;
        }
        // SAFETY: the context is an open encoder; the frame is null or alive for this call.
        let status = unsafe { ffi::avcodec_send_frame(self.get_mut(), frame) };
        if status >= 0 {
            self.fed = if frame.is_null() { Fed::End } else { Fed::Frames };
        }
        status
    }

    /// Whether this is an open encoder that must neither be ended nor closed: SVT-AV1 then waits for the packet of a first frame.
    fn waits_for_ever(&self) -> bool {
        // SAFETY: looks at a context that is alive, and changes nothing.
        let is_open = unsafe { ffi::avcodec_is_open(ptr::from_ref(self.get()).cast_mut()) };
        self.is_svt_av1 && is_open > 0 && self.fed == Fed::Nothing
    }

    /// Hands over a grey frame, for an encoder that cannot be closed without one.
    fn send_grey(&mut self) -> i32 {
        /// Grey, in luma and chroma of 8 bits.
        const GREY: u8 = 128;
        let raw = self.get();
        let side = |side: i32| u32::try_from(side).unwrap_or(0);
        let mut grey = Video::new(format::Pixel::YUV420P, side(raw.width), side(raw.height));
        for plane in 0..grey.planes() {
            grey.data_mut(plane).fill(GREY);
        }
        grey.set_pts(Some(0));
        // SAFETY: the pointer is used while `grey` is alive.
        let frame = unsafe { grey.as_ptr() };
        self.send_frame(frame)
    }

    /// Tells SVT-AV1 that no frame follows, without which it complains on standard error when it is closed.
    fn end(&mut self) {
        while sys::is_again(self.send_frame(ptr::null())) {
            // Full: its packets make room.
            if !matches!(self.receive_packet(), Ok(Some(_))) {
                return;
            }
        }
    }
}

impl Drop for CodecContext {
    fn drop(&mut self) {
        if self.waits_for_ever() {
            self.send_grey();
        }
        if self.is_svt_av1 && self.fed == Fed::Frames {
            self.end();
        }
        // Memory that is lost is better than a thread that is.
        if !self.waits_for_ever() {
            // SAFETY: dropped here and nowhere else, and not used after this.
            unsafe { ManuallyDrop::drop(&mut self.raw) };
        }
    }
}
