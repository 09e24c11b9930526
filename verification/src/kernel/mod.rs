//! The inner loops over samples and cells: once in plain Rust and once for each set of wide instructions, equal bit for bit.
//!
//! Every result is an exact integer sum or one defined rounding of it, so the order of additions, and with it the width
//! of a register, cannot show. Tests choose a kernel; everything else takes [`Kernel::detect`].

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;

use std::fmt;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use std::slice::Chunks;

use crate::plane::MAX_MEAN;

/// Which instructions do the work. The results are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel(Level);

/// Private, so that nobody makes a kernel this machine cannot run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Scalar,
    #[cfg(target_arch = "aarch64")]
    Neon,
    #[cfg(target_arch = "x86_64")]
    Avx2,
}

/// The levels of this architecture, the slowest first.
const LEVELS: &[Level] = &[
    Level::Scalar,
    #[cfg(target_arch = "aarch64")]
    Level::Neon,
    #[cfg(target_arch = "x86_64")]
    Level::Avx2,
];

impl Level {
    fn runs_here(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => std::arch::is_x86_feature_detected!("avx2"),
        }
    }
}

/// Runs a loop on the kernel's level.
macro_rules! dispatch {
    ($kernel:expr, $name:ident($($argument:expr),*)) => {
        match $kernel.0 {
            Level::Scalar => scalar::$name($($argument),*),
            #[cfg(target_arch = "aarch64")]
            // SAFETY: the level is only made by `available`, which found the instructions on this machine.
            #[allow(unused_unsafe, reason = "some loops are the scalar ones")]
            Level::Neon => unsafe { neon::$name($($argument),*) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the level is only made by `available`, which found the instructions on this machine.
            Level::Avx2 => unsafe { avx2::$name($($argument),*) },
        }
    };
}

impl Kernel {
    /// Plain Rust: the reference, and what runs where there is nothing wider.
    pub const SCALAR: Self = Self(Level::Scalar);

    /// The fastest kernel of this machine.
    #[must_use]
    pub fn detect() -> Self {
        Self::available().last().unwrap_or(Self::SCALAR)
    }

    /// Every kernel that this machine can run, the slowest first.
    pub fn available() -> impl Iterator<Item = Self> {
        LEVELS.iter().copied().filter(|level| level.runs_here()).map(Self)
    }

    /// Weighted sums of the columns of 8-bit rows, modulo 2^16.
    pub(crate) fn sum_columns(self, band: &Band<'_>, out: &mut [u16]) {
        debug_assert_eq!(band.width, out.len(), "one sum for each column");
        dispatch!(self, sum_columns(band, out));
    }

    /// The same of four neighbouring columns together: of 8-bit rows where no column's sum passes 16 bits, of 16-bit
    /// samples modulo 2^32.
    pub(crate) fn sum_quads(self, band: &Band<'_>, out: &mut [u32]) {
        debug_assert_eq!(band.width, 4 * out.len(), "one sum for every four columns");
        dispatch!(self, sum_quads(band, out));
    }

    /// Weighted sums of the columns of rows of 16-bit samples, or of 8-bit ones beyond 16 bits of sum, modulo 2^32.
    pub(crate) fn sum_wide(self, band: &Band<'_>, out: &mut [u32]) {
        debug_assert_eq!(band.width, out.len(), "one sum for each column");
        dispatch!(self, sum_wide(band, out));
    }

    /// Weighted sums of columns for every cell, each over `for_each` windows. Columns are below 2^15, and what weights add up to
    /// below 2^31.
    pub(crate) fn sum_windows(self, columns: &[u16], windows: &[Window], for_each: usize, cells: &mut [u32]) {
        debug_assert_eq!(windows.len(), for_each * cells.len(), "as many for each cell");
        dispatch!(self, sum_windows(columns, windows, for_each, cells));
    }

    /// Sums of every so many neighbours.
    pub(crate) fn sum_chunks(self, columns: &[u32], samples: usize, cells: &mut [u32]) {
        debug_assert_eq!(columns.len(), samples * cells.len(), "as many for each cell");
        dispatch!(self, sum_chunks(columns, samples, cells));
    }

    /// Sums of parts of columns for every cell, in parts, modulo 2^32: the difference of what lies left of its ends. Each
    /// cell ends in a column, cut after so many of its `parts`. `lefts` holds what lies left of each column, and of all.
    pub(crate) fn sum_parts(
        self,
        lefts: &[u32],
        (columns, cuts): (&[u32], &[u32]),
        parts: u32,
        cells: &mut [u32],
    ) {
        debug_assert!(columns.len() == cells.len() && cuts.len() == cells.len(), "one end for each cell");
        dispatch!(self, sum_parts(lefts, (columns, cuts), parts, cells));
    }

    /// Rounded means of sums.
    pub(crate) fn divide(self, sums: &[u32], by: SmallDivisor, out: &mut [u16]) {
        dispatch!(self, divide(sums, by, out));
    }

    /// Sum of absolute differences of two planes of levels.
    pub(crate) fn sum_abs_diff(self, a: &[u16], b: &[u16]) -> u32 {
        dispatch!(self, sum_abs_diff(a, b))
    }

    /// Sum of squared differences of two rows of levels.
    pub(crate) fn square_error(self, a: &[u16], b: &[u16]) -> u64 {
        dispatch!(self, square_error(a, b))
    }

    /// Moments of 8 x 8 blocks of two bands of eight rows of levels, `stride` apart; columns beyond the last whole block are
    /// left out.
    pub(crate) fn moments(self, source: &[u16], shown: &[u16], stride: usize, out: &mut [Moments]) {
        debug_assert!(
            out.len() * MOMENT_SIDE <= stride && source.len() == shown.len(),
            "blocks within the rows"
        );
        dispatch!(self, moments(source, shown, stride, out));
    }

    /// Energy of the finest Haar wavelets of two rows of levels: what two by two of them differ by.
    pub(crate) fn haar(self, upper: &[u16], lower: &[u16]) -> u64 {
        dispatch!(self, haar(upper, lower))
    }

    /// Adds, for every sixteen samples of a row in sixteenths of a level, the squared differences from their right
    /// neighbours and from those above.
    pub(crate) fn roughness(self, above: &[u16], row: &[u16], blocks: &mut [u64]) {
        dispatch!(self, roughness(above, row, blocks));
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Level::Scalar => "scalar",
            #[cfg(target_arch = "aarch64")]
            Level::Neon => "neon",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "avx2",
        })
    }
}

