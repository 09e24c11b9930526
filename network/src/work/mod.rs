//! The work protocol: a transcoder dials its orchestrator, proves that it knows the shared token, and gets jobs down the same
//! connection.

mod auth;
mod control;
mod server;
mod worker;

pub use server::{
    JobDownload, JobEvent, JobExchange, JobResult, WorkServer, WorkerEvent, WorkerHandle, WorkerLink,
};
pub use worker::{IncomingJob, JobReply, WorkControl, WorkEvent, WorkSession};
pub(crate) use worker::{connect, serve};

use std::fmt;
use std::time::Duration;

use alloy_primitives::B256;

use crate::error::NetworkError;
use crate::ladder::Ladder;

/// Shortest shared token in bytes: 128 bits when it is random.
pub const MIN_TOKEN_BYTES: usize = 16;
/// Longest shared token in bytes.
pub const MAX_TOKEN_BYTES: usize = 256;
/// Most engines that a transcoder may list.
pub const MAX_ENGINES: usize = 32;
/// Longest name of a transcoder or an engine in bytes.
pub const MAX_NAME_BYTES: usize = 64;

/// The secret that an orchestrator and its transcoders share. Never shown and never sent.
#[derive(Clone, PartialEq, Eq)]
pub struct WorkToken(Vec<u8>);

/// A token of unusable length.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("work token has {bytes} bytes: take {MIN_TOKEN_BYTES} to {MAX_TOKEN_BYTES} random ones")]
pub struct TokenError {
    /// Length found.
    pub bytes: usize,
}

impl WorkToken {
    /// A token of [`MIN_TOKEN_BYTES`] to [`MAX_TOKEN_BYTES`] bytes.
    ///
    /// # Errors
    /// When the length is out of bounds.
    pub fn new(secret: impl Into<Vec<u8>>) -> Result<Self, TokenError> {
        let secret = secret.into();
        if !(MIN_TOKEN_BYTES..=MAX_TOKEN_BYTES).contains(&secret.len()) {
            return Err(TokenError { bytes: secret.len() });
        }
        Ok(Self(secret))
    }

    /// A new random token.
    pub fn generate() -> Self {
        Self(rand::random::<[u8; 32]>().to_vec())
    }
}

impl fmt::Debug for WorkToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WorkToken(..)")
    }
}

/// What a transcoder can do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WorkCapacity {
    /// Output pixels per second, measured.
    pub pixels_per_second: u64,
    /// Sessions at a time.
    pub max_sessions: u32,
}

/// How a transcoder introduces itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkHello {
    /// Name in logs and metrics of the orchestrator, 1 to [`MAX_NAME_BYTES`] bytes.
    pub name: String,
    /// Names of its engines, at most [`MAX_ENGINES`].
    pub engines: Vec<String>,
    /// Capacity at the start.
    pub capacity: WorkCapacity,
}

impl WorkHello {
    /// Refuses here what the orchestrator would refuse.
    fn check(&self) -> Result<(), NetworkError> {
        let bad =
            |text: &str| text.is_empty() || text.len() > MAX_NAME_BYTES || text.chars().any(char::is_control);
        if self.engines.len() > MAX_ENGINES || bad(&self.name) || self.engines.iter().any(|name| bad(name)) {
            let reason = format!(
                "give at most {MAX_ENGINES} engines, and names of 1 to {MAX_NAME_BYTES} printable bytes"
            );
            return Err(NetworkError::Unsendable { what: "a transcoder's introduction", reason });
        }
        Ok(())
    }
}

/// One segment to transcode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobHeader {
    /// Id of the job, distinct within the work session.
    pub job: u64,
    /// Session of the segment.
    pub session: B256,
    /// Number of the segment in its stream.
    pub sequence: u64,
    /// Duration in ticks of 90 kHz.
    pub duration_90k: u64,
    /// Video frames in the segment.
    pub frames: u32,
    /// Bytes of the segment.
    pub source_len: u64,
    /// SHA-256 of the segment.
    pub source_sha256: B256,
    /// The concrete ladder.
    pub ladder: Ladder,
    /// Time left until the result is worthless.
    pub deadline: Duration,
}
