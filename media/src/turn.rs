//! Pictures that a camera laid on their side or their head, set upright.

use ffmpeg_next::ffi::AVFrame;

use crate::codec::PixelFormat;
use crate::color::ColorInfo;
use crate::error::MediaError;
use crate::frame::{Frame, FramePool, Plane, plane_mut};
use crate::limits::MediaLimits;
use crate::scale::{Scaler, ScalerConfig};

/// Rows turned together: their samples at one column fill a cache line of the target.
const BAND: usize = 32;

/// Turns pictures by quarters.
pub struct Turner {
    quarters: u16,
    limits: MediaLimits,
    pool: FramePool,
    /// For formats whose samples cannot be turned one by one.
    plain: Option<Scaler>,
}

impl Turner {
    /// One for pictures that are turned clockwise by so many degrees; `None` for upright ones.
    pub(crate) fn new(rotation: u16, limits: &MediaLimits) -> Option<Self> {
        let quarters = rotation / 90 % 4;
        let turner = Self { quarters, limits: limits.clone(), pool: FramePool::default(), plain: None };
        (quarters > 0).then_some(turner)
    }

    /// The picture upright; time, colour tags and marks of damage stay.
    pub(crate) fn turn(&mut self, frame: &Frame) -> Result<Frame, MediaError> {
        let plain = self.plain(frame)?;
        let (width, height) = match self.quarters {
            2 => (plain.width(), plain.height()),
            _ => (plain.height(), plain.width()),
        };
        let (format, quarters) = (plain.format(), self.quarters);
        self.pool.produce((format, width, height), frame.pts(), |target| {
            for index in 0..plain.planes() {
                if let (Some(from), Some((to, stride))) =
                    (plain.plane(index), plane_mut(target, format, index))
                {
                    turn_plane(from, to, stride, format.sample_bytes(), quarters);
                }
            }
            keep_marks(frame.raw(), target);
            Ok(())
        })
    }

    /// The picture in a format in which every sample has a place of its own, also on its side.
    fn plain(&mut self, frame: &Frame) -> Result<Frame, MediaError> {
        let format = frame.format();
        let (horizontal, vertical) = format.chroma_shift();
        if format.is_planar() && (self.quarters == 2 || horizontal == vertical) {
            return Ok(frame.clone());
        }
        let wanted = if format.bit_depth() > 8 { PixelFormat::YUV420P10 } else { PixelFormat::YUV420P };
        let config = ScalerConfig { format: wanted, ..ScalerConfig::yuv420p(frame.width(), frame.height()) };
        let scaler = match self.plain.take() {
            Some(scaler) if scaler.makes(&config) => scaler,
            _ => Scaler::new(config, &self.limits)?,
        };
        self.plain.insert(scaler).scale(frame)
    }
}

fn keep_marks(source: &AVFrame, target: &mut AVFrame) {
    ColorInfo::of_frame(source).put(target);
    target.key_frame = source.key_frame;
    target.flags = source.flags;
    target.decode_error_flags = source.decode_error_flags;
}

fn turn_plane(from: Plane<'_>, to: &mut [u8], stride: usize, sample: usize, quarters: u16) {
    match sample {
        1 => turn_samples::<1>(from, to, stride, quarters),
        _ => turn_samples::<2>(from, to, stride, quarters),
    }
}

/// Turns a plane of samples of `N` bytes.
fn turn_samples<const N: usize>(from: Plane<'_>, to: &mut [u8], stride: usize, quarters: u16) {
    let (columns, rows) = (from.row_bytes() / N, from.rows());
    let place = |x: usize, y: usize| match quarters {
        1 => x * stride + (rows - 1 - y) * N,
        2 => (rows - 1 - y) * stride + (columns - 1 - x) * N,
        _ => (columns - 1 - x) * stride + y * N,
    };
    for first in (0..rows).step_by(BAND) {
        let band = first..(first + BAND).min(rows);
        for x in 0..columns {
            for y in band.clone() {
                let at = place(x, y);
                to[at..at + N].copy_from_slice(&from.row(y)[x * N..(x + 1) * N]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three columns, two rows.
    const LUMA: [u8; 6] = [1, 2, 3, 4, 5, 6];

    fn turned(rotation: u16) -> (u32, u32, Vec<u8>) {
        let limits = MediaLimits::default();
        let frame = Frame::from_yuv420p(3, 2, [&LUMA, &[7, 8], &[9, 10]], 42, &limits).expect("a frame");
        let turned = Turner::new(rotation, &limits).expect("a turn").turn(&frame).expect("a turned frame");
        assert_eq!(turned.pts(), Some(42));
        let luma = turned.plane(0).expect("luma").iter_rows().flatten().copied().collect();
        (turned.width(), turned.height(), luma)
    }

    #[test]
    fn a_quarter_clockwise_brings_the_lower_left_corner_to_the_upper_left() {
        assert_eq!(turned(90), (2, 3, vec![4, 1, 5, 2, 6, 3]));
    }

    #[test]
    fn half_a_turn_runs_backwards() {
        assert_eq!(turned(180), (3, 2, vec![6, 5, 4, 3, 2, 1]));
    }

    #[test]
    fn three_quarters_bring_the_upper_right_corner_to_the_upper_left() {
        assert_eq!(turned(270), (2, 3, vec![3, 6, 2, 5, 1, 4]));
    }

    #[test]
    fn upright_pictures_need_no_turn() {
        assert!(Turner::new(0, &MediaLimits::default()).is_none());
    }
}
