//! A whole life of the market: it is set up, lives through thirty rounds with its court, and everybody leaves.

mod exit;
mod rounds;
mod trial;

use alloy::primitives::U256;
use framemill_contracts::{CourtParams, DeployParams, Fault, Verdict};

use crate::{
    mirror::{Fleet, Mirror},
    model::{Op, Stand, Who},
    stage::{UNIT, short_trials, wei},
};

/// Fixes what everybody does. Block hashes, and so juries, differ from run to run.
const SEED: u64 = 20_261_129;
const ORCHESTRATORS: usize = 120;
const DELEGATORS: usize = 1_000;
const ROUNDS: u64 = 30;
const BROADCASTERS: usize = 5;

/// Accounts by their numbers: the owner is 0.
const FIRST_DELEGATOR: Who = 1 + ORCHESTRATORS;
const FIRST_BROADCASTER: Who = FIRST_DELEGATOR + DELEGATORS;
const CHALLENGER: Who = FIRST_BROADCASTER + BROADCASTERS;
const APPELLANT: Who = CHALLENGER + 1;
const FINDER: Who = CHALLENGER + 2;
const ACCOUNTS: usize = CHALLENGER + 3;

/// Orchestrators in the dock, all of the larger ones.
const EQUIVOCATOR: Who = 3;
const CONVICTED: Who = 5;
const CLEARED: Who = 8;

/// What this life has seen, refusals among it.
const REACHED: [(&str, &str); 24] = [
    ("Bond", "done"),
    ("Bond", "StillLocked"),
    ("Unbond", "done"),
    ("Unbond", "StakeAnswers"),
    ("TransferBond", "done"),
    ("Rebond", "done"),
    ("RebondFromUnbonded", "done"),
    ("WithdrawStake", "StillLocked"),
    ("WithdrawStake", "done"),
    ("WithdrawFees", "done"),
    ("Settle", "done"),
    ("Reward", "done"),
    ("Reward", "NotActive"),
    ("Reward", "Jailed"),
    ("Terms", "done"),
    ("Win", "paid"),
    ("Win", "InsufficientFunds"),
    ("Win", "RecipientInactive"),
    ("Claim", "Paused"),
    ("ClaimSeat", "done"),
    ("ClaimSeat", "NoSeat"),
    ("SettleJuror", "done"),
    ("WithdrawFromCourt", "done"),
    ("PayTreasury", "done"),
];

fn orchestrators() -> std::ops::Range<Who> {
    1..FIRST_DELEGATOR
}

/// Twenty orchestrators have too little for the set.
fn is_small(orchestrator: Who) -> bool {
    orchestrator.is_multiple_of(6)
}

fn delegators() -> std::ops::Range<Who> {
    FIRST_DELEGATOR..FIRST_BROADCASTER
}

fn tokens(count: u64) -> U256 {
    wei(UNIT) * wei(count)
}

/// A generator that is the same on every machine.
struct Dice(u64);

