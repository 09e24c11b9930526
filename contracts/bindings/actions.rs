//! What an account can do by hand, known before it is signed: what it calls, whether it would succeed, what it costs.

use alloy::{
    primitives::{Address, Bytes, U256},
    rpc::types::TransactionReceipt,
    sol_types::SolCall,
};

use crate::{
    ChainClient, ChainError, CourtAction, Fees, PreparedTx, TxReceipt,
    abi::{BondingManager, FramemillToken, ServiceRegistry, TicketBroker},
    tx::{self, Draft},
    writes::draft,
};

/// Gas of a call that cannot be estimated before the approval that it needs is mined: the dearest of them in all cold
/// slots, with a place in the active set that is found without a hint.
const AFTER_APPROVAL_GAS: u64 = 600_000;

/// One thing that an account wants to do. Amounts in base units of the token, or in wei.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Bond tokens, and all that is bonded, to an orchestrator. Approves the tokens first where that is missing.
    Bond {
        /// Tokens to add; zero only moves what is bonded.
        amount: U256,
        /// The orchestrator.
        delegate: Address,
    },
    /// Start to take stake out.
    Unbond {
        /// Tokens.
        amount: U256,
    },
    /// Put a lock's stake back to the present delegate.
    Rebond {
        /// The lock.
        lock: u64,
    },
    /// Put a lock's stake of an account with nothing bonded to an orchestrator.
    RebondFromUnbonded {
        /// The lock.
        lock: u64,
        /// The orchestrator.
        delegate: Address,
    },
    /// Take a lock's stake out.
    WithdrawStake {
        /// The lock.
        lock: u64,
    },
    /// Take fees out.
    WithdrawFees {
        /// Who gets them.
        to: Address,
        /// Wei.
        amount: U256,
    },
    /// Book earnings up to now.
    ClaimEarnings,
    /// Set an orchestrator's terms, parts per million.
    SetTerms {
        /// Share of rewards that it keeps.
        reward_cut_ppm: u32,
        /// Share of fees that its delegators get.
        fee_share_ppm: u32,
    },
    /// Give part of the bond to another delegator of the same orchestrator.
    TransferBond {
        /// Who gets it.
        receiver: Address,
        /// Tokens.
        amount: U256,
    },
    /// Send wei.
    SendEther {
        /// Who gets them.
        to: Address,
        /// Wei.
        amount: U256,
    },
    /// Send tokens.
    SendTokens {
        /// Who gets them.
        to: Address,
        /// Base units.
        amount: U256,
    },
    /// Add to the account's deposit and reserve.
    Fund {
        /// Wei for the deposit.
        deposit: U256,
        /// Wei for the reserve.
        reserve: U256,
    },
    /// Start the withdrawal of deposit and reserve.
    Unlock,
    /// Take an unlock back.
    CancelUnlock,
    /// Take deposit and reserve out.
    Withdraw,
    /// Something before the court.
    Court(CourtAction),
    /// Say where the account's node is reached.
    SetService {
        /// Multiaddrs, separated by commas.
        uri: String,
    },
    /// Call a contract, as [`ChainClient::propose`] and its like make it.
    Call {
        /// Names the call in errors.
        name: &'static str,
        /// The contract.
        to: Address,
        /// Encoded function and arguments.
        data: Bytes,
    },
}

/// One transaction of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreviewStep {
    /// What it calls.
    pub call: &'static str,
    /// Gas that it takes now, or at most where that cannot be known before the step ahead of it is mined.
    pub gas: u64,
    /// Whether the chain has run it: then it would succeed now.
    pub simulated: bool,
}

/// What an action would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// Its transactions, in order.
    pub steps: Vec<PreviewStep>,
    /// What a unit of gas would cost.
    pub fees: Fees,
    /// What a unit of gas costs now, in wei.
    pub gas_price: u128,
    /// Wei that the account sends along.
    pub value: U256,
}

impl Preview {
    /// Wei that the gas costs at the present price.
    pub fn gas_cost(&self) -> U256 {
        U256::from(self.gas()) * U256::from(self.gas_price)
    }

    /// Wei that the gas can cost at most before the fee is raised.
    pub fn most_gas_cost(&self) -> U256 {
        U256::from(self.gas()) * U256::from(self.fees.max_fee)
    }

    fn gas(&self) -> u64 {
        self.steps.iter().map(|step| step.gas).sum()
    }
}

impl ChainClient {
    /// What an action would do, without signing anything.
    ///
    /// # Errors
    /// As the action would fail now, with the contract's own error.
    pub async fn preview(&self, action: &Action) -> Result<Preview, ChainError> {
        let account = self.sender("preview")?;
        let drafts = self.drafts(action).await?;
        let mut steps = Vec::with_capacity(drafts.len());
        for (place, draft) in drafts.iter().enumerate() {
            let simulated = place == 0;
            let gas = if simulated { account.estimate(self.rpc(), draft).await? } else { AFTER_APPROVAL_GAS };
            steps.push(PreviewStep { call: draft.call, gas, simulated });
        }
        let gas_price = self.gas_price().await?;
        let fees = Fees::at(gas_price, self.rpc().config().max_fee_per_gas)?;
        Ok(Preview { steps, fees, gas_price, value: drafts.iter().map(|draft| draft.value).sum() })
    }

