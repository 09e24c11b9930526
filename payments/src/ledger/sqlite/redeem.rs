//! Winners and their transactions within one ledger transaction.

use alloy_primitives::{Address, B256};
use sqlx::sqlite::SqliteRow;

use super::recipient::Books;
use super::row::{self, DEAD, PAID, PENDING, SUBMITTED};
use crate::ledger::{DeadReason, Fate, LaneId, LedgerError, LiveSubmission, Retirement, Submission, Winner};
use crate::port::PreparedRedemption;

fn version(found: &SqliteRow) -> Result<PreparedRedemption, LedgerError> {
    Ok(PreparedRedemption { tx: row::hash(found, "tx")?, raw: sqlx::Row::try_get(found, "raw")? })
}

fn winners(rows: &[SqliteRow]) -> Result<Vec<Winner>, LedgerError> {
    rows.iter().map(row::winner).collect()
}

impl Books<'_> {
    pub(super) async fn pending_winners(&mut self, limit: u32) -> Result<Vec<Winner>, LedgerError> {
        let rows = sqlx::query(
            "SELECT * FROM winners WHERE state = 0 ORDER BY sender, recipient, lane, nonce LIMIT ?",
        )
        .bind(limit)
        .fetch_all(&mut *self.connection)
        .await?;
        winners(&rows)
    }

    pub(super) async fn winners_of(
        &mut self,
        sender: Address,
        limit: u32,
    ) -> Result<Vec<Winner>, LedgerError> {
        let rows =
            sqlx::query("SELECT * FROM winners WHERE sender = ? ORDER BY recipient, lane, nonce LIMIT ?")
                .bind(sender.as_slice())
                .bind(limit)
                .fetch_all(&mut *self.connection)
                .await?;
        winners(&rows)
    }

    pub(super) async fn reveal(
        &mut self,
        lanes: Vec<Retirement>,
        now_ms: u64,
    ) -> Result<Vec<Winner>, LedgerError> {
        self.flush().await?;
        let mut revealed = Vec::new();
        for Retirement { lane, grace_ms } in lanes {
            let pending = self.pending_of(lane).await?;
            let before = self.load_lane(lane).await?;
            let mut state = before;
            if state.retiring_ms.is_none() && pending.iter().any(|winner| winner.serial >= state.serial) {
                state.rotate(now_ms);
            }
            if state.retiring_ms.is_some_and(|since| now_ms.saturating_sub(since) >= grace_ms) {
                state.retire();
            }
            if state != before {
                self.write_lane(lane, &state).await?;
            }
            revealed.extend(pending.into_iter().filter(|winner| !state.takes(winner.serial)));
        }
        Ok(revealed)
    }

    async fn pending_of(&mut self, lane: LaneId) -> Result<Vec<Winner>, LedgerError> {
        let rows = sqlx::query(
            "SELECT * FROM winners
             WHERE state = 0 AND sender = ? AND recipient = ? AND lane = ? ORDER BY nonce",
        )
        .bind(lane.sender.as_slice())
        .bind(lane.recipient.as_slice())
        .bind(row::int(lane.lane))
        .fetch_all(&mut *self.connection)
        .await?;
        winners(&rows)
    }

    pub(super) async fn submit(&mut self, submission: Submission) -> Result<(), LedgerError> {
        let tx = submission.prepared.tx;
        for id in &submission.winners {
            self.still_pending(*id).await?;
        }
        sqlx::query("INSERT INTO submissions (tx, raw, offered_ms) VALUES (?, ?, ?)")
            .bind(tx.as_slice())
            .bind(&submission.prepared.raw)
            .bind(row::int(submission.offered_ms))
            .execute(&mut *self.connection)
            .await?;
        for (position, id) in (0_i64..).zip(&submission.winners) {
            sqlx::query("UPDATE winners SET state = ?, tx = ?, position = ? WHERE id = ?")
                .bind(SUBMITTED)
                .bind(tx.as_slice())
                .bind(position)
                .bind(id)
                .execute(&mut *self.connection)
                .await?;
        }
        Ok(())
    }

    async fn still_pending(&mut self, id: i64) -> Result<(), LedgerError> {
        let state: Option<i64> = sqlx::query_scalar("SELECT state FROM winners WHERE id = ?")
            .bind(id)
            .fetch_optional(&mut *self.connection)
            .await?;
        if state == Some(PENDING) { Ok(()) } else { Err(LedgerError::NotPending(id)) }
    }

    pub(super) async fn replace(
        &mut self,
        tx: B256,
        replacement: PreparedRedemption,
        offered_ms: u64,
    ) -> Result<(), LedgerError> {
        let known = sqlx::query("UPDATE submissions SET offered_ms = ? WHERE tx = ?")
            .bind(row::int(offered_ms))
            .bind(tx.as_slice())
            .execute(&mut *self.connection)
            .await?;
        if known.rows_affected() == 0 {
            return Err(LedgerError::NoSubmission(tx));
        }
        sqlx::query(
            "INSERT INTO replacements (submission, version, tx, raw)
             SELECT ?1, COUNT(*), ?2, ?3 FROM replacements WHERE submission = ?1",
        )
        .bind(tx.as_slice())
        .bind(replacement.tx.as_slice())
        .bind(&replacement.raw)
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    pub(super) async fn submissions(&mut self) -> Result<Vec<LiveSubmission>, LedgerError> {
        let rows = sqlx::query("SELECT tx, raw, offered_ms FROM submissions ORDER BY tx")
            .fetch_all(&mut *self.connection)
            .await?;
        let mut submissions = Vec::with_capacity(rows.len());
        for found in &rows {
            let prepared = version(found)?;
            let replacements = self.replacements_of(prepared.tx).await?;
            let winners = self.winners_in(prepared.tx).await?;
            let offered_ms = row::counter(found, "offered_ms")?;
            submissions.push(LiveSubmission { prepared, replacements, offered_ms, winners });
        }
        Ok(submissions)
    }

    async fn replacements_of(&mut self, tx: B256) -> Result<Vec<PreparedRedemption>, LedgerError> {
        let rows = sqlx::query("SELECT tx, raw FROM replacements WHERE submission = ? ORDER BY version")
            .bind(tx.as_slice())
            .fetch_all(&mut *self.connection)
            .await?;
        rows.iter().map(version).collect()
    }

    async fn winners_in(&mut self, tx: B256) -> Result<Vec<Winner>, LedgerError> {
        let rows = sqlx::query("SELECT * FROM winners WHERE tx = ? AND state = ? ORDER BY position")
            .bind(tx.as_slice())
            .bind(SUBMITTED)
            .fetch_all(&mut *self.connection)
            .await?;
        winners(&rows)
    }

    pub(super) async fn conclude(
        &mut self,
        tx: B256,
        mined: B256,
        fates: Vec<(i64, Fate)>,
    ) -> Result<(), LedgerError> {
        for (id, fate) in fates {
            self.apply(tx, mined, id, fate).await?;
        }
        sqlx::query("DELETE FROM submissions WHERE tx = ?")
            .bind(tx.as_slice())
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    async fn apply(&mut self, tx: B256, mined: B256, id: i64, fate: Fate) -> Result<(), LedgerError> {
        let (state, reason, failed, keeps_tx) = match fate {
            Fate::Paid => (PAID, 0, false, true),
            Fate::Retry { failed } => (PENDING, 0, failed, false),
            Fate::Dead(reason) => (DEAD, row::dead_number(reason), true, false),
        };
        sqlx::query(
            "UPDATE winners SET state = ?, reason = ?, attempts = attempts + ?, tx = ?
             WHERE id = ? AND tx = ? AND state = ?",
        )
        .bind(state)
        .bind(reason)
        .bind(i64::from(failed))
        .bind(keeps_tx.then_some(mined.as_slice()))
        .bind(id)
        .bind(tx.as_slice())
        .bind(SUBMITTED)
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    pub(super) async fn note_failure(&mut self, winners: Vec<i64>) -> Result<(), LedgerError> {
        for id in winners {
            sqlx::query("UPDATE winners SET attempts = attempts + 1 WHERE id = ? AND state = ?")
                .bind(id)
                .bind(PENDING)
                .execute(&mut *self.connection)
                .await?;
        }
        Ok(())
    }

    pub(super) async fn bury(&mut self, winners: Vec<(i64, DeadReason)>) -> Result<(), LedgerError> {
        for (id, reason) in winners {
            sqlx::query("UPDATE winners SET state = ?, reason = ? WHERE id = ? AND state = ?")
                .bind(DEAD)
                .bind(row::dead_number(reason))
                .bind(id)
                .bind(PENDING)
                .execute(&mut *self.connection)
                .await?;
        }
        Ok(())
    }
}
