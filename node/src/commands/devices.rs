//! `framemill devices`: what this machine can transcode with, measured.

use framemill_gpu::{Device, Inventory, list_devices};
use framemill_transcoder::{Engine, Offer};
use serde_json::{Value, json};

use crate::{
    cli::{JsonArgs, TranscoderArgs},
    config::Config,
};

/// Pixels that a stream of 720p at 30 frames per second makes as the default ladder, per second.
const LADDER_PIXELS_PER_SECOND: u64 = (1280 * 720 + 854 * 480 + 640 * 360) * 30;

/// Name of the engine on the CPU.
const SOFTWARE: &str = "software";

/// Runs the command.
pub(crate) async fn run(config: &Config, output: JsonArgs) -> anyhow::Result<()> {
    let chosen = super::transcoder::engines(config, &TranscoderArgs::default()).await?;
    let gpus = gpus(&chosen.unused);
    if output.json {
        let engines: Vec<_> = chosen.offers.iter().map(describe).collect();
        println!("{}", json!({ "engines": engines, "gpus": gpus }));
        return Ok(());
    }
    chosen.offers.iter().for_each(show);
    show_gpus(&gpus);
    Ok(())
}

fn codecs(engine: &dyn Engine) -> Vec<String> {
    engine.capabilities().codecs.iter().map(ToString::to_string).collect()
}

fn show(offer: &Offer) {
    let (engine, capacity) = (offer.engine.as_ref(), offer.capacity());
    println!("engine {} on {}", engine.name(), engine.capabilities().device);
    println!("  codecs: {}", codecs(engine).join(", "));
    println!("  measured: {} pixels/s", offer.measurement.pixels_per_second());
    println!(
        "  offers: {} pixels/s, about {} live streams of the default ladder",
        capacity.pixels_per_second,
        capacity.pixels_per_second / LADDER_PIXELS_PER_SECOND
    );
    if engine.name() != SOFTWARE {
        let sessions = match engine.room().encoders {
            Some(encoders) => format!("{encoders}, found by trying"),
            None => "no cap found".to_owned(),
        };
        println!("  encoder sessions: {sessions}");
    }
}

fn describe(offer: &Offer) -> Value {
    let (engine, capacity) = (offer.engine.as_ref(), offer.capacity());
    json!({
        "name": engine.name(),
        "device": engine.capabilities().device,
        "codecs": codecs(engine),
        "measured_pixels_per_second": offer.measurement.pixels_per_second(),
        "offered_pixels_per_second": capacity.pixels_per_second,
        "max_sessions": capacity.max_sessions,
        "encoder_sessions": engine.room().encoders,
        "memory_bytes": engine.room().memory_bytes,
    })
}

/// What the driver says, and why a card is not used.
fn gpus(unused: &[(u32, String)]) -> Value {
    let found = match list_devices() {
        Ok(found) => found,
        Err(error) => return json!({ "devices": [], "reason": error.to_string() }),
    };
    let device = |device: &Device| {
        let reason = unused.iter().find(|(gpu, _)| *gpu == device.ordinal).map(|(_, reason)| reason);
        json!({
            "ordinal": device.ordinal,
            "name": device.name,
            "memory_bytes": device.memory_bytes,
            "compute_capability": device.compute_capability.to_string(),
            "unused_because": reason,
        })
    };
    let devices: Vec<_> = found.devices.iter().map(device).collect();
    json!({
        "driver": found.driver.to_string(),
        "nvenc": found.video.nvenc.map(|version| version.to_string()),
        "nvdec": found.video.nvdec,
        "devices": devices,
        "missing": missing(&found, unused),
        "reason": found.video.blocker(),
    })
}

/// Cards that were asked for and are not there.
fn missing(found: &Inventory, unused: &[(u32, String)]) -> Vec<Value> {
    let absent = |gpu: u32| found.devices.iter().all(|device| device.ordinal != gpu);
    let absent = unused.iter().filter(|(gpu, _)| absent(*gpu));
    absent.map(|(gpu, reason)| json!({ "ordinal": gpu, "unused_because": reason })).collect()
}

fn show_gpus(gpus: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or("none").to_owned();
    if !gpus["driver"].is_string() {
        println!("no gpu: {}", text(&gpus["reason"]));
        return;
    }
    println!("cuda driver {}, nvenc {}", text(&gpus["driver"]), text(&gpus["nvenc"]));
    for device in gpus["devices"].as_array().into_iter().flatten() {
        println!(
            "gpu {}: {}, {} MiB, compute capability {}",
            device["ordinal"],
            text(&device["name"]),
            device["memory_bytes"].as_u64().unwrap_or(0) >> 20,
            text(&device["compute_capability"])
        );
        if device["unused_because"].is_string() {
            println!("  not used: {}", text(&device["unused_because"]));
        }
    }
    for missing in gpus["missing"].as_array().into_iter().flatten() {
        println!("gpu {}: not there: {}", missing["ordinal"], text(&missing["unused_because"]));
    }
}
