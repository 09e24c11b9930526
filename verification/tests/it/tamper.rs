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
    /// By a quarter, squeezed into the picture's shape.
    QuarterTurn,
    Letterbox,
    Crop(usize),
    Brightness(u8),
    Contrast,
    Gamma,
    /// Levels of limited range stretched to the full one.
    Range,
    Grey,
    /// Colours turned by so many degrees.
    Hue(i64),
    /// Colours to so many percent.
    Saturation(i64),
    /// So many levels more of blue and less of red everywhere.
    Tint(i64),
    SwapChroma,
    /// The rim darkened by up to a half.
    Vignette,
    /// Noise of this strength in levels.
    Noise(i64),
    Logo {
        permille: usize,
    },
    /// A logo of 1 % of the area, one fifth opaque.
    FaintLogo,
    /// A flat box of so many parts of a million of the area.
    Box {
        ppm: usize,
    },
    /// A checkerboard whose mean is zero in every lattice cell.
    HiddenDetail,
    /// A logo of 5 % on all frames but the first.
    AfterKeyframe,
    /// A logo of 5 % on the second half.
    SecondHalf,
    DropOnceASecond,
    RepeatOnceASecond,
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
    #[allow(dead_code, reason = "only the whole suite judges them")]
    pub(crate) const REPORTED: [Self; 25] = [
        Self::Brightness(3),
        Self::Crop(10),
        Self::Delay(1),
        Self::Turn(DEGREE / 5),
        Self::QuarterTurn,
        Self::Logo { permille: 20 },
        Self::Logo { permille: 5 },
        Self::FaintLogo,
        Self::Box { ppm: 20_000 },
        Self::Box { ppm: 500 },
        Self::Gamma,
        Self::Range,
        Self::Hue(10),
        Self::Hue(30),
        Self::Saturation(80),
        Self::Tint(5),
        Self::Vignette,
        Self::Noise(10),
        Self::Noise(20),
        Self::HiddenDetail,
        Self::AfterKeyframe,
        Self::SecondHalf,
        Self::DropOnceASecond,
        Self::RepeatOnceASecond,
        Self::Shift(1),
    ];

    /// Whether every frame is tampered alike, so that the first one tells.
    #[allow(dead_code, reason = "only the whole suite asks")]
    pub(crate) fn is_persistent(self) -> bool {
        !matches!(
            self,
            Self::Frozen
                | Self::FrozenSecondHalf
                | Self::BlackFrames(_)
                | Self::HalfRate
                | Self::Delay(_)
                | Self::Shuffle
                | Self::ReplacedFrame
                | Self::ReplacedMiddle
                | Self::AfterKeyframe
                | Self::SecondHalf
                | Self::DropOnceASecond
                | Self::RepeatOnceASecond
        )
    }

    /// Whether it shows frames of the scene at other times.
    pub(crate) fn is_reordering(self) -> bool {
        matches!(
            self,
            Self::ReplayedSegment
                | Self::Frozen
                | Self::FrozenSecondHalf
                | Self::HalfRate
                | Self::Delay(_)
                | Self::Reverse
                | Self::Shuffle
                | Self::DropOnceASecond
                | Self::RepeatOnceASecond
        )
    }

    /// Whether it marks a small part of the picture in all frames.
    pub(crate) fn is_local(self) -> bool {
        matches!(self, Self::Logo { .. } | Self::FaintLogo | Self::Box { .. })
    }

    /// Whether it changes samples and not the means of blocks.
    pub(crate) fn is_fine(self) -> bool {
        matches!(self, Self::Noise(_) | Self::HiddenDetail)
    }

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
                Self::DropOnceASecond => at((index + index / SECOND).min(n - 1)),
                Self::RepeatOnceASecond => at(index - index / SECOND),
                Self::AfterKeyframe if index > 0 => logo(&clip[index].1, 50, FULL),
                Self::SecondHalf if index >= n / 2 => logo(&clip[index].1, 50, FULL),
                Self::AfterKeyframe | Self::SecondHalf => at(index),
                Self::Noise(strength) => noisy(&clip[index].1, strength, index),
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
            Self::QuarterTurn => pic.map(|plane, x, y| {
                let (width, height) = size(plane);
                sample(plane, y * width / height, height - 1 - x * height / width)
            }),
            Self::Gamma => pic.map(|plane, x, y| {
                let level = i64::from(sample(plane, x, y)).clamp(16, 235) - 16;
                // The parabola through both ends that lifts the middle by a tenth.
                if plane == 0 {
                    (16 + level + 2 * level * (219 - level) / (5 * 219)) as u8
                } else {
                    sample(plane, x, y)
                }
            }),
            Self::Range => pic.map(|plane, x, y| {
                let (floor, span) = if plane == 0 { (16, 219) } else { (128, 224) };
                let middle = if plane == 0 { 0 } else { 128 };
                let stretched = middle + (i64::from(sample(plane, x, y)) - floor) * 255 / span;
                stretched.clamp(0, 255) as u8
            }),
            Self::Hue(degrees) => colour(pic, |u, v| {
                let (sine, cosine) = turn(degrees);
                ((u * cosine - v * sine) / FULL, (u * sine + v * cosine) / FULL)
            }),
            Self::Saturation(percent) => colour(pic, |u, v| (u * percent / 100, v * percent / 100)),
            Self::Tint(by) => colour(pic, |u, v| (u + by, v - by)),
            Self::Vignette => pic.map(|plane, x, y| {
                let level = i64::from(sample(plane, x, y));
                if plane > 0 {
                    return level as u8;
                }
                let off = |v: usize, n: usize| (2 * v as i64 - n as i64) * FULL / n as i64;
                let far = (off(x, w) * off(x, w) + off(y, h) * off(y, h)) / (2 * FULL);
                (16 + (level - 16) * (2 * FULL - far) / (2 * FULL)).clamp(0, 255) as u8
            }),
            Self::Logo { permille } => logo(pic, permille, FULL),
            Self::FaintLogo => logo(pic, 10, FULL / 5),
            Self::Box { ppm } => pic.map(|plane, x, y| {
                let (width, height) = size(plane);
                let side = ppm.isqrt();
                let inside = |v: usize, n: usize| v * 1000 >= n * 600 && v * 1000 < n * (600 + side);
                if inside(x, width) && inside(y, height) {
                    [180, 110, 150][plane]
                } else {
                    sample(plane, x, y)
                }
            }),
            Self::HiddenDetail => pic.map(|plane, x, y| {
                let level = i64::from(sample(plane, x, y));
                let sign = if (x + y) % 2 == 0 { 1 } else { -1 };
                if plane == 0 { (level + sign * 24).clamp(0, 255) as u8 } else { level as u8 }
            }),
            _ => pic.clone(),
        }
    }
}

