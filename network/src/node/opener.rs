//! Opening streams from any task.

use std::time::Duration;

use libp2p::swarm::ConnectionId;
use libp2p::{PeerId, Stream, StreamProtocol};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::streams::{OpenError, OpenStream};
use super::swarm::Command;
use crate::error::NetworkError;

/// Asks the swarm's task for streams.
#[derive(Debug, Clone)]
pub(crate) struct Opener {
    commands: mpsc::Sender<Command>,
}

impl Opener {
    pub(crate) fn new(commands: mpsc::Sender<Command>) -> Self {
        Self { commands }
    }

    /// A stream to a peer, on the given connection or on any, dialing where there is none. A peer that is not where it was said to
    /// be is looked for, once.
    pub(crate) async fn open(
        &self,
        peer: PeerId,
        connection: Option<ConnectionId>,
        protocol: &'static str,
        within: Duration,
    ) -> Result<(ConnectionId, Stream), NetworkError> {
        let late = |_| NetworkError::Timeout { what: "connecting to a peer", after: within };
        timeout(within, self.open_or_find(peer, connection, protocol, within)).await.map_err(late)?
    }

    async fn open_or_find(
        &self,
        peer: PeerId,
        connection: Option<ConnectionId>,
        protocol: &'static str,
        within: Duration,
    ) -> Result<(ConnectionId, Stream), NetworkError> {
        let opened = self.open_once(peer, connection, protocol, within).await;
        let lost = matches!(opened, Err(NetworkError::NoAddress { .. } | NetworkError::Unreachable { .. }));
        if lost && connection.is_none() && self.locate(peer).await {
            return self.open_once(peer, connection, protocol, within).await;
        }
        opened
    }

    /// Looks for a peer's addresses; true when its book has others than before.
    pub(crate) async fn locate(&self, peer: PeerId) -> bool {
        let (reply, answer) = oneshot::channel();
        let asked = self.commands.send(Command::Locate { peer, reply }).await.is_ok();
        asked && answer.await.unwrap_or(false)
    }

    async fn open_once(
        &self,
        peer: PeerId,
        connection: Option<ConnectionId>,
        protocol: &'static str,
        within: Duration,
    ) -> Result<(ConnectionId, Stream), NetworkError> {
        let (reply, answer) = oneshot::channel();
        let request = OpenStream { protocol: StreamProtocol::new(protocol), timeout: within, reply };
        let command = Command::Open { peer, connection, request };
        self.commands.send(command).await.map_err(|_| NetworkError::ShutDown)?;
        let gone = |_| unreachable(peer, "the connection ended");
        answer.await.map_err(gone)?.map_err(|error| explain(peer, protocol, within, error))
    }

    /// Tells everybody, soon; what cannot be told now is told when there is somebody to tell.
    pub(crate) async fn announce(&self, announcement: Vec<u8>) -> Result<(), NetworkError> {
        let command = Command::Announce { announcement };
        self.commands.send(command).await.map_err(|_| NetworkError::ShutDown)
    }
}

fn explain(peer: PeerId, protocol: &'static str, within: Duration, error: OpenError) -> NetworkError {
    match error {
        OpenError::NoAddress => NetworkError::NoAddress { peer },
        OpenError::Unreachable { reason, answered_by } => {
            NetworkError::Unreachable { peer, reason, answered_by }
        }
        OpenError::Unsupported => NetworkError::UnsupportedProtocol { peer, protocol },
        OpenError::TimedOut => NetworkError::Timeout { what: "agreeing on a protocol", after: within },
        OpenError::TooMany => unreachable(peer, "too many requests wait for this peer"),
    }
}

fn unreachable(peer: PeerId, reason: &str) -> NetworkError {
    NetworkError::Unreachable { peer, reason: reason.into(), answered_by: None }
}
