//! `framemill devices`: what this machine can transcode with, measured.

use framemill_gpu::list_devices;
use framemill_transcoder::{Engine, measure};
use serde_json::json;

use crate::{
    cli::{JsonArgs, TranscoderArgs},
    config::Config,
};

/// Pixels that a stream of 720p at 30 frames per second makes as the default ladder, per second.
const LADDER_PIXELS_PER_SECOND: u64 = (1280 * 720 + 854 * 480 + 640 * 360) * 30;

/// Runs the command.
pub(crate) async fn run(config: &Config, output: JsonArgs) -> anyhow::Result<()> {
    let mut shown = Vec::new();
    for engine in super::transcoder::engines(config, &TranscoderArgs::default())? {
        let measurement = measure(engine.as_ref()).await?;
        let offered = measurement.capacity(engine.capabilities().max_sessions);
        if !output.json {
            println!("engine {} on {}", engine.name(), engine.capabilities().device);
            println!("  codecs: {}", codecs(engine.as_ref()).join(", "));
            println!("  measured: {} pixels/s", measurement.pixels_per_second());
            println!(
                "  offers: {} pixels/s, about {} live streams of the default ladder",
                offered.pixels_per_second,
                offered.pixels_per_second / LADDER_PIXELS_PER_SECOND
            );
        }
        shown.push(json!({
            "name": engine.name(),
            "device": engine.capabilities().device,
            "codecs": codecs(engine.as_ref()),
            "measured_pixels_per_second": measurement.pixels_per_second(),
            "offered_pixels_per_second": offered.pixels_per_second,
            "max_sessions": offered.max_sessions,
        }));
    }
    let gpus = gpus(output.json);
    if output.json {
        println!("{}", json!({ "engines": shown, "gpus": gpus }));
    }
    Ok(())
}

fn codecs(engine: &dyn Engine) -> Vec<String> {
    engine.capabilities().codecs.iter().map(ToString::to_string).collect()
}

fn gpus(quiet: bool) -> serde_json::Value {
    let say = |line: String| {
        if !quiet {
            println!("{line}");
        }
    };
    match list_devices() {
        Err(error) => {
            say(format!("no gpu: {error}"));
            json!({ "devices": [], "reason": error.to_string() })
        }
        Ok(found) => {
            say(format!("cuda driver {}", found.driver));
            for device in &found.devices {
                say(format!(
                    "gpu {}: {}, {} MiB, compute capability {}",
                    device.ordinal,
                    device.name,
                    device.memory_bytes >> 20,
                    device.compute_capability
                ));
            }
            if let Some(reason) = found.video.blocker() {
                say(format!("  not usable for video: {reason}"));
            }
            let devices: Vec<_> = found
                .devices
                .iter()
                .map(|d| {
                    json!({
                        "ordinal": d.ordinal,
                        "name": d.name,
                        "memory_bytes": d.memory_bytes,
                        "compute_capability": d.compute_capability.to_string(),
                    })
                })
                .collect();
            json!({ "driver": found.driver.to_string(), "devices": devices, "reason": found.video.blocker() })
        }
    }
}
