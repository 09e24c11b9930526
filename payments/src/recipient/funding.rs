//! Which face value a sender's funds and the gas price allow: pure arithmetic.

use std::fmt;

use alloy_primitives::Address;

use super::RecipientConfig;
use crate::port::{ChainView, SenderFunds};
use crate::units::{PPM, Wei, WinProb};

/// A limit that stood against issuing parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitName {
    /// What the recipient counts on of deposit and reserve, less pending winners, must cover one face value.
    MaxFloat,
    /// The sender has unlocked its deposit and could withdraw before a ticket is redeemed.
    Unlocked,
}

impl LimitName {
    /// Every limit.
    pub const ALL: [Self; 2] = [Self::MaxFloat, Self::Unlocked];
}

/// One limit, its value, and what would lift it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FundingLimit {
    /// Which limit.
    pub name: LimitName,
    /// Its value: wei, or the withdraw round for [`LimitName::Unlocked`].
    pub value: Wei,
    /// What it had to be at least: wei, or a round.
    pub needed: Wei,
    /// What the sender must add to its deposit; zero where money does not help.
    pub fund: Wei,
}

impl fmt::Display for FundingLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { value, needed, fund, .. } = self;
        match self.name {
            LimitName::MaxFloat => write!(
                f,
                "max float is {value} wei, a ticket needs {needed} wei: add {fund} wei to the deposit"
            ),
            LimitName::Unlocked => write!(
                f,
                "deposit can be withdrawn from round {value}, tickets need it to round {needed}: cancel the unlock"
            ),
        }
    }
}

/// Every reason why no ticket of this sender can be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct FundingRefusal {
    /// The sender.
    pub sender: Address,
    /// All limits that stand against it; never empty.
    pub limits: Vec<FundingLimit>,
}

impl fmt::Display for FundingRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no ticket of {} can be taken", self.sender)?;
        for limit in &self.limits {
            write!(f, "; {limit}")?;
        }
        Ok(())
    }
}

/// What a ticket of a session pays and how likely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) face_value: Wei,
    pub(super) win_prob: WinProb,
}

impl Terms {
    pub(super) fn ticket_value(&self) -> Wei {
        self.win_prob.expected_value(self.face_value)
    }
}

/// What the recipient counts on: its share of the reserve, which nobody else can take, and a share of the deposit.
fn counted(funds: &SenderFunds, deposit_share_ppm: u64) -> Wei {
    let deposit = funds.deposit.mul_div(deposit_share_ppm.min(PPM), PPM).unwrap_or_default();
    deposit.saturating_add(funds.claimable_reserve)
}

/// What the sender's winners may still cost: what is counted on less what is owed already.
pub(super) fn max_float(funds: &SenderFunds, pending: Wei, deposit_share_ppm: u64) -> Wei {
    counted(funds, deposit_share_ppm).saturating_sub(pending)
}

/// The face value at which redemption gas is the allowed share, but at least the ticket's value.
pub(super) fn wanted_terms(config: &RecipientConfig, gas_price: Wei) -> Terms {
    let gas = gas_price.saturating_mul(config.redemption_gas);
    let for_gas = gas.mul_div(PPM, config.gas_share_ppm).unwrap_or(Wei::MAX);
    let face_value = for_gas.max(config.ticket_value);
    // A face value of zero would need a ticket value of zero, which opening refuses.
    let win_prob = WinProb::for_expected_value(config.ticket_value, face_value).unwrap_or_default();
    Terms { face_value, win_prob }
}

/// Every limit against tickets of `face_value`.
pub(super) fn check(
    sender: Address,
    face_value: Wei,
    funds: &SenderFunds,
    pending: Wei,
    deposit_share_ppm: u64,
    chain: &ChainView,
) -> Result<(), FundingRefusal> {
    let float = float_limit(face_value, funds, pending, deposit_share_ppm);
    let limits: Vec<_> = [float, unlock_limit(funds, chain)].into_iter().flatten().collect();
    if limits.is_empty() { Ok(()) } else { Err(FundingRefusal { sender, limits }) }
}

