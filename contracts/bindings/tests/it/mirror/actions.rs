//! What an account sends to take a step.

use alloy::{
    primitives::{Address, B256, U256, keccak256},
    sol_types::SolValue,
};
use framemill_contracts::{Action, Redemption, Ticket, Verdict};

use super::{
    Mirror,
    calls::Protocol,
    fleet::{Sending, call},
};
use crate::{
    model::{Op, Who, Win},
    stage::RAND,
};

impl Mirror<'_> {
    pub(super) fn sending(&self, op: &Op) -> Sending {
        match op {
            Op::Redeem { who, wins } => Sending::Redemptions(self.redemptions(*who, wins)),
            _ => Sending::Action(self.action(op)),
        }
    }

    pub(super) fn redemptions(&self, recipient: Who, wins: &[Win]) -> Vec<Redemption> {
        wins.iter().map(|win| self.signed(recipient, win)).collect()
    }

    fn signed(&self, recipient: Who, win: &Win) -> Redemption {
        let ticket = Ticket {
            recipient: self.address(recipient),
            sender: self.address(win.sender),
            face_value: win.face_value,
            win_prob: U256::MAX,
            lane: win.lane,
            sender_nonce: win.nonce,
            salt: B256::repeat_byte(7),
            recipient_rand_hash: keccak256(B256::from(U256::from(RAND))),
            creation_round: win.created,
            creation_round_block_hash: self.hashes[&win.created],
        };
        let signature = self.fleet.stage.sign(&self.fleet.keys[win.sender], &ticket);
        Redemption { ticket, signature, recipient_rand: U256::from(RAND) }
    }

    /// What an account sends to take a step.
    pub(super) fn action(&self, op: &Op) -> Action {
        let name = |who: Who| self.address(who);
        let lock = |lock: usize| u64::try_from(lock).unwrap();
        match *op {
            Op::Bond { amount, to, .. } => Action::Bond { amount, delegate: name(to) },
            Op::Unbond { amount, .. } => Action::Unbond { amount },
            Op::Rebond { lock: id, .. } => Action::Rebond { lock: lock(id) },
            Op::RebondFromUnbonded { to, lock: id, .. } => {
                Action::RebondFromUnbonded { lock: lock(id), delegate: name(to) }
            }
            Op::WithdrawStake { lock: id, .. } => Action::WithdrawStake { lock: lock(id) },
            Op::WithdrawFees { who, amount } => Action::WithdrawFees { to: name(who), amount },
            Op::Claim { .. } => Action::ClaimEarnings,
            Op::TransferBond { to, amount, .. } => Action::TransferBond { receiver: name(to), amount },
            Op::Terms { cut, share, .. } => Action::SetTerms { reward_cut_ppm: cut, fee_share_ppm: share },
            Op::Fund { deposit, reserve, .. } => Action::Fund { deposit, reserve },
            Op::Unlock { .. } => Action::Unlock,
            Op::CancelUnlock { .. } => Action::CancelUnlock,
            Op::WithdrawFunds { .. } => Action::Withdraw,
            _ => match self.other_call(op) {
                Sending::Action(action) => action,
                Sending::Redemptions(_) => unreachable!("{op:?} is a call"),
            },
        }
    }

    fn other_call(&self, op: &Op) -> Sending {
        let at = &self.fleet.stage.deployment;
        let name = |who: Who| self.address(who);
        match *op {
            Op::Settle { account, .. } => {
                call(at.bonding_manager, &Protocol::settleRedelegationCall { account: name(account) })
            }
            Op::Reward { .. } => call(at.bonding_manager, &Protocol::rewardCall {}),
            Op::PayTreasury { .. } => call(at.minter, &Protocol::payTreasuryCall {}),
            Op::Pause { .. } => call(at.controller, &Protocol::pauseCall {}),
            Op::Unpause { .. } => call(at.controller, &Protocol::unpauseCall {}),
            Op::BeginRound { .. } => call(at.rounds_manager, &Protocol::initializeRoundCall {}),
            Op::Slash { accused, finder, ppm, finder_ppm, .. } => call(
                at.bonding_manager,
                &Protocol::slashTranscoderCall {
                    transcoder: name(accused),
                    finder: name(finder),
                    slashAmount: U256::from(ppm),
                    finderFee: U256::from(finder_ppm),
                },
            ),
            Op::Jail { accused, rounds, .. } => {
                let jail =
                    Protocol::jailTranscoderCall { transcoder: name(accused), rounds: U256::from(rounds) };
                call(at.bonding_manager, &jail)
            }
            _ => self.trial_call(op),
        }
    }

    /// Disputes, juries and jurors are numbered from 1 by the court.
    fn trial_call(&self, op: &Op) -> Sending {
        let court = self.fleet.stage.deployment.court;
        let number = |place: usize| U256::from(place + 1);
        match *op {
            Op::ClaimSeat { dispute, .. } => {
                call(court, &Protocol::claimSeatCall { dispute: number(dispute) })
            }
            Op::CommitVote { who, dispute, verdict } => {
                let jury = self.model.court.disputes[dispute].jury;
                let commitment = vote_hash(number(jury), self.address(who), verdict);
                call(court, &Protocol::commitVoteCall { dispute: number(dispute), commitment })
            }
            Op::RevealVote { who, dispute, verdict } => {
                let salt = salt(self.address(who));
                let verdict = verdict as u8;
                call(court, &Protocol::revealVoteCall { dispute: number(dispute), verdict, salt })
            }
            Op::CountVotes { dispute, .. } => {
                call(court, &Protocol::advanceCall { dispute: number(dispute) })
            }
            Op::Appeal { dispute, .. } => call(court, &Protocol::appealCall { dispute: number(dispute) }),
            Op::Execute { dispute, .. } => call(court, &Protocol::executeCall { dispute: number(dispute) }),
            Op::SettleJuror { jury, juror, .. } => {
                call(court, &Protocol::settleJurorCall { jury: number(jury), juror: self.address(juror) })
            }
            Op::WithdrawFromCourt { .. } => call(court, &Protocol::withdrawCall {}),
            _ => unreachable!("{op:?} is no single call"),
        }
    }
}

/// The secret of a juror's vote.
fn salt(juror: Address) -> B256 {
    keccak256(juror)
}

fn vote_hash(jury: U256, juror: Address, verdict: Verdict) -> B256 {
    keccak256((jury, juror, U256::from(verdict as u8), salt(juror)).abi_encode())
}
