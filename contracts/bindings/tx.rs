//! Transactions: signed locally, so that their hash is known before they are sent.

use alloy::{
    consensus::{Transaction, TxEnvelope},
    eips::eip2718::{Decodable2718, Encodable2718},
    network::{EthereumWallet, NetworkTransactionBuilder, TransactionBuilder},
    primitives::{Address, B256, Bytes, U256},
    rpc::types::{TransactionReceipt, TransactionRequest},
    signers::local::PrivateKeySigner,
};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

use crate::{ChainError, rpc::Rpc};

/// State may change between the estimate and the block: a quarter more gas than estimated.
const GAS_MARGIN_PERCENT: u64 = 125;
/// The base fee can double in six full blocks; a transaction must outlive that.
const FEE_HEADROOM: u128 = 2;
/// One gwei: what a block's maker is offered where the gas price leaves room for it.
const PRIORITY_FEE: u128 = 1_000_000_000;

/// A signed transaction. Store its hash before it is submitted, and nothing is ever sent twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedTx {
    /// Hash under which the chain will know it.
    pub hash: B256,
    /// Account nonce it uses.
    pub nonce: u64,
    /// Gas it may use.
    pub gas_limit: u64,
    /// Encoded and signed.
    pub raw: Bytes,
}

impl PreparedTx {
    /// Takes a stored transaction up again.
    pub fn from_raw(raw: Bytes) -> Result<Self, ChainError> {
        let envelope = TxEnvelope::decode_2718(&mut raw.as_ref()).map_err(|e| ChainError::BadArgument {
            name: "raw",
            value: format!("{} bytes that do not decode ({e})", raw.len()),
            bound: "a signed transaction".to_owned(),
        })?;
        Ok(Self { hash: *envelope.tx_hash(), nonce: envelope.nonce(), gas_limit: envelope.gas_limit(), raw })
    }
}

/// Where a transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxStatus {
    /// The node knows it, no block holds it.
    Pending,
    /// A block holds it.
    Mined {
        /// The block.
        block: u64,
        /// Its own block counts as the first.
        confirmations: u64,
        /// False when it reverted.
        success: bool,
    },
    /// The node does not know it: never arrived, replaced, or lost in a reorganisation.
    Dropped,
}

/// A mined, successful transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxReceipt {
    /// Its hash.
    pub hash: B256,
    /// The block that holds it.
    pub block: u64,
    /// Gas it used.
    pub gas_used: u64,
}

/// What is to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    /// Names the call in errors.
    pub(crate) call: &'static str,
    /// `None` creates a contract.
    pub(crate) to: Option<Address>,
    pub(crate) input: Bytes,
    pub(crate) value: U256,
    /// `None` asks the node, which also finds out whether the call would revert.
    pub(crate) gas: Option<u64>,
}

/// One account that sends. Its nonces are given out one after the other.
pub(crate) struct Account {
    address: Address,
    wallet: EthereumWallet,
    chain_id: u64,
    /// The next nonce, when it is known better than by asking.
    next: Mutex<Option<u64>>,
}

impl Account {
    pub(crate) fn new(key: PrivateKeySigner, chain_id: u64) -> Self {
        Self { address: key.address(), wallet: key.into(), chain_id, next: Mutex::new(None) }
    }

    pub(crate) fn address(&self) -> Address {
        self.address
    }

    /// Signs with the next nonce, which counts as used from now on.
    pub(crate) async fn prepare(&self, rpc: &Rpc, draft: Draft) -> Result<PreparedTx, ChainError> {
        let request = self.price(rpc, draft).await?;
        let mut next = self.next.lock().await;
        let nonce = self.next_nonce(rpc, *next).await?;
        let prepared = self.sign(request, nonce).await?;
        *next = Some(nonce + 1);
        Ok(prepared)
    }

    /// Signs and submits. The nonce counts as used only when the node has taken the transaction, so
    /// that a failure leaves no gap behind which later transactions would wait.
    pub(crate) async fn send(&self, rpc: &Rpc, draft: Draft) -> Result<PreparedTx, ChainError> {
        let request = self.price(rpc, draft).await?;
        let mut next = self.next.lock().await;
        let before = *next;
        let nonce = self.next_nonce(rpc, before).await?;
        let prepared = self.sign(request, nonce).await?;
        // Until the answer is there nobody knows whether the nonce is used: a caller that gives up
        // in between leaves the question to the node.
        *next = None;
        match submit(rpc, &prepared).await {
            Ok(()) => *next = Some(nonce + 1),
            Err(error) => {
                if !error.is_retryable() {
                    *next = before;
                }
                return Err(error);
            }
        }
        Ok(prepared)
    }

    async fn next_nonce(&self, rpc: &Rpc, known: Option<u64>) -> Result<u64, ChainError> {
        let pending = rpc.pending_nonce(self.address).await?;
        Ok(known.map_or(pending, |known| known.max(pending)))
    }

