//! One of all processes redeems: the one whose connection, of its own, holds the lock.
//!
//! Holding it is not enough: a connection may be gone without its owner knowing. So each that takes the lock counts up the
//! term, and a step of redemption is done only by the newest.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::PgConnection;
use tokio::sync::Mutex;

use super::session::end;
use super::{LOCKS, PostgresAddress, lock};
use crate::ledger::LedgerError;

/// How long the server may take to say that we still lead.
const PATIENCE: Duration = Duration::from_secs(2);

/// This process's candidacy.
#[derive(Debug)]
pub(super) struct Election {
    address: PostgresAddress,
    /// Zero as long as this process does not lead: terms are counted from one.
    term: AtomicU64,
    seat: Mutex<Option<Seat>>,
}

/// A connection, and the term it leads in; zero when another does.
#[derive(Debug)]
struct Seat {
    connection: PgConnection,
    term: u64,
}

impl Election {
    pub(super) fn new(address: PostgresAddress) -> Self {
        Self { address, term: AtomicU64::new(0), seat: Mutex::new(None) }
    }

    /// The term in which this process leads, as it last heard; zero when it does not.
    pub(super) fn term(&self) -> u64 {
        self.term.load(Ordering::SeqCst)
    }

    /// Whether this process leads, asked of the server.
    pub(super) async fn lead(&self) -> Result<bool, LedgerError> {
        let mut held = self.seat.lock().await;
        // Taken out while we ask: of a caller that gives up half way no connection stays in an unknown state.
        let asked = self.ask(held.take()).await;
        let term = asked.as_ref().map_or(0, |seat| seat.term);
        if self.term.swap(term, Ordering::SeqCst) != term {
            tracing::info!(leads = term > 0, term, "who redeems for the ledger has changed");
        }
        *held = Some(asked?);
        Ok(term > 0)
    }

    async fn ask(&self, seat: Option<Seat>) -> Result<Seat, LedgerError> {
        let mut seat = match seat {
            Some(seat) => seat,
            None => Seat { connection: self.address.connect().await?, term: 0 },
        };
        let asked = tokio::time::timeout(PATIENCE, ask(&mut seat.connection, seat.term)).await;
        let late = |_| Err(LedgerError::Unreachable("no answer on who redeems".to_owned()));
        seat.term = asked.unwrap_or_else(late)?;
        Ok(seat)
    }

    /// Lets another lead at once.
    pub(super) async fn resign(&self) {
        let seat = self.seat.lock().await.take();
        self.term.store(0, Ordering::SeqCst);
        if let Some(seat) = seat {
            // A server that does not answer notices by itself.
            let _ = tokio::time::timeout(PATIENCE, end(seat.connection)).await;
        }
    }
}

/// The term in which the owner of `connection` leads, zero when another does.
async fn ask(connection: &mut PgConnection, term: u64) -> Result<u64, LedgerError> {
    if term > 0 {
        // The lock is ours as long as the connection lives.
        sqlx::query("SELECT 1").execute(connection).await?;
        return Ok(term);
    }
    let ours: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1, $2)")
        .bind(LOCKS)
        .bind(lock::LEADER)
        .fetch_one(&mut *connection)
        .await?;
    if !ours {
        return Ok(0);
    }
    let term: i64 = sqlx::query_scalar("UPDATE leadership SET term = term + 1 RETURNING term")
        .fetch_one(connection)
        .await?;
    Ok(term.cast_unsigned())
}
