//! A sender's nonces and budgets within one transaction of the books.

use std::collections::hash_map::Entry;

use alloy_primitives::{Address, B256};

use super::books::{Books, Hour, MINUTES_PER_HOUR};
use super::conn::{Bulk, Row, values};
use super::row::{self, SpendingRow};
use crate::ledger::account::{self, DepositState, SpendingRows};
use crate::ledger::journal;
use crate::ledger::{LaneId, LedgerError, NewSpending, Reservation, Reserved, SpendingState, WorkOutcome};
use crate::units::Wei;

const MS_PER_MINUTE: u64 = 60_000;

/// Sessions. Several are locked, in the order of their ids.
pub(super) const SPENDINGS: Bulk = Bulk {
    one: "SELECT * FROM spendings WHERE session = $1",
    many: "SELECT * FROM spendings WHERE session = ANY ($1::bytea[]) ORDER BY session FOR UPDATE",
};

/// Deposits. Whoever locks one has all of its sender's lanes and streams.
pub(super) const DEPOSITS: Bulk = Bulk {
    one: "SELECT * FROM deposits WHERE sender = $1",
    many: "SELECT * FROM deposits WHERE sender = ANY ($1::bytea[]) ORDER BY sender FOR UPDATE",
};

pub(super) const SPEND_LANES: Bulk = Bulk {
    one: "SELECT * FROM spend_lanes WHERE sender = $1 AND recipient = $2 AND lane = $3",
    many: "SELECT spend_lanes.* FROM spend_lanes JOIN unnest($1::bytea[], $2::bytea[], $3::bigint[])
           AS wanted (sender, recipient, lane) USING (sender, recipient, lane)",
};

/// What streams were sent in an hour.
pub(super) const MINUTES: Bulk = Bulk {
    one: "SELECT * FROM stream_minutes WHERE stream = $1 AND minute >= $2",
    many: "SELECT * FROM stream_minutes
           WHERE stream = ANY ($1::bytea[]) AND minute >= (SELECT min(start) FROM unnest($2::bigint[]) AS start)",
};

/// The minute of a reservation.
pub(super) fn minute_of(ask: &Reservation) -> u64 {
    ask.now_ms / MS_PER_MINUTE
}

/// The first minute of the hour that ends with this one.
pub(super) fn hour_start(minute: u64) -> u64 {
    minute.saturating_sub(MINUTES_PER_HOUR - 1)
}

fn spent_since(hour: &Hour, start: u64) -> Wei {
    hour.range(start..).fold(Wei::ZERO, |sum, (_, (spent, _))| sum.saturating_add(*spent))
}

