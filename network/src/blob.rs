//! Fetching files by their SHA-256, and serving them: one file a stream, no longer than who asks wants it.
//!
//! Evidence of disputes travels this way: who accuses serves it, and so does every juror that has fetched it. What a file is for, and
//! that it is the right one to ask for, is for the roles.

mod slots;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use alloy_primitives::B256;
use bytes::{Bytes, BytesMut};
use libp2p::PeerId;
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::Instant;

use crate::error::{NetworkError, ProtocolError};
use crate::node::{Admitted, BLOB_PROTOCOL, Context, StreamPermit};
use crate::transfer::{MAX_CHUNK_BYTES, RateGuard};
use crate::wire::{
    BlobFrame, MAX_CHUNK_MESSAGE, MAX_SMALL_MESSAGE, MessageReader, MessageWriter, Remote, Wait, open_with,
    split,
};
use crate::wire_error::{WireCode, WireError};
use slots::{Place, Sending, Slots};

/// A collected file grows from this size: the announced length is only believed as bytes arrive.
const FIRST_ALLOCATION: u64 = 1024 * 1024;

/// A file that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobRequest {
    /// SHA-256 of its bytes.
    pub sha256: B256,
    /// A longer one is not wanted.
    pub max_bytes: u64,
}

/// Requests for files. Dropping it ends the service.
pub struct BlobServer {
    queue: mpsc::Receiver<IncomingBlob>,
    patience: Duration,
    vouched: Box<dyn Fn(&PeerId) -> bool + Send + Sync>,
}

impl fmt::Debug for BlobServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobServer").field("patience", &self.patience).finish_non_exhaustive()
    }
}

/// A request waiting for an answer. Dropping it tells the asker that the node is busy.
#[derive(Debug)]
pub struct IncomingBlob {
    peer: PeerId,
    request: BlobRequest,
    received: Instant,
    way_back: Option<WayBack>,
}

#[derive(Debug)]
struct WayBack {
    context: Context,
    writer: MessageWriter,
    permit: StreamPermit,
}

impl BlobServer {
    pub(crate) fn new(queue: mpsc::Receiver<IncomingBlob>, patience: Duration) -> Self {
        Self { queue, patience, vouched: Box::new(|_| false) }
    }

    /// Prefers the peers that `vouched` knows: when as many files are on their way as may be, one for a stranger, the slowest, is
    /// ended for theirs. Else who makes up peers could keep everybody out.
    #[must_use]
    pub fn preferring(mut self, vouched: impl Fn(&PeerId) -> bool + Send + Sync + 'static) -> Self {
        self.vouched = Box::new(vouched);
        self
    }

    /// The next request; `None` when the network has been shut down. Cancel safe.
    pub async fn next(&mut self) -> Option<IncomingBlob> {
        loop {
            let incoming = self.queue.recv().await?;
            // A request that waited too long is dropped, which answers it with busy.
            if incoming.received.elapsed() < self.patience {
                return Some(incoming);
            }
        }
    }

    /// Sends the plain files that `find` names, until the network has been shut down. `find` may block on the disk.
    pub async fn serve_files(mut self, find: impl Fn(B256) -> Option<PathBuf> + Send + Sync + 'static) {
        let find = Arc::new(find);
        let mut slots = Slots::<Id, AbortHandle>::new();
        let mut sends = JoinSet::new();
        loop {
            tokio::select! {
                incoming = self.next() => {
                    let Some(incoming) = incoming else { return };
                    let (peer, now) = (incoming.peer, Instant::now());
                    let vouched = (self.vouched)(&peer);
                    match slots.place(peer, vouched, now) {
                        Place::Free => {}
                        Place::InsteadOf(slowest) => {
                            if let Some(task) = slots.leave(slowest) {
                                task.abort();
                            }
                        }
                        // Dropping the request answers it with busy.
                        Place::None => continue,
                    }
                    let sent = Arc::<AtomicU64>::default();
                    let sending = Sending::new(peer, vouched, now, Arc::clone(&sent));
                    let task = sends.spawn(send_file(incoming, Arc::clone(&find), sent));
                    slots.enter(task.id(), sending, task);
                }
                Some(ended) = sends.join_next_with_id() => {
                    slots.leave(ended.map_or_else(|failed| failed.id(), |(id, ())| id));
                }
            }
        }
    }
}

