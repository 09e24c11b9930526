//! What pixels tell where a lattice cell is too coarse: a mark of a few pixels on rich detail, strokes that are displaced by one
//! or two pixels, another picture of the same noise.
//!
//! Asked of the first frame, which is coded by itself. Every question is relative to the picture, so that none of them needs to
//! know how much an encoder loses: whether few blocks differ far more than nearly all do, whether the source explains what is
//! shown better from a pixel or two away, whether it explains it at all.

use crate::kernel::{Kernel, MOMENT_SIDE, Moments};
use crate::rules::{MARK_FLOOR, PIXEL_FLOOR, SHIFT_FLOOR, SHOWN_FLOOR};

/// Pixels of a block.
const BLOCK_PIXELS: u64 = (MOMENT_SIDE * MOMENT_SIDE) as u64;

/// Tiles along each side in which displacement is looked for: a crop or a turn moves the rim and not the middle.
const TILES: usize = 3;

/// Columns and rows by which the source is displaced; the first is its place.
const SHIFTS: [(isize, isize); 9] =
    [(0, 0), (-2, 0), (-1, 0), (1, 0), (2, 0), (0, -2), (0, -1), (0, 1), (0, 2)];

/// The row of a band that is compared: two more lie above and below it.
const SHIFT_ROW: usize = 3;

/// Columns at either end that a displaced row does not cover.
const SHIFT_MARGIN: usize = 2;

/// Sums over a frame of a rendition and its source.
pub(crate) struct FramePixels {
    across: usize,
    down: usize,
    /// Squared difference of every block, its variation in the source and its mean level there.
    errors: Vec<u32>,
    variations: Vec<u32>,
    means: Vec<u16>,
    likeness: Alike,
    /// Squared differences of every tile at every displacement, and how many pixels they are of.
    shifts: [[u64; SHIFTS.len()]; TILES * TILES],
    shifted: [u64; TILES * TILES],
}

impl FramePixels {
    /// For pictures of so many columns and rows.
    pub(crate) fn new(cols: usize, rows: usize) -> Self {
        let (across, down) = (cols / MOMENT_SIDE, rows / MOMENT_SIDE);
        let blocks = across * down;
        Self {
            across,
            down,
            errors: Vec::with_capacity(blocks),
            variations: Vec::with_capacity(blocks),
            means: Vec::with_capacity(blocks),
            likeness: Alike::default(),
            shifts: [[0; SHIFTS.len()]; TILES * TILES],
            shifted: [0; TILES * TILES],
        }
    }

    /// Adds the next band of eight rows: its levels, and the moments of its blocks.
    pub(crate) fn add(
        &mut self,
        kernel: Kernel,
        (source, shown): (&[u16], &[u16]),
        cols: usize,
        moments: &[Moments],
    ) {
        self.add_shifts(kernel, source, shown, cols);
        for block in moments {
            // Sums of 64 levels below 2^13: their squares stay below 2^36.
            let of = |squares: u32, a: u32, b: u32| {
                (i64::from(squares) - i64::from(a) * i64::from(b) / BLOCK_PIXELS as i64).max(0)
            };
            let variation = of(block.source_squares, block.source, block.source);
            let products = i64::from(block.products);
            self.likeness.source += variation;
            self.likeness.shown += of(block.shown_squares, block.shown, block.shown);
            self.likeness.common +=
                products - i64::from(block.source) * i64::from(block.shown) / BLOCK_PIXELS as i64;
            // Both at most 2^30, and a mean is a level.
            self.variations.push(variation as u32);
            self.errors.push(
                (i64::from(block.source_squares) + i64::from(block.shown_squares) - 2 * products) as u32,
            );
            self.means.push((block.source / BLOCK_PIXELS as u32) as u16);
        }
    }

    fn add_shifts(&mut self, kernel: Kernel, source: &[u16], shown: &[u16], cols: usize) {
        let row = |row: usize| row * cols..(row + 1) * cols;
        let shown = &shown[row(SHIFT_ROW)];
        let band = self.errors.len() / self.across.max(1);
        for tile in 0..TILES {
            let from = (tile * cols / TILES).max(SHIFT_MARGIN);
            let to = ((tile + 1) * cols / TILES).min(cols.saturating_sub(SHIFT_MARGIN));
            if from >= to {
                continue;
            }
            let place = band * TILES / self.down.max(1) * TILES + tile;
            for (sum, (right, below)) in self.shifts[place].iter_mut().zip(SHIFTS) {
                let there = &source[row(SHIFT_ROW.saturating_add_signed(below))];
                let (left, end) = (from.saturating_add_signed(right), to.saturating_add_signed(right));
                *sum += kernel.square_error(&there[left..end], &shown[from..to]);
            }
            self.shifted[place] += (to - from) as u64;
        }
    }

