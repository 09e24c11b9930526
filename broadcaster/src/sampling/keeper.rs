//! Writes what must outlive the process, beside the hot path: a slow disk delays no segment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::Address;
use framemill_verification::policy::attention::Attention;
use framemill_verification::policy::journal::Entry;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::sampling::Sampling;
use crate::sampling::files::SamplingFiles;
use crate::service::lock;

/// Lines that wait to be written; a disk that falls this far behind costs lines of the record, never results.
const MAX_LINES: usize = 4_096;

/// Lines written in one go.
const BATCH: usize = 256;

/// Attention that only fell is saved this often: a crash costs some looks more, never one less.
const SAVE_INTERVAL: Duration = Duration::from_secs(300);

/// Time from a suspicion to its being saved, so that many at once are one write.
const SAVE_PAUSE: Duration = Duration::from_secs(1);

/// One line on its way to the disk.
struct Line {
    entry: Entry,
    /// Told when the line is on disk for good.
    written: Option<oneshot::Sender<()>>,
}

/// Takes lines of the record.
pub(crate) struct RecordSender(mpsc::Sender<Line>);

impl RecordSender {
    /// Adds a line; `false` when too many wait or the broadcaster has ended.
    pub(crate) fn send(&self, entry: Entry) -> bool {
        self.0.try_send(Line { entry, written: None }).is_ok()
    }

    /// Adds a line and waits until it is on disk; `false` when it is not within `limit`.
    pub(crate) async fn send_durably(&self, entry: Entry, limit: Duration) -> bool {
        let (written, on_disk) = oneshot::channel();
        let sent = self.0.try_send(Line { entry, written: Some(written) }).is_ok();
        sent && matches!(tokio::time::timeout(limit, on_disk).await, Ok(Ok(())))
    }
}

/// Owns the files.
pub(crate) struct Keeper {
    files: Arc<SamplingFiles>,
    lines: mpsc::Receiver<Line>,
}

impl Keeper {
    pub(crate) fn new(files: SamplingFiles) -> (RecordSender, Self) {
        let (sender, lines) = mpsc::channel(MAX_LINES);
        (RecordSender(sender), Self { files: Arc::new(files), lines })
    }

    /// Writes until the broadcaster ends, then what is left.
    pub(crate) async fn run(mut self, sampling: Arc<Sampling>, cancel: CancellationToken) {
        let mut save_at = Instant::now() + SAVE_INTERVAL;
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                Some(line) = self.lines.recv() => self.write(line).await,
                () = sampling.suspicious.notified() => save_at = save_at.min(Instant::now() + SAVE_PAUSE),
                () = tokio::time::sleep_until(save_at) => {
                    self.save(&sampling).await;
                    save_at = Instant::now() + SAVE_INTERVAL;
                }
            }
        }
        while let Ok(line) = self.lines.try_recv() {
            self.write(line).await;
        }
        self.save(&sampling).await;
    }

    /// Writes `first` and what waits behind it.
    async fn write(&mut self, first: Line) {
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Ok(line) = self.lines.try_recv()
        {
            batch.push(line);
        }
        let durable = batch.iter().any(|line| line.written.is_some());
        let (entries, acks): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|line| (line.entry, line.written)).unzip();
        let files = Arc::clone(&self.files);
        match off_thread(move || files.append(&entries, durable)).await {
            Ok(()) => {
                for ack in acks.into_iter().flatten() {
                    // Nobody waiting any more is fine: the line is written all the same.
                    let _ = ack.send(());
                }
            }
            Err(error) => {
                tracing::error!(%error, "draws cannot be recorded, so they cannot be shown later; check the disk");
            }
        }
    }

    async fn save(&self, sampling: &Sampling) {
        let known: BTreeMap<Address, Attention> =
            lock(&sampling.book).entries().map(|(who, entry)| (*who, *entry)).collect();
        let files = Arc::clone(&self.files);
        if let Err(error) = off_thread(move || files.save(&known)).await {
            tracing::error!(%error, "the record of orchestrators cannot be saved, a restart will know nobody; check the disk");
        }
    }
}

/// Blocking work on files.
pub(crate) async fn off_thread(
    work: impl FnOnce() -> std::io::Result<()> + Send + 'static,
) -> std::io::Result<()> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(std::io::Error::other(error)))
}
