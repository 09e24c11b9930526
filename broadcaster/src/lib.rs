//! Buys transcoding: cuts a live stream into segments, pays for renditions segment by segment, verifies them and publishes HLS; an embeddable library.
//!
//! # A first program
//!
//! It takes one file to HLS through one orchestrator. For an orchestrator of your own on this machine, without a chain or payments, run
//! `framemill orchestrator` and `framemill transcoder` (their logs say the addresses to use), then give this program the address:
//!
//! ```no_run
//! use std::{fs::File, sync::Arc, time::Duration};
//!
//! use framemill_broadcaster::{Broadcaster, BroadcasterConfig, ObjectStorage, Pace, StreamConfig};
//! use framemill_network::{Identity, Network, NetworkConfig, ServiceAddress};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // As an orchestrator's log shows it: /ip4/203.0.113.7/udp/7936/quic-v1/p2p/12D3KooW…
//!     let orchestrator: ServiceAddress = std::env::args().nth(1).ok_or("give an orchestrator")?.parse()?;
//!     let broadcaster = Broadcaster::builder()
//!         .network(Network::start(NetworkConfig::new(Identity::generate())).await?)
//!         .store(Arc::new(ObjectStorage::folder("hls")?))
//!         .config(BroadcasterConfig { orchestrators: vec![orchestrator.into()], ..Default::default() })
//!         .build()
//!         .await?;
//!
//!     let stream = broadcaster.stream(StreamConfig::new("first"))?;
//!     stream.push_file(File::open("clip.mp4")?, Pace::Fast).await?;
//!     let summary = stream.finish().await;
//!     println!("{} segments: play hls/{}", summary.totals.published, summary.master_playlist);
//!
//!     broadcaster.shutdown(Duration::from_secs(5)).await;
//!     Ok(())
//! }
//! ```
//!
//! Three examples go on from there, and run in this crate's tests: `file` (with a table of what happened), `axum_handler` (ingest and playback inside a web
//! server of your own) and `custom_store` (renditions into whatever you have). With a chain, give the builder a [`ChainClient`](framemill_contracts::ChainClient)
//! to find orchestrators and a payer from [`open_payer`].
//!
//! # What goes in and comes out
//!
//! | in | |
//! | --- | --- |
//! | [`StreamHandle::push_reader`], [`StreamHandle::push_file`] | a live byte stream or a file, cut here |
//! | [`StreamHandle::push`], [`StreamHandle::push_bytes`] | segments that you cut |
//! | [`PushIngest`], [`RtmpIngest`] | HTTP pushes and RTMP publishers, decided by a [`PushAuth`] |
//!
//! | out | |
//! | --- | --- |
//! | [`PendingSegment::outcome`] | a segment's verified renditions, in memory |
//! | [`StreamHandle::events`], [`Broadcaster::events`] | everything that happens, as values that serialize to JSON |
//! | [`Store`] | HLS: in a folder or a bucket ([`ObjectStorage`]), in several at once ([`BroadcasterBuilder::copy_to`]), or in a store of yours |
//! | [`hls_router`], [`hls_object`] | the same over HTTP |
//!
//! # What holds
//!
//! Receipt, hashes and structure of every rendition are verified before any of it is published, and every frame, too, unless
//! a stream chooses [`Verification::Adaptive`]: it looks at pictures as often as the orchestrator's record asks for. A late, wrong or failed orchestrator costs a
//! failover inside the segment's deadline and is suspended; one that is later than usual has its segment sent to a warm spare as well.
//!
//! Nothing global is touched: no signal handlers, no listening sockets, no process-wide state; two broadcasters may live in one
//! process. Memory is bounded by [`StreamConfig::in_flight`], [`BroadcasterConfig::max_streams`] and the bounds of the ingests.
//!
//! # Cancellation
//!
//! Every public future may be dropped at any point. A dropped push has not taken its segment; a segment once taken, and a stream once told to finish,
//! go on whether or not anybody waits. Each method's documentation says its part. Dropping handles ends nothing but their stream: a broadcaster ends by
//! [`Broadcaster::shutdown`], which leaves no task behind.

mod attempt;
mod audit;
mod bisect;
mod bundles;
mod chain;
mod check;
mod claims;
mod config;
mod copies;
pub mod core;
mod cores;
mod directory;
pub mod endpoint;
mod error;
mod event;
mod evidence;
mod failure;
mod ingest;
mod market;
mod memory;
mod metrics;
mod outlets;
mod publish;
mod purchase;
mod queue;
mod rounds;
mod s3;
mod sampling;
mod serve;
mod service;
mod sessions;
mod span;
mod store;
mod stream;

pub use chain::{SenderBroker, open_payer};
pub use config::{
    BroadcasterConfig, DeadlinePolicy, Limits, MAX_STREAM_NAME, PlaylistMode, SamplingConfig,
    StaticOrchestrator, StreamConfig, UnknownVerification, Verification,
};
pub use directory::{Orchestrator, OrchestratorId};
pub use error::{BroadcasterError, SegmentError, StoreError, StreamError};
pub use event::{
    AttemptOutcome, AttemptReport, CopySummary, HedgeWinner, RenditionResult, RenditionVerdict,
    SegmentOutcome, SegmentReport, SegmentResult, StreamEvent, StreamSummary, Timeline, Totals,
};
pub use evidence::Evidence;
pub use ingest::auth::{AuthDenied, AuthGrant, AuthRequest, PushAuth};
pub use ingest::push::{PushConfig, PushIngest};
pub use ingest::reader::Pace;
pub use ingest::rtmp::{RtmpConfig, RtmpIngest};
pub use ingest::webhook::AuthWebhook;
pub use publish::LIVE_MASTER;
pub use s3::{S3Config, S3Credentials, S3CredentialsError};
pub use serve::{hls_object, hls_router};
pub use service::{Broadcaster, BroadcasterBuilder, OrchestratorView};
pub use store::{ObjectStorage, Store};
pub use stream::{PendingSegment, StreamHandle, source_of};

/// Reads the bytes as those of an RTMP publisher. There for fuzzing only.
#[cfg(fuzzing)]
pub fn read_rtmp(bytes: &[u8]) {
    ingest::rtmp::trial::any_input(bytes);
}
