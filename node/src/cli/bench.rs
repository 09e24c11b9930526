//! `framemill bench`.

use std::path::PathBuf;

use clap::Args;

/// `framemill bench`
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Any file FFmpeg can read, of which the first two minutes are played; without it a synthetic clip of 1080p30 is made
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// Ladder of each stream, as `HEIGHT[pFPS]:BITRATE[:CODEC]` or presets, separated by commas
    #[arg(long, default_value = "720:3000k,480:1500k,360:800k")]
    pub ladder: String,
    /// Seconds for which each engine is kept busy without a pause
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub seconds: u32,
    /// Streams that are tried at most
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=128))]
    pub most: u32,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
