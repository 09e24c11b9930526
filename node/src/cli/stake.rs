//! `framemill stake`, and what every command that signs takes.

use clap::{Args, Subcommand};

use super::JsonArgs;

/// How a command that signs is asked to.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct SignArgs {
    /// Say what would happen and what it would cost, sign nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Sign without asking
    #[arg(long, short)]
    pub yes: bool,
    #[command(flatten)]
    /// How to print.
    pub output: JsonArgs,
}

/// `framemill stake`
#[derive(Debug, Subcommand)]
pub enum StakeCommand {
    /// The active set: stake, terms, recent earnings, calls missed
    List(HistoryArgs),
    /// One account: stake, delegate, fees, locks
    Show(ShowArgs),
    /// What an amount staked would have earned lately
    Estimate(EstimateArgs),
    /// Bond tokens to an orchestrator
    Bond(BondArgs),
    /// Start to take stake out
    Unbond(UnbondArgs),
    /// Put stake that is on its way out back
    Rebond(RebondArgs),
    /// Bond all your stake to another orchestrator
    Move(MoveArgs),
    /// Give stake to another delegator of your orchestrator, without unbonding
    Transfer(TransferArgs),
    /// Take stake out whose unbonding period is over
    Withdraw(LockArgs),
    /// Take fees out
    WithdrawFees(WithdrawFeesArgs),
    /// Book what was earned up to now; every other action does so too
    Claim(SignArgs),
    /// Set an orchestrator's terms
    SetTerms(TermsArgs),
    /// Register where broadcasters find an orchestrator
    SetService(ServiceArgs),
}

/// How far to look back.
#[derive(Debug, Clone, Copy, Args)]
pub struct HistoryArgs {
    /// Rounds that are over to look back on
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub rounds: u64,
    #[command(flatten)]
    /// How to print.
    pub output: JsonArgs,
}

/// `framemill stake show`
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The account [default: your own]
    pub account: Option<String>,
    #[command(flatten)]
    /// How to print.
    pub output: JsonArgs,
}

/// `framemill stake estimate`
#[derive(Debug, Args)]
pub struct EstimateArgs {
    /// Stake, like "100 MILL"
    pub amount: String,
    /// Only this orchestrator
    #[arg(long, value_name = "ADDRESS")]
    pub with: Option<String>,
    #[command(flatten)]
    /// How far to look back.
    pub history: HistoryArgs,
}

/// `framemill stake bond`
#[derive(Debug, Args)]
pub struct BondArgs {
    /// Tokens, like "1.5 MILL"
    pub amount: String,
    /// The orchestrator [default: the one you are bonded to]
    #[arg(long, value_name = "ADDRESS")]
    pub to: Option<String>,
    #[command(flatten)]
    /// How to sign.
    pub sign: SignArgs,
}

/// `framemill stake unbond`
#[derive(Debug, Args)]
pub struct UnbondArgs {
    /// Tokens, like "1.5 MILL", or "all"
    pub amount: String,
    #[command(flatten)]
    /// How to sign.
    pub sign: SignArgs,
}

/// `framemill stake rebond`
#[derive(Debug, Args)]
pub struct RebondArgs {
    /// Id of the lock, from `framemill stake show`
    pub lock: u64,
    /// The orchestrator, when nothing of yours is bonded any more
    #[arg(long, value_name = "ADDRESS")]
    pub to: Option<String>,
    #[command(flatten)]
    /// How to sign.
    pub sign: SignArgs,
}

/// `framemill stake move`
#[derive(Debug, Args)]
pub struct MoveArgs {
    /// The orchestrator to bond to
    #[arg(long, value_name = "ADDRESS")]
    pub to: String,
    #[command(flatten)]
    /// How to sign.
    pub sign: SignArgs,
}

/// `framemill stake transfer`
#[derive(Debug, Args)]
pub struct TransferArgs {
    /// Tokens, like "1.5 MILL"
    pub amount: String,
    /// Who gets it; bonded to the same orchestrator
    #[arg(long, value_name = "ADDRESS")]
    pub to: String,
    #[command(flatten)]
    /// How to sign.
    pub sign: SignArgs,
}

/// A lock.
#[derive(Debug, Args)]
pub struct LockArgs {
    /// Id of the lock, from `framemill stake show`
    pub lock: u64,
    #[command(flatten)]
    /// How to sign.
    pub sign: SignArgs,
}

/// `framemill stake withdraw-fees`
#[derive(Debug, Args)]
pub struct WithdrawFeesArgs {
    /// Ether, like "0.2 ETH", or "all"
    #[arg(default_value = "all")]
    pub amount: String,
    /// Who gets it [default: yourself]
    #[arg(long, value_name = "ADDRESS")]
    pub to: Option<String>,
    #[command(flatten)]
    /// How to sign.
    pub sign: SignArgs,
}

/// `framemill stake set-terms`
#[derive(Debug, Args)]
pub struct TermsArgs {
    /// Share of new tokens that you keep before your delegators and your own stake share the rest, like 10%
    #[arg(long, value_name = "PERCENT")]
    pub reward_cut: String,
    /// Share of fees that your delegators (and your own stake) get, like 50%
    #[arg(long, value_name = "PERCENT")]
    pub fee_share: String,
    #[command(flatten)]
    /// How to sign.
    pub sign: SignArgs,
}

/// `framemill stake set-service`
#[derive(Debug, Args)]
pub struct ServiceArgs {
    /// Multiaddrs separated by commas, each ending in /p2p/PEER [default: network.external and network.relays, with this node's
    /// identity]
    pub address: Option<String>,
    #[command(flatten)]
    /// How to sign.
    pub sign: SignArgs,
}
