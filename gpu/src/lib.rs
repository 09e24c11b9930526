//! CUDA devices, their video engines, telemetry and kernels, found at run time so that one binary serves machines with and without a GPU.
//!
//! [`list_devices`] asks the driver what is there. It never fails loudly: on a machine without a driver it answers with
//! [`GpuError::NoDriver`], whose text can be shown to the operator as it stands.
//!
//! [`CardTelemetry`] reads what a card says of itself while it works: use of its parts, memory, temperature, power.
//!
//! [`lattice`] measures decoded pictures for verification, on a device or, by the kernel's twin, on the CPU.
//!
//! Nothing is linked against NVIDIA's libraries. The CUDA driver, NVENC, NVDEC and NVML are looked for when asked, so a binary
//! built anywhere runs everywhere.

mod device;
mod error;
pub mod lattice;
mod library;
mod telemetry;

pub use device::{Device, Inventory, Memory, Version, device_memory, list_devices};
pub use error::GpuError;
pub use library::VideoEngines;
pub use telemetry::{CardTelemetry, Telemetry};
