//! The broadcaster's side of the segment protocol.

use bytes::Bytes;
use libp2p::PeerId;
use tokio::time::Instant;

use super::{MAX_PAYMENT_BYTES, SegmentAccept, SegmentHeader};
use crate::error::NetworkError;
use crate::node::{Context, SEGMENT_PROTOCOL};
use crate::receipt::{RenditionClaim, SignedReceipt};
use crate::transfer::{
    Collected, LastFrame, MAX_AHEAD_BYTES, Pace, Plan, RenditionChunk, RenditionEnd, ReplyReader,
    SourceWriter, collect, unexpected,
};
use crate::wire::{MAX_SMALL_MESSAGE, MessageReader, Remote, ReplyFrame, Wait, open_with, split};

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
    reader: ReplyReader,
}

/// What an orchestrator sends back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SegmentEvent {
    /// The next bytes of a rendition.
    Chunk(RenditionChunk),
    /// What came of a rendition is void: another transcoder makes it anew.
    Restart {
        /// Position in the ladder.
        index: u32,
    },
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
}

impl SegmentExchange {
    /// Uploads the source, or what is left of it after the bytes that went ahead, and collects every rendition. Ends at the
    /// exchange's deadline at the latest; dropping the future ends the exchange.
    ///
    /// # Errors
    /// The orchestrator's error where it gave one, even when the upload failed because of it.
    pub async fn complete(self, source: Bytes) -> Result<SegmentResult, NetworkError> {
        let Collected { renditions, ends, last } = collect(self.upload, self.download.reader, source).await?;
        match last {
            ReplyFrame::Receipt(receipt) => {
                Ok(SegmentResult { accept: self.accept, renditions, ends, receipt })
            }
            other => Err(unexpected(&other, "a receipt").into()),
        }
    }
}

impl SegmentDownload {
    /// The next event; `None` after the receipt. Cancel safe.
    ///
    /// # Errors
    /// The orchestrator's error, a broken protocol, or the deadline; the exchange is over then.
    pub async fn next(&mut self) -> Result<Option<SegmentEvent>, NetworkError> {
        Ok(match self.reader.next().await? {
            None => None,
            Some(ReplyFrame::Chunk(chunk)) => Some(SegmentEvent::Chunk(chunk)),
            Some(ReplyFrame::Restart { index }) => Some(SegmentEvent::Restart { index }),
            Some(ReplyFrame::End(end)) => Some(SegmentEvent::End(end)),
            Some(ReplyFrame::Receipt(receipt)) => Some(SegmentEvent::Receipt(receipt)),
            Some(other) => return Err(unexpected(&other, "a rendition").into()),
        })
    }
}

/// Offers a segment and waits for the decision. The source's first bytes, where some are given, go out behind the header.
pub(crate) async fn open(
    context: &Context,
    peer: PeerId,
    header: SegmentHeader,
    ahead: Bytes,
) -> Result<SegmentExchange, NetworkError> {
    check(&header, &ahead)?;
    let pace = Pace::new(&context.limits, &context.timeouts, header.deadline);
    let within = context.timeouts.dial.min(header.deadline);
    let (_, stream) = context.opener.open(peer, None, SEGMENT_PROTOCOL, within).await?;
    let remote = Remote { peer, protocol: SEGMENT_PROTOCOL };
    let (mut reader, mut writer) = split(stream, remote, context.timeouts.message);
    // Connecting took part of the time: the orchestrator is told what is left of it.
    let left = pace.deadline.saturating_duration_since(Instant::now());
    let header = SegmentHeader { deadline: left, ..header };
    open_with((&mut reader, &mut writer), &header, pace.deadline).await?;
    let mut upload = SourceWriter::new(writer, header.source_len, pace);
    let accept = decide(&mut reader, &mut upload, ahead, pace).await?;
    let reader = ReplyReader::new(reader, Plan::from(&header), pace, LastFrame::Receipt);
    Ok(SegmentExchange { accept, upload, download: SegmentDownload { reader } })
}

/// Sends what goes ahead while the decision is waited for; a refusal ends both at once.
async fn decide(
    reader: &mut MessageReader,
    upload: &mut SourceWriter,
    ahead: Bytes,
    pace: Pace,
) -> Result<SegmentAccept, NetworkError> {
    let wait = Wait::until("the decision on a segment", pace.deadline, pace.message);
    let decision = async {
        match reader.expect(MAX_SMALL_MESSAGE, wait).await? {
            ReplyFrame::Accept(accept) => Ok(accept),
            ReplyFrame::Error(error) => Err(NetworkError::from(error)),
            other => Err(unexpected(&other, "an acceptance").into()),
        }
    };
    let sending = upload.send(ahead);
    tokio::pin!(decision, sending);
    tokio::select! {
        biased;
        decided = &mut decision => {
            let accept = decided?;
            sending.await?;
            Ok(accept)
        }
        // A peer that refuses ends the upload, too: its reason says more.
        sent = &mut sending => {
            let accept = decision.await?;
            sent?;
            Ok(accept)
        }
    }
}

fn check(header: &SegmentHeader, ahead: &Bytes) -> Result<(), NetworkError> {
    let unsendable = |reason: String| NetworkError::Unsendable { what: "a segment", reason };
    header.ladder.ensure_concrete().map_err(|error| unsendable(error.to_string()))?;
    if header.payment.len() > MAX_PAYMENT_BYTES {
        let bytes = header.payment.len();
        return Err(unsendable(format!("its payment has {bytes} bytes: at most {MAX_PAYMENT_BYTES} fit")));
    }
    if ahead.len() > MAX_AHEAD_BYTES {
        let bytes = ahead.len();
        return Err(unsendable(format!(
            "{bytes} bytes go ahead of its decision: at most {MAX_AHEAD_BYTES} may"
        )));
    }
    if header.source_len == 0 || header.frames == 0 || header.duration_90k == 0 {
        return Err(unsendable("it is empty: no bytes, no frames or no duration".into()));
    }
    Ok(())
}
