//! Puts the contracts on a chain and remembers where they are.

use std::path::Path;

use alloy::primitives::{Address, U256};
use serde::{Deserialize, Serialize};

use crate::{ChainConfig, ChainError, PrivateKeySigner};

/// What the contracts are set up with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeployParams {
    /// Blocks per round.
    pub round_length: u64,
    /// Share of a round at its end in which orchestrators cannot change their terms, in parts per million.
    pub round_lock_ppm: u32,
    /// Rounds between unbonding and withdrawing stake.
    pub unbonding_rounds: u64,
    /// Orchestrators that can be active at once.
    pub active_set_size: u64,
    /// Rounds between a sender's unlock and its withdrawal.
    pub sender_unlock_rounds: u64,
    /// Rounds after its own in which a ticket can be redeemed.
    pub ticket_validity_rounds: u64,
    /// Tokens (base units) made for the deploying account, to be handed to stakers.
    pub initial_supply: U256,
}

impl Default for DeployParams {
    fn default() -> Self {
        Self {
            round_length: 5760,
            round_lock_ppm: 100_000,
            unbonding_rounds: 7,
            active_set_size: 100,
            sender_unlock_rounds: 40,
            ticket_validity_rounds: 2,
            initial_supply: U256::from(10_000_000u64) * U256::from(10u64).pow(U256::from(18)),
        }
    }
}

impl DeployParams {
    /// A chain on one machine: rounds of 50 blocks, no lock period, the rest as in production.
    pub fn devnet() -> Self {
        Self { round_length: 50, round_lock_ppm: 0, ..Self::default() }
    }
}

/// Where the contracts are. One JSON file, written by [`deploy`]'s caller with [`Deployment::save`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    /// Chain the contracts are on.
    pub chain_id: u64,
    /// Block from which their events are to be read.
    pub block: u64,
    /// Registry, owner and pause.
    pub controller: Address,
    /// The staking token.
    pub token: Address,
    /// Rounds.
    pub rounds_manager: Address,
    /// Stake and active set.
    pub bonding_manager: Address,
    /// Rewards and the staked tokens.
    pub minter: Address,
    /// Deposits, reserves and tickets in ETH.
    pub ticket_broker: Address,
    /// Service addresses and signing keys.
    pub service_registry: Address,
}

impl Deployment {
    /// Reads a deployment file.
    pub fn load(path: &Path) -> Result<Self, ChainError> {
        let _ = path;
        todo!()
    }

    /// Writes a deployment file, whole or not at all.
    pub fn save(&self, path: &Path) -> Result<(), ChainError> {
        let _ = path;
        todo!()
    }
}

/// Deploys and connects all contracts and initializes the first round.
///
/// Waits until everything is mined. The deployer becomes the owner and holds `initial_supply`.
pub async fn deploy(
    config: &ChainConfig,
    deployer: &PrivateKeySigner,
    params: &DeployParams,
) -> Result<Deployment, ChainError> {
    let _ = (config, deployer, params);
    todo!()
}
