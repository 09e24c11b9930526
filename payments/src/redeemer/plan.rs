//! Decisions of the redeemer, without I/O.

use std::collections::{BTreeMap, HashMap, HashSet};

use alloy_primitives::Address;

use super::RedeemPolicy;
use crate::ledger::{DeadReason, Fate, LaneId, Retirement, Winner};
use crate::port::{ChainView, SenderFunds, TicketResult, TxStatus};
use crate::units::Wei;

/// How deep a chain is asked for the block that used an account nonce: nodes forget older states.
const DEEPEST_LOOK: u64 = 64;

/// What the chain says about the winners at hand.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) chain: ChainView,
    /// The highest nonce paid per lane.
    pub(super) lanes: HashMap<LaneId, u64>,
    pub(super) funds: HashMap<Address, SenderFunds>,
}

/// Whether to wait for a good moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    ByPolicy,
    Everything,
}

/// What to do about a transaction that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is on its way.
    Wait,
    /// The chain does not know it (never sent, or un-mined and forgotten): the same bytes again.
    SendAgain,
    /// Its fate is final.
    Conclude(Vec<(i64, Fate)>),
}

/// Decides about a transaction by its status. Nothing counts before it is final.
pub(super) fn follow(winners: &[Winner], status: &TxStatus, policy: &RedeemPolicy) -> Step {
    let all = |fate| Step::Conclude(winners.iter().map(|winner| (winner.id, fate)).collect());
    match status {
        TxStatus::Unknown => Step::SendAgain,
        TxStatus::Dropped { confirmations } if *confirmations >= policy.confirmations.min(DEEPEST_LOOK) => {
            all(Fate::Retry { failed: false })
        }
        TxStatus::Reverted { confirmations } if *confirmations >= policy.confirmations => {
            all(Fate::Retry { failed: true })
        }
        TxStatus::Mined { confirmations, results } if *confirmations >= policy.confirmations => {
            let fates = winners.iter().enumerate().map(|(at, winner)| (winner.id, fate(results.get(at))));
            Step::Conclude(fates.collect())
        }
        TxStatus::Pending | TxStatus::Dropped { .. } | TxStatus::Reverted { .. } | TxStatus::Mined { .. } => {
            Step::Wait
        }
    }
}

/// Whether a transaction that waits is to be offered at a higher fee.
pub(super) fn is_slow(offered_ms: u64, now_ms: u64, policy: &RedeemPolicy) -> bool {
    offered_ms.saturating_add(policy.bump_after_ms) <= now_ms
}

fn fate(result: Option<&TicketResult>) -> Fate {
    match result {
        Some(TicketResult::Paid) => Fate::Paid,
        Some(TicketResult::Unfunded) => Fate::Retry { failed: false },
        Some(TicketResult::Expired) => Fate::Dead(DeadReason::Expired),
        Some(TicketResult::NoncePassed) => Fate::Dead(DeadReason::NoncePassed),
        Some(TicketResult::Invalid) => Fate::Dead(DeadReason::Poisoned),
        None => Fate::Retry { failed: true },
    }
}

/// Winners that no transaction should carry any more.
pub(super) fn dead(pending: &[Winner], facts: &Facts, policy: &RedeemPolicy) -> Vec<(i64, DeadReason)> {
    let verdict = |winner: &Winner| death(winner, facts, policy).map(|reason| (winner.id, reason));
    pending.iter().filter_map(verdict).collect()
}

fn death(winner: &Winner, facts: &Facts, policy: &RedeemPolicy) -> Option<DeadReason> {
    if facts.lanes.get(&winner.lane).is_some_and(|paid| *paid >= winner.nonce) {
        return Some(DeadReason::NoncePassed);
    }
    if facts.chain.round > winner.last_round(facts.chain.validity_rounds) {
        return Some(DeadReason::Expired);
    }
    (winner.attempts >= policy.max_attempts).then_some(DeadReason::Poisoned)
}

/// The lanes to redeem now: all of them when there is enough to share a transaction or one has
/// waited long enough, and the gas price is right; else those that cannot wait, not even for the grace.
pub(super) fn due(
    pending: &[Winner],
    facts: &Facts,
    policy: &RedeemPolicy,
    now_ms: u64,
    urgency: Urgency,
) -> Vec<Retirement> {
    let payable = payable(pending, facts, policy);
    let count: usize = payable.values().map(Vec::len).sum();
    let waited = payable
        .values()
        .flatten()
        .any(|winner| winner.accepted_ms.saturating_add(policy.max_wait_ms) <= now_ms);
    let cheap = facts.chain.gas_price <= policy.max_gas_price;
    let all = cheap && (count >= policy.min_batch || waited);
    let owed = owed(pending);
    let mut due = Vec::new();
    for (lane, winners) in payable {
        let urgent = urgency == Urgency::Everything
            || winners.iter().any(|winner| is_urgent(winner, facts, policy, &owed));
        if urgent || all {
            due.push(Retirement { lane, grace_ms: if urgent { 0 } else { policy.grace_ms } });
        }
    }
    due
}

