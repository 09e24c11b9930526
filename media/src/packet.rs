//! Compressed packets and the parameters of the streams they belong to.

use std::fmt;
use std::sync::Arc;

use ffmpeg_next::codec;
use ffmpeg_next::codec::packet::{Mut as _, Ref as _};
use ffmpeg_next::ffi::{self, AVCodecParameters, AVMediaType, AVRational};

use crate::codec::VideoCodec;
use crate::error::MediaError;
use crate::sys;
use crate::time::Ticks;

/// What ticks are to FFmpeg.
pub(crate) const TICK_BASE: AVRational = AVRational { num: 1, den: 90_000 };

/// One compressed packet with its timestamps in 90 kHz ticks. Cloning shares the data.
#[derive(Clone)]
pub struct Packet {
    inner: Arc<codec::packet::Packet>,
    stream: usize,
    pts: Option<Ticks>,
    dts: Option<Ticks>,
    duration: Ticks,
}

impl Packet {
    /// Takes a packet of stream `stream` whose times are in `base`.
    pub(crate) fn new(mut inner: codec::packet::Packet, stream: usize, base: AVRational) -> Self {
        // SAFETY: the packet is owned; both time bases are positive fractions.
        unsafe { ffi::av_packet_rescale_ts(inner.as_mut_ptr(), base, TICK_BASE) };
        Self {
            stream,
            pts: inner.pts(),
            dts: inner.dts(),
            duration: inner.duration().max(0),
            inner: Arc::new(inner),
        }
    }

    /// One access unit of an elementary stream, its bytes copied.
    pub fn of_unit(data: &[u8], pts: Ticks, is_key: bool) -> Self {
        let mut inner = codec::packet::Packet::copy(data);
        if is_key {
            inner.set_flags(codec::packet::Flags::KEY);
        }
        Self { inner: Arc::new(inner), stream: 0, pts: Some(pts), dts: None, duration: 0 }
    }

    /// Index of the stream in its container.
    pub fn stream(&self) -> usize {
        self.stream
    }

    /// Presentation time.
    pub fn pts(&self) -> Option<Ticks> {
        self.pts
    }

    /// Decoding time.
    pub fn dts(&self) -> Option<Ticks> {
        self.dts
    }

    /// Duration as the container or the codec gives it; zero when not known.
    pub fn duration(&self) -> Ticks {
        self.duration
    }

    /// Whether decoding can start here.
    pub fn is_key(&self) -> bool {
        self.inner.is_key()
    }

    /// Whether the container says that bytes of the packet are lost.
    pub fn is_corrupt(&self) -> bool {
        self.inner.is_corrupt()
    }

    /// Whether the container says not to show the picture: it lies outside the edit list.
    pub(crate) fn is_discarded(&self) -> bool {
        // SAFETY: a packet that `self` keeps alive. The wrapper's own accessor hides this flag.
        let raw = unsafe { &*self.inner.as_ptr() };
        raw.flags & ffi::AV_PKT_FLAG_DISCARD != 0
    }

    /// The compressed bytes.
    pub fn data(&self) -> &[u8] {
        self.inner.data().unwrap_or_default()
    }

    /// Sets the presentation time.
    pub fn set_pts(&mut self, pts: Ticks) {
        self.pts = Some(pts);
    }

    /// Sets the decoding time.
    pub fn set_dts(&mut self, dts: Ticks) {
        self.dts = Some(dts);
    }

    pub(crate) fn set_duration(&mut self, duration: Ticks) {
        self.duration = duration;
    }

    /// The same packet as one of another stream.
    #[must_use]
    pub(crate) fn of_stream(self, stream: usize) -> Self {
        Self { stream, ..self }
    }

    /// The same packet with both times moved.
    #[must_use]
    pub fn shifted(&self, by: Ticks) -> Self {
        let moved = |time: Option<Ticks>| time.map(|time| time.saturating_add(by));
        Self { pts: moved(self.pts), dts: moved(self.dts), ..self.clone() }
    }

    /// The same packet with other bytes.
    pub(crate) fn with_data(&self, data: &[u8]) -> Self {
        let mut inner = codec::packet::Packet::copy(data);
        inner.set_flags(self.inner.flags());
        Self { inner: Arc::new(inner), ..self.clone() }
    }

