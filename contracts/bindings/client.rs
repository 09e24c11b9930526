//! The client: typed reads and writes for one account.

use std::sync::Arc;

use alloy::primitives::{Address, B256, U256};

use crate::{
    ChainConfig, ChainError, Delegator, Deployment, LockedStake, OrchestratorRecord, PreparedTx,
    PrivateKeySigner, Redemption, Registration, RoundInfo, SenderInfo, TicketOutcome, TxReceipt, TxStatus,
};

struct Inner {
    deployment: Deployment,
}

/// Talks to the contracts of one [`Deployment`]. Cheap to clone; clones share the account's nonce,
/// so any number of tasks may send at once. Use one client (and its clones) per key and process.
///
/// Calls that send wait until the transaction is mined with [`ChainConfig::confirmations`], unless
/// their documentation says otherwise. Dropping such a call's future after it has sent does not
/// take the transaction back.
#[derive(Clone)]
pub struct ChainClient {
    inner: Arc<Inner>,
}

impl ChainClient {
    /// Checks that the endpoint is the deployment's chain. Without a key the client can only read.
    pub async fn connect(
        config: ChainConfig,
        deployment: Deployment,
        key: Option<PrivateKeySigner>,
    ) -> Result<Self, ChainError> {
        let _ = (config, deployment, key);
        todo!()
    }

    /// Where the contracts are.
    pub fn deployment(&self) -> &Deployment {
        &self.inner.deployment
    }

    /// The chain's id.
    pub fn chain_id(&self) -> u64 {
        self.inner.deployment.chain_id
    }

    /// The account that sends, if there is a key.
    pub fn address(&self) -> Option<Address> {
        todo!()
    }

    /// Height of the chain.
    pub async fn block_number(&self) -> Result<u64, ChainError> {
        todo!()
    }

    /// Wei that an account holds outside the contracts.
    pub async fn balance(&self, account: Address) -> Result<U256, ChainError> {
        let _ = account;
        todo!()
    }

    /// Tokens that an account holds outside the contracts.
    pub async fn token_balance(&self, account: Address) -> Result<U256, ChainError> {
        let _ = account;
        todo!()
    }

    /// What a unit of gas costs now, in wei.
    pub async fn gas_price(&self) -> Result<u128, ChainError> {
        todo!()
    }

    /// The current round.
    pub async fn round_info(&self) -> Result<RoundInfo, ChainError> {
        todo!()
    }

    /// Block hash recorded for a round; `None` when the round was not initialized.
    pub async fn round_block_hash(&self, round: u64) -> Result<Option<B256>, ChainError> {
        let _ = round;
        todo!()
    }

    /// Initializes the current round. `None` when somebody already did.
    pub async fn initialize_round(&self) -> Result<Option<TxReceipt>, ChainError> {
        todo!()
    }

    /// What a sender holds at the broker.
    pub async fn sender_info(&self, sender: Address) -> Result<SenderInfo, ChainError> {
        let _ = sender;
        todo!()
    }

    /// Wei of `sender`'s reserve that `recipient` can still claim in this round.
    pub async fn claimable_reserve(&self, sender: Address, recipient: Address) -> Result<U256, ChainError> {
        let _ = (sender, recipient);
        todo!()
    }

    /// The highest nonce redeemed in a lane; 0 when none was. The next ticket needs a higher one.
    pub async fn lane_nonce(
        &self,
        sender: Address,
        recipient: Address,
        lane: u64,
    ) -> Result<u64, ChainError> {
        let _ = (sender, recipient, lane);
        todo!()
    }

    /// Rounds after its own in which a ticket can be redeemed.
    pub async fn ticket_validity_rounds(&self) -> Result<u64, ChainError> {
        todo!()
    }

    /// One orchestrator; `None` when it never registered.
    pub async fn orchestrator(&self, address: Address) -> Result<Option<OrchestratorRecord>, ChainError> {
        let _ = address;
        todo!()
    }

    /// The orchestrators that may earn in the current round, highest stake first.
    pub async fn active_orchestrators(&self) -> Result<Vec<OrchestratorRecord>, ChainError> {
        todo!()
    }

    /// The orchestrators that will be active in the next round, highest stake first.
    pub async fn candidate_orchestrators(&self) -> Result<Vec<OrchestratorRecord>, ChainError> {
        todo!()
    }

    /// A staker's account, with everything claimed up to now.
    pub async fn delegator(&self, address: Address) -> Result<Delegator, ChainError> {
        let _ = address;
        todo!()
    }

    /// A lock on stake that is being unbonded.
    pub async fn locked_stake(&self, account: Address, lock_id: u64) -> Result<LockedStake, ChainError> {
        let _ = (account, lock_id);
        todo!()
    }

    /// Fees in wei that an account can withdraw now.
    pub async fn pending_fees(&self, account: Address) -> Result<U256, ChainError> {
        let _ = account;
        todo!()
    }

