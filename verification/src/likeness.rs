//! How much of a rendition's frame is the source's, in luma cells: what of it is gone, and what of it is foreign.
//!
//! Encoders that are short of bits lose part of the picture: what they show is a weaker copy of it. Another picture is not.
//! The part of a rendition that no multiple of its source explains is therefore held apart from the whole difference.

use crate::rules::{ERROR_FLOOR, FLICKER_WEIGHT};

/// Sums over cells in sixteenths of a level, over one frame or many: below 2^38 each for one, and frames are bounded to
/// thousands.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Likeness {
    /// Squared difference.
    error: i64,
    /// Variation of the source.
    source: i64,
    /// Variation of the rendition that the source does not explain.
    foreign: i64,
    /// Squared change of the source since the frame before.
    motion: i64,
    cells: i64,
}

impl Likeness {
    /// Compares a frame by its differences; `motion` is the source's change in every cell.
    pub(crate) fn of(source: &[u16], differences: &[i32], motion: &[u16]) -> Self {
        let n = (source.len() as i64).max(1);
        let (mut s, mut d, mut ss, mut sd, mut dd) = (0i64, 0i64, 0i64, 0i64, 0i64);
        for (&level, &difference) in source.iter().zip(differences) {
            let (level, difference) = (i64::from(level), i64::from(difference));
            s += level;
            d += difference;
            ss += level * level;
            sd += level * difference;
            dd += difference * difference;
        }
        let centred = |ab: i64, a: i64, b: i64| ab - a * b / n;
        let variation = centred(ss, s, s);
        let common = variation + centred(sd, s, d);
        let shown = common + centred(sd, s, d) + centred(dd, d, d);
        // A negative is not like its source.
        let explained = i128::from(common.max(0)) * i128::from(common.max(0)) / i128::from(variation.max(1));
        Self {
            error: dd,
            source: variation,
            // No more than the variation of what is shown.
            foreign: (i128::from(shown) - explained).max(0) as i64,
            motion: motion.iter().map(|&change| i64::from(change) * i64::from(change)).sum(),
            cells: source.len() as i64,
        }
    }

    /// Adds another frame.
    pub(crate) fn add(&mut self, other: Self) {
        self.error += other.error;
        self.source += other.source;
        self.foreign += other.foreign;
        self.motion += other.motion;
        self.cells += other.cells;
    }

    /// Difference in thousandths of the source: a thousand when nothing of it is left, two thousand when it is another one.
    pub(crate) fn error_permille(self) -> i64 {
        self.permille(self.error)
    }

    /// What is shown and is no copy of the source, in thousandths of the source.
    pub(crate) fn foreign_permille(self) -> i64 {
        self.permille(self.foreign)
    }

    /// The source's change from frame to frame in thousandths of its variation: two thousand when no frame is like the one
    /// before.
    pub(crate) fn flicker_permille(self) -> i64 {
        self.motion * 1000 / (self.source + self.cells * ERROR_FLOOR).max(1)
    }

    /// Mean variation of the source's cells, in squared sixteenths of a level.
    pub(crate) fn source_energy(self) -> i64 {
        self.source / self.cells.max(1)
    }

    fn permille(self, energy: i64) -> i64 {
        energy * 1000 / (self.source + self.cells * ERROR_FLOOR + FLICKER_WEIGHT * self.motion).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Vec<u16> {
        (0..1000).map(|i| 500 + i * 37 % 101 * 20).collect()
    }

    fn compared(shown: impl Fn(usize, i32) -> i32) -> Likeness {
        let source = source();
        let differences: Vec<i32> = source
            .iter()
            .enumerate()
            .map(|(i, &level)| shown(i, i32::from(level)) - i32::from(level))
            .collect();
        Likeness::of(&source, &differences, &[0; 1000])
    }

    #[test]
    fn a_lost_picture_is_an_error_as_large_as_itself_and_nothing_foreign() {
        let lost = compared(|_, _| 1500);
        assert!((980..=1000).contains(&lost.error_permille()), "{lost:?}");
        assert!(lost.foreign_permille() <= 1);
    }

    #[test]
    fn a_weaker_copy_is_no_foreign_picture() {
        let weak = compared(|_, level| 1500 + (level - 1500) / 2);
        assert!((230..=255).contains(&weak.error_permille()), "{weak:?}");
        assert!(weak.foreign_permille() <= 1);
    }

    #[test]
    fn another_picture_is_foreign_and_so_is_a_negative() {
        let source = source();
        let other = compared(|i, _| i32::from(source[(i * 7 + 13) % 1000]));
        assert!(other.foreign_permille() > 900, "{other:?}");
        assert!(compared(|_, level| 3000 - level).foreign_permille() > 900);
    }

    #[test]
    fn what_changes_with_every_frame_may_be_lost() {
        let source = source();
        let differences: Vec<i32> = source.iter().map(|&level| 1500 - i32::from(level)).collect();
        let flickering: Vec<u16> = source.iter().map(|&level| level.abs_diff(1500)).collect();
        let lost = Likeness::of(&source, &differences, &flickering);
        assert!(lost.error_permille() <= 260, "{lost:?}");
        assert!((980..=1000).contains(&lost.flicker_permille()));
        assert_eq!(Likeness::default().error_permille(), 0);
    }
}
