//! Disputes: who puts up what, who is drawn, who gets what.

use std::collections::BTreeMap;

use alloy::{
    primitives::{Address, B256, U256, keccak256},
    sol_types::SolValue,
};
use framemill_contracts::{CourtParams, Fault, Verdict};

use super::{Model, Outcome, PPM, Refusal, Who};

/// What the caller gets of a juror's fine.
const SETTLER_PPM: u64 = 100_000;

/// Where a dispute stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stand {
    Judged,
    Decided,
    Closed,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Dispute {
    pub(crate) challenger: Who,
    pub(crate) accused: Who,
    pub(crate) fault: Fault,
    pub(crate) bond: U256,
    pub(crate) appeal: Option<(Who, U256)>,
    pub(crate) stand: Stand,
    pub(crate) verdict: Option<Verdict>,
    pub(crate) first_verdict: Option<Verdict>,
    /// Juries by their place in [`Court::juries`]: the present one, and those that came to a verdict.
    pub(crate) jury: usize,
    pub(crate) first_jury: Option<usize>,
    pub(crate) appeal_jury: Option<usize>,
    draws: u16,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Seat {
    pub(crate) seats: u64,
    pub(crate) vote: Option<Verdict>,
    settled: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Jury {
    pub(crate) dispute: usize,
    pub(crate) size: u64,
    pub(crate) seats: BTreeMap<Who, Seat>,
    /// Seed of the draw, and the stake that it is over.
    drawn: Option<(B256, U256)>,
    pot: U256,
    paid: U256,
}

impl Jury {
    fn claimed(&self) -> u64 {
        self.seats.values().map(|seat| seat.seats).sum()
    }

    fn votes_for(&self, verdict: Verdict) -> u64 {
        self.seats.values().filter(|seat| seat.vote == Some(verdict)).map(|seat| seat.seats).sum()
    }

    fn votes(&self) -> u64 {
        self.seats.values().filter(|seat| seat.vote.is_some()).map(|seat| seat.seats).sum()
    }

    fn is_quorate(&self, seats: u64) -> bool {
        2 * seats > self.size
    }

    /// What more than half of the votes of a quorate jury say.
    fn verdict(&self) -> Option<Verdict> {
        let votes = self.votes();
        let all = [Verdict::Guilty, Verdict::NotGuilty, Verdict::Unavailable];
        all.into_iter().find(|verdict| self.is_quorate(votes) && 2 * self.votes_for(*verdict) > votes)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Court {
    pub(crate) rules: CourtParams,
    pub(crate) disputes: Vec<Dispute>,
    pub(crate) juries: Vec<Jury>,
    pub(crate) pending: BTreeMap<Who, U256>,
}

impl Court {
    pub(crate) fn new(rules: CourtParams) -> Self {
        Self { rules, disputes: Vec::new(), juries: Vec::new(), pending: BTreeMap::new() }
    }

    fn credit(&mut self, who: Who, amount: U256) {
        *self.pending.entry(who).or_default() += amount;
    }

    fn new_jury(&mut self, dispute: usize, size: u64) {
        let seated = Jury { dispute, size, ..Jury::default() };
        self.juries.push(seated);
        self.disputes[dispute].jury = self.juries.len() - 1;
        self.disputes[dispute].draws += 1;
    }
}

impl Model {
    /// Punishes an objective fault at once.
    pub(super) fn report(&mut self, finder: Who, accused: Who, fault: Fault) -> Outcome {
        let finder_ppm = self.finder_ppm(accused);
        self.punish(accused, Some(finder), fault, finder_ppm).map(drop)
    }

    pub(super) fn open_dispute(&mut self, challenger: Who, accused: Who, fault: Fault) -> Outcome {
        let bond = U256::from(self.court.rules.bond);
        self.put_up(challenger, bond)?;
        self.court.disputes.push(Dispute {
            challenger,
            accused,
            fault,
            bond,
            appeal: None,
            stand: Stand::Judged,
            verdict: None,
            first_verdict: None,
            jury: 0,
            first_jury: None,
            appeal_jury: None,
            draws: 0,
        });
        let size = u64::from(self.court.rules.jury_size);
        self.court.new_jury(self.court.disputes.len() - 1, size);
        Ok(())
    }

    /// Seats that a draw by this seed gives to an account of the present jury's dispute.
    pub(crate) fn seats(&self, dispute: usize, who: Who, address: Address, seed: B256) -> u64 {
        let found = &self.court.disputes[dispute];
        let jury = &self.court.juries[found.jury];
        let stake = self.counting_stake(who);
        if self.is_party(dispute, who) || stake.is_zero() {
            return 0;
        }
        let (seed, eligible) = jury.drawn.unwrap_or((seed, self.eligible(dispute)));
        if eligible.is_zero() {
            return 0;
        }
        let scaled = U256::from(jury.size) * stake;
        let lot = U256::from_be_bytes(keccak256((seed, address).abi_encode()).0) % eligible;
        let more = U256::from(lot < scaled % eligible);
        (scaled / eligible + more).to::<u64>().min(jury.size)
    }

    pub(super) fn claim_seat(&mut self, dispute: usize, who: Who, address: Address, seed: B256) -> Outcome {
        if self.is_party(dispute, who) {
            return Err("PartyToDispute");
        }
        if self.counting_stake(who).is_zero() {
            return Err("NotEligible");
        }
        let seats = self.seats(dispute, who, address, seed);
        if seats == 0 {
            return Err("NoSeat");
        }
        let eligible = self.eligible(dispute);
        let jury = &mut self.court.juries[self.court.disputes[dispute].jury];
        jury.drawn.get_or_insert((seed, eligible));
        jury.seats.insert(who, Seat { seats, ..Seat::default() });
        Ok(())
    }

    pub(super) fn reveal(&mut self, dispute: usize, who: Who, verdict: Verdict) -> Outcome {
        let jury = &mut self.court.juries[self.court.disputes[dispute].jury];
        jury.seats.get_mut(&who).ok_or("NoSeat")?.vote = Some(verdict);
        Ok(())
    }

    /// Counts the votes of a jury whose time is over.
    pub(super) fn count_votes(&mut self, dispute: usize) -> Outcome {
        let max_draws = self.court.rules.max_draws;
        let found = &mut self.court.disputes[dispute];
        let jury = &self.court.juries[found.jury];
        if let Some(verdict) = jury.verdict().filter(|_| jury.is_quorate(jury.claimed())) {
            (found.verdict, found.stand) = (Some(verdict), Stand::Decided);
            let place = if found.appeal.is_some() { &mut found.appeal_jury } else { &mut found.first_jury };
            *place = Some(found.jury);
        } else if found.draws < max_draws {
            let size = jury.size;
            self.court.new_jury(dispute, size);
        } else if found.appeal.is_some() {
            found.stand = Stand::Decided;
        } else {
            found.stand = Stand::Closed;
            let (challenger, bond) = (found.challenger, found.bond);
            self.court.credit(challenger, bond);
        }
        Ok(())
    }

    pub(super) fn appeal(&mut self, dispute: usize, who: Who) -> Outcome {
        let bond = self.court.disputes[dispute].bond * U256::from(2);
        self.put_up(who, bond)?;
        let found = &mut self.court.disputes[dispute];
        (found.appeal, found.stand, found.draws) = (Some((who, bond)), Stand::Judged, 0);
        found.first_verdict = found.verdict;
        let first = found.first_jury.expect("a jury has decided");
        let size = 2 * self.court.juries[first].size + 1;
        self.court.new_jury(dispute, size);
        Ok(())
    }

    pub(super) fn execute(&mut self, dispute: usize) -> Outcome {
        self.court.disputes[dispute].stand = Stand::Closed;
        self.pay_appeal(dispute);
        let found = self.court.disputes[dispute].clone();
        if found.verdict != Some(Verdict::Guilty) {
            let half = found.bond / U256::from(2);
            self.court.credit(found.accused, half);
            self.fill_pots(&found, found.bond - half);
            return Ok(());
        }
        let finder_ppm = self.finder_ppm(found.accused);
        let jurors_ppm = u64::from(self.court.rules.jurors_ppm);
        let received = self.punish(found.accused, None, found.fault, finder_ppm + jurors_ppm)?;
        let for_juries = received * U256::from(jurors_ppm) / U256::from(finder_ppm + jurors_ppm);
        let for_challenger = received - for_juries + found.bond;
        let fee = U256::from(self.court.rules.jury_fee);
        let missing = fee.saturating_sub(for_juries).min(for_challenger);
        self.court.credit(found.challenger, for_challenger - missing);
        self.fill_pots(&found, for_juries + missing);
        Ok(())
    }

    /// An appeal is won when it turns guilty into anything else, or the other way round.
    fn pay_appeal(&mut self, dispute: usize) {
        let found = self.court.disputes[dispute].clone();
        let Some((appellant, bond)) = found.appeal else { return };
        let guilty = |verdict| verdict == Some(Verdict::Guilty);
        let won = guilty(found.first_verdict) != guilty(found.verdict);
        let jury = found.appeal_jury.filter(|_| !won);
        let Some(jury) = jury else { return self.court.credit(appellant, bond) };
        let half = bond / U256::from(2);
        let winner = if guilty(found.verdict) { found.challenger } else { found.accused };
        self.court.credit(winner, half);
        self.court.juries[jury].pot += bond - half;
    }

    /// Both juries are paid, if both have jurors that found what the court found.
    fn fill_pots(&mut self, found: &Dispute, amount: U256) {
        let first = found.first_jury.expect("a jury has decided");
        let agreed = found.verdict.map_or(0, |verdict| self.court.juries[first].votes_for(verdict));
        let for_first = match found.appeal_jury {
            None => amount,
            Some(_) if agreed == 0 => U256::ZERO,
            Some(_) => amount / U256::from(2),
        };
        self.court.juries[first].pot += for_first;
        if let Some(last) = found.appeal_jury {
            self.court.juries[last].pot += amount - for_first;
        }
    }

    pub(super) fn settle_juror(&mut self, jury: usize, juror: Who, settler: Who) -> Outcome {
        let verdict = self.court.disputes[self.court.juries[jury].dispute].verdict;
        let (absence, dissent) = (self.court.rules.absence_ppm, self.court.rules.dissent_ppm);
        let drawn = &mut self.court.juries[jury];
        let complete = drawn.is_quorate(drawn.claimed());
        let winners = verdict.map_or(0, |verdict| drawn.votes_for(verdict));
        let seat = drawn.seats.get_mut(&juror).ok_or("NoSeat")?;
        if std::mem::replace(&mut seat.settled, true) {
            return Err("AlreadyDone");
        }
        let judged = matches!(verdict, Some(Verdict::Guilty | Verdict::NotGuilty));
        let fine = match seat.vote {
            None if complete => absence,
            Some(Verdict::Guilty | Verdict::NotGuilty) if judged && seat.vote != verdict => dissent,
            _ => 0,
        };
        if seat.vote.is_some() && seat.vote == verdict {
            let paid = drawn.pot * U256::from(seat.seats) / U256::from(winners);
            drawn.paid += paid;
            self.court.credit(juror, paid);
        }
        if fine != 0 {
            self.slash(juror, Some(settler), u64::from(fine), SETTLER_PPM)?;
        }
        Ok(())
    }

    pub(super) fn withdraw_from_court(&mut self, who: Who) -> Outcome {
        let amount = self.court.pending.remove(&who).filter(|amount| !amount.is_zero());
        let amount = amount.ok_or("NothingToWithdraw")?;
        self.tokens.court -= amount;
        self.tokens.accounts[who] += amount;
        Ok(())
    }

    fn put_up(&mut self, who: Who, bond: U256) -> Result<(), Refusal> {
        if self.tokens.accounts[who] < bond {
            return Err("ERC20InsufficientBalance");
        }
        self.tokens.accounts[who] -= bond;
        self.tokens.court += bond;
        Ok(())
    }

    /// Slashes and jails. Returns what the finder, or the court, got of it.
    fn punish(
        &mut self,
        accused: Who,
        finder: Option<Who>,
        fault: Fault,
        finder_ppm: u64,
    ) -> Result<U256, Refusal> {
        let ppm = u64::from(self.court.rules.slash_ppm[fault as usize]);
        let (_, fee) = self.slash(accused, finder, ppm, finder_ppm)?;
        self.jail(accused, u64::from(self.court.rules.jail_rounds))?;
        Ok(fee)
    }

    /// A finder never gets more than half of what the accused loses itself.
    fn finder_ppm(&self, accused: Who) -> u64 {
        let staker = &self.stakers[accused];
        let Some(id) = staker.own.filter(|id| staker.delegate == Some(*id)) else { return 0 };
        let total = self.pools[id].held();
        if total.is_zero() {
            return 0;
        }
        let half = self.stake(accused) * (PPM / U256::from(2)) / total;
        u64::from(self.court.rules.finder_ppm).min(half.saturating_to())
    }

    fn counting_stake(&self, who: Who) -> U256 {
        let pool = self.stakers[who].own.filter(|id| self.is_active(*id));
        pool.map_or(U256::ZERO, |id| self.pools[id].stake)
    }

    /// Stake of all that are active and no party.
    fn eligible(&self, dispute: usize) -> U256 {
        let parties = (0..self.stakers.len()).filter(|who| self.is_party(dispute, *who));
        parties.fold(self.current_total, |left, who| left.saturating_sub(self.counting_stake(who)))
    }

    fn is_party(&self, dispute: usize, who: Who) -> bool {
        let found = &self.court.disputes[dispute];
        who == found.accused
            || who == found.challenger
            || found.appeal.is_some_and(|(appellant, _)| who == appellant)
    }

    /// The court holds exactly what it owes.
    pub(super) fn audit_court(&self) {
        let open = self.court.disputes.iter().filter(|dispute| dispute.stand != Stand::Closed);
        let bonds: U256 =
            open.map(|dispute| dispute.bond + dispute.appeal.map_or(U256::ZERO, |(_, bond)| bond)).sum();
        let pots: U256 = self.court.juries.iter().map(|jury| jury.pot - jury.paid).sum();
        let pending: U256 = self.court.pending.values().copied().sum();
        assert_eq!(self.tokens.court, bonds + pots + pending, "the court's tokens, and what it owes");
    }
}
