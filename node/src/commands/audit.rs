//! `framemill audit`: were the results that were looked at the ones that were drawn?

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::ExitCode,
};

use anyhow::Context as _;
use framemill_verification::policy::journal::{Audit, Entry, audit};
use serde_json::json;

use crate::cli::AuditArgs;

/// Longest line that is read; an entry takes a few hundred bytes.
const MAX_LINE: u64 = 4_096;

/// Most entries that are audited at once: several times what a record may hold.
const MAX_ENTRIES: usize = 2_000_000;

/// What the lines of a record say.
#[derive(Default)]
struct Record {
    entries: Vec<Entry>,
    /// Lines that are no entry: the last one before a crash may be cut short.
    unreadable: u64,
}

impl Record {
    fn read(&mut self, path: &Path) -> anyhow::Result<()> {
        let unusable = || format!("cannot read {}", path.display());
        let mut file = BufReader::new(File::open(path).with_context(unusable)?);
        let mut line = Vec::new();
        loop {
            line.clear();
            if file.by_ref().take(MAX_LINE).read_until(b'\n', &mut line).with_context(unusable)? == 0 {
                return Ok(());
            }
            match serde_json::from_slice(&line) {
                Ok(_) if self.entries.len() == MAX_ENTRIES => {
                    anyhow::bail!("{} has more than {MAX_ENTRIES} entries; audit its parts", path.display())
                }
                Ok(entry) => self.entries.push(entry),
                Err(_) => self.unreadable += u64::from(!line.trim_ascii().is_empty()),
            }
        }
    }
}

/// Runs the command: exit status 0 when no draw is contradicted, 1 otherwise.
///
/// # Errors
/// A file cannot be read.
pub(crate) fn run(args: &AuditArgs) -> anyhow::Result<ExitCode> {
    let mut record = Record::default();
    for path in &args.records {
        record.read(path)?;
    }
    let Record { entries, unreadable } = record;
    let found = audit(entries);
    match args.json {
        true => println!("{}", to_json(&found, unreadable)),
        false => print(&found, unreadable),
    }
    Ok(ExitCode::from(u8::from(!found.faults.is_empty())))
}

fn to_json(found: &Audit, unreadable: u64) -> serde_json::Value {
    let faults: Vec<_> = found.faults.iter().map(ToString::to_string).collect();
    json!({
        "proven": found.proven,
        "open": found.open,
        "told": found.told,
        "undrawn": found.undrawn,
        "faults": faults,
        "unreadable_lines": unreadable,
    })
}

fn print(found: &Audit, unreadable: u64) {
    for fault in &found.faults {
        println!("FAULT  {fault}");
    }
    println!(
        "{} draws proven, {} open (seed not revealed, or commitment not in these files), {} contradicted, {unreadable} lines unreadable",
        found.proven,
        found.open,
        found.faults.len()
    );
    if found.told + found.undrawn > 0 {
        println!(
            "{} results drawn under the commitment that their orchestrator was told, {} without a draw in these files",
            found.told, found.undrawn
        );
    }
}
