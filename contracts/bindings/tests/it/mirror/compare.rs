//! Whether chain and model agree about everybody and everything.

use alloy::primitives::{Address, U256};

use super::{
    Mirror,
    calls::{Protocol, Transcoder},
};
use crate::model::{Pool, PoolId, Who};

impl Mirror<'_> {
    /// Compares all totals, pools, accounts, locks and senders. Stakes and fees may differ by rounding as
    /// the model bounds it; everything else is the same to the last unit.
    pub(crate) async fn compare(&mut self) {
        self.flush().await;
        self.model.audit();
        self.compare_totals().await;
        self.compare_pools().await;
        self.compare_stakers().await;
        self.compare_tokens().await;
        self.compare_locks().await;
        self.compare_moved().await;
        self.compare_senders().await;
        self.compare_wei().await;
    }

    async fn compare_totals(&self) {
        let at = self.fleet.stage.deployment;
        let t = &self.model.tokens;
        let holders = [at.minter, at.court, at.treasury, at.bonding_manager, at.ticket_broker];
        let calls = holders.map(|account| Protocol::balanceOfCall { account });
        let found = self.fleet.views(at.token, &calls).await;
        assert_eq!(found, [t.minter, t.court, t.treasury, U256::ZERO, U256::ZERO], "tokens of contracts");
        let supply = self.fleet.view(at.token, Protocol::totalSupplyCall {}).await;
        assert_eq!(supply, t.supply(), "supply");
        let owed = self.fleet.view(at.minter, Protocol::treasuryOwedCall {}).await;
        assert_eq!(owed, self.model.minter.owed, "the treasury's due");
        let inflation = self.fleet.view(at.minter, Protocol::inflationPpmCall {}).await;
        assert_eq!(inflation, U256::from(self.model.minter.inflation_ppm), "inflation");
        let bonding = at.bonding_manager;
        let current = self.fleet.view(bonding, Protocol::currentRoundTotalActiveStakeCall {}).await;
        assert_eq!(current, self.model.current_total, "active stake");
        let next = self.fleet.view(bonding, Protocol::nextRoundTotalActiveStakeCall {}).await;
        assert_eq!(next, self.model.set.total(), "stake of the next set");
        let limit = U256::from(1_000);
        let call = Protocol::getTranscoderPoolCall { start: Address::ZERO, limit };
        let members: Vec<Address> = self.model.set.order().map(|id| self.orchestrator(id)).collect();
        assert_eq!(self.fleet.view(bonding, call).await, members, "the set");
    }

    async fn compare_pools(&self) {
        let ids = 0..self.model.pools.len();
        let calls: Vec<_> =
            ids.map(|id| Protocol::getTranscoderCall { transcoder: self.orchestrator(id) }).collect();
        let found = self.fleet.views(self.fleet.stage.deployment.bonding_manager, &calls).await;
        for (id, found) in found.iter().enumerate() {
            let pool = &self.model.pools[id];
            let (active, candidate) = (self.model.is_active(id), self.model.set.contains(id));
            assert_eq!(told(found), stated(pool, active, candidate), "orchestrator {}", pool.orchestrator);
        }
    }

    async fn compare_stakers(&self) {
        let calls: Vec<_> =
            self.everybody().map(|delegator| Protocol::getDelegatorCall { delegator }).collect();
        let found = self.fleet.views(self.fleet.stage.deployment.bonding_manager, &calls).await;
        for (who, found) in found.iter().enumerate() {
            let staker = &self.model.stakers[who];
            let delegate = staker.delegate.map_or(Address::ZERO, |id| self.orchestrator(id));
            assert_eq!(found.delegateAddress, delegate, "delegate of {who}");
            assert_eq!(found.nextUnbondingLockId, U256::from(staker.locks.len()), "locks of {who}");
            let (stake, fees) = (self.model.stake_bounds(who), self.model.fee_bounds(who));
            assert!(stake.contains(&found.bondedAmount), "{who} has {}, not {stake:?}", found.bondedAmount);
            assert!(fees.contains(&found.fees), "{who} has fees of {}, not {fees:?}", found.fees);
        }
    }

    async fn compare_tokens(&self) {
        let at = self.fleet.stage.deployment;
        let balances: Vec<_> = self.everybody().map(|account| Protocol::balanceOfCall { account }).collect();
        assert_eq!(self.fleet.views(at.token, &balances).await, self.model.tokens.accounts, "tokens");
        let owed: Vec<_> = self.everybody().map(|account| Protocol::pendingCall { account }).collect();
        let found = self.fleet.views(at.court, &owed).await;
        for (who, found) in found.into_iter().enumerate() {
            let owed = self.model.court.pending.get(&who).copied().unwrap_or_default();
            assert_eq!(found, owed, "what the court owes {who}");
        }
    }

    async fn compare_locks(&self) {
        let locks = self.model.stakers.iter().enumerate().flat_map(|(who, staker)| {
            staker.locks.iter().enumerate().map(move |(id, lock)| (who, id, *lock))
        });
        let locks: Vec<_> = locks.collect();
        let calls: Vec<_> = locks
            .iter()
            .map(|(who, id, _)| Protocol::getDelegatorUnbondingLockCall {
                delegator: self.address(*who),
                lockId: U256::from(*id),
            })
            .collect();
        let found = self.fleet.views(self.fleet.stage.deployment.bonding_manager, &calls).await;
        for ((who, id, lock), found) in locks.into_iter().zip(found) {
            let stated = lock.map_or((U256::ZERO, 0), |lock| {
                (self.model.pools[lock.pool].left_of(lock.held), lock.withdraw_round)
            });
            let told = (found.amount.to::<U256>(), u64::from(found.withdrawRound));
            assert_eq!(told, stated, "lock {id} of {who}");
        }
    }

    async fn compare_moved(&self) {
        let calls: Vec<_> =
            self.everybody().map(|delegator| Protocol::getRedelegationCall { delegator }).collect();
        let found = self.fleet.views(self.fleet.stage.deployment.bonding_manager, &calls).await;
        for (who, found) in found.into_iter().enumerate() {
            let stated = self.model.stakers[who].moved.map_or_else(Default::default, |moved| {
                (self.orchestrator(moved.from), moved.left(), U256::from(moved.until))
            });
            assert_eq!((found.from, found.amount, found.until), stated, "moved bond of {who}");
        }
    }

    async fn compare_senders(&self) {
        let senders: Vec<Who> = self.model.broker.funds.keys().copied().collect();
        let calls: Vec<_> =
            senders.iter().map(|who| Protocol::getSenderInfoCall { account: self.address(*who) }).collect();
        let found = self.fleet.views(self.fleet.stage.deployment.ticket_broker, &calls).await;
        for (who, found) in senders.into_iter().zip(found) {
            let funds = &self.model.broker.funds[&who];
            let told = (found.deposit, found.reserve, found.withdrawRound, found.claimedInCurrentRound);
            let round = U256::from(funds.withdraw_round);
            let stated = (funds.deposit, funds.reserve, round, self.model.claimed_in_round(who));
            assert_eq!(told, stated, "funds of {who}");
        }
    }

    /// Every wei: what accounts have less than the model says, they have paid for gas.
    async fn compare_wei(&mut self) {
        self.fleet.read_blocks().await;
        let at = self.fleet.stage.deployment;
        let found = self.fleet.wei_of(&[at.ticket_broker, at.bonding_manager, at.minter, at.court]).await;
        assert_eq!(found, [self.model.broker.held, U256::ZERO, U256::ZERO, U256::ZERO], "wei of contracts");
        let found = self.fleet.wei_of(&self.fleet.addresses).await;
        for (who, found) in found.into_iter().enumerate() {
            let gas = self.fleet.books.paid.get(&self.address(who)).copied().unwrap_or_default();
            assert_eq!(found, self.model.wei[who] - gas, "wei of {who}");
        }
    }

    /// The sums that an outsider can check: every token that was made is burnt or somewhere, and so is every wei.
    pub(crate) async fn count_everything(&mut self) {
        self.compare_wei().await;
        let at = self.fleet.stage.deployment;
        let holders = self.everybody().chain([at.minter, at.court, at.treasury]);
        let calls: Vec<_> = holders.map(|account| Protocol::balanceOfCall { account }).collect();
        let held: U256 = self.fleet.views(at.token, &calls).await.into_iter().sum();
        let t = &self.model.tokens;
        assert_eq!(held + t.burnt, t.minted, "tokens held and burnt, tokens made");
        let (maker, before) = self.fleet.maker;
        let tips = self.fleet.wei_of(&[maker]).await[0] - before;
        assert_eq!(tips, self.fleet.books.tips, "wei of who makes the blocks");
        let everybody: Vec<Address> = self.everybody().chain([at.ticket_broker]).collect();
        let held: U256 = self.fleet.wei_of(&everybody).await.into_iter().sum();
        let begun: U256 = self.fleet.wei.iter().copied().sum();
        assert_eq!(
            held + tips + self.fleet.books.burnt,
            begun,
            "wei held, tipped and burnt, wei at the beginning"
        );
    }

    fn orchestrator(&self, id: PoolId) -> Address {
        self.address(self.model.pools[id].orchestrator)
    }

    fn everybody(&self) -> impl Iterator<Item = Address> {
        self.fleet.addresses.iter().copied()
    }
}

/// Stakes; cut, share, last reward, jail; membership; whether active and candidate; terms to come.
type Statement = ([U256; 2], [u64; 4], [u64; 2], [bool; 2], (u64, u64, u64));

fn told(t: &Transcoder) -> Statement {
    let small = |value: U256| value.to::<u64>();
    let next = (small(t.termsRound), small(t.nextRewardCut), small(t.nextFeeShare));
    (
        [t.totalStake, t.earningStake],
        [t.rewardCut, t.feeShare, t.lastRewardRound, t.jailedUntil].map(small),
        [t.activationRound, t.deactivationRound].map(small),
        [t.active, t.candidate],
        if next.0 == 0 { (0, 0, 0) } else { next },
    )
}

fn stated(pool: &Pool, active: bool, candidate: bool) -> Statement {
    (
        [pool.total(), pool.stake],
        [pool.reward_cut, pool.fee_share, pool.reward_round, pool.jailed_until],
        [pool.active_from, pool.active_until],
        [active, candidate],
        pool.next_terms.unwrap_or_default(),
    )
}
