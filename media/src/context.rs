//! An open codec of FFmpeg, for both directions.

use ffmpeg_next::ffi::{self, AVCodecContext};
use ffmpeg_next::{Codec, Dictionary, codec};

use crate::error::MediaError;
use crate::sys;

/// A codec context that is ours alone.
pub(crate) struct CodecContext(codec::Context);

impl CodecContext {
    /// A context that is not open yet.
    pub(crate) fn new(codec: Codec) -> Self {
        Self(codec::Context::new_with_codec(codec))
    }

    pub(crate) fn get(&self) -> &AVCodecContext {
        // SAFETY: the pointer is only turned into a shared reference that lives as long as `self`.
        let pointer = unsafe { self.0.as_ptr() };
        // SAFETY: allocated in `new`, freed with `self`.
        unsafe { &*pointer }
    }

    pub(crate) fn get_mut(&mut self) -> &mut AVCodecContext {
        // SAFETY: the pointer is only turned into a reference that borrows `self`.
        let pointer = unsafe { self.0.as_mut_ptr() };
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
        // SAFETY: the context is an open encoder; the frame is null or alive for this call.
        unsafe { ffi::avcodec_send_frame(self.get_mut(), frame) }
    }
}
