//! What of the sampling outlives the process: the secret, the record of draws, and the attention on each orchestrator.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use alloy_primitives::Address;
use framemill_network::write_private_file;
use framemill_verification::policy::attention::Attention;
use framemill_verification::policy::draw::Secret;
use framemill_verification::policy::journal::Entry;

use crate::service::lock;

/// Length at which the record moves aside: 100,000 draws or more. One older part is kept.
const MAX_RECORD_BYTES: u64 = 64 << 20;

/// Largest file of attention that is read: several times what the most identities take.
const MAX_ATTENTION_BYTES: u64 = 4 << 20;

/// The folder and what is open in it.
pub(crate) struct SamplingFiles {
    folder: PathBuf,
    record: Record,
}

impl SamplingFiles {
    /// Opens or makes the folder. Returns it with the broadcaster's secret.
    pub(crate) fn open(folder: &Path) -> io::Result<(Self, Secret)> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let secret = secret(&folder.join("secret"))?;
        let record = Record::open(folder, MAX_RECORD_BYTES)?;
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
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)
}

/// Commitments, draws and seeds as lines of JSON.
struct Record {
    path: PathBuf,
    limit: u64,
    open: Mutex<Open>,
}

struct Open {
    file: File,
    length: u64,
}

impl Open {
    fn at(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        let mut length = file.metadata()?.len();
        if length > 0 {
            // A line that a crash cut short must not swallow the next one; an empty line says nothing.
            file.write_all(b"\n")?;
            length += 1;
        }
        Ok(Self { file, length })
    }
}

impl Record {
    fn open(folder: &Path, limit: u64) -> io::Result<Self> {
        let path = folder.join("draws.jsonl");
        let open = Mutex::new(Open::at(&path)?);
        Ok(Self { path, limit, open })
    }

    fn append(&self, entries: &[Entry], durable: bool) -> io::Result<()> {
        let mut lines = Vec::new();
        for entry in entries {
            serde_json::to_writer(&mut lines, entry)?;
            lines.push(b'\n');
        }
        let mut open = lock(&self.open);
        if open.length > 0 && open.length + lines.len() as u64 > self.limit {
            std::fs::rename(&self.path, self.path.with_extension("old.jsonl"))?;
            *open = Open::at(&self.path)?;
        }
        open.file.write_all(&lines)?;
        open.length += lines.len() as u64;
        if durable { open.file.sync_data() } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use alloy_primitives::B256;
    use framemill_verification::Policy;
    use framemill_verification::policy::draw::Epoch;

    use super::*;

    fn entry(number: u64) -> Entry {
        let epoch = Epoch { stream: B256::ZERO, number };
        Entry::Commit { epoch, commitment: B256::ZERO, minimum: Policy::FLOOR, at_ms: 0 }
    }

    fn lines(path: &Path) -> Vec<Entry> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

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

    #[test]
    fn the_record_goes_on_after_a_line_that_was_cut_short() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("draws.jsonl");
        std::fs::write(&path, b"{\"entry\":\"com").unwrap();
        let record = Record::open(folder.path(), MAX_RECORD_BYTES).unwrap();
        record.append(&[entry(1)], true).unwrap();
        assert_eq!(lines(&path), [entry(1)]);
    }

    #[test]
    fn the_record_is_bounded_and_keeps_one_older_part() {
        let folder = tempfile::tempdir().unwrap();
        let limit = 1_000;
        let record = Record::open(folder.path(), limit).unwrap();
        (0..100).for_each(|number| record.append(&[entry(number)], false).unwrap());
        let newest = lines(&folder.path().join("draws.jsonl"));
        let older = lines(&folder.path().join("draws.old.jsonl"));
        assert_eq!(newest.last(), Some(&entry(99)));
        assert_eq!(older.last(), Some(&entry(99 - newest.len() as u64)), "no line between the parts is lost");
        for file in std::fs::read_dir(folder.path()).unwrap() {
            assert!(file.unwrap().metadata().unwrap().len() <= limit);
        }
    }
}
