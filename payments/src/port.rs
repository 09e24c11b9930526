//! The ports this crate needs: a broker on a chain, and a clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alloy_primitives::{Address, B256, U256};
use async_trait::async_trait;

use crate::ticket::SignedTicket;
use crate::units::{Round, Wei};

/// Why the broker could not be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// The chain cannot be reached; ask again later.
    #[error("broker is unreachable: {0}; check the rpc endpoint")]
    Unavailable(String),
    /// The chain understood and said no (for example: the transaction would revert).
    #[error("broker refused: {0}")]
    Refused(String),
}

/// The chain as this crate needs to see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChainView {
    /// The current, initialized round.
    pub round: Round,
    /// The block hash recorded for it.
    pub round_block_hash: B256,
    /// A ticket made in round `r` can be redeemed while the current round is not above
    /// `r + validity_rounds`.
    pub validity_rounds: u64,
    /// Current price of one unit of gas.
    pub gas_price: Wei,
}

/// What stands behind a sender's tickets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderFunds {
    /// The sender's deposit.
    pub deposit: Wei,
    /// What the claimant can take from the sender's reserve in the current round once the deposit
    /// is used up.
    pub claimable_reserve: Wei,
    /// The round from which the sender may withdraw, if it has unlocked.
    pub withdraw_round: Option<Round>,
}

impl SenderFunds {
    /// Deposit and claimable reserve together, held at the largest amount.
    pub fn total(&self) -> Wei {
        self.deposit.saturating_add(self.claimable_reserve)
    }
}

/// Reads from the broker. Every method may be called concurrently and is cancel safe.
#[async_trait]
pub trait BrokerView: Send + Sync {
    /// Round, its hash, the validity window and the gas price.
    async fn chain(&self) -> Result<ChainView, BrokerError>;

    /// What `sender` has and what `claimant` could claim of its reserve.
    async fn funds(&self, sender: Address, claimant: Address) -> Result<SenderFunds, BrokerError>;
}

/// A ticket ready to be redeemed: `recipient_rand` becomes public with its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WinningTicket {
    /// The signed ticket.
    pub signed: SignedTicket,
    /// The recipient's secret behind `recipient_rand_hash`.
    pub recipient_rand: U256,
}

/// A signed transaction that has not been sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedRedemption {
    /// The transaction's hash, known before it is sent.
    pub tx: B256,
    /// The signed transaction as it is sent; sending it twice is harmless.
    pub raw: Vec<u8>,
}

/// What became of one ticket of a mined redemption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketResult {
    /// The face value was paid.
    Paid,
    /// Not paid now but may be later: the sender's funds do not cover it, or the recipient may not redeem yet.
    Unfunded,
    /// Will never be paid: outside its validity, or of a round that has another block hash.
    Expired,
    /// Will never be paid: its nonce, or a higher one of its lane, was paid before.
    NoncePassed,
    /// Will never be paid: not a winner, not the sender's signature, not the secret's hash, malformed.
    Invalid,
}

/// What the chain knows of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxStatus {
    /// Neither mined nor in a pool that we can see: it may be sent again.
    Unknown,
    /// Waiting to be mined.
    Pending,
    /// Mined and successful.
    Mined {
        /// Blocks on top of it, its own included: 1 when it is in the newest block.
        confirmations: u64,
        /// One result per ticket, in the order of the batch.
        results: Vec<TicketResult>,
    },
    /// Mined, but reverted as a whole.
    Reverted {
        /// Blocks on top of it, its own included.
        confirmations: u64,
    },
    /// It cannot be mined: its account nonce was used by another transaction. A reorganization may give it back.
    Dropped {
        /// Blocks on top of that other one, its own included; at least so many, where the chain tells no more.
        confirmations: u64,
    },
}

/// Redeems winning tickets. Implemented over a chain client by whoever wires the node.
#[async_trait]
pub trait Broker: BrokerView {
    /// The highest nonce paid in the lane of `sender` and this broker's recipient; 0 when none.
    async fn lane_nonce(&self, sender: Address, lane: u64) -> Result<u64, BrokerError>;

    /// What the chain as it is would make of each of `tickets`, redeemed in this order. Nothing is sent, and what stands
    /// behind them may be another when they are mined.
    async fn rehearse(&self, tickets: &[WinningTicket]) -> Result<Vec<TicketResult>, BrokerError>;

    /// Builds and signs one transaction that redeems `tickets` in order, without sending it. A
    /// ticket that cannot be paid must not revert the others.
    ///
    /// The transaction's account nonce must not be given to another transaction unless this one
    /// is never sent.
    async fn prepare(&self, tickets: &[WinningTicket]) -> Result<PreparedRedemption, BrokerError>;

    /// Sends a prepared transaction. Sending one that the chain already knows succeeds.
    async fn send(&self, prepared: &PreparedRedemption) -> Result<(), BrokerError>;

    /// Signs the same transaction again at a fee high enough to replace `slow`, under the same account nonce, so that the
    /// chain takes one of both at most. `None` when it may not cost more, or when it is not its fee that it waits for.
    async fn replacement(&self, slow: &PreparedRedemption)
    -> Result<Option<PreparedRedemption>, BrokerError>;

    /// What the chain knows of a prepared transaction; changes nothing. It is passed whole, so that an implementation
    /// that was restarted can read the account nonce from its bytes.
    async fn status(&self, prepared: &PreparedRedemption) -> Result<TxStatus, BrokerError>;
}

/// Wall-clock time, passed in so that tests own it.
pub trait Clock: Send + Sync {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

/// How long the chain may take to answer where a peer waits for us: a stopped chain must not stop
/// the node. Half of what a broadcaster waits for a quote, so that a sender known from before gets
/// its quote while the chain hangs.
const BROKER_PATIENCE: Duration = Duration::from_millis(1_500);

/// Asks the chain, but not for long.
pub(crate) async fn patiently<T>(
    call: impl Future<Output = Result<T, BrokerError>>,
) -> Result<T, BrokerError> {
    tokio::time::timeout(BROKER_PATIENCE, call)
        .await
        .unwrap_or_else(|_| Err(BrokerError::Unavailable("no answer in time".to_owned())))
}
