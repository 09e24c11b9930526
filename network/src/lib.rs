//! The libp2p wire between roles: identity, discovery, and the quote, segment, opening, blob and work protocols with bounds, deadlines and typed errors.
//!
//! A role starts one [`Network`], tells it where peers are ([`Network::add_peer`]), and uses the protocols of its role:
//!
//! | role | asks | serves |
//! | --- | --- | --- |
//! | broadcaster | [`Network::request_quote`], [`Network::open_segment`], [`Network::request_opening`] | [`Network::serve_blobs`] |
//! | orchestrator | [`WorkerHandle::open_job`], [`Network::request_blob`] | [`Network::serve_quotes`], [`Network::serve_segments`], [`Network::serve_openings`], [`Network::serve_blobs`], [`Network::serve_work`] |
//! | transcoder | [`Network::connect_work`] | jobs of its [`WorkSession`] |
//!
//! Whatever a peer sends is bounded in size and time before it reaches a role, and every exchange ends with a typed error or a
//! result. The node ends with [`Network::shutdown`]. Signatures are made and checked by the roles; this crate computes digests.

pub mod announcement;
mod blob;
mod conduct;
mod config;
pub mod discovery;
mod doors;
mod error;
mod gate;
mod identity;
pub mod ladder;
pub mod merkle;
mod node;
pub mod opening;
mod price;
mod proto;
mod quality;
pub mod quote;
mod quote_service;
pub mod receipt;
mod records;
pub mod segment;
pub mod signing;
mod transfer;
mod wire;
mod wire_error;
pub mod work;

pub use libp2p::{Multiaddr, PeerId};

pub use announcement::{Announcement, Author, Recover, SignedAnnouncement};
pub use blob::{BlobRequest, BlobServer, IncomingBlob};
pub use config::{DiscoveryConfig, NetworkConfig, NetworkLimits, NetworkTimeouts, RelayLimits};
pub use discovery::{MAX_ADDRESSES, MAX_SERVICE_BYTES, ServiceAddress, ServiceAddressError};
pub use error::{NetworkError, ProtocolError};
pub use identity::{Identity, IdentityError, write_private_file};
pub use ladder::{
    Codec, FrameRate, Gop, Ladder, LadderEntry, LadderError, Profile, SourceVideo, TranscodeConfiguration,
};
pub use node::{Network, ReachTest};
pub use opening::{IncomingOpening, OpeningAnswer, OpeningQuestion, OpeningRequest, OpeningServer};
pub use price::{PriceError, PricePerPixel};
pub use quality::{MAX_CENTI_DB, PPM, QualityTerms, QualityTermsError};
pub use quote::{MAX_TICKET_PARAMS_BYTES, Quote, QuoteMismatch, QuoteRequest, SignedQuote};
pub use quote_service::{IncomingQuote, QuoteServer};
pub use receipt::{RenditionClaim, SignedReceipt, TranscodeReceipt, renditions_root};
pub use segment::{
    IncomingSegment, MAX_PAYMENT_BYTES, SegmentAccept, SegmentDownload, SegmentEvent, SegmentExchange,
    SegmentHeader, SegmentReply, SegmentResult, SegmentServer,
};
pub use signing::{SignatureBytes, SigningDomain};
pub use transfer::{
    CHUNK_BYTES, MAX_AHEAD_BYTES, MAX_CHUNK_BYTES, RenditionChunk, RenditionEnd, SourceReader, SourceWriter,
};
pub use wire_error::{MAX_DETAILS_BYTES, MAX_MESSAGE_BYTES, Retry, WireCode, WireError};
pub use work::{
    IncomingJob, JobDownload, JobEvent, JobExchange, JobHeader, JobReply, JobResult, TokenError,
    WorkCapacity, WorkControl, WorkEvent, WorkHello, WorkServer, WorkSession, WorkToken, WorkerEvent,
    WorkerHandle, WorkerLink,
};

/// Decodes the bytes as every message of every protocol. There for fuzzing only.
#[cfg(fuzzing)]
pub fn decode_every_message(bytes: &bytes::Bytes) {
    wire::decode_all(bytes);
}
