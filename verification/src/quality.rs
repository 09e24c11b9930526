//! How close a rendition comes to its source at full size. Figures for the price; no verdict rests on them.

use crate::detail::{Blocks, Roughened};
use crate::features::{Range, limited_luma};
use crate::kernel::Kernel;
use crate::means::AreaMeans;
use crate::plane::{Grid, LEVEL, Plane};
use crate::report::Quality;

/// Sums over the measured frames, in squared sixteenths of a level.
#[derive(Clone, Debug, Default)]
pub(crate) struct QualitySums {
    frames: u32,
    samples: u64,
    square_error: u64,
    source_detail: u64,
    shown_detail: u64,
    roughened: Roughened,
}

impl QualitySums {
    /// Compares a rendition's luma with the source's, averaged down to the same size: two rows at a time, while they
    /// are in cache.
    pub(crate) fn add(&mut self, kernel: Kernel, source: (&Plane<'_>, Range), shown: (&Plane<'_>, Range)) {
        let grid = Grid { cols: shown.0.width(), rows: shown.0.height() };
        let mut source = Levels::new(kernel, source, grid);
        let mut shown = Levels::new(kernel, shown, grid);
        let mut blocks = [Blocks::new(grid.cols, grid.rows), Blocks::new(grid.cols, grid.rows)];
        for top in (0..grid.rows).step_by(2) {
            let rows = top..(top + 2).min(grid.rows);
            for (index, row) in rows.clone().enumerate() {
                source.read(row, index);
                shown.read(row, index);
                self.square_error += kernel.square_error(&source.rows[index], &shown.rows[index]);
                source.blocks(kernel, row, index, &mut blocks[0]);
                shown.blocks(kernel, row, index, &mut blocks[1]);
            }
            if rows.len() == 2 {
                self.source_detail += source.detail(kernel);
                self.shown_detail += shown.detail(kernel);
            }
        }
        let [there, here] = &blocks;
        here.compare(there, &mut self.roughened);
        self.samples += grid.cells() as u64;
        self.frames += 1;
    }

    /// What was found of fine detail.
    pub(crate) fn roughened(&self) -> Roughened {
        self.roughened
    }

    pub(crate) fn finish(&self, video_bytes: u64, duration_90k: u64) -> Quality {
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
            video_bytes,
            bits_per_second,
        }
    }
}

fn ratio(numerator: u128, denominator: u128) -> u64 {
    u64::try_from(numerator.checked_div(denominator).unwrap_or(0)).unwrap_or(u64::MAX)
}

/// Two rows of a plane's levels at the size of a rendition.
struct Levels<'a> {
    means: AreaMeans<'a>,
    range: Range,
    rows: [Vec<u16>; 2],
}

impl<'a> Levels<'a> {
    fn new(kernel: Kernel, (plane, range): (&Plane<'a>, Range), grid: Grid) -> Self {
        let row = || vec![0; grid.cols];
        Self { means: AreaMeans::new(kernel, *plane, grid), range, rows: [row(), row()] }
    }

    /// Reads row `row` into place `index`.
    fn read(&mut self, row: usize, index: usize) {
        let levels = &mut self.rows[index];
        self.means.row(row, levels);
        if self.range == Range::Full {
            levels.iter_mut().for_each(|level| *level = limited_luma(*level));
        }
    }

    fn blocks(&self, kernel: Kernel, row: usize, index: usize, blocks: &mut Blocks) {
        let above = if row == 0 { index } else { 1 - index };
        blocks.add(kernel, row, &self.rows[above], &self.rows[index]);
    }

    fn detail(&self, kernel: Kernel) -> u64 {
        kernel.haar(&self.rows[0], &self.rows[1])
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

    #[test]
    fn a_plane_equals_itself_and_keeps_its_detail() {
        let data: Vec<u8> = (0..64 * 36).map(|i| (i * 7 % 251) as u8).collect();
        let plane = Plane::new(&data, 64, 64, 36, 8).expect("sound plane");
        let mut sums = QualitySums::default();
        sums.add(Kernel::detect(), (&plane, Range::Limited), (&plane, Range::Limited));
        let quality = sums.finish(1_000, 90_000);
        assert_eq!((quality.psnr_centi_db, quality.detail_permille), (10_000, 1000));
        assert_eq!(quality.bits_per_second, 8_000);
    }
}
