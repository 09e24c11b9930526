//! Every threshold, in one table. `docs/verification.md` shows the measurements they rest on.
//!
//! A change of any number, or of any rule that uses one, is a new [`VERSION`]: reports name the version that judged.

use crate::plane::LEVEL;

/// Version of this table and of the rules that read it.
pub const VERSION: u32 = 9;

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

impl Tolerance {
    /// The tolerated difference of a cell with this contrast and this change.
    pub(crate) fn bound(self, contrast: i32, motion: i32) -> i32 {
        let extra = contrast * i32::from(self.per_contrast) + motion * i32::from(self.per_motion);
        i32::from(self.base) + extra / 256
    }
}

/// Thousandths of a bit for each pixel below which a rung is starved and shows it.
const THIN_MILLIBITS: u64 = 70;

/// The most that bounds are widened for it, in 256ths.
const MAX_EASE: u64 = 3 * 256;

/// How far a rung that gets so many thousandths of a bit for each pixel widens bounds on coding noise, in 256ths. The
/// ladder decides it, not the transcoder.
pub(crate) fn ease(millibits: u64) -> i64 {
    // At most MAX_EASE.
    (256 * THIN_MILLIBITS / millibits.max(1)).clamp(256, MAX_EASE) as i64
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
    /// Largest difference of two of them, in hundredths of the tolerance.
    pub frame_peak: i64,
    /// Largest energy of any one frame's luma difference, in thousandths of the source's variation and change.
    pub frame_error_permille: i64,
    /// Largest energy of what any one frame shows and is no copy of its source, in the same thousandths.
    pub frame_foreign_permille: i64,
    /// The first of them over all frames.
    pub error_permille: i64,
    /// The second of them over all frames.
    pub foreign_permille: i64,
    /// Tolerance of luma cells averaged over the segment.
    pub mean_luma: Tolerance,
    /// Tolerance of chroma cells averaged over the segment.
    pub mean_chroma: Tolerance,
    /// Most averaged cells outside it.
    pub mean_cells: i64,
    /// Largest difference of two of them, in hundredths of the tolerance.
    pub mean_peak: i64,
    /// Largest share of the cells of any small area that stand out of the noise of all, in thousandths.
    pub mean_cluster: i64,
    /// Share of its tolerance, in 256ths, that a cell of such an area passes at least.
    pub cluster_floor: i32,
    /// Largest luma difference of the middle cell, in thousandths of a level.
    pub luma_offset: i64,
    /// Largest stretch of luma levels, in thousandths.
    pub contrast_gained: i64,
    /// Largest loss of luma contrast, in thousandths; see [`FLICKER_LOSS`].
    pub contrast_lost: i64,
    /// Largest colour difference of the middle cell, in thousandths of a level.
    pub colour_offset: i64,
    /// Sine of the largest turn of colours, in thousandths.
    pub colour_turned: i64,
    /// Largest gain of colours, in thousandths.
    pub colour_gained: i64,
    /// Largest loss of colours, in thousandths.
    pub colour_lost: i64,
    /// Largest chroma error energy, in thousandths of the source's chroma energy.
    pub chroma_permille: i64,
    /// Largest share of blocks with detail that is not the source's, in thousandths.
    pub roughened_permille: i64,
    /// Largest deviation of two neighbouring blocks of pixels of the first frame, in hundredths of what one in a hundred passes.
    pub first_mark: i64,
    /// Most of the first frame's pixels that the source does not explain, in thousandths.
    pub unlike_permille: i64,
    /// Largest squared difference of a tile of the first frame, in hundredths of what is left from a pixel or two away.
    pub nearer_percent: i64,
    /// Largest displacement of a tile of the first frame, in thousandths of a fine lattice cell.
    pub first_displacement: i64,
    /// The same of all frames: what moves may lag behind where it is too faint to be coded anew.
    pub displacement: i64,
    /// Largest displacement of a tile of either chroma plane of the first frame, in thousandths of a coarse lattice cell.
    pub colour_displacement: i64,
    /// Largest share of moving frames that look like another frame, in thousandths.
    pub misaligned_permille: i64,
    /// Largest share of moving frames that stand still, in thousandths.
    pub frozen_permille: i64,
}

