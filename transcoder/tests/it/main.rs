//! The software engine on real and synthetic clips, and the daemon against a real work server.

mod av1;
mod daemon;
mod damaged;
mod hostile;
mod inputs;
mod joins;
mod ladder;
mod long_run;
#[path = "../../examples/process/mod.rs"]
mod process;
mod support;
mod trial;
mod two_processes;