impl Default for Kernel {
    fn default() -> Self {
        Self::detect()
    }
}

/// Neighbouring columns and the weights at which they are added up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    start: u32,
    weights: [i16; Self::COLUMNS],
}

impl Window {
    /// As many as fill half a register.
    pub(crate) const COLUMNS: usize = 8;

    /// From the column `start` on.
    pub(crate) fn new(start: usize, weights: [i16; Self::COLUMNS]) -> Self {
        // Columns are at most MAX_PLANE_SIDE, and the windows of a cell that ends sooner lie not far beyond.
        Self { start: start as u32, weights }
    }

    /// Its columns.
    #[inline(always)]
    fn of<'a>(&self, columns: &'a [u16]) -> &'a [u16] {
        let start = self.start as usize;
        &columns[start..start + Self::COLUMNS]
    }
}

/// Columns and rows of a block whose moments are taken.
pub(crate) const MOMENT_SIDE: usize = 8;

/// Sums over a block of a picture and another one: of levels, their squares and products. Of 64 levels of at most 2^12:
/// below 2^31.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moments {
    pub(crate) source: u32,
    pub(crate) shown: u32,
    pub(crate) source_squares: u32,
    pub(crate) shown_squares: u32,
    pub(crate) products: u32,
}

/// Neighbouring rows of a plane, each with the weight at which it is added up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Band<'a> {
    /// Whole rows, `stride` bytes apart; the last may end with its samples.
    pub(crate) data: &'a [u8],
    pub(crate) stride: usize,
    /// Samples in a row.
    pub(crate) width: usize,
    pub(crate) sample_bytes: usize,
    pub(crate) rows: usize,
    /// Weights of the first row, of the last one where there are more, and of those between.
    pub(crate) first: u32,
    pub(crate) last: u32,
    pub(crate) between: u32,
    /// The rows that are summed next, for the caches to fetch.
    pub(crate) next: &'a [u8],
}

/// A row that has a weight of its own, if there is one, and that weight.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
type Weighted<'a> = (Option<&'a [u8]>, u32);

