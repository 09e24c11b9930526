//! The crate on real clips and on synthetic ones.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod av1;
mod clips;
mod common;
mod encoding;
mod frames;
mod hostile;
mod segmenting;
mod timeline;
mod watching;
