//! What of the sampling outlives the process: the secret, the record of draws, and the attention on each orchestrator.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use alloy_primitives::Address;
use framemill_network::write_private_file;
use framemill_verification::policy::attention::Attention;
use framemill_verification::policy::draw::Secret;
use framemill_verification::policy::journal::{Entry, JournalFile};

/// Length at which the record moves aside: 100,000 draws or more. One older part is kept.
const MAX_RECORD_BYTES: u64 = 64 << 20;

/// Largest file of attention that is read: several times what the most identities take.
const MAX_ATTENTION_BYTES: u64 = 4 << 20;

/// The folder and what is open in it.
pub(crate) struct SamplingFiles {
    folder: PathBuf,
    record: JournalFile,
}

impl SamplingFiles {
    /// Opens or makes the folder. Returns it with the broadcaster's secret.
    pub(crate) fn open(folder: &Path) -> io::Result<(Self, Secret)> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let secret = secret(&folder.join("secret"))?;
        let record = JournalFile::open(&folder.join("draws.jsonl"), MAX_RECORD_BYTES)?;
        Ok((Self { folder: folder.to_owned(), record }, secret))
    }

    /// Adds lines to the record. Durable ones are on disk when the call returns.
    pub(crate) fn append(&self, entries: &[Entry], durable: bool) -> io::Result<()> {
        self.record.append(entries, durable)
    }

    /// The attention as it was saved last; empty where none was.
    pub(crate) fn attention(&self) -> io::Result<BTreeMap<Address, Attention>> {
        let file = match File::open(self.attention_path()) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(MAX_ATTENTION_BYTES).read_to_end(&mut bytes)?;
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// Saves the attention in place of what was there.
    pub(crate) fn save(&self, attention: &BTreeMap<Address, Attention>) -> io::Result<()> {
        replace(&self.attention_path(), &serde_json::to_vec(attention)?)
    }

    fn attention_path(&self) -> PathBuf {
        self.folder.join("attention.json")
    }
}

/// Reads the secret; makes one where there is none.
fn secret(path: &Path) -> io::Result<Secret> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let fresh: [u8; 32] = rand::random();
            write_private_file(path, &fresh)?;
            fresh.to_vec()
        }
        Err(error) => return Err(error),
    };
    let bytes: [u8; 32] = bytes.as_slice().try_into().map_err(|_| {
        let found = format!("{} holds {} bytes, want 32; move it away", path.display(), bytes.len());
        io::Error::new(io::ErrorKind::InvalidData, found)
    })?;
    Ok(Secret::from_bytes(bytes))
}

/// Replaces a file by one that is whole, whenever the process ends.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use alloy_primitives::B256;
    use framemill_verification::policy::draw::Epoch;

    use super::*;

    #[test]
    fn the_secret_is_made_once_and_for_the_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let epoch = Epoch { stream: B256::ZERO, number: 1 };
        let (_, first) = SamplingFiles::open(folder.path()).unwrap();
        let (_, second) = SamplingFiles::open(folder.path()).unwrap();
        assert_eq!(first.seed(&epoch), second.seed(&epoch));
        let mode = std::fs::metadata(folder.path().join("secret")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_secret_of_another_length_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret"), b"short").unwrap();
        let error = SamplingFiles::open(folder.path()).err().unwrap();
        assert!(error.to_string().contains("holds 5 bytes, want 32"), "{error}");
    }

    #[test]
    fn attention_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let (files, _) = SamplingFiles::open(folder.path()).unwrap();
        assert!(files.attention().unwrap().is_empty());
        let attention = BTreeMap::from([(Address::repeat_byte(1), Attention::new(9))]);
        files.save(&attention).unwrap();
        assert_eq!(files.attention().unwrap(), attention);
    }
}
