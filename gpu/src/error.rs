use thiserror::Error;

/// Why no CUDA device can be used. The text is meant for the operator.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GpuError {
    /// The CUDA driver library could not be loaded.
    #[error("no CUDA driver: libcuda.so.1 was not found; install the NVIDIA driver, or run on the CPU")]
    NoDriver,
    /// The driver is there and answered a call with an error.
    #[error(
        "the CUDA driver refused {call}: {reason}; check `nvidia-smi` and that the kernel module matches the driver"
    )]
    Driver {
        /// The driver function that failed.
        call: &'static str,
        /// The driver's own name for the failure, such as `CUDA_ERROR_NO_DEVICE`.
        reason: String,
    },
    /// The driver works and sees no device.
    #[error(
        "the CUDA driver sees no device; check CUDA_VISIBLE_DEVICES and that the card is passed into this container"
    )]
    NoDevice,
    /// The library that tells of telemetry could not be loaded.
    #[error(
        "no telemetry of cards: libnvidia-ml.so.1 was not found; install the full driver, \
         or start the container with NVIDIA_DRIVER_CAPABILITIES=compute,video,utility"
    )]
    NoTelemetry,
    /// The library is there and answered a call with an error.
    #[error("the driver refused {call}: {reason}; check `nvidia-smi`")]
    Telemetry {
        /// The function of NVML that failed.
        call: &'static str,
        /// The driver's own words for the failure.
        reason: String,
    },
    /// The kernels do not take such a plane or grid.
    #[error("no kernel takes {value} {what}: want {least} to {most}; measure it on the CPU")]
    Unfit {
        /// What was counted.
        what: &'static str,
        /// The count.
        value: u32,
        /// The least that is taken.
        least: u32,
        /// The most that is taken.
        most: u32,
    },
}
