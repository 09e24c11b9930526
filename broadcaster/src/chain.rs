//! The chain as a payer of tickets needs to see it.

use std::path::Path;
use std::sync::Arc;

use alloy_primitives::Address;
use async_trait::async_trait;
use framemill_contracts::{ChainClient, ChainError};
use probabilistic_ticket::{
    BrokerError, BrokerView, ChainView, Domain, EthKey, Round, Sender, SenderConfig, SenderError,
    SenderFunds, SqliteLedger, SystemClock, Wei,
};

/// A payer whose deposit lies at `chain`'s ticket broker and whose nonces are kept in the SQLite file `ledger`.
///
/// # Errors
/// When the ledger is in use or damaged, or the chain cannot be read.
pub async fn open_payer(
    chain: &ChainClient,
    key: EthKey,
    ledger: impl AsRef<Path>,
) -> Result<Sender, SenderError> {
    let domain = Domain::new(chain.chain_id(), chain.deployment().ticket_broker);
    let ledger = Arc::new(SqliteLedger::open(ledger).await?);
    let broker = Arc::new(SenderBroker::new(chain.clone()));
    Sender::open(key, SenderConfig::new(domain), ledger, broker, Arc::new(SystemClock)).await
}

/// A [`ChainClient`] as the [`BrokerView`] that a [`Sender`](probabilistic_ticket::Sender) reads round and deposit from.
#[derive(Clone)]
pub struct SenderBroker(ChainClient);

impl SenderBroker {
    /// Reads through `client`; it needs no key.
    pub fn new(client: ChainClient) -> Self {
        Self(client)
    }
}

#[async_trait]
impl BrokerView for SenderBroker {
    async fn chain(&self) -> Result<ChainView, BrokerError> {
        let round = self.0.round_info().await.map_err(unavailable)?;
        let validity_rounds = self.0.ticket_validity_rounds().await.map_err(unavailable)?;
        let gas_price = self.0.gas_price().await.map_err(unavailable)?;
        Ok(ChainView {
            round: Round(round.last_initialized),
            round_block_hash: round.block_hash,
            validity_rounds,
            gas_price: Wei::new(gas_price),
        })
    }

    async fn funds(&self, sender: Address, claimant: Address) -> Result<SenderFunds, BrokerError> {
        let info = self.0.sender_info(sender).await.map_err(unavailable)?;
        let claimable = self.0.claimable_reserve(sender, claimant).await.map_err(unavailable)?;
        Ok(SenderFunds {
            deposit: Wei(info.deposit),
            claimable_reserve: Wei(claimable),
            withdraw_round: (info.withdraw_round > 0).then_some(Round(info.withdraw_round)),
        })
    }
}

fn unavailable(error: ChainError) -> BrokerError {
    BrokerError::Unavailable(error.to_string())
}
