//! Transactions: signed locally, so that their hash is known before they are sent.

use alloy::primitives::{B256, Bytes};

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
