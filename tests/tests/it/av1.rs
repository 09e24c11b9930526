//! A ladder with a rung in AV1 is bought, judged, paid and published beside one in H.264, and any player gets every frame of both.

use std::path::Path;

use anyhow::{Context as _, ensure};
use framemill_tests::{Market, MarketPlan, binary, synthetic};
use serde_json::Value;
use tokio::process::Command;

const SECONDS: u32 = 6;
const LADDER: &str = "144:150k:av1,96:100k";

/// What `ffprobe` tells of every picture of a playlist: name of the codec, and presentation times in milliseconds.
async fn played(playlist: &Path) -> anyhow::Result<(String, Vec<i64>)> {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-select_streams", "v", "-allowed_extensions", "ALL", "-of", "json"]);
    command.args(["-show_entries", "stream=codec_name:frame=pts_time"]).arg(playlist);
    let output = command.output().await?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && errors.is_empty(), "{}: {errors}", playlist.display());
    let shown: Value = serde_json::from_slice(&output.stdout)?;
    let codec = shown["streams"][0]["codec_name"].as_str().context("a codec")?.to_owned();
    let millis =
        |frame: &Value| Some((frame["pts_time"].as_str()?.parse::<f64>().ok()? * 1_000.0).round() as i64);
    let frames = shown["frames"].as_array().context("frames")?;
    let times = frames.iter().map(millis).collect::<Option<_>>().context("a time for every frame")?;
    Ok((codec, times))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rung_in_av1_goes_from_the_source_to_the_player() -> anyhow::Result<()> {
    let market = Market::start(MarketPlan::default()).await?;
    let clip = market.path("clip.ts");
    std::fs::write(&clip, synthetic(320, 180, SECONDS))?;
    let mut command = Command::new(binary());
    command.arg("transcode").arg(&clip).arg(market.path("hls")).args(["--json", "--ladder", LADDER]);
    command.arg("--config").arg(&market.accounts.broadcaster.config);
    let output = command.kill_on_drop(true).output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let summary: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(summary["lost"] == 0 && summary["tickets"].as_u64() > Some(0), "{summary}");
    ensure!(summary["renditions"].as_u64() == summary["segments"].as_u64().map(|n| 2 * n), "{summary}");

    let master = market.path("hls").join(summary["master_playlist"].as_str().context("a path")?);
    let text = std::fs::read_to_string(&master)?;
    ensure!(text.contains("CODECS=\"av01.0."), "{text}");
    let folder = master.parent().context("a folder")?;
    let (source, times) = played(&clip).await?;
    ensure!(source == "h264" && times.len() as u32 >= 24 * SECONDS, "{source}: {} frames", times.len());
    for (rung, codec) in [("144p-av1", "av1"), ("96p", "h264")] {
        let playlist = folder.join(rung).join("vod.m3u8");
        let (found, played) = played(&playlist).await?;
        ensure!(found == codec, "{rung} is {found}");
        ensure!(played == times, "{rung}: {played:?} is not {times:?}");
    }
    let listed = std::fs::read_to_string(folder.join("144p-av1/vod.m3u8"))?;
    ensure!(listed.contains("#EXT-X-MAP:URI=\"init-") && listed.contains("\n0.m4s\n"), "{listed}");
    Ok(())
}
