use framemill_contracts::{Fault, OwnPart, Seat, Verdict};
use proptest::prelude::*;

use super::*;

const ME: Address = Address::repeat_byte(1);
const DISPUTE: u64 = 7;
const JURY: u64 = 9;
/// Long after anything ends.
const ROUND: Round = Round { start: 100, end: 1_000, draw_blocks: 12 };

fn policy() -> JuryPolicy {
    JuryPolicy { turn_blocks: 0, ..JuryPolicy::default() }
}

fn dispute(status: DisputeStatus) -> Dispute {
    Dispute {
        id: DISPUTE,
        challenger: Address::repeat_byte(2),
        accused: Address::repeat_byte(3),
        appellant: None,
        fault: Fault::FalseFeatures,
        status,
        verdict: None,
        first_verdict: None,
        bond: U256::from(100),
        appeal_bond: U256::ZERO,
        appeal_until: 0,
        jury: JURY,
        first_jury: 0,
        appeal_jury: 0,
        receipts: vec![B256::repeat_byte(4)],
        evidence: vec![B256::repeat_byte(5)],
    }
}

/// Seed in block 110, claims to 120, commitments to 160, votes to 180.
fn jury() -> Jury {
    Jury {
        id: JURY,
        dispute: DISPUTE,
        seed_block: 110,
        claim_until: 120,
        commit_until: 160,
        reveal_until: 180,
        size: 3,
        seats: 3,
        votes: [0; 3],
        pot: U256::ZERO,
    }
}

fn seat() -> Seat {
    Seat { seats: 1, commitment: None, vote: None, settled: false }
}

fn vote() -> Vote {
    Vote {
        jury: JURY,
        case: case_of(&dispute(DisputeStatus::Judging)),
        verdict: Verdict::Guilty,
        salt: B256::repeat_byte(6),
        reason: String::new(),
    }
}

fn commitment() -> B256 {
    vote_hash(JURY, ME, vote().verdict, vote().salt)
}

fn trial(height: u64, seat: Option<Seat>) -> Trial {
    let dispute = dispute(DisputeStatus::Judging);
    Trial {
        height,
        dispute,
        appeal_end: 0,
        jury: jury(),
        is_void: false,
        seat,
        claimable: 0,
        parts: Vec::new(),
    }
}

fn step(trial: &Trial, vote: Option<&Vote>) -> Step {
    next(&Sight { trial, me: ME, vote, round: ROUND, policy: &policy() })
}

fn act(duty: CourtDuty, urgent: bool) -> Step {
    Step::Act { duty, urgent }
}

#[test]
fn seats_are_claimed_between_the_seed_block_and_the_end_of_claims() {
    let at = |height, claimable| step(&Trial { claimable, ..trial(height, None) }, None);
    let claim = CourtDuty::Claim { dispute: DISPUTE };
    assert_eq!(at(110, 0), Step::Wait(Some(111)));
    assert_eq!(at(111, 2), act(claim, false));
    assert_eq!(at(119, 2), act(claim, true), "the end is near");
    assert!(matches!(at(120, 2), Step::Wait(_)), "mined in the next block, it would be too late");
    assert!(matches!(at(111, 0), Step::Wait(_)), "the draw gave it nothing");
}

#[test]
fn a_seat_is_followed_by_judging_and_that_by_a_commitment() {
    let last_call = 160 - 1 - 4;
    assert_eq!(step(&trial(112, Some(seat())), None), Step::Judge { last_call });
    assert_eq!(step(&trial(last_call, Some(seat())), None), Step::GiveUp);
    let commit = CourtDuty::Commit { dispute: DISPUTE, commitment: commitment() };
    assert_eq!(step(&trial(130, Some(seat())), Some(&vote())), act(commit, false));
    assert_eq!(step(&trial(150, Some(seat())), Some(&vote())), act(commit, true));
    assert!(matches!(step(&trial(160, Some(seat())), Some(&vote())), Step::Wait(_)));
}

#[test]
fn a_vote_is_revealed_in_its_window_and_only_the_one_that_was_committed_to() {
    let committed = Seat { commitment: Some(commitment()), ..seat() };
    let reveal = CourtDuty::Reveal { dispute: DISPUTE, verdict: Verdict::Guilty, salt: vote().salt };
    assert_eq!(step(&trial(140, Some(committed)), Some(&vote())), Step::Wait(Some(160)));
    assert_eq!(step(&trial(160, Some(committed)), Some(&vote())), act(reveal, false));
    assert_eq!(step(&trial(176, Some(committed)), Some(&vote())), act(reveal, true));
    let of_another_process = Vote { salt: B256::ZERO, ..vote() };
    let other = |height| step(&trial(height, Some(committed)), Some(&of_another_process));
    assert_eq!(other(160), Step::Lost(180), "its reveal would be refused");
    assert_eq!(other(180), act(CourtDuty::Advance { dispute: DISPUTE }, false), "others go on");
    assert_eq!(step(&trial(130, Some(committed)), None), Step::Lost(180), "the file of votes is gone");
}

