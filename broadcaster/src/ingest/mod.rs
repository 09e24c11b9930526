//! Ways in: a reader of a file or live stream, and HTTP push.

pub(crate) mod auth;
mod multipart;
pub(crate) mod push;
pub(crate) mod reader;
mod upload;
