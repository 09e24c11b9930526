//! Pictures out of packets.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use ffmpeg_next::codec::packet::Ref as _;
use ffmpeg_next::ffi::{self, AVCodecContext};
use ffmpeg_next::frame::Video;
use ffmpeg_next::{Dictionary, codec};

use crate::budget::{PictureBudget, count_buffers};
use crate::codec::VideoCodec;
use crate::context::CodecContext;
use crate::demux::Demuxer;
use crate::error::{Limit, MediaError};
use crate::frame::{Frame, Picture};
use crate::gpu::{GpuDevice, GpuFrame};
use crate::limits::{MediaLimits, check};
use crate::packet::{Packet, StreamParameters, TICK_BASE};
use crate::probe::Probe;
use crate::sys;
use crate::time::Ticks;
use crate::turn::Turner;
use crate::watch::{Callbacks, Watcher};

/// How to decode.
#[derive(Clone, Debug)]
pub struct DecoderConfig {
    /// Threads; zero lets FFmpeg take one per core. Fewer are taken where [`MediaLimits::picture_bytes`] has no room for so many.
    pub threads: u32,
    /// Fail on the first packet that does not decode instead of counting it.
    pub strict: bool,
}

impl Default for DecoderConfig {
    fn default() -> Self {
        Self { threads: 1, strict: false }
    }
}

/// Failures in a row after which a decoder is given up: more than the frames any codec holds back.
const MAX_FAILURES_IN_A_ROW: u32 = 256;

/// Decodes one video stream. Frames come upright and in presentation order with the exact timestamps of their packets; frames of
/// packets without one get a place between their neighbours.
///
/// Damaged sources may repeat timestamps: check that they rise before you encode.
pub struct Decoder<P = Frame> {
    context: CodecContext,
    /// Outlive the context, which points to them.
    callbacks: Arc<Callbacks>,
    limits: MediaLimits,
    strict: bool,
    ready: VecDeque<P>,
    turner: Option<Turner>,
    gap: GapFiller<P>,
    packets: u64,
    errors: u64,
    frames: u64,
    pixels: u64,
}

impl Decoder {
    /// A decoder for a stream with these parameters.
    ///
    /// # Errors
    ///
    /// [`MediaError::UnsupportedCodec`] for anything but H.264, HEVC, VP9 and AV1, [`MediaError::Truncated`] for headers that make no
    /// sense.
    pub fn new(
        parameters: &StreamParameters,
        config: &DecoderConfig,
        limits: &MediaLimits,
    ) -> Result<Self, MediaError> {
        Self::open(parameters, config, limits, None, |context| {
            context.strict_std_compliance = ffi::FF_COMPLIANCE_NORMAL;
            count_buffers(context);
            Ok(())
        })
    }

    /// A decoder for packets of [`Packet::of_unit`], of a stream that nobody has probed: its headers stand before its
    /// pictures. Frames are held back as long as the stream's own bound on reordering says, or where it says none as
    /// long as its level allows, so that their order does not rest on a guess. `watcher` sees their rows as they are
    /// done, where the decoder shows any.
    ///
    /// # Errors
    ///
    /// As [`Decoder::new`].
    pub fn of_units(
        codec: VideoCodec,
        config: &DecoderConfig,
        limits: &MediaLimits,
        watcher: Option<Arc<dyn Watcher>>,
    ) -> Result<Self, MediaError> {
        let parameters = StreamParameters::unprobed(codec)?;
        Self::open(&parameters, config, limits, watcher, |context| {
            context.strict_std_compliance = ffi::FF_COMPLIANCE_STRICT;
            count_buffers(context);
            Ok(())
        })
    }
}

