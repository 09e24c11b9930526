//! The command line.

mod bench;
mod dispute;
mod doctor;
mod earnings;
mod generate;
mod governance;
mod load;
mod stake;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use bench::BenchArgs;
pub use dispute::{
    AccuseArgs, BundleArgs, DisputeArgs, DisputeBuildArgs, DisputeCommand, DisputesArgs, FaultArg,
    ReportArgs, ServeArgs, SettleArgs, StatusArgs,
};
pub use doctor::DoctorArgs;
pub use earnings::{EarningsArgs, Grouping};
pub use generate::{ExampleArgs, FolderArgs, GenerateCommand, ShellArgs};
pub use governance::{BallotArg, GovernanceCommand, ProposalArgs, ProposeArgs, VoteArgs};
pub use load::{EchoArgs, LoadArgs, LoadPart};
pub use stake::{
    BondArgs, EstimateArgs, HistoryArgs, LockArgs, MoveArgs, RebondArgs, ServiceArgs, ShowArgs, SignArgs,
    StakeCommand, TermsArgs, TransferArgs, UnbondArgs, WithdrawFeesArgs,
};

/// How a command ends, for scripts.
const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not confirmed: nothing was signed, 4 the contracts \
refused, 5 the chain did not answer or mine in time: look before you repeat";

/// The default's parts without blank lines and headings: all of it has to fit 24 rows.
const ONE_SCREEN: &str = "{about-with-newline}{usage-heading} {usage}\n{subcommands}\n{options}";

/// A decentralized market for live-video transcoding: buy it, sell it, mine it.
#[derive(Debug, Parser)]
#[command(
    name = "framemill",
    version,
    propagate_version = true,
    max_term_width = 100,
    help_template = ONE_SCREEN,
    disable_help_subcommand = true
)]
pub struct Cli {
    #[command(flatten)]
    /// Flags every command takes.
    pub common: Common,
    #[command(subcommand)]
    /// What to do.
    pub command: Command,
}

/// Flags every command takes.
#[derive(Debug, Clone, Default, Args)]
pub struct Common {
    /// Configuration file (TOML)
    #[arg(long, short, global = true, env = "FRAMEMILL_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Set one configuration value; stronger than file and environment
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = assignment)]
    pub set: Vec<(String, String)>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a whole market on this machine, with one live stream
    Demo(DemoArgs),
    /// Prepare a market on a chain you started: contracts, keys, configurations
    Devnet(DevnetArgs),
    /// Ingest streams, buy renditions, verify and publish them
    Broadcaster,
    /// Quote, dispatch, get paid
    Orchestrator,
    /// Work for an orchestrator with this machine's engines
    Transcoder(TranscoderArgs),
    /// Turn one file into an HLS ladder, through the market or here
    Transcode(TranscodeArgs),
    /// Decide whether a rendition is a faithful encode of its source
    Verify(VerifyArgs),
    /// Prove from its record that a broadcaster looked at what its seeds drew
    Audit(AuditArgs),
    /// Evidence of wrong results, and what the court makes of it
    #[command(subcommand, after_help = EXIT_CODES)]
    Dispute(DisputeCommand),
    /// Keys, balances, deposit and reserve
    #[command(subcommand, after_help = EXIT_CODES)]
    Wallet(WalletCommand),
    /// Look at the books of tickets: are they right, and what is in them
    #[command(subcommand)]
    Tickets(TicketsCommand),
    /// What an orchestrator earned, by hour, day or stream: expected, and paid on chain
    Earnings(EarningsArgs),
    /// Delegate stake, and see what it earns
    #[command(subcommand, after_help = EXIT_CODES)]
    Stake(StakeCommand),
    /// Propose and vote on what stake decides
    #[command(subcommand, after_help = EXIT_CODES)]
    Governance(GovernanceCommand),
    /// What this machine can transcode with
    Devices(JsonArgs),
    /// How many live streams this machine transcodes, tried out; suggests settings
    Bench(BenchArgs),
    /// Check that this machine has what its roles need, and say what to do where not
    Doctor(DoctorArgs),
    /// Check or show the effective configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Write reference pages, manual pages, completions and example configurations
    #[command(subcommand, hide = true)]
    Generate(GenerateCommand),
    /// Play many streams at a broadcaster whose transcoders are echoes, and say what it sustains
    #[command(hide = true)]
    Load(LoadArgs),
    /// Work on one card for the transcoder that started this, on standard input and output
    #[command(hide = true)]
    GpuWorker(GpuWorkerArgs),
}

