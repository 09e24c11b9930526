//! The schema, one step per version, and how a file is opened.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Row, SqliteConnection};

use crate::ledger::LedgerError;
use crate::ledger::store::{Conn, open_with_rows};

/// Only the node's user may read the ledger: it holds the secrets of unredeemed tickets.
const OWNER_ONLY: u32 = 0o600;

/// Step `n` brings a file from version `n` to `n + 1`. Steps are never changed once released.
const MIGRATIONS: &[&str] = &[
    include_str!("001_init.sql"),
    include_str!("002_retiring.sql"),
    include_str!("003_replacements.sql"),
    include_str!("004_shared_books.sql"),
    include_str!("005_works.sql"),
    include_str!("006_earned.sql"),
];

/// The version from which on there is a log: what a file has then becomes openings.
const LOGGED: usize = 4;

/// A file that is this process's.
pub(super) struct OpenFile {
    pub(super) connection: SqliteConnection,
    /// Lives as long as the process, and is released by the system however it dies.
    pub(super) lock: File,
    /// This opening.
    pub(super) instance: u64,
    /// How long the log is.
    pub(super) log_bytes: usize,
}

/// Opens the file for this process alone and migrates it.
pub(super) async fn open(path: &Path) -> Result<OpenFile, LedgerError> {
    let lock = lock(path)?;
    owner_only(path)?;
    let mut connection = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .disable_statement_logging()
        .connect()
        .await?;
    migrate(&mut connection).await?;
    let instance = sqlx::query("INSERT INTO instances DEFAULT VALUES").execute(&mut connection).await?;
    let instance = instance.last_insert_rowid().cast_unsigned();
    let sum = "SELECT COALESCE(SUM(LENGTH(entries)), 0) FROM journal";
    let log_bytes: i64 = sqlx::query_scalar(sum).fetch_one(&mut connection).await?;
    let log_bytes = usize::try_from(log_bytes).unwrap_or_default();
    Ok(OpenFile { connection, lock, instance, log_bytes })
}

/// Opens the file to read it, within one transaction, whoever writes to it.
pub(super) async fn inspect(path: &Path) -> Result<SqliteConnection, LedgerError> {
    let options = SqliteConnectOptions::new().filename(path).read_only(true).disable_statement_logging();
    let mut connection = options.connect().await.map_err(|error| read_error(path, &error))?;
    let (found, known) = (version(&mut connection).await?, MIGRATIONS.len());
    if found < known {
        return Err(LedgerError::TooOld { found: number(found), known: number(known) });
    }
    check_known(found)?;
    sqlx::query("BEGIN").execute(&mut connection).await?;
    Ok(connection)
}

fn read_error(path: &Path, error: &sqlx::Error) -> LedgerError {
    LedgerError::Store(format!("{} cannot be read: {error}", path.display()))
}

fn lock(path: &Path) -> Result<File, LedgerError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = owner_only(Path::new(&name))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LedgerError::Locked(path.display().to_string())),
        Err(TryLockError::Error(error)) => Err(store(path, &error)),
    }
}

/// Makes the file if need be. SQLite gives its journal files the mode of the database.
fn owner_only(path: &Path) -> Result<File, LedgerError> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(OWNER_ONLY)
        .open(path)
        .map_err(|error| store(path, &error))?;
    file.set_permissions(std::fs::Permissions::from_mode(OWNER_ONLY)).map_err(|error| store(path, &error))?;
    Ok(file)
}

fn store(path: &Path, error: &std::io::Error) -> LedgerError {
    LedgerError::Store(format!("{}: {error}", path.display()))
}

async fn version(connection: &mut SqliteConnection) -> Result<usize, LedgerError> {
    let row = sqlx::query("PRAGMA user_version").fetch_one(connection).await?;
    Ok(usize::try_from(row.get::<i64, _>(0)).unwrap_or(usize::MAX))
}

fn number(version: usize) -> u32 {
    u32::try_from(version).unwrap_or(u32::MAX)
}

fn check_known(found: usize) -> Result<(), LedgerError> {
    let known = MIGRATIONS.len();
    if found <= known {
        return Ok(());
    }
    Err(LedgerError::TooNew { found: number(found), known: number(known) })
}

async fn migrate(connection: &mut SqliteConnection) -> Result<(), LedgerError> {
    let found = version(connection).await?;
    check_known(found)?;
    for (step, becomes) in MIGRATIONS.iter().zip(1..).skip(found) {
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::raw_sql(*step).execute(&mut *transaction).await?;
        if becomes == LOGGED {
            open_with_rows(&mut Conn::Sqlite(&mut transaction)).await?;
        }
        transaction.commit().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_version_without_a_log_is_brought_up_to_date_with_its_rows() {
        let dir = tempfile::tempdir().unwrap();
        for version in 1..LOGGED {
            let path = dir.path().join(format!("{version}.db"));
            let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
            let mut old = options.connect().await.unwrap();
            for step in &MIGRATIONS[..version] {
                sqlx::raw_sql(*step).execute(&mut old).await.unwrap();
            }
            let rows = "INSERT INTO lanes (sender, recipient, lane, serial, highest, floor, seen)
                        VALUES (zeroblob(20), zeroblob(20), 3, 4, 5, 6, zeroblob(128));
                        INSERT INTO sessions (id, sender, recipient, lane, face_value, win_prob, credit,
                                              held, tickets, used_ms)
                        VALUES (zeroblob(32), zeroblob(20), zeroblob(20), 3, zeroblob(32), zeroblob(32),
                                x'0000000000000000000000000000000000000000000000000000000000000005', x'0000000000000000000000000000000000000000000000000000000000000007', 9, 8)";
            sqlx::raw_sql(rows).execute(&mut old).await.unwrap();
            old.close().await.unwrap();

            let mut new = open(&path).await.unwrap().connection;
            let row = sqlx::query("SELECT * FROM lanes").fetch_one(&mut new).await.unwrap();
            assert_eq!((row.get::<i64, _>("serial"), row.get::<Option<i64>, _>("retiring_ms")), (4, None));
            let held: Vec<u8> =
                sqlx::query_scalar("SELECT amount FROM holds").fetch_one(&mut new).await.unwrap();
            assert_eq!(held.last(), Some(&7), "held by an instance that is dead");
            let audit = crate::SqliteLedger::inspect(&path).await.unwrap().audit().await.unwrap();
            assert!(audit.is_clean(), "{audit:#?}");
            assert_eq!((audit.entries, audit.openings), (0, 3), "what there was became openings");
            let now: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut new).await.unwrap();
            assert_eq!(usize::try_from(now), Ok(MIGRATIONS.len()));
        }
    }

    #[tokio::test]
    async fn a_version_with_a_log_keeps_its_openings_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.db");
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let mut old = options.connect().await.unwrap();
        for step in &MIGRATIONS[..LOGGED] {
            sqlx::raw_sql(*step).execute(&mut old).await.unwrap();
        }
        let rows = "INSERT INTO openings (account, balance) VALUES (x'01', x'02')";
        sqlx::raw_sql(rows).execute(&mut old).await.unwrap();
        old.close().await.unwrap();
        let mut new = open(&path).await.unwrap().connection;
        let openings: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM openings").fetch_one(&mut new).await.unwrap();
        let now: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut new).await.unwrap();
        assert_eq!((openings, usize::try_from(now)), (1, Ok(MIGRATIONS.len())));
    }
}
