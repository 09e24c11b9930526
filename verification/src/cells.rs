//! Which cells of a lattice differ by more than coding can make them.

use crate::plane::Grid;
use crate::rules::{ERROR_FLOOR, NOISE_CEILING, NOISE_FACTOR, NOISE_PERMILLE, SMOOTH_PIXELS};

/// Cells on each side over which differences are averaged, so that each average covers enough of the rendition's
/// pixels: a cell of a small rendition holds a few pixels, whose coding noise does not average out.
pub(crate) fn smoothing_radius(grid: Grid, (width, height): (u32, u32)) -> usize {
    let enough = |radius: &usize| {
        let cells = 2 * radius + 1;
        cells * width as usize >= SMOOTH_PIXELS * grid.cols
            && cells * height as usize >= SMOOTH_PIXELS * grid.rows
    };
    (0..MAX_RADIUS).find(enough).unwrap_or(MAX_RADIUS)
}

/// Averages over more cells than this would hide what covers a twentieth of the picture.
const MAX_RADIUS: usize = 5;

/// Means over the cells within `radius` of each cell, rounded toward zero; at the rim over those there are.
pub(crate) fn smoothed(cells: Vec<i32>, grid: Grid, radius: usize) -> Vec<i32> {
    if radius == 0 {
        return cells;
    }
    // Summed areas: sums over all frames of differences below 2^12, times thousands of cells.
    let across = grid.cols + 1;
    let mut areas = vec![0i64; across * (grid.rows + 1)];
    for (y, row) in cells.chunks_exact(grid.cols).enumerate() {
        let mut sum = 0;
        for (x, cell) in row.iter().enumerate() {
            sum += i64::from(*cell);
            areas[(y + 1) * across + x + 1] = areas[y * across + x + 1] + sum;
        }
    }
    let mut out = Vec::with_capacity(cells.len());
    for y in 0..grid.rows {
        let (top, bottom) = (y.saturating_sub(radius), (y + radius + 1).min(grid.rows));
        for x in 0..grid.cols {
            let (left, right) = (x.saturating_sub(radius), (x + radius + 1).min(grid.cols));
            let area = |y: usize, x: usize| areas[y * across + x];
            let sum = area(bottom, right) - area(bottom, left) - area(top, right) + area(top, left);
            // A mean is no larger than the largest of its cells.
            out.push((sum / ((bottom - top) * (right - left)) as i64) as i32);
        }
    }
    out
}

/// Cells that differ by more than their bound, which grows with the coding noise of all cells.
///
/// The noise is what one cell in ten passes, so that a change of a smaller area does not hide itself; a change of a
/// larger one raises the bounds no further than [`NOISE_CEILING`].
pub(crate) fn outliers(differences: &[i32], bounds: &[i32]) -> i64 {
    if differences.iter().zip(bounds).all(|(difference, &bound)| difference.abs() <= bound) {
        return 0;
    }
    let mut shares = shares(differences, bounds);
    let allowed = allowed(&mut shares);
    shares.iter().filter(|&&share| share > allowed).count() as i64
}

/// How far each cell differs, in thousandths of what [`outliers`] allows it: above a thousand it is one.
pub(crate) fn deviations(differences: &[i32], bounds: &[i32]) -> Vec<u32> {
    let shares = shares(differences, bounds);
    let allowed = u64::from(allowed(&mut shares.clone()).unsigned_abs());
    // Shares are below 2^20.
    shares.iter().map(|share| (u64::from(share.unsigned_abs()) * 1000).div_ceil(allowed) as u32).collect()
}

/// Differences in 256ths of their bounds: differences are below 2^12 and bounds above zero.
fn shares(differences: &[i32], bounds: &[i32]) -> Vec<i32> {
    let cells = differences.iter().zip(bounds);
    cells.map(|(difference, &bound)| 256 * difference.abs() / bound.max(1)).collect()
}

/// The share that is allowed where these are found; changes their order.
fn allowed(shares: &mut [i32]) -> i32 {
    let rank = shares.len() * (1000 - NOISE_PERMILLE) / 1000;
    let (_, &mut noise, _) = shares.select_nth_unstable(rank);
    (noise * NOISE_FACTOR / 256).clamp(256, NOISE_CEILING)
}

/// Energy of a difference beside the source's own variation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ErrorEnergy {
    error: i64,
    variation: i64,
}

