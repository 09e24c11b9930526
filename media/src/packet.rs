//! Compressed packets and the parameters of the streams they belong to.

use std::sync::Arc;

use ffmpeg_next::codec;
use ffmpeg_next::codec::packet::{Mut as _, Ref as _};
use ffmpeg_next::ffi::{self, AVCodecParameters, AVMediaType};

use crate::error::MediaError;
use crate::time::Ticks;

/// One compressed packet with its timestamps in 90 kHz ticks. Cloning shares the data.
#[derive(Clone)]
pub struct Packet {
    inner: codec::packet::Packet,
}

impl Packet {
    /// Wraps a packet whose times are ticks already.
    pub(crate) fn from_ffmpeg(inner: codec::packet::Packet) -> Self {
        Self { inner }
    }

    /// Index of the stream in its container.
    pub fn stream(&self) -> usize {
        self.inner.stream()
    }

    /// Presentation time.
    pub fn pts(&self) -> Option<Ticks> {
        self.inner.pts()
    }

    /// Decoding time.
    pub fn dts(&self) -> Option<Ticks> {
        self.inner.dts()
    }

    /// Duration as the container or the codec gives it; zero when not known.
    pub fn duration(&self) -> Ticks {
        self.inner.duration()
    }

    /// Whether decoding can start here.
    pub fn is_key(&self) -> bool {
        self.inner.is_key()
    }

    /// Whether the container says that bytes of the packet are lost.
    pub fn is_corrupt(&self) -> bool {
        self.inner.is_corrupt()
    }

    /// The compressed bytes.
    pub fn data(&self) -> &[u8] {
        self.inner.data().unwrap_or_default()
    }

    /// Sets the presentation time.
    pub fn set_pts(&mut self, pts: Ticks) {
        self.inner.set_pts(Some(pts));
    }

    /// Sets the decoding time.
    pub fn set_dts(&mut self, dts: Ticks) {
        self.inner.set_dts(Some(dts));
    }

    pub(crate) fn as_ptr(&self) -> *const ffi::AVPacket {
        self.inner.as_ptr()
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut ffi::AVPacket {
        self.inner.as_mut_ptr()
    }
}

impl std::fmt::Debug for Packet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packet")
            .field("stream", &self.stream())
            .field("pts", &self.pts())
            .field("dts", &self.dts())
            .field("duration", &self.duration())
            .field("key", &self.is_key())
            .field("bytes", &self.data().len())
            .finish()
    }
}

/// What a decoder or a muxer must know of a stream: codec, size or sample rate, extradata. Cloning is cheap.
#[derive(Clone)]
pub struct StreamParameters {
    inner: Arc<OwnedParameters>,
}

struct OwnedParameters(codec::Parameters);

// SAFETY: the parameters are owned, never changed after construction, and libavcodec keeps no thread state in them.
unsafe impl Sync for OwnedParameters {}

impl StreamParameters {
    /// Copies parameters that FFmpeg owns.
    pub(crate) fn copy_of(parameters: &AVCodecParameters) -> Result<Self, MediaError> {
        let mut copy = codec::Parameters::new();
        // SAFETY: the pointer stays owned by `copy` and is only used for the next call.
        let destination = unsafe { copy.as_mut_ptr() };
        // SAFETY: both point to initialised parameters; the destination is exclusively ours.
        let status = unsafe { ffi::avcodec_parameters_copy(destination, parameters) };
        crate::sys::check("copy stream parameters", status)?;
        Ok(Self { inner: Arc::new(OwnedParameters(copy)) })
    }

    pub(crate) fn get(&self) -> &AVCodecParameters {
        // SAFETY: the pointer is only turned into a shared reference that lives as long as `self`.
        let pointer = unsafe { self.inner.0.as_ptr() };
        // SAFETY: allocated by `Parameters::new` and never changed after `copy_of`.
        unsafe { &*pointer }
    }

    /// Whether this is a video stream.
    pub fn is_video(&self) -> bool {
        self.get().codec_type == AVMediaType::AVMEDIA_TYPE_VIDEO
    }

    /// Whether this is an audio stream.
    pub fn is_audio(&self) -> bool {
        self.get().codec_type == AVMediaType::AVMEDIA_TYPE_AUDIO
    }
}

impl std::fmt::Debug for StreamParameters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("StreamParameters").field(&crate::codec::codec_name(self.get().codec_id)).finish()
    }
}

/// Makes the decoding times of one stream's packets, in decoding order, fit for a muxer: strictly rising, never after
/// the presentation time. Presentation times are not touched.
///
/// Sources with missing, repeated or late decoding times exist in numbers. Walking back from the last packet, each
/// packet decodes no later than it shows and at least a tick before its successor, which is always possible.
///
/// # Errors
///
/// [`MediaError::Timestamps`] when a packet has neither a presentation nor a decoding time.
pub fn repair_timestamps(packets: &mut [Packet]) -> Result<(), MediaError> {
    let mut latest = Ticks::MAX;
    for packet in packets.iter_mut().rev() {
        let pts = packet.pts().or(packet.dts()).ok_or_else(|| MediaError::Timestamps {
            stream: packet.stream(),
            reason: "a packet has neither pts nor dts".into(),
        })?;
        let dts = packet.dts().unwrap_or(pts).min(pts).min(latest);
        packet.set_pts(pts);
        packet.set_dts(dts);
        latest = dts - 1;
    }
    Ok(())
}
