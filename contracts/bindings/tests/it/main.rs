//! The client and the contracts on a real chain.

#![allow(clippy::unwrap_used, reason = "a failed step fails its test")]

mod market;
mod outage;
mod stage;
mod staking;
mod tickets;
