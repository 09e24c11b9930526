//! The ticket crate's view of the chain, over the contracts' client.

use alloy_primitives::{Address, B256, Bytes};
use async_trait::async_trait;
use framemill_contracts::{
    ChainClient, ChainError, Changes, PreparedTx, Redemption, SkipReason, Ticket, TicketOutcome, TicketView,
    TxStatus as ChainTxStatus,
};
use probabilistic_ticket::{
    Broker, BrokerError, BrokerView, ChainView, Domain, PreparedRedemption, RecipientConfig, Round,
    SenderFunds, TicketResult, TxStatus, Wei, WinningTicket,
};

/// A [`ChainClient`] as the [`Broker`] of one recipient's tickets.
#[derive(Clone)]
pub struct ChainBroker {
    client: ChainClient,
    view: TicketView,
    recipient: Address,
}

impl ChainBroker {
    /// A broker that redeems for `recipient` with the client's key and asks the chain at every read.
    pub fn new(client: ChainClient, recipient: Address) -> Self {
        Self { view: TicketView::asking(client.clone()), client, recipient }
    }

    /// As [`ChainBroker::new`], but asks only for what these changes of the chain have touched.
    pub fn following(client: ChainClient, recipient: Address, changes: Changes) -> Self {
        Self { view: TicketView::following(client.clone(), changes), client, recipient }
    }

    /// Defaults for a recipient whose tickets this broker pays.
    pub fn recipient_config(&self) -> RecipientConfig {
        let broker = self.client.deployment().ticket_broker;
        RecipientConfig::new(self.recipient, Domain::new(self.client.chain_id(), broker))
    }
}

impl std::fmt::Debug for ChainBroker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChainBroker")
            .field("chain_id", &self.client.chain_id())
            .field("recipient", &self.recipient)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl BrokerView for ChainBroker {
    async fn chain(&self) -> Result<ChainView, BrokerError> {
        let now = self.view.context().await.map_err(refusal)?;
        Ok(ChainView {
            round: Round(now.round),
            round_block_hash: now.round_block_hash,
            validity_rounds: now.validity_rounds,
            gas_price: Wei::new(now.gas_price),
        })
    }

    async fn funds(&self, sender: Address, claimant: Address) -> Result<SenderFunds, BrokerError> {
        let funds = self.view.funds(sender, claimant).await.map_err(refusal)?;
        Ok(SenderFunds {
            deposit: Wei(funds.deposit),
            claimable_reserve: Wei(funds.claimable_reserve),
            withdraw_round: funds.withdraw_round.map(Round),
        })
    }
}

#[async_trait]
impl Broker for ChainBroker {
    async fn lane_nonce(&self, sender: Address, lane: u64) -> Result<u64, BrokerError> {
        self.view.lane_nonce(sender, self.recipient, lane).await.map_err(refusal)
    }

    async fn rehearse(&self, tickets: &[WinningTicket]) -> Result<Vec<TicketResult>, BrokerError> {
        let redemptions: Vec<_> = tickets.iter().map(redemption).collect();
        let (skipped, _) = self.client.simulate_redemption(&redemptions).await.map_err(unprepared)?;
        Ok(skipped.into_iter().map(|reason| reason.map_or(TicketResult::Paid, unpaid)).collect())
    }

    async fn prepare(&self, tickets: &[WinningTicket]) -> Result<PreparedRedemption, BrokerError> {
        let redemptions: Vec<_> = tickets.iter().map(redemption).collect();
        let tx = self.client.prepare_redemption(&redemptions).await.map_err(unprepared)?;
        Ok(PreparedRedemption { tx: tx.hash, raw: tx.raw.to_vec() })
    }

    async fn send(&self, prepared: &PreparedRedemption) -> Result<(), BrokerError> {
        self.client.submit(&transaction(prepared)?).await.map_err(refusal)
    }

    async fn replacement(
        &self,
        slow: &PreparedRedemption,
    ) -> Result<Option<PreparedRedemption>, BrokerError> {
        let raised = self.client.replacement(&transaction(slow)?).await.map_err(unprepared)?;
        Ok(raised.map(|tx| PreparedRedemption { tx: tx.hash, raw: tx.raw.to_vec() }))
    }

    async fn status(&self, prepared: &PreparedRedemption) -> Result<TxStatus, BrokerError> {
        match self.look(prepared.tx).await? {
            Some(status) => Ok(status),
            None => self.status_of_unknown(prepared).await,
        }
    }
}

