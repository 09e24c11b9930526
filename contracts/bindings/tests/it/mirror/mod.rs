//! The chain and the model side by side: each step is taken on both, and both must end up with the same.

mod actions;
mod calls;
mod compare;
mod fleet;

use std::collections::HashMap;

use alloy::{
    primitives::{Address, B256, U256, keccak256},
    sol_types::SolValue,
};
use framemill_contracts::{
    ChainError, CourtReceipt, DeployParams, Fault, RoundInfo, SkipReason, TicketOutcome,
};

use calls::Protocol;
pub(crate) use fleet::Fleet;
use fleet::call;

use crate::{
    model::{Minter, Model, Op, Reason, Rules, Seen, Who, Win},
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
    rounds: RoundInfo,
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
        let rounds = fleet.stage.owner.round_info().await.unwrap();
        let model = Model::new(rounds.last_initialized, rules, minter, court, tokens, fleet.wei.clone());
        let tally = Tally::default();
        let mut mirror = Self { fleet, model, waiting: Vec::new(), hashes: HashMap::new(), rounds, tally };
        mirror.see_height().await;
        mirror
    }

    /// Tells the model in which round the next block lies.
    async fn see_height(&mut self) {
        let blocks = self.fleet.height().await + 1 - self.rounds.start_block;
        self.model.height_round = self.rounds.current + blocks / self.rounds.length;
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
        self.see_height().await;
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
            return self.see_height().await;
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
        self.see_height().await;
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
        self.see_height().await;
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
