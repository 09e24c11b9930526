//! What can go wrong between two peers.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId};

use crate::ladder::LadderError;
use crate::quote::QuoteMismatch;
use crate::wire_error::{WireCode, WireError};

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {reason}; choose another address or free the port")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// What the transport said.
        reason: String,
    },
    /// A transport could not be set up.
    #[error("cannot set up the transports: {0}")]
    Transport(String),
    /// This node has been shut down.
    #[error("the network node has been shut down")]
    ShutDown,
    /// No address of a peer is known.
    #[error("no address of peer {peer} is known: add its service address first")]
    NoAddress {
        /// The peer.
        peer: PeerId,
    },
    /// A peer cannot be reached.
    #[error("cannot reach peer {peer}: {reason}")]
    Unreachable {
        /// The peer.
        peer: PeerId,
        /// Why the last attempt failed.
        reason: String,
        /// Who else is at its address; boxed, since every error has the size of the largest.
        answered_by: Option<Box<PeerId>>,
    },
    /// The address book is full.
    #[error("the address book holds {bound} peers: remove some first")]
    AddressBookFull {
        /// Most peers held.
        bound: usize,
    },
    /// A peer does not serve a protocol.
    #[error("peer {peer} does not serve {protocol}")]
    UnsupportedProtocol {
        /// The peer.
        peer: PeerId,
        /// Name of the protocol.
        protocol: &'static str,
    },
    /// A protocol is served already by this node.
    #[error("{protocol} is served already: drop the first server before starting another")]
    AlreadyServed {
        /// Name of the protocol.
        protocol: &'static str,
    },
    /// Something did not happen in time.
    #[error("{what} took longer than {after:?}")]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// How long.
        after: Duration,
    },
    /// An orchestrator did not prove that it knows the work token.
    #[error("peer {peer} did not prove that it knows the work token: check the token and the address")]
    Unproven {
        /// The peer.
        peer: PeerId,
    },
    /// The peer answered with an error.
    #[error("peer refused: {0}")]
    Refused(#[from] WireError),
    /// The peer broke the protocol.
    #[error("peer broke the protocol: {0}")]
    Protocol(#[from] ProtocolError),
    /// The connection or stream ended.
    #[error("the connection ended while {what}: {reason}")]
    Disconnected {
        /// What was going on.
        what: &'static str,
        /// What the transport said.
        reason: String,
    },
    /// A value of this side that the protocol cannot carry.
    #[error("cannot send {what}: {reason}")]
    Unsendable {
        /// What was to be sent.
        what: &'static str,
        /// Why it cannot be.
        reason: String,
    },
}

impl NetworkError {
    /// The error that the peer should hear when this one ended serving it.
    pub fn to_wire(&self) -> WireError {
        match self {
            Self::Refused(error) => error.clone(),
            Self::Protocol(error) => WireError::new(error.wire_code(), error.to_string()),
            Self::Timeout { .. } => WireError::new(WireCode::TooSlow, self.to_string()),
            Self::ShutDown => WireError::new(WireCode::ShuttingDown, self.to_string()),
            _ => WireError::new(WireCode::Internal, "the node failed to serve this request"),
        }
    }

    /// The peer's error code, when the peer answered with one.
    pub fn wire_code(&self) -> Option<WireCode> {
        match self {
            Self::Refused(error) => Some(error.code),
            _ => None,
        }
    }
}

/// Ways in which a peer can break a protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A length prefix above the bound; nothing was allocated for it.
    #[error("message of {length} bytes announced: at most {max} are read here")]
    MessageTooLarge {
        /// Length announced.
        length: u64,
        /// Bound at this point of the protocol.
        max: usize,
    },
    /// Bytes that are no message of the expected type.
    #[error("{what} cannot be decoded")]
    Malformed {
        /// What was expected.
        what: &'static str,
    },
    /// A field outside its range.
    #[error("{field} is {value}: {expected}")]
    Field {
        /// The field.
        field: &'static str,
        /// What was found.
        value: String,
        /// What is legal.
        expected: &'static str,
    },
    /// An unusable ladder.
    #[error(transparent)]
    Ladder(#[from] LadderError),
    /// A quote for something else.
    #[error(transparent)]
    Quote(#[from] QuoteMismatch),
    /// A legal message at the wrong time.
    #[error("{found} came where {expected} was expected")]
    Unexpected {
        /// What came.
        found: &'static str,
        /// What should have come.
        expected: &'static str,
    },
    /// The stream ended too early.
    #[error("the stream ended in {what}")]
    Truncated {
        /// What was incomplete.
        what: &'static str,
    },
    /// The peer sends below the minimum rate.
    #[error("{bytes} bytes in {waited:?}: at least {min_rate} bytes per second are needed")]
    TooSlow {
        /// Bytes received.
        bytes: u64,
        /// Time spent waiting for them.
        waited: Duration,
        /// The bound.
        min_rate: u64,
    },
    /// More source bytes than the header announced.
    #[error("more source bytes than the {announced} announced")]
    SourceTooLong {
        /// Bytes announced.
        announced: u64,
    },
    /// A file that is longer than wanted, or than it was said to be.
    #[error("more than {max} bytes of a file")]
    BlobTooLong {
        /// Most bytes.
        max: u64,
    },
    /// A file with another hash than was asked for.
    #[error("the file's bytes do not have the sha-256 that was asked for")]
    BlobHash,
    /// Source bytes with another hash than announced.
    #[error("the source's bytes do not have the announced sha-256")]
    SourceHash,
    /// A rendition that was not asked for.
    #[error("rendition {index} of a ladder of {count}")]
    RenditionIndex {
        /// Index found.
        index: u32,
        /// Entries of the ladder.
        count: usize,
    },
    /// Data for a rendition that has ended.
    #[error("rendition {index} has ended already")]
    RenditionEnded {
        /// The rendition.
        index: u32,
    },
    /// More bytes than a rendition can have.
    #[error("rendition {index} has more than the {max} bytes its bitrate allows")]
    RenditionTooLong {
        /// The rendition.
        index: u32,
        /// The bound.
        max: u64,
    },
    /// A rendition's end contradicts its bytes or the ladder.
    #[error("rendition {index}: {field} is not what was received or asked for")]
    RenditionMismatch {
        /// The rendition.
        index: u32,
        /// What differs.
        field: &'static str,
    },
    /// The answer ended before every rendition did.
    #[error("{ended} of {count} renditions were delivered")]
    RenditionsMissing {
        /// Renditions that ended.
        ended: usize,
        /// Renditions asked for.
        count: usize,
    },
    /// The receipt contradicts the exchange.
    #[error("the receipt's {field} is not that of the exchange")]
    ReceiptMismatch {
        /// What differs.
        field: &'static str,
    },
}

impl ProtocolError {
    /// The code that tells the peer what it did.
    pub fn wire_code(&self) -> WireCode {
        match self {
            Self::MessageTooLarge { .. } | Self::SourceTooLong { .. } => WireCode::TooLarge,
            Self::TooSlow { .. } => WireCode::TooSlow,
            Self::SourceHash => WireCode::SourceMismatch,
            Self::RenditionIndex { .. }
            | Self::RenditionEnded { .. }
            | Self::RenditionTooLong { .. }
            | Self::RenditionMismatch { .. }
            | Self::RenditionsMissing { .. } => WireCode::RenditionMismatch,
            _ => WireCode::BadRequest,
        }
    }
}
