//! What happened in the market, read from the contracts' logs.

use alloy::{
    primitives::{Address, B256, U256},
    rpc::types::Log,
    sol_types::SolEvent,
};
use serde::{Deserialize, Serialize};

use crate::abi::{BondingManager as B, RoundsManager as R, ServiceRegistry as S, TicketBroker as T};

/// A block by height and hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockRef {
    /// Its height.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
}

/// One log of one contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainEvent {
    /// What it says.
    pub kind: EventKind,
    /// The log itself, with block, transaction and place.
    pub log: Log,
}

impl ChainEvent {
    pub(crate) fn read(log: Log) -> Self {
        Self { kind: EventKind::read(&log), log }
    }

    /// Height of its block; 0 for a log that no block holds.
    pub fn block(&self) -> u64 {
        self.log.block_number.unwrap_or_default()
    }
}

/// What a log says. Amounts of tokens in base units, of ether in wei.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// A round was initialized.
    RoundStarted {
        /// The round.
        round: u64,
    },
    /// An orchestrator set its terms, entered the active set or left it, was slashed or jailed.
    OrchestratorChanged {
        /// The orchestrator.
        orchestrator: Address,
    },
    /// Stake of an account moved to, from or within an orchestrator's pool.
    StakeMoved {
        /// The account.
        delegator: Address,
        /// The orchestrator.
        delegate: Address,
    },
    /// An orchestrator called for its reward.
    Rewarded {
        /// The orchestrator.
        orchestrator: Address,
        /// New tokens for it and its delegators.
        amount: U256,
    },
    /// Fees arrived for an orchestrator and its delegators.
    FeesReceived {
        /// The orchestrator.
        orchestrator: Address,
        /// Wei.
        amount: U256,
    },
    /// An account published service addresses or a signing key.
    ServiceChanged {
        /// The account.
        account: Address,
    },
    /// What stands behind a sender's tickets changed: funded, unlocked, locked again or withdrawn.
    FundsChanged {
        /// The sender.
        sender: Address,
    },
    /// A winning ticket was paid.
    TicketRedeemed {
        /// Who paid.
        sender: Address,
        /// Who was paid.
        recipient: Address,
    },
    /// Anything else: read the log.
    Other,
}

impl EventKind {
    fn read(log: &Log) -> Self {
        let Some(topic) = log.topic0() else { return Self::Other };
        Self::of_stake(*topic, log).or_else(|| Self::of_tickets(*topic, log)).unwrap_or(Self::Other)
    }

    fn of_stake(topic: B256, log: &Log) -> Option<Self> {
        Some(match topic {
            R::NewRound::SIGNATURE_HASH => {
                Self::RoundStarted { round: u64::try_from(data::<R::NewRound>(log)?.round).ok()? }
            }
            B::TranscoderUpdate::SIGNATURE_HASH
            | B::TranscoderActivated::SIGNATURE_HASH
            | B::TranscoderDeactivated::SIGNATURE_HASH
            | B::TermsDelayed::SIGNATURE_HASH
            | B::TranscoderSlashed::SIGNATURE_HASH
            | B::TranscoderJailed::SIGNATURE_HASH => {
                Self::OrchestratorChanged { orchestrator: account(log)? }
            }
            B::Bonded::SIGNATURE_HASH | B::Unbonded::SIGNATURE_HASH | B::Rebonded::SIGNATURE_HASH => {
                let delegate = Address::from_word(*log.topics().get(2)?);
                Self::StakeMoved { delegator: account(log)?, delegate }
            }
            B::Reward::SIGNATURE_HASH => {
                let event = data::<B::Reward>(log)?;
                Self::Rewarded { orchestrator: event.transcoder, amount: event.amount }
            }
            B::FeesReceived::SIGNATURE_HASH => {
                let event = data::<B::FeesReceived>(log)?;
                Self::FeesReceived { orchestrator: event.transcoder, amount: event.amount }
            }
            S::ServiceURISet::SIGNATURE_HASH | S::SigningKeySet::SIGNATURE_HASH => {
                Self::ServiceChanged { account: account(log)? }
            }
            _ => return None,
        })
    }

    fn of_tickets(topic: B256, log: &Log) -> Option<Self> {
        Some(match topic {
            T::DepositFunded::SIGNATURE_HASH
            | T::ReserveFunded::SIGNATURE_HASH
            | T::Unlocked::SIGNATURE_HASH
            | T::UnlockCancelled::SIGNATURE_HASH
            | T::Withdrawn::SIGNATURE_HASH => Self::FundsChanged { sender: account(log)? },
            T::WinningTicketRedeemed::SIGNATURE_HASH => {
                let event = data::<T::WinningTicketRedeemed>(log)?;
                Self::TicketRedeemed { sender: event.sender, recipient: event.recipient }
            }
            _ => return None,
        })
    }

    /// Whether the list of orchestrators, their addresses or their order may be another now.
    pub fn changes_orchestrators(&self) -> bool {
        matches!(
            self,
            Self::RoundStarted { .. }
                | Self::OrchestratorChanged { .. }
                | Self::StakeMoved { .. }
                | Self::ServiceChanged { .. }
        )
    }

    /// The sender whose funds it changes.
    pub fn sender(&self) -> Option<Address> {
        match self {
            Self::FundsChanged { sender } | Self::TicketRedeemed { sender, .. } => Some(*sender),
            _ => None,
        }
    }
}

/// The first indexed argument, which every event of an account has.
fn account(log: &Log) -> Option<Address> {
    log.topics().get(1).map(|word| Address::from_word(*word))
}

fn data<E: SolEvent>(log: &Log) -> Option<E> {
    E::decode_log(&log.inner).ok().map(|log| log.data)
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{Bytes, LogData};

    use super::*;

    fn log(topics: Vec<B256>, data: &[u8]) -> Log {
        let data = LogData::new_unchecked(topics, Bytes::copy_from_slice(data));
        Log { inner: alloy::primitives::Log { address: Address::ZERO, data }, ..Log::default() }
    }

    #[test]
    fn a_round_is_read_from_its_log() {
        let event = R::NewRound { round: U256::from(7), blockHash: B256::repeat_byte(1) };
        let data = event.encode_log_data();
        let read = ChainEvent::read(log(data.topics().to_vec(), &data.data));
        assert_eq!(read.kind, EventKind::RoundStarted { round: 7 });
        assert!(read.kind.changes_orchestrators());
    }

    #[test]
    fn a_log_that_is_cut_short_is_something_else_and_nothing_breaks() {
        for topic in [R::NewRound::SIGNATURE_HASH, B::Bonded::SIGNATURE_HASH, B::Reward::SIGNATURE_HASH] {
            assert_eq!(ChainEvent::read(log(vec![topic], &[1, 2])).kind, EventKind::Other);
        }
        assert_eq!(ChainEvent::read(log(vec![], &[])).kind, EventKind::Other);
    }

    #[test]
    fn what_changes_a_senders_funds_names_it() {
        let sender = Address::repeat_byte(3);
        let event = T::Unlocked { sender, withdrawRound: U256::from(9) };
        let data = event.encode_log_data();
        assert_eq!(ChainEvent::read(log(data.topics().to_vec(), &data.data)).kind.sender(), Some(sender));
    }
}
