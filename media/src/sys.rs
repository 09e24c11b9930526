//! Process-wide state of FFmpeg and its status codes.

use std::cell::RefCell;
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

/// Lines of FFmpeg's log that are kept for [`complaints`]: the cause and what it led to.
const MAX_COMPLAINTS: usize = 4;

thread_local! {
    /// What FFmpeg reported as an error on this thread since it was last asked.
    static COMPLAINTS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// What FFmpeg reported as errors on this thread since the last call, first things first. For failures of a device, of which the
/// status alone says little; empty where FFmpeg's log cannot be read.
pub(crate) fn complaints() -> String {
    COMPLAINTS.with_borrow_mut(std::mem::take).join("; ")
}

/// The error of a device that failed with this status; its driver's words stand in FFmpeg's log.
pub(crate) fn device_failure(operation: &'static str, status: c_int) -> MediaError {
    let told = complaints();
    let reason = if told.is_empty() { ffmpeg_next::Error::from(status).to_string() } else { told };
    MediaError::Device { operation, reason }
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
    let logged = level <= ffi::AV_LOG_WARNING && tracing::enabled!(target: "ffmpeg", tracing::Level::DEBUG);
    if level > ffi::AV_LOG_ERROR && !logged {
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
    if logged {
        tracing::debug!(target: "ffmpeg", message = text.trim_end());
    }
    if level <= ffi::AV_LOG_ERROR {
        complain(text.trim_end());
    }
}

/// Keeps a line for [`complaints`]. The first lines say most; a thread that ends keeps none.
#[cfg(target_arch = "x86_64")]
fn complain(line: &str) {
    // A thread that ends has no place for it any more.
    let _ = COMPLAINTS.try_with(|kept| match kept.try_borrow_mut() {
        Ok(mut kept) if kept.len() < MAX_COMPLAINTS && !line.is_empty() => kept.push(without_source(line)),
        _ => {}
    });
}

/// The line without FFmpeg's `[h264_nvenc @ 0x55d0...] ` in front.
#[cfg(target_arch = "x86_64")]
fn without_source(line: &str) -> String {
    let text = line.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    text.map_or(line, |(_, text)| text).trim_end_matches('.').to_owned()
}
