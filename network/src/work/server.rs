//! The orchestrator's side of the work protocol.

use std::sync::Arc;

use bytes::Bytes;
use libp2p::PeerId;
use libp2p::swarm::ConnectionId;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::auth::{Handshake, Side};
use super::control::{Change, Control, Session, Status, agree, unexpected};
use super::{JobHeader, WorkCapacity, WorkHello, WorkToken};
use crate::error::NetworkError;
use crate::node::{Context, StreamPermit, WORK_PROTOCOL};
use crate::transfer::{
    Collected, LastFrame, Pace, Plan, RenditionChunk, RenditionEnd, ReplyReader, SourceWriter, collect,
    unexpected as unexpected_reply,
};
use crate::wire::{
    ControlFrame, MAX_SMALL_MESSAGE, MessageReader, MessageWriter, Remote, ReplyFrame, Wait, Welcome,
    WorkHelloFrame, WorkOpen, open_with, split,
};
use crate::wire_error::{WireCode, WireError};

/// Transcoders that connect. Dropping it ends the service; sessions go on.
#[derive(Debug)]
pub struct WorkServer {
    queue: mpsc::Receiver<WorkerLink>,
}

/// An authenticated transcoder. Dropping it ends the session.
#[derive(Debug)]
pub struct WorkerLink {
    hello: WorkHello,
    handle: WorkerHandle,
    session: Session,
    _close: DropGuard,
}

/// Gives a transcoder work, from any task.
#[derive(Debug, Clone)]
pub struct WorkerHandle {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    context: Context,
    peer: PeerId,
    connection: ConnectionId,
    local: watch::Sender<Status>,
    closed: CancellationToken,
}

/// What a transcoder tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerEvent {
    /// The capacity changed.
    Capacity(WorkCapacity),
    /// It finishes what it has and takes no new jobs.
    Draining,
}

/// A job that a transcoder accepted. The two halves are independent: renditions may arrive during the upload.
#[derive(Debug)]
pub struct JobExchange {
    /// Takes the source.
    pub upload: SourceWriter,
    /// Gives the renditions.
    pub download: JobDownload,
}

/// The renditions of one job as they arrive, checked against the ladder.
#[derive(Debug)]
pub struct JobDownload {
    reader: ReplyReader,
}

/// What a transcoder sends back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobEvent {
    /// The next bytes of a rendition.
    Chunk(RenditionChunk),
    /// What came of a rendition is void; it is made anew.
    Restart {
        /// Position in the ladder.
        index: u32,
    },
    /// A rendition is complete and its bytes have the stated hash and length.
    End(RenditionEnd),
}

/// A whole job's result.
#[derive(Debug, Clone)]
pub struct JobResult {
    /// Bytes of each rendition in ladder order.
    pub renditions: Vec<Bytes>,
    /// End of each rendition in ladder order.
    pub ends: Vec<RenditionEnd>,
}

impl WorkServer {
    pub(crate) fn new(queue: mpsc::Receiver<WorkerLink>) -> Self {
        Self { queue }
    }

    /// The next transcoder that proved it knows the token; `None` when the network has been shut down. Cancel safe.
    pub async fn next(&mut self) -> Option<WorkerLink> {
        self.queue.recv().await
    }
}

impl WorkerLink {
    /// The transcoder's network identity.
    pub fn peer(&self) -> PeerId {
        self.handle.peer()
    }

    /// How it introduced itself.
    pub fn hello(&self) -> &WorkHello {
        &self.hello
    }

    /// A handle that gives this transcoder work.
    pub fn handle(&self) -> WorkerHandle {
        self.handle.clone()
    }

    /// The next event. Cancel safe.
    ///
    /// # Errors
    /// Why the session ended.
    pub async fn next(&mut self) -> Result<WorkerEvent, NetworkError> {
        Ok(match self.session.changed().await? {
            Change::Capacity(capacity) => WorkerEvent::Capacity(capacity),
            Change::Draining => WorkerEvent::Draining,
        })
    }
}

impl WorkerHandle {
    /// The transcoder's network identity.
    pub fn peer(&self) -> PeerId {
        self.inner.peer
    }

    /// True when the session has ended.
    pub fn is_closed(&self) -> bool {
        self.inner.closed.is_cancelled()
    }

    /// Offers a job down the transcoder's own connection and waits for its decision.
    ///
    /// # Errors
    /// [`NetworkError::Refused`] when the transcoder declines, or why it cannot be reached.
    pub async fn open_job(&self, header: JobHeader) -> Result<JobExchange, NetworkError> {
        let opened = self.inner.closed.run_until_cancelled(self.inner.open_job(header)).await;
        opened.unwrap_or_else(|| {
            let reason = "the work session ended".into();
            Err(NetworkError::Disconnected { what: "offering a job", reason })
        })
    }

    /// Tells the transcoder that no new jobs will come.
    pub fn drain(&self) {
        self.inner.local.send_modify(|status| status.draining = true);
    }
}

