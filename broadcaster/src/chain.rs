//! The chain as a payer of tickets needs to see it.

use std::sync::Arc;

use alloy_primitives::Address;
use async_trait::async_trait;
use framemill_contracts::{ChainClient, ChainError};
use probabilistic_ticket::{
    BrokerError, BrokerView, ChainView, Domain, EthKey, Round, Sender, SenderCaps, SenderConfig, SenderError,
    SenderFunds, SenderLedger, SystemClock, Wei,
};

/// A payer whose deposit lies at `chain`'s ticket broker and whose nonces are kept in `ledger`.
///
/// # Errors
/// When the ledger fails or the chain cannot be read.
pub async fn open_payer(
    chain: &ChainClient,
    key: EthKey,
    ledger: Arc<dyn SenderLedger>,
    caps: SenderCaps,
) -> Result<Sender, SenderError> {
    let domain = Domain::new(chain.chain_id(), chain.deployment().ticket_broker);
    let config = SenderConfig { caps, ..SenderConfig::new(domain) };
    let broker = Arc::new(SenderBroker::new(chain.clone()));
    Sender::open(key, config, ledger, broker, Arc::new(SystemClock)).await
}

/// A [`ChainClient`] as the [`BrokerView`] that a [`Sender`] reads round and deposit from.
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
        let now = self.0.ticket_context().await.map_err(unavailable)?;
        Ok(ChainView {
            round: Round(now.round),
            round_block_hash: now.round_block_hash,
            validity_rounds: now.validity_rounds,
            gas_price: Wei::new(now.gas_price),
        })
    }

    async fn funds(&self, sender: Address, claimant: Address) -> Result<SenderFunds, BrokerError> {
        let funds = self.0.ticket_funds(sender, claimant).await.map_err(unavailable)?;
        Ok(SenderFunds {
            deposit: Wei(funds.deposit),
            claimable_reserve: Wei(funds.claimable_reserve),
            withdraw_round: funds.withdraw_round.map(Round),
        })
    }
}

fn unavailable(error: ChainError) -> BrokerError {
    BrokerError::Unavailable(error.to_string())
}
