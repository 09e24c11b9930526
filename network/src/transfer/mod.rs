//! The bytes of an exchange: a source one way, renditions the other.

mod download;
mod offer;
mod rate;
mod reply;
mod source;
mod tracker;

pub(crate) use download::{Collected, LastFrame, ReplyReader, collect, unexpected};
pub(crate) use offer::Offer;
pub(crate) use rate::RateGuard;
pub(crate) use reply::ReplyWriter;
pub(crate) use source::upload;
pub use source::{MAX_AHEAD_BYTES, SourceReader, SourceWriter};
pub(crate) use tracker::{Plan, RenditionTracker};

use std::time::Duration;

use alloy_primitives::B256;
use bytes::Bytes;
use tokio::time::Instant;

use crate::config::{NetworkLimits, NetworkTimeouts};
use crate::error::NetworkError;
use crate::receipt::RenditionClaim;

/// Most media bytes in one message; longer ones are refused.
pub const MAX_CHUNK_BYTES: usize = 64 * 1024;
/// Media bytes in the messages that are sent; larger buffers are split, and who makes smaller ones pays for the frames around
/// each. With its fields and a frame's header a message of so many just fits one packet of the encryption (64,511 bytes), and
/// not two.
pub const CHUNK_BYTES: usize = 63 * 1024 - 64;

/// Some bytes of a rendition, following those of the chunk before with the same index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenditionChunk {
    /// Position in the ladder.
    pub index: u32,
    /// At most [`MAX_CHUNK_BYTES`].
    pub data: Bytes,
}

/// The end of a rendition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RenditionEnd {
    /// Position in the ladder.
    pub index: u32,
    /// SHA-256 of all its bytes.
    pub sha256: B256,
    /// Number of its bytes.
    pub bytes: u64,
    /// Pixels of all its frames.
    pub pixels: u64,
    /// Number of its frames.
    pub frames: u32,
    /// Root over its committed features; zero where none are.
    pub feature_root: B256,
    /// Luma PSNR it has at least, in hundredths of a decibel, at most [`MAX_CENTI_DB`](crate::MAX_CENTI_DB); none where no
    /// quality is declared.
    pub psnr_centi_db: Option<u32>,
}

impl RenditionEnd {
    /// What a receipt says about this rendition.
    pub fn claim(&self) -> RenditionClaim {
        RenditionClaim {
            index: self.index,
            sha256: self.sha256,
            pixels: self.pixels,
            feature_root: self.feature_root,
            psnr_centi_db: self.psnr_centi_db,
        }
    }
}

/// When an exchange must end, and how long single steps of it may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    began: Instant,
    /// The end of the exchange.
    pub(crate) deadline: Instant,
    /// From the first to the last byte of one message.
    pub(crate) message: Duration,
    /// Lowest average rate of an upload in bytes per second.
    pub(crate) min_rate: u64,
    /// Waiting time that the minimum rate does not apply to.
    pub(crate) grace: Duration,
}

impl Pace {
    /// An exchange that may last as long as its peer's deadline and this node's own bound allow.
    pub(crate) fn new(limits: &NetworkLimits, timeouts: &NetworkTimeouts, deadline: Duration) -> Self {
        let began = Instant::now();
        Self {
            began,
            deadline: began + deadline.min(timeouts.exchange),
            message: timeouts.message,
            min_rate: limits.min_upload_rate,
            grace: timeouts.rate_grace,
        }
    }

    /// An error once the exchange is over.
    fn check(&self) -> Result<(), NetworkError> {
        match Instant::now() < self.deadline {
            true => Ok(()),
            false => Err(NetworkError::Timeout { what: "the exchange", after: self.deadline - self.began }),
        }
    }
}