impl Inner {
    async fn open_job(&self, header: JobHeader) -> Result<JobExchange, NetworkError> {
        let (context, deadline) = (&self.context, header.deadline);
        let concrete = header.ladder.ensure_concrete();
        concrete.map_err(|error| NetworkError::Unsendable { what: "a job", reason: error.to_string() })?;
        let pace = Pace::new(&context.limits, &context.timeouts, deadline);
        let within = context.timeouts.dial.min(deadline);
        let opened = context.opener.open(self.peer, Some(self.connection), WORK_PROTOCOL, within);
        let remote = Remote { peer: self.peer, protocol: WORK_PROTOCOL };
        let (mut reader, mut writer) = split(opened.await?.1, remote, context.timeouts.message);
        let plan = Plan::from(&header);
        let left = pace.deadline.saturating_duration_since(Instant::now());
        let job = WorkOpen::Job(JobHeader { deadline: left, ..header });
        open_with((&mut reader, &mut writer), &job, pace.deadline).await?;
        let wait = Wait::until("the decision on a job", pace.deadline, pace.message);
        match reader.expect(MAX_SMALL_MESSAGE, wait).await? {
            ReplyFrame::Accept(_) => {}
            ReplyFrame::Error(error) => return Err(error.into()),
            other => return Err(unexpected_reply(&other, "an acceptance").into()),
        }
        let upload = SourceWriter::new(writer, plan.source_len, pace);
        let reader = ReplyReader::new(reader, plan, pace, LastFrame::Done);
        Ok(JobExchange { upload, download: JobDownload { reader } })
    }
}

impl JobExchange {
    /// Uploads the source and collects every rendition. Ends at the job's deadline at the latest; dropping the future ends the job.
    ///
    /// # Errors
    /// The transcoder's error where it gave one, even when the upload failed because of it.
    pub async fn complete(self, source: Bytes) -> Result<JobResult, NetworkError> {
        let Collected { renditions, ends, .. } = collect(self.upload, self.download.reader, source).await?;
        Ok(JobResult { renditions, ends })
    }
}

impl JobDownload {
    /// The next event; `None` when every rendition has ended. Cancel safe.
    ///
    /// # Errors
    /// The transcoder's error, a broken protocol, or the deadline; the job is over then.
    pub async fn next(&mut self) -> Result<Option<JobEvent>, NetworkError> {
        Ok(match self.reader.next().await? {
            None | Some(ReplyFrame::Done) => None,
            Some(ReplyFrame::Chunk(chunk)) => Some(JobEvent::Chunk(chunk)),
            Some(ReplyFrame::Restart { index }) => Some(JobEvent::Restart { index }),
            Some(ReplyFrame::End(end)) => Some(JobEvent::End(end)),
            Some(other) => return Err(unexpected_reply(&other, "a rendition").into()),
        })
    }
}

/// Lets a transcoder prove the token and hands it to the application.
pub(super) async fn serve_hello(
    context: Context,
    (peer, connection, permit): (PeerId, ConnectionId, StreamPermit),
    frame: WorkHelloFrame,
    (mut reader, mut writer): (MessageReader, MessageWriter),
) {
    let admitted = admit(&context, peer, &frame, (&mut reader, &mut writer)).await;
    let (place, keep_alive) = match admitted {
        Ok(admitted) => admitted,
        Err(error) => {
            tracing::info!(%peer, %error, "turned a transcoder away");
            permit.blame(&error);
            return writer.fail(error.to_wire(), context.answer_deadline()).await;
        }
    };
    let (local, status) = watch::channel(Status::default());
    let closed = CancellationToken::new();
    let control = Control {
        reader,
        writer,
        keep_alive,
        told: Status::default(),
        heard: Status { capacity: frame.hello.capacity, draining: false },
        local: status,
        closed: closed.clone(),
        permit,
    };
    let session = control.start(&context);
    let inner = Inner { context, peer, connection, local, closed: closed.clone() };
    let handle = WorkerHandle { inner: Arc::new(inner) };
    place.send(WorkerLink { hello: frame.hello, handle, session, _close: closed.drop_guard() });
}

/// A place in the application's queue and the agreed interval of keep-alives.
type Admission = (mpsc::OwnedPermit<WorkerLink>, std::time::Duration);

async fn admit(
    context: &Context,
    peer: PeerId,
    frame: &WorkHelloFrame,
    (reader, writer): (&mut MessageReader, &mut MessageWriter),
) -> Result<Admission, NetworkError> {
    let refused = |code, text: &str| NetworkError::Refused(WireError::new(code, text));
    let (token, queue) =
        served(context).ok_or_else(|| refused(WireCode::Unsupported, "this node takes no transcoders"))?;
    let nonce = rand::random();
    writer.write(&ControlFrame::Challenge { nonce }, context.answer_deadline()).await?;
    let handshake = Handshake {
        worker: peer,
        orchestrator: context.local,
        worker_nonce: frame.nonce,
        orchestrator_nonce: nonce,
    };
    match reader.expect(MAX_SMALL_MESSAGE, context.opening("a proof of the work token")).await? {
        ControlFrame::Proof { mac } if handshake.verify(&token, Side::Worker, &mac) => {}
        ControlFrame::Proof { .. } => {
            return Err(refused(WireCode::Unauthorized, "the work token is not the orchestrator's"));
        }
        other => return Err(unexpected(&other, "a proof").into()),
    }
    let full = |_| refused(WireCode::Busy, "too many transcoders are waiting");
    let place = queue.try_reserve_owned().map_err(full)?;
    let keep_alive = agree(context.timeouts.keep_alive, frame.keep_alive_ms);
    let mac = handshake.prove(&token, Side::Orchestrator);
    let keep_alive_ms = u32::try_from(keep_alive.as_millis()).unwrap_or(u32::MAX);
    let welcome = ControlFrame::Welcome(Welcome { mac, keep_alive_ms });
    writer.write(&welcome, context.answer_deadline()).await?;
    Ok((place, keep_alive))
}

fn served(context: &Context) -> Option<(WorkToken, mpsc::Sender<WorkerLink>)> {
    let services = context.shared.services();
    services.work_token.clone().zip(services.work.clone())
}
