//! Bonds that were moved, and what they answer for.

use alloy::primitives::U256;

use super::{Held, Model, Outcome, Pool, PoolId, Refusal, Who};

/// Stake that an account took out of a pool and bonded elsewhere.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Moved {
    pub(crate) from: PoolId,
    pub(crate) held: Held,
    /// Slashes of rounds before this one count.
    pub(crate) until: u64,
    /// What the slashes that count have left of a unit: factor and epoch of the pool.
    now: (U256, u64),
}

impl Moved {
    pub(super) fn out_of(from: PoolId, pool: &Pool, amount: U256, until: u64) -> Self {
        Self { from, held: pool.hold(amount), until, now: (pool.factor, pool.epoch) }
    }

    /// What is left of it.
    pub(crate) fn left(&self) -> U256 {
        let (factor, epoch) = self.now;
        if epoch == self.held.epoch { self.held.amount * factor / self.held.mark } else { U256::ZERO }
    }

    fn due(&self) -> U256 {
        self.held.amount - self.left()
    }
}

impl Model {
    /// Tells everybody who left a pool and answers for it still what its slash has left.
    pub(super) fn slash_moved(&mut self, id: PoolId) {
        let pool = &self.pools[id];
        let moved = self.stakers.iter_mut().filter_map(|staker| staker.moved.as_mut());
        for moved in moved.filter(|moved| moved.from == id && self.round < moved.until) {
            moved.now = (pool.factor, pool.epoch);
        }
    }

    /// What an account's moved bond has lost and was not taken yet.
    pub(crate) fn due(&self, who: Who) -> U256 {
        self.stakers[who].moved.map_or(U256::ZERO, |moved| moved.due())
    }

    /// Whether the loss of an account's moved bond may be all that it has: then only the chain knows what that is to the
    /// last unit, and it must be settled first, by [`Self::settle_by`].
    pub(crate) fn loses_everything(&self, who: Who) -> bool {
        let due = self.due(who);
        !due.is_zero() && self.stakers[who].delegate.is_some() && due >= *self.gross_bounds(who).start()
    }

    /// Settles with an account whose loss was found to be `loss` and to leave `rest`.
    pub(crate) fn settle_by(&mut self, who: Who, loss: U256, rest: U256) {
        let (due, gross) = (self.due(who), self.gross_bounds(who));
        assert!(loss <= due && gross.contains(&(loss + rest)), "{who} lost {loss} of {gross:?} for {due}");
        assert!(loss == due || rest.is_zero(), "{who} lost {loss} instead of {due} and has {rest}");
        self.hold_waiting(who);
        self.settle_loss(who, loss, rest.is_zero());
    }

    /// As the chain would: the model knows no better figure than its own.
    pub(crate) fn settle_alone(&mut self, who: Who) {
        if self.loses_everything(who) {
            let loss = self.due(who).min(self.gross(who));
            self.settle_by(who, loss, self.gross(who) - loss);
        }
    }

    /// Takes what an account has lost, before its every action.
    pub(super) fn settle_moved(&mut self, who: Who) {
        assert!(!self.loses_everything(who), "{who} must be settled with by what the chain says");
        let bonded = self.stakers[who].delegate.is_some();
        let loss = if bonded { self.due(who) } else { U256::ZERO };
        self.settle_loss(who, loss, false);
    }

    fn settle_loss(&mut self, who: Who, loss: U256, whole: bool) {
        let round = self.round;
        let staker = &mut self.stakers[who];
        let Some(moved) = staker.moved else { return };
        let held = Held { amount: moved.left(), mark: moved.now.0, epoch: moved.now.1 };
        staker.moved = (round < moved.until).then_some(Moved { held, ..moved });
        if loss.is_zero() {
            return;
        }
        let id = staker.delegate.expect("who loses has a bond");
        self.take(who, loss, whole);
        self.tokens.minter -= loss;
        self.tokens.burnt += loss;
        self.demote(id);
    }

    pub(super) fn settle(&mut self, account: Who) -> Outcome {
        if self.stakers[account].moved.is_some() {
            self.hold_waiting(account);
            self.settle_moved(account);
        }
        Ok(())
    }

    /// Whether an account's bond answers for a pool that it left.
    fn answers(&self, who: Who) -> Option<Moved> {
        self.stakers[who].moved.filter(|moved| self.round < moved.until)
    }

    pub(super) fn check_movable(&self, who: Who) -> Outcome {
        if self.answers(who).is_some() { Err("StillLocked") } else { Ok(()) }
    }

    /// What answers for another orchestrator must stay.
    pub(super) fn check_free(&self, who: Who, amount: U256, stake: U256) -> Result<(), Refusal> {
        let kept = self.answers(who).map_or(U256::ZERO, |moved| moved.left());
        if amount > stake.saturating_sub(kept) { Err("StakeAnswers") } else { Ok(()) }
    }
}
