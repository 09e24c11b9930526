//! Real nodes over loopback, and peers that do what no honest peer does.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod blob;
mod hostile_client;
mod hostile_server;
mod lifecycle;
mod opening;
mod quote;
mod raw;
mod segment;
mod support;
mod work;
