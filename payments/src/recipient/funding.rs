//! Which face value a sender's funds and the gas price allow.

use std::fmt;

use alloy_primitives::Address;

use crate::units::Wei;

/// A limit that stood against issuing parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitName {
    /// The face value at which redemption gas is the allowed share.
    GasShare,
    /// Deposit plus claimable reserve less pending winners.
    MaxFloat,
    /// The sender has unlocked its deposit and can withdraw before a ticket could be redeemed.
    Unlocked,
}

/// One limit, its value, and what would lift it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FundingLimit {
    /// Which limit.
    pub name: LimitName,
    /// Its value in wei (the withdraw round for [`LimitName::Unlocked`]).
    pub value: Wei,
    /// What the sender must add to its deposit; zero where money does not help.
    pub fund: Wei,
}

/// Every reason why no ticket of this sender can be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct FundingRefusal {
    /// The sender.
    pub sender: Address,
    /// All limits that stand against it.
    pub limits: Vec<FundingLimit>,
}

impl fmt::Display for FundingRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.limits)
    }
}
