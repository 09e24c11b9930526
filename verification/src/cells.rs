//! Which cells of a lattice differ by more than coding can make them.

use crate::plane::Grid;
use crate::rules::{
    CLUSTER_FACTOR, CLUSTER_RADIUS, NOISE_CEILING, NOISE_FACTOR, NOISE_PERMILLE, SMOOTH_PIXELS,
};

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
    let side = 2 * radius + 1;
    // Sums over all frames of differences below 2^12, times thousands of cells. Beyond the rim there is nothing.
    let mut columns = vec![0i64; grid.cols + 2 * radius];
    let mut sums = vec![0i64; grid.cols];
    let shares: Vec<Share> = (0..=side * side).map(|count| Share::new(count as u64)).collect();
    let row = |y: usize| &cells[y * grid.cols..(y + 1) * grid.cols];
    let mut out = Vec::with_capacity(cells.len());
    let inside = radius..radius + grid.cols;
    for y in 0..radius.min(grid.rows) {
        columns[inside.clone()].iter_mut().zip(row(y)).for_each(|(sum, &cell)| *sum += i64::from(cell));
    }
    for y in 0..grid.rows {
        let (top, bottom) = (y.saturating_sub(radius), (y + radius + 1).min(grid.rows));
        let columns_inside = &mut columns[inside.clone()];
        if bottom == y + radius + 1 {
            columns_inside.iter_mut().zip(row(bottom - 1)).for_each(|(sum, &cell)| *sum += i64::from(cell));
        }
        if y > radius {
            columns_inside.iter_mut().zip(row(top - 1)).for_each(|(sum, &cell)| *sum -= i64::from(cell));
        }
        sums.copy_from_slice(&columns[..grid.cols]);
        for shift in 1..side {
            sums.iter_mut().zip(&columns[shift..]).for_each(|(sum, column)| *sum += column);
        }
        // A mean is no larger than the largest of its cells.
        let mean = |columns: usize, sum: i64| shares[(bottom - top) * columns].of(sum) as i32;
        let columns = |x: usize| (x + radius + 1).min(grid.cols) - x.saturating_sub(radius);
        let left = radius.min(grid.cols);
        let right = grid.cols.saturating_sub(radius).max(left);
        out.extend((0..left).map(|x| mean(columns(x), sums[x])));
        out.extend(sums[left..right].iter().map(|&sum| mean(side, sum)));
        out.extend((right..grid.cols).map(|x| mean(columns(x), sums[x])));
    }
    out
}

/// Division by a small number: a multiplication where that is exact.
#[derive(Clone, Copy)]
struct Share {
    count: u64,
    reciprocal: u64,
}

impl Share {
    fn new(count: u64) -> Self {
        Self { count, reciprocal: (1 << 32) / count.max(1) + 1 }
    }

    /// The quotient, rounded toward zero.
    fn of(self, sum: i64) -> i64 {
        let size = sum.unsigned_abs();
        // The reciprocal is high by less than `count` parts in 2^32, which the product stays below.
        let quotient = if size < (1 << 32) / (self.count + 1) {
            (size * self.reciprocal) >> 32
        } else {
            size / self.count
        };
        if sum < 0 { -(quotient as i64) } else { quotient as i64 }
    }
}

/// Cells that differ by more than coding can make them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outliers {
    /// How many pass their bound, which grows with the coding noise of all cells.
    ///
    /// The noise is what one cell in ten passes, so that a change of a smaller area does not hide itself; a change of a
    /// larger one raises the bounds no further than [`NOISE_CEILING`].
    pub(crate) count: i64,
    /// Difference of the second of them in hundredths of the bound, however few there are: what is drawn over a picture
    /// touches at least two.
    pub(crate) peak: i64,
}

/// How far each cell differs, in thousandths of what [`Outliers`] allows it: above a thousand it is counted.
pub(crate) fn deviations(differences: &[i32], bounds: &[i32]) -> Vec<u32> {
    let shares = shares(differences, bounds);
    let allowed = u64::from(allowed(&mut shares.clone()).0.unsigned_abs());
    // Shares are below 2^20.
    shares.iter().map(|share| (u64::from(share.unsigned_abs()) * 1000).div_ceil(allowed) as u32).collect()
}

/// Differences in 256ths of their bounds: differences are below 2^12 and bounds above zero.
fn shares(differences: &[i32], bounds: &[i32]) -> Vec<i32> {
    let cells = differences.iter().zip(bounds);
    cells.map(|(difference, &bound)| 256 * difference.abs() / bound.max(1)).collect()
}

/// The share that is allowed where these are found, and those above the noise; changes their order.
fn allowed(shares: &mut [i32]) -> (i32, &[i32]) {
    let rank = shares.len() * (1000 - NOISE_PERMILLE) / 1000;
    let (_, &mut noise, above) = shares.select_nth_unstable(rank);
    ((noise * NOISE_FACTOR / 256).clamp(256, NOISE_CEILING), above)
}