/// Face value of the pending winners per sender.
fn owed(pending: &[Winner]) -> HashMap<Address, Wei> {
    let mut owed = HashMap::new();
    for winner in pending {
        let sum: &mut Wei = owed.entry(winner.lane.sender).or_default();
        *sum = sum.saturating_add(winner.ticket.signed.ticket.face_value);
    }
    owed
}

/// Its validity ends soon, its sender can soon withdraw, or its sender's funds are half spoken for.
fn is_urgent(winner: &Winner, facts: &Facts, policy: &RedeemPolicy, owed: &HashMap<Address, Wei>) -> bool {
    let soon = facts.chain.round.saturating_add(policy.urgent_rounds);
    let sender = &winner.lane.sender;
    let funds = facts.funds.get(sender).copied().unwrap_or_default();
    let owed = owed.get(sender).copied().unwrap_or_default();
    soon >= winner.last_round(facts.chain.validity_rounds)
        || funds.withdraw_round.is_some_and(|round| round <= soon.saturating_add(1))
        || owed.saturating_mul(2) > funds.total()
}

/// Groups the complete winners of the lanes to redeem into transactions: in nonce order within a
/// lane, a lane in one transaction only, a winner that failed before in one of its own.
pub(super) fn batches(complete: &[Winner], facts: &Facts, policy: &RedeemPolicy) -> Vec<Vec<Winner>> {
    let room = policy.max_batch.max(1);
    let mut full = Vec::new();
    let mut batch: Vec<Winner> = Vec::new();
    for winners in payable(complete, facts, policy).into_values() {
        if winners[0].attempts > 0 {
            full.push(vec![winners[0]]);
            continue;
        }
        if batch.len() == room {
            full.push(std::mem::take(&mut batch));
        }
        let fresh = winners.into_iter().take_while(|winner| winner.attempts == 0);
        batch.extend(rising(fresh).take(room - batch.len()));
    }
    if !batch.is_empty() {
        full.push(batch);
    }
    full
}

/// The run of face values that do not fall: should funds shrink before the transaction is mined, nothing above an unpaid
/// winner is paid, which would burn it.
fn rising(winners: impl Iterator<Item = Winner>) -> impl Iterator<Item = Winner> {
    let mut least = Wei::ZERO;
    winners.take_while(move |winner| {
        let value = winner.ticket.signed.ticket.face_value;
        let rises = value >= least;
        least = value;
        rises
    })
}

/// A batch without the winners that the chain would leave unpaid for now, and without those above them in their lanes.
/// What the chain would never pay goes out all the same: only a final block may condemn a winner.
pub(super) fn without_unpayable(batch: Vec<Winner>, results: &[TicketResult]) -> Vec<Winner> {
    let mut waiting = HashSet::new();
    let mut payable = Vec::with_capacity(batch.len());
    for (at, winner) in batch.into_iter().enumerate() {
        if results.get(at) == Some(&TicketResult::Unfunded) {
            waiting.insert(winner.lane);
        }
        if !waiting.contains(&winner.lane) {
            payable.push(winner);
        }
    }
    payable
}

/// Per lane, the run of winners from the lowest nonce on that the sender's funds cover. What lies
/// above an uncovered winner waits with it: paying it would burn the one below.
fn payable(pending: &[Winner], facts: &Facts, policy: &RedeemPolicy) -> BTreeMap<LaneId, Vec<Winner>> {
    let mut left: HashMap<Address, Wei> =
        facts.funds.iter().map(|(sender, funds)| (*sender, funds.total())).collect();
    let mut stuck = Vec::new();
    let mut lanes: BTreeMap<LaneId, Vec<Winner>> = BTreeMap::new();
    let mut sorted: Vec<_> = pending.iter().filter(|winner| death(winner, facts, policy).is_none()).collect();
    sorted.sort_by_key(|winner| (winner.lane, winner.nonce));
    for winner in sorted {
        let left = left.entry(winner.lane.sender).or_default();
        match left.checked_sub(winner.ticket.signed.ticket.face_value) {
            Some(rest) if !stuck.contains(&winner.lane) => {
                *left = rest;
                lanes.entry(winner.lane).or_default().push(*winner);
            }
            _ => stuck.push(winner.lane),
        }
    }
    lanes
}

#[cfg(test)]
mod tests {
    use alloy_primitives::U256;

    use super::*;
    use crate::key::Signature;
    use crate::ledger::WinnerState;
    use crate::port::WinningTicket;
    use crate::ticket::{Scheme, SignedTicket, Ticket};
    use crate::units::Round;

