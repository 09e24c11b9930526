//! One account that sends: nonces one after the other, each used by one intent, stuck ones raised, lost ones repaired.
//!
//! Every version of an intent has the same account nonce, so that the chain takes one of them at most. Whoever waits for
//! an intent looks after the account's first unmined nonce too, and so does whoever finds that what was due is on its way:
//! it is resent where the node lost it, raised where it is slow, and filled with an empty transfer where nothing was ever
//! sent, because later nonces wait for it.

mod tend;

use std::{
    collections::{BTreeMap, hash_map::RandomState},
    hash::{BuildHasher as _, Hasher as _},
};

use alloy::{
    consensus::TxEnvelope,
    eips::eip2718::Encodable2718,
    network::{EthereumWallet, NetworkTransactionBuilder, TransactionBuilder},
    primitives::{Address, B256},
    rpc::types::{TransactionReceipt, TransactionRequest},
    signers::local::PrivateKeySigner,
};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

use crate::{
    ChainError, PreparedTx,
    fees::Fees,
    journal::Journal,
    rpc::Rpc,
    tx::{self, Draft},
};

/// State may change between the estimate and the block: a quarter more gas than estimated.
const GAS_MARGIN_PERCENT: u64 = 125;
/// Two processes with one key may want to send the same thing with the same nonce, and must not take the other's
/// transaction for their own: each allows a little more gas by an amount of its own, which costs nothing.
const SALTS: u64 = 1_000;
/// Another process with the same key may take a nonce between the question and the sending, once for each thing that it
/// sends; hardly so often while one of ours is on its way.
const SEND_TRIES: usize = 16;
/// Intents remembered: nodes queue 64 transactions of an account, and settled ones are forgotten when they are seen.
const MAX_LIVE: usize = 256;

/// One intent that may not be mined yet.
#[derive(Debug)]
struct Live {
    /// Oldest first, never empty.
    versions: Vec<PreparedTx>,
    /// When the newest version was signed or last offered.
    since: Instant,
    /// Its owner keeps it on disk and raises it; this account never does.
    kept_by_owner: bool,
}

impl Live {
    fn newest(&self) -> &PreparedTx {
        self.versions.last().expect("an intent has a version")
    }
}

#[derive(Debug, Default)]
struct Book {
    /// The next nonce, when it is known better than by asking.
    next: Option<u64>,
    live: BTreeMap<u64, Live>,
}

impl Book {
    fn enter(&mut self, prepared: PreparedTx, kept_by_owner: bool) {
        while self.live.len() >= MAX_LIVE {
            self.live.pop_first();
        }
        let live = Live { versions: vec![prepared], since: Instant::now(), kept_by_owner };
        self.live.insert(live.newest().nonce, live);
    }

    /// The last nonce that was given out or sent with. One that is not remembered counts too: where a reorganisation took
    /// blocks back for good, nothing else would ever close the gap.
    fn last(&self) -> Option<u64> {
        let given = self.next.and_then(|next| next.checked_sub(1));
        given.max(self.live.last_key_value().map(|(nonce, _)| *nonce))
    }
}

/// One account that sends. Its nonces are given out one after the other.
pub(crate) struct Account {
    address: Address,
    wallet: EthereumWallet,
    chain_id: u64,
    /// Added to the gas that each transaction may use.
    salt: u64,
    journal: Option<Journal>,
    book: Mutex<Book>,
}

impl Account {
    pub(crate) fn new(key: PrivateKeySigner, chain_id: u64) -> Self {
        // The standard library's hash keys differ from process to process, and nothing secret hangs on them.
        let salt = RandomState::new().build_hasher().finish() % SALTS;
        let (address, book) = (key.address(), Mutex::default());
        Self { address, wallet: key.into(), chain_id, salt, journal: None, book }
    }

    /// An account that takes up what the process before this one sent, and remembers what this one sends.
    pub(crate) async fn open(key: PrivateKeySigner, chain_id: u64, rpc: &Rpc) -> Result<Self, ChainError> {
        let mut account = Self::new(key, chain_id);
        let Some(path) = rpc.config().journal.clone() else { return Ok(account) };
        let journal = Journal::new(path, chain_id, account.address);
        let left = journal.load()?;
        account.journal = Some(journal);
        account.take_up(rpc, left).await?;
        Ok(account)
    }

