//! The messages of each protocol as checked types.

use bytes::Bytes;
use prost::Message;

use crate::error::ProtocolError;
use crate::opening::OpeningAnswer;
use crate::quote::SignedQuote;
use crate::receipt::SignedReceipt;
use crate::segment::SegmentAccept;
use crate::signing::SignatureBytes;
use crate::transfer::{RenditionChunk, RenditionEnd};
use crate::wire_error::WireError;
use crate::work::{JobHeader, WorkCapacity, WorkHello};

/// A checked type with its encoding.
pub(crate) trait WireMessage: Sized {
    /// What an error calls this message.
    const NAME: &'static str;
    type Proto: Message + Default;

    fn from_proto(proto: Self::Proto) -> Result<Self, ProtocolError>;
    fn to_proto(&self) -> Self::Proto;

    fn decode(bytes: Bytes) -> Result<Self, ProtocolError> {
        let proto = Self::Proto::decode(bytes).map_err(|_| ProtocolError::Malformed { what: Self::NAME })?;
        Self::from_proto(proto)
    }
}

/// Answer of the quote protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum QuoteReply {
    Quote(Box<SignedQuote>),
    Error(WireError),
}

/// Answer of the opening protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OpeningReply {
    Answer(OpeningAnswer),
    Error(WireError),
}

/// What comes back for a blob: how long it is, then its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BlobFrame {
    Bytes(u64),
    Data(Bytes),
    Error(WireError),
}

impl BlobFrame {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Bytes(_) => "a blob's length",
            Self::Data(_) => "a blob's bytes",
            Self::Error(_) => "an error",
        }
    }
}

/// Bytes of a source, never none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceChunk(pub(crate) Bytes);

/// What comes back for a segment or a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReplyFrame {
    Accept(SegmentAccept),
    Chunk(RenditionChunk),
    End(RenditionEnd),
    Restart {
        index: u32,
    },
    Receipt(SignedReceipt),
    /// A receipt without what both sides know.
    BriefReceipt {
        round: u32,
        signature: SignatureBytes,
    },
    Done,
    Error(WireError),
}

impl ReplyFrame {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Accept(_) => "an acceptance",
            Self::Chunk(_) => "a rendition's bytes",
            Self::End(_) => "a rendition's end",
            Self::Restart { .. } => "a rendition's restart",
            Self::Receipt(_) | Self::BriefReceipt { .. } => "a receipt",
            Self::Done => "a job's end",
            Self::Error(_) => "an error",
        }
    }
}

/// First message of a stream of the work protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WorkOpen {
    Hello(WorkHelloFrame),
    Job(JobHeader),
}

/// A transcoder's first message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WorkHelloFrame {
    pub(crate) hello: WorkHello,
    pub(crate) nonce: [u8; 32],
    pub(crate) keep_alive_ms: u32,
}

/// The orchestrator's proof that it knows the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Welcome {
    pub(crate) mac: [u8; 32],
    pub(crate) keep_alive_ms: u32,
}

/// Everything else on a control stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ControlFrame {
    Challenge { nonce: [u8; 32] },
    Proof { mac: [u8; 32] },
    Welcome(Welcome),
    KeepAlive,
    Capacity(WorkCapacity),
    Drain,
    Error(WireError),
}

impl ControlFrame {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Challenge { .. } => "a challenge",
            Self::Proof { .. } => "a proof",
            Self::Welcome(_) => "a welcome",
            Self::KeepAlive => "a keep-alive",
            Self::Capacity(_) => "a capacity",
            Self::Drain => "a drain notice",
            Self::Error(_) => "an error",
        }
    }
}