impl<'a> Band<'a> {
    /// A row's bytes.
    pub(crate) fn row(&self, index: usize) -> &'a [u8] {
        let start = index * self.stride;
        &self.data[start..start + self.width * self.sample_bytes]
    }

    pub(crate) fn weight(&self, index: usize) -> u32 {
        if index == 0 {
            self.first
        } else if index + 1 == self.rows {
            self.last
        } else {
            self.between
        }
    }

    /// Its rows from byte `x` on, those of the weight between apart from the first and the last where theirs is another.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    #[inline(always)]
    fn rows_from(&self, x: usize) -> (Chunks<'a, u8>, [Weighted<'a>; 2]) {
        let mut rows = self.data[x..].chunks(self.stride);
        let own = |weight| weight != self.between;
        let first = if own(self.first) { rows.next() } else { None };
        let last = if own(self.last) { rows.next_back() } else { None };
        (rows, [(first, self.first), (last, self.last)])
    }

    /// Whether every row counts as it is.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    fn is_plain(&self) -> bool {
        [self.first, self.last, self.between] == [1; 3]
    }
}

/// Where strips of `lane` bytes start that cover so many bytes: `count` neighbours at a time, then single ones. The last may
/// overlap the one before, which gives the same sums again.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn starts(
    bytes: usize,
    lane: usize,
    count: usize,
) -> (impl Iterator<Item = usize>, impl Iterator<Item = usize>) {
    let (grouped, whole) = (bytes / (count * lane) * (count * lane), bytes / lane * lane);
    let last = (whole < bytes).then(|| bytes - lane);
    ((0..grouped).step_by(count * lane), (grouped..whole).step_by(lane).chain(last))
}

/// A divisor of sums that stay below 2^32 with sixteen times their value and half the divisor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SmallDivisor {
    value: u32,
    half: u32,
    reciprocal: u32,
}

impl SmallDivisor {
    pub(crate) fn new(value: u32) -> Self {
        Self { value, half: value / 2, reciprocal: u32::MAX / value }
    }

