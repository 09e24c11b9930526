//! The books as one transaction sees them.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use alloy_primitives::{Address, B256};

use super::conn::{Bulk, Conn, Value, values};
use super::row::{self, SessionRow, SpendingRow};
use crate::ledger::account::{DepositState, LaneState};
use crate::ledger::journal::{Entry, Pack};
use crate::ledger::{LaneId, LedgerError};
use crate::port::{Clock, SystemClock};
use crate::units::Wei;

/// Minutes of a stream that count.
pub(super) const MINUTES_PER_HOUR: u64 = 60;

/// Rows that were read, `None` for those that are not there, and whether they were changed since.
pub(super) struct Cache<K, V>(HashMap<K, (Option<V>, bool)>);

impl<K: Eq + Hash, V: Copy> Cache<K, V> {
    fn new() -> Self {
        Self(HashMap::new())
    }

    /// The row if it was read: `Some(None)` is known not to be there.
    pub(super) fn get(&self, key: &K) -> Option<Option<V>> {
        self.0.get(key).map(|(value, _)| *value)
    }

    /// Keeps what the store has.
    pub(super) fn learn(&mut self, key: K, value: Option<V>) {
        self.0.entry(key).or_insert((value, false));
    }

    /// Changes a row.
    pub(super) fn set(&mut self, key: K, value: V) {
        self.0.insert(key, (Some(value), true));
    }

    /// Forgets everything and returns what was changed.
    fn take_changed(&mut self) -> Vec<(K, V)> {
        let changed = |(key, (value, changed))| if changed { Some((key, value?)) } else { None };
        self.0.drain().filter_map(changed).collect()
    }
}

/// What a stream was sent, by minute, and which of them changed.
pub(super) type Hour = BTreeMap<u64, (Wei, bool)>;

/// The books within one transaction. Hot rows (those of payments) are read once per transaction, changed in memory, and
/// written once at its end, with one row of the log for all of it.
pub(crate) struct Books<'t> {
    pub(super) conn: Conn<'t>,
    /// This process.
    pub(super) instance: u64,
    pub(super) lanes: Cache<LaneId, LaneState>,
    pub(super) sessions: Cache<B256, SessionRow>,
    pub(super) spendings: Cache<B256, SpendingRow>,
    pub(super) spend_lanes: Cache<LaneId, u64>,
    pub(super) deposits: Cache<Address, DepositState>,
    pub(super) hours: HashMap<B256, Hour>,
    pub(super) winners: Vec<Vec<Value>>,
    log: Vec<u8>,
    failure: Option<LedgerError>,
}

impl<'t> Books<'t> {
    pub(crate) fn new(conn: Conn<'t>, instance: u64) -> Self {
        Self {
            conn,
            instance,
            lanes: Cache::new(),
            sessions: Cache::new(),
            spendings: Cache::new(),
            spend_lanes: Cache::new(),
            deposits: Cache::new(),
            hours: HashMap::new(),
            winners: Vec::new(),
            log: Vec::new(),
            failure: None,
        }
    }

    /// Keeps the first error that may have left half a call in the transaction.
    pub(super) fn remember(&mut self, error: Option<&LedgerError>) {
        if let Some(error) = error.filter(|error| error.is_of_store()) {
            self.failure.get_or_insert_with(|| error.clone());
        }
    }

    /// Whether the transaction is lost already.
    pub(super) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Writes down a change, with this transaction.
    pub(super) fn note(&mut self, entry: Entry) {
        entry.pack(&mut self.log);
    }

    /// Writes what is still in memory, and returns how many bytes went to the log; an error means that the transaction
    /// must not be committed.
    pub(crate) async fn finish(mut self) -> Result<usize, LedgerError> {
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        self.flush().await?;
        let log = std::mem::take(&mut self.log);
        let bytes = log.len();
        if bytes > 0 {
            let sql = "INSERT INTO journal (instance, at_ms, entries) VALUES ($1, $2, $3)";
            self.conn.execute(sql, values![self.instance, SystemClock.now_ms(), log]).await?;
        }
        Ok(bytes)
    }

    /// Writes the hot rows, so that statements see them.
    pub(super) async fn flush(&mut self) -> Result<(), LedgerError> {
        let winners = std::mem::take(&mut self.winners);
        self.conn.execute_each(&WINNER, winners).await?;
        let lanes = self.lanes.take_changed().iter().map(lane_values).collect();
        self.conn.execute_each(&LANE, lanes).await?;
        self.flush_sessions().await?;
        let spendings = self.spendings.take_changed().iter().map(spending_values).collect();
        self.conn.execute_each(&SPENDING, spendings).await?;
        let lanes = self.spend_lanes.take_changed();
        let lanes = lanes.into_iter().map(|(id, next)| values![id.sender, id.recipient, id.lane, next]);
        self.conn.execute_each(&SPEND_LANE, lanes.collect()).await?;
        let deposits = self.deposits.take_changed().into_iter();
        let deposits = deposits.map(|(sender, state)| values![sender, state.seen, state.base, state.spent]);
        self.conn.execute_each(&DEPOSIT, deposits.collect()).await?;
        self.flush_minutes().await
    }

    async fn flush_sessions(&mut self) -> Result<(), LedgerError> {
        let sessions = self.sessions.take_changed();
        let moved = sessions.iter().filter(|(_, session)| session.state.held != session.stored_hold);
        let holds = moved.map(|(id, session)| values![*id, self.instance, session.state.held]).collect();
        let rows = sessions.iter().map(session_values).collect();
        self.conn.execute_each(&SESSION, rows).await?;
        self.conn.execute_each(&HOLD, holds).await
    }

