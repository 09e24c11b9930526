//! Proposals and ballots: what stake decides about the contracts.

use alloy::{
    dyn_abi::{DynSolType, DynSolValue, JsonAbiExt as _},
    json_abi::Function,
    primitives::{Address, Bytes, U256, keccak256},
    sol_types::{SolCall, SolEvent as _},
};

use crate::{Action, ChainClient, ChainError, abi::FramemillGovernor as G, client::small};

/// One call that a proposal makes when it is executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProposedCall {
    /// The contract.
    pub target: Address,
    /// Wei sent along.
    pub value: U256,
    /// Encoded function and arguments.
    pub data: Bytes,
}

/// A proposal as it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Its id.
    pub id: U256,
    /// Who made it.
    pub proposer: Address,
    /// What it does.
    pub calls: Vec<ProposedCall>,
    /// The round whose stake votes; ballots are taken after it.
    pub vote_start: u64,
    /// The last round of voting.
    pub vote_end: u64,
    /// Why.
    pub description: String,
}

/// How far a proposal has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProposalState {
    /// Voting has not begun.
    Pending,
    /// Votes are taken.
    Active,
    /// Its proposer took it back.
    Canceled,
    /// Too few votes.
    Defeated,
    /// Decided; to be queued.
    Succeeded,
    /// Waits in the timelock; to be executed when that is over.
    Queued,
    /// Nobody executed it in time.
    Expired,
    /// Done.
    Executed,
}

impl ProposalState {
    fn from_code(code: u8) -> Option<Self> {
        let states = [
            Self::Pending,
            Self::Active,
            Self::Canceled,
            Self::Defeated,
            Self::Succeeded,
            Self::Queued,
            Self::Expired,
            Self::Executed,
        ];
        states.get(usize::from(code)).copied()
    }
}

/// Where a proposal stands. Votes in base units of stake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// How far it has got.
    pub state: ProposalState,
    /// Votes for it.
    pub votes_for: U256,
    /// Votes against it.
    pub votes_against: U256,
    /// Votes that count for the quorum only.
    pub abstained: U256,
    /// Unix time, in seconds, from which it can be executed; 0 while it is not queued.
    pub eta: u64,
}

/// A ballot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ballot {
    /// Against.
    Against,
    /// For.
    For,
    /// Neither, but counted for the quorum.
    Abstain,
}

impl ChainClient {
    /// Every proposal ever made, oldest first.
    pub async fn proposals(&self) -> Result<Vec<Proposal>, ChainError> {
        let blocks = self.deployment().block..=self.block_number().await?;
        let logs =
            self.past_logs(self.deployment().governor, &[G::ProposalCreated::SIGNATURE_HASH], blocks).await?;
        logs.iter()
            .filter_map(|log| G::ProposalCreated::decode_log(&log.inner).ok())
            .map(|log| proposal(log.data))
            .collect()
    }

    /// Where a proposal stands.
    pub async fn standing(&self, id: U256) -> Result<Standing, ChainError> {
        let governor = self.deployment().governor;
        let (state, votes, eta) = tokio::try_join!(
            self.rpc().call(governor, G::stateCall { proposalId: id }),
            self.rpc().call(governor, G::proposalVotesCall { proposalId: id }),
            self.rpc().call(governor, G::proposalEtaCall { proposalId: id }),
        )?;
        let state = ProposalState::from_code(state).ok_or_else(|| ChainError::BadAnswer {
            call: "state",
            reason: "a state that this build does not know".to_owned(),
        })?;
        Ok(Standing {
            state,
            votes_for: votes.forVotes,
            votes_against: votes.againstVotes,
            abstained: votes.abstainVotes,
            eta: small("proposalEta", eta)?,
        })
    }

    /// What makes a proposal.
    pub fn propose(&self, calls: &[ProposedCall], description: &str) -> Action {
        let (targets, values, calldatas) = split(calls);
        self.governed(&G::proposeCall { targets, values, calldatas, description: description.to_owned() })
    }

