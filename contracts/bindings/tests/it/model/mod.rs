//! The protocol's rules about money, worked out the naive way.
//!
//! The contracts divide a pool into shares, so that a reward, a fee or a slash of any number of accounts costs the same.
//! This model knows no shares: it goes through all accounts at each of these, with a fraction of 96 bits. What the
//! contracts count in whole units (a pool's sums, stake that waits, locks, deposits, bonds, new tokens) it counts in whole
//! units too, by the rules of the interfaces, so that every total is the same to the last unit.
//!
//! Rounding. An account's stake and fees are the only amounts that differ. The contracts round in the pool's favour
//! whenever stake becomes shares or shares become stake, by less than one share; stake that comes to a pool of which a
//! slash has left a part f, by less than 1/f shares, at most a million. So an account has at most as much less as its own
//! roundings are worth ([`Staker::rounded`]), and as much more as those of all in its pool ([`Pool::rounded`]); what a
//! share is worth is [`Pool::worth`]. [`Model::stake_bounds`] states both. Fees are counted per share in parts of 10^-21
//! wei, and by shares that are rounded as said: [`Model::fee_bounds`].

mod broker;
mod court;
mod fine;
mod minter;
mod moved;
mod ops;
mod set;
mod slash;
mod stake;
mod terms;

use std::ops::RangeInclusive;

use alloy::primitives::U256;
use framemill_contracts::CourtParams;

pub(crate) use broker::{Broker, Reason, Win};
pub(crate) use court::{Court, Stand};
pub(crate) use fine::Fine;
pub(crate) use minter::Minter;
pub(crate) use moved::Moved;
pub(crate) use ops::{Amount, Op, Seen};
pub(crate) use set::Set;

/// An account, by its number.
pub(crate) type Who = usize;
/// A pool, by its number.
pub(crate) type PoolId = usize;
/// Name of the error that a contract refuses with.
pub(crate) type Refusal = &'static str;
pub(crate) type Outcome = Result<(), Refusal>;

/// Parts per million.
pub(crate) const PPM: U256 = U256::from_limbs([1_000_000, 0, 0, 0]);
/// What is left of a unit that waits or unbonds in a pool that was never slashed.
const FACTOR: U256 = U256::from_limbs([1_000_000_000_000_000_000, 0, 0, 0]);
/// Parts of a wei in which fees are counted per share.
const FEE: U256 = U256::from_limbs([3_875_820_019_684_212_736, 54, 0, 0]);

/// What the contracts were deployed with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rules {
    pub(crate) unbonding_rounds: u64,
    pub(crate) active_set_size: usize,
    pub(crate) unlock_rounds: u64,
    pub(crate) validity_rounds: u64,
}

/// Stake that a slash of its pool reaches by comparing what is left of a unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) amount: U256,
    /// Factor of the pool that the amount is stated at.
    pub(crate) mark: U256,
    pub(crate) epoch: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Lock {
    pub(crate) pool: PoolId,
    pub(crate) held: Held,
    pub(crate) withdraw_round: u64,
}

/// A staker's account.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Staker {
    pub(crate) delegate: Option<PoolId>,
    /// The pool that it has as an orchestrator.
    pub(crate) own: Option<PoolId>,
    pub(crate) earning: Fine,
    /// Stake that came in this round; it earns as of the next.
    pub(crate) waiting: Held,
    pub(crate) fees: Fine,
    pub(crate) locks: Vec<Option<Lock>>,
    pub(crate) moved: Option<Moved>,
    /// Shares that rounding may have cost it since it came to its pool.
    pub(crate) rounded: u64,
    /// Wei by which its fees may differ.
    pub(crate) fee_slack: U256,
}

/// The stake behind one orchestrator.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pool {
    pub(crate) orchestrator: Who,
    pub(crate) stake: U256,
    pub(crate) waiting: U256,
    pub(crate) unbonding: U256,
    pub(crate) factor: U256,
    pub(crate) epoch: u64,
    /// What a unit is worth that came in when the pool was empty.
    pub(crate) worth: Fine,
    /// Shares that rounding may have cost its owners, to the good of all.
    pub(crate) rounded: u64,
    pub(crate) ready: bool,
    pub(crate) reward_cut: u64,
    pub(crate) fee_share: u64,
    /// Round, cut and share of terms that hold later.
    pub(crate) next_terms: Option<(u64, u64, u64)>,
    pub(crate) commission: Fine,
    pub(crate) commission_slack: U256,
    pub(crate) active_from: u64,
    pub(crate) active_until: u64,
    pub(crate) reward_round: u64,
    pub(crate) jailed_until: u64,
}

