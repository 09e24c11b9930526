//! A bundle as a folder: the manifest, and the objects in files that are named by their hashes.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use alloy_primitives::{B256, hex};
use bytes::Bytes;

use super::{Bundle, BundleError, MAX_MANIFEST_BYTES};

/// Name of the manifest in a bundle's folder. It is written last: a folder without one is no bundle.
pub const MANIFEST: &str = "manifest.json";

/// Folder of the objects in a bundle's folder.
pub const OBJECTS: &str = "objects";

impl Bundle {
    /// Writes the bundle into a folder, which is made if it is missing. It is on disk when this returns.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), BundleError> {
        let objects = folder.join(OBJECTS);
        fs::create_dir_all(&objects).map_err(io("make", &objects))?;
        for object in &self.objects {
            put(&objects.join(hex::encode(object.sha256)), &object.data)?;
        }
        sync(&objects)?;
        put(&folder.join(MANIFEST), &self.manifest.bytes())?;
        sync(folder)
    }

    /// Reads a bundle from a folder. Only plain files are read, and none of them further than its kind may be long.
    ///
    /// # Errors
    /// As [`Bundle::read`], and when a file is missing or no plain file.
    pub fn open(folder: &Path) -> Result<Self, BundleError> {
        let manifest = get("manifest", &folder.join(MANIFEST), MAX_MANIFEST_BYTES)?;
        let objects = folder.join(OBJECTS);
        Self::read(&manifest, |hash: B256, bound| get("object", &objects.join(hex::encode(hash)), bound))
    }
}

/// The file with this hash in a folder of bundles, each of which lies under its identity: a manifest or an object.
#[must_use]
pub fn find_in_bundles(bundles: &Path, sha256: B256) -> Option<PathBuf> {
    let name = hex::encode(sha256);
    let whole = |bundle: &Path| bundle.join(MANIFEST).is_file();
    let own = bundles.join(&name);
    if whole(&own) {
        return Some(own.join(MANIFEST));
    }
    let folders = fs::read_dir(bundles).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    // Few bundles have the object, so it is looked for first.
    let object = |bundle: PathBuf| {
        let object = bundle.join(OBJECTS).join(&name);
        (object.is_file() && whole(&bundle)).then_some(object)
    };
    folders.filter_map(object).next()
}

/// Writes under another name first, so that nobody reads half a file, and to the disk, so that a power cut leaves no empty one
/// under a whole manifest.
fn put(path: &Path, data: &[u8]) -> Result<(), BundleError> {
    let part = path.with_extension("part");
    let write = || {
        let mut file = File::create(&part)?;
        file.write_all(data)?;
        file.sync_all()
    };
    write().map_err(io("write", &part))?;
    fs::rename(&part, path).map_err(io("write", path))
}

/// The names in a folder are the folder's contents.
fn sync(folder: &Path) -> Result<(), BundleError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io("write", folder))
}

fn get(what: &'static str, path: &Path, bound: u64) -> Result<Bytes, BundleError> {
    let told = fs::symlink_metadata(path).map_err(io("read", path))?;
    if !told.is_file() {
        let source = std::io::Error::other("it is no plain file");
        return Err(io("read", path)(source));
    }
    let mut data = Vec::new();
    let file = File::open(path).map_err(io("read", path))?;
    // One byte more tells a file that has grown since.
    file.take(bound + 1).read_to_end(&mut data).map_err(io("read", path))?;
    let bytes = data.len() as u64;
    if bytes > bound {
        return Err(BundleError::TooLarge { what, bytes: told.len().max(bytes), bound });
    }
    Ok(data.into())
}

fn io(action: &'static str, path: &Path) -> impl Fn(std::io::Error) -> BundleError + use<> {
    let path = path.display().to_string();
    move |source| BundleError::Io { action, path: path.clone(), source }
}