impl ChainBroker {
    /// Where a transaction stands that the node knows.
    async fn look(&self, tx: B256) -> Result<Option<TxStatus>, BrokerError> {
        let confirmations = match self.client.tx_status(tx).await.map_err(refusal)? {
            ChainTxStatus::Dropped => return Ok(None),
            ChainTxStatus::Pending => return Ok(Some(TxStatus::Pending)),
            ChainTxStatus::Mined { confirmations, success: false, .. } => {
                return Ok(Some(TxStatus::Reverted { confirmations }));
            }
            ChainTxStatus::Mined { confirmations, success: true, .. } => confirmations,
        };
        let outcomes = self.client.redemption_outcomes(tx).await.map_err(refusal)?;
        // A reorganisation may un-mine it between the two calls.
        Ok(Some(outcomes.map_or(TxStatus::Pending, |outcomes| TxStatus::Mined {
            confirmations,
            results: outcomes.into_iter().map(result).collect(),
        })))
    }

    /// What a transaction that the node does not know can still become: its account nonce is free, or used by another. It
    /// may have been mined between the two questions, so that the first is asked again.
    async fn status_of_unknown(&self, prepared: &PreparedRedemption) -> Result<TxStatus, BrokerError> {
        let tx = transaction(prepared)?;
        let account = tx.signer().map_err(refusal)?;
        let confirmations = self.client.nonce_used_for(account, tx.nonce).await.map_err(refusal)?;
        if confirmations == 0 {
            return Ok(TxStatus::Unknown);
        }
        Ok(self.look(prepared.tx).await?.unwrap_or(TxStatus::Dropped { confirmations }))
    }
}

fn transaction(prepared: &PreparedRedemption) -> Result<PreparedTx, BrokerError> {
    PreparedTx::from_raw(Bytes::copy_from_slice(&prepared.raw)).map_err(refusal)
}

fn redemption(winner: &WinningTicket) -> Redemption {
    let ticket = &winner.signed.ticket;
    Redemption {
        ticket: Ticket {
            recipient: ticket.recipient,
            sender: ticket.sender,
            face_value: ticket.face_value.0,
            win_prob: ticket.win_prob.0,
            lane: ticket.lane,
            sender_nonce: ticket.sender_nonce,
            salt: ticket.salt,
            recipient_rand_hash: ticket.recipient_rand_hash,
            creation_round: ticket.creation_round.0,
            creation_round_block_hash: ticket.creation_round_block_hash,
        },
        signature: *winner.signed.signature.as_bytes(),
        recipient_rand: winner.recipient_rand,
    }
}

fn result(outcome: TicketOutcome) -> TicketResult {
    match outcome {
        TicketOutcome::Paid { .. } => TicketResult::Paid,
        TicketOutcome::Skipped(reason) => unpaid(reason),
    }
}

fn unpaid(reason: SkipReason) -> TicketResult {
    match reason {
        reason if reason.is_transient() => TicketResult::Unfunded,
        SkipReason::Expired => TicketResult::Expired,
        SkipReason::NonceUsed => TicketResult::NoncePassed,
        _ => TicketResult::Invalid,
    }
}

fn refusal(error: ChainError) -> BrokerError {
    if error.is_retryable() {
        BrokerError::Unavailable(error.to_string())
    } else {
        BrokerError::Refused(error.to_string())
    }
}

/// Nothing of a preparation hangs on what the tickets say: an error of the endpoint's own (a rate limit, a failure inside)
/// must not count against them, or good winners would be given up.
fn unprepared(error: ChainError) -> BrokerError {
    match error {
        ChainError::BadArgument { .. } => refusal(error),
        error => BrokerError::Unavailable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoints_own_error_does_not_count_against_the_tickets() {
        let limited =
            ChainError::Rpc { method: "eth_gasPrice", code: -32005, message: "limit exceeded".to_owned() };
        assert!(matches!(unprepared(limited), BrokerError::Unavailable(_)));
    }

    #[test]
    fn a_batch_that_can_never_be_sent_counts_against_its_tickets() {
        let too_many =
            ChainError::BadArgument { name: "redemptions", value: "101".to_owned(), bound: String::new() };
        assert!(matches!(unprepared(too_many), BrokerError::Refused(_)));
    }
}
