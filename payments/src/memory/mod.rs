//! A broker in memory with the contract's rules, and a clock set by hand: for simulations, examples
//! and tests. The real broker is a contract, reached through a chain client.

mod chain;
mod tx;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alloy_primitives::{Address, B256};
use async_trait::async_trait;

use crate::key::keccak256;
use crate::ledger::LaneId;
use crate::port::{
    Broker, BrokerError, BrokerView, ChainView, Clock, PreparedRedemption, SenderFunds, TicketResult,
    TxStatus, WinningTicket,
};
use crate::ticket::Domain;
use crate::units::{Round, Wei};
use chain::Chain;
use tx::Head;

/// Blocks that can be undone.
const KEPT_BLOCKS: usize = 64;

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

/// A chain with one broker, as one recipient sees it, who redeems from an account of its own.
/// Transactions wait until [`MemoryBroker::mine`].
///
/// It keeps the contract's rules: a lane's nonces only rise, the whole face value or nothing is
/// paid, from the deposit first and then from the recipient's share of the reserve, a bad ticket is
/// skipped; and the chain's: one transaction per account nonce. Every recipient counts as active.
#[derive(Debug, Clone)]
pub struct MemoryBroker {
    domain: Domain,
    recipient: Address,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    online: bool,
    highest_fee: u8,
    lowest_fee: u8,
    largest_batch: usize,
    chain: Chain,
    /// The chain before each block, newest last, at most [`KEPT_BLOCKS`].
    history: VecDeque<Chain>,
    /// Sent and not mined, by account and its nonce.
    pool: BTreeMap<(Address, u64), Vec<u8>>,
    poisoned: HashSet<u64>,
}

impl State {
    fn begin_block(&mut self) {
        if self.history.len() == KEPT_BLOCKS {
            self.history.pop_front();
        }
        self.history.push_back(self.chain.clone());
        self.chain.block += 1;
    }

    /// The next transaction of any account that can be mined.
    fn next_minable(&mut self) -> Option<(Address, Vec<u8>)> {
        let chain = &self.chain;
        let found = self.pool.iter().find(|((account, nonce), raw)| {
            *nonce == chain.account_nonce(*account)
                && tx::head(raw).is_ok_and(|head| head.fee >= self.lowest_fee)
        });
        let key = *found?.0;
        self.pool.remove(&key).map(|raw| (key.0, raw))
    }

    /// Undoes blocks and returns the transactions that were in them.
    fn undo(&mut self, blocks: usize) -> Vec<Vec<u8>> {
        let mut undone = HashMap::new();
        for _ in 0..blocks {
            let Some(before) = self.history.pop_back() else { break };
            let after = std::mem::replace(&mut self.chain, before);
            undone.extend(after.mined.into_iter().filter(|(tx, _)| !self.chain.mined.contains_key(tx)));
        }
        undone.into_values().map(|mined| mined.raw).collect()
    }

    /// Blocks since an account nonce was used, that one included; 0 while it is free.
    fn used_for(&self, account: Address, nonce: u64) -> u64 {
        let used = |chain: &&Chain| chain.account_nonce(account) > nonce;
        let states = std::iter::once(&self.chain).chain(self.history.iter().rev());
        states.take_while(used).count() as u64
    }

    fn reverts(&self, raw: &[u8]) -> bool {
        let tickets = tx::tickets(raw);
        tickets.iter().any(|ticket| self.poisoned.contains(&ticket.signed.ticket.sender_nonce))
    }
}

impl MemoryBroker {
    /// An empty chain in round 1 with a validity of 2 rounds and a gas price of 1 gwei.
    pub fn new(domain: Domain, recipient: Address) -> Self {
        let state = State {
            online: true,
            highest_fee: u8::MAX,
            lowest_fee: 0,
            largest_batch: usize::MAX,
            chain: Chain::new(),
            history: VecDeque::new(),
            pool: BTreeMap::new(),
            poisoned: HashSet::new(),
        };
        Self { domain, recipient, state: Arc::new(Mutex::new(state)) }
    }

