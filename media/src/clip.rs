//! Synthetic clips for demos, tests and capacity measurement.

use bytes::{Bytes, BytesMut};

use crate::audio::AacEncoder;
use crate::codec::OutputFormat;
use crate::encode::{Encoder, EncoderConfig};
use crate::error::{Limit, MediaError};
use crate::frame::Frame;
use crate::limits::{MediaLimits, check};
use crate::mux::{Muxer, MuxerBuilder};
use crate::picture::Painter;
use crate::time::{Rational, TICKS_PER_SECOND, Ticks};

/// What moves in a synthetic clip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pattern {
    /// Moving shapes on a drifting gradient with some grain: compresses about like filmed material.
    #[default]
    Motion,
    /// One black picture.
    Black,
}

/// A synthetic clip.
#[derive(Clone, Debug)]
pub struct ClipSpec {
    /// Width; must be even.
    pub width: u32,
    /// Height; must be even.
    pub height: u32,
    /// Frame rate.
    pub frame_rate: Rational,
    /// Length.
    pub duration: Ticks,
    /// Average bits per second of the video.
    pub bitrate: u64,
    /// Distance of keyframes in frames; zero for one keyframe at the start only.
    pub gop: u32,
    /// B-frames in a row.
    pub b_frames: u32,
    /// Presentation time of the first frame.
    pub start_pts: Ticks,
    /// What is seen.
    pub pattern: Pattern,
    /// Changes the picture, so that two clips of one shape differ.
    pub seed: u64,
    /// What is heard; `None` for a clip without sound.
    pub audio: Option<ClipAudio>,
    /// The container.
    pub format: OutputFormat,
}

/// The sound of a synthetic clip: a tone with a beep each second, AAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClipAudio {
    /// Samples per second.
    pub sample_rate: u32,
    /// Channels: 1 or 2.
    pub channels: u32,
    /// Number of equal tracks.
    pub tracks: u32,
}

impl Default for ClipAudio {
    fn default() -> Self {
        Self { sample_rate: 48_000, channels: 2, tracks: 1 }
    }
}

impl ClipSpec {
    /// A clip of this size, rate and length in whole seconds, with sound, a keyframe each second and two B-frames.
    pub fn new(width: u32, height: u32, frame_rate: Rational, seconds: u32) -> Self {
        Self {
            width,
            height,
            frame_rate,
            duration: Ticks::from(seconds) * TICKS_PER_SECOND,
            bitrate: 2_000_000,
            gop: frame_rate.num.div_ceil(frame_rate.den),
            b_frames: 2,
            start_pts: 0,
            pattern: Pattern::default(),
            seed: 0,
            audio: Some(ClipAudio::default()),
            format: OutputFormat::MpegTs,
        }
    }

    fn encoder(&self) -> EncoderConfig {
        let config = EncoderConfig::h264(self.width, self.height, self.bitrate, self.frame_rate);
        EncoderConfig {
            gop: if self.gop == 0 { u32::MAX } else { self.gop },
            b_frames: Some(self.b_frames),
            global_header: self.format == OutputFormat::FragmentedMp4,
            ..config
        }
    }

    /// Presentation time of frame `number`.
    fn frame_pts(&self, number: u64) -> Ticks {
        let Rational { num, den } = self.frame_rate;
        let ticks = u128::from(number) * u128::from(den) * TICKS_PER_SECOND as u128 / u128::from(num.max(1));
        self.start_pts.saturating_add(Ticks::try_from(ticks).unwrap_or(Ticks::MAX))
    }
}

/// Makes a synthetic clip: the same picture and sound for the same spec. The bytes may differ by what the encoder does.
///
/// # Errors
///
/// [`MediaError::InvalidSetting`] for a spec that cannot be encoded, a passed limit, or the deadline.
pub fn generate_clip(spec: &ClipSpec, limits: &MediaLimits) -> Result<Bytes, MediaError> {
    limits.check_frame_size(spec.width, spec.height)?;
    check(Limit::Duration, spec.duration.unsigned_abs(), limits.duration.unsigned_abs())?;
    let mut maker = ClipMaker::new(spec, limits)?;
    let end = spec.start_pts.saturating_add(spec.duration);
    for number in 0.. {
        let pts = spec.frame_pts(number);
        if pts >= end {
            break;
        }
        check(Limit::Frames, number + 1, limits.frames)?;
        limits.check_time()?;
        maker.add_sound_until(pts)?;
        maker.add_frame(number, pts)?;
    }
    maker.finish(end)
}

