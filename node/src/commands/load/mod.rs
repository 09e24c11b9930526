//! `framemill load`: plays many streams at a broadcaster whose transcoders are echoes of prepared renditions, and says what it
//! sustains and where it breaks. Everything but the encode is real (docs/load.md).

mod acquaint;
mod echo;
mod error;
mod exchange;
mod gauges;
mod player;
mod prepared;
mod process;
mod report;
mod stage;
mod step;

use std::path::PathBuf;
use std::time::Duration;

use self::error::LoadError;
use self::prepared::{Prepared, Recipe};
use self::report::{Report, Step};
use self::stage::{Stage, Target};
use self::step::Times;
use crate::cli::{LoadArgs, LoadPart};
use crate::config::Config;
use crate::runtime;

/// Smallest side of a synthetic clip in pixels.
const LEAST_SIDE: u32 = 64;

/// Runs the test, or a part of it. That a broadcaster breaks under more streams than it sustains is a result, not a failure.
pub(crate) async fn run(config: &Config, args: &LoadArgs) -> anyhow::Result<()> {
    if let Some(LoadPart::Echo(echo)) = &args.part {
        return echo::run(config, echo).await;
    }
    let media = media(config, args)?;
    let recipe = Recipe::new(args.input.as_deref(), size(&args.size)?, args.segments, &args.ladder)?;
    let prepared = Prepared::open(&recipe, args.input.as_deref(), &media).await?;
    let report = tokio::select! {
        report = curve(args, &prepared, &media) => report?,
        stop = runtime::asked_to_stop() => { stop?; anyhow::bail!("stopped before the end of the test") }
    };
    println!("{}", report.verdict());
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    }
    Ok(())
}

fn media(config: &Config, args: &LoadArgs) -> anyhow::Result<PathBuf> {
    let folder = args.media.clone().unwrap_or_else(|| config.data_dir().join("load"));
    // The echoes are given it, and may be started elsewhere.
    Ok(std::path::absolute(folder)?)
}

fn size(text: &str) -> Result<(u32, u32), LoadError> {
    let usable = |side: &u32| *side >= LEAST_SIDE && side.is_multiple_of(2);
    let sides =
        text.split_once('x').and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
    sides
        .filter(|(width, height)| usable(width) && usable(height))
        .ok_or_else(|| LoadError::Size(text.to_owned()))
}

async fn curve(args: &LoadArgs, prepared: &Prepared, media: &std::path::Path) -> anyhow::Result<Report> {
    let stage = match args.at {
        Some(_) => None,
        None => Some(Stage::set(args, prepared, media).await?),
    };
    if let Some(stage) = stage.as_ref().filter(|_| !args.strangers) {
        println!("load: letting the broadcaster get to know its orchestrators");
        let looks = acquaint::acquaint(stage, prepared).await?;
        println!("load: it has looked at {looks} of their results whole");
    }
    let mut report = Report {
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        segments: prepared.segments.len(),
        source_bytes: prepared.source_bytes(),
        rendition_bytes: prepared.rendition_bytes(),
        ladder: args.ladder.clone(),
        steps: Vec::new(),
    };
    print!("{}", report.heading());
    for streams in &args.streams {
        let step = one(args, stage.as_ref(), prepared, *streams).await?;
        print!("{}", step.lines());
        let broken = step.is_broken();
        report.steps.push(step);
        if broken {
            break;
        }
    }
    if let Some(stage) = stage {
        stage.strike().await;
    }
    Ok(report)
}

async fn one(
    args: &LoadArgs,
    stage: Option<&Stage>,
    prepared: &Prepared,
    streams: u32,
) -> anyhow::Result<Step> {
    let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
    let times = Times { warm_up: seconds(args.warm_up), measured: seconds(args.seconds) };
    let target = match (stage, &args.at) {
        (Some(stage), _) => stage.broadcaster().await?,
        (None, at) => Target { ingest: at.clone().unwrap_or_default(), own: None },
    };
    let step = step::run(stage, &target, prepared, streams, times).await;
    if let Some(own) = target.own {
        own.stop().await;
    }
    step
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

    use super::*;

    #[test]
    fn a_size_is_two_even_sides() {
        assert_eq!(size("1280x720").unwrap(), (1280, 720));
        for wrong in ["1280", "1280x", "x720", "63x64", "65x64", "1280x720x3", "-2x64"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
