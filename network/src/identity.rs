//! A node's network identity: an Ed25519 key in a file that only its owner can read.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use libp2p::PeerId;
use libp2p::identity::Keypair;

/// Permission bits that would let somebody else read the key.
const OTHERS: u32 = 0o077;
/// Largest identity file read: a protobuf-encoded Ed25519 key has 68 bytes.
const MAX_FILE_BYTES: u64 = 1024;

/// An Ed25519 key pair; its public half is the peer id.
#[derive(Debug, Clone)]
pub struct Identity(Keypair);

/// An identity file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The file cannot be read or written.
    #[error("cannot use identity file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others may read the key.
    #[error("identity file {path} has mode {mode:o}: run `chmod 600` on it, or delete it for a new identity")]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is no libp2p Ed25519 key.
    #[error(
        "identity file {path} holds no ed25519 key: restore it from a backup, or delete it for a new identity"
    )]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

impl Identity {
    /// A new random identity that lives in memory only.
    pub fn generate() -> Self {
        Self(Keypair::generate_ed25519())
    }

    /// Reads the identity from a file; when there is none, makes one and stores it with mode 0600.
    ///
    /// # Errors
    /// When the file is unreadable, readable by others, or no key.
    pub fn load_or_create(path: &Path) -> Result<Self, IdentityError> {
        match fs::symlink_metadata(path) {
            Ok(metadata) => Self::load(path, &metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::create(path),
            Err(source) => Err(IdentityError::Io { path: path.to_owned(), source }),
        }
    }

    /// The public name of this identity.
    pub fn peer_id(&self) -> PeerId {
        self.0.public().to_peer_id()
    }

    pub(crate) fn into_keypair(self) -> Keypair {
        self.0
    }

    fn load(path: &Path, metadata: &fs::Metadata) -> Result<Self, IdentityError> {
        let mode = metadata.permissions().mode() & 0o7777;
        if !metadata.is_symlink() && mode & OTHERS != 0 {
            return Err(IdentityError::Permissions { path: path.to_owned(), mode });
        }
        let malformed = || IdentityError::Malformed { path: path.to_owned() };
        if metadata.len() > MAX_FILE_BYTES {
            return Err(malformed());
        }
        let bytes = fs::read(path).map_err(|source| IdentityError::Io { path: path.to_owned(), source })?;
        let keypair = Keypair::from_protobuf_encoding(&bytes).map_err(|_| malformed())?;
        keypair.clone().try_into_ed25519().map_err(|_| malformed())?;
        Ok(Self(keypair))
    }

    fn create(path: &Path) -> Result<Self, IdentityError> {
        let identity = Self::generate();
        let bytes = identity.0.to_protobuf_encoding().expect("an ed25519 key can always be encoded");
        write_private_file(path, &bytes)
            .map_err(|source| IdentityError::Io { path: path.to_owned(), source })?;
        Ok(identity)
    }
}

/// Makes a file that only its owner can read and that holds `bytes` for good when this returns.
///
/// The bytes are written beside the target and linked into place, so that a crash leaves no half file and of two writers one
/// wins.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] when there is a file at `path`: it stays as it is.
pub fn write_private_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    // A process id would not do: in a container every start may have the same one.
    temporary.push(format!(".{:016x}.tmp", rand::random::<u64>()));
    let temporary = PathBuf::from(temporary);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    let written =
        file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| fs::hard_link(&temporary, path));
    fs::remove_file(&temporary)?;
    written?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_same_identity_across_starts_in_a_private_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        let first = Identity::load_or_create(&path).unwrap();
        let second = Identity::load_or_create(&path).unwrap();
        assert_eq!(first.peer_id(), second.peer_id());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn refuses_a_key_that_others_can_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        Identity::load_or_create(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            Identity::load_or_create(&path),
            Err(IdentityError::Permissions { mode: 0o640, .. })
        ));
    }

    #[test]
    fn refuses_a_file_that_is_no_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        write_private_file(&path, b"not a key").unwrap();
        assert!(matches!(Identity::load_or_create(&path), Err(IdentityError::Malformed { .. })));
    }
}