    /// Adds to the account's deposit and reserve, paid with the transaction.
    pub async fn fund_deposit_and_reserve(
        &self,
        deposit: U256,
        reserve: U256,
    ) -> Result<TxReceipt, ChainError> {
        let _ = (deposit, reserve);
        todo!()
    }

    /// Starts the account's withdrawal from the broker.
    pub async fn unlock(&self) -> Result<TxReceipt, ChainError> {
        todo!()
    }

    /// Takes an unlock back.
    pub async fn cancel_unlock(&self) -> Result<TxReceipt, ChainError> {
        todo!()
    }

    /// Takes deposit and reserve out, after the unlock's rounds have passed.
    pub async fn withdraw(&self) -> Result<TxReceipt, ChainError> {
        todo!()
    }

    /// Bonds the stake to itself, sets the terms, service address, signing key and redeemer.
    ///
    /// Does only what is not done yet, so it can be repeated after a failure. The orchestrator is
    /// active from the next round that is initialized, if its stake puts it into the set.
    pub async fn register_orchestrator(&self, registration: &Registration) -> Result<(), ChainError> {
        let _ = registration;
        todo!()
    }

    /// Publishes service addresses and the signing key.
    pub async fn set_service(
        &self,
        service_uri: &str,
        signing_key: Address,
    ) -> Result<TxReceipt, ChainError> {
        let _ = (service_uri, signing_key);
        todo!()
    }

    /// Bonds tokens to an orchestrator, approving them first when needed.
    pub async fn bond(&self, amount: U256, delegate: Address) -> Result<TxReceipt, ChainError> {
        let _ = (amount, delegate);
        todo!()
    }

    /// Starts to take stake out. Returns the lock's id.
    pub async fn unbond(&self, amount: U256) -> Result<u64, ChainError> {
        let _ = amount;
        todo!()
    }

    /// Puts stake of a lock back to the present delegate.
    pub async fn rebond(&self, lock_id: u64) -> Result<TxReceipt, ChainError> {
        let _ = lock_id;
        todo!()
    }

    /// Takes the stake of a lock out, after its rounds have passed.
    pub async fn withdraw_stake(&self, lock_id: u64) -> Result<TxReceipt, ChainError> {
        let _ = lock_id;
        todo!()
    }

    /// Takes `amount` wei of fees out, to `to`.
    pub async fn withdraw_fees(&self, to: Address, amount: U256) -> Result<TxReceipt, ChainError> {
        let _ = (to, amount);
        todo!()
    }

    /// Calls for the orchestrator's share of this round's new tokens.
    pub async fn reward(&self) -> Result<TxReceipt, ChainError> {
        todo!()
    }

    /// Sends wei.
    pub async fn transfer_wei(&self, to: Address, amount: U256) -> Result<TxReceipt, ChainError> {
        let _ = (to, amount);
        todo!()
    }

    /// Sends tokens.
    pub async fn transfer_tokens(&self, to: Address, amount: U256) -> Result<TxReceipt, ChainError> {
        let _ = (to, amount);
        todo!()
    }

    /// Sends winning tickets for redemption and returns at once with the transaction's hash.
    pub async fn redeem(&self, redemptions: &[Redemption]) -> Result<B256, ChainError> {
        let _ = redemptions;
        todo!()
    }

    /// Signs a redemption without sending it, so that its hash can be stored first. Its account
    /// nonce is taken: submit it (or one that replaces it), or later transactions wait for it.
    pub async fn prepare_redemption(&self, redemptions: &[Redemption]) -> Result<PreparedTx, ChainError> {
        let _ = redemptions;
        todo!()
    }

    /// Sends a prepared transaction. Sending the same one again is harmless.
    pub async fn submit(&self, tx: &PreparedTx) -> Result<(), ChainError> {
        let _ = tx;
        todo!()
    }

    /// What a redemption would do with each ticket if it were mined now, and the gas it takes.
    pub async fn simulate_redemption(
        &self,
        redemptions: &[Redemption],
    ) -> Result<(Vec<TicketOutcome>, u64), ChainError> {
        let _ = redemptions;
        todo!()
    }

    /// What a mined redemption did with each ticket, in the order sent; `None` while it is not
    /// mined. A reverted one is [`ChainError::MinedReverted`].
    pub async fn redemption_outcomes(&self, hash: B256) -> Result<Option<Vec<TicketOutcome>>, ChainError> {
        let _ = hash;
        todo!()
    }

    /// Where a transaction stands.
    pub async fn tx_status(&self, hash: B256) -> Result<TxStatus, ChainError> {
        let _ = hash;
        todo!()
    }

    /// Waits until a transaction is mined with the configured confirmations.
    pub async fn wait_mined(&self, hash: B256) -> Result<TxReceipt, ChainError> {
        let _ = hash;
        todo!()
    }
}
