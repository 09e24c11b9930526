//! Packets out of pictures.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::ptr;

use ffmpeg_next::ffi::{self, AVCodecContext, AVCodecID, AVRational};
use ffmpeg_next::{Dictionary, codec, picture};

use crate::av1::{self, Times};
use crate::codec::{H264Profile, PixelFormat, VideoCodec};
use crate::color::ColorInfo;
use crate::context::CodecContext;
use crate::error::MediaError;
use crate::frame::{Frame, Picture};
use crate::gpu::GpuFrame;
use crate::packet::{Packet, StreamParameters, TICK_BASE};
use crate::sys;
use crate::time::{Rational, Ticks};

/// x264's and x265's largest side.
const MAX_SIDE: u32 = 16_384;
/// Checked here because x264 complains of others on standard error.
pub(crate) const PRESETS: [&str; 10] = [
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
    "placebo",
];
/// Above the largest level of any codec.
const MAX_BITRATE: u64 = 1_000_000_000;

/// How an [`Encoder`] works.
#[derive(Clone, Debug)]
pub struct EncoderConfig {
    /// H.264, HEVC or AV1.
    pub codec: VideoCodec,
    /// Width of the frames that will come.
    pub width: u32,
    /// Height of the frames that will come.
    pub height: u32,
    /// Average bits per second.
    pub bitrate: u64,
    /// Bound on bursts; `None` leaves them to the encoder. AV1 on the CPU then keeps to its bitrate over the buffer.
    pub vbv: Option<Vbv>,
    /// Frame rate for rate control and for the stream's headers. Timestamps come from the frames alone.
    pub frame_rate: Rational,
    /// Whether frames come at uneven distances; rate control then goes by timestamps instead of the frame count.
    pub variable_frame_rate: bool,
    /// Largest distance of keyframes in frames; zero leaves it to the encoder.
    pub gop: u32,
    /// Profile of H.264; `None` leaves it to the encoder.
    pub profile: Option<H264Profile>,
    /// x264's preset name (`ultrafast` to `placebo`); x265 has the same, libaom and video engines of GPUs have one for each.
    pub preset: &'static str,
    /// B-frames in a row; `None` leaves it to the preset. AV1 on the CPU has none.
    pub b_frames: Option<u32>,
    /// Encode without look-ahead and frame threads, so that each frame leaves before the next comes. AV1 on the CPU always works so.
    pub zero_latency: bool,
    /// Threads; zero lets the encoder choose.
    pub threads: u32,
    /// Put parameter sets into the [`StreamParameters`], as MP4 wants, instead of into each keyframe, as MPEG-TS wants. AV1 has its
    /// headers in both places.
    pub global_header: bool,
    /// Colour tags of the stream.
    pub color: ColorInfo,
    /// Shape of a pixel; `1/1` for square ones. AV1 has no place for it but in the container.
    pub sample_aspect: Rational,
}

/// Bound on the bursts of an encoder: the model of a decoder's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vbv {
    /// Bits per second at which the buffer fills.
    pub max_bitrate: u64,
    /// Bits the buffer holds.
    pub buffer: u64,
}

impl EncoderConfig {
    /// H.264, `veryfast`, for live segments in MPEG-TS: bursts of up to 1.5 times the bitrate over two seconds.
    pub fn h264(width: u32, height: u32, bitrate: u64, frame_rate: Rational) -> Self {
        Self {
            codec: VideoCodec::H264,
            width,
            height,
            bitrate,
            vbv: Some(Vbv { max_bitrate: bitrate + bitrate / 2, buffer: bitrate * 2 }),
            frame_rate,
            variable_frame_rate: false,
            gop: 0,
            profile: None,
            preset: "veryfast",
            b_frames: None,
            zero_latency: false,
            threads: 1,
            global_header: false,
            color: ColorInfo::default(),
            sample_aspect: Rational::new(1, 1),
        }
    }
}

