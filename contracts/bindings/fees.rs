//! What a transaction offers for its gas (EIP-1559), and what its replacement has to. No I/O.

use crate::ChainError;

/// The base fee can double in six full blocks; a transaction must outlive that.
const HEADROOM: u128 = 2;
/// One gwei: what a block's maker is offered where the gas price leaves room for it.
const PRIORITY: u128 = 1_000_000_000;
/// Nodes take a replacement when it raises both fees by a tenth, some by an eighth: an eighth satisfies all.
const BUMP_DIVISOR: u128 = 8;

/// Wei per unit of gas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fees {
    /// The most that is paid, base fee and priority together.
    pub max_fee: u128,
    /// What the block's maker gets of it.
    pub priority: u128,
}

impl Fees {
    /// What a new transaction offers at this price of gas, never more than `cap`.
    ///
    /// # Errors
    /// [`ChainError::FeesAboveCap`] when gas costs more than that now.
    pub(crate) fn at(price: u128, cap: u128) -> Result<Self, ChainError> {
        if price > cap {
            return Err(ChainError::FeesAboveCap { price, cap });
        }
        Ok(Self { max_fee: price.saturating_mul(HEADROOM).min(cap), priority: price.min(PRIORITY) })
    }

    /// What replaces these fees at this price of gas: both raised by an eighth at least, and what a new transaction would
    /// offer where that is more. `None` when it would exceed `cap`.
    pub(crate) fn raised(self, price: u128, cap: u128) -> Option<Self> {
        let least = Self { max_fee: eighth_more(self.max_fee), priority: eighth_more(self.priority) };
        if least.max_fee > cap {
            return None;
        }
        let market = price.saturating_mul(HEADROOM).min(cap);
        let max_fee = least.max_fee.max(market);
        Some(Self { max_fee, priority: least.priority.max(price.min(PRIORITY)).min(max_fee) })
    }
}

/// Rounded up, and more by one wei at least.
fn eighth_more(fee: u128) -> u128 {
    fee.saturating_add(fee.div_ceil(BUMP_DIVISOR)).max(fee.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GWEI: u128 = 1_000_000_000;

    #[test]
    fn a_new_transaction_leaves_room_for_the_base_fee_to_double() {
        let fees = Fees::at(10 * GWEI, 100 * GWEI).unwrap();
        assert_eq!(fees, Fees { max_fee: 20 * GWEI, priority: GWEI });
        assert_eq!(Fees::at(60 * GWEI, 100 * GWEI).unwrap().max_fee, 100 * GWEI);
    }

    #[test]
    fn nothing_is_sent_when_gas_costs_more_than_the_cap() {
        let error = Fees::at(101, 100).unwrap_err();
        assert!(matches!(error, ChainError::FeesAboveCap { price: 101, cap: 100 }));
    }

    #[test]
    fn a_replacement_raises_both_fees_by_an_eighth_rounded_up() {
        let raised = Fees { max_fee: 801, priority: 1 }.raised(0, u128::MAX).unwrap();
        assert_eq!(raised, Fees { max_fee: 902, priority: 2 });
        let from_nothing = Fees { max_fee: 0, priority: 0 }.raised(0, u128::MAX).unwrap();
        assert_eq!(from_nothing, Fees { max_fee: 1, priority: 1 });
    }

    #[test]
    fn a_replacement_follows_the_market_where_that_rose_more() {
        let raised = Fees { max_fee: 2 * GWEI, priority: GWEI }.raised(50 * GWEI, 1_000 * GWEI).unwrap();
        assert_eq!(raised.max_fee, 100 * GWEI);
    }

    #[test]
    fn a_replacement_never_exceeds_the_cap() {
        let fees = Fees { max_fee: 80 * GWEI, priority: GWEI };
        assert_eq!(fees.raised(GWEI, 89 * GWEI), None);
        assert_eq!(fees.raised(70 * GWEI, 90 * GWEI).unwrap().max_fee, 90 * GWEI);
    }

    #[test]
    fn the_priority_is_part_of_the_whole_fee() {
        let raised = Fees { max_fee: 8, priority: 8 }.raised(0, 9).unwrap();
        assert_eq!(raised, Fees { max_fee: 9, priority: 9 });
    }
}
