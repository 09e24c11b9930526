//! Real nodes over loopback, and peers that do what no honest peer does.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod ahead;
mod blob;
mod bounds;
mod discovery;
mod hostile_answers;
mod hostile_client;
mod hostile_connections;
mod hostile_finder;
mod hostile_relay;
mod hostile_server;
mod lifecycle;
mod nat;
mod netns;
mod opening;
mod proxy;
mod quote;
mod raw;
mod segment;
mod support;
mod work;