struct ClipMaker<'a> {
    spec: &'a ClipSpec,
    limits: &'a MediaLimits,
    painter: Painter,
    video: Encoder,
    sound: Option<Sound>,
    muxer: Muxer,
    bytes: BytesMut,
}

/// The sound of a clip: encoded once, written to every track.
struct Sound {
    encoder: AacEncoder,
    format: ClipAudio,
    tracks: Vec<usize>,
    samples: i64,
    end: Ticks,
}

impl<'a> ClipMaker<'a> {
    fn new(spec: &'a ClipSpec, limits: &'a MediaLimits) -> Result<Self, MediaError> {
        let video = Encoder::new(&spec.encoder())?;
        let mut builder = Muxer::builder(spec.format);
        builder.add_stream(video.parameters())?;
        let sound = spec.audio.map(|format| Sound::new(format, spec.start_pts, &mut builder)).transpose()?;
        let (width, height) = (spec.width as usize, spec.height as usize);
        let painter = Painter::new(width, height, spec.pattern, spec.seed);
        Ok(Self { spec, limits, painter, video, sound, muxer: builder.start()?, bytes: BytesMut::new() })
    }

    fn add_frame(&mut self, number: u64, pts: Ticks) -> Result<(), MediaError> {
        let planes = self.painter.paint(usize::try_from(number).unwrap_or(usize::MAX));
        let frame = Frame::from_yuv420p(self.spec.width, self.spec.height, planes, pts, self.limits)?;
        self.video.send(&frame)?;
        self.write_video()
    }

    fn write_video(&mut self) -> Result<(), MediaError> {
        while let Some(packet) = self.video.receive()? {
            self.muxer.write(0, &packet)?;
        }
        self.bytes.extend_from_slice(&self.muxer.drain());
        Ok(())
    }

    fn add_sound_until(&mut self, end: Ticks) -> Result<(), MediaError> {
        match &mut self.sound {
            Some(sound) => sound.add_until(end, self.spec.start_pts, &mut self.muxer),
            None => Ok(()),
        }
    }

    fn finish(mut self, end: Ticks) -> Result<Bytes, MediaError> {
        self.add_sound_until(end)?;
        if let Some(sound) = &mut self.sound {
            sound.encoder.flush()?;
            sound.write(self.spec.start_pts, &mut self.muxer)?;
        }
        self.video.flush()?;
        self.write_video()?;
        self.bytes.extend_from_slice(&self.muxer.finish()?);
        Ok(self.bytes.freeze())
    }
}

impl Sound {
    fn new(format: ClipAudio, start: Ticks, builder: &mut MuxerBuilder) -> Result<Self, MediaError> {
        let encoder = AacEncoder::new(format.sample_rate, format.channels)?;
        let tracks = (0..format.tracks)
            .map(|_| builder.add_stream(encoder.parameters()))
            .collect::<Result<_, MediaError>>()?;
        Ok(Self { encoder, format, tracks, samples: 0, end: start })
    }

    fn add_until(&mut self, end: Ticks, start: Ticks, muxer: &mut Muxer) -> Result<(), MediaError> {
        let rate = self.format.sample_rate;
        while self.end < end {
            self.push_frame(rate)?;
            // At least one tick, so that the loop ends whatever the encoder does.
            self.end = self.end.saturating_add(1);
            self.write(start, muxer)?;
        }
        Ok(())
    }

    fn push_frame(&mut self, rate: u32) -> Result<(), MediaError> {
        let first = self.samples;
        self.samples += self.encoder.frame_samples() as i64;
        // Placed so, the packet in which the encoder primes itself lies at zero.
        self.encoder.push(first + self.encoder.padding(), |_, channel| {
            for (sample, number) in channel.iter_mut().zip(first..) {
                *sample = tone(number, rate);
            }
        })
    }

    fn write(&mut self, start: Ticks, muxer: &mut Muxer) -> Result<(), MediaError> {
        while let Some(mut packet) = self.encoder.receive() {
            let pts = packet.pts().unwrap_or(0).saturating_add(start);
            packet.set_pts(pts);
            packet.set_dts(pts);
            self.end = pts.saturating_add(packet.duration());
            for &track in &self.tracks {
                muxer.write(track, &packet)?;
            }
        }
        Ok(())
    }
}

/// A quiet tone, and a beep in the first tenth of each second.
fn tone(number: i64, sample_rate: u32) -> f32 {
    let rate = i64::from(sample_rate).max(1);
    let time = number as f64 / rate as f64;
    let (pitch, level) = if number % rate < rate / 10 { (880.0, 0.3) } else { (220.0, 0.08) };
    ((time * pitch * std::f64::consts::TAU).sin() * level) as f32
}
