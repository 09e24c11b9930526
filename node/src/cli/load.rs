//! `framemill load`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `framemill load`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct LoadArgs {
    #[command(subcommand)]
    /// A part of the test instead of the whole.
    pub part: Option<LoadPart>,
    /// Streams of each step, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "50,100,200,300,400,600", value_name = "N,N,…")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=5_000))]
    pub streams: Vec<u32>,
    /// Seconds of each step that are measured
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(2..=3_600))]
    pub seconds: u32,
    /// Seconds that each step plays before, unmeasured
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=600))]
    pub warm_up: u32,
    /// Any file FFmpeg can read, cut without encoding it again; without it a synthetic 720p clip of 2 Mb/s is made
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// Size of the synthetic clip
    #[arg(long, default_value = "1280x720", value_name = "WIDTHxHEIGHT", conflicts_with = "input")]
    pub size: String,
    /// Distinct segments to prepare; streams begin at different ones and go round
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=512))]
    pub segments: u32,
    /// Ladder to buy, as `HEIGHT[pFPS]:BITRATE[:CODEC]` or presets, separated by commas
    #[arg(long, default_value = "480:1000k,360:600k,240:300k")]
    pub ladder: String,
    /// Time that the echo takes for a segment, in milliseconds: its renditions come back evenly over it
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=60_000))]
    pub echo_ms: u64,
    /// Orchestrators in the market, each with an echo
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub orchestrators: u8,
    /// Measures with orchestrators that the broadcaster has no record of, and therefore looks at in full
    #[arg(long, conflicts_with = "at")]
    pub strangers: bool,
    /// Plays at a broadcaster that runs already, at HOST:PORT of its `broadcaster.ingest`, and starts nothing; its
    /// orchestrators need echoes of the same media
    #[arg(long, value_name = "HOST:PORT")]
    pub at: Option<String>,
    /// Folder that prepared media are kept in [default: load in data_dir]
    #[arg(long, value_name = "DIR")]
    pub media: Option<PathBuf>,
    /// Folder for keys, logs and what is published [default: a temporary folder that is removed]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Print one JSON object as the last thing on standard output
    #[arg(long)]
    pub json: bool,
}

/// A part of a load test.
#[derive(Debug, Subcommand)]
pub enum LoadPart {
    /// Answer an orchestrator's jobs with prepared renditions: encodes nothing, for load tests alone
    Echo(EchoArgs),
}

/// `framemill load echo`
#[derive(Debug, Args)]
pub struct EchoArgs {
    /// Folder of prepared media
    #[arg(long, value_name = "DIR")]
    pub media: PathBuf,
    /// Time to take for a segment, in milliseconds
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=60_000))]
    pub echo_ms: u64,
}
