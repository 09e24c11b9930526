//! The embedded store, as the tests open it: one file for each name in a folder. `postgres/store.rs` is its twin.

use std::path::{Path, PathBuf};

use probabilistic_ticket::LedgerError;
use probabilistic_ticket::ledger::Inspector;
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};
use tempfile::TempDir;

pub(crate) use probabilistic_ticket::SqliteLedger as Store;

/// A folder for ledgers that outlive no more than their process, so that syncs may cost nothing: in memory if there is one.
pub(crate) fn folder_without_syncs() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}

fn path(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.db"))
}

pub(crate) async fn try_open(dir: &Path, name: &str) -> Result<Store, LedgerError> {
    Store::open(path(dir, name)).await
}

pub(crate) async fn open(dir: &Path, name: &str) -> Store {
    try_open(dir, name).await.unwrap()
}

/// A file goes with its folder.
pub(crate) async fn remove(_: &Path, _: &str) {}

pub(crate) async fn inspect(dir: &Path, name: &str) -> Result<Inspector, LedgerError> {
    Store::inspect(path(dir, name)).await
}

/// Runs a statement behind the ledger's back, which must be closed; how many rows it touched.
pub(crate) async fn tamper(dir: &Path, name: &str, sql: &str) -> u64 {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path(dir, name));
    let mut connection = options.connect().await.unwrap();
    connection.execute(AssertSqlSafe(sql)).await.unwrap().rows_affected()
}

/// What a process that the tests start needs to know to open the same ledgers.
pub(crate) fn child_environment() -> Vec<(&'static str, String)> {
    Vec::new()
}

/// A file needs no server.
pub(crate) const HAS_SERVER: bool = false;

pub(crate) fn own_server(_: &Path) -> Option<()> {
    None
}

pub(crate) fn kill_server(_: &Path) {}
