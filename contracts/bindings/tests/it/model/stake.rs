//! Bonds: in, out, elsewhere, and what both earn.

use alloy::primitives::U256;

use super::{FEE, Fine, Held, Lock, Model, Moved, Outcome, PPM, Pool, PoolId, Refusal, Staker, Who};

impl Model {
    /// `seen` is what the contract said that the account's stake is: what it moves, to the last unit.
    pub(super) fn bond(&mut self, who: Who, amount: U256, to: Who, seen: U256) -> Outcome {
        let target = if to == who { self.stakers[who].own } else { Some(self.registered(to)?) };
        let delegate = self.stakers[who].delegate;
        let moves = delegate.filter(|id| Some(*id) != target);
        if moves.is_some() && moves == self.stakers[who].own {
            return Err("OrchestratorCannotDelegate");
        }
        if moves.is_some() {
            self.check_movable(who)?;
        }
        let moved = if moves.is_some() { seen } else { U256::ZERO };
        if (amount + moved).is_zero() {
            return Err("BadAmount");
        }
        if amount > self.tokens.accounts[who] {
            return Err("ERC20InsufficientBalance");
        }
        self.touch(who);
        if let Some(old) = moves {
            self.take(who, moved, true);
            self.sync(old);
            if !moved.is_zero() {
                let until = self.height_round + self.rules.unbonding_rounds;
                self.stakers[who].moved = Some(Moved::out_of(old, &self.pools[old], moved, until));
            }
        }
        let id = target.unwrap_or_else(|| self.found_pool(who));
        self.arrive(who, id, amount + moved);
        self.tokens.accounts[who] -= amount;
        self.tokens.minter += amount;
        Ok(())
    }

    pub(super) fn unbond(&mut self, who: Who, amount: U256, seen: U256) -> Outcome {
        let id = self.stakers[who].delegate.ok_or("NotBonded")?;
        if amount > seen || (amount.is_zero() && !seen.is_zero()) {
            return Err("BadAmount");
        }
        self.check_free(who, amount, seen)?;
        self.touch(who);
        self.take(who, amount, amount == seen);
        let withdraw_round = self.height_round + self.rules.unbonding_rounds;
        let held = self.pools[id].hold(amount);
        self.pools[id].unbonding += amount;
        self.stakers[who].locks.push(Some(Lock { pool: id, held, withdraw_round }));
        if amount == seen {
            self.leave_pool(who);
        }
        // An orchestrator without stake of its own is none, whoever stands behind it.
        if amount == seen && self.stakers[who].own == Some(id) {
            self.leave_set(id);
        } else {
            self.sync(id);
        }
        Ok(())
    }

    pub(super) fn rebond(&mut self, who: Who, lock: usize) -> Outcome {
        let id = self.stakers[who].delegate.ok_or("NotBonded")?;
        let amount = self.check_lock(who, lock, id)?;
        self.touch(who);
        self.open_lock(who, lock);
        self.arrive(who, id, amount);
        Ok(())
    }

    pub(super) fn rebond_from_unbonded(&mut self, who: Who, to: Who, lock: usize) -> Outcome {
        if self.stakers[who].delegate.is_some() {
            return Err("StillBonded");
        }
        let target = if to == who { self.stakers[who].own } else { Some(self.registered(to)?) };
        // A pool that is only now founded is no lock's.
        let amount = self.check_lock(who, lock, target.unwrap_or(PoolId::MAX))?;
        // What arrives pays for nothing that is due already.
        self.settle_moved(who);
        let id = target.unwrap_or_else(|| self.found_pool(who));
        self.open_lock(who, lock);
        self.arrive(who, id, amount);
        Ok(())
    }

    pub(super) fn withdraw_stake(&mut self, who: Who, lock: usize) -> Outcome {
        let found = self.lock(who, lock).ok_or("NoSuchLock")?;
        if self.round < found.withdraw_round {
            return Err("StillLocked");
        }
        let amount = self.open_lock(who, lock);
        self.tokens.minter -= amount;
        self.tokens.accounts[who] += amount;
        Ok(())
    }

