//! A broadcaster's process with a bucket of a real server, as its operator sets it up.

use std::{
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use framemill_tests::{Market, MarketPlan, binary, cut, playlist_entries, synthetic};
use reqwest::Client;
use tempfile::TempDir;
use tokio::process::Command;

use crate::seaweed::{BUCKET, KEY, SECRET, Server};

/// Longest wait for one answer, or for a process that is to end.
const PATIENCE: Duration = Duration::from_secs(120);
/// The folder in the bucket.
pub(crate) const PREFIX: &str = "live/tv";

/// Settings for a bucket of this server, with a credentials file that its owner alone reads.
pub(crate) fn settings(server: &Server, folder: &Path, secret: &str) -> anyhow::Result<Vec<String>> {
    let file = folder.join("s3-credentials");
    let mut options = std::fs::File::options();
    let mut out = options.write(true).create(true).truncate(true).mode(0o600).open(&file)?;
    std::io::Write::write_all(
        &mut out,
        format!("[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {secret}\n").as_bytes(),
    )?;
    Ok(vec![
        format!("broadcaster.s3_bucket={BUCKET}"),
        format!("broadcaster.s3_prefix={PREFIX}"),
        format!("broadcaster.s3_endpoint={}", server.endpoint()),
        format!("broadcaster.s3_credentials_file={}", file.display()),
    ])
}

/// Every file in a folder and the folders in it, by its path from there.
pub(crate) fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let (mut found, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path.strip_prefix(folder)?.to_owned());
            }
        }
    }
    Ok(found)
}

/// Wants these files of a folder in the bucket, byte for byte.
pub(crate) async fn assert_in_bucket(
    server: &Server,
    folder: &Path,
    files: &[PathBuf],
) -> anyhow::Result<()> {
    for file in files {
        let object = server.get(&format!("{PREFIX}/{}", file.display())).await.error_for_status()?;
        ensure!(object.bytes().await? == std::fs::read(folder.join(file))?, "{}", file.display());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_process_publishes_stands_in_its_bucket() -> anyhow::Result<()> {
    let (server, market) = (Server::start().await, Market::start(MarketPlan::default()).await?);
    let mut set = settings(&server, &market.path("market"), SECRET)?;
    set.push("broadcaster.ladder=144:150k,96:100k".to_owned());
    let mut broadcaster = market.start_broadcaster(&set).await?;
    let client = Client::builder().timeout(PATIENCE).build()?;
    for segment in cut(&synthetic(320, 180, 4), 2) {
        let url = broadcaster.push_url("cam", segment.sequence);
        let answer = client.put(url).body(segment.data.clone()).send().await?;
        ensure!(answer.status().is_success(), "{}: {}", answer.status(), answer.text().await?);
    }
    let ended = broadcaster.process.terminate().await?;
    ensure!(ended.success(), "{ended}: {}", broadcaster.process.log());
    ensure!(!broadcaster.process.log().contains(SECRET), "the secret is in the log");

    let published = market.accounts.broadcaster.data.parent().context("a folder")?.join("hls");
    let files = files(&published)?;
    assert_in_bucket(&server, &published, &files).await?;
    // Two segments of two rungs, a live and a final playlist of each, and both masters.
    assert_eq!(files.len(), 4 + 4 + 2, "{files:?}");
    let vod = server.read(&format!("{PREFIX}/cam/vod.m3u8")).await;
    assert_eq!(playlist_entries(&vod), ["144p/vod.m3u8", "96p/vod.m3u8"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_key_ends_the_start_with_the_servers_reason() -> anyhow::Result<()> {
    let (server, folder) = (Server::start().await, TempDir::new()?);
    let wrong = SECRET.to_uppercase();
    let told = start(&settings(&server, folder.path(), &wrong)?, folder.path()).await?;
    let text = String::from_utf8_lossy(&told.stderr);
    assert!(!told.status.success(), "it started: {text}");
    for words in ["SignatureDoesNotMatch", "s3://hls/live/tv refuses to be written", "check bucket, key"] {
        assert!(text.contains(words), "no {words:?} in {text}");
    }
    assert!(!text.contains(&wrong), "the secret is told: {text}");
    Ok(())
}

/// Runs a broadcaster without a chain until it ends.
async fn start(settings: &[String], folder: &Path) -> anyhow::Result<Output> {
    let own = [
        format!("data_dir={}", folder.join("data").display()),
        format!("broadcaster.output={}", folder.join("hls").display()),
        "broadcaster.ingest=127.0.0.1:0".to_owned(),
        "http.listen=127.0.0.1:0".to_owned(),
    ];
    let mut command = Command::new(binary());
    command.arg("broadcaster");
    for setting in own.iter().chain(settings) {
        command.args(["--set", setting]);
    }
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    tokio::time::timeout(PATIENCE, output).await.context("it does not end")?.context("it starts")
}
