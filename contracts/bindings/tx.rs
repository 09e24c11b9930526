//! Transactions: signed locally, so that their hash is known before they are sent.

use alloy::{
    consensus::{Transaction, TxEnvelope},
    eips::eip2718::Decodable2718,
    primitives::{Address, B256, Bytes, U256},
    rpc::types::TransactionReceipt,
};
use tokio::time::{Instant, sleep};

use crate::{ChainError, fees::Fees, rpc::Rpc};

pub(crate) use crate::account::Account;

/// A signed transaction. Store its hash before it is submitted, and nothing is ever sent twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedTx {
    /// Hash under which the chain will know it.
    pub hash: B256,
    /// Account nonce it uses.
    pub nonce: u64,
    /// Gas it may use.
    pub gas_limit: u64,
    /// What it offers for gas.
    pub fees: Fees,
    /// Encoded and signed.
    pub raw: Bytes,
}

impl PreparedTx {
    /// Takes a stored transaction up again.
    pub fn from_raw(raw: Bytes) -> Result<Self, ChainError> {
        let envelope = envelope(&raw)?;
        Ok(Self {
            hash: *envelope.tx_hash(),
            nonce: envelope.nonce(),
            gas_limit: envelope.gas_limit(),
            fees: Fees {
                max_fee: envelope.max_fee_per_gas(),
                priority: envelope.max_priority_fee_per_gas().unwrap_or_default(),
            },
            raw,
        })
    }

    /// Whose account nonce it uses.
    ///
    /// # Errors
    /// [`ChainError::BadArgument`] when no key made its signature.
    pub fn signer(&self) -> Result<Address, ChainError> {
        let envelope = envelope(&self.raw)?;
        let signed = envelope.signature_hash();
        envelope.signature().recover_address_from_prehash(&signed).map_err(|e| ChainError::BadArgument {
            name: "raw",
            value: format!("a transaction with a signature of nobody ({e})"),
            bound: "a signed transaction".to_owned(),
        })
    }

    /// What it does, to be signed again with other fees.
    pub(crate) fn draft(&self) -> Result<Draft, ChainError> {
        let envelope = envelope(&self.raw)?;
        Ok(Draft {
            call: "a replacement",
            to: envelope.to(),
            input: envelope.input().clone(),
            value: envelope.value(),
            gas: Some(envelope.gas_limit()),
        })
    }
}

fn envelope(raw: &Bytes) -> Result<TxEnvelope, ChainError> {
    TxEnvelope::decode_2718(&mut raw.as_ref()).map_err(|e| ChainError::BadArgument {
        name: "raw",
        value: format!("{} bytes that do not decode ({e})", raw.len()),
        bound: "a signed transaction".to_owned(),
    })
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

pub(crate) fn is_known(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    message.contains("already known") || message.contains("already imported")
}

/// Another transaction of the account has the nonce: a mined one, or one in the pool that this does not outbid.
fn explain(error: ChainError, tx: &PreparedTx) -> ChainError {
    let ChainError::Rpc { message, .. } = &error else { return error };
    let message = message.to_ascii_lowercase();
    if message.contains("nonce too low") {
        return ChainError::NonceUsed { hash: tx.hash, nonce: tx.nonce };
    }
    if message.contains("underpriced") {
        return ChainError::Outbid { hash: tx.hash, nonce: tx.nonce };
    }
    error
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
        match look(rpc, call, &[hash]).await {
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

/// The receipt of whichever of these transactions is mined deep enough.
pub(crate) async fn look(
    rpc: &Rpc,
    call: &'static str,
    hashes: &[B256],
) -> Result<Option<TransactionReceipt>, ChainError> {
    let Some(receipt) = rpc.receipt_of_any(hashes).await? else { return Ok(None) };
    match mined(rpc, &receipt).await? {
        TxStatus::Mined { confirmations, .. } if confirmations < rpc.config().confirmations => Ok(None),
        TxStatus::Mined { success: false, .. } => {
            Err(ChainError::MinedReverted { call, hash: receipt.transaction_hash })
        }
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
