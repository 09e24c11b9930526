//! The crate on real clips and on synthetic ones.
#![allow(clippy::unwrap_used)]

mod clips;
mod common;
