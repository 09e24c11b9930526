//! Audio that no segment can carry, made into AAC on the way in: in one run over the whole stream, so that segments join.

use std::collections::VecDeque;
use std::ptr;

use ffmpeg_next::codec::packet::Ref as _;
use ffmpeg_next::ffi::{self, AVCodecID, AVSampleFormat, SwrContext};
use ffmpeg_next::frame::Audio;
use ffmpeg_next::{Dictionary, codec};

use crate::audio::AacEncoder;
use crate::codec::{AudioCodec, codec_name};
use crate::context::CodecContext;
use crate::error::MediaError;
use crate::limits::MediaLimits;
use crate::packet::{Packet, StreamParameters, TICK_BASE};
use crate::probe::AudioInfo;
use crate::sys;
use crate::time::{TICKS_PER_SECOND, Ticks};

/// Sample rates of AAC that every player knows.
const RATES: [u32; 9] = [48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000];
/// What audio of any other rate becomes.
const USUAL_RATE: u32 = 48_000;
/// What audio of more channels is mixed down to: two is what every player has.
const MAX_CHANNELS: u32 = 2;
/// Packets in a row that do not decode, after which the track is given up.
const MAX_FAILURES: u32 = 256;

/// Decodes one audio stream and encodes it as AAC on the same clock.
pub(crate) struct AudioConverter {
    info: AudioInfo,
    decoder: CodecContext,
    resampler: Resampler,
    encoder: AacEncoder,
    timeline: Timeline,
    limits: MediaLimits,
    failures: u32,
    ready: VecDeque<Packet>,
}

/// Whether a codec is decoded to be made into AAC: a short list, since decoders meet strangers' bytes.
fn is_convertible(id: AVCodecID) -> bool {
    use AVCodecID as C;
    matches!(
        id,
        C::AV_CODEC_ID_PCM_U8
            | C::AV_CODEC_ID_PCM_S8
            | C::AV_CODEC_ID_PCM_S16LE
            | C::AV_CODEC_ID_PCM_S16BE
            | C::AV_CODEC_ID_PCM_S24LE
            | C::AV_CODEC_ID_PCM_S24BE
            | C::AV_CODEC_ID_PCM_S32LE
            | C::AV_CODEC_ID_PCM_S32BE
            | C::AV_CODEC_ID_PCM_F32LE
            | C::AV_CODEC_ID_PCM_F32BE
            | C::AV_CODEC_ID_PCM_MULAW
            | C::AV_CODEC_ID_PCM_ALAW
            | C::AV_CODEC_ID_S302M
            | C::AV_CODEC_ID_AAC_LATM
            | C::AV_CODEC_ID_VORBIS
            | C::AV_CODEC_ID_FLAC
            | C::AV_CODEC_ID_ALAC
    )
}

impl AudioConverter {
    /// A converter for a stream that FFmpeg describes so.
    ///
    /// # Errors
    ///
    /// [`MediaError::UnsupportedCodec`] for a codec that is not decoded either.
    pub(crate) fn new(
        source: &AudioInfo,
        parameters: &StreamParameters,
        limits: &MediaLimits,
    ) -> Result<Self, MediaError> {
        sys::init();
        let id = parameters.get().codec_id;
        let unsupported =
            || MediaError::UnsupportedCodec { codec: codec_name(id), used: "carried or converted to aac" };
        let found = is_convertible(id).then(|| codec::decoder::find(id.into())).flatten();
        let mut decoder = CodecContext::new(found.ok_or_else(unsupported)?);
        // SAFETY: both are initialised and of the same kind of stream.
        let status = unsafe { ffi::avcodec_parameters_to_context(decoder.get_mut(), parameters.get()) };
        sys::check("take over stream parameters", status)?;
        decoder.get_mut().pkt_timebase = TICK_BASE;
        if decoder.open(Dictionary::new()) < 0 {
            return Err(unsupported());
        }
        let sample_rate = if RATES.contains(&source.sample_rate) { source.sample_rate } else { USUAL_RATE };
        let channels = source.channels.min(MAX_CHANNELS);
        let info = AudioInfo { codec: AudioCodec::Aac, sample_rate, channels, ..source.clone() };
        Ok(Self {
            resampler: Resampler::new(sample_rate, channels)?,
            encoder: AacEncoder::new(sample_rate, channels)?,
            timeline: Timeline::new(sample_rate, channels),
            info,
            decoder,
            limits: limits.clone(),
            failures: 0,
            ready: VecDeque::new(),
        })
    }

