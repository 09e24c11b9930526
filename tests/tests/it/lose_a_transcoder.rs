//! A transcoder is killed in the middle of a segment: another one makes it, or the client hears that nobody could.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use framemill::process::Process;
use framemill_network::{NetworkError, SegmentDownload, SegmentEvent, WireCode};
use framemill_tests::{Client, Market, MarketPlan, Session, WireSegment, free_address, synthetic};
use tokio::time::timeout;

/// Longer than anything takes on a busy machine; only a hang gets here.
const PATIENCE: Duration = Duration::from_secs(300);
/// Seconds of the segment: long enough that its renditions take longer to make than a signal takes to arrive.
const SECONDS: u32 = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transcoder_killed_in_mid_segment_costs_no_segment_while_there_is_another() -> anyhow::Result<()> {
    let mut market = Market::start(MarketPlan::default()).await?;
    let segment = WireSegment::of(synthetic(640, 360, SECONDS))?;
    let client = Client::new(&market, 0, "360:800k,240:400k".parse()?, segment).await?;
    let mut session = client.session().await?;
    // A session stays where its first segment was made.
    client.buy(&mut session, 0).await?;
    let mut second = another_transcoder(&market).await?;

    let killed = market.transcoders[0].as_mut().context("it was started")?;
    let restarts = timeout(PATIENCE, kill_in_mid_segment(&client, &mut session, 1, killed)).await??;
    ensure!(restarts > 0, "no rendition was begun anew, so the transcoder died too late");

    let lost = timeout(PATIENCE, kill_in_mid_segment(&client, &mut session, 2, &mut second)).await?;
    let error = lost.err().context("a segment without any transcoder was served")?;
    let code = error.downcast_ref::<NetworkError>().and_then(NetworkError::wire_code);
    ensure!(code == Some(WireCode::TranscoderFailed), "{error:#}");
    ensure!(error.to_string().contains("no other is left"), "{error:#}");

    market.start_transcoder(0)?;
    market.wait_ready(0).await?;
    client.buy(&mut session, 2).await.context("the lost segment, sent again")
}

/// One more transcoder of the same orchestrator; it serves when this returns.
async fn another_transcoder(market: &Market) -> anyhow::Result<Process> {
    let http = free_address()?;
    let settings = [
        format!("data_dir={}", market.path("transcoder-another").display()),
        format!("http.listen={http}"),
        "transcoder.name=another".to_owned(),
    ];
    let mut arguments = vec!["transcoder"];
    arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    let config = &market.accounts.sellers[0].transcoder_config;
    let mut process = market.launcher.start("transcoder-another", &arguments, config)?;
    process.ready(&http).await?;
    Ok(process)
}

/// Sends a segment and kills `transcoder` when its first bytes arrive; how often renditions were begun anew.
async fn kill_in_mid_segment(
    client: &Client,
    session: &mut Session,
    sequence: u64,
    transcoder: &mut Process,
) -> anyhow::Result<u32> {
    let mut exchange = client.begin(session, sequence).await?;
    exchange.upload.send(client.source()).await?;
    exchange.upload.finish().await?;
    let mut download = exchange.download;
    let first = download.next().await?;
    ensure!(matches!(first, Some(SegmentEvent::Chunk(_))), "it begins with {first:?}");
    transcoder.kill().await?;
    restarts_until_receipt(&mut download).await
}

async fn restarts_until_receipt(download: &mut SegmentDownload) -> anyhow::Result<u32> {
    let mut restarts = 0;
    while let Some(event) = download.next().await? {
        match event {
            SegmentEvent::Restart { .. } => restarts += 1,
            SegmentEvent::Receipt(_) => return Ok(restarts),
            _ => {}
        }
    }
    anyhow::bail!("the answer ended without a receipt")
}
