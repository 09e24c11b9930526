//! One binary for the crate's integration tests.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![allow(
    clippy::duplicate_mod,
    reason = "what is true of a ledger is tested on every store: here and in `postgres`"
)]

mod accept;
mod audit;
mod books;
mod chain;
mod child;
mod codec;
mod common;
mod earned;
mod kill;
mod ledger;
mod money;
mod postgres;
mod reasons;
mod redeem;
mod sender;
mod sides;
mod steps;
mod store;
mod vectors;
mod works;
