//! The broadcaster's side of the segment protocol.

use alloy_primitives::B256;
use bytes::Bytes;

use super::SegmentAccept;
use crate::error::NetworkError;
use crate::receipt::{RenditionClaim, SignedReceipt};
use crate::transfer::{RenditionChunk, RenditionEnd, SourceWriter};

/// A segment that an orchestrator accepted. The two halves are independent: renditions may arrive during the upload.
#[derive(Debug)]
pub struct SegmentExchange {
    /// What the orchestrator said when it accepted.
    pub accept: SegmentAccept,
    /// Takes the source.
    pub upload: SourceWriter,
    /// Gives the renditions.
    pub download: SegmentDownload,
}

/// The renditions of one segment as they arrive, checked against the ladder, the header and the receipt.
#[derive(Debug)]
pub struct SegmentDownload {
    pub(crate) _private: (),
}

/// What an orchestrator sends back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SegmentEvent {
    /// The next bytes of a rendition.
    Chunk(RenditionChunk),
    /// A rendition is complete and its bytes have the stated hash and length.
    End(RenditionEnd),
    /// Every rendition is complete and the receipt is about exactly these. The signature is for the role to check.
    Receipt(SignedReceipt),
}

/// A whole segment's result.
#[derive(Debug, Clone)]
pub struct SegmentResult {
    /// What the orchestrator said when it accepted.
    pub accept: SegmentAccept,
    /// Bytes of each rendition in ladder order.
    pub renditions: Vec<Bytes>,
    /// End of each rendition in ladder order.
    pub ends: Vec<RenditionEnd>,
    /// The receipt over all of them.
    pub receipt: SignedReceipt,
}

impl SegmentResult {
    /// The claims that the receipt's root is made of, in ladder order.
    pub fn claims(&self) -> Vec<RenditionClaim> {
        self.ends.iter().map(RenditionEnd::claim).collect()
    }

    /// SHA-256 of each rendition in ladder order.
    pub fn hashes(&self) -> impl Iterator<Item = B256> + '_ {
        self.ends.iter().map(|end| end.sha256)
    }
}

impl SegmentExchange {
    /// Uploads the source and collects every rendition. Ends at the exchange's deadline at the latest; dropping the future ends
    /// the exchange.
    ///
    /// # Errors
    /// The orchestrator's error where it gave one, even when the upload failed because of it.
    pub async fn complete(self, source: Bytes) -> Result<SegmentResult, NetworkError> {
        let _ = source;
        todo!()
    }
}

impl SegmentDownload {
    /// The next event; `None` after the receipt. Cancel safe.
    ///
    /// # Errors
    /// The orchestrator's error, a broken protocol, or the deadline; the exchange is over then.
    pub async fn next(&mut self) -> Result<Option<SegmentEvent>, NetworkError> {
        todo!()
    }
}
