//! What can happen to the market: one list for the chain and for the model.

use alloy::primitives::{Address, B256, U256};
use framemill_contracts::{Fault, Verdict};

use super::{Model, Outcome, PPM, Who, Win};

/// How much of what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Amount {
    All,
    /// Parts per million of it.
    Part(u32),
    /// Base units.
    Just(U256),
    /// So many units more than there are.
    Beyond(u32),
}

impl Amount {
    pub(crate) fn of(self, whole: U256) -> U256 {
        match self {
            Self::All => whole,
            Self::Part(ppm) => whole * U256::from(ppm) / PPM,
            Self::Just(amount) => amount,
            Self::Beyond(more) => whole + U256::from(more),
        }
    }
}

/// One step. Accounts are named by their numbers, amounts are resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Bond {
        who: Who,
        amount: U256,
        to: Who,
    },
    Unbond {
        who: Who,
        amount: U256,
    },
    Rebond {
        who: Who,
        lock: usize,
    },
    RebondFromUnbonded {
        who: Who,
        to: Who,
        lock: usize,
    },
    WithdrawStake {
        who: Who,
        lock: usize,
    },
    WithdrawFees {
        who: Who,
        amount: U256,
    },
    Claim {
        who: Who,
    },
    TransferBond {
        who: Who,
        to: Who,
        amount: U256,
    },
    Settle {
        who: Who,
        account: Who,
    },
    Reward {
        who: Who,
    },
    Terms {
        who: Who,
        cut: u32,
        share: u32,
    },
    Fund {
        who: Who,
        deposit: U256,
        reserve: U256,
    },
    Unlock {
        who: Who,
    },
    CancelUnlock {
        who: Who,
    },
    WithdrawFunds {
        who: Who,
    },
    Redeem {
        who: Who,
        wins: Vec<Win>,
    },
    PayTreasury {
        who: Who,
    },
    /// By an account that the owner has named as the court.
    Slash {
        judge: Who,
        accused: Who,
        finder: Who,
        ppm: u32,
        finder_ppm: u32,
    },
    Jail {
        judge: Who,
        accused: Who,
        rounds: u32,
    },
    Pause {
        owner: Who,
    },
    Unpause {
        owner: Who,
    },
    BeginRound {
        who: Who,
        round: u64,
    },
    Report {
        who: Who,
        accused: Who,
        fault: Fault,
    },
    OpenDispute {
        who: Who,
        accused: Who,
        fault: Fault,
    },
    ClaimSeat {
        who: Who,
        address: Address,
        dispute: usize,
        seed: B256,
    },
    CommitVote {
        who: Who,
        dispute: usize,
        verdict: Verdict,
    },
    RevealVote {
        who: Who,
        dispute: usize,
        verdict: Verdict,
    },
    CountVotes {
        who: Who,
        dispute: usize,
    },
    Appeal {
        who: Who,
        dispute: usize,
    },
    Execute {
        who: Who,
        dispute: usize,
    },
    SettleJuror {
        who: Who,
        jury: usize,
        juror: Who,
    },
    WithdrawFromCourt {
        who: Who,
    },
}

/// What the contract says of an account before its step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) stake: U256,
    pub(crate) fees: U256,
}

impl Op {
    /// Who sends it.
    pub(crate) fn who(&self) -> Who {
        match *self {
            Self::Bond { who, .. }
            | Self::Unbond { who, .. }
            | Self::Rebond { who, .. }
            | Self::RebondFromUnbonded { who, .. }
            | Self::WithdrawStake { who, .. }
            | Self::WithdrawFees { who, .. }
            | Self::Claim { who }
            | Self::TransferBond { who, .. }
            | Self::Reward { who }
            | Self::Terms { who, .. }
            | Self::Fund { who, .. }
            | Self::Unlock { who }
            | Self::CancelUnlock { who }
            | Self::WithdrawFunds { who }
            | Self::Redeem { who, .. }
            | Self::Settle { who, .. }
            | Self::PayTreasury { who }
            | Self::BeginRound { who, .. }
            | Self::Report { who, .. }
            | Self::OpenDispute { who, .. }
            | Self::ClaimSeat { who, .. }
            | Self::CommitVote { who, .. }
            | Self::RevealVote { who, .. }
            | Self::CountVotes { who, .. }
            | Self::Appeal { who, .. }
            | Self::Execute { who, .. }
            | Self::SettleJuror { who, .. }
            | Self::WithdrawFromCourt { who } => who,
            Self::Slash { judge, .. } | Self::Jail { judge, .. } => judge,
            Self::Pause { owner } | Self::Unpause { owner } => owner,
        }
    }