impl Dice {
    /// A number below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn one_of(&mut self, accounts: std::ops::Range<Who>) -> Who {
        accounts.start + usize::try_from(self.below(accounts.len() as u64)).unwrap()
    }

    /// True `percent` times of a hundred.
    fn happens(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

fn params() -> DeployParams {
    DeployParams {
        round_length: 8,
        sender_unlock_rounds: 5,
        treasury_share_ppm: 100_000,
        // The treasury is full after two dozen rounds.
        treasury_ceiling: tokens(3_000),
        initial_supply: tokens(6_000_000),
        court: CourtParams { jury_size: 21, ..short_trials() },
        ..DeployParams::devnet()
    }
}

struct Life<'a> {
    mirror: Mirror<'a>,
    dice: Dice,
    nonce: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_wei_and_every_token_of_a_whole_life_is_accounted_for() {
    println!("seed {SEED}");
    let mut fleet = Fleet::gather(params(), ACCOUNTS, tokens(5_000)).await;
    let mut life = Life { mirror: Mirror::hold_up(&mut fleet).await, dice: Dice(SEED), nonce: 0 };
    life.found().await;
    for past in 0..ROUNDS {
        life.round(past).await;
        match past {
            4 => life.equivocate().await,
            7 => life.convict().await,
            12 => life.clear_on_appeal().await,
            17 => life.pause().await,
            _ => {}
        }
        if past % 5 == 4 {
            life.mirror.compare().await;
        }
    }
    life.leave().await;
    life.settle_up().await;
    life.mirror.tally.require(&REACHED);
    assert!(!life.mirror.model.paid_from_reserves().is_zero(), "a reserve has paid");
    let ever_active = life.mirror.model.pools.iter().filter(|pool| pool.active_from > 3).count();
    assert!(ever_active > 10, "{ever_active} orchestrators came into the set later");
}

impl Life<'_> {
    /// Everybody bonds, twenty orchestrators too little for the set.
    async fn found(&mut self) {
        for who in orchestrators() {
            let stake = if is_small(who) { 50 + self.dice.below(50) } else { 2_000 + self.dice.below(2_000) };
            let amount = self.grain(stake);
            self.mirror.plan(Op::Bond { who, amount, to: who });
            let (cut, share) = (self.dice.below(300_000), 400_000 + self.dice.below(600_000));
            let (cut, share) = (u32::try_from(cut).unwrap(), u32::try_from(share).unwrap());
            self.mirror.plan(Op::Terms { who, cut, share });
        }
        for who in delegators() {
            let to = loop {
                let to = self.dice.one_of(orchestrators());
                if !is_small(to) {
                    break to;
                }
            };
            let stake = 2_500 + self.dice.below(2_000);
            let amount = self.grain(stake);
            self.mirror.plan(Op::Bond { who, amount, to });
        }
        for who in FIRST_BROADCASTER..CHALLENGER {
            // The last one's deposit is soon gone, and of its reserve a hundredth does not cover every ticket.
            let poor = who + 1 == CHALLENGER;
            let (deposit, reserve) = if poor { (1, 20) } else { (150, 200) };
            let (deposit, reserve) = (wei(UNIT) * wei(deposit), wei(UNIT) * wei(reserve));
            self.mirror.plan(Op::Fund { who, deposit, reserve });
        }
        self.mirror.flush().await;
        assert_eq!(self.mirror.model.set.size(), 100);
    }

    /// Whole tokens and some base units, so that nothing divides evenly.
    fn grain(&mut self, whole: u64) -> U256 {
        tokens(whole) + wei(self.dice.below(UNIT))
    }

    /// Two receipts for one segment: slashed and jailed at once.
    async fn equivocate(&mut self) {
        let first = self.mirror.receipt(EQUIVOCATOR, 1, "renditions");
        let second = self.mirror.receipt(EQUIVOCATOR, 1, "other renditions");
        let before = self.mirror.model.tokens.burnt;
        self.mirror.report(FINDER, EQUIVOCATOR, &first, &second).await;
        assert!(self.mirror.model.tokens.burnt > before);
        self.mirror.plan(Op::Reward { who: EQUIVOCATOR });
        self.mirror.flush().await;
    }

    /// A jury finds guilty, and its verdict is carried out. Who has left in between pays its share.
    async fn convict(&mut self) {
        let runaway = self.run_away(CONVICTED).await;
        let before = self.mirror.model.stake(CONVICTED);
        let dispute = self.accuse(CONVICTED).await;
        self.judge(dispute, Verdict::Guilty).await;
        self.execute(dispute).await;
        let found = &self.mirror.model.court.disputes[dispute];
        assert_eq!((found.stand, found.verdict), (Stand::Closed, Some(Verdict::Guilty)));
        assert!(self.mirror.model.stake(CONVICTED) < before);
        let (due, burnt) = (self.mirror.model.due(runaway), self.mirror.model.tokens.burnt);
        assert!(!due.is_zero());
        self.mirror.plan(Op::Settle { who: FINDER, account: runaway });
        self.mirror.flush().await;
        assert_eq!(self.mirror.model.tokens.burnt - burnt, due);
    }

    /// A delegator leaves an orchestrator for another.
    async fn run_away(&mut self, orchestrator: Who) -> Who {
        let pool = Some(self.pool_of(orchestrator));
        let stakers = &self.mirror.model.stakers;
        let who = delegators().find(|who| stakers[*who].delegate == pool && stakers[*who].moved.is_none());
        let who = who.expect("somebody has not moved yet");
        let seen = self.mirror.look(&[who]).await[0];
        self.mirror.plan_seen(Op::Bond { who, amount: U256::ZERO, to: CLEARED }, seen);
        self.mirror.flush().await;
        who
    }

    /// A jury finds guilty, a larger one does not: nothing is taken.
    async fn clear_on_appeal(&mut self) {
        let before = self.mirror.model.stake(CLEARED);
        let dispute = self.accuse(CLEARED).await;
        self.judge(dispute, Verdict::Guilty).await;
        self.mirror.plan(Op::Appeal { who: APPELLANT, dispute });
        self.judge(dispute, Verdict::NotGuilty).await;
        self.execute(dispute).await;
        let found = &self.mirror.model.court.disputes[dispute];
        assert_eq!(found.first_verdict, Some(Verdict::Guilty));
        assert_eq!((found.stand, found.verdict), (Stand::Closed, Some(Verdict::NotGuilty)));
        assert!(self.mirror.model.stake(CLEARED) >= before);
        assert!(self.mirror.model.pools[self.pool_of(CLEARED)].jailed_until == 0);
    }

    async fn accuse(&mut self, accused: Who) -> usize {
        let receipt = self.mirror.receipt(accused, 7, "renditions");
        self.mirror.open_dispute(CHALLENGER, accused, Fault::FalseFeatures, receipt).await
    }

    /// While the contracts pause nobody gets in or out.
    async fn pause(&mut self) {
        self.mirror.step(Op::Pause { owner: 0 }).await;
        let who = FIRST_DELEGATOR;
        self.mirror.step(Op::Bond { who, amount: tokens(1), to: 1 }).await;
        self.mirror.step(Op::Claim { who }).await;
        self.mirror.step(Op::Fund { who: FIRST_BROADCASTER, deposit: wei(1), reserve: wei(1) }).await;
        self.mirror.step(Op::Unpause { owner: 0 }).await;
        self.mirror.step(Op::Claim { who }).await;
    }

    fn pool_of(&self, orchestrator: Who) -> usize {
        self.mirror.model.stakers[orchestrator].own.expect("it has founded a pool")
    }
}