    const FACE: u64 = 100;

    fn lane(number: u64) -> LaneId {
        LaneId { sender: Address::repeat_byte(1), recipient: Address::repeat_byte(2), lane: number }
    }

    fn winner(lane_number: u64, nonce: u64) -> Winner {
        let ticket = Ticket {
            face_value: Wei::from(FACE),
            creation_round: Round(10),
            sender_nonce: nonce,
            ..Ticket::default()
        };
        let signed = SignedTicket { ticket, signature: Signature([0; 65]) };
        Winner {
            id: i64::try_from(lane_number * 1000 + nonce).unwrap(),
            lane: lane(lane_number),
            nonce,
            serial: 0,
            ticket: WinningTicket { signed, recipient_rand: U256::ZERO },
            scheme: Scheme::Native,
            state: WinnerState::Pending,
            attempts: 0,
            accepted_ms: 1_000,
            settled_ms: None,
        }
    }

    fn facts() -> Facts {
        let funds = SenderFunds { deposit: Wei::from(1_000_000), ..SenderFunds::default() };
        Facts {
            chain: ChainView { round: Round(10), validity_rounds: 5, ..ChainView::default() },
            lanes: HashMap::new(),
            funds: HashMap::from([(lane(0).sender, funds)]),
        }
    }

    fn policy() -> RedeemPolicy {
        RedeemPolicy { min_batch: 3, max_batch: 4, ..RedeemPolicy::default() }
    }

    fn ids(batches: &[Vec<Winner>]) -> Vec<Vec<i64>> {
        batches.iter().map(|batch| batch.iter().map(|winner| winner.id).collect()).collect()
    }

    fn at_once(lanes: &[u64]) -> Vec<Retirement> {
        lanes.iter().map(|number| Retirement { lane: lane(*number), grace_ms: 0 }).collect()
    }

    fn with_grace(lanes: &[u64]) -> Vec<Retirement> {
        let grace_ms = policy().grace_ms;
        lanes.iter().map(|number| Retirement { lane: lane(*number), grace_ms }).collect()
    }

    #[test]
    fn few_young_winners_wait_for_company() {
        let pending = [winner(0, 1), winner(0, 2)];
        assert_eq!(due(&pending, &facts(), &policy(), 2_000, Urgency::ByPolicy), []);
        assert_eq!(due(&pending, &facts(), &policy(), 61_000, Urgency::ByPolicy), with_grace(&[0]));
        assert_eq!(due(&pending, &facts(), &policy(), 2_000, Urgency::Everything), at_once(&[0]));
    }

    #[test]
    fn enough_winners_go_at_once() {
        let pending = [winner(0, 1), winner(1, 2), winner(1, 3)];
        assert_eq!(due(&pending, &facts(), &policy(), 2_000, Urgency::ByPolicy), with_grace(&[0, 1]));
    }

    #[test]
    fn high_gas_price_holds_back_all_but_urgent_winners() {
        let mut facts = facts();
        facts.chain.gas_price = policy().max_gas_price.saturating_add(Wei::from(1));
        let mut old = winner(1, 1);
        old.ticket.signed.ticket.creation_round = Round(6);
        let pending = [winner(0, 1), winner(0, 2), winner(0, 3), old];
        assert_eq!(due(&pending, &facts, &policy(), 99_000, Urgency::ByPolicy), at_once(&[1]));
    }

    #[test]
    fn winners_of_a_nearly_spent_or_unlocked_deposit_are_urgent() {
        let mut poor = facts();
        poor.funds.insert(
            lane(0).sender,
            SenderFunds { deposit: Wei::from(FACE * 2 - 1), ..SenderFunds::default() },
        );
        assert_eq!(due(&[winner(0, 1)], &poor, &policy(), 2_000, Urgency::ByPolicy), at_once(&[0]));
        let mut leaving = facts();
        leaving.funds.insert(
            lane(0).sender,
            SenderFunds {
                deposit: Wei::from(1_000_000),
                withdraw_round: Some(Round(12)),
                ..SenderFunds::default()
            },
        );
        assert_eq!(due(&[winner(0, 1)], &leaving, &policy(), 2_000, Urgency::ByPolicy), at_once(&[0]));
    }

    #[test]
    fn batches_keep_nonce_order_and_one_transaction_per_lane() {
        let complete = [winner(0, 3), winner(0, 1), winner(0, 2), winner(1, 1), winner(1, 2), winner(2, 7)];
        assert_eq!(ids(&batches(&complete, &facts(), &policy())), [vec![1, 2, 3, 1001], vec![2007]]);
    }

    #[test]
    fn failed_winner_goes_alone_and_does_not_block_other_lanes() {
        let mut failed = winner(0, 1);
        failed.attempts = 1;
        let complete = [failed, winner(0, 2), winner(1, 1)];
        assert_eq!(ids(&batches(&complete, &facts(), &policy())), [vec![1], vec![1001]]);
    }

