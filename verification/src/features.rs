//! What is remembered of a decoded frame: means on lattices, in sixteenths of an 8-bit level.

use crate::kernel::Kernel;
use crate::plane::{Grid, LEVEL, Plane, area_means_by};

/// Cells of the fine luma lattice along the longer and the shorter side of the picture.
const FINE_LONG: usize = 160;
const FINE_SHORT: usize = 90;

/// The lattices laid over source and renditions alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lattice {
    /// Luma lattice on which displacement is measured.
    pub fine: Grid,
    /// Lattice of luma, of half as many cells each way, and of both chroma planes.
    pub coarse: Grid,
}

impl Lattice {
    /// The lattice for a picture of this shape: its long side lies along the picture's.
    #[must_use]
    pub fn for_picture(width: usize, height: usize) -> Self {
        let fine = if width >= height {
            Grid { cols: FINE_LONG, rows: FINE_SHORT }
        } else {
            Grid { cols: FINE_SHORT, rows: FINE_LONG }
        };
        Self { fine, coarse: fine.halved() }
    }
}

/// Whether samples use the whole range of their bits or leave head and foot room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// Luma 16 to 235, chroma 16 to 240 (in 8 bits).
    Limited,
    /// 0 to 255.
    Full,
}

/// The planes of a decoded picture. Chroma planes may have any size.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    /// Presentation time in 90 kHz ticks.
    pub pts: i64,
    /// Range of the samples.
    pub range: Range,
    /// Luma.
    pub y: Plane<'a>,
    /// Blue and red difference; none for a picture without colour.
    pub chroma: Option<(Plane<'a>, Plane<'a>)>,
}

/// The features of one frame. Levels are those of limited range whatever the picture's own range is, so that a
/// rendition is compared as it will be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameFeatures {
    /// Presentation time in 90 kHz ticks.
    pub pts: i64,
    /// Luma means on the fine lattice.
    pub fine: Vec<u16>,
    /// Luma means on the coarse lattice.
    pub luma: Vec<u16>,
    /// Blue difference on the coarse lattice.
    pub u: Vec<u16>,
    /// Red difference on the coarse lattice.
    pub v: Vec<u16>,
}

/// Mid-grey of a chroma plane.
pub(crate) const NEUTRAL: u16 = 128 * LEVEL;

impl FrameFeatures {
    /// Measures a picture.
    #[must_use]
    pub fn measure(picture: &Picture<'_>, lattice: Lattice) -> Self {
        Self::measure_by(Kernel::detect(), picture, lattice)
    }

    /// Measures a picture by a kernel of the caller's choice.
    #[must_use]
    pub fn measure_by(kernel: Kernel, picture: &Picture<'_>, lattice: Lattice) -> Self {
        let means = |plane, grid| area_means_by(kernel, plane, grid);
        let fine = means(&picture.y, lattice.fine);
        let chroma = match &picture.chroma {
            Some((u, v)) => [u, v].map(|plane| means(plane, lattice.coarse)),
            None => [vec![NEUTRAL; lattice.coarse.cells()], vec![NEUTRAL; lattice.coarse.cells()]],
        };
        Self::of_means(picture.pts, picture.range, fine, chroma, lattice)
    }

    /// The features of a picture whose planes have these means.
    pub(crate) fn of_means(
        pts: i64,
        range: Range,
        mut fine: Vec<u16>,
        [mut u, mut v]: [Vec<u16>; 2],
        lattice: Lattice,
    ) -> Self {
        if range == Range::Full {
            fine.iter_mut().for_each(|level| *level = limited_luma(*level));
            u.iter_mut().for_each(|level| *level = limited_chroma(*level));
            v.iter_mut().for_each(|level| *level = limited_chroma(*level));
        }
        Self { pts, luma: halve(&fine, lattice), fine, u, v }
    }

    /// The features as bytes, big-endian, in the order of the fields: the same on every machine.
    #[must_use]
    pub fn canonical_bytes(&self) -> Vec<u8> {
        let planes = [&self.fine, &self.luma, &self.u, &self.v];
        let values: usize = planes.iter().map(|plane| plane.len()).sum();
        let mut out = Vec::with_capacity(8 + 2 * values);
        out.extend_from_slice(&self.pts.to_be_bytes());
        for value in planes.into_iter().flatten() {
            out.extend_from_slice(&value.to_be_bytes());
        }
        out
    }
}

pub(crate) fn limited_luma(level: u16) -> u16 {
    // At most 4095 * 219 / 255 + 256: fits.
    (u32::from(16 * LEVEL) + (u32::from(level) * 219 + 127) / 255) as u16
}

pub(crate) fn limited_chroma(level: u16) -> u16 {
    let offset = i32::from(level) - i32::from(NEUTRAL);
    (i32::from(NEUTRAL) + (offset * 224 + 127).div_euclid(255)) as u16
}

