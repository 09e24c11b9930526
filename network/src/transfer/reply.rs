//! The renditions' way, from the side that makes them.

use alloy_primitives::B256;
use bytes::Bytes;
use tokio::time::Instant;

use super::{CHUNK_BYTES, Pace, Plan, RenditionChunk, RenditionEnd, RenditionTracker};
use crate::error::{NetworkError, ProtocolError};
use crate::node::StreamPermit;
use crate::receipt::SignedReceipt;
use crate::wire::{MessageWriter, ReplyFrame};
use crate::wire_error::WireError;

/// Sends renditions and refuses to send what was not asked for: the peer would end the exchange.
#[derive(Debug)]
pub(crate) struct ReplyWriter {
    writer: MessageWriter,
    tracker: RenditionTracker,
    pace: Pace,
    permit: StreamPermit,
}

impl ReplyWriter {
    pub(crate) fn new(writer: MessageWriter, plan: Plan, pace: Pace, permit: StreamPermit) -> Self {
        Self { writer, tracker: RenditionTracker::new(plan), pace, permit }
    }

    pub(crate) async fn chunk(&mut self, index: u32, mut data: Bytes) -> Result<(), NetworkError> {
        self.tracker.chunk(index, &data).map_err(unsendable)?;
        while !data.is_empty() {
            let data = data.split_to(data.len().min(CHUNK_BYTES));
            self.send(&ReplyFrame::Chunk(RenditionChunk { index, data })).await?;
        }
        Ok(())
    }

    pub(crate) async fn restart(&mut self, index: u32) -> Result<(), NetworkError> {
        self.tracker.restart(index).map_err(unsendable)?;
        self.send(&ReplyFrame::Restart { index }).await
    }

    pub(crate) async fn end(
        &mut self,
        index: u32,
        pixels: u64,
        frames: u32,
        (feature_root, psnr_centi_db): (B256, Option<u32>),
    ) -> Result<RenditionEnd, NetworkError> {
        let end = self.tracker.make_end(index, pixels, frames).map_err(unsendable)?;
        let end = RenditionEnd { feature_root, psnr_centi_db, ..end };
        self.tracker.end(end).map_err(unsendable)?;
        self.send(&ReplyFrame::End(end)).await?;
        Ok(end)
    }

    pub(crate) async fn finish_segment(mut self, receipt: SignedReceipt) -> Result<(), NetworkError> {
        self.tracker.check_receipt(&receipt.receipt).map_err(unsendable)?;
        // All else the client knows: it is about exactly what was asked for and sent.
        let SignedReceipt { receipt, signature } = receipt;
        self.send(&ReplyFrame::BriefReceipt { round: receipt.round, signature }).await?;
        self.writer.close(self.pace.deadline).await
    }

    pub(crate) async fn finish_job(mut self) -> Result<(), NetworkError> {
        self.tracker.ends().map_err(unsendable)?;
        self.send(&ReplyFrame::Done).await?;
        self.writer.close(self.pace.deadline).await
    }

    pub(crate) async fn fail(mut self, error: WireError) {
        // The exchange's deadline may be what failed it; the reason may still be told.
        let deadline = self.pace.deadline.max(Instant::now() + self.pace.message);
        self.writer.fail(error, deadline).await;
    }

    /// The stream's place in the peer's budget, to be held by its other half too.
    pub(crate) fn permit(&self) -> StreamPermit {
        self.permit.clone()
    }

    pub(crate) async fn send(&mut self, frame: &ReplyFrame) -> Result<(), NetworkError> {
        self.writer.write(frame, self.pace.deadline).await
    }
}

fn unsendable(error: ProtocolError) -> NetworkError {
    NetworkError::Unsendable { what: "a rendition", reason: error.to_string() }
}
