//! Prices: wei per a number of pixels.

use std::cmp::Ordering;
use std::fmt;

use alloy_primitives::U256;
use serde::{Deserialize, Serialize};

use crate::quality::PPM;

/// Bits that a price's wei may have, so that a price times any number of pixels fits 256 bits.
const MAX_WEI_BITS: usize = 128;

/// A price that cannot be computed with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("price of {wei} wei per {pixels} pixels: give at most 128 bits of wei per at least 1 pixel")]
pub struct PriceError {
    /// Wei found.
    pub wei: U256,
    /// Pixels found.
    pub pixels: u64,
}

/// `wei` for every `pixels` output pixels, as an exact fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "RawPrice", into = "RawPrice")]
pub struct PricePerPixel {
    wei: U256,
    pixels: u64,
}

impl PricePerPixel {
    /// A price of `wei` (at most 128 bits) per `pixels` (at least 1).
    ///
    /// # Errors
    /// When a part is out of bounds.
    pub fn new(wei: U256, pixels: u64) -> Result<Self, PriceError> {
        if pixels == 0 || wei.bit_len() > MAX_WEI_BITS {
            return Err(PriceError { wei, pixels });
        }
        Ok(Self { wei, pixels })
    }

    /// Wei per [`PricePerPixel::pixels`].
    pub fn wei(&self) -> U256 {
        self.wei
    }

    /// Number of pixels that [`PricePerPixel::wei`] pays for, never 0.
    pub fn pixels(&self) -> u64 {
        self.pixels
    }

    /// The price with so many millionths of itself added, exactly.
    ///
    /// # Errors
    /// When a part leaves its bounds.
    pub fn surcharged(&self, ppm: u32) -> Result<Self, PriceError> {
        let wei = self.wei * U256::from(u64::from(PPM) + u64::from(ppm));
        let error = PriceError { wei, pixels: self.pixels };
        Self::new(wei, self.pixels.checked_mul(PPM.into()).ok_or(error)?)
    }

    /// Wei for a number of pixels, rounded up. Never overflows.
    pub fn cost(&self, pixels: u64) -> U256 {
        (self.wei * U256::from(pixels)).div_ceil(U256::from(self.pixels))
    }

    /// Wei for parts of which each costs a share of its price: pixels and millionths. The sum is rounded up once, so that
    /// parts at their whole price cost what their pixels do together. Never overflows for a ladder's renditions.
    pub fn cost_of_shares(&self, parts: impl IntoIterator<Item = (u64, u32)>) -> U256 {
        let shares = parts.into_iter().fold(U256::ZERO, |sum, (pixels, ppm)| {
            sum.saturating_add(U256::from(u128::from(pixels) * u128::from(ppm)))
        });
        self.wei.saturating_mul(shares).div_ceil(U256::from(u128::from(self.pixels) * u128::from(PPM)))
    }

    /// Compares by value: 2 wei per 4 pixels is the same price as 1 wei per 2.
    pub fn cmp_value(&self, other: &Self) -> Ordering {
        let left = self.wei * U256::from(other.pixels);
        left.cmp(&(other.wei * U256::from(self.pixels)))
    }
}

impl fmt::Display for PricePerPixel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} wei per {} pixels", self.wei, self.pixels)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPrice {
    wei: U256,
    pixels: u64,
}

impl TryFrom<RawPrice> for PricePerPixel {
    type Error = PriceError;

    fn try_from(raw: RawPrice) -> Result<Self, PriceError> {
        Self::new(raw.wei, raw.pixels)
    }
}

impl From<PricePerPixel> for RawPrice {
    fn from(price: PricePerPixel) -> Self {
        Self { wei: price.wei, pixels: price.pixels }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(wei: u64, pixels: u64) -> PricePerPixel {
        PricePerPixel::new(U256::from(wei), pixels).unwrap()
    }

    #[test]
    fn rounds_a_cost_up() {
        assert_eq!(price(10, 3).cost(1), U256::from(4));
        assert_eq!(price(10, 3).cost(3), U256::from(10));
        assert_eq!(price(10, 3).cost(0), U256::ZERO);
    }

    #[test]
    fn computes_the_largest_cost_without_overflow() {
        let wei = (U256::from(1) << 128) - U256::from(1);
        let largest = PricePerPixel::new(wei, 1).unwrap();
        assert_eq!(largest.cost(u64::MAX), wei * U256::from(u64::MAX));
    }

    #[test]
    fn adds_a_share_of_itself_exactly() {
        assert_eq!(price(1_000, 3).surcharged(130_000).unwrap().cmp_value(&price(1_130, 3)), Ordering::Equal);
        assert_eq!(price(7, 3).surcharged(0).unwrap().cmp_value(&price(7, 3)), Ordering::Equal);
        assert!(price(1, u64::MAX).surcharged(1).is_err());
        assert!(PricePerPixel::new(U256::from(1) << 127, 1).unwrap().surcharged(1).is_err());
    }

    #[test]
    fn shares_of_a_price_are_rounded_up_once() {
        let price = price(10, 3);
        assert_eq!(price.cost_of_shares([(1, PPM), (1, PPM)]), price.cost(2));
        assert_eq!(price.cost_of_shares([(300, 500_000), (600, PPM)]), U256::from(2_500));
        assert_eq!(price.cost_of_shares([(1, 1)]), U256::from(1));
        assert_eq!(price.cost_of_shares([]), U256::ZERO);
    }

    #[test]
    fn compares_prices_of_different_units_by_value() {
        assert_eq!(price(1, 2).cmp_value(&price(2, 4)), Ordering::Equal);
        assert_eq!(price(1, 3).cmp_value(&price(1, 2)), Ordering::Less);
    }

    #[test]
    fn refuses_a_price_per_no_pixels_and_one_beyond_128_bits() {
        assert!(PricePerPixel::new(U256::from(1), 0).is_err());
        assert!(PricePerPixel::new(U256::from(1) << 128, 1).is_err());
    }
}
