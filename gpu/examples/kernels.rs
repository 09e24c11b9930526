//! Compiles the CUDA kernels to PTX: `kernels SOURCE TARGET`. Needs NVRTC where the system's loader finds it, and no device.
//!
//! The result's first line names the SHA-256 of its source, which a test compares.

use std::process::ExitCode;

use cudarc::nvrtc::{CompileOptions, compile_ptx_with_opts};
use sha2::{Digest, Sha256};

/// The oldest devices with dot products of bytes.
const ARCHITECTURE: &str = "compute_61";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [source, target] = &arguments[..] else {
        eprintln!("usage: kernels SOURCE TARGET");
        return ExitCode::from(2);
    };
    match compile(source).and_then(|ptx| Ok(std::fs::write(target, ptx)?)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("kernels: {source}: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn compile(path: &str) -> Result<String, Box<dyn std::error::Error>> {
    let source = std::fs::read_to_string(path)?;
    let options = CompileOptions { arch: Some(ARCHITECTURE), ..CompileOptions::default() };
    let ptx = compile_ptx_with_opts(&source, options)?;
    let hash: String = Sha256::digest(&source).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("// of source {hash}\n{}", ptx.to_src().trim_end_matches('\0')))
}
