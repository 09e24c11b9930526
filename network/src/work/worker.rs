//! The transcoder's side of the work protocol.

use std::sync::Arc;

use alloy_primitives::B256;
use bytes::Bytes;
use libp2p::PeerId;
use libp2p::swarm::ConnectionId;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::auth::{Handshake, Side};
use super::control::{Change, Control, Session, Status, agree, unexpected};
use super::{JobHeader, WorkCapacity, WorkHello, WorkToken};
use crate::error::NetworkError;
use crate::node::{Admitted, Context, Shared, StreamPermit, WORK_PROTOCOL};
use crate::segment::SegmentAccept;
use crate::transfer::{Offer, Plan, RenditionEnd, ReplyWriter, SourceReader};
use crate::wire::{
    ControlFrame, MAX_SMALL_MESSAGE, MessageReader, MessageWriter, Remote, Welcome, WorkHelloFrame, WorkOpen,
    open_with, split,
};
use crate::wire_error::{WireCode, WireError};

/// Jobs that wait for the transcoder's decision; it decides at once.
const JOB_QUEUE: usize = 16;

/// An authenticated session with an orchestrator. Dropping it ends the session.
#[derive(Debug)]
pub struct WorkSession {
    orchestrator: PeerId,
    jobs: mpsc::Receiver<IncomingJob>,
    session: Session,
    control: WorkControl,
    _route: JobRoute,
    _close: DropGuard,
}

/// Tells the orchestrator about this transcoder, from any task.
#[derive(Debug, Clone)]
pub struct WorkControl {
    local: Arc<watch::Sender<Status>>,
}

/// What happens in a work session.
#[derive(Debug)]
#[non_exhaustive]
pub enum WorkEvent {
    /// The orchestrator offers a job.
    Job(IncomingJob),
    /// The orchestrator shuts down: jobs in flight are finished, no new ones come.
    OrchestratorDraining,
}

/// A job waiting for a decision. Dropping it tells the orchestrator that this transcoder is busy.
#[derive(Debug)]
pub struct IncomingJob {
    header: Box<JobHeader>,
    offer: Option<Box<Offer>>,
}

/// The way back to the orchestrator.
#[derive(Debug)]
pub struct JobReply {
    writer: ReplyWriter,
}

/// Leads the jobs of one connection to its session.
#[derive(Debug)]
struct JobRoute {
    shared: Arc<Shared>,
    connection: ConnectionId,
}

impl JobRoute {
    fn new(
        shared: &Arc<Shared>,
        connection: ConnectionId,
    ) -> Result<(Self, mpsc::Receiver<IncomingJob>), NetworkError> {
        let (sender, jobs) = mpsc::channel(JOB_QUEUE);
        let mut services = shared.services();
        if services.jobs.contains_key(&connection) {
            return Err(NetworkError::AlreadyServed { protocol: WORK_PROTOCOL });
        }
        services.jobs.insert(connection, sender);
        Ok((Self { shared: shared.clone(), connection }, jobs))
    }
}

impl Drop for JobRoute {
    fn drop(&mut self) {
        self.shared.services().jobs.remove(&self.connection);
    }
}

impl WorkSession {
    /// The orchestrator.
    pub fn orchestrator(&self) -> PeerId {
        self.orchestrator
    }

    /// A handle that tells the orchestrator about this transcoder.
    pub fn control(&self) -> WorkControl {
        self.control.clone()
    }

    /// The next event. Cancel safe.
    ///
    /// # Errors
    /// Why the session ended; the transcoder should connect again after a pause.
    pub async fn next(&mut self) -> Result<WorkEvent, NetworkError> {
        loop {
            tokio::select! {
                Some(job) = self.jobs.recv() => return Ok(WorkEvent::Job(job)),
                change = self.session.changed() => match change? {
                    Change::Draining => return Ok(WorkEvent::OrchestratorDraining),
                    // Orchestrators have no capacity to tell.
                    Change::Capacity(_) => {}
                },
            }
        }
    }
}

impl WorkControl {
    /// Tells the orchestrator the present capacity; only the newest value counts.
    pub fn set_capacity(&self, capacity: WorkCapacity) {
        self.local.send_modify(|status| status.capacity = capacity);
    }

    /// Tells the orchestrator that this transcoder takes no new jobs.
    pub fn drain(&self) {
        self.local.send_modify(|status| status.draining = true);
    }
}

impl IncomingJob {
    /// What is offered, within the protocol's bounds.
    pub fn header(&self) -> &JobHeader {
        &self.header
    }

    /// Takes the job.
    ///
    /// # Errors
    /// When the orchestrator is gone.
    pub async fn accept(mut self) -> Result<(SourceReader, JobReply), NetworkError> {
        let offer = self.offer.take().expect("taken by accept or reject only");
        let (source, writer) = offer.accept(SegmentAccept::default()).await?;
        Ok((source, JobReply { writer }))
    }

    /// Refuses the job before its upload.
    pub async fn reject(mut self, error: WireError) {
        if let Some(offer) = self.offer.take() {
            offer.refuse(error).await;
        }
    }
}

impl Drop for IncomingJob {
    fn drop(&mut self) {
        if let Some(offer) = self.offer.take() {
            offer.let_go("too many jobs are waiting");
        }
    }
}

impl JobReply {
    /// Sends bytes of a rendition, in pieces that fit the wire. Waits while the orchestrator is slow. Not cancel safe: a dropped
    /// call ends the job.
    ///
    /// # Errors
    /// When the orchestrator is gone or too slow, or the rendition does not exist or has ended.
    pub async fn chunk(&mut self, index: u32, data: Bytes) -> Result<(), NetworkError> {
        self.writer.chunk(index, data).await
    }