/// `framemill demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Any file FFmpeg can read; without it a synthetic clip is played
    pub input: Option<PathBuf>,
    /// Play as fast as the market takes it, not at the pace of a live stream
    #[arg(long)]
    pub fast: bool,
    /// Print one JSON object as the last thing on standard output
    #[arg(long)]
    pub json: bool,
    /// Folder for keys, logs and the HLS ladder [default: a new temporary folder that is kept]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Ladder to buy [default: 720:3000k,480:1500k,360:800k without rungs above the source]
    #[arg(long)]
    pub ladder: Option<String>,
    /// Length of the synthetic clip, in seconds
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(4..=3600))]
    pub seconds: u32,
    /// Keep the market up after the stream, until Ctrl-C, and take streams by RTMP (at broadcaster.rtmp, or port 1935)
    #[arg(long)]
    pub keep: bool,
}

/// `framemill devnet`
#[derive(Debug, Args)]
pub struct DevnetArgs {
    /// JSON-RPC address of a development chain with funded, unlocked accounts (anvil)
    #[arg(long, default_value = "http://127.0.0.1:8545")]
    pub rpc: String,
    /// Folder the configurations and keys are written to
    #[arg(long, default_value = "devnet")]
    pub dir: PathBuf,
    /// How many orchestrators to fund and stake
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub orchestrators: u8,
}

/// `framemill transcoder`
#[derive(Debug, Default, Args)]
pub struct TranscoderArgs {
    /// Return well-formed renditions of the wrong picture from this segment on (what the demo's cheat does)
    #[arg(long, hide = true, value_name = "SEQUENCE")]
    pub cheat_from: Option<u64>,
}

/// `framemill gpu-worker`
#[derive(Debug, Clone, Copy, Args)]
pub struct GpuWorkerArgs {
    /// Index of the card
    #[arg(long, value_name = "INDEX")]
    pub device: u32,
}

/// `framemill transcode`
#[derive(Debug, Args)]
pub struct TranscodeArgs {
    /// Any file FFmpeg can read
    pub input: PathBuf,
    /// Folder for the HLS ladder
    pub output: PathBuf,
    /// Use this machine's engines and no market
    #[arg(long)]
    pub local: bool,
    /// Ladder: `HEIGHT[pFPS]:BITRATE[:CODEC]`, or presets, separated by commas
    #[arg(long)]
    pub ladder: Option<String>,
    /// Print a summary as JSON
    #[arg(long)]
    pub json: bool,
}

/// `framemill verify`
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The source segment
    pub source: PathBuf,
    /// The rendition to judge
    pub rendition: PathBuf,
    /// What was ordered, as `HEIGHT[pFPS]:BITRATE[:CODEC]` [default: the rendition's own size, any bit rate]
    #[arg(long)]
    pub ladder: Option<String>,
    /// Draw source, rendition, difference and the cells that deviate into this PNG file
    #[arg(long, value_name = "FILE")]
    pub picture: Option<PathBuf>,
    /// The frame of the rendition that is drawn, from 0 [default: the worst, or the first where none stands out]
    #[arg(long, value_name = "N", requires = "picture")]
    pub frame: Option<u32>,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

/// `framemill audit`
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// Parts of a broadcaster's record, oldest first: draws.old.jsonl and draws.jsonl in its data folder's sampling; with
    /// told.jsonl of an orchestrator's data folder, what that one was told is compared as well
    #[arg(required = true)]
    pub records: Vec<PathBuf>,
    /// Print the outcome as JSON
    #[arg(long)]
    pub json: bool,
}

