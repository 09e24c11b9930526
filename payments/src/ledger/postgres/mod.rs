//! The shared store: a PostgreSQL database of its own, which several processes use at once.
//!
//! Each process has one connection that writes, one task that owns it, and group commit as in the embedded store. What a
//! group touches is locked before it is read. A connection that breaks is made anew, and the group done again if the
//! server says that it was not committed: a restart of the server costs time, and typed errors when it takes long.
//!
//! Connect to the server itself, or through a pooler that keeps a connection for a session: locks belong to it.

mod address;
mod election;
mod schema;
mod session;
mod writer;

use std::sync::Arc;

use super::LedgerError;
use super::store::{Inspector, Queue, Queued, Reader};
use election::Election;

pub use address::PostgresAddress;

/// The first number of every lock that this program takes on a server; a ledger has a database of its own.
pub(crate) const LOCKS: i32 = 0x6672_6d6c;

/// The second number: of all rows together, of the schema, of the process that redeems. Instances have theirs, from 1 on.
mod lock {
    pub(super) const ROWS: i32 = 0;
    pub(super) const SCHEMA: i32 = -1;
    pub(super) const LEADER: i32 = -2;
}

/// A ledger in a PostgreSQL database. Cheap to clone; clones share the connection.
#[derive(Clone, Debug)]
pub struct PostgresLedger {
    queue: Queue,
    election: Arc<Election>,
}

impl PostgresLedger {
    /// Connects and brings the schema up to date; several processes may do so at once. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`LedgerError::Unreachable`] when the server does not answer, [`LedgerError::Denied`] when it does not let this
    /// user in, [`LedgerError::TooNew`] when a newer program uses the database.
    pub async fn open(address: &PostgresAddress) -> Result<Self, LedgerError> {
        schema::migrate(address).await?;
        let writer = writer::Writer::connect(address.clone()).await?;
        let (queue, waiting) = Queue::new();
        tokio::spawn(writer.run(waiting));
        Ok(Self { queue, election: Arc::new(Election::new(address.clone())) })
    }

    /// Opens a database to be looked at, also while nodes write to it, and changes nothing.
    ///
    /// # Errors
    /// As [`PostgresLedger::open`], and [`LedgerError::TooOld`] when the database has an older schema.
    pub async fn inspect(address: &PostgresAddress) -> Result<Inspector, LedgerError> {
        Ok(Inspector::new(Reader::Postgres(schema::inspect(address).await?)))
    }

    /// Adds the oldest rows of the log to its openings, and returns how many bytes of it that was: zero when none is left.
    /// Happens by itself once the log is longer than some 64 MiB.
    pub async fn fold(&self) -> Result<usize, LedgerError> {
        self.queue.fold().await
    }

    /// Answers the calls made before and ends the connection, and with it this process's leadership; later calls fail
    /// with [`LedgerError::Closed`].
    pub async fn close(&self) {
        self.election.resign().await;
        self.queue.close().await;
    }
}

impl Queued for PostgresLedger {
    fn queue(&self) -> &Queue {
        &self.queue
    }

    fn term(&self) -> Option<u64> {
        Some(self.election.term())
    }

    fn shared(&self) -> bool {
        true
    }

    async fn elect(&self) -> Result<bool, LedgerError> {
        self.election.lead().await
    }
}
