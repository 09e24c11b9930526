//! Turns winners into money: pure decisions and a driver that carries them out.

mod plan;

use std::sync::Arc;

use crate::ledger::{Ledger, LedgerError};
use crate::port::{Broker, BrokerError, Clock};
use crate::units::Wei;

/// When and how winners are redeemed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedeemPolicy {
    /// Tickets in one transaction at most.
    pub max_batch: usize,
    /// A batch of this many goes out at once.
    pub min_batch: usize,
    /// A smaller one goes out when its oldest winner has waited this long, in milliseconds.
    pub max_wait_ms: u64,
    /// Above this gas price only urgent winners go out.
    pub max_gas_price: Wei,
    /// A winner with at most this many rounds left is urgent.
    pub urgent_rounds: u64,
    /// Blocks on top of a transaction, its own included, that make it final.
    pub confirmations: u64,
    /// Failed transactions after which a winner is given up.
    pub max_attempts: u32,
}

impl Default for RedeemPolicy {
    fn default() -> Self {
        Self {
            max_batch: 50,
            min_batch: 10,
            max_wait_ms: 60_000,
            max_gas_price: Wei::from(100_000_000_000),
            urgent_rounds: 1,
            confirmations: 3,
            max_attempts: 3,
        }
    }
}

/// Why a turn of the redeemer ended early. Nothing is lost: the next turn continues.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedeemError {
    /// The chain could not be asked.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// What one turn did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RedeemReport {
    /// Transactions sent.
    pub sent: usize,
    /// Tickets in them.
    pub submitted: usize,
    /// Tickets that became final and paid.
    pub paid: usize,
    /// Their face value.
    pub paid_value: Wei,
    /// Tickets given up.
    pub dead: usize,
}

/// Redeems the winners of one ledger. Run one per ledger.
pub struct Redeemer {
    policy: RedeemPolicy,
    ledger: Arc<dyn Ledger>,
    broker: Arc<dyn Broker>,
    clock: Arc<dyn Clock>,
}

impl Redeemer {
    /// A redeemer over this ledger and broker.
    pub fn new(
        policy: RedeemPolicy,
        ledger: Arc<dyn Ledger>,
        broker: Arc<dyn Broker>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { policy, ledger, broker, clock }
    }

    /// One turn: follow up on what was sent, then send what is due. Call it every block or so.
    ///
    /// Safe to drop at any point and to call again after a crash at any point: every step is on
    /// disk before the next begins.
    pub async fn turn(&self) -> Result<RedeemReport, RedeemError> {
        todo!()
    }

    /// Like [`Redeemer::turn`], but redeems all pending winners now, whatever the policy on
    /// batch size, age and gas price.
    pub async fn flush(&self) -> Result<RedeemReport, RedeemError> {
        todo!()
    }
}
