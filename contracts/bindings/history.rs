//! What orchestrators earned in past rounds, read from events, and how fast rounds pass.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use alloy::{
    primitives::{Address, U256},
    sol_types::{SolCall as _, SolEvent as _},
};

use crate::{
    ChainClient, ChainError, ChainEvent, EventKind, LockedStake, Redelegation,
    abi::{BondingManager, FramemillToken, RoundsManager, TicketBroker},
    client::small,
    rpc::decode,
};

/// Rounds that one look back may span: at ten per cent of a day each still weeks.
pub const MAX_HISTORY_ROUNDS: u64 = 1_000;
/// Blocks over which the pace of the chain is measured.
const PACE_BLOCKS: u64 = 1_000;
/// Locks of one account that are looked for: ids only grow, and settled ones are skipped in batches.
const MAX_LOCKS: u64 = 10_000;

/// What one orchestrator earned over some rounds, itself and its delegators together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Earned {
    /// New tokens, in base units.
    pub rewards: U256,
    /// Wei.
    pub fees: U256,
    /// Rounds in which it called for its reward.
    pub rewarded: BTreeSet<u64>,
}

/// What happened over some rounds that are over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The rounds that were initialized, oldest first, without the one that runs.
    pub rounds: BTreeSet<u64>,
    /// By orchestrator; who earned nothing is missing.
    pub earned: HashMap<Address, Earned>,
}

/// How an orchestrator's membership stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// First round of its present or last membership; 0 when it never was a member.
    pub from: u64,
    /// The first round after it; `u32::MAX` while it lasts.
    pub until: u64,
}

impl Membership {
    /// Rounds of `history` in which it was a member and did not call for its reward.
    pub fn missed(&self, history: &History, earned: Option<&Earned>) -> u64 {
        let member = |round: &&u64| self.from != 0 && **round >= self.from && **round < self.until;
        let called = |round: &u64| earned.is_some_and(|earned| earned.rewarded.contains(round));
        history.rounds.iter().filter(member).filter(|round| !called(round)).count() as u64
    }
}

impl ChainClient {
    /// What happened in the last `rounds` rounds before the running one.
    pub async fn history(&self, rounds: u64) -> Result<History, ChainError> {
        let rounds = rounds.clamp(1, MAX_HISTORY_ROUNDS);
        let now = self.round_info().await?;
        let head = self.block_number().await?;
        let first = now.start_block.saturating_sub(rounds.saturating_mul(now.length));
        let blocks = first.max(self.deployment().block)..=head;
        let topic = [RoundsManager::NewRound::SIGNATURE_HASH];
        let begun = self.past_logs(self.deployment().rounds_manager, &topic, blocks.clone()).await?;
        let begins: BTreeMap<u64, u64> = begun
            .into_iter()
            .map(ChainEvent::read)
            .filter_map(|event| match event.kind {
                EventKind::RoundStarted { round } => Some((event.block(), round)),
                _ => None,
            })
            .collect();
        let topics = [BondingManager::Reward::SIGNATURE_HASH, BondingManager::FeesReceived::SIGNATURE_HASH];
        let earnings = self.past_logs(self.deployment().bonding_manager, &topics, blocks).await?;
        let mut history = History {
            rounds: begins.values().copied().filter(|round| *round < now.last_initialized).collect(),
            earned: HashMap::new(),
        };
        for event in earnings.into_iter().map(ChainEvent::read) {
            let round = begins.range(..=event.block()).next_back().map(|(_, round)| *round);
            if let Some(round) = round.filter(|round| history.rounds.contains(round)) {
                history.count(round, &event.kind);
            }
        }
        Ok(history)
    }

    /// Since when and until when these orchestrators are members of the active set, all read in the same block.
    pub async fn memberships(&self, accounts: &[Address]) -> Result<Vec<Membership>, ChainError> {
        let height = self.block_number().await?;
        let bonding = self.deployment().bonding_manager;
        let ask = |account: &Address| {
            (bonding, BondingManager::activeRoundsCall { account: *account }.abi_encode())
        };
        let answers = self.rpc().calls(height, accounts.iter().map(ask).collect()).await?;
        answers
            .iter()
            .map(|answer| {
                let rounds = decode::<BondingManager::activeRoundsCall>(answer)?;
                Ok(Membership {
                    from: small("activeRounds", rounds._0)?,
                    until: small("activeRounds", rounds._1)?,
                })
            })
            .collect()
    }

