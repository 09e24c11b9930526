//! How the price of a rendition follows its quality: terms that a quote carries and both sides compute by.

/// The whole, in parts per million.
pub const PPM: u32 = 1_000_000;

/// The best luma PSNR there is, in hundredths of a decibel: that of a copy.
pub const MAX_CENTI_DB: u32 = 10_000;

/// The whole price at or above one quality, a smallest share at or below another, in proportion between them. Quality is
/// luma PSNR in hundredths of a decibel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct QualityTerms {
    /// Quality from which on the whole price is paid.
    pub full_centi_db: u32,
    /// Quality down to which less is paid.
    pub least_centi_db: u32,
    /// Share of the price below that, in millionths.
    pub least_ppm: u32,
}

/// Terms that cannot be computed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "quality terms of {} down to {} hundredths of a decibel, {} millionths at least: give at most {MAX_CENTI_DB}, no more than \
     that, and at most {PPM}", .0.full_centi_db, .0.least_centi_db, .0.least_ppm
)]
pub struct QualityTermsError(pub QualityTerms);

impl QualityTerms {
    /// The whole price for any quality.
    pub const WHOLE: Self = Self { full_centi_db: 0, least_centi_db: 0, least_ppm: PPM };

    /// The terms as they are, when they can be computed with.
    ///
    /// # Errors
    /// When a part is out of its bounds, or the least quality above the full one.
    pub fn checked(self) -> Result<Self, QualityTermsError> {
        let sound = self.full_centi_db <= MAX_CENTI_DB
            && self.least_centi_db <= self.full_centi_db
            && self.least_ppm <= PPM;
        if sound { Ok(self) } else { Err(QualityTermsError(self)) }
    }

    /// Terms around what another encode of the same segment at the same bytes reached: the whole price down to `margin` below
    /// it, and less over another `slope`.
    pub fn around(reference_centi_db: u32, margin: u32, slope: u32, least_ppm: u32) -> Self {
        let full_centi_db = reference_centi_db.saturating_sub(margin);
        Self { full_centi_db, least_centi_db: full_centi_db.saturating_sub(slope), least_ppm }
    }

    /// Whether any quality is paid in whole, so that none has to be declared.
    pub fn is_whole(&self) -> bool {
        self.full_centi_db == 0 || self.least_ppm >= PPM
    }

    /// The share of the price for a quality, in millionths; `None` where it is not known, which pays the least.
    pub fn share_ppm(&self, centi_db: Option<u32>) -> u32 {
        let least = self.least_ppm.min(PPM);
        let reached = centi_db.unwrap_or(0);
        if self.is_whole() || reached >= self.full_centi_db {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TERMS: QualityTerms =
        QualityTerms { full_centi_db: 4_000, least_centi_db: 3_000, least_ppm: 200_000 };

    #[test]
    fn the_share_falls_in_proportion_between_full_and_least() {
        let shares = [4_001, 4_000, 3_500, 3_000, 0].map(|quality| TERMS.share_ppm(Some(quality)));
        assert_eq!(shares, [PPM, PPM, 600_000, 200_000, 200_000]);
    }

    #[test]
    fn a_quality_that_is_not_told_pays_the_least() {
        assert_eq!(TERMS.share_ppm(None), 200_000);
        assert_eq!(QualityTerms::WHOLE.share_ppm(None), PPM);
    }

    #[test]
    fn terms_out_of_bounds_are_refused() {
        let wrong = [
            QualityTerms { full_centi_db: MAX_CENTI_DB + 1, ..TERMS },
            QualityTerms { least_centi_db: TERMS.full_centi_db + 1, ..TERMS },
            QualityTerms { least_ppm: PPM + 1, ..TERMS },
        ];
        assert!(wrong.into_iter().all(|terms| terms.checked().is_err()));
        assert!(TERMS.checked().is_ok() && QualityTerms::WHOLE.checked().is_ok());
    }

    #[test]
    fn terms_around_a_reference_leave_a_margin() {
        let terms = QualityTerms::around(3_900, 150, 400, 500_000);
        let shares = [3_750, 3_550, 3_350].map(|quality| terms.share_ppm(Some(quality)));
        assert_eq!(shares, [PPM, 750_000, 500_000]);
    }

    proptest! {
        #[test]
        fn more_quality_never_pays_less(
            (full, least, share) in (any::<u32>(), any::<u32>(), any::<u32>()),
            (one, other) in (any::<Option<u32>>(), any::<Option<u32>>()),
        ) {
            let terms = QualityTerms { full_centi_db: full, least_centi_db: least, least_ppm: share };
            prop_assert!(terms.share_ppm(one.min(other)) <= terms.share_ppm(one.max(other)));
            prop_assert!(terms.share_ppm(one) <= PPM);
        }
    }
}
