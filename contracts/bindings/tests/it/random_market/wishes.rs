//! What accounts may wish for.

use alloy::primitives::U256;
use proptest::{prelude::*, sample::Index};

use super::{ACCOUNTS, ORCHESTRATORS, OWNER, STEPS};
use crate::{
    model::{Amount, Who},
    stage::{UNIT, wei},
};

/// A step before it is known what there is to take.
#[derive(Clone, Debug)]
pub(super) enum Wish {
    Bond { who: Who, amount: Amount, to: Who },
    Unbond { who: Who, amount: Amount },
    Rebond { who: Who, lock: Index },
    RebondFromUnbonded { who: Who, to: Who, lock: Index },
    WithdrawStake { who: Who, lock: Index },
    WithdrawFees { who: Who, amount: Amount },
    Claim { who: Who },
    Settle { account: Who },
    TransferBond { who: Who, to: Who, amount: Amount },
    Reward { who: Who },
    Terms { who: Who, cut: u32, share: u32 },
    Fund { who: Who, deposit: u64, reserve: u64 },
    Unlock { who: Who },
    CancelUnlock { who: Who },
    WithdrawFunds { who: Who },
    Win { who: Who, senders: Vec<(Who, u64)>, age: u64 },
    PayTreasury,
    Slash { accused: Who, finder: Who, ppm: u32, finder_ppm: u32 },
    Jail { accused: Who, rounds: u32 },
    Pause,
    Unpause,
    Rounds { count: u64 },
}

fn anybody() -> impl Strategy<Value = Who> {
    1..ACCOUNTS
}

fn orchestrator() -> impl Strategy<Value = Who> {
    1..=ORCHESTRATORS
}

/// Tokens to put in, so that nothing divides evenly, and now and then the least there is.
fn tokens_in() -> impl Strategy<Value = Amount> {
    prop_oneof![
        6 => (1_u64..1_000_000, 0_u64..1_000_000)
            .prop_map(|(milli, grain)| Amount::Just(wei(UNIT / 1_000) * wei(milli) + wei(grain))),
        1 => Just(Amount::Just(U256::ONE)),
        1 => Just(Amount::Just(U256::ZERO)),
        1 => Just(Amount::Beyond(1)),
    ]
}

/// Part of what there is. What is left is nothing or far more than rounding.
fn part() -> impl Strategy<Value = Amount> {
    prop_oneof![
        3 => (1_u32..900_000).prop_map(Amount::Part),
        3 => Just(Amount::All),
        1 => Just(Amount::Just(U256::ZERO)),
        1 => (1_u32..3).prop_map(Amount::Beyond),
    ]
}

fn slashed() -> impl Strategy<Value = u32> {
    prop_oneof![
        4 => 0_u32..400_000,
        1 => Just(1_000_000_u32),
        1 => (1_u32..10).prop_map(|left| 1_000_000 - left),
    ]
}

fn wish() -> impl Strategy<Value = Wish> {
    let lock = any::<Index>;
    let sender = (anybody(), 1_u64..2_000_000);
    prop_oneof![
        8 => (anybody(), tokens_in(), orchestrator()).prop_map(|(who, amount, to)| Wish::Bond { who, amount, to }),
        4 => (orchestrator(), tokens_in()).prop_map(|(who, amount)| Wish::Bond { who, amount, to: who }),
        6 => (anybody(), part()).prop_map(|(who, amount)| Wish::Unbond { who, amount }),
        3 => (anybody(), lock()).prop_map(|(who, lock)| Wish::Rebond { who, lock }),
        3 => (anybody(), orchestrator(), lock())
            .prop_map(|(who, to, lock)| Wish::RebondFromUnbonded { who, to, lock }),
        4 => (anybody(), lock()).prop_map(|(who, lock)| Wish::WithdrawStake { who, lock }),
        3 => (anybody(), part()).prop_map(|(who, amount)| Wish::WithdrawFees { who, amount }),
        2 => anybody().prop_map(|who| Wish::Claim { who }),
        2 => anybody().prop_map(|account| Wish::Settle { account }),
        4 => (anybody(), orchestrator())
            .prop_map(|(who, to)| Wish::Bond { who, amount: Amount::Just(U256::ZERO), to }),
        4 => (anybody(), anybody(), part())
            .prop_map(|(who, to, amount)| Wish::TransferBond { who, to, amount }),
        8 => orchestrator().prop_map(|who| Wish::Reward { who }),
        4 => (orchestrator(), 0_u32..=1_000_000, 0_u32..=1_000_000)
            .prop_map(|(who, cut, share)| Wish::Terms { who, cut, share }),
        3 => (anybody(), 0_u64..5_000_000, 0_u64..5_000_000)
            .prop_map(|(who, deposit, reserve)| Wish::Fund { who, deposit, reserve }),
        1 => anybody().prop_map(|who| Wish::Unlock { who }),
        1 => anybody().prop_map(|who| Wish::CancelUnlock { who }),
        3 => anybody().prop_map(|who| Wish::WithdrawFunds { who }),
        6 => (orchestrator(), prop::collection::vec(sender, 1..4), 0_u64..4)
            .prop_map(|(who, senders, age)| Wish::Win { who, senders, age }),
        1 => Just(Wish::PayTreasury),
        4 => (orchestrator(), anybody(), slashed(), 0_u32..=1_000_000)
            .prop_map(|(accused, finder, ppm, finder_ppm)| Wish::Slash { accused, finder, ppm, finder_ppm }),
        1 => (orchestrator(), 0_u32..4).prop_map(|(accused, rounds)| Wish::Jail { accused, rounds }),
        1 => Just(Wish::Pause),
        4 => Just(Wish::Unpause),
        14 => prop_oneof![6 => Just(1_u64), 1 => 2_u64..5].prop_map(|count| Wish::Rounds { count }),
    ]
}

/// Wishes, and whether each is given to somebody whom it fits.
pub(super) fn life() -> impl Strategy<Value = Vec<(Wish, bool)>> {
    prop::collection::vec((wish(), prop::bool::weighted(0.85)), 1..STEPS)
}

/// Whose stake and fees a wish is to be resolved against.
pub(super) fn who_of(wish: &Wish) -> Who {
    match *wish {
        Wish::Bond { who, .. }
        | Wish::Unbond { who, .. }
        | Wish::WithdrawFees { who, .. }
        | Wish::TransferBond { who, .. } => who,
        // Of the others nothing is asked.
        _ => OWNER,
    }
}
