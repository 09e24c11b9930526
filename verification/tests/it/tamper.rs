//! What a cheating transcoder does to the pictures before it encodes them.

use crate::picture::Pic;
use crate::studio::Timed;

/// One degree in microradians.
const DEGREE: i64 = 17_453;

/// A way to cheat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attack {
    WrongContent,
    ReplayedSegment,
    Frozen,
    FrozenSecondHalf,
    BlackFrames(usize),
    AllBlack,
    Shift(usize),
    FlipHorizontal,
    FlipVertical,
    Rotate180,
    /// By an angle in microradians.
    Turn(i64),
    Letterbox,
    Crop(usize),
    Brightness(u8),
    Contrast,
    Grey,
    SwapChroma,
    Logo {
        permille: usize,
    },
    HalfRate,
    Delay(usize),
    Reverse,
    Shuffle,
    ReplacedFrame,
    ReplacedMiddle,
}

impl Attack {
    /// Attacks that must always be caught, temporal ones where something moves.
    pub(crate) const STRONG: [Self; 26] = [
        Self::WrongContent,
        Self::ReplayedSegment,
        Self::Frozen,
        Self::FrozenSecondHalf,
        Self::BlackFrames(1),
        Self::BlackFrames(3),
        Self::AllBlack,
        Self::Shift(2),
        Self::Shift(8),
        Self::FlipHorizontal,
        Self::FlipVertical,
        Self::Rotate180,
        Self::Turn(DEGREE),
        Self::Letterbox,
        Self::Crop(50),
        Self::Brightness(10),
        Self::Contrast,
        Self::Grey,
        Self::SwapChroma,
        Self::Logo { permille: 50 },
        Self::HalfRate,
        Self::Delay(3),
        Self::Reverse,
        Self::Shuffle,
        Self::ReplacedFrame,
        Self::ReplacedMiddle,
    ];

    /// Attacks whose recall is only reported.
    #[allow(dead_code, reason = "only the sweep over all attacks judges them")]
    pub(crate) const WEAK: [Self; 6] = [
        Self::Brightness(3),
        Self::Crop(10),
        Self::Delay(1),
        Self::Turn(DEGREE / 5),
        Self::Logo { permille: 20 },
        Self::Logo { permille: 5 },
    ];

    /// Applies it. `other` is other material of the same length and size, `later` the same scene at another time.
    pub(crate) fn apply(self, clip: &Timed, other: &[Pic], later: &[Pic]) -> Timed {
        let n = clip.len();
        let at = |index: usize| clip[index].1.clone();
        let frame = |index: usize| -> Pic {
            match self {
                Self::WrongContent => other[index].clone(),
                Self::ReplayedSegment => later[index].clone(),
                Self::Frozen => at(0),
                Self::FrozenSecondHalf => at(index.min(n / 2)),
                Self::BlackFrames(count) if (n / 2..n / 2 + count).contains(&index) => black(&clip[0].1),
                Self::AllBlack => black(&clip[0].1),
                Self::HalfRate => at(index / 2 * 2),
                Self::Delay(by) => at(index.saturating_sub(by)),
                Self::Reverse => at(n - 1 - index),
                Self::Shuffle => at((index / 4 * 4 + [2, 0, 3, 1][index % 4]).min(n - 1)),
                Self::ReplacedFrame if index == n / 2 => other[index].clone(),
                Self::ReplacedMiddle if (n / 3..2 * n / 3).contains(&index) => other[index].clone(),
                _ => self.still(&clip[index].1),
            }
        };
        (0..n).map(|index| (clip[index].0, frame(index))).collect()
    }

