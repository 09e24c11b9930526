//! Area means of planes on a lattice, as verification measures them, by a CUDA kernel.
//!
//! [`Work`] is what one launch is told; [`LatticeKernels`] launches it on a device, [`twin::means`] does the same on the CPU,
//! thread by thread, for machines without one and to compare with.

mod device;
pub mod twin;

pub use device::LatticeKernels;

use crate::GpuError;

/// Bytes that a thread reads at once; rows start and are padded at multiples of them.
pub const GROUP_BYTES: u32 = 16;

/// Widest or tallest plane: sums of a column of 16-bit samples then still fit 32 bits.
pub const MAX_SIDE: u32 = 65_535;

/// Most cells along a side of a grid: the ends of cells then still fit 32 bits.
pub const MAX_CELLS: u32 = 1024;

/// Most lanes of a row: their sums fill the 48 KiB of shared memory that every device gives a block.
pub const MAX_LANES: u32 = 48 * 1024 / 4;

/// How samples lie in a plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Samples {
    /// One byte each.
    Bytes,
    /// Two bytes each, little-endian, of so many bits, 9 to 16, in the lower ones as in planar formats.
    Words(u8),
    /// The same in the upper ones, as in P010.
    HighWords(u8),
}

/// A plane in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaneShape {
    /// Samples in a row, of one channel.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bytes from row to row, a multiple of [`GROUP_BYTES`]. The last row is as long.
    pub pitch: u32,
    /// How samples lie.
    pub samples: Samples,
    /// One, or two that alternate as the chroma of NV12 and P010 does.
    pub channels: u32,
}

/// A grid laid over a plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cells {
    /// Cells in a row.
    pub cols: u32,
    /// Rows of cells.
    pub rows: u32,
}

/// Which of the kernels does the work: what is added up together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes, one by one.
    Bytes,
    /// Words, one by one.
    Words,
    /// Four neighbouring bytes.
    Quads,
}

impl Kind {
    /// Lanes in [`GROUP_BYTES`].
    pub const fn lanes(self) -> u32 {
        match self {
            Self::Bytes => 16,
            Self::Words => 8,
            Self::Quads => 4,
        }
    }
}

/// What a launch is told, laid out as the kernel's own structure.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) divisor: u64,
    pub(crate) pitch: u32,
    pub(crate) lanes: u32,
    pub(crate) channels: u32,
    pub(crate) shift: u32,
    pub(crate) across_samples: u32,
    pub(crate) across_cells: u32,
    pub(crate) down_samples: u32,
    pub(crate) down_cells: u32,
    pub(crate) cols: u32,
    pub(crate) rows: u32,
}

/// One launch: planes of one shape, measured on one grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    pub(crate) kind: Kind,
    pub(crate) figures: Figures,
    plane_bytes: usize,
}

impl Work {
    /// Checks that the kernel can do it.
    ///
    /// # Errors
    /// [`GpuError::Unfit`] beyond one of the bounds of this module.
    pub fn new(shape: PlaneShape, cells: Cells) -> Result<Self, GpuError> {
        let (depth, shift, sample_bytes) = match shape.samples {
            Samples::Bytes => (8, 0, 1),
            Samples::Words(depth) => (depth, 0, 2),
            Samples::HighWords(depth) => (depth, 16u8.saturating_sub(depth), 2),
        };
        within("samples in a row", shape.width, 1..=MAX_SIDE)?;
        within("rows", shape.height, 1..=MAX_SIDE)?;
        within("channels", shape.channels, 1..=2)?;
        within("bits", u32::from(depth), if sample_bytes == 1 { 8..=8 } else { 9..=16 })?;
        within("cells in a row", cells.cols, 1..=MAX_CELLS)?;
        within("rows of cells", cells.rows, 1..=MAX_CELLS)?;
        within("bytes beyond whole groups in a row", shape.pitch % GROUP_BYTES, 0..=0)?;
        let row_bytes = shape.width * shape.channels * sample_bytes;
        within("bytes from row to row", shape.pitch, row_bytes..=u32::MAX)?;

        let across = reduced(shape.width, cells.cols);
        let down = reduced(shape.height, cells.rows);
        let quads = sample_bytes == 1 && shape.channels == 1 && across.1 == 1 && across.0.is_multiple_of(4);
        let kind = match (quads, sample_bytes) {
            (true, _) => Kind::Quads,
            (_, 1) => Kind::Bytes,
            _ => Kind::Words,
        };
        let together = if quads { 4 } else { 1 };
        let lanes = shape.width * shape.channels / together;
        within("lanes in a row", lanes.next_multiple_of(kind.lanes()), 1..=MAX_LANES)?;
        let figures = Figures {
            divisor: (u64::from(across.0) * u64::from(down.0)) << (depth - 8),
            pitch: shape.pitch,
            lanes,
            channels: shape.channels,
            shift: shift.into(),
            across_samples: across.0 / together,
            across_cells: across.1,
            down_samples: down.0,
            down_cells: down.1,
            cols: cells.cols,
            rows: cells.rows,
        };
        let plane_bytes = shape.pitch as usize * shape.height as usize;
        Ok(Self { kind, figures, plane_bytes })
    }

