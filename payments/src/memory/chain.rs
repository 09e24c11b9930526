//! The broker contract's books in memory: deposits, reserves by share, lanes, what was paid.

use std::collections::HashMap;

use alloy_primitives::{Address, B256};

use super::tx;
use crate::key::keccak256;
use crate::ledger::LaneId;
use crate::port::{ChainView, SenderFunds, TicketResult, WinningTicket};
use crate::ticket::{Domain, Scheme, rand_hash};
use crate::units::{Round, Wei};

/// Everything that a block changes and a reorganization changes back.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    pub(super) view: ChainView,
    pub(super) block: u64,
    /// Recipients that share each reserve.
    pub(super) active: u64,
    pub(super) account_nonces: HashMap<Address, u64>,
    pub(super) mined: HashMap<B256, Mined>,
    pub(super) lanes: HashMap<LaneId, u64>,
    pub(super) paid: Vec<(LaneId, u64)>,
    pub(super) earned: HashMap<Address, Wei>,
    purses: HashMap<Address, Purse>,
}

#[derive(Clone, Debug)]
pub(super) struct Mined {
    pub(super) block: u64,
    pub(super) raw: Vec<u8>,
    /// `None` when it reverted.
    pub(super) results: Option<Vec<TicketResult>>,
}

/// What a sender has at the broker.
#[derive(Clone, Debug, Default)]
struct Purse {
    deposit: Wei,
    reserve: Wei,
    withdraw_round: Option<Round>,
    /// The round in which the claims were made; another round's count for nothing.
    claims_of: Round,
    claims: HashMap<Address, Wei>,
}

impl Purse {
    fn claims_in(&self, round: Round) -> Wei {
        let claims = self.claims.values().filter(|_| self.claims_of == round);
        claims.fold(Wei::ZERO, |sum, claim| sum.saturating_add(*claim))
    }

    fn claimed_by(&self, recipient: Address, round: Round) -> Wei {
        let claim = self.claims.get(&recipient).filter(|_| self.claims_of == round);
        claim.copied().unwrap_or_default()
    }

    fn note_claim(&mut self, recipient: Address, amount: Wei, round: Round) {
        if self.claims_of != round {
            self.claims.clear();
            self.claims_of = round;
        }
        let claim = self.claims.entry(recipient).or_default();
        *claim = claim.saturating_add(amount);
    }
}

impl Chain {
    /// Round 1, a validity of 2 rounds, a gas price of 1 gwei, one recipient.
    pub(super) fn new() -> Self {
        let view = ChainView {
            round: Round(1),
            round_block_hash: keccak256(1_u64.to_be_bytes()),
            validity_rounds: 2,
            gas_price: Wei::from(1_000_000_000),
        };
        Self {
            view,
            block: 0,
            active: 1,
            account_nonces: HashMap::new(),
            mined: HashMap::new(),
            lanes: HashMap::new(),
            paid: Vec::new(),
            earned: HashMap::new(),
            purses: HashMap::new(),
        }
    }

    pub(super) fn account_nonce(&self, account: Address) -> u64 {
        self.account_nonces.get(&account).copied().unwrap_or_default()
    }

    pub(super) fn take_account_nonce(&mut self, account: Address) {
        *self.account_nonces.entry(account).or_default() += 1;
    }

    /// Sets what a recipient sees behind a sender.
    pub(super) fn fund(&mut self, sender: Address, funds: SenderFunds) {
        let SenderFunds { deposit, claimable_reserve, withdraw_round } = funds;
        let reserve = claimable_reserve.saturating_mul(self.active);
        self.purses.insert(sender, Purse { deposit, reserve, withdraw_round, ..Purse::default() });
    }

    pub(super) fn funds(&self, sender: Address, claimant: Address) -> SenderFunds {
        let Some(purse) = self.purses.get(&sender) else { return SenderFunds::default() };
        SenderFunds {
            deposit: purse.deposit,
            claimable_reserve: self.claimable(purse, claimant),
            withdraw_round: purse.withdraw_round,
        }
    }

