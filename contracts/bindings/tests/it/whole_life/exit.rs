//! Everybody leaves, and the accounts are closed.

use alloy::primitives::U256;

use super::{ACCOUNTS, CHALLENGER, FIRST_BROADCASTER, Life, delegators, orchestrators};
use crate::model::{Op, Who};

impl Life<'_> {
    /// Fees, stake, deposits and what the court owes: all of it.
    pub(super) async fn leave(&mut self) {
        for who in FIRST_BROADCASTER..CHALLENGER {
            self.mirror.plan(Op::Unlock { who });
        }
        let (held, free) = delegators().partition(|who| self.mirror.model.stakers[*who].moved.is_some());
        self.unbond_all(free).await;
        self.mirror.compare().await;
        // Who has moved stake stays until that answers for nobody any more, and orchestrators go last.
        self.wait().await;
        self.unbond_all(held).await;
        self.unbond_all(orchestrators().collect()).await;
        self.mirror.compare().await;
        self.wait().await;
        for who in 0..ACCOUNTS {
            for lock in 0..self.mirror.model.stakers[who].locks.len() {
                if self.mirror.model.stakers[who].locks[lock].is_some() {
                    self.mirror.plan(Op::WithdrawStake { who, lock });
                }
            }
            if self.mirror.model.court.pending.contains_key(&who) {
                self.mirror.plan(Op::WithdrawFromCourt { who });
            }
        }
        for who in FIRST_BROADCASTER..CHALLENGER {
            self.mirror.plan(Op::WithdrawFunds { who });
        }
        self.mirror.plan(Op::PayTreasury { who: 0 });
        self.mirror.flush().await;
    }

    async fn wait(&mut self) {
        for _ in 0..self.mirror.model.rules.unbonding_rounds {
            self.mirror.next_round(1).await;
        }
    }

    /// Pool by pool one account at a time, all pools at once.
    async fn unbond_all(&mut self, mut left: Vec<Who>) {
        while !left.is_empty() {
            let mut pools = std::collections::BTreeSet::new();
            let stakers = &self.mirror.model.stakers;
            let (now, later) = left
                .into_iter()
                .partition(|who| stakers[*who].delegate.is_none_or(|pool| pools.insert(pool)));
            left = later;
            self.unbond_at_once(now).await;
        }
    }

    async fn unbond_at_once(&mut self, accounts: Vec<Who>) {
        let seen = self.mirror.look(&accounts).await;
        for (who, seen) in accounts.into_iter().zip(seen) {
            if !seen.fees.is_zero() {
                self.mirror.plan_seen(Op::WithdrawFees { who, amount: seen.fees }, seen);
            }
            if self.mirror.model.stakers[who].delegate.is_some() {
                let seen = crate::model::Seen { fees: U256::ZERO, ..seen };
                self.mirror.plan_seen(Op::Unbond { who, amount: seen.stake }, seen);
            }
        }
    }

    /// Nobody has anything left in the contracts but what rounding left there.
    pub(super) async fn settle_up(&mut self) {
        self.mirror.compare().await;
        let model = &self.mirror.model;
        assert!(
            (0..ACCOUNTS).all(|who| model.stake(who).is_zero() && model.fees(who) <= model.fee_slack(who))
        );
        assert!(model.court.pending.is_empty());
        let shares: u64 = model.pools.iter().map(|pool| pool.rounded).sum();
        let slashes = U256::from(model.stakers.iter().map(|staker| staker.locks.len()).sum::<usize>());
        let tokens = model.tokens.minter;
        assert!(tokens <= U256::from(2 * shares) + slashes, "{tokens} tokens are left");
        let wei = model.broker.held;
        let slack: U256 = (0..ACCOUNTS).map(|who| model.fee_slack(who)).sum();
        assert!(wei <= slack, "{wei} wei are left, rounding explains {slack}");
        println!("left by rounding: {tokens} base units of stake, {wei} wei of fees");
        println!("{}", self.mirror.tally);
        self.mirror.count_everything().await;
    }
}