/// Encodes frames. The first is an IDR frame, groups are closed, packets carry the exact timestamps of their frames;
/// with B-frames the first decoding times lie before the first presentation time and may be negative. Each packet of AV1 shows one
/// frame, and both of its times are the frame's.
pub struct Encoder<P = Frame> {
    context: CodecContext,
    parameters: StreamParameters,
    size: (u32, u32),
    frame_duration: Ticks,
    last_pts: Option<Ticks>,
    ready: VecDeque<Packet>,
    /// Of an encoder that counts pictures and not time.
    times: Option<Times>,
    pictures: PhantomData<fn(&P)>,
}

impl Encoder {
    /// Opens an encoder.
    ///
    /// # Errors
    ///
    /// [`MediaError::UnsupportedCodec`] when FFmpeg was built without it, [`MediaError::InvalidSetting`] for settings
    /// it refuses.
    pub fn new(config: &EncoderConfig) -> Result<Self, MediaError> {
        sys::init();
        config.check()?;
        let name = encoder_name(&config.codec).and_then(codec::encoder::find_by_name);
        let codec = name.ok_or_else(|| MediaError::UnsupportedCodec {
            codec: config.codec.to_string(),
            used: "encoded by this ffmpeg",
        })?;
        let mut context = CodecContext::new(codec);
        config.apply(context.get_mut());
        let counts = config.codec == VideoCodec::Av1;
        if counts {
            av1::apply(config, context.get_mut());
        }
        if context.open(config.software_options()) < 0 {
            return Err(MediaError::InvalidSetting {
                setting: "encoder configuration",
                value: format!("{config:?}"),
                hint: "check size, frame rate, bitrate, preset and profile",
            });
        }
        let times = counts.then(Times::default);
        Ok(Self { times, ..Self::opened(context, config)? })
    }
}

impl Encoder<GpuFrame> {
    /// Opens an encoder session on the device where `first` lies, for frames like it. It has no B-frames: each packet's times are
    /// the same.
    ///
    /// # Errors
    ///
    /// [`MediaError::UnsupportedCodec`] when FFmpeg was built without it, [`MediaError::Device`] when the device gives no session
    /// or does not take these settings.
    pub fn on_gpu(config: &EncoderConfig, first: &GpuFrame) -> Result<Self, MediaError> {
        sys::init();
        config.check()?;
        let codec = gpu_encoder_name(&config.codec).and_then(codec::encoder::find_by_name);
        let codec = codec.ok_or_else(|| MediaError::UnsupportedCodec {
            codec: config.codec.to_string(),
            used: "encoded on a gpu by this ffmpeg",
        })?;
        let mut context = CodecContext::new(codec);
        let raw = context.get_mut();
        config.apply(raw);
        raw.max_b_frames = 0;
        first.attach(raw)?;
        sys::complaints();
        let status = context.open(config.gpu_options());
        if status < 0 {
            return Err(sys::device_failure("open an encoder session", status));
        }
        Self::opened(context, config)
    }

    /// Makes a flushed encoder ready for another run of frames with the session it has. Force the first of them to be an IDR frame
    /// by [`Encoder::send_key`].
    pub fn restart(&mut self) {
        // SAFETY: the context is an open encoder that can be flushed: all of NVENC's are.
        unsafe { ffi::avcodec_flush_buffers(self.context.get_mut()) };
        self.last_pts = None;
        self.ready.clear();
    }
}

impl<P: Picture> Encoder<P> {
    fn opened(context: CodecContext, config: &EncoderConfig) -> Result<Self, MediaError> {
        let parameters = StreamParameters::filled("describe the encoded stream", |destination| {
            // SAFETY: the context is open; the destination is fresh and exclusively ours.
            unsafe { ffi::avcodec_parameters_from_context(destination, context.get()) }
        })?;
        Ok(Self {
            context,
            parameters,
            size: (config.width, config.height),
            frame_duration: config.frame_rate.frame_duration(),
            last_pts: None,
            ready: VecDeque::new(),
            times: None,
            pictures: PhantomData,
        })
    }

    /// Parameters of the encoded stream, for a muxer.
    pub fn parameters(&self) -> &StreamParameters {
        &self.parameters
    }

    /// Hands over one frame: YUV 4:2:0 8-bit, of the configured size, where the encoder runs, later than the one before.
    ///
    /// # Errors
    ///
    /// [`MediaError::InvalidSetting`] for a frame of another shape, [`MediaError::Timestamps`] for one without a time
    /// or not later than the one before.
    pub fn send(&mut self, frame: &P) -> Result<(), MediaError> {
        self.submit(frame, picture::Type::None)
    }