impl Decoder<GpuFrame> {
    /// A decoder that runs on a device and leaves its frames there. FFmpeg reads the headers, so damage to them is found as on the
    /// CPU; damage inside of slices is concealed by the device without a word.
    ///
    /// Every failure that may be the device's own, and every stream that it does not decode, is [`MediaError::Device`]: another
    /// decoder may do better.
    ///
    /// # Errors
    ///
    /// As [`Decoder::new`].
    pub fn on_gpu(
        parameters: &StreamParameters,
        config: &DecoderConfig,
        limits: &MediaLimits,
        device: &GpuDevice,
    ) -> Result<Self, MediaError> {
        // Threads of FFmpeg's would only stand in line before the one device.
        let config = DecoderConfig { threads: 1, ..config.clone() };
        Self::open(parameters, &config, limits, None, |context| device.attach(context))
    }
}

impl<P: Picture> Decoder<P> {
    fn open(
        parameters: &StreamParameters,
        config: &DecoderConfig,
        limits: &MediaLimits,
        watcher: Option<Arc<dyn Watcher>>,
        prepare: impl FnOnce(&mut AVCodecContext) -> Result<(), MediaError>,
    ) -> Result<Self, MediaError> {
        sys::init();
        let id = parameters.get().codec_id;
        let name = VideoCodec::from_id(id);
        let unsupported = || MediaError::UnsupportedCodec { codec: name.to_string(), used: "decoded" };
        if matches!(name, VideoCodec::Other(_)) {
            return Err(unsupported());
        }
        let codec = codec::decoder::find(id.into()).ok_or_else(unsupported)?;
        let mut context = CodecContext::new(codec);
        // SAFETY: both are initialised and of the same kind of stream.
        let status = unsafe { ffi::avcodec_parameters_to_context(context.get_mut(), parameters.get()) };
        sys::check("take over stream parameters", status)?;
        let raw = context.get_mut();
        raw.pkt_timebase = TICK_BASE;
        let budget = PictureBudget::new(raw, parameters.get(), config.threads, limits);
        let callbacks = Callbacks::attach(raw, budget, watcher);
        raw.max_pixels = limits.padded_pixels_per_frame();
        // Frames that lean on missing references are handed out too, marked corrupt: a segment must not lose frames.
        raw.flags |= ffi::AV_CODEC_FLAG_OUTPUT_CORRUPT as i32;
        if config.strict {
            raw.err_recognition |= ffi::AV_EF_EXPLODE;
        }
        prepare(raw)?;
        let status = context.open(Dictionary::new());
        // An invalid argument is what FFmpeg says of impossible lengths in the headers that a container holds; ours are none.
        if [ffi::AVERROR_INVALIDDATA, ffi::AVERROR(ffi::EINVAL)].contains(&status) {
            let reason = format!("the headers of its {name} stream are cut off or damaged");
            return Err(MediaError::Truncated { reason });
        }
        if status == ffi::AVERROR_PATCHWELCOME {
            return Err(unsupported());
        }
        sys::check("open a decoder", status)?;
        Ok(Self {
            context,
            callbacks,
            limits: limits.clone(),
            strict: config.strict,
            ready: VecDeque::new(),
            turner: Turner::new(parameters.rotation(), limits),
            gap: GapFiller::default(),
            packets: 0,
            errors: 0,
            frames: 0,
            pixels: 0,
        })
    }

    /// Hands one packet to the decoder.
    ///
    /// # Errors
    ///
    /// A passed limit, the deadline, or [`MediaError::Decode`] when the decoder is strict.
    pub fn send(&mut self, packet: &Packet) -> Result<(), MediaError> {
        self.limits.check_time()?;
        self.packets += 1;
        self.callbacks.expect(packet.data());
        let raw = packet.to_ffmpeg(packet.stream())?;
        self.feed(raw.as_ptr())
    }

    /// Says that no packet follows; the frames still held come out of [`Decoder::receive`].
    ///
    /// # Errors
    ///
    /// As [`Decoder::send`].
    pub fn flush(&mut self) -> Result<(), MediaError> {
        // FFmpeg forgets a packet that still waits in front of the decoder when it learns of the end.
        self.collect()?;
        self.feed(std::ptr::null())?;
        self.collect()?;
        self.ready.extend(self.gap.finish());
        Ok(())
    }

