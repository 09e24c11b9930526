//! The client: connection and typed reads.

use std::{fmt, sync::Arc};

use alloy::{
    primitives::{Address, B256, Bytes, U256},
    rpc::types::TransactionRequest,
    sol_types::SolCall,
};
use tokio::sync::OnceCell;

use crate::{
    AccountNonces, ChainConfig, ChainError, Delegator, Deployment, LockedStake, NextTerms,
    OrchestratorRecord, PrivateKeySigner, Redemption, RoundInfo, SenderInfo, SkipReason, TicketOutcome,
    TxReceipt, TxStatus,
    abi::{BondingManager, FramemillToken, IBondingTypes, RoundsManager, ServiceRegistry, TicketBroker},
    redemption::{batch_call, outcomes},
    rpc::{Rpc, decode},
    tx::{self, Account},
};

/// More candidates than the largest set that the owner is expected to allow.
const MAX_LISTED: u64 = 1_000;
/// Half of the states that nodes without an archive keep.
const MAX_DEPTH: u64 = 64;

struct Inner {
    rpc: Arc<Rpc>,
    deployment: Deployment,
    account: Option<Account>,
    /// Fixed when the broker is deployed, so asked once.
    validity_rounds: OnceCell<u64>,
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
    /// Checks that the endpoint is the deployment's chain. Without a key the client can only read. With a journal, what
    /// the process before this one sent and was not mined is sent again.
    pub async fn connect(
        config: ChainConfig,
        deployment: Deployment,
        key: Option<PrivateKeySigner>,
    ) -> Result<Self, ChainError> {
        let rpc = Arc::new(Rpc::new(config)?);
        rpc.expect_chain(deployment.chain_id).await?;
        let account = match key {
            Some(key) => Some(Account::open(key, deployment.chain_id, &rpc).await?),
            None => None,
        };
        Ok(Self { inner: Arc::new(Inner { rpc, deployment, account, validity_rounds: OnceCell::new() }) })
    }

    /// A client of another account over the same connections. It keeps no journal: that is of one account.
    #[must_use]
    pub fn for_account(&self, key: PrivateKeySigner) -> Self {
        let (rpc, deployment) = (Arc::clone(&self.inner.rpc), *self.deployment());
        let account = Some(Account::new(key, deployment.chain_id));
        Self { inner: Arc::new(Inner { rpc, deployment, account, validity_rounds: OnceCell::new() }) }
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
        self.inner.account.as_ref().map(Account::address)
    }

    /// Height of the chain.
    pub async fn block_number(&self) -> Result<u64, ChainError> {
        self.rpc().block_number().await
    }

    /// When the newest block was made, in seconds since 1970; zero on a chain without one.
    pub async fn head_time(&self) -> Result<u64, ChainError> {
        Ok(self.rpc().block(None).await?.map_or(0, |block| block.header.timestamp))
    }

