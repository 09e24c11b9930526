//! Winners and their transactions within one transaction of the books.

use alloy_primitives::{Address, B256};

use super::books::Books;
use super::conn::{Row, values};
use super::row;
use crate::ledger::journal::Entry;
use crate::ledger::{
    DeadReason, Fate, LaneId, LaneState, LedgerError, LiveSubmission, Retirement, Submission, Winner,
    WinnerState,
};
use crate::port::{Clock, PreparedRedemption, SystemClock};

/// In which term a process redeems. `None` where there is no other that could.
pub(super) type Term = Option<u64>;

fn version(found: &Row) -> Result<PreparedRedemption, LedgerError> {
    Ok(PreparedRedemption { tx: found.hash("tx")?, raw: found.blob("raw")?.to_vec() })
}

fn winners(rows: &[Row]) -> Result<Vec<Winner>, LedgerError> {
    rows.iter().map(row::winner).collect()
}

/// What a step of redemption needs to know of a winner.
struct Stand {
    lane: LaneId,
    nonce: u64,
    state: WinnerState,
    attempts: u64,
}

impl Books<'_> {
    pub(super) async fn pending_winners(
        &mut self,
        after: Option<LaneId>,
        limit: u32,
    ) -> Result<Vec<Winner>, LedgerError> {
        self.flush().await?;
        let limit = u64::from(limit);
        let rows = match after {
            None => {
                let sql =
                    "SELECT * FROM winners WHERE state = 0 ORDER BY sender, recipient, lane, nonce LIMIT $1";
                self.conn.rows(sql, values![limit]).await?
            }
            Some(lane) => {
                let sql = "SELECT * FROM winners WHERE state = 0 AND (sender, recipient, lane) > ($2, $3, $4)
                           ORDER BY sender, recipient, lane, nonce LIMIT $1";
                self.conn.rows(sql, values![limit, lane.sender, lane.recipient, lane.lane]).await?
            }
        };
        winners(&rows)
    }

    pub(super) async fn winners_of(
        &mut self,
        sender: Address,
        limit: u32,
    ) -> Result<Vec<Winner>, LedgerError> {
        self.flush().await?;
        let sql = "SELECT * FROM winners WHERE sender = $1 ORDER BY recipient, lane, nonce LIMIT $2";
        winners(&self.conn.rows(sql, values![sender, u64::from(limit)]).await?)
    }

    /// Fails unless this is still the term: whoever was replaced must not change what its successor has read.
    async fn in_term(&mut self, term: Term) -> Result<(), LedgerError> {
        let Some(term) = term else { return Ok(()) };
        let now = self.conn.row("SELECT term FROM leadership", values![]).await?;
        let now = now.ok_or(LedgerError::Corrupt("leadership"))?.counter("term")?;
        // Terms are counted from one: zero is nobody's.
        if term > 0 && now == term { Ok(()) } else { Err(LedgerError::NotLeader) }
    }

    pub(super) async fn reveal(
        &mut self,
        term: Term,
        lanes: &[Retirement],
        now_ms: u64,
    ) -> Result<Vec<Winner>, LedgerError> {
        self.in_term(term).await?;
        self.flush().await?;
        let mut revealed = Vec::new();
        for Retirement { lane, grace_ms } in lanes {
            let pending = self.pending_of(*lane).await?;
            let before = self.load_lane(*lane).await?;
            let mut state = before;
            if state.retiring_ms.is_none() && pending.iter().any(|winner| winner.serial >= state.serial) {
                state.rotate(now_ms);
            }
            if state.retiring_ms.is_some_and(|since| now_ms.saturating_sub(since) >= *grace_ms) {
                state.retire();
            }
            if state != before {
                let LaneState { serial, floor, .. } = state;
                self.lanes.set(*lane, state);
                self.note(Entry::Turned { lane: *lane, serial, floor });
            }
            revealed.extend(pending.into_iter().filter(|winner| !state.takes(winner.serial)));
        }
        Ok(revealed)
    }

    async fn pending_of(&mut self, lane: LaneId) -> Result<Vec<Winner>, LedgerError> {
        let sql = "SELECT * FROM winners
                   WHERE state = 0 AND sender = $1 AND recipient = $2 AND lane = $3 ORDER BY nonce";
        winners(&self.conn.rows(sql, values![lane.sender, lane.recipient, lane.lane]).await?)
    }

    pub(super) async fn submit(&mut self, term: Term, submission: &Submission) -> Result<(), LedgerError> {
        self.in_term(term).await?;
        self.flush().await?;
        let tx = submission.prepared.tx;
        let mut tied = Vec::with_capacity(submission.winners.len());
        for id in &submission.winners {
            let stand = self.stand(*id).await?.filter(|stand| stand.state == WinnerState::Pending);
            tied.push((*id, stand.ok_or(LedgerError::NotPending(*id))?));
        }
        let sql = "INSERT INTO submissions (tx, raw, offered_ms) VALUES ($1, $2, $3)";
        self.conn.execute(sql, values![tx, &submission.prepared.raw[..], submission.offered_ms]).await?;
        for (position, (id, stand)) in (0_i64..).zip(tied) {
            self.conn
                .execute("UPDATE winners SET position = $2 WHERE id = $1", values![id, position])
                .await?;
            self.change(id, &stand, WinnerState::Submitted(tx), 0).await?;
        }
        Ok(())
    }

    async fn stand(&mut self, id: i64) -> Result<Option<Stand>, LedgerError> {
        let sql = "SELECT sender, recipient, lane, nonce, state, reason, tx, attempts FROM winners
                   WHERE id = $1";
        let found = self.conn.row(sql, values![id]).await?;
        let stand = |found: Row| {
            Ok(Stand {
                lane: row::lane_id(&found)?,
                nonce: found.counter("nonce")?,
                state: row::winner_state(&found)?,
                attempts: found.counter("attempts")?,
            })
        };
        found.map(stand).transpose()
    }

    async fn change(
        &mut self,
        id: i64,
        before: &Stand,
        now: WinnerState,
        failures: u64,
    ) -> Result<(), LedgerError> {
        let attempts = before.attempts.saturating_add(failures);
        let (state, reason, tx) = row::state_columns(now);
        let settled_ms = now.is_settled().then(|| SystemClock.now_ms());
        let sql = "UPDATE winners SET state = $2, reason = $3, tx = $4, attempts = $5, settled_ms = $6
                   WHERE id = $1";
        self.conn.execute(sql, values![id, state, reason, tx, attempts, settled_ms]).await?;
        self.note(Entry::Fate { lane: before.lane, nonce: before.nonce, state: now, attempts });
        Ok(())
    }

    pub(super) async fn replace(
        &mut self,
        term: Term,
        tx: B256,
        replacement: &PreparedRedemption,
        offered_ms: u64,
    ) -> Result<(), LedgerError> {
        self.in_term(term).await?;
        let sql = "UPDATE submissions SET offered_ms = $2 WHERE tx = $1";
        if self.conn.execute(sql, values![tx, offered_ms]).await? == 0 {
            return Err(LedgerError::NoSubmission(tx));
        }
        let sql = "INSERT INTO replacements (submission, version, tx, raw)
                   SELECT $1, COUNT(*), $2, $3 FROM replacements WHERE submission = $1";
        self.conn.execute(sql, values![tx, replacement.tx, &replacement.raw[..]]).await?;
        Ok(())
    }

    pub(super) async fn submissions(&mut self) -> Result<Vec<LiveSubmission>, LedgerError> {
        let sql = "SELECT tx, raw, offered_ms FROM submissions ORDER BY tx";
        let rows = self.conn.rows(sql, values![]).await?;
        let mut submissions = Vec::with_capacity(rows.len());
        for found in &rows {
            let prepared = version(found)?;
            let replacements = self.replacements_of(prepared.tx).await?;
            let winners = self.winners_in(prepared.tx).await?;
            let offered_ms = found.counter("offered_ms")?;
            submissions.push(LiveSubmission { prepared, replacements, offered_ms, winners });
        }
        Ok(submissions)
    }

    async fn replacements_of(&mut self, tx: B256) -> Result<Vec<PreparedRedemption>, LedgerError> {
        let sql = "SELECT tx, raw FROM replacements WHERE submission = $1 ORDER BY version";
        self.conn.rows(sql, values![tx]).await?.iter().map(version).collect()
    }

    async fn winners_in(&mut self, tx: B256) -> Result<Vec<Winner>, LedgerError> {
        let sql = "SELECT * FROM winners WHERE tx = $1 AND state = 1 ORDER BY position";
        winners(&self.conn.rows(sql, values![tx]).await?)
    }

    pub(super) async fn conclude(
        &mut self,
        term: Term,
        tx: B256,
        mined: B256,
        fates: &[(i64, Fate)],
    ) -> Result<(), LedgerError> {
        self.in_term(term).await?;
        for (id, fate) in fates {
            let stand = self.stand(*id).await?.filter(|stand| stand.state == WinnerState::Submitted(tx));
            let Some(stand) = stand else { continue };
            let (state, failures) = match fate {
                Fate::Paid => (WinnerState::Paid(mined), 0),
                Fate::Retry { failed } => (WinnerState::Pending, u64::from(*failed)),
                Fate::Dead(reason) => (WinnerState::Dead(*reason), 1),
            };
            self.change(*id, &stand, state, failures).await?;
        }
        self.conn.execute("DELETE FROM submissions WHERE tx = $1", values![tx]).await?;
        Ok(())
    }

    pub(super) async fn note_failure(&mut self, term: Term, winners: &[i64]) -> Result<(), LedgerError> {
        self.in_term(term).await?;
        self.flush().await?;
        for id in winners {
            let stand = self.stand(*id).await?.filter(|stand| stand.state == WinnerState::Pending);
            if let Some(stand) = stand {
                self.change(*id, &stand, WinnerState::Pending, 1).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn bury(
        &mut self,
        term: Term,
        winners: &[(i64, DeadReason)],
    ) -> Result<(), LedgerError> {
        self.in_term(term).await?;
        self.flush().await?;
        for (id, reason) in winners {
            let stand = self.stand(*id).await?.filter(|stand| stand.state == WinnerState::Pending);
            if let Some(stand) = stand {
                self.change(*id, &stand, WinnerState::Dead(*reason), 0).await?;
            }
        }
        Ok(())
    }
}
