//! Processes that share the books, and what they leave behind when they die.
//!
//! An instance is a number that an opening of the ledger gets, once. A file has one at a time. On a server an instance
//! lives as long as the connection that writes for it, which holds a lock named after it; one whose connection broke is
//! back under its number with the next.

use std::collections::BTreeSet;

use alloy_primitives::B256;

use super::books::Books;
use super::conn::{Conn, values};
use crate::ledger::LedgerError;
use crate::ledger::journal::Entry;
use crate::units::Wei;

/// Instances whose lock somebody holds; 1718775148 is [`crate::ledger::postgres::LOCKS`].
const LIVING: &str = "SELECT objid::bigint AS id FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND objsubid = 2 AND classid = 1718775148
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

impl Books<'_> {
    pub(super) async fn release_holds(&mut self) -> Result<(), LedgerError> {
        self.flush().await?;
        for dead in self.dead().await? {
            self.release(dead).await?;
            self.retire(dead).await?;
            self.conn.execute("DELETE FROM instances WHERE id = $1", values![dead]).await?;
        }
        Ok(())
    }

    pub(super) async fn retire_sessions(&mut self) -> Result<(), LedgerError> {
        self.flush().await?;
        for dead in self.dead().await? {
            self.retire(dead).await?;
        }
        Ok(())
    }

    /// Instances that died and whose holds nobody released yet.
    async fn dead(&mut self) -> Result<Vec<u64>, LedgerError> {
        let mut living = BTreeSet::from([self.instance]);
        if matches!(self.conn, Conn::Postgres(_)) {
            for row in self.conn.rows(LIVING, values![]).await? {
                living.insert(row.counter("id")?);
            }
        }
        let known = self.conn.rows("SELECT id FROM instances ORDER BY id", values![]).await?;
        let known = known.iter().map(|row| row.counter("id")).collect::<Result<Vec<_>, _>>()?;
        Ok(known.into_iter().filter(|id| !living.contains(id)).collect())
    }

    async fn release(&mut self, dead: u64) -> Result<(), LedgerError> {
        let holds = self.conn.rows("SELECT * FROM holds WHERE instance = $1", values![dead]).await?;
        for hold in &holds {
            self.give_back(hold.hash("session")?, dead, hold.wei("amount")?).await?;
        }
        self.flush().await?;
        self.conn.execute("DELETE FROM holds WHERE instance = $1", values![dead]).await?;
        Ok(())
    }

    async fn give_back(&mut self, session: B256, instance: u64, amount: Wei) -> Result<(), LedgerError> {
        if amount.is_zero() {
            return Ok(());
        }
        let mut row = self.open_row(session).await?;
        row.state.credit = row.state.credit.saturating_add(amount);
        self.sessions.set(session, row);
        self.note(Entry::Released { session, instance, amount });
        Ok(())
    }

    /// Whoever remembered these sessions is dead: they must not hold the lanes of the living.
    async fn retire(&mut self, dead: u64) -> Result<(), LedgerError> {
        self.conn.execute("UPDATE sessions SET used_ms = 0 WHERE instance = $1", values![dead]).await?;
        Ok(())
    }
}