fn float_limit(
    face_value: Wei,
    funds: &SenderFunds,
    pending: Wei,
    deposit_share_ppm: u64,
) -> Option<FundingLimit> {
    let value = max_float(funds, pending, deposit_share_ppm);
    let missing = face_value.saturating_add(pending).saturating_sub(counted(funds, deposit_share_ppm));
    (value < face_value).then(|| FundingLimit {
        name: LimitName::MaxFloat,
        value,
        needed: face_value,
        fund: deposit_that_counts(missing, deposit_share_ppm),
    })
}

/// The smallest addition to a deposit that counts for `missing`, whatever was rounded off the rest of it.
fn deposit_that_counts(missing: Wei, deposit_share_ppm: u64) -> Wei {
    let share = deposit_share_ppm.min(PPM);
    let rounding = Wei::from(u64::from(share < PPM));
    missing.saturating_add(rounding).mul_div(PPM, share).unwrap_or(Wei::MAX)
}

fn unlock_limit(funds: &SenderFunds, chain: &ChainView) -> Option<FundingLimit> {
    let last = chain.round.saturating_add(chain.validity_rounds);
    funds.withdraw_round.filter(|withdraw| *withdraw <= last).map(|withdraw| FundingLimit {
        name: LimitName::Unlocked,
        value: Wei::from(withdraw.0),
        needed: Wei::from(last.saturating_add(1).0),
        fund: Wei::ZERO,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ticket::Domain;
    use crate::units::Round;

    fn config() -> RecipientConfig {
        RecipientConfig::new(Address::ZERO, Domain::new(1, Address::ZERO))
    }

    #[test]
    fn face_value_makes_gas_the_configured_share() {
        let terms = wanted_terms(&config(), Wei::from(1_000_000_000));
        let gas = Wei::from(75_000 * 1_000_000_000);
        assert_eq!(terms.face_value, gas.saturating_mul(100));
        assert_eq!(terms.win_prob.expected_value(terms.face_value), config().ticket_value);
    }

    #[test]
    fn face_value_is_at_least_the_ticket_value() {
        let terms = wanted_terms(&config(), Wei::ZERO);
        assert_eq!(terms.face_value, config().ticket_value);
        assert_eq!(terms.win_prob, WinProb::MAX);
    }

    #[test]
    fn refusal_names_every_limit_with_what_to_fund() {
        let funds = SenderFunds {
            deposit: Wei::from(50),
            claimable_reserve: Wei::from(30),
            withdraw_round: Some(Round(6)),
        };
        let chain = ChainView { round: Round(5), validity_rounds: 2, ..ChainView::default() };
        let refusal = check(Address::ZERO, Wei::from(100), &funds, Wei::from(10), PPM, &chain).unwrap_err();
        assert_eq!(
            refusal.limits,
            [
                FundingLimit {
                    name: LimitName::MaxFloat,
                    value: Wei::from(70),
                    needed: Wei::from(100),
                    fund: Wei::from(30),
                },
                FundingLimit {
                    name: LimitName::Unlocked,
                    value: Wei::from(6),
                    needed: Wei::from(8),
                    fund: Wei::ZERO,
                },
            ]
        );
        assert!(refusal.to_string().contains("add 30 wei to the deposit"));
    }

    #[test]
    fn what_is_to_be_funded_is_enough_whatever_share_of_the_deposit_counts() {
        let chain = ChainView::default();
        for share in [1, 3, 125_000, 333_333, 999_999, PPM] {
            for deposit in [0_u64, 7, 50, 1_000_003] {
                let face_value = Wei::from(20_000_000);
                let funds = |deposit| SenderFunds {
                    deposit,
                    claimable_reserve: Wei::from(30),
                    ..SenderFunds::default()
                };
                let deposit = Wei::from(deposit);
                let refusal = check(Address::ZERO, face_value, &funds(deposit), Wei::from(10), share, &chain);
                let fund = refusal.unwrap_err().limits[0].fund;
                let enough = funds(deposit.saturating_add(fund));
                check(Address::ZERO, face_value, &enough, Wei::from(10), share, &chain).unwrap();
            }
        }
    }
}
