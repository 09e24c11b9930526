//! One binary for the crate's integration tests.
#![allow(clippy::unwrap_used)]

mod accept;
mod codec;
mod common;
mod kill;
mod ledger;
mod money;
mod redeem;
mod sender;
mod vectors;
