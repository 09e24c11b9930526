//! The orchestrator's side of the segment protocol.

use bytes::Bytes;
use libp2p::PeerId;

use super::{SegmentAccept, SegmentHeader};
use crate::error::NetworkError;
use crate::receipt::SignedReceipt;
use crate::transfer::{RenditionEnd, SourceReader};
use crate::wire_error::WireError;

/// Segments that broadcasters offer. Dropping it ends the service.
#[derive(Debug)]
pub struct SegmentServer {
    pub(crate) _private: (),
}

/// A segment waiting for a decision. Dropping it tells the broadcaster that the node is busy.
#[derive(Debug)]
pub struct IncomingSegment {
    pub(crate) _private: (),
}

/// The way back to the broadcaster.
#[derive(Debug)]
pub struct SegmentReply {
    pub(crate) _private: (),
}

impl SegmentServer {
    /// The next offered segment; `None` when the network has been shut down. Cancel safe.
    ///
    /// Segments that are not taken out in time are answered with `busy`.
    pub async fn next(&mut self) -> Option<IncomingSegment> {
        todo!()
    }
}

impl IncomingSegment {
    /// Who offers the segment; authenticated by the connection.
    pub fn peer(&self) -> PeerId {
        todo!()
    }

    /// What is offered, within the protocol's bounds.
    pub fn header(&self) -> &SegmentHeader {
        todo!()
    }

    /// Takes the segment. Call it only after the payment is durable and the capacity reserved.
    ///
    /// # Errors
    /// When the broadcaster is gone.
    pub async fn accept(self, accept: SegmentAccept) -> Result<(SourceReader, SegmentReply), NetworkError> {
        let _ = accept;
        todo!()
    }

    /// Refuses the segment before its upload.
    pub async fn reject(self, error: WireError) {
        let _ = error;
        todo!()
    }
}

impl SegmentReply {
    /// Sends bytes of a rendition, in pieces that fit the wire. Waits while the broadcaster is slow.
    ///
    /// # Errors
    /// When the broadcaster is gone or too slow, or the rendition does not exist or has ended.
    pub async fn chunk(&mut self, index: u32, data: Bytes) -> Result<(), NetworkError> {
        let _ = (index, data);
        todo!()
    }

    /// Ends a rendition. Hash and length are taken from the bytes that were sent.
    ///
    /// # Errors
    /// As [`SegmentReply::chunk`].
    pub async fn end(&mut self, index: u32, pixels: u64, frames: u32) -> Result<RenditionEnd, NetworkError> {
        let _ = (index, pixels, frames);
        todo!()
    }

    /// Sends the receipt and ends the exchange.
    ///
    /// # Errors
    /// When the broadcaster is gone, or a rendition has not ended.
    pub async fn finish(self, receipt: SignedReceipt) -> Result<(), NetworkError> {
        let _ = receipt;
        todo!()
    }

    /// Tells the broadcaster why there is no result, and ends the exchange.
    pub async fn fail(self, error: WireError) {
        let _ = error;
        todo!()
    }
}
