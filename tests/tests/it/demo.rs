//! `framemill demo` does what it promises, and leaves nothing behind when it is stopped.

use std::{
    collections::BTreeSet,
    path::Path,
    process::{ExitStatus, Output, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use framemill_media::{MediaLimits, segment_info};
use framemill_tests::{binary, clip, playlist_entries, synthetic, workspace};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::{Instant, sleep, timeout},
};

use crate::ffplay;

/// Longer than anything takes on a busy machine; only a hang gets here.
const PATIENCE: Duration = Duration::from_secs(300);

fn demo(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.arg("demo").arg("--dir").arg(dir).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

async fn finish(mut command: Command) -> anyhow::Result<Output> {
    timeout(PATIENCE, command.output()).await.context("the demo does not end")?.context("the demo starts")
}

/// The object that `--json` ends in.
fn report(output: &Output) -> anyhow::Result<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}\n{text}\n{errors}", output.status);
    Ok(serde_json::from_str(text.lines().last().context("the demo says something")?)?)
}

fn keys(object: &Value) -> BTreeSet<&str> {
    object.as_object().expect("an object").keys().map(String::as_str).collect()
}

fn number(report: &Value, path: &str) -> u64 {
    report.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("no number at {path} in {report}"))
}

fn list<'a>(report: &'a Value, key: &str) -> &'a [Value] {
    report[key].as_array().unwrap_or_else(|| panic!("no list {key} in {report}"))
}

fn assert_documented_shape(report: &Value) {
    let top = [
        "segments",
        "renditions",
        "verified",
        "rejected",
        "failovers",
        "tickets",
        "orchestrators",
        "deposit_spent_wei",
        "master_playlist",
        "chain_id",
    ];
    assert_eq!(keys(report), BTreeSet::from(top));
    assert_eq!(keys(&report["tickets"]), BTreeSet::from(["sent", "won", "redeemed"]));
    for seller in list(report, "orchestrators") {
        assert_eq!(keys(seller), BTreeSet::from(["address", "segments", "fees_wei", "honest"]));
    }
    for rejected in list(report, "rejected") {
        assert_eq!(keys(rejected), BTreeSet::from(["segment", "orchestrator", "reason"]));
    }
}

fn assert_complete(report: &Value, rungs: u64) {
    let segments = number(report, "/segments");
    assert!(segments > 0, "{report}");
    assert_eq!(number(report, "/renditions"), segments * rungs, "{report}");
    assert_eq!(number(report, "/verified"), segments * rungs, "{report}");
    assert!(number(report, "/tickets/redeemed") > 0, "{report}");
    let master = report["master_playlist"].as_str().expect("a path");
    assert!(Path::new(master).is_file(), "{master} is no file");
    let sellers = list(report, "orchestrators");
    assert!(sellers.iter().any(|seller| seller["honest"] == true && seller["fees_wei"] != "0"), "{report}");
}

#[tokio::test]
async fn demo_succeeds_although_one_cheats_and_one_is_killed() -> anyhow::Result<()> {
    let dir = TempDir::new()?;
    let source = dir.path().join("source.ts");
    std::fs::write(&source, synthetic(320, 180, 60))?;
    let source = source.to_str().context("a plain path")?;
    let arguments = ["--fast", "--json", "--ladder", "144:200k,96:100k", source];
    let report = report(&finish(demo(&dir.path().join("demo"), &arguments)).await?)?;

    assert_documented_shape(&report);
    assert_complete(&report, 2);
    assert_eq!(number(&report, "/segments"), 30);
    let sellers = list(&report, "orchestrators");
    let cheat = sellers.iter().find(|seller| seller["honest"] == false).context("one of them cheats")?;
    let rejected = list(&report, "rejected");
    assert!(!rejected.is_empty(), "the cheat was never caught: {report}");
    assert!(
        rejected.iter().all(|one| one["orchestrator"] == cheat["address"]),
        "an honest result was rejected: {report}"
    );
    let others = number(&report, "/failovers") - rejected.len() as u64;
    assert!(others > 0, "nobody made good for the one that was killed: {report}");
    Ok(())
}

#[tokio::test]
async fn demo_plays_a_real_clip() -> anyhow::Result<()> {
    let dir = TempDir::new()?;
    let real = clip("desk-360p-aac.flv");
    let mut arguments = vec!["--fast", "--json", "--ladder", "240:300k"];
    match &real {
        Some(path) => arguments.push(path.to_str().context("a plain path")?),
        None => arguments.extend(["--seconds", "8"]),
    }
    let report = report(&finish(demo(&dir.path().join("demo"), &arguments)).await?)?;
    assert_documented_shape(&report);
    assert_complete(&report, 1);
    Ok(())
}

