//! What happens, for whoever embeds the orchestrator: the demo, the dashboard, tests.

use alloy_primitives::B256;
use framemill_network::PeerId;
use probabilistic_ticket::Wei;
use tokio::sync::broadcast;

/// Events a slow receiver may lag behind before it misses some.
const EVENT_BACKLOG: usize = 1024;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OrchestratorEvent {
    /// A transcoder proved that it knows the token.
    TranscoderConnected {
        /// Its network identity.
        peer: PeerId,
        /// How it calls itself.
        name: String,
        /// Output pixels per second it measured.
        pixels_per_second: u64,
    },
    /// A transcoder is gone.
    TranscoderLeft {
        /// Its network identity.
        peer: PeerId,
    },
    /// A quote was signed.
    SessionOpened {
        /// The session.
        session: B256,
        /// Who it is bound to.
        peer: PeerId,
    },
    /// A session's time is over.
    SessionEnded {
        /// The session.
        session: B256,
    },
    /// A segment was delivered and its receipt signed.
    SegmentDone {
        /// The session.
        session: B256,
        /// Its number.
        sequence: u64,
        /// Output pixels of all renditions.
        pixels: u64,
        /// What it earned.
        earned: Wei,
    },
    /// A segment was taken or refused, and ended without a receipt.
    SegmentFailed {
        /// The session.
        session: B256,
        /// Its number.
        sequence: u64,
        /// The wire code its client was given.
        code: &'static str,
    },
    /// Tickets won.
    TicketsWon {
        /// How many.
        tickets: u64,
    },
    /// Winners are on their way to the chain.
    RedemptionSent {
        /// How many.
        tickets: usize,
    },
    /// Winners were paid, finally.
    RedemptionPaid {
        /// How many.
        tickets: usize,
        /// Their face value.
        value: Wei,
    },
}

/// Hands events to whoever listens; nobody has to.
#[derive(Debug, Clone)]
pub(crate) struct Events(broadcast::Sender<OrchestratorEvent>);

impl Events {
    pub(crate) fn new() -> Self {
        Self(broadcast::Sender::new(EVENT_BACKLOG))
    }

    pub(crate) fn send(&self, event: OrchestratorEvent) {
        // An error only says that nobody listens.
        let _ = self.0.send(event);
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<OrchestratorEvent> {
        self.0.subscribe()
    }
}
