//! The software engine on real and synthetic clips, and the daemon against a real work server.

mod daemon;
mod hostile;
mod inputs;
mod joins;
mod ladder;
mod long_run;
mod support;
mod trial;
