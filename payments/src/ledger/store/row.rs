//! Rows to values and back.

use alloy_primitives::B256;

use super::conn::Row;
use crate::codec::{decode_winning, scheme_of};
use crate::ledger::account::{DepositState, WINDOW_WORDS};
use crate::ledger::{
    DeadReason, LaneId, LaneState, LedgerError, NewSpending, SessionState, SpendingState, Winner, WinnerState,
};
use crate::units::{Wei, WinProb};

pub(super) fn lane_id(row: &Row) -> Result<LaneId, LedgerError> {
    Ok(LaneId {
        sender: row.address("sender")?,
        recipient: row.address("recipient")?,
        lane: row.counter("lane")?,
    })
}

pub(super) fn lane_state(row: &Row) -> Result<LaneState, LedgerError> {
    const BYTES: usize = WINDOW_WORDS * 8;
    let blob: [u8; BYTES] = row.bytes("seen")?;
    let (words, _) = blob.as_chunks::<8>();
    let mut seen = [0; WINDOW_WORDS];
    for (word, bytes) in seen.iter_mut().zip(words) {
        *word = u64::from_be_bytes(*bytes);
    }
    Ok(LaneState {
        serial: row.counter("serial")?,
        retiring_ms: row.maybe_int("retiring_ms")?.map(i64::cast_unsigned),
        highest: row.counter("highest")?,
        floor: row.counter("floor")?,
        seen,
    })
}

pub(super) fn seen_bytes(state: &LaneState) -> Vec<u8> {
    state.seen.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// A session's own columns, and what this instance holds of it; its lane's nonces are in another row.
#[derive(Clone, Copy, Debug)]
pub(super) struct SessionRow {
    pub(super) lane: LaneId,
    pub(super) face_value: Wei,
    pub(super) win_prob: WinProb,
    pub(super) state: SessionState,
    pub(super) used_ms: u64,
    /// The instance it was last paid through.
    pub(super) instance: u64,
    /// The hold as the store has it.
    pub(super) stored_hold: Wei,
}

/// A row of a session beside the own hold, which may be missing.
pub(super) fn session(row: &Row) -> Result<SessionRow, LedgerError> {
    let held = row.maybe_blob("amount")?.map_or(Ok(Wei::ZERO), |_| row.wei("amount"))?;
    Ok(SessionRow {
        lane: lane_id(row)?,
        face_value: row.wei("face_value")?,
        win_prob: WinProb(row.wei("win_prob")?.0),
        state: SessionState { credit: row.wei("credit")?, held, tickets: row.counter("tickets")? },
        used_ms: row.counter("used_ms")?,
        instance: row.counter("instance")?,
        stored_hold: held,
    })
}

/// A sender's session.
#[derive(Clone, Copy, Debug)]
pub(super) struct SpendingRow {
    pub(super) parties: NewSpending,
    pub(super) sums: SpendingState,
}

pub(super) fn spending(row: &Row) -> Result<SpendingRow, LedgerError> {
    Ok(SpendingRow {
        parties: NewSpending {
            session: row.hash("session")?,
            stream: row.hash("stream")?,
            recipient: row.address("recipient")?,
            sender: row.address("sender")?,
        },
        sums: SpendingState {
            paid: row.wei("paid")?,
            written_off: row.wei("written_off")?,
            ordered: row.wei("ordered")?,
            verified: row.wei("verified")?,
        },
    })
}

pub(super) fn deposit(row: &Row) -> Result<DepositState, LedgerError> {
    Ok(DepositState { seen: row.wei("seen")?, base: row.wei("base")?, spent: row.wei("spent")? })
}

pub(super) fn winner(row: &Row) -> Result<Winner, LedgerError> {
    let scheme = u8::try_from(row.int("scheme")?).ok().and_then(|byte| scheme_of(byte).ok());
    let attempts = u32::try_from(row.int("attempts")?).map_err(|_| LedgerError::Corrupt("attempts"))?;
    Ok(Winner {
        id: row.int("id")?,
        lane: lane_id(row)?,
        nonce: row.counter("nonce")?,
        serial: row.counter("serial")?,
        ticket: decode_winning(row.blob("ticket")?).ok_or(LedgerError::Corrupt("ticket"))?,
        scheme: scheme.ok_or(LedgerError::Corrupt("scheme"))?,
        state: winner_state(row)?,
        attempts,
        accepted_ms: row.counter("accepted_ms")?,
        settled_ms: row.maybe_int("settled_ms")?.map(i64::cast_unsigned),
    })
}

/// The `state` of a winner that waits.
const PENDING: i64 = 0;
/// The `state` of a winner in a transaction.
const SUBMITTED: i64 = 1;
/// The `state` of a winner that was paid.
const PAID: i64 = 2;
/// The `state` of a winner given up.
const DEAD: i64 = 3;

pub(super) fn winner_state(row: &Row) -> Result<WinnerState, LedgerError> {
    match row.int("state")? {
        PENDING => Ok(WinnerState::Pending),
        SUBMITTED => Ok(WinnerState::Submitted(row.hash("tx")?)),
        PAID => Ok(WinnerState::Paid(row.hash("tx")?)),
        DEAD => {
            let reason = u8::try_from(row.int("reason")?).ok().and_then(DeadReason::of);
            Ok(WinnerState::Dead(reason.ok_or(LedgerError::Corrupt("reason"))?))
        }
        _ => Err(LedgerError::Corrupt("state")),
    }
}

/// The columns `state`, `reason` and `tx` of a winner.
pub(super) fn state_columns(state: WinnerState) -> (i64, i64, Option<B256>) {
    match state {
        WinnerState::Pending => (PENDING, 0, None),
        WinnerState::Submitted(tx) => (SUBMITTED, 0, Some(tx)),
        WinnerState::Paid(tx) => (PAID, 0, Some(tx)),
        WinnerState::Dead(reason) => (DEAD, i64::from(reason.number()), None),
    }
}