    /// Names of the deployment's contracts that have no code at their addresses.
    pub async fn missing_contracts(&self) -> Result<Vec<&'static str>, ChainError> {
        let mut missing = Vec::new();
        for (name, address) in self.deployment().contracts() {
            if !self.rpc().has_code(address).await? {
                missing.push(name);
            }
        }
        Ok(missing)
    }

    /// Wei that an account holds outside the contracts.
    pub async fn balance(&self, account: Address) -> Result<U256, ChainError> {
        self.rpc().balance(account).await
    }

    /// The account nonces that an account's next transactions get.
    pub async fn account_nonces(&self, account: Address) -> Result<AccountNonces, ChainError> {
        let (mined, pending) =
            tokio::try_join!(self.rpc().mined_nonce(account), self.rpc().pending_nonce(account))?;
        Ok(AccountNonces { mined, pending })
    }

    /// For how many blocks, the one that used it included, an account nonce has been used: 0 while it is free. At least so
    /// many: depths are looked at in powers of two, up to 64 or to what the endpoint remembers.
    pub async fn nonce_used_for(&self, account: Address, nonce: u64) -> Result<u64, ChainError> {
        if self.rpc().mined_nonce(account).await? <= nonce {
            return Ok(0);
        }
        let height = self.rpc().block_number().await?;
        let mut used_for = 1;
        while used_for < MAX_DEPTH && 2 * used_for <= height {
            let deeper = 2 * used_for;
            match self.rpc().mined_nonce_at(account, height + 1 - deeper).await {
                Ok(mined) if mined > nonce => used_for = deeper,
                // An endpoint that has forgotten the state refuses.
                Ok(_) | Err(ChainError::Rpc { .. }) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(used_for)
    }

    /// Tokens that an account holds outside the contracts.
    pub async fn token_balance(&self, account: Address) -> Result<U256, ChainError> {
        self.rpc().call(self.deployment().token, FramemillToken::balanceOfCall { account }).await
    }

    /// What a unit of gas costs now, in wei.
    pub async fn gas_price(&self) -> Result<u128, ChainError> {
        self.rpc().gas_price().await
    }

    /// The current round.
    pub async fn round_info(&self) -> Result<RoundInfo, ChainError> {
        let rounds = self.deployment().rounds_manager;
        let rpc = self.rpc();
        let last = rpc.call(rounds, RoundsManager::lastInitializedRoundCall {}).await?;
        let (current, start, length, locked, hash) = tokio::try_join!(
            rpc.call(rounds, RoundsManager::currentRoundCall {}),
            rpc.call(rounds, RoundsManager::currentRoundStartBlockCall {}),
            rpc.call(rounds, RoundsManager::roundLengthCall {}),
            rpc.call(rounds, RoundsManager::currentRoundLockedCall {}),
            rpc.call(rounds, RoundsManager::blockHashForRoundCall { round: last }),
        )?;
        Ok(RoundInfo {
            current: small("currentRound", current)?,
            last_initialized: small("lastInitializedRound", last)?,
            block_hash: hash,
            start_block: small("currentRoundStartBlock", start)?,
            length: small("roundLength", length)?,
            locked,
        })
    }

    /// Block hash recorded for a round; `None` when the round was not initialized.
    pub async fn round_block_hash(&self, round: u64) -> Result<Option<B256>, ChainError> {
        let call = RoundsManager::blockHashForRoundCall { round: U256::from(round) };
        let hash = self.rpc().call(self.deployment().rounds_manager, call).await?;
        Ok((!hash.is_zero()).then_some(hash))
    }

    /// What a sender holds at the broker.
    pub async fn sender_info(&self, sender: Address) -> Result<SenderInfo, ChainError> {
        let call = TicketBroker::getSenderInfoCall { account: sender };
        let info = self.rpc().call(self.deployment().ticket_broker, call).await?;
        Ok(SenderInfo {
            deposit: info.deposit,
            reserve: info.reserve,
            withdraw_round: small("withdrawRound", info.withdrawRound)?,
            claimed_in_current_round: info.claimedInCurrentRound,
        })
    }

    /// Wei of `sender`'s reserve that `recipient` can still claim in this round.
    pub async fn claimable_reserve(&self, sender: Address, recipient: Address) -> Result<U256, ChainError> {
        let call = TicketBroker::claimableReserveCall { sender, recipient };
        self.rpc().call(self.deployment().ticket_broker, call).await
    }

    /// The highest nonce redeemed in a lane; 0 when none was. The next ticket needs a higher one.
    pub async fn lane_nonce(
        &self,
        sender: Address,
        recipient: Address,
        lane: u64,
    ) -> Result<u64, ChainError> {
        let call = TicketBroker::laneNonceCall { sender, recipient, lane };
        small("laneNonce", self.rpc().call(self.deployment().ticket_broker, call).await?)
    }

    /// Rounds after its own in which a ticket can be redeemed.
    pub async fn ticket_validity_rounds(&self) -> Result<u64, ChainError> {
        let ask = || async {
            let call = TicketBroker::ticketValidityRoundsCall {};
            small("ticketValidityRounds", self.rpc().call(self.deployment().ticket_broker, call).await?)
        };
        self.inner.validity_rounds.get_or_try_init(ask).await.copied()
    }

    /// One orchestrator; `None` when it never registered.
    pub async fn orchestrator(&self, address: Address) -> Result<Option<OrchestratorRecord>, ChainError> {
        let height = self.rpc().block_number().await?;
        Ok(self.orchestrators_at(height, &[address]).await?.pop().flatten())
    }

    /// The orchestrators that may earn in the current round, highest stake first.
    pub async fn active_orchestrators(&self) -> Result<Vec<OrchestratorRecord>, ChainError> {
        let mut candidates = self.candidate_orchestrators().await?;
        candidates.retain(|candidate| candidate.active);
        Ok(candidates)
    }

    /// The orchestrators that will be active in the next round, highest stake first, all read in the same block.
    pub async fn candidate_orchestrators(&self) -> Result<Vec<OrchestratorRecord>, ChainError> {
        let height = self.rpc().block_number().await?;
        let pool =
            BondingManager::getTranscoderPoolCall { start: Address::ZERO, limit: U256::from(MAX_LISTED) };
        let members = self.call_at(height, self.deployment().bonding_manager, pool).await?;
        Ok(self.orchestrators_at(height, &members).await?.into_iter().flatten().collect())
    }

    async fn call_at<C: SolCall>(&self, height: u64, to: Address, call: C) -> Result<C::Return, ChainError> {
        let answers = self.rpc().calls(height, vec![(to, call.abi_encode())]).await?;
        decode::<C>(answers.first().map_or(&[], |answer| answer.as_ref()))
    }

    /// Three questions about each account, in one request for 33 accounts.
    async fn orchestrators_at(
        &self,
        height: u64,
        accounts: &[Address],
    ) -> Result<Vec<Option<OrchestratorRecord>>, ChainError> {
        let (bonding, registry) = (self.deployment().bonding_manager, self.deployment().service_registry);
        let questions = |account: Address| {
            [
                (bonding, BondingManager::getTranscoderCall { account }.abi_encode()),
                (registry, ServiceRegistry::getServiceURICall { account }.abi_encode()),
                (registry, ServiceRegistry::signingKeyCall { account }.abi_encode()),
            ]
        };
        let calls = accounts.iter().flat_map(|account| questions(*account)).collect();
        let answers = self.rpc().calls(height, calls).await?;
        accounts.iter().zip(answers.chunks_exact(3)).map(|(account, of_it)| record(*account, of_it)).collect()
    }

    /// A staker's account, with everything claimed up to now.
    pub async fn delegator(&self, address: Address) -> Result<Delegator, ChainError> {
        let call = BondingManager::getDelegatorCall { staker: address };
        let account = self.rpc().call(self.deployment().bonding_manager, call).await?;
        Ok(Delegator {
            stake: account.bondedAmount,
            fees: account.fees,
            delegate: account.delegateAddress,
            start_round: small("startRound", account.startRound)?,
            next_lock_id: small("nextUnbondingLockId", account.nextUnbondingLockId)?,
        })
    }

    /// A lock on stake that is being unbonded.
    pub async fn locked_stake(&self, account: Address, lock_id: u64) -> Result<LockedStake, ChainError> {
        let call = BondingManager::getDelegatorUnbondingLockCall { account, lockId: U256::from(lock_id) };
        let lock = self.rpc().call(self.deployment().bonding_manager, call).await?;
        Ok(LockedStake { amount: U256::from(lock.amount), withdraw_round: u64::from(lock.withdrawRound) })
    }

    /// Fees in wei that an account can withdraw now.
    pub async fn pending_fees(&self, account: Address) -> Result<U256, ChainError> {
        let call = BondingManager::pendingFeesCall { account };
        self.rpc().call(self.deployment().bonding_manager, call).await
    }

    /// Which tickets the broker would skip if the redemption were mined now (`None` would be paid),
    /// and the gas it would take.
    pub async fn simulate_redemption(
        &self,
        redemptions: &[Redemption],
    ) -> Result<(Vec<Option<SkipReason>>, u64), ChainError> {
        let broker = self.deployment().ticket_broker;
        let call = batch_call(redemptions)?;
        let tx = TransactionRequest::default().to(broker).input(call.abi_encode().into());
        let tx = tx.from(self.sender("redeemWinningTickets")?.address());
        let name = TicketBroker::redeemWinningTicketsCall::SIGNATURE;
        let (reasons, gas) =
            tokio::try_join!(self.rpc().call_as(tx.from, broker, call), self.rpc().estimate_gas(name, &tx))?;
        Ok((reasons.into_iter().map(SkipReason::from_code).collect(), gas))
    }

    /// What a mined redemption did with each ticket, in the order sent; `None` while it is not
    /// mined. A reverted one is [`ChainError::MinedReverted`].
    pub async fn redemption_outcomes(&self, hash: B256) -> Result<Option<Vec<TicketOutcome>>, ChainError> {
        let Some(receipt) = self.rpc().receipt(hash).await? else { return Ok(None) };
        if !receipt.status() {
            return Err(ChainError::MinedReverted { call: "redeemWinningTickets", hash });
        }
        outcomes(&receipt, self.deployment().ticket_broker).map(Some)
    }

    /// Where a transaction stands.
    pub async fn tx_status(&self, hash: B256) -> Result<TxStatus, ChainError> {
        tx::status(self.rpc(), hash).await
    }

    /// Waits until a transaction is mined with the configured confirmations.
    pub async fn wait_mined(&self, hash: B256) -> Result<TxReceipt, ChainError> {
        let receipt = tx::wait(self.rpc(), "the transaction", hash).await?;
        Ok(tx::summary(&receipt))
    }

    pub(crate) fn rpc(&self) -> &Rpc {
        &self.inner.rpc
    }

    /// The account that sends, or an error that names what it was to send.
    pub(crate) fn sender(&self, call: &'static str) -> Result<&Account, ChainError> {
        self.inner.account.as_ref().ok_or(ChainError::ReadOnly { call })
    }
}

impl fmt::Debug for ChainClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChainClient")
            .field("rpc_url", &self.rpc().config().rpc_url)
            .field("chain_id", &self.chain_id())
            .field("address", &self.address())
            .finish()
    }
}

