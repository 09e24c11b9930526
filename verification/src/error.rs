//! Why no verdict could be reached.

use thiserror::Error;

use crate::plane::BadPlane;

/// No verdict: the judge lacks something, which says nothing about the rendition.
///
/// What is wrong with a rendition is never an error but a failed check in its [`Report`](crate::Report).
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The source segment itself cannot be read or decoded.
    #[error("source segment cannot be judged against: {0}; check the ingest")]
    Source(#[source] framemill_media::MediaError),
    /// The judge itself could not work.
    #[error("judgement stopped: {0}; repeat it with more time")]
    Judge(#[source] framemill_media::MediaError),
    /// The source is larger than one judgement may be.
    #[error("source has {value} {what}, one judgement takes at most {bound}; verify shorter segments")]
    TooLarge {
        /// What was counted.
        what: &'static str,
        /// The count.
        value: u64,
        /// The most that is accepted.
        bound: u64,
    },
    /// The source holds no picture to compare with.
    #[error("source segment has no decodable video frame; nothing to compare a rendition with")]
    NoSourcePicture,
    /// There is no such frame to look at.
    #[error(
        "no frame {wanted} to look at: {compared} of the rendition were compared, the first is 0; ask for one of them"
    )]
    NoSuchFrame {
        /// Number that was asked for.
        wanted: u32,
        /// Frames that were compared.
        compared: u32,
    },
    /// A plane's figures contradict its buffer.
    #[error(transparent)]
    BadPlane(#[from] BadPlane),
}
