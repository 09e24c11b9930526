//! Random lives of a small market: first the model alone, which must keep its own books, then chain and model side by side.

mod wishes;

use std::cell::RefCell;

use alloy::primitives::U256;
use framemill_contracts::{CourtParams, DeployParams};
use proptest::{
    prelude::*,
    sample::Index,
    test_runner::{Config, TestRunner},
};

use wishes::{Wish, life, who_of};

use crate::{
    mirror::{Fleet, Mirror},
    model::{Amount, Minter, Model, Op, Rules, Who, Win},
    stage::{UNIT, short_trials, wei},
    tally::Tally,
};

/// The first account owns the contracts and is named the court; the next ones try to be orchestrators.
const OWNER: Who = 0;
const ORCHESTRATORS: usize = 4;
const ACCOUNTS: usize = 12;
/// One of the orchestrators is always outside.
const SET_SIZE: u64 = 3;
const STEPS: usize = 60;
/// Few, so that locks run out in a life.
const UNBONDING_ROUNDS: u64 = 3;
/// Sequences against the chain, and of the model alone, unless `PROPTEST_CASES` says otherwise.
const CASES: u32 = 24;
const MODEL_CASES: u32 = 3_000;

/// What the lives of the model are sure to come to. `Loss` is of a moved bond.
const REACHED: [(&str, &str); 39] = [
    ("Bond", "done"),
    ("Bond", "NotOrchestrator"),
    ("Bond", "OrchestratorCannotDelegate"),
    ("Bond", "StillLocked"),
    ("Bond", "BadAmount"),
    ("Bond", "ERC20InsufficientBalance"),
    ("Unbond", "done"),
    ("Unbond", "NotBonded"),
    ("Unbond", "BadAmount"),
    ("Unbond", "StakeAnswers"),
    ("Rebond", "done"),
    ("Rebond", "StillLocked"),
    ("Rebond", "NoSuchLock"),
    ("Rebond", "BadAmount"),
    ("RebondFromUnbonded", "done"),
    ("RebondFromUnbonded", "StillBonded"),
    ("WithdrawStake", "done"),
    ("WithdrawStake", "StillLocked"),
    ("WithdrawFees", "done"),
    ("Claim", "done"),
    ("TransferBond", "done"),
    ("TransferBond", "NotOfTheSamePool"),
    ("TransferBond", "StakeAnswers"),
    ("Settle", "done"),
    ("Loss", "done"),
    ("Reward", "done"),
    ("Reward", "NotActive"),
    ("Reward", "Jailed"),
    ("Reward", "AlreadyRewarded"),
    ("Terms", "done"),
    ("Redeem", "done"),
    ("Redeem", "Paused"),
    ("Unlock", "AlreadyUnlocking"),
    ("CancelUnlock", "done"),
    ("WithdrawFunds", "done"),
    ("WithdrawFunds", "StillLocked"),
    ("Slash", "done"),
    ("Jail", "done"),
    ("BeginRound", "done"),
];

/// Gives a wish to the next account that can fulfil it, where there is one.
fn fit(model: &Model, wish: &Wish) -> Wish {
    let mut wish = wish.clone();
    let next = |who: Who, fits: &dyn Fn(Who) -> bool| {
        (0..ACCOUNTS - 1)
            .map(|step| 1 + (who - 1 + step) % (ACCOUNTS - 1))
            .find(|who| fits(*who))
            .unwrap_or(who)
    };
    let bonded = |who: Who| model.stakers[who].delegate.is_some();
    let registered = |who: Who| {
        let staker = &model.stakers[who];
        staker.own.is_some() && staker.own == staker.delegate
    };
    let locked = |who: Who| model.stakers[who].locks.iter().any(Option::is_some);
    let ripe = |who: Who| {
        let mut locks = model.stakers[who].locks.iter().flatten();
        locks.any(|lock| lock.withdraw_round <= model.round)
    };
    let unlocking = |who: Who| model.broker.funds.get(&who).map_or(0, |funds| funds.withdraw_round);
    match &mut wish {
        Wish::Bond { who, to, .. } if who != to => {
            *who = next(*who, &|who| !registered(who));
            *to = next(*to, &registered);
        }
        Wish::Unbond { who, .. } => *who = next(*who, &bonded),
        Wish::TransferBond { who, to, .. } => {
            *who = next(*who, &|who| bonded(who) && !registered(who));
            let (giver, pool) = (*who, model.stakers[*who].delegate);
            *to = next(*to, &|to| to != giver && model.stakers[to].delegate == pool);
        }
        Wish::Rebond { who, .. } => *who = next(*who, &|who| bonded(who) && locked(who)),
        Wish::RebondFromUnbonded { who, to, .. } => {
            *who = next(*who, &|who| !bonded(who) && locked(who));
            *to = next(*to, &registered);
        }
        Wish::WithdrawStake { who, .. } => *who = next(*who, &ripe),
        Wish::WithdrawFees { who, .. } => *who = next(*who, &|who| !model.fees(who).is_zero()),
        Wish::Settle { account } => *account = next(*account, &|who| !model.due(who).is_zero()),
        // Every other slash is of who others have just left.
        Wish::Slash { accused, ppm, .. } if *ppm % 2 == 0 => {
            let left = |pool| model.stakers.iter().any(|staker| staker.moved.is_some_and(|m| m.from == pool));
            *accused = next(*accused, &|who| model.stakers[who].own.is_some_and(left));
        }
        Wish::Reward { who } => {
            *who = next(*who, &|who| model.stakers[who].own.is_some_and(|id| model.is_active(id)));
        }
        Wish::CancelUnlock { who } => *who = next(*who, &|who| unlocking(who) != 0),
        Wish::WithdrawFunds { who } => *who = next(*who, &|who| (1..=model.round).contains(&unlocking(who))),
        _ => {}
    }
    wish
}

