//! The `framemill` command.

use std::process::ExitCode;

use clap::Parser as _;
use framemill::cli::Cli;

/// Segments are buffers of hundreds of kilobytes that live for seconds. The C library's allocator hands each back to the kernel,
/// which has to clear its pages before the next one gets them; that took a fifth of a loaded broadcaster's time.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    framemill::run(Cli::parse())
}