    /// Ends a rendition. Hash and length are taken from the bytes that were sent.
    ///
    /// # Errors
    /// As [`JobReply::chunk`], and when frames or pixels are not what the header asks for.
    pub async fn end(&mut self, index: u32, pixels: u64, frames: u32) -> Result<RenditionEnd, NetworkError> {
        self.writer.end(index, pixels, frames, (B256::ZERO, None)).await
    }

    /// Ends the job.
    ///
    /// # Errors
    /// When the orchestrator is gone, or a rendition has not ended.
    pub async fn finish(self) -> Result<(), NetworkError> {
        self.writer.finish_job().await
    }

    /// Tells the orchestrator why there is no result, and ends the job.
    pub async fn fail(self, error: WireError) {
        self.writer.fail(error).await;
    }
}

/// Connects to an orchestrator and proves the token.
pub(crate) async fn connect(
    context: &Context,
    orchestrator: PeerId,
    hello: WorkHello,
    token: &WorkToken,
) -> Result<WorkSession, NetworkError> {
    hello.check()?;
    let within = context.timeouts.dial;
    let (connection, stream) = context.opener.open(orchestrator, None, WORK_PROTOCOL, within).await?;
    // Jobs may come before this side has read that it is welcome.
    let (route, jobs) = JobRoute::new(&context.shared, connection)?;
    let remote = Remote { peer: orchestrator, protocol: WORK_PROTOCOL };
    let (mut reader, mut writer) = split(stream, remote, context.timeouts.message);
    let told = Status { capacity: hello.capacity, draining: false };
    let keep_alive = shake_hands(context, orchestrator, hello, token, (&mut reader, &mut writer)).await?;
    let (local, status) = watch::channel(told);
    let closed = CancellationToken::new();
    let control = Control {
        reader,
        writer,
        keep_alive,
        told,
        heard: Status::default(),
        local: status,
        closed: closed.clone(),
        permit: StreamPermit::own(),
    };
    Ok(WorkSession {
        orchestrator,
        jobs,
        session: control.start(context),
        control: WorkControl { local: Arc::new(local) },
        _route: route,
        _close: closed.drop_guard(),
    })
}

/// Returns the agreed interval of keep-alives.
async fn shake_hands(
    context: &Context,
    orchestrator: PeerId,
    hello: WorkHello,
    token: &WorkToken,
    (reader, writer): (&mut MessageReader, &mut MessageWriter),
) -> Result<std::time::Duration, NetworkError> {
    let own = context.timeouts.keep_alive;
    let nonce = rand::random();
    let keep_alive_ms = u32::try_from(own.as_millis()).unwrap_or(u32::MAX);
    let hello = WorkOpen::Hello(WorkHelloFrame { hello, nonce, keep_alive_ms });
    open_with((reader, writer), &hello, context.answer_deadline()).await?;
    let orchestrator_nonce = match reader.expect(MAX_SMALL_MESSAGE, context.opening("a challenge")).await? {
        ControlFrame::Challenge { nonce } => nonce,
        ControlFrame::Error(error) => return Err(error.into()),
        other => return Err(unexpected(&other, "a challenge").into()),
    };
    let handshake =
        Handshake { worker: context.local, orchestrator, worker_nonce: nonce, orchestrator_nonce };
    let mac = handshake.prove(token, Side::Worker);
    writer.write(&ControlFrame::Proof { mac }, context.answer_deadline()).await?;
    match reader.expect(MAX_SMALL_MESSAGE, context.opening("a welcome")).await? {
        ControlFrame::Welcome(Welcome { mac, keep_alive_ms })
            if handshake.verify(token, Side::Orchestrator, &mac) =>
        {
            Ok(agree(own, keep_alive_ms))
        }
        ControlFrame::Welcome(_) => Err(NetworkError::Unproven { peer: orchestrator }),
        ControlFrame::Error(error) => Err(error.into()),
        other => Err(unexpected(&other, "a welcome").into()),
    }
}

/// Hands a job to the session of its connection.
pub(super) async fn serve_job(
    context: Context,
    admitted: (ConnectionId, StreamPermit),
    header: JobHeader,
    stream: (MessageReader, MessageWriter),
) {
    let (connection, permit) = admitted;
    let jobs = context.shared.services().jobs.get(&connection).cloned();
    let announced = (header.source_len, header.source_sha256);
    let plan = Plan::from(&header);
    let offer = Offer::new(context, stream, permit, plan, header.deadline, announced);
    let Some(jobs) = jobs else {
        let text = "this connection has no work session";
        return offer.refuse(WireError::new(WireCode::Unauthorized, text)).await;
    };
    let Some(offer) = offer.within_limits().await else { return };
    // Dropping what the queue does not take answers it with busy.
    drop(jobs.try_send(IncomingJob { header: Box::new(header), offer: Some(Box::new(offer)) }));
}

/// Reads the first message of a stream of the work protocol.
pub(crate) async fn serve(context: Context, admitted: Admitted) {
    let Admitted { peer, connection, stream, permit } = admitted;
    let remote = Remote { peer, protocol: WORK_PROTOCOL };
    let (mut reader, mut writer) = split(stream, remote, context.timeouts.message);
    let opening = reader.expect(crate::wire::MAX_OPEN_MESSAGE, context.opening("a work opening")).await;
    match opening {
        Ok(WorkOpen::Hello(hello)) => {
            let admitted = (peer, connection, permit);
            super::server::serve_hello(context, admitted, hello, (reader, writer)).await;
        }
        Ok(WorkOpen::Job(job)) => serve_job(context, (connection, permit), job, (reader, writer)).await,
        Err(error) => {
            permit.blame(&error);
            writer.fail(error.to_wire(), context.answer_deadline()).await;
        }
    }
}
