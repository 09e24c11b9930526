//! Prints the digest of the features of so many fuzzed frames by every kernel of this processor: `digest [FRAMES]`. The
//! lines of any two processors end in the same digest.

#[path = "../../tests/it/fuzzed.rs"]
mod fuzzed;

use std::process::ExitCode;

use framemill_verification::Kernel;

fn main() -> ExitCode {
    let Some(frames) = std::env::args().nth(1).map_or(Some(100_000), |frames| frames.parse().ok()) else {
        eprintln!("digest: want a number of frames");
        return ExitCode::from(2);
    };
    for kernel in Kernel::available() {
        for threads in [1, 8] {
            let digest = fuzzed::digest(kernel, frames, threads);
            println!("{} {kernel} {threads} {frames} {digest}", std::env::consts::ARCH);
        }
    }
    ExitCode::SUCCESS
}
