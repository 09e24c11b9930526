//! Why a load test could not be run. What a loaded broadcaster does wrong is no error: it is the result.

use std::path::{Path, PathBuf};

use framemill_media::MediaError;
use framemill_network::LadderError;
use framemill_transcoder::TranscodeError;

/// Why a load test could not be run.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    /// The echo has nothing to return.
    #[error("{} holds no prepared media; run framemill load with this --media first, which makes them", .0.display())]
    NotPrepared(PathBuf),
    /// Prepared media are not what was written.
    #[error("{} is damaged: {reason}; remove its folder, it is made again", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file or folder cannot be used.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The size of the synthetic clip cannot be read.
    #[error("--size {0:?} is no size; write it like 1280x720, both sides even and at least 64")]
    Size(String),
    /// The ladder cannot be read or made of the source.
    #[error("--ladder: {0}")]
    Ladder(#[source] LadderError),
    /// The ladder has a codec whose renditions are published in another way than they come.
    #[error(
        "--ladder: rendition {0} is av1, which is published in pieces that cannot be compared; take h264 or hevc"
    )]
    Pieces(String),
    /// The input has no segment.
    #[error("the input has no video that could be cut into segments; give another --input")]
    NoSegments,
    /// The input is no usable media.
    #[error("the input cannot be used: {0}")]
    Media(#[from] MediaError),
    /// The renditions cannot be made.
    #[error("the renditions cannot be prepared: {0}")]
    Transcode(#[from] TranscodeError),
    /// A thread of ours died.
    #[error("preparing the media ended abnormally: {0}; this is a defect")]
    Died(String),
    /// A process of the test is gone.
    #[error("{process} has ended during the test; see its log in the folder of --dir")]
    Gone {
        /// Which.
        process: &'static str,
    },
    /// A web server does not answer as it should.
    #[error("http://{address}{path} does not answer: {reason}; is the broadcaster up?")]
    Web {
        /// Its host and port.
        address: String,
        /// What was asked for.
        path: String,
        /// What happened.
        reason: String,
    },
}

impl LoadError {
    pub(super) fn file(path: &Path, source: std::io::Error) -> Self {
        Self::File { path: path.to_owned(), source }
    }
}
