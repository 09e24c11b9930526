//! New tokens: how many a round makes, and who gets them.

use alloy::primitives::U256;

use super::{Model, Outcome, PPM};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Minter {
    pub(crate) inflation_ppm: u64,
    pub(crate) change_ppm: u64,
    pub(crate) treasury_ppm: u64,
    pub(crate) ceiling: U256,
    pub(crate) owed: U256,
    round: u64,
    mintable: U256,
    left: U256,
    round_treasury_ppm: u64,
}

impl Minter {
    pub(crate) fn new(inflation_ppm: u64, change_ppm: u64, treasury_ppm: u64, ceiling: U256) -> Self {
        Self {
            inflation_ppm,
            change_ppm,
            treasury_ppm,
            ceiling,
            owed: U256::ZERO,
            round: 0,
            mintable: U256::ZERO,
            left: U256::ZERO,
            round_treasury_ppm: 0,
        }
    }
}

impl Model {
    /// Makes the reward of a stake in the active set; what the treasury does not take is the stakers'.
    pub(super) fn make_reward(&mut self, stake: U256) -> U256 {
        if self.minter.round != self.round {
            self.open_round();
        }
        let total = self.current_total;
        let minter = &mut self.minter;
        let due = if total.is_zero() { U256::ZERO } else { minter.mintable * stake / total };
        let made = due.min(minter.left).min(stake);
        let share = made * U256::from(minter.round_treasury_ppm) / PPM;
        minter.left -= made;
        minter.owed += share;
        self.tokens.minter += made;
        self.tokens.minted += made;
        made - share
    }

    /// Half of the supply is to be staked: inflation moves a step per rewarded round to make it so.
    fn open_round(&mut self) {
        let supply = self.tokens.supply();
        let bonded = if supply.is_zero() { U256::ZERO } else { self.current_total * PPM / supply };
        let target = PPM / U256::from(2);
        let minter = &mut self.minter;
        if bonded < target {
            minter.inflation_ppm = (minter.inflation_ppm + minter.change_ppm).min(1_000_000);
        } else if bonded > target {
            minter.inflation_ppm -= minter.change_ppm.min(minter.inflation_ppm);
        }
        minter.round = self.round;
        let most = (U256::ONE << 96) - U256::ONE - supply;
        minter.mintable = (supply * U256::from(minter.inflation_ppm) / PPM).min(most);
        minter.left = minter.mintable;
        let full = self.tokens.treasury + minter.owed >= minter.ceiling;
        minter.round_treasury_ppm = if full { 0 } else { minter.treasury_ppm };
    }

    pub(super) fn pay_treasury(&mut self) -> Outcome {
        let owed = std::mem::take(&mut self.minter.owed);
        self.tokens.minter -= owed;
        self.tokens.treasury += owed;
        Ok(())
    }
}
