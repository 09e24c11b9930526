//! Bounds of work on media that comes from strangers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::error::{Limit, MediaError};
use crate::time::{TICKS_PER_SECOND, Ticks};

/// A flag that stops work from another thread. Clones share the flag.
#[derive(Debug, Clone, Default)]
pub struct CancelFlag(Arc<AtomicBool>);

impl CancelFlag {
    /// A flag that is not raised.
    pub fn new() -> Self {
        Self::default()
    }

    /// Raises the flag: work that holds it ends with [`MediaError::Cancelled`].
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the flag is raised.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// How much an input may ask of this machine.
///
/// The defaults fit one long file of a trusted user; [`MediaLimits::segment`] fits one segment of a stranger.
#[derive(Debug, Clone)]
pub struct MediaLimits {
    /// Bytes read from the input.
    pub input_bytes: u64,
    /// Pixels of one coded frame.
    pub pixels_per_frame: u64,
    /// Width or height of a frame.
    pub frame_side: u32,
    /// Video frames of the input.
    pub frames: u64,
    /// Packets of all streams: each takes some hundred bytes, however little it carries.
    pub packets: u64,
    /// Pixels of all decoded frames together.
    pub total_pixels: u64,
    /// Bytes of decoded pictures that one decoder may have in flight: those that the stream refers to, those its threads work on, and
    /// those that wait for whoever takes them. A decoder takes fewer threads where that keeps it inside.
    pub picture_bytes: u64,
    /// Time from the first timestamp to the last.
    pub duration: Ticks,
    /// Streams of the container.
    pub streams: u32,
    /// Bytes looked at to find out what the streams are.
    pub probe_bytes: u64,
    /// Media time looked at to find out what the streams are.
    pub probe_duration: Ticks,
    /// Wall-clock end of the work.
    pub deadline: Option<Instant>,
    /// Stops the work from another thread.
    pub cancel: CancelFlag,
}

/// 8K UHD: the largest picture that live video uses.
const PIXELS_8K: u64 = 7680 * 4320;
/// No codec of live video goes beyond 16384 in either direction (H.264 and HEVC level 6.2 stop earlier).
const FRAME_SIDE: u32 = 16_384;

impl Default for MediaLimits {
    fn default() -> Self {
        Self {
            input_bytes: 64 << 30,
            pixels_per_frame: PIXELS_8K,
            frame_side: FRAME_SIDE,
            frames: u64::MAX,
            packets: u64::MAX,
            total_pixels: u64::MAX,
            picture_bytes: u64::MAX,
            duration: Ticks::MAX,
            streams: 32,
            probe_bytes: 4 << 20,
            probe_duration: 3 * TICKS_PER_SECOND,
            deadline: None,
            cancel: CancelFlag::new(),
        }
    }
}

impl MediaLimits {
    /// Limits for one segment that a stranger sent: 128 MiB, 30 s, 4K at 120 frames per second, 1 GiB of pictures at once.
    pub fn segment() -> Self {
        const SECONDS: u64 = 30;
        const FRAMES: u64 = SECONDS * 120;
        /// Twenty tracks of the shortest packets that codecs make, 2.5 ms.
        const PACKETS: u64 = SECONDS * 400 * 20;
        Self {
            input_bytes: 128 << 20,
            frames: FRAMES,
            packets: PACKETS,
            total_pixels: FRAMES * 3840 * 2160,
            // 8K with 10 bits takes 100 MB, and refers to six others where a level allows it.
            picture_bytes: 1 << 30,
            duration: SECONDS as Ticks * TICKS_PER_SECOND,
            ..Self::default()
        }
    }

    /// The same limits with a wall-clock deadline.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// The same limits with a flag that stops the work.
    #[must_use]
    pub fn with_cancel(mut self, cancel: CancelFlag) -> Self {
        self.cancel = cancel;
        self
    }

    /// An error when the flag is raised or the deadline has passed.
    pub fn check_time(&self) -> Result<(), MediaError> {
        if self.cancel.is_cancelled() {
            return Err(MediaError::Cancelled);
        }
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(MediaError::DeadlineExceeded),
            _ => Ok(()),
        }
    }

    /// The bound on pixels as FFmpeg counts them: it pads rows for its vector units before it compares, so a bound
    /// that is exact for the picture would refuse it. What passes is checked again by its true size.
    pub(crate) fn padded_pixels_per_frame(&self) -> i64 {
        /// No FFmpeg build pads rows further than this.
        const ROW_PADDING: u64 = 128;
        let padding = ROW_PADDING * u64::from(self.frame_side);
        let padded = self.pixels_per_frame.saturating_add(padding).min(i32::MAX as u64);
        i64::try_from(padded).expect("bounded by a 32-bit number above")
    }

    /// An error when a frame of this size is larger than allowed.
    pub fn check_frame_size(&self, width: u32, height: u32) -> Result<(), MediaError> {
        let side = width.max(height);
        check(Limit::FrameSide, u64::from(side), u64::from(self.frame_side))?;
        check(Limit::PixelsPerFrame, u64::from(width) * u64::from(height), self.pixels_per_frame)
    }
}

/// An error when `value` passes `bound`.
pub(crate) const fn check(limit: Limit, value: u64, bound: u64) -> Result<(), MediaError> {
    if value > bound {
        return Err(MediaError::LimitExceeded { limit, value, bound });
    }
    Ok(())
}
