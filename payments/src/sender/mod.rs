//! The sender's side: caps, nonces, tickets.

mod check;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alloy_primitives::{Address, B256};

use crate::codec::{CodecError, MAX_TICKETS, PaymentTicket, TicketBatch};
use crate::key::EthKey;
use crate::ledger::{
    LedgerError, NewSpending, Reservation, Reserved, SenderLedger, SpendingLimits, SpendingState, WorkOutcome,
};
use crate::params::TicketParams;
use crate::port::{BrokerError, BrokerView, Clock, patiently};
use crate::reason::Reason;
use crate::ticket::{Domain, Scheme};
use crate::units::{Round, Wei};
use check::{Terms, Trust};

/// Sessions open at a time; a stream has a few, and one that ends is closed.
const MAX_SESSIONS: usize = 16_384;

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

impl Default for SenderCaps {
    /// Tickets up to 10¹⁴ wei, 10¹⁷ wei per session and per stream and hour, the whole deposit, face values up to a
    /// tenth of it.
    fn default() -> Self {
        Self {
            ticket_value: Wei::from(100_000_000_000_000),
            session: Wei::from(100_000_000_000_000_000),
            stream_hour: Wei::from(100_000_000_000_000_000),
            deposit_share_ppm: 1_000_000,
            deposit_multiplier: 10,
        }
    }
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
}

impl SenderConfig {
    /// Native tickets at a broker, with the default caps.
    pub fn new(domain: Domain) -> Self {
        Self { domain, scheme: Scheme::Native, caps: SenderCaps::default() }
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
    /// More sessions than one sender keeps.
    #[error("{0} sessions are open, the most allowed; close some")]
    TooManySessions(usize),
    /// The payment does not encode.
    #[error(transparent)]
    Codec(#[from] CodecError),
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
///
/// Payments are checked against the last view of chain and deposit, so that they go on while the
/// chain is away.
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
    view: Mutex<View>,
}

#[derive(Default)]
struct View {
    round: Round,
    deposit: Wei,
    sessions: HashMap<B256, Open>,
}

/// A session in use.
#[derive(Clone, Copy)]
struct Open {
    session: SenderSession,
    /// The terms of its first payment, which hold for its life.
    terms: Option<Terms>,
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
        let view = Mutex::default();
        let sender = Self { inner: Arc::new(Inner { key, config, ledger, broker, clock, view }) };
        sender.refresh().await?;
        Ok(sender)
    }

    /// The address whose deposit pays.
    pub fn address(&self) -> Address {
        self.inner.key.address()
    }

    /// The deposit as last seen.
    pub fn deposit(&self) -> Wei {
        self.view().deposit
    }

    /// Looks at the chain again: round and deposit. Call it every few seconds. When the chain is
    /// away, the last view stays in use and the error says so.
    pub async fn refresh(&self) -> Result<(), SenderError> {
        let chain = patiently(self.inner.broker.chain()).await?;
        let funds = patiently(self.inner.broker.funds(self.address(), Address::ZERO)).await?;
        let mut view = self.view();
        view.round = chain.round;
        view.deposit = funds.deposit;
        Ok(())
    }

    /// Opens a session, or opens it again after a restart with its sums as they were. Opening it
    /// once more changes its bound on outstanding value only. Its first payment fixes face value and win probability.
    pub async fn open_session(&self, session: SenderSession) -> Result<(), SenderError> {
        let SenderSession { id, stream, recipient, .. } = session;
        let sender = self.address();
        self.inner.ledger.open_spending(NewSpending { session: id, stream, recipient, sender }).await?;
        let mut view = self.view();
        let known = view.sessions.get(&id).copied();
        if known.is_none() && view.sessions.len() >= MAX_SESSIONS {
            return Err(SenderError::TooManySessions(MAX_SESSIONS));
        }
        let terms = known.and_then(|open| open.terms);
        view.sessions.insert(id, Open { session, terms });
        Ok(())
    }

    /// Makes the tickets that cover `cost` beyond the credit left from earlier payments. Nonces and
    /// budget are durable before the first ticket is signed; dropped before it returns, or killed,
    /// some nonces stay unused.
    ///
    /// Give it the freshest parameters at hand. On any error no ticket exists.
    pub async fn pay(&self, session: B256, params: &TicketParams, cost: Wei) -> Result<Payment, SenderError> {
        let reservation = self.admit(session, params, cost)?;
        let reserved = self.inner.ledger.reserve(reservation).await?;
        let tickets = self.sign(params, reserved);
        let bytes = if tickets.is_empty() {
            Vec::new()
        } else {
            TicketBatch { params: *params, tickets }.encode()?
        };
        let value = reservation.ticket_value.saturating_mul(reserved.count);
        Ok(Payment { bytes, tickets: reserved.count, value, cost })
    }

    /// Credit left in a session from earlier payments: work up to this cost needs no tickets. Zero where it is not open.
    pub async fn credit(&self, session: B256) -> Result<Wei, SenderError> {
        let state = self.inner.ledger.spending(session).await?;
        Ok(state.unwrap_or_default().credit())
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

    /// Closes a session and says what it came to, zero when it was not open; its nonces stay used.
    pub async fn close_session(&self, session: B256) -> Result<SpendingState, SenderError> {
        self.view().sessions.remove(&session);
        let state = self.inner.ledger.spending(session).await?;
        self.inner.ledger.close_spending(session).await?;
        Ok(state.unwrap_or_default())
    }

    fn view(&self) -> MutexGuard<'_, View> {
        // No code that holds the lock can panic half way through a change.
        self.inner.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks the parameters against the session, the chain and the caps.
    fn admit(&self, id: B256, params: &TicketParams, cost: Wei) -> Result<Reservation, SenderError> {
        let config = &self.inner.config;
        let mut view = self.view();
        let (round, deposit) = (view.round, view.deposit);
        let open = view.sessions.get_mut(&id).ok_or(SenderError::UnknownSession(id))?;
        let trust = Trust {
            domain: config.domain,
            scheme: config.scheme,
            sender: self.address(),
            session: open.session,
            terms: open.terms,
            round,
            deposit,
        };
        open.terms = Some(check::params(params, &trust, &config.caps)?);
        Ok(Reservation {
            session: id,
            lane: params.lane,
            nonce_floor: params.nonce_floor,
            ticket_value: params.ticket_value(),
            cost,
            limits: SpendingLimits {
                session: config.caps.session,
                stream_hour: config.caps.stream_hour,
                deposit_share_ppm: config.caps.deposit_share_ppm,
                outstanding: open.session.max_outstanding,
                tickets: MAX_TICKETS as u64,
            },
            deposit,
            now_ms: self.inner.clock.now_ms(),
        })
    }

    fn sign(&self, params: &TicketParams, reserved: Reserved) -> Vec<PaymentTicket> {
        let TicketParams { scheme, domain, .. } = params;
        (reserved.first_nonce..)
            .take(usize::try_from(reserved.count).unwrap_or(MAX_TICKETS))
            .map(|nonce| {
                let salt = B256::new(rand::random());
                let signed = scheme.sign(params.ticket(nonce, salt), domain, &self.inner.key);
                PaymentTicket { nonce, salt, signature: signed.signature }
            })
            .collect()
    }
}
