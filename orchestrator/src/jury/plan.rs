//! What a juror does next in a dispute, without I/O: from the chain's state and its own vote.

use alloy_primitives::{Address, B256, U256, keccak256};
use framemill_contracts::{CourtDuty, Dispute, DisputeStatus, Jury, Trial, vote_hash};

use super::JuryPolicy;
use super::book::Vote;

/// Accounts that take turns at moving a dispute on: one of so many is there.
const TURNS: u64 = 8;
/// The last part of a window, in which dear gas is paid and somebody should know.
const URGENT_DIVISOR: u64 = 4;
/// Part of the commit window that is kept for the commitment of a juror that could not judge.
const LAST_CALL_DIVISOR: u64 = 10;
/// As many blocks of it suffice.
const MOST_LAST_CALL_BLOCKS: u64 = 25;

/// While the contracts pause nobody knows until when a verdict can be appealed, and their going on changes no dispute: so
/// many blocks lie between two looks.
const PAUSED_BLOCKS: u64 = 10;

/// What to do about a dispute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing before this block, or before the dispute changes.
    Wait(Option<u64>),
    /// Send this; an urgent one at any price of gas that the client may pay.
    Act {
        /// What.
        duty: CourtDuty,
        /// Whether little time is left.
        urgent: bool,
    },
    /// Fetch the evidence and judge it, up to this block.
    Judge {
        /// From this block on, the vote is that the evidence could not be had.
        last_call: u64,
    },
    /// There is no more time to judge: vote that the evidence could not be had.
    GiveUp,
    /// There is a commitment that no vote on disk fits, so it cannot be shown; nothing before this block.
    Lost(u64),
    /// It is over, for this account too.
    Forget,
}

/// What is known when the next step is chosen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight<'a> {
    pub(super) trial: &'a Trial,
    pub(super) me: Address,
    /// This account's vote in the present jury, if it is on disk.
    pub(super) vote: Option<&'a Vote>,
    pub(super) round: Round,
    pub(super) policy: &'a JuryPolicy,
}

/// What a draw hangs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Round {
    /// Its first block.
    pub(super) start: u64,
    /// First block of the next one.
    pub(super) end: u64,
    /// Blocks from the naming of a seed block to the end of claims.
    pub(super) draw_blocks: u64,
}

/// What two disputes of one number, on two branches of the chain, must not share: who is accused of what, by what.
pub(super) fn case_of(dispute: &Dispute) -> B256 {
    let mut bytes = dispute.accused.to_vec();
    bytes.push(dispute.fault as u8);
    dispute
        .receipts
        .iter()
        .chain(&dispute.evidence)
        .for_each(|hash| bytes.extend_from_slice(hash.as_slice()));
    keccak256(bytes)
}

/// The next step.
pub(super) fn next(sight: &Sight<'_>) -> Step {
    let dispute = &sight.trial.dispute;
    match dispute.status {
        DisputeStatus::Closed => sight.settle(),
        DisputeStatus::Decided => {
            // A verdict on appeal is final at once: turns count from when it could be reached.
            let due = sight.trial.appeal_end.max(sight.trial.jury.advance_due());
            match sight.take_turn(due, CourtDuty::Execute { dispute: dispute.id }, 1) {
                Step::Wait(Some(u64::MAX)) => Step::Wait(Some(sight.trial.height + PAUSED_BLOCKS)),
                step => step,
            }
        }
        DisputeStatus::Judging | DisputeStatus::Appealed => sight.judged(),
    }
}

/// Whether a seat of this account is about to cost it a fine: it has not committed, or not voted, with little time left.
pub(super) fn is_at_risk(trial: &Trial) -> bool {
    let (jury, height) = (&trial.jury, trial.height);
    let owes_vote = trial.dispute.is_judged() && !trial.is_void;
    let Some(seat) = trial.seat.filter(|_| owes_vote) else { return false };
    let little_left = |from: u64, until: u64| height < until && urgent(height, from, until);
    match (seat.commitment, seat.vote) {
        (None, _) => little_left(jury.claim_until, jury.commit_until),
        (Some(_), None) => little_left(jury.commit_until, jury.reveal_until),
        (Some(_), Some(_)) => false,
    }
}

