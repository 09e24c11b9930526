//! Ways in: a reader of a file or live stream, HTTP push, and RTMP.

pub(crate) mod auth;
mod multipart;
mod passes;
pub(crate) mod push;
pub(crate) mod reader;
pub(crate) mod rtmp;
mod upload;
pub(crate) mod webhook;
