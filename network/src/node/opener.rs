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

    /// A stream to a peer, on the given connection or on any, dialing where there is none.
    pub(crate) async fn open(
        &self,
        peer: PeerId,
        connection: Option<ConnectionId>,
        protocol: &'static str,
        within: Duration,
    ) -> Result<(ConnectionId, Stream), NetworkError> {
        let (reply, answer) = oneshot::channel();
        let request = OpenStream { protocol: StreamProtocol::new(protocol), timeout: within, reply };
        let opened = async {
            let command = Command::Open { peer, connection, request };
            self.commands.send(command).await.map_err(|_| NetworkError::ShutDown)?;
            let gone = |_| NetworkError::Unreachable { peer, reason: "the connection ended".into() };
            answer.await.map_err(gone)?.map_err(|error| explain(peer, protocol, within, error))
        };
        let late = |_| NetworkError::Timeout { what: "connecting to a peer", after: within };
        timeout(within, opened).await.map_err(late)?
    }

    /// Closes every connection with a peer, soon.
    pub(crate) fn disconnect(&self, peer: PeerId) {
        // When the queue is full the ban still refuses the peer's streams.
        let _ = self.commands.try_send(Command::Disconnect { peer });
    }
}

fn explain(peer: PeerId, protocol: &'static str, within: Duration, error: OpenError) -> NetworkError {
    match error {
        OpenError::NoAddress => NetworkError::NoAddress { peer },
        OpenError::Unreachable(reason) => NetworkError::Unreachable { peer, reason },
        OpenError::Unsupported => NetworkError::UnsupportedProtocol { peer, protocol },
        OpenError::TimedOut => NetworkError::Timeout { what: "agreeing on a protocol", after: within },
        OpenError::TooMany => {
            NetworkError::Unreachable { peer, reason: "too many requests wait for this peer".into() }
        }
    }
}
