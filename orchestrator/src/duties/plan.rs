//! What is due in a round, without I/O.

use alloy_primitives::{Address, B256, keccak256};
use framemill_contracts::DutyState;

use super::DutyPolicy;

/// Keepers that take turns at a round at most: one of so many is there.
const TURNS: u64 = 8;
/// Parts per million.
const ONE: u64 = 1_000_000;

/// What to do about a duty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing is due before the chain changes.
    Idle,
    /// Do it now.
    Act,
    /// It is due, but gas is dear and there is time.
    WaitForGas,
}

/// Blocks of the current round that are left at a height, its own included.
fn left(state: &DutyState, height: u64) -> u64 {
    (state.round.start_block + state.round.length).saturating_sub(height)
}

/// Whether the round in which the chain is at this height has to be initialized.
pub(super) fn round_is_due(state: &DutyState, height: u64) -> bool {
    !state.round.is_initialized() || left(state, height) == 0
}

/// Whether the reward of the last initialized round can be called for and was not.
pub(super) fn reward_is_open(state: &DutyState) -> bool {
    state.active && state.last_reward_round < state.round.last_initialized
}

/// What to do about the reward at this height and price of gas.
pub(super) fn reward(state: &DutyState, height: u64, gas_price: u128, policy: &DutyPolicy) -> Step {
    if !reward_is_open(state) || round_is_due(state, height) {
        return Step::Idle;
    }
    if gas_price <= policy.calm_gas_price || is_urgent(state, height, policy) {
        Step::Act
    } else {
        Step::WaitForGas
    }
}

/// Whether so little of the round is left that dear gas is paid and somebody should know.
pub(super) fn is_urgent(state: &DutyState, height: u64, policy: &DutyPolicy) -> bool {
    let urgent = u128::from(state.round.length) * u128::from(policy.urgent_ppm) / u128::from(ONE);
    u128::from(left(state, height)) <= urgent
}

/// Whether the reward is about to be missed: open still, with little of the round left.
pub(super) fn is_at_risk(state: &DutyState, height: u64, policy: &DutyPolicy) -> bool {
    reward_is_open(state) && is_urgent(state, height, policy)
}

/// How many turns to wait before a round is initialized: another one for each keeper where several could be there.
pub(super) fn turns_to_wait(keeper: Address, round: u64, candidates: u64) -> u64 {
    let turns = candidates.clamp(1, TURNS);
    let drawn = keccak256([keeper.into_word(), B256::from(alloy_primitives::U256::from(round))].concat());
    drawn.0.iter().fold(0, |rest, byte| (rest * 256 + u64::from(*byte)) % turns)
}

#[cfg(test)]
mod tests {
    use framemill_contracts::RoundInfo;
    use proptest::prelude::*;

    use super::*;

    const CHEAP: u128 = 1;

    fn state(last_reward_round: u64) -> DutyState {
        let round = RoundInfo {
            current: 7,
            last_initialized: 7,
            block_hash: B256::ZERO,
            start_block: 1_000,
            length: 100,
            locked: false,
        };
        DutyState { round, active: true, last_reward_round, candidates: 3 }
    }

    fn policy() -> DutyPolicy {
        DutyPolicy { calm_gas_price: 10, urgent_ppm: 250_000, ..DutyPolicy::default() }
    }

    #[test]
    fn a_reward_is_called_for_once_a_round() {
        assert_eq!(reward(&state(6), 1_000, CHEAP, &policy()), Step::Act);
        assert_eq!(reward(&state(7), 1_000, CHEAP, &policy()), Step::Idle);
        let inactive = DutyState { active: false, ..state(6) };
        assert_eq!(reward(&inactive, 1_000, CHEAP, &policy()), Step::Idle);
    }

    #[test]
    fn dear_gas_is_paid_only_near_the_end_of_the_round() {
        assert_eq!(reward(&state(6), 1_074, 11, &policy()), Step::WaitForGas);
        assert_eq!(reward(&state(6), 1_075, 11, &policy()), Step::Act);
    }

    #[test]
    fn a_reward_is_at_risk_while_it_is_open_near_the_end_of_the_round() {
        assert!(!is_at_risk(&state(6), 1_074, &policy()));
        assert!(is_at_risk(&state(6), 1_075, &policy()));
        assert!(is_at_risk(&state(6), 1_500, &policy()));
        assert!(!is_at_risk(&state(7), 1_099, &policy()));
    }

    #[test]
    fn nothing_is_called_for_before_the_round_is_initialized() {
        assert!(!round_is_due(&state(6), 1_099));
        assert!(round_is_due(&state(6), 1_100));
        assert_eq!(reward(&state(6), 1_100, CHEAP, &policy()), Step::Idle);
        let mut late = state(6);
        late.round.last_initialized = 6;
        assert!(round_is_due(&late, 1_000));
    }

    #[test]
    fn a_lone_keeper_never_waits() {
        assert!((0..50).all(|round| turns_to_wait(Address::repeat_byte(1), round, 1) == 0));
        assert_eq!(turns_to_wait(Address::repeat_byte(1), 1, 0), 0);
    }

    #[test]
    fn every_keeper_is_the_first_in_some_round() {
        for keeper in 1..=9 {
            let first =
                (0..200).filter(|round| turns_to_wait(Address::repeat_byte(keeper), *round, 100) == 0);
            assert!((5..60).contains(&first.count()));
        }
    }

    proptest! {
        #[test]
        fn a_turn_is_always_within_bounds(keeper: [u8; 20], round: u64, candidates: u64) {
            let turns = turns_to_wait(Address::from(keeper), round, candidates);
            prop_assert!(turns < candidates.clamp(1, TURNS));
        }
    }
}
