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
