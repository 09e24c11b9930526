//! Input that is no usable video: whoever brings it hears why and what to do, and the next good segment is served.

use std::{path::Path, process::Stdio};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use framemill_media::{ClipSpec, MediaLimits, Rational, generate_clip};
use framemill_tests::{BroadcasterProcess, Market, MarketPlan, binary, synthetic};
use reqwest::StatusCode;
use serde_json::Value;
use tokio::process::Command;

/// Renditions of the ladder below.
const RENDITIONS: u64 = 2;
/// Bytes of an MPEG-TS packet.
const PACKET: usize = 188;

/// One kind of input and what is to be heard of it.
struct Case {
    name: &'static str,
    data: Bytes,
    /// Status and words that a push is answered with; none when it is served.
    pushed: Option<(StatusCode, Words)>,
    /// What `framemill transcode` says; none when it succeeds.
    transcoded: Option<Words>,
}

/// Of an error: what is wrong, and what to do.
type Words = [&'static str; 2];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unusable_input_ends_in_a_clear_error_and_a_running_node() -> anyhow::Result<()> {
    let mut plan = MarketPlan::default();
    plan.settings.push(("broadcaster.ladder", "144:200k,72:100k".to_owned()));
    plan.settings.push(("broadcaster.segment_ms", "1000".to_owned()));
    let market = Market::start(plan).await?;
    let good = synthetic(320, 180, 1);
    let cases = cases(&good, &market.path("clips")).await?;

    for case in &cases {
        transcode(&market, case).await.with_context(|| format!("{} as a file", case.name))?;
    }
    let served = Case { name: "good", data: good.clone(), pushed: None, transcoded: None };
    transcode(&market, &served).await.context("a good file after the bad ones")?;

    // One live stream takes it all.
    let broadcaster = market.start_broadcaster(&[]).await?;
    let mut sequence = 0..;
    for case in &cases {
        for pushed in [case, &served] {
            let sequence = sequence.next().context("numbers do not end")?;
            let what = || format!("{} over http, at {}", pushed.name, case.name);
            push(&broadcaster, sequence, pushed).await.with_context(what)?;
        }
    }
    Ok(())
}

async fn cases(good: &Bytes, folder: &Path) -> anyhow::Result<Vec<Case>> {
    let refused = |name, data, status, words, transcoded| Case {
        name,
        data,
        pushed: Some((status, words)),
        transcoded: Some(transcoded),
    };
    let (bad, unprocessable) = (StatusCode::BAD_REQUEST, StatusCode::UNPROCESSABLE_ENTITY);
    let text = Bytes::from("All work and no play makes Jack a dull boy.\n".repeat(500));
    let other = ["not media", "send mpeg-ts, flv, mp4, matroska or webm"];
    let truncated = ["truncated", "send the whole segment"];
    let damaged = ["do not decode", "send it whole, or encode it anew"];
    let blind = ["no video", "send one"];
    let empty = ["no bytes", "send a whole mpeg-ts or mp4 segment"];
    let zero = ["it has zero bytes", truncated[1]];
    Ok(vec![
        refused("a text file", text, bad, other, other),
        refused(
            "a transport stream cut in its head",
            good.slice(..2 * PACKET + 90),
            bad,
            truncated,
            truncated,
        ),
        refused(
            "a transport stream cut in half",
            good.slice(..good.len() / 2),
            unprocessable,
            damaged,
            damaged,
        ),
        refused("sound without a picture", sound_of(good, folder).await?, unprocessable, blind, blind),
        refused("a segment of zero bytes", Bytes::new(), bad, empty, zero),
        Case { name: "a picture without sound", data: silent()?, pushed: None, transcoded: None },
    ])
}

/// A picture alone: no fault at all.
fn silent() -> anyhow::Result<Bytes> {
    let spec = ClipSpec { audio: None, ..ClipSpec::new(320, 180, Rational::new(30, 1), 1) };
    Ok(generate_clip(&spec, &MediaLimits::default())?)
}

/// The sound of a clip alone, taken out by the tool that users have at hand.
async fn sound_of(clip: &Bytes, folder: &Path) -> anyhow::Result<Bytes> {
    std::fs::create_dir_all(folder)?;
    let (whole, sound) = (folder.join("whole.ts"), folder.join("sound.ts"));
    std::fs::write(&whole, clip)?;
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-i"]).arg(&whole).args(["-vn", "-c", "copy", "-f", "mpegts"]).arg(&sound);
    ensure!(command.status().await?.success(), "ffmpeg could not take the sound out");
    Ok(std::fs::read(sound)?.into())
}

/// Runs `framemill transcode` on the market.
async fn transcode(market: &Market, case: &Case) -> anyhow::Result<()> {
    let input = market.path("input.ts");
    std::fs::write(&input, &case.data)?;
    let mut command = Command::new(binary());
    command
        .arg("transcode")
        .arg(&input)
        .arg(market.path("output"))
        .args(["--json", "--set", "log.filter=error", "--config"])
        .arg(&market.accounts.broadcaster.config)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = command.output().await?;
    let said = String::from_utf8_lossy(&output.stderr);
    match case.transcoded {
        None => {
            ensure!(output.status.success(), "{}: {said}", output.status);
            let summary: Value = serde_json::from_slice(&output.stdout)?;
            ensure!(summary["renditions"] == RENDITIONS && summary["lost"] == 0, "{summary}");
        }
        Some([cause, remedy]) => {
            let last = said.lines().last().unwrap_or_default();
            ensure!(output.status.code() == Some(1), "{}: {said}", output.status);
            ensure!(last.starts_with("framemill: ") && said.matches(cause).count() == 1, "{said}");
            ensure!(said.contains(remedy), "not what to do: {said}");
        }
    }
    Ok(())
}

/// Pushes one segment.
async fn push(to: &BroadcasterProcess, sequence: u64, case: &Case) -> anyhow::Result<()> {
    let request = reqwest::Client::new().post(to.push_url("live", sequence));
    let answer = request.header("accept", "multipart/mixed").body(case.data.clone()).send().await?;
    let status = answer.status();
    let body = String::from_utf8_lossy(&answer.bytes().await?).into_owned();
    match case.pushed {
        None => {
            ensure!(status == StatusCode::OK, "{status}: {body}");
            let parts = body.matches("Rendition-Name: ").count() as u64;
            ensure!(parts == RENDITIONS, "{parts} renditions");
        }
        Some((expected, words)) => {
            ensure!(status == expected && words.iter().all(|words| body.contains(words)), "{status}: {body}");
        }
    }
    Ok(())
}