    /// The change of a single picture.
    fn still(self, pic: &Pic) -> Pic {
        let (w, h) = (pic.width, pic.height);
        let size = |plane: usize| if plane == 0 { (w, h) } else { (w.div_ceil(2), h.div_ceil(2)) };
        let sample = |plane: usize, x: usize, y: usize| pic.planes[plane][y * size(plane).0 + x];
        match self {
            Self::Shift(by) => pic.map(|plane, x, y| {
                let by = if plane == 0 { by } else { by / 2 };
                sample(plane, x.saturating_sub(by), y)
            }),
            Self::FlipHorizontal => pic.map(|plane, x, y| sample(plane, size(plane).0 - 1 - x, y)),
            Self::FlipVertical => pic.map(|plane, x, y| sample(plane, x, size(plane).1 - 1 - y)),
            Self::Rotate180 => {
                pic.map(|plane, x, y| sample(plane, size(plane).0 - 1 - x, size(plane).1 - 1 - y))
            }
            Self::Turn(angle) => turned(pic, angle),
            Self::Letterbox => pic.map(|plane, x, y| {
                let (_, height) = size(plane);
                let bar = height / 8;
                if y < bar || y >= height - bar {
                    return if plane == 0 { 16 } else { 128 };
                }
                sample(plane, x, (y - bar) * height / (height - 2 * bar))
            }),
            Self::Crop(permille) => pic.map(|plane, x, y| {
                let (width, height) = size(plane);
                let inset = |v: usize, n: usize| n * permille / 2000 + v * (1000 - permille) / 1000;
                sample(plane, inset(x, width), inset(y, height))
            }),
            Self::Brightness(by) => pic.map(|plane, x, y| {
                let level = sample(plane, x, y);
                if plane == 0 { level.saturating_add(by) } else { level }
            }),
            Self::Contrast => pic.map(|plane, x, y| {
                let level = i32::from(sample(plane, x, y));
                if plane == 0 { (16 + (level - 16) * 7 / 10) as u8 } else { level as u8 }
            }),
            Self::Grey => pic.map(|plane, x, y| if plane == 0 { sample(0, x, y) } else { 128 }),
            Self::SwapChroma => pic.map(|plane, x, y| sample([0, 2, 1][plane], x, y)),
            Self::Logo { permille } => pic.map(|plane, x, y| {
                let (width, height) = size(plane);
                // A box of the frame's shape: its side is the root of its share of the area.
                let side = (permille * 1000).isqrt();
                let inside = |v: usize, n: usize| v * 1000 >= n * 50 && v * 1000 < n * (50 + side);
                if !inside(x, width) || !inside(y, height) {
                    return sample(plane, x, y);
                }
                let stripe = x * 40 / width % 2 == 0;
                [if stripe { 200 } else { 60 }, 100, 170][plane]
            }),
            _ => pic.clone(),
        }
    }
}

fn black(like: &Pic) -> Pic {
    Pic::filled(like.width, like.height, [16, 128, 128])
}

/// The picture turned around its middle by a small angle, bilinear between samples; the rim repeats.
fn turned(pic: &Pic, microradians: i64) -> Pic {
    /// Steps between two samples.
    const STEPS: i64 = 256;
    pic.map(|plane, x, y| {
        let width = pic.plane_width(plane) as i64;
        let height = pic.planes[plane].len() as i64 / width;
        let (dx, dy) = (x as i64 - width / 2, y as i64 - height / 2);
        // For small angles the sine is the angle and the cosine one.
        let moved = |own: i64, by: i64, side: i64| {
            (own * STEPS + by * microradians * STEPS / 1_000_000).clamp(0, (side - 1) * STEPS - 1)
        };
        let (sx, sy) = (moved(x as i64, dy, width), moved(y as i64, -dx, height));
        let (fx, fy) = (sx % STEPS, sy % STEPS);
        let sample =
            |ox, oy| i64::from(pic.planes[plane][((sy / STEPS + oy) * width + sx / STEPS + ox) as usize]);
        let upper = sample(0, 0) * (STEPS - fx) + sample(1, 0) * fx;
        let lower = sample(0, 1) * (STEPS - fx) + sample(1, 1) * fx;
        ((upper * (STEPS - fy) + lower * fy) / (STEPS * STEPS)) as u8
    })
}