    /// As [`Encoder::send`], and makes the frame an IDR frame.
    pub fn send_key(&mut self, frame: &P) -> Result<(), MediaError> {
        self.submit(frame, picture::Type::I)
    }

    /// Says that no frame follows; the packets still held come out of [`Encoder::receive`].
    pub fn flush(&mut self) -> Result<(), MediaError> {
        let status = self.hand_over(ptr::null())?;
        self.check("finish encoding", status)
    }

    /// The error of a status, in the device's words where the encoder runs on one.
    fn check(&self, operation: &'static str, status: i32) -> Result<(), MediaError> {
        if status < 0 && !self.context.get().hw_frames_ctx.is_null() {
            return Err(sys::device_failure(operation, status));
        }
        sys::check(operation, status).map(|_| ())
    }

    /// The next packet in decoding order, or `None` when the encoder wants a frame or, after [`Encoder::flush`], is empty.
    pub fn receive(&mut self) -> Result<Option<Packet>, MediaError> {
        if let Some(packet) = self.ready.pop_front() {
            return Ok(Some(packet));
        }
        self.take_packet()
    }

    fn take_packet(&mut self) -> Result<Option<Packet>, MediaError> {
        match self.context.receive_packet() {
            Err(MediaError::Ffmpeg { .. }) if !self.context.get().hw_frames_ctx.is_null() => {
                Err(sys::device_failure("encode a frame", ffi::AVERROR_EXTERNAL))
            }
            taken => taken?.map(|raw| self.timed(raw)).transpose(),
        }
    }

    /// The packet with all of its times.
    fn timed(&mut self, raw: codec::packet::Packet) -> Result<Packet, MediaError> {
        let mut packet = Packet::new(raw, 0, TICK_BASE);
        if packet.duration() == 0 || self.times.is_some() {
            packet.set_duration(self.frame_duration);
        }
        let is_av1 = self.context.get().codec_id == AVCodecID::AV_CODEC_ID_AV1;
        let shown = match &mut self.times {
            Some(times) => {
                Some(times.take().ok_or_else(|| sys::failure("encode a frame", ffi::AVERROR_BUG))?)
            }
            None => packet.pts(),
        };
        if let Some(pts) = shown.filter(|_| is_av1) {
            packet.set_pts(pts);
            packet.set_dts(pts);
        }
        Ok(packet)
    }

    fn submit(&mut self, frame: &P, kind: picture::Type) -> Result<(), MediaError> {
        self.check_frame(frame)?;
        let mut video = frame.reference()?;
        video.set_kind(kind);
        if let Some(times) = &self.times {
            video.set_pts(Some(times.next()));
        }
        // SAFETY: the pointer is used while `video` is alive.
        let raw = unsafe { video.as_ptr() };
        let status = self.hand_over(raw)?;
        self.check("encode a frame", status)?;
        self.last_pts = frame.pts();
        if let (Some(times), Some(pts)) = (&mut self.times, frame.pts()) {
            times.sent(pts);
        }
        Ok(())
    }

    /// Hands a frame, or the end, to the encoder, whose packets make room where it is full. Returns FFmpeg's status.
    fn hand_over(&mut self, frame: *const ffi::AVFrame) -> Result<i32, MediaError> {
        let status = self.context.send_frame(frame);
        if !sys::is_again(status) {
            return Ok(status);
        }
        while let Some(packet) = self.take_packet()? {
            self.ready.push_back(packet);
        }
        Ok(self.context.send_frame(frame))
    }

    fn check_frame(&self, frame: &P) -> Result<(), MediaError> {
        if (frame.width(), frame.height()) != self.size || !frame.is_encodable() {
            return Err(MediaError::InvalidSetting {
                setting: "frame to encode",
                value: format!("{frame:?}"),
                hint: "scale it to 4:2:0 of 8 bit and the encoder's size first",
            });
        }
        let timestamps = |reason: String| MediaError::Timestamps { stream: 0, reason };
        let pts = frame.pts().ok_or_else(|| timestamps("a frame has no timestamp".into()))?;
        match self.last_pts {
            Some(last) if pts <= last => Err(timestamps(format!("frame at {pts} follows frame at {last}"))),
            _ => Ok(()),
        }
    }
}

