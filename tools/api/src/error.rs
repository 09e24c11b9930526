//! Everything that can go wrong before two listings are compared.

use std::path::PathBuf;

/// There is no listing.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// A file cannot be read or written.
    #[error("{}: {source}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        source: std::io::Error,
    },
    /// The JSON is not what rustdoc writes.
    #[error("{}: {reason}", file.display())]
    Json {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Another rustdoc wrote it.
    #[error(
        "this rustdoc writes format {found} of its JSON and {known} is read here; use Rust 1.94 or 1.95, or take the public-api and rustdoc-types that read it in tools/api"
    )]
    Format {
        /// Format of the file.
        found: u32,
        /// Format that is read.
        known: u32,
    },
    /// The crate's items name types of private modules, or of its neighbours, that it does not re-export.
    #[error(
        "these are in the public surface of {root} and cannot be named through it; re-export them in its library, or keep them out:\n{}",
        missing.join("\n")
    )]
    NotReexported {
        /// The crate.
        root: String,
        /// The types.
        missing: Vec<String>,
    },
    /// A version that is none.
    #[error("{0:?} is no version like 0.1.0")]
    Version(String),
}