    /// A reference to the same bytes for FFmpeg, in ticks, as packet of stream `stream`.
    pub(crate) fn to_ffmpeg(&self, stream: usize) -> Result<codec::packet::Packet, MediaError> {
        let mut copy = codec::packet::Packet::empty();
        // SAFETY: the destination is empty and ours; the source is alive and its buffer is reference-counted.
        let status = unsafe { ffi::av_packet_ref(copy.as_mut_ptr(), self.inner.as_ptr()) };
        sys::check("reference a packet", status)?;
        copy.set_stream(stream);
        copy.set_pts(self.pts);
        copy.set_dts(self.dts);
        copy.set_duration(self.duration);
        copy.set_position(-1);
        Ok(copy)
    }
}

/// Takes away the packets at the end that the container says not to show. Nothing follows that could need them; others
/// of their kind must stay for the sake of decoding.
pub(crate) fn drop_trailing_discards(packets: &mut Vec<Packet>) {
    while packets.len() > 1 && packets.last().is_some_and(Packet::is_discarded) {
        packets.pop();
    }
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packet")
            .field("stream", &self.stream)
            .field("pts", &self.pts)
            .field("dts", &self.dts)
            .field("duration", &self.duration)
            .field("key", &self.is_key())
            .field("bytes", &self.data().len())
            .finish()
    }
}

/// What a decoder or a muxer must know of a stream: codec, size or sample rate, extradata. Cloning is cheap.
#[derive(Clone)]
pub struct StreamParameters {
    inner: Arc<OwnedParameters>,
    rotation: u16,
}

struct OwnedParameters(codec::Parameters);

// SAFETY: the parameters are owned, never changed after construction, and libavcodec keeps no thread state in them.
unsafe impl Sync for OwnedParameters {}

impl StreamParameters {
    /// Parameters that `fill` writes.
    pub(crate) fn filled(
        operation: &'static str,
        fill: impl FnOnce(*mut AVCodecParameters) -> i32,
    ) -> Result<Self, MediaError> {
        let mut parameters = codec::Parameters::new();
        // SAFETY: the pointer stays owned by `parameters` and is only used during the next call.
        let destination = unsafe { parameters.as_mut_ptr() };
        sys::check(operation, fill(destination))?;
        Ok(Self { inner: Arc::new(OwnedParameters(parameters)), rotation: 0 })
    }

    /// Those of a video stream of which nothing but the codec is known.
    pub(crate) fn unprobed(codec: VideoCodec) -> Result<Self, MediaError> {
        Self::filled("describe a video stream", |destination| {
            // SAFETY: freshly allocated parameters that are exclusively ours.
            let parameters = unsafe { &mut *destination };
            parameters.codec_type = AVMediaType::AVMEDIA_TYPE_VIDEO;
            parameters.codec_id = codec.id();
            0
        })
    }

    /// Copies parameters that FFmpeg owns.
    pub(crate) fn copy_of(parameters: &AVCodecParameters) -> Result<Self, MediaError> {
        Self::filled("copy stream parameters", |destination| {
            // SAFETY: both point to initialised parameters; the destination is exclusively ours.
            unsafe { ffi::avcodec_parameters_copy(destination, parameters) }
        })
    }

    pub(crate) fn get(&self) -> &AVCodecParameters {
        // SAFETY: the pointer is only turned into a shared reference that lives as long as `self`.
        let pointer = unsafe { self.inner.0.as_ptr() };
        // SAFETY: allocated by `Parameters::new` and never changed after `filled`.
        unsafe { &*pointer }
    }

    /// Codec headers that stand outside the packets; empty where there are none.
    pub(crate) fn extradata(&self) -> &[u8] {
        let parameters = self.get();
        match usize::try_from(parameters.extradata_size) {
            Ok(length) if length > 0 && !parameters.extradata.is_null() => {
                // SAFETY: libavcodec keeps `extradata_size` initialised bytes there for as long as the parameters live.
                unsafe { std::slice::from_raw_parts(parameters.extradata, length) }
            }
            _ => &[],
        }
    }

    /// The same stream, turned clockwise by so many degrees before it is shown.
    #[must_use]
    pub(crate) fn turned(self, rotation: u16) -> Self {
        Self { rotation, ..self }
    }

    /// Degrees by which the decoded picture is turned clockwise before it is shown: 0, 90, 180 or 270.
    pub(crate) fn rotation(&self) -> u16 {
        self.rotation
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

impl fmt::Debug for StreamParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StreamParameters").field(&crate::codec::codec_name(self.get().codec_id)).finish()
    }
}