    /// The next frame, or `None` when the decoder wants a packet or, after [`Decoder::flush`], is empty.
    ///
    /// # Errors
    ///
    /// As [`Decoder::send`].
    pub fn receive(&mut self) -> Result<Option<P>, MediaError> {
        if self.ready.is_empty() {
            self.collect()?;
        }
        Ok(self.ready.pop_front())
    }

    /// Packets and frames that did not decode so far.
    pub const fn errors(&self) -> u64 {
        self.errors
    }

    fn feed(&mut self, packet: *const ffi::AVPacket) -> Result<(), MediaError> {
        for _ in 0..2 {
            // SAFETY: the context is an open decoder; the packet is null or alive for this call.
            let status = unsafe { ffi::avcodec_send_packet(self.context.get_mut(), packet) };
            if !sys::is_again(status) {
                return if status < 0 && status != ffi::AVERROR_EOF { self.failed(status) } else { Ok(()) };
            }
            // Full: its frames make room.
            self.collect()?;
        }
        self.failed(ffi::AVERROR_INVALIDDATA)
    }

    /// Moves every frame that is done into `ready`.
    fn collect(&mut self) -> Result<(), MediaError> {
        let mut failures = 0;
        while failures < MAX_FAILURES_IN_A_ROW {
            let mut video = Video::empty();
            // SAFETY: the pointer is used for the next call only.
            let raw = unsafe { video.as_mut_ptr() };
            // SAFETY: the context is an open decoder; the frame is empty and ours.
            let status = unsafe { ffi::avcodec_receive_frame(self.context.get_mut(), raw) };
            if sys::is_again(status) || status == ffi::AVERROR_EOF {
                return Ok(());
            }
            if status < 0 {
                failures += 1;
                self.failed(status)?;
                continue;
            }
            failures = 0;
            self.accept(video)?;
        }
        Err(MediaError::Decode { errors: self.errors, packets: self.packets })
    }

    fn accept(&mut self, video: Video) -> Result<(), MediaError> {
        self.limits.check_frame_size(video.width(), video.height())?;
        self.check_budget(&video)?;
        self.frames += 1;
        check(Limit::Frames, self.frames, self.limits.frames)?;
        self.pixels = self.pixels.saturating_add(u64::from(video.width()) * u64::from(video.height()));
        check(Limit::TotalPixels, self.pixels, self.limits.total_pixels)?;
        let pts = video.pts();
        match P::wrap(video, pts) {
            Some(frame) => {
                let frame = self.upright(frame)?;
                self.ready.extend(self.gap.push(frame));
            }
            None => self.failed(ffi::AVERROR_PATCHWELCOME)?,
        }
        Ok(())
    }

    fn check_budget(&self, video: &Video) -> Result<(), MediaError> {
        // SAFETY: the pointer is only turned into a shared reference that lives as long as `video`.
        let raw = unsafe { video.as_ptr() };
        // SAFETY: an allocated frame, which nobody writes to.
        self.callbacks.budget.check_picture(unsafe { &*raw })
    }

    fn upright(&mut self, frame: P) -> Result<P, MediaError> {
        match &mut self.turner {
            Some(turner) => frame.upright(turner),
            None => Ok(frame),
        }
    }

    fn failed(&mut self, status: i32) -> Result<(), MediaError> {
        self.errors += 1;
        self.callbacks.budget.check()?;
        if GpuDevice::is_to_blame(self.context.get(), status) {
            return Err(sys::device_failure("decode", status));
        }
        if self.strict {
            return Err(MediaError::Decode { errors: self.errors, packets: self.packets });
        }
        Ok(())
    }
}

/// Gives frames without a timestamp a place between their neighbours. Works in presentation order.
struct GapFiller<P> {
    waiting: Vec<P>,
    last: Option<Ticks>,
    step: Ticks,
}

