//! From an inbound stream to a typed request in the application's queue.

use std::sync::Arc;

use libp2p::swarm::ConnectionId;
use libp2p::{PeerId, Stream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::opener::Opener;
use super::shared::{Services, Shared, StreamPermit};
use super::streams::InboundStream;
use super::{BLOB_PROTOCOL, OPENING_PROTOCOL, QUOTE_PROTOCOL, SEGMENT_PROTOCOL, WORK_PROTOCOL};
use crate::config::{NetworkLimits, NetworkTimeouts};
use crate::gate::Refusal;
use crate::wire::{Remote, Wait, split};
use crate::wire_error::{WireCode, WireError};

/// Peers that are told at one time why their stream is refused; further ones see it closed.
const MAX_REFUSALS: usize = 64;

/// What serving a stream needs; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) local: PeerId,
    pub(crate) shared: Arc<Shared>,
    pub(crate) opener: Opener,
    pub(crate) limits: Arc<NetworkLimits>,
    pub(crate) timeouts: Arc<NetworkTimeouts>,
    pub(crate) tasks: TaskTracker,
    pub(crate) cancel: CancellationToken,
}

/// A stream with its origin and its place in the peer's budget.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) peer: PeerId,
    pub(crate) connection: ConnectionId,
    pub(crate) stream: Stream,
    pub(crate) permit: StreamPermit,
}

impl Context {
    /// Runs a task of this node; it ends with the node.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let cancel = self.cancel.clone();
        self.tasks.spawn(async move {
            cancel.run_until_cancelled(task).await;
        });
    }

    /// Ends every task and every service of the node.
    pub(crate) fn end(&self) {
        self.cancel.cancel();
        *self.shared.services() = Services::default();
    }

    /// Waiting for the first message of a stream: all of it, however late it begins.
    pub(crate) fn opening(&self, what: &'static str) -> Wait {
        let message = self.timeouts.message;
        Wait::until(what, Instant::now() + message, message)
    }

    /// When a single answer must have been taken by the peer.
    pub(crate) fn answer_deadline(&self) -> Instant {
        Instant::now() + self.timeouts.message
    }
}

/// Takes inbound streams until the node is shut down.
pub(crate) async fn accept_loop(context: Context, mut inbound: mpsc::Receiver<InboundStream>) {
    let refusals = Arc::new(Semaphore::new(MAX_REFUSALS));
    while let Some(InboundStream { peer, connection, protocol, stream }) = inbound.recv().await {
        let served = [QUOTE_PROTOCOL, SEGMENT_PROTOCOL, OPENING_PROTOCOL, BLOB_PROTOCOL, WORK_PROTOCOL];
        let protocol = served.into_iter().find(|name| *name == protocol.as_ref());
        let protocol = protocol.expect("only these protocols are offered to peers");
        match context.shared.admit(peer) {
            Ok(permit) => serve(&context, protocol, Admitted { peer, connection, stream, permit }),
            // Its connections are about to be closed.
            Err(Refusal::Banned) => drop(stream),
            Err(refusal) => refuse(&context, &refusals, (stream, Remote { peer, protocol }), refusal),
        }
    }
}

fn serve(context: &Context, protocol: &'static str, admitted: Admitted) {
    let own = context.clone();
    match protocol {
        QUOTE_PROTOCOL => context.spawn(crate::quote_service::serve(own, admitted)),
        SEGMENT_PROTOCOL => context.spawn(crate::segment::serve(own, admitted)),
        OPENING_PROTOCOL => context.spawn(crate::opening::serve(own, admitted)),
        BLOB_PROTOCOL => context.spawn(crate::blob::serve(own, admitted)),
        _ => context.spawn(crate::work::serve(own, admitted)),
    }
}

/// Tells a peer why its stream is refused; the stream's first message is not read.
fn refuse(
    context: &Context,
    refusals: &Arc<Semaphore>,
    (stream, remote): (Stream, Remote),
    refusal: Refusal,
) {
    let error = match refusal {
        Refusal::TooOften { wait } => {
            WireError::new(WireCode::RateLimited, "too many requests").with_retry_after(wait)
        }
        Refusal::TooManyStreams { bound } => {
            WireError::new(WireCode::RateLimited, format!("at most {bound} streams at a time"))
        }
        Refusal::Banned => WireError::new(WireCode::Unauthorized, "this peer is banned for a while"),
    };
    let Ok(slot) = refusals.clone().try_acquire_owned() else { return };
    let own = context.clone();
    context.spawn(async move {
        let _slot = slot;
        let (_reader, mut writer) = split(stream, remote, own.timeouts.message);
        writer.fail(error, own.answer_deadline()).await;
    });
}
