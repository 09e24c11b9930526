//! What somebody has to do once a round: initialize it, and call for an orchestrator's reward. Sent at most once by any
//! number of processes that hold the same key.

use alloy::{primitives::Address, sol_types::SolCall};

use crate::{
    ChainClient, ChainError, RoundInfo, TxReceipt,
    abi::{BondingManager, RoundsManager},
    client::small,
    tx,
    writes::draft,
};

/// What an orchestrator's duties hang on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DutyState {
    /// The round.
    pub round: RoundInfo,
    /// Whether the account may call for a reward in the last initialized round.
    pub active: bool,
    /// The last round in which it did; 0 when it never did.
    pub last_reward_round: u64,
    /// Orchestrators that will be active in the next round.
    pub candidates: u64,
}

impl ChainClient {
    /// What the account's duties hang on now.
    pub async fn duty_state(&self) -> Result<DutyState, ChainError> {
        let me = self.sender("duty_state")?.address();
        let bonding = self.deployment().bonding_manager;
        let (round, place, candidates) = tokio::try_join!(
            self.round_info(),
            self.rpc().call(bonding, BondingManager::getTranscoderCall { account: me }),
            self.rpc().call(bonding, BondingManager::getTranscoderPoolSizeCall {}),
        )?;
        Ok(DutyState {
            round,
            active: place.active,
            last_reward_round: small("lastRewardRound", place.lastRewardRound)?,
            candidates: small("getTranscoderPoolSize", candidates)?,
        })
    }

    /// Initializes the current round, unless that is done or on its way already: then `None`.
    pub async fn initialize_round_once(&self) -> Result<Option<TxReceipt>, ChainError> {
        let sent =
            self.send_once(self.deployment().rounds_manager, RoundsManager::initializeRoundCall {}).await;
        match sent {
            // Two keepers with different keys met in one block: the other one was first.
            Err(ChainError::MinedReverted { .. }) if self.round_info().await?.is_initialized() => Ok(None),
            other => other,
        }
    }

    /// Calls for the account's reward of the current round, unless that is done or on its way already, or nothing is due:
    /// then `None`.
    pub async fn reward_once(&self) -> Result<Option<TxReceipt>, ChainError> {
        self.send_once(self.deployment().bonding_manager, BondingManager::rewardCall {}).await
    }

    /// Sends a call that succeeds once, if it would succeed after everything that waits to be mined.
    pub(crate) async fn send_once<C: SolCall + Clone>(
        &self,
        to: Address,
        call: C,
    ) -> Result<Option<TxReceipt>, ChainError> {
        let account = self.sender(C::SIGNATURE)?;
        let due = || async {
            match self.rpc().call_at("pending", Some(account.address()), to, call.clone()).await {
                Ok(_) => Ok(true),
                Err(ChainError::Reverted { .. }) => Ok(false),
                Err(error) => Err(error),
            }
        };
        let sent = match account.send_fenced(self.rpc(), draft(to, &call), due).await {
            Ok(Some(sent)) => sent,
            Ok(None) | Err(ChainError::Reverted { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let receipt = account.wait(self.rpc(), C::SIGNATURE, &sent).await?;
        Ok(Some(tx::summary(&receipt)))
    }
}