#[test]
fn what_is_due_first_is_told_by_the_window_that_its_seat_is_in() {
    let at = |seat, claimable| own_deadline(&Trial { claimable, ..trial(115, seat) });
    let committed = Seat { commitment: Some(commitment()), ..seat() };
    assert_eq!((at(None, 0), at(None, 2)), (None, Some(120)));
    assert_eq!((at(Some(seat()), 0), at(Some(committed), 0)), (Some(160), Some(180)));
    assert_eq!(at(Some(Seat { vote: Some(Verdict::Guilty), ..committed }), 0), None);
}

#[test]
fn a_jury_is_moved_on_when_too_few_claimed_when_all_voted_or_when_time_is_up() {
    let at = |height, seats, votes| {
        let jury = Jury { seats, votes, ..jury() };
        step(&Trial { jury, ..trial(height, None) }, None)
    };
    let advance = act(CourtDuty::Advance { dispute: DISPUTE }, false);
    assert_eq!(at(120, 1, [0; 3]), advance);
    assert_eq!(at(119, 1, [0; 3]), Step::Wait(Some(120)));
    assert_eq!(at(160, 3, [2, 1, 0]), advance);
    assert_eq!(at(160, 3, [2, 0, 0]), Step::Wait(Some(180)));
    assert_eq!(at(180, 3, [2, 0, 0]), advance);
}

#[test]
fn a_jury_without_a_seed_block_gets_one_where_claims_end_within_the_round() {
    let waiting = Jury { seed_block: 0, claim_until: 0, commit_until: 0, reveal_until: 0, ..jury() };
    let at = |height| step(&Trial { jury: waiting.clone(), ..trial(height, None) }, None);
    assert_eq!(at(986), act(CourtDuty::Advance { dispute: DISPUTE }, true));
    assert_eq!(at(987), Step::Wait(None), "the next round wakes it");
}

#[test]
fn a_final_verdict_is_carried_out_and_the_own_part_in_it_is_settled() {
    let decided = Dispute {
        status: DisputeStatus::Decided,
        verdict: Some(Verdict::Guilty),
        appeal_until: 200,
        ..dispute(DisputeStatus::Decided)
    };
    let at = |height| Trial { dispute: decided.clone(), appeal_end: 200, ..trial(height, None) };
    assert_eq!(step(&at(199), None), Step::Wait(Some(200)));
    assert_eq!(step(&at(200), None), act(CourtDuty::Execute { dispute: DISPUTE }, false));

    let closed = Dispute { status: DisputeStatus::Closed, ..decided };
    let with = |vote, settled, pot| {
        let jury = Jury { pot: U256::from(pot), ..jury() };
        let part = OwnPart { jury, seat: Seat { vote: Some(vote), settled, ..seat() } };
        step(&Trial { dispute: closed.clone(), parts: vec![part], ..trial(300, None) }, None)
    };
    assert_eq!(with(Verdict::Guilty, false, 9), act(CourtDuty::Settle { jury: JURY }, false));
    assert_eq!(with(Verdict::Guilty, true, 9), Step::Forget);
    assert_eq!(with(Verdict::Guilty, false, 0), Step::Forget);
    assert_eq!(with(Verdict::NotGuilty, false, 9), Step::Forget, "it would only be fined");
}

#[test]
fn a_verdict_whose_time_for_an_appeal_a_pause_started_again_is_carried_out_after_that() {
    let decided = Dispute { appeal_until: 200, ..dispute(DisputeStatus::Decided) };
    let at = |height, appeal_end| Trial { dispute: decided.clone(), appeal_end, ..trial(height, None) };
    assert_eq!(step(&at(250, 300), None), Step::Wait(Some(300)));
    assert_eq!(step(&at(300, 300), None), act(CourtDuty::Execute { dispute: DISPUTE }, false));
    let slow = JuryPolicy { turn_blocks: 3, ..policy() };
    let paused = at(250, u64::MAX);
    let sight = Sight { trial: &paused, me: ME, vote: None, round: ROUND, policy: &slow };
    assert_eq!(next(&sight), Step::Wait(Some(250 + PAUSED_BLOCKS)));
}