    #[test]
    fn poisoned_winner_is_given_up_and_the_next_goes() {
        let mut failed = winner(0, 1);
        failed.attempts = policy().max_attempts;
        let complete = [failed, winner(0, 2)];
        assert_eq!(dead(&complete, &facts(), &policy()), [(1, DeadReason::Poisoned)]);
        assert_eq!(ids(&batches(&complete, &facts(), &policy())), [vec![2]]);
    }

    #[test]
    fn expired_and_passed_winners_are_given_up() {
        let mut old = winner(0, 9);
        old.ticket.signed.ticket.creation_round = Round(4);
        let mut facts = facts();
        facts.lanes.insert(lane(1), 3);
        let pending = [old, winner(1, 3), winner(1, 4)];
        assert_eq!(
            dead(&pending, &facts, &policy()),
            [(9, DeadReason::Expired), (1003, DeadReason::NoncePassed)]
        );
    }

    #[test]
    fn winners_above_an_unfunded_one_wait_with_it() {
        let mut facts = facts();
        let funds = SenderFunds { deposit: Wei::from(FACE * 2), ..SenderFunds::default() };
        facts.funds.insert(lane(0).sender, funds);
        let mut large = winner(0, 2);
        large.ticket.signed.ticket.face_value = Wei::from(FACE * 2);
        let complete = [winner(0, 1), large, winner(0, 3)];
        assert_eq!(ids(&batches(&complete, &facts, &policy())), [vec![1]]);
    }

    #[test]
    fn nothing_counts_before_it_is_final() {
        let winners = [winner(0, 1)];
        let paid = |confirmations| TxStatus::Mined { confirmations, results: vec![TicketResult::Paid] };
        assert_eq!(follow(&winners, &paid(2), &policy()), Step::Wait);
        assert_eq!(follow(&winners, &paid(3), &policy()), Step::Conclude(vec![(1, Fate::Paid)]));
        let reverted = |confirmations| TxStatus::Reverted { confirmations };
        assert_eq!(follow(&winners, &reverted(1), &policy()), Step::Wait);
        let retry = Step::Conclude(vec![(1, Fate::Retry { failed: true })]);
        assert_eq!(follow(&winners, &reverted(3), &policy()), retry);
    }

    #[test]
    fn unknown_transaction_is_sent_again_and_dropped_one_frees_its_winners() {
        let winners = [winner(0, 1)];
        assert_eq!(follow(&winners, &TxStatus::Unknown, &policy()), Step::SendAgain);
        let free = Step::Conclude(vec![(1, Fate::Retry { failed: false })]);
        let dropped = |confirmations| TxStatus::Dropped { confirmations };
        assert_eq!(follow(&winners, &dropped(2), &policy()), Step::Wait, "a reorganization may give it back");
        assert_eq!(follow(&winners, &dropped(3), &policy()), free);
    }

    #[test]
    fn larger_winner_is_final_before_a_smaller_one_above_it_goes() {
        let mut large = winner(0, 2);
        large.ticket.signed.ticket.face_value = Wei::from(FACE * 2);
        let complete = [winner(0, 1), large, winner(0, 3), winner(1, 1)];
        assert_eq!(ids(&batches(&complete, &facts(), &policy())), [vec![1, 2, 1001]]);
    }

    #[test]
    fn what_would_not_be_paid_now_waits_with_all_above_it() {
        let batch = vec![winner(0, 1), winner(0, 2), winner(0, 3), winner(1, 1), winner(1, 2)];
        let results = [
            TicketResult::Paid,
            TicketResult::Unfunded,
            TicketResult::Paid,
            TicketResult::Invalid,
            TicketResult::Paid,
        ];
        let left = without_unpayable(batch, &results);
        assert_eq!(ids(&[left]), [vec![1, 1001, 1002]]);
    }

    #[test]
    fn every_ticket_of_a_mined_batch_has_its_own_fate() {
        let winners = [1, 2, 3, 5, 6, 4].map(|nonce| winner(0, nonce));
        let results = vec![
            TicketResult::Paid,
            TicketResult::Invalid,
            TicketResult::Unfunded,
            TicketResult::Expired,
            TicketResult::NoncePassed,
        ];
        let status = TxStatus::Mined { confirmations: 3, results };
        let fates = vec![
            (1, Fate::Paid),
            (2, Fate::Dead(DeadReason::Poisoned)),
            (3, Fate::Retry { failed: false }),
            (5, Fate::Dead(DeadReason::Expired)),
            (6, Fate::Dead(DeadReason::NoncePassed)),
            (4, Fate::Retry { failed: true }),
        ];
        assert_eq!(follow(&winners, &status, &policy()), Step::Conclude(fates));
    }
}
