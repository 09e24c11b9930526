//! Where published segments and playlists go.

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{Attribute, Attributes, ObjectStore, ObjectStoreExt, PutOptions, PutPayload};

use crate::core::files::Section;
use crate::error::StoreError;
use crate::s3::{self, S3Config};

/// What a probe writes and removes.
const PROBE: &str = ".framemill-probe";

/// A place for named objects. Implementations must be atomic: a reader sees the old object, the new one or none, never a
/// part of one. What is written must be there for readers when the call returns: playlists follow the segments that they name.
///
/// A write that takes longer than ten seconds is given up; its future is dropped then.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Creates or replaces `path`. When the future is dropped the object is either the old or the new one.
    async fn put(&self, path: &str, data: Bytes) -> Result<(), StoreError>;

    /// Reads `path`; `None` when there is no such object.
    async fn get(&self, path: &str) -> Result<Option<Bytes>, StoreError>;

    /// Removes `path`; removing what is not there succeeds.
    async fn delete(&self, path: &str) -> Result<(), StoreError>;

    /// Where a person or a player finds `path`: a file, or a URL.
    fn locate(&self, path: &str) -> String;
}

/// Cache policy of what never changes.
const IMMUTABLE: &str = "public, max-age=3600, immutable";

/// Media type and cache policy of what players ask for, by its name. Playlists change; a segment never does, and a section is named by its
/// content. No other MP4 is published, whatever the store holds.
pub(crate) fn headers_of(path: &str) -> Option<(&'static str, &'static str)> {
    let file = path.rsplit_once('/').map_or(path, |(_, file)| file);
    match file.rsplit_once('.')?.1 {
        "m3u8" => Some(("application/vnd.apple.mpegurl", "no-cache")),
        "ts" => Some(("video/mp2t", IMMUTABLE)),
        // Apple's players and browsers know segments by this type, too.
        "m4s" => Some(("video/mp4", IMMUTABLE)),
        "mp4" if Section::is_name(file) => Some(("video/mp4", IMMUTABLE)),
        _ => None,
    }
}

/// Any `object_store` as a [`Store`]: a local folder, a bucket of S3, or what you hand in.
pub struct ObjectStorage {
    inner: Arc<dyn ObjectStore>,
    base: String,
    /// Whether objects carry media type and cache policy. A file system has no place for them.
    has_headers: bool,
}

impl ObjectStorage {
    /// A local folder, created if missing. Files appear by rename, so a web server beside it never serves half a segment.
    pub fn folder(root: impl AsRef<FilePath>) -> Result<Self, StoreError> {
        let root: PathBuf = root.as_ref().to_owned();
        let fail = |source: Arc<dyn std::error::Error + Send + Sync>| StoreError {
            operation: "open",
            path: root.display().to_string(),
            source,
        };
        std::fs::create_dir_all(&root).map_err(|e| fail(Arc::new(e)))?;
        let root_path = root.canonicalize().map_err(|e| fail(Arc::new(e)))?;
        let inner = LocalFileSystem::new_with_prefix(&root_path).map_err(|e| fail(Arc::new(e)))?;
        Ok(Self { inner: Arc::new(inner), base: root_path.display().to_string(), has_headers: false })
    }

    /// A bucket of S3, or of a server that speaks its API. Nothing is sent yet: [`ObjectStorage::probe`] tells whether it
    /// takes anything.
    ///
    /// # Errors
    /// When the endpoint, the bucket or the prefix cannot be one.
    pub fn s3(config: &S3Config) -> Result<Self, StoreError> {
        let inner = s3::open(config).map_err(|error| failed("open", &config.address(), error))?;
        Ok(Self::new(inner, config.public_address()))
    }

    /// Any object store that keeps `Content-Type` and `Cache-Control` with its objects; `base` is the address under which
    /// players find them.
    pub fn new(inner: Arc<dyn ObjectStore>, base: impl Into<String>) -> Self {
        Self { inner, base: base.into(), has_headers: true }
    }

