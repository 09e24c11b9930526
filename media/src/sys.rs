//! Process-wide state of FFmpeg and its status codes.

use std::ffi::c_int;

use crate::error::MediaError;

/// The error of a negative FFmpeg status.
pub(crate) fn check(operation: &'static str, status: c_int) -> Result<c_int, MediaError> {
    if status < 0 { Err(failure(operation, status)) } else { Ok(status) }
}

/// The error that stands for a negative FFmpeg status.
pub(crate) fn failure(operation: &'static str, status: c_int) -> MediaError {
    MediaError::Ffmpeg { operation, reason: ffmpeg_next::Error::from(status).to_string() }
}
