//! What the log is made of.

use alloy_primitives::{Address, B256};

use super::codec::{Pack, packed};
use crate::ledger::{DeadReason, LaneId, LedgerError, Reservation, Reserved, SpendingState, WinnerState};
use crate::units::Wei;

packed! {
    /// One change. "Own" is the instance whose row of the log it is in.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Entry {
        /// A session was opened and holds this lane.
        1 => Opened { session: B256, lane: LaneId },
        /// A payment: tickets became credit, and some of the credit an own hold. The lane's nonces stand here now.
        2 => Paid { session: B256, tickets: u64, value: Wei, held: Wei, highest: u64, floor: u64 },
        /// An own hold ended: spent, given back, and spent beyond it from the credit.
        3 => Settled { session: B256, spent: Wei, returned: Wei, beyond: Wei },
        /// A hold of an instance that died became credit again.
        4 => Released { session: B256, instance: u64, amount: Wei },
        /// A hold ended with its session.
        5 => HoldForfeited { session: B256, instance: u64, amount: Wei },
        /// A session ended; its credit is forfeited.
        6 => Closed { session: B256, credit: Wei },
        /// A lane's secret was replaced or revealed.
        7 => Turned { lane: LaneId, serial: u64, floor: u64 },
        /// A ticket won.
        8 => Won { lane: LaneId, nonce: u64, face_value: Wei },
        /// A winner stands here now, after so many failed attempts.
        9 => Fate { lane: LaneId, nonce: u64, state: WinnerState, attempts: u64 },
        /// A sender's session was opened.
        10 => SpendingOpened { session: B256, stream: B256, recipient: Address, sender: Address },
        /// Nonces and budget were reserved.
        11 => Reserved { session: B256, lane: u64, first_nonce: u64, count: u64, value: Wei, cost: Wei, deposit: Wei, minute: u64 },
        /// What became of work: verified, no longer ordered, written off.
        12 => Recorded { session: B256, verified: Wei, dropped: Wei, written_off: Wei },
        /// A sender's session was closed.
        13 => SpendingClosed { session: B256 },
    }
}

impl Entry {
    /// A reservation of `ask` that gave `reserved`.
    pub(crate) fn reserved(ask: &Reservation, reserved: &Reserved, minute: u64) -> Self {
        Self::Reserved {
            session: ask.session,
            lane: ask.lane,
            first_nonce: reserved.first_nonce,
            count: reserved.count,
            value: ask.ticket_value.saturating_mul(reserved.count),
            cost: ask.cost,
            deposit: ask.deposit,
            minute,
        }
    }

    /// How a sender's sums changed.
    pub(crate) fn recorded(session: B256, before: &SpendingState, after: &SpendingState) -> Self {
        Self::Recorded {
            session,
            verified: after.verified.saturating_sub(before.verified),
            dropped: before.ordered.saturating_sub(after.ordered),
            written_off: after.written_off.saturating_sub(before.written_off),
        }
    }
}

/// The entries of one row of the log.
pub(crate) fn decode_all(mut bytes: &[u8]) -> Result<Vec<Entry>, LedgerError> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        entries.push(Entry::unpack(&mut bytes).ok_or(LedgerError::Corrupt("log row"))?);
    }
    Ok(entries)
}

impl Pack for WinnerState {
    fn pack(&self, out: &mut Vec<u8>) {
        match self {
            Self::Pending => out.push(0),
            Self::Submitted(tx) => {
                out.push(1);
                tx.pack(out);
            }
            Self::Paid(tx) => {
                out.push(2);
                tx.pack(out);
            }
            Self::Dead(reason) => out.extend([3, reason.number()]),
        }
    }

    fn unpack(from: &mut &[u8]) -> Option<Self> {
        let (tag, rest) = from.split_first()?;
        *from = rest;
        Some(match tag {
            0 => Self::Pending,
            1 => Self::Submitted(B256::unpack(from)?),
            2 => Self::Paid(B256::unpack(from)?),
            3 => {
                let (reason, rest) = from.split_first()?;
                *from = rest;
                Self::Dead(DeadReason::of(*reason)?)
            }
            _ => return None,
        })
    }
}
