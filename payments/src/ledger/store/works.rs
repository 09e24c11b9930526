//! Sessions as several processes serve them: their terms, and which pieces of their work were vouched for.

use alloy_primitives::B256;

use super::books::Books;
use super::conn::{Row, values};
use crate::ledger::LedgerError;
use crate::sequence::SequenceWindow;

fn window(row: &Row) -> Result<SequenceWindow, LedgerError> {
    Ok(SequenceWindow::from_parts(row.counter("next")?, u128::from_be_bytes(row.bytes("spent")?)))
}

impl Books<'_> {
    pub(super) async fn keep_terms(&mut self, session: B256, terms: &[u8]) -> Result<(), LedgerError> {
        self.open_row(session).await?;
        let (next, spent) = SequenceWindow::default().parts();
        let sql = "INSERT INTO works (session, terms, next, spent) VALUES ($1, $2, $3, $4)
                   ON CONFLICT (session) DO UPDATE SET terms = excluded.terms";
        self.conn.execute(sql, values![session, terms, next, spent.to_be_bytes().to_vec()]).await?;
        Ok(())
    }

    pub(super) async fn terms(&mut self, session: B256) -> Result<Option<Vec<u8>>, LedgerError> {
        let found = self.conn.row("SELECT terms FROM works WHERE session = $1", values![session]).await?;
        found.map(|row| row.blob("terms").map(<[u8]>::to_vec)).transpose()
    }

    pub(super) async fn is_vouched(&mut self, session: B256, number: u64) -> Result<bool, LedgerError> {
        Ok(self.window(session).await?.is_spent(number))
    }

    /// The session's row is locked by whoever calls this, and so is its window.
    pub(super) async fn vouch(&mut self, session: B256, number: u64) -> Result<bool, LedgerError> {
        let mut window = self.window(session).await?;
        if window.is_spent(number) {
            return Ok(false);
        }
        window.spend(number);
        let (next, spent) = window.parts();
        let sql = "UPDATE works SET next = $2, spent = $3 WHERE session = $1";
        self.conn.execute(sql, values![session, next, spent.to_be_bytes().to_vec()]).await?;
        Ok(true)
    }

    async fn window(&mut self, session: B256) -> Result<SequenceWindow, LedgerError> {
        let sql = "SELECT next, spent FROM works WHERE session = $1";
        let found = self.conn.row(sql, values![session]).await?;
        found.as_ref().map(window).transpose()?.ok_or(LedgerError::UnknownSession(session))
    }
}
