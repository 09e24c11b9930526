//! What an offer is likely to cost, where its price follows the quality.

use framemill_network::{PPM, QualityTerms};

/// What a lazy encode costs in quality, in hundredths of a decibel of luma PSNR: x264 `ultrafast` against `veryfast`.
const LAZY: u32 = 480;

/// One part in this many is how much the newest segment counts in the usual quality.
const MEMORY: u32 = 8;

/// The quality that a stream's renditions usually have, rung by rung.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsualQuality {
    rungs: Vec<u32>,
}

impl UsualQuality {
    /// Takes in what was declared for one segment, in ladder order; nothing where a rung has no quality.
    pub fn note(&mut self, declared: impl IntoIterator<Item = Option<u32>>) {
        let Some(declared) = declared.into_iter().collect::<Option<Vec<u32>>>() else { return };
        if self.rungs.len() != declared.len() {
            self.rungs = declared;
            return;
        }
        for (usual, new) in self.rungs.iter_mut().zip(declared) {
            // Both are at most a hundred decibels.
            *usual = (usual.saturating_mul(MEMORY - 1).saturating_add(new)) / MEMORY;
        }
    }

    /// The share of its price that an offer costs, 0 to 1: half at the usual quality, half at that of a lazy encode. Who is
    /// paid less for laziness makes the better offer at the same price. One where nothing is known yet.
    pub fn expected_share(&self, terms: &QualityTerms) -> f64 {
        if self.rungs.is_empty() {
            return 1.0;
        }
        let share = |quality: u32| f64::from(terms.share_ppm(Some(quality))) / f64::from(PPM);
        let of_rung = |&usual: &u32| (share(usual) + share(usual.saturating_sub(LAZY))) / 2.0;
        self.rungs.iter().map(of_rung).sum::<f64>() / self.rungs.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: QualityTerms =
        QualityTerms { full_centi_db: 3_800, least_centi_db: 3_400, least_ppm: 500_000 };

    fn usual(rungs: &[u32]) -> UsualQuality {
        let mut usual = UsualQuality::default();
        usual.note(rungs.iter().copied().map(Some));
        usual
    }

    #[test]
    fn an_offer_that_pays_less_for_laziness_is_expected_to_cost_less() {
        let usual = usual(&[3_900, 3_800]);
        let laxer = QualityTerms { full_centi_db: 2_000, least_centi_db: 1_000, ..TERMS };
        assert_eq!(usual.expected_share(&laxer), 1.0);
        assert_eq!(usual.expected_share(&QualityTerms::WHOLE), 1.0);
        assert!(usual.expected_share(&TERMS) < 0.8);
    }

    #[test]
    fn nothing_is_expected_before_the_first_segment() {
        assert_eq!(UsualQuality::default().expected_share(&TERMS), 1.0);
    }

    #[test]
    fn the_usual_quality_follows_slowly_and_needs_every_rung() {
        let mut quality = usual(&[4_000, 3_000]);
        quality.note([Some(3_200), None]);
        assert_eq!(quality, usual(&[4_000, 3_000]));
        quality.note([Some(3_200), Some(3_800)]);
        assert_eq!(quality, usual(&[3_900, 3_100]));
    }
}
