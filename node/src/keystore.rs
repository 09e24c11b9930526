//! Keys on disk: Web3 Secret Storage v3 files, readable by their owner only.

use std::{
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use alloy::signers::local::PrivateKeySigner;
use alloy_primitives::{Address, B256};

use crate::config::Config;

/// Name of a keystore while it is being written.
const SEALED_NAME: &str = "key";

/// What can go wrong with a key on disk.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// The file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else may read a secret.
    #[error("{path}: mode {mode:04o} lets others read it; run chmod 600 on it")]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// There is a key already.
    #[error("{0}: there is a key already; name another file, or move it away first")]
    Exists(PathBuf),
    /// The password does not open the file, or it is not a keystore.
    #[error("{path}: {reason}; is the password right?")]
    Sealed {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        reason: String,
    },
    /// There is no way to ask for the password.
    #[error("no password: set wallet.password_file, or run this in a terminal")]
    NoPassword,
}

/// Opens the configured key, asking for its password where no file holds it.
pub fn open(config: &Config) -> Result<PrivateKeySigner, KeystoreError> {
    let path = config.path_or(&config.wallet.keystore, "keystore.json");
    private(&path)?;
    let password = password(config, &format!("password of {}", path.display()))?;
    PrivateKeySigner::decrypt_keystore(&path, password)
        .map_err(|error| KeystoreError::Sealed { path, reason: error.to_string() })
}

/// Writes a key where the configuration wants it, without ever replacing one.
///
/// # Errors
/// [`KeystoreError::Exists`] when there is a file at that place.
pub fn store(config: &Config, key: B256) -> Result<(PathBuf, Address), KeystoreError> {
    let path = config.path_or(&config.wallet.keystore, "keystore.json");
    let password = password(config, &format!("new password for {}", path.display()))?;
    let address = store_at(&path, key, &password)?;
    Ok((path, address))
}

/// Writes a key to a file sealed with a password.
pub fn store_at(path: &Path, key: B256, password: &str) -> Result<Address, KeystoreError> {
    if path.exists() {
        return Err(KeystoreError::Exists(path.to_owned()));
    }
    let sealed = |error: String| KeystoreError::Sealed { path: path.to_owned(), reason: error };
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)
        .map_err(|source| KeystoreError::Io { path: folder.to_owned(), source })?;
    // The keystore writer chooses its own file mode: let it write into a folder nobody else can enter.
    let private_folder = tempfile::Builder::new()
        .prefix(".key-")
        .permissions(std::fs::Permissions::from_mode(0o700))
        .tempdir_in(folder)
        .map_err(|source| KeystoreError::Io { path: folder.to_owned(), source })?;
    let (signer, _) = PrivateKeySigner::encrypt_keystore(
        private_folder.path(),
        &mut rand_08::rngs::OsRng,
        key,
        password,
        Some(SEALED_NAME),
    )
    .map_err(|error| sealed(error.to_string()))?;
    let json = std::fs::read(private_folder.path().join(SEALED_NAME))
        .map_err(|source| KeystoreError::Io { path: path.to_owned(), source })?;
    write_private(path, &json)?;
    Ok(signer.address())
}

/// Reads a secret text, refusing a file that others may read.
pub fn read_secret(path: &Path) -> Result<String, KeystoreError> {
    private(path)?;
    let text = std::fs::read_to_string(path)
        .map_err(|source| KeystoreError::Io { path: path.to_owned(), source })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Reads a secret text, making a random one when the file is missing.
pub fn read_or_make_secret(path: &Path) -> Result<String, KeystoreError> {
    if !path.exists() {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|source| KeystoreError::Io { path: folder.to_owned(), source })?;
        }
        write_private(path, hex::encode(B256::random()).as_bytes())?;
    }
    read_secret(path)
}

/// Creates a file only its owner may read; an existing one is an error.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), KeystoreError> {
    framemill_network::write_private_file(path, bytes).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => KeystoreError::Exists(path.to_owned()),
        _ => KeystoreError::Io { path: path.to_owned(), source },
    })
}

/// Checks that only its owner may read a file.
pub(crate) fn private(path: &Path) -> Result<(), KeystoreError> {
    let metadata =
        std::fs::metadata(path).map_err(|source| KeystoreError::Io { path: path.to_owned(), source })?;
    let mode = metadata.permissions().mode() & 0o777;
    // systemd gives a service its credentials by an access list, whose mask stands where the group's rights do.
    let others = if is_credential(path) { 0o037 } else { 0o077 };
    if mode & others == 0 { Ok(()) } else { Err(KeystoreError::Permissions { path: path.to_owned(), mode }) }
}

/// Whether a file is one that systemd keeps for this service alone.
fn is_credential(path: &Path) -> bool {
    std::env::var_os("CREDENTIALS_DIRECTORY").is_some_and(|folder| path.parent() == Some(Path::new(&folder)))
}

fn password(config: &Config, prompt: &str) -> Result<String, KeystoreError> {
    match &config.wallet.password_file {
        Some(path) => read_secret(path),
        None => rpassword::prompt_password(format!("{prompt}: ")).map_err(|_| KeystoreError::NoPassword),
    }
}
