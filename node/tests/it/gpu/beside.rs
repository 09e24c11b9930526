//! `framemill transcoder` on a (simulated) card that does other work too: what it offers follows what the card tells of itself.

use std::{path::Path, process::Stdio};

use bytes::Bytes;
use framemill::keystore;
use framemill_network::{
    JobHeader, Network, NetworkConfig, NetworkError, WireCode, WorkCapacity, WorkServer, WorkToken,
    WorkerEvent, WorkerLink,
};
use framemill_transcoder::SessionId;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStderr, Command},
    time::timeout,
};

use super::rig::*;
use crate::framemill;

const SECRET: &str = "a secret that only this test knows";

/// A miner with one card, and the orchestrator that it works for.
struct Miner {
    rig: Rig,
    process: Child,
    log: Lines<BufReader<ChildStderr>>,
    link: WorkerLink,
    whole: WorkCapacity,
    metrics: String,
    _orchestrator: (Network, WorkServer, TempDir),
}

impl Miner {
    /// One with these settings, on a card with these switches.
    async fn start(switches: &str, settings: &[&str]) -> Option<Self> {
        Self::start_on(Rig::new(switches)?, None, settings).await
    }

    /// The same with the driver's libraries taken from another folder.
    async fn start_on(rig: Rig, libraries: Option<&Path>, settings: &[&str]) -> Option<Self> {
        let network = Network::start(NetworkConfig::loopback()).await.unwrap();
        let mut server = network.serve_work(WorkToken::new(SECRET).unwrap(), 8).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("token");
        keystore::write_private(&token, SECRET.as_bytes()).unwrap();
        let all = [
            format!("data_dir={}", folder.path().display()),
            "http.listen=127.0.0.1:0".to_owned(),
            "log.format=json".to_owned(),
            "transcoder.engine=nvidia".to_owned(),
            format!("transcoder.orchestrator={}", network.service_address().unwrap()),
            format!("transcoder.token_file={}", token.display()),
        ];
        let mut command = framemill(&["transcoder"]);
        for setting in all.iter().map(String::as_str).chain(settings.iter().copied()) {
            command.args(["--set", setting]);
        }
        command.envs(rig.environment());
        if let Some(libraries) = libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = Command::from(command).kill_on_drop(true).spawn().unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let metrics = said(&mut log, "serving metrics").await;
        let metrics = format!("http://{}/metrics", metrics["fields"]["address"].as_str().unwrap());
        let link = timeout(PATIENCE, server.next()).await.expect("a transcoder in time").unwrap();
        let whole = link.hello().capacity;
        Some(Self { rig, process, log, link, whole, metrics, _orchestrator: (network, server, folder) })
    }

    /// The next line of its log that has this message.
    async fn said(&mut self, message: &str) -> Value {
        said(&mut self.log, message).await
    }

    /// The next capacity that it tells of.
    async fn offers(&mut self) -> WorkCapacity {
        match timeout(PATIENCE, self.link.next()).await.expect("another capacity in time").unwrap() {
            WorkerEvent::Capacity(capacity) => capacity,
            other => panic!("{other:?}"),
        }
    }

    /// The value of a metric with these labels, if it is there.
    async fn metric(&self, name: &str) -> Option<f64> {
        let page = reqwest::get(&self.metrics).await.unwrap().text().await.unwrap();
        let value =
            page.lines().find_map(|line| line.strip_prefix("framemill_transcoder_")?.strip_prefix(name));
        value.map(|value| value.trim().parse().unwrap())
    }

