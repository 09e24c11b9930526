//! Bytes in and out of FFmpeg, all in memory.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};

use crate::error::{Limit, MediaError};
use crate::limits::{CancelFlag, MediaLimits, check};

/// Why a [`GuardedReader`] stopped, kept aside because FFmpeg reduces every failure of a reader to a number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Failure(Arc<Mutex<Option<MediaError>>>);

impl Failure {
    /// The failure, if there was one.
    pub(crate) fn get(&self) -> Option<MediaError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps the failure, and gives the error to return for it.
    pub(crate) fn set(&self, error: MediaError) -> io::Error {
        let text = error.to_string();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        io::Error::other(text)
    }
}

/// A reader that stops at the limits: bytes, deadline, cancellation.
pub(crate) struct GuardedReader<R> {
    inner: R,
    position: u64,
    limits: MediaLimits,
    failure: Failure,
}

impl<R> GuardedReader<R> {
    pub(crate) fn new(inner: R, limits: &MediaLimits) -> (Self, Failure) {
        let failure = Failure::default();
        (Self { inner, position: 0, limits: limits.clone(), failure: failure.clone() }, failure)
    }

    /// Where the next byte lies may not pass the limit: a seekable input can be read more than once.
    fn advance(&mut self, position: u64) -> io::Result<()> {
        self.position = position;
        check(Limit::InputBytes, position, self.limits.input_bytes).map_err(|error| self.failure.set(error))
    }
}

impl<R: Read> Read for GuardedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.limits.check_time().map_err(|error| self.failure.set(error))?;
        let count = loop {
            match self.inner.read(buffer) {
                Ok(count) => break count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.limits.check_time().map_err(|error| self.failure.set(error))?;
                    return Err(self.failure.set(MediaError::Source { reason: error.to_string() }));
                }
            }
        };
        self.advance(self.position.saturating_add(count as u64))?;
        Ok(count)
    }
}

impl<R: Seek> Seek for GuardedReader<R> {
    fn seek(&mut self, target: SeekFrom) -> io::Result<u64> {
        self.position = self.inner.seek(target)?;
        Ok(self.position)
    }
}

/// Where a muxer's bytes go: a buffer that is emptied from outside.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sink(Arc<Mutex<BytesMut>>);

impl Sink {
    /// Takes what was written so far.
    pub(crate) fn take(&self) -> Bytes {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).split().freeze()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A bounded pipe of bytes: what is pushed into the handle comes out of the reader, which a
/// [`Segmenter`](crate::Segmenter) on another thread takes.
///
/// At most `capacity` chunks wait. The reader ends when all handles are dropped, and fails when `cancel` is raised.
pub fn push_source(capacity: usize, cancel: CancelFlag) -> (PushHandle, PushReader) {
    let (sender, receiver) = sync_channel(capacity.max(1));
    (PushHandle { sender }, PushReader { receiver, current: Bytes::new(), cancel })
}

/// The writing end of [`push_source`]. Drop all clones to end the stream.
#[derive(Debug, Clone)]
pub struct PushHandle {
    sender: SyncSender<Bytes>,
}

impl PushHandle {
    /// Adds a chunk, blocking while the pipe is full. Returns the chunk when the reader is gone.
    pub fn push(&self, chunk: Bytes) -> Result<(), Bytes> {
        self.sender.send(chunk).map_err(|error| error.0)
    }

    /// Adds a chunk if there is room. Returns the chunk when the pipe is full or the reader is gone.
    pub fn try_push(&self, chunk: Bytes) -> Result<(), Bytes> {
        self.sender.try_send(chunk).map_err(|error| match error {
            TrySendError::Full(chunk) | TrySendError::Disconnected(chunk) => chunk,
        })
    }
}

/// The reading end of [`push_source`].
#[derive(Debug)]
pub struct PushReader {
    receiver: Receiver<Bytes>,
    current: Bytes,
    cancel: CancelFlag,
}

/// How long a reader may sleep before it looks at its cancellation flag again.
const CANCEL_POLL: Duration = Duration::from_millis(20);

impl Read for PushReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            if self.cancel.is_cancelled() {
                return Err(io::Error::other("cancelled by the caller"));
            }
            match self.receiver.recv_timeout(CANCEL_POLL) {
                Ok(chunk) => self.current = chunk,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
            }
        }
        let count = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}
