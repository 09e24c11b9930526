//! Fetching files by their SHA-256, and serving them: one file a stream, no longer than who asks wants it.
//!
//! Evidence of disputes travels this way: who accuses serves it, and so does every juror that has fetched it. What a file is for, and
//! that it is the right one to ask for, is for the roles.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::B256;
use bytes::{Bytes, BytesMut};
use libp2p::PeerId;
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::error::{NetworkError, ProtocolError};
use crate::node::{Admitted, BLOB_PROTOCOL, Context, StreamPermit};
use crate::transfer::{MAX_CHUNK_BYTES, RateGuard};
use crate::wire::{
    BlobFrame, MAX_CHUNK_MESSAGE, MAX_SMALL_MESSAGE, MessageReader, MessageWriter, Remote, Wait, open_with,
    split,
};
use crate::wire_error::{WireCode, WireError};

/// Files that are sent at once; each holds one chunk in memory.
const MAX_SENT: usize = 16;
/// Of these, for one peer: who reads slowly must not keep others waiting.
const MAX_SENT_TO_ONE: usize = 4;
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
#[derive(Debug)]
pub struct BlobServer {
    queue: mpsc::Receiver<IncomingBlob>,
    patience: Duration,
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
        Self { queue, patience }
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
        let mut sent: HashMap<PeerId, usize> = HashMap::new();
        let mut sends = JoinSet::new();
        loop {
            tokio::select! {
                incoming = self.next(), if sends.len() < MAX_SENT => {
                    let Some(incoming) = incoming else { return };
                    let peer = incoming.peer;
                    let to_it = sent.entry(peer).or_default();
                    // Dropping the request answers it with busy.
                    if *to_it < MAX_SENT_TO_ONE {
                        *to_it += 1;
                        let find = Arc::clone(&find);
                        sends.spawn(async move { send_file(incoming, find).await; peer });
                    }
                }
                Some(ended) = sends.join_next() => {
                    let Ok(peer) = ended else { continue };
                    let left = sent.get_mut(&peer).map_or(0, |count| { *count -= 1; *count });
                    if left == 0 {
                        sent.remove(&peer);
                    }
                }
            }
        }
    }
}

async fn send_file(
    incoming: IncomingBlob,
    find: Arc<impl Fn(B256) -> Option<PathBuf> + Send + Sync + 'static>,
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
    if let Err(error) = incoming.send(bytes, file).await {
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
    /// When the file ends early or cannot be read, or the peer is gone or takes too long for one message.
    pub async fn send(mut self, bytes: u64, mut data: impl AsyncRead + Unpin) -> Result<(), NetworkError> {
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
        let mut left = bytes;
        while left > 0 {
            let next = usize::try_from(left).unwrap_or(usize::MAX).min(MAX_CHUNK_BYTES);
            let mut chunk = vec![0; next];
            data.read_exact(&mut chunk)
                .await
                .map_err(|error| NetworkError::Unsendable { what: "a file", reason: error.to_string() })?;
            left -= next as u64;
            writer.write(&BlobFrame::Data(chunk.into()), context.answer_deadline()).await?;
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
        Err(error) => writer.fail(error.to_wire(), context.answer_deadline()).await,
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
    let wait = Wait { what: "a file", first, message: context.timeouts.message };
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
        let wait = Wait { what: "a file", first: started + message, message };
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