/// Opacity and fractions are parts of this.
const FULL: i64 = 1000;

/// Frames in a second of what is tampered.
const SECOND: usize = 30;

/// A striped box in a corner, of this share of the area and of this opacity.
fn logo(pic: &Pic, permille: usize, opacity: i64) -> Pic {
    pic.map(|plane, x, y| {
        let width = pic.plane_width(plane);
        let height = pic.planes[plane].len() / width;
        let level = i64::from(pic.planes[plane][y * width + x]);
        // A box of the frame's shape: its side is the root of its share of the area.
        let side = (permille * 1000).isqrt();
        let inside = |v: usize, n: usize| v * 1000 >= n * 50 && v * 1000 < n * (50 + side);
        if !inside(x, width) || !inside(y, height) {
            return level as u8;
        }
        let stripe = (x * 40 / width).is_multiple_of(2);
        let paint = [if stripe { 200 } else { 60 }, 100, 170][plane];
        ((level * (FULL - opacity) + paint * opacity) / FULL) as u8
    })
}

/// Noise that is new in every frame, about even between both bounds.
fn noisy(pic: &Pic, strength: i64, frame: usize) -> Pic {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ (frame as u64) << 32;
    let mut out = pic.clone();
    for level in &mut out.planes[0] {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let noise = (state >> 40) as i64 % (4 * strength + 1) - 2 * strength;
        *level = (i64::from(*level) + noise).clamp(0, 255) as u8;
    }
    out
}

/// Changes both colour differences of every sample, given and returned around zero.
fn colour(pic: &Pic, change: impl Fn(i64, i64) -> (i64, i64)) -> Pic {
    let mut out = pic.clone();
    let [_, us, vs] = &mut out.planes;
    for (u, v) in us.iter_mut().zip(vs) {
        let (new_u, new_v) = change(i64::from(*u) - 128, i64::from(*v) - 128);
        *u = (128 + new_u).clamp(0, 255) as u8;
        *v = (128 + new_v).clamp(0, 255) as u8;
    }
    out
}

/// Sine and cosine in thousandths.
fn turn(degrees: i64) -> (i64, i64) {
    let angle = degrees as f64 * std::f64::consts::PI / 180.0;
    ((angle.sin() * FULL as f64).round() as i64, (angle.cos() * FULL as f64).round() as i64)
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
