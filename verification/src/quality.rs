//! How close a rendition comes to its source at full size. Figures for the price; no verdict rests on them.

use framemill_media::Frame;

use crate::detail::{Blocks, Roughened};
use crate::error::VerifyError;
use crate::features::{Range, limited_luma};
use crate::frames;
use crate::kernel::{Kernel, MOMENT_SIDE, Moments};
use crate::means::AreaMeans;
use crate::pixels::{FramePixels, Pixels};
use crate::plane::{Grid, LEVEL, Plane};
use crate::policy::PPM;
use crate::report::Quality;

/// Rows that are measured together: a band of blocks.
const BAND: usize = MOMENT_SIDE;

/// Sums over the measured frames: errors and details in squared sixteenths of a level.
#[derive(Clone, Debug, Default)]
pub(crate) struct QualitySums {
    frames: u32,
    samples: u64,
    square_error: u64,
    source_detail: u64,
    shown_detail: u64,
    blocks: u64,
    similarity: i64,
    roughened: Roughened,
    pixels: Pixels,
}

impl QualitySums {
    /// Compares frames of which each can be read as planes.
    pub(crate) fn add_frames(
        &mut self,
        kernel: Kernel,
        source: &Frame,
        shown: &Frame,
    ) -> Result<(), VerifyError> {
        let source = (&frames::luma(source)?, frames::range(source));
        self.add(kernel, source, (&frames::luma(shown)?, frames::range(shown)));
        Ok(())
    }

    /// Compares a rendition's luma with the source's, averaged down to the same size: eight rows at a time, while they
    /// are in cache.
    pub(crate) fn add(&mut self, kernel: Kernel, source: (&Plane<'_>, Range), shown: (&Plane<'_>, Range)) {
        let grid = Grid { cols: shown.0.width(), rows: shown.0.height() };
        let mut source = Levels::new(kernel, source, grid);
        let mut shown = Levels::new(kernel, shown, grid);
        let mut blocks = [Blocks::new(grid.cols, grid.rows), Blocks::new(grid.cols, grid.rows)];
        let mut moments = vec![Moments::default(); grid.cols / MOMENT_SIDE];
        // Later frames may show an earlier one where bits are short.
        let mut pixels = (self.frames == 0).then(|| FramePixels::new(grid.cols, grid.rows));
        for top in (0..grid.rows).step_by(BAND) {
            let rows = BAND.min(grid.rows - top);
            let [there, here] = &mut blocks;
            let (source, shown) = (source.read(top, rows, there), shown.read(top, rows, here));
            self.add_errors(kernel, (source, shown), grid.cols, &mut moments);
            if let Some(pixels) = pixels.as_mut().filter(|_| rows == BAND) {
                pixels.add(kernel, (source, shown), grid.cols, &moments);
            }
            self.source_detail += detail(kernel, source, grid.cols);
            self.shown_detail += detail(kernel, shown, grid.cols);
        }
        let [there, here] = &blocks;
        here.compare(there, &mut self.roughened);
        if let Some(pixels) = pixels {
            self.pixels = pixels.figures();
        }
        self.samples += grid.cells() as u64;
        self.frames += 1;
    }

    /// What was found of fine detail.
    pub(crate) fn roughened(&self) -> &Roughened {
        &self.roughened
    }

    /// What was found of the first frame's pixels.
    pub(crate) fn pixels(&self) -> Pixels {
        self.pixels
    }

    /// Errors follow from the moments where there are blocks.
    fn add_errors(
        &mut self,
        kernel: Kernel,
        (source, shown): (&[u16], &[u16]),
        cols: usize,
        moments: &mut [Moments],
    ) {
        let mut covered = 0;
        if source.len() == BAND * cols {
            kernel.moments(source, shown, cols, moments);
            self.square_error += moments.iter().map(square_error).sum::<u64>();
            self.similarity += moments.iter().map(similarity).sum::<i64>();
            self.blocks += moments.len() as u64;
            covered = moments.len() * MOMENT_SIDE;
        }
        if covered < cols {
            for (source, shown) in source.chunks_exact(cols).zip(shown.chunks_exact(cols)) {
                self.square_error += kernel.square_error(&source[covered..], &shown[covered..]);
            }
        }
    }

