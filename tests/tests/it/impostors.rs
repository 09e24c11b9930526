//! Orchestrators that lie about their work, break the protocol or die at the worst moment, against a broadcaster's process.

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use framemill_network::SigningDomain;
use framemill_tests::{
    BroadcasterProcess, Market, MarketPlan,
    impostor::{Act, Impostor},
    synthetic,
};
use reqwest::StatusCode;
use serde_json::Value;

/// The stream of these stories.
const STREAM: &str = "cam";
/// Longest reason of a failure that still reads as one line.
const MAX_REASON: usize = 400;

/// Who misbehaves how, and what the broadcaster says of each.
type Cast = &'static [(Act, &'static str)];

const LIARS: Cast = &[
    (Act::FewerRenditions, "rejected 1 of 2 renditions were delivered"),
    (Act::Undated, "rejected receipt's round is 0, want 1 to"),
    (Act::MoreRenditions, "rejected rendition 2 of a ladder of 2"),
    (Act::FourGibibytes, "message of 4294967296 bytes announced"),
    (Act::ByteByByte, "renditions took longer than"),
];
const VANISHING: Cast = &[
    (Act::GoneBeforeUpload, "failed connection: "),
    (Act::GoneDuringUpload, "failed connection: "),
    (Act::GoneAfterUpload, "failed connection: "),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn impostors_are_told_apart_by_name_and_an_honest_orchestrator_takes_over() -> anyhow::Result<()> {
    let mut plan = MarketPlan::default();
    plan.settings.push(("broadcaster.ladder", "144:200k,72:100k".to_owned()));
    let mut market = Market::start(plan).await?;
    let segment = synthetic(320, 180, 1);
    for (acts, deadline_ms, end) in [
        // Some are slow at it; the first that is asked twice too often ends the segment.
        (LIARS, 60_000, "no orchestrator delivered segment 0"),
        // Nobody is left to ask, and one may come back as long as there is time.
        (VANISHING, 12_000, "segment 0 missed its deadline"),
    ] {
        // The honest one is away at first, so that every impostor gets its turn.
        market.orchestrators[0].take().context("it runs")?.stop().await;
        let deployment = market.accounts.deployment;
        let domain = SigningDomain { chain_id: deployment.chain_id, controller: deployment.controller };
        let mut impostors = Vec::new();
        for (act, _) in acts {
            impostors.push(Impostor::start(*act, domain).await?);
        }
        let peers: Vec<_> = impostors.iter().map(Impostor::peer).collect();
        let settings =
            [format!("network.peers={}", peers.join(",")), format!("broadcaster.deadline_ms={deadline_ms}")];
        let broadcaster = market.start_broadcaster(&settings).await?;

        let (status, said) = push(&broadcaster, 0, &segment).await?;
        ensure!(status == StatusCode::SERVICE_UNAVAILABLE, "{status}: {said}");
        ensure!(said.starts_with(end), "{said}");
        let failures = failures(&broadcaster).await?;
        for ((act, words), impostor) in acts.iter().zip(&impostors) {
            let account = impostor.account.to_string();
            let of_it: Vec<_> = failures.iter().filter(|failure| failure.starts_with(&account)).collect();
            ensure!(of_it.iter().any(|failure| failure.contains(words)), "{act:?}: {failures:#?}");
            let short = |failure: &&String| failure.len() < MAX_REASON && !failure.contains('\n');
            ensure!(of_it.iter().all(short), "{act:?}: {of_it:#?}");
        }

        market.start_orchestrator(0)?;
        market.wait_ready(0).await?;
        let (status, said) = push(&broadcaster, 1, &segment).await?;
        ensure!(status == StatusCode::OK, "beside {acts:?}: {status}: {said}");
        ensure!(said.matches("Rendition-Name: ").count() == 2, "two renditions come back");
        broadcaster.process.stop().await;
    }
    Ok(())
}

async fn push(
    to: &BroadcasterProcess,
    sequence: u64,
    segment: &Bytes,
) -> anyhow::Result<(StatusCode, String)> {
    let request = reqwest::Client::new().post(to.push_url(STREAM, sequence));
    let answer = request.header("accept", "multipart/mixed").body(segment.clone()).send().await?;
    Ok((answer.status(), String::from_utf8_lossy(&answer.bytes().await?).into_owned()))
}

/// What the dashboard says about the first segment's failed attempts.
async fn failures(broadcaster: &BroadcasterProcess) -> anyhow::Result<Vec<String>> {
    let text = reqwest::get(format!("http://{}/api/board", broadcaster.http)).await?.text().await?;
    let board: Value = serde_json::from_str(&text)?;
    let segments = board["segments"].as_array().context("a board has segments")?;
    let first = segments.iter().find(|segment| segment["sequence"] == 0).context("the first segment")?;
    let attempts = first["attempts"].as_array().context("a segment has attempts")?;
    let failed = attempts.iter().filter(|attempt| attempt["outcome"] != "delivered");
    let word = |attempt: &Value, field: &str| attempt[field].as_str().unwrap_or_default().to_owned();
    let line = |attempt| ["orchestrator", "outcome", "reason"].map(|field| word(attempt, field)).join(" ");
    Ok(failed.map(line).collect())
}
