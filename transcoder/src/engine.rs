//! The one interface to everything that encodes: submit a segment and a ladder, get a stream of rendition bytes.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use framemill_media::{CancelFlag, VideoCodec};
use framemill_network::ladder::Ladder;
use futures::{Future, Stream, StreamExt};
use tokio::sync::mpsc;

use crate::{SessionId, TranscodeError};

/// Chunks that may wait for a slow receiver; then the encoders wait. Bounds a job's output to this many [`CHUNK_BYTES`].
const CHUNKS_IN_FLIGHT: usize = 32;

/// Size at which encoded bytes are handed on: what fills one of the wire's messages. A 2 s rung is a handful of them.
pub const CHUNK_BYTES: usize = framemill_network::CHUNK_BYTES;

/// One segment to transcode.
#[derive(Debug, Clone)]
pub struct Job {
    /// The paying session: engines may keep state between its segments.
    pub session: SessionId,
    /// Number of the segment in its session.
    pub sequence: u64,
    /// The whole source segment.
    pub source: Bytes,
    /// What to make of it. Sizes are concrete; renditions come out under their index here.
    pub ladder: Ladder,
    /// When a result is worth nothing any more.
    pub deadline: Instant,
}

/// A piece of a job's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RenditionEvent {
    /// The next bytes of one rendition, in order; renditions interleave freely.
    Chunk {
        /// Index in the job's ladder.
        index: u32,
        /// Bytes of its container: MPEG-TS, or fragmented MP4 for AV1.
        data: Bytes,
    },
    /// A rendition is complete.
    End {
        /// Index in the job's ladder.
        index: u32,
        /// What it holds.
        summary: RenditionSummary,
    },
}

/// What a complete rendition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RenditionSummary {
    /// Encoded video frames.
    pub frames: u64,
    /// Encoded pixels: frames times width times height.
    pub pixels: u64,
    /// Bytes of all chunks together.
    pub bytes: u64,
}

/// What an engine can do, apart from how fast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// Codecs it encodes.
    pub codecs: Vec<VideoCodec>,
    /// What it runs on, for the operator: `8 CPU threads`, or a card's name.
    pub device: String,
    /// Most sessions at once where the device caps them, apart from speed.
    pub max_sessions: Option<u32>,
}

/// What a device has room for; `None` where it sets no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Room {
    /// Encoder sessions at once: each rung of each session takes one.
    pub encoders: Option<u32>,
    /// Bytes of device memory.
    pub memory_bytes: Option<u64>,
}

/// The card that an engine works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Card {
    /// Index under which the driver knows it.
    pub ordinal: u32,
    /// Identifier of the process that works on it, while there is one.
    pub process: Option<u32>,
}

/// Something that turns a source segment into a ladder of renditions.
///
/// [`SoftwareEngine`](crate::SoftwareEngine) is the implementation on the CPU, [`NvidiaEngine`](crate::NvidiaEngine) the one on
/// NVDEC and NVENC, and [`Failover`](crate::Failover) puts several in a row. Each meets the same contract:
///
/// * [`transcode`](Self::transcode) returns at once; work happens on the engine's own threads or processes.
/// * Renditions stream out while they are encoded, each as MPEG-TS, or AV1 as fragmented MP4, that begins with a keyframe, keeps
///   the source's timestamps (modulo 2^33), and carries the source's audio packets bit for bit.
/// * Every rendition of the ladder ends with exactly one [`RenditionEvent::End`], or the stream ends with one error.
/// * Dropping the stream cancels the job; no job outlives its deadline by more than one frame's work.
/// * A source that does not decode cleanly is [`TranscodeError::BadMedia`], never a rendition with repaired pictures:
///   the orchestrator signs for what it returns.
pub trait Engine: Send + Sync + fmt::Debug {
    /// Name in logs, metrics and settings.
    fn name(&self) -> &'static str;

    /// What the engine can do.
    fn capabilities(&self) -> &Capabilities;

    /// What the device has room for, apart from speed.
    fn room(&self) -> Room {
        Room::default()
    }

    /// The card that it works on, if it works on one.
    fn card(&self) -> Option<Card> {
        None
    }

    /// Whether the engine works now. One that does not keeps what it has promised, by other engines, and is promised nothing new.
    fn is_up(&self) -> bool {
        true
    }

    /// Starts a job. Everything that goes wrong comes as the stream's last item.
    fn transcode(&self, job: Job) -> Renditions;
}

#[derive(Debug)]
enum Message {
    Event(RenditionEvent),
    Done,
    Failed(TranscodeError),
}

/// The engine's end of a job's output. Clones write to the same job.
#[derive(Debug, Clone)]
pub struct RenditionSink {
    messages: mpsc::Sender<Message>,
}

impl RenditionSink {
    /// Hands on a piece of output; waits while the receiver is slow.
    ///
    /// Must be called from a thread that may block.
    ///
    /// # Errors
    /// [`TranscodeError::Cancelled`] when nobody receives any more.
    pub fn send(&self, event: RenditionEvent) -> Result<(), TranscodeError> {
        self.messages.blocking_send(Message::Event(event)).map_err(|_| TranscodeError::Cancelled)
    }

