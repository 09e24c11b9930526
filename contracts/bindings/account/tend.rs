//! Looking after what was sent: what is slow is raised, what the node lost is offered again, what was never sent is filled.

use std::time::Duration;

use alloy::primitives::{Bytes, U256};
use tokio::time::Instant;

use super::{Account, Book, Live};
use crate::{
    ChainError, PreparedTx,
    fees::Fees,
    rpc::Rpc,
    tx::{self, Draft},
};

/// An empty transfer needs exactly this.
const TRANSFER_GAS: u64 = 21_000;
/// Versions of one intent: a fee that rises by an eighth is a thousandfold after 59.
const MAX_VERSIONS: usize = 64;
/// A mined intent is kept this long for whoever waits for it; who gave up waiting does not clear it away.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);
/// A nonce that was given out and not sent is filled after this many times the wait before a raise: its owner has long
/// sent it, or never will.
const GAP_PATIENCE: u32 = 2;

impl Account {
    /// Looks after all that this account sent, whether anybody still waits for it or not.
    pub(super) async fn tend_all(&self, rpc: &Rpc) -> Result<(), ChainError> {
        let last = self.book.lock().await.last();
        if let Some(last) = last {
            self.tend(rpc, last).await?;
        }
        Ok(())
    }

    /// Looks after the account's first unmined nonce, which all later ones up to `waiting` wait for. Returns that nonce.
    pub(super) async fn tend(&self, rpc: &Rpc, waiting: u64) -> Result<u64, ChainError> {
        let mut book = self.book.lock().await;
        let first = rpc.mined_nonce(self.address).await?;
        let patience = rpc.config().bump_after;
        book.live.retain(|nonce, live| *nonce >= first || live.since.elapsed() < FORGOTTEN_AFTER);
        if first > waiting {
            return Ok(first);
        }
        match book.live.get(&first) {
            Some(live) if !live.kept_by_owner && live.since.elapsed() >= patience => {
                self.raise(rpc, &mut book, first).await?;
            }
            Some(live) if live.kept_by_owner && live.since.elapsed() >= patience * GAP_PATIENCE => {
                self.fill_gap(rpc, &mut book, first).await?;
            }
            None => self.fill_gap(rpc, &mut book, first).await?,
            Some(_) => {}
        }
        Ok(first)
    }

    /// Offers an intent again: the same where the node lost it and takes it back, or the cap is reached, else at higher fees.
    async fn raise(&self, rpc: &Rpc, book: &mut Book, nonce: u64) -> Result<(), ChainError> {
        let Some(live) = book.live.get_mut(&nonce) else { return Ok(()) };
        live.since = Instant::now();
        let newest = live.newest().clone();
        if !rpc.knows_transaction(newest.hash).await? && !self.is_refused(rpc, live).await? {
            return Ok(());
        }
        let next = match live.versions.len() >= MAX_VERSIONS {
            true => None,
            false => self.replacement(rpc, &newest).await?,
        };
        let Some(next) = next else { return self.offer(rpc, &newest).await };
        tracing::info!(nonce, tx = %next.hash, max_fee = next.fees.max_fee, "raising the fee of a slow transaction");
        live.versions.push(next.clone());
        self.write(book)?;
        self.offer(rpc, &next).await
    }

    /// Offers a version that the node does not have. Whether it is refused for its fees: nodes drop what has become too
    /// cheap, and do not take it back. Where a stranger with the key has the nonce, higher fees are no answer.
    async fn is_refused(&self, rpc: &Rpc, live: &Live) -> Result<bool, ChainError> {
        match tx::submit(rpc, live.newest()).await {
            Ok(()) | Err(ChainError::NonceUsed { .. }) => Ok(false),
            Err(ChainError::Outbid { .. })
                if rpc.pending_nonce(self.address).await? > live.newest().nonce =>
            {
                for older in live.versions.iter().rev().skip(1) {
                    if rpc.knows_transaction(older.hash).await? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Err(error) if error.is_retryable() => Err(error),
            Err(error) => {
                tracing::debug!(tx = %live.newest().hash, %error, "the node does not take it back");
                Ok(true)
            }
        }
    }

    /// Whatever the node says, its receipt decides what became of it.
    async fn offer(&self, rpc: &Rpc, version: &PreparedTx) -> Result<(), ChainError> {
        match tx::submit(rpc, version).await {
            Err(error) if !error.is_retryable() => {
                tracing::debug!(tx = %version.hash, %error, "the node did not take it");
                Ok(())
            }
            other => other,
        }
    }

    /// A version of an owner's slow transaction at higher fees; `None` at the cap, and where higher fees are no answer: it is
    /// another key's, an earlier nonce has to be mined first (which is looked after here), or the node refuses it though
    /// its fees would do.
    pub(crate) async fn hasten(
        &self,
        rpc: &Rpc,
        slow: &PreparedTx,
    ) -> Result<Option<PreparedTx>, ChainError> {
        if slow.signer()? != self.address {
            return Ok(None);
        }
        if let Some(before) = slow.nonce.checked_sub(1)
            && self.tend(rpc, before).await? < slow.nonce
        {
            return Ok(None);
        }
        let is_affordable = slow.fees.max_fee >= rpc.gas_price().await?;
        if is_affordable && !rpc.knows_transaction(slow.hash).await? {
            return Ok(None);
        }
        self.replacement(rpc, slow).await
    }

    /// The same intent under the same nonce at higher fees; `None` at the cap.
    async fn replacement(&self, rpc: &Rpc, slow: &PreparedTx) -> Result<Option<PreparedTx>, ChainError> {
        let price = rpc.gas_price().await?;
        let Some(fees) = slow.fees.raised(price, rpc.config().max_fee_per_gas) else { return Ok(None) };
        let request = self.filled(slow.draft()?, slow.gas_limit, fees);
        self.sign(request, slow.nonce).await.map(Some)
    }

    /// An empty transfer takes a nonce that nothing was sent with. Whoever it was given to is told that it is used.
    async fn fill_gap(&self, rpc: &Rpc, book: &mut Book, nonce: u64) -> Result<(), ChainError> {
        if rpc.pending_nonce(self.address).await? != nonce {
            return Ok(());
        }
        tracing::warn!(
            nonce,
            "nothing was sent with this account nonce, filling it so that later ones can be mined"
        );
        let fees = Fees::at(rpc.gas_price().await?, rpc.config().max_fee_per_gas)?;
        let empty = Draft {
            call: "an empty transfer",
            to: Some(self.address),
            input: Bytes::new(),
            value: U256::ZERO,
            gas: Some(TRANSFER_GAS),
        };
        let filler = self.sign(self.filled(empty, TRANSFER_GAS, fees), nonce).await?;
        book.enter(filler.clone(), false);
        self.write(book)?;
        self.offer(rpc, &filler).await
    }
}