    /// Writes a small object and removes it again, so that a wrong key or a missing bucket shows before a stream begins.
    ///
    /// # Errors
    /// What the store says; [`StoreError::is_refusal`] tells whether trying again can help.
    pub async fn probe(&self) -> Result<(), StoreError> {
        self.put(PROBE, Bytes::new()).await?;
        self.delete(PROBE).await
    }

    fn options_for(&self, path: &str) -> PutOptions {
        let Some((media_type, cache)) = headers_of(path).filter(|_| self.has_headers) else {
            return PutOptions::default();
        };
        let headers = [(Attribute::ContentType, media_type), (Attribute::CacheControl, cache)];
        Attributes::from_iter(headers).into()
    }
}

impl std::fmt::Debug for ObjectStorage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectStorage").field("base", &self.base).finish_non_exhaustive()
    }
}

fn failed(
    operation: &'static str,
    path: &str,
    source: impl std::error::Error + Send + Sync + 'static,
) -> StoreError {
    StoreError { operation, path: path.to_owned(), source: Arc::new(source) }
}

fn object_path(operation: &'static str, path: &str) -> Result<Path, StoreError> {
    // `parse` refuses empty, `.` and `..` parts, so no name leaves the folder.
    Path::parse(path).map_err(|e| failed(operation, path, e))
}

#[async_trait]
impl Store for ObjectStorage {
    async fn put(&self, path: &str, data: Bytes) -> Result<(), StoreError> {
        let location = object_path("write", path)?;
        self.inner
            .put_opts(&location, PutPayload::from_bytes(data), self.options_for(path))
            .await
            .map(drop)
            .map_err(|e| failed("write", path, e))
    }

    async fn get(&self, path: &str) -> Result<Option<Bytes>, StoreError> {
        let location = object_path("read", path)?;
        match self.inner.get(&location).await {
            Ok(found) => found.bytes().await.map(Some).map_err(|e| failed("read", path, e)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(failed("read", path, e)),
        }
    }

    async fn delete(&self, path: &str) -> Result<(), StoreError> {
        let location = object_path("delete", path)?;
        match self.inner.delete(&location).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(failed("delete", path, e)),
        }
    }

    fn locate(&self, path: &str) -> String {
        format!("{}/{path}", self.base.trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_published_files_have_a_media_type() {
        let kind = |path: &str| headers_of(path).map(|(kind, _)| kind);
        assert_eq!(kind("cam/360p/4.m4s"), Some("video/mp4"));
        assert_eq!(kind("cam/360p/init-0123456789abcdef0123456789abcdef.mp4"), Some("video/mp4"));
        assert_eq!(kind("cam/360p/0-3.ts"), Some("video/mp2t"));
        for path in ["cam/source.mp4", "init-0123456789abcdef.mp4/clip.mp4", "key.pem", "cam.ts/clip"] {
            assert_eq!(kind(path), None, "{path}");
        }
    }

    #[tokio::test]
    async fn an_object_is_read_back_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let store = ObjectStorage::folder(folder.path()).unwrap();
        store.put("a/b.ts", Bytes::from_static(b"one")).await.unwrap();
        store.put("a/b.ts", Bytes::from_static(b"two")).await.unwrap();
        assert_eq!(store.get("a/b.ts").await.unwrap().unwrap(), "two");
        let names: Vec<_> =
            std::fs::read_dir(folder.path().join("a")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["b.ts"], "no staging file stays behind");
    }

    #[tokio::test]
    async fn a_missing_object_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let store = ObjectStorage::folder(folder.path()).unwrap();
        assert!(store.get("nothing").await.unwrap().is_none());
        store.delete("nothing").await.unwrap();
    }

    #[tokio::test]
    async fn a_path_that_leaves_the_folder_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let store = ObjectStorage::folder(folder.path().join("inner")).unwrap();
        assert!(store.put("../escaped", Bytes::new()).await.is_err());
        assert!(store.get("a/../../escaped").await.is_err());
    }
}
