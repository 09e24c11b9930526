//! `framemill demo`: a whole market on this machine, with one cheat and one sudden death.

mod cheat;
mod live;
mod playback;
mod report;
mod stage;
mod watch;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use alloy_primitives::U256;
use anyhow::Context as _;
use framemill_media::{ClipSpec, MediaLimits, Rational, generate_clip};
use tempfile::TempDir;

pub use cheat::CheatingEngine;
pub use report::{Rejected, Report, Seller, Tickets};

use crate::{cli::DemoArgs, config::Config, runtime};

/// Size of the synthetic clip, in pixels.
const CLIP_SIZE: (u32, u32) = (1280, 720);
/// Its frames per second.
const CLIP_FPS: u32 = 30;

/// Runs the demo. Exit status 0 only if every segment was published verified, plays, and was paid for on chain.
///
/// # Errors
/// The market could not be set up, or the input is not usable.
pub async fn run(config: &Config, args: &DemoArgs) -> anyhow::Result<ExitCode> {
    let dir = folder(args)?;
    let input = input(args, &dir).await?;
    let entrance = if args.keep { Some(live::Entrance::open(config).await?) } else { None };
    println!("demo: everything lies in {}", dir.display());
    let mut outcome = tokio::select! {
        outcome = stage::play(config, args, &dir, &input) => outcome?,
        stop = runtime::asked_to_stop() => { stop?; anyhow::bail!("stopped before the end of the stream") }
    };
    print!("\n{}", outcome.report.table(&outcome.names));
    println!("{:<12} {}", "dashboard", outcome.dashboard);
    for fault in &outcome.faults {
        println!("{:<12} {fault}", "FAULT");
    }
    let success = outcome.faults.is_empty();
    println!("{:<12} {}", "result", if success { "success" } else { "failure" });
    if let Some(entrance) = entrance {
        outcome.stage.stay(entrance, outcome.stream).await?;
    }
    outcome.stage.strike().await;
    if args.json {
        println!("{}", serde_json::to_string(&outcome.report)?);
    }
    Ok(if success { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn folder(args: &DemoArgs) -> anyhow::Result<PathBuf> {
    let dir = match &args.dir {
        Some(dir) => {
            runtime::make_private_folder(dir)?;
            dir.clone()
        }
        None => TempDir::with_prefix("framemill-demo-")?.keep(),
    };
    std::path::absolute(&dir).with_context(|| format!("cannot use the folder {}", dir.display()))
}

async fn input(args: &DemoArgs, dir: &Path) -> anyhow::Result<PathBuf> {
    if let Some(input) = &args.input {
        anyhow::ensure!(input.is_file(), "{} is no file", input.display());
        return Ok(input.clone());
    }
    let (width, height) = CLIP_SIZE;
    let spec = ClipSpec::new(width, height, Rational::new(CLIP_FPS, 1), args.seconds);
    println!("demo: making a synthetic clip of {} s", args.seconds);
    let clip = tokio::task::spawn_blocking(move || generate_clip(&spec, &MediaLimits::default())).await??;
    let path = dir.join("clip.ts");
    std::fs::write(&path, clip).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// What the market's processes are told beside what every market needs.
struct Terms {
    /// Wei per 1000 pixels.
    price: U256,
}

/// What a ticket is worth in the demo, in wei.
const TICKET_VALUE: u64 = 100_000_000_000_000;
/// Share of a face value that its redemption may cost: with the ticket's value it lets about a third of them win.
const REDEEM_GAS_SHARE_PPM: u64 = 400_000;
/// Tickets that a segment costs in the demo, so that even a single segment is all but sure to win some.
const TICKETS_PER_SEGMENT: u64 = 20;

impl Terms {
    /// Terms under which a segment of so many output pixels costs [`TICKETS_PER_SEGMENT`].
    fn for_segment(pixels: u64) -> Self {
        let wei = U256::from(TICKET_VALUE)
            * U256::from(TICKETS_PER_SEGMENT)
            * U256::from(crate::buyer::PRICED_PIXELS);
        Self { price: wei / U256::from(pixels.max(1)) }
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("orchestrator.price_wei", self.price.to_string()),
            ("orchestrator.ticket_value_wei", TICKET_VALUE.to_string()),
            ("orchestrator.redeem_gas_share_ppm", REDEEM_GAS_SHARE_PPM.to_string()),
            ("orchestrator.redeem_grace_ms", "2000".to_owned()),
            ("orchestrator.redeem_interval_ms", "500".to_owned()),
            ("orchestrator.redeem_wait_ms", "3000".to_owned()),
            ("orchestrator.confirmations", "1".to_owned()),
            ("broadcaster.max_price_wei", (self.price * U256::from(2)).to_string()),
            (
                "broadcaster.max_deposit_per_hour_wei",
                (U256::from(20) * U256::from(crate::devnet::ETHER)).to_string(),
            ),
        ]
    }
}