    /// The same chain as another recipient sees it.
    #[must_use]
    pub fn beside(&self, recipient: Address) -> Self {
        Self { recipient, ..self.clone() }
    }

    /// Sets how many recipients share each reserve; 1 at first. Call it before anybody is funded.
    pub fn set_active(&self, recipients: u64) {
        self.state().chain.active = recipients.max(1);
    }

    /// Sets what a recipient sees behind a sender.
    pub fn fund(&self, sender: Address, funds: SenderFunds) {
        self.state().chain.fund(sender, funds);
    }

    /// Lets a sender withdraw in so many rounds, as the contract's `unlock` does.
    pub fn unlock(&self, sender: Address, rounds: u64) {
        self.state().chain.unlock(sender, rounds);
    }

    /// Takes out deposit and reserve of a sender whose unlock is over; zero before that.
    pub fn withdraw(&self, sender: Address) -> Wei {
        self.state().chain.withdraw(sender)
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

    /// Sets the fee below which nothing is taken into the pool nor mined: a first version offers 1,
    /// each replacement one more.
    pub fn set_lowest_fee(&self, fee: u8) {
        self.state().lowest_fee = fee;
    }

    /// Sets how many tickets one transaction may carry; any number at first.
    pub fn set_largest_batch(&self, tickets: usize) {
        self.state().largest_batch = tickets;
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
        state.begin_block();
        while let Some((account, raw)) = state.next_minable() {
            let reverts = state.reverts(&raw);
            state.chain.include(&self.domain, account, &raw, reverts);
        }
    }

    /// Undoes the newest `blocks`. Their transactions are forgotten, as by a chain that dropped them.
    pub fn reorganize(&self, blocks: usize) {
        self.state().undo(blocks);
    }

    /// Undoes the newest `blocks`. Their transactions wait again, as most nodes have it.
    pub fn reorganize_into_pool(&self, blocks: usize) {
        let mut state = self.state();
        for raw in state.undo(blocks) {
            if let Ok(Head { account, nonce, .. }) = tx::head(&raw) {
                state.pool.entry((account, nonce)).or_insert(raw);
            }
        }
    }

    /// Forgets what waits to be mined.
    pub fn forget_pool(&self) {
        self.state().pool.clear();
    }

    /// Mines a block in which the account's next nonce is used from elsewhere, so that what waits on
    /// it can never be mined.
    pub fn spend_account_nonce(&self) {
        let mut state = self.state();
        state.begin_block();
        let next = state.chain.account_nonce(self.recipient);
        state.pool.remove(&(self.recipient, next));
        state.chain.take_account_nonce(self.recipient);
    }

    /// Transactions that wait.
    pub fn waiting(&self) -> usize {
        self.state().pool.len()
    }

    /// Every ticket paid, in order.
    pub fn paid(&self) -> Vec<(LaneId, u64)> {
        self.state().chain.paid.clone()
    }

    /// What this recipient was paid in all.
    pub fn earned(&self) -> Wei {
        self.state().chain.earned.get(&self.recipient).copied().unwrap_or_default()
    }

    /// Tickets that are in the pool or paid under more than one account nonce: a redeemer has two
    /// live transactions for them.
    pub fn live_twice(&self) -> Vec<(LaneId, u64)> {
        let state = self.state();
        let mut nonces: HashMap<(LaneId, u64), HashSet<(Address, u64)>> = HashMap::new();
        let mut note = |raw: &[u8], counts: &dyn Fn(usize) -> bool| {
            let Ok(head) = tx::head(raw) else { return };
            for (_, winning) in tx::tickets(raw).iter().enumerate().filter(|(at, _)| counts(*at)) {
                let ticket = &winning.signed.ticket;
                let lane = LaneId { sender: ticket.sender, recipient: ticket.recipient, lane: ticket.lane };
                nonces.entry((lane, ticket.sender_nonce)).or_default().insert((head.account, head.nonce));
            }
        };
        for raw in state.pool.values() {
            note(raw, &|_| true);
        }
        for mined in state.chain.mined.values() {
            let Some(results) = &mined.results else { continue };
            note(&mined.raw, &|at| results.get(at) == Some(&TicketResult::Paid));
        }
        nonces.into_iter().filter(|(_, live)| live.len() > 1).map(|(ticket, _)| ticket).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn online(&self) -> Result<MutexGuard<'_, State>, BrokerError> {
        let state = self.state();
        if state.online { Ok(state) } else { Err(BrokerError::Unavailable("chain is away".to_owned())) }
    }
}

#[async_trait]
impl BrokerView for MemoryBroker {
    async fn chain(&self) -> Result<ChainView, BrokerError> {
        Ok(self.online()?.chain.view)
    }

