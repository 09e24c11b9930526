//! Notes of the commitments that came with segments, for whoever asks later whether a result was looked at as it was drawn.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use alloy_primitives::B256;
use framemill_network::TranscodeReceipt;
use framemill_verification::policy::journal::{Entry, JournalFile};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::error::OrchestratorError;

/// Notes that wait for the disk; one that falls this far behind costs notes, never segments.
const MAX_WAITING: usize = 1_024;

/// Notes written in one go.
const BATCH: usize = 128;

/// Length at which the file moves aside: some 200,000 segments. One older part is kept.
const MAX_BYTES: u64 = 64 << 20;

/// Takes notes, where a file is kept.
#[derive(Debug)]
pub(crate) struct Notes {
    lines: Option<mpsc::Sender<Entry>>,
    /// Some were lost, which was said.
    behind: AtomicBool,
}

/// Writes them beside the hot path.
#[derive(Debug)]
pub(crate) struct Scribe {
    file: Arc<JournalFile>,
    lines: mpsc::Receiver<Entry>,
}

impl Notes {
    /// Goes on with the file at `path`; its scribe must be run.
    pub(crate) fn open(path: Option<&Path>) -> Result<(Self, Option<Scribe>), OrchestratorError> {
        let Some(path) = path else {
            return Ok((Self { lines: None, behind: AtomicBool::new(false) }, None));
        };
        let file = JournalFile::open(path, MAX_BYTES)
            .map_err(|source| OrchestratorError::Notes { path: path.to_owned(), source })?;
        let (sender, lines) = mpsc::channel(MAX_WAITING);
        let notes = Self { lines: Some(sender), behind: AtomicBool::new(false) };
        Ok((notes, Some(Scribe { file: Arc::new(file), lines })))
    }

    /// Notes the commitment that came with the segment of this receipt, whose digest is `result`.
    pub(crate) fn told(&self, commitment: B256, receipt: &TranscodeReceipt, result: B256) {
        let Some(lines) = &self.lines else { return };
        let (session, sequence) = (receipt.session, receipt.sequence);
        let lost =
            lines.try_send(Entry::Told { commitment, session, sequence, result, at_ms: unix_ms() }).is_err();
        if lost && !self.behind.swap(lost, Ordering::Relaxed) {
            error!(
                "notes of how results are drawn are lost, so some draws cannot be checked; check the disk"
            );
        } else if !lost {
            self.behind.store(false, Ordering::Relaxed);
        }
    }
}

impl Scribe {
    /// Writes until the orchestrator has stopped, then what is left.
    pub(crate) async fn run(mut self, stopped: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                biased;
                count = self.lines.recv_many(&mut batch, BATCH) => match count {
                    0 => return,
                    _ => self.write(&mut batch).await,
                },
                () = stopped.cancelled() => return,
            }
        }
    }

    async fn write(&self, batch: &mut Vec<Entry>) {
        let (file, entries) = (Arc::clone(&self.file), std::mem::take(batch));
        let written = tokio::task::spawn_blocking(move || file.append(&entries, false)).await;
        if let Err(error) = written.unwrap_or_else(|panicked| Err(std::io::Error::other(panicked))) {
            error!(%error, "notes of how results are drawn cannot be written; check the disk");
        }
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(sequence: u64) -> TranscodeReceipt {
        TranscodeReceipt {
            session: B256::ZERO,
            sequence,
            source_hash: B256::ZERO,
            ladder_hash: B256::ZERO,
            renditions_root: B256::ZERO,
            pixels: 0,
            round: 0,
        }
    }

    #[tokio::test]
    async fn what_was_told_is_on_disk_when_the_orchestrator_has_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("told.jsonl");
        let (notes, scribe) = Notes::open(Some(&path)).unwrap();
        for sequence in 0..300 {
            notes.told(B256::repeat_byte(1), &receipt(sequence), B256::repeat_byte(2));
        }
        let stopped = CancellationToken::new();
        stopped.cancel();
        scribe.unwrap().run(stopped).await;
        let text = std::fs::read_to_string(&path).unwrap();
        let told = text.lines().map(|line| match serde_json::from_str(line).unwrap() {
            Entry::Told { commitment, sequence, .. } => (commitment, sequence),
            other => panic!("{other:?}"),
        });
        assert!(told.eq((0..300).map(|sequence| (B256::repeat_byte(1), sequence))));
    }

    #[test]
    fn a_disk_that_cannot_follow_costs_notes_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (notes, scribe) = Notes::open(Some(&folder.path().join("told.jsonl"))).unwrap();
        for sequence in 0..2 * MAX_WAITING as u64 {
            notes.told(B256::ZERO, &receipt(sequence), B256::ZERO);
        }
        assert!(notes.behind.load(Ordering::Relaxed));
        assert_eq!(scribe.unwrap().lines.len(), MAX_WAITING);
    }
}
