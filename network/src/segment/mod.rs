//! One segment from a broadcaster to an orchestrator and its renditions back.

mod client;
mod server;

pub(crate) use client::open;
pub use client::{SegmentDownload, SegmentEvent, SegmentExchange, SegmentResult};
pub(crate) use server::serve;
pub use server::{IncomingSegment, SegmentReply, SegmentServer};

use std::time::Duration;

use alloy_primitives::B256;
use bytes::Bytes;

use crate::ladder::Ladder;

/// Most bytes of payment in a header: a batch of 200 tickets.
pub const MAX_PAYMENT_BYTES: usize = 64 * 1024;

/// What a broadcaster says before the first byte of a segment.
///
/// Whoever serves it must check that the session was quoted to the sending peer: the header is bound to the connection it came on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Session of the quote.
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
    /// The concrete ladder; the same as in the quote.
    pub ladder: Ladder,
    /// Time left until the result is worthless.
    pub deadline: Duration,
    /// Tickets in the payment crate's codec, at most [`MAX_PAYMENT_BYTES`].
    pub payment: Bytes,
    /// Commitment to the secret seed that decides how deep the result is looked at, so that the decision can be shown later to
    /// who delivered it; `None` where none is told.
    pub sampling_commitment: Option<B256>,
}

impl SegmentHeader {
    /// Output pixels of all renditions; what the segment costs by.
    pub fn expected_pixels(&self) -> u64 {
        self.ladder.expected_pixels(self.frames, self.duration_90k)
    }
}

/// The orchestrator takes the segment: its payment is durable, its capacity reserved; the upload may begin.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SegmentAccept {
    /// Parameters for the next tickets, when they changed; at most [`crate::MAX_TICKET_PARAMS_BYTES`].
    pub ticket_params: Option<Bytes>,
    /// Tickets of the payment that were refused and are no credit, where earlier credit made up for them. Those that may have
    /// been taken before are not among them.
    pub refused_tickets: u32,
}