    /// `seen` is what the contract said that the account's fees are.
    pub(super) fn withdraw_fees(&mut self, who: Who, amount: U256, seen: U256) -> Outcome {
        if amount.is_zero() || amount > seen {
            return Err("BadAmount");
        }
        self.touch(who);
        self.take_commission(who);
        let staker = &mut self.stakers[who];
        staker.fees = staker.fees.minus(Fine::whole(amount));
        self.wei[who] += amount;
        self.broker.held -= amount;
        Ok(())
    }

    pub(super) fn claim(&mut self, who: Who) -> Outcome {
        self.touch(who);
        Ok(())
    }

    pub(super) fn transfer_bond(&mut self, who: Who, to: Who, amount: U256, seen: U256) -> Outcome {
        let id = self.stakers[who].delegate.ok_or("NotBonded")?;
        if self.stakers[who].own == Some(id) {
            return Err("OrchestratorCannotDelegate");
        }
        if self.stakers[to].delegate != Some(id) || to == who {
            return Err("NotOfTheSamePool");
        }
        if amount.is_zero() || amount > seen {
            return Err("BadAmount");
        }
        self.check_free(who, amount, seen)?;
        self.touch(to);
        self.touch(who);
        let pool = &mut self.pools[id];
        let (giver, receiver) = pair(&mut self.stakers, who, to);
        let waiting = amount.min(pool.left_of(giver.waiting));
        let earning = Fine::whole(amount - waiting);
        receiver.waiting = pool.hold(pool.left_of(receiver.waiting) + waiting);
        giver.waiting = pool.hold(giver.waiting.amount - waiting);
        receiver.earning += earning;
        giver.earning = if amount == seen { Fine::ZERO } else { giver.earning.minus(earning) };
        giver.rounded += 1;
        receiver.rounded += 1;
        pool.rounded += 1;
        if amount == seen {
            self.leave_pool(who);
        }
        Ok(())
    }

    pub(super) fn reward(&mut self, who: Who) -> Outcome {
        let round = self.round;
        let id = self.stakers[who].own.filter(|id| self.is_active(*id)).ok_or("NotActive")?;
        if self.is_jailed(id) {
            return Err("Jailed");
        }
        if self.pools[id].reward_round == round {
            return Err("AlreadyRewarded");
        }
        self.pools[id].reward_round = round;
        let registered = self.stakers[who].delegate == Some(id);
        if registered {
            self.touch(who);
        }
        let before = self.pools[id].stake;
        let amount = self.make_reward(before);
        let pool = &mut self.pools[id];
        let cut = if registered { amount * U256::from(pool.reward_cut) / PPM } else { U256::ZERO };
        pool.stake += amount;
        if !before.is_zero() {
            self.scale(id, before + amount - cut, before);
        }
        // Where nobody has a share, there is none to be bought.
        if !cut.is_zero() && self.is_owned(id) {
            self.stakers[who].earning += Fine::whole(cut);
            self.stakers[who].rounded += 1;
            self.pools[id].rounded += 1;
        }
        self.sync(id);
        Ok(())
    }

    /// Fees of an orchestrator: its delegators' share of them by their earning stake, the rest its own.
    pub(super) fn book_fees(&mut self, recipient: Who, fees: U256) {
        let id = self.stakers[recipient].own.expect("only an orchestrator is paid");
        let owned: Fine = self.stakers_of(id).map(|staker| staker.earning).sum();
        let pool = &mut self.pools[id];
        let shared = if owned.is_zero() { U256::ZERO } else { fees * U256::from(pool.fee_share) / PPM };
        pool.commission += Fine::whole(fees - shared);
        pool.commission_slack += U256::from(2);
        if shared.is_zero() {
            return;
        }
        let (unit, worth, rounded) = (pool.unit(), pool.worth, pool.rounded);
        for staker in self.stakers.iter_mut().filter(|staker| staker.delegate == Some(id)) {
            staker.fees += Fine::whole(shared).share(staker.earning, owned);
            let uncertain = U256::from(staker.rounded + rounded + 1) * unit;
            let by_stake = Fine::whole(shared).share(Fine::whole(uncertain.min(owned.ceil())), owned).ceil();
            let by_share = worth.times_in(staker.earning) / FEE;
            staker.fee_slack += by_stake + by_share + U256::from(2);
        }
    }

