//! Every threshold, in one table. `docs/verification.md` shows the measurements they rest on.
//!
//! A change of any number, or of any rule that uses one, is a new [`VERSION`]: reports name the version that judged.

use crate::plane::LEVEL;

/// Version of this table and of the rules that read it.
pub const VERSION: u32 = 1;

/// Tolerated difference of a lattice cell, in sixteenths of a level:
/// `base + (contrast * per_contrast + motion * per_motion) / 256`.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// What coding noise does to a flat, still cell.
    pub base: u16,
    /// Share, in 256ths, of the source's local contrast.
    pub per_contrast: u16,
    /// Share, in 256ths, of the source's change since the frame before.
    pub per_motion: u16,
}

/// Bounds on the decoded picture.
#[derive(Clone, Copy, Debug)]
pub struct PictureRules {
    /// Tolerance of one frame's luma cells.
    pub frame_luma: Tolerance,
    /// Tolerance of one frame's chroma cells.
    pub frame_chroma: Tolerance,
    /// Most cells of any one frame outside it.
    pub frame_cells: i64,
    /// Tolerance of luma cells averaged over the segment.
    pub mean_luma: Tolerance,
    /// Tolerance of chroma cells averaged over the segment.
    pub mean_chroma: Tolerance,
    /// Most averaged cells outside it.
    pub mean_cells: i64,
    /// Largest mean luma offset, in thousandths of a level.
    pub luma_offset: i64,
    /// Largest chroma error energy, in thousandths of the source's chroma energy.
    pub chroma_permille: i64,
    /// Largest displacement of a tile, in thousandths of a fine lattice cell.
    pub displacement: i64,
    /// Largest share of moving frames that look like another frame, in thousandths.
    pub misaligned_permille: i64,
    /// Largest share of moving frames that stand still, in thousandths.
    pub frozen_permille: i64,
}

/// Bounds on a judgement of every frame.
pub const WHOLE: PictureRules = PictureRules {
    frame_luma: Tolerance { base: 6 * LEVEL, per_contrast: 96, per_motion: 160 },
    frame_chroma: Tolerance { base: 7 * LEVEL, per_contrast: 48, per_motion: 96 },
    frame_cells: 300,
    mean_luma: Tolerance { base: 3 * LEVEL, per_contrast: 48, per_motion: 0 },
    mean_chroma: Tolerance { base: 4 * LEVEL, per_contrast: 32, per_motion: 0 },
    mean_cells: 14,
    luma_offset: 1_500,
    chroma_permille: 100,
    displacement: 150,
    misaligned_permille: 150,
    frozen_permille: 150,
};

/// Bounds on a judgement of the first frame, where there is nothing to average.
pub const FIRST_FRAME: PictureRules = PictureRules {
    mean_luma: Tolerance { base: 6 * LEVEL, per_contrast: 96, per_motion: 0 },
    mean_chroma: Tolerance { base: 7 * LEVEL, per_contrast: 48, per_motion: 0 },
    ..WHOLE
};

/// Fewer frames than this are judged by [`FIRST_FRAME`]'s bounds.
pub const MIN_AVERAGED_FRAMES: u32 = 8;

/// Noise floor of the chroma energy, per cell and plane, in squared sixteenths: a picture with less colour than this
/// is judged as if it had this much.
pub const CHROMA_FLOOR: i128 = (3 * LEVEL as i128) * (3 * LEVEL as i128);

/// Weakest mean squared gradient (sixteenths per two cells) of a tile whose displacement can be told.
pub const TEXTURE_FLOOR: i128 = (LEVEL as i128) * (LEVEL as i128);

/// A single tile's displacement counts when it explains at least one in this many parts of its difference: coding
/// noise explains little, a shift most of it.
pub const EXPLAINED_DIVISOR: i128 = 4;

/// Textured tiles from which their middle displacement means something.
pub const MIN_TILES: usize = 5;

/// Frames between two that are registered: displacement lasts or does not matter.
pub const REGISTER_EVERY: u32 = 4;

/// Frames before and after the right one that a rendition's frame is compared with.
pub const NEIGHBOURS: usize = 4;

/// A frame moves when it differs from one of its neighbours by more than this on average, in sixteenths of a level,
/// and from the farther ones more than from the nearest.
pub const MOTION_FLOOR: u32 = LEVEL as u32 / 2;

/// A frame also moves when it differs from both neighbours by more than this: no grain does that to a lattice.
pub const RACE_FLOOR: u32 = 4 * LEVEL as u32;

/// A cell changes from frame to frame when it differs by more than this, in sixteenths of a level.
pub const CHANGE_FLOOR: u16 = 5 * LEVEL;

/// Up to this median change of all cells it may be grain that changes them.
pub const GRAIN_CEILING: u16 = 4 * LEVEL;

/// How many times the median change motion stands out of grain: four standard deviations.
pub const GRAIN_FACTOR: u16 = 6;

/// A frame changes when at least this many of its cells do.
pub const MIN_CHANGING_CELLS: u32 = 12;

/// Frames between the two of the second comparison for standing still: slow motion shows only over a while.
pub const LONG_STEP: usize = 8;

/// Moving frames from which shares of them mean something.
pub const MIN_MOVING_FRAMES: u32 = 8;

/// A moving frame stands still when it changes by less than one in this many parts of the source's change.
pub const FROZEN_DIVISOR: u32 = 5;

/// Bounds on the container and the headers.
pub mod structure {
    /// Largest difference of a presentation time from the agreed one, in 90 kHz ticks.
    pub const TIMESTAMP_SLACK: i64 = 1;
    /// Largest difference of an audio packet's time from the source's: one millisecond, since times of packets that
    /// share a unit are interpolated.
    pub const AUDIO_SLACK: i64 = 90;
    /// Most video bytes, in percent of the entry's bit rate over the duration. Single segments of a live encoder
    /// swing widely; this stops padding, not overshoot.
    pub const MAX_RATE_PERCENT: u64 = 400;
    /// Bytes any segment may take on top: its parameter sets and one hard keyframe.
    pub const RATE_ALLOWANCE: u64 = 256 * 1024;
    /// Most filler and supplemental bytes for every picture.
    pub const IDLE_BYTES_PER_PICTURE: u64 = 1024;
}
