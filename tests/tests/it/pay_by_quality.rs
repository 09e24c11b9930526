//! A price that follows the quality, between a real buyer and a real seller: what was left is spent before more is paid.

use std::process::Stdio;

use anyhow::{Context as _, ensure};
use framemill_tests::{Market, MarketPlan, binary, synthetic};
use serde_json::Value;
use tokio::process::Command;

/// Seconds of the clip: six segments.
const SECONDS: u32 = 12;
const LADDER: &str = "144:150k";
/// Pixels of the ladder's only rung in all segments.
const PIXELS: u64 = 256 * 144 * 30 * SECONDS as u64;
/// Wei per thousand pixels.
const PRICE: u64 = 200_000_000_000;
const TICKET: u64 = 100_000_000_000_000;

fn plan() -> MarketPlan {
    let mut plan = MarketPlan::default();
    let own = [
        ("orchestrator.price_wei", PRICE.to_string()),
        ("broadcaster.max_price_wei", PRICE.to_string()),
        ("orchestrator.ticket_value_wei", TICKET.to_string()),
        ("orchestrator.commitment_surcharge_ppm", "0".to_owned()),
        // Only a copy would be paid in whole, and nothing that an encoder makes comes near.
        ("orchestrator.quality_full_centi_db", "10000".to_owned()),
        ("orchestrator.quality_least_centi_db", "9000".to_owned()),
        ("orchestrator.quality_least_ppm", "100000".to_owned()),
        ("broadcaster.commitments", "true".to_owned()),
        ("broadcaster.verification", "full".to_owned()),
    ];
    plan.settings.retain(|(key, _)| own.iter().all(|(other, _)| other != key));
    plan.settings.extend(own);
    plan
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_quality_leaves_of_a_payment_pays_the_next_segments() -> anyhow::Result<()> {
    let market = Market::start(plan()).await?;
    let clip = market.path("clip.ts");
    std::fs::write(&clip, synthetic(320, 180, SECONDS))?;
    let mut command = Command::new(binary());
    command.arg("transcode").arg(&clip).arg(market.path("hls")).args(["--json", "--ladder", LADDER]);
    command.arg("--config").arg(&market.accounts.broadcaster.config);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let summary: Value = serde_json::from_str(text.lines().last().context("a summary")?)?;
    let count = |key: &str| summary[key].as_u64().with_context(|| format!("no {key} in {summary}"));
    ensure!((count("published")?, count("failovers")?) == (count("segments")?, 0), "{summary}");
    // Three segments are out at once and paid ahead in whole; those after them are paid with what is left of these.
    let whole = PIXELS / 1000 * PRICE / TICKET;
    let tickets = count("tickets")?;
    ensure!(tickets > 0 && tickets * 10 < whole * 7, "{tickets} tickets of {whole}: {summary}");
    Ok(())
}
