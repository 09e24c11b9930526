//! Columns to values and back.

use alloy_primitives::{Address, B256};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::codec::{decode_winning, scheme_of};
use crate::ledger::account::WINDOW_WORDS;
use crate::ledger::{DeadReason, LaneId, LaneState, LedgerError, SessionState, Winner, WinnerState};
use crate::units::{Wei, WinProb};

/// SQLite's integers are signed; the cast keeps every bit, and what is sorted by (nonces, times)
/// stays below 2⁶³.
pub(super) fn int(value: u64) -> i64 {
    value.cast_signed()
}

pub(super) fn bytes<const N: usize>(row: &SqliteRow, column: &'static str) -> Result<[u8; N], LedgerError> {
    let blob: &[u8] = row.try_get(column)?;
    blob.try_into().map_err(|_| LedgerError::Corrupt(column))
}

pub(super) fn wei(row: &SqliteRow, column: &'static str) -> Result<Wei, LedgerError> {
    bytes(row, column).map(Wei::from_be_bytes)
}

pub(super) fn hash(row: &SqliteRow, column: &'static str) -> Result<B256, LedgerError> {
    bytes(row, column).map(B256::new)
}

pub(super) fn address(row: &SqliteRow, column: &'static str) -> Result<Address, LedgerError> {
    bytes(row, column).map(Address::new)
}

pub(super) fn counter(row: &SqliteRow, column: &'static str) -> Result<u64, LedgerError> {
    Ok(row.try_get::<i64, _>(column)?.cast_unsigned())
}

pub(super) fn lane_id(row: &SqliteRow) -> Result<LaneId, LedgerError> {
    Ok(LaneId {
        sender: address(row, "sender")?,
        recipient: address(row, "recipient")?,
        lane: counter(row, "lane")?,
    })
}

pub(super) fn lane_state(row: &SqliteRow) -> Result<LaneState, LedgerError> {
    const BYTES: usize = WINDOW_WORDS * 8;
    let blob: [u8; BYTES] = bytes(row, "seen")?;
    let (words, _) = blob.as_chunks::<8>();
    let mut seen = [0; WINDOW_WORDS];
    for (word, bytes) in seen.iter_mut().zip(words) {
        *word = u64::from_be_bytes(*bytes);
    }
    Ok(LaneState {
        serial: counter(row, "serial")?,
        retiring_ms: row.try_get::<Option<i64>, _>("retiring_ms")?.map(i64::cast_unsigned),
        highest: counter(row, "highest")?,
        floor: counter(row, "floor")?,
        seen,
    })
}

pub(super) fn seen_bytes(state: &LaneState) -> Vec<u8> {
    state.seen.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// A session's own columns; its lane's nonces are in another row.
#[derive(Clone, Copy, Debug)]
pub(super) struct SessionRow {
    pub(super) lane: LaneId,
    pub(super) face_value: Wei,
    pub(super) win_prob: WinProb,
    pub(super) state: SessionState,
    pub(super) used_ms: u64,
}

pub(super) fn session(row: &SqliteRow) -> Result<SessionRow, LedgerError> {
    Ok(SessionRow {
        lane: lane_id(row)?,
        face_value: wei(row, "face_value")?,
        win_prob: WinProb(wei(row, "win_prob")?.0),
        state: SessionState {
            credit: wei(row, "credit")?,
            held: wei(row, "held")?,
            tickets: counter(row, "tickets")?,
        },
        used_ms: counter(row, "used_ms")?,
    })
}

pub(super) fn winner(row: &SqliteRow) -> Result<Winner, LedgerError> {
    let scheme: i64 = row.try_get("scheme")?;
    let scheme = u8::try_from(scheme).ok().and_then(|byte| scheme_of(byte).ok());
    Ok(Winner {
        id: row.try_get("id")?,
        lane: lane_id(row)?,
        nonce: counter(row, "nonce")?,
        serial: counter(row, "serial")?,
        ticket: decode_winning(row.try_get("ticket")?).ok_or(LedgerError::Corrupt("ticket"))?,
        scheme: scheme.ok_or(LedgerError::Corrupt("scheme"))?,
        state: winner_state(row)?,
        attempts: row.try_get("attempts")?,
        accepted_ms: counter(row, "accepted_ms")?,
    })
}

/// The `state` of a winner that waits.
pub(super) const PENDING: i64 = 0;
/// The `state` of a winner in a transaction.
pub(super) const SUBMITTED: i64 = 1;
/// The `state` of a winner that was paid.
pub(super) const PAID: i64 = 2;
/// The `state` of a winner given up.
pub(super) const DEAD: i64 = 3;

fn winner_state(row: &SqliteRow) -> Result<WinnerState, LedgerError> {
    match row.try_get::<i64, _>("state")? {
        PENDING => Ok(WinnerState::Pending),
        SUBMITTED => Ok(WinnerState::Submitted(hash(row, "tx")?)),
        PAID => Ok(WinnerState::Paid(hash(row, "tx")?)),
        DEAD => dead_reason(row.try_get("reason")?).map(WinnerState::Dead),
        _ => Err(LedgerError::Corrupt("state")),
    }
}

pub(super) fn dead_number(reason: DeadReason) -> i64 {
    match reason {
        DeadReason::Expired => 1,
        DeadReason::Poisoned => 2,
        DeadReason::NoncePassed => 3,
    }
}

fn dead_reason(number: i64) -> Result<DeadReason, LedgerError> {
    match number {
        1 => Ok(DeadReason::Expired),
        2 => Ok(DeadReason::Poisoned),
        3 => Ok(DeadReason::NoncePassed),
        _ => Err(LedgerError::Corrupt("reason")),
    }
}
