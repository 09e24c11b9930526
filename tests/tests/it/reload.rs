//! Operators change prices while streams run: what is right takes effect at once, what is wrong changes nothing.

use std::{path::Path, time::Duration};

use alloy_primitives::U256;
use anyhow::{Context as _, ensure};
use framemill::process::Process;
use framemill_network::PricePerPixel;
use framemill_tests::{BroadcasterProcess, Client, Market, MarketPlan, WireSegment, cut, synthetic};
use reqwest::StatusCode;
use tokio::process::Command;

/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(120);
/// Pause between two looks at a metric.
const POLL: Duration = Duration::from_millis(20);
/// What the market begins with, and what it changes to.
const PRICES: [&str; 2] = ["20000000000", "30000000000"];
/// Counts what came of each reload.
const RELOADS: &str = "framemill_config_reloads_total";

fn price(wei: &str) -> anyhow::Result<PricePerPixel> {
    Ok(PricePerPixel::new(wei.parse::<U256>()?, 1_000)?)
}

/// Replaces a part of a configuration file, which must hold it.
fn edit(file: &Path, from: &str, to: &str) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file)?;
    ensure!(text.contains(from), "{from} is not in {text}");
    Ok(std::fs::write(file, text.replace(from, to))?)
}

/// Has a process read its configuration again, and waits until it has told the outcome `count` times.
async fn reload(process: &Process, http: &str, outcome: &str, count: u32) -> anyhow::Result<()> {
    let id = process.id().context("the process runs")?;
    let sent = Command::new("kill").args(["-HUP", &id.to_string()]).status().await?;
    ensure!(sent.success(), "kill ended with {sent}");
    let wanted = format!("{RELOADS}{{outcome=\"{outcome}\"}} {count}");
    let told = async {
        loop {
            let text = reqwest::get(format!("http://{http}/metrics")).await?.text().await?;
            if text.lines().any(|line| line == wanted) {
                return anyhow::Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    };
    let told = tokio::time::timeout(PATIENCE, told).await;
    told.with_context(|| format!("no {wanted}: {}", process.log()))?
}

/// More sessions than were quoted here and never used.
const MOST_QUOTES: usize = 16;

/// A stream that has to get every segment through.
struct Stream {
    broadcaster: BroadcasterProcess,
    segments: Vec<framemill_media::SourceSegment>,
    next: usize,
}

impl Stream {
    async fn push(&mut self) -> anyhow::Result<()> {
        let answer = self.push_to("live", self.next).await?;
        ensure!(answer.status() == StatusCode::OK, "{}: {}", answer.status(), answer.text().await?);
        self.next += 1;
        Ok(())
    }

    /// Pushes a segment to a stream of any name.
    async fn push_to(&self, name: &str, index: usize) -> anyhow::Result<reqwest::Response> {
        let segment = &self.segments[index];
        let url = self.broadcaster.push_url(name, segment.sequence);
        let request = reqwest::Client::builder().timeout(PATIENCE).build()?.put(url);
        let request = request
            .header("Content-Resolution", "320x180")
            .header("Content-Duration", (segment.duration / 90).to_string())
            .body(segment.data.clone());
        Ok(request.send().await?)
    }

    /// Begins further streams until one is refused, and returns how: quotes that were never used give way to the first ones.
    async fn refusal(&self) -> anyhow::Result<String> {
        for count in 0..MOST_QUOTES {
            let answer = self.push_to(&format!("further-{count}"), 0).await?;
            if answer.status() == StatusCode::SERVICE_UNAVAILABLE {
                return Ok(answer.text().await?);
            }
            ensure!(answer.status() == StatusCode::OK, "{}: {}", answer.status(), answer.text().await?);
        }
        anyhow::bail!("{MOST_QUOTES} further streams were served")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_price_is_quoted_from_sighup_on_and_the_running_stream_loses_nothing() -> anyhow::Result<()> {
    let market = Market::start(MarketPlan::default()).await?;
    let ladder = "broadcaster.ladder=144:150k".to_owned();
    let broadcaster = market.start_broadcaster(&[ladder]).await?;
    let clip = synthetic(320, 180, 10);
    let mut stream = Stream { broadcaster, segments: cut(&clip, 2), next: 0 };
    let wire = WireSegment::of(stream.segments[0].data.clone())?;
    let asker = Client::new(&market, 0, "144:150k".parse()?, wire).await?;
    let (file, http) =
        (market.accounts.sellers[0].orchestrator.config.clone(), market.accounts.sellers[0].http.clone());
    let orchestrator = market.orchestrators[0].as_ref().context("it runs")?;
    let mut before = asker.session().await?;
    assert_eq!(before.quote.price, price(PRICES[0])?);
    stream.push().await?;

    edit(&file, PRICES[0], PRICES[1])?;
    reload(orchestrator, &http, "applied", 1).await?;
    assert_eq!(asker.session().await?.quote.price, price(PRICES[1])?);
    asker.buy(&mut before, 0).await.context("a session goes on at the price it was quoted")?;
    stream.push().await?;

    let right = std::fs::read_to_string(&file)?;
    let dearer = right.replace(PRICES[1], "40000000000");
    let wrong = [
        (dearer.replace("max_price_wei", "max_prise_wei"), "did you mean broadcaster.max_price_wei?"),
        (dearer.replace("confirmations = 1", "confirmations = 99"), "is not within"),
        ("this is [no TOML".to_owned(), "TOML parse error"),
    ];
    for (count, (text, reason)) in (1..).zip(wrong) {
        std::fs::write(&file, text)?;
        reload(orchestrator, &http, "refused", count).await?;
        ensure!(orchestrator.log().contains(reason), "no {reason:?} in {}", orchestrator.log());
    }
    std::fs::write(&file, dearer.replace("confirmations = 1", "confirmations = 2"))?;
    reload(orchestrator, &http, "restart", 1).await?;
    ensure!(orchestrator.log().contains("restart to change orchestrator.confirmations"), "no key named");
    std::fs::remove_file(&file)?;
    reload(orchestrator, &http, "refused", 4).await?;
    assert_eq!(asker.session().await?.quote.price, price(PRICES[1])?);
    stream.push().await?;

    std::fs::write(&file, &right)?;
    reload(orchestrator, &http, "unchanged", 1).await?;
    stream.push().await?;
    let metrics = format!("http://{}/metrics", stream.broadcaster.http);
    let metrics = reqwest::get(metrics).await?.text().await?;
    assert!(metrics.contains("framemill_broadcaster_segments_total{result=\"published\"} 4"), "{metrics}");
    assert!(metrics.contains("framemill_broadcaster_segments_total{result=\"lost\"} 0\n"), "{metrics}");

    edit(&file, "[orchestrator]\n", "[orchestrator]\nmax_sessions = 1\n")?;
    reload(orchestrator, &http, "applied", 2).await?;
    let full = stream.refusal().await?;
    for words in ["all capacity is taken", "ask another orchestrator", "add orchestrators"] {
        assert!(full.contains(words), "{words}: {full}");
    }
    stream.push().await.context("the session that was there goes on")
}
