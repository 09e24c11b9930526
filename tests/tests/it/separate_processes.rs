//! The four roles as separate processes against a chain that the user started, as README's second example shows.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use framemill::{
    config::{Config, Sources},
    process::{Launcher, Process},
};
use framemill_contracts::{Anvil, AnvilConfig};
use framemill_media::{MediaLimits, SourceSegment, segment_info};
use framemill_tests::{BroadcasterProcess, binary, cut, playlist_entries, synthetic};
use reqwest::{Client, Response, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{process::Command, time::sleep};

/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(120);
/// Pause between two looks at a metric.
const POLL: Duration = Duration::from_millis(20);
/// What the broadcaster buys: name, width, height.
const RUNGS: [(&str, u32, u32); 2] = [("180p", 320, 180), ("144p", 256, 144)];

/// A market as a user sets it up by hand. The chain lives as long as this does.
struct ByHand {
    _anvil: Anvil,
    folder: TempDir,
    launcher: Launcher,
    orchestrator: Process,
    transcoder: Process,
    broadcaster: BroadcasterProcess,
}

fn config(path: &Path) -> anyhow::Result<Config> {
    Ok(Sources { file: Some(path.to_owned()), ..Sources::default() }.load()?)
}

impl ByHand {
    async fn start() -> anyhow::Result<Self> {
        Self::start_with(&[]).await
    }

    /// With more settings of the form `KEY=VALUE` for orchestrator and broadcaster.
    async fn start_with(settings: &[&str]) -> anyhow::Result<Self> {
        let anvil = Anvil::start(AnvilConfig::default()).await?;
        let folder = TempDir::new()?;
        let dir = folder.path().join("devnet");
        let prepared = Command::new(binary())
            .args(["devnet", "--rpc", anvil.endpoint(), "--dir"])
            .arg(&dir)
            .stdin(Stdio::null())
            .output()
            .await?;
        ensure!(prepared.status.success(), "{}", String::from_utf8_lossy(&prepared.stderr));

        let launcher = Launcher::new(binary(), folder.path().join("logs"))?;
        let [seller, worker, buyer] = ["orchestrator-1", "transcoder-1", "broadcaster"]
            .map(|name| dir.join(name).with_extension("toml"));
        let more = settings.iter().flat_map(|setting| ["--set", setting]);
        let arguments: Vec<_> = ["orchestrator"].into_iter().chain(more).collect();
        let mut orchestrator = launcher.start("orchestrator", &arguments, &seller)?;
        let mut transcoder = launcher.start("transcoder", &["transcoder"], &worker)?;
        transcoder.ready(&config(&worker)?.http.listen).await?;
        orchestrator.ready(&config(&seller)?.http.listen).await?;
        let own = ["broadcaster.ladder=180:300k,144:150k", "broadcaster.deadline_ms=60000"];
        let all: Vec<_> = own.iter().chain(settings).map(|setting| (*setting).to_owned()).collect();
        let broadcaster = BroadcasterProcess::start(&launcher, &buyer, &all).await?;
        Ok(Self { _anvil: anvil, folder, launcher, orchestrator, transcoder, broadcaster })
    }

    fn http(&self, role: &str) -> anyhow::Result<String> {
        Ok(config(&self.folder.path().join("devnet").join(role).with_extension("toml"))?.http.listen)
    }

    async fn stop(mut self) -> anyhow::Result<()> {
        for process in [&mut self.broadcaster.process, &mut self.transcoder, &mut self.orchestrator] {
            let ended = process.terminate().await?;
            ensure!(ended.success(), "{ended}: {}", process.log());
        }
        drop(self.launcher);
        Ok(())
    }
}

fn client() -> anyhow::Result<Client> {
    Ok(Client::builder().timeout(PATIENCE).build()?)
}

fn segments() -> Vec<SourceSegment> {
    cut(&synthetic(320, 180, 6), 2)
}

async fn push(
    client: &Client,
    url: String,
    segment: &SourceSegment,
    accept: &str,
) -> anyhow::Result<Response> {
    let millis = segment.duration / 90;
    let request = client
        .put(url)
        .header("Accept", accept)
        .header("Content-Resolution", "320x180")
        .header("Content-Duration", millis.to_string())
        .body(segment.data.clone());
    Ok(request.send().await?)
}

/// One part of a `multipart/mixed` body.
struct Part {
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Part {
    fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }
}

/// Reads a body by its boundary and each part by its `Content-Length`, as clients of this API do.
fn parts(content_type: &str, body: &Bytes) -> anyhow::Result<Vec<Part>> {
    let boundary = content_type.strip_prefix("multipart/mixed; boundary=").context("not multipart/mixed")?;
    let mut rest = body.clone();
    let mut parts = Vec::new();
    loop {
        let mark = format!("--{boundary}");
        ensure!(rest.starts_with(mark.as_bytes()), "no boundary after part {}", parts.len());
        rest = rest.slice(mark.len()..);
        if rest.starts_with(b"--") {
            return Ok(parts);
        }
        let end = rest.windows(4).position(|bytes| bytes == b"\r\n\r\n").context("headers do not end")?;
        let text = String::from_utf8(rest[..end].to_vec())?;
        let headers = text.lines().filter_map(|line| line.split_once(": "));
        let mut part = Part {
            headers: headers.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            body: Bytes::new(),
        };
        let length: usize = part.header("content-length").parse()?;
        let start = end + 4;
        part.body = rest.slice(start..start + length);
        // The line break before a boundary belongs to the boundary.
        rest = rest.slice(start + length + 2..);
        parts.push(part);
    }
}

fn assert_rendition(part: &Part, sequence: u64, rung: (&str, u32, u32), frames: usize) {
    let (name, width, height) = rung;
    let file = format!("{name}_{sequence}.ts");
    assert_eq!(part.header("content-type"), format!("video/mp2t; name=\"{file}\""));
    assert_eq!(part.header("content-disposition"), format!("attachment; filename=\"{file}\""));
    assert_eq!(part.header("rendition-name"), name);
    let info = segment_info(&part.body, &MediaLimits::segment()).expect("a rendition is media");
    let video = info.video.expect("a rendition has a picture");
    assert_eq!((video.width, video.height, video.frames()), (width, height, frames));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushed_segments_come_back_as_multipart_and_stand_in_the_playlists() -> anyhow::Result<()> {
    let market = ByHand::start().await?;
    let client = client()?;
    let segments = segments();
    for segment in &segments {
        let url = market.broadcaster.push_url("first", segment.sequence);
        let answer = push(&client, url, segment, "multipart/mixed").await?;
        assert_eq!(answer.status(), StatusCode::OK);
        let kind = answer.headers()["content-type"].to_str()?.to_owned();
        let parts = parts(&kind, &answer.bytes().await?)?;
        assert_eq!(parts.len(), RUNGS.len());
        for (part, rung) in parts.iter().zip(RUNGS) {
            assert_rendition(part, segment.sequence, rung, segment.frames() as usize);
        }
    }
    let quiet = push(&client, market.broadcaster.push_url("second", 0), &segments[0], "*/*").await?;
    assert_eq!(quiet.status(), StatusCode::OK);
    assert!(quiet.bytes().await?.is_empty(), "an answer without multipart has a body");

    let get = async |path: String| -> anyhow::Result<Bytes> {
        let answer = client.get(market.broadcaster.hls_url(&path)).send().await?;
        Ok(answer.error_for_status()?.bytes().await?)
    };
    let master = String::from_utf8(get("first/master.m3u8".to_owned()).await?.to_vec())?;
    let variants = playlist_entries(&master);
    assert_eq!(variants.len(), RUNGS.len(), "{master}");
    for variant in variants {
        let playlist = String::from_utf8(get(format!("first/{variant}")).await?.to_vec())?;
        let files = playlist_entries(&playlist);
        assert_eq!(files.len(), segments.len(), "{playlist}");
        let folder = variant.rsplit_once('/').map_or("", |(folder, _)| folder);
        for file in files {
            let data = get(format!("first/{folder}/{file}")).await?;
            segment_info(&data, &MediaLimits::segment()).context("a published file is media")?;
        }
    }
    market.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_role_serves_metrics_and_health() -> anyhow::Result<()> {
    let market = ByHand::start().await?;
    let client = client()?;
    let segment = segments().remove(0);
    let answer = push(&client, market.broadcaster.push_url("health", 0), &segment, "*/*").await?;
    assert_eq!(answer.status(), StatusCode::OK);
    let roles = [
        ("orchestrator", market.http("orchestrator-1")?),
        ("transcoder", market.http("transcoder-1")?),
        ("broadcaster", market.broadcaster.http.clone()),
    ];
    for (role, http) in roles {
        for page in ["healthz", "readyz"] {
            let answer = client.get(format!("http://{http}/{page}")).send().await?;
            assert_eq!(answer.status(), StatusCode::OK, "{role}: {page}");
        }
        let metrics = client.get(format!("http://{http}/metrics")).send().await?.text().await?;
        assert!(metrics.contains(&format!("framemill_{role}_")), "{role}: {metrics}");
    }
    market.stop().await
}

/// The span of the first line of a JSON log that says `message`, once there is one.
async fn span_of(process: &Process, message: &str) -> anyhow::Result<Value> {
    let search = async {
        loop {
            let log = process.log();
            // The last line may not be whole yet.
            let lines = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            for line in lines {
                let line: Value = serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))?;
                if line["fields"]["message"] == message {
                    return Ok(line["span"].clone());
                }
            }
            sleep(POLL).await;
        }
    };
    tokio::time::timeout(PATIENCE, search).await.with_context(|| format!("nobody says {message}"))?
}

/// Checks that a span has these times, each no earlier than the one before.
fn assert_in_order(span: &Value, stages: &[&str]) {
    let times: Vec<_> = stages.iter().map(|stage| span[stage].as_u64()).collect();
    assert!(times.iter().all(Option::is_some) && times.is_sorted(), "{stages:?} in {span}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_in_json_has_a_span_for_each_segment_with_its_stages() -> anyhow::Result<()> {
    let filter = "log.filter=info,framemill_broadcaster=debug,framemill_orchestrator=debug";
    let market = ByHand::start_with(&["log.format=json", filter]).await?;
    let segment = segments().remove(0);
    let answer = push(&client()?, market.broadcaster.push_url("told", 0), &segment, "*/*").await?;
    assert_eq!(answer.status(), StatusCode::OK);

    let bought = span_of(&market.broadcaster.process, "segment ended").await?;
    assert_eq!((&bought["name"], &bought["stream"]), (&Value::from("segment"), &Value::from("told")));
    assert_eq!(bought["sequence"], 0);
    assert!(bought["attempts"].as_u64() >= Some(1), "{bought}");
    assert!(bought["orchestrator"].as_str().is_some_and(|account| account.starts_with("0x")), "{bought}");
    assert_in_order(
        &bought,
        &["quote_ms", "accepted_ms", "uploaded_ms", "downloaded_ms", "verified_ms", "published_ms"],
    );

    let sold = span_of(&market.orchestrator, "segment ended with a receipt").await?;
    assert_eq!((&sold["name"], &sold["sequence"]), (&Value::from("segment"), &Value::from(0)));
    assert!(sold["session"].is_string() && sold["transcoder"].is_string(), "{sold}");
    assert_in_order(&sold, &["admitted_ms", "uploaded_ms", "made_ms", "ended_ms"]);
    market.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broadcaster_asked_to_stop_finishes_what_it_took() -> anyhow::Result<()> {
    let mut market = ByHand::start().await?;
    let client = client()?;
    let segment = segments().remove(0);
    let url = market.broadcaster.push_url("last", 0);
    let metrics = format!("http://{}/metrics", market.broadcaster.http);
    let pushing = tokio::spawn({
        let client = client.clone();
        async move { push(&client, url, &segment, "multipart/mixed").await }
    });
    wait_for(&client, &metrics, "framemill_broadcaster_source_bytes_total").await?;
    let ended = market.broadcaster.process.terminate().await?;
    assert!(ended.success(), "{ended}: {}", market.broadcaster.process.log());
    assert_eq!(pushing.await??.status(), StatusCode::OK);
    let master = market.folder.path().join("devnet/hls/last/vod.m3u8");
    assert!(master.is_file(), "the stream was not finished");
    Ok(())
}

/// Waits until a counter is above zero.
async fn wait_for(client: &Client, url: &str, counter: &str) -> anyhow::Result<()> {
    let search = async {
        loop {
            let text = client.get(url).send().await?.text().await?;
            let value = text.lines().find_map(|line| line.strip_prefix(counter)?.trim().parse::<f64>().ok());
            if value.is_some_and(|value| value > 0.0) {
                return Ok(());
            }
            sleep(POLL).await;
        }
    };
    tokio::time::timeout(PATIENCE, search).await.with_context(|| format!("{counter} stays at zero"))?
}
