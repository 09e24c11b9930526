//! A broker in memory with the contract's rules, and a clock set by hand: for simulations, examples
//! and tests. The real broker is a contract, reached through a chain client.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use alloy_primitives::{Address, B256};
use async_trait::async_trait;

use crate::codec::{WINNING_BYTES, decode_winning, encode_winning};
use crate::key::keccak256;
use crate::ledger::LaneId;
use crate::port::{
    Broker, BrokerError, BrokerView, ChainView, Clock, PreparedRedemption, SenderFunds, TicketResult,
    TxStatus, WinningTicket,
};
use crate::ticket::{Domain, Scheme, rand_hash};
use crate::units::{Round, Wei};

/// Where a raw transaction holds its fee.
const FEE_AT: usize = 8;

/// Time set by hand.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// A clock that shows `now_ms`.
    pub fn new(now_ms: u64) -> Self {
        Self(AtomicU64::new(now_ms))
    }

    /// Lets time pass.
    pub fn advance(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A chain with one broker, and one account that redeems. Transactions wait until
/// [`MemoryBroker::mine`].
///
/// It keeps the contract's rules: a lane's nonces only rise, the whole face value or nothing is
/// paid, a bad ticket is skipped; and the chain's: one transaction per account nonce.
#[derive(Debug)]
pub struct MemoryBroker {
    domain: Domain,
    recipient: Address,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    online: bool,
    highest_fee: u8,
    chain: Chain,
    /// The chain before each block, newest last.
    history: Vec<Chain>,
    /// Sent and not mined, by account nonce.
    pool: BTreeMap<u64, Vec<u8>>,
    poisoned: HashSet<u64>,
}

#[derive(Clone, Debug, Default)]
struct Chain {
    view: ChainView,
    block: u64,
    account_nonce: u64,
    funds: HashMap<Address, SenderFunds>,
    lanes: HashMap<LaneId, u64>,
    mined: HashMap<B256, Mined>,
    paid: Vec<(LaneId, u64)>,
}

#[derive(Clone, Debug)]
struct Mined {
    block: u64,
    /// `None` when it reverted.
    results: Option<Vec<TicketResult>>,
}

impl MemoryBroker {
    /// An empty chain in round 1 with a validity of 2 rounds and a gas price of 1 gwei.
    pub fn new(domain: Domain, recipient: Address) -> Self {
        let view = ChainView {
            round: Round(1),
            round_block_hash: keccak256(1_u64.to_be_bytes()),
            validity_rounds: 2,
            gas_price: Wei::from(1_000_000_000),
        };
        let chain = Chain { view, ..Chain::default() };
        Self {
            domain,
            recipient,
            state: Mutex::new(State { online: true, highest_fee: u8::MAX, chain, ..State::default() }),
        }
    }

    /// Sets what stands behind a sender.
    pub fn fund(&self, sender: Address, funds: SenderFunds) {
        self.state().chain.funds.insert(sender, funds);
    }

    /// Goes to another round.
    pub fn set_round(&self, round: Round) {
        let view = &mut self.state().chain.view;
        view.round = round;
        view.round_block_hash = keccak256(round.0.to_be_bytes());
    }

    /// Changes the current round's hash, as a reorganization does.
    pub fn set_round_hash(&self, hash: B256) {
        self.state().chain.view.round_block_hash = hash;
    }

    /// Sets the gas price.
    pub fn set_gas_price(&self, price: Wei) {
        self.state().chain.view.gas_price = price;
    }

    /// Sets how often a transaction may be offered at a higher fee; 254 times at first.
    pub fn set_replacements(&self, times: u8) {
        self.state().highest_fee = times.saturating_add(1);
    }

    /// Every transaction that waits, by its hash.
    pub fn waiting_hashes(&self) -> Vec<B256> {
        self.state().pool.values().map(keccak256).collect()
    }

    /// Takes the chain away or brings it back.
    pub fn set_online(&self, online: bool) {
        self.state().online = online;
    }

    /// Makes every transaction revert that carries a ticket with this nonce.
    pub fn poison(&self, nonce: u64) {
        self.state().poisoned.insert(nonce);
    }

    /// Mines a block with everything that waits.
    pub fn mine(&self) {
        let mut state = self.state();
        let before = state.chain.clone();
        state.history.push(before);
        state.chain.block += 1;
        while let Some(raw) = {
            let next = state.chain.account_nonce;
            state.pool.remove(&next)
        } {
            self.include(&mut state, &raw);
        }
    }

    /// Undoes the newest `blocks`. Their transactions are forgotten, as by a chain that dropped them.
    pub fn reorganize(&self, blocks: usize) {
        let mut state = self.state();
        for _ in 0..blocks {
            if let Some(before) = state.history.pop() {
                state.chain = before;
            }
        }
    }

    /// Forgets what waits to be mined.
    pub fn forget_pool(&self) {
        self.state().pool.clear();
    }

    /// Uses up the account's next nonce from elsewhere, so that what waits on it can never be mined.
    pub fn spend_account_nonce(&self) {
        let mut state = self.state();
        let next = state.chain.account_nonce;
        state.pool.remove(&next);
        state.chain.account_nonce += 1;
    }

    /// Transactions that wait.
    pub fn waiting(&self) -> usize {
        self.state().pool.len()
    }

    /// Every ticket paid, in order.
    pub fn paid(&self) -> Vec<(LaneId, u64)> {
        self.state().chain.paid.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn online(&self) -> Result<MutexGuard<'_, State>, BrokerError> {
        let state = self.state();
        if state.online { Ok(state) } else { Err(BrokerError::Unavailable("chain is away".to_owned())) }
    }

    fn include(&self, state: &mut State, raw: &[u8]) {
        let tickets = tickets_of(raw);
        let reverts =
            tickets.iter().any(|ticket| state.poisoned.contains(&ticket.signed.ticket.sender_nonce));
        let results = (!reverts).then(|| {
            tickets
                .iter()
                .map(|ticket| redeem(&mut state.chain, &self.domain, self.recipient, ticket))
                .collect()
        });
        state.chain.account_nonce += 1;
        let block = state.chain.block;
        state.chain.mined.insert(keccak256(raw), Mined { block, results });
    }
}

/// The contract's checks, in its order.
fn redeem(chain: &mut Chain, domain: &Domain, recipient: Address, winning: &WinningTicket) -> TicketResult {
    let ticket = &winning.signed.ticket;
    let lane = LaneId { sender: ticket.sender, recipient: ticket.recipient, lane: ticket.lane };
    let last = ticket.creation_round.saturating_add(chain.view.validity_rounds);
    let valid = ticket.recipient == recipient
        && chain.view.round <= last
        && ticket.sender_nonce > chain.lanes.get(&lane).copied().unwrap_or_default()
        && rand_hash(winning.recipient_rand) == ticket.recipient_rand_hash
        && winning.signed.signer(Scheme::Native, domain) == Ok(ticket.sender)
        && winning.signed.wins(Scheme::Native, domain, winning.recipient_rand);
    if !valid {
        return TicketResult::Invalid;
    }
    let funds = chain.funds.entry(ticket.sender).or_default();
    if funds.total() < ticket.face_value {
        return TicketResult::Unfunded;
    }
    let from_reserve = ticket.face_value.saturating_sub(funds.deposit);
    funds.deposit = funds.deposit.saturating_sub(ticket.face_value);
    funds.claimable_reserve = funds.claimable_reserve.saturating_sub(from_reserve);
    chain.lanes.insert(lane, ticket.sender_nonce);
    chain.paid.push((lane, ticket.sender_nonce));
    TicketResult::Paid
}

/// A raw transaction here is its account nonce in 8 bytes, its fee in 1, and its tickets.
fn tickets_of(raw: &[u8]) -> Vec<WinningTicket> {
    raw.get(FEE_AT + 1..).unwrap_or_default().chunks(WINNING_BYTES).filter_map(decode_winning).collect()
}

fn account_nonce(raw: &[u8]) -> Result<u64, BrokerError> {
    let first = raw.first_chunk().copied().map(u64::from_be_bytes);
    first.ok_or_else(|| BrokerError::Refused("transaction does not decode".to_owned()))
}

#[async_trait]
impl BrokerView for MemoryBroker {
    async fn chain(&self) -> Result<ChainView, BrokerError> {
        Ok(self.online()?.chain.view)
    }

    async fn funds(&self, sender: Address, _claimant: Address) -> Result<SenderFunds, BrokerError> {
        Ok(self.online()?.chain.funds.get(&sender).copied().unwrap_or_default())
    }
}

#[async_trait]
impl Broker for MemoryBroker {
    async fn lane_nonce(&self, sender: Address, lane: u64) -> Result<u64, BrokerError> {
        let lane = LaneId { sender, recipient: self.recipient, lane };
        Ok(self.online()?.chain.lanes.get(&lane).copied().unwrap_or_default())
    }

    async fn prepare(&self, tickets: &[WinningTicket]) -> Result<PreparedRedemption, BrokerError> {
        let state = self.online()?;
        let nonce = state.pool.keys().next_back().map_or(state.chain.account_nonce, |last| last + 1);
        let mut raw = nonce.to_be_bytes().to_vec();
        raw.push(1);
        for ticket in tickets {
            raw.extend_from_slice(&encode_winning(ticket));
        }
        Ok(PreparedRedemption { tx: keccak256(&raw), raw })
    }

    async fn send(&self, prepared: &PreparedRedemption) -> Result<(), BrokerError> {
        let mut state = self.online()?;
        let nonce = account_nonce(&prepared.raw)?;
        if state.chain.mined.contains_key(&prepared.tx) {
            return Ok(());
        }
        if nonce < state.chain.account_nonce {
            return Err(BrokerError::Refused("account nonce is used".to_owned()));
        }
        match state.pool.get(&nonce) {
            Some(held) if *held != prepared.raw && held[FEE_AT] >= prepared.raw[FEE_AT] => {
                return Err(BrokerError::Refused("another transaction offers as much".to_owned()));
            }
            _ => state.pool.insert(nonce, prepared.raw.clone()),
        };
        Ok(())
    }

    async fn replacement(
        &self,
        slow: &PreparedRedemption,
    ) -> Result<Option<PreparedRedemption>, BrokerError> {
        let highest_fee = self.online()?.highest_fee;
        let mut raw = slow.raw.clone();
        if raw[FEE_AT] >= highest_fee {
            return Ok(None);
        }
        raw[FEE_AT] += 1;
        Ok(Some(PreparedRedemption { tx: keccak256(&raw), raw }))
    }

    async fn status(&self, prepared: &PreparedRedemption) -> Result<TxStatus, BrokerError> {
        let state = self.online()?;
        if let Some(mined) = state.chain.mined.get(&prepared.tx) {
            let confirmations = state.chain.block - mined.block + 1;
            return Ok(match mined.results.clone() {
                Some(results) => TxStatus::Mined { confirmations, results },
                None => TxStatus::Reverted { confirmations },
            });
        }
        if account_nonce(&prepared.raw)? < state.chain.account_nonce {
            return Ok(TxStatus::Dropped);
        }
        let waits = state.pool.values().any(|raw| *raw == prepared.raw);
        Ok(if waits { TxStatus::Pending } else { TxStatus::Unknown })
    }
}
