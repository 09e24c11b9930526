//! Segments of a stream, cut at keyframes.

use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::MediaError;
use crate::inspect::SegmentInfo;
use crate::limits::MediaLimits;
use crate::probe::Probe;
use crate::time::{TICKS_PER_SECOND, Ticks};

/// How to cut a stream.
#[derive(Clone, Debug)]
pub struct SegmenterConfig {
    /// Wanted duration: a segment ends at the first keyframe at or after it.
    pub target: Ticks,
    /// Duration no segment may pass; a source without keyframes for so long ends with an error.
    pub max_duration: Ticks,
    /// Size no segment may pass.
    pub max_bytes: usize,
    /// Number of the first segment.
    pub first_sequence: u64,
    /// Refuse sources without video instead of cutting their audio by time.
    pub require_video: bool,
}

impl Default for SegmenterConfig {
    fn default() -> Self {
        Self {
            target: 2 * TICKS_PER_SECOND,
            max_duration: 20 * TICKS_PER_SECOND,
            max_bytes: 64 << 20,
            first_sequence: 0,
            require_video: false,
        }
    }
}

/// One segment of a stream: a complete MPEG-TS file.
#[derive(Clone, Debug)]
pub struct SourceSegment {
    /// Its number in the stream.
    pub sequence: u64,
    /// MPEG-TS. Video starts with a keyframe; codecs and timestamps are those of the source, the latter modulo 2^33.
    pub data: Bytes,
    /// Presentation time of the first video frame (of the first audio packet where there is no video), unwrapped.
    pub start_pts: Ticks,
    /// Time to the start of the next segment, or to the end of the last frame.
    pub duration: Ticks,
    /// What lies inside.
    pub info: SegmentInfo,
    /// What the stream consists of.
    pub probe: Arc<Probe>,
}

impl SourceSegment {
    /// Number of video frames.
    pub fn frames(&self) -> u64 {
        self.info.video.as_ref().map_or(0, |video| video.frames() as u64)
    }
}

/// Cuts a stream of any supported container into MPEG-TS segments, without re-encoding.
pub struct Segmenter {
    probe: Arc<Probe>,
}

impl Segmenter {
    /// Cuts a stream that arrives. Blocks until the streams are known.
    ///
    /// # Errors
    ///
    /// As [`Demuxer::from_reader`](crate::Demuxer::from_reader); [`MediaError::UnsupportedCodec`] when MPEG-TS cannot
    /// carry the video codec.
    pub fn open(
        reader: impl Read + Send + 'static,
        config: SegmenterConfig,
        limits: &MediaLimits,
    ) -> Result<Self, MediaError> {
        let _ = (reader, config, limits);
        Err(MediaError::NoFrames)
    }

    /// Cuts an input that lies in memory.
    pub fn from_bytes(
        data: Bytes,
        config: SegmenterConfig,
        limits: &MediaLimits,
    ) -> Result<Self, MediaError> {
        let _ = (data, config, limits);
        Err(MediaError::NoFrames)
    }

    /// What the stream consists of.
    pub fn probe(&self) -> &Arc<Probe> {
        &self.probe
    }

    /// The next segment, or `None` at the end of the stream. After an error the segmenter is finished.
    ///
    /// # Errors
    ///
    /// [`MediaError::NoFrames`] at the end of a stream that announced video and brought none;
    /// [`MediaError::LimitExceeded`] when no keyframe came in time; failures of the source; the deadline.
    pub fn next_segment(&mut self) -> Result<Option<SourceSegment>, MediaError> {
        Err(MediaError::NoFrames)
    }
}

impl Iterator for Segmenter {
    type Item = Result<SourceSegment, MediaError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_segment().transpose()
    }
}