    /// What comes out.
    pub(crate) fn info(&self) -> &AudioInfo {
        &self.info
    }

    /// Parameters of what comes out.
    pub(crate) fn parameters(&self) -> &StreamParameters {
        self.encoder.parameters()
    }

    /// Takes a packet of the source. One that does not decode is passed over, as a player would.
    pub(crate) fn push(&mut self, packet: &Packet) -> Result<(), MediaError> {
        self.limits.check_time()?;
        let raw = packet.to_ffmpeg(packet.stream())?;
        self.feed(raw.as_ptr())
    }

    /// Says that no packet follows.
    pub(crate) fn finish(&mut self) -> Result<(), MediaError> {
        self.feed(ptr::null())?;
        self.timeline.pad(self.encoder.frame_samples());
        self.encode()?;
        self.encoder.flush()?;
        self.collect();
        Ok(())
    }

    /// The next packet of AAC.
    pub(crate) fn receive(&mut self) -> Option<Packet> {
        self.ready.pop_front()
    }

    /// Every frame of the decoder is taken after every packet, so it always has room for the next.
    fn feed(&mut self, packet: *const ffi::AVPacket) -> Result<(), MediaError> {
        // SAFETY: the context is an open decoder; the packet is null or alive for this call.
        let status = unsafe { ffi::avcodec_send_packet(self.decoder.get_mut(), packet) };
        if status < 0 {
            return self.failed();
        }
        loop {
            let mut frame = Audio::empty();
            // SAFETY: the pointer is used for the next call only.
            let raw = unsafe { frame.as_mut_ptr() };
            // SAFETY: the context is an open decoder; the frame is empty and ours.
            let status = unsafe { ffi::avcodec_receive_frame(self.decoder.get_mut(), raw) };
            if sys::is_again(status) || status == ffi::AVERROR_EOF {
                return Ok(());
            }
            if status < 0 {
                return self.failed();
            }
            self.failures = 0;
            self.accept(frame)?;
        }
    }

    fn failed(&mut self) -> Result<(), MediaError> {
        self.failures += 1;
        if self.failures < MAX_FAILURES {
            return Ok(());
        }
        Err(MediaError::Decode { errors: self.failures.into(), packets: self.failures.into() })
    }

    fn accept(&mut self, mut frame: Audio) -> Result<(), MediaError> {
        let held = self.resampler.held();
        let at = frame.pts().map(|pts| self.timeline.sample_at(pts).saturating_sub(held));
        let samples = self.resampler.run(&mut frame)?;
        let planes: Vec<&[f32]> = (0..samples.planes()).map(|plane| samples.plane::<f32>(plane)).collect();
        self.timeline.add(at, &planes);
        self.encode()
    }

    fn encode(&mut self) -> Result<(), MediaError> {
        while let Some(start) = self.timeline.has(self.encoder.frame_samples()) {
            let timeline = &mut self.timeline;
            self.encoder.push(start, |channel, samples| timeline.take(channel, samples))?;
            self.timeline.advance(self.encoder.frame_samples());
            self.collect();
        }
        Ok(())
    }

    /// Takes what the encoder has made, without the packets in which it primes itself.
    fn collect(&mut self) {
        let first = self.timeline.first_tick();
        while let Some(packet) = self.encoder.receive() {
            if packet.pts().is_some_and(|pts| pts >= first) {
                self.ready.push_back(packet.of_stream(self.info.stream));
            }
        }
    }
}

/// Planar floats of one rate and layout out of whatever the decoder makes.
struct Resampler {
    context: *mut SwrContext,
    sample_rate: u32,
    channels: i32,
}

// SAFETY: the context is owned and used through `&mut self` only; swresample keeps no thread state.
unsafe impl Send for Resampler {}

impl Resampler {
    fn new(sample_rate: u32, channels: u32) -> Result<Self, MediaError> {
        // SAFETY: allocates; null is checked.
        let context = unsafe { ffi::swr_alloc() };
        if context.is_null() {
            return Err(sys::failure("allocate a resampler", ffi::AVERROR(ffi::ENOMEM)));
        }
        let channels = i32::try_from(channels).unwrap_or(0);
        Ok(Self { context, sample_rate, channels })
    }