    /// The figures, for a video of so many bytes where `agreed` bits per second were asked for.
    pub(crate) fn finish(&self, video_bytes: u64, duration_90k: u64, agreed: u32) -> Quality {
        let unit = u64::from(LEVEL) * u64::from(LEVEL);
        // At most 2^24 per sample over a handful of frames of at most 2^32 samples: a thousandfold fits in 128 bits.
        let mse_milli = ratio(u128::from(self.square_error) * 1000, u128::from(self.samples * unit));
        let detail_permille =
            ratio(u128::from(self.shown_detail) * 1000, u128::from(self.source_detail.max(1)));
        let bits_per_second = ratio(u128::from(video_bytes) * 8 * 90_000, u128::from(duration_90k));
        Quality {
            frames: self.frames,
            mse_milli,
            psnr_centi_db: if self.frames == 0 { 0 } else { psnr_centi_db(mse_milli) },
            detail_permille: u32::try_from(detail_permille).unwrap_or(u32::MAX),
            ssim_ppm: self.ssim_ppm(),
            video_bytes,
            bits_per_second,
            rate_ppm: ratio(u128::from(bits_per_second) * u128::from(PPM), agreed.into()),
        }
    }

    /// Mean of the blocks in millionths, rounded half up; 0 where the pictures have less than nothing in common.
    fn ssim_ppm(&self) -> u32 {
        let sum = u128::try_from(self.similarity).unwrap_or(0) * u128::from(PPM);
        let whole = u128::from(self.blocks) << SIMILARITY_BITS;
        // Blocks are at most one, so that the mean is at most PPM.
        ratio(sum + whole / 2, whole) as u32
    }
}

/// Sum of squared differences in a block.
fn square_error(moments: &Moments) -> u64 {
    // `(a - b)^2`: never negative.
    u64::from(moments.source_squares) + u64::from(moments.shown_squares) - 2 * u64::from(moments.products)
}

/// Bits behind the point of a block's similarity.
const SIMILARITY_BITS: u32 = 32;

/// SSIM of a block (Wang, Bovik, Sheikh and Simoncelli, 2004): how far means, and variances with the covariance, agree;
/// both rounded towards zero at 25 bits behind the point, and their product down at [`SIMILARITY_BITS`]. Levels here
/// are 16 times as large as the paper's and sums 64 times as large as means.
fn similarity(moments: &Moments) -> i64 {
    const SAMPLES: i64 = (MOMENT_SIDE * MOMENT_SIDE) as i64;
    const BITS: u32 = 25;
    /// (0.01 * 255 * 16 * 64)^2
    const MEANS: i64 = 6_818_365;
    /// (0.03 * 255 * 16 * 64)^2
    const SPREADS: i64 = 61_365_289;
    let (source, shown) = (i64::from(moments.source), i64::from(moments.shown));
    // Sums are at most 2^18, those of squares 2^30: everything stays below 2^38, and below 2^63 with the bits.
    let (product, squares) = (source * shown, source * source + shown * shown);
    let means = ((2 * product + MEANS) << BITS) / (squares + MEANS);
    let covariance = SAMPLES * i64::from(moments.products) - product;
    let energy = i64::from(moments.source_squares) + i64::from(moments.shown_squares);
    let spreads = ((2 * covariance + SPREADS) << BITS) / (SAMPLES * energy - squares + SPREADS);
    (means * spreads) >> (2 * BITS - SIMILARITY_BITS)
}

/// Energy of the finest detail of a band of rows; a last odd row has none.
fn detail(kernel: Kernel, levels: &[u16], cols: usize) -> u64 {
    levels.chunks_exact(2 * cols).map(|pair| kernel.haar(&pair[..cols], &pair[cols..])).sum()
}

fn ratio(numerator: u128, denominator: u128) -> u64 {
    u64::try_from(numerator.checked_div(denominator).unwrap_or(0)).unwrap_or(u64::MAX)
}

/// A band of rows of a plane's levels at the size of a rendition.
struct Levels<'a> {
    kernel: Kernel,
    plane: &'a Plane<'a>,
    means: AreaMeans,
    range: Range,
    cols: usize,
    band: Vec<u16>,
    above: Vec<u16>,
}

