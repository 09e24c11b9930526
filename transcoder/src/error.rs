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
    /// The operating system gave no thread.
    #[error("no thread could be started: {reason}; lower max_sessions or raise the process limit")]
    NoThread {
        /// The system's words.
        reason: String,
    },
}

impl TranscodeError {
    /// A stable, short code for logs, metrics and wire messages.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BadMedia(_) | Self::SizeChanged { .. } => "bad_media",
            Self::Unsupported { .. } => "unsupported",
            Self::Busy(_) => "busy",
            Self::DeadlineExceeded => "deadline",
            Self::Cancelled => "cancelled",
            Self::Engine(_) | Self::EngineDied { .. } | Self::NoThread { .. } => "internal",
            Self::EngineStuck { .. } => "stuck",
        }
    }

    /// When it may be worth asking this transcoder again.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy(_) => Some(Duration::from_secs(1)),
            _ => None,
        }
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