#[test]
fn of_a_void_jury_nothing_is_asked_and_accounts_take_turns_at_having_another_one_drawn() {
    let committed = Seat { commitment: Some(commitment()), ..seat() };
    let void = |height, seat| Trial { is_void: true, claimable: 2, ..trial(height, seat) };
    for (height, seat) in [(115, None), (150, Some(seat())), (176, Some(committed)), (400, Some(committed))] {
        assert!(!is_at_risk(&void(height, seat)), "{height}");
        assert!(!missed(&void(height, seat)), "{height}");
    }
    let slow = JuryPolicy { turn_blocks: 3, ..policy() };
    let acting = |height, seat| {
        let trial = void(height, seat);
        match next(&Sight { trial: &trial, me: ME, vote: Some(&vote()), round: ROUND, policy: &slow }) {
            Step::Wait(Some(wake)) => {
                assert!((height + 1..=height + 16 * 3).contains(&wake), "{height} {wake}");
                false
            }
            step => {
                assert_eq!(step, act(CourtDuty::Advance { dispute: DISPUTE }, false));
                true
            }
        }
    };
    let turns = |seat| (432..432 + 16 * 3).filter(|height| acting(*height, seat)).collect::<Vec<_>>();
    let (concerned, stranger) = (turns(Some(committed)), turns(None));
    assert_eq!((concerned.len(), stranger.len()), (3, 3), "one turn");
    let late = void(180 + slow.patience_blocks + 16 * 3, Some(committed));
    let at = |height| Trial { height, ..late.clone() };
    let urgent = (late.height..late.height + 16 * 3).any(|height| {
        let sight = Sight { trial: &at(height), me: ME, vote: None, round: ROUND, policy: &slow };
        next(&sight) == act(CourtDuty::Advance { dispute: DISPUTE }, true)
    });
    assert!(urgent, "at any price of gas in the end");
    assert!(concerned[0] < 432 + 8 * 3 && stranger[0] >= 432 + 8 * 3);
}

#[test]
fn those_that_have_a_seat_move_a_dispute_on_before_others_do() {
    let slow = JuryPolicy { turn_blocks: 3, ..policy() };
    let wake = |me, seat| {
        let trial = trial(130, seat);
        match next(&Sight { trial: &trial, me, vote: None, round: ROUND, policy: &slow }) {
            Step::Wait(Some(wake)) => wake,
            other => panic!("{other:?}"),
        }
    };
    let voted = Some(Seat { vote: Some(Verdict::Guilty), commitment: Some(B256::ZERO), ..seat() });
    for number in 1..50 {
        let me = Address::repeat_byte(number + 100);
        assert!((180..180 + 8 * 3).contains(&wake(me, voted)));
        assert!((180 + 8 * 3..180 + 16 * 3).contains(&wake(me, None)));
    }
}

#[test]
fn the_alert_is_raised_while_little_time_is_left_for_a_seat_without_a_vote() {
    assert!(!is_at_risk(&trial(149, Some(seat()))));
    assert!(is_at_risk(&trial(150, Some(seat()))));
    let committed = Some(Seat { commitment: Some(B256::ZERO), ..seat() });
    assert!(!is_at_risk(&trial(150, committed)));
    assert!(is_at_risk(&trial(176, committed)));
    assert!(!is_at_risk(&trial(176, None)));
    assert!(!missed(&trial(159, Some(seat()))) && missed(&trial(160, Some(seat()))));
    assert!(!missed(&trial(179, committed)) && missed(&trial(180, committed)));
}

#[test]
fn two_cases_under_one_number_are_told_apart() {
    let one = dispute(DisputeStatus::Judging);
    let case = case_of(&one);
    assert_eq!(case_of(&Dispute { status: DisputeStatus::Closed, ..one.clone() }), case);
    for other in [
        Dispute { accused: ME, ..one.clone() },
        Dispute { fault: Fault::FalseQuality, ..one.clone() },
        Dispute { receipts: vec![B256::ZERO], ..one.clone() },
        Dispute { evidence: vec![B256::ZERO], ..one.clone() },
    ] {
        assert_ne!(case_of(&other), case);
    }
}

/// One jury of the court, as the contract keeps it, and one juror's memory.
struct Model {
    trial: Trial,
    vote: Option<Vote>,
    draw: u16,
    /// Blocks that judging takes from its start.
    patience: u64,
    judging_since: Option<u64>,
    sent: Vec<B256>,
}

