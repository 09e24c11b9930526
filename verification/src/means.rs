//! Exact area means over a plane: what every feature is made of.

use crate::kernel::{Kernel, SmallDivisor, Window};
use crate::plane::{Grid, LEVEL, MAX_MEAN, Plane, PlaneShape};

/// Exact area means of the cells of `grid`, row by row, in sixteenths of an 8-bit level ([`LEVEL`]).
///
/// Cell `i` of `g` over `n` samples covers `[i*n, (i+1)*n)` in units of `1/g` sample, so cells may be larger or smaller
/// than a sample and need not divide the plane. Sums are exact; each mean is rounded once, halves up. The result
/// does not depend on the order of additions, hence not on SIMD width or threads. Samples of more than the plane's
/// depth, which no decoder makes, count as they are; a mean is 256 levels at most.
#[must_use]
pub fn area_means(plane: &Plane<'_>, grid: Grid) -> Vec<u16> {
    area_means_by(Kernel::detect(), plane, grid)
}

/// [`area_means`] by a kernel of the caller's choice.
#[must_use]
pub fn area_means_by(kernel: Kernel, plane: &Plane<'_>, grid: Grid) -> Vec<u16> {
    let mut out = vec![0; grid.cells()];
    if out.is_empty() {
        return out;
    }
    let mut means = AreaMeans::new(kernel, plane.shape(), grid);
    for (index, row) in out.chunks_exact_mut(grid.cols).enumerate() {
        means.row(plane, index, row);
    }
    out
}

/// Area means of planes of one shape, one row of cells at a time. The grid has cells.
pub(crate) struct AreaMeans {
    shape: PlaneShape,
    kernel: Kernel,
    across: Axis,
    down: Axis,
    sums: Sums,
}

/// One side of a grid over one side of a plane, without their common factor: `cells` cells lie over `samples` samples,
/// and the pattern repeats. Weights and divisor are the smaller for it; the rounded mean is the same, because a half
/// of the larger divisor is met exactly when a half of the smaller one is met or passed.
#[derive(Clone, Copy)]
pub(crate) struct Axis {
    samples: usize,
    cells: usize,
}

impl Axis {
    fn new(samples: usize, cells: usize) -> Self {
        let factor = gcd(samples, cells);
        Self { samples: samples / factor, cells: cells / factor }
    }