impl<'a> Levels<'a> {
    fn new(kernel: Kernel, (plane, range): (&'a Plane<'a>, Range), grid: Grid) -> Self {
        let means = AreaMeans::new(kernel, plane.shape(), grid);
        let (band, above) = (vec![0; BAND * grid.cols], vec![0; grid.cols]);
        Self { kernel, plane, means, range, cols: grid.cols, band, above }
    }

    /// Reads so many rows from `top` on, at most [`BAND`], and adds them to the blocks.
    fn read(&mut self, top: usize, rows: usize, blocks: &mut Blocks) -> &[u16] {
        let levels = &mut self.band[..rows * self.cols];
        for (row, levels) in (top..).zip(levels.chunks_exact_mut(self.cols)) {
            self.means.row(self.plane, row, levels);
            if self.range == Range::Full {
                levels.iter_mut().for_each(|level| *level = limited_luma(*level));
            }
            // The first row has none above it.
            let above = if row == 0 { &*levels } else { &self.above };
            blocks.add(self.kernel, row, above, levels);
            self.above.copy_from_slice(levels);
        }
        levels
    }
}

/// PSNR of a mean square error given in thousandths: `10 log10(255^2 / mse)` in hundredths, in integers.
fn psnr_centi_db(mse_milli: u64) -> u32 {
    /// 1000 * log10(2) in 32.32 fixed point, the factor from binary digits to hundredths of a decibel.
    const CENTI_DB_PER_BIT: u64 = 1_292_913_986_492;
    const WORST: u32 = 0;
    const BEST: u32 = 10_000;
    let peak = 255 * 255 * 1000;
    if mse_milli == 0 {
        return BEST;
    }
    if mse_milli >= peak {
        return WORST;
    }
    let bits = log2_fixed(peak).saturating_sub(log2_fixed(mse_milli));
    let centi = (u128::from(bits) * u128::from(CENTI_DB_PER_BIT)) >> 64;
    u32::try_from(centi).unwrap_or(BEST).min(BEST)
}