    async fn price(&self, rpc: &Rpc, draft: Draft) -> Result<TransactionRequest, ChainError> {
        let mut tx =
            TransactionRequest::default().from(self.address).input(draft.input.into()).value(draft.value);
        match draft.to {
            Some(to) => tx = tx.to(to),
            None => tx.set_create(),
        }
        let gas = match draft.gas {
            Some(gas) => gas,
            None => rpc.estimate_gas(draft.call, &tx).await?.saturating_mul(GAS_MARGIN_PERCENT) / 100,
        };
        let price = rpc.gas_price().await?;
        tx = tx.gas_limit(gas).max_fee_per_gas(price.saturating_mul(FEE_HEADROOM));
        tx = tx.max_priority_fee_per_gas(price.min(PRIORITY_FEE));
        tx.set_chain_id(self.chain_id);
        Ok(tx)
    }

    async fn sign(&self, mut tx: TransactionRequest, nonce: u64) -> Result<PreparedTx, ChainError> {
        tx.set_nonce(nonce);
        let gas_limit = tx.gas.unwrap_or_default();
        let envelope: TxEnvelope = tx
            .build(&self.wallet)
            .await
            .map_err(|e| ChainError::Signing { account: self.address, reason: e.to_string() })?;
        Ok(PreparedTx { hash: *envelope.tx_hash(), nonce, gas_limit, raw: envelope.encoded_2718().into() })
    }
}

/// Gives a transaction to the node. One that the node has already is as good.
pub(crate) async fn submit(rpc: &Rpc, tx: &PreparedTx) -> Result<(), ChainError> {
    match rpc.send_raw(&tx.raw).await {
        Ok(_) => Ok(()),
        Err(ChainError::Rpc { message, .. }) if is_known(&message) => Ok(()),
        Err(error @ ChainError::Rpc { .. }) => {
            if rpc.knows_transaction(tx.hash).await? {
                return Ok(());
            }
            Err(explain(error, tx))
        }
        Err(error) => Err(error),
    }
}

fn is_known(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    message.contains("already known") || message.contains("already imported")
}

fn explain(error: ChainError, tx: &PreparedTx) -> ChainError {
    match &error {
        ChainError::Rpc { message, .. } if message.to_ascii_lowercase().contains("nonce too low") => {
            ChainError::NonceUsed { hash: tx.hash, nonce: tx.nonce }
        }
        _ => error,
    }
}

/// Where a transaction stands.
pub(crate) async fn status(rpc: &Rpc, hash: B256) -> Result<TxStatus, ChainError> {
    if let Some(receipt) = rpc.receipt(hash).await? {
        return mined(rpc, &receipt).await;
    }
    let known = rpc.knows_transaction(hash).await?;
    Ok(if known { TxStatus::Pending } else { TxStatus::Dropped })
}

async fn mined(rpc: &Rpc, receipt: &TransactionReceipt) -> Result<TxStatus, ChainError> {
    let Some(block) = receipt.block_number else { return Ok(TxStatus::Pending) };
    let height = rpc.block_number().await?;
    let confirmations = (height + 1).saturating_sub(block);
    Ok(TxStatus::Mined { block, confirmations, success: receipt.status() })
}

/// Waits until a transaction is mined deep enough. A chain that is away meanwhile is waited for.
pub(crate) async fn wait(
    rpc: &Rpc,
    call: &'static str,
    hash: B256,
) -> Result<TransactionReceipt, ChainError> {
    let config = rpc.config();
    let deadline = Instant::now() + config.mining_timeout;
    loop {
        match look(rpc, call, hash).await {
            Ok(Some(receipt)) => return Ok(receipt),
            Ok(None) => {}
            Err(error) if error.is_retryable() => {
                tracing::debug!(%hash, %error, "waiting for the chain to answer");
            }
            Err(error) => return Err(error),
        }
        if Instant::now() >= deadline {
            return Err(ChainError::NotMined { hash, seconds: config.mining_timeout.as_secs() });
        }
        sleep(config.poll_interval).await;
    }
}

async fn look(rpc: &Rpc, call: &'static str, hash: B256) -> Result<Option<TransactionReceipt>, ChainError> {
    let Some(receipt) = rpc.receipt(hash).await? else { return Ok(None) };
    match mined(rpc, &receipt).await? {
        TxStatus::Mined { confirmations, .. } if confirmations < rpc.config().confirmations => Ok(None),
        TxStatus::Mined { success: false, .. } => Err(ChainError::MinedReverted { call, hash }),
        TxStatus::Mined { .. } => Ok(Some(receipt)),
        TxStatus::Pending | TxStatus::Dropped => Ok(None),
    }
}

pub(crate) fn summary(receipt: &TransactionReceipt) -> TxReceipt {
    TxReceipt {
        hash: receipt.transaction_hash,
        block: receipt.block_number.unwrap_or_default(),
        gas_used: receipt.gas_used,
    }
}