impl Model {
    /// What the next block does with a transaction; a refused one fails the test.
    fn mine(&mut self, duty: Option<CourtDuty>) {
        self.trial.height += 1;
        let (jury, block) = (&mut self.trial.jury, self.trial.height);
        match duty {
            Some(CourtDuty::Claim { .. }) => {
                assert!(block > jury.seed_block && block <= jury.claim_until && self.trial.seat.is_none());
                self.trial.seat = Some(Seat { seats: self.draw, ..seat() });
                jury.seats += self.draw;
            }
            Some(CourtDuty::Commit { commitment, .. }) => {
                let seat = self.trial.seat.as_mut().expect("a seat");
                assert!(block <= jury.commit_until && seat.commitment.is_none());
                seat.commitment = Some(commitment);
                self.sent.push(commitment);
            }
            Some(CourtDuty::Reveal { verdict, salt, .. }) => {
                let seat = self.trial.seat.as_mut().expect("a seat");
                assert!(block > jury.commit_until && block <= jury.reveal_until && seat.vote.is_none());
                assert_eq!(seat.commitment, Some(vote_hash(JURY, ME, verdict, salt)));
                seat.vote = Some(verdict);
                jury.votes[verdict as usize - 1] += seat.seats;
            }
            Some(CourtDuty::Advance { .. }) => {
                let votes: u16 = jury.votes.iter().sum();
                let short = block > jury.claim_until && 2 * jury.seats <= jury.size;
                let all = block > jury.commit_until && votes == jury.seats;
                assert!(short || all || block > jury.reveal_until, "advanced too early in block {block}");
                self.trial.dispute.status = DisputeStatus::Decided;
            }
            Some(other) => panic!("{other:?}"),
            None => {}
        }
        let window = block > jury.seed_block && block <= jury.claim_until;
        self.trial.claimable = if window { self.draw.into() } else { 0 };
    }

    /// Looks, and does what comes out.
    fn turn(&mut self) {
        let height = self.trial.height;
        let duty = match step(&self.trial, self.vote.as_ref()) {
            Step::Act { duty, .. } => Some(duty),
            Step::Judge { last_call } => {
                let since = *self.judging_since.get_or_insert(height);
                assert!(height < last_call);
                if height >= since + self.patience {
                    self.vote = Some(vote());
                }
                None
            }
            Step::GiveUp => {
                self.vote = Some(Vote { verdict: Verdict::Unavailable, ..vote() });
                None
            }
            Step::Wait(Some(wake)) => {
                assert!(wake > height, "it would never sleep");
                None
            }
            Step::Wait(None) | Step::Forget => None,
            Step::Lost(_) => panic!("its own vote is lost"),
        };
        self.mine(duty);
    }
}

proptest! {
    #[test]
    fn whatever_happens_a_juror_votes_once_in_time_and_sends_nothing_that_is_refused(
        (claim, commit, reveal) in (3..40_u64, 5..60_u64, 3..40_u64),
        (draw, others) in (1..5_u16, 0..5_u16),
        patience in 0..100_u64,
        restarts in prop::collection::btree_set(0..150_u64, 0..6),
        rollback in 0..60_u64,
    ) {
        let seed_block = 110;
        let claim_until = seed_block + claim;
        let commit_until = claim_until + commit;
        let jury = Jury {
            seed_block, claim_until, commit_until, reveal_until: commit_until + reveal, seats: others, size: 3, ..jury()
        };
        let reveal_until = jury.reveal_until;
        let trial = Trial { jury, ..trial(105, None) };
        let mut model = Model { trial, vote: None, draw, patience, judging_since: None, sent: vec![] };
        while model.trial.height <= reveal_until + 1 && model.trial.dispute.is_judged() {
            if restarts.contains(&(model.trial.height - 105)) {
                model.judging_since = None;
            }
            // A reorganisation takes the commitment back once.
            let roll_back = model.trial.height == claim_until + rollback && model.trial.height + 2 < commit_until;
            if let Some(seat) = model.trial.seat.as_mut().filter(|_| roll_back) {
                seat.commitment = None;
            }
            model.turn();
        }
        let short = 2 * (draw + others) <= 3;
        let seat = model.trial.seat.expect("it claimed");
        prop_assert!(short || seat.vote.is_some(), "{:?}", model.trial);
        prop_assert!(model.sent.windows(2).all(|pair| pair[0] == pair[1]), "another salt was used");
        prop_assert!(!model.trial.dispute.is_judged(), "nobody moved it on");
    }
}
