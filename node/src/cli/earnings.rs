//! The command line of `framemill earnings`.

use clap::{Args, ValueEnum};

/// `framemill earnings`: only reads, also while nodes write
#[derive(Debug, Args)]
pub struct EarningsArgs {
    /// A row for each of these
    #[arg(long, value_enum, default_value_t = Grouping::Day)]
    pub by: Grouping,
    /// Only from this day on, as 2026-11-30 (UTC)
    #[arg(long, value_name = "DATE")]
    pub since: Option<String>,
    /// What an ether is worth, to tell amounts in a currency as well; nothing is looked up
    #[arg(long, value_name = "PRICE")]
    pub rate: Option<String>,
    /// The currency of the rate
    #[arg(long, value_name = "CODE", default_value = "USD", requires = "rate")]
    pub currency: String,
    /// A ledger's file, or postgres://USER@HOST/DATABASE [default: the orchestrator's, by the configuration]
    #[arg(long, value_name = "LEDGER")]
    pub ledger: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What a row stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Grouping {
    /// An hour, UTC.
    Hour,
    /// A day, UTC.
    Day,
    /// A session: one stream of a broadcaster with this orchestrator.
    Stream,
}
