//! Frame rates as exact fractions.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::LadderError;

/// Highest frame rate accepted, in whole frames per second: twice what live video uses.
const MAX_FPS: u32 = 240;
/// Highest denominator accepted: covers 1001 of NTSC and rates given in thousandths.
const MAX_DENOMINATOR: u32 = 100_000;
/// Ticks per second of every time in the protocol.
pub(super) const TICKS_PER_SECOND: u64 = 90_000;

/// Frames per second as a fraction, or "as the source has it".
///
/// Written as `30`, `30000/1001` or, for the source's rate, `0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FrameRate {
    num: u32,
    den: u32,
}

impl FrameRate {
    /// Every frame of the source, at the source's timestamps.
    pub const SOURCE: Self = Self { num: 0, den: 1 };

    /// A rate of `num / den` frames per second in lowest terms; `num` 0 means [`FrameRate::SOURCE`].
    ///
    /// # Errors
    /// When the denominator is 0 or the rate is above 240 frames per second.
    pub fn new(num: u32, den: u32) -> Result<Self, LadderError> {
        if num == 0 && den != 0 {
            return Ok(Self::SOURCE);
        }
        let common = gcd(num, den).max(1);
        let (num, den) = (num / common, den / common);
        if den == 0 || den > MAX_DENOMINATOR || u64::from(num) > u64::from(MAX_FPS) * u64::from(den) {
            return Err(LadderError::Syntax {
                text: format!("{num}/{den}"),
                expected: "a frame rate is 0 (as the source) to 240 frames per second, as a number or a fraction",
            });
        }
        Ok(Self { num, den })
    }

    /// Numerator of the fraction in lowest terms; 0 for the source's rate.
    pub fn num(self) -> u32 {
        self.num
    }

    /// Denominator of the fraction in lowest terms, never 0.
    pub fn den(self) -> u32 {
        self.den
    }

    /// True when the rendition keeps the source's frames.
    pub fn is_source(self) -> bool {
        self.num == 0
    }

    /// Frames in `duration_90k` ticks of 90 kHz, rounded up: a frame that is shown for a part of the time is a frame.
    pub fn frames_in(self, duration_90k: u64) -> u64 {
        let ticks = u128::from(duration_90k) * u128::from(self.num);
        let frames = ticks.div_ceil(u128::from(TICKS_PER_SECOND) * u128::from(self.den));
        u64::try_from(frames).unwrap_or(u64::MAX)
    }

    /// `value` per frame as a value per second, rounded up.
    pub(super) fn scale_up(self, value: u64) -> u64 {
        let scaled = (u128::from(value) * u128::from(self.num)).div_ceil(u128::from(self.den));
        u64::try_from(scaled).unwrap_or(u64::MAX)
    }
}

impl Ord for FrameRate {
    fn cmp(&self, other: &Self) -> Ordering {
        let left = u64::from(self.num) * u64::from(other.den);
        left.cmp(&(u64::from(other.num) * u64::from(self.den)))
    }
}

impl PartialOrd for FrameRate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Default for FrameRate {
    fn default() -> Self {
        Self::SOURCE
    }
}

impl fmt::Display for FrameRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.den {
            1 => write!(f, "{}", self.num),
            den => write!(f, "{}/{den}", self.num),
        }
    }
}

impl FromStr for FrameRate {
    type Err = LadderError;

    fn from_str(text: &str) -> Result<Self, LadderError> {
        let (num, den) = text.split_once('/').unwrap_or((text, "1"));
        let number = |part: &str| {
            part.parse::<u32>().map_err(|_| LadderError::Syntax {
                text: super::parse::shorten(text),
                expected: "a frame rate is a number like 30 or a fraction like 30000/1001",
            })
        };
        Self::new(number(num)?, number(den)?)
    }
}

impl Serialize for FrameRate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.den {
            1 => serializer.serialize_u32(self.num),
            _ => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for FrameRate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FrameRateVisitor)
    }
}

struct FrameRateVisitor;

impl Visitor<'_> for FrameRateVisitor {
    type Value = FrameRate;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a frame rate like 30 or \"30000/1001\", 0 for the source's")
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<FrameRate, E> {
        let num = u32::try_from(value).map_err(E::custom)?;
        FrameRate::new(num, 1).map_err(E::custom)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<FrameRate, E> {
        self.visit_u64(u64::try_from(value).map_err(E::custom)?)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<FrameRate, E> {
        text.parse().map_err(E::custom)
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}
