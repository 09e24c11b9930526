//! The `framemill` command.

use std::process::ExitCode;

use clap::Parser as _;
use framemill::cli::Cli;

fn main() -> ExitCode {
    framemill::run(Cli::parse())
}
