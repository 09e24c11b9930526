//! Does the rendition move as the source moves? Frames that repeat, lead, lag or come in another order.

use crate::kernel::Kernel;
use crate::plane::LEVEL;
use crate::rules::{
    CHANGE_FLOOR, FADED_DIVISOR, FROZEN_DIVISOR, GRAIN_CEILING, GRAIN_FACTOR, MIN_CHANGING_CELLS,
    MIN_MOVING_FRAMES, MISPLACED_FLOOR, MOTION_FLOOR, NEIGHBOURS, RACE_FLOOR,
};

/// Counts over a segment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tempo {
    kernel: Kernel,
    moving: u32,
    misaligned: u32,
    changing: u32,
    frozen: u32,
}

impl Tempo {
    pub(crate) fn new(kernel: Kernel) -> Self {
        Self { kernel, ..Self::default() }
    }

    /// Compares a frame of the rendition with the source's frame of its time and with that frame's neighbours.
    pub(crate) fn place<'a>(
        &mut self,
        at: usize,
        frames: usize,
        source: impl Fn(usize) -> &'a [u16],
        shown: &[u16],
    ) {
        let own = source(at);
        let own_error = self.kernel.sum_abs_diff(own, shown);
        let (mut nearest, mut farthest, mut best) = (u32::MAX, 0, u32::MAX);
        let around = at.saturating_sub(NEIGHBOURS)..(at + NEIGHBOURS + 1).min(frames);
        for other in around.filter(|&other| other != at) {
            let change = self.kernel.sum_abs_diff(own, source(other));
            if other.abs_diff(at) == 1 {
                nearest = nearest.min(change);
            }
            farthest = farthest.max(change);
            best = best.min(self.kernel.sum_abs_diff(source(other), shown));
        }
        // Grain differs as much from frame to frame as over many frames; what moves drifts ever farther away.
        let floor = MOTION_FLOOR * own.len() as u32;
        let drifts = farthest > floor && 2 * farthest > 3 * nearest;
        let races = nearest > RACE_FLOOR * own.len() as u32;
        if nearest != u32::MAX && (drifts || races) {
            self.moving += 1;
            // Two to three: an honest frame is nearest to its own source even at starved bit rates, unless what moves
            // is so faint that the encoder skips it.
            let seen = own_error > MISPLACED_FLOOR * own.len() as u32;
            self.misaligned += u32::from(seen && best < own_error && 3 * best < 2 * own_error);
        }
    }

    /// Compares the change between two frames of the rendition with the source's, in the cells where that changes. Not
    /// where the source flickers: an encoder that is short of bits leaves that out.
    pub(crate) fn step(&mut self, source: (&[u16], &[u16]), shown: (&[u16], &[u16])) {
        let changes: Vec<u16> = source.0.iter().zip(source.1).map(|(&a, &b)| a.abs_diff(b)).collect();
        let floor = change_floor(&changes);
        let (mut cells, mut wanted, mut got) = (0u32, 0u32, 0u32);
        let (mut there, mut here) = (Variation::default(), Variation::default());
        let levels = source.1.iter().zip(shown.0.iter().zip(shown.1));
        for (&change, (&own, (&c, &d))) in changes.iter().zip(levels) {
            if change > floor {
                cells += 1;
                wanted += u32::from(change);
                got += u32::from(c.abs_diff(d));
                there.add(own);
                here.add(d);
            }
        }
        if cells >= MIN_CHANGING_CELLS {
            self.changing += 1;
            // What was lost to coding does not move either; what stands still is there.
            let shows = FADED_DIVISOR * here.of(cells) > there.of(cells);
            self.frozen += u32::from(FROZEN_DIVISOR * got < wanted && shows);
        }
    }

    /// Share of moving frames that look like another frame, in thousandths.
    pub(crate) fn misaligned_permille(&self) -> i64 {
        permille(self.misaligned, self.moving)
    }

    /// Share of changing frames that stand still, in thousandths.
    pub(crate) fn frozen_permille(&self) -> i64 {
        permille(self.frozen, self.changing)
    }
}

/// Sums of levels.
#[derive(Clone, Copy, Default)]
struct Variation {
    sum: u64,
    squares: u64,
}

impl Variation {
    fn add(&mut self, level: u16) {
        self.sum += u64::from(level);
        self.squares += u64::from(level) * u64::from(level);
    }

    /// Squared deviations from the mean of so many levels, and a level's worth for each.
    fn of(self, count: u32) -> u64 {
        let count = u64::from(count.max(1));
        let square = u64::from(LEVEL) * u64::from(LEVEL);
        (self.squares - self.sum * self.sum / count) + count * square
    }
}

/// From which change on a cell shows motion and not grain. Where the usual cell changes little it is grain that
/// changes it, and only what stands out far is motion; where it changes much, everything moves.
fn change_floor(changes: &[u16]) -> u16 {
    let mut sorted = changes.to_vec();
    let middle = sorted.len() / 2;
    let (_, &mut median, _) = sorted.select_nth_unstable(middle);
    if median > GRAIN_CEILING { CHANGE_FLOOR } else { CHANGE_FLOOR.max(GRAIN_FACTOR * median) }
}

fn permille(part: u32, whole: u32) -> i64 {
    i64::from(part) * 1000 / i64::from(whole.max(MIN_MOVING_FRAMES))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(index: usize) -> Vec<u16> {
        (0..100).map(|i| ((i + 3 * index) % 50) as u16 * 60).collect()
    }

    fn tempo(order: impl Fn(usize) -> usize) -> Tempo {
        let source: Vec<_> = (0..30).map(frame).collect();
        let mut tempo = Tempo::default();
        for i in 0..30 {
            let shown = &source[order(i)];
            tempo.place(i, 30, |k| source[k].as_slice(), shown);
            if i > 0 {
                let before = &source[order(i - 1)];
                tempo.step((&source[i - 1], &source[i]), (before, shown));
            }
        }
        tempo
    }

    #[test]
    fn the_source_itself_keeps_time() {
        let tempo = tempo(|i| i);
        assert_eq!((tempo.misaligned_permille(), tempo.frozen_permille()), (0, 0));
        assert_eq!(tempo.moving, 30);
    }

    #[test]
    fn a_delayed_rendition_is_misaligned() {
        assert!(tempo(|i| i.saturating_sub(1)).misaligned_permille() > 900);
    }

    #[test]
    fn every_second_frame_repeated_is_half_frozen() {
        assert!(tempo(|i| i / 2 * 2).frozen_permille() >= 500);
    }

    #[test]
    fn a_freeze_is_frozen() {
        assert_eq!(tempo(|_| 0).frozen_permille(), 1000);
    }
}