    async fn funds(&self, sender: Address, claimant: Address) -> Result<SenderFunds, BrokerError> {
        Ok(self.online()?.chain.funds(sender, claimant))
    }
}

#[async_trait]
impl Broker for MemoryBroker {
    async fn lane_nonce(&self, sender: Address, lane: u64) -> Result<u64, BrokerError> {
        let lane = LaneId { sender, recipient: self.recipient, lane };
        Ok(self.online()?.chain.lanes.get(&lane).copied().unwrap_or_default())
    }

    async fn rehearse(&self, tickets: &[WinningTicket]) -> Result<Vec<TicketResult>, BrokerError> {
        let mut chain = self.online()?.chain.clone();
        Ok(chain.redeem_all(&self.domain, self.recipient, tickets))
    }

    async fn prepare(&self, tickets: &[WinningTicket]) -> Result<PreparedRedemption, BrokerError> {
        let state = self.online()?;
        if tickets.len() > state.largest_batch {
            return Err(BrokerError::Refused(format!("{} tickets in one transaction", tickets.len())));
        }
        let account = self.recipient;
        let waiting = state.pool.range((account, 0)..=(account, u64::MAX)).next_back();
        let mined = state.chain.account_nonce(account);
        let nonce = waiting.map_or(mined, |((_, last), _)| mined.max(last + 1));
        Ok(tx::signed(Head { account, nonce, fee: state.lowest_fee.max(1) }, tickets))
    }

    async fn send(&self, prepared: &PreparedRedemption) -> Result<(), BrokerError> {
        let mut state = self.online()?;
        let Head { account, nonce, fee } = tx::head(&prepared.raw)?;
        if state.chain.mined.contains_key(&prepared.tx) {
            return Ok(());
        }
        if nonce < state.chain.account_nonce(account) {
            return Err(BrokerError::Refused("account nonce is used".to_owned()));
        }
        if fee < state.lowest_fee {
            return Err(BrokerError::Refused("fee is below what a block takes".to_owned()));
        }
        if let Some(held) = state.pool.get(&(account, nonce))
            && *held != prepared.raw
            && tx::head(held)?.fee >= fee
        {
            return Err(BrokerError::Refused("another transaction offers as much".to_owned()));
        }
        state.pool.insert((account, nonce), prepared.raw.clone());
        Ok(())
    }

    async fn replacement(
        &self,
        slow: &PreparedRedemption,
    ) -> Result<Option<PreparedRedemption>, BrokerError> {
        let state = self.online()?;
        let head = tx::head(&slow.raw)?;
        if head.fee >= state.highest_fee {
            return Ok(None);
        }
        let fee = state.lowest_fee.max(head.fee + 1);
        Ok(Some(tx::signed(Head { fee, ..head }, &tx::tickets(&slow.raw))))
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
        let Head { account, nonce, .. } = tx::head(&prepared.raw)?;
        if state.pool.get(&(account, nonce)) == Some(&prepared.raw) {
            return Ok(TxStatus::Pending);
        }
        Ok(match state.used_for(account, nonce) {
            0 => TxStatus::Unknown,
            confirmations => TxStatus::Dropped { confirmations },
        })
    }
}
