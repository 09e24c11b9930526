//! Compiles the CUDA kernels to PTX: `kernels SOURCE TARGET`. Needs NVRTC where the system's loader finds it, and no device.

mod compile;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [source, target] = &arguments[..] else {
        eprintln!("usage: kernels SOURCE TARGET");
        return ExitCode::from(2);
    };
    match compile::compile(Path::new(source)).and_then(|ptx| Ok(std::fs::write(target, ptx)?)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("kernels: {source}: {reason}");
            ExitCode::FAILURE
        }
    }
}
