//! `framemill governance`.

use clap::{Args, Subcommand, ValueEnum};

use super::{JsonArgs, SignArgs};

/// `framemill governance`
#[derive(Debug, Subcommand)]
pub enum GovernanceCommand {
    /// Every proposal and where it stands
    List(JsonArgs),
    /// Propose calls that the contracts' owner makes when stake agrees
    Propose(ProposeArgs),
    /// Vote with your stake; a delegator overrides its orchestrator for its own part
    Vote(VoteArgs),
    /// Put a decided proposal into the timelock
    Queue(ProposalArgs),
    /// Execute a proposal whose timelock is over
    Execute(ProposalArgs),
}

/// `framemill governance propose`
#[derive(Debug, Args)]
pub struct ProposeArgs {
    /// A call: "BondingManager setUnbondingPeriod(uint256) 5"; may be given more than once
    #[arg(long = "call", required = true, value_name = "CALL")]
    pub calls: Vec<String>,
    /// Why; becomes part of the proposal
    #[arg(long)]
    pub description: String,
    #[command(flatten)]
    /// How to sign.
    pub sign: SignArgs,
}

/// `framemill governance vote`
#[derive(Debug, Args)]
pub struct VoteArgs {
    /// Id of the proposal, from `framemill governance list`
    pub proposal: String,
    /// The ballot
    pub ballot: BallotArg,
    #[command(flatten)]
    /// How to sign.
    pub sign: SignArgs,
}

/// A ballot.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum BallotArg {
    /// For it.
    For,
    /// Against it.
    Against,
    /// Counted for the quorum only.
    Abstain,
}

/// A proposal.
#[derive(Debug, Args)]
pub struct ProposalArgs {
    /// Id of the proposal, from `framemill governance list`
    pub proposal: String,
    #[command(flatten)]
    /// How to sign.
    pub sign: SignArgs,
}
