//! Arithmetic of money and chance: exact, checked, never above the face value.

use alloy_primitives::U256;
use probabilistic_ticket::{Wei, WinProb};
use proptest::prelude::*;

fn wei() -> impl Strategy<Value = Wei> {
    (any::<[u8; 32]>(), 0_usize..256).prop_map(|(bytes, shift)| Wei(U256::from_be_bytes(bytes) >> shift))
}

proptest! {
    #[test]
    fn win_prob_gives_back_the_value_it_was_made_for(expected in 0_u128..(1 << 127), face in 1_u128..(1 << 127)) {
        let (expected, face) = (Wei::new(expected), Wei::new(face));
        let win_prob = WinProb::for_expected_value(expected, face).unwrap();
        prop_assert_eq!(win_prob.expected_value(face), expected.min(face));
    }

    #[test]
    fn expected_value_is_never_above_the_face_value(face in wei(), chance in wei()) {
        prop_assert!(WinProb(chance.0).expected_value(face) <= face);
    }

    #[test]
    fn win_prob_never_overflows(expected in wei(), face in wei()) {
        prop_assert_eq!(WinProb::for_expected_value(expected, face).is_none(), face.is_zero());
    }

    #[test]
    fn sums_are_exact_or_refused(a in wei(), b in wei(), count: u64) {
        match a.checked_add(b) {
            Some(sum) => {
                prop_assert_eq!(sum.checked_sub(b), Some(a));
                prop_assert_eq!(a.saturating_add(b), sum);
            }
            None => prop_assert_eq!(a.saturating_add(b), Wei::MAX),
        }
        let product = a.checked_mul(count);
        prop_assert_eq!(product.unwrap_or(Wei::MAX), a.saturating_mul(count));
    }

    #[test]
    fn expected_values_of_many_tickets_never_overflow(face in wei(), chance in wei(), tickets: u64) {
        let value = WinProb(chance.0).expected_value(face);
        let total = value.saturating_mul(tickets);
        prop_assert!(total >= value || tickets == 0);
    }

    #[test]
    fn ticket_count_covers_the_cost_and_no_more(cost in 0_u128..(1 << 60), unit in 1_u128..(1 << 40)) {
        let (cost, unit) = (Wei::new(cost), Wei::new(unit));
        let count = cost.div_ceil(unit).unwrap();
        prop_assert!(unit.saturating_mul(count) >= cost);
        prop_assert!(count == 0 || unit.saturating_mul(count - 1) < cost);
    }

    #[test]
    fn shares_round_down_without_overflow(amount in wei(), numerator: u64, denominator: u64) {
        match amount.mul_div(numerator, denominator) {
            None => prop_assert_eq!(denominator, 0),
            Some(share) if numerator <= denominator => prop_assert!(share <= amount),
            Some(share) => prop_assert!(share >= amount),
        }
    }

    #[test]
    fn amounts_survive_text_and_json(amount in wei()) {
        prop_assert_eq!(amount.to_string().parse::<Wei>(), Ok(amount));
        let json = serde_json::to_string(&amount).unwrap();
        prop_assert_eq!(serde_json::from_str::<Wei>(&json).unwrap(), amount);
    }
}

#[test]
fn text_that_is_no_amount_is_refused() {
    for text in [
        "",
        "-1",
        "1.5",
        "0x10",
        "1 ",
        "1_000",
        "115792089237316195423570985008687907853269984665640564039457584007913129639936",
    ] {
        assert!(text.parse::<Wei>().is_err(), "{text}");
    }
}