    /// Waits until a metric has a value, or is not there.
    async fn until(&self, name: &str, wanted: Option<f64>) {
        let reached = async {
            while self.metric(name).await != wanted {
                tokio::time::sleep(LOOK).await;
            }
        };
        timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("{name} is not {wanted:?}"));
    }

    /// The process that works on the card.
    fn worker(&self) -> u32 {
        let parent = self.process.id().expect("it runs").to_string();
        let is_child = |stat: &str| {
            // State and parent come after the name, which may hold anything in its brackets.
            let mut fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
            fields.nth(1) == Some(&parent)
        };
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let child = processes.filter_map(|entry| {
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            is_child(&stat).then(|| entry.file_name().to_str()?.parse().ok())?
        });
        child.into_iter().next().expect("a process for the card")
    }

    /// Has it make the ladder of a segment.
    async fn transcode(&self, job: u64, session: u8) -> Result<Vec<Bytes>, NetworkError> {
        let source = segment();
        let header = JobHeader {
            job,
            session: SessionId::repeat_byte(session),
            sequence: job,
            duration_90k: 180_000,
            frames: FRAMES as u32,
            source_len: source.len() as u64,
            source_sha256: SessionId::from_slice(&Sha256::digest(&source)),
            ladder: ladder(&source, LADDER),
            deadline: std::time::Duration::from_secs(100),
        };
        let exchange = self.link.handle().open_job(header).await?;
        Ok(exchange.complete(source).await?.renditions)
    }

    async fn assert_works(&self, job: u64) {
        assert_eq!(self.transcode(job, 1).await.unwrap().len(), 3);
    }
}

/// Between two looks at metrics.
const LOOK: std::time::Duration = std::time::Duration::from_millis(200);

async fn said(log: &mut Lines<BufReader<ChildStderr>>, message: &str) -> Value {
    let wanted = async {
        while let Some(line) = log.next_line().await.unwrap() {
            let line: Value = serde_json::from_str(&line).unwrap_or_default();
            if line["fields"]["message"].as_str().is_some_and(|said| said.contains(message)) {
                return line;
            }
        }
        panic!("it ended without saying {message:?}");
    };
    timeout(PATIENCE, wanted).await.unwrap_or_else(|_| panic!("it does not say {message:?}"))
}

#[tokio::test]
async fn a_passed_sm_budget_lowers_what_is_offered_and_says_why() {
    // Whatever others take of the card, the budget is of transcoding.
    let Some(mut miner) = Miner::start("sm=99", &["transcoder.sm_budget=40"]).await else { return };
    miner.until("gpu_busy_ratio{engine=\"nvidia0\",part=\"sm\"}", Some(0.99)).await;
    assert_eq!(miner.metric("offered_ratio{engine=\"nvidia0\"}").await, Some(1.0));
    miner.rig.set(&format!("sm=99 process={} process_sm=60", miner.worker()));
    let first = miner.offers().await;
    assert_eq!(first.pixels_per_second, miner.whole.pixels_per_second / 2);
    assert!(first.max_sessions <= miner.whole.max_sessions.div_ceil(2), "{first:?} of {:?}", miner.whole);
    let line = miner.said("offering less").await;
    assert_eq!(
        line["fields"]["reason"], "transcoding takes 60 % of the SM time, and sm_budget is 40 %",
        "{line}"
    );
    assert_eq!(miner.metric("gpu_busy_ratio{engine=\"nvidia0\",part=\"transcoding_sm\"}").await, Some(0.6));
    let mut before = first;
    while before != WorkCapacity::default() {
        let next = miner.offers().await;
        assert!(next.pixels_per_second < before.pixels_per_second, "{next:?} after {before:?}");
        assert!(next.max_sessions <= before.max_sessions, "{next:?} after {before:?}");
        before = next;
    }
    miner.until("cuts_total{engine=\"nvidia0\",reason=\"sm\"}", Some(4.0)).await;
}

#[tokio::test]
async fn too_much_power_lowers_what_is_offered_and_says_why() {
    let Some(mut miner) = Miner::start("power=170", &["transcoder.power_limit=180"]).await else { return };
    miner.until("gpu_power_watts{engine=\"nvidia0\"}", Some(170.0)).await;
    miner.rig.set("power=215");
    assert_eq!(miner.offers().await.pixels_per_second, miner.whole.pixels_per_second / 2);
    let line = miner.said("offering less").await;
    assert_eq!(line["fields"]["reason"], "the card draws 215 W, and power_limit is 180 W", "{line}");
    miner.assert_works(1).await;
}

