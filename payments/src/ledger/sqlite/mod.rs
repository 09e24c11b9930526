//! The embedded store: one SQLite file, one process, one writer, group commit.

mod schema;
mod writer;

use std::path::Path;

use super::LedgerError;
use super::store::{Inspector, Queue, Queued, Reader};

pub use super::store::MAX_GROUP;

/// A ledger in one SQLite file. Cheap to clone; clones share the file.
#[derive(Clone, Debug)]
pub struct SqliteLedger {
    queue: Queue,
}

impl SqliteLedger {
    /// Opens or makes the file, mode 0600, and brings its schema up to date. Needs a tokio runtime.
    ///
    /// One process at a time: [`LedgerError::Locked`] when the file is in use. The file is released
    /// when the last clone is dropped and its calls are answered, or by [`SqliteLedger::close`].
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, LedgerError> {
        let file = schema::open(path.as_ref()).await?;
        let (queue, waiting) = Queue::new();
        tokio::spawn(writer::run(file, waiting));
        Ok(Self { queue })
    }

    /// Opens a file to be looked at, also while a node writes to it, and changes nothing.
    ///
    /// # Errors
    /// [`LedgerError::TooOld`] and [`LedgerError::TooNew`] when the file has another schema than this program's.
    pub async fn inspect(path: impl AsRef<Path>) -> Result<Inspector, LedgerError> {
        Ok(Inspector::new(Reader::Sqlite(schema::inspect(path.as_ref()).await?)))
    }

    /// Adds the oldest rows of the log to its openings, and returns how many bytes of it that was: zero when none is left.
    /// Happens by itself once the log is longer than some 64 MiB.
    pub async fn fold(&self) -> Result<usize, LedgerError> {
        self.queue.fold().await
    }

    /// Answers the calls made before and releases the file; later calls fail with
    /// [`LedgerError::Closed`].
    pub async fn close(&self) {
        self.queue.close().await;
    }
}

impl Queued for SqliteLedger {
    fn queue(&self) -> &Queue {
        &self.queue
    }

    fn term(&self) -> Option<u64> {
        None
    }

    fn shared(&self) -> bool {
        false
    }

    /// Nobody else can have the file.
    async fn elect(&self) -> Result<bool, LedgerError> {
        Ok(true)
    }
}
