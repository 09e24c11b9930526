//! The source's way.

use alloy_primitives::B256;
use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep_until};

use super::rate::RateGuard;
use super::{CHUNK_BYTES, Pace};
use crate::error::{NetworkError, ProtocolError};
use crate::node::StreamPermit;
use crate::wire::{MAX_CHUNK_MESSAGE, MessageReader, MessageWriter, SourceChunk, Wait};

/// A collected source grows from this size: the announced length is only believed as bytes arrive.
const FIRST_ALLOCATION: u64 = 1024 * 1024;

/// Sends a source of the announced length.
#[derive(Debug)]
pub struct SourceWriter {
    writer: MessageWriter,
    announced: u64,
    missing: u64,
    pace: Pace,
}

/// Most bytes of a source that go out before the peer has decided: with the largest header they fit the window that a stream has
/// from its start, so that they never wait for it, and are all that a refusal can waste.
pub const MAX_AHEAD_BYTES: usize = 2 * CHUNK_BYTES;

impl SourceWriter {
    pub(crate) fn new(writer: MessageWriter, announced: u64, pace: Pace) -> Self {
        Self { writer, announced, missing: announced, pace }
    }

    /// Bytes sent so far, those that went ahead of the decision included: the next ones follow them.
    pub fn sent(&self) -> u64 {
        self.announced - self.missing
    }

    /// Sends the next bytes. Waits while the peer is slow. Not cancel safe: a dropped call ends the exchange.
    ///
    /// # Errors
    /// When the peer is gone or too slow, or the bytes exceed the announced length.
    pub async fn send(&mut self, mut data: Bytes) -> Result<(), NetworkError> {
        let announced = self.announced;
        let left = self.missing.checked_sub(data.len() as u64);
        self.missing =
            left.ok_or_else(|| unsendable(format!("it has more than the {announced} bytes announced")))?;
        while !data.is_empty() {
            let chunk = SourceChunk(data.split_to(data.len().min(CHUNK_BYTES)));
            self.writer.write(&chunk, self.pace.deadline).await?;
        }
        Ok(())
    }

    /// Ends the source.
    ///
    /// # Errors
    /// When the peer is gone, or bytes of the announced length are missing.
    pub async fn finish(mut self) -> Result<(), NetworkError> {
        if self.missing > 0 {
            let (missing, announced) = (self.missing, self.announced);
            return Err(unsendable(format!("{missing} of the {announced} bytes announced are missing")));
        }
        self.writer.close(self.pace.deadline).await
    }
}

/// Sends what has not been sent of a whole source.
pub(crate) async fn upload(mut writer: SourceWriter, source: Bytes) -> Result<(), NetworkError> {
    let sent = usize::try_from(writer.sent()).map_or(source.len(), |sent| sent.min(source.len()));
    writer.send(source.slice(sent..)).await?;
    writer.finish().await
}

fn unsendable(reason: String) -> NetworkError {
    NetworkError::Unsendable { what: "the source", reason }
}

/// Receives a source of the announced length and hash.
#[derive(Debug)]
pub struct SourceReader {
    reader: MessageReader,
    announced: u64,
    received: u64,
    sha256: B256,
    hasher: Sha256,
    rate: RateGuard,
    pace: Pace,
    complete: bool,
    /// Until when nothing is read, so that the peer keeps to its rate.
    paused_until: Instant,
    permit: StreamPermit,
}

impl SourceReader {
    pub(crate) fn new(
        reader: MessageReader,
        (announced, sha256): (u64, B256),
        pace: Pace,
        permit: StreamPermit,
    ) -> Self {
        Self {
            reader,
            announced,
            received: 0,
            sha256,
            hasher: Sha256::new(),
            rate: RateGuard::new(pace.min_rate, pace.grace),
            pace,
            complete: false,
            paused_until: Instant::now(),
            permit,
        }
    }

    /// The next bytes as they arrive; `None` when the source is complete and has the announced hash. Cancel safe.
    ///
    /// # Errors
    /// When the peer is gone, too slow, or sends other bytes than announced.
    pub async fn next(&mut self) -> Result<Option<Bytes>, NetworkError> {
        if self.complete {
            return Ok(None);
        }
        sleep_until(self.paused_until.min(self.pace.deadline)).await;
        // Bytes that lie here already end no wait, so that the deadline has to be looked at. Who is to blame is not known: this side
        // may have been slow to read.
        self.pace.check()?;
        let read = self.read().await;
        if let Err(error) = &read {
            self.permit.blame(error);
        }
        read
    }

    async fn read(&mut self) -> Result<Option<Bytes>, NetworkError> {
        let started = Instant::now();
        let message = self.pace.message;
        let wait = Wait::begun_by("the source", started + message, message).no_later_than(self.pace.deadline);
        let chunk: Option<SourceChunk> = self.reader.read(MAX_CHUNK_MESSAGE, wait).await?;
        let Some(SourceChunk(data)) = chunk else { return self.end() };
        self.received += data.len() as u64;
        if self.received > self.announced {
            return Err(ProtocolError::SourceTooLong { announced: self.announced }.into());
        }
        self.rate.record(data.len(), started.elapsed())?;
        self.paused_until = Instant::now() + self.permit.spend(data.len());
        self.hasher.update(&data);
        Ok(Some(data))
    }

    /// The whole source, which is at most as long as announced.
    ///
    /// # Errors
    /// As [`SourceReader::next`].
    pub async fn read_all(mut self) -> Result<Bytes, NetworkError> {
        let first =
            usize::try_from(self.announced.min(FIRST_ALLOCATION)).expect("a small constant bounds it");
        let mut source = BytesMut::with_capacity(first);
        while let Some(data) = self.next().await? {
            source.extend_from_slice(&data);
        }
        Ok(source.freeze())
    }

    fn end(&mut self) -> Result<Option<Bytes>, NetworkError> {
        if self.received < self.announced {
            return Err(ProtocolError::Truncated { what: "the source" }.into());
        }
        let hash = std::mem::take(&mut self.hasher).finalize();
        if self.sha256 != B256::from_slice(&hash) {
            return Err(ProtocolError::SourceHash.into());
        }
        self.complete = true;
        Ok(None)
    }
}
