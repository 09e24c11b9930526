//! AAC out of samples, for synthetic clips.

use std::collections::VecDeque;
use std::ptr;

use ffmpeg_next::ffi::{self, AVRational};
use ffmpeg_next::format::Sample;
use ffmpeg_next::format::sample::Type;
use ffmpeg_next::frame::Audio;
use ffmpeg_next::{ChannelLayout, Dictionary, codec};

use crate::context::CodecContext;
use crate::error::MediaError;
use crate::packet::{Packet, StreamParameters};
use crate::sys;

/// Bits per second of one channel.
const BITRATE_PER_CHANNEL: i64 = 64_000;

/// Encodes planar samples to AAC.
pub(crate) struct AacEncoder {
    context: CodecContext,
    parameters: StreamParameters,
    layout: ChannelLayout,
    samples: i64,
    ready: VecDeque<Packet>,
}

impl AacEncoder {
    pub(crate) fn new(sample_rate: u32, channels: u32) -> Result<Self, MediaError> {
        sys::init();
        let codec = codec::encoder::find(codec::Id::AAC).ok_or_else(|| MediaError::UnsupportedCodec {
            codec: "aac".into(),
            used: "encoded by this ffmpeg",
        })?;
        let refused = || MediaError::InvalidSetting {
            setting: "audio format",
            value: format!("{sample_rate} Hz with {channels} channels"),
            hint: "give a sample rate of AAC and 1 or 2 channels",
        };
        let count =
            i32::try_from(channels).ok().filter(|count| (1..=2).contains(count)).ok_or_else(refused)?;
        let rate = i32::try_from(sample_rate).map_err(|_| refused())?;
        let mut context = CodecContext::new(codec);
        let raw = context.get_mut();
        raw.sample_rate = rate;
        raw.time_base = AVRational { num: 1, den: rate };
        raw.sample_fmt = ffi::AVSampleFormat::AV_SAMPLE_FMT_FLTP;
        raw.bit_rate = BITRATE_PER_CHANNEL * i64::from(count);
        // SAFETY: writes the default layout of one or two channels into the context's own field.
        unsafe { ffi::av_channel_layout_default(&raw mut raw.ch_layout, count) };
        if context.open(Dictionary::new()) < 0 {
            return Err(refused());
        }
        let parameters = StreamParameters::filled("describe the encoded audio", |destination| {
            // SAFETY: the context is open; the destination is fresh and exclusively ours.
            unsafe { ffi::avcodec_parameters_from_context(destination, context.get()) }
        })?;
        let layout = ChannelLayout::default(count);
        Ok(Self { context, parameters, layout, samples: 0, ready: VecDeque::new() })
    }

    pub(crate) fn parameters(&self) -> &StreamParameters {
        &self.parameters
    }

    /// Encodes one frame of samples; `sample` gives the value of each by its number since the start.
    pub(crate) fn push(&mut self, sample: impl Fn(i64) -> f32) -> Result<(), MediaError> {
        let size = self.context.get().frame_size;
        let length = usize::try_from(size).unwrap_or(0);
        let mut frame = Audio::new(Sample::F32(Type::Planar), length, self.layout);
        for plane in 0..frame.planes() {
            for (target, number) in frame.plane_mut::<f32>(plane).iter_mut().zip(self.samples..) {
                *target = sample(number);
            }
        }
        // The encoder starts one frame early to prime itself; placed so, its first packet lies at zero.
        frame.set_pts(Some(self.samples + i64::from(self.context.get().initial_padding)));
        frame.set_rate(u32::try_from(self.context.get().sample_rate).unwrap_or(0));
        self.samples += i64::from(size);
        // SAFETY: the pointer is used while `frame` is alive.
        let raw = unsafe { frame.as_ptr() };
        sys::check("encode audio", self.context.send_frame(raw))?;
        self.collect()
    }

    pub(crate) fn flush(&mut self) -> Result<(), MediaError> {
        sys::check("finish encoding audio", self.context.send_frame(ptr::null()))?;
        self.collect()
    }

    pub(crate) fn receive(&mut self) -> Option<Packet> {
        self.ready.pop_front()
    }

    fn collect(&mut self) -> Result<(), MediaError> {
        let base = self.context.get().time_base;
        while let Some(packet) = self.context.receive_packet()? {
            self.ready.push_back(Packet::new(packet, 0, base));
        }
        Ok(())
    }
}