/// FFmpeg's name of the software encoder for a codec.
const fn encoder_name(codec: &VideoCodec) -> Option<&'static str> {
    match codec {
        VideoCodec::H264 => Some("libx264"),
        VideoCodec::Hevc => Some("libx265"),
        VideoCodec::Av1 => Some(av1::NAME),
        VideoCodec::Vp9 | VideoCodec::Other(_) => None,
    }
}

/// FFmpeg's name of NVIDIA's encoder for a codec.
const fn gpu_encoder_name(codec: &VideoCodec) -> Option<&'static str> {
    match codec {
        VideoCodec::H264 => Some("h264_nvenc"),
        VideoCodec::Hevc => Some("hevc_nvenc"),
        VideoCodec::Av1 => Some("av1_nvenc"),
        VideoCodec::Vp9 | VideoCodec::Other(_) => None,
    }
}

/// NVENC's preset that stands where an x264 preset does: from p1, fastest, to p7.
fn gpu_preset(preset: &str) -> &'static str {
    match preset {
        "ultrafast" => "p1",
        "superfast" => "p2",
        "veryfast" => "p4",
        "faster" | "fast" => "p5",
        "medium" => "p6",
        _ => "p7",
    }
}

impl EncoderConfig {
    fn check(&self) -> Result<(), MediaError> {
        let bad = |setting, value: String, hint| Err(MediaError::InvalidSetting { setting, value, hint });
        let even = self.width > 0
            && self.height > 0
            && self.width.is_multiple_of(2)
            && self.height.is_multiple_of(2);
        if !even || self.width > MAX_SIDE || self.height > MAX_SIDE {
            let size = format!("{}x{}", self.width, self.height);
            return bad("encoded size", size, "give even numbers of at most 16384");
        }
        if self.bitrate == 0 || self.bitrate > MAX_BITRATE {
            return bad("bitrate", self.bitrate.to_string(), "give 1 to 1000000000 bits per second");
        }
        if self.frame_rate.is_zero() || self.frame_rate.frame_duration() == 0 {
            return bad("frame rate", self.frame_rate.to_string(), "give the source's, at most 90000");
        }
        if !PRESETS.contains(&self.preset) {
            return bad("preset", self.preset.into(), "give one of x264's, ultrafast to placebo");
        }
        Ok(())
    }

    /// Sets what all encoders share.
    pub(crate) fn apply(&self, context: &mut AVCodecContext) {
        let integer = |value: u64| i32::try_from(value).unwrap_or(i32::MAX);
        let fraction = |value: Rational| AVRational {
            num: integer(u64::from(value.num)),
            den: integer(u64::from(value.den)),
        };
        context.width = integer(u64::from(self.width));
        context.height = integer(u64::from(self.height));
        context.pix_fmt = PixelFormat::YUV420P.0;
        context.time_base = TICK_BASE;
        context.framerate = fraction(self.frame_rate);
        context.sample_aspect_ratio = fraction(self.sample_aspect);
        context.bit_rate = i64::try_from(self.bitrate).unwrap_or(i64::MAX);
        context.thread_count = integer(u64::from(self.threads));
        context.color_range = self.color.range;
        context.colorspace = self.color.matrix;
        context.color_primaries = self.color.primaries;
        context.color_trc = self.color.transfer;
        context.flags |= ffi::AV_CODEC_FLAG_CLOSED_GOP as i32;
        if let Some(vbv) = self.vbv {
            context.rc_max_rate = i64::try_from(vbv.max_bitrate).unwrap_or(i64::MAX);
            context.rc_buffer_size = integer(vbv.buffer);
        }
        if self.gop > 0 {
            context.gop_size = integer(u64::from(self.gop));
        }
        if let Some(b_frames) = self.b_frames.or(self.zero_latency.then_some(0)) {
            context.max_b_frames = integer(u64::from(b_frames));
        }
        if self.global_header || self.codec == VideoCodec::Av1 {
            context.flags |= ffi::AV_CODEC_FLAG_GLOBAL_HEADER as i32;
        }
    }

