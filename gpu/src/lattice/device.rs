//! The kernel on a CUDA device.

use std::sync::Arc;

use cudarc::driver::{
    CudaContext, CudaFunction, CudaStream, DeviceRepr, DriverError, LaunchConfig, PushKernelArg, sys,
};
use cudarc::nvrtc::Ptx;

use super::twin::BLOCK;
use super::{Figures, Kind, Work};
use crate::device::refused;
use crate::{GpuError, list_devices};

/// The kernels as the driver takes them; `make kernels` makes them of `lattice.cu`.
const PTX: &str = include_str!("../../kernels/lattice.ptx");

/// Most planes of one launch: the second side of a CUDA grid.
const MAX_PLANES: u32 = 65_535;

// SAFETY: plain integers without padding, laid out in C's order as the kernel's own structure.
unsafe impl DeviceRepr for Figures {}

/// The kernels, loaded onto one device.
#[derive(Debug)]
pub struct LatticeKernels {
    stream: Arc<CudaStream>,
    bytes: CudaFunction,
    words: CudaFunction,
    quads: CudaFunction,
}

impl LatticeKernels {
    /// Loads the kernels onto the device of this index.
    ///
    /// # Errors
    /// Why there is no such device, or what the driver says to the kernels.
    pub fn open(ordinal: u32) -> Result<Self, GpuError> {
        let devices = list_devices()?.devices;
        let device = devices.iter().find(|device| device.ordinal == ordinal).ok_or(GpuError::NoDevice)?;
        let context = CudaContext::new(device.ordinal as usize).map_err(|e| refused("cuCtxCreate", e))?;
        let module = context.load_module(Ptx::from_src(PTX)).map_err(|e| refused("cuModuleLoadData", e))?;
        let function =
            |name| module.load_function(name).map_err(|e: DriverError| refused("cuModuleGetFunction", e));
        Ok(Self {
            stream: context.default_stream(),
            bytes: function("means_of_bytes")?,
            words: function("means_of_words")?,
            quads: function("means_of_quads")?,
        })
    }

    /// Means of planes in main memory, which are copied to the device: all in one launch.
    ///
    /// # Errors
    /// [`GpuError::Unfit`] for a plane shorter than [`Work::plane_bytes`] or too many of them; what the driver says.
    pub fn means(&self, work: &Work, planes: &[&[u8]]) -> Result<Vec<u16>, GpuError> {
        let copy = |plane: &&[u8]| {
            let unfit = |value| GpuError::Unfit {
                what: "bytes of a plane",
                value,
                least: clamped(work.plane_bytes()),
                most: u32::MAX,
            };
            let plane = plane.get(..work.plane_bytes()).ok_or_else(|| unfit(clamped(plane.len())))?;
            self.stream.clone_htod(plane).map_err(|e| refused("cuMemcpyHtoD", e))
        };
        let copies = planes.iter().map(copy).collect::<Result<Vec<_>, _>>()?;
        let (pointers, _in_use): (Vec<sys::CUdeviceptr>, Vec<_>) =
            copies.iter().map(|copy| cudarc::driver::DevicePtr::device_ptr(copy, &self.stream)).unzip();
        // SAFETY: each pointer is to a copy of as many bytes as the work reads, alive until the means are back.
        unsafe { self.means_on_device(work, &pointers) }
    }

    /// Means of planes that lie in the device's memory, such as decoded surfaces: all in one launch.
    ///
    /// # Safety
    /// Every pointer is to at least [`Work::plane_bytes`] bytes of this device's memory, aligned to
    /// [`GROUP_BYTES`](super::GROUP_BYTES), that nobody writes before this returns.
    ///
    /// # Errors
    /// [`GpuError::Unfit`] for too many planes; what the driver says.
    pub unsafe fn means_on_device(
        &self,
        work: &Work,
        planes: &[sys::CUdeviceptr],
    ) -> Result<Vec<u16>, GpuError> {
        let count = clamped(planes.len());
        if count == 0 {
            return Ok(Vec::new());
        }
        if count > MAX_PLANES {
            return Err(GpuError::Unfit { what: "planes", value: count, least: 0, most: MAX_PLANES });
        }
        let table = self.stream.clone_htod(planes).map_err(|e| refused("cuMemcpyHtoD", e))?;
        let means = planes.len() * work.means();
        let mut out = self.stream.alloc_zeros::<u16>(means).map_err(|e| refused("cuMemAlloc", e))?;
        let function = match work.kind {
            Kind::Bytes => &self.bytes,
            Kind::Words => &self.words,
            Kind::Quads => &self.quads,
        };
        let config = LaunchConfig {
            grid_dim: (work.figures.rows, count, 1),
            block_dim: (BLOCK, 1, 1),
            shared_mem_bytes: work.shared_bytes(),
        };
        let mut launch = self.stream.launch_builder(function);
        launch.arg(&table).arg(&work.figures).arg(&mut out);
        // SAFETY: the arguments are the kernel's own; `Work` bounds what it reads of each plane, for which the caller stands
        // in, and `out` has a mean for every cell of every plane.
        unsafe { launch.launch(config) }.map_err(|e| refused("cuLaunchKernel", e))?;
        self.stream.clone_dtoh(&out).map_err(|e| refused("cuMemcpyDtoH", e))
    }
}

/// A count for a message or a comparison with a bound far below.
fn clamped(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
