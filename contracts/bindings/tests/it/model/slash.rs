//! What the court takes, and who is in the set.

use alloy::primitives::U256;

use super::{FACTOR, Fine, Model, Outcome, PPM, PoolId, Who};

/// A membership without an end.
const OPEN: u64 = u32::MAX as u64;
/// A pool of which less is left begins anew.
const LEAST_LEFT: U256 = U256::from_limbs([1_000_000, 0, 0, 0]);
const LEAST_WORTH: U256 = U256::from_limbs([1 << 20, 0, 0, 0]);

impl Model {
    /// Takes a share of all stake behind an orchestrator: what earns, what waits, what unbonds. Returns what was taken.
    pub(super) fn slash(
        &mut self,
        accused: Who,
        finder: Option<Who>,
        ppm: u64,
        finder_ppm: u64,
    ) -> Result<(U256, U256), super::Refusal> {
        let id = self.stakers[accused].own.ok_or("NotOrchestrator")?;
        let slashed = self.take_share(id, U256::from(ppm));
        self.slash_moved(id);
        let fee = if finder_ppm == 0 { U256::ZERO } else { slashed * U256::from(finder_ppm) / PPM };
        self.demote(id);
        self.tokens.minter -= slashed;
        self.tokens.burnt += slashed - fee;
        match finder {
            Some(finder) => self.tokens.accounts[finder] += fee,
            None => self.tokens.court += fee,
        }
        Ok((slashed, fee))
    }

    fn take_share(&mut self, id: PoolId, ppm: U256) -> U256 {
        let owned = self.is_owned(id);
        let pool = &mut self.pools[id];
        let before = pool.held();
        let stake = pool.stake * (PPM - ppm) / PPM;
        let factor = pool.factor * (PPM - ppm) / PPM;
        let worth = if pool.stake.is_zero() { pool.worth } else { pool.worth.scaled(stake, pool.stake) };
        let spent = owned && worth < Fine::ratio(U256::ONE, LEAST_WORTH);
        if factor < FACTOR / LEAST_LEFT || spent {
            return self.wipe(id);
        }
        let old = (pool.stake, pool.factor);
        pool.stake = stake;
        pool.waiting = (pool.waiting * factor).div_ceil(old.1);
        pool.unbonding = (pool.unbonding * factor).div_ceil(old.1);
        pool.factor = factor;
        let slashed = before - pool.held();
        if !old.0.is_zero() {
            self.scale(id, stake, old.0);
        }
        slashed
    }

    /// Takes everything; locks of this pool are worth nothing from now on.
    fn wipe(&mut self, id: PoolId) -> U256 {
        let pool = &mut self.pools[id];
        let slashed = pool.held();
        (pool.stake, pool.waiting, pool.unbonding) = (U256::ZERO, U256::ZERO, U256::ZERO);
        (pool.factor, pool.worth) = (FACTOR, Fine::whole(U256::ONE));
        pool.epoch += 1;
        let empty = pool.hold(U256::ZERO);
        for staker in self.stakers.iter_mut().filter(|staker| staker.delegate == Some(id)) {
            staker.earning = Fine::ZERO;
            staker.waiting = empty;
        }
        slashed
    }

    pub(super) fn jail(&mut self, accused: Who, rounds: u64) -> Outcome {
        let id = self.stakers[accused].own.ok_or("NotOrchestrator")?;
        let until = self.height_round + rounds.min(OPEN - self.height_round);
        let pool = &mut self.pools[id];
        pool.jailed_until = pool.jailed_until.max(until);
        self.leave_set(id);
        Ok(())
    }

    /// Gives an orchestrator the place in the set that its stake asks for.
    pub(super) fn sync(&mut self, id: PoolId) {
        if self.set.contains(id) { self.demote(id) } else { self.try_join(id) }
    }

    pub(super) fn demote(&mut self, id: PoolId) {
        let total = self.pools[id].total();
        if total.is_zero() {
            self.leave_set(id);
        } else {
            self.set.update(id, total);
        }
    }

    fn try_join(&mut self, id: PoolId) {
        let pool = &self.pools[id];
        let total = pool.total();
        let registered = self.stakers[pool.orchestrator].delegate == Some(id);
        if total.is_zero() || !pool.ready || !registered || self.is_jailed(id) {
            return;
        }
        if let Some((last, least)) = self.set.last()
            && self.set.size() >= self.rules.active_set_size
        {
            if total <= least {
                return;
            }
            self.leave_set(last);
        }
        let round = self.round;
        let pool = &mut self.pools[id];
        // Evicted and back within one round: it never stopped being active.
        let continues = pool.active_from != 0 && pool.active_from <= round && pool.active_until == round + 1;
        if !continues {
            pool.active_from = round + 1;
        }
        pool.active_until = OPEN;
        self.set.insert(id, total);
    }

    pub(super) fn leave_set(&mut self, id: PoolId) {
        if self.set.contains(id) {
            self.set.remove(id);
            self.pools[id].active_until = self.round + 1;
        }
    }

    pub(crate) fn is_active(&self, id: PoolId) -> bool {
        self.is_active_in(id, self.round)
    }

    pub(super) fn is_active_in(&self, id: PoolId, round: u64) -> bool {
        let pool = &self.pools[id];
        pool.active_from != 0 && pool.active_from <= round && round < pool.active_until
    }

    pub(super) fn is_jailed(&self, id: PoolId) -> bool {
        self.pools[id].jailed_until > self.round
    }
}