impl<P> Default for GapFiller<P> {
    fn default() -> Self {
        Self { waiting: Vec::new(), last: None, step: 0 }
    }
}

/// Frames without a timestamp that wait for one with it. A source that never gives one is handed out as it is.
const MAX_WAITING: usize = 64;

impl<P: Picture> GapFiller<P> {
    /// Takes the next frame and returns those whose times are now known.
    fn push(&mut self, frame: P) -> Vec<P> {
        let Some(pts) = frame.pts() else {
            self.waiting.push(frame);
            return if self.waiting.len() >= MAX_WAITING { self.finish() } else { Vec::new() };
        };
        let count = self.waiting.len() as Ticks;
        let first = match self.last {
            Some(last) => last,
            None => pts.saturating_sub(self.step.max(1).saturating_mul(count + 1)),
        };
        let distance = pts.saturating_sub(first);
        let mut frames: Vec<P> = std::mem::take(&mut self.waiting)
            .into_iter()
            .zip(1..)
            .map(|(frame, place)| frame.at(first + distance / (count + 1) * place))
            .collect();
        if self.last.is_some() && distance > 0 {
            self.step = distance / (count + 1);
        }
        self.last = Some(pts);
        frames.push(frame);
        frames
    }

    /// What waits, placed after the last known time.
    fn finish(&mut self) -> Vec<P> {
        let waiting = std::mem::take(&mut self.waiting);
        let (Some(last), step) = (self.last, self.step.max(1)) else { return waiting };
        self.last = Some(last.saturating_add(step.saturating_mul(waiting.len() as Ticks)));
        waiting
            .into_iter()
            .zip(1..)
            .map(|(frame, place)| frame.at(last.saturating_add(step * place)))
            .collect()
    }
}

/// All video frames of an input in memory, in presentation order.
pub struct VideoReader {
    demuxer: Demuxer,
    decoder: Decoder,
    stream: usize,
    delivered: u64,
    flushed: bool,
}

impl VideoReader {
    /// Opens an input.
    ///
    /// # Errors
    ///
    /// As [`Demuxer::from_bytes`]; as [`Probe::require_video`] without a video stream.
    pub fn open(data: Bytes, config: &DecoderConfig, limits: &MediaLimits) -> Result<Self, MediaError> {
        let demuxer = Demuxer::from_bytes(data, limits)?;
        let decoder = demuxer.decoder(config)?;
        let stream = demuxer.probe().require_video()?.stream;
        Ok(Self { demuxer, decoder, stream, delivered: 0, flushed: false })
    }

    /// What the input consists of.
    pub fn probe(&self) -> &Probe {
        self.demuxer.probe()
    }

    /// The next frame, or `None` at the end.
    ///
    /// # Errors
    ///
    /// [`MediaError::NoFrames`] or [`MediaError::Decode`] at the end of an input out of which no frame came; a passed
    /// limit; the deadline.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, MediaError> {
        loop {
            if let Some(frame) = self.decoder.receive()? {
                self.delivered += 1;
                return Ok(Some(frame));
            }
            if self.flushed {
                return self.end();
            }
            match self.demuxer.next_packet()? {
                Some(packet) if packet.stream() == self.stream => self.decoder.send(&packet)?,
                Some(_) => {}
                None => {
                    self.flushed = true;
                    self.decoder.flush()?;
                }
            }
        }
    }

    fn end(&self) -> Result<Option<Frame>, MediaError> {
        match (self.delivered, self.decoder.errors) {
            (0, 0) => Err(MediaError::NoFrames),
            (0, errors) => Err(MediaError::Decode { errors, packets: self.decoder.packets }),
            _ => Ok(None),
        }
    }

    /// Packets and frames that did not decode so far.
    pub fn errors(&self) -> u64 {
        self.decoder.errors()
    }
}

impl Iterator for VideoReader {
    type Item = Result<Frame, MediaError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_frame().transpose()
    }
}
