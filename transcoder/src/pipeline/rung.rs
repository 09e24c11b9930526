//! One rendition: frames in, scaled, encoded, muxed with the source's audio, and out in chunks.

use std::sync::{
    Arc,
    mpsc::{Receiver, SyncSender},
};

use bytes::{Bytes, BytesMut};
use framemill_media::{
    Encoder, EncoderConfig, H264Profile, MediaError, MediaLimits, Muxer, OutputFormat, Packet, Picture,
    Rational, Ticks, VideoCodec, time::onto_the_clock,
};
use framemill_network::ladder::{Codec, FrameGate, Gop, LadderEntry, Profile};

use super::{
    Backend,
    source::{AudioTrack, Timing},
};
use crate::{CHUNK_BYTES, RenditionEvent, RenditionSink, RenditionSummary, TranscodeError};

/// What travels from a decoder or a larger rung to a rung. A channel that closes before [`Feed::End`] was aborted, and
/// nothing may be made of the frames so far.
pub(crate) enum Feed<P> {
    Frame(P),
    End,
}

/// What every rung of a job shares.
pub(crate) struct Shared<'b, B> {
    pub(crate) backend: &'b B,
    pub(crate) audio: Arc<[AudioTrack]>,
    pub(crate) timing: Timing,
    /// Shape of a source pixel and size of the source's picture.
    pub(crate) shape: Shape,
    pub(crate) preset: &'static str,
    pub(crate) limits: MediaLimits,
    pub(crate) sink: RenditionSink,
}

/// The picture of the source, as far as it decides the shape of a rendition's pixels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) sample_aspect: Rational,
}

/// One rung at work.
pub(crate) struct Rung<'a, B: Backend> {
    pub(crate) index: u32,
    pub(crate) entry: &'a LadderEntry,
    pub(crate) threads: u32,
    pub(crate) shared: &'a Shared<'a, B>,
    /// Rungs that take this one's scaled frames.
    pub(crate) children: Vec<SyncSender<Feed<B::Picture>>>,
}

impl<B: Backend> Rung<'_, B> {
    /// Makes the whole rendition.
    pub(crate) fn run(self, feed: &Receiver<Feed<B::Picture>>) -> Result<RenditionSummary, TranscodeError> {
        let limits = &self.shared.limits;
        let mut gate = FrameGate::new(self.entry.fps);
        let backend = self.shared.backend;
        let mut scaler =
            backend.scaler(self.index, (self.entry.width, self.entry.height), limits).map_err(ours)?;
        let mut output: Option<Output<'_, B::Picture>> = None;
        loop {
            limits.check_time()?;
            let frame = match feed.recv() {
                Ok(Feed::Frame(frame)) => frame,
                Ok(Feed::End) => break,
                Err(_) => return Err(TranscodeError::Cancelled),
            };
            let pts = frame.pts().ok_or_else(untimed)?;
            if !gate.keep(pts) {
                continue;
            }
            let scaled = B::scale(&mut scaler, &frame).map_err(ours)?;
            drop(frame);
            for child in &self.children {
                child.send(Feed::Frame(scaled.clone())).map_err(|_| TranscodeError::Cancelled)?;
            }
            let output = match &mut output {
                Some(output) => output,
                None => output.insert(self.open(&scaled)?),
            };
            output.encode(&scaled)?;
            backend.encoded();
        }
        for child in &self.children {
            child.send(Feed::End).map_err(|_| TranscodeError::Cancelled)?;
        }
        let output = output.ok_or(MediaError::NoFrames)?;
        let (summary, encoder) = output.finish(self.entry.pixels_per_frame())?;
        backend.keep(self.index, scaler, encoder);
        Ok(summary)
    }

    fn open(&self, first: &B::Picture) -> Result<Output<'_, B::Picture>, TranscodeError> {
        let config = self.encoder_config(first);
        let format = OutputFormat::for_codec(&config.codec);
        let encoder = self.shared.backend.encoder(self.index, &config, first).map_err(ours)?;
        let mut builder = Muxer::builder(format).in_pieces();
        let video = builder.add_stream(encoder.parameters()).map_err(ours)?;
        let mut audio = Vec::with_capacity(self.shared.audio.len());
        for track in self.shared.audio.iter() {
            audio.push(AudioCursor { stream: builder.add_stream(&track.parameters)?, rest: &track.packets });
        }
        Ok(Output {
            index: self.index,
            encoder,
            muxer: builder.start().map_err(muxed)?,
            video,
            audio,
            shift: self.shift(format, first),
            pending: BytesMut::new(),
            frames: 0,
            bytes: 0,
            sink: &self.shared.sink,
        })
    }

    /// By how much all times are moved: nothing where the container's clock wraps by itself.
    fn shift(&self, format: OutputFormat, first: &B::Picture) -> Ticks {
        let heard = self.shared.audio.iter().flat_map(|track| &track.packets).filter_map(Packet::pts);
        match (format, heard.chain(first.pts()).min()) {
            (OutputFormat::FragmentedMp4, Some(first)) => onto_the_clock(first),
            _ => 0,
        }
    }

    fn encoder_config(&self, first: &B::Picture) -> EncoderConfig {
        let timing = self.shared.timing;
        let frame_rate = lower_rate(timing.rate, self.entry);
        // An encoder that stays open has to suit the longest segment that may come.
        let frames = if B::KEEPS_ENCODERS { self.shared.limits.frames } else { timing.frames };
        EncoderConfig {
            codec: media_codec(self.entry.codec),
            variable_frame_rate: timing.variable,
            gop: gop(self.entry.gop, frame_rate, frames),
            profile: profile(self.entry.profile),
            preset: self.shared.preset,
            threads: self.threads,
            color: first.color(),
            sample_aspect: self.shared.shape.aspect_at(self.entry.width, self.entry.height),
            ..EncoderConfig::h264(self.entry.width, self.entry.height, self.entry.bitrate.into(), frame_rate)
        }
    }
}

