//! What makers and takers of tickets look at before each payment.

use alloy::primitives::{Address, B256, U256};

use crate::{ChainClient, ChainError, abi::RoundsManager, client::small};

/// What tickets are made and checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TicketContext {
    /// The last initialized round.
    pub round: u64,
    /// The block hash recorded for it.
    pub round_block_hash: B256,
    /// Rounds after its own in which a ticket can be redeemed.
    pub validity_rounds: u64,
    /// What a unit of gas costs, in wei.
    pub gas_price: u128,
}

/// What stands behind a sender's tickets to one recipient, in wei.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TicketFunds {
    /// Pays winning tickets first.
    pub deposit: U256,
    /// The part of the reserve that the recipient can still claim in this round.
    pub claimable_reserve: U256,
    /// Round from which the sender may withdraw; `None` while it is locked.
    pub withdraw_round: Option<u64>,
}

impl ChainClient {
    /// What tickets are made and checked against now.
    pub async fn ticket_context(&self) -> Result<TicketContext, ChainError> {
        let (round, validity_rounds, gas_price) =
            tokio::try_join!(self.ticket_round(), self.ticket_validity_rounds(), self.gas_price())?;
        let (round, round_block_hash) = round;
        Ok(TicketContext { round, round_block_hash, validity_rounds, gas_price })
    }

    async fn ticket_round(&self) -> Result<(u64, B256), ChainError> {
        let rounds = self.deployment().rounds_manager;
        let round = self.rpc().call(rounds, RoundsManager::lastInitializedRoundCall {}).await?;
        let hash = self.rpc().call(rounds, RoundsManager::blockHashForRoundCall { round }).await?;
        Ok((small("lastInitializedRound", round)?, hash))
    }

    /// What stands behind `sender`'s tickets to `recipient` now.
    pub async fn ticket_funds(&self, sender: Address, recipient: Address) -> Result<TicketFunds, ChainError> {
        let (info, claimable_reserve) =
            tokio::try_join!(self.sender_info(sender), self.claimable_reserve(sender, recipient))?;
        let withdraw_round = (info.withdraw_round != 0).then_some(info.withdraw_round);
        Ok(TicketFunds { deposit: info.deposit, claimable_reserve, withdraw_round })
    }
}
