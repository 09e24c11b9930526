//! Asking an orchestrator to open what it committed to, and answering: one question each on a stream of its own.
//!
//! A broadcaster that holds a rendition whose features are not those that were signed asks its way down to the frame and
//! the block where they part. What the questions mean, and that every answer hashes to the one before it, is for the roles.

use std::time::Duration;

use alloy_primitives::B256;
use bytes::Bytes;
use libp2p::PeerId;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::error::NetworkError;
use crate::node::{Admitted, Context, OPENING_PROTOCOL};
use crate::quote_service::Answer;
use crate::wire::{MAX_SMALL_MESSAGE, OpeningReply, Remote, Wait, open_with, split};
use crate::wire_error::{WireCode, WireError};

/// Most bytes of a block that is opened.
pub const MAX_OPENED_BYTES: usize = 1024;

/// A question about one rendition of one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpeningRequest {
    /// Session that it was delivered in.
    pub session: B256,
    /// Number of the segment.
    pub sequence: u64,
    /// Position of the rendition in the ladder.
    pub rendition: u32,
    /// What is asked.
    pub question: OpeningQuestion,
}

/// What can be asked about a commitment to features.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpeningQuestion {
    /// What is the root the hash of?
    Root,
    /// What are the children of a node of the tree over frames?
    FramesNode {
        /// Height above the leaves.
        level: u32,
        /// Place in its level.
        index: u32,
    },
    /// What is a frame's leaf the hash of?
    Frame {
        /// Number of the frame.
        index: u32,
    },
    /// What are the children of a node of the tree over a frame's blocks?
    BlocksNode {
        /// Number of the frame.
        frame: u32,
        /// Height above the leaves.
        level: u32,
        /// Place in its level.
        index: u32,
    },
    /// What are a block's bytes?
    Block {
        /// Number of the frame.
        frame: u32,
        /// Number of the block.
        index: u32,
    },
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpeningAnswer {
    /// What the root is the hash of.
    Root {
        /// Width of every frame.
        width: u32,
        /// Height of every frame.
        height: u32,
        /// Number of frames.
        frames: u32,
        /// Root over the frames.
        frames_root: B256,
    },
    /// The children of a node.
    Children {
        /// The left one.
        left: B256,
        /// The right one.
        right: B256,
    },
    /// What a frame's leaf is the hash of.
    Frame {
        /// Bytes of the frame's features.
        bytes: u32,
        /// Root over its blocks.
        blocks_root: B256,
    },
    /// A block's bytes, at most [`MAX_OPENED_BYTES`].
    Block {
        /// The bytes.
        data: Bytes,
    },
}

/// Questions about commitments. Dropping it ends the service.
#[derive(Debug)]
pub struct OpeningServer {
    queue: mpsc::Receiver<IncomingOpening>,
    patience: Duration,
}

/// A question waiting for an answer. Dropping it tells the asker that the node is busy.
#[derive(Debug)]
pub struct IncomingOpening {
    peer: PeerId,
    request: OpeningRequest,
    received: Instant,
    answer: Option<Answer>,
}

impl OpeningServer {
    pub(crate) fn new(queue: mpsc::Receiver<IncomingOpening>, patience: Duration) -> Self {
        Self { queue, patience }
    }

    /// The next question; `None` when the network has been shut down. Cancel safe.
    pub async fn next(&mut self) -> Option<IncomingOpening> {
        loop {
            let incoming = self.queue.recv().await?;
            // A question that waited too long is dropped, which answers it with busy.
            if incoming.received.elapsed() < self.patience {
                return Some(incoming);
            }
        }
    }
}

impl IncomingOpening {
    /// Who asks; authenticated by the connection.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// What is asked, within the protocol's bounds.
    pub fn request(&self) -> &OpeningRequest {
        &self.request
    }

    /// Answers the question. Does not wait for the peer: the answer is sent in the background.
    pub fn respond(mut self, answer: Result<OpeningAnswer, WireError>) {
        self.send(match answer {
            Ok(answer) => OpeningReply::Answer(answer),
            Err(error) => OpeningReply::Error(error),
        });
    }

    fn send(&mut self, reply: OpeningReply) {
        if let Some(answer) = self.answer.take() {
            answer.send(reply);
        }
    }
}

impl Drop for IncomingOpening {
    fn drop(&mut self) {
        self.send(OpeningReply::Error(WireError::new(WireCode::Busy, "too many questions are waiting")));
    }
}

/// Reads one question and hands it to the application.
pub(crate) async fn serve(context: Context, admitted: Admitted) {
    let Admitted { peer, stream, permit, .. } = admitted;
    let remote = Remote { peer, protocol: OPENING_PROTOCOL };
    let (mut reader, writer) = split(stream, remote, context.timeouts.message);
    let request = reader.expect(MAX_SMALL_MESSAGE, context.opening("a question")).await;
    let answer = Answer::new(context.clone(), writer, permit);
    match request {
        Ok(request) => {
            let incoming = IncomingOpening { peer, request, received: Instant::now(), answer: Some(answer) };
            let queue = context.shared.services().openings.clone();
            // Dropping what the queue does not take answers it with busy.
            if let Some(queue) = queue {
                drop(queue.try_send(incoming));
            }
        }
        Err(error) => {
            answer.permit.blame(&error);
            answer.send(OpeningReply::Error(error.to_wire()));
        }
    }
}

/// Asks one orchestrator.
pub(crate) async fn request(
    context: &Context,
    peer: PeerId,
    request: &OpeningRequest,
    deadline: Duration,
) -> Result<OpeningAnswer, NetworkError> {
    let until = Instant::now() + deadline;
    let within = deadline.min(context.timeouts.dial);
    let (_, stream) = context.opener.open(peer, None, OPENING_PROTOCOL, within).await?;
    let remote = Remote { peer, protocol: OPENING_PROTOCOL };
    let (mut reader, mut writer) = split(stream, remote, context.timeouts.message);
    open_with((&mut reader, &mut writer), request, until).await?;
    let wait = Wait::until("an opening", until, context.timeouts.message);
    match reader.expect(MAX_SMALL_MESSAGE, wait).await? {
        OpeningReply::Error(error) => Err(error.into()),
        OpeningReply::Answer(answer) => Ok(answer),
    }
}
