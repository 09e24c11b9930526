//! Everything that can go wrong on the buying side.

use std::path::PathBuf;
use std::sync::Arc;

use framemill_media::MediaError;
use framemill_network::LadderError;

use crate::config::MAX_STREAM_NAME;

/// The broadcaster could not be built or has ended.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum BroadcasterError {
    /// A required part was not given to the builder.
    #[error("the broadcaster has no {0}; give the builder one")]
    Missing(&'static str),
    /// A setting is out of its range.
    #[error("{setting} is {value}; {hint}")]
    Setting {
        /// Name of the setting.
        setting: &'static str,
        /// Value found.
        value: String,
        /// What to do.
        hint: &'static str,
    },
    /// The auth webhook cannot be asked.
    #[error("the auth webhook cannot be asked: {0}; write its address like https://example.org/hook")]
    Webhook(String),
    /// Metrics could not be registered.
    #[error("metrics could not be registered: {0}; give each broadcaster its own registry")]
    Metrics(String),
    /// The folder of the sampling cannot be used.
    #[error("sampling cannot be kept in {}: {source}; give a folder that can be written", folder.display())]
    Sampling {
        /// The folder.
        folder: PathBuf,
        /// What is wrong.
        source: Arc<std::io::Error>,
    },
}

/// A stream could not be opened, or takes no more segments.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// A name that cannot be a folder.
    #[error(
        "stream name {0:?} is not usable; take 1 to {MAX_STREAM_NAME} of a-z A-Z 0-9 _ - . and do not start with a dot"
    )]
    Name(String),
    /// A store that the broadcaster does not have.
    #[error("there is no further store {0:?}; name one that the broadcaster was given, or none")]
    Store(String),
    /// There is a stream of that name.
    #[error("stream {0} is already open; finish it first or take another name")]
    Exists(String),
    /// All streams are in use.
    #[error("{0} streams are open, which is the limit; finish one or raise max_streams")]
    TooMany(usize),
    /// The stream has been finished or aborted, or the broadcaster was shut down.
    #[error("stream {0} has ended; open a new one")]
    Ended(String),
    /// A segment that does not come after the last one taken.
    #[error(
        "segment {sequence} of stream {stream} comes after segment {last}; send segments in order and each once"
    )]
    OutOfOrder {
        /// Name of the stream.
        stream: String,
        /// Sequence of the refused segment.
        sequence: u64,
        /// Sequence of the last one taken.
        last: u64,
    },
    /// The source's media cannot be used.
    #[error("segment cannot be used: {0}")]
    Media(#[from] MediaError),
    /// The ladder cannot be made from this source.
    #[error("ladder cannot be made: {0}")]
    Ladder(#[from] LadderError),
}

/// A segment was not delivered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentError {
    /// Nobody is known who could do the work.
    #[error(
        "no orchestrator is known or answered with a usable quote ({0}); add orchestrators, raise the price ceiling or fund the deposit"
    )]
    NoOrchestrator(String),
    /// Every orchestrator that could be tried failed.
    #[error("no orchestrator delivered segment {sequence} in {attempts} attempts; last: {last}")]
    Exhausted {
        /// Sequence of the segment.
        sequence: u64,
        /// Uploads begun.
        attempts: u32,
        /// How the last attempt ended.
        last: String,
    },
    /// The deadline passed.
    #[error("segment {sequence} missed its deadline of {millis} ms after {attempts} attempts; last: {last}")]
    Deadline {
        /// Sequence of the segment.
        sequence: u64,
        /// The deadline.
        millis: u64,
        /// Uploads begun.
        attempts: u32,
        /// How the last attempt ended.
        last: String,
    },
    /// The source itself cannot be transcoded: orchestrators agree on it.
    #[error("segment {sequence} cannot be transcoded: {reason}")]
    Source {
        /// Sequence of the segment.
        sequence: u64,
        /// What was said of it.
        reason: String,
    },
    /// The renditions are good and could not be stored.
    #[error("segment {sequence} could not be stored: {reason}")]
    Store {
        /// Sequence of the segment.
        sequence: u64,
        /// What the store said.
        reason: String,
    },
    /// The stream was aborted while the segment was in flight.
    #[error("the stream ended before segment {sequence} was delivered")]
    Aborted {
        /// Sequence of the segment.
        sequence: u64,
    },
}

/// The store refused.
#[derive(Debug, Clone, thiserror::Error)]
#[error("store could not {operation} {path}: {source}")]
#[non_exhaustive]
pub struct StoreError {
    /// What was tried.
    pub operation: &'static str,
    /// On which object.
    pub path: String,
    /// What the store said.
    pub source: Arc<dyn std::error::Error + Send + Sync>,
}

impl StoreError {
    /// What a [`Store`](crate::Store) of your own says that could not `operation` (`put`, `get`, `delete`) an object.
    pub fn new(
        operation: &'static str,
        path: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { operation, path: path.into(), source: Arc::from(source.into()) }
    }

    /// Whether the store answered and does not want it: a wrong key, a missing bucket. Trying again does not help
    /// then. Known of buckets, and where the source is such an error of [`object_store`]; any other counts as passing.
    pub fn is_refusal(&self) -> bool {
        use object_store::Error;
        let refusal = |error: &Error| {
            matches!(
                error,
                Error::PermissionDenied { .. } | Error::Unauthenticated { .. } | Error::NotFound { .. }
            )
        };
        self.source.downcast_ref::<Error>().is_some_and(refusal)
    }
}
