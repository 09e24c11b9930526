//! Process-wide state of FFmpeg and its status codes.

use std::ffi::{c_char, c_int, c_void};
use std::sync::Once;

use ffmpeg_next::ffi;

use crate::error::MediaError;

/// No single buffer FFmpeg allocates may pass this. One plane of 8K video with 16-bit samples takes 64 MiB; a claim
/// that asks for more comes from damaged or hostile media.
const MAX_ALLOCATION: usize = 256 << 20;

/// Prepares FFmpeg: called before any other use, does its work once per process.
pub(crate) fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: sets a process-wide bound; callable at any time.
        unsafe { ffi::av_max_alloc(MAX_ALLOCATION) };
        install_log();
    });
}

/// Makes FFmpeg do without the instructions that not every processor of this kind has, in the whole process and for
/// whatever is opened from now on. Slow: for showing that decoding does not depend on them.
pub fn use_plain_instructions() {
    init();
    // SAFETY: sets process-wide flags, which FFmpeg reads atomically; callable at any time.
    unsafe { ffi::av_force_cpu_flags(0) };
}

/// The error of a negative FFmpeg status.
pub(crate) fn check(operation: &'static str, status: c_int) -> Result<c_int, MediaError> {
    if status < 0 { Err(failure(operation, status)) } else { Ok(status) }
}

/// The error that stands for a negative FFmpeg status.
pub(crate) fn failure(operation: &'static str, status: c_int) -> MediaError {
    MediaError::Ffmpeg { operation, reason: ffmpeg_next::Error::from(status).to_string() }
}

/// Whether a status means "feed me first".
pub(crate) fn is_again(status: c_int) -> bool {
    status == ffi::AVERROR(ffi::EAGAIN)
}

/// Sends FFmpeg's log to `tracing` at debug level: what it complains of is the peers' media, not this node.
#[cfg(target_arch = "x86_64")]
fn install_log() {
    // SAFETY: `forward_log` has the wanted signature, lives for ever and may be called from any thread.
    unsafe { ffi::av_log_set_callback(Some(forward_log)) };
}

/// The variadic argument list has another shape per architecture; where it is not known FFmpeg is silent.
#[cfg(not(target_arch = "x86_64"))]
fn install_log() {
    // SAFETY: sets a process-wide level; callable at any time.
    unsafe { ffi::av_log_set_level(ffi::AV_LOG_QUIET) };
}

#[cfg(target_arch = "x86_64")]
unsafe extern "C" fn forward_log(
    source: *mut c_void,
    level: c_int,
    format: *const c_char,
    arguments: *mut ffi::__va_list_tag,
) {
    /// Longer lines are cut.
    const LINE: usize = 512;
    if level > ffi::AV_LOG_WARNING || !tracing::enabled!(target: "ffmpeg", tracing::Level::DEBUG) {
        return;
    }
    let mut line = [0u8; LINE];
    let mut print_prefix: c_int = 1;
    // SAFETY: FFmpeg passes a valid source, format and argument list; the buffer's true size is given and the result
    // is NUL-terminated within it.
    unsafe {
        ffi::av_log_format_line2(
            source,
            level,
            format,
            arguments,
            line.as_mut_ptr().cast(),
            LINE as c_int,
            &raw mut print_prefix,
        )
    };
    let text = String::from_utf8_lossy(line.split(|byte| *byte == 0).next().unwrap_or_default());
    tracing::debug!(target: "ffmpeg", message = text.trim_end());
}
