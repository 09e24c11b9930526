//! Engines, by a real transcode on each.

use framemill_transcoder::Offer;

use super::report::{Finding, Report};
use crate::{cli::TranscoderArgs, commands::transcoder, config::Config};

/// Milliseconds of the clip that each engine transcodes.
const CLIP_MS: u128 = 1_000;

/// Transcodes the built-in clip to the default ladder on every engine that is configured.
pub(super) async fn examine(config: &Config, report: &mut Report) {
    match transcoder::engines(config, &TranscoderArgs::default()).await {
        Ok(chosen) => {
            report.extend(chosen.offers.iter().map(transcoded));
            report.extend(chosen.unused.iter().map(|(gpu, reason)| unused(config, *gpu, reason)));
        }
        Err(error) => report.add(Finding::fail(
            "engine",
            format!("{error:#}"),
            "framemill devices shows what there is; set transcoder.engine to software to encode on the CPU",
        )),
    }
}

fn transcoded(offer: &Offer) -> Finding {
    let took = offer.measurement.elapsed.as_millis();
    let name = format!("engine {}", offer.engine.name());
    let found = format!("transcoded {CLIP_MS} ms of 720p to three renditions in {took} ms");
    if took > CLIP_MS {
        return Finding::warn(
            name,
            format!("{found}: too slow for a live stream of that size"),
            "offer faster hardware, or leave it to orchestrators that sell small streams",
        );
    }
    Finding::ok(name, found)
}

/// A machine without cards needs none, unless they were asked for.
fn unused(config: &Config, gpu: u32, reason: &str) -> Finding {
    let found = format!("not used: {reason}");
    let name = format!("gpu {gpu}");
    match config.transcoder.gpus {
        framemill_transcoder::Gpus::All => Finding::ok(name, found),
        framemill_transcoder::Gpus::Only(_) => {
            Finding::warn(name, found, "mend its driver, or take it out of transcoder.gpus")
        }
    }
}
