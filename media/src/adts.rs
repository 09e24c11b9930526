//! AAC for containers that say once, in front, what MPEG-TS says in a header of each packet.

use std::ptr::{self, NonNull};

use ffmpeg_next::codec;
use ffmpeg_next::codec::packet::Mut as _;
use ffmpeg_next::ffi::{self, AVBSFContext, AVCodecID};

use crate::error::MediaError;
use crate::packet::{StreamParameters, TICK_BASE};
use crate::sys;

/// Takes the ADTS headers off the packets of one stream. What they say comes with the first packet, from where a muxer takes it.
pub(crate) struct HeaderStripper(NonNull<AVBSFContext>);

// SAFETY: the filter is owned, used by one thread at a time, and has none of its own.
unsafe impl Send for HeaderStripper {}

impl HeaderStripper {
    /// One for the stream, where its packets have such headers: AAC of which nothing was said in front.
    pub(crate) fn for_stream(parameters: &StreamParameters) -> Result<Option<Self>, MediaError> {
        let is_aac = parameters.get().codec_id == AVCodecID::AV_CODEC_ID_AAC;
        if is_aac && parameters.extradata().is_empty() { Self::new(parameters).map(Some) } else { Ok(None) }
    }

    fn new(parameters: &StreamParameters) -> Result<Self, MediaError> {
        const OPERATION: &str = "set up a filter of aac";
        // SAFETY: takes a NUL-terminated name and returns a static filter or null.
        let filter = unsafe { ffi::av_bsf_get_by_name(c"aac_adtstoasc".as_ptr()) };
        if filter.is_null() {
            return Err(MediaError::UnsupportedCodec {
                codec: "adts".into(),
                used: "unpacked by this ffmpeg",
            });
        }
        let mut raw: *mut AVBSFContext = ptr::null_mut();
        // SAFETY: writes the new context to a local.
        sys::check(OPERATION, unsafe { ffi::av_bsf_alloc(filter, &raw mut raw) })?;
        let mut made =
            Self(NonNull::new(raw).ok_or_else(|| sys::failure(OPERATION, ffi::AVERROR(ffi::ENOMEM)))?);
        // SAFETY: the context is ours.
        let context = unsafe { made.0.as_mut() };
        context.time_base_in = TICK_BASE;
        // SAFETY: both are initialised; the destination belongs to the context.
        sys::check(OPERATION, unsafe { ffi::avcodec_parameters_copy(context.par_in, parameters.get()) })?;
        // SAFETY: the context is ours and not initialised yet.
        sys::check(OPERATION, unsafe { ffi::av_bsf_init(made.0.as_ptr()) })?;
        Ok(made)
    }

    /// The packet without its header.
    ///
    /// # Errors
    ///
    /// [`MediaError::Truncated`] for one that has none or a damaged one.
    pub(crate) fn strip(&mut self, packet: &mut codec::packet::Packet) -> Result<(), MediaError> {
        let damaged = |_| MediaError::Truncated { reason: "a packet of aac is cut off or damaged".into() };
        // SAFETY: the filter is initialised; it takes the packet over and leaves an empty one, which is ours.
        let sent = unsafe { ffi::av_bsf_send_packet(self.0.as_ptr(), packet.as_mut_ptr()) };
        sys::check("unpack aac", sent).map_err(damaged)?;
        // SAFETY: the filter is initialised; the packet is empty and ours.
        let received = unsafe { ffi::av_bsf_receive_packet(self.0.as_ptr(), packet.as_mut_ptr()) };
        sys::check("unpack aac", received).map_err(damaged).map(|_| ())
    }
}

impl Drop for HeaderStripper {
    fn drop(&mut self) {
        let mut raw = self.0.as_ptr();
        // SAFETY: the filter is ours and not used after this.
        unsafe { ffi::av_bsf_free(&raw mut raw) };
    }
}
