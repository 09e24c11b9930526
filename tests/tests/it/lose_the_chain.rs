//! The chain stops answering in the middle of a live stream: the stream goes on, and its tickets are redeemed afterwards.

use std::time::Duration;

use alloy_primitives::U256;
use anyhow::{Context as _, ensure};
use bytes::Bytes;
use framemill_tests::{BroadcasterProcess, Market, MarketPlan, cut, synthetic};
use reqwest::StatusCode;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

/// How long the chain is away.
const OUTAGE: Duration = Duration::from_secs(20);
/// How long the stream runs before the outage.
const BEFORE: Duration = Duration::from_secs(3);
/// How long it runs after it.
const AFTER: Duration = Duration::from_secs(3);
/// More than the first segment of each part, which comes at once, and one that is begun late.
const SPARE: Duration = Duration::from_secs(6);
/// Longer than a redemption takes on a busy machine; only a hang gets here.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two looks.
const POLL: Duration = Duration::from_millis(200);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_stream_outlives_the_chain_and_its_tickets_are_redeemed_afterwards() -> anyhow::Result<()> {
    let mut plan = MarketPlan::default();
    plan.settings.push(("broadcaster.ladder", "180:300k,90:100k".to_owned()));
    // Each segment buys some tickets, so that there are winners from within the outage.
    plan.settings.push(("orchestrator.ticket_value_wei", "10000000000000".to_owned()));
    let mut market = Market::start(plan).await?;
    let broadcaster = market.start_broadcaster(&[]).await?;
    let clip = synthetic(320, 180, u32::try_from((BEFORE + OUTAGE + AFTER + SPARE).as_secs())?);
    let mut live =
        Live { broadcaster, segments: cut(&clip, 1).into_iter().map(|s| s.data).collect(), sent: 0 };

    live.play(Instant::now() + BEFORE).await?;
    settled(&market).await.context("before the outage")?;
    let before = counts(&market).await?;

    market.anvil.pause().await?;
    let played = live.play(Instant::now() + OUTAGE).await.context("while the chain was away");
    let during = counts(&market).await;
    // Whatever happened: a stopped process must not stay behind.
    market.anvil.resume().await?;
    played?;
    let during = during?;
    ensure!(during.won > before.won, "no ticket won while the chain was away: {during:?}");
    ensure!(during.redeemed == before.redeemed, "redeemed without a chain: {during:?}");

    live.play(Instant::now() + AFTER).await.context("after the outage")?;
    settled(&market).await.context("after the outage")?;
    let after = counts(&market).await?;
    ensure!(after.redeemed >= during.won, "winners of the outage are not redeemed: {after:?}");
    let paid = market.redeemed().await?;
    ensure!(paid.len() as u64 == after.redeemed, "{} paid on chain, {after:?}", paid.len());
    let earned = paid.iter().fold(U256::ZERO, |sum, ticket| sum + ticket.face_value);
    ensure!(earned > U256::ZERO, "the orchestrator earned nothing");
    market.wait_ready(0).await
}

/// A stream that is pushed at its own pace.
struct Live {
    broadcaster: BroadcasterProcess,
    segments: Vec<Bytes>,
    sent: usize,
}

impl Live {
    /// Pushes one segment a second until `end`; each must be served.
    async fn play(&mut self, end: Instant) -> anyhow::Result<()> {
        let client = reqwest::Client::new();
        let mut clock = interval(Duration::from_secs(1));
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while Instant::now() < end {
            clock.tick().await;
            let segment = self.segments.get(self.sent).context("the clip is too short")?.clone();
            let url = self.broadcaster.push_url("live", self.sent as u64);
            let answer = client.post(url).body(segment).send().await?;
            let (status, said) = (answer.status(), answer.text().await?);
            ensure!(status == StatusCode::OK, "segment {}: {status}: {said}", self.sent);
            self.sent += 1;
        }
        Ok(())
    }
}

/// What the orchestrator counts of its tickets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counts {
    won: u64,
    redeemed: u64,
}

async fn counts(market: &Market) -> anyhow::Result<Counts> {
    let url = format!("http://{}/metrics", market.accounts.sellers[0].http);
    let text = reqwest::get(url).await?.text().await?;
    let value = |name: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
    };
    Ok(Counts {
        won: value("framemill_orchestrator_tickets_total{outcome=\"won\"}"),
        redeemed: value("framemill_orchestrator_redemptions_total{outcome=\"redeemed\"}"),
    })
}

/// Waits until every winner is redeemed.
async fn settled(market: &Market) -> anyhow::Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        let counts = counts(market).await?;
        if counts.won == counts.redeemed {
            return Ok(());
        }
        ensure!(Instant::now() < end, "winners are not redeemed: {counts:?}");
        sleep(POLL).await;
    }
}
