//! Discovery on the machine the tests run on, whatever it has.

mod kernels;
mod page;

use framemill_gpu::{GpuError, list_devices};

#[test]
fn discovery_answers_with_devices_or_with_a_plain_reason() {
    match list_devices() {
        Ok(found) => {
            assert!(!found.devices.is_empty());
            for device in found.devices {
                assert!(!device.name.is_empty());
                assert!(device.memory_bytes > 0, "{} reports no memory", device.name);
            }
        }
        Err(reason @ (GpuError::NoDriver | GpuError::NoDevice)) => {
            eprintln!("skipped: no CUDA device: {reason}")
        }
        Err(broken) => panic!("{broken}"),
    }
}
