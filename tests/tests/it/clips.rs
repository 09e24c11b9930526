//! Every real clip goes through the market; one that holds no picture ends in an error that says so.

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use anyhow::{Context as _, ensure};
use framemill_tests::{Market, MarketPlan, binary, clip, real_clips, synthetic};
use serde_json::Value;
use tokio::process::Command;

/// Announces video and carries none.
const HOLLOW: &str = "bad-zero-frame";
/// A small ladder, to spare time.
const LADDER: &str = "144:150k,96:100k";

async fn transcode(market: &Market, clip: &Path, ladder: Option<&str>) -> anyhow::Result<Output> {
    let mut command = Command::new(binary());
    command.arg("transcode").arg(clip).arg(market.path("hls")).arg("--json");
    command.arg("--config").arg(&market.accounts.broadcaster.config);
    if let Some(ladder) = ladder {
        command.args(["--ladder", ladder]);
    }
    Ok(command.stdin(Stdio::null()).kill_on_drop(true).output().await?)
}

async fn assert_published(market: &Market, clip: &Path, ladder: Option<&str>) -> anyhow::Result<()> {
    let output = transcode(market, clip, ladder).await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let summary: Value = serde_json::from_str(text.lines().last().context("a summary")?)?;
    let rungs = ladder.map_or(3, |ladder| ladder.split(',').count() as u64);
    let count = |key: &str| summary[key].as_u64().with_context(|| format!("no {key} in {summary}"));
    ensure!(count("segments")? > 0, "{summary}");
    ensure!(count("published")? == count("segments")?, "{summary}");
    ensure!(count("renditions")? == count("segments")? * rungs, "{summary}");
    ensure!(count("tickets")? > 0, "{summary}");
    let master = market.path("hls").join(summary["master_playlist"].as_str().context("a path")?);
    ensure!(master.is_file(), "{} is no file", master.display());
    Ok(())
}

async fn assert_refused(market: &Market, clip: &Path) -> anyhow::Result<()> {
    let output = transcode(market, clip, Some(LADDER)).await?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success(), "a clip without a picture went through");
    ensure!(errors.contains("cannot be transcoded") && errors.contains("video"), "{errors}");
    ensure!(!errors.contains("panicked"), "{errors}");
    Ok(())
}

fn stem(clip: &Path) -> String {
    clip.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_real_clip_is_published_whole() -> anyhow::Result<()> {
    let market = Market::start(MarketPlan::default()).await?;
    let mut clips = real_clips();
    if clips.is_empty() {
        let made: PathBuf = market.path("synthetic.ts");
        std::fs::write(&made, synthetic(640, 360, 6))?;
        clips.push(made);
    }
    for clip in clips {
        let outcome = match stem(&clip) == HOLLOW {
            true => assert_refused(&market, &clip).await,
            false => assert_published(&market, &clip, Some(LADDER)).await,
        };
        outcome.with_context(|| clip.display().to_string())?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clip_is_bought_in_the_default_ladder() -> anyhow::Result<()> {
    let market = Market::start(MarketPlan::default()).await?;
    let source = match clip("car-720p-segment-1.ts") {
        Some(real) => real,
        None => {
            let made = market.path("synthetic.ts");
            std::fs::write(&made, synthetic(1280, 720, 2))?;
            made
        }
    };
    assert_published(&market, &source, None).await
}