    async fn take_up(&self, rpc: &Rpc, left: BTreeMap<u64, Vec<PreparedTx>>) -> Result<(), ChainError> {
        if left.is_empty() {
            return Ok(());
        }
        let mined = rpc.mined_nonce(self.address).await?;
        let mut book = self.book.lock().await;
        for (nonce, versions) in left.into_iter().filter(|(nonce, _)| *nonce >= mined) {
            let Some(newest) = versions.last() else { continue };
            tracing::info!(nonce, tx = %newest.hash, "taking up a transaction that was not mined");
            if let Err(error) = tx::submit(rpc, newest).await {
                tracing::debug!(nonce, %error, "it stays as it is");
            }
            book.next = Some(nonce + 1);
            book.live.insert(nonce, Live { versions, since: Instant::now(), kept_by_owner: false });
        }
        self.write(&book)
    }

    pub(crate) fn address(&self) -> Address {
        self.address
    }

    /// Signs with the next nonce, which counts as used from now on. Its owner keeps it, sends it and raises it.
    pub(crate) async fn prepare(&self, rpc: &Rpc, draft: Draft) -> Result<PreparedTx, ChainError> {
        let request = self.request(rpc, draft).await?;
        let mut book = self.book.lock().await;
        let nonce = self.next_nonce(rpc, &book).await?;
        let prepared = self.sign(request, nonce).await?;
        book.next = Some(nonce + 1);
        book.enter(prepared.clone(), true);
        Ok(prepared)
    }

    /// Signs and submits. The nonce counts as used only when the node has taken the transaction, so
    /// that a failure leaves no gap behind which later transactions would wait.
    pub(crate) async fn send(&self, rpc: &Rpc, draft: Draft) -> Result<PreparedTx, ChainError> {
        let request = self.request(rpc, draft).await?;
        let mut tries = 1;
        loop {
            let mut book = self.book.lock().await;
            let nonce = self.next_nonce(rpc, &book).await?;
            match self.dispatch(rpc, &mut book, request.clone(), nonce).await {
                Err(error) if lost_nonce(&error) && tries < SEND_TRIES => tries += 1,
                sent => return sent,
            }
        }
    }

    /// Sends only when `due` says so *after* the nonce was chosen, and only with that nonce.
    ///
    /// Of any number of processes that hold the key, one at most gets such a transaction mined: whoever chose its nonce
    /// before another's was sent conflicts with it, whoever chose later sees it in the pending state that `due` reads.
    /// `None`: not due, or an own transaction is not out yet, so that the nonce would not be fenced. Where nothing is sent,
    /// the reason may be that it was sent before, and whoever waited for it gave up: then it is looked after here.
    pub(crate) async fn send_fenced<F: Future<Output = Result<bool, ChainError>>>(
        &self,
        rpc: &Rpc,
        draft: Draft,
        due: impl FnOnce() -> F,
    ) -> Result<Option<PreparedTx>, ChainError> {
        let sent = self.send_if_due(rpc, draft, due).await;
        if matches!(sent, Ok(None) | Err(ChainError::Reverted { .. })) {
            self.tend_all(rpc).await?;
        }
        sent
    }

    async fn send_if_due<F: Future<Output = Result<bool, ChainError>>>(
        &self,
        rpc: &Rpc,
        draft: Draft,
        due: impl FnOnce() -> F,
    ) -> Result<Option<PreparedTx>, ChainError> {
        let request = self.request(rpc, draft).await?;
        let mut book = self.book.lock().await;
        let nonce = rpc.pending_nonce(self.address).await?;
        let is_fenced = book.next.is_none_or(|known| known <= nonce);
        if !is_fenced || !due().await? {
            return Ok(None);
        }
        match self.dispatch(rpc, &mut book, request, nonce).await {
            Err(error) if lost_nonce(&error) => Ok(None),
            sent => sent.map(Some),
        }
    }

    async fn dispatch(
        &self,
        rpc: &Rpc,
        book: &mut Book,
        request: TransactionRequest,
        nonce: u64,
    ) -> Result<PreparedTx, ChainError> {
        let prepared = self.sign(request, nonce).await?;
        // Until the answer is there nobody knows whether the nonce is used: a caller that gives up
        // in between leaves the question to the node.
        let before = book.next.take();
        book.enter(prepared.clone(), false);
        self.write(book)?;
        match tx::submit(rpc, &prepared).await {
            Ok(()) => book.next = Some(nonce + 1),
            Err(error) => {
                if !error.is_retryable() {
                    book.live.remove(&nonce);
                    book.next = before.filter(|_| !lost_nonce(&error));
                    self.write(book)?;
                }
                return Err(error);
            }
        }
        Ok(prepared)
    }

