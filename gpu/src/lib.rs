//! CUDA devices, engine capacity and telemetry, found at run time so that one binary serves machines with and without a GPU.
//!
//! [`list_devices`] asks the driver what is there. It never fails loudly: on a machine without a driver it answers with
//! [`GpuError::NoDriver`], whose text can be shown to the operator as it stands.
//!
//! [`lattice`] measures decoded pictures for verification, on a device or, by the kernel's twin, on the CPU.
//!
//! Nothing is linked against NVIDIA's libraries. The CUDA driver, NVENC and NVDEC are looked for when asked, so a binary
//! built anywhere runs everywhere.

mod device;
mod error;
pub mod lattice;
mod library;

pub use device::{Device, Inventory, Memory, Version, device_memory, list_devices};
pub use error::GpuError;
pub use library::VideoEngines;
