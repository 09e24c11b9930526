//! What can go wrong with media.

use std::fmt;

/// Why media was refused or work on it stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MediaError {
    /// The bytes are no container this crate reads.
    #[error("input is not media ({reason}); send mpeg-ts, flv, mp4, matroska or webm")]
    NotMedia {
        /// What FFmpeg said of it.
        reason: String,
    },
    /// The container starts well and ends too early to be of use.
    #[error("input is truncated: {reason}; send the whole segment")]
    Truncated {
        /// What is missing.
        reason: String,
    },
    /// Video was needed and there is no stream of it.
    #[error("input has no video stream; send one")]
    NoVideo,
    /// A video stream is announced and no frame of it is there.
    #[error("input announces video and carries no decodable frame; send at least one keyframe")]
    NoFrames,
    /// Audio was needed and there is no stream of it.
    #[error("input has no audio stream; send one")]
    NoAudio,
    /// The codec cannot be read, written or carried by the container.
    #[error("codec {codec} cannot be {used}; use h264 video and aac audio to be safe")]
    UnsupportedCodec {
        /// FFmpeg's name of the codec.
        codec: String,
        /// What was tried: `decoded`, `encoded`, `carried in mpeg-ts`.
        used: &'static str,
    },
    /// A setting that cannot be met.
    #[error("setting {setting} is {value}, which cannot be met: {hint}")]
    InvalidSetting {
        /// Name of the setting.
        setting: &'static str,
        /// The value given.
        value: String,
        /// What would do.
        hint: &'static str,
    },
    /// The input passes one of the [`MediaLimits`](crate::MediaLimits).
    #[error("{limit} is {value}, the limit is {bound}; send less or raise the limit")]
    LimitExceeded {
        /// Which limit.
        limit: Limit,
        /// What the input has or claims.
        value: u64,
        /// What is allowed.
        bound: u64,
    },
    /// Packets could not be decoded and the decoder is strict, or none could.
    #[error(
        "{errors} of {packets} packets do not decode: the stream is damaged; send it whole, or encode it anew"
    )]
    Decode {
        /// Packets that failed.
        errors: u64,
        /// Packets seen.
        packets: u64,
    },
    /// Timestamps are missing or contradict each other beyond repair.
    #[error("timestamps of stream {stream} cannot be used: {reason}; encode the input anew")]
    Timestamps {
        /// Index of the stream.
        stream: usize,
        /// What is wrong with them.
        reason: String,
    },
    /// The source of bytes failed.
    #[error("reading the source failed: {reason}")]
    Source {
        /// The error of the reader.
        reason: String,
    },
    /// The [`CancelFlag`](crate::CancelFlag) was raised.
    #[error("cancelled by the caller")]
    Cancelled,
    /// The wall-clock deadline of the limits has passed.
    #[error("the deadline for this work has passed; send less or allow more time")]
    DeadlineExceeded,
    /// A video engine of a GPU cannot do this, or fails.
    #[error("the gpu could not {operation}: {reason}; use another engine")]
    Device {
        /// What was tried.
        operation: &'static str,
        /// What FFmpeg and the driver said.
        reason: String,
    },
    /// FFmpeg refused an operation for a reason that has no variant of its own.
    #[error("ffmpeg could not {operation}: {reason}")]
    Ffmpeg {
        /// What was tried.
        operation: &'static str,
        /// FFmpeg's own words.
        reason: String,
    },
}

impl MediaError {
    /// A stable, short code for logs and wire messages.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotMedia { .. } => "not_media",
            Self::Truncated { .. } => "truncated",
            Self::NoVideo => "no_video",
            Self::NoFrames => "no_frames",
            Self::NoAudio => "no_audio",
            Self::UnsupportedCodec { .. } => "unsupported_codec",
            Self::InvalidSetting { .. } => "invalid_setting",
            Self::LimitExceeded { .. } => "limit_exceeded",
            Self::Decode { .. } => "decode",
            Self::Timestamps { .. } => "timestamps",
            Self::Source { .. } => "source",
            Self::Cancelled => "cancelled",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::Device { .. } => "device",
            Self::Ffmpeg { .. } => "ffmpeg",
        }
    }

    /// Whether the media itself is at fault, not the caller, the settings or the machine.
    pub const fn is_bad_media(&self) -> bool {
        matches!(
            self,
            Self::NotMedia { .. }
                | Self::Truncated { .. }
                | Self::NoVideo
                | Self::NoFrames
                | Self::NoAudio
                | Self::UnsupportedCodec { .. }
                | Self::LimitExceeded { .. }
                | Self::Decode { .. }
                | Self::Timestamps { .. }
        )
    }
}

/// The limits media can run into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Limit {
    /// Bytes of input.
    InputBytes,
    /// Pixels of one frame.
    PixelsPerFrame,
    /// Width or height of a frame.
    FrameSide,
    /// Frames of one input.
    Frames,
    /// Packets of one input.
    Packets,
    /// Pixels of all frames together.
    TotalPixels,
    /// Bytes of decoded pictures in flight.
    PictureBytes,
    /// Duration in 90 kHz ticks.
    Duration,
    /// Streams of one container.
    Streams,
    /// Samples that the index of a container claims.
    Samples,
    /// Bytes of one box of an index that arrives as a stream.
    HeaderBytes,
    /// Bytes of one segment.
    SegmentBytes,
    /// Duration of one segment in 90 kHz ticks: the source has no keyframe for too long.
    SegmentDuration,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InputBytes => "input size in bytes",
            Self::PixelsPerFrame => "number of pixels per frame",
            Self::FrameSide => "frame width or height",
            Self::Frames => "number of frames",
            Self::Packets => "number of packets",
            Self::TotalPixels => "number of pixels of all frames",
            Self::PictureBytes => "size of the decoded pictures in flight in bytes",
            Self::Duration => "duration in 90 kHz ticks",
            Self::Streams => "number of streams",
            Self::Samples => "number of samples in the index",
            Self::HeaderBytes => "size of a header in bytes",
            Self::SegmentBytes => "segment size in bytes (no keyframe for too long)",
            Self::SegmentDuration => "segment duration in 90 kHz ticks (no keyframe for too long)",
        })
    }
}
