//! What happens in a round: work is paid, rewards are called for, stake moves.

use std::collections::BTreeSet;

use alloy::primitives::U256;

use super::{CHALLENGER, FIRST_BROADCASTER, Life, delegators, orchestrators};
use crate::{
    model::{Amount, Op, Who, Win},
    stage::{UNIT, wei},
};

/// Orchestrators that redeem in a round, accounts that move stake, orchestrators that change something.
const REDEEMERS: usize = 25;
const MOVERS: usize = 70;
const CHANGERS: usize = 8;

impl Life<'_> {
    /// A round from its first block on. Once a round is never initialized.
    pub(super) async fn round(&mut self, past: u64) {
        self.mirror.next_round(if past == 20 { 2 } else { 1 }).await;
        self.mirror.learn_round().await;
        for _ in 0..REDEEMERS {
            let who = self.dice.one_of(orchestrators());
            let wins = self.wins();
            self.mirror.plan(Op::Redeem { who, wins });
        }
        for who in orchestrators() {
            // Some forget it, and whoever is not active is refused.
            if self.dice.happens(88) {
                self.mirror.plan(Op::Reward { who });
            }
        }
        self.move_stake().await;
        for _ in 0..CHANGERS {
            self.change();
        }
        if past % 4 == 3 {
            self.mirror.plan(Op::PayTreasury { who: 0 });
        }
        self.mirror.flush().await;
    }

    /// A few winning tickets of one or two broadcasters, some of the round before.
    fn wins(&mut self) -> Vec<Win> {
        let count = 1 + self.dice.below(4);
        let old = self.dice.happens(20) && self.mirror.model.round > 2 && self.mirror.knows_round_before();
        let created = self.mirror.model.round - u64::from(old);
        (0..count).map(|_| self.win(created)).collect()
    }

    fn win(&mut self, created: u64) -> Win {
        self.nonce += 1;
        let sender = self.dice.one_of(FIRST_BROADCASTER..CHALLENGER);
        // Up to a third of an ether.
        let face_value = wei(1 + self.dice.below(UNIT / 3));
        Win { sender, face_value, lane: self.dice.below(2), nonce: self.nonce, created }
    }

    /// Of each pool one delegator at most takes stake out, so that what the chain says of all of them beforehand is what
    /// each of them finds.
    async fn move_stake(&mut self) {
        let mut movers = Vec::new();
        let mut pools = BTreeSet::new();
        for _ in 0..MOVERS {
            let who = self.dice.one_of(delegators());
            let pool = self.mirror.model.stakers[who].delegate;
            let first = pool.is_none_or(|pool| pools.insert(pool));
            if first && !movers.contains(&who) {
                movers.push(who);
            }
        }
        let seen = self.mirror.look(&movers).await;
        for (who, seen) in movers.into_iter().zip(seen) {
            let op = match self.mirror.model.stakers[who].delegate {
                Some(_) => self.bonded_move(who, seen.stake, seen.fees),
                None => self.loose_move(who),
            };
            self.mirror.plan_seen(op, seen);
        }
    }

    fn bonded_move(&mut self, who: Who, stake: U256, fees: U256) -> Op {
        let to = self.dice.one_of(orchestrators());
        let part = Amount::Part(u32::try_from(10_000 + self.dice.below(700_000)).unwrap());
        let lock = self.some_lock(who);
        match self.dice.below(10) {
            0 | 1 => Op::Bond { who, amount: U256::ZERO, to },
            2 => Op::Bond { who, amount: self.pocket(who), to },
            3 => Op::Bond { who, amount: self.pocket(who), to: self.orchestrator_of(who) },
            4 => Op::Unbond { who, amount: part.of(stake) },
            5 => Op::Unbond { who, amount: stake },
            6 => Op::TransferBond { who, to: self.companion_of(who), amount: part.of(stake) },
            7 if !fees.is_zero() => Op::WithdrawFees { who, amount: fees },
            8 if lock.is_some() => Op::Rebond { who, lock: lock.unwrap() },
            _ => Op::Claim { who },
        }
    }

    /// An account with nothing bonded takes what it has unbonded, or comes back.
    fn loose_move(&mut self, who: Who) -> Op {
        let to = self.dice.one_of(orchestrators());
        match self.some_lock(who) {
            Some(lock) if self.dice.happens(50) => Op::RebondFromUnbonded { who, to, lock },
            Some(lock) => Op::WithdrawStake { who, lock },
            None => Op::Bond { who, amount: self.pocket(who), to },
        }
    }

    /// An orchestrator sets terms, adds stake of its own (and may push another out), leaves, or returns.
    fn change(&mut self) {
        let who = self.dice.one_of(orchestrators());
        let (cut, share) = (self.dice.below(400_000), 300_000 + self.dice.below(700_000));
        let (cut, share) = (u32::try_from(cut).unwrap(), u32::try_from(share).unwrap());
        let lock = self.some_lock(who);
        let registered = self.mirror.model.stakers[who].delegate.is_some();
        let part = Amount::Part(u32::try_from(10_000 + self.dice.below(300_000)).unwrap());
        let op = match (registered, lock) {
            (true, Some(lock)) if self.dice.happens(30) => Op::Rebond { who, lock },
            (false, Some(lock)) => Op::RebondFromUnbonded { who, to: who, lock },
            (false, None) => Op::Bond { who, amount: self.pocket(who), to: who },
            (true, _) if self.dice.happens(50) => Op::Terms { who, cut, share },
            (true, _) if self.dice.happens(60) => Op::Bond { who, amount: self.pocket(who), to: who },
            (true, _) => Op::Unbond { who, amount: part.of(self.mirror.model.stake(who)) },
        };
        self.mirror.plan(op);
    }

    /// Some of the tokens that an account has left.
    fn pocket(&mut self, who: Who) -> U256 {
        let part = Amount::Part(u32::try_from(1 + self.dice.below(500_000)).unwrap());
        part.of(self.mirror.model.tokens.accounts[who])
    }

    fn some_lock(&mut self, who: Who) -> Option<usize> {
        let locks = &self.mirror.model.stakers[who].locks;
        let open: Vec<usize> = (0..locks.len()).filter(|lock| locks[*lock].is_some()).collect();
        let count = u64::try_from(open.len()).unwrap();
        (count != 0).then(|| open[usize::try_from(self.dice.below(count)).unwrap()])
    }

    fn orchestrator_of(&self, who: Who) -> Who {
        let pool = self.mirror.model.stakers[who].delegate.expect("it is bonded");
        self.mirror.model.pools[pool].orchestrator
    }

    /// Another delegator of the same pool, or anybody where there is none.
    fn companion_of(&mut self, who: Who) -> Who {
        let pool = self.mirror.model.stakers[who].delegate;
        let found =
            delegators().find(|other| *other != who && self.mirror.model.stakers[*other].delegate == pool);
        found.unwrap_or_else(|| self.dice.one_of(delegators()))
    }
}
