//! What the client takes and gives back.

use std::{path::PathBuf, time::Duration};

use alloy::primitives::{Address, B256, U256};
use serde::{Deserialize, Serialize};

/// How to reach the chain and how long to wait for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChainConfig {
    /// JSON-RPC endpoint over HTTP.
    pub rpc_url: String,
    /// Further endpoints of the same chain, at most 7. Reads stay with one endpoint until it fails or falls behind;
    /// transactions go to all of them. One that turns out to be another chain is left out.
    pub fallback_rpc_urls: Vec<String>,
    /// How often all endpoints are asked for their height, to leave one that is behind.
    pub probe_interval: Duration,
    /// Deadline of one RPC request.
    pub request_timeout: Duration,
    /// How often a request that the chain did not answer is tried again before it is an error.
    pub retries: u32,
    /// Wait before the first retry; doubles with each.
    pub retry_backoff: Duration,
    /// Pause between two looks at a pending transaction.
    pub poll_interval: Duration,
    /// Longest wait for a transaction to be mined in the calls that wait.
    pub mining_timeout: Duration,
    /// Blocks on top of a transaction's own before a call that waits returns. 1 means "mined".
    pub confirmations: u64,
    /// Wei per unit of gas that no transaction offers more than.
    pub max_fee_per_gas: u128,
    /// How long a transaction stays unmined before the same one is offered at a higher fee.
    pub bump_after: Duration,
    /// File that remembers what was sent and is not mined, so that a restart takes it up; `None` remembers nothing.
    /// One file per account and process.
    pub journal: Option<PathBuf>,
}

impl Default for ChainConfig {
    fn default() -> Self {
        Self {
            rpc_url: "http://127.0.0.1:8545".to_owned(),
            request_timeout: Duration::from_secs(5),
            retries: 2,
            retry_backoff: Duration::from_millis(200),
            poll_interval: Duration::from_millis(100),
            mining_timeout: Duration::from_secs(60),
            confirmations: 1,
            fallback_rpc_urls: Vec::new(),
            probe_interval: Duration::from_secs(15),
            max_fee_per_gas: 500_000_000_000,
            bump_after: Duration::from_secs(30),
            journal: None,
        }
    }
}

/// The current round as the rounds manager sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundInfo {
    /// The round the chain's height lies in.
    pub current: u64,
    /// The last round somebody initialized; smaller than `current` means a keeper is late.
    pub last_initialized: u64,
    /// Block hash recorded for `last_initialized`: what a ticket of that round must name.
    pub block_hash: B256,
    /// First block of `current`.
    pub start_block: u64,
    /// Blocks per round.
    pub length: u64,
    /// Whether stake changes of orchestrators are locked until the next round.
    pub locked: bool,
}

impl RoundInfo {
    /// Whether the current round has been initialized.
    pub fn is_initialized(&self) -> bool {
        self.last_initialized == self.current
    }
}

/// What a sender holds at the ticket broker, in wei.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderInfo {
    /// Pays winning tickets first.
    pub deposit: U256,
    /// Pays when the deposit is short, in equal shares to the active orchestrators.
    pub reserve: U256,
    /// Round from which the sender may withdraw; 0 while locked.
    pub withdraw_round: u64,
    /// Reserve already paid out in the current round.
    pub claimed_in_current_round: U256,
}

/// What an orchestrator registers with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Token base units to bond to itself.
    pub stake: U256,
    /// Share of rewards the orchestrator keeps, parts per million.
    pub reward_cut_ppm: u32,
    /// Share of fees its delegators get, parts per million.
    pub fee_share_ppm: u32,
    /// Service addresses: comma-separated multiaddrs, each ending in `/p2p/<peer id>`.
    pub service_uri: String,
    /// Key that signs receipts; zero means the orchestrator's own.
    pub signing_key: Address,
    /// Account besides the orchestrator that may submit its winning tickets; zero means none.
    pub redeemer: Address,
}

/// One orchestrator as the chain knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrchestratorRecord {
    /// The orchestrator's account: recipient of tickets.
    pub address: Address,
    /// Stake bonded to it (its own and its delegators').
    pub stake: U256,
    /// Share of rewards it keeps, parts per million.
    pub reward_cut_ppm: u32,
    /// Share of fees its delegators get, parts per million.
    pub fee_share_ppm: u32,
    /// Whether it may earn in the current round.
    pub active: bool,
    /// First round in which its present place in the set counts.
    pub activation_round: u64,
    /// Last round in which it called for its reward; 0 when it never did.
    pub last_reward_round: u64,
    /// First round in which the court lets it into the set again; 0 when it was never jailed.
    pub jailed_until: u64,
    /// Terms that are worse for delegators and hold later.
    pub next_terms: Option<NextTerms>,
    /// Service addresses as registered.
    pub service_uri: String,
    /// The key that signs its receipts.
    pub signing_key: Address,
}

/// Terms that an orchestrator has set and that do not hold yet: its delegators can leave first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextTerms {
    /// First round in which they hold.
    pub round: u64,
    /// Share of rewards it keeps then, parts per million.
    pub reward_cut_ppm: u32,
    /// Share of fees its delegators get then, parts per million.
    pub fee_share_ppm: u32,
}

/// A staker's account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delegator {
    /// Stake with everything claimed up to the last initialized round.
    pub stake: U256,
    /// Fees it can withdraw, in wei.
    pub fees: U256,
    /// Orchestrator it is bonded to; zero when it is not.
    pub delegate: Address,
    /// Round from which its bond counts.
    pub start_round: u64,
    /// Id that its next unbonding lock gets.
    pub next_lock_id: u64,
}

/// Stake on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockedStake {
    /// Base units of the token.
    pub amount: U256,
    /// First round in which it can be withdrawn.
    pub withdraw_round: u64,
}

/// Stake that an account moved away from an orchestrator and that answers for its faults still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redelegation {
    /// The orchestrator that it left.
    pub from: Address,
    /// What of it is left, in base units of the token.
    pub amount: U256,
    /// First round whose slashes do not count any more; what was lost before is taken out of the bond however late.
    pub until: u64,
}

/// How far an account has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountNonces {
    /// The first nonce that no mined transaction has used.
    pub mined: u64,
    /// The first one that no waiting transaction has either; larger than `mined` while some wait.
    pub pending: u64,
}