    /// Bytes of each plane, padding included.
    #[must_use]
    pub fn plane_bytes(&self) -> usize {
        self.plane_bytes
    }

    /// Means of each plane: row by row, the second channel after the first.
    #[must_use]
    pub fn means(&self) -> usize {
        (self.figures.cols * self.figures.rows * self.figures.channels) as usize
    }

    /// Bytes of shared memory of a block.
    pub(crate) fn shared_bytes(&self) -> u32 {
        4 * self.figures.lanes.next_multiple_of(self.kind.lanes())
    }
}

fn within(what: &'static str, value: u32, bounds: std::ops::RangeInclusive<u32>) -> Result<(), GpuError> {
    let (least, most) = bounds.clone().into_inner();
    if bounds.contains(&value) { Ok(()) } else { Err(GpuError::Unfit { what, value, least, most }) }
}

/// Samples and cells of a side without their common factor: weights are the smaller for it, rounded means are the same.
fn reduced(samples: u32, cells: u32) -> (u32, u32) {
    let (mut a, mut b) = (samples, cells);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    (samples / a, cells / a)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: PlaneShape =
        PlaneShape { width: 1920, height: 1080, pitch: 2048, samples: Samples::Bytes, channels: 1 };
    const CELLS: Cells = Cells { cols: 160, rows: 90 };

    #[test]
    fn whole_fours_under_a_cell_are_added_together() {
        let kind = |shape| Work::new(shape, CELLS).expect("it fits").kind;
        assert_eq!(kind(SHAPE), Kind::Quads);
        assert_eq!(kind(PlaneShape { width: 854, ..SHAPE }), Kind::Bytes);
        assert_eq!(kind(PlaneShape { width: 960, channels: 2, ..SHAPE }), Kind::Bytes);
        assert_eq!(kind(PlaneShape { pitch: 4096, samples: Samples::HighWords(10), ..SHAPE }), Kind::Words);
    }

    #[test]
    fn what_the_kernel_cannot_do_is_refused_with_its_bound() {
        let refused = |shape, cells| Work::new(shape, cells).expect_err("too much").to_string();
        assert!(refused(PlaneShape { pitch: 1928, ..SHAPE }, CELLS).contains("whole groups"));
        assert!(refused(PlaneShape { pitch: 1904, ..SHAPE }, CELLS).contains("1920 to"));
        assert!(refused(SHAPE, Cells { cols: 0, ..CELLS }).contains("1 to 1024"));
        assert!(
            refused(PlaneShape { width: 12_400, pitch: 12_416, ..SHAPE }, Cells { cols: 3, rows: 2 })
                .contains("lanes")
        );
        assert!(
            refused(PlaneShape { samples: Samples::Words(17), pitch: 4096, ..SHAPE }, CELLS)
                .contains("9 to 16")
        );
    }
}
