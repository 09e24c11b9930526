//! Amounts with a fraction, fine enough that a life's rounding stays far below one unit.

use std::ops::{Add, AddAssign};

use alloy::primitives::{U256, U512};

/// Bits behind the point. Whole parts are below 2^96, so that a value fits twice over.
const BITS: usize = 96;

/// Base units of a token, or wei, in parts of 2^-96.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fine(U256);

impl Fine {
    pub(crate) const ZERO: Self = Self(U256::ZERO);

    pub(crate) fn whole(amount: U256) -> Self {
        assert!(amount.bit_len() <= 256 - BITS, "{amount} is no amount of money");
        Self(amount << BITS)
    }

    pub(crate) fn ratio(numerator: U256, denominator: U256) -> Self {
        Self::whole(U256::ONE).scaled(numerator, denominator)
    }

    /// `self * numerator / denominator`, rounded down in the last bit.
    pub(crate) fn scaled(self, numerator: U256, denominator: U256) -> Self {
        let product = U512::from(self.0) * U512::from(numerator);
        Self((product / U512::from(denominator)).to::<U256>())
    }

    /// The part of `self` that `part` is of `whole`.
    pub(crate) fn share(self, part: Self, whole: Self) -> Self {
        self.scaled(part.0, whole.0)
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    pub(crate) fn floor(self) -> U256 {
        self.0 >> BITS
    }

    pub(crate) fn ceil(self) -> U256 {
        let whole = self.floor();
        if whole << BITS == self.0 { whole } else { whole + U256::ONE }
    }

    pub(crate) fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// How often `self` goes into `amount`, saturating.
    pub(crate) fn times_in(self, amount: Self) -> U256 {
        if self.0.is_zero() {
            return U256::MAX;
        }
        (U512::from(amount.0) / U512::from(self.0)).saturating_to::<U256>()
    }
}

impl Add for Fine {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl AddAssign for Fine {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl std::iter::Sum for Fine {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}
