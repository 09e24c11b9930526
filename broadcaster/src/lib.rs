//! Buys transcoding: cuts a live stream into segments, pays for renditions segment by segment, verifies them and publishes HLS; an embeddable library.
//!
//! A platform builds one [`Broadcaster`], opens a [`StreamHandle`] per stream, and pushes segments or a reader into it:
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use framemill_broadcaster::{Broadcaster, BroadcasterConfig, ObjectStorage, Pace, StreamConfig};
//! use framemill_network::{Identity, Network, NetworkConfig, ServiceAddress};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let network = Network::start(NetworkConfig::new(Identity::generate())).await?;
//! let orchestrator: ServiceAddress = "/ip4/203.0.113.7/udp/4433/quic-v1/p2p/12D3KooW…".parse()?;
//! let broadcaster = Broadcaster::builder()
//!     .network(network)
//!     .store(Arc::new(ObjectStorage::folder("hls")?))
//!     .config(BroadcasterConfig { orchestrators: vec![orchestrator.into()], ..Default::default() })
//!     .build()
//!     .await?;
//! let stream = broadcaster.stream(StreamConfig::new("cam-1"))?;
//! stream.push_file(std::fs::File::open("clip.mp4")?, Pace::Realtime).await?;
//! println!("{}", stream.finish().await.master_playlist);
//! # Ok(())
//! # }
//! ```
//!
//! Receipt, hashes and structure of every rendition are verified before any of it is published, and every frame, too, unless
//! a stream chooses [`Verification::Adaptive`]: it looks at pictures as often as the orchestrator's record asks for. A late, wrong or failed orchestrator costs a
//! failover inside the segment's deadline and is suspended; one that is later than usual has its segment sent to a warm spare as well. Nothing global is touched: no signal handlers, no listening
//! sockets, no process-wide state. It ends by [`Broadcaster::shutdown`].

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
mod store;
mod stream;

pub use chain::{SenderBroker, open_payer};
pub use config::{
    BroadcasterConfig, DeadlinePolicy, Limits, MAX_STREAM_NAME, PlaylistMode, SamplingConfig,
    StaticOrchestrator, StreamConfig, Verification,
};
pub use directory::{Orchestrator, OrchestratorId};
pub use error::{BroadcasterError, SegmentError, StoreError, StreamError};
pub use event::{
    AttemptOutcome, AttemptReport, CopySummary, HedgeWinner, RenditionResult, RenditionVerdict,
    SegmentOutcome, SegmentReport, SegmentResult, StreamEvent, StreamSummary, Timeline, Totals,
};
pub use evidence::Evidence;
pub use ingest::auth::{AuthDenied, AuthGrant, AuthRequest, AuthWebhook, PushAuth};
pub use ingest::push::{PushConfig, PushIngest};
pub use ingest::reader::Pace;
pub use ingest::rtmp::{RtmpConfig, RtmpIngest};
pub use publish::LIVE_MASTER;
pub use s3::{S3Config, S3Credentials, S3CredentialsError};
pub use serve::{hls_object, hls_router};
pub use service::{Broadcaster, BroadcasterBuilder, OrchestratorView};
pub use store::{ObjectStorage, Store};
pub use stream::{PendingSegment, StreamHandle, source_of};