/// The encoding and muxing half of a rung; exists from the first frame on.
struct Output<'a, P> {
    index: u32,
    encoder: Encoder<P>,
    muxer: Muxer,
    video: usize,
    audio: Vec<AudioCursor<'a>>,
    shift: Ticks,
    pending: BytesMut,
    frames: u64,
    bytes: u64,
    sink: &'a RenditionSink,
}

/// Audio packets of one track that are not written yet.
struct AudioCursor<'a> {
    stream: usize,
    rest: &'a [Packet],
}

impl<'a> AudioCursor<'a> {
    /// The packets that decode no later than `until`.
    fn take_until(&mut self, until: Ticks) -> &'a [Packet] {
        let due = self.rest.partition_point(|packet| packet.dts().is_none_or(|dts| dts <= until));
        let (due, rest) = self.rest.split_at(due);
        self.rest = rest;
        due
    }
}

impl<P: Picture> Output<'_, P> {
    fn encode(&mut self, frame: &P) -> Result<(), TranscodeError> {
        // Said of the first frame because an encoder that was kept does not know that it is one.
        let sent = if self.frames == 0 { self.encoder.send_key(frame) } else { self.encoder.send(frame) };
        sent.map_err(ours)?;
        self.frames += 1;
        self.drain_encoder()
    }

    fn finish(mut self, pixels_per_frame: u64) -> Result<(RenditionSummary, Encoder<P>), TranscodeError> {
        self.encoder.flush().map_err(ours)?;
        self.drain_encoder()?;
        self.write_audio(Ticks::MAX)?;
        let rest = self.muxer.finish().map_err(muxed)?;
        self.pending.extend_from_slice(&rest);
        let pending = self.pending.split().freeze();
        self.bytes += send(self.sink, self.index, pending)?;
        let pixels = self.frames.saturating_mul(pixels_per_frame);
        let summary = RenditionSummary { frames: self.frames, pixels, bytes: self.bytes };
        self.sink.send(RenditionEvent::End { index: self.index, summary })?;
        Ok((summary, self.encoder))
    }

    fn drain_encoder(&mut self) -> Result<(), TranscodeError> {
        while let Some(packet) = self.encoder.receive().map_err(ours)? {
            if let Some(dts) = packet.dts() {
                self.write_audio(dts)?;
            }
            self.muxer.write(self.video, &packet.shifted(self.shift)).map_err(muxed)?;
            self.pending.extend_from_slice(&self.muxer.drain());
            while self.pending.len() >= CHUNK_BYTES {
                let chunk = self.pending.split_to(CHUNK_BYTES).freeze();
                self.bytes += send(self.sink, self.index, chunk)?;
            }
        }
        Ok(())
    }

    fn write_audio(&mut self, until: Ticks) -> Result<(), TranscodeError> {
        for cursor in &mut self.audio {
            for packet in cursor.take_until(until) {
                self.muxer.write(cursor.stream, &packet.shifted(self.shift))?;
            }
        }
        Ok(())
    }
}

