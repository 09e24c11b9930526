//! Fine detail that a rendition shows and its source does not: noise, sharpening, patterns too fine for the lattice.
//!
//! Encoders take detail away. What they add, ringing and blocks, stands beside edges, where there is detail already.

use crate::kernel::Kernel;
use crate::pixels::around;
use crate::rules::{DETAIL_FACTOR, DETAIL_FLOOR};

/// Sides of a block in the rendition's pixels, a macroblock of H.264.
pub(crate) const BLOCK: usize = 16;

/// Squared differences of neighbouring pixels, summed over every block of a picture; rows of blocks one after the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Blocks {
    across: usize,
    energy: Vec<u64>,
}

impl Blocks {
    pub(crate) fn new(width: usize, height: usize) -> Self {
        let across = width.div_ceil(BLOCK);
        Self { across, energy: vec![0; across * height.div_ceil(BLOCK)] }
    }

    /// Adds the row at `index`, in sixteenths of a level, with the one above it; of the first row with itself.
    pub(crate) fn add(&mut self, kernel: Kernel, index: usize, above: &[u16], row: &[u16]) {
        let from = index / BLOCK * self.across;
        kernel.roughness(above, row, &mut self.energy[from..from + self.across]);
    }

    /// Largest energy of the three by three blocks around each.
    fn widest(&self) -> Vec<u64> {
        let rows = self.energy.len() / self.across.max(1);
        let mut out = Vec::with_capacity(self.energy.len());
        for y in 0..rows {
            for x in 0..self.across {
                let there = around(x, y, self.across, rows).map(|at| self.energy[at]);
                out.push(there.max().unwrap_or(0));
            }
        }
        out
    }

    /// Adds how many of the blocks show far more detail than anything around them in the source, in this frame or in one
    /// that was compared before: sources are coded themselves, and keep grain in some frames only.
    pub(crate) fn compare(&self, source: &Self, found: &mut Roughened) {
        let floor = DETAIL_FLOOR * (BLOCK * BLOCK) as u64;
        found.source += source.energy.iter().sum::<u64>();
        found.seen.across = source.across;
        found.seen.energy.resize(source.energy.len(), 0);
        for (seen, &there) in found.seen.energy.iter_mut().zip(&source.energy) {
            *seen = there.max(*seen);
        }
        let widest = found.seen.widest();
        let bounds = widest.iter().map(|&there| there * DETAIL_FACTOR / 256 + floor);
        found.beyond +=
            self.energy.iter().zip(bounds).filter(|&(&shown, bound)| shown > bound).count() as u64;
        found.blocks += widest.len() as u64;
    }
}

/// Blocks with detail of their own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Roughened {
    beyond: u64,
    blocks: u64,
    /// Energy of the source's detail.
    source: u64,
    /// The most detail of every block of the source.
    seen: Blocks,
}

impl Roughened {
    /// Their share in thousandths.
    pub(crate) fn permille(&self) -> i64 {
        // At most a thousand.
        (self.beyond * 1000 / self.blocks.max(1)) as i64
    }

    /// Mean squared differences of the source's pixels from their neighbours, in squared sixteenths of a level.
    pub(crate) fn source_energy(&self) -> i64 {
        let pixels = self.blocks.max(1) * (BLOCK * BLOCK) as u64;
        // Two differences a pixel, each below 2^12.
        (self.source / pixels) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plane::LEVEL;

    const SIDE: usize = 80;

    fn blocks(level: impl Fn(usize, usize) -> u16) -> Blocks {
        let mut blocks = Blocks::new(SIDE, SIDE);
        let row = |y: usize| -> Vec<u16> { (0..SIDE).map(|x| LEVEL * level(x, y)).collect() };
        for y in 0..SIDE {
            blocks.add(Kernel::SCALAR, y, &row(y.saturating_sub(1)), &row(y));
        }
        blocks
    }

    fn roughened(source: &Blocks, shown: &Blocks) -> i64 {
        let mut found = Roughened::default();
        shown.compare(source, &mut found);
        found.permille()
    }

    #[test]
    fn a_pattern_too_fine_for_the_lattice_roughens_every_block() {
        let flat = blocks(|_, _| 100);
        let checkered = blocks(|x, y| if (x + y) % 2 == 0 { 88 } else { 112 });
        assert_eq!(roughened(&flat, &checkered), 1000);
        assert_eq!(roughened(&checkered, &flat), 0);
        assert_eq!(roughened(&checkered, &checkered), 0);
    }

    #[test]
    fn what_rings_beside_an_edge_roughens_nothing() {
        // The edge lies between two blocks.
        let edge = blocks(|x, _| if x < 48 { 40 } else { 200 });
        let ringing = blocks(|x, _| match x {
            46 => 20,
            47 => 60,
            48 => 180,
            49 => 215,
            _ if x < 48 => 40,
            _ => 200,
        });
        assert_eq!(roughened(&edge, &ringing), 0);
    }

    #[test]
    fn pictures_smaller_than_a_block_are_one() {
        let mut tiny = Blocks::new(3, 2);
        tiny.add(Kernel::SCALAR, 0, &[0; 3], &[0, 1600, 0]);
        assert_eq!(roughened(&Blocks::new(3, 2), &tiny), 1000);
        assert_eq!(Roughened::default().permille(), 0);
    }
}