async fn send_file(
    incoming: IncomingBlob,
    find: Arc<impl Fn(B256) -> Option<PathBuf> + Send + Sync + 'static>,
    sent: Arc<AtomicU64>,
) {
    let (peer, sha256) = (incoming.peer, incoming.request.sha256);
    let found = tokio::task::spawn_blocking(move || find(sha256)).await.ok().flatten();
    let opened = match found {
        Some(path) => open(path).await,
        None => None,
    };
    let Some((file, bytes)) = opened else {
        return incoming.refuse(WireError::new(WireCode::UnknownBlob, "no file with this hash is here"));
    };
    if let Err(error) = incoming.send_counted(bytes, file, &sent).await {
        tracing::debug!(%peer, %sha256, %error, "a file could not be delivered");
    }
}

async fn open(path: PathBuf) -> Option<(File, u64)> {
    let file = File::open(path).await.ok()?;
    let told = file.metadata().await.ok()?;
    told.is_file().then_some((file, told.len()))
}

impl IncomingBlob {
    /// Who asks; authenticated by the connection.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// What is asked for.
    pub fn request(&self) -> &BlobRequest {
        &self.request
    }

    /// Says why there is no file. Does not wait for the peer.
    pub fn refuse(mut self, error: WireError) {
        self.fail(error);
    }

    /// Sends `bytes` bytes. A longer file than is wanted is refused.
    ///
    /// # Errors
    /// When the file ends early or cannot be read, or the peer is gone, takes too long for one message, or reads more slowly than
    /// an upload may be ([`NetworkLimits::min_upload_rate`](crate::NetworkLimits::min_upload_rate)).
    pub async fn send(self, bytes: u64, data: impl AsyncRead + Unpin) -> Result<(), NetworkError> {
        self.send_counted(bytes, data, &AtomicU64::new(0)).await
    }

    async fn send_counted(
        mut self,
        bytes: u64,
        mut data: impl AsyncRead + Unpin,
        sent: &AtomicU64,
    ) -> Result<(), NetworkError> {
        if bytes > self.request.max_bytes {
            let wanted = self.request.max_bytes;
            self.fail(WireError::new(
                WireCode::TooLarge,
                format!("it has {bytes} bytes, {wanted} are wanted"),
            ));
            return Ok(());
        }
        let Some(WayBack { context, mut writer, permit }) = self.way_back.take() else { return Ok(()) };
        writer.write(&BlobFrame::Bytes(bytes), context.answer_deadline()).await?;
        let mut rate = RateGuard::new(context.limits.min_upload_rate, context.timeouts.rate_grace);
        let mut left = bytes;
        while left > 0 {
            let next = usize::try_from(left).unwrap_or(usize::MAX).min(MAX_CHUNK_BYTES);
            let mut chunk = vec![0; next];
            data.read_exact(&mut chunk)
                .await
                .map_err(|error| NetworkError::Unsendable { what: "a file", reason: error.to_string() })?;
            left -= next as u64;
            let started = Instant::now();
            writer.write(&BlobFrame::Data(chunk.into()), context.answer_deadline()).await?;
            rate.record(next, started.elapsed())?;
            sent.fetch_add(next as u64, Ordering::Relaxed);
        }
        let closed = writer.close(context.answer_deadline()).await;
        drop(permit);
        closed
    }

    fn fail(&mut self, error: WireError) {
        let Some(WayBack { context, mut writer, permit }) = self.way_back.take() else { return };
        let deadline = context.answer_deadline();
        context.spawn(async move {
            writer.fail(error, deadline).await;
            drop(permit);
        });
    }
}

