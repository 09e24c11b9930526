//! Which source frames a rendition of a lower rate keeps: the one rule that encoders, payers and checkers share.

use super::rate::TICKS_PER_SECOND;
use super::{FrameRate, Ladder, LadderEntry};

/// Decides frame by frame what a rendition keeps.
///
/// The rule needs no state of the segment before, so machines that encode neighbouring segments agree: the time since the
/// segment's first frame is cut into slots of one output frame, and the first frame that falls into a new slot is kept with
/// its own timestamp. A frame up to a quarter of a slot early counts for the next one, so that rounded timestamps
/// (milliseconds, 59.94) do not flip slots. Frames are never repeated: a slower source passes unchanged.
#[derive(Debug, Clone)]
pub struct FrameGate {
    rate: FrameRate,
    first: Option<i64>,
    next_slot: i128,
}

impl FrameGate {
    /// A gate for one segment; [`FrameRate::SOURCE`] keeps every frame.
    pub fn new(rate: FrameRate) -> Self {
        Self { rate, first: None, next_slot: 0 }
    }

    /// Whether the frame at `pts` is kept; ticks of 90 kHz, rising from call to call.
    pub fn keep(&mut self, pts: i64) -> bool {
        if self.rate.is_source() {
            return true;
        }
        let first = *self.first.get_or_insert(pts);
        let slot_ticks = i128::from(self.rate.den()) * i128::from(TICKS_PER_SECOND);
        let elapsed = (i128::from(pts) - i128::from(first)) * i128::from(self.rate.num());
        let slot = (4 * elapsed + slot_ticks).div_euclid(4 * slot_ticks);
        let keep = slot >= self.next_slot;
        if keep {
            self.next_slot = slot + 1;
        }
        keep
    }
}

impl LadderEntry {
    /// Frames that this rendition has of source frames at `pts` (ticks of 90 kHz, in display order).
    pub fn kept_frames(&self, pts: &[i64]) -> u64 {
        let mut gate = FrameGate::new(self.fps);
        pts.iter().filter(|pts| gate.keep(**pts)).count() as u64
    }
}

impl Ladder {
    /// Output pixels of a segment with source frames at `pts` (ticks of 90 kHz, in display order): the exact count that
    /// [`Ladder::expected_pixels`] estimates. Saturates instead of overflowing.
    pub fn pixels_of(&self, pts: &[i64]) -> u64 {
        let pixels = |entry: &LadderEntry| entry.kept_frames(pts).saturating_mul(entry.pixels_per_frame());
        self.iter().fold(0, |sum, entry| sum.saturating_add(pixels(entry)))
    }
}
