//! The broadcaster against scripted orchestrators that speak the real protocol over loopback and transcode for real.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod admission;
mod av1;
mod bucket;
mod cancellation;
mod clips;
mod commitments;
mod embedding;
mod examples;
mod failover;
mod ffplay;
mod hedging;
mod low_latency;
mod payment;
mod playlists;
mod publishers;
mod push;
mod quality;
mod rtmp;
mod s3;
mod sampling;
mod spans;
mod stated;
mod support;
mod webhook;