/// Bounds on a judgement of every frame.
pub const WHOLE: PictureRules = PictureRules {
    frame_luma: Tolerance { base: 6 * LEVEL, per_contrast: 96, per_motion: 160 },
    frame_chroma: Tolerance { base: 7 * LEVEL, per_contrast: 48, per_motion: 96 },
    frame_cells: 150,
    frame_peak: 1_500,
    frame_error_permille: 1_000,
    frame_foreign_permille: 380,
    error_permille: 500,
    foreign_permille: 70,
    mean_luma: Tolerance { base: 3 * LEVEL, per_contrast: 48, per_motion: 0 },
    mean_chroma: Tolerance { base: 4 * LEVEL, per_contrast: 32, per_motion: 0 },
    mean_cells: 48,
    mean_peak: 270,
    mean_cluster: 350,
    cluster_floor: 160,
    luma_offset: 2_250,
    contrast_gained: 70,
    contrast_lost: 120,
    colour_offset: 3_000,
    colour_turned: 95,
    colour_gained: 90,
    colour_lost: 130,
    chroma_permille: 100,
    roughened_permille: 14,
    first_mark: 400,
    unlike_permille: 950,
    nearer_percent: 160,
    first_displacement: 100,
    displacement: 250,
    colour_displacement: 250,
    misaligned_permille: 150,
    frozen_permille: 250,
};

/// Bounds on a judgement of the first frame, where there is nothing to average.
pub const FIRST_FRAME: PictureRules = PictureRules {
    mean_luma: Tolerance { base: 6 * LEVEL, per_contrast: 96, per_motion: 0 },
    mean_chroma: Tolerance { base: 7 * LEVEL, per_contrast: 48, per_motion: 0 },
    frame_peak: 200,
    mean_peak: 200,
    cluster_floor: 96,
    frame_foreign_permille: 250,
    foreign_permille: 150,
    contrast_gained: 175,
    contrast_lost: 175,
    colour_turned: 110,
    colour_lost: 175,
    chroma_permille: 200,
    roughened_permille: 12,
    ..WHOLE
};

/// Fewer frames than this are no average: they are judged by [`FEW_FRAMES`].
pub const MIN_AVERAGED_FRAMES: u32 = 8;

/// Bounds on a judgement of every frame where there are too few to average. Each may lag behind as one of many may, and what they
/// show together is held to what a first frame may be off by.
pub const FEW_FRAMES: PictureRules = PictureRules {
    frame_peak: WHOLE.frame_peak,
    frame_foreign_permille: WHOLE.frame_foreign_permille,
    ..FIRST_FRAME
};

/// Added to the bound on standing still for every cell over which a small rendition is averaged: little that moves in it
/// is larger than its pixels.
pub const FROZEN_PER_RADIUS: i64 = 125;

/// Pixels of a rendition, each way, that an average covers at least: as many as a transform block of the codecs.
pub(crate) const SMOOTH_PIXELS: usize = 8;

/// Share of the cells, in thousandths, that pass what is taken for the noise.
pub(crate) const NOISE_PERMILLE: usize = 100;

/// How far beyond that noise a cell is no noise any more, in 256ths.
pub(crate) const NOISE_FACTOR: i32 = 768;

/// How far beyond the noise a cell of a cluster is, in 256ths.
pub(crate) const CLUSTER_FACTOR: i32 = 1024;

/// Cells on each side of a cluster's middle: a hundredth of the picture in all.
pub(crate) const CLUSTER_RADIUS: usize = 3;

/// The most that noise widens a tolerance, in 256ths.
pub(crate) const NOISE_CEILING: i32 = 768;

/// Variation of the source per cell, in squared sixteenths, below which errors are held against this instead.
pub(crate) const ERROR_FLOOR: i64 = (3 * LEVEL as i64) * (3 * LEVEL as i64);