impl ErrorEnergy {
    pub(crate) fn of(source: &[u16], differences: &[i32]) -> Self {
        let n = source.len() as i64;
        let sum: i64 = source.iter().map(|&level| i64::from(level)).sum();
        let squares: i64 = source.iter().map(|&level| i64::from(level) * i64::from(level)).sum();
        Self {
            error: differences.iter().map(|&d| i64::from(d) * i64::from(d)).sum(),
            variation: squares - sum * sum / n + n * ERROR_FLOOR,
        }
    }

    /// Adds another frame: below 2^36 each, and frames are bounded to thousands.
    pub(crate) fn add(&mut self, other: Self) {
        self.error += other.error;
        self.variation += other.variation;
    }

    /// Error in thousandths of the variation: a thousand when nothing of the picture is left, two thousand when it is
    /// another one.
    pub(crate) fn permille(self) -> i64 {
        self.error * 1000 / self.variation.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: Grid = Grid { cols: 8, rows: 5 };

    fn means_by_definition(cells: &[i32], radius: usize) -> Vec<i32> {
        let near = |a: usize, b: usize| a.abs_diff(b) <= radius;
        let mean = |at: usize| {
            let around = (0..GRID.cells())
                .filter(|&i| near(i % GRID.cols, at % GRID.cols) && near(i / GRID.cols, at / GRID.cols));
            let (sum, count) = around.fold((0, 0), |(sum, count), i| (sum + cells[i], count + 1));
            sum / count
        };
        (0..GRID.cells()).map(mean).collect()
    }

    #[test]
    fn smoothing_takes_means_of_what_lies_around() {
        let cells: Vec<i32> = (0..40).map(|i| i * 37 % 101 - 50).collect();
        for radius in 0..6 {
            assert_eq!(smoothed(cells.clone(), GRID, radius), means_by_definition(&cells, radius));
        }
    }

    #[test]
    fn only_small_renditions_are_smoothed() {
        let grid = Grid { cols: 80, rows: 45 };
        let radii = [(1280, 720), (640, 360), (256, 144), (128, 72), (66, 50), (2, 2)]
            .map(|size| smoothing_radius(grid, size));
        assert_eq!(radii, [0, 0, 1, 2, 5, MAX_RADIUS]);
    }

    #[test]
    fn noise_everywhere_hides_what_is_no_larger_and_nothing_else() {
        let bounds = vec![10; 1000];
        let mut noisy: Vec<i32> = (0..1000).map(|i| i % 13 - 6).collect();
        assert_eq!(outliers(&noisy, &bounds), 0);
        noisy.iter_mut().for_each(|cell| *cell *= 2);
        assert_eq!(outliers(&noisy, &bounds), 0);
        noisy[..20].fill(90);
        assert_eq!(outliers(&noisy, &bounds), 20);
    }

    #[test]
    fn a_cell_deviates_by_more_than_a_thousand_where_it_is_an_outlier() {
        let bounds = vec![10; 1000];
        for scale in [1, 2, 5, 40] {
            let cells: Vec<i32> =
                (0..1000).map(|i| scale * (i % 13 - 6) + if i < 30 { 70 } else { 0 }).collect();
            let beyond = deviations(&cells, &bounds).iter().filter(|&&share| share > 1000).count();
            assert_eq!(beyond as i64, outliers(&cells, &bounds), "{scale}");
        }
        let mut quiet = vec![0; 100];
        (quiet[0], quiet[1]) = (-10, 15);
        assert_eq!(deviations(&quiet, &[10; 100])[..3], [1000, 1500, 0]);
    }

    #[test]
    fn a_change_of_everything_is_not_taken_for_noise() {
        assert_eq!(outliers(&[60; 1000], &[10; 1000]), 1000);
    }

    #[test]
    fn a_lost_picture_leaves_an_error_as_large_as_itself() {
        let source: Vec<u16> = (0..1000).map(|i| 500 + i % 7 * 300).collect();
        let mean = source.iter().map(|&level| i32::from(level)).sum::<i32>() / 1000;
        let grey: Vec<i32> = source.iter().map(|&level| mean - i32::from(level)).collect();
        assert!((980..=1000).contains(&ErrorEnergy::of(&source, &grey).permille()));
        assert_eq!(ErrorEnergy::of(&source, &[0; 1000]).permille(), 0);
    }
}