/// Binary logarithm of a positive number in 32.32 fixed point, by repeated squaring.
pub(crate) fn log2_fixed(value: u64) -> u64 {
    let whole = u64::from(value.ilog2());
    // The mantissa in 1.63, so in [1, 2).
    let mut mantissa = value << (63 - whole);
    let mut fraction = 0u64;
    for _ in 0..32 {
        let square = (u128::from(mantissa) * u128::from(mantissa)) >> 63;
        let carry = square >> 64 != 0;
        mantissa = if carry { (square >> 1) as u64 } else { square as u64 };
        fraction = fraction << 1 | u64::from(carry);
    }
    whole << 32 | fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn psnr_follows_its_formula() {
        for mse_milli in [1u64, 500, 1_000, 6_502_500, 20_000_000, 65_024_999] {
            let exact = 1000.0 * (65_025_000.0 / mse_milli as f64).log10();
            let got = f64::from(psnr_centi_db(mse_milli));
            assert!((got - exact).abs() <= 1.0, "{mse_milli}: {got} against {exact}");
        }
        assert_eq!(psnr_centi_db(0), 10_000);
        assert_eq!(psnr_centi_db(u64::MAX), 0);
    }

    const SIZES: [(usize, usize); 5] = [(64, 36), (16, 8), (71, 45), (7, 40), (130, 9)];

    fn noise(state: &mut u64, width: usize, height: usize, around: u8, spread: u8) -> Vec<u8> {
        let mut draw = || {
            *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (*state >> 56) as u8
        };
        (0..width * height).map(|_| around.saturating_add(draw() % spread.max(1))).collect()
    }

    fn measure(kernel: Kernel, source: &[u8], shown: &[u8], width: usize, height: usize) -> Quality {
        let plane = |data| Plane::new(data, width, width, height, 8).expect("sound plane");
        let mut sums = QualitySums::default();
        sums.add(kernel, (&plane(source), Range::Limited), (&plane(shown), Range::Limited));
        sums.finish(1_000, 90_000, 4_000)
    }

    /// The formula over whole blocks, in floating point.
    fn ssim(source: &[u8], shown: &[u8], width: usize, height: usize) -> f64 {
        let (c1, c2) = ((0.01_f64 * 255.0).powi(2), (0.03_f64 * 255.0).powi(2));
        let mut blocks = Vec::new();
        for (top, left) in (0..height / 8).flat_map(|y| (0..width / 8).map(move |x| (8 * y, 8 * x))) {
            let at = |plane: &[u8], i: usize| f64::from(plane[(top + i / 8) * width + left + i % 8]);
            let mean = |of: &dyn Fn(usize) -> f64| (0..64).map(of).sum::<f64>() / 64.0;
            let (a, b) = (mean(&|i| at(source, i)), mean(&|i| at(shown, i)));
            let (va, vb) = (mean(&|i| (at(source, i) - a).powi(2)), mean(&|i| (at(shown, i) - b).powi(2)));
            let cov = mean(&|i| (at(source, i) - a) * (at(shown, i) - b));
            blocks.push((2.0 * a * b + c1) * (2.0 * cov + c2) / ((a * a + b * b + c1) * (va + vb + c2)));
        }
        if blocks.is_empty() { 0.0 } else { blocks.iter().sum::<f64>() / blocks.len() as f64 }
    }

    #[test]
    fn figures_follow_their_formulas_on_every_kernel() {
        let mut state = 7;
        for (round, (width, height)) in SIZES.iter().copied().cycle().take(200).enumerate() {
            let (around, spread) = ((round * 37 % 256) as u8, (round * 11 % 255) as u8);
            let source = noise(&mut state, width, height, around, spread);
            let other = noise(&mut state, width, height, around.wrapping_add(3), spread / 2);
            // From nearly equal to unrelated.
            let mix = |(&a, &b): (&u8, &u8)| if round % 4 == 0 { b } else { a.saturating_add(b % 5) };
            let shown: Vec<u8> = source.iter().zip(&other).map(mix).collect();
            let quality = measure(Kernel::SCALAR, &source, &shown, width, height);
            assert_eq!(measure(Kernel::detect(), &source, &shown, width, height), quality);
            let exact = 1e6 * ssim(&source, &shown, width, height).max(0.0);
            assert!((f64::from(quality.ssim_ppm) - exact).abs() <= 1.0, "{quality:?} against {exact}");
            let squares = source.iter().zip(&shown).map(|(&a, &b)| f64::from(a.abs_diff(b)).powi(2));
            let exact = 1000.0 * squares.sum::<f64>() / (width * height) as f64;
            assert!((quality.mse_milli as f64 - exact).abs() <= 1.0, "{quality:?} against {exact}");
        }
    }

    #[test]
    fn unrelated_pictures_have_no_negative_similarity() {
        let source: Vec<u8> = (0..16 * 16).map(|i| if i % 2 == 0 { 255 } else { 0 }).collect();
        let shown: Vec<u8> = source.iter().map(|level| 255 - level).collect();
        assert_eq!(measure(Kernel::detect(), &source, &shown, 16, 16).ssim_ppm, 0);
    }

    #[test]
    fn samples_beyond_their_depth_do_not_overflow() {
        let (bright, dark) = (vec![0xff; 2 * 64 * 32], vec![0; 2 * 64 * 32]);
        let plane = |data| Plane::new(data, 128, 64, 32, 10).expect("sound plane");
        for (source, shown, ssim_ppm) in [(&bright, &bright, PPM), (&bright, &dark, 0)] {
            let mut sums = QualitySums::default();
            let range = Range::Limited;
            sums.add(Kernel::detect(), (&plane(source), range), (&plane(shown), range));
            assert!(sums.finish(0, 1, 0).ssim_ppm.abs_diff(ssim_ppm) <= 110, "{sums:?}");
        }
    }

    #[test]
    fn a_plane_equals_itself_and_keeps_its_detail() {
        let data: Vec<u8> = (0..64 * 36).map(|i| (i * 7 % 251) as u8).collect();
        let plane = Plane::new(&data, 64, 64, 36, 8).expect("sound plane");
        let mut sums = QualitySums::default();
        sums.add(Kernel::detect(), (&plane, Range::Limited), (&plane, Range::Limited));
        let quality = sums.finish(1_000, 90_000, 4_000);
        assert_eq!((quality.psnr_centi_db, quality.detail_permille, quality.ssim_ppm), (10_000, 1000, PPM));
        assert_eq!((quality.bits_per_second, quality.rate_ppm), (8_000, 2_000_000));
    }
}