/// Averages two by two cells of the fine lattice.
fn halve(fine: &[u16], lattice: Lattice) -> Vec<u16> {
    let mut out = vec![0; lattice.coarse.cells()];
    let rows = fine.chunks_exact(2 * lattice.fine.cols);
    for (means, rows) in out.chunks_exact_mut(lattice.coarse.cols).zip(rows) {
        let (upper, lower) = rows.split_at(lattice.fine.cols);
        for (mean, (a, b)) in means.iter_mut().zip(upper.chunks_exact(2).zip(lower.chunks_exact(2))) {
            *mean = (a[0] + a[1] + b[0] + b[1] + 2) / 4;
        }
    }
    out
}

/// How much the fine lattice varies around every coarse cell: the largest minus the smallest mean of the four by
/// four fine cells around it. Coding errors grow with it.
#[must_use]
pub fn contrast(fine: &[u16], lattice: Lattice) -> Vec<u16> {
    let Grid { cols, rows } = lattice.fine;
    let mut out = Vec::with_capacity(lattice.coarse.cells());
    let mut reach = Reach::new(cols);
    for row in 0..lattice.coarse.rows {
        reach.take(fine, cols, (2 * row).saturating_sub(1)..(2 * row + 3).min(rows));
        // Of neighbours two by two, a coarse cell's own and one on each side.
        let [high, low] = [&reach.high, &reach.low].map(|row| row.windows(4).step_by(2));
        out.extend(high.zip(low).map(|(high, low)| range_of(high, low)));
    }
    out
}

/// The largest minus the smallest of the three by three cells around every cell.
pub(crate) fn spread(cells: &[u16], grid: Grid) -> Vec<u16> {
    let mut out = Vec::with_capacity(cells.len());
    let mut reach = Reach::new(grid.cols);
    for row in 0..grid.rows {
        reach.take(cells, grid.cols, row.saturating_sub(1)..(row + 2).min(grid.rows));
        let [high, low] = [&reach.high, &reach.low].map(|row| row.windows(3));
        out.extend(high.zip(low).map(|(high, low)| range_of(high, low)));
    }
    out
}

/// The largest and the smallest of neighbouring rows, column by column, with one more column at each end that is neither.
struct Reach {
    high: Vec<u16>,
    low: Vec<u16>,
}

impl Reach {
    fn new(cols: usize) -> Self {
        Self { high: vec![0; cols + 2], low: vec![u16::MAX; cols + 2] }
    }

    fn take(&mut self, cells: &[u16], cols: usize, rows: std::ops::Range<usize>) {
        let (high, low) = (&mut self.high[1..=cols], &mut self.low[1..=cols]);
        high.fill(0);
        low.fill(u16::MAX);
        for line in cells[rows.start * cols..rows.end * cols].chunks_exact(cols) {
            extend(high, low, line);
        }
    }
}

fn range_of(high: &[u16], low: &[u16]) -> u16 {
    let most = high.iter().fold(0, |most, &level| most.max(level));
    most - low.iter().fold(most, |least, &level| least.min(level))
}

fn extend(high: &mut [u16], low: &mut [u16], line: &[u16]) {
    for ((h, l), &level) in high.iter_mut().zip(low).zip(line) {
        *h = (*h).max(level);
        *l = (*l).min(level);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(width: usize, height: usize, level: u8) -> Vec<u8> {
        vec![level; width * height]
    }

    fn measure(data: &[u8], width: usize, height: usize, range: Range) -> FrameFeatures {
        let y = Plane::new(data, width, width, height, 8).expect("sound plane");
        let picture = Picture { pts: 0, range, y, chroma: None };
        FrameFeatures::measure(&picture, Lattice::for_picture(width, height))
    }

    #[test]
    fn a_flat_picture_measures_the_same_at_every_size() {
        let small = measure(&grey(33, 17, 90), 33, 17, Range::Limited);
        let large = measure(&grey(640, 360, 90), 640, 360, Range::Limited);
        assert_eq!(small, large);
    }

    #[test]
    fn full_range_is_brought_to_limited_levels() {
        let white = measure(&grey(64, 36, 255), 64, 36, Range::Full);
        assert!(white.luma.iter().all(|&level| level == 235 * LEVEL));
        assert_eq!(limited_chroma(NEUTRAL), NEUTRAL);
        assert_eq!(limited_chroma(0), 2048 - 1799);
    }

    #[test]
    fn a_portrait_picture_gets_a_portrait_lattice() {
        assert_eq!(Lattice::for_picture(360, 640).fine, Grid { cols: 90, rows: 160 });
    }

    #[test]
    fn contrast_is_zero_on_a_flat_and_the_step_beside_an_edge() {
        let mut data = grey(160, 90, 50);
        for row in data.chunks_exact_mut(160) {
            row[80..].fill(70);
        }
        let features = measure(&data, 160, 90, Range::Limited);
        let contrast = contrast(&features.fine, Lattice::for_picture(160, 90));
        assert_eq!(contrast[0], 0);
        assert_eq!(contrast[39], 20 * LEVEL);
        assert_eq!(contrast[40], 20 * LEVEL);
        assert_eq!(contrast[42], 0);
    }
}