impl Drop for IncomingBlob {
    fn drop(&mut self) {
        self.fail(WireError::new(WireCode::Busy, "too many requests are waiting"));
    }
}

/// Reads one request and hands it to the application.
pub(crate) async fn serve(context: Context, admitted: Admitted) {
    let Admitted { peer, stream, permit, .. } = admitted;
    let remote = Remote { peer, protocol: BLOB_PROTOCOL };
    let (mut reader, mut writer) = split(stream, remote, context.timeouts.message);
    let request = reader.expect(MAX_SMALL_MESSAGE, context.opening("a request for a file")).await;
    match request {
        Ok(request) => {
            let queue = context.shared.services().blobs.clone();
            let way_back = Some(WayBack { context, writer, permit });
            let incoming = IncomingBlob { peer, request, received: Instant::now(), way_back };
            // Dropping what the queue does not take answers it with busy.
            if let Some(queue) = queue {
                drop(queue.try_send(incoming));
            }
        }
        Err(error) => {
            permit.blame(&error);
            writer.fail(error.to_wire(), context.answer_deadline()).await;
        }
    }
}

/// Asks one peer.
pub(crate) async fn request(
    context: &Context,
    peer: PeerId,
    request: &BlobRequest,
    deadline: Duration,
) -> Result<Bytes, NetworkError> {
    let until = Instant::now() + deadline;
    let within = deadline.min(context.timeouts.dial);
    let (_, stream) = context.opener.open(peer, None, BLOB_PROTOCOL, within).await?;
    let remote = Remote { peer, protocol: BLOB_PROTOCOL };
    let (mut reader, mut writer) = split(stream, remote, context.timeouts.message);
    open_with((&mut reader, &mut writer), request, until).await?;
    // The peer looks for the file first, as long as an application may take.
    let first = until.min(Instant::now() + context.timeouts.application);
    let wait = Wait::begun_by("a file", first, context.timeouts.message);
    match reader.expect(MAX_CHUNK_MESSAGE, wait).await? {
        BlobFrame::Error(error) => Err(error.into()),
        BlobFrame::Bytes(bytes) if bytes > request.max_bytes => {
            Err(ProtocolError::BlobTooLong { max: request.max_bytes }.into())
        }
        BlobFrame::Bytes(bytes) => collect(context, &mut reader, request, bytes).await,
        other => Err(ProtocolError::Unexpected { found: other.name(), expected: "a blob's length" }.into()),
    }
}

async fn collect(
    context: &Context,
    reader: &mut MessageReader,
    request: &BlobRequest,
    bytes: u64,
) -> Result<Bytes, NetworkError> {
    let first = usize::try_from(bytes.min(FIRST_ALLOCATION)).expect("a small constant bounds it");
    let mut data = BytesMut::with_capacity(first);
    let mut rate = RateGuard::new(context.limits.min_upload_rate, context.timeouts.rate_grace);
    while (data.len() as u64) < bytes {
        let started = Instant::now();
        let message = context.timeouts.message;
        let wait = Wait::begun_by("a file", started + message, message);
        match reader.expect(MAX_CHUNK_MESSAGE, wait).await? {
            BlobFrame::Data(chunk) if (data.len() + chunk.len()) as u64 > bytes => {
                return Err(ProtocolError::BlobTooLong { max: bytes }.into());
            }
            BlobFrame::Data(chunk) => {
                rate.record(chunk.len(), started.elapsed())?;
                data.extend_from_slice(&chunk);
            }
            BlobFrame::Error(error) => return Err(error.into()),
            other @ BlobFrame::Bytes(_) => {
                let (found, expected) = (other.name(), "a blob's bytes");
                return Err(ProtocolError::Unexpected { found, expected }.into());
            }
        }
    }
    if B256::from_slice(&Sha256::digest(&data)) != request.sha256 {
        return Err(ProtocolError::BlobHash.into());
    }
    Ok(data.freeze())
}