/// `framemill tickets`: only reads, also while nodes write
#[derive(Debug, Subcommand)]
pub enum TicketsCommand {
    /// Add up the log of every change and compare it with every balance; exit status 1 when one differs
    Audit(TicketsAuditArgs),
    /// Print winners with what became of them, open sessions and their balances
    Export(ExportArgs),
}

/// `framemill tickets audit`
#[derive(Debug, Args)]
pub struct TicketsAuditArgs {
    /// A ledger's file, or postgres://USER@HOST/DATABASE [default: those of the configuration]
    #[arg(long, value_name = "LEDGER")]
    pub ledger: Option<String>,
    /// Print the outcome as JSON
    #[arg(long)]
    pub json: bool,
}

/// `framemill tickets export`
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// A ledger's file, or postgres://USER@HOST/DATABASE [default: those of the configuration]
    #[arg(long, value_name = "LEDGER")]
    pub ledger: Option<String>,
    /// Print only these
    #[arg(long, value_enum)]
    pub only: Option<Exported>,
    /// Print comma-separated values with a heading, not a JSON object a line
    #[arg(long, requires = "only")]
    pub csv: bool,
}

/// What an export holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Exported {
    /// Winning tickets.
    Winners,
    /// Sessions that were sold, with their credit.
    Sessions,
    /// Sessions that were bought, with their sums.
    Spendings,
}

/// `framemill wallet`
#[derive(Debug, Subcommand)]
pub enum WalletCommand {
    /// Make a new key and write its keystore
    New(JsonArgs),
    /// Read a private key (hex) from standard input and write its keystore
    Import(JsonArgs),
    /// Print the key's address
    #[command(alias = "show")]
    Address(JsonArgs),
    /// Balance, deposit, reserve and fees
    Balance(BalanceArgs),
    /// Send ether or tokens
    Send(SendArgs),
    /// Add to the ticket deposit and reserve
    Fund(FundArgs),
    /// Start the waiting period after which deposit and reserve can be withdrawn
    Unlock(SignArgs),
    /// Stop the waiting period
    CancelUnlock(SignArgs),
    /// Withdraw deposit and reserve after the waiting period
    Withdraw(SignArgs),
    /// Withdraw the fees an orchestrator earned
    WithdrawFees(SignArgs),
}

/// `framemill wallet balance`
#[derive(Debug, Args)]
pub struct BalanceArgs {
    /// The account [default: your own]
    pub account: Option<String>,
    #[command(flatten)]
    /// How to print.
    pub output: JsonArgs,
}

/// `framemill wallet send`
#[derive(Debug, Args)]
pub struct SendArgs {
    /// What to send, like "0.2 ETH" or "1.5 MILL"
    pub amount: String,
    /// Who gets it
    #[arg(long, value_name = "ADDRESS")]
    pub to: String,
    #[command(flatten)]
    /// How to sign.
    pub sign: SignArgs,
}

/// `framemill wallet fund`
#[derive(Debug, Args)]
pub struct FundArgs {
    /// Added to the deposit, which pays for tickets: 1.5ETH, 20gwei or plain wei
    #[arg(long, default_value = "0")]
    pub deposit: String,
    /// Added to the reserve, which guarantees tickets when the deposit runs out
    #[arg(long, default_value = "0")]
    pub reserve: String,
    #[command(flatten)]
    /// How to sign.
    pub sign: SignArgs,
}

/// How to print.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct JsonArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `framemill config`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say everything that is wrong with the configuration
    Check,
    /// Print every setting, its value and where it comes from
    Show(JsonArgs),
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("\"{text}\" is not KEY=VALUE"))?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_fits_one_screen() {
        let help = Cli::command().render_help().to_string();
        assert!(help.lines().count() <= 24, "{help}");
    }
}