    /// What they tell.
    pub(crate) fn figures(&self) -> Pixels {
        let pixels = self.errors.len() as u64 * BLOCK_PIXELS;
        Pixels {
            mark_percent: mark_percent(&self.deviations(), self.across),
            unlike_permille: self.likeness.unlike_permille(pixels),
            nearer_percent: self.nearer_percent(),
        }
    }

    /// How far every block differs, in 256ths of the most variation or step of the source around it.
    fn deviations(&self) -> Vec<u32> {
        let mut out = Vec::with_capacity(self.errors.len());
        for y in 0..self.down {
            for x in 0..self.across {
                let (mut variation, mut low, mut high) = (0, u16::MAX, 0);
                for at in around(x, y, self.across, self.down) {
                    variation = variation.max(self.variations[at]);
                    low = low.min(self.means[at]);
                    high = high.max(self.means[at]);
                }
                let at = y * self.across + x;
                let step = u64::from((high - self.means[at]).max(self.means[at] - low));
                // A step that a scaler softens errs by no more than a quarter of its square in every pixel along it.
                let allowed = u64::from(variation).max(step * step * BLOCK_PIXELS / 4);
                // Errors are at most 2^30 and the floor far above 2^8.
                out.push((256 * u64::from(self.errors[at]) / (allowed + PIXEL_FLOOR * BLOCK_PIXELS)) as u32);
            }
        }
        out
    }

    /// Squared difference of the tile that another place in the source explains best, in hundredths of what is left there.
    fn nearer_percent(&self) -> i64 {
        let tiles = self.shifts.iter().zip(self.shifted).filter(|(_, pixels)| *pixels > 0);
        let percent = tiles.map(|(sums, pixels)| {
            let elsewhere = sums[1..].iter().min().copied().unwrap_or(0);
            // Squares are at most 2^24 for each of at most 2^32 pixels.
            100 * sums[0] / (elsewhere + SHIFT_FLOOR * pixels)
        });
        percent.max().unwrap_or(0) as i64
    }
}

/// How much of the variation inside blocks source and rendition share, in squared sixteenths of a level.
#[derive(Clone, Copy, Debug, Default)]
struct Alike {
    source: i64,
    shown: i64,
    common: i64,
}

impl Alike {
    /// What the source does not explain of what is shown, in thousandths; none where little is shown.
    fn unlike_permille(self, pixels: u64) -> i64 {
        let shown = i128::from(self.shown);
        if shown <= i128::from(SHOWN_FLOOR) * i128::from(pixels) {
            return 0;
        }
        // A negative is not like its source.
        let common = i128::from(self.common.max(0));
        let explained = common * common / i128::from(self.source.max(1));
        // Between nothing and all of it.
        (1000 - (1000 * explained / shown).min(1000)) as i64
    }
}

/// What a frame's pixels tell.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pixels {
    /// Deviation of the two neighbouring blocks that differ most, in hundredths of what one block in a hundred passes.
    pub(crate) mark_percent: i64,
    /// What the source does not explain of what is shown, in thousandths.
    pub(crate) unlike_permille: i64,
    /// Squared difference in hundredths of what is left of it when the source is displaced by one or two pixels, of the worst
    /// tile.
    pub(crate) nearer_percent: i64,
}

/// Places of a block and its neighbours.
pub(crate) fn around(x: usize, y: usize, across: usize, down: usize) -> impl Iterator<Item = usize> {
    let columns = x.saturating_sub(1)..(x + 2).min(across);
    (y.saturating_sub(1)..(y + 2).min(down)).flat_map(move |y| columns.clone().map(move |x| y * across + x))
}

