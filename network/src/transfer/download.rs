//! The renditions' way, from the side that asked for them.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::timeout;

use super::{Pace, Plan, RenditionEnd, RenditionTracker, SourceWriter, upload};
use crate::error::{NetworkError, ProtocolError};
use crate::receipt::SignedReceipt;
use crate::wire::{MAX_CHUNK_MESSAGE, MessageReader, ReplyFrame, Wait};

/// How long to wait for the peer's reason after an upload failed.
const REASON_WAIT: Duration = Duration::from_secs(2);

/// Reads the frames of an answer and checks each against the plan.
#[derive(Debug)]
pub(crate) struct ReplyReader {
    reader: MessageReader,
    tracker: RenditionTracker,
    pace: Pace,
    last: LastFrame,
    over: bool,
}

/// What ends an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LastFrame {
    Receipt,
    Done,
}

impl ReplyReader {
    pub(crate) fn new(reader: MessageReader, plan: Plan, pace: Pace, last: LastFrame) -> Self {
        Self { reader, tracker: RenditionTracker::new(plan), pace, last, over: false }
    }

    /// The next checked frame; `None` after the last, which is a receipt for a segment and a done for a job.
    pub(crate) async fn next(&mut self) -> Result<Option<ReplyFrame>, NetworkError> {
        if self.over {
            return Ok(None);
        }
        if let Err(over) = self.pace.check() {
            self.over = true;
            return Err(over);
        }
        let wait = Wait::until("renditions", self.pace.deadline, self.pace.message);
        let result = self.reader.expect(MAX_CHUNK_MESSAGE, wait).await.and_then(|frame| self.check(frame));
        self.over =
            !matches!(result, Ok(ReplyFrame::Chunk(_) | ReplyFrame::End(_) | ReplyFrame::Restart { .. }));
        result.map(Some)
    }

    pub(crate) fn renditions(&self) -> usize {
        self.tracker.renditions()
    }

    fn check(&mut self, frame: ReplyFrame) -> Result<ReplyFrame, NetworkError> {
        let frame = match frame {
            ReplyFrame::BriefReceipt { round, signature } => {
                ReplyFrame::Receipt(SignedReceipt { receipt: self.tracker.make_receipt(round)?, signature })
            }
            other => other,
        };
        match &frame {
            ReplyFrame::Chunk(chunk) => self.tracker.chunk(chunk.index, &chunk.data)?,
            ReplyFrame::Restart { index } => self.tracker.restart(*index)?,
            ReplyFrame::End(end) => self.tracker.end(*end)?,
            ReplyFrame::Receipt(signed) if self.last == LastFrame::Receipt => {
                self.tracker.check_receipt(&signed.receipt)?;
            }
            ReplyFrame::Done if self.last == LastFrame::Done => drop(self.tracker.ends()?),
            ReplyFrame::Error(error) => return Err(NetworkError::Refused(error.clone())),
            _ => return Err(unexpected(&frame, "a rendition").into()),
        }
        Ok(frame)
    }
}

pub(crate) fn unexpected(frame: &ReplyFrame, expected: &'static str) -> ProtocolError {
    ProtocolError::Unexpected { found: frame.name(), expected }
}

/// Everything an answer delivered.
#[derive(Debug)]
pub(crate) struct Collected {
    pub(crate) renditions: Vec<Bytes>,
    pub(crate) ends: Vec<RenditionEnd>,
    /// The receipt or done frame.
    pub(crate) last: ReplyFrame,
}

/// Uploads a source and collects the answer at the same time.
pub(crate) async fn collect(
    writer: SourceWriter,
    mut reader: ReplyReader,
    source: Bytes,
) -> Result<Collected, NetworkError> {
    let upload = upload(writer, source);
    let download = read_all(&mut reader);
    tokio::pin!(upload, download);
    tokio::select! {
        biased;
        result = &mut download => result,
        uploaded = &mut upload => match uploaded {
            Ok(()) => download.await,
            // The peer's own reason says more than a broken pipe.
            Err(broken) => match timeout(REASON_WAIT, download).await {
                Ok(Err(refused @ NetworkError::Refused(_))) => Err(refused),
                _ => Err(broken),
            },
        },
    }
}

async fn read_all(reader: &mut ReplyReader) -> Result<Collected, NetworkError> {
    let mut renditions = vec![BytesMut::new(); reader.renditions()];
    let mut ends = Vec::with_capacity(renditions.len());
    loop {
        let frame = reader.next().await?;
        match frame.expect("the loop ends with the last frame") {
            ReplyFrame::Chunk(chunk) => renditions[chunk.index as usize].extend_from_slice(&chunk.data),
            ReplyFrame::Restart { index } => renditions[index as usize].clear(),
            ReplyFrame::End(end) => ends.push(end),
            last => {
                ends.sort_by_key(|end| end.index);
                let renditions = renditions.into_iter().map(BytesMut::freeze).collect();
                return Ok(Collected { renditions, ends, last });
            }
        }
    }
}
