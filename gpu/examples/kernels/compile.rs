//! CUDA C++ to PTX by NVRTC, which the system's loader has to find.

use std::path::Path;

use cudarc::nvrtc::{CompileOptions, compile_ptx_with_opts};
use sha2::{Digest, Sha256};

/// The oldest devices with dot products of bytes.
const ARCHITECTURE: &str = "compute_61";

/// The PTX of a source. Its first line names the SHA-256 of the source.
///
/// # Errors
/// The source cannot be read or is refused. Panics where there is no NVRTC.
pub(crate) fn compile(path: &Path) -> Result<String, Box<dyn std::error::Error>> {
    let source = std::fs::read_to_string(path)?;
    let options = CompileOptions { arch: Some(ARCHITECTURE), ..CompileOptions::default() };
    let ptx = compile_ptx_with_opts(&source, options)?;
    let hash: String = Sha256::digest(&source).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("// of source {hash}\n{}", ptx.to_src().trim_end_matches('\0')))
}
