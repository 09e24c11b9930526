//! Buys transcoding: cuts a live stream into segments, pays for renditions segment by segment, verifies them and publishes HLS; an embeddable library.
//!
//! # A first program
//!
//! It takes `clip.mp4` to HLS through one orchestrator, and is the example `first`:
//!
//! ```no_run
#![doc = include_str!("../examples/first.rs")]
//! ```
//!
//! To run it, make a clip and an orchestrator of your own with a transcoder, without a chain or payments. The orchestrator has a key all the
//! same, since it signs what it delivers, and its log says the address to give to others. From a clone of the repository, with `framemill` in the `PATH`:
//!
//! ```sh
//! ffmpeg -loglevel error -f lavfi -i testsrc2=size=640x360:rate=30 -f lavfi -i sine -t 6 -pix_fmt yuv420p \
//!        -c:v libx264 -preset veryfast -g 60 -c:a aac clip.mp4
//! (umask 077; openssl rand -hex 32 > password)
//! export FRAMEMILL_WALLET_PASSWORD_FILE=password
//! framemill wallet new --set data_dir=orchestrator
//! framemill orchestrator --set data_dir=orchestrator --set network.listen=/ip4/127.0.0.1/tcp/0 2> orchestrator.log &
//! until grep --quiet service= orchestrator.log; do sleep 1; done
//! ADDRESS=$(sed -n 's/.* service=\([^ ]*\).*/\1/p' orchestrator.log)
//! framemill transcoder --set data_dir=transcoder --set transcoder.orchestrator="$ADDRESS" \
//!     --set transcoder.token_file=orchestrator/transcoder.token 2> transcoder.log &
//! until grep --quiet 'transcoder connected' orchestrator.log; do sleep 1; done
//! cargo run --quiet --package framemill-broadcaster --example first -- "$ADDRESS"
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