impl Outliers {
    pub(crate) fn of(differences: &[i32], bounds: &[i32]) -> Self {
        let outside = differences.iter().zip(bounds).map(|(cell, &bound)| i32::from(cell.abs() > bound));
        if outside.sum::<i32>() == 0 {
            return Self::default();
        }
        let mut shares = shares(differences, bounds);
        let (allowed, above) = allowed(&mut shares);
        let mut top = [0; 2];
        for &share in above {
            if share > top[0] {
                top = [share, top[0]];
            } else {
                top[1] = top[1].max(share);
            }
        }
        Self {
            count: shares.iter().filter(|&&share| share > allowed).count() as i64,
            peak: i64::from(top[1]) * 100 / 256,
        }
    }

    /// The worse of two planes or frames, each figure for itself.
    pub(crate) fn worse(self, other: Self) -> Self {
        Self { count: self.count.max(other.count), peak: self.peak.max(other.peak) }
    }
}

/// Share of the cells of the densest small area that stand out of the noise of all, in thousandths.
///
/// What is drawn faintly over a picture passes no bound, only `floor` 256ths of one; but where it lies most cells differ by more than elsewhere, and what
/// coding does differs from cell to cell.
pub(crate) fn densest_cluster(differences: &[i32], bounds: &[i32], grid: Grid, floor: i32) -> i64 {
    let shares: Vec<i32> = differences
        .iter()
        .zip(bounds)
        .map(|(difference, &bound)| 256 * difference.abs() / bound.max(1))
        .collect();
    if shares.iter().all(|&share| share <= floor) {
        return 0;
    }
    let mut sorted = shares.clone();
    let rank = sorted.len() * (1000 - NOISE_PERMILLE) / 1000;
    let (_, &mut noise, _) = sorted.select_nth_unstable(rank);
    let allowed = (noise * CLUSTER_FACTOR / 256).max(floor);
    let flags = shares.iter().map(|&share| 1000 * i32::from(share > allowed)).collect();
    let dense = smoothed(flags, grid, CLUSTER_RADIUS);
    i64::from(dense.into_iter().max().unwrap_or(0))
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
    fn shares_are_rounded_toward_zero() {
        for count in (1..=25 * 25).step_by(3) {
            let border = (1i64 << 32) / (count + 1);
            let around = [0, 1, count, border, border * 9, i64::MAX / 2];
            for sum in around.into_iter().flat_map(|sum| (sum - 2 * count..).step_by(7).take(count as usize))
            {
                assert_eq!(Share::new(count as u64).of(sum), sum / count, "{sum} / {count}");
            }
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
        assert_eq!(Outliers::of(&noisy, &bounds).count, 0);
        noisy.iter_mut().for_each(|cell| *cell *= 2);
        assert_eq!(Outliers::of(&noisy, &bounds).count, 0);
        noisy[..20].fill(90);
        assert_eq!(Outliers::of(&noisy, &bounds).count, 20);
    }

    #[test]
    fn a_cell_deviates_by_more_than_a_thousand_where_it_is_an_outlier() {
        let bounds = vec![10; 1000];
        for scale in [1, 2, 5, 40] {
            let cells: Vec<i32> =
                (0..1000).map(|i| scale * (i % 13 - 6) + if i < 30 { 70 } else { 0 }).collect();
            let beyond = deviations(&cells, &bounds).iter().filter(|&&share| share > 1000).count();
            assert_eq!(beyond as i64, Outliers::of(&cells, &bounds).count, "{scale}");
        }
        let mut quiet = vec![0; 100];
        (quiet[0], quiet[1]) = (-10, 15);
        assert_eq!(deviations(&quiet, &[10; 100])[..3], [1000, 1500, 0]);
    }

    #[test]
    fn a_change_of_everything_is_not_taken_for_noise() {
        assert_eq!(Outliers::of(&[60; 1000], &[10; 1000]).count, 1000);
    }

    #[test]
    fn a_mark_on_two_cells_stands_out_by_its_strength() {
        let mut marked = vec![4; 1000];
        marked[500] = 90;
        assert_eq!(Outliers::of(&marked, &[10; 1000]), Outliers { count: 1, peak: 39 });
        marked[501] = -80;
        assert_eq!(Outliers::of(&marked, &[10; 1000]), Outliers { count: 2, peak: 800 });
    }

    #[test]
    fn a_faint_mark_is_a_cluster_and_scattered_noise_is_none() {
        let grid = Grid { cols: 40, rows: 25 };
        let mut cells: Vec<i32> =
            (0..1000).map(|i| if i * 619 % 997 < 50 { 6 } else { i * 31 % 3 - 1 }).collect();
        assert!(densest_cluster(&cells, &[10; 1000], grid, 96) < 200);
        for y in 5..12 {
            cells[y * 40 + 10..y * 40 + 17].fill(-5);
        }
        assert!(densest_cluster(&cells, &[10; 1000], grid, 96) > 900);
        assert_eq!(Outliers::of(&cells, &[10; 1000]), Outliers::default());
    }
}