/// How many times the source's squared change from frame to frame counts as its variation: bits are short where nothing can
/// be foretold, and what flickers is lost first.
pub(crate) const FLICKER_WEIGHT: i64 = 3;

/// Thousandths of contrast that may be lost, and of changing frames that may stand still, for every thousandth of the source that flickers.
pub const FLICKER_LOSS: i64 = 2;

/// The most that may be foreign over all frames, however much the source flickers.
pub const MAX_FOREIGN: i64 = 200;

/// Standard deviation of averaged cells, in thousandths of a level, above which means are taken to be unsteady.
pub const STEADY: i64 = 1_800;

/// A picture whose pixels differ from their neighbours by more than so many times the energy that is left on the lattice is
/// buried in noise.
pub(crate) const BURIED: i64 = 16;

/// How many times bounds on coding noise are widened for it; where it moves cannot be told.
pub(crate) const BURIED_EASE: i64 = 4;

/// Ridge of the fit of luma levels: squared sixteenths.
pub(crate) const TONE_RIDGE: i64 = (3 * LEVEL as i64) * (3 * LEVEL as i64);

/// Ridge of the fit of colours: squared sixteenths.
pub(crate) const COLOUR_RIDGE: i64 = (2 * LEVEL as i64) * (2 * LEVEL as i64);

/// Detail of a block that may grow out of the most detailed block around it in the source, in 256ths.
pub(crate) const DETAIL_FACTOR: u64 = 384;

/// Detail that may stand where there is none: squared sixteenths for each pixel.
pub(crate) const DETAIL_FLOOR: u64 = 48 * (LEVEL as u64) * (LEVEL as u64);

/// Variation of a block, in squared sixteenths for each pixel, that its error is held against beside its own: flat blocks are the
/// lattice's affair.
pub(crate) const PIXEL_FLOOR: u64 = (12 * LEVEL as u64) * (12 * LEVEL as u64);

/// Deviation, in 256ths, that no mark is told from where nearly all blocks are as good as their source.
pub(crate) const MARK_FLOOR: u64 = 8;

/// Squared difference for each pixel, in squared sixteenths, below which no displacement is told.
pub(crate) const SHIFT_FLOOR: u64 = (2 * LEVEL as u64) * (2 * LEVEL as u64);

/// A picture whose pixels vary by less than this inside blocks, in squared sixteenths for each, shows too little to be told from
/// another.
pub(crate) const SHOWN_FLOOR: i64 = (2 * LEVEL as i64) * (2 * LEVEL as i64);

/// Noise floor of the chroma energy, per cell and plane, in squared sixteenths: a picture with less colour than this
/// is judged as if it had this much.
pub const CHROMA_FLOOR: i128 = (3 * LEVEL as i128) * (3 * LEVEL as i128);

/// Weakest mean squared gradient (sixteenths per two cells) of a tile whose displacement can be told.
pub const TEXTURE_FLOOR: i128 = (LEVEL as i128) * (LEVEL as i128);

/// A single tile's displacement counts when it explains at least so many hundredths of its difference: coding noise explains
/// little, what lags behind in a part of the tile half of it, a shift nearly all.
pub const EXPLAINED_PERCENT: i128 = 65;

/// Least mean squared difference, in squared sixteenths of a level, that a displacement has to explain in a tile: that of half a
/// level. On a smooth slope, predictions of an encoder that is short of bits lag behind by a pixel, which nobody sees.
pub const SEEN_DISPLACEMENT: i128 = (LEVEL as i128 / 2) * (LEVEL as i128 / 2);

/// Neighbouring cells whose differences count as one witness of a displacement.
pub(crate) const CORRELATED: i128 = 10;

/// Standard deviations of a displacement that are in doubt, in hundredths.
pub(crate) const DOUBT_PERCENT: i128 = 100;

/// Fine cells on each side over which pictures are averaged to find large displacements.
pub(crate) const COARSE_RADIUS: usize = 2;

/// Largest displacement in thousandths of the rendition's own pixels: scalers place small pictures no better. As many times
/// of it where cells are averaged.
pub(crate) const DISPLACED_PIXEL: i64 = 300;