    /// `16 * sum / value`, rounded half up.
    #[inline(always)]
    pub(crate) fn mean(self, sum: u32) -> u16 {
        let dividend = sum.wrapping_mul(16).wrapping_add(self.half);
        // The reciprocal is low by less than one part in 2^32 of the dividend: the estimate by at most one.
        let estimate = ((u64::from(dividend) * u64::from(self.reciprocal)) >> 32) as u32;
        let rest = dividend.wrapping_sub(estimate.wrapping_mul(self.value));
        let mean = estimate + u32::from(rest >= self.value);
        mean.min(u32::from(MAX_MEAN)) as u16
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn levels(most: usize) -> impl Strategy<Value = Vec<(u16, u16)>> {
        let level = prop_oneof![Just(0), Just(MAX_MEAN), 0..=MAX_MEAN];
        prop::collection::vec((level.clone(), level), 0..most)
    }

    fn haar_by_definition(upper: &[u16], lower: &[u16]) -> u64 {
        let squares = upper.chunks_exact(2).zip(lower.chunks_exact(2)).map(|(upper, lower)| {
            let [a, b, c, d] = [upper[0], upper[1], lower[0], lower[1]].map(i64::from);
            (a - b + c - d).pow(2) + (a + b - c - d).pow(2) + (a - b - c + d).pow(2)
        });
        squares.sum::<i64>() as u64
    }

    /// Added to ones.
    fn roughness_by_definition(above: &[u16], row: &[u16]) -> Vec<u64> {
        let square = |a: u16, b: u16| u64::from(a.abs_diff(b)).pow(2);
        let mut blocks = vec![1; row.len().div_ceil(16)];
        for (x, &level) in row.iter().enumerate() {
            let right = row.get(x + 1).map_or(0, |&right| square(level, right));
            blocks[x / 16] += right + square(level, above[x]);
        }
        blocks
    }

    proptest! {
        #[test]
        fn moments_are_sums_by_definition_on_every_kernel(
            blocks in 0usize..20, rest in 0usize..8, seed in any::<u64>(), brightest in any::<bool>(),
        ) {
            let stride = blocks * MOMENT_SIDE + rest;
            let mut state = seed | 1;
            let mut level = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                if brightest { MAX_MEAN } else { ((state >> 40) % (u64::from(MAX_MEAN) + 1)) as u16 }
            };
            let mut plane = || (0..stride * MOMENT_SIDE).map(|_| level()).collect::<Vec<u16>>();
            let (source, shown) = (plane(), plane());
            let sum = |block: usize, of: fn(u64, u64) -> u64| {
                let places = (0..MOMENT_SIDE * MOMENT_SIDE)
                    .map(|i| i / MOMENT_SIDE * stride + block * MOMENT_SIDE + i % MOMENT_SIDE);
                places.map(|at| of(source[at].into(), shown[at].into())).sum::<u64>() as u32
            };
            let wanted: Vec<Moments> = (0..blocks)
                .map(|block| Moments {
                    source: sum(block, |a, _| a),
                    shown: sum(block, |_, b| b),
                    source_squares: sum(block, |a, _| a * a),
                    shown_squares: sum(block, |_, b| b * b),
                    products: sum(block, |a, b| a * b),
                })
                .collect();
            for kernel in Kernel::available() {
                let mut out = vec![Moments::default(); blocks];
                kernel.moments(&source, &shown, stride, &mut out);
                prop_assert_eq!(&out, &wanted);
            }
        }

        #[test]
        fn levels_are_compared_by_definition_on_every_kernel(pairs in levels(700)) {
            let (a, b): (Vec<u16>, Vec<u16>) = pairs.into_iter().unzip();
            let distance = || a.iter().zip(&b).map(|(&a, &b)| u64::from(a.abs_diff(b)));
            for kernel in Kernel::available() {
                prop_assert_eq!(u64::from(kernel.sum_abs_diff(&a, &b)), distance().sum::<u64>());
                prop_assert_eq!(kernel.square_error(&a, &b), distance().map(|d| d * d).sum::<u64>());
                prop_assert_eq!(kernel.haar(&a, &b), haar_by_definition(&a, &b));
                let mut blocks = vec![1; a.len().div_ceil(16)];
                kernel.roughness(&a, &b, &mut blocks);
                prop_assert_eq!(blocks, roughness_by_definition(&a, &b));
            }
        }

        #[test]
        fn windows_are_summed_by_definition_on_every_kernel(
            for_each in 1usize..4, count in 0usize..40, seed in any::<u64>(), largest in any::<bool>(),
        ) {
            let mut state = seed | 1;
            let mut draw = |below: u64| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                if largest { below - 1 } else { (state >> 33) % below }
            };
            let columns: Vec<u16> = (0..300).map(|_| draw(1 << 15) as u16).collect();
            let windows: Vec<Window> = (0..count * for_each)
                .map(|_| {
                    let start = draw(300 - Window::COLUMNS as u64 + 1) as usize;
                    Window::new(start, std::array::from_fn(|_| draw(1 << 11) as i16))
                })
                .collect();
            let sum = |window: &Window| -> u32 {
                let columns = columns[window.start as usize..].iter().zip(window.weights);
                columns.map(|(&column, weight)| u32::from(column) * weight as u32).sum()
            };
            let wanted: Vec<u32> =
                windows.chunks(for_each).map(|windows| windows.iter().map(sum).sum()).collect();
            for kernel in Kernel::available() {
                let mut cells = vec![0; count];
                kernel.sum_windows(&columns, &windows, for_each, &mut cells);
                prop_assert_eq!(&cells, &wanted);
            }
        }

        #[test]
        fn sums_are_divided_exactly_on_every_kernel(
            value in prop_oneof![1u32..20, 1u32..1_000_000],
            shares in prop::collection::vec(0u32..=MAX_MEAN.into(), 1..40),
            past in 0u32..20,
        ) {
            let by = SmallDivisor::new(value);
            // Sums whose dividends stay below 2^32, around the borders of rounding too.
            let ceiling = (u64::from(u32::MAX) - u64::from(value)) / 16;
            let sum = |share| (u64::from(share) * u64::from(value) / 16 + u64::from(past)).min(ceiling) as u32;
            let sums: Vec<u32> = shares.into_iter().map(sum).collect();
            let mean = |&sum: &u32| (u64::from(sum) * 16 + u64::from(value / 2)) / u64::from(value);
            let wanted: Vec<u16> = sums.iter().map(mean).map(|mean| mean.min(u64::from(MAX_MEAN)) as u16).collect();
            for kernel in Kernel::available() {
                let mut out = vec![0; sums.len()];
                kernel.divide(&sums, by, &mut out);
                prop_assert_eq!(&out, &wanted);
            }
        }
    }
}
