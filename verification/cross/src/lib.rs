//! The arithmetic of verification without the media around it, to be run as another processor would run it.
//!
//! The files are those of `verification/src`, with their tests. FFmpeg for another processor is hard to come by; these
//! need nothing but a linker.

#[path = "../../src/features.rs"]
#[allow(dead_code, reason = "the judge uses the rest")]
pub mod features;
#[path = "../../src/kernel/mod.rs"]
#[allow(dead_code, reason = "the judge uses the rest")]
mod kernel;
#[path = "../../src/means.rs"]
#[allow(dead_code, reason = "the judge uses the rest")]
mod means;
#[path = "../../src/plane.rs"]
pub mod plane;

pub use kernel::Kernel;
