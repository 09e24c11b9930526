//! The sender's side: caps, nonces, tickets.

mod check;

use std::sync::Arc;

use alloy_primitives::{Address, B256};

use crate::key::EthKey;
use crate::ledger::{LedgerError, SenderLedger, SpendingState, WorkOutcome};
use crate::params::TicketParams;
use crate::port::{BrokerError, BrokerView, Clock};
use crate::reason::Reason;
use crate::ticket::{Domain, Scheme};
use crate::units::{Round, Wei};

/// What a sender is ready to spend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderCaps {
    /// The largest value of one ticket.
    pub ticket_value: Wei,
    /// Value sent in one session.
    pub session: Wei,
    /// Value sent for one stream in any hour.
    pub stream_hour: Wei,
    /// Share of the deposit, in parts per million, that tickets may be worth until it is topped up.
    pub deposit_share_ppm: u64,
    /// A face value may be at most the deposit divided by this.
    pub deposit_multiplier: u64,
}

/// How a sender pays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SenderConfig {
    /// The broker that holds the deposit.
    pub domain: Domain,
    /// The scheme it signs.
    pub scheme: Scheme,
    /// Its caps.
    pub caps: SenderCaps,
    /// How long the view of chain and deposit is trusted without asking again, in milliseconds.
    pub view_ttl_ms: u64,
}

impl SenderConfig {
    /// Defaults at a broker: tickets up to 10¹⁴ wei, 10¹⁷ wei per session and per stream and hour,
    /// the whole deposit, face values up to a tenth of it.
    pub fn new(domain: Domain) -> Self {
        Self {
            domain,
            scheme: Scheme::Native,
            caps: SenderCaps {
                ticket_value: Wei::from(100_000_000_000_000),
                session: Wei::from(100_000_000_000_000_000),
                stream_hour: Wei::from(100_000_000_000_000_000),
                deposit_share_ppm: 1_000_000,
                deposit_multiplier: 10,
            },
            view_ttl_ms: 30_000,
        }
    }
}

/// Why the sender does not pay.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SenderError {
    /// The parameters are not for us, or make no sense.
    #[error("parameters refused: {0}")]
    Params(Reason),
    /// The parameters have expired.
    #[error("parameters expired after round {expires}, now {now}; ask for fresh ones")]
    Expired {
        /// Their last round.
        expires: Round,
        /// The current round.
        now: Round,
    },
    /// The face value is too large for the deposit.
    #[error("face value {face_value} wei, at most {bound} wei (deposit / multiplier); fund the deposit")]
    FaceValue {
        /// The face value asked.
        face_value: Wei,
        /// The bound.
        bound: Wei,
    },
    /// A ticket is worth more than the cap, or nothing.
    #[error("ticket value {value} wei, want 1 to {bound} wei; choose another orchestrator or raise the cap")]
    TicketValue {
        /// What one ticket is worth.
        value: Wei,
        /// The cap.
        bound: Wei,
    },
    /// The work would take too many tickets of this value.
    #[error("payment takes {tickets} tickets, at most {bound}; ask for parameters of higher value")]
    TooManyTickets {
        /// How many.
        tickets: u64,
        /// The bound.
        bound: u64,
    },
    /// The session is not open.
    #[error("session {0} is unknown or closed; open it first")]
    UnknownSession(B256),
    /// The chain has never been seen.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// A cap would be passed, or the store failed: no ticket was made.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// A session from the sender's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderSession {
    /// Its id, as in the quote.
    pub id: B256,
    /// The stream it serves.
    pub stream: B256,
    /// Who will be paid, as registered on chain.
    pub recipient: Address,
    /// Value that may be out for work not verified yet: one or two segments' price for an unproven
    /// recipient.
    pub max_outstanding: Wei,
}

/// Tickets for one segment, ready to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// The encoded [`crate::TicketBatch`]; empty when earlier credit covers the cost.
    pub bytes: Vec<u8>,
    /// Tickets in it.
    pub tickets: u64,
    /// What they are worth together.
    pub value: Wei,
    /// The cost it was made for.
    pub cost: Wei,
}

/// Pays recipients from one deposit. Cheap to clone; all methods may be called concurrently.
#[derive(Clone)]
pub struct Sender {
    inner: Arc<Inner>,
}

struct Inner {
    key: EthKey,
    config: SenderConfig,
    ledger: Arc<dyn SenderLedger>,
    broker: Arc<dyn BrokerView>,
    clock: Arc<dyn Clock>,
}

impl Sender {
    /// A sender with this key. Looks at the chain once and fails when it cannot.
    pub async fn open(
        key: EthKey,
        config: SenderConfig,
        ledger: Arc<dyn SenderLedger>,
        broker: Arc<dyn BrokerView>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SenderError> {
        Ok(Self { inner: Arc::new(Inner { key, config, ledger, broker, clock }) })
    }

    /// The address whose deposit pays.
    pub fn address(&self) -> Address {
        self.inner.key.address()
    }

    /// Looks at the chain again. When it is away, the last view stays in use.
    pub async fn refresh(&self) -> Result<(), SenderError> {
        todo!()
    }

    /// Opens a session; opening the same one again changes its bound on outstanding value only.
    pub async fn open_session(&self, session: SenderSession) -> Result<(), SenderError> {
        let _ = session;
        todo!()
    }

    /// Makes the tickets that cover `cost` beyond the credit left from earlier payments. Nonces and
    /// budget are durable before the first ticket is signed.
    pub async fn pay(&self, session: B256, params: &TicketParams, cost: Wei) -> Result<Payment, SenderError> {
        let _ = (session, params, cost);
        todo!()
    }

    /// Records what became of the work a payment was for.
    pub async fn record(
        &self,
        session: B256,
        cost: Wei,
        outcome: WorkOutcome,
    ) -> Result<SpendingState, SenderError> {
        Ok(self.inner.ledger.record(session, cost, outcome).await?)
    }

    /// Closes a session; its nonces stay used.
    pub async fn close_session(&self, session: B256) -> Result<(), SenderError> {
        Ok(self.inner.ledger.close_spending(session).await?)
    }
}