    /// Options of an encoder on a GPU.
    fn gpu_options(&self) -> Dictionary<'static> {
        let mut options = Dictionary::new();
        options.set("preset", gpu_preset(self.preset));
        options.set("tune", if self.zero_latency { "ull" } else { "hq" });
        options.set("rc", "vbr");
        options.set("forced-idr", "1");
        options.set("rc-lookahead", "0");
        if let (VideoCodec::H264, Some(profile)) = (&self.codec, self.profile) {
            options.set("profile", profile.name());
        }
        options
    }

    /// Options of the one encoder.
    fn software_options(&self) -> Dictionary<'static> {
        if self.codec == VideoCodec::Av1 {
            return av1::options(self);
        }
        let mut options = Dictionary::new();
        match self.codec {
            VideoCodec::H264 => self.h264_options(&mut options),
            VideoCodec::Hevc => {
                options.set("preset", self.preset);
                options.set("forced-idr", "1");
                options.set("x265-params", &self.x265_parameters());
            }
            _ => {}
        }
        if self.zero_latency {
            options.set("tune", "zerolatency");
        }
        options
    }

    fn h264_options(&self, options: &mut Dictionary<'_>) {
        options.set("preset", self.preset);
        options.set("forced-idr", "1");
        if let Some(profile) = self.profile {
            options.set("profile", profile.name());
        }
        if !self.variable_frame_rate {
            // Timestamps of live sources jitter on the 90 kHz grid. Without this x264 would spend bits by that jitter
            // and write a clock of 90000 frames per second into the stream's headers.
            options.set("x264-params", "force-cfr=1");
        }
    }

    fn x265_parameters(&self) -> String {
        let pools = if self.threads > 0 { format!(":pools={}", self.threads) } else { String::new() };
        format!("log-level=none:open-gop=0:repeat-headers={}{pools}", u8::from(!self.global_header))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(config: &EncoderConfig) -> Vec<(String, String)> {
        config.gpu_options().iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn a_gpu_gets_the_presets_and_profiles_of_the_ladder() {
        let base = EncoderConfig::h264(1280, 720, 3_000_000, Rational::new(30, 1));
        let has = |config: &EncoderConfig, key: &str, value: &str| {
            options(config).contains(&(key.to_owned(), value.to_owned()))
        };
        assert!(has(&base, "preset", "p4") && has(&base, "tune", "hq") && has(&base, "forced-idr", "1"));
        let main = EncoderConfig { profile: Some(H264Profile::Main), preset: "medium", ..base.clone() };
        assert!(has(&main, "profile", "main") && has(&main, "preset", "p6"));
        let hevc = EncoderConfig { codec: VideoCodec::Hevc, ..main };
        assert!(options(&hevc).iter().all(|(key, _)| key != "profile"), "profiles are those of H.264");
    }

    #[test]
    fn av1_on_a_gpu_gets_what_its_encoder_knows_and_headers_for_mp4() {
        let h264 = EncoderConfig::h264(1280, 720, 3_000_000, Rational::new(30, 1));
        let av1 = EncoderConfig { codec: VideoCodec::Av1, profile: Some(H264Profile::Main), ..h264 };
        let known = ["preset", "tune", "rc", "forced-idr", "rc-lookahead"];
        assert!(options(&av1).iter().all(|(key, _)| known.contains(&key.as_str())), "{:?}", options(&av1));
        let mut context = CodecContext::new(codec::encoder::find(codec::Id::AV1).unwrap());
        av1.apply(context.get_mut());
        assert_ne!(context.get().flags & ffi::AV_CODEC_FLAG_GLOBAL_HEADER as i32, 0);
        assert_eq!(gpu_encoder_name(&av1.codec), Some("av1_nvenc"));
    }

    #[test]
    fn every_preset_has_one_on_a_gpu_in_the_same_order() {
        let ranks: Vec<_> = PRESETS.iter().map(|preset| gpu_preset(preset)).collect();
        assert!(ranks.is_sorted(), "{ranks:?}");
    }
}
