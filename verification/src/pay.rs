//! What a rendition is worth by its quality: a factor on its price, never a verdict.
//!
//! A quality of `full` or better is paid in whole, one of `least` or worse by the smallest share, what lies between in
//! proportion. Bits beyond the agreed ones buy quality that was not asked for, so they do not count: [`DOUBLING`] is taken off
//! for each doubling. All figures are integers that follow from the bytes, so that payer and paid compute the same factor.

use framemill_network::ladder::LadderEntry;

use crate::policy::PPM;
use crate::quality::log2_fixed;
use crate::report::Quality;

/// What a doubling of the bits is worth, in hundredths of a decibel of luma PSNR: more than halving the bits of the
/// encodes that were measured cost 3.9 dB.
pub const DOUBLING: u32 = 390;

/// How quality is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QualityTerms {
    /// Luma PSNR from which on the whole price is paid, in hundredths of a decibel.
    pub full_centi_db: u32,
    /// Luma PSNR down to which less is paid.
    pub least_centi_db: u32,
    /// Share of the price below that, in millionths.
    pub least_ppm: u32,
}

impl QualityTerms {
    /// Terms around what a second encode of the same segment at the same bytes reached: the whole price is paid down to
    /// `margin` below it, and the share falls over another `slope`.
    #[must_use]
    pub fn around(reference: &Quality, margin: u32, slope: u32, least_ppm: u32) -> Self {
        let full_centi_db = reference.psnr_centi_db.saturating_sub(margin);
        Self { full_centi_db, least_centi_db: full_centi_db.saturating_sub(slope), least_ppm }
    }

    /// The share of the price for a rendition of this quality, in millionths. Without a measured frame it is the whole.
    #[must_use]
    pub fn factor_ppm(&self, quality: &Quality, entry: &LadderEntry) -> u32 {
        let least = self.least_ppm.min(PPM);
        let reached = quality.psnr_centi_db.saturating_sub(bought(quality.bits_per_second, entry.bitrate));
        if quality.frames == 0 || reached >= self.full_centi_db {
            return PPM;
        }
        if reached <= self.least_centi_db {
            return least;
        }
        // `least_centi_db < reached < full_centi_db`, so that neither difference is zero.
        let span = u64::from(self.full_centi_db - self.least_centi_db);
        let above = u64::from(reached - self.least_centi_db) * u64::from(PPM - least) / span;
        // Below PPM, since `above` is below `PPM - least`.
        least + above as u32
    }
}

/// Quality that came from bits beyond the agreed ones, in hundredths of a decibel.
fn bought(bits_per_second: u64, agreed: u32) -> u32 {
    let agreed = u64::from(agreed.max(1));
    if bits_per_second <= agreed {
        return 0;
    }
    let doublings = log2_fixed(bits_per_second) - log2_fixed(agreed);
    // Fewer than 64 doublings.
    ((u128::from(doublings) * u128::from(DOUBLING)) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use framemill_network::ladder::{Codec, FrameRate};
    use proptest::prelude::*;

    use super::*;

    const TERMS: QualityTerms =
        QualityTerms { full_centi_db: 4_000, least_centi_db: 3_000, least_ppm: 200_000 };

    fn entry() -> LadderEntry {
        LadderEntry::from_height(360, FrameRate::SOURCE, 800_000, Codec::H264)
    }

    fn quality(psnr_centi_db: u32, bits_per_second: u64) -> Quality {
        Quality { frames: 3, psnr_centi_db, bits_per_second, ..Quality::default() }
    }

    #[test]
    fn what_reaches_the_agreed_quality_is_paid_in_whole() {
        assert_eq!(TERMS.factor_ppm(&quality(4_000, 800_000), &entry()), PPM);
        assert_eq!(TERMS.factor_ppm(&quality(4_700, 500_000), &entry()), PPM);
    }

    #[test]
    fn less_quality_is_paid_in_proportion_and_never_below_the_least() {
        assert_eq!(TERMS.factor_ppm(&quality(3_500, 800_000), &entry()), 600_000);
        assert_eq!(TERMS.factor_ppm(&quality(3_000, 800_000), &entry()), 200_000);
        assert_eq!(TERMS.factor_ppm(&quality(0, 800_000), &entry()), 200_000);
    }

    #[test]
    fn quality_that_was_bought_with_more_bits_does_not_count() {
        assert_eq!(TERMS.factor_ppm(&quality(4_390, 1_600_000), &entry()), PPM);
        assert_eq!(TERMS.factor_ppm(&quality(4_000, 1_600_000), &entry()), 200_000 + 800 * 610);
    }

    #[test]
    fn what_was_not_measured_is_paid_in_whole() {
        let unmeasured = Quality { frames: 0, ..quality(0, 800_000) };
        assert_eq!(TERMS.factor_ppm(&unmeasured, &entry()), PPM);
    }

    #[test]
    fn terms_around_a_reference_leave_a_margin() {
        let terms = QualityTerms::around(&quality(3_900, 800_000), 150, 400, 500_000);
        assert_eq!(terms.factor_ppm(&quality(3_750, 800_000), &entry()), PPM);
        assert_eq!(terms.factor_ppm(&quality(3_550, 800_000), &entry()), 750_000);
        assert_eq!(terms.factor_ppm(&quality(3_350, 800_000), &entry()), 500_000);
    }

    proptest! {
        #[test]
        fn more_quality_never_pays_less_and_more_bits_never_pay_more(
            (full, least, share) in (any::<u32>(), any::<u32>(), any::<u32>()),
            (psnr, other) in (0..10_000_u32, 0..10_000_u32),
            (bits, more) in (any::<u64>(), any::<u64>()),
        ) {
            let terms = QualityTerms { full_centi_db: full, least_centi_db: least, least_ppm: share };
            let factor = |psnr, bits| terms.factor_ppm(&quality(psnr, bits), &entry());
            prop_assert!(factor(psnr.min(other), bits) <= factor(psnr.max(other), bits));
            prop_assert!(factor(psnr, bits.max(more)) <= factor(psnr, bits.min(more)));
            prop_assert!(factor(psnr, bits) <= PPM);
        }
    }
}