impl Pool {
    fn new(orchestrator: Who) -> Self {
        Self {
            orchestrator,
            stake: U256::ZERO,
            waiting: U256::ZERO,
            unbonding: U256::ZERO,
            factor: FACTOR,
            epoch: 0,
            worth: Fine::whole(U256::ONE),
            rounded: 0,
            ready: false,
            reward_cut: 0,
            fee_share: 0,
            next_terms: None,
            commission: Fine::ZERO,
            commission_slack: U256::ZERO,
            active_from: 0,
            active_until: 0,
            reward_round: 0,
            jailed_until: 0,
        }
    }

    /// All stake behind the orchestrator.
    pub(crate) fn total(&self) -> U256 {
        self.stake + self.waiting
    }

    /// The same and what is unbonding: all that a slash reaches.
    pub(crate) fn held(&self) -> U256 {
        self.total() + self.unbonding
    }

    /// What is left of stake that waits or unbonds.
    pub(crate) fn left_of(&self, held: Held) -> U256 {
        if held.amount.is_zero() || held.epoch != self.epoch {
            return U256::ZERO;
        }
        held.amount * self.factor / held.mark
    }

    fn hold(&self, amount: U256) -> Held {
        Held { amount, mark: self.factor, epoch: self.epoch }
    }

    /// Units that one rounding can cost, and one for what is not shown.
    fn unit(&self) -> U256 {
        self.worth.ceil() + U256::ONE
    }
}

/// Who has the tokens.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tokens {
    pub(crate) accounts: Vec<U256>,
    pub(crate) minter: U256,
    pub(crate) court: U256,
    pub(crate) treasury: U256,
    pub(crate) minted: U256,
    pub(crate) burnt: U256,
}

