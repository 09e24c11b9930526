//! The orchestrator's side of the segment protocol.

use std::time::Duration;

use alloy_primitives::B256;
use bytes::Bytes;
use libp2p::PeerId;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{SegmentAccept, SegmentHeader};
use crate::error::NetworkError;
use crate::node::{Admitted, Context, SEGMENT_PROTOCOL};
use crate::receipt::SignedReceipt;
use crate::transfer::{Offer, Plan, RenditionEnd, ReplyWriter, SourceReader};
use crate::wire::{MAX_OPEN_MESSAGE, Remote, split};
use crate::wire_error::WireError;

/// Segments that broadcasters offer. Dropping it ends the service.
#[derive(Debug)]
pub struct SegmentServer {
    queue: mpsc::Receiver<IncomingSegment>,
    patience: Duration,
}

/// A segment waiting for a decision. Dropping it tells the broadcaster that the node is busy.
#[derive(Debug)]
pub struct IncomingSegment {
    peer: PeerId,
    header: SegmentHeader,
    received: Instant,
    offer: Option<Offer>,
}

/// The way back to the broadcaster.
#[derive(Debug)]
pub struct SegmentReply {
    writer: ReplyWriter,
}

impl SegmentServer {
    pub(crate) fn new(queue: mpsc::Receiver<IncomingSegment>, patience: Duration) -> Self {
        Self { queue, patience }
    }

    /// The next offered segment; `None` when the network has been shut down. Cancel safe.
    ///
    /// Segments that are not taken out in time are answered with `busy`.
    pub async fn next(&mut self) -> Option<IncomingSegment> {
        loop {
            let incoming = self.queue.recv().await?;
            if incoming.received.elapsed() < self.patience {
                return Some(incoming);
            }
        }
    }
}

impl IncomingSegment {
    /// Who offers the segment; authenticated by the connection.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// What is offered, within the protocol's bounds.
    pub fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// When the result is worthless, by this node's clock and within its own bound.
    pub fn deadline(&self) -> std::time::Instant {
        let deadline = self.offer.as_ref().map_or(self.received, Offer::deadline);
        deadline.into_std()
    }

    /// Takes the segment. Call it only after the payment is durable and the capacity reserved.
    ///
    /// # Errors
    /// When the broadcaster is gone.
    pub async fn accept(
        mut self,
        accept: SegmentAccept,
    ) -> Result<(SourceReader, SegmentReply), NetworkError> {
        let offer = self.offer.take().expect("taken by accept or reject only");
        let (source, writer) = offer.accept(accept).await?;
        Ok((source, SegmentReply { writer }))
    }

    /// Refuses the segment before its upload.
    pub async fn reject(mut self, error: WireError) {
        if let Some(offer) = self.offer.take() {
            offer.refuse(error).await;
        }
    }
}

impl Drop for IncomingSegment {
    fn drop(&mut self) {
        if let Some(offer) = self.offer.take() {
            offer.let_go("too many segments are waiting");
        }
    }
}

impl SegmentReply {
    /// Sends bytes of a rendition, in pieces that fit the wire. Waits while the broadcaster is slow. Not cancel safe: a dropped
    /// call ends the exchange.
    ///
    /// # Errors
    /// When the broadcaster is gone or too slow, or the rendition does not exist or has ended.
    pub async fn chunk(&mut self, index: u32, data: Bytes) -> Result<(), NetworkError> {
        self.writer.chunk(index, data).await
    }

    /// Declares void what was sent of a rendition that has not ended, because another transcoder makes it anew; at most three
    /// times for each.
    ///
    /// # Errors
    /// As [`SegmentReply::chunk`].
    pub async fn restart_rendition(&mut self, index: u32) -> Result<(), NetworkError> {
        self.writer.restart(index).await
    }

    /// Ends a rendition. Hash and length are taken from the bytes that were sent; `feature_root` is the commitment to its
    /// features, zero without one, `psnr_centi_db` the quality that is declared.
    ///
    /// # Errors
    /// As [`SegmentReply::chunk`], and when frames or pixels are not what the header asks for.
    pub async fn end(
        &mut self,
        index: u32,
        pixels: u64,
        frames: u32,
        feature_root: B256,
        psnr_centi_db: Option<u32>,
    ) -> Result<RenditionEnd, NetworkError> {
        self.writer.end(index, pixels, frames, (feature_root, psnr_centi_db)).await
    }

    /// Sends the receipt and ends the exchange.
    ///
    /// # Errors
    /// When the broadcaster is gone, a rendition has not ended, or the receipt is not about what was sent.
    pub async fn finish(self, receipt: SignedReceipt) -> Result<(), NetworkError> {
        self.writer.finish_segment(receipt).await
    }

    /// Tells the broadcaster why there is no result, and ends the exchange.
    pub async fn fail(self, error: WireError) {
        self.writer.fail(error).await;
    }
}

/// Reads one header and hands it to the application.
pub(crate) async fn serve(context: Context, admitted: Admitted) {
    let Admitted { peer, stream, permit, .. } = admitted;
    let remote = Remote { peer, protocol: SEGMENT_PROTOCOL };
    let (mut reader, mut writer) = split(stream, remote, context.timeouts.message);
    let header: SegmentHeader =
        match reader.expect(MAX_OPEN_MESSAGE, context.opening("a segment header")).await {
            Ok(header) => header,
            Err(error) => {
                permit.blame(&error);
                return writer.fail(error.to_wire(), context.answer_deadline()).await;
            }
        };
    let queue = context.shared.services().segments.clone();
    let announced = (header.source_len, header.source_sha256);
    let plan = Plan::from(&header);
    let offer = Offer::new(context, (reader, writer), permit, plan, header.deadline, announced);
    let Some(offer) = offer.within_limits().await else { return };
    let offer = Some(offer);
    let incoming = IncomingSegment { peer, header, received: Instant::now(), offer };
    // Dropping what the queue does not take answers it with busy.
    if let Some(queue) = queue {
        drop(queue.try_send(incoming));
    }
}