impl Books<'_> {
    pub(super) async fn open_spending(&mut self, new: NewSpending) -> Result<(), LedgerError> {
        self.flush().await?;
        if let Some(known) = self.load_spending(new.session).await? {
            return if known.parties == new { Ok(()) } else { Err(LedgerError::SessionTaken(new.session)) };
        }
        let zero = Wei::ZERO;
        let sql = "INSERT INTO spendings
                   (session, stream, recipient, sender, paid, written_off, ordered, verified)
                   VALUES ($1, $2, $3, $4, $5, $5, $5, $5)";
        self.conn.execute(sql, values![new.session, new.stream, new.recipient, new.sender, zero]).await?;
        // A reservation locks it, so it has to be there.
        let sql = "INSERT INTO deposits (sender, seen, base, spent) VALUES ($1, $2, $2, $2)
                   ON CONFLICT DO NOTHING";
        self.conn.execute(sql, values![new.sender, zero]).await?;
        let NewSpending { session, stream, recipient, sender } = new;
        self.note(journal::Entry::SpendingOpened { session, stream, recipient, sender });
        self.flush().await
    }

    pub(super) async fn reserve(&mut self, ask: &Reservation) -> Result<Reserved, LedgerError> {
        let mut row = self.spending_of(ask.session).await?;
        let NewSpending { stream, recipient, sender, .. } = row.parties;
        let lane = LaneId { sender, recipient, lane: ask.lane };
        let minute = minute_of(ask);
        let mut rows = SpendingRows {
            session: row.sums,
            next_nonce: self.load_next_nonce(lane).await?,
            stream_hour: spent_since(self.load_hour(stream, minute).await?, hour_start(minute)),
            deposit: self.load_deposit(sender).await?,
        };
        let reserved = account::reserve(&mut rows, ask)?;
        row.sums = rows.session;
        self.spendings.set(ask.session, row);
        self.deposits.set(sender, rows.deposit);
        let entry = journal::Entry::reserved(ask, &reserved, minute);
        self.note(entry);
        if reserved.count > 0 {
            self.spend_lanes.set(lane, rows.next_nonce);
            let value = ask.ticket_value.saturating_mul(reserved.count);
            let (spent, changed) = self.hours.entry(stream).or_default().entry(minute).or_default();
            (*spent, *changed) = (spent.saturating_add(value), true);
        }
        Ok(reserved)
    }

    pub(super) async fn record(
        &mut self,
        session: B256,
        cost: Wei,
        outcome: WorkOutcome,
    ) -> Result<SpendingState, LedgerError> {
        let mut row = self.spending_of(session).await?;
        let before = row.sums;
        row.sums.record(cost, outcome);
        self.note(journal::Entry::recorded(session, &before, &row.sums));
        self.spendings.set(session, row);
        Ok(row.sums)
    }

    pub(super) async fn spending(&mut self, session: B256) -> Result<Option<SpendingState>, LedgerError> {
        Ok(self.load_spending(session).await?.map(|row| row.sums))
    }

    pub(super) async fn close_spending(&mut self, session: B256) -> Result<(), LedgerError> {
        self.flush().await?;
        let sql = "DELETE FROM spendings WHERE session = $1";
        if self.conn.execute(sql, values![session]).await? > 0 {
            self.note(journal::Entry::SpendingClosed { session });
        }
        Ok(())
    }

    async fn spending_of(&mut self, session: B256) -> Result<SpendingRow, LedgerError> {
        self.load_spending(session).await?.ok_or(LedgerError::UnknownSession(session))
    }

    async fn load_spending(&mut self, session: B256) -> Result<Option<SpendingRow>, LedgerError> {
        if let Some(known) = self.spendings.get(&session) {
            return Ok(known);
        }
        let found = self.conn.row(SPENDINGS.one, values![session]).await?;
        let row = found.as_ref().map(row::spending).transpose()?;
        self.spendings.learn(session, row);
        Ok(row)
    }

    async fn load_next_nonce(&mut self, lane: LaneId) -> Result<u64, LedgerError> {
        if let Some(known) = self.spend_lanes.get(&lane) {
            return Ok(known.unwrap_or(1));
        }
        let found = self.conn.row(SPEND_LANES.one, values![lane.sender, lane.recipient, lane.lane]).await?;
        let next = found.map(|row| row.counter("next_nonce")).transpose()?;
        self.spend_lanes.learn(lane, next);
        Ok(next.unwrap_or(1))
    }

    async fn load_deposit(&mut self, sender: Address) -> Result<DepositState, LedgerError> {
        if let Some(known) = self.deposits.get(&sender) {
            return Ok(known.unwrap_or_default());
        }
        let found = self.conn.row(DEPOSITS.one, values![sender]).await?;
        let state = found.as_ref().map(row::deposit).transpose()?;
        self.deposits.learn(sender, state);
        Ok(state.unwrap_or_default())
    }

    /// What the stream was sent in the hour that ends with `minute`, and perhaps before.
    async fn load_hour(&mut self, stream: B256, minute: u64) -> Result<&Hour, LedgerError> {
        if let Entry::Vacant(unread) = self.hours.entry(stream) {
            unread.insert(Hour::new());
            let rows = self.conn.rows(MINUTES.one, values![stream, hour_start(minute)]).await?;
            self.learn_minutes(&rows)?;
        }
        Ok(self.hours.entry(stream).or_default())
    }

    pub(super) fn learn_minutes(&mut self, rows: &[Row]) -> Result<(), LedgerError> {
        for found in rows {
            let hour = self.hours.entry(found.hash("stream")?).or_default();
            hour.entry(found.counter("minute")?).or_insert((found.wei("spent")?, false));
        }
        Ok(())
    }
}
