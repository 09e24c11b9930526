//! Money, probability and time as types: checked integer arithmetic, no floats.

use std::fmt;
use std::str::FromStr;

use alloy_primitives::{U256, U512};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Parts per million: the base of every share in this crate.
pub const PPM: u64 = 1_000_000;

/// An amount of the chain's smallest unit (10⁻¹⁸ ether, or one unit of an ERC-20).
///
/// Serialized as a decimal string, because JSON numbers lose precision above 2⁵³.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wei(pub U256);

impl Wei {
    /// Nothing.
    pub const ZERO: Self = Self(U256::ZERO);
    /// The largest amount that can be written down.
    pub const MAX: Self = Self(U256::MAX);

    /// An amount that fits 128 bits.
    pub fn new(wei: u128) -> Self {
        Self(U256::from(wei))
    }

    /// Whether the amount is zero.
    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// `self + other`, or `None` above 2²⁵⁶ - 1.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// `self - other`, or `None` below zero.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// `self × count`, or `None` above 2²⁵⁶ - 1.
    pub fn checked_mul(self, count: u64) -> Option<Self> {
        self.0.checked_mul(U256::from(count)).map(Self)
    }

    /// `self + other`, held at [`Wei::MAX`].
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// `self - other`, held at zero.
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// `self × count`, held at [`Wei::MAX`].
    pub fn saturating_mul(self, count: u64) -> Self {
        Self(self.0.saturating_mul(U256::from(count)))
    }

    /// `floor(self × numerator / denominator)` without intermediate overflow, held at [`Wei::MAX`];
    /// `None` when the denominator is zero.
    pub fn mul_div(self, numerator: u64, denominator: u64) -> Option<Self> {
        if denominator == 0 {
            return None;
        }
        let product: U512 = self.0.widening_mul(U256::from(numerator));
        Some(Self((product / U512::from(denominator)).saturating_to()))
    }

    /// How many units of `unit` cover this amount, rounded up; `None` when the unit is zero or the
    /// count exceeds 64 bits.
    pub fn div_ceil(self, unit: Self) -> Option<u64> {
        if unit.is_zero() {
            return None;
        }
        u64::try_from(self.0.div_ceil(unit.0)).ok()
    }

    /// Big-endian, 32 bytes: sorts like the amount.
    pub fn to_be_bytes(self) -> [u8; 32] {
        self.0.to_be_bytes()
    }

    /// The inverse of [`Wei::to_be_bytes`].
    pub fn from_be_bytes(bytes: [u8; 32]) -> Self {
        Self(U256::from_be_bytes(bytes))
    }
}

impl From<u64> for Wei {
    fn from(wei: u64) -> Self {
        Self(U256::from(wei))
    }
}

impl From<U256> for Wei {
    fn from(wei: U256) -> Self {
        Self(wei)
    }
}

impl fmt::Display for Wei {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for Wei {
    type Err = InvalidWei;

    /// Decimal digits only; no sign, separator, unit or exponent.
    fn from_str(text: &str) -> Result<Self, InvalidWei> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits {
            return Err(InvalidWei);
        }
        U256::from_str_radix(text, 10).map(Self).map_err(|_| InvalidWei)
    }
}

/// A text that is no amount of wei.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an amount of wei is decimal digits below 2^256; write it without sign, unit or exponent")]
pub struct InvalidWei;

impl Serialize for Wei {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Wei {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The probability that a ticket wins, as a numerator over 2²⁵⁶: a draw below it wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WinProb(pub U256);

impl WinProb {
    /// Wins all but one draw in 2²⁵⁶.
    pub const MAX: Self = Self(U256::MAX);

    /// The probability at which a ticket of `face_value` is worth `expected`:
    /// `expected × ceil((2²⁵⁶ - 1) / face_value)`, as Livepeer's nodes compute it.
    ///
    /// `None` when `face_value` is zero; held at [`WinProb::MAX`] when `expected >= face_value`.
    pub fn for_expected_value(expected: Wei, face_value: Wei) -> Option<Self> {
        if face_value.is_zero() {
            return None;
        }
        if expected >= face_value {
            return Some(Self::MAX);
        }
        let per_wei = U256::MAX.div_ceil(face_value.0);
        Some(Self(expected.0.saturating_mul(per_wei)))
    }

    /// What a ticket of `face_value` is worth, to the nearest wei (halves up).
    ///
    /// Rounding to the nearest undoes the rounding of [`WinProb::for_expected_value`] for amounts
    /// below 2¹²⁷, so that both sides of a payment count the value the recipient asked for. Never
    /// above `face_value`.
    pub fn expected_value(self, face_value: Wei) -> Wei {
        let product: U512 = self.0.widening_mul(face_value.0);
        let half = U512::from(1) << 255;
        let rounded: U512 = (product + half) >> 256;
        Wei(rounded.saturating_to())
    }
}

impl fmt::Display for WinProb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A round of the protocol's clock, counted by the chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Round(pub u64);

impl Round {
    /// The round `rounds` later, held at the last one.
    pub fn saturating_add(self, rounds: u64) -> Self {
        Self(self.0.saturating_add(rounds))
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
