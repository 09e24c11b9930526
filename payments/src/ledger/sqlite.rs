//! The embedded store.

use std::path::Path;

use super::LedgerError;

/// A ledger in one SQLite file. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SqliteLedger {}

impl SqliteLedger {
    /// Opens or makes the file, mode 0600, and brings its schema up to date. One process at a time.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, LedgerError> {
        let _ = path.as_ref();
        todo!()
    }

    /// Finishes what was submitted and closes the file.
    pub async fn close(&self) {
        todo!()
    }
}
