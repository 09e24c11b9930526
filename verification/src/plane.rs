//! One plane of a picture as bytes, and exact area means over it.

use crate::error::VerifyError;

/// Widest or tallest plane that is looked at: sums of a column of 16-bit samples then still fit 32 bits.
pub const MAX_PLANE_SIDE: usize = 65_535;

/// Fixed-point scale of a mean: sixteenths of an 8-bit level.
pub const LEVEL: u16 = 16;

/// A read-only plane of samples: rows of `width` samples, `stride` bytes apart.
///
/// Samples of more than eight bits are two little-endian bytes.
#[derive(Clone, Copy, Debug)]
pub struct Plane<'a> {
    data: &'a [u8],
    stride: usize,
    width: usize,
    height: usize,
    depth: u8,
}

impl<'a> Plane<'a> {
    /// Checks that every row lies inside `data`.
    ///
    /// # Errors
    /// When a side is zero or above [`MAX_PLANE_SIDE`], the depth is not 8 to 16 bits, or `data` is too short.
    pub fn new(
        data: &'a [u8],
        stride: usize,
        width: usize,
        height: usize,
        depth: u8,
    ) -> Result<Self, VerifyError> {
        let plane = Self { data, stride, width, height, depth };
        let sides = 1..=MAX_PLANE_SIDE;
        let row_bytes = width.saturating_mul(plane.sample_bytes());
        let needed = stride.saturating_mul(height.saturating_sub(1)).saturating_add(row_bytes);
        let sound = sides.contains(&width)
            && sides.contains(&height)
            && (8..=16).contains(&depth)
            && stride >= row_bytes
            && data.len() >= needed;
        if sound {
            Ok(plane)
        } else {
            Err(VerifyError::BadPlane { width, height, stride, depth, bytes: data.len() })
        }
    }

    /// Samples in a row.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    fn sample_bytes(&self) -> usize {
        if self.depth > 8 { 2 } else { 1 }
    }

    fn row(&self, y: usize) -> &'a [u8] {
        let start = y * self.stride;
        &self.data[start..start + self.width * self.sample_bytes()]
    }

    /// A tightly packed copy, for keeping a picture after its decoder buffer is gone.
    #[must_use]
    pub fn to_owned_plane(&self) -> OwnedPlane {
        let mut data = Vec::with_capacity(self.width * self.height * self.sample_bytes());
        for y in 0..self.height {
            data.extend_from_slice(self.row(y));
        }
        OwnedPlane { data, width: self.width, height: self.height, depth: self.depth }
    }
}

/// A plane that owns its samples, without padding between rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedPlane {
    data: Vec<u8>,
    width: usize,
    height: usize,
    depth: u8,
}

impl OwnedPlane {
    /// Borrows the samples.
    #[must_use]
    pub fn as_plane(&self) -> Plane<'_> {
        let sample_bytes = if self.depth > 8 { 2 } else { 1 };
        Plane {
            data: &self.data,
            stride: self.width * sample_bytes,
            width: self.width,
            height: self.height,
            depth: self.depth,
        }
    }
}

/// A grid laid over a plane: `cols` x `rows` cells of equal rational size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Cells in a row.
    pub cols: usize,
    /// Rows of cells.
    pub rows: usize,
}

impl Grid {
    /// Number of cells.
    #[must_use]
    pub fn cells(self) -> usize {
        self.cols * self.rows
    }

    /// The grid with half as many cells in each direction.
    #[must_use]
    pub fn halved(self) -> Self {
        Self { cols: self.cols / 2, rows: self.rows / 2 }
    }
}

/// Exact area means of the cells of `grid`, row by row, in sixteenths of an 8-bit level ([`LEVEL`]).
///
/// Cell `i` of `g` over `n` samples covers `[i*n, (i+1)*n)` in units of `1/g` sample, so cells may be larger or smaller
/// than a sample and need not divide the plane. Sums are exact; each mean is rounded once, halves up. The result
/// does not depend on the order of additions, hence not on SIMD width or threads.
#[must_use]
pub fn area_means(plane: &Plane<'_>, grid: Grid) -> Vec<u16> {
    let mut out = Vec::with_capacity(grid.cells());
    let mut columns = ColumnSums::new(plane.width);
    // Both factors are at most MAX_PLANE_SIDE and the depth adds 8 bits: no overflow in u64.
    let divisor = Divisor::new(((plane.width * plane.height) as u64) << (plane.depth - 8));
    for cell_row in 0..grid.rows {
        columns.sum_rows(plane, cell_row, grid.rows);
        columns.means_into(grid.cols, &divisor, &mut out);
    }
    out
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

    fn divide(&self, dividend: u64) -> u64 {
        let estimate = ((u128::from(dividend) * u128::from(self.reciprocal)) >> 64) as u64;
        // The reciprocal is low by less than two parts in 2^64 per unit of the dividend: the estimate by at most two.
        let mut rest = dividend - estimate * self.value;
        let mut quotient = estimate;
        while rest >= self.value {
            rest -= self.value;
            quotient += 1;
        }
        quotient
    }
}

/// Rows that may be added up in 16 bits before 8-bit samples overflow.
const ROWS_PER_FLUSH: usize = 257;

/// Weighted sums of the samples of every column over one row of cells.
struct ColumnSums {
    weighted: Vec<u32>,
    whole: Vec<u16>,
}

