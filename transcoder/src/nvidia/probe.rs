//! What a device can do, found out by trying: drivers and cards differ, and no table of their names stays true.

use framemill_gpu::{Inventory, device_memory, list_devices};
use framemill_media::{Encoder, EncoderConfig, GpuDevice, GpuFrame, MediaError, Rational, VideoCodec};

use super::message::Ready;
use crate::pipeline::can_be_carried;

/// Encoder sessions that are tried at most. Cards that cap them allow fewer; on others speed is the bound.
const MAX_TRIED: usize = 32;

/// Size of the pictures that encoders are tried with: above what any of them needs at least.
const SIDES: (u32, u32) = (640, 360);

/// Opens a device and finds out what it can do.
///
/// # Errors
/// Why it cannot be used, for the operator.
pub(super) fn probe(gpu: u32) -> Result<(GpuDevice, Ready), String> {
    let found = list_devices().map_err(|error| error.to_string())?;
    let name = usable(&found, gpu)?;
    let device = GpuDevice::open(gpu).map_err(|error| error.to_string())?;
    let blank = device.blank(SIDES.0, SIDES.1, 0).map_err(|error| error.to_string())?;
    // The first codec's refusal is the driver's word on all of them.
    session(VideoCodec::H264, &blank).map_err(|error| error.to_string())?;
    let codecs = [VideoCodec::H264, VideoCodec::Hevc, VideoCodec::Av1];
    let codecs = codecs.into_iter().filter(|codec| can_produce(codec, &blank)).collect();
    let encoders = count_sessions(&blank);
    let memory = device_memory(gpu).map_err(|error| error.to_string())?;
    Ok((device, Ready { name, codecs, encoders, memory_bytes: memory.unused }))
}

/// The name of a device that video can be made on.
fn usable(found: &Inventory, gpu: u32) -> Result<String, String> {
    if let Some(blocker) = found.video.blocker() {
        return Err(blocker);
    }
    let device = found.devices.iter().find(|device| device.ordinal == gpu);
    device
        .map(|device| device.name.clone())
        .ok_or_else(|| format!("the driver has {} devices and none with index {gpu}", found.devices.len()))
}

fn session(codec: VideoCodec, blank: &GpuFrame) -> Result<Encoder<GpuFrame>, MediaError> {
    let config =
        EncoderConfig { codec, ..EncoderConfig::h264(SIDES.0, SIDES.1, 500_000, Rational::new(30, 1)) };
    Encoder::on_gpu(&config, blank)
}

fn can_produce(codec: &VideoCodec, blank: &GpuFrame) -> bool {
    session(codec.clone(), blank).is_ok_and(|encoder| can_be_carried(codec, &encoder))
}

/// Opens sessions until the device gives no more; `None` when it gives as many as are tried.
fn count_sessions(blank: &GpuFrame) -> Option<u32> {
    let open: Vec<_> = (0..MAX_TRIED).map_while(|_| session(VideoCodec::H264, blank).ok()).collect();
    let count = u32::try_from(open.len()).unwrap_or(u32::MAX);
    (open.len() < MAX_TRIED).then_some(count)
}