#[tokio::test]
async fn a_paused_card_takes_nothing_and_comes_back() {
    let settings = ["transcoder.pause_when=temperature > 83, memory > 90"];
    let Some(mut miner) = Miner::start("temperature=60 memory_taken=50", &settings).await else { return };
    miner.assert_works(1).await;
    miner.rig.set("temperature=84 memory_taken=50");
    assert_eq!(miner.offers().await, WorkCapacity::default());
    let line = miner.said("offering less").await;
    let reason = "temperature is 84 °C, and pause_when has temperature > 83";
    assert_eq!(line["fields"]["reason"], reason, "{line}");
    // The stream that was there has to go as well.
    let refused = miner.transcode(2, 1).await.unwrap_err();
    assert_eq!(refused.wire_code(), Some(WireCode::Busy), "{refused}");
    miner.rig.set("temperature=60 memory_taken=50");
    let back = miner.offers().await;
    assert!(back.pixels_per_second > 0 && back.max_sessions > 0, "{back:?}");
    assert!(back.pixels_per_second < miner.whole.pixels_per_second, "{back:?}");
    miner.said("offering more again").await;
    miner.assert_works(3).await;
}

#[tokio::test]
async fn works_on_when_the_driver_tells_nothing_any_more() {
    let Some(mut miner) = Miner::start("power=100", &["transcoder.power_limit=180"]).await else { return };
    let power = "gpu_power_watts{engine=\"nvidia0\"}";
    miner.until(power, Some(100.0)).await;
    miner.rig.set("power=500 telemetry_lost=1");
    let line = miner.said("the gpu tells nothing of itself").await;
    assert!(line["fields"]["reason"].as_str().unwrap().contains("Driver Not Loaded"), "{line}");
    miner.until(power, None).await;
    miner.assert_works(1).await;
    miner.rig.set("power=100");
    miner.said("the gpu tells of itself again").await;
    miner.until(power, Some(100.0)).await;
    miner.rig.set("power=100 telemetry_hang=1");
    let line = miner.said("the gpu tells nothing of itself").await;
    assert!(line["fields"]["reason"].as_str().unwrap().contains("has not answered"), "{line}");
    miner.assert_works(2).await;
    miner.rig.set("power=100");
    miner.said("the gpu tells of itself again").await;
    assert_eq!(miner.metric("offered_ratio{engine=\"nvidia0\"}").await, Some(1.0));
}

#[tokio::test]
async fn says_so_where_the_driver_has_no_telemetry_or_the_card_not_what_was_asked() {
    let Some(rig) = Rig::new("") else { return };
    let folder = tempfile::tempdir().unwrap();
    for library in ["libcuda.so.1", "libnvidia-encode.so.1", "libnvcuvid.so.1"] {
        let driver = driver().expect("it was built for the rig");
        std::os::unix::fs::symlink(driver.join(library), folder.path().join(library)).unwrap();
    }
    let mut miner = Miner::start_on(rig, Some(folder.path()), &[]).await.expect("a rig");
    let line = miner.said("the gpu tells nothing of itself").await;
    assert!(line["fields"]["reason"].as_str().unwrap().contains("libnvidia-ml.so.1 was not found"), "{line}");
    miner.assert_works(1).await;

    let settings = ["transcoder.power_limit=180", "transcoder.sm_budget=50"];
    let mut miner = Miner::start("power=-1", &settings).await.expect("a rig");
    let line = miner.said("the gpu does not tell what these settings are about").await;
    assert_eq!(line["fields"]["settings"], "power_limit", "{line}");
    miner.assert_works(1).await;
}

#[test]
fn a_condition_that_means_nothing_is_refused_before_the_start() {
    let output = framemill(&["config", "check", "--set", "transcoder.pause_when=heat > 3"]).output().unwrap();
    let text = crate::stderr(&output) + &crate::stdout(&output);
    assert!(
        !output.status.success() && text.contains("transcoder.pause_when: \"heat > 3\" is no condition"),
        "{text}"
    );
}