    /// Samples inside, at the rate of the output.
    fn held(&self) -> i64 {
        // SAFETY: an allocated context; one that is not configured yet holds nothing.
        if unsafe { ffi::swr_is_initialized(self.context) } == 0 {
            return 0;
        }
        // SAFETY: a configured context.
        unsafe { ffi::swr_get_delay(self.context, i64::from(self.sample_rate)) }
    }

    fn run(&mut self, frame: &mut Audio) -> Result<Audio, MediaError> {
        // SAFETY: the pointer is used for the next lines only.
        let source = unsafe { frame.as_mut_ptr() };
        // SAFETY: a decoded frame that is ours alone.
        let source = unsafe { &mut *source };
        if source.ch_layout.order == ffi::AVChannelOrder::AV_CHANNEL_ORDER_UNSPEC {
            let channels = source.ch_layout.nb_channels;
            // SAFETY: writes the usual layout of so many channels into the frame's own field.
            unsafe { ffi::av_channel_layout_default(&raw mut source.ch_layout, channels) };
        }
        match self.convert(source) {
            Err(ffi::AVERROR_INPUT_CHANGED) => {
                // The source changed its rate or layout; what is inside is a fraction of a millisecond.
                // SAFETY: closes a context that the next conversion configures anew.
                unsafe { ffi::swr_close(self.context) };
                self.convert(source).map_err(|status| sys::failure("resample audio", status))
            }
            outcome => outcome.map_err(|status| sys::failure("resample audio", status)),
        }
    }

    /// Configures itself by the two frames where it is not configured.
    fn convert(&mut self, source: &ffi::AVFrame) -> Result<Audio, i32> {
        let mut made = Audio::empty();
        // SAFETY: the pointer is used for the next lines only.
        let target = unsafe { made.as_mut_ptr() };
        // SAFETY: an empty frame that is ours alone.
        let target = unsafe { &mut *target };
        target.format = AVSampleFormat::AV_SAMPLE_FMT_FLTP as i32;
        target.sample_rate = i32::try_from(self.sample_rate).unwrap_or(0);
        // SAFETY: writes the usual layout of one or two channels into the frame's own field.
        unsafe { ffi::av_channel_layout_default(&raw mut target.ch_layout, self.channels) };
        // SAFETY: both frames are valid; the target has no buffer and gets one that fits.
        let status = unsafe { ffi::swr_convert_frame(self.context, target, source) };
        if status < 0 { Err(status) } else { Ok(made) }
    }
}

impl Drop for Resampler {
    fn drop(&mut self) {
        // SAFETY: the context is ours and not used after this.
        unsafe { ffi::swr_free(&raw mut self.context) };
    }
}

/// Samples on their way into the encoder, on the clock of the source.
struct Timeline {
    sample_rate: i64,
    channels: Vec<VecDeque<f32>>,
    /// Place of the first queued sample; `None` before there was any.
    start: Option<i64>,
    /// Where the run of samples without a break began.
    origin: i64,
}

/// A timestamp may be off by a tenth of a second before samples are put in or left out for it: timestamps are rounded to
/// milliseconds and jitter, samples do not.
const SLACK_PER_SECOND: i64 = 10;
/// A hole up to this many seconds is filled with silence; beyond, the clock was set anew.
const MAX_SILENCE: i64 = 10;

impl Timeline {
    fn new(sample_rate: u32, channels: u32) -> Self {
        let channels = (0..channels).map(|_| VecDeque::new()).collect();
        Self { sample_rate: sample_rate.into(), channels, start: None, origin: 0 }
    }

    /// The sample that is heard at a time.
    fn sample_at(&self, time: Ticks) -> i64 {
        let half = i128::from(TICKS_PER_SECOND / 2);
        let sample =
            (i128::from(time) * i128::from(self.sample_rate) + half).div_euclid(i128::from(TICKS_PER_SECOND));
        i64::try_from(sample).unwrap_or(i64::MAX)
    }

    /// When the unbroken run began, not later than its first packet.
    fn first_tick(&self) -> Ticks {
        let ticks = i128::from(self.origin) * i128::from(TICKS_PER_SECOND);
        Ticks::try_from(ticks.div_euclid(i128::from(self.sample_rate))).unwrap_or(Ticks::MAX)
    }

    fn queued(&self) -> usize {
        self.channels.first().map_or(0, VecDeque::len)
    }