    /// The samples that cell `index` touches: the first one, the one after the last, and the weights of the first, of
    /// the last where there are more, and of those between.
    pub(crate) fn span(self, index: usize) -> (usize, usize, [usize; 3]) {
        let (start, end) = (index * self.samples, (index + 1) * self.samples);
        let (first, after) = (start / self.cells, end.div_ceil(self.cells));
        let head = ((first + 1) * self.cells).min(end) - start;
        (first, after, [head, end - (after - 1) * self.cells, self.cells])
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// How the columns of a row of cells are added up.
enum Sums {
    /// Not at all: every cell is one sample of 8 bits.
    Same,
    /// Four neighbours together, in 16 bits those of 8.
    Quads { columns: Vec<u32>, samples: usize, cells: Vec<u32>, divisor: SmallDivisor },
    /// In 16 bits with a sign.
    Narrow { columns: Vec<u16>, windows: Windows, cells: Vec<u32>, divisor: SmallDivisor },
    /// In 32 bits, the cells' sums too.
    Wide { columns: Vec<u32>, edges: Edges, cells: Vec<u32>, divisor: SmallDivisor },
    /// In 32 bits, the cells' sums in 64.
    Exact { columns: Vec<u32>, divisor: Divisor },
}

/// The columns of the cells of a row, cut into windows as long as a register. What a window holds beyond its cell's columns
/// weighs nothing.
struct Windows {
    /// For every cell as many.
    all: Vec<Window>,
    for_each: usize,
}

impl Windows {
    fn new(across: Axis, cells: usize) -> Self {
        let spans = || (0..cells).map(|cell| across.span(cell));
        let longest = spans().map(|(first, after, _)| after - first).max().unwrap_or(1);
        let for_each = longest.div_ceil(Window::COLUMNS);
        let mut all = Vec::with_capacity(cells * for_each);
        for (first, after, weights) in spans() {
            // Weights are at most the axis' cells, which `fits` bounds.
            let [head, tail, between] = weights.map(|weight| weight as i16);
            for start in (first..).step_by(Window::COLUMNS).take(for_each) {
                let mut weights = [0; Window::COLUMNS];
                let covered = after.saturating_sub(start).min(Window::COLUMNS);
                weights[..covered].fill(between);
                if start + covered == after && covered > 0 {
                    weights[covered - 1] = tail;
                }
                if start == first {
                    weights[0] = head;
                }
                all.push(Window::new(start, weights));
            }
        }
        Self { all, for_each }
    }

    /// Whether columns of sums up to this and the weights of this axis are signed 16 bits.
    fn fits(across: Axis, largest: u64) -> bool {
        largest <= i16::MAX as u64 && across.cells <= i16::MAX as usize
    }

    /// So many columns of zeros have to follow those of the plane.
    fn beyond(&self) -> usize {
        self.for_each * Window::COLUMNS
    }
}

/// Where the cells of a row end, looked up rather than followed: their pattern is too irregular for a branch.
struct Edges {
    /// The column in which each cell ends.
    columns: Vec<u32>,
    /// How many of the column's parts lie left of that end, one at least.
    cuts: Vec<u32>,
    /// Parts of a column.
    parts: u32,
    /// What lies left of each column, and left of the end.
    lefts: Vec<u32>,
}

impl Edges {
    fn new(across: Axis, width: usize, cells: usize) -> Self {
        let column = |cell: usize| (cell * across.samples - 1) / across.cells;
        // Columns and parts are at most MAX_PLANE_SIDE, or as many as there are cells in a row.
        let cut = |cell: usize| (cell * across.samples - column(cell) * across.cells) as u32;
        Self {
            columns: (1..=cells).map(|cell| column(cell) as u32).collect(),
            cuts: (1..=cells).map(cut).collect(),
            parts: across.cells as u32,
            lefts: vec![0; width + 1],
        }
    }

    /// Sums of parts of columns for every cell.
    fn sum(&mut self, kernel: Kernel, columns: &[u32], cells: &mut [u32]) {
        let mut sum = 0u32;
        for (left, column) in self.lefts.iter_mut().zip(columns.iter().chain(&[0])) {
            *left = sum;
            sum = sum.wrapping_add(*column);
        }
        kernel.sum_parts(&self.lefts, (&self.columns, &self.cuts), self.parts, cells);
    }
}

impl Sums {
    fn new(PlaneShape { width, depth, .. }: PlaneShape, across: Axis, down: Axis, cells: usize) -> Self {
        // Every factor is at most MAX_PLANE_SIDE and the depth adds 8 bits: no overflow in u64.
        let divisor = ((across.samples * down.samples) as u64) << (depth - 8);
        let brightest = if depth > 8 { u64::from(u16::MAX) } else { u64::from(u8::MAX) };
        let largest = brightest * (across.samples * down.samples) as u64 * u64::from(LEVEL) + divisor / 2;
        if largest > u64::from(u32::MAX) {
            return Self::Exact { columns: vec![0; width], divisor: Divisor::new(divisor) };
        }
        if depth == 8 && [across, down].iter().all(|axis| axis.samples == 1 && axis.cells == 1) {
            return Self::Same;
        }
        // What bounds the dividend bounds the divisor.
        let (cells, divisor) = (vec![0; cells], SmallDivisor::new(divisor as u32));
        let column = brightest * down.samples as u64;
        let columns_fit = column <= u64::from(u16::MAX);
        let quads = across.cells == 1 && across.samples.is_multiple_of(4);
        if quads && (depth > 8 || columns_fit) {
            Self::Quads { columns: vec![0; width / 4], samples: across.samples / 4, cells, divisor }
        } else if depth == 8 && Windows::fits(across, column) {
            let windows = Windows::new(across, cells.len());
            Self::Narrow { columns: vec![0; width + windows.beyond()], windows, cells, divisor }
        } else {
            Self::Wide {
                columns: vec![0; width],
                edges: Edges::new(across, width, cells.len()),
                cells,
                divisor,
            }
        }
    }
}

impl AreaMeans {
    pub(crate) fn new(kernel: Kernel, shape: PlaneShape, grid: Grid) -> Self {
        let across = Axis::new(shape.width, grid.cols);
        let down = Axis::new(shape.height, grid.rows);
        let sums = Sums::new(shape, across, down, grid.cols);
        Self { shape, kernel, across, down, sums }
    }

    /// The first row of samples that row `index` of cells does not touch, nor any above it.
    pub(crate) fn end(&self, index: usize) -> usize {
        self.down.span(index).1
    }

    /// The means of the cells of row `index`. Of the plane no more is looked at than the rows that they touch; those below
    /// may be missing.
    pub(crate) fn row(&mut self, plane: &Plane<'_>, index: usize, out: &mut [u16]) {
        // The rows of a picture that still comes are in the caches already.
        let band = plane.band(self.down, index, plane.height() == self.shape.height);
        match &mut self.sums {
            Sums::Same => {
                for (mean, &sample) in out.iter_mut().zip(band.row(0)) {
                    *mean = LEVEL * u16::from(sample);
                }
            }
            Sums::Quads { columns, samples, cells, divisor } => {
                self.kernel.sum_quads(&band, columns);
                self.kernel.sum_chunks(columns, *samples, cells);
                self.kernel.divide(cells, *divisor, out);
            }
            Sums::Narrow { columns, windows, cells, divisor } => {
                self.kernel.sum_columns(&band, &mut columns[..self.shape.width]);
                self.kernel.sum_windows(columns, &windows.all, windows.for_each, cells);
                self.kernel.divide(cells, *divisor, out);
            }
            Sums::Wide { columns, edges, cells, divisor } => {
                self.kernel.sum_wide(&band, columns);
                if self.across.cells == 1 {
                    self.kernel.sum_chunks(columns, self.across.samples, cells);
                } else {
                    edges.sum(self.kernel, columns, cells);
                }
                self.kernel.divide(cells, *divisor, out);
            }
            Sums::Exact { columns, divisor } => {
                self.kernel.sum_wide(&band, columns);
                exact_means(columns, self.across, divisor, out);
            }
        }
    }
}

fn exact_means(columns: &[u32], across: Axis, divisor: &Divisor, out: &mut [u16]) {
    for (cell, mean) in out.iter_mut().enumerate() {
        let (first, after, [head, tail, between]) = across.span(cell);
        let weighted = |column: usize, weight: usize| weight as u64 * u64::from(columns[column]);
        let mut sum = weighted(first, head);
        if after > first + 1 {
            let middle: u64 = columns[first + 1..after - 1].iter().map(|&v| u64::from(v)).sum();
            sum += middle * between as u64 + weighted(after - 1, tail);
        }
        *mean = divisor.mean(sum);
    }
}

/// Exact division by one number many times: a multiplication in place of a division.
struct Divisor {
    value: u64,
    reciprocal: u64,
}

impl Divisor {
    fn new(value: u64) -> Self {
        // The largest number whose product with `value` stays within 2^64.
        Self { value, reciprocal: u64::MAX / value }
    }

    /// `16 * sum / value`, rounded half up.
    fn mean(&self, sum: u64) -> u16 {
        let dividend = sum * u64::from(LEVEL) + self.value / 2;
        let estimate = ((u128::from(dividend) * u128::from(self.reciprocal)) >> 64) as u64;
        // The reciprocal is low by less than one part in 2^64 of the dividend: the estimate by at most one.
        let rest = dividend - estimate * self.value;
        let mean = estimate + u64::from(rest >= self.value);
        mean.min(u64::from(MAX_MEAN)) as u16
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Area means by definition: every sample's overlap with every cell, in 128 bits, over the whole sides.
    fn reference(plane: &Plane<'_>, grid: Grid) -> Vec<u16> {
        let overlap = |i: usize, n: usize, s: usize, g: usize| {
            ((i + 1) * n).min((s + 1) * g).saturating_sub((i * n).max(s * g)) as u128
        };
        let touched = |i: usize, n: usize, g: usize| i * n / g..((i + 1) * n).div_ceil(g);
        let mut out = Vec::new();
        for j in 0..grid.rows {
            for i in 0..grid.cols {
                let mut sum = 0u128;
                for y in touched(j, plane.height(), grid.rows) {
                    let down = overlap(j, plane.height(), y, grid.rows);
                    for x in touched(i, plane.width(), grid.cols) {
                        sum +=
                            u128::from(plane.sample(x, y)) * down * overlap(i, plane.width(), x, grid.cols);
                    }
                }
                let den = ((plane.width() * plane.height()) as u128) << (plane.depth() - 8);
                out.push(((sum * 16 + den / 2) / den) as u16);
            }
        }
        out
    }

    /// Noise, or the brightest samples there are; what lies between the rows is noise in any case.
    fn samples(stride: usize, row_bytes: usize, height: usize, depth: u8, seed: u64) -> Vec<u8> {
        let brightest = seed.is_multiple_of(8);
        let mut state = seed | 1;
        let mut data = vec![0u8; stride * height];
        for (i, byte) in data.iter_mut().enumerate() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let inside = i % stride < row_bytes;
            *byte = if brightest && inside { 255 } else { (state >> 56) as u8 };
            if depth > 8 && inside && (i % stride) % 2 == 1 {
                *byte &= (u16::MAX >> (16 - depth) >> 8) as u8;
            }
        }
        data
    }

    fn assert_by_definition((width, height): (usize, usize), pad: usize, depth: u8, grid: Grid, seed: u64) {
        let row_bytes = width * if depth > 8 { 2 } else { 1 };
        let data = samples(row_bytes + pad, row_bytes, height, depth, seed);
        let plane = Plane::new(&data, row_bytes + pad, width, height, depth).expect("sound plane");
        let wanted = reference(&plane, grid);
        for kernel in Kernel::available() {
            let got = area_means_by(kernel, &plane, grid);
            assert_eq!(got, wanted, "{kernel:?}: {width}x{height}+{pad} of {depth} bits on {grid:?}, {seed}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(384))]
        #[test]
        fn area_means_equal_their_definition_on_every_kernel(
            size in (1usize..80, 1usize..40),
            (factor, pad) in (1usize..6, 0usize..70),
            depth in prop::sample::select(vec![8u8, 8, 8, 9, 10, 12, 16]),
            (cols, rows) in (1usize..40, 1usize..20),
            multiple in any::<bool>(),
            seed in any::<u64>(),
        ) {
            // Planes of whole cells are summed in another way.
            let size = if multiple { (cols * factor * 2, rows * factor) } else { size };
            assert_by_definition(size, pad, depth, Grid { cols, rows }, seed);
        }
    }

    #[test]
    fn area_means_equal_their_definition_at_the_sizes_of_video() {
        let lattices =
            [Grid { cols: 160, rows: 90 }, Grid { cols: 80, rows: 45 }, Grid { cols: 90, rows: 160 }];
        let sizes = [
            (1, 1),
            (2, 3),
            (427, 240),
            (854, 480),
            (640, 360),
            (202, 360),
            (641, 361),
            (16, 4000),
            (4000, 16),
        ];
        for (index, size) in sizes.into_iter().enumerate() {
            for (grid, depth) in lattices.into_iter().zip([8, 10, 8]) {
                assert_by_definition(size, index * 7, depth, grid, index as u64);
            }
        }
        for (cols, rows) in [(640, 360), (427, 240), (854, 480), (641, 359)] {
            assert_by_definition((960, 540), 64, 8, Grid { cols, rows }, 3);
        }
    }

    #[test]
    fn area_means_equal_their_definition_on_a_hundred_thousand_planes() {
        let mut state = 1u64;
        let mut draw = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) % below) as usize
        };
        for seed in 0..100_000 {
            let size = (1 + draw(100), 1 + draw(60));
            let depth = [8, 8, 10, 12][draw(4)];
            let grid = Grid { cols: 1 + draw(48), rows: 1 + draw(27) };
            assert_by_definition(size, draw(40), depth, grid, seed);
        }
    }

    #[test]
    fn a_brightest_plane_of_many_rows_does_not_overflow() {
        let data = vec![255u8; 16 * 40_000];
        let plane = Plane::new(&data, 16, 16, 40_000, 8).expect("sound plane");
        let means = area_means(&plane, Grid { cols: 4, rows: 3 });
        assert!(means.iter().all(|&m| m == 255 * LEVEL));
    }

    #[test]
    fn samples_beyond_their_depth_give_the_largest_mean() {
        let data = vec![255u8; 2 * 64 * 36];
        let plane = Plane::new(&data, 128, 64, 36, 10).expect("sound plane");
        for kernel in Kernel::available() {
            for grid in [Grid { cols: 16, rows: 9 }, Grid { cols: 61, rows: 35 }] {
                assert!(area_means_by(kernel, &plane, grid).iter().all(|&mean| mean == MAX_MEAN));
            }
        }
    }

    #[test]
    fn a_grid_without_cells_has_no_means() {
        let plane = Plane::new(&[1, 2, 3, 4], 2, 2, 2, 8).expect("sound plane");
        assert!(area_means(&plane, Grid { cols: 0, rows: 3 }).is_empty());
    }
}
