//! The client: typed writes.

use alloy::{
    primitives::{Address, B256, Bytes, U256},
    rpc::types::TransactionReceipt,
    sol_types::{SolCall, SolEvent},
};

use crate::{
    ChainClient, ChainError, OrchestratorRecord, PreparedTx, Redemption, Registration, TxReceipt,
    abi::{BondingManager, FramemillToken, RoundsManager, ServiceRegistry, TicketBroker},
    redemption::batch_call,
    tx::{self, Draft},
};

/// A redemption apart from its tickets: the transaction itself, the recipient's state, the round.
const REDEMPTION_BASE_GAS: u64 = 120_000;
/// A ticket that opens its lane and is paid from the reserve, in all cold slots.
const REDEMPTION_GAS: u64 = 120_000;

impl ChainClient {
    /// Initializes the current round. `None` when somebody already did.
    pub async fn initialize_round(&self) -> Result<Option<TxReceipt>, ChainError> {
        let sent = self.send(self.deployment().rounds_manager, &RoundsManager::initializeRoundCall {}).await;
        match sent {
            Ok(receipt) => Ok(Some(receipt)),
            Err(ChainError::Reverted { revert, .. }) if revert.name == "RoundAlreadyInitialized" => Ok(None),
            // Two keepers met in one block: the other one was first.
            Err(ChainError::MinedReverted { .. }) if self.round_info().await?.is_initialized() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Adds to the account's deposit and reserve, paid with the transaction.
    pub async fn fund_deposit_and_reserve(
        &self,
        deposit: U256,
        reserve: U256,
    ) -> Result<TxReceipt, ChainError> {
        let call = TicketBroker::fundDepositAndReserveCall { depositAmount: deposit, reserveAmount: reserve };
        let draft = draft(self.deployment().ticket_broker, &call);
        self.send_draft(Draft { value: deposit.saturating_add(reserve), ..draft }).await
    }

    /// Starts the account's withdrawal from the broker.
    pub async fn unlock(&self) -> Result<TxReceipt, ChainError> {
        self.send(self.deployment().ticket_broker, &TicketBroker::unlockCall {}).await
    }

    /// Takes an unlock back.
    pub async fn cancel_unlock(&self) -> Result<TxReceipt, ChainError> {
        self.send(self.deployment().ticket_broker, &TicketBroker::cancelUnlockCall {}).await
    }

    /// Takes deposit and reserve out, after the unlock's rounds have passed.
    pub async fn withdraw(&self) -> Result<TxReceipt, ChainError> {
        self.send(self.deployment().ticket_broker, &TicketBroker::withdrawCall {}).await
    }

    /// Bonds the stake to itself, sets the terms, service address, signing key and redeemer.
    ///
    /// Does only what is not done yet, so it can be repeated after a failure. The orchestrator is
    /// active from the next round that is initialized, if its stake puts it into the set.
    pub async fn register_orchestrator(&self, registration: &Registration) -> Result<(), ChainError> {
        let me = self.sender("register_orchestrator")?.address();
        let account = self.delegator(me).await?;
        let bonded = if account.delegate == me { account.stake } else { U256::ZERO };
        if bonded < registration.stake {
            self.bond(registration.stake - bonded, me).await?;
        }
        self.set_terms_if_other(me, registration).await?;
        self.set_service_if_other(me, registration).await?;
        self.set_redeemer_if_other(me, registration.redeemer).await
    }

    /// Publishes service addresses and the signing key.
    pub async fn set_service(
        &self,
        service_uri: &str,
        signing_key: Address,
    ) -> Result<TxReceipt, ChainError> {
        let registry = self.deployment().service_registry;
        self.send(registry, &ServiceRegistry::setServiceURICall { uri: service_uri.to_owned() }).await?;
        self.send(registry, &ServiceRegistry::setSigningKeyCall { key: signing_key }).await
    }

    /// Bonds tokens to an orchestrator, approving them first when needed.
    pub async fn bond(&self, amount: U256, delegate: Address) -> Result<TxReceipt, ChainError> {
        let owner = self.sender("bond")?.address();
        let (token, bonding) = (self.deployment().token, self.deployment().bonding_manager);
        let allowance = FramemillToken::allowanceCall { owner, spender: bonding };
        if self.rpc().call(token, allowance).await? < amount {
            self.send(token, &FramemillToken::approveCall { spender: bonding, value: amount }).await?;
        }
        self.send(bonding, &BondingManager::bondCall { amount, to: delegate }).await
    }

    /// Starts to take stake out. Returns the lock's id.
    pub async fn unbond(&self, amount: U256) -> Result<u64, ChainError> {
        let call = BondingManager::unbondCall { amount };
        let receipt = self.receipt(draft(self.deployment().bonding_manager, &call)).await?;
        let unbonded = receipt
            .inner
            .logs()
            .iter()
            .find_map(|log| BondingManager::Unbonded::decode_log(&log.inner).ok())
            .ok_or_else(|| bad("unbond", "it made no lock"))?;
        u64::try_from(unbonded.lockId).map_err(|_| bad("unbond", "the lock's id is out of range"))
    }

    /// Puts stake of a lock back to the present delegate.
    pub async fn rebond(&self, lock_id: u64) -> Result<TxReceipt, ChainError> {
        let call = BondingManager::rebondCall { lockId: U256::from(lock_id) };
        self.send(self.deployment().bonding_manager, &call).await
    }

    /// Takes the stake of a lock out, after its rounds have passed.
    pub async fn withdraw_stake(&self, lock_id: u64) -> Result<TxReceipt, ChainError> {
        let call = BondingManager::withdrawStakeCall { lockId: U256::from(lock_id) };
        self.send(self.deployment().bonding_manager, &call).await
    }

    /// Takes `amount` wei of fees out, to `to`.
    pub async fn withdraw_fees(&self, to: Address, amount: U256) -> Result<TxReceipt, ChainError> {
        self.send(self.deployment().bonding_manager, &BondingManager::withdrawFeesCall { to, amount }).await
    }

    /// Calls for the orchestrator's share of this round's new tokens.
    pub async fn reward(&self) -> Result<TxReceipt, ChainError> {
        self.send(self.deployment().bonding_manager, &BondingManager::rewardCall {}).await
    }

    /// Sends wei.
    pub async fn transfer_wei(&self, to: Address, amount: U256) -> Result<TxReceipt, ChainError> {
        let draft =
            Draft { call: "transfer_wei", to: Some(to), input: Bytes::new(), value: amount, gas: None };
        self.send_draft(draft).await
    }

    /// Sends tokens.
    pub async fn transfer_tokens(&self, to: Address, amount: U256) -> Result<TxReceipt, ChainError> {
        self.send(self.deployment().token, &FramemillToken::transferCall { to, value: amount }).await
    }

    /// Sends winning tickets for redemption and returns at once with the transaction's hash.
    pub async fn redeem(&self, redemptions: &[Redemption]) -> Result<B256, ChainError> {
        let draft = self.redemption(redemptions)?;
        Ok(self.sender(draft.call)?.send(self.rpc(), draft).await?.hash)
    }

    /// Signs a redemption without sending it, so that its hash can be stored first. Its account
    /// nonce is taken: submit it (or one that replaces it), or later transactions wait for it.
    pub async fn prepare_redemption(&self, redemptions: &[Redemption]) -> Result<PreparedTx, ChainError> {
        let draft = self.redemption(redemptions)?;
        self.sender(draft.call)?.prepare(self.rpc(), draft).await
    }

    /// Sends a prepared transaction. Sending the same one again is harmless; one
    /// whose nonce was used by another is [`ChainError::NonceUsed`].
    pub async fn submit(&self, tx: &PreparedTx) -> Result<(), ChainError> {
        tx::submit(self.rpc(), tx).await
    }

    /// The same transaction under the same account nonce at fees high enough to replace it: of the two, the chain takes
    /// one. `None` when that would exceed [`ChainConfig::max_fee_per_gas`](crate::ChainConfig::max_fee_per_gas), and when
    /// higher fees are no answer: another key signed it, the node refuses it for something else, or it waits for an earlier
    /// account nonce, which is then filled if nothing was sent with it. Store it before it is submitted.
    pub async fn replacement(&self, slow: &PreparedTx) -> Result<Option<PreparedTx>, ChainError> {
        self.sender("a replacement")?.hasten(self.rpc(), slow).await
    }

    async fn set_terms_if_other(&self, me: Address, wanted: &Registration) -> Result<(), ChainError> {
        let present = self.orchestrator(me).await?;
        let same = |p: &OrchestratorRecord| {
            (p.reward_cut_ppm, p.fee_share_ppm) == (wanted.reward_cut_ppm, wanted.fee_share_ppm)
        };
        if present.as_ref().is_some_and(same) {
            return Ok(());
        }
        let call = BondingManager::transcoderCall {
            rewardCut: U256::from(wanted.reward_cut_ppm),
            feeShare: U256::from(wanted.fee_share_ppm),
        };
        self.send(self.deployment().bonding_manager, &call).await.map(drop)
    }

    async fn set_service_if_other(&self, me: Address, wanted: &Registration) -> Result<(), ChainError> {
        let registry = self.deployment().service_registry;
        let uri = self.rpc().call(registry, ServiceRegistry::getServiceURICall { account: me }).await?;
        if uri != wanted.service_uri {
            let call = ServiceRegistry::setServiceURICall { uri: wanted.service_uri.clone() };
            self.send(registry, &call).await?;
        }
        let key = self.rpc().call(registry, ServiceRegistry::signingKeyCall { account: me }).await?;
        let wanted_key = if wanted.signing_key.is_zero() { me } else { wanted.signing_key };
        if key != wanted_key {
            self.send(registry, &ServiceRegistry::setSigningKeyCall { key: wanted_key }).await?;
        }
        Ok(())
    }

    async fn set_redeemer_if_other(&self, me: Address, redeemer: Address) -> Result<(), ChainError> {
        let broker = self.deployment().ticket_broker;
        if self.rpc().call(broker, TicketBroker::redeemerOfCall { recipient: me }).await? != redeemer {
            self.send(broker, &TicketBroker::setRedeemerCall { redeemer }).await?;
        }
        Ok(())
    }

    /// A dropped ticket would be lost, so gas is reserved for every one to be paid from a reserve.
    fn redemption(&self, redemptions: &[Redemption]) -> Result<Draft, ChainError> {
        let count = u64::try_from(redemptions.len()).unwrap_or(u64::MAX);
        let gas = REDEMPTION_BASE_GAS.saturating_add(REDEMPTION_GAS.saturating_mul(count));
        let draft = draft(self.deployment().ticket_broker, &batch_call(redemptions)?);
        Ok(Draft { gas: Some(gas), ..draft })
    }

    pub(crate) async fn send<C: SolCall>(&self, to: Address, call: &C) -> Result<TxReceipt, ChainError> {
        self.send_draft(draft(to, call)).await
    }

    /// As [`Self::send`], for who reads the events.
    pub(crate) async fn mined<C: SolCall>(
        &self,
        to: Address,
        call: &C,
    ) -> Result<TransactionReceipt, ChainError> {
        self.receipt(draft(to, call)).await
    }

    async fn send_draft(&self, draft: Draft) -> Result<TxReceipt, ChainError> {
        self.receipt(draft).await.map(|receipt| tx::summary(&receipt))
    }

    pub(crate) async fn receipt(&self, draft: Draft) -> Result<TransactionReceipt, ChainError> {
        let call = draft.call;
        let account = self.sender(call)?;
        let sent = account.send(self.rpc(), draft).await?;
        account.wait(self.rpc(), call, &sent).await
    }
}

pub(crate) fn draft<C: SolCall>(to: Address, call: &C) -> Draft {
    Draft { call: C::SIGNATURE, to: Some(to), input: call.abi_encode().into(), value: U256::ZERO, gas: None }
}

fn bad(call: &'static str, reason: &str) -> ChainError {
    ChainError::BadAnswer { call, reason: reason.to_owned() }
}
