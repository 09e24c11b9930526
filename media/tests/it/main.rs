//! The crate on real clips and on synthetic ones.
#![allow(clippy::unwrap_used)]

mod clips;
mod common;
mod encoding;
mod frames;
mod hostile;
mod segmenting;
mod timeline;