impl ColumnSums {
    fn new(width: usize) -> Self {
        Self { weighted: vec![0; width], whole: vec![0; width] }
    }

    fn sum_rows(&mut self, plane: &Plane<'_>, cell_row: usize, rows: usize) {
        self.weighted.fill(0);
        let (top, bottom) = (cell_row * plane.height, (cell_row + 1) * plane.height);
        let mut pending = 0;
        for y in top / rows..bottom.div_ceil(rows) {
            let weight = ((y + 1) * rows).min(bottom) - (y * rows).max(top);
            let row = plane.row(y);
            if plane.depth > 8 {
                add_wide(&mut self.weighted, row, weight as u32);
            } else if weight < rows {
                add_weighted(&mut self.weighted, row, weight as u32);
            } else {
                add_whole(&mut self.whole, row);
                pending += 1;
                if pending == ROWS_PER_FLUSH {
                    self.flush(rows as u32);
                    pending = 0;
                }
            }
        }
        if pending > 0 {
            self.flush(rows as u32);
        }
    }

    /// Folds the 16-bit sums of whole rows into the weighted ones.
    fn flush(&mut self, weight: u32) {
        for (total, whole) in self.weighted.iter_mut().zip(&mut self.whole) {
            *total += weight * u32::from(*whole);
            *whole = 0;
        }
    }

    fn means_into(&self, cols: usize, divisor: &Divisor, out: &mut Vec<u16>) {
        let width = self.weighted.len();
        for col in 0..cols {
            let (left, right) = (col * width, (col + 1) * width);
            let (first, last) = (left / cols, (right - 1) / cols);
            let sum = if first == last {
                (right - left) as u64 * u64::from(self.weighted[first])
            } else {
                let head = ((first + 1) * cols - left) as u64 * u64::from(self.weighted[first]);
                let tail = (right - last * cols) as u64 * u64::from(self.weighted[last]);
                let middle: u64 = self.weighted[first + 1..last].iter().map(|&v| u64::from(v)).sum();
                head + middle * cols as u64 + tail
            };
            let mean = divisor.divide(sum * u64::from(LEVEL) + divisor.value / 2);
            // A mean of n-bit samples in sixteenths of an 8-bit level is below 256 * 16.
            out.push(mean as u16);
        }
    }
}

fn add_weighted(totals: &mut [u32], row: &[u8], weight: u32) {
    for (total, &sample) in totals.iter_mut().zip(row) {
        *total += weight * u32::from(sample);
    }
}

fn add_whole(totals: &mut [u16], row: &[u8]) {
    for (total, &sample) in totals.iter_mut().zip(row) {
        *total += u16::from(sample);
    }
}

fn add_wide(totals: &mut [u32], row: &[u8], weight: u32) {
    for (total, sample) in totals.iter_mut().zip(row.chunks_exact(2)) {
        *total += weight * u32::from(u16::from_le_bytes([sample[0], sample[1]]));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Area means by definition: every sample's overlap with every cell, in 128 bits.
    fn reference(plane: &Plane<'_>, grid: Grid) -> Vec<u16> {
        let overlap = |i: usize, n: usize, s: usize, g: usize| {
            ((i + 1) * n).min((s + 1) * g).saturating_sub((i * n).max(s * g)) as u128
        };
        let mut out = Vec::new();
        for j in 0..grid.rows {
            for i in 0..grid.cols {
                let mut sum = 0u128;
                for y in 0..plane.height {
                    for x in 0..plane.width {
                        let sample = if plane.depth > 8 {
                            u128::from(u16::from_le_bytes([plane.row(y)[2 * x], plane.row(y)[2 * x + 1]]))
                        } else {
                            u128::from(plane.row(y)[x])
                        };
                        sum += sample
                            * overlap(i, plane.width, x, grid.cols)
                            * overlap(j, plane.height, y, grid.rows);
                    }
                }
                let den = ((plane.width * plane.height) as u128) << (plane.depth - 8);
                out.push(((sum * 16 + den / 2) / den) as u16);
            }
        }
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn area_means_equal_their_definition(
            (width, height, pad, wide) in (1usize..40, 1usize..40, 0usize..9, any::<bool>()),
            (cols, rows) in (1usize..20, 1usize..20),
            seed in any::<u64>(),
        ) {
            let depth = if wide { 10 } else { 8 };
            let sample_bytes = if wide { 2 } else { 1 };
            let stride = width * sample_bytes + pad;
            let mut state = seed | 1;
            let mut data = vec![0u8; stride * height];
            for (i, byte) in data.iter_mut().enumerate() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                *byte = (state >> 56) as u8;
                if wide && (i % stride) % 2 == 1 { *byte &= 3; }
            }
            let plane = Plane::new(&data, stride, width, height, depth).expect("sound plane");
            let grid = Grid { cols, rows };
            prop_assert_eq!(area_means(&plane, grid), reference(&plane, grid));
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
    fn rejects_a_plane_whose_rows_leave_the_buffer() {
        assert!(Plane::new(&[0; 99], 10, 10, 10, 8).is_err());
        assert!(Plane::new(&[0; 100], 10, 10, 10, 10).is_err());
        assert!(Plane::new(&[], 0, 0, 0, 8).is_err());
    }
}
