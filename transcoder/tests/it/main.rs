//! The software engine on real and synthetic clips, and the daemon against a real work server.

mod daemon;
mod hostile;
mod joins;
mod ladder;
mod support;
mod trial;