    async fn flush_minutes(&mut self) -> Result<(), LedgerError> {
        let mut rows = Vec::new();
        let mut newest = 0;
        for (stream, hour) in std::mem::take(&mut self.hours) {
            for (minute, (spent, _)) in hour.into_iter().filter(|(_, (_, changed))| *changed) {
                newest = newest.max(minute);
                rows.push(values![stream, minute, spent]);
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        self.conn.execute_each(&MINUTE, rows).await?;
        if let Some(gone) = newest.checked_sub(MINUTES_PER_HOUR) {
            self.conn.execute_either(OLD_MINUTES, OLD_MINUTES_UNLOCKED, values![gone]).await?;
        }
        Ok(())
    }
}

const OLD_MINUTES: &str = "DELETE FROM stream_minutes WHERE minute <= $1";
/// Two processes that clean up at once must not wait for each other.
const OLD_MINUTES_UNLOCKED: &str = "DELETE FROM stream_minutes WHERE (stream, minute) IN
    (SELECT stream, minute FROM stream_minutes WHERE minute <= $1 FOR UPDATE SKIP LOCKED)";

const WINNER: Bulk = Bulk {
    one: "INSERT INTO winners (sender, recipient, lane, nonce, serial, scheme, ticket, accepted_ms)
          VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    many: "INSERT INTO winners (sender, recipient, lane, nonce, serial, scheme, ticket, accepted_ms)
           SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bigint[], $4::bigint[], $5::bigint[],
                                $6::bigint[], $7::bytea[], $8::bigint[])",
};

const LANE: Bulk = Bulk {
    one: "UPDATE lanes SET serial = $4, retiring_ms = $5, highest = $6, floor = $7, seen = $8
          WHERE sender = $1 AND recipient = $2 AND lane = $3",
    many: "UPDATE lanes SET serial = new.serial, retiring_ms = new.retiring_ms, highest = new.highest,
                            floor = new.floor, seen = new.seen
           FROM unnest($1::bytea[], $2::bytea[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
                       $7::bigint[], $8::bytea[])
                AS new (sender, recipient, lane, serial, retiring_ms, highest, floor, seen)
           WHERE lanes.sender = new.sender AND lanes.recipient = new.recipient AND lanes.lane = new.lane",
};

fn lane_values((id, state): &(LaneId, LaneState)) -> Vec<Value> {
    values![
        id.sender,
        id.recipient,
        id.lane,
        state.serial,
        state.retiring_ms,
        state.highest,
        state.floor,
        row::seen_bytes(state)
    ]
}

const SESSION: Bulk = Bulk {
    one: "UPDATE sessions SET credit = $2, tickets = $3, used_ms = $4, instance = $5 WHERE id = $1",
    many: "UPDATE sessions SET credit = new.credit, tickets = new.tickets, used_ms = new.used_ms,
                               instance = new.instance
           FROM unnest($1::bytea[], $2::bytea[], $3::bigint[], $4::bigint[], $5::bigint[])
                AS new (id, credit, tickets, used_ms, instance)
           WHERE sessions.id = new.id",
};

fn session_values((id, session): &(B256, SessionRow)) -> Vec<Value> {
    values![*id, session.state.credit, session.state.tickets, session.used_ms, session.instance]
}

const HOLD: Bulk = Bulk {
    one: "INSERT INTO holds (session, instance, amount) VALUES ($1, $2, $3)
          ON CONFLICT (session, instance) DO UPDATE SET amount = excluded.amount",
    many: "INSERT INTO holds (session, instance, amount)
           SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::bytea[])
           ON CONFLICT (session, instance) DO UPDATE SET amount = excluded.amount",
};

const SPENDING: Bulk = Bulk {
    one: "UPDATE spendings SET paid = $2, written_off = $3, ordered = $4, verified = $5 WHERE session = $1",
    many: "UPDATE spendings SET paid = new.paid, written_off = new.written_off, ordered = new.ordered,
                                verified = new.verified
           FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::bytea[], $5::bytea[])
                AS new (session, paid, written_off, ordered, verified)
           WHERE spendings.session = new.session",
};

fn spending_values((session, row): &(B256, SpendingRow)) -> Vec<Value> {
    let sums = &row.sums;
    values![*session, sums.paid, sums.written_off, sums.ordered, sums.verified]
}

const SPEND_LANE: Bulk = Bulk {
    one: "INSERT INTO spend_lanes (sender, recipient, lane, next_nonce) VALUES ($1, $2, $3, $4)
          ON CONFLICT (sender, recipient, lane) DO UPDATE SET next_nonce = excluded.next_nonce",
    many: "INSERT INTO spend_lanes (sender, recipient, lane, next_nonce)
           SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bigint[], $4::bigint[])
           ON CONFLICT (sender, recipient, lane) DO UPDATE SET next_nonce = excluded.next_nonce",
};

const DEPOSIT: Bulk = Bulk {
    one: "INSERT INTO deposits (sender, seen, base, spent) VALUES ($1, $2, $3, $4)
          ON CONFLICT (sender) DO UPDATE
          SET seen = excluded.seen, base = excluded.base, spent = excluded.spent",
    many: "INSERT INTO deposits (sender, seen, base, spent)
           SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::bytea[])
           ON CONFLICT (sender) DO UPDATE
           SET seen = excluded.seen, base = excluded.base, spent = excluded.spent",
};

const MINUTE: Bulk = Bulk {
    one: "INSERT INTO stream_minutes (stream, minute, spent) VALUES ($1, $2, $3)
          ON CONFLICT (stream, minute) DO UPDATE SET spent = excluded.spent",
    many: "INSERT INTO stream_minutes (stream, minute, spent)
           SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::bytea[])
           ON CONFLICT (stream, minute) DO UPDATE SET spent = excluded.spent",
};