fn send(sink: &RenditionSink, index: u32, data: Bytes) -> Result<u64, TranscodeError> {
    let bytes = data.len() as u64;
    if bytes > 0 {
        sink.send(RenditionEvent::Chunk { index, data })?;
    }
    Ok(bytes)
}

impl Shape {
    /// Shape of a pixel at another size, so that the picture keeps its shape. Square pixels stay square: a rung's
    /// rounding to even sides is not worth an odd aspect ratio.
    fn aspect_at(self, width: u32, height: u32) -> Rational {
        let aspect = self.sample_aspect;
        if aspect.is_zero() || aspect.num == aspect.den {
            return Rational::new(1, 1);
        }
        let num = u128::from(aspect.num) * u128::from(self.width) * u128::from(height);
        let den = u128::from(aspect.den) * u128::from(self.height) * u128::from(width);
        let common = gcd(num, den).max(1);
        let (num, den) = (num / common, den / common);
        // Fractions that 16 bits cannot carry (the limit of H.264's headers) lose their last bits.
        let shift = 128_u32.saturating_sub(num.max(den).leading_zeros()).saturating_sub(16);
        let part = |value: u128| u32::try_from(value >> shift).unwrap_or(u32::MAX).max(1);
        Rational::new(part(num), part(den))
    }
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The rung's rate where it is below the source's, else the source's.
fn lower_rate(source: Rational, entry: &LadderEntry) -> Rational {
    let asked = Rational::new(entry.fps.num(), entry.fps.den());
    let below = u64::from(asked.num) * u64::from(source.den) < u64::from(source.num) * u64::from(asked.den);
    if !asked.is_zero() && below { asked } else { source }
}

/// Largest distance of keyframes in frames.
fn gop(gop: Gop, rate: Rational, frames: u64) -> u32 {
    let frames = u32::try_from(frames).unwrap_or(u32::MAX).max(1);
    match gop {
        Gop::Intra => 1,
        Gop::Millis(millis) => {
            let thousandths = u64::from(millis) * u64::from(rate.num) / u64::from(rate.den);
            u32::try_from(thousandths / 1_000).unwrap_or(u32::MAX).clamp(1, frames)
        }
        _ => frames,
    }
}

fn profile(profile: Profile) -> Option<H264Profile> {
    match profile {
        Profile::Baseline => Some(H264Profile::Baseline),
        Profile::Main => Some(H264Profile::Main),
        Profile::High => Some(H264Profile::High),
        _ => None,
    }
}

/// The encoder of a rung's codec.
pub(crate) fn media_codec(codec: Codec) -> VideoCodec {
    match codec {
        Codec::H264 => VideoCodec::H264,
        Codec::Hevc => VideoCodec::Hevc,
        Codec::Av1 => VideoCodec::Av1,
        other => VideoCodec::Other(other.to_string()),
    }
}

pub(crate) fn untimed() -> TranscodeError {
    let reason = "a frame has no presentation time".to_owned();
    TranscodeError::BadMedia(MediaError::Timestamps { stream: 0, reason })
}

/// An error of muxing: a packet that is damaged is one of the source's sound, which may have waited for our picture; so are headers.
fn muxed(error: MediaError) -> TranscodeError {
    match error {
        MediaError::Truncated { .. } => TranscodeError::BadMedia(error),
        error => ours(error),
    }
}

/// An error of scaling, encoding or muxing our own output: never the source's fault.
fn ours(error: MediaError) -> TranscodeError {
    match error {
        MediaError::Cancelled => TranscodeError::Cancelled,
        MediaError::DeadlineExceeded => TranscodeError::DeadlineExceeded,
        error => TranscodeError::Engine(error),
    }
}
