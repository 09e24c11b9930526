//! The schema, one step per version, and who may take it.

use sqlx::{Connection, PgConnection};

use super::{LOCKS, PostgresAddress, lock};
use crate::ledger::LedgerError;

/// Step `n` brings a database from version `n` to `n + 1`. Steps are never changed once released.
const MIGRATIONS: &[&str] =
    &[include_str!("001_init.sql"), include_str!("002_works.sql"), include_str!("003_earned.sql")];

fn known() -> u32 {
    u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX)
}

/// Brings the database up to date. Of several processes that start at once, one does it while the others wait.
pub(super) async fn migrate(address: &PostgresAddress) -> Result<(), LedgerError> {
    let mut connection = address.connect().await?;
    let mut transaction = connection.begin().await?;
    // Somebody else's migration may take longer than a payment may wait.
    sqlx::query("SET LOCAL lock_timeout = '60s'").execute(&mut *transaction).await?;
    sqlx::query("SET LOCAL statement_timeout = '60s'").execute(&mut *transaction).await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1, $2)")
        .bind(LOCKS)
        .bind(lock::SCHEMA)
        .execute(&mut *transaction)
        .await?;
    let found = version(&mut transaction).await?;
    if found > known() {
        return Err(LedgerError::TooNew { found, known: known() });
    }
    let steps = MIGRATIONS.iter().skip(found as usize);
    for step in steps {
        sqlx::raw_sql(*step).execute(&mut *transaction).await?;
    }
    if found < known() {
        write_version(&mut transaction).await?;
    }
    transaction.commit().await?;
    connection.close().await?;
    Ok(())
}

/// Connects to read, within one transaction that sees one moment.
pub(super) async fn inspect(address: &PostgresAddress) -> Result<PgConnection, LedgerError> {
    let mut connection = address.connect().await?;
    for sql in [
        // A long look at much is no harm: it locks nothing.
        "SET statement_timeout = 0",
        "SET idle_in_transaction_session_timeout = 0",
        "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",
    ] {
        sqlx::query(sql).execute(&mut connection).await?;
    }
    match version(&mut connection).await? {
        found if found < known() => Err(LedgerError::TooOld { found, known: known() }),
        found if found > known() => Err(LedgerError::TooNew { found, known: known() }),
        _ => Ok(connection),
    }
}

/// Zero for a database without a ledger.
async fn version(connection: &mut PgConnection) -> Result<u32, LedgerError> {
    let exists: bool = sqlx::query_scalar("SELECT to_regclass('ledger_schema') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await?;
    if !exists {
        return Ok(0);
    }
    let version: i64 = sqlx::query_scalar("SELECT version FROM ledger_schema").fetch_one(connection).await?;
    Ok(u32::try_from(version).unwrap_or(u32::MAX))
}

async fn write_version(connection: &mut PgConnection) -> Result<(), LedgerError> {
    let table = "CREATE TABLE IF NOT EXISTS ledger_schema (id BIGINT PRIMARY KEY CHECK (id = 1), version BIGINT NOT NULL)";
    sqlx::query(table).execute(&mut *connection).await?;
    sqlx::query(
        "INSERT INTO ledger_schema (id, version) VALUES (1, $1)
         ON CONFLICT (id) DO UPDATE SET version = excluded.version",
    )
    .bind(i64::from(known()))
    .execute(connection)
    .await?;
    Ok(())
}