impl Tokens {
    pub(crate) fn supply(&self) -> U256 {
        self.minted - self.burnt
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Model {
    pub(crate) rules: Rules,
    pub(crate) round: u64,
    /// The round of the block that the next step is mined in: it may not have begun.
    pub(crate) height_round: u64,
    pub(crate) paused: bool,
    pub(crate) stakers: Vec<Staker>,
    pub(crate) pools: Vec<Pool>,
    pub(crate) set: Set,
    pub(crate) current_total: U256,
    pub(crate) current_size: usize,
    pub(crate) minter: Minter,
    pub(crate) tokens: Tokens,
    /// Wei of the accounts outside of the contracts, gas not counted.
    pub(crate) wei: Vec<U256>,
    pub(crate) broker: Broker,
    pub(crate) court: Court,
}

impl Model {
    /// A market whose first round is `round` and whose accounts have these tokens and these wei.
    pub(crate) fn new(
        round: u64,
        rules: Rules,
        minter: Minter,
        court: CourtParams,
        tokens: Vec<U256>,
        wei: Vec<U256>,
    ) -> Self {
        let minted = tokens.iter().copied().sum();
        Self {
            rules,
            round,
            height_round: round,
            paused: false,
            stakers: vec![Staker::default(); tokens.len()],
            pools: Vec::new(),
            set: Set::default(),
            current_total: U256::ZERO,
            current_size: 0,
            minter,
            tokens: Tokens {
                accounts: tokens,
                minter: U256::ZERO,
                court: U256::ZERO,
                treasury: U256::ZERO,
                minted,
                burnt: U256::ZERO,
            },
            wei,
            broker: Broker::default(),
            court: Court::new(court),
        }
    }

    /// Begins a round: what came in before it earns from now on, terms that were to hold do.
    fn begin_round(&mut self, round: u64) -> Outcome {
        if round == self.round {
            return Err("RoundAlreadyInitialized");
        }
        self.round = round;
        self.height_round = self.height_round.max(round);
        self.current_total = self.set.total();
        self.current_size = self.set.size();
        for id in 0..self.pools.len() {
            self.begin_round_of(id);
        }
        Ok(())
    }

    fn begin_round_of(&mut self, id: PoolId) {
        let round = self.round;
        let pool = &mut self.pools[id];
        if let Some((_, cut, share)) = pool.next_terms.take_if(|terms| terms.0 <= round) {
            (pool.reward_cut, pool.fee_share) = (cut, share);
        }
        let arriving = std::mem::take(&mut pool.waiting);
        if arriving.is_zero() {
            return;
        }
        let (before, factor, epoch) = (pool.stake, pool.factor, pool.epoch);
        pool.stake += arriving;
        let owned = self.is_owned(id);
        // What rounding has left in a pool without owners is theirs who come next.
        let (numerator, denominator) =
            if owned { (U256::ONE, U256::ONE) } else { (before + arriving, arriving) };
        if !owned {
            self.pools[id].worth = Fine::ratio(numerator, denominator);
        }
        for staker in self.stakers.iter_mut().filter(|staker| staker.delegate == Some(id)) {
            let waiting = std::mem::take(&mut staker.waiting);
            if waiting.amount.is_zero() || waiting.epoch != epoch {
                continue;
            }
            let left = Fine::whole(waiting.amount).scaled(factor, waiting.mark);
            staker.earning += left.scaled(numerator, denominator);
            // Shares are counted as of the pool's begin: of a pool that was slashed, a unit is many.
            let coarse = FACTOR.div_ceil(waiting.mark).to::<u64>();
            staker.rounded += coarse;
            self.pools[id].rounded += coarse;
        }
    }

    /// Whether somebody has earning stake in a pool.
    fn is_owned(&self, id: PoolId) -> bool {
        self.stakers_of(id).any(|staker| !staker.earning.is_zero())
    }

    fn stakers_of(&self, id: PoolId) -> impl Iterator<Item = &Staker> {
        self.stakers.iter().filter(move |staker| staker.delegate == Some(id))
    }

    /// An account's stake, with everything earned and without what its moved bond has lost.
    pub(crate) fn stake(&self, who: Who) -> U256 {
        self.gross(who).saturating_sub(self.due(who))
    }

    fn gross(&self, who: Who) -> U256 {
        let staker = &self.stakers[who];
        let Some(id) = staker.delegate else { return U256::ZERO };
        staker.earning.floor() + self.pools[id].left_of(staker.waiting)
    }

    /// What the contract may say that an account's stake is.
    pub(crate) fn stake_bounds(&self, who: Who) -> RangeInclusive<U256> {
        let gross = self.gross_bounds(who);
        let due = self.due(who);
        // Taking a loss away rounds once more.
        let unit = match self.stakers[who].delegate {
            Some(id) if !due.is_zero() => self.pools[id].unit(),
            _ => U256::ZERO,
        };
        gross.start().saturating_sub(due + unit)..=gross.end().saturating_sub(due)
    }

    fn gross_bounds(&self, who: Who) -> RangeInclusive<U256> {
        let staker = &self.stakers[who];
        let stake = self.gross(who);
        let Some(id) = staker.delegate else { return stake..=stake };
        if staker.earning.is_zero() {
            return stake..=stake;
        }
        let pool = &self.pools[id];
        let less = U256::from(staker.rounded + 1) * pool.unit();
        let more = U256::from(pool.rounded + 1) * pool.unit();
        stake.saturating_sub(less)..=stake + more
    }

    /// An account's fees, with everything earned.
    pub(crate) fn fees(&self, who: Who) -> U256 {
        let staker = &self.stakers[who];
        (staker.fees + staker.own.map_or(Fine::ZERO, |id| self.pools[id].commission)).floor()
    }

    /// What the contract may say that an account's fees are.
    pub(crate) fn fee_bounds(&self, who: Who) -> RangeInclusive<U256> {
        let (fees, slack) = (self.fees(who), self.fee_slack(who));
        fees.saturating_sub(slack)..=fees + slack
    }

    /// Holds the books together: every token is somewhere, the minter has exactly what it owes, no pool promises more than
    /// it has but for rounding.
    pub(crate) fn audit(&self) {
        let t = &self.tokens;
        let held = t.accounts.iter().copied().sum::<U256>() + t.minter + t.court + t.treasury;
        assert_eq!(held, t.supply(), "tokens held, tokens made less tokens burnt");
        let staked: U256 = self.pools.iter().map(Pool::held).sum();
        assert_eq!(t.minter, staked + self.minter.owed, "the minter's tokens, stake and the treasury's due");
        let next: U256 = self.set.order().map(|id| self.pools[id].total()).sum();
        assert_eq!(self.set.total(), next, "stake of the next set, stake of its members");
        for (id, pool) in self.pools.iter().enumerate() {
            let owned: Fine = self.stakers_of(id).map(|staker| staker.earning).sum();
            let slack = U256::from(pool.rounded + 1) * pool.unit();
            assert!(owned.floor() <= pool.stake + slack, "pool {id} owes {owned:?} of {}", pool.stake);
            let waiting: U256 = self.stakers_of(id).map(|staker| pool.left_of(staker.waiting)).sum();
            assert!(waiting <= pool.waiting, "pool {id} owes {waiting} of {} that waits", pool.waiting);
            let locks = self.stakers.iter().flat_map(|staker| staker.locks.iter().flatten());
            let unbonding: U256 =
                locks.filter(|lock| lock.pool == id).map(|lock| pool.left_of(lock.held)).sum();
            assert!(unbonding <= pool.unbonding, "pool {id} owes {unbonding} of {}", pool.unbonding);
        }
        self.audit_broker();
        self.audit_court();
    }
}
