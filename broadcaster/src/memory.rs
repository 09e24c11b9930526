//! What is remembered of orchestrators over restarts: one file, replaced as a whole, of bounded size.
//!
//! It holds lengths of time and the moment of saving. What passed since then is counted by the machine's clock; one that went
//! backwards counts as no time at all, so that it frees nobody and bars nobody for longer than was left.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use alloy_primitives::Address;
use framemill_network::PeerId;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::core::scoreboard::{Record, Scoreboard, SuspensionPolicy};
use crate::directory::OrchestratorId;
use crate::sampling::{off_thread, replace};
use crate::service::lock;
use crate::sessions::unix_ms;

/// Version of the file's format. Another one is not read.
const VERSION: u32 = 1;

/// Largest file that is read: several times what the most records take.
const MAX_BYTES: u64 = 4 << 20;

/// Measurements are saved this often: a crash costs a minute of them.
const SAVE_INTERVAL: Duration = Duration::from_secs(60);

/// Time from a suspension to its being saved, so that many at once are one write.
const SAVE_PAUSE: Duration = Duration::from_secs(1);

#[derive(Serialize, Deserialize)]
struct Saved {
    version: u32,
    saved_unix_ms: u64,
    orchestrators: BTreeMap<String, Record>,
}

/// The board of all streams, and the file it is kept in.
pub(crate) struct Memory {
    board: Mutex<Scoreboard<OrchestratorId>>,
    file: Option<PathBuf>,
    suspended: Notify,
}

impl Memory {
    /// Goes on from what `file` holds. One that cannot be read is moved aside and the board begins empty: everybody is a newcomer
    /// then, with a small share of the work and, by the record of their results, full attention.
    pub(crate) fn open(policy: SuspensionPolicy, file: Option<&Path>) -> Self {
        let board = file.and_then(|file| load(policy, file)).unwrap_or_else(|| Scoreboard::new(policy));
        Self { board: Mutex::new(board), file: file.map(Path::to_owned), suspended: Notify::new() }
    }

    /// Reads or changes the board.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Scoreboard<OrchestratorId>) -> T) -> T {
        work(&mut lock(&self.board))
    }

    /// Somebody was suspended: that is saved soon.
    pub(crate) fn note_suspension(&self) {
        self.suspended.notify_one();
    }

    /// Saves now and then until the broadcaster ends, and a last time.
    pub(crate) async fn keep(self: Arc<Self>, cancel: CancellationToken) {
        let Some(file) = self.file.clone() else { return };
        let mut save_at = tokio::time::Instant::now() + SAVE_INTERVAL;
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                () = self.suspended.notified() => {
                    save_at = save_at.min(tokio::time::Instant::now() + SAVE_PAUSE);
                }
                () = tokio::time::sleep_until(save_at) => {
                    self.save(&file).await;
                    save_at = tokio::time::Instant::now() + SAVE_INTERVAL;
                }
            }
        }
        self.save(&file).await;
    }

    async fn save(&self, file: &Path) {
        let now = Instant::now();
        let saved = self.with(|board| Saved {
            version: VERSION,
            saved_unix_ms: unix_ms(),
            orchestrators: board.records(now).map(|(id, record)| (name(id), record)).collect(),
        });
        let path = file.to_owned();
        if let Err(error) = off_thread(move || write(&path, &saved)).await {
            let file = file.display();
            tracing::error!(%file, %error, "what is known of orchestrators cannot be saved, a restart frees suspended ones; check the disk");
        }
    }
}

fn write(path: &Path, saved: &Saved) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    replace(path, &serde_json::to_vec(saved)?)
}

