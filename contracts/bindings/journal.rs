//! What was sent and is not mined yet, on disk: a restarted process resends and raises it instead of waiting behind it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use alloy::primitives::{Address, Bytes};
use serde::{Deserialize, Serialize};

use crate::{ChainError, PreparedTx};

/// Transactions of one account and chain, by account nonce.
#[derive(Debug, Serialize, Deserialize)]
struct Page {
    chain_id: u64,
    account: Address,
    /// All versions of each, oldest first: any of them may be mined.
    sent: BTreeMap<u64, Vec<Bytes>>,
}

/// The file of one account.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    chain_id: u64,
    account: Address,
}

impl Journal {
    pub(crate) fn new(path: PathBuf, chain_id: u64, account: Address) -> Self {
        Self { path, chain_id, account }
    }

    /// What the process before this one left. A file of another account or chain is an error: it may hold money.
    pub(crate) fn load(&self) -> Result<BTreeMap<u64, Vec<PreparedTx>>, ChainError> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(self.error(&error.to_string())),
        };
        let page: Page = serde_json::from_str(&text).map_err(|error| self.error(&error.to_string()))?;
        if (page.chain_id, page.account) != (self.chain_id, self.account) {
            let owner = format!("it is of account {} on chain {}; move it away", page.account, page.chain_id);
            return Err(self.error(&owner));
        }
        let versions =
            |raws: Vec<Bytes>| raws.into_iter().map(PreparedTx::from_raw).collect::<Result<Vec<_>, _>>();
        page.sent.into_iter().map(|(nonce, raws)| Ok((nonce, versions(raws)?))).collect()
    }

    /// Replaces the file's contents, whole or not at all, before this returns.
    pub(crate) fn save<'a>(
        &self,
        sent: impl Iterator<Item = (u64, &'a [PreparedTx])>,
    ) -> Result<(), ChainError> {
        let raws = |versions: &[PreparedTx]| versions.iter().map(|version| version.raw.clone()).collect();
        let sent = sent.map(|(nonce, versions)| (nonce, raws(versions))).collect();
        let page = Page { chain_id: self.chain_id, account: self.account, sent };
        let text = serde_json::to_vec(&page).expect("a page is plain data");
        write_whole(&self.path, &text).map_err(|error| self.error(&error.to_string()))
    }

    fn error(&self, reason: &str) -> ChainError {
        ChainError::Journal { path: self.path.display().to_string(), reason: reason.to_owned() }
    }
}

/// Replaces a file's contents, whole or not at all: a reader sees the old ones or the new. They are on disk when this returns.
///
/// # Errors
/// When the file or its folder cannot be written.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let mut file = File::create(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&part, path)?;
    // The new name is the folder's, which has to be on disk, too.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
