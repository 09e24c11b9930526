//! Gives the broadcaster a record of its orchestrators before anything is measured.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::gauges::Gauges;
use super::player::{Script, play};
use super::prepared::Prepared;
use super::stage::Stage;

/// Streams that are played: enough results in little time, few enough that they can be looked at.
const STREAMS: u32 = 40;
/// Clean looks at whole results for each orchestrator: attention is below a twentieth then.
const LOOKS: u32 = 100;
/// Longest that it takes; a machine that looks at less knows less.
const LIMIT: Duration = Duration::from_secs(180);
/// Pause between two counts.
const LOOK: Duration = Duration::from_secs(1);

/// Plays until each orchestrator has been looked at often enough; returns looks at whole results, of all of them.
///
/// # Errors
/// The broadcaster does not start, or its metrics cannot be read.
pub(super) async fn acquaint(stage: &Stage, prepared: &Prepared) -> anyhow::Result<u32> {
    let target = stage.broadcaster().await?;
    let Some(own) = target.own else { return Ok(0) };
    let script = Arc::new(Script {
        address: target.ingest,
        prepared: prepared.clone(),
        prefix: format!("acquaint-{}", std::process::id()),
    });
    let stop = CancellationToken::new();
    let end_with_us = stop.clone().drop_guard();
    let playing = tokio::spawn(async move { play(&script, STREAMS, Instant::now(), &stop).await });
    let wanted = LOOKS.saturating_mul(u32::try_from(stage.orchestrators().len()).unwrap_or(u32::MAX));
    let until = Instant::now() + LIMIT;
    let mut looks = 0;
    while looks < wanted && Instant::now() < until {
        sleep(LOOK).await;
        let gauges = Gauges::read(&own.http).await?;
        looks = gauges.get("framemill_broadcaster_judged_total{tier=\"whole\"}") as u32;
    }
    drop(end_with_us);
    playing.await?;
    own.stop().await;
    Ok(looks)
}
