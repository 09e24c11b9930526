//! `framemill verify`: is a rendition a faithful encode of its source?

use std::{path::Path, process::ExitCode};

use alloy_primitives::B256;
use anyhow::Context as _;
use bytes::Bytes;
use framemill_media::{MediaLimits, segment_info};
use framemill_network::ladder::{FrameRate, Ladder, LadderEntry, SourceVideo};
use framemill_verification::{PPM, Policy, Quality, Report, SourceReference, Verdict, verify};
use serde_json::json;

use crate::cli::VerifyArgs;

/// Exit status when no verdict can be reached.
const CANNOT_JUDGE: u8 = 2;

/// Runs the command: exit status 0 pass, 1 fail, 2 cannot judge.
pub(crate) fn run(args: &VerifyArgs) -> ExitCode {
    match judge(args) {
        Ok(report) => {
            match args.json {
                true => println!("{}", report.to_json()),
                false => print(&report),
            }
            ExitCode::from(u8::from(report.verdict == Verdict::Fail))
        }
        Err(error) => {
            match args.json {
                true => println!("{}", json!({ "verdict": null, "reason": format!("{error:#}") })),
                false => eprintln!("cannot judge: {error:#}"),
            }
            ExitCode::from(CANNOT_JUDGE)
        }
    }
}

fn judge(args: &VerifyArgs) -> anyhow::Result<Report> {
    let (source, rendition) = (read(&args.source)?, read(&args.rendition)?);
    let entry = entry(args, &source, &rendition)?;
    let reference = SourceReference::new(source, &MediaLimits::default())?;
    // Everything is looked at, so what the seed would draw does not matter.
    Ok(verify(&reference, &rendition, &entry, &Policy::FULL, &B256::ZERO)?)
}

fn read(path: &Path) -> anyhow::Result<Bytes> {
    std::fs::read(path).map(Bytes::from).with_context(|| format!("cannot read {}", path.display()))
}

/// What was ordered: as the caller says, or the rendition's own size at any rate.
fn entry(args: &VerifyArgs, source: &Bytes, rendition: &Bytes) -> anyhow::Result<LadderEntry> {
    let limits = MediaLimits::default();
    let source = segment_info(source, &limits).context("source")?;
    let video = source.require_video().context("source")?;
    if let Some(text) = &args.ladder {
        let ladder: Ladder = text.parse()?;
        let shape = SourceVideo { width: video.width, height: video.height, fps: FrameRate::SOURCE };
        let resolved = ladder.resolve(&shape)?;
        anyhow::ensure!(
            resolved.len() == 1,
            "--ladder must name the one rendition that is judged, not {}",
            resolved.len()
        );
        return resolved.iter().next().cloned().context("a ladder is never empty");
    }
    let made = segment_info(rendition, &limits).context("rendition")?;
    let bytes = made.bytes;
    let made = made.require_video().context("rendition")?;
    let seconds = (video.duration / framemill_media::TICKS_PER_SECOND).max(1).unsigned_abs();
    let bitrate = u32::try_from(bytes * 8 / seconds).unwrap_or(u32::MAX);
    let codec = made.codec.to_string().parse()?;
    let entry = LadderEntry::from_height(made.height, FrameRate::SOURCE, bitrate, codec);
    Ok(LadderEntry { width: made.width, ..entry })
}

fn print(report: &Report) {
    for check in &report.checks {
        let word = if check.pass() { "pass" } else { "FAIL" };
        println!("{word}  {:<28} {:>12}  bound {}", check.name, check.value, check.bound);
    }
    print_quality(&report.quality);
    let verdict = match report.verdict {
        Verdict::Pass => "pass: a faithful encode",
        Verdict::Fail => "fail: not a faithful encode",
    };
    println!("{verdict} (report {})", report.hash);
}

/// What the rendition is worth rather than whether it is right.
fn print_quality(quality: &Quality) {
    let share = |value: u64, whole: u32| value as f64 / f64::from(whole);
    if quality.frames > 0 {
        println!(
            "quality: PSNR {:.2} dB, SSIM {:.4}, detail {:.1} %, over {} frames",
            share(quality.psnr_centi_db.into(), 100),
            share(quality.ssim_ppm.into(), PPM),
            share(quality.detail_permille.into(), 10),
            quality.frames,
        );
    }
    let rate = share(quality.rate_ppm, PPM / 100);
    println!("video: {} bit/s, {rate:.1} % of the agreed rate", quality.bits_per_second);
}
