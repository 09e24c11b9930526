//! One of two orchestrators turns slow in the middle of a stream, and one that cheats is still suspended after a restart.

use anyhow::{Context as _, ensure};
use framemill::process::Process;
use framemill_media::SourceSegment;
use framemill_network::SigningDomain;
use framemill_tests::{
    BroadcasterProcess, Market, MarketPlan, cut,
    impostor::{Act, Impostor},
    synthetic,
};
use serde_json::Value;
use tokio::process::Command;

/// Segments before one turns slow: each has been measured by then.
const BEFORE: usize = 8;
/// Segments after it, of which half would be its own.
const AFTER: usize = 16;
/// Wei per thousand pixels: a segment has some 280 of them, and a ticket is worth 10^14.
const PRICE: u64 = 600_000_000_000;
/// Settings of both stories: deadlines are long, so that only a copy, and no failure, can move a segment on in time.
const SETTINGS: [&str; 3] =
    ["broadcaster.ladder=72:100k", "broadcaster.deadline_ms=120000", "broadcaster.segment_ms=1000"];

fn settings() -> Vec<String> {
    SETTINGS.map(str::to_owned).into()
}

fn plan(sellers: usize) -> MarketPlan {
    let mut plan = MarketPlan { sellers, ..MarketPlan::default() };
    // A segment costs a ticket or two, so that each attempt is paid with some of its own.
    let own = ["orchestrator.price_wei", "broadcaster.max_price_wei"];
    plan.settings.retain(|(key, _)| *key != "broadcaster.deadline_ms" && !own.contains(key));
    plan.settings.extend(own.map(|key| (key, PRICE.to_string())));
    plan
}

/// Pushes a segment and gives the status and the answer.
async fn push(to: &BroadcasterProcess, segment: &SourceSegment) -> anyhow::Result<(bool, String)> {
    let url = to.push_url("cam", segment.sequence);
    let answer = reqwest::Client::new().put(url).body(segment.data.clone()).send().await?;
    Ok((answer.status().is_success(), answer.text().await?))
}

/// The value of a broadcaster's metric; zero where it was never counted.
async fn metric(of: &BroadcasterProcess, name: &str) -> anyhow::Result<f64> {
    let text = reqwest::get(format!("http://{}/metrics", of.http)).await?.text().await?;
    let wanted = format!("framemill_broadcaster_{name} ");
    let found = text.lines().find_map(|line| line.strip_prefix(&wanted));
    Ok(found.map(str::parse).transpose()?.unwrap_or(0.0))
}

async fn signal(process: &Process, name: &str) -> anyhow::Result<()> {
    let id = process.id().context("the process runs")?.to_string();
    ensure!(Command::new("kill").args([name, &id]).status().await?.success(), "no {name}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orchestrator_that_turns_slow_costs_no_segment_and_what_it_was_paid_is_accounted()
-> anyhow::Result<()> {
    let market = Market::start(plan(2)).await?;
    let broadcaster = market.start_broadcaster(&settings()).await?;
    let segments = cut(&synthetic(160, 90, (BEFORE + AFTER) as u32), 1);
    let (before, after) = segments.split_at(BEFORE);
    for segment in before {
        let (ok, said) = push(&broadcaster, segment).await?;
        ensure!(ok, "segment {}: {said}", segment.sequence);
    }
    let rescued = metric(&broadcaster, "hedges_total{winner=\"spare\"}").await?;

    // It still answers and takes segments; its transcoder does nothing any more.
    let slow = market.transcoders[0].as_ref().context("it was started")?;
    signal(slow, "-STOP").await?;
    for segment in after {
        let (ok, said) = push(&broadcaster, segment).await?;
        ensure!(ok, "segment {}: {said}", segment.sequence);
        if metric(&broadcaster, "hedges_total{winner=\"spare\"}").await? > rescued {
            break;
        }
    }
    signal(slow, "-CONT").await?;

    ensure!(metric(&broadcaster, "hedges_total{winner=\"spare\"}").await? > rescued, "no copy was delivered");
    ensure!(metric(&broadcaster, "segments_total{result=\"lost\"}").await? == 0.0, "a segment was lost");
    ensure!(metric(&broadcaster, "attempts_total{outcome=\"outpaced\"}").await? > 0.0, "nobody was outpaced");
    ensure!(
        metric(&broadcaster, "attempts_total{outcome=\"rejected\"}").await? == 0.0,
        "a result was rejected"
    );
    ensure!(metric(&broadcaster, "outpaced_tickets_total").await? > 0.0, "what it was paid is not accounted");
    broadcaster.process.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cheat_is_still_suspended_after_the_broadcaster_was_restarted() -> anyhow::Result<()> {
    let market = Market::start(plan(1)).await?;
    let deployment = market.accounts.deployment;
    let domain = SigningDomain { chain_id: deployment.chain_id, controller: deployment.controller };
    let cheat = Impostor::start(Act::FewerRenditions, domain).await?;
    let mut settings = settings();
    settings[0] = "broadcaster.ladder=72:100k,54:80k".to_owned();
    settings.push(format!("network.peers={}", cheat.peer()));

    let mut broadcaster = market.start_broadcaster(&settings).await?;
    let segments = cut(&synthetic(160, 90, (BEFORE + AFTER) as u32), 1);
    let mut pushed = segments.iter();
    for segment in pushed.by_ref() {
        let (ok, said) = push(&broadcaster, segment).await?;
        ensure!(ok, "segment {}: {said}", segment.sequence);
        if metric(&broadcaster, "suspended_orchestrators").await? > 0.0 {
            break;
        }
    }
    ensure!(metric(&broadcaster, "suspended_orchestrators").await? == 1.0, "the cheat was never tried");
    ensure!(broadcaster.process.terminate().await?.success(), "{}", broadcaster.process.log());

    let again = market.start_broadcaster(&settings).await?;
    ensure!(metric(&again, "suspended_orchestrators").await? == 1.0, "a restart freed it");
    for segment in segments.iter().take(4) {
        let (ok, said) = push(&again, segment).await?;
        ensure!(ok, "segment {}: {said}", segment.sequence);
    }
    let board: Value = reqwest::get(format!("http://{}/api/board", again.http)).await?.json().await?;
    ensure!(!board["segments"].to_string().contains(&cheat.account.to_string()), "it was asked: {board}");
    again.process.stop().await;
    Ok(())
}