    /// Accounts that it brings up to now.
    pub(crate) fn touches(&self) -> Vec<Who> {
        match *self {
            Self::TransferBond { who, to, .. } => vec![to, who],
            Self::Settle { account, .. } => vec![account],
            _ => vec![self.who()],
        }
    }

    /// Whether it goes on while the contracts pause.
    fn goes_on(&self) -> bool {
        matches!(self, Self::Pause { .. } | Self::Unpause { .. })
    }
}

impl Model {
    /// What the model itself would say of an account.
    pub(crate) fn own_view(&self, who: Who) -> Seen {
        Seen { stake: self.stake(who), fees: self.fees(who) }
    }

    /// Takes a step, or changes nothing and says with which error the contract refuses it. `seen` is what the contract
    /// says of who acts: the model holds it against its own figures, and a step that takes everything takes that.
    pub(crate) fn apply(&mut self, op: &Op, seen: Seen) -> Outcome {
        let who = op.who();
        let (stake, fees) = (self.stake_bounds(who), self.fee_bounds(who));
        assert!(stake.contains(&seen.stake), "{op:?}: account {who} has {}, not {stake:?}", seen.stake);
        assert!(fees.contains(&seen.fees), "{op:?}: account {who} has fees of {}, not {fees:?}", seen.fees);
        if self.paused && !op.goes_on() {
            return Err("Paused");
        }
        match *op {
            Op::Bond { who, amount, to } => self.bond(who, amount, to, seen.stake),
            Op::Unbond { who, amount } => self.unbond(who, amount, seen.stake),
            Op::Rebond { who, lock } => self.rebond(who, lock),
            Op::RebondFromUnbonded { who, to, lock } => self.rebond_from_unbonded(who, to, lock),
            Op::WithdrawStake { who, lock } => self.withdraw_stake(who, lock),
            Op::WithdrawFees { who, amount } => self.withdraw_fees(who, amount, seen.fees),
            Op::Claim { who } => self.claim(who),
            Op::TransferBond { who, to, amount } => self.transfer_bond(who, to, amount, seen.stake),
            Op::Reward { who } => self.reward(who),
            Op::Terms { who, cut, share } => self.set_terms(who, u64::from(cut), u64::from(share)),
            Op::Slash { accused, finder, ppm, finder_ppm, .. } => {
                self.slash(accused, Some(finder), u64::from(ppm), u64::from(finder_ppm)).map(drop)
            }
            Op::Jail { accused, rounds, .. } => self.jail(accused, u64::from(rounds)),
            _ => self.apply_other(op),
        }
    }

    fn apply_other(&mut self, op: &Op) -> Outcome {
        match *op {
            Op::Fund { who, deposit, reserve } => self.fund(who, deposit, reserve),
            Op::Unlock { who } => self.unlock(who),
            Op::CancelUnlock { who } => self.cancel_unlock(who),
            Op::WithdrawFunds { who } => self.withdraw_funds(who),
            Op::Settle { account, .. } => self.settle(account),
            Op::PayTreasury { .. } => self.pay_treasury(),
            Op::Pause { .. } => self.set_paused(true),
            Op::Unpause { .. } => self.set_paused(false),
            Op::BeginRound { round, .. } => self.begin_round(round),
            Op::Redeem { who, ref wins } => self.redeem(who, wins),
            _ => self.apply_trial(op),
        }
    }

    fn apply_trial(&mut self, op: &Op) -> Outcome {
        match *op {
            Op::Report { who, accused, fault } => self.report(who, accused, fault),
            Op::OpenDispute { who, accused, fault } => self.open_dispute(who, accused, fault),
            Op::ClaimSeat { who, address, dispute, seed } => self.claim_seat(dispute, who, address, seed),
            // A commitment moves no money, and no vote counts before it is shown.
            Op::CommitVote { .. } => Ok(()),
            Op::RevealVote { who, dispute, verdict } => self.reveal(dispute, who, verdict),
            Op::CountVotes { dispute, .. } => self.count_votes(dispute),
            Op::Appeal { who, dispute } => self.appeal(dispute, who),
            Op::Execute { dispute, .. } => self.execute(dispute),
            Op::SettleJuror { who, jury, juror } => self.settle_juror(jury, juror, who),
            Op::WithdrawFromCourt { who } => self.withdraw_from_court(who),
            _ => unreachable!("{op:?} is no trial's"),
        }
    }

    fn set_paused(&mut self, on: bool) -> Outcome {
        self.paused = on;
        Ok(())
    }
}
