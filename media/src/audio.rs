//! AAC out of samples.

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
        Ok(Self { context, parameters, layout, ready: VecDeque::new() })
    }

    pub(crate) fn parameters(&self) -> &StreamParameters {
        &self.parameters
    }

    /// Samples of one frame, per channel.
    pub(crate) fn frame_samples(&self) -> usize {
        usize::try_from(self.context.get().frame_size).unwrap_or(0)
    }

    /// Samples by which the first packet lies before the first frame: the encoder primes itself.
    pub(crate) fn padding(&self) -> i64 {
        i64::from(self.context.get().initial_padding)
    }

    /// Encodes one frame of samples that is heard from sample `start` on; `fill` writes those of one channel.
    pub(crate) fn push(
        &mut self,
        start: i64,
        mut fill: impl FnMut(usize, &mut [f32]),
    ) -> Result<(), MediaError> {
        let mut frame = Audio::new(Sample::F32(Type::Planar), self.frame_samples(), self.layout);
        for channel in 0..frame.planes() {
            fill(channel, frame.plane_mut::<f32>(channel));
        }
        frame.set_pts(Some(start));
        frame.set_rate(u32::try_from(self.context.get().sample_rate).unwrap_or(0));
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
