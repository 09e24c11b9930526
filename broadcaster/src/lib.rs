//! Buys transcoding: cuts a live stream into segments, pays for renditions segment by segment, verifies them and publishes HLS; an embeddable library.
//!
//! # A first program
//!
//! It takes `clip.mp4` to HLS through one orchestrator. This crate is on no registry yet: have a clone of its repository, called `framemill`, and begin
//! beside it. On Debian `framemill/scripts/setup build media` installs what building it takes (FFmpeg's libraries, clang), and what is typed below.
//!
//! ```sh
//! cargo new first && cd first
//! cargo add --path ../framemill/broadcaster
//! cargo add tokio --features macros,rt-multi-thread
//! ```
//!
//! This is all of `src/main.rs`:
//!
//! ```no_run
#![doc = include_str!("../examples/first.rs")]
//! ```
//!
//! To run it, make a clip and an orchestrator of your own with a transcoder, without a chain or payments. The orchestrator has a key all the
//! same, since it signs what it delivers, and its log says the address to give to others. `framemill` is in the `PATH`: in the clone,
//! `cargo build --release --package framemill` puts it into `target/release`. Pictures are compared in your own process, hence `--release`; the first build
//! takes minutes.
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
//! cargo run --quiet --release -- "$ADDRESS"
//! ```
//!
//! Three examples go on from there, and run in this crate's tests: `file` (with a table of what happened), `axum_handler` (ingest and playback inside a web
//! server of your own) and `custom_store` (renditions into whatever you have). With a chain, give the builder a [`ChainClient`]
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
//! | [`hls_router`], [`hls_object`] | the same over HTTP, the router at low latency where a stream has [`StreamConfig::parts_per_segment`] |
//!
//! # What holds
//!
//! Receipt, hashes and structure of every rendition are verified before any of it is published, and every frame, too, unless
//! a stream chooses [`Verification::Adaptive`]: it looks at pictures as often as the orchestrator's record asks for. A late, wrong or failed orchestrator costs a
//! failover inside the segment's deadline and is suspended; one that is later than usual has its segment sent to a warm spare as well.
//!
//! Nothing global is touched: no signal handlers, no listening sockets, no process-wide state of this crate; two broadcasters may live in one
//! process. FFmpeg has two settings of its own that hold for a process, which its first use sets once: no single buffer of it may pass 256 MiB, and its
//! log goes to `tracing`. If you use FFmpeg yourself, set its log callback after that; it stays yours. Memory is bounded by
//! [`StreamConfig::in_flight`], [`BroadcasterConfig::max_streams`] and the bounds of the ingests.
//!
//! # Cancellation
//!
//! Every public future may be dropped at any point. A dropped push has not taken its segment; a segment once taken, and a stream once told to finish,
//! go on whether or not anybody waits. Each method's documentation says its part. Dropping handles ends nothing but their stream: a broadcaster ends by
//! [`Broadcaster::shutdown`], which leaves no task behind.
//!
//! # Versions
//!
//! What can be named through this crate stays as it is from one 0.1 to the next; the changelog announces a version that breaks it (0.2, and in the end 2).
//! `broadcaster/api.txt` in the repository lists all of it, and no change of it lands unseen. Compatible versions bring
//! - new fields of settings, which all have defaults: end yours with `..Default::default()`, or `..StreamConfig::new("cam")`;
//! - new events, outcomes and errors, and new fields of what is told: it is `#[non_exhaustive]`;
//! - new methods of [`Store`] and [`PushAuth`] that have a body.
//!
//! Types of other crates stand in signatures where a type of our own would only have to be turned into them. Those of Framemill's other crates are found here;
//! [`alloy_primitives`] (accounts, hashes, amounts), [`bytes`], [`axum`] (routers to merge with yours), [`object_store`] (buckets of your own) and
//! [`prometheus`] (your registry) are here in the version that is meant. The runtime is Tokio 1, and streams of events are those of `futures` 0.3.

mod attempt;
mod audit;
mod bisect;
mod bundles;
mod chain;
mod check;
mod claims;
mod config;
mod copies;
mod core;
mod cores;
mod directory;
mod editions;
#[doc(hidden)]
pub mod endpoint;
mod error;
mod event;
mod evidence;
mod failure;
mod format;
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

pub use crate::core::{
    hedge::HedgePolicy,
    plan::PlanLimits,
    scoreboard::{Performance, Standing, SuspensionPolicy},
    select::SelectionPolicy,
};
pub use chain::{SenderBroker, open_payer};
pub use config::{
    BroadcasterConfig, DeadlinePolicy, Limits, MAX_STREAM_NAME, PlaylistMode, SamplingConfig,
    StaticOrchestrator, StreamConfig, UnknownVerification, Verification,
};
pub use directory::{Orchestrator, OrchestratorId};
pub use error::{BroadcasterError, SegmentError, StoreError, StreamError};
pub use event::{
    AttemptOutcome, AttemptReport, AuditReport, CopySummary, HedgeWinner, RenditionResult, RenditionVerdict,
    SegmentOutcome, SegmentReport, SegmentResult, StreamEvent, StreamSummary, Timeline, Totals,
};
pub use evidence::Evidence;
pub use ingest::auth::{AuthDenied, AuthGrant, AuthRequest, PushAuth};
pub use ingest::push::{PushConfig, PushIngest};
pub use ingest::reader::Pace;
pub use ingest::rtmp::{RtmpConfig, RtmpIngest};
pub use ingest::webhook::AuthWebhook;
pub use metrics::every_series;
pub use publish::LIVE_MASTER;
pub use s3::{S3Config, S3Credentials, S3CredentialsError};
pub use serve::{hls_object, hls_router};
pub use service::{Broadcaster, BroadcasterBuilder, OrchestratorView};
pub use store::{ObjectStorage, Store};
pub use stream::{PendingSegment, StreamHandle, source_of};

// What the items above name, so that one dependency is enough.
pub use async_trait::async_trait;
pub use framemill_contracts::{ChainClient, ChainConfig, ChainError, Deployment};
pub use framemill_media::{MediaError, MediaLimits, SegmentInfo, Segmenter, SegmenterConfig, SourceSegment};
pub use framemill_network::{
    Identity, Ladder, LadderEntry, LadderError, Multiaddr, Network, NetworkConfig, NetworkError, PeerId,
    PricePerPixel, ServiceAddress, SigningDomain, SourceVideo,
};
pub use framemill_verification::{
    Policy, Report,
    evidence::ReceiptRecord,
    policy::attention::AttentionConfig,
    policy::draw::{Epoch, Seed},
};
pub use probabilistic_ticket::{
    BrokerError, BrokerView, ChainView, EthKey, PostgresLedger, Sender, SenderCaps, SenderError, SenderFunds,
    SenderLedger, SqliteLedger, Wei,
};
pub use tokio_util::sync::CancellationToken;
pub use {alloy_primitives, axum, bytes, object_store, prometheus};

/// The decisions, for the simulations of this repository. Nobody else may rely on it.
#[doc(hidden)]
pub mod simulation {
    pub use crate::core::*;
}

/// Reads the bytes as those of an RTMP publisher. There for fuzzing only.
#[cfg(fuzzing)]
pub fn read_rtmp(bytes: &[u8]) {
    ingest::rtmp::trial::any_input(bytes);
}
