//! Ways in: a reader of a file or live stream, and HTTP push.

pub mod auth;
mod multipart;
pub mod push;
pub mod reader;
