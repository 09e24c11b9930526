//! A record as a file of lines, bounded: when it is full it moves aside, and one older part is kept.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::Entry;

/// Entries as lines of JSON, for the owner alone to read.
#[derive(Debug)]
pub struct JournalFile {
    path: PathBuf,
    limit: u64,
    open: Mutex<Open>,
}

#[derive(Debug)]
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

impl JournalFile {
    /// Goes on with the file at `path`, which moves to `.old.jsonl` before it would exceed `limit` bytes.
    ///
    /// # Errors
    /// When the file cannot be written to.
    pub fn open(path: &Path, limit: u64) -> io::Result<Self> {
        let open = Mutex::new(Open::at(path)?);
        Ok(Self { path: path.to_owned(), limit, open })
    }

    /// Adds entries. Blocks on the disk; durable ones are on it when the call returns.
    ///
    /// # Errors
    /// When the file cannot be written to.
    pub fn append(&self, entries: &[Entry], durable: bool) -> io::Result<()> {
        let mut lines = Vec::new();
        for entry in entries {
            serde_json::to_writer(&mut lines, entry)?;
            lines.push(b'\n');
        }
        // What a panic could leave behind is a line cut short, which is expected of a crash as well.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
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
    use alloy_primitives::B256;

    use super::*;
    use crate::policy::Policy;
    use crate::policy::draw::Epoch;

    fn entry(number: u64) -> Entry {
        let epoch = Epoch { stream: B256::ZERO, number };
        Entry::Commit { epoch, commitment: B256::ZERO, minimum: Policy::FLOOR, at_ms: 0 }
    }

    fn lines(path: &Path) -> Vec<Entry> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    #[test]
    fn a_record_goes_on_after_a_line_that_was_cut_short() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("draws.jsonl");
        std::fs::write(&path, b"{\"entry\":\"com").unwrap();
        let record = JournalFile::open(&path, 1 << 20).unwrap();
        record.append(&[entry(1)], true).unwrap();
        assert_eq!(lines(&path), [entry(1)]);
    }

    #[test]
    fn a_record_is_bounded_and_keeps_one_older_part() {
        let folder = tempfile::tempdir().unwrap();
        let limit = 1_000;
        let record = JournalFile::open(&folder.path().join("draws.jsonl"), limit).unwrap();
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