/// Deviation of the two neighbouring blocks that differ most, in hundredths of what one block in a hundred passes.
fn mark_percent(deviations: &[u32], across: usize) -> i64 {
    if deviations.is_empty() {
        return 0;
    }
    let beside =
        deviations.chunks_exact(across).flat_map(|row| row.windows(2).map(|pair| pair[0].min(pair[1]))).max();
    let below = deviations.iter().zip(deviations.iter().skip(across)).map(|(a, b)| *a.min(b)).max();
    let most = u64::from(beside.max(below).unwrap_or(0));
    let mut sorted = deviations.to_vec();
    let rank = sorted.len() * 99 / 100;
    let (_, usual, _) = sorted.select_nth_unstable(rank);
    // Below 2^27.
    (100 * most / (u64::from(*usual) + MARK_FLOOR)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plane::LEVEL;

    const COLS: usize = 160;
    const ROWS: usize = 96;

    /// Rich detail without a period, in sixteenths of a level.
    fn texture(x: usize, y: usize) -> u16 {
        let mixed = (x as u32).wrapping_mul(0x9e37_79b1) ^ (y as u32).wrapping_mul(0x85eb_ca6b);
        let mixed = (mixed ^ mixed >> 15).wrapping_mul(0x2c1b_3c6d);
        LEVEL * (60 + (mixed >> 16) as u16 % 120)
    }

    /// What coding leaves of a level: an eighth is lost.
    fn coded(level: u16) -> u16 {
        level - level / 8 + 120 * LEVEL / 8
    }

    fn frame(source: impl Fn(usize, usize) -> u16, shown: impl Fn(usize, usize) -> u16) -> FramePixels {
        let mut pixels = FramePixels::new(COLS, ROWS);
        let mut moments = vec![Moments::default(); COLS / MOMENT_SIDE];
        for top in (0..ROWS).step_by(MOMENT_SIDE) {
            let rows = |level: &dyn Fn(usize, usize) -> u16| -> Vec<u16> {
                (top..top + MOMENT_SIDE)
                    .flat_map(|y| (0..COLS).map(move |x| (x, y)))
                    .map(|(x, y)| level(x, y))
                    .collect()
            };
            let (source, shown) = (rows(&source), rows(&shown));
            Kernel::SCALAR.moments(&source, &shown, COLS, &mut moments);
            pixels.add(Kernel::SCALAR, (&source, &shown), COLS, &moments);
        }
        pixels
    }

    fn pixels(shown: impl Fn(usize, usize) -> u16) -> Pixels {
        frame(texture, shown).figures()
    }

    #[test]
    fn a_coded_copy_shows_no_mark_no_shift_and_no_other_picture() {
        let copy = pixels(|x, y| coded(texture(x, y)));
        assert!(copy.mark_percent < 200 && copy.nearer_percent < 100, "{copy:?}");
        assert_eq!(copy.unlike_permille, 0);
    }

    #[test]
    fn a_box_of_two_blocks_on_rich_detail_stands_out() {
        let boxed = pixels(|x, y| {
            if (48..64).contains(&x) && (40..48).contains(&y) { 200 * LEVEL } else { coded(texture(x, y)) }
        });
        assert!(boxed.mark_percent > 400, "{boxed:?}");
    }

    #[test]
    fn what_is_lost_everywhere_is_no_mark() {
        let flat = pixels(|_, _| 120 * LEVEL);
        assert!(flat.mark_percent < 300, "{flat:?}");
    }

    #[test]
    fn a_displaced_picture_is_nearer_elsewhere() {
        for (right, below) in [(1, 0), (2, 0), (0, 1), (0, 2)] {
            let moved = pixels(|x, y| coded(texture(x + right, y + below)));
            assert!(moved.nearer_percent > 160, "{right} {below}: {}", moved.nearer_percent);
        }
    }

    #[test]
    fn another_picture_of_the_same_noise_is_not_explained() {
        let flipped = pixels(|x, y| coded(texture(COLS - 1 - x, y)));
        assert!(flipped.unlike_permille > 950, "{flipped:?}");
        let negative = pixels(|x, y| 240 * LEVEL - texture(x, y));
        assert_eq!(negative.unlike_permille, 1000);
    }

    #[test]
    fn what_shows_nothing_is_not_called_another_picture() {
        assert_eq!(pixels(|_, _| 120 * LEVEL).unlike_permille, 0);
    }

    #[test]
    fn pictures_smaller_than_a_block_are_passed_over() {
        let mut tiny = FramePixels::new(5, 8);
        tiny.add(Kernel::SCALAR, (&[0; 40], &[800; 40]), 5, &[]);
        let pixels = tiny.figures();
        assert_eq!((pixels.mark_percent, pixels.unlike_permille), (0, 0));
    }
}