/// What a life needs to know besides the model.
#[derive(Default)]
struct Clerk {
    nonce: u64,
    /// Rounds that began, for tickets to be of.
    rounds: Vec<u64>,
}

impl Clerk {
    /// The step that a wish is in this market. `None` for a wish for rounds.
    fn step(&mut self, model: &Model, wish: &Wish, seen: crate::model::Seen) -> Option<Op> {
        let lock = |who: Who, lock: &Index| {
            let locks = &model.stakers[who].locks;
            let open: Vec<usize> = (0..locks.len()).filter(|lock| locks[*lock].is_some()).collect();
            // A lock that there is not is refused.
            if open.is_empty() { locks.len() } else { *lock.get(&open) }
        };
        Some(match *wish {
            Wish::Bond { who, amount, to } => {
                let amount = match amount {
                    Amount::Beyond(_) => amount.of(model.tokens.accounts[who]),
                    _ => amount.of(U256::ZERO),
                };
                Op::Bond { who, amount, to }
            }
            Wish::Unbond { who, amount } => Op::Unbond { who, amount: amount.of(seen.stake) },
            Wish::Rebond { who, lock: ref id } => Op::Rebond { who, lock: lock(who, id) },
            Wish::RebondFromUnbonded { who, to, lock: ref id } => {
                Op::RebondFromUnbonded { who, to, lock: lock(who, id) }
            }
            Wish::WithdrawStake { who, lock: ref id } => Op::WithdrawStake { who, lock: lock(who, id) },
            Wish::WithdrawFees { who, amount } => Op::WithdrawFees { who, amount: amount.of(seen.fees) },
            Wish::Claim { who } => Op::Claim { who },
            Wish::Settle { account } => Op::Settle { who: OWNER, account },
            Wish::TransferBond { who, to, amount } => {
                Op::TransferBond { who, to, amount: amount.of(seen.stake) }
            }
            Wish::Reward { who } => Op::Reward { who },
            Wish::Terms { who, cut, share } => Op::Terms { who, cut, share },
            Wish::Fund { who, deposit, reserve } => {
                Op::Fund { who, deposit: gwei(deposit), reserve: gwei(reserve) }
            }
            Wish::Unlock { who } => Op::Unlock { who },
            Wish::CancelUnlock { who } => Op::CancelUnlock { who },
            Wish::WithdrawFunds { who } => Op::WithdrawFunds { who },
            Wish::Win { who, ref senders, age } => Op::Redeem { who, wins: self.wins(senders, age) },
            Wish::PayTreasury => Op::PayTreasury { who: OWNER },
            Wish::Slash { accused, finder, ppm, finder_ppm } => {
                Op::Slash { judge: OWNER, accused, finder, ppm, finder_ppm }
            }
            Wish::Jail { accused, rounds } => Op::Jail { judge: OWNER, accused, rounds },
            Wish::Pause => Op::Pause { owner: OWNER },
            Wish::Unpause => Op::Unpause { owner: OWNER },
            Wish::Rounds { .. } => return None,
        })
    }

    /// Tickets of the `age`th last round that began.
    fn wins(&mut self, senders: &[(Who, u64)], age: u64) -> Vec<Win> {
        let age = usize::try_from(age).unwrap().min(self.rounds.len() - 1);
        let created = self.rounds[self.rounds.len() - 1 - age];
        let mut win = |&(sender, value): &(Who, u64)| {
            self.nonce += 1;
            Win { sender, face_value: gwei(value), lane: value % 2, nonce: self.nonce, created }
        };
        senders.iter().map(&mut win).collect()
    }
}

fn gwei(amount: u64) -> U256 {
    wei(amount) * wei(1_000_000_000)
}

/// The first steps of every life: four orchestrators with delegators, and senders with funds.
fn opening() -> Vec<Op> {
    let tokens = |count: u64| wei(UNIT) * wei(count);
    let mut steps = Vec::new();
    for who in 1..=ORCHESTRATORS {
        steps.push(Op::Bond { who, amount: tokens(100 + who as u64), to: who });
        steps.push(Op::Terms { who, cut: 100_000, share: 500_000 });
    }
    for who in ORCHESTRATORS + 1..ACCOUNTS {
        steps.push(Op::Bond { who, amount: tokens(10 * who as u64), to: 1 + who % ORCHESTRATORS });
        steps.push(Op::Fund { who, deposit: gwei(3_000_000), reserve: gwei(3_000_000) });
    }
    steps
}

