//! The client and the contracts on a real chain.

#![allow(clippy::unwrap_used, reason = "a failed step fails its test")]

mod court;
mod duties;
mod failover;
mod follow;
mod history;
mod market;
mod mirror;
mod model;
mod nonces;
mod outage;
mod proxy;
mod random_market;
mod stage;
mod staking;
mod tally;
mod tickets;
mod whole_life;
