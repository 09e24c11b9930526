//! A sender's nonces and budgets within one ledger transaction.

use alloy_primitives::{Address, B256};
use sqlx::sqlite::SqliteRow;

use super::recipient::Books;
use super::row;
use crate::ledger::account::{self, DepositState, SpendingRows};
use crate::ledger::{LedgerError, NewSpending, Reservation, Reserved, SpendingState, WorkOutcome};
use crate::units::Wei;

const MS_PER_MINUTE: u64 = 60_000;
const MINUTES_PER_HOUR: u64 = 60;

fn parties(row: &SqliteRow, session: B256) -> Result<NewSpending, LedgerError> {
    Ok(NewSpending {
        session,
        stream: row::hash(row, "stream")?,
        recipient: row::address(row, "recipient")?,
        sender: row::address(row, "sender")?,
    })
}

fn sums(row: &SqliteRow) -> Result<SpendingState, LedgerError> {
    Ok(SpendingState {
        paid: row::wei(row, "paid")?,
        written_off: row::wei(row, "written_off")?,
        ordered: row::wei(row, "ordered")?,
        verified: row::wei(row, "verified")?,
    })
}

impl Books<'_> {
    pub(super) async fn open_spending(&mut self, new: NewSpending) -> Result<(), LedgerError> {
        if let Some((known, _)) = self.spending_row(new.session).await? {
            return if known == new { Ok(()) } else { Err(LedgerError::SessionTaken(new.session)) };
        }
        let zero = Wei::ZERO.to_be_bytes();
        sqlx::query(
            "INSERT INTO spendings
             (session, stream, recipient, sender, paid, written_off, ordered, verified)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(new.session.as_slice())
        .bind(new.stream.as_slice())
        .bind(new.recipient.as_slice())
        .bind(new.sender.as_slice())
        .bind(&zero[..])
        .bind(&zero[..])
        .bind(&zero[..])
        .bind(&zero[..])
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    pub(super) async fn reserve(&mut self, ask: Reservation) -> Result<Reserved, LedgerError> {
        let (parties, session) = self.spending_of(ask.session).await?;
        let minute = ask.now_ms / MS_PER_MINUTE;
        let mut rows = SpendingRows {
            session,
            next_nonce: self.next_nonce(&parties, ask.lane).await?,
            stream_hour: self.stream_hour(parties.stream, minute).await?,
            deposit: self.deposit(parties.sender).await?,
        };
        let before = rows.stream_hour;
        let reserved = account::reserve(&mut rows, &ask)?;
        self.write_sums(ask.session, &rows.session).await?;
        self.write_deposit(parties.sender, &rows.deposit).await?;
        if reserved.count > 0 {
            self.write_next_nonce(&parties, ask.lane, rows.next_nonce).await?;
            self.add_minute(parties.stream, minute, rows.stream_hour.saturating_sub(before)).await?;
        }
        Ok(reserved)
    }

    pub(super) async fn record(
        &mut self,
        session: B256,
        cost: Wei,
        outcome: WorkOutcome,
    ) -> Result<SpendingState, LedgerError> {
        let (_, mut state) = self.spending_of(session).await?;
        state.record(cost, outcome);
        self.write_sums(session, &state).await?;
        Ok(state)
    }

    pub(super) async fn spending(&mut self, session: B256) -> Result<Option<SpendingState>, LedgerError> {
        Ok(self.spending_row(session).await?.map(|(_, state)| state))
    }

    pub(super) async fn close_spending(&mut self, session: B256) -> Result<(), LedgerError> {
        sqlx::query("DELETE FROM spendings WHERE session = ?")
            .bind(session.as_slice())
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    async fn spending_of(&mut self, session: B256) -> Result<(NewSpending, SpendingState), LedgerError> {
        self.spending_row(session).await?.ok_or(LedgerError::UnknownSession(session))
    }

    async fn spending_row(
        &mut self,
        session: B256,
    ) -> Result<Option<(NewSpending, SpendingState)>, LedgerError> {
        let found = sqlx::query("SELECT * FROM spendings WHERE session = ?")
            .bind(session.as_slice())
            .fetch_optional(&mut *self.connection)
            .await?;
        found.map(|found| Ok((parties(&found, session)?, sums(&found)?))).transpose()
    }

    async fn write_sums(&mut self, session: B256, state: &SpendingState) -> Result<(), LedgerError> {
        sqlx::query(
            "UPDATE spendings SET paid = ?, written_off = ?, ordered = ?, verified = ? WHERE session = ?",
        )
        .bind(&state.paid.to_be_bytes()[..])
        .bind(&state.written_off.to_be_bytes()[..])
        .bind(&state.ordered.to_be_bytes()[..])
        .bind(&state.verified.to_be_bytes()[..])
        .bind(session.as_slice())
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    async fn next_nonce(&mut self, parties: &NewSpending, lane: u64) -> Result<u64, LedgerError> {
        let found =
            sqlx::query("SELECT next_nonce FROM spend_lanes WHERE sender = ? AND recipient = ? AND lane = ?")
                .bind(parties.sender.as_slice())
                .bind(parties.recipient.as_slice())
                .bind(row::int(lane))
                .fetch_optional(&mut *self.connection)
                .await?;
        found.map_or(Ok(1), |found| row::counter(&found, "next_nonce"))
    }

    async fn write_next_nonce(
        &mut self,
        parties: &NewSpending,
        lane: u64,
        next: u64,
    ) -> Result<(), LedgerError> {
        sqlx::query(
            "INSERT INTO spend_lanes (sender, recipient, lane, next_nonce) VALUES (?, ?, ?, ?)
             ON CONFLICT DO UPDATE SET next_nonce = excluded.next_nonce",
        )
        .bind(parties.sender.as_slice())
        .bind(parties.recipient.as_slice())
        .bind(row::int(lane))
        .bind(row::int(next))
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    /// What the stream was sent in the hour that ends with `minute`.
    async fn stream_hour(&mut self, stream: B256, minute: u64) -> Result<Wei, LedgerError> {
        let rows = sqlx::query("SELECT spent FROM stream_minutes WHERE stream = ? AND minute > ?")
            .bind(stream.as_slice())
            .bind(row::int(minute.saturating_sub(MINUTES_PER_HOUR)))
            .fetch_all(&mut *self.connection)
            .await?;
        rows.iter().try_fold(Wei::ZERO, |sum, found| Ok(sum.saturating_add(row::wei(found, "spent")?)))
    }

    async fn add_minute(&mut self, stream: B256, minute: u64, value: Wei) -> Result<(), LedgerError> {
        sqlx::query("DELETE FROM stream_minutes WHERE minute <= ?")
            .bind(row::int(minute.saturating_sub(MINUTES_PER_HOUR)))
            .execute(&mut *self.connection)
            .await?;
        let found = sqlx::query("SELECT spent FROM stream_minutes WHERE stream = ? AND minute = ?")
            .bind(stream.as_slice())
            .bind(row::int(minute))
            .fetch_optional(&mut *self.connection)
            .await?;
        let before = found.map_or(Ok(Wei::ZERO), |found| row::wei(&found, "spent"))?;
        sqlx::query(
            "INSERT INTO stream_minutes (stream, minute, spent) VALUES (?, ?, ?)
             ON CONFLICT DO UPDATE SET spent = excluded.spent",
        )
        .bind(stream.as_slice())
        .bind(row::int(minute))
        .bind(&before.saturating_add(value).to_be_bytes()[..])
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    async fn deposit(&mut self, sender: Address) -> Result<DepositState, LedgerError> {
        let found = sqlx::query("SELECT * FROM deposits WHERE sender = ?")
            .bind(sender.as_slice())
            .fetch_optional(&mut *self.connection)
            .await?;
        found.map_or(Ok(DepositState::default()), |found| {
            Ok(DepositState {
                seen: row::wei(&found, "seen")?,
                base: row::wei(&found, "base")?,
                spent: row::wei(&found, "spent")?,
            })
        })
    }

    async fn write_deposit(&mut self, sender: Address, state: &DepositState) -> Result<(), LedgerError> {
        sqlx::query(
            "INSERT INTO deposits (sender, seen, base, spent) VALUES (?, ?, ?, ?)
             ON CONFLICT DO UPDATE
             SET seen = excluded.seen, base = excluded.base, spent = excluded.spent",
        )
        .bind(sender.as_slice())
        .bind(&state.seen.to_be_bytes()[..])
        .bind(&state.base.to_be_bytes()[..])
        .bind(&state.spent.to_be_bytes()[..])
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }
}
