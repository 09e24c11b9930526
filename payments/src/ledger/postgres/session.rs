//! A connection that is known to be an instance's.

use std::time::Duration;

use sqlx::{Connection, PgConnection};

use super::{LOCKS, PostgresAddress};
use crate::ledger::LedgerError;

/// How long a connection that broke may keep our number after it was told to go.
const HANDOVER: Duration = Duration::from_secs(2);
const HANDOVER_STEP: Duration = Duration::from_millis(20);

/// Ends a connection. Its locks are free when this returns, not only when the server gets to it.
pub(super) async fn end(mut connection: PgConnection) -> Result<(), LedgerError> {
    sqlx::query("SELECT pg_advisory_unlock_all()").execute(&mut connection).await?;
    Ok(connection.close().await?)
}

/// A connection that holds the lock of its instance.
pub(super) struct Session {
    pub(super) connection: PgConnection,
    /// This process, in the ledger.
    pub(super) instance: i64,
}

impl Session {
    /// Connects as a new instance.
    pub(super) async fn begin(address: &PostgresAddress) -> Result<Self, LedgerError> {
        let mut connection = address.connect().await?;
        let instance: i64 = sqlx::query_scalar("INSERT INTO instances DEFAULT VALUES RETURNING id")
            .fetch_one(&mut connection)
            .await?;
        let mut session = Self { connection, instance };
        session.lock().await?;
        session.enter().await?;
        Ok(session)
    }

    /// Connects again as the instance that it was. Others may have taken it for dead meanwhile.
    pub(super) async fn resume(address: &PostgresAddress, instance: i64) -> Result<Self, LedgerError> {
        let mut session = Self { connection: address.connect().await?, instance };
        session.lock().await?;
        session.enter().await?;
        Ok(session)
    }

    /// Under the lock, for good: a row without one may have been taken for a dead process's.
    async fn enter(&mut self) -> Result<(), LedgerError> {
        sqlx::query("INSERT INTO instances (id) VALUES ($1) ON CONFLICT DO NOTHING")
            .bind(self.instance)
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }

    /// Takes the instance's lock. The server may not have noticed yet that the connection before is gone.
    async fn lock(&mut self) -> Result<(), LedgerError> {
        let deadline = tokio::time::Instant::now() + HANDOVER;
        while !self.try_lock().await? {
            self.end_predecessor().await?;
            if tokio::time::Instant::now() >= deadline {
                return Err(LedgerError::Unreachable("our last connection does not end".to_owned()));
            }
            tokio::time::sleep(HANDOVER_STEP).await;
        }
        Ok(())
    }

    /// A lock's number has 32 bits; instances are counted, so that they never reach it.
    async fn try_lock(&mut self) -> Result<bool, LedgerError> {
        Ok(sqlx::query_scalar("SELECT pg_try_advisory_lock($1, $2::int)")
            .bind(LOCKS)
            .bind(self.instance)
            .fetch_one(&mut self.connection)
            .await?)
    }

    async fn end_predecessor(&mut self) -> Result<(), LedgerError> {
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_locks
                   WHERE locktype = 'advisory' AND granted AND objsubid = 2
                     AND classid = $1::int::oid AND objid = $2::int::oid
                     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        sqlx::query(sql).bind(LOCKS).bind(self.instance).execute(&mut self.connection).await?;
        Ok(())
    }
}
