//! What a rendition is worth by its quality: a share of its price, never a verdict.
//!
//! [`QualityTerms`] say how the share follows the quality. Bits beyond the agreed ones buy quality that was not asked for, so
//! they do not count: [`DOUBLING`] is taken off for each doubling. All figures are integers that follow from the bytes and
//! from what was signed, so that payer and paid compute the same share.

use framemill_network::QualityTerms;
use framemill_network::ladder::LadderEntry;

use crate::quality::log2_fixed;
use crate::report::Quality;

/// What a doubling of the bits is worth, in hundredths of a decibel of luma PSNR: more than halving the bits of the
/// encodes that were measured cost 3.9 dB.
pub const DOUBLING: u32 = 390;

/// The share of the price, in millionths, for a rendition that is declared to have `psnr_centi_db` and whose video has
/// [`bits_per_second`](Quality::bits_per_second). What is not declared is paid by the least share.
#[must_use]
pub fn price_share_ppm(
    terms: &QualityTerms,
    psnr_centi_db: Option<u32>,
    bits_per_second: u64,
    entry: &LadderEntry,
) -> u32 {
    let bought = bought(bits_per_second, entry.bitrate);
    terms.share_ppm(psnr_centi_db.map(|declared| declared.saturating_sub(bought)))
}

/// Luma PSNR in hundredths of a decibel without what bits beyond the agreed ones bought.
#[must_use]
pub fn reached_centi_db(quality: &Quality, entry: &LadderEntry) -> u32 {
    quality.psnr_centi_db.saturating_sub(bought(quality.bits_per_second, entry.bitrate))
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
    use framemill_network::PPM;
    use framemill_network::ladder::{Codec, FrameRate};
    use proptest::prelude::*;

    use super::*;

    const TERMS: QualityTerms =
        QualityTerms { full_centi_db: 4_000, least_centi_db: 3_000, least_ppm: 200_000 };

    fn share(psnr_centi_db: u32, bits_per_second: u64) -> u32 {
        let entry = LadderEntry::from_height(360, FrameRate::SOURCE, 800_000, Codec::H264);
        price_share_ppm(&TERMS, Some(psnr_centi_db), bits_per_second, &entry)
    }

    #[test]
    fn what_reaches_the_agreed_quality_is_paid_in_whole() {
        assert_eq!(share(4_000, 800_000), PPM);
        assert_eq!(share(4_700, 500_000), PPM);
    }

    #[test]
    fn quality_that_was_bought_with_more_bits_does_not_count() {
        assert_eq!(share(4_390, 1_600_000), PPM);
        assert_eq!(share(4_000, 1_600_000), 200_000 + 800 * 610);
    }

    proptest! {
        #[test]
        fn more_quality_never_pays_less_and_more_bits_never_pay_more(
            (psnr, other) in (0..10_000_u32, 0..10_000_u32),
            (bits, more) in (any::<u64>(), any::<u64>()),
        ) {
            prop_assert!(share(psnr.min(other), bits) <= share(psnr.max(other), bits));
            prop_assert!(share(psnr, bits.max(more)) <= share(psnr, bits.min(more)));
        }
    }
}
