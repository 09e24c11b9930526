//! What happened in the market, read from the contracts' logs.

use alloy::{
    primitives::{Address, B256, U256},
    rpc::types::Log,
    sol_types::SolEvent,
};
use serde::{Deserialize, Serialize};

use crate::abi::{
    BondingManager as B, Court as C, RoundsManager as R, ServiceRegistry as S, TicketBroker as T,
};

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
    /// A dispute was opened, moved on or ended, or a juror of it took seats, committed or voted.
    DisputeChanged {
        /// The dispute.
        dispute: u64,
    },
    /// A juror of a closed dispute was paid or fined.
    JurorSettled {
        /// The jury.
        jury: u64,
        /// The juror.
        juror: Address,
    },
    /// An orchestrator lost stake for a fault.
    FaultPunished {
        /// The orchestrator.
        accused: Address,
    },
    /// Anything else: read the log.
    Other,
}

impl EventKind {
    fn read(log: &Log) -> Self {
        let Some(topic) = log.topic0() else { return Self::Other };
        let of_court = || Self::of_court(*topic, log);
        let of_tickets = || Self::of_tickets(*topic, log);
        Self::of_stake(*topic, log).or_else(of_tickets).or_else(of_court).unwrap_or(Self::Other)
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

    fn of_court(topic: B256, log: &Log) -> Option<Self> {
        Some(match topic {
            C::DisputeOpened::SIGNATURE_HASH
            | C::JuryScheduled::SIGNATURE_HASH
            | C::SeatClaimed::SIGNATURE_HASH
            | C::VoteCommitted::SIGNATURE_HASH
            | C::VoteRevealed::SIGNATURE_HASH
            | C::VerdictReached::SIGNATURE_HASH
            | C::Appealed::SIGNATURE_HASH
            | C::DisputeClosed::SIGNATURE_HASH => Self::DisputeChanged { dispute: number(log)? },
            C::JurorSettled::SIGNATURE_HASH => {
                Self::JurorSettled { jury: number(log)?, juror: Address::from_word(*log.topics().get(2)?) }
            }
            C::FaultPunished::SIGNATURE_HASH => Self::FaultPunished { accused: account(log)? },
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

/// The first indexed argument of an event of a dispute or a jury.
fn number(log: &Log) -> Option<u64> {
    log.topics().get(1).and_then(|word| u64::try_from(U256::from_be_bytes(word.0)).ok())
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
        let topics = [
            R::NewRound::SIGNATURE_HASH,
            B::Bonded::SIGNATURE_HASH,
            B::Reward::SIGNATURE_HASH,
            C::DisputeOpened::SIGNATURE_HASH,
        ];
        for topic in topics {
            assert_eq!(ChainEvent::read(log(vec![topic], &[1, 2])).kind, EventKind::Other);
        }
        assert_eq!(ChainEvent::read(log(vec![], &[])).kind, EventKind::Other);
    }

    #[test]
    fn whatever_happens_in_a_dispute_names_it() {
        let (dispute, jury, juror) = (U256::from(7), U256::from(9), Address::repeat_byte(3));
        let logs = [
            C::VoteCommitted { dispute, jury, juror }.encode_log_data(),
            C::DisputeClosed { dispute, verdict: 1, slashed: U256::ZERO }.encode_log_data(),
        ];
        for data in logs {
            let read = ChainEvent::read(log(data.topics().to_vec(), &data.data));
            assert_eq!(read.kind, EventKind::DisputeChanged { dispute: 7 });
        }
        let settled =
            C::JurorSettled { jury, juror, paid: U256::ZERO, slashed: U256::ZERO }.encode_log_data();
        let read = ChainEvent::read(log(settled.topics().to_vec(), &settled.data));
        assert_eq!(read.kind, EventKind::JurorSettled { jury: 9, juror });
    }

    #[test]
    fn what_changes_a_senders_funds_names_it() {
        let sender = Address::repeat_byte(3);
        let event = T::Unlocked { sender, withdrawRound: U256::from(9) };
        let data = event.encode_log_data();
        assert_eq!(ChainEvent::read(log(data.topics().to_vec(), &data.data)).kind.sender(), Some(sender));
    }
}
