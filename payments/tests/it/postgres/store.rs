//! The shared store, as the tests open it: one database for each name in a folder. `../store.rs` is its twin.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use alloy_primitives::keccak256;
use probabilistic_ticket::ledger::Inspector;
use probabilistic_ticket::{Ledger, LedgerError, PostgresAddress};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tempfile::TempDir;

pub(crate) use probabilistic_ticket::PostgresLedger as Store;

use super::server::{self, Server};

/// In a folder that has taken over the databases of an earlier one: a link to where that was.
const NAMESAKE: &str = "namesake";

/// The folder after which the databases are called.
fn namesake(dir: &Path) -> PathBuf {
    std::fs::read_link(dir.join(NAMESAKE)).unwrap_or_else(|_| dir.to_owned())
}

fn database(dir: &Path, name: &str) -> String {
    let hash = keccak256(namesake(dir).join(name).as_os_str().as_encoded_bytes());
    format!("t{}", &hash.to_string()[2..22])
}

/// How often a server that was killed is asked whether it is up again, and the pause between.
const TRIES: u32 = 600;
const PAUSE: Duration = Duration::from_millis(50);

/// A connection beside the ledger's. A server that was killed comes back.
pub(crate) async fn connect(server: &Path, database: &str) -> PgConnection {
    for _ in 0..TRIES {
        if let Ok(connection) = PgConnection::connect(&server::address(server, database)).await {
            return connection;
        }
        tokio::time::sleep(PAUSE).await;
    }
    panic!("the server does not come back")
}

/// Makes the database unless it is there.
pub(crate) async fn create(server: &Path, database: &str) {
    let mut admin = connect(server, "postgres").await;
    match admin.execute(AssertSqlSafe(format!("CREATE DATABASE {database}"))).await {
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42P04") => {}
        made => drop(made.unwrap()),
    }
}

pub(crate) fn address_on(server: &Path, database: &str) -> PostgresAddress {
    PostgresAddress::parse(&server::address(server, database), None).unwrap()
}

/// In a folder whose ledgers are not on the shared server: a link to the other one's folder.
const OTHER_SERVER: &str = "server";

pub(crate) const HAS_SERVER: bool = true;

/// A server for this folder alone, which may be killed.
pub(crate) fn own_server(dir: &Path) -> Option<Server> {
    let server = Server::start();
    put_on(server.folder(), dir);
    Some(server)
}

fn put_on(server: &Path, dir: &Path) {
    std::os::unix::fs::symlink(server, dir.join(OTHER_SERVER)).unwrap();
}

/// Folders whose databases were emptied: to make new ones takes longer than most of what is done with them.
static EMPTIED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A folder for ledgers that outlive no more than their process.
pub(crate) fn folder_without_syncs() -> TempDir {
    let dir = TempDir::new().unwrap();
    put_on(&server::without_syncs(), dir.path());
    if let Some(earlier) = EMPTIED.lock().unwrap().pop() {
        std::os::unix::fs::symlink(earlier, dir.path().join(NAMESAKE)).unwrap();
    }
    dir
}

/// Kills the folder's own server, which is started again.
pub(crate) fn kill_server(dir: &Path) {
    server::signal(&dir.join(OTHER_SERVER), "KILL");
}

fn server_of(dir: &Path) -> PathBuf {
    std::fs::read_link(dir.join(OTHER_SERVER)).unwrap_or_else(|_| server::shared())
}

/// Where the ledger of this name in this folder is; its database is made.
pub(crate) async fn address(dir: &Path, name: &str) -> PostgresAddress {
    let (server, database) = (server_of(dir), database(dir, name));
    create(&server, &database).await;
    address_on(&server, &database)
}

pub(crate) async fn try_open(dir: &Path, name: &str) -> Result<Store, LedgerError> {
    let ledger = Store::open(&address(dir, name).await).await?;
    // Steps of redemption are for the one that leads, which is the only one in most tests.
    ledger.lead().await?;
    Ok(ledger)
}

pub(crate) async fn open(dir: &Path, name: &str) -> Store {
    try_open(dir, name).await.unwrap()
}

/// Leaves to the next folder without syncs the databases of this one, of which the only ledger is closed.
pub(crate) async fn remove(dir: &Path, name: &str) {
    // All rows but those that migrations write.
    let empty = "DO $$ DECLARE named TEXT; BEGIN
        FOR named IN SELECT tablename FROM pg_tables
            WHERE schemaname = 'public' AND tablename NOT IN ('ledger_schema', 'leadership')
        LOOP EXECUTE format('DELETE FROM %I', named); END LOOP; END $$";
    tamper(dir, name, empty).await;
    EMPTIED.lock().unwrap().push(namesake(dir));
}

pub(crate) async fn inspect(dir: &Path, name: &str) -> Result<Inspector, LedgerError> {
    Store::inspect(&address(dir, name).await).await
}

/// A connection beside the ledger of this name in this folder.
pub(crate) async fn connection(dir: &Path, name: &str) -> PgConnection {
    connect(&server_of(dir), &database(dir, name)).await
}

/// Runs a statement behind the ledger's back; how many rows it touched.
pub(crate) async fn tamper(dir: &Path, name: &str, sql: &str) -> u64 {
    let mut connection = connection(dir, name).await;
    connection.execute(AssertSqlSafe(sql)).await.unwrap().rows_affected()
}

/// What a process that the tests start needs to know to open the same ledgers.
pub(crate) fn child_environment() -> Vec<(&'static str, String)> {
    vec![(server::FOLDER, server::shared().to_str().unwrap().to_owned())]
}
