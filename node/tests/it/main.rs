//! The binary as its users run it.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod alerts;
mod api;
mod audit;
mod bench;
mod config;
mod court;
mod dashboard;
mod dispute;
mod doctor;
mod earnings;
mod first_errors;
mod gpu;
mod market;
mod reference;
mod stake;
mod tickets;
mod verify;
mod wallet;

use std::process::{Command, Output};

/// A program, with nothing of this machine's configuration.
fn clean(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("FRAMEMILL_")) {
        command.env_remove(name);
    }
    command
}

/// The binary.
fn framemill(arguments: &[&str]) -> Command {
    let mut command = clean(env!("CARGO_BIN_EXE_framemill"));
    command.args(arguments);
    command
}

fn run(arguments: &[&str]) -> Output {
    framemill(arguments).output().expect("the binary runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
