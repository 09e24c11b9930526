//! Errors of the client, with the contracts' own errors decoded by name.

use std::fmt;

use alloy::primitives::{Address, B256};

/// What a contract answered instead of doing what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revert {
    /// The Solidity error's name, or `Error`, `Panic`, `unknown`.
    pub name: String,
    /// Its arguments, in order, as text.
    pub args: Vec<String>,
}

impl fmt::Display for Revert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name, self.args.join(", "))
    }
}

/// Why a call to the chain failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The endpoint did not answer, or not in time.
    #[error(
        "the chain at {url} did not answer in {attempts} attempts: {reason}; check that the endpoint runs and is reachable"
    )]
    Unreachable {
        /// The endpoint.
        url: String,
        /// Requests made.
        attempts: u32,
        /// The last failure.
        reason: String,
    },
    /// The endpoint answered with an error of its own.
    #[error("the chain refused {method}: {message} (code {code})")]
    Rpc {
        /// JSON-RPC method.
        method: &'static str,
        /// JSON-RPC code.
        code: i64,
        /// JSON-RPC message.
        message: String,
    },
    /// A contract reverted.
    #[error("{call} reverted: {revert}")]
    Reverted {
        /// The function that was called.
        call: &'static str,
        /// What it answered.
        revert: Revert,
    },
    /// A transaction was mined and reverted.
    #[error("transaction {hash} for {call} was mined and reverted; simulate the call again to see why")]
    MinedReverted {
        /// The function that was called.
        call: &'static str,
        /// The transaction.
        hash: B256,
    },
    /// A transaction was not mined in time. It may still be.
    #[error("transaction {hash} was not mined within {seconds} s; ask for its status before sending another")]
    NotMined {
        /// The transaction.
        hash: B256,
        /// How long was waited.
        seconds: u64,
    },
    /// The account has used the transaction's nonce for another one: this one can never be mined.
    #[error(
        "transaction {hash} cannot be mined any more: its account's nonce {nonce} was used by another; prepare a new one"
    )]
    NonceUsed {
        /// The transaction.
        hash: B256,
        /// Its nonce.
        nonce: u64,
    },
    /// Another transaction in the pool has the nonce and offers as much: this one was not taken.
    #[error(
        "transaction {hash} was not taken: another one of its account holds nonce {nonce} and offers as much; wait for that one"
    )]
    Outbid {
        /// The transaction.
        hash: B256,
        /// Its nonce.
        nonce: u64,
    },
    /// Gas costs more than this client may offer.
    #[error(
        "gas costs {price} wei and at most {cap} wei may be offered; wait for it to fall or raise the cap (max_fee_per_gas)"
    )]
    FeesAboveCap {
        /// Wei per unit of gas now.
        price: u128,
        /// The configured bound.
        cap: u128,
    },
    /// The file of unmined transactions cannot be used.
    #[error("transaction journal {path}: {reason}")]
    Journal {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// The key did not sign.
    #[error("the key of {account} did not sign a transaction: {reason}")]
    Signing {
        /// The account.
        account: Address,
        /// Why.
        reason: String,
    },
    /// A write was asked of a client that has no key.
    #[error("this client has no key and can only read; connect with a key to send {call}")]
    ReadOnly {
        /// The function that was called.
        call: &'static str,
    },
    /// The endpoint is another chain than the deployment's.
    #[error(
        "the endpoint is chain {found} and the deployment is on chain {expected}; use the matching endpoint or deployment file"
    )]
    WrongChain {
        /// The deployment's chain.
        expected: u64,
        /// The endpoint's chain.
        found: u64,
    },
    /// The endpoint's answer does not decode.
    #[error(
        "the answer to {call} does not decode: {reason}; the contracts at the deployment's addresses are other ones"
    )]
    BadAnswer {
        /// The call.
        call: &'static str,
        /// Why.
        reason: String,
    },
    /// An argument is outside its bounds.
    #[error("{name} is {value} and must be {bound}")]
    BadArgument {
        /// The argument.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is allowed.
        bound: String,
    },
    /// The deployment file cannot be read or written.
    #[error("deployment file {path}: {reason}")]
    DeploymentFile {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
}

impl ChainError {
    /// Whether the same call may succeed later without anything being changed.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::NotMined { .. } | Self::FeesAboveCap { .. })
    }
}
