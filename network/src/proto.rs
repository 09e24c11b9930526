//! The generated messages; `wire` turns them into the crate's checked types.

#![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated; framemill.proto documents it")]

include!(concat!(env!("OUT_DIR"), "/framemill.v1.rs"));
