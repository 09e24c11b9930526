//! The on-chain contracts in Solidity, and the crate that binds, deploys and talks to them.
//!
//! Who calls it: the orchestrator and broadcaster roles and the node, through [`ChainClient`]; the
//! demo and the tests deploy with [`deploy()`] on an [`Anvil`] chain. Every wait has a deadline and a
//! chain that does not answer is a [`ChainError`] for which [`ChainError::is_retryable`] is true.

mod abi;
mod account;
mod actions;
mod anvil;
mod client;
mod court;
mod deploy;
mod duties;
mod endpoints;
mod error;
mod fees;
mod follow;
mod funds;
mod governance;
mod history;
mod journal;
mod redemption;
mod rpc;
mod tx;
mod types;
mod view;
mod writes;

pub use actions::{Action, Preview, PreviewStep};
pub use alloy::signers::local::PrivateKeySigner;
pub use anvil::{Anvil, AnvilConfig, AnvilError, DevChain, dev_key};
pub use client::ChainClient;
pub use court::{
    CourtParams, CourtReceipt, CourtRung, Dispute, DisputeStatus, Fault, Jury, PixelClaim, Seat, Verdict,
};
pub use deploy::{DeployParams, Deployment, deploy, deploy_once};
pub use duties::DutyState;
pub use error::{ChainError, Revert};
pub use fees::Fees;
pub use follow::{
    BlockRef, ChainEvent, ChainFeed, Change, Changes, Cursor, EventKind, FeedConfig, Follower, REORG_WINDOW,
    Start,
};
pub use funds::{TicketContext, TicketFunds};
pub use governance::{Ballot, Proposal, ProposalState, ProposedCall, Standing};
pub use history::{Earned, History, MAX_HISTORY_ROUNDS, Membership};
pub use redemption::{MAX_REDEMPTIONS, Redemption, SkipReason, Ticket, TicketOutcome};
pub use tx::{PreparedTx, TxReceipt, TxStatus};
pub use types::{
    AccountNonces, ChainConfig, Delegator, LockedStake, NextTerms, OrchestratorRecord, Redelegation,
    Registration, RoundInfo, SenderInfo,
};
pub use view::TicketView;
