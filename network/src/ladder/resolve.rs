//! From the ladder that was asked for to the one that is made of a given source.

use super::{FrameRate, Ladder, LadderEntry, LadderError, MAX_DIMENSION};

/// Smallest side of a rendition in pixels: one chroma sample.
const MIN_SIDE: u32 = 2;

/// The picture of a source as it is displayed (rotation applied).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceVideo {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Average frame rate; [`FrameRate::SOURCE`] when it is not known.
    pub fps: FrameRate,
}

impl Ladder {
    /// The concrete ladder for a source: sizes filled in and even, aspect ratio kept, rates not above the source's.
    ///
    /// An entry with one side follows the source's aspect ratio for the other; with no side it takes the source's size. One with
    /// both sides is a box that the picture is fitted into, turned for portrait sources, so that no picture is ever distorted.
    /// Rungs larger than the source are dropped; when none is left, the smallest rung is made at the source's size.
    /// A rate at or above the source's becomes [`FrameRate::SOURCE`].
    ///
    /// # Errors
    /// [`LadderError::Source`] when a side of the source is below 2 or above [`MAX_DIMENSION`].
    pub fn resolve(&self, source: &SourceVideo) -> Result<Self, LadderError> {
        let sides = MIN_SIDE..=MAX_DIMENSION;
        if !sides.contains(&source.width) || !sides.contains(&source.height) {
            return Err(LadderError::Source { width: source.width, height: source.height });
        }
        let mut rungs: Vec<LadderEntry> =
            self.iter().filter_map(|entry| resolve_entry(entry, source)).collect();
        if rungs.is_empty() {
            let smallest = self.iter().min_by_key(|entry| entry.bitrate).expect("a ladder is never empty");
            rungs.push(with_size(smallest, even_floor(source.width), even_floor(source.height), source.fps));
        }
        Self::new(rungs)
    }
}

/// The rung at its real size, or nothing when it is larger than the source.
fn resolve_entry(entry: &LadderEntry, source: &SourceVideo) -> Option<LadderEntry> {
    let (width, height) = match (entry.width, entry.height) {
        (0, 0) => (source.width, source.height),
        (0, height) => (scaled(source.width, height, source.height), height),
        (width, 0) => (width, scaled(source.height, width, source.width)),
        (width, height) => fit(width, height, source),
    };
    // Rounding to even may add a pixel to an odd source's size.
    if width > source.width + 1 || height > source.height + 1 {
        return None;
    }
    Some(with_size(entry, even_round(width, source.width), even_round(height, source.height), source.fps))
}

/// The largest size of the source's aspect ratio inside a box.
fn fit(width: u32, height: u32, source: &SourceVideo) -> (u32, u32) {
    let portrait = source.height > source.width;
    let turned = portrait != (height > width) && width != height;
    let (width, height) = if turned { (height, width) } else { (width, height) };
    let by_width = scaled(source.height, width, source.width);
    // A preset's width is itself rounded (426x240), so a pixel of difference is the same shape.
    if by_width.abs_diff(height) <= 1 {
        (width, height)
    } else if by_width < height {
        (width, by_width)
    } else {
        (scaled(source.width, height, source.height), height)
    }
}

fn with_size(entry: &LadderEntry, width: u32, height: u32, source_fps: FrameRate) -> LadderEntry {
    let keeps_rate = !source_fps.is_source() && entry.fps >= source_fps;
    let fps = if keeps_rate { FrameRate::SOURCE } else { entry.fps };
    LadderEntry { width, height, fps, ..entry.clone() }
}

/// `side * numerator / denominator`, to the nearest even number in one step; the denominator is a side of the source, so at
/// least [`MIN_SIDE`].
fn scaled(side: u32, numerator: u32, denominator: u32) -> u32 {
    let product = u64::from(side) * u64::from(numerator);
    let half = (product + u64::from(denominator)) / (2 * u64::from(denominator));
    u32::try_from(2 * half).unwrap_or(u32::MAX)
}

fn even_floor(side: u32) -> u32 {
    (side & !1).max(MIN_SIDE)
}

/// The nearest even number that is not above the source's side.
fn even_round(side: u32, source_side: u32) -> u32 {
    (side.saturating_add(1) & !1).min(even_floor(source_side)).max(MIN_SIDE)
}
