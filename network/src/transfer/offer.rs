//! A stream whose header has been read and whose work nobody has taken yet.

use std::time::Duration;

use alloy_primitives::B256;
use tokio::time::Instant;

use super::{Pace, Plan, ReplyWriter, SourceReader};
use crate::error::NetworkError;
use crate::node::{Context, StreamPermit};
use crate::segment::SegmentAccept;
use crate::wire::{MessageReader, MessageWriter, ReplyFrame};
use crate::wire_error::{WireCode, WireError};

/// Both directions of an undecided stream, and what its header announced.
#[derive(Debug)]
pub(crate) struct Offer {
    context: Context,
    reader: MessageReader,
    reply: ReplyWriter,
    pace: Pace,
    announced: (u64, B256),
}

impl Offer {
    /// The offer of a source with the `announced` length and hash, wanted as `plan` within `deadline`.
    pub(crate) fn new(
        context: Context,
        (reader, writer): (MessageReader, MessageWriter),
        permit: StreamPermit,
        plan: Plan,
        deadline: Duration,
        announced: (u64, B256),
    ) -> Self {
        let pace = Pace::new(&context.limits, &context.timeouts, deadline);
        let reply = ReplyWriter::new(writer, plan, pace, permit);
        Self { context, reader, reply, pace, announced }
    }

    /// When the result is worthless.
    pub(crate) fn deadline(&self) -> Instant {
        self.pace.deadline
    }

    /// Passes on an offer whose source is not too large, and refuses any other.
    pub(crate) async fn within_limits(self) -> Option<Self> {
        let (bytes, max) = (self.announced.0, self.context.limits.max_source_bytes);
        if bytes <= max {
            return Some(self);
        }
        let text = format!("the segment has {bytes} bytes: at most {max} are taken");
        self.refuse(WireError::new(WireCode::TooLarge, text)).await;
        None
    }

    /// Takes the work: the source comes in, its renditions go out.
    pub(crate) async fn accept(
        mut self,
        accept: SegmentAccept,
    ) -> Result<(SourceReader, ReplyWriter), NetworkError> {
        self.reply.send(&ReplyFrame::Accept(accept)).await?;
        let source = SourceReader::new(self.reader, self.announced, self.pace, self.reply.permit());
        Ok((source, self.reply))
    }

    /// Refuses the work before its upload.
    pub(crate) async fn refuse(self, error: WireError) {
        self.reply.fail(error).await;
    }

    /// Answers `busy` from where nothing can be waited for.
    pub(crate) fn let_go(self, text: &'static str) {
        let context = self.context.clone();
        context.spawn(async move {
            let Self { reader, reply, .. } = self;
            reply.fail(WireError::new(WireCode::Busy, text)).await;
            // The peer may still be writing: resetting its direction earlier could lose the answer.
            drop(reader);
        });
    }
}