    /// Adds samples that are heard from sample `at` on, or right behind the others.
    fn add(&mut self, at: Option<i64>, planes: &[&[f32]]) {
        let end = self.start.map(|start| start + self.queued() as i64);
        let at = at.or(end).unwrap_or(0);
        let ahead = end.map_or(i64::MAX, |end| at.saturating_sub(end));
        let mut skipped = 0;
        if ahead.saturating_abs() > MAX_SILENCE * self.sample_rate {
            self.restart(at);
        } else if ahead > self.sample_rate / SLACK_PER_SECOND {
            let wanted = self.queued() + usize::try_from(ahead).unwrap_or(0);
            self.channels.iter_mut().for_each(|channel| channel.resize(wanted, 0.0));
        } else if -ahead > self.sample_rate / SLACK_PER_SECOND {
            skipped = usize::try_from(-ahead).unwrap_or(0);
        }
        for (channel, plane) in self.channels.iter_mut().zip(planes) {
            channel.extend(plane.iter().skip(skipped));
        }
    }

    fn restart(&mut self, at: i64) {
        self.channels.iter_mut().for_each(VecDeque::clear);
        self.start = Some(at);
        self.origin = at;
    }

    /// Where the next frame of so many samples starts, when it is complete.
    fn has(&self, samples: usize) -> Option<i64> {
        self.start.filter(|_| samples > 0 && self.queued() >= samples)
    }

    /// Copies the first samples of a channel.
    fn take(&mut self, channel: usize, samples: &mut [f32]) {
        if let Some(queue) = self.channels.get_mut(channel) {
            let taken = queue.drain(..samples.len().min(queue.len()));
            samples.iter_mut().zip(taken).for_each(|(to, from)| *to = from);
        }
    }

    /// Goes on behind samples that were taken from every channel.
    fn advance(&mut self, samples: usize) {
        self.start = self.start.map(|start| start + samples as i64);
    }

    /// Completes the last frame of so many samples with silence.
    fn pad(&mut self, frame: usize) {
        let wanted = self.queued().next_multiple_of(frame.max(1));
        self.channels.iter_mut().for_each(|channel| channel.resize(wanted, 0.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline() -> Timeline {
        Timeline::new(48_000, 1)
    }

    #[test]
    fn samples_whose_time_jitters_are_neither_stretched_nor_cut() {
        let mut timeline = timeline();
        timeline.add(Some(1_000), &[&[1.0; 960]]);
        timeline.add(Some(1_990), &[&[1.0; 960]]);
        assert_eq!((timeline.start, timeline.queued()), (Some(1_000), 1_920));
    }

    #[test]
    fn a_hole_is_filled_with_silence() {
        let mut timeline = timeline();
        timeline.add(Some(0), &[&[1.0; 100]]);
        timeline.add(Some(48_000), &[&[1.0; 100]]);
        assert_eq!(timeline.queued(), 48_100);
        assert_eq!(timeline.channels[0].iter().filter(|&&sample| sample == 0.0).count(), 47_900);
    }

    #[test]
    fn what_was_heard_already_is_left_out() {
        let mut timeline = timeline();
        timeline.add(Some(0), &[&[1.0; 48_000]]);
        timeline.add(Some(24_000), &[&[1.0; 48_000]]);
        assert_eq!(timeline.queued(), 72_000);
    }

    #[test]
    fn a_clock_that_was_set_anew_starts_a_new_run() {
        let mut timeline = timeline();
        timeline.add(Some(0), &[&[1.0; 100]]);
        timeline.add(Some(48_000 * 3_600), &[&[1.0; 100]]);
        assert_eq!((timeline.start, timeline.queued()), (Some(48_000 * 3_600), 100));
        assert_eq!(timeline.first_tick(), 3_600 * TICKS_PER_SECOND);
    }

    #[test]
    fn the_last_frame_is_completed_with_silence() {
        let mut timeline = timeline();
        timeline.add(Some(0), &[&[1.0; 1_100]]);
        timeline.pad(1_024);
        assert_eq!(timeline.queued(), 2_048);
    }

    #[test]
    fn samples_without_a_time_follow_the_others() {
        let mut timeline = timeline();
        timeline.add(Some(500), &[&[1.0; 100]]);
        timeline.add(None, &[&[1.0; 100]]);
        assert_eq!((timeline.start, timeline.queued()), (Some(500), 200));
    }
}