    /// Does it, and waits until its last transaction is mined.
    pub async fn perform(&self, action: &Action) -> Result<Vec<TxReceipt>, ChainError> {
        let receipts = self.carry_out(action).await?;
        Ok(receipts.iter().map(tx::summary).collect())
    }

    /// Signs an action without asking whether it would succeed and without sending it, so that many can wait for one
    /// block. Its account nonce is taken: [`submit`](Self::submit) it, or later transactions wait for it. `gas` is what it
    /// may use at most; tokens that it takes must be approved before.
    pub async fn prepare(&self, action: &Action, gas: u64) -> Result<PreparedTx, ChainError> {
        let draft = Draft { gas: Some(gas), ..self.draft_of(action) };
        self.sender(draft.call)?.prepare(self.rpc(), draft).await
    }

    async fn carry_out(&self, action: &Action) -> Result<Vec<TransactionReceipt>, ChainError> {
        let mut receipts = Vec::new();
        for draft in self.drafts(action).await? {
            receipts.push(self.receipt(draft).await?);
        }
        Ok(receipts)
    }

    async fn drafts(&self, action: &Action) -> Result<Vec<Draft>, ChainError> {
        let bonding = self.deployment().bonding_manager;
        let approval = match action {
            Action::Bond { amount, .. } => self.missing_approval(bonding, *amount).await?,
            Action::Court(action) => self.missing_approval(self.deployment().court, action.bond()).await?,
            _ => None,
        };
        Ok(approval.into_iter().chain([self.draft_of(action)]).collect())
    }

    async fn missing_approval(&self, spender: Address, amount: U256) -> Result<Option<Draft>, ChainError> {
        let owner = self.sender("approve")?.address();
        let token = self.deployment().token;
        let allowance = self.rpc().call(token, FramemillToken::allowanceCall { owner, spender }).await?;
        let approve = FramemillToken::approveCall { spender, value: amount };
        Ok((allowance < amount).then(|| draft(token, &approve)))
    }

    fn draft_of(&self, action: &Action) -> Draft {
        let (bonding, broker) = (self.deployment().bonding_manager, self.deployment().ticket_broker);
        match action.clone() {
            Action::Call { name, to, data } => {
                Draft { call: name, to: Some(to), input: data, value: U256::ZERO, gas: None }
            }
            Action::Court(action) => action.draft(self.deployment().court),
            Action::SetService { uri } => {
                draft(self.deployment().service_registry, &ServiceRegistry::setServiceURICall { uri })
            }
            Action::SendEther { to, amount } => {
                Draft { call: "a transfer", to: Some(to), input: Bytes::new(), value: amount, gas: None }
            }
            Action::SendTokens { to, amount } => {
                draft(self.deployment().token, &FramemillToken::transferCall { to, value: amount })
            }
            Action::Fund { deposit, reserve } => {
                let call = TicketBroker::fundDepositAndReserveCall {
                    depositAmount: deposit,
                    reserveAmount: reserve,
                };
                Draft { value: deposit.saturating_add(reserve), ..draft(broker, &call) }
            }
            Action::Unlock => draft(broker, &TicketBroker::unlockCall {}),
            Action::CancelUnlock => draft(broker, &TicketBroker::cancelUnlockCall {}),
            Action::Withdraw => draft(broker, &TicketBroker::withdrawCall {}),
            _ => stake_draft(bonding, action),
        }
    }
}

fn stake_draft(bonding: Address, action: &Action) -> Draft {
    fn of<C: SolCall>(to: Address, call: C) -> Draft {
        draft(to, &call)
    }
    match *action {
        Action::Bond { amount, delegate } => of(bonding, BondingManager::bondCall { amount, to: delegate }),
        Action::Unbond { amount } => of(bonding, BondingManager::unbondCall { amount }),
        Action::Rebond { lock } => of(bonding, BondingManager::rebondCall { lockId: U256::from(lock) }),
        Action::RebondFromUnbonded { lock, delegate } => {
            of(bonding, BondingManager::rebondFromUnbondedCall { to: delegate, lockId: U256::from(lock) })
        }
        Action::WithdrawStake { lock } => {
            of(bonding, BondingManager::withdrawStakeCall { lockId: U256::from(lock) })
        }
        Action::WithdrawFees { to, amount } => of(bonding, BondingManager::withdrawFeesCall { to, amount }),
        Action::TransferBond { receiver, amount } => {
            of(bonding, BondingManager::transferBondCall { receiver, amount })
        }
        Action::SetTerms { reward_cut_ppm, fee_share_ppm } => of(
            bonding,
            BondingManager::transcoderCall {
                rewardCut: U256::from(reward_cut_ppm),
                feeShare: U256::from(fee_share_ppm),
            },
        ),
        _ => of(bonding, BondingManager::claimEarningsCall {}),
    }
}
