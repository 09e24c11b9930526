//! What is published plays in a real browser, across segments that different transcoders made.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context as _, ensure};
use framemill_tests::{BroadcasterProcess, Market, MarketPlan, cut, node_modules, synthetic, workspace};
use reqwest::Client;
use serde::Deserialize;
use tokio::process::Command;

/// Longest wait for one segment, or for the browser.
const PATIENCE: Duration = Duration::from_secs(180);
/// Where Debian puts the browser.
const CHROMIUM: &str = "/usr/bin/chromium";
/// Largest hole between two buffered ranges that a player steps over without notice, in seconds.
const GAP: f64 = 0.05;
/// Most that is pushed, in seconds.
const SECONDS: u32 = 80;
/// How often the next segment must come from the other transcoder.
const TURNS: usize = 4;
/// What is bought.
const LADDER: &str = "240:400k,144:150k";

/// What `play.mjs` saw.
#[derive(Debug, Deserialize)]
struct Playback {
    /// Variants of the master playlist.
    levels: usize,
    /// One pass per variant, and one in which the player chooses.
    passes: Vec<Pass>,
}

#[derive(Debug, Deserialize)]
struct Pass {
    /// The forced variant; -1 where the player chose.
    level: i32,
    ended: bool,
    duration: f64,
    position: f64,
    /// Start and end of each buffered range before the end, in seconds.
    buffered: Vec<(f64, f64)>,
    /// Different segments loaded.
    fragments: usize,
    width: u32,
    frames: u32,
    dropped: u32,
    errors: Vec<String>,
}

async fn play(master: &Path) -> anyhow::Result<Playback> {
    let modules = node_modules().context("no npm packages: run scripts/setup browser")?;
    ensure!(Path::new(CHROMIUM).is_file(), "no {CHROMIUM}: run scripts/setup browser");
    let script = workspace().join("tests/browser/play.mjs");
    let command = Command::new("node")
        .arg(script)
        .arg(master)
        .arg(modules)
        .arg(CHROMIUM)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, command).await.context("the browser does not end")??;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {errors}", output.status);
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn assert_plays_through(pass: &Pass, segments: usize) {
    let length = 2.0 * segments as f64;
    assert!(pass.errors.is_empty(), "{pass:?}");
    assert!(pass.ended, "{pass:?}");
    assert!((pass.duration - length).abs() < 0.2, "{pass:?}");
    assert!(pass.duration - pass.position < 0.2, "{pass:?}");
    assert_eq!(pass.fragments, segments, "{pass:?}");
    assert!(pass.frames > 0 && pass.width > 0, "{pass:?}");
    // A fast replay on a busy machine may drop frames, but a broken picture drops them all.
    assert!(pass.dropped < pass.frames, "{pass:?}");
    assert_eq!(pass.buffered.len(), 1, "a gap between segments: {pass:?}");
    let (start, end) = pass.buffered[0];
    assert!(start <= GAP && end >= pass.duration - GAP, "{pass:?}");
}

/// Segments a transcoder has made, as its own counters say.
async fn made(client: &Client, http: &str) -> anyhow::Result<f64> {
    let text = client.get(format!("http://{http}/metrics")).send().await?.text().await?;
    let counts = text.lines().filter(|line| {
        line.starts_with("framemill_transcoder_segments_total") && line.contains("outcome=\"ok\"")
    });
    Ok(counts.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum())
}

/// Pushes segments until the two transcoders have taken turns often enough; returns how many it pushed.
async fn push_until_mixed(market: &Market, broadcaster: &BroadcasterProcess) -> anyhow::Result<usize> {
    let client = Client::builder().timeout(PATIENCE).build()?;
    let mut makers: Vec<usize> = Vec::new();
    for segment in cut(&synthetic(426, 240, SECONDS), 2) {
        let first = &market.accounts.sellers[0].transcoder_http;
        let before = made(&client, first).await?;
        let url = broadcaster.push_url("play", segment.sequence);
        let answer = client.put(url).body(segment.data.clone()).send().await?;
        ensure!(answer.status().is_success(), "segment {}: {}", segment.sequence, answer.text().await?);
        makers.push(usize::from(made(&client, first).await? == before));
        if makers.windows(2).filter(|pair| pair[0] != pair[1]).count() >= TURNS {
            println!("made by: {makers:?}");
            return Ok(makers.len());
        }
    }
    anyhow::bail!("the transcoders did not take turns: {makers:?}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ladder_made_by_two_transcoders_plays_in_chromium_without_a_gap() -> anyhow::Result<()> {
    // One thread against several: the two do not make equal bytes.
    let plan = MarketPlan {
        sellers: 2,
        transcoder_arguments: vec![(1, vec!["--set".to_owned(), "transcoder.threads=1".to_owned()])],
        ..MarketPlan::default()
    };
    let market = Market::start(plan).await?;
    let ladder = format!("broadcaster.ladder={LADDER}");
    let broadcaster = market.start_broadcaster(&[ladder]).await?;
    let segments = push_until_mixed(&market, &broadcaster).await?;
    let mut process = broadcaster.process;
    ensure!(process.terminate().await?.success(), "{}", process.log());

    let output = market.accounts.broadcaster.data.parent().context("a folder")?.join("hls/play");
    let playback = play(&output.join("vod.m3u8")).await?;
    assert_eq!(playback.levels, 2);
    let levels: Vec<_> = playback.passes.iter().map(|pass| pass.level).collect();
    assert_eq!(levels, [-1, 0, 1], "one pass in which the player chooses, one per variant");
    for pass in &playback.passes {
        assert_plays_through(pass, segments);
    }
    Ok(())
}
