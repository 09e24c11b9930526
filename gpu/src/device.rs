//! Device discovery through the CUDA driver.

use std::{
    ffi::{CStr, CString, c_int},
    fmt,
};

use cudarc::driver::{
    CudaContext,
    result::{self, DriverError},
    sys::{self, CUdevice_attribute_enum as Attribute},
};

use crate::{GpuError, VideoEngines};

/// Most devices one machine is asked about: a driver that claims more is misbehaving.
const MAX_DEVICES: i32 = 64;

/// A two-part version number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Major part.
    pub major: u32,
    /// Minor part.
    pub minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// One CUDA device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Index under which the driver, `gpus = [..]` and `CUDA_VISIBLE_DEVICES` know it.
    pub ordinal: u32,
    /// Product name as the driver gives it.
    pub name: String,
    /// Total device memory in bytes.
    pub memory_bytes: u64,
    /// CUDA compute capability.
    pub compute_capability: Version,
}

/// Everything [`list_devices`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    /// Newest CUDA version the installed driver supports.
    pub driver: Version,
    /// The driver's encode and decode libraries.
    pub video: VideoEngines,
    /// Devices in the driver's order, at least one.
    pub devices: Vec<Device>,
}

/// Lists the CUDA devices of this machine, without creating a context on any of them.
///
/// # Errors
/// Says why no device is usable: no driver, a driver that fails, or no device.
pub fn list_devices() -> Result<Inventory, GpuError> {
    // SAFETY: this only asks the system loader for the CUDA driver by its own names. It must come first: every other
    // driver call panics where the library is missing.
    if !unsafe { sys::is_culib_present() } {
        return Err(GpuError::NoDriver);
    }
    result::init().map_err(|e| refused("cuInit", e))?;
    let count = result::device::get_count().map_err(|e| refused("cuDeviceGetCount", e))?;
    if count <= 0 {
        return Err(GpuError::NoDevice);
    }
    let devices = (0..count.min(MAX_DEVICES)).map(describe).collect::<Result<_, _>>()?;
    Ok(Inventory { driver: driver_version()?, video: VideoEngines::find(), devices })
}

/// Memory of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Bytes that nobody has taken.
    pub unused: u64,
    /// Bytes there are.
    pub total: u64,
}

/// Asks how much of a device's memory is free, which takes a context on it: for the process that works on the device.
///
/// # Errors
/// Why there is no such device, or what the driver says.
pub fn device_memory(ordinal: u32) -> Result<Memory, GpuError> {
    list_devices()?;
    let context = CudaContext::new(ordinal as usize).map_err(|e| refused("cuDevicePrimaryCtxRetain", e))?;
    context.bind_to_thread().map_err(|e| refused("cuCtxSetCurrent", e))?;
    let (unused, total) = result::mem_get_info().map_err(|e| refused("cuMemGetInfo", e))?;
    Ok(Memory { unused: unused as u64, total: total as u64 })
}

/// Longest text of a place on the bus, its end included: a domain of eight digits, bus, device and function.
const BUS_ID_BYTES: usize = 32;

/// The place of a device on the bus, which every library of the driver knows it by.
pub(crate) fn bus_id(ordinal: u32) -> Result<CString, GpuError> {
    list_devices()?;
    let device = result::device::get(ordinal.cast_signed()).map_err(|e| refused("cuDeviceGet", e))?;
    let mut text = [0_u8; BUS_ID_BYTES];
    // SAFETY: the driver library is present, `device` is its own, and it is told how long the live buffer is.
    let status = unsafe { sys::cuDeviceGetPCIBusId(text.as_mut_ptr().cast(), BUS_ID_BYTES as c_int, device) };
    status.result().map_err(|e| refused("cuDeviceGetPCIBusId", e))?;
    let place = CStr::from_bytes_until_nul(&text).map_err(|_| GpuError::NoDevice)?;
    Ok(place.to_owned())
}

fn describe(ordinal: i32) -> Result<Device, GpuError> {
    let device = result::device::get(ordinal).map_err(|e| refused("cuDeviceGet", e))?;
    let name = result::device::get_name(device).map_err(|e| refused("cuDeviceGetName", e))?;
    // SAFETY: `device` was returned by `device::get` above.
    let memory = unsafe { result::device::total_mem(device) }.map_err(|e| refused("cuDeviceTotalMem", e))?;
    Ok(Device {
        ordinal: ordinal.unsigned_abs(),
        name,
        memory_bytes: memory as u64,
        compute_capability: Version {
            major: attribute(device, Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            minor: attribute(device, Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        },
    })
}

fn attribute(device: sys::CUdevice, attribute: Attribute) -> Result<u32, GpuError> {
    // SAFETY: `device` comes from `device::get`, and the attribute is one of the driver's own constants.
    let value = unsafe { result::device::get_attribute(device, attribute) };
    value.map(i32::unsigned_abs).map_err(|e| refused("cuDeviceGetAttribute", e))
}

fn driver_version() -> Result<Version, GpuError> {
    let mut packed = 0;
    // SAFETY: the driver library is present, and the pointer is to a live int.
    let status = unsafe { sys::cuDriverGetVersion(&mut packed) };
    status.result().map_err(|e| refused("cuDriverGetVersion", e))?;
    Ok(unpack_driver_version(packed.unsigned_abs()))
}

/// CUDA packs its version as `major * 1000 + minor * 10`.
fn unpack_driver_version(packed: u32) -> Version {
    Version { major: packed / 1000, minor: packed % 1000 / 10 }
}

pub(crate) fn refused(call: &'static str, error: DriverError) -> GpuError {
    match error.0 {
        sys::CUresult::CUDA_ERROR_NO_DEVICE => GpuError::NoDevice,
        code => GpuError::Driver { call, reason: format!("{code:?}") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unpacks_the_driver_version() {
        assert_eq!(unpack_driver_version(12_080), Version { major: 12, minor: 8 });
        assert_eq!(unpack_driver_version(13_000).to_string(), "13.0");
    }

    #[test]
    fn no_device_is_told_apart_from_a_broken_driver() {
        assert_eq!(refused("cuInit", DriverError(sys::CUresult::CUDA_ERROR_NO_DEVICE)), GpuError::NoDevice);
        let broken = refused("cuInit", DriverError(sys::CUresult::CUDA_ERROR_SYSTEM_DRIVER_MISMATCH));
        assert!(broken.to_string().contains("CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"), "{broken}");
    }
}
