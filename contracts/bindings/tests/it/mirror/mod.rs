//! The chain and the model side by side: each step is taken on both, and both must end up with the same.

mod calls;
mod compare;
mod fleet;

use std::collections::HashMap;

use alloy::{
    primitives::{Address, B256, U256, keccak256},
    sol_types::SolValue,
};
use framemill_contracts::{
    Action, ChainError, CourtReceipt, DeployParams, Fault, Redemption, SkipReason, Ticket, TicketOutcome,
    Verdict,
};

use calls::Protocol;
pub(crate) use fleet::Fleet;
use fleet::{Sending, call};

use crate::{
    model::{Minter, Model, Op, Reason, Rules, Seen, Who, Win},
    stage::RAND,
    tally::Tally,
};

/// The first inflation and its step, as the client deploys them.
const INFLATION_PPM: u64 = 250;
const INFLATION_STEP_PPM: u64 = 1;

pub(crate) struct Mirror<'a> {
    fleet: &'a mut Fleet,
    pub(crate) model: Model,
    /// Steps that the model has taken and the chain has not, and what the model says of them.
    waiting: Vec<(Op, Expected)>,
    hashes: HashMap<u64, B256>,
    pub(crate) tally: Tally,
}

/// A jury's place in the model, and its windows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SeatedJury {
    pub(crate) place: usize,
    pub(crate) seed_block: u64,
    pub(crate) commit_until: u64,
    pub(crate) reveal_until: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Expected {
    Done,
    Refused(&'static str),
    Redeemed(Vec<Option<Reason>>),
}

impl<'a> Mirror<'a> {
    /// A model of the market that the fleet was deployed with, where nothing has happened yet.
    pub(crate) async fn hold_up(fleet: &'a mut Fleet) -> Self {
        let params: &DeployParams = &fleet.stage.params;
        let rules = Rules {
            unbonding_rounds: params.unbonding_rounds,
            active_set_size: usize::try_from(params.active_set_size).unwrap(),
            unlock_rounds: params.sender_unlock_rounds,
            validity_rounds: params.ticket_validity_rounds,
        };
        let minter = Minter::new(
            INFLATION_PPM,
            INFLATION_STEP_PPM,
            u64::from(params.treasury_share_ppm),
            params.treasury_ceiling,
        );
        let court = params.court.clone();
        let balances: Vec<_> =
            fleet.addresses.iter().map(|account| Protocol::balanceOfCall { account: *account }).collect();
        let tokens = fleet.views(fleet.stage.deployment.token, &balances).await;
        let round = fleet.stage.owner.round_info().await.unwrap().last_initialized;
        let model = Model::new(round, rules, minter, court, tokens, fleet.wei.clone());
        Self { fleet, model, waiting: Vec::new(), hashes: HashMap::new(), tally: Tally::default() }
    }

    pub(crate) fn address(&self, who: Who) -> Address {
        self.fleet.addresses[who]
    }

    /// Takes a step on both sides at once. The chain must refuse it by the error that the model names, or do it.
    pub(crate) async fn step(&mut self, op: Op) {
        for account in op.touches() {
            self.settle_first(account).await;
        }
        let seen = self.look(&[op.who()]).await[0];
        let expected = self.take(&op, seen);
        let found = match &op {
            Op::Redeem { who, wins } => self.redeem(*who, wins).await,
            _ => match self.fleet.client(op.who()).perform(&self.action(&op)).await {
                Ok(_) => Ok(Expected::Done),
                Err(error) => Err(error),
            },
        };
        match (found, expected) {
            (Err(ChainError::Reverted { revert, .. }), Expected::Refused(name)) => {
                assert_eq!(revert.name, name, "{op:?}");
            }
            (Ok(found), expected) => assert_eq!(found, expected, "{op:?}"),
            (Err(error), expected) => panic!("{op:?}: the chain: {error}; the model: {expected:?}"),
        }
    }

    /// Settles with an account whose moved bond may have lost all that it has, and tells the model what that was.
    async fn settle_first(&mut self, account: Who) {
        if self.model.paused || !self.model.loses_everything(account) {
            return;
        }
        let before = self.supply().await;
        let settle = Op::Settle { who: 0, account };
        self.fleet.client(0).perform(&self.action(&settle)).await.unwrap();
        let loss = before - self.supply().await;
        let rest = self.look(&[account]).await[0].stake;
        self.model.settle_by(account, loss, rest);
    }

    async fn supply(&self) -> U256 {
        self.fleet.view(self.fleet.stage.deployment.token, Protocol::totalSupplyCall {}).await
    }

    async fn redeem(&self, who: Who, wins: &[Win]) -> Result<Expected, ChainError> {
        let client = self.fleet.client(who);
        let redemptions = self.redemptions(who, wins);
        let (reasons, _) = client.simulate_redemption(&redemptions).await?;
        let hash = client.redeem(&redemptions).await?;
        client.wait_mined(hash).await?;
        let paid = client.redemption_outcomes(hash).await?.expect("it is mined");
        let paid: Vec<_> = paid.into_iter().map(skipped).collect();
        assert_eq!(paid, reasons.into_iter().map(|reason| reason.map(named)).collect::<Vec<_>>());
        Ok(Expected::Redeemed(paid))
    }

    /// Takes a step in the model, to be taken on the chain by [`Self::flush`] with all others that wait. What the chain
    /// says of the account beforehand is what it said to [`Self::look`], or what the model says where nothing depends on it.
    pub(crate) fn plan_seen(&mut self, op: Op, seen: Seen) {
        let expected = self.take(&op, seen);
        self.waiting.push((op, expected));
    }

    pub(crate) fn plan(&mut self, op: Op) {
        let seen = self.model.own_view(op.who());
        self.plan_seen(op, seen);
    }

    fn take(&mut self, op: &Op, seen: Seen) -> Expected {
        let outcome = self.model.apply(op, seen);
        self.tally.note(op, outcome);
        match outcome {
            Err(name) => Expected::Refused(name),
            Ok(()) if matches!(op, Op::Redeem { .. }) => {
                let outcomes = self.model.broker.outcomes.clone();
                for outcome in &outcomes {
                    self.tally
                        .count("Win", &outcome.map_or("paid".to_owned(), |reason| format!("{reason:?}")));
                }
                Expected::Redeemed(outcomes)
            }
            Ok(()) => Expected::Done,
        }
    }

    /// Takes all waiting steps on the chain, in one block.
    pub(crate) async fn flush(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let mut sendings = Vec::new();
        for (op, _) in &self.waiting {
            sendings.push((op.who(), self.sending(op)));
        }
        let mined = self.fleet.send_all(sendings).await;
        for ((op, expected), (hash, success)) in std::mem::take(&mut self.waiting).into_iter().zip(mined) {
            let refused = matches!(expected, Expected::Refused(_));
            assert_eq!(success, !refused, "{op:?}: the model says {expected:?}");
            if let Expected::Redeemed(reasons) = expected {
                let found = self.fleet.client(op.who()).redemption_outcomes(hash).await.unwrap().unwrap();
                let found: Vec<_> = found.into_iter().map(skipped).collect();
                assert_eq!(found, reasons, "{op:?}");
            }
        }
    }

    /// What the chain says of accounts after all waiting steps.
    pub(crate) async fn look(&mut self, accounts: &[Who]) -> Vec<Seen> {
        self.flush().await;
        let questions: Vec<_> =
            accounts.iter().map(|who| Protocol::getDelegatorCall { delegator: self.address(*who) }).collect();
        let found = self.fleet.views(self.fleet.stage.deployment.bonding_manager, &questions).await;
        found.into_iter().map(|d| Seen { stake: d.bondedAmount, fees: d.fees }).collect()
    }

    /// Goes `rounds` on and begins that round.
    pub(crate) async fn next_round(&mut self, rounds: u64) {
        self.flush().await;
        let now = self.fleet.stage.owner.round_info().await.unwrap();
        let target = now.start_block + rounds * now.length;
        self.reach(target).await;
        self.step(Op::BeginRound { who: 0, round: now.current + rounds }).await;
    }

    /// Lets blocks pass up to this height.
    pub(crate) async fn reach(&mut self, height: u64) {
        let now = self.fleet.height().await;
        if height > now {
            self.fleet.stage.anvil.mine(height - now).await.unwrap();
        }
    }

    /// Reports two receipts that contradict each other.
    pub(crate) async fn report(
        &mut self,
        who: Who,
        accused: Who,
        first: &CourtReceipt,
        second: &CourtReceipt,
    ) {
        self.flush().await;
        let op = Op::Report { who, accused, fault: Fault::Equivocation };
        assert_eq!(self.take(&op, self.model.own_view(who)), Expected::Done);
        let client = self.fleet.client(who);
        client.report_equivocation(self.address(accused), first, second).await.unwrap();
    }

    /// Opens a dispute about one receipt. Returns its place among the model's.
    pub(crate) async fn open_dispute(
        &mut self,
        who: Who,
        accused: Who,
        fault: Fault,
        receipt: CourtReceipt,
    ) -> usize {
        self.flush().await;
        let op = Op::OpenDispute { who, accused, fault };
        assert_eq!(self.take(&op, self.model.own_view(who)), Expected::Done);
        let evidence = keccak256("the manifest of a bundle");
        let accused = self.address(accused);
        let id = self.fleet.client(who).open_dispute(accused, fault, &[receipt], &[evidence]).await.unwrap();
        let place = self.model.court.disputes.len() - 1;
        assert_eq!(id, place as u64 + 1);
        place
    }

    /// Waits until the present jury's seed is known, and tells it.
    pub(crate) async fn draw(&mut self, dispute: usize) -> B256 {
        let mut jury = self.jury(dispute).await;
        if jury.seed_block == 0 {
            // The round had too few blocks left.
            self.next_round(1).await;
            self.fleet.client(0).advance_dispute(dispute as u64 + 1).await.unwrap();
            jury = self.jury(dispute).await;
        }
        self.reach(jury.seed_block).await;
        let hash = self.fleet.block(jury.seed_block).await.header.hash;
        keccak256((hash, U256::from(jury.place + 1)).abi_encode())
    }

    /// The present jury as the chain knows it.
    pub(crate) async fn jury(&self, dispute: usize) -> SeatedJury {
        let place = self.model.court.disputes[dispute].jury;
        let jury = self.fleet.stage.owner.jury(place as u64 + 1).await.unwrap().unwrap();
        SeatedJury {
            place,
            seed_block: jury.seed_block,
            commit_until: jury.commit_until,
            reveal_until: jury.reveal_until,
        }
    }

    /// Lets the blocks pass in which a verdict can be appealed.
    pub(crate) async fn wait_for_appeals(&mut self, dispute: usize) {
        self.flush().await;
        let found = self.fleet.stage.owner.dispute(dispute as u64 + 1).await.unwrap().unwrap();
        self.reach(found.appeal_until).await;
    }

    /// Whether tickets of the round before can be made.
    pub(crate) fn knows_round_before(&self) -> bool {
        self.hashes.contains_key(&(self.model.round - 1))
    }

    /// Makes `who` the court.
    pub(crate) async fn name_court(&mut self, who: Who) {
        let set = Protocol::setCourtCall { court: self.address(who) };
        let mined =
            self.fleet.send_all(vec![(0, call(self.fleet.stage.deployment.bonding_manager, &set))]).await;
        assert!(mined[0].1, "the owner names the court");
    }

    /// Learns the block hash of the present round, which its tickets name.
    pub(crate) async fn learn_round(&mut self) {
        let round = self.model.round;
        let hash = self.fleet.stage.owner.round_block_hash(round).await.unwrap().unwrap();
        self.hashes.insert(round, hash);
    }

    pub(crate) fn receipt(&self, signer: Who, sequence: u64, renditions: &str) -> CourtReceipt {
        let key = &self.fleet.keys[signer];
        self.fleet.stage.receipt(key, self.model.round, sequence, keccak256(renditions), 1_000)
    }

    fn sending(&self, op: &Op) -> Sending {
        match op {
            Op::Redeem { who, wins } => Sending::Redemptions(self.redemptions(*who, wins)),
            _ => Sending::Action(self.action(op)),
        }
    }

    fn redemptions(&self, recipient: Who, wins: &[Win]) -> Vec<Redemption> {
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
    fn action(&self, op: &Op) -> Action {
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

fn skipped(outcome: TicketOutcome) -> Option<Reason> {
    match outcome {
        TicketOutcome::Paid { .. } => None,
        TicketOutcome::Skipped(reason) => Some(named(reason)),
    }
}

fn named(reason: SkipReason) -> Reason {
    match reason {
        SkipReason::Malformed => Reason::Malformed,
        SkipReason::Expired => Reason::Expired,
        SkipReason::NonceUsed => Reason::NonceUsed,
        SkipReason::RecipientInactive => Reason::RecipientInactive,
        SkipReason::InsufficientFunds => Reason::InsufficientFunds,
        other => panic!("no ticket of these tests is refused because {other}"),
    }
}