    /// As [`send`](Self::send), on the async executor.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub(crate) async fn deliver(&self, event: RenditionEvent) -> Result<(), TranscodeError> {
        self.messages.send(Message::Event(event)).await.map_err(|_| TranscodeError::Cancelled)
    }

    /// As [`finish`](Self::finish), on the async executor.
    pub(crate) async fn conclude(self, outcome: Result<(), TranscodeError>) {
        let last = outcome.map_or_else(Message::Failed, |()| Message::Done);
        // Nobody listens any more after a cancellation, which is no news then.
        let _ = self.messages.send(last).await;
    }

    /// Waits until nobody receives any more.
    pub(crate) async fn abandoned(&self) {
        self.messages.closed().await;
    }

    /// Ends the job. A job whose last sink is dropped without this counts as one whose engine died.
    pub fn finish(self, outcome: Result<(), TranscodeError>) {
        let last = match outcome {
            Ok(()) => Message::Done,
            Err(error) => Message::Failed(error),
        };
        // Nobody listens any more after a cancellation, which is no news then.
        let _ = self.messages.blocking_send(last);
    }
}

/// A job's output: a stream of [`RenditionEvent`]s that ends after the last rendition, or with one error.
///
/// Dropping it cancels the job.
#[derive(Debug)]
pub struct Renditions {
    engine: &'static str,
    messages: mpsc::Receiver<Message>,
    deadline: Pin<Box<tokio::time::Sleep>>,
    cancel: CancelFlag,
    ended: bool,
}

impl Renditions {
    /// A job's two ends, and the flag that is raised when its receiver drops or its deadline passes.
    ///
    /// Must be called inside a tokio runtime with time enabled.
    pub fn channel(engine: &'static str, deadline: Instant) -> (RenditionSink, Self, CancelFlag) {
        let (sender, messages) = mpsc::channel(CHUNKS_IN_FLIGHT);
        let cancel = CancelFlag::new();
        let renditions = Self {
            engine,
            messages,
            deadline: Box::pin(tokio::time::sleep_until(deadline.into())),
            cancel: cancel.clone(),
            ended: false,
        };
        (RenditionSink { messages: sender }, renditions, cancel)
    }

    /// A job that ended before it began.
    pub fn refused(engine: &'static str, error: TranscodeError) -> Self {
        let (sink, renditions, _) = Self::channel(engine, Instant::now());
        // The channel is empty and has room.
        let _ = sink.messages.try_send(Message::Failed(error));
        renditions
    }

    /// Waits for the whole ladder, in the order of its entries.
    ///
    /// # Errors
    /// The stream's error, if it ends with one.
    pub async fn collect_all(mut self) -> Result<Vec<Rendition>, TranscodeError> {
        let mut parts: Vec<(BytesMut, Option<RenditionSummary>)> = Vec::new();
        while let Some(event) = self.next().await {
            let (index, data, summary) = match event? {
                RenditionEvent::Chunk { index, data } => (index as usize, data, None),
                RenditionEvent::End { index, summary } => (index as usize, Bytes::new(), Some(summary)),
            };
            if parts.len() <= index {
                parts.resize(index + 1, Default::default());
            }
            parts[index].0.extend_from_slice(&data);
            parts[index].1 = summary;
        }
        let whole = |(data, summary): (BytesMut, Option<_>)| {
            Some(Rendition { data: data.freeze(), summary: summary? })
        };
        let renditions = parts.into_iter().map(whole).collect::<Option<_>>();
        renditions.ok_or(TranscodeError::EngineDied { engine: self.engine })
    }

    fn end(&mut self, error: TranscodeError) -> Poll<Option<Result<RenditionEvent, TranscodeError>>> {
        self.ended = true;
        self.cancel.cancel();
        Poll::Ready(Some(Err(error)))
    }
}

impl Stream for Renditions {
    type Item = Result<RenditionEvent, TranscodeError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match self.messages.poll_recv(cx) {
            Poll::Ready(Some(Message::Event(event))) => return Poll::Ready(Some(Ok(event))),
            Poll::Ready(Some(Message::Done)) => {
                self.ended = true;
                return Poll::Ready(None);
            }
            Poll::Ready(Some(Message::Failed(error))) => return self.end(error),
            Poll::Ready(None) => {
                let engine = self.engine;
                return self.end(TranscodeError::EngineDied { engine });
            }
            Poll::Pending => {}
        }
        match self.deadline.as_mut().poll(cx) {
            Poll::Ready(()) => self.end(TranscodeError::DeadlineExceeded),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for Renditions {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// One complete rendition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendition {
    /// Bytes of its container: MPEG-TS, or fragmented MP4 for AV1.
    pub data: Bytes,
    /// What they hold.
    pub summary: RenditionSummary,
}
