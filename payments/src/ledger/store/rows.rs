//! Every balance as its row has it.

use alloy_primitives::{Address, B256};

use super::conn::{Conn, Row, values};
use super::row;
use crate::ledger::journal::{Account, Balance, Balances};
use crate::ledger::{LaneId, LedgerError};

type Pair = (Account, Balance);

/// A kind of balance: its rows, and how to read one.
struct Kind {
    sql: &'static str,
    read: fn(&Row) -> Result<Pair, LedgerError>,
}

const KINDS: &[Kind] = &[
    Kind { sql: "SELECT id, sender, recipient, lane, credit, tickets FROM sessions", read: session },
    Kind { sql: "SELECT session, instance, amount FROM holds", read: hold },
    Kind { sql: "SELECT sender, recipient, lane, serial, highest, floor FROM lanes", read: lane },
    Kind {
        sql: "SELECT sender, recipient, lane, nonce, state, reason, tx, attempts, ticket FROM winners",
        read: winner,
    },
    Kind { sql: "SELECT * FROM spendings", read: spending },
    Kind { sql: "SELECT sender, recipient, lane, next_nonce FROM spend_lanes", read: spend_lane },
    Kind { sql: "SELECT sender, seen, base, spent FROM deposits", read: deposit },
    Kind { sql: "SELECT stream, minute, spent FROM stream_minutes", read: minute },
];

/// Reads all balances.
pub(crate) async fn balances(conn: &mut Conn<'_>) -> Result<Balances, LedgerError> {
    let mut balances = Balances::default();
    for kind in KINDS {
        for found in conn.rows(kind.sql, values![]).await? {
            let (account, balance) = (kind.read)(&found)?;
            balances.0.insert(account, balance);
        }
    }
    Ok(balances)
}

fn session(found: &Row) -> Result<Pair, LedgerError> {
    let balance = Balance::Session {
        lane: row::lane_id(found)?,
        credit: found.wei("credit")?,
        tickets: found.counter("tickets")?,
    };
    Ok((Account::Session { session: found.hash("id")? }, balance))
}

fn hold(found: &Row) -> Result<Pair, LedgerError> {
    let account = Account::Hold { session: found.hash("session")?, instance: found.counter("instance")? };
    Ok((account, Balance::Hold { amount: found.wei("amount")? }))
}

fn lane(found: &Row) -> Result<Pair, LedgerError> {
    let balance = Balance::Lane {
        serial: found.counter("serial")?,
        highest: found.counter("highest")?,
        floor: found.counter("floor")?,
    };
    Ok((Account::Lane { lane: row::lane_id(found)? }, balance))
}

fn winner(found: &Row) -> Result<Pair, LedgerError> {
    let ticket = crate::codec::decode_winning(found.blob("ticket")?).ok_or(LedgerError::Corrupt("ticket"))?;
    let balance = Balance::Winner {
        face_value: ticket.signed.ticket.face_value,
        state: row::winner_state(found)?,
        attempts: found.counter("attempts")?,
    };
    Ok((Account::Winner { lane: row::lane_id(found)?, nonce: found.counter("nonce")? }, balance))
}

fn spending(found: &Row) -> Result<Pair, LedgerError> {
    let row::SpendingRow { parties, sums } = row::spending(found)?;
    let balance = Balance::Spending {
        stream: parties.stream,
        recipient: parties.recipient,
        sender: parties.sender,
        paid: sums.paid,
        written_off: sums.written_off,
        ordered: sums.ordered,
        verified: sums.verified,
    };
    Ok((Account::Spending { session: parties.session }, balance))
}

fn spend_lane(found: &Row) -> Result<Pair, LedgerError> {
    let lane: LaneId = row::lane_id(found)?;
    Ok((Account::SpendLane { lane }, Balance::SpendLane { next_nonce: found.counter("next_nonce")? }))
}

fn deposit(found: &Row) -> Result<Pair, LedgerError> {
    let sender: Address = found.address("sender")?;
    let state = row::deposit(found)?;
    let balance = Balance::Deposit { seen: state.seen, base: state.base, spent: state.spent };
    Ok((Account::Deposit { sender }, balance))
}

fn minute(found: &Row) -> Result<Pair, LedgerError> {
    let stream: B256 = found.hash("stream")?;
    let account = Account::Minute { minute: found.counter("minute")?, stream };
    Ok((account, Balance::Minute { spent: found.wei("spent")? }))
}
