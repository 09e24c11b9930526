//! Messages on a libp2p stream, each read and each write under a deadline.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use futures::io::{ReadHalf, WriteHalf};
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::core::upgrade::NegotiationError;
use libp2p::{PeerId, Stream};
use prost::Message;
use tokio::io::AsyncReadExt as _;
use tokio::time::{Instant, timeout_at};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt};

use super::frame::{self, MAX_PREFIX, Split};
use super::message::{ReplyFrame, WireMessage};
use super::{MAX_CHUNK_MESSAGE, MAX_SMALL_MESSAGE};
use crate::error::{NetworkError, ProtocolError};
use crate::wire_error::WireError;

/// The buffer grows by at most this much ahead of what has arrived, whatever length was announced: a whole chunk, so that its bytes
/// are not moved again while they arrive.
const READ_STEP: usize = MAX_CHUNK_MESSAGE;

/// How long to wait for the reason of a peer that ended a stream: it has been sent before the end, or never.
const REASON_WAIT: Duration = Duration::from_secs(2);

/// How long to wait for one message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wait {
    /// What is waited for, in errors.
    what: &'static str,
    /// When the first byte must have come.
    first: Instant,
    /// From the first to the last byte.
    message: Duration,
    /// When the last byte must have come, however late the first one did.
    last: Instant,
}

impl Wait {
    /// For a message that begins by `first` and then takes as long as a message may.
    pub(crate) fn begun_by(what: &'static str, first: Instant, message: Duration) -> Self {
        Self { what, first, message, last: first + message }
    }

    /// For a message that is there by `end` as a whole.
    pub(crate) fn until(what: &'static str, end: Instant, message: Duration) -> Self {
        Self { what, first: end, message, last: end }
    }

    /// The same, and no longer than until `end`.
    pub(crate) fn no_later_than(self, end: Instant) -> Self {
        Self { first: self.first.min(end), last: self.last.min(end), ..self }
    }
}

/// Who is at the other end, and what is spoken; for errors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Remote {
    pub(crate) peer: PeerId,
    pub(crate) protocol: &'static str,
}

impl Remote {
    /// A stream is used before its protocol is agreed on, so a peer that does not speak it fails a read or a write.
    fn failed(self, what: &'static str, error: &io::Error) -> NetworkError {
        let negotiation = error.get_ref().is_some_and(|inner| inner.is::<NegotiationError>());
        if negotiation {
            return NetworkError::UnsupportedProtocol { peer: self.peer, protocol: self.protocol };
        }
        NetworkError::Disconnected { what, reason: error.to_string() }
    }
}

/// Reads messages; cancel safe between and inside of messages.
#[derive(Debug)]
pub(crate) struct MessageReader {
    io: Compat<ReadHalf<Stream>>,
    remote: Remote,
    buffer: BytesMut,
    /// When the message that is in the buffer in part began to arrive.
    begun: Option<Instant>,
}

/// Writes messages. A write that is dropped half way breaks the stream for good.
#[derive(Debug)]
pub(crate) struct MessageWriter {
    io: WriteHalf<Stream>,
    remote: Remote,
    broken: bool,
    /// Longest time for one message, however long the exchange may still last.
    stall: Duration,
}

/// The two directions of a stream.
pub(crate) fn split(stream: Stream, remote: Remote, stall: Duration) -> (MessageReader, MessageWriter) {
    let (read, write) = stream.split();
    let reader = MessageReader { io: read.compat(), remote, buffer: BytesMut::new(), begun: None };
    (reader, MessageWriter { io: write, remote, broken: false, stall })
}

impl MessageReader {
    /// The next message of at most `max` bytes; `None` when the peer ended its side between messages.
    pub(crate) async fn read<M: WireMessage>(
        &mut self,
        max: usize,
        wait: Wait,
    ) -> Result<Option<M>, NetworkError> {
        loop {
            let missing = match frame::take(&mut self.buffer, max)? {
                Split::Message(bytes) => {
                    self.begun = None;
                    return Ok(Some(M::decode(bytes)?));
                }
                Split::Need(missing) => missing,
            };
            if !self.fill(missing, wait).await? {
                return match self.buffer.is_empty() {
                    true => Ok(None),
                    false => Err(ProtocolError::Truncated { what: M::NAME }.into()),
                };
            }
        }
    }

