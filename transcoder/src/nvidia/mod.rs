//! The engine on NVIDIA's video engines: NVDEC decodes, the device scales, NVENC encodes, and pictures never leave the device.
//!
//! Each device is worked on by a process of its own, so that a driver that faults or an encoder that hangs costs that process and
//! nothing else. [`NvidiaEngine`] is the daemon's end: it starts the process, hands it jobs, kills it when it makes no progress, and
//! starts it again. [`work_on_gpu`] is the process: it opens the device, finds out by trying what that can do, and serves jobs on
//! its standard input and output until they close.

mod budget;
mod device;
mod engine;
mod link;
mod message;
mod probe;
mod streams;
mod worker;

pub(crate) use budget::memory_of;
pub use engine::{NvidiaConfig, NvidiaEngine};
pub use link::WorkerProgram;
pub use worker::{WorkerError, work_on_gpu};

/// Names of the engines, by the index of their device: metrics need a closed set.
pub(crate) const NAMES: [&str; 16] = [
    "nvidia0", "nvidia1", "nvidia2", "nvidia3", "nvidia4", "nvidia5", "nvidia6", "nvidia7", "nvidia8",
    "nvidia9", "nvidia10", "nvidia11", "nvidia12", "nvidia13", "nvidia14", "nvidia15",
];

/// Devices of one machine that can be used.
pub(crate) const MAX_GPUS: u32 = NAMES.len() as u32;

/// Name of the engine on a device.
fn name_of(gpu: u32) -> &'static str {
    NAMES.get(gpu as usize).copied().unwrap_or("nvidia")
}