fn params() -> DeployParams {
    DeployParams {
        active_set_size: SET_SIZE,
        sender_unlock_rounds: 3,
        treasury_share_ppm: 100_000,
        // Reached in a long life.
        treasury_ceiling: wei(UNIT) * wei(200),
        initial_supply: wei(UNIT) * wei(100_000),
        unbonding_rounds: UNBONDING_ROUNDS,
        round_length: 13,
        // No dispute is heard here; its longest possible one bounds the unbonding period.
        court: CourtParams { max_draws: 1, ..short_trials() },
        ..DeployParams::devnet()
    }
}

fn config(cases: u32) -> Config {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    Config {
        cases: asked.unwrap_or(cases),
        max_shrink_iters: 400,
        failure_persistence: None,
        ..Config::default()
    }
}

fn lone_model() -> Model {
    let params = params();
    let rules = Rules {
        unbonding_rounds: params.unbonding_rounds,
        active_set_size: usize::try_from(params.active_set_size).unwrap(),
        unlock_rounds: params.sender_unlock_rounds,
        validity_rounds: params.ticket_validity_rounds,
    };
    let minter = Minter::new(250, 1, u64::from(params.treasury_share_ppm), params.treasury_ceiling);
    let tokens = vec![wei(UNIT) * wei(5_000); ACCOUNTS];
    Model::new(1, rules, minter, params.court, tokens, vec![wei(UNIT); ACCOUNTS])
}

#[test]
fn the_model_keeps_its_own_books_in_any_life() {
    let mut runner = TestRunner::new(config(MODEL_CASES));
    let tally = Tally::default();
    let played = runner.run(&life(), |wishes| {
        let mut model = lone_model();
        let mut clerk = Clerk { rounds: vec![model.round], ..Clerk::default() };
        for op in opening() {
            model.apply(&op, model.own_view(op.who())).unwrap();
        }
        for (wish, apt) in &wishes {
            let wish = &if *apt { fit(&model, wish) } else { wish.clone() };
            let seen = model.own_view(who_of(wish));
            let op = clerk.step(&model, wish, seen).unwrap_or_else(|| {
                let Wish::Rounds { count } = wish else { unreachable!("only rounds are no step") };
                Op::BeginRound { who: OWNER, round: model.round + count }
            });
            if !model.paused {
                op.touches().into_iter().for_each(|who| model.settle_alone(who));
            }
            let before = model.clone();
            let outcome = model.apply(&op, model.own_view(op.who()));
            tally.note(&op, outcome);
            let refused = outcome.is_err();
            if !refused && !matches!(op, Op::Slash { .. }) && model.tokens.burnt > before.tokens.burnt {
                tally.count("Loss", "done");
            }
            if !refused && matches!(op, Op::BeginRound { .. }) {
                clerk.rounds.push(model.round);
            }
            if refused {
                prop_assert!(before == model, "a refused step changes nothing");
            }
            model.audit();
        }
        Ok(())
    });
    played.unwrap_or_else(|failure| panic!("{failure}"));
    tally.require(&REACHED);
}

#[test]
fn chain_and_model_agree_in_any_life() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let fleet = runtime.block_on(async {
        let mut fleet = Fleet::gather(params(), ACCOUNTS, wei(UNIT) * wei(5_000)).await;
        Mirror::hold_up(&mut fleet).await.name_court(OWNER).await;
        fleet.remember().await;
        fleet
    });
    let fleet = RefCell::new(fleet);
    let mut runner = TestRunner::new(config(CASES));
    let played = runner.run(&life(), |wishes| {
        let mut fleet = fleet.borrow_mut();
        runtime.block_on(async {
            fleet.start_over().await;
            play(&mut fleet, &wishes).await;
        });
        Ok(())
    });
    played.unwrap_or_else(|failure| panic!("{failure}"));
}

async fn play(fleet: &mut Fleet, wishes: &[(Wish, bool)]) {
    let mut mirror = Mirror::hold_up(fleet).await;
    let mut clerk = Clerk { rounds: vec![mirror.model.round], ..Clerk::default() };
    for op in opening() {
        mirror.plan(op);
    }
    mirror.flush().await;
    mirror.learn_round().await;
    for (place, (wish, apt)) in wishes.iter().enumerate() {
        let wish = &if *apt { fit(&mirror.model, wish) } else { wish.clone() };
        let seen = mirror.look(&[who_of(wish)]).await[0];
        match (clerk.step(&mirror.model, wish, seen), wish) {
            (Some(op), _) => mirror.step(op).await,
            (None, Wish::Rounds { count }) => {
                mirror.next_round(*count).await;
                if !mirror.model.paused {
                    clerk.rounds.push(mirror.model.round);
                    mirror.learn_round().await;
                }
            }
            (None, _) => unreachable!("only rounds are no step"),
        }
        // Every step is held against what the chain says of who takes it; a look at everybody is dear.
        if place % 5 == 4 {
            mirror.compare().await;
        }
    }
    mirror.compare().await;
}