/// An orchestrator from the answers to [`ChainClient::orchestrators_at`]'s questions about it.
fn record(address: Address, answers: &[Bytes]) -> Result<Option<OrchestratorRecord>, ChainError> {
    let place = decode::<BondingManager::getTranscoderCall>(&answers[0])?;
    let activation_round = small("activationRound", place.activationRound)?;
    if activation_round == 0 {
        return Ok(None);
    }
    Ok(Some(OrchestratorRecord {
        address,
        stake: place.totalStake,
        reward_cut_ppm: small("rewardCut", place.rewardCut)?,
        fee_share_ppm: small("feeShare", place.feeShare)?,
        active: place.active,
        activation_round,
        last_reward_round: small("lastRewardRound", place.lastRewardRound)?,
        jailed_until: small("jailedUntil", place.jailedUntil)?,
        next_terms: next_terms(&place)?,
        service_uri: decode::<ServiceRegistry::getServiceURICall>(&answers[1])?,
        signing_key: decode::<ServiceRegistry::signingKeyCall>(&answers[2])?,
    }))
}

/// The contract tells round 0 where none wait.
fn next_terms(place: &IBondingTypes::Transcoder) -> Result<Option<NextTerms>, ChainError> {
    let round = small("termsRound", place.termsRound)?;
    if round == 0 {
        return Ok(None);
    }
    Ok(Some(NextTerms {
        round,
        reward_cut_ppm: small("nextRewardCut", place.nextRewardCut)?,
        fee_share_ppm: small("nextFeeShare", place.nextFeeShare)?,
    }))
}

/// Rounds, counts and shares fit into far fewer bits than a contract's word.
pub(crate) fn small<T: TryFrom<U256>>(call: &'static str, value: U256) -> Result<T, ChainError> {
    T::try_from(value).map_err(|_| ChainError::BadAnswer { call, reason: format!("{value} is out of range") })
}
