//! `framemill dispute`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{JsonArgs, SignArgs};

/// `framemill dispute`
#[derive(Debug, Subcommand)]
pub enum DisputeCommand {
    /// Pack a signed result and its media into a folder that anybody can judge
    Build(DisputeBuildArgs),
    /// Print what a bundle says, without judging it
    Show(BundleArgs),
    /// Judge a bundle again from its bytes alone: exit 0 fault proven, 1 no fault, 2 cannot judge
    Check(BundleArgs),
    /// Accuse an orchestrator before a jury; puts up a bond
    Open(AccuseArgs),
    /// Report a fault that needs no jury: pixels that are no sum, or two receipts for one segment
    Report(ReportArgs),
    /// Serve the evidence of this data folder, so that jurors can fetch it
    Serve(ServeArgs),
    /// The disputes that are open
    List(DisputesArgs),
    /// One dispute: where it stands and what comes next
    Status(StatusArgs),
    /// Appeal a verdict; puts up twice the bond
    Appeal(DisputeArgs),
    /// Move a dispute on: draw a jury, count its votes, or draw again
    Advance(DisputeArgs),
    /// Carry a final verdict out
    Execute(DisputeArgs),
    /// Have a juror of a closed dispute paid or fined
    Settle(SettleArgs),
    /// Take out what the court owes you
    Withdraw(SignArgs),
}

impl DisputeCommand {
    /// Whether it needs the chain.
    pub(crate) fn is_before_the_court(&self) -> bool {
        !matches!(self, Self::Build(_) | Self::Show(_) | Self::Check(_))
    }
}

/// `framemill dispute build`
#[derive(Debug, Args)]
pub struct DisputeBuildArgs {
    /// Who signed what: JSON as under "case" in a manifest
    #[arg(long, value_name = "FILE")]
    pub case: PathBuf,
    /// The concrete ladder that was asked for, as JSON
    #[arg(long, value_name = "FILE")]
    pub ladder: PathBuf,
    /// The accused rendition as it was received
    #[arg(long, value_name = "FILE")]
    pub rendition: PathBuf,
    /// The source segment as it was sent
    #[arg(long, value_name = "FILE")]
    pub source: Option<PathBuf>,
    /// An opening of the committed features, as JSON
    #[arg(long, value_name = "FILE")]
    pub opening: Option<PathBuf>,
    /// Folder to write the bundle to
    pub bundle: PathBuf,
}

/// A bundle and how to print.
#[derive(Debug, Args)]
pub struct BundleArgs {
    /// Folder of the bundle
    pub bundle: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `framemill dispute open`
#[derive(Debug, Args)]
pub struct AccuseArgs {
    /// Folder of the bundle; two of different segments for a rendition that is no encode of its source
    #[arg(required = true, num_args = 1..=2)]
    pub bundles: Vec<PathBuf>,
    /// Of what [default: what the bundle proves; two bundles: unfaithful]
    #[arg(long)]
    pub fault: Option<FaultArg>,
    /// The orchestrator [default: the one whose key signed]
    #[arg(long, value_name = "ADDRESS")]
    pub accused: Option<String>,
    #[command(flatten)]
    /// How to sign.
    pub sign: SignArgs,
}

/// What a jury can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FaultArg {
    /// A rendition holds other pixels than were claimed.
    ClaimedPixels,
    /// The committed features are not those of the rendition.
    FalseFeatures,
    /// A rendition is worse than was declared for it.
    FalseQuality,
    /// No faithful encodes of two segments.
    Unfaithful,
}

/// `framemill dispute report`
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Folder of a bundle whose receipt contradicts its claims or its ladder; or two with different receipts for one segment
    #[arg(required = true, num_args = 1..=2)]
    pub bundles: Vec<PathBuf>,
    /// The orchestrator [default: the one whose key signed]
    #[arg(long, value_name = "ADDRESS")]
    pub accused: Option<String>,
    #[command(flatten)]
    /// How to sign.
    pub sign: SignArgs,
}

/// `framemill dispute serve`
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Bundles to add to what is served
    pub bundles: Vec<PathBuf>,
    /// Put this node's address into the registry first, where jurors look for it
    #[arg(long)]
    pub register: bool,
    /// Register it though the account is an orchestrator, whose address that replaces
    #[arg(long, requires = "register")]
    pub replace: bool,
    #[command(flatten)]
    /// How to sign that.
    pub sign: SignArgs,
}

/// `framemill dispute list`
#[derive(Debug, Clone, Copy, Args)]
pub struct DisputesArgs {
    /// Closed ones, too
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    /// How to print.
    pub output: JsonArgs,
}

/// `framemill dispute status`
#[derive(Debug, Clone, Copy, Args)]
pub struct StatusArgs {
    /// Number of the dispute
    pub dispute: u64,
    #[command(flatten)]
    /// How to print.
    pub output: JsonArgs,
}

/// A dispute, and how to sign.
#[derive(Debug, Clone, Copy, Args)]
pub struct DisputeArgs {
    /// Number of the dispute, from `framemill dispute list`
    pub dispute: u64,
    #[command(flatten)]
    /// How to sign.
    pub sign: SignArgs,
}

/// `framemill dispute settle`
#[derive(Debug, Args)]
pub struct SettleArgs {
    /// Number of the dispute
    pub dispute: u64,
    /// The juror [default: yourself]
    #[arg(long, value_name = "ADDRESS")]
    pub juror: Option<String>,
    #[command(flatten)]
    /// How to sign.
    pub sign: SignArgs,
}