    /// Waits until an intent is mined deep enough, in whichever version, and raises its fee while it is not.
    pub(crate) async fn wait(
        &self,
        rpc: &Rpc,
        call: &'static str,
        sent: &PreparedTx,
    ) -> Result<TransactionReceipt, ChainError> {
        let config = rpc.config();
        let deadline = Instant::now() + config.mining_timeout;
        let mut hashes = vec![sent.hash];
        let mut tended = Instant::now();
        loop {
            match self.look(rpc, call, sent.nonce, &mut hashes, &mut tended).await {
                Ok(Some(receipt)) => {
                    self.settle(sent.nonce).await?;
                    return Ok(receipt);
                }
                Ok(None) => {}
                Err(error) if error.is_retryable() => {
                    tracing::debug!(hash = %sent.hash, %error, "waiting for the chain to answer");
                }
                Err(error) => {
                    self.settle(sent.nonce).await?;
                    return Err(error);
                }
            }
            if Instant::now() >= deadline {
                let hash = hashes.last().copied().unwrap_or(sent.hash);
                return Err(ChainError::NotMined { hash, seconds: config.mining_timeout.as_secs() });
            }
            sleep(config.poll_interval).await;
        }
    }

    async fn look(
        &self,
        rpc: &Rpc,
        call: &'static str,
        nonce: u64,
        hashes: &mut Vec<B256>,
        tended: &mut Instant,
    ) -> Result<Option<TransactionReceipt>, ChainError> {
        if let Some(receipt) = tx::look(rpc, call, hashes).await? {
            return Ok(Some(receipt));
        }
        if tended.elapsed() < rpc.config().bump_after {
            return Ok(None);
        }
        let mined = self.tend(rpc, nonce).await?;
        *tended = Instant::now();
        if let Some(live) = self.book.lock().await.live.get(&nonce) {
            *hashes = live.versions.iter().map(|version| version.hash).collect();
        }
        if mined <= nonce {
            return Ok(None);
        }
        // The nonce is used: by one of ours, or by a stranger with the key.
        match rpc.receipt_of_any(hashes).await? {
            Some(_) => Ok(None),
            None => {
                let hash = hashes.last().copied().unwrap_or_default();
                Err(ChainError::NonceUsed { hash, nonce })
            }
        }
    }

    async fn settle(&self, nonce: u64) -> Result<(), ChainError> {
        let mut book = self.book.lock().await;
        book.live.remove(&nonce);
        self.write(&book)
    }

    fn write(&self, book: &Book) -> Result<(), ChainError> {
        let Some(journal) = &self.journal else { return Ok(()) };
        let own = book.live.iter().filter(|(_, live)| !live.kept_by_owner);
        journal.save(own.map(|(nonce, live)| (*nonce, live.versions.as_slice())))
    }

    async fn next_nonce(&self, rpc: &Rpc, book: &Book) -> Result<u64, ChainError> {
        let pending = rpc.pending_nonce(self.address).await?;
        Ok(book.next.map_or(pending, |known| known.max(pending)))
    }

    async fn request(&self, rpc: &Rpc, draft: Draft) -> Result<TransactionRequest, ChainError> {
        let fees = Fees::at(rpc.gas_price().await?, rpc.config().max_fee_per_gas)?;
        let gas = match draft.gas {
            Some(gas) => gas,
            None => self.estimate(rpc, &draft).await?.saturating_mul(GAS_MARGIN_PERCENT) / 100,
        };
        Ok(self.filled(draft, gas.saturating_add(self.salt), fees))
    }

    /// Gas that a draft would take now; fails as the call would.
    pub(crate) async fn estimate(&self, rpc: &Rpc, draft: &Draft) -> Result<u64, ChainError> {
        rpc.estimate_gas(draft.call, &self.unpriced(draft.clone())).await
    }

    fn filled(&self, draft: Draft, gas: u64, fees: Fees) -> TransactionRequest {
        let tx = self.unpriced(draft).gas_limit(gas);
        let mut tx = tx.max_fee_per_gas(fees.max_fee).max_priority_fee_per_gas(fees.priority);
        tx.set_chain_id(self.chain_id);
        tx
    }

    fn unpriced(&self, draft: Draft) -> TransactionRequest {
        let tx = TransactionRequest::default().from(self.address).value(draft.value);
        let mut tx = tx.input(draft.input.into());
        match draft.to {
            Some(to) => tx = tx.to(to),
            None => tx.set_create(),
        }
        tx
    }

    async fn sign(&self, mut tx: TransactionRequest, nonce: u64) -> Result<PreparedTx, ChainError> {
        tx.set_nonce(nonce);
        let envelope: TxEnvelope = tx
            .build(&self.wallet)
            .await
            .map_err(|e| ChainError::Signing { account: self.address, reason: e.to_string() })?;
        PreparedTx::from_raw(envelope.encoded_2718().into())
    }
}

/// Another transaction of the account has the nonce.
fn lost_nonce(error: &ChainError) -> bool {
    matches!(error, ChainError::NonceUsed { .. } | ChainError::Outbid { .. })
}