/// Textured tiles from which their middle displacement means something.
pub const MIN_TILES: usize = 5;

/// Frames between two that are registered: displacement lasts or does not matter.
pub const REGISTER_EVERY: u32 = 4;

/// Frames before and after the right one that a rendition's frame is compared with.
pub const NEIGHBOURS: usize = 4;

/// A frame moves when it differs from one of its neighbours by more than this on average, in sixteenths of a level,
/// and from the farther ones more than from the nearest.
pub const MOTION_FLOOR: u32 = LEVEL as u32 / 2;

/// A frame is in the wrong place only if it differs by more than this from the right one on average.
pub(crate) const MISPLACED_FLOOR: u32 = 2 * LEVEL as u32;

/// A frame also moves when it differs from both neighbours by more than this: no grain does that to a lattice.
pub const RACE_FLOOR: u32 = 4 * LEVEL as u32;

/// A cell changes from frame to frame when it differs by more than this, in sixteenths of a level.
pub const CHANGE_FLOOR: u16 = 5 * LEVEL;

/// Up to this median change of all cells it may be grain that changes them.
pub const GRAIN_CEILING: u16 = 4 * LEVEL;

/// How many times the median change motion stands out of grain: four standard deviations.
pub const GRAIN_FACTOR: u16 = 6;

/// A frame changes when at least this many of its cells do.
pub const MIN_CHANGING_CELLS: u32 = 36;

/// Frames between the two of the second comparison for standing still: slow motion shows only over a while.
pub const LONG_STEP: usize = 8;

/// Moving frames from which shares of them mean something.
pub const MIN_MOVING_FRAMES: u32 = 8;

/// Where the cells that change show less than one in this many parts of the source's variation, their picture is lost and
/// not still.
pub(crate) const FADED_DIVISOR: u64 = 4;

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
    pub const MAX_RATE_PERCENT: u64 = 600;
    /// Bytes any segment may take on top: its parameter sets and one hard keyframe.
    pub const RATE_ALLOWANCE: u64 = 256 * 1024;
    /// Most bytes of filler for every picture, beyond what fills the video up to the agreed rate.
    pub const IDLE_BYTES_PER_PICTURE: u64 = 1024;
    /// Most bytes of supplemental messages for every picture.
    pub const MESSAGE_BYTES_PER_PICTURE: u64 = 1024;
    /// Most bytes of a rendition in percent of its video's bound and its sound: packet headers take 2 %, units that
    /// fill their last packet by half 20 %.
    pub const CONTAINER_PERCENT: u64 = 125;
    /// Bytes on top: a packet for every small unit, and tables.
    pub const CONTAINER_ALLOWANCE: u64 = 1024 * 1024;
    /// Most bytes that fill packets up, for every unit: all but one byte of its last packet, and a header.
    pub const STUFFING_PER_UNIT: u64 = 200;
    /// The same of any segment.
    pub const STUFFING_ALLOWANCE: u64 = 16 * 1024;
    /// Most packets of tables for every unit: muxers repeat three tables at keyframes.
    pub const TABLES_PER_UNIT: u64 = 3;
    /// The same of any segment.
    pub const TABLE_ALLOWANCE: u64 = 16;
    /// Ticks by which decoding may lead showing, and the clock decoding: ten seconds, the most that ISO/IEC 13818-1 lets
    /// a decoder wait.
    pub const MAX_DECODING_LEAD: i64 = 10 * 90_000;
    /// Longest duration of the last frame, in the longest distances of frames: what comes next was not known.
    pub const MAX_LAST_INTERVALS: i64 = 2;
    /// Most pixels cut off at the right or the bottom: what fills the last macroblock of H.264.
    pub const CROP_H264: i64 = 15;
    /// The same of the largest coding block of HEVC.
    pub const CROP_HEVC: i64 = 63;
    /// Largest change of the picture's shape where pixels are not square, in thousandths: what rounding 100 lines to even
    /// sides makes.
    pub const ASPECT_PERMILLE: i64 = 20;
}