    /// An equal share of what the reserve was when the round began, less what was claimed of it.
    fn claimable(&self, purse: &Purse, claimant: Address) -> Wei {
        let round = self.view.round;
        if purse.withdraw_round.is_some_and(|withdraw| withdraw <= round) {
            return Wei::ZERO;
        }
        let whole = purse.reserve.saturating_add(purse.claims_in(round));
        let share = whole.mul_div(1, self.active).unwrap_or_default();
        share.saturating_sub(purse.claimed_by(claimant, round))
    }

    /// As the contract: an unlock counts once; a second one changes nothing.
    pub(super) fn unlock(&mut self, sender: Address, rounds: u64) {
        let withdraw = self.view.round.saturating_add(rounds);
        let purse = self.purses.entry(sender).or_default();
        purse.withdraw_round.get_or_insert(withdraw);
    }

    /// Deposit and reserve of a sender whose unlock is over; nothing before that.
    pub(super) fn withdraw(&mut self, sender: Address) -> Wei {
        let round = self.view.round;
        let open = |purse: &&Purse| purse.withdraw_round.is_some_and(|withdraw| withdraw <= round);
        let Some(purse) = self.purses.get(&sender).filter(open) else { return Wei::ZERO };
        let all = purse.deposit.saturating_add(purse.reserve);
        self.purses.remove(&sender);
        all
    }

    /// Puts a transaction into the newest block.
    pub(super) fn include(&mut self, domain: &Domain, account: Address, raw: &[u8], reverts: bool) {
        let results = (!reverts).then(|| self.redeem_all(domain, account, &tx::tickets(raw)));
        self.take_account_nonce(account);
        let block = self.block;
        self.mined.insert(keccak256(raw), Mined { block, raw: raw.to_vec(), results });
    }

    pub(super) fn redeem_all(
        &mut self,
        domain: &Domain,
        recipient: Address,
        tickets: &[WinningTicket],
    ) -> Vec<TicketResult> {
        tickets.iter().map(|ticket| self.redeem(domain, recipient, ticket)).collect()
    }

    /// The contract's checks, in its order.
    fn redeem(&mut self, domain: &Domain, recipient: Address, winning: &WinningTicket) -> TicketResult {
        let ticket = &winning.signed.ticket;
        let lane = LaneId { sender: ticket.sender, recipient: ticket.recipient, lane: ticket.lane };
        let last = ticket.creation_round.saturating_add(self.view.validity_rounds);
        if self.view.round > last {
            return TicketResult::Expired;
        }
        if ticket.sender_nonce <= self.lanes.get(&lane).copied().unwrap_or_default() {
            return TicketResult::NoncePassed;
        }
        let valid = ticket.recipient == recipient
            && rand_hash(winning.recipient_rand) == ticket.recipient_rand_hash
            && winning.signed.signer(Scheme::Native, domain) == Ok(ticket.sender)
            && winning.signed.wins(Scheme::Native, domain, winning.recipient_rand);
        if !valid {
            return TicketResult::Invalid;
        }
        if !self.take(ticket.sender, recipient, ticket.face_value) {
            return TicketResult::Unfunded;
        }
        self.lanes.insert(lane, ticket.sender_nonce);
        self.paid.push((lane, ticket.sender_nonce));
        let earned = self.earned.entry(recipient).or_default();
        *earned = earned.saturating_add(ticket.face_value);
        TicketResult::Paid
    }

    /// Takes the whole amount, from the deposit first, or nothing.
    fn take(&mut self, sender: Address, recipient: Address, amount: Wei) -> bool {
        let funds = self.funds(sender, recipient);
        let from_reserve = amount.saturating_sub(funds.deposit);
        if from_reserve > funds.claimable_reserve {
            return false;
        }
        let round = self.view.round;
        let purse = self.purses.entry(sender).or_default();
        purse.deposit = purse.deposit.saturating_sub(amount);
        if !from_reserve.is_zero() {
            purse.reserve = purse.reserve.saturating_sub(from_reserve);
            purse.note_claim(recipient, from_reserve, round);
        }
        true
    }
}