    /// What casts a ballot; `overriding` that of the orchestrator the account is bonded to, for the account's own stake.
    pub fn vote(&self, id: U256, ballot: Ballot, overriding: bool) -> Action {
        let support = match ballot {
            Ballot::Against => 0,
            Ballot::For => 1,
            Ballot::Abstain => 2,
        };
        match overriding {
            true => {
                self.governed(&G::castOverrideVoteCall { proposalId: id, support, reason: String::new() })
            }
            false => self.governed(&G::castVoteCall { proposalId: id, support }),
        }
    }

    /// What puts a decided proposal into the timelock.
    pub fn queue(&self, proposal: &Proposal) -> Action {
        let (targets, values, calldatas) = split(&proposal.calls);
        let description = keccak256(&proposal.description);
        self.governed(&G::queueCall { targets, values, calldatas, descriptionHash: description })
    }

    /// What executes a queued proposal.
    pub fn execute(&self, proposal: &Proposal) -> Action {
        let (targets, values, calldatas) = split(&proposal.calls);
        let description = keccak256(&proposal.description);
        self.governed(&G::executeCall { targets, values, calldatas, descriptionHash: description })
    }

    fn governed<C: SolCall>(&self, call: &C) -> Action {
        let to = self.deployment().governor;
        Action::Call { name: C::SIGNATURE, to, data: call.abi_encode().into() }
    }

    /// Reads a call written as contract, signature and arguments: `BondingManager setUnbondingPeriod(uint256) 5`.
    ///
    /// # Errors
    /// [`ChainError::BadArgument`] with what is wrong.
    pub fn read_call(&self, text: &str) -> Result<ProposedCall, ChainError> {
        let bad =
            |bound: String| ChainError::BadArgument { name: "call", value: format!("\"{text}\""), bound };
        let shape = || {
            bad("a contract, a signature and arguments: BondingManager setUnbondingPeriod(uint256) 5"
                .to_owned())
        };
        let mut words = text.split_whitespace();
        let (contract, signature) = words.next().zip(words.next()).ok_or_else(shape)?;
        let named = self.deployment().contracts().into_iter().find(|(name, _)| *name == contract);
        let target = match named {
            Some((_, address)) => address,
            None => contract
                .parse()
                .map_err(|_| bad("of a contract of the deployment, or its address".to_owned()))?,
        };
        let function = Function::parse(signature).map_err(|_| shape())?;
        let arguments: Vec<&str> = words.collect();
        if arguments.len() != function.inputs.len() {
            return Err(bad(format!("with {} arguments, split by spaces", function.inputs.len())));
        }
        let values = function.inputs.iter().zip(&arguments).map(|(input, text)| {
            DynSolType::parse(&input.ty)
                .and_then(|ty| ty.coerce_str(text))
                .map_err(|e| bad(format!("with a {} ({e})", input.ty)))
        });
        let values: Vec<DynSolValue> = values.collect::<Result<_, _>>()?;
        let data = function.abi_encode_input(&values).map_err(|e| bad(e.to_string()))?;
        Ok(ProposedCall { target, value: U256::ZERO, data: data.into() })
    }
}

fn proposal(event: G::ProposalCreated) -> Result<Proposal, ChainError> {
    let calls = event.targets.into_iter().zip(event.values).zip(event.calldatas);
    Ok(Proposal {
        id: event.proposalId,
        proposer: event.proposer,
        calls: calls.map(|((target, value), data)| ProposedCall { target, value, data }).collect(),
        vote_start: small("voteStart", event.voteStart)?,
        vote_end: small("voteEnd", event.voteEnd)?,
        description: event.description,
    })
}

fn split(calls: &[ProposedCall]) -> (Vec<Address>, Vec<U256>, Vec<Bytes>) {
    (
        calls.iter().map(|call| call.target).collect(),
        calls.iter().map(|call| call.value).collect(),
        calls.iter().map(|call| call.data.clone()).collect(),
    )
}
