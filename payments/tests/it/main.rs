//! One binary for the crate's integration tests.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod accept;
mod codec;
mod common;
mod kill;
mod ledger;
mod money;
mod reasons;
mod redeem;
mod sender;
mod steps;
mod vectors;