    /// Changes what all earning stake of a pool is worth.
    pub(super) fn scale(&mut self, id: PoolId, numerator: U256, denominator: U256) {
        self.pools[id].worth = self.pools[id].worth.scaled(numerator, denominator);
        for staker in self.stakers.iter_mut().filter(|staker| staker.delegate == Some(id)) {
            staker.earning = staker.earning.scaled(numerator, denominator);
        }
    }

    /// Brings an account up to now, as its every action does first.
    pub(super) fn touch(&mut self, who: Who) {
        self.stakers[who].fee_slack += U256::ONE;
        self.hold_waiting(who);
        self.settle_moved(who);
    }

    pub(super) fn hold_waiting(&mut self, who: Who) {
        let staker = &mut self.stakers[who];
        let Some(id) = staker.delegate else { return };
        let pool = &self.pools[id];
        staker.waiting = pool.hold(pool.left_of(staker.waiting));
    }

    fn take_commission(&mut self, who: Who) {
        let Some(id) = self.stakers[who].own else { return };
        let commission = std::mem::take(&mut self.pools[id].commission);
        let slack = std::mem::take(&mut self.pools[id].commission_slack);
        self.stakers[who].fees += commission;
        self.stakers[who].fee_slack += slack;
    }

    /// Takes stake of an account out of its pool, all that it has or less: what waits first, it has earned nothing.
    pub(super) fn take(&mut self, who: Who, amount: U256, whole: bool) {
        let staker = &mut self.stakers[who];
        let pool = &mut self.pools[staker.delegate.expect("it has stake")];
        let waiting = amount.min(staker.waiting.amount);
        pool.waiting -= waiting;
        staker.waiting = pool.hold(staker.waiting.amount - waiting);
        let earning = amount - waiting;
        pool.stake -= earning;
        staker.earning = if whole { Fine::ZERO } else { staker.earning.minus(Fine::whole(earning)) };
        staker.rounded += 1;
        pool.rounded += 1;
    }

    /// Stake waits in a pool, which becomes the account's.
    fn arrive(&mut self, who: Who, id: PoolId, amount: U256) {
        let staker = &mut self.stakers[who];
        if staker.delegate != Some(id) {
            *staker = Staker { delegate: Some(id), rounded: 0, ..std::mem::take(staker) };
        }
        let pool = &mut self.pools[id];
        staker.waiting = pool.hold(pool.left_of(staker.waiting) + amount);
        pool.waiting += amount;
        self.sync(id);
    }

    fn leave_pool(&mut self, who: Who) {
        let staker = &mut self.stakers[who];
        staker.delegate = None;
        staker.rounded = 0;
        staker.waiting = Held::default();
    }

    fn found_pool(&mut self, who: Who) -> PoolId {
        self.pools.push(Pool::new(who));
        let id = self.pools.len() - 1;
        self.stakers[who].own = Some(id);
        id
    }

    /// The pool of an orchestrator, which is who stakes on itself.
    pub(super) fn registered(&self, who: Who) -> Result<PoolId, Refusal> {
        let staker = &self.stakers[who];
        staker.own.filter(|id| staker.delegate == Some(*id)).ok_or("NotOrchestrator")
    }

    fn lock(&self, who: Who, lock: usize) -> Option<Lock> {
        self.stakers[who].locks.get(lock).copied().flatten()
    }

    /// Until its time is over, stake answers for the orchestrator that it backed: it goes back there or nowhere.
    fn check_lock(&self, who: Who, lock: usize, id: PoolId) -> Result<U256, Refusal> {
        let found = self.lock(who, lock).ok_or("NoSuchLock")?;
        if found.pool != id && self.round < found.withdraw_round {
            return Err("StillLocked");
        }
        let amount = self.pools[found.pool].left_of(found.held);
        if amount.is_zero() { Err("BadAmount") } else { Ok(amount) }
    }

    fn open_lock(&mut self, who: Who, lock: usize) -> U256 {
        let found = self.stakers[who].locks[lock].take().expect("it was looked up");
        let pool = &mut self.pools[found.pool];
        let amount = pool.left_of(found.held);
        pool.unbonding -= amount;
        amount
    }
}

fn pair(stakers: &mut [Staker], one: Who, other: Who) -> (&mut Staker, &mut Staker) {
    let [one, other] = stakers.get_disjoint_mut([one, other]).expect("two accounts");
    (one, other)
}
