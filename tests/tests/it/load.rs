//! A load test in small: streams through a whole market whose transcoders are echoes.

use std::process::Stdio;

use anyhow::{Context as _, ensure};
use framemill_tests::binary;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

const STREAMS: u64 = 3;
/// Measured, in seconds: two segments of each stream.
const SECONDS: u64 = 4;
const SEGMENT_SECONDS: u64 = 2;

async fn load(folder: &TempDir) -> anyhow::Result<Value> {
    let output = Command::new(binary())
        .args([
            "load",
            "--json",
            "--strangers",
            "--size",
            "320x180",
            "--segments",
            "4",
            "--ladder",
            "180:300k,144:150k,90:80k",
        ])
        .args(["--streams", &STREAMS.to_string(), "--seconds", &SECONDS.to_string(), "--warm-up", "4"])
        .arg("--media")
        .arg(folder.path().join("media"))
        .stdin(Stdio::null())
        .output()
        .await?;
    let (told, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{}: {told}{failed}", output.status);
    let last = told.lines().last().context("nothing was printed")?;
    serde_json::from_str(last).with_context(|| told.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_segment_of_a_small_load_is_published_and_accounted_for() -> anyhow::Result<()> {
    let folder = TempDir::new()?;
    let report = load(&folder).await?;
    let step = &report["steps"][0];
    let count =
        |path: &str| step.pointer(path).and_then(Value::as_u64).with_context(|| format!("{path}: {step}"));
    assert_eq!(report["segments"], 4);
    assert_eq!(count("/streams")?, STREAMS);
    assert_eq!(count("/sent")?, STREAMS * SECONDS / SEGMENT_SECONDS, "{step}");
    assert_eq!(count("/published")?, count("/sent")?, "{step}");
    for nothing in ["/lost", "/unlisted", "/unfaithful"] {
        assert_eq!(count(nothing)?, 0, "{nothing}: {step}");
    }
    // Counters are read at the edges of the measured time, between which each stream has one segment at least.
    let judged = count("/judged/structure")? + count("/judged/first_frame")? + count("/judged/whole")?;
    assert!(judged >= STREAMS, "{step}");
    assert!(count("/tickets/sent")? >= STREAMS, "{step}");
    for stage in ["ingest", "session", "pay", "upload", "work", "verify", "publish"] {
        assert!(step["stages_ms"][stage]["max"].is_number(), "{stage}: {step}");
    }
    assert!(count("/memory/most")? > count("/memory/idle")?.min(1), "{step}");
    Ok(())
}
