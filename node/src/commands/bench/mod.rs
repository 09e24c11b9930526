//! `framemill bench`: how many live streams each engine of this machine keeps up with, tried out rather than computed, and the
//! settings that follow.

mod power;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use framemill_network::Ladder;
use framemill_transcoder::{Engine, Offer, Paced, TrialClip, most_streams, sustain};
use serde::Serialize;
use serde_json::json;

use self::power::{Power, Watts};
use crate::cli::{BenchArgs, TranscoderArgs};
use crate::config::Config;

/// The usual source: what platforms send most.
const SIZE: (u32, u32) = (1920, 1080);
const FPS: u32 = 30;
/// Length of the synthetic clip: five segments for each stream of a trial.
const CLIP_SECONDS: u32 = 10;
/// Jobs that keep an engine busy: the next one is there while the last one ends.
const AT_ONCE: u32 = 2;

/// What one engine did.
#[derive(Debug, Serialize)]
struct Trial {
    engine: &'static str,
    device: String,
    pixels_per_second: u64,
    /// Live streams that it kept up with.
    streams: u32,
    /// From the end of a source segment to the last byte of its renditions, with so many streams.
    latency_p50_ms: Option<u64>,
    latency_p99_ms: Option<u64>,
    /// While it was busy without a pause.
    watts: Vec<Watts>,
    /// Why it made nothing.
    failed: Option<String>,
}

/// Runs the command.
pub(crate) async fn run(config: &Config, args: &BenchArgs) -> anyhow::Result<()> {
    let ladder: Ladder = args.ladder.parse().context("--ladder")?;
    let input = args.input.clone();
    let clip = tokio::task::spawn_blocking(move || clip(input.as_deref(), &ladder)).await??;
    let chosen = super::transcoder::engines(config, &TranscoderArgs::default()).await?;
    if !args.json {
        let source = clip.source();
        println!(
            "streams of {}x{} at {} frames a second, made into {}",
            source.width, source.height, source.fps, args.ladder
        );
    }
    let mut trials = Vec::new();
    for offer in &chosen.offers {
        let trial = try_out(offer, &clip, args).await;
        if !args.json {
            trial.show();
        }
        trials.push(trial);
    }
    let settings = settings(&trials);
    match args.json {
        true => println!("{}", json!({ "engines": trials, "settings": settings })),
        false => println!("\n{settings}"),
    }
    Ok(())
}

/// Blocks on reading or making it.
fn clip(input: Option<&Path>, ladder: &Ladder) -> anyhow::Result<TrialClip> {
    let Some(path) = input else {
        return Ok(TrialClip::synthetic(SIZE, FPS, CLIP_SECONDS, ladder)?);
    };
    let data = std::fs::read(path).with_context(|| path.display().to_string())?;
    TrialClip::from_bytes(data.into(), ladder).with_context(|| path.display().to_string())
}

/// Of the engine alone: what another made in its stead would be no credit to it.
async fn try_out(offer: &Offer, clip: &TrialClip, args: &BenchArgs) -> Trial {
    let time = Duration::from_secs(args.seconds.into());
    let engine: &Arc<dyn Engine> = &offer.alone;
    let room = room(engine.as_ref(), clip);
    let power = Power::begin();
    let sustained = sustain(engine, clip, AT_ONCE.min(room), time).await;
    let watts = power.end().await;
    let sustained = match sustained {
        Ok(sustained) => sustained.pixels_per_second(),
        Err(reason) => {
            let failed = Some(reason.to_string());
            return Trial { failed, ..Trial::new(engine.as_ref(), 0, None, watts) };
        }
    };
    let estimate = sustained / clip.pixels_per_second().max(1);
    let estimate = u32::try_from(estimate).unwrap_or(u32::MAX);
    let paced = most_streams(engine, clip, estimate, args.most.min(room)).await;
    Trial::new(engine.as_ref(), sustained, paced.as_ref(), watts)
}

/// Streams that an engine has encoder sessions for; one at least, so that it says itself why it has not.
fn room(engine: &dyn Engine, clip: &TrialClip) -> u32 {
    let rungs = u32::try_from(clip.ladder().len()).unwrap_or(u32::MAX).max(1);
    engine.room().encoders.map_or(u32::MAX, |sessions| (sessions / rungs).max(1))
}

impl Trial {
    fn new(engine: &dyn Engine, pixels_per_second: u64, paced: Option<&Paced>, watts: Vec<Watts>) -> Self {
        let latency = |permille| {
            let latency = paced.and_then(|paced| paced.quantile(permille))?;
            u64::try_from(latency.as_millis()).ok()
        };
        Self {
            engine: engine.name(),
            device: engine.capabilities().device.clone(),
            pixels_per_second,
            streams: paced.map_or(0, |paced| paced.streams),
            latency_p50_ms: latency(500),
            latency_p99_ms: latency(990),
            watts,
            failed: None,
        }
    }

    fn show(&self) {
        println!("\nengine {} on {}", self.engine, self.device);
        if let Some(reason) = &self.failed {
            println!("  makes nothing of it: {reason}");
            return;
        }
        println!("  sustained: {} pixels/s", self.pixels_per_second);
        println!("  live streams that it keeps up with: {}", self.streams);
        if let (Some(p50), Some(p99)) = (self.latency_p50_ms, self.latency_p99_ms) {
            println!("  from a segment's end to its last rendition: p50 {p50} ms, p99 {p99} ms");
        }
        match self.watts.as_slice() {
            [] => println!("  power: not told by this machine"),
            watts => {
                watts.iter().for_each(|of| println!("  power while busy: {} {:.0} W", of.what, of.watts))
            }
        }
    }
}

/// The part of a configuration that follows, as TOML.
fn settings(trials: &[Trial]) -> String {
    let most = trials.iter().map(|trial| trial.streams).max().unwrap_or(0);
    if most == 0 {
        return "# no engine keeps up with one such stream: offer a smaller ladder, or a faster preset\n"
            .to_owned();
    }
    let engines: Vec<_> = trials.iter().map(|trial| format!("{} {}", trial.engine, trial.streams)).collect();
    format!("# live streams by engine: {}\n[transcoder]\nmax_sessions = {most}\n", engines.join(", "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

    use super::*;

    fn trial(engine: &'static str, streams: u32) -> Trial {
        Trial {
            engine,
            device: String::new(),
            pixels_per_second: 1,
            streams,
            latency_p50_ms: None,
            latency_p99_ms: None,
            watts: Vec::new(),
            failed: None,
        }
    }

    #[test]
    fn what_is_suggested_is_a_configuration() {
        let suggested: toml::Table = settings(&[trial("nvidia", 9), trial("software", 2)]).parse().unwrap();
        assert_eq!(suggested["transcoder"]["max_sessions"].as_integer(), Some(9));
        let none: toml::Table = settings(&[trial("software", 0)]).parse().unwrap();
        assert!(none.is_empty());
    }
}