/// `None` where there is no file, or none that can be used.
fn load(policy: SuspensionPolicy, path: &Path) -> Option<Scoreboard<OrchestratorId>> {
    let saved = match read(path) {
        Ok(saved) => saved,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            let aside = path.with_extension("bad");
            let moved = std::fs::rename(path, &aside);
            tracing::warn!(
                file = %path.display(), aside = %aside.display(), ?moved, %error,
                "what is known of orchestrators cannot be read: it is moved aside, and all of them are newcomers"
            );
            return None;
        }
    };
    let now_ms = unix_ms();
    if saved.saved_unix_ms > now_ms {
        tracing::warn!(file = %path.display(), "was saved in the future: the clock went back, suspensions go on with what was left");
    }
    let away = Duration::from_millis(now_ms.saturating_sub(saved.saved_unix_ms));
    let records = saved.orchestrators.into_iter().filter_map(|(name, record)| Some((id(&name)?, record)));
    Some(Scoreboard::restore(policy, records, Instant::now(), away))
}

fn read(path: &Path) -> io::Result<Saved> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES).read_to_end(&mut bytes)?;
    let saved: Saved = serde_json::from_slice(&bytes)?;
    match saved.version {
        VERSION => Ok(saved),
        other => {
            Err(io::Error::new(io::ErrorKind::InvalidData, format!("format version {other}, want {VERSION}")))
        }
    }
}

fn name(id: &OrchestratorId) -> String {
    match id {
        OrchestratorId::Account(account) => account.to_string(),
        OrchestratorId::Peer(peer) => peer.to_string(),
    }
}

fn id(name: &str) -> Option<OrchestratorId> {
    let account = name.parse::<Address>().map(OrchestratorId::Account);
    account.or_else(|_| name.parse::<PeerId>().map(OrchestratorId::Peer)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::scoreboard::{Severity, Standing};

    const WHO: OrchestratorId = OrchestratorId::Account(Address::repeat_byte(7));

    fn open(file: &Path) -> Memory {
        Memory::open(SuspensionPolicy::default(), Some(file))
    }

    async fn saved(file: &Path) -> Duration {
        let memory = open(file);
        let left = memory.with(|board| board.failed(&WHO, Instant::now(), Severity::Dishonest));
        memory.with(|board| {
            board.failed(&OrchestratorId::Peer(PeerId::random()), Instant::now(), Severity::Unavailable)
        });
        memory.save(file).await;
        left
    }

    fn left(memory: &Memory) -> Duration {
        memory.with(|board| board.suspended_for(&WHO, Instant::now()))
    }

    /// The file with another moment of saving.
    fn redate(file: &Path, change: impl FnOnce(u64) -> u64) {
        let mut saved = read(file).unwrap();
        saved.saved_unix_ms = change(saved.saved_unix_ms);
        write(file, &saved).unwrap();
    }

    #[tokio::test]
    async fn a_suspension_outlives_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("new/orchestrators.json");
        let before = saved(&file).await;
        let memory = open(&file);
        assert_eq!(memory.with(|board| board.standing(&WHO, Instant::now())), Standing::Barred);
        assert!(left(&memory) <= before && !left(&memory).is_zero());
        assert_eq!(memory.with(|board| board.len()), 2);
    }

    #[tokio::test]
    async fn the_time_away_counts_and_a_clock_that_went_back_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("orchestrators.json");
        let before = saved(&file).await;
        redate(&file, |at| at - 100_000);
        assert!(left(&open(&file)) <= before - Duration::from_secs(100));
        redate(&file, |at| at + 10_000_000_000);
        let found = left(&open(&file));
        assert!(found <= before && found + Duration::from_secs(1) > before, "{found:?} of {before:?}");
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_read_is_moved_aside() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("orchestrators.json");
        for bytes in [
            "{\"version\": 1, \"saved_un",
            "{\"version\": 2, \"saved_unix_ms\": 1, \"orchestrators\": {}}",
            "",
        ] {
            std::fs::write(&file, bytes).unwrap();
            assert!(open(&file).with(|board| board.is_empty()));
            assert!(!file.exists());
            assert_eq!(std::fs::read_to_string(folder.path().join("orchestrators.bad")).unwrap(), bytes);
        }
    }

    #[tokio::test]
    async fn without_a_file_nothing_is_kept() {
        let memory = Arc::new(Memory::open(SuspensionPolicy::default(), None));
        memory.note_suspension();
        memory.keep(CancellationToken::new()).await;
    }
}