    /// An account's stake on its way out, by lock id.
    pub async fn locks(&self, account: Address) -> Result<Vec<(u64, LockedStake)>, ChainError> {
        let next = self.delegator(account).await?.next_lock_id;
        let ids = next.saturating_sub(MAX_LOCKS)..next;
        let bonding = self.deployment().bonding_manager;
        let ask = |id: u64| {
            let call = BondingManager::getDelegatorUnbondingLockCall { account, lockId: U256::from(id) };
            (bonding, call.abi_encode())
        };
        let height = self.block_number().await?;
        let answers = self.rpc().calls(height, ids.clone().map(ask).collect()).await?;
        let mut locks = Vec::new();
        for (id, answer) in ids.zip(answers) {
            let lock = decode::<BondingManager::getDelegatorUnbondingLockCall>(&answer)?;
            if !lock.amount.is_zero() {
                let withdraw_round = u64::from(lock.withdrawRound);
                locks.push((id, LockedStake { amount: U256::from(lock.amount), withdraw_round }));
            }
        }
        Ok(locks)
    }

    /// What of an account's bond answers for an orchestrator that it left before, while its rounds last.
    pub async fn redelegation(&self, account: Address) -> Result<Option<Redelegation>, ChainError> {
        let call = BondingManager::getRedelegationCall { staker: account };
        let record = self.rpc().call(self.deployment().bonding_manager, call).await?;
        let until = small("until", record.until)?;
        let over = until <= self.round_info().await?.last_initialized;
        Ok((!over).then_some(Redelegation { from: record.from, amount: record.amount, until }))
    }

    /// Rounds between unbonding and withdrawal.
    pub async fn unbonding_rounds(&self) -> Result<u64, ChainError> {
        let call = BondingManager::unbondingPeriodCall {};
        small("unbondingPeriod", self.rpc().call(self.deployment().bonding_manager, call).await?)
    }

    /// Rounds between a sender's unlock and its withdrawal.
    pub async fn unlock_rounds(&self) -> Result<u64, ChainError> {
        let call = TicketBroker::unlockRoundsCall {};
        small("unlockRounds", self.rpc().call(self.deployment().ticket_broker, call).await?)
    }

    /// Stake of all that are active in the current round, as it began.
    pub async fn total_active_stake(&self) -> Result<U256, ChainError> {
        let call = BondingManager::currentRoundTotalActiveStakeCall {};
        self.rpc().call(self.deployment().bonding_manager, call).await
    }

    /// The token's symbol.
    pub async fn token_symbol(&self) -> Result<String, ChainError> {
        self.rpc().call(self.deployment().token, FramemillToken::symbolCall {}).await
    }

    /// Milliseconds between blocks, measured over the last thousand; `None` on a chain that just began.
    pub async fn block_time_ms(&self) -> Result<Option<u64>, ChainError> {
        let Some(head) = self.rpc().block(None).await? else { return Ok(None) };
        let blocks = head.header.number.min(PACE_BLOCKS);
        let Some(old) = self.rpc().block(Some(head.header.number - blocks)).await? else { return Ok(None) };
        let seconds = head.header.timestamp.saturating_sub(old.header.timestamp);
        Ok((seconds.saturating_mul(1_000)).checked_div(blocks))
    }
}

impl History {
    fn count(&mut self, round: u64, event: &EventKind) {
        match *event {
            EventKind::Rewarded { orchestrator, amount } => {
                let earned = self.earned.entry(orchestrator).or_default();
                earned.rewards = earned.rewards.saturating_add(amount);
                earned.rewarded.insert(round);
            }
            EventKind::FeesReceived { orchestrator, amount } => {
                let earned = self.earned.entry(orchestrator).or_default();
                earned.fees = earned.fees.saturating_add(amount);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_counts_as_missed_only_while_its_orchestrator_was_a_member() {
        let history = History { rounds: (3..=8).collect(), earned: HashMap::new() };
        let earned = Earned { rewarded: [5, 7].into(), ..Earned::default() };
        let member = Membership { from: 5, until: u64::from(u32::MAX) };
        assert_eq!(member.missed(&history, Some(&earned)), 2);
        assert_eq!(Membership { from: 5, until: 7 }.missed(&history, Some(&earned)), 1);
        assert_eq!(member.missed(&history, None), 4);
        assert_eq!(Membership { from: 0, until: 0 }.missed(&history, None), 0);
    }
}
