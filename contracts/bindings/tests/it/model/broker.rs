//! Deposits, reserves, and what winning tickets are paid of.

use std::collections::BTreeMap;

use alloy::primitives::U256;

use super::{Model, Outcome, PoolId, Who};

/// What a sender has at the broker, in wei.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Funds {
    pub(crate) deposit: U256,
    pub(crate) reserve: U256,
    /// Round from which all of it can be withdrawn; 0 while locked.
    pub(crate) withdraw_round: u64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Broker {
    /// All wei that it holds.
    pub(crate) held: U256,
    pub(crate) funds: BTreeMap<Who, Funds>,
    /// Reserve that recipients got of a sender, by round.
    claims: BTreeMap<(Who, u64), BTreeMap<Who, U256>>,
    /// What became of each ticket of the last batch.
    pub(crate) outcomes: Vec<Option<Reason>>,
    /// The highest nonce paid, by sender, recipient and lane.
    nonces: BTreeMap<(Who, Who, u64), u64>,
}

/// A ticket that wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Win {
    pub(crate) sender: Who,
    pub(crate) face_value: U256,
    pub(crate) lane: u64,
    pub(crate) nonce: u64,
    pub(crate) created: u64,
}

/// Why a winning ticket is not paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Malformed,
    Expired,
    NonceUsed,
    RecipientInactive,
    InsufficientFunds,
}

impl Model {
    pub(super) fn fund(&mut self, who: Who, deposit: U256, reserve: U256) -> Outcome {
        if (deposit + reserve).is_zero() {
            return Err("NothingToFund");
        }
        let funds = self.broker.funds.entry(who).or_default();
        funds.deposit += deposit;
        funds.reserve += reserve;
        self.wei[who] -= deposit + reserve;
        self.broker.held += deposit + reserve;
        Ok(())
    }

    pub(super) fn unlock(&mut self, who: Who) -> Outcome {
        let round = self.round + self.rules.unlock_rounds;
        let funds = self.broker.funds.get_mut(&who).ok_or("NoFunds")?;
        if (funds.deposit + funds.reserve).is_zero() {
            return Err("NoFunds");
        }
        if funds.withdraw_round != 0 {
            return Err("AlreadyUnlocking");
        }
        funds.withdraw_round = round;
        Ok(())
    }

    pub(super) fn cancel_unlock(&mut self, who: Who) -> Outcome {
        let funds = self.broker.funds.get_mut(&who).ok_or("NotUnlocking")?;
        if funds.withdraw_round == 0 {
            return Err("NotUnlocking");
        }
        funds.withdraw_round = 0;
        Ok(())
    }

    pub(super) fn withdraw_funds(&mut self, who: Who) -> Outcome {
        let funds = self.broker.funds.get_mut(&who).ok_or("NotUnlocking")?;
        if funds.withdraw_round == 0 {
            return Err("NotUnlocking");
        }
        if self.round < funds.withdraw_round {
            return Err("StillLocked");
        }
        let amount = funds.deposit + funds.reserve;
        if amount.is_zero() {
            return Err("NoFunds");
        }
        *funds = Funds::default();
        self.wei[who] += amount;
        self.broker.held -= amount;
        Ok(())
    }

    /// Pays those of a batch of `recipient`'s tickets that can be paid, in order.
    pub(super) fn redeem(&mut self, recipient: Who, wins: &[Win]) -> Outcome {
        let mut fees = U256::ZERO;
        let mut outcomes = Vec::with_capacity(wins.len());
        for win in wins {
            let refused = self.pay(recipient, win).err();
            if refused.is_none() {
                fees += win.face_value;
            }
            outcomes.push(refused);
        }
        if !fees.is_zero() {
            self.book_fees(recipient, fees);
        }
        self.broker.outcomes = outcomes;
        Ok(())
    }

    fn pay(&mut self, recipient: Who, win: &Win) -> Result<(), Reason> {
        let round = self.round;
        if win.face_value.is_zero() || win.face_value.bit_len() > 96 {
            return Err(Reason::Malformed);
        }
        if win.created == 0 || win.created > round || round - win.created > self.rules.validity_rounds {
            return Err(Reason::Expired);
        }
        let id = self.stakers[recipient].own;
        let active = |at: u64| id.is_some_and(|id: PoolId| self.is_active_in(id, at));
        let active_now = active(round);
        // What was won while active is not lost by leaving the set before the redemption.
        if !active(win.created) && !active_now {
            return Err(Reason::RecipientInactive);
        }
        let lane = (win.sender, recipient, win.lane);
        if self.broker.nonces.get(&lane).is_some_and(|last| win.nonce <= *last) || win.nonce == 0 {
            return Err(Reason::NonceUsed);
        }
        self.draw(recipient, win, active_now).ok_or(Reason::InsufficientFunds)?;
        self.broker.nonces.insert(lane, win.nonce);
        Ok(())
    }

    /// Takes the whole face value, from the deposit first, or nothing.
    fn draw(&mut self, recipient: Who, win: &Win, active: bool) -> Option<()> {
        let claimable = if active { self.claimable(win.sender, recipient) } else { U256::ZERO };
        let funds = self.broker.funds.entry(win.sender).or_default();
        let from_reserve = win.face_value.saturating_sub(funds.deposit);
        if from_reserve > claimable {
            return None;
        }
        funds.deposit -= win.face_value - from_reserve;
        funds.reserve -= from_reserve;
        let claims = self.broker.claims.entry((win.sender, self.round)).or_default();
        *claims.entry(recipient).or_default() += from_reserve;
        Some(())
    }

    /// An equal share of what the reserve was when the round began, by the size that the set had then.
    fn claimable(&self, sender: Who, recipient: Who) -> U256 {
        let Some(funds) = self.broker.funds.get(&sender) else { return U256::ZERO };
        let open = funds.withdraw_round != 0 && funds.withdraw_round <= self.round;
        if self.current_size == 0 || open {
            return U256::ZERO;
        }
        let claims = self.broker.claims.get(&(sender, self.round));
        let all: U256 = claims.into_iter().flat_map(BTreeMap::values).copied().sum();
        let own = claims.and_then(|claims| claims.get(&recipient)).copied().unwrap_or_default();
        ((funds.reserve + all) / U256::from(self.current_size)).saturating_sub(own)
    }

    /// Reserve that a sender paid out in this round.
    pub(crate) fn claimed_in_round(&self, sender: Who) -> U256 {
        let claims = self.broker.claims.get(&(sender, self.round));
        claims.into_iter().flat_map(BTreeMap::values).copied().sum()
    }

    /// Wei that recipients got out of reserves.
    pub(crate) fn paid_from_reserves(&self) -> U256 {
        self.broker.claims.values().flat_map(BTreeMap::values).copied().sum()
    }

    /// The broker holds what senders have there and what it owes to stakers, but for rounding.
    pub(super) fn audit_broker(&self) {
        let funds: U256 = self.broker.funds.values().map(|funds| funds.deposit + funds.reserve).sum();
        let fees: U256 = (0..self.stakers.len()).map(|who| self.fees(who)).sum();
        let slack: U256 = (0..self.stakers.len()).map(|who| self.fee_slack(who)).sum();
        assert!(
            funds + fees <= self.broker.held + slack,
            "{funds} of senders and {fees} of stakers of {}",
            self.broker.held
        );
    }

    /// Wei by which the contract may differ about an account's fees.
    pub(crate) fn fee_slack(&self, who: Who) -> U256 {
        let staker = &self.stakers[who];
        staker.fee_slack + staker.own.map_or(U256::ZERO, |id| self.pools[id].commission_slack) + U256::ONE
    }
}