#[tokio::test]
async fn demo_of_a_single_segment_redeems_what_the_killed_orchestrator_had_won() -> anyhow::Result<()> {
    let dir = TempDir::new()?;
    let source = dir.path().join("source.ts");
    std::fs::write(&source, synthetic(320, 180, 2))?;
    let arguments = ["--fast", "--json", "--ladder", "96:100k", source.to_str().context("a plain path")?];
    let report = report(&finish(demo(&dir.path().join("demo"), &arguments)).await?)?;
    assert_eq!(number(&report, "/segments"), 1);
    assert_complete(&report, 1);
    Ok(())
}

#[tokio::test]
async fn demo_of_a_text_file_ends_in_a_clear_error() -> anyhow::Result<()> {
    let dir = TempDir::new()?;
    let text = dir.path().join("notes.txt");
    std::fs::write(&text, "no media at all\n".repeat(1000))?;
    let output =
        finish(demo(&dir.path().join("demo"), &["--fast", text.to_str().context("a plain path")?])).await?;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(errors.contains("notes.txt cannot be played"), "{errors}");
    assert!(!errors.contains("panicked"), "{errors}");
    Ok(())
}

#[tokio::test]
async fn interrupted_demo_leaves_no_process_behind() -> anyhow::Result<()> {
    let dir = TempDir::new()?;
    let source = dir.path().join("source.ts");
    std::fs::write(&source, synthetic(320, 180, 60))?;
    let arguments = ["--ladder", "144:200k", source.to_str().context("a plain path")?];
    let mut child = demo(&dir.path().join("demo"), &arguments).spawn()?;
    wait_for_stream(&mut child).await?;
    let family = family(&child)?;
    let status = interrupt(&mut child).await?;
    assert!(!status.success());
    wait_until_gone(&family).await
}

/// What a demo that stays up tells who wants to publish.
struct Invitation {
    command: String,
    page: String,
    playlist: String,
}

/// Reads what the demo prints until it has said how to publish a stream and where to watch it.
async fn invitation(lines: &mut Lines<BufReader<ChildStdout>>) -> anyhow::Result<Invitation> {
    let (mut command, mut addresses) = (None, Vec::new());
    while let Some(line) = lines.next_line().await? {
        match line.trim_start() {
            line if line.starts_with("ffmpeg ") => command = Some(line.to_owned()),
            line if line.starts_with("http://") => addresses.push(line.to_owned()),
            _ => {}
        }
        if let (Some(command), [page, playlist]) = (&command, &addresses[..]) {
            let [command, page, playlist] = [command, page, playlist].map(String::clone);
            return Ok(Invitation { command, page, playlist });
        }
    }
    anyhow::bail!("the demo ended without an invitation")
}

async fn text(address: &str) -> anyhow::Result<String> {
    Ok(reqwest::get(address).await?.error_for_status()?.text().await?)
}

/// How high the pictures in the first segments of each rendition are, once there are so many.
async fn heights_of_first(count: usize, master: &str) -> anyhow::Result<Vec<Vec<u32>>> {
    let beside = |playlist: &str, name: &str| {
        format!("{}/{name}", playlist.rsplit_once('/').map_or("", |(folder, _)| folder))
    };
    let mut heights = Vec::new();
    for variant in playlist_entries(&text(master).await?) {
        let playlist = beside(master, &variant);
        let segments = playlist_entries(&text(&playlist).await?);
        ensure!(segments.len() >= count, "{playlist} has {} segments", segments.len());
        let mut found = Vec::new();
        for segment in &segments[..count] {
            let data = reqwest::get(beside(&playlist, segment)).await?.error_for_status()?.bytes().await?;
            let info = segment_info(&data, &MediaLimits::segment())?;
            found.push(info.require_video()?.height);
        }
        heights.push(found);
    }
    Ok(heights)
}