/// Until when this account has something to do that costs it a fine, or its seat, if it is late.
pub(super) fn own_deadline(trial: &Trial) -> Option<u64> {
    let jury = &trial.jury;
    match trial.seat {
        _ if !trial.dispute.is_judged() => None,
        None => (trial.claimable > 0).then_some(jury.claim_until),
        Some(seat) if seat.vote.is_some() => None,
        Some(seat) if seat.commitment.is_some() => Some(jury.reveal_until),
        Some(_) => Some(jury.commit_until),
    }
}

/// Whether a seat of this account ended without a vote. A jury that a pause has made void owes none.
pub(super) fn missed(trial: &Trial) -> bool {
    let jury = &trial.jury;
    let passed = |seat| match seat {
        framemill_contracts::Seat { vote: Some(_), .. } => false,
        framemill_contracts::Seat { commitment: None, .. } => trial.height >= jury.commit_until,
        _ => trial.height >= jury.reveal_until,
    };
    !trial.is_void && trial.seat.is_some_and(passed)
}

impl Sight<'_> {
    fn settle(&self) -> Step {
        let dispute = &self.trial.dispute;
        let owed = self.trial.parts.iter().find(|part| {
            let paid = part.seat.vote.is_some() && part.seat.vote == dispute.verdict;
            paid && !part.seat.settled && !part.jury.pot.is_zero()
        });
        match owed {
            Some(part) => Step::Act { duty: CourtDuty::Settle { jury: part.jury.id }, urgent: false },
            None => Step::Forget,
        }
    }

    fn judged(&self) -> Step {
        let (jury, height) = (&self.trial.jury, self.trial.height);
        if jury.seed_block == 0 {
            return self.schedule();
        }
        if self.trial.is_void {
            return self.replace();
        }
        let own = self.own_part();
        if !matches!(own, Step::Wait(_) | Step::Lost(_)) {
            return own;
        }
        let advance = CourtDuty::Advance { dispute: self.trial.dispute.id };
        match (self.take_turn(jury.advance_due(), advance, 0), own) {
            (Step::Wait(turn), Step::Wait(own_wake)) => {
                Step::Wait(own_wake.into_iter().chain(turn).filter(|at| *at > height).min())
            }
            (Step::Wait(_), lost) => lost,
            (act, _) => act,
        }
    }

    /// A seed block is named where claims can end within the round.
    fn schedule(&self) -> Step {
        let Round { start, end, draw_blocks } = self.round;
        let room = self.trial.height + 1 + draw_blocks < end;
        if !room || self.trial.height < start {
            // The next round wakes us.
            return Step::Wait(None);
        }
        self.take_turn(start, CourtDuty::Advance { dispute: self.trial.dispute.id }, 0)
    }

    /// Another jury is drawn for one that is void, which the court refuses for as long as the contracts pause. No block tells
    /// when they go on: accounts take turns by the number of the block.
    fn replace(&self) -> Step {
        let trial = self.trial;
        let duty = CourtDuty::Advance { dispute: trial.dispute.id };
        let turn = self.policy.turn_blocks.max(1);
        let begun = trial.height / turn * turn;
        let turns = (self.turns(0) + 2 * TURNS - begun / turn % (2 * TURNS)) % (2 * TURNS);
        match turns {
            0 => {
                let late = trial.jury.reveal_until.saturating_add(self.policy.patience_blocks);
                Step::Act { duty, urgent: trial.height >= late }
            }
            turns => Step::Wait(Some(begun + turns * turn)),
        }
    }

    /// What this account has to do for its own seats.
    fn own_part(&self) -> Step {
        let (jury, height) = (&self.trial.jury, self.trial.height);
        let Some(seat) = &self.trial.seat else { return self.claim() };
        if seat.vote.is_some() {
            return Step::Wait(None);
        }
        match seat.commitment {
            None if height < jury.commit_until => self.commit(),
            Some(commitment) if height < jury.reveal_until => self.reveal(commitment),
            _ => Step::Wait(None),
        }
    }

    fn claim(&self) -> Step {
        let (jury, height) = (&self.trial.jury, self.trial.height);
        let dispute = self.trial.dispute.id;
        if height <= jury.seed_block {
            return Step::Wait(Some(jury.seed_block + 1));
        }
        if self.trial.claimable == 0 || height >= jury.claim_until {
            return Step::Wait(None);
        }
        let urgent = urgent(height, jury.seed_block, jury.claim_until);
        Step::Act { duty: CourtDuty::Claim { dispute }, urgent }
    }

    fn commit(&self) -> Step {
        let (jury, height) = (&self.trial.jury, self.trial.height);
        let Some(vote) = self.vote else {
            let last_call = last_call(jury);
            return if height >= last_call { Step::GiveUp } else { Step::Judge { last_call } };
        };
        let commitment = vote_hash(jury.id, self.me, vote.verdict, vote.salt);
        let duty = CourtDuty::Commit { dispute: self.trial.dispute.id, commitment };
        Step::Act { duty, urgent: urgent(height, jury.claim_until, jury.commit_until) }
    }

    fn reveal(&self, commitment: B256) -> Step {
        let (jury, height) = (&self.trial.jury, self.trial.height);
        let ours = |vote: &&Vote| vote_hash(jury.id, self.me, vote.verdict, vote.salt) == commitment;
        let Some(Vote { verdict, salt, .. }) = self.vote.filter(ours) else {
            return Step::Lost(jury.reveal_until);
        };
        if height < jury.commit_until {
            return Step::Wait(Some(jury.commit_until));
        }
        let duty = CourtDuty::Reveal { dispute: self.trial.dispute.id, verdict: *verdict, salt: *salt };
        Step::Act { duty, urgent: urgent(height, jury.commit_until, jury.reveal_until) }
    }

    /// Something that anybody may do from the block after `due` on: accounts take turns.
    fn take_turn(&self, due: u64, duty: CourtDuty, stage: u8) -> Step {
        let height = self.trial.height;
        let ours = due.saturating_add(self.turns(stage).saturating_mul(self.policy.turn_blocks));
        if height < ours {
            return Step::Wait(Some(ours));
        }
        let urgent = height >= ours.saturating_add(self.policy.patience_blocks);
        Step::Act { duty, urgent }
    }

    /// Turns of others before this account's, less than twice [`TURNS`]: those come first that have a stake in it.
    fn turns(&self, stage: u8) -> u64 {
        let trial = self.trial;
        let drawn = keccak256([self.me.as_slice(), &trial.jury.id.to_be_bytes(), &[stage]].concat());
        let rank = (U256::from_be_bytes(drawn.0) % U256::from(TURNS)).to::<u64>();
        let concerned = trial.seat.is_some() || !trial.parts.is_empty() || trial.dispute.is_party(self.me);
        if concerned { rank } else { TURNS + rank }
    }
}

/// Until when a juror tries to judge.
fn last_call(jury: &Jury) -> u64 {
    let window = jury.commit_until.saturating_sub(jury.claim_until);
    let kept = (window / LAST_CALL_DIVISOR).clamp(1, MOST_LAST_CALL_BLOCKS);
    jury.commit_until.saturating_sub(1 + kept)
}

/// Whether a window that begins after `from` and ends with `until` is nearly over.
fn urgent(height: u64, from: u64, until: u64) -> bool {
    let window = until.saturating_sub(from);
    until.saturating_sub(height) <= window / URGENT_DIVISOR
}

#[cfg(test)]
mod tests;
