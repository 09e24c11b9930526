//! The schema, one step per version, and how a file is opened.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Row, SqliteConnection};

use crate::ledger::LedgerError;

/// Only the node's user may read the ledger: it holds the secrets of unredeemed tickets.
const OWNER_ONLY: u32 = 0o600;

/// Step `n` brings a file from version `n` to `n + 1`. Steps are never changed once released.
const MIGRATIONS: &[&str] =
    &[include_str!("001_init.sql"), include_str!("002_retiring.sql"), include_str!("003_replacements.sql")];

/// Opens the file for this process alone and migrates it. The lock lives as long as the returned
/// file and is released by the system when the process dies, however it dies.
pub(super) async fn open(path: &Path) -> Result<(SqliteConnection, File), LedgerError> {
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
    Ok((connection, lock))
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

async fn migrate(connection: &mut SqliteConnection) -> Result<(), LedgerError> {
    let row = sqlx::query("PRAGMA user_version").fetch_one(&mut *connection).await?;
    let version = usize::try_from(row.get::<i64, _>(0)).unwrap_or(usize::MAX);
    if version > MIGRATIONS.len() {
        let known = MIGRATIONS.len();
        return Err(LedgerError::Store(format!(
            "schema version {version} is newer than {known}; update this program"
        )));
    }
    for step in &MIGRATIONS[version..] {
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::raw_sql(*step).execute(&mut *transaction).await?;
        transaction.commit().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_older_version_is_brought_up_to_date_with_its_rows() {
        let dir = tempfile::tempdir().unwrap();
        for version in 1..MIGRATIONS.len() {
            let path = dir.path().join(format!("{version}.db"));
            let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
            let mut old = options.connect().await.unwrap();
            for step in &MIGRATIONS[..version] {
                sqlx::raw_sql(*step).execute(&mut old).await.unwrap();
            }
            let lane = "INSERT INTO lanes (sender, recipient, lane, serial, highest, floor, seen)
                        VALUES (x'01', x'02', 3, 4, 5, 6, x'07')";
            sqlx::raw_sql(lane).execute(&mut old).await.unwrap();
            old.close().await.unwrap();

            let (mut new, _lock) = open(&path).await.unwrap();
            let row = sqlx::query("SELECT * FROM lanes").fetch_one(&mut new).await.unwrap();
            assert_eq!((row.get::<i64, _>("serial"), row.get::<Option<i64>, _>("retiring_ms")), (4, None));
            let now: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut new).await.unwrap();
            assert_eq!(usize::try_from(now), Ok(MIGRATIONS.len()));
        }
    }
}
