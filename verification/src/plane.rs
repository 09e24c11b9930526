//! One plane of a picture as bytes.

use thiserror::Error;

use crate::kernel::Band;
use crate::means::Axis;
pub use crate::means::{area_means, area_means_by};

/// Widest or tallest plane that is looked at: sums of a column of 16-bit samples then still fit 32 bits.
pub const MAX_PLANE_SIDE: usize = 65_535;

/// Fixed-point scale of a mean: sixteenths of an 8-bit level.
pub const LEVEL: u16 = 16;

/// Largest mean: the brightest samples of many bits round up to 256 levels.
pub(crate) const MAX_MEAN: u16 = 256 * LEVEL;

/// A plane's figures contradict its buffer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "plane of {width}x{height} samples, {depth} bits, stride {stride} does not fit {bytes} bytes; pass the decoder's own figures"
)]
pub struct BadPlane {
    /// Samples in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Bytes from row to row.
    pub stride: usize,
    /// Bits per sample.
    pub depth: u8,
    /// Length of the buffer.
    pub bytes: usize,
}

/// A read-only plane of samples: rows of `width` samples, `stride` bytes apart.
///
/// Samples of more than eight bits are two little-endian bytes.
#[derive(Clone, Copy, Debug)]
pub struct Plane<'a> {
    data: &'a [u8],
    stride: usize,
    width: usize,
    height: usize,
    depth: u8,
}

/// What the means of a plane depend on, its samples aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlaneShape {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) depth: u8,
}

impl<'a> Plane<'a> {
    /// Checks that every row lies inside `data`.
    ///
    /// # Errors
    /// When a side is zero or above [`MAX_PLANE_SIDE`], the depth is not 8 to 16 bits, or `data` is too short.
    pub fn new(
        data: &'a [u8],
        stride: usize,
        width: usize,
        height: usize,
        depth: u8,
    ) -> Result<Self, BadPlane> {
        let plane = Self { data, stride, width, height, depth };
        let sides = 1..=MAX_PLANE_SIDE;
        let row_bytes = width.saturating_mul(plane.sample_bytes());
        let needed = stride.saturating_mul(height.saturating_sub(1)).saturating_add(row_bytes);
        let sound = sides.contains(&width)
            && sides.contains(&height)
            && (8..=16).contains(&depth)
            && stride >= row_bytes
            && data.len() >= needed;
        if sound { Ok(plane) } else { Err(BadPlane { width, height, stride, depth, bytes: data.len() }) }
    }

    /// Samples in a row.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    pub(crate) fn shape(&self) -> PlaneShape {
        PlaneShape { width: self.width, height: self.height, depth: self.depth }
    }

    /// Bits of a sample.
    #[must_use]
    pub fn depth(&self) -> u8 {
        self.depth
    }

    fn sample_bytes(&self) -> usize {
        if self.depth > 8 { 2 } else { 1 }
    }

    #[cfg(test)]
    pub(crate) fn sample(&self, x: usize, y: usize) -> u16 {
        let at = y * self.stride + x * self.sample_bytes();
        match self.depth {
            8 => self.data[at].into(),
            _ => u16::from_le_bytes([self.data[at], self.data[at + 1]]),
        }
    }

    /// The rows that row `index` of the cells touches, with their weights; with those of the next row where they are to be fetched
    /// ahead.
    pub(crate) fn band(&self, down: Axis, index: usize, ahead: bool) -> Band<'a> {
        let (top, bottom, [first, last, between]) = down.span(index);
        let row_bytes = self.width * self.sample_bytes();
        let next = bottom..if ahead { (2 * bottom - top).min(self.height) } else { bottom };
        let bytes = |rows: std::ops::Range<usize>| match rows.len() {
            0 => &[][..],
            count => &self.data[rows.start * self.stride..][..(count - 1) * self.stride + row_bytes],
        };
        Band {
            data: bytes(top..bottom),
            stride: self.stride,
            width: self.width,
            sample_bytes: self.sample_bytes(),
            rows: bottom - top,
            first: first as u32,
            last: last as u32,
            between: between as u32,
            next: bytes(next),
        }
    }
}

/// A grid laid over a plane: `cols` x `rows` cells of equal rational size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Cells in a row.
    pub cols: usize,
    /// Rows of cells.
    pub rows: usize,
}

impl Grid {
    /// Number of cells.
    #[must_use]
    pub fn cells(self) -> usize {
        self.cols * self.rows
    }

    /// The grid with half as many cells in each direction.
    #[must_use]
    pub fn halved(self) -> Self {
        Self { cols: self.cols / 2, rows: self.rows / 2 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_a_plane_whose_rows_leave_the_buffer() {
        assert!(Plane::new(&[0; 99], 10, 10, 10, 8).is_err());
        assert!(Plane::new(&[0; 100], 10, 10, 10, 10).is_err());
        assert!(Plane::new(&[], 0, 0, 0, 8).is_err());
    }
}
