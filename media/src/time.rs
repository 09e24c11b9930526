//! Time in 90 kHz ticks, frame rates, and the 33-bit clock of MPEG-TS.

use std::fmt;

/// A point in time or a duration, in ticks of 1/90000 s.
pub type Ticks = i64;

/// Ticks in one second.
pub const TICKS_PER_SECOND: Ticks = 90_000;

/// MPEG-TS carries timestamps modulo this (ISO/IEC 13818-1, 2.4.3.7).
pub const WRAP: Ticks = 1 << 33;

/// A non-negative fraction: frame rates, aspect ratios.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rational {
    /// Numerator.
    pub num: u32,
    /// Denominator, never zero.
    pub den: u32,
}

impl Rational {
    /// A fraction; a zero denominator makes it `0/1`.
    pub const fn new(num: u32, den: u32) -> Self {
        if den == 0 { Self { num: 0, den: 1 } } else { Self { num, den } }
    }

    /// Whether the value is zero, which stands for "not known".
    pub const fn is_zero(self) -> bool {
        self.num == 0
    }

    /// The value as a floating point number, for display.
    pub fn as_f64(self) -> f64 {
        f64::from(self.num) / f64::from(self.den)
    }

    /// Ticks one frame lasts at this frame rate, rounded; zero when the rate is not known.
    pub fn frame_duration(self) -> Ticks {
        if self.is_zero() {
            return 0;
        }
        let num = i64::from(self.num);
        (TICKS_PER_SECOND * i64::from(self.den) + num / 2) / num
    }

    /// The rate of `intervals` frames in `span` ticks. Timestamps are rounded to ticks, milliseconds or worse on their
    /// way, so a rate within a thousandth of a customary one is that one.
    pub(crate) fn of_intervals(intervals: i64, span: Ticks) -> Option<Self> {
        const CUSTOMARY: [Rational; 14] = [
            Rational::new(5, 1),
            Rational::new(10, 1),
            Rational::new(12, 1),
            Rational::new(15, 1),
            Rational::new(20, 1),
            Rational::new(24_000, 1001),
            Rational::new(24, 1),
            Rational::new(25, 1),
            Rational::new(30_000, 1001),
            Rational::new(30, 1),
            Rational::new(50, 1),
            Rational::new(60_000, 1001),
            Rational::new(60, 1),
            Rational::new(120, 1),
        ];
        if intervals <= 0 || span <= 0 {
            return None;
        }
        let ticks = i128::from(intervals) * i128::from(TICKS_PER_SECOND);
        let (num, den) = (ticks, i128::from(span));
        // |num/den - c.num/c.den|, in units of 1/(den * c.den): exact, and comparable with a thousandth of num/den.
        let distance = |rate: &Rational| (num * i128::from(rate.den) - i128::from(rate.num) * den).abs();
        let relative = |rate: &Rational| distance(rate) * 1_000_000 / (num * i128::from(rate.den));
        let near =
            CUSTOMARY.into_iter().min_by_key(|rate| relative(rate)).filter(|rate| relative(rate) <= 1000);
        near.or_else(|| {
            // Thousandths of a frame are finer than any timestamp can tell.
            let milli = u32::try_from(num * 1000 / den).ok()?;
            Some(Self::new(milli, 1000))
        })
    }

    /// The fraction of two signed parts as FFmpeg keeps them; zero where that is not a positive fraction.
    pub(crate) fn from_signed(num: i32, den: i32) -> Self {
        match (u32::try_from(num), u32::try_from(den)) {
            (Ok(num), Ok(den)) => Self::new(num, den),
            _ => Self::new(0, 1),
        }
    }
}

impl fmt::Display for Rational {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.num, self.den)
    }
}

/// A timestamp as MPEG-TS carries it: modulo 2^33.
pub const fn wrapped(ticks: Ticks) -> Ticks {
    ticks.rem_euclid(WRAP)
}

/// By how much times are moved so that a container without a wrapping clock says the same as one with it: `first`, the smallest of
/// them, comes to lie between 0 and 2^33, and none is negative, for which MP4 has no place.
pub const fn onto_the_clock(first: Ticks) -> Ticks {
    wrapped(first).saturating_sub(first)
}

/// The shortest way from `from` to `to` on the 33-bit clock: in `-2^32..2^32`.
///
/// Use it to compare timestamps of two segments that may lie on different sides of a wrap.
pub const fn wrapped_difference(from: Ticks, to: Ticks) -> Ticks {
    let forward = wrapped(wrapped(to) - wrapped(from));
    if forward >= WRAP / 2 { forward - WRAP } else { forward }
}

/// Puts timestamps of the 33-bit clock on one unbroken timeline.
///
/// Each timestamp is placed at the point nearest to the one before, so streams that run for longer than 26.5 hours keep
/// counting up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwrapper {
    reference: Option<Ticks>,
}

impl Unwrapper {
    /// A timeline that starts where the first timestamp lies.
    pub const fn new() -> Self {
        Self { reference: None }
    }

    /// The place of `timestamp` on the timeline. Does not move the reference.
    pub const fn place(&self, timestamp: Ticks) -> Ticks {
        match self.reference {
            Some(reference) => reference.saturating_add(wrapped_difference(reference, timestamp)),
            None => timestamp,
        }
    }

    /// Places `timestamp` and makes it the reference of the next ones.
    pub const fn advance(&mut self, timestamp: Ticks) -> Ticks {
        let placed = self.place(timestamp);
        self.reference = Some(placed);
        placed
    }
}