    /// Like [`MessageReader::read`] where the peer must not end its side yet.
    pub(crate) async fn expect<M: WireMessage>(&mut self, max: usize, wait: Wait) -> Result<M, NetworkError> {
        let ended =
            || NetworkError::Disconnected { what: wait.what, reason: "the peer ended the stream".into() };
        self.read(max, wait).await?.ok_or_else(ended)
    }

    /// Reads some bytes into the buffer; false at the stream's end.
    async fn fill(&mut self, missing: usize, wait: Wait) -> Result<bool, NetworkError> {
        if !self.buffer.is_empty() && self.begun.is_none() {
            self.begun = Some(Instant::now());
        }
        let deadline = match self.begun {
            Some(begun) => (begun + wait.message).min(wait.last),
            None => wait.first,
        };
        self.buffer.reserve(missing.clamp(MAX_PREFIX, READ_STEP));
        let started = self.begun.unwrap_or_else(Instant::now);
        match timeout_at(deadline, self.io.read_buf(&mut self.buffer)).await {
            Ok(Ok(count)) => Ok(count > 0),
            Ok(Err(error)) => Err(self.remote.failed(wait.what, &error)),
            Err(_) => Err(NetworkError::Timeout { what: wait.what, after: started.elapsed() }),
        }
    }
}

impl MessageWriter {
    /// Sends one message, within `deadline` and the stall time.
    pub(crate) async fn write<M: WireMessage>(
        &mut self,
        message: &M,
        deadline: Instant,
    ) -> Result<(), NetworkError> {
        let proto = message.to_proto();
        let length = proto.encoded_len();
        let mut bytes = Vec::with_capacity(MAX_PREFIX + length);
        frame::put_prefix(&mut bytes, length);
        proto.encode_raw(&mut bytes);
        self.send(M::NAME, &bytes, deadline).await
    }

    /// Tells the peer why there is no result and ends this direction. A peer that does not take it is gone, which ends it as well.
    pub(crate) async fn fail(&mut self, error: WireError, deadline: Instant) {
        // Field 15 is the error in every protocol's replies.
        if self.write(&ReplyFrame::Error(error), deadline).await.is_ok() {
            let _ = self.close(deadline).await;
        }
    }

    /// Ends this direction.
    pub(crate) async fn close(&mut self, deadline: Instant) -> Result<(), NetworkError> {
        let deadline = deadline.min(Instant::now() + self.stall);
        match timeout_at(deadline, self.io.close()).await {
            Ok(result) => result.map_err(|error| self.remote.failed("closing the stream", &error)),
            Err(_) => Err(NetworkError::Timeout { what: "closing the stream", after: self.stall }),
        }
    }

    async fn send(
        &mut self,
        what: &'static str,
        bytes: &[u8],
        deadline: Instant,
    ) -> Result<(), NetworkError> {
        if std::mem::replace(&mut self.broken, true) {
            let reason = "an earlier write did not finish".into();
            return Err(NetworkError::Disconnected { what, reason });
        }
        let started = Instant::now();
        let deadline = deadline.min(started + self.stall);
        let written = async {
            self.io.write_all(bytes).await?;
            self.io.flush().await
        };
        match timeout_at(deadline, written).await {
            Ok(Ok(())) => {
                self.broken = false;
                Ok(())
            }
            Ok(Err(error)) => Err(self.remote.failed(what, &error)),
            Err(_) => Err(NetworkError::Timeout { what, after: started.elapsed() }),
        }
    }
}

/// Sends the first message of a stream. A peer that ends the stream instead of reading it is asked for its reason.
pub(crate) async fn open_with<M: WireMessage>(
    (reader, writer): (&mut MessageReader, &mut MessageWriter),
    message: &M,
    deadline: Instant,
) -> Result<(), NetworkError> {
    let Err(broken) = writer.write(message, deadline).await else { return Ok(()) };
    let end = deadline.min(Instant::now() + REASON_WAIT);
    let wait = Wait::until("the reason of a refusal", end, REASON_WAIT);
    // The error has the same field in every protocol's replies.
    match reader.expect(MAX_SMALL_MESSAGE, wait).await {
        Ok(ReplyFrame::Error(error)) => Err(error.into()),
        Err(unsupported @ NetworkError::UnsupportedProtocol { .. }) => Err(unsupported),
        _ => Err(broken),
    }
}