#[tokio::test]
async fn a_demo_that_stays_up_takes_the_stream_that_it_invites_and_shows_it() -> anyhow::Result<()> {
    let dir = TempDir::new()?;
    let source = dir.path().join("source.ts");
    std::fs::write(&source, synthetic(320, 180, 4))?;
    let source = source.to_str().context("a plain path")?;
    let arguments =
        ["--keep", "--fast", "--ladder", "144:200k,96:100k", "--set", "broadcaster.rtmp=127.0.0.1:0", source];
    let mut child = demo(&dir.path().join("demo"), &arguments).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("standard output is a pipe")?).lines();
    let invited = timeout(PATIENCE, invitation(&mut lines)).await.context("no invitation comes")??;
    let (wanted, _) = invited.command.split_once("rtmp://").context("it publishes by rtmp")?;
    for page in ["README.md", "docs/platform.md"] {
        let shown = std::fs::read_to_string(workspace().join(page))?.replace("\\\n", "");
        let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(shown.contains(wanted), "{page} shows another command than {wanted}");
    }

    let command = format!("exec {}", invited.command);
    let mut publisher = Command::new("sh")
        .args(["-c", &command])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let end = Instant::now() + PATIENCE;
    let heights = loop {
        match heights_of_first(2, &invited.playlist).await {
            Ok(heights) => break heights,
            Err(error) => ensure!(Instant::now() < end, "nothing to watch: {error:#}"),
        }
        ensure!(publisher.try_wait()?.is_none(), "the publisher was sent away");
        sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(heights, [[144; 2], [96; 2]]);
    // While it runs: a second.
    assert_eq!(ffplay::shown(&invited.playlist, Some(30)).await, 30);
    let board = text(&invited.page.replace("#/streams/mine", "api/board")).await?;
    assert!(board.contains("\"mine\""), "the dashboard does not know the stream: {board}");

    let family = family(&child)?;
    let status = interrupt(&mut child).await?;
    assert!(status.success(), "{status}");
    timeout(PATIENCE, publisher.wait()).await.context("the publisher is not sent away")??;
    assert!(dir.path().join("demo/hls/mine/vod.m3u8").is_file(), "the stream was not ended");
    wait_until_gone(&family).await
}

/// Everything that a demo has started.
fn family(demo: &Child) -> anyhow::Result<Vec<Relative>> {
    let family = descendants(demo.id().context("the demo runs")?);
    // A chain, three orchestrators, three transcoders.
    ensure!(family.len() >= 7, "{family:?}");
    Ok(family)
}

async fn interrupt(demo: &mut Child) -> anyhow::Result<ExitStatus> {
    let id = demo.id().context("the demo runs")?.to_string();
    ensure!(Command::new("kill").args(["-INT", &id]).status().await?.success(), "no SIGINT");
    Ok(timeout(PATIENCE, demo.wait()).await.context("the demo ignores Ctrl-C")??)
}

async fn wait_until_gone(family: &[Relative]) -> anyhow::Result<()> {
    let end = Instant::now() + PATIENCE;
    while family.iter().any(Relative::lives) {
        ensure!(Instant::now() < end, "left behind: {family:?}");
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Reads what the demo prints until its stream runs.
async fn wait_for_stream(child: &mut Child) -> anyhow::Result<()> {
    let mut lines = BufReader::new(child.stdout.take().context("standard output is a pipe")?).lines();
    let reading = async {
        while let Some(line) = lines.next_line().await? {
            if line.contains("pass") {
                // The rest is read too: a full pipe would stop the demo.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return Ok(());
            }
        }
        anyhow::bail!("the demo ended early")
    };
    timeout(PATIENCE, reading).await.context("the demo's stream does not start")?
}

/// A process and when it began, so that another one with the same number is not taken for it.
#[derive(Debug)]
struct Relative {
    id: u32,
    began: String,
}

impl Relative {
    fn find(id: u32) -> Option<Self> {
        Some(Self { id, began: stat(id)?.get(19)?.clone() })
    }

    fn lives(&self) -> bool {
        let zombie = |stat: &[String]| stat.first().is_some_and(|state| state == "Z");
        stat(self.id).is_some_and(|stat| stat.get(19) == Some(&self.began) && !zombie(&stat))
    }
}

/// The fields of `/proc/ID/stat` from the state on; the name before them may hold anything.
fn stat(id: u32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    Some(text.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

fn descendants(id: u32) -> Vec<Relative> {
    let mut found = Vec::new();
    let mut open = vec![id];
    while let Some(parent) = open.pop() {
        for task in std::fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten() {
            let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            let children = children.split_whitespace().filter_map(|child| child.parse().ok());
            open.extend(children.clone());
            found.extend(children.filter_map(Relative::find));
        }
    }
    found
}
