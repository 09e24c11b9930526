//! The recipient's side: parameters, checks before any work, credit, winners.

mod funding;
mod validate;

use std::sync::Arc;

use alloy_primitives::{Address, B256};

use crate::codec::CodecError;
use crate::ledger::{Ledger, LedgerError};
use crate::params::TicketParams;
use crate::port::{BrokerError, BrokerView, Clock};
use crate::reason::Reason;
use crate::ticket::{Domain, Scheme};
use crate::units::Wei;

pub use funding::{FundingLimit, FundingRefusal, LimitName};

/// How a recipient wants to be paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipientConfig {
    /// Who is paid on chain.
    pub recipient: Address,
    /// The broker that pays.
    pub domain: Domain,
    /// How tickets are signed.
    pub scheme: Scheme,
    /// What one ticket should be worth; about the price of a small segment.
    pub ticket_value: Wei,
    /// The largest share of a face value that its redemption may cost, in parts per million.
    pub gas_share_ppm: u64,
    /// Gas that redeeming one ticket takes, from the contracts' gas snapshot.
    pub redemption_gas: u64,
    /// How far a nonce may lie above the highest one seen: payments that were lost on the way are
    /// skipped, but nobody can use up a lane.
    pub max_nonce_jump: u64,
    /// Rounds after their own in which parameters are still taken, so that a stream does not stop
    /// at a round's end.
    pub grace_rounds: u64,
    /// Sessions one sender may have at a time.
    pub max_lanes: u64,
    /// How long a sender's funds are trusted without asking the chain again, in milliseconds.
    pub funds_ttl_ms: u64,
}

impl RecipientConfig {
    /// Defaults for a recipient at a broker: 1 % gas share, native scheme, tickets of 10¹² wei.
    pub fn new(recipient: Address, domain: Domain) -> Self {
        Self {
            recipient,
            domain,
            scheme: Scheme::Native,
            ticket_value: Wei::from(1_000_000_000_000),
            gas_share_ppm: 10_000,
            redemption_gas: 75_000,
            max_nonce_jump: 10_000,
            grace_rounds: 1,
            max_lanes: 64,
            funds_ttl_ms: 30_000,
        }
    }
}

/// Why the recipient could not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecipientError {
    /// The configuration makes no sense.
    #[error("recipient configuration: {0}")]
    Config(&'static str),
    /// The sender's funds do not allow any ticket we would take.
    #[error(transparent)]
    Funding(#[from] FundingRefusal),
    /// The session is not open.
    #[error("session {0} is unknown or closed; ask for a new quote")]
    UnknownSession(B256),
    /// The payment does not decode.
    #[error("malformed payment: {0}")]
    Malformed(#[from] CodecError),
    /// The payment does not cover the work.
    #[error(transparent)]
    Refused(#[from] PaymentRefusal),
    /// The chain has never been seen.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The ledger failed: nothing was accepted.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// A payment that does not cover the work. Its good tickets are kept and credited all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}; credit {credit} wei, segment {cost} wei, missing {shortfall} wei")]
pub struct PaymentRefusal {
    /// The first refused ticket's reason, or [`Reason::InsufficientCredit`] when none was refused.
    pub reason: Reason,
    /// Every refused ticket.
    pub refused: Vec<RefusedTicket>,
    /// The session's credit.
    pub credit: Wei,
    /// What the work costs.
    pub cost: Wei,
    /// What is missing.
    pub shortfall: Wei,
    /// Winners among the tickets that were kept.
    pub winners: u64,
}

/// One refused ticket of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedTicket {
    /// Its place in the payment.
    pub index: usize,
    /// Why.
    pub reason: Reason,
}

/// A payment that covers the work; durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Free credit after the hold.
    pub credit: Wei,
    /// What is held for the work: pass it to [`Recipient::settle`].
    pub held: Wei,
    /// Tickets credited.
    pub tickets: u64,
    /// Winners among them.
    pub winners: u64,
    /// Tickets that were refused although the payment suffices.
    pub refused: Vec<RefusedTicket>,
}

/// Takes payments for one recipient. Cheap to clone; all methods may be called concurrently.
#[derive(Clone)]
pub struct Recipient {
    inner: Arc<Inner>,
}

struct Inner {
    config: RecipientConfig,
    ledger: Arc<dyn Ledger>,
    broker: Arc<dyn BrokerView>,
    clock: Arc<dyn Clock>,
}

impl Recipient {
    /// Opens the books: reads or makes the secret, turns holds of a dead process back into credit,
    /// and looks at the chain once. Fails when the chain cannot be reached now.
    pub async fn open(
        config: RecipientConfig,
        ledger: Arc<dyn Ledger>,
        broker: Arc<dyn BrokerView>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, RecipientError> {
        Ok(Self { inner: Arc::new(Inner { config, ledger, broker, clock }) })
    }

    /// How this recipient is configured.
    pub fn config(&self) -> &RecipientConfig {
        &self.inner.config
    }

    /// Looks at the chain again: round, gas price, funds of senders with open sessions. Call it
    /// every few seconds. When the chain is away, the last view stays in use.
    pub async fn refresh(&self) -> Result<(), RecipientError> {
        todo!()
    }

    /// Opens a session for `sender` and issues its first parameters; for a known session, fresh
    /// ones. The terms (face value, win probability) are fixed for the session's life.
    pub async fn open_session(&self, sender: Address, session: B256) -> Result<TicketParams, RecipientError> {
        let _ = (sender, session);
        todo!()
    }

    /// Fresh parameters for an open session: current round, unrevealed secret, current nonce floor.
    pub async fn params(&self, session: B256) -> Result<TicketParams, RecipientError> {
        let _ = session;
        todo!()
    }

    /// Checks a payment ([`crate::TicketBatch`] bytes; may be empty when credit suffices), keeps its
    /// good tickets, and holds `cost` of the session's credit. Returns once all of it is durable.
    ///
    /// `cost` comes from the caller's own stored quote, never from the request.
    pub async fn accept(&self, session: B256, payment: &[u8], cost: Wei) -> Result<Accepted, RecipientError> {
        let _ = (session, payment, cost);
        todo!()
    }

    /// Ends the hold of an accepted payment: `actual` is spent, the rest becomes credit again.
    /// Returns the credit. Pass zero when the work failed.
    pub async fn settle(&self, session: B256, held: Wei, actual: Wei) -> Result<Wei, RecipientError> {
        Ok(self.inner.ledger.settle(session, held, actual).await?)
    }

    /// Closes a session and frees its lane; winners stay and are redeemed.
    pub async fn close_session(&self, session: B256) -> Result<(), RecipientError> {
        Ok(self.inner.ledger.close_session(session).await?)
    }
}
