//! The fetched bundles on disk, each in a folder under its identity.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use alloy_primitives::{B256, hex};
use framemill_verification::evidence::{Bundle, BundleError, OBJECTS};
use tokio::sync::Semaphore;
use tracing::{info, warn};

/// Bytes of fetched evidence that lie on disk at a time: a hundred bundles of the largest media. Who opens disputes puts up a
/// bond for each, and jurors sit in few; what does not fit is not fetched.
const MAX_STORED_BYTES: u64 = 32 << 30;
/// Bundles that are read to see whether they are whole, at a time: each is in memory meanwhile.
const MAX_CHECKS: usize = 1;

/// The folder of bundles. Its calls block on the disk beside the runtime.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    checks: Semaphore,
}

impl Store {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, checks: Semaphore::new(MAX_CHECKS) }
    }

    /// Where a bundle lies, or would.
    pub(super) fn of(&self, id: B256) -> PathBuf {
        self.folder.join(hex::encode(id))
    }

    /// Whether a bundle is here with all of its files.
    pub(super) async fn has(&self, id: B256) -> bool {
        let _check = self.checks.acquire().await.expect("nobody closes it");
        let folder = self.of(id);
        blocking(move || Bundle::open(&folder).is_ok_and(|bundle| bundle.id() == id)).await
    }

    /// Whether there is room for one more bundle.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub(super) async fn has_room(&self) -> io::Result<bool> {
        let folder = self.folder.clone();
        Ok(blocking(move || stored(&folder)).await? < MAX_STORED_BYTES)
    }

    /// Writes a bundle, which is on disk when this returns.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(super) async fn put(&self, bundle: &Bundle) -> Result<(), BundleError> {
        let (folder, bundle) = (self.of(bundle.id()), bundle.clone());
        blocking(move || bundle.write(&folder)).await
    }

    /// Deletes a bundle that is not needed any more.
    pub(super) async fn forget(&self, id: B256) {
        let folder = self.of(id);
        blocking(move || delete(&folder)).await;
    }

    /// Deletes every bundle but these: what a process that was killed, or a download that was given up, has left.
    pub(super) async fn keep_only(&self, needed: BTreeSet<B256>) {
        let folder = self.folder.clone();
        blocking(move || sweep(&folder, &needed)).await;
    }
}

/// Runs on a thread that may block. A panic there goes on here.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends, and this future with it.
            Err(_) => std::future::pending().await,
        },
    }
}

fn sweep(folder: &Path, needed: &BTreeSet<B256>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        // Nothing but bundles is put here; what has another name is somebody else's.
        let bundle = hex::decode(name).ok().and_then(|id| B256::try_from(id.as_slice()).ok());
        if bundle.is_some_and(|id| !needed.contains(&id)) {
            info!(folder = %path.display(), "deleting evidence that no open dispute needs");
            delete(&path);
        }
    }
}

fn delete(folder: &Path) {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            warn!(%error, folder = %folder.display(), "evidence of a closed dispute stays");
        }
        _ => {}
    }
}

fn stored(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for bundle in fs::read_dir(folder)? {
        // A bundle may be half written or just deleted.
        let Ok(objects) = fs::read_dir(bundle?.path().join(OBJECTS)) else { continue };
        let length = |object: io::Result<fs::DirEntry>| object.ok()?.metadata().ok().map(|told| told.len());
        bytes += objects.filter_map(length).sum::<u64>();
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(folder: &Path, id: u8, bytes: usize) -> PathBuf {
        let path = folder.join(hex::encode(B256::repeat_byte(id)));
        fs::create_dir_all(path.join(OBJECTS)).unwrap();
        fs::write(path.join(OBJECTS).join("object"), vec![0; bytes]).unwrap();
        path
    }

    #[tokio::test]
    async fn evidence_of_disputes_that_are_not_followed_is_deleted_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (needed, left) = (bundle(folder.path(), 1, 10), bundle(folder.path(), 2, 20));
        let strange = folder.path().join("notes");
        fs::create_dir(&strange).unwrap();
        let store = Store::new(folder.path().to_owned());
        store.keep_only(BTreeSet::from([B256::repeat_byte(1)])).await;
        assert!(needed.is_dir() && strange.is_dir() && !left.exists());
        store.forget(B256::repeat_byte(1)).await;
        assert!(!needed.exists());
    }

    #[test]
    fn what_lies_on_disk_is_summed_over_the_bundles() {
        let folder = tempfile::tempdir().unwrap();
        bundle(folder.path(), 1, 10);
        bundle(folder.path(), 2, 20);
        fs::create_dir(folder.path().join(hex::encode(B256::repeat_byte(3)))).unwrap();
        assert_eq!(stored(folder.path()).unwrap(), 30);
        assert!(stored(&folder.path().join("missing")).is_err());
    }

    #[tokio::test]
    #[should_panic(expected = "on the other thread")]
    async fn a_panic_on_the_other_thread_is_not_swallowed() {
        blocking(|| panic!("on the other thread")).await
    }
}
