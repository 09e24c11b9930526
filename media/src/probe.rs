//! What an input consists of.

use bytes::Bytes;

use crate::codec::{AudioCodec, Container, PixelFormat, VideoCodec};
use crate::color::ColorInfo;
use crate::demux::Demuxer;
use crate::error::MediaError;
use crate::limits::MediaLimits;
use crate::time::{Rational, Ticks};

/// What an input consists of.
#[derive(Clone, Debug)]
pub struct Probe {
    /// The container.
    pub container: Container,
    /// The video stream that is worked on: the best one by FFmpeg's choice. `None` also when one is announced of which
    /// nothing could be learnt, because no frame of it is there.
    pub video: Option<VideoInfo>,
    /// The codec of the video stream that the container announces, whether or not a frame of it is there.
    pub announced_video: Option<VideoCodec>,
    /// All audio streams.
    pub audio: Vec<AudioInfo>,
    /// Number of streams of every kind.
    pub streams: usize,
    /// First presentation time, where known.
    pub start: Option<Ticks>,
    /// Duration as the container claims or as far as it could be estimated; `None` for live streams.
    pub duration: Option<Ticks>,
}

impl Probe {
    /// The video stream.
    ///
    /// # Errors
    ///
    /// [`MediaError::NoVideo`] when none is announced, [`MediaError::NoFrames`] when one is and no frame of it is there,
    /// [`MediaError::UnsupportedCodec`] when its codec is none this crate reads.
    pub fn require_video(&self) -> Result<&VideoInfo, MediaError> {
        match (&self.video, &self.announced_video) {
            (_, Some(VideoCodec::Other(codec))) => {
                Err(MediaError::UnsupportedCodec { codec: codec.clone(), used: "decoded" })
            }
            (Some(video), _) => Ok(video),
            (None, Some(_)) => Err(MediaError::NoFrames),
            (None, None) => Err(MediaError::NoVideo),
        }
    }

    /// Whether packets of stream `index` are worth reading.
    pub(crate) fn carries(&self, index: usize) -> bool {
        self.video.as_ref().is_some_and(|video| video.stream == index)
            || self.audio.iter().any(|audio| audio.stream == index)
    }

    /// The turn of stream `index`.
    pub(crate) fn rotation_of(&self, index: usize) -> u16 {
        self.video.as_ref().filter(|video| video.stream == index).map_or(0, |video| video.rotation)
    }
}

/// A video stream.
#[derive(Clone, Debug)]
pub struct VideoInfo {
    /// Index of the stream in the container.
    pub stream: usize,
    /// The codec.
    pub codec: VideoCodec,
    /// FFmpeg's name of the profile, where known.
    pub profile: Option<String>,
    /// Width of the upright picture: what a decoder hands out.
    pub width: u32,
    /// Height of the upright picture.
    pub height: u32,
    /// Clockwise turn in degrees (0, 90, 180 or 270) from the coded picture to the upright one.
    pub rotation: u16,
    /// How decoded pixels lie in memory, where known.
    pub pixel_format: Option<PixelFormat>,
    /// Bits of one sample; 8 where not known.
    pub bit_depth: u8,
    /// Average frame rate; zero when not known.
    pub frame_rate: Rational,
    /// The lowest rate on whose grid all timestamps lie, by FFmpeg's guess; zero when not known.
    pub base_frame_rate: Rational,
    /// Shape of a pixel of the upright picture; `1/1` for square ones.
    pub sample_aspect: Rational,
    /// What the numbers of a pixel mean.
    pub color: ColorInfo,
    /// Time base of the container.
    pub time_base: Rational,
    /// Frames by which decoding runs ahead of presentation.
    pub reorder_delay: u32,
    /// First presentation time, where known.
    pub start: Option<Ticks>,
}

/// An audio stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioInfo {
    /// Index of the stream in the container.
    pub stream: usize,
    /// The codec.
    pub codec: AudioCodec,
    /// Samples per second.
    pub sample_rate: u32,
    /// Channels.
    pub channels: u32,
    /// First presentation time, where known.
    pub start: Option<Ticks>,
}

/// Looks at the start of an input and says what it consists of.
///
/// # Errors
///
/// [`MediaError::NotMedia`], [`MediaError::Truncated`], a passed limit, or the deadline.
pub fn probe(data: &Bytes, limits: &MediaLimits) -> Result<Probe, MediaError> {
    Demuxer::from_bytes(data.clone(), limits).map(|demuxer| demuxer.probe().clone())
}
