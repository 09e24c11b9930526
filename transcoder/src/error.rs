use std::time::Duration;

use framemill_media::MediaError;
use thiserror::Error;

use crate::Refusal;

/// Why a segment was not transcoded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TranscodeError {
    /// The source is no video this market can sell: refused before anything is signed for it.
    #[error("bad media: {0}")]
    BadMedia(#[source] MediaError),
    /// The picture changes its size within the segment: there is no one rendition of two pictures.
    #[error(
        "bad media: the picture changes from {}x{} to {}x{} at frame {frame}; cut the segment there",
        from.0, from.1, to.0, to.1
    )]
    SizeChanged {
        /// Width and height before.
        from: (u32, u32),
        /// Width and height after.
        to: (u32, u32),
        /// Number of the first frame of the new size, from 1.
        frame: u64,
    },
    /// The ladder asks for what this engine cannot do.
    #[error("rendition {rendition}: {reason}")]
    Unsupported {
        /// Name of the ladder entry.
        rendition: String,
        /// What cannot be done, and what can.
        reason: String,
    },
    /// The engine has no room now.
    #[error(transparent)]
    Busy(#[from] Refusal),
    /// The deadline passed before the last rendition was done.
    #[error("segment was not done at its deadline; give it more time or a faster engine")]
    DeadlineExceeded,
    /// The receiver of the renditions went away.
    #[error("cancelled by the receiver")]
    Cancelled,
    /// The engine failed on good media.
    #[error("engine failed: {0}")]
    Engine(#[source] MediaError),
    /// A thread of the engine died. The job is lost, the engine lives.
    #[error("a thread of engine {engine} died while it worked on the segment; send the segment again")]
    EngineDied {
        /// Name of the engine.
        engine: &'static str,
    },
    /// Jobs that hang have used up what the engine can spare.
    #[error(
        "{stuck} jobs of engine {engine} hang past their deadline, the limit is {limit}; restart the transcoder"
    )]
    EngineStuck {
        /// Name of the engine.
        engine: &'static str,
        /// Jobs that hang.
        stuck: usize,
        /// Most the engine tolerates.
        limit: usize,
    },
    /// The source is no video this market can sell, as the process that looked at it said.
    #[error("{reason}")]
    SourceRefused {
        /// What is wrong with it.
        reason: String,
    },
    /// A device failed on good media, or has no room.
    #[error("gpu {gpu} failed: {reason}")]
    Gpu {
        /// Index of the device.
        gpu: u32,
        /// What FFmpeg and the driver said.
        reason: String,
    },
    /// The process that works on a device died.
    #[error("the process of gpu {gpu} died while it worked on the segment; it is started again")]
    WorkerDied {
        /// Index of the device.
        gpu: u32,
    },
    /// The process that works on a device made no progress and was killed.
    #[error("gpu {gpu} made no progress for {} ms; its process was killed and is started again", waited.as_millis())]
    Stalled {
        /// Index of the device.
        gpu: u32,
        /// How long nothing happened.
        waited: Duration,
    },
    /// A device will not be done in time.
    #[error("gpu {gpu} had decoded {frames} of {of} frames after half of the time; lower max_sessions")]
    TooSlow {
        /// Index of the device.
        gpu: u32,
        /// Frames that were decoded.
        frames: u64,
        /// Frames of the segment.
        of: u64,
    },
    /// A device is not usable for now.
    #[error("gpu {gpu} is not usable for now: {reason}")]
    GpuDown {
        /// Index of the device.
        gpu: u32,
        /// Why not.
        reason: String,
    },
    /// The operating system gave no thread.
    #[error("no thread could be started: {reason}; lower max_sessions or raise the process limit")]
    NoThread {
        /// The system's words.
        reason: String,
    },
}

/// Kinds of errors that logs, metrics and peers tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    BadMedia,
    Unsupported,
    Busy,
    Gpu,
    Deadline,
    Cancelled,
    Stuck,
    Internal,
}

impl Code {
    pub(crate) const ALL: [Self; 8] = [
        Self::BadMedia,
        Self::Unsupported,
        Self::Busy,
        Self::Gpu,
        Self::Deadline,
        Self::Cancelled,
        Self::Stuck,
        Self::Internal,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::BadMedia => "bad_media",
            Self::Unsupported => "unsupported",
            Self::Busy => "busy",
            Self::Gpu => "gpu",
            Self::Deadline => "deadline",
            Self::Cancelled => "cancelled",
            Self::Stuck => "stuck",
            Self::Internal => "internal",
        }
    }
}

impl TranscodeError {
    /// A stable, short code for logs, metrics and wire messages.
    pub const fn code(&self) -> &'static str {
        self.kind().as_str()
    }

    const fn kind(&self) -> Code {
        match self {
            Self::BadMedia(_) | Self::SizeChanged { .. } | Self::SourceRefused { .. } => Code::BadMedia,
            Self::Unsupported { .. } => Code::Unsupported,
            Self::Busy(_) => Code::Busy,
            Self::DeadlineExceeded => Code::Deadline,
            Self::Cancelled => Code::Cancelled,
            Self::Engine(_) | Self::EngineDied { .. } | Self::NoThread { .. } => Code::Internal,
            Self::EngineStuck { .. } | Self::Stalled { .. } => Code::Stuck,
            Self::Gpu { .. } | Self::WorkerDied { .. } | Self::TooSlow { .. } | Self::GpuDown { .. } => {
                Code::Gpu
            }
        }
    }

    /// When it may be worth asking this transcoder again.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy(_) | Self::GpuDown { .. } => Some(Duration::from_secs(1)),
            _ => None,
        }
    }

    /// Whether another engine may do what this one could not: everything but the source's fault, a passed deadline and a receiver
    /// that went away.
    pub const fn is_for_another_engine(&self) -> bool {
        !matches!(
            self,
            Self::BadMedia(_)
                | Self::SizeChanged { .. }
                | Self::SourceRefused { .. }
                | Self::DeadlineExceeded
                | Self::Cancelled
        )
    }
}

/// Sorts an error of the source side: the media's own fault, or ours.
impl From<MediaError> for TranscodeError {
    fn from(error: MediaError) -> Self {
        match error {
            MediaError::Cancelled => Self::Cancelled,
            MediaError::DeadlineExceeded => Self::DeadlineExceeded,
            error if error.is_bad_media() => Self::BadMedia(error),
            error => Self::Engine(error),
        }
    }
}
