//! The recipient's side: parameters, checks before any work, credit, winners.

mod funding;
mod validate;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alloy_primitives::{Address, B256};

use crate::codec::{CodecError, TicketBatch};
use crate::ledger::{Acceptance, Acknowledged, CheckedTicket, Ledger, LedgerError, NewSession, Session};
use crate::params::{RecipientSecret, TicketParams};
use crate::port::{BrokerError, BrokerView, ChainView, Clock, SenderFunds, patiently};
use crate::reason::Reason;
use crate::ticket::{Domain, Scheme};
use crate::units::{PPM, Round, Wei};
use funding::Terms;
use validate::{Expected, Rounds};

pub use funding::{FundingLimit, FundingRefusal, LimitName};

/// Sessions and senders kept in memory; beyond it they are read from ledger and chain again.
const MAX_CACHED: usize = 16_384;

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
    /// The share of a sender's deposit, in parts per million, that its winners here may come to beside this recipient's
    /// share of its reserve: others can be paid out of the deposit first, so that this much is what one sender can cost.
    pub deposit_share_ppm: u64,
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
    /// A session that nobody has paid for this long, in milliseconds, gives way when its sender has
    /// no lane left.
    pub session_idle_ms: u64,
}

impl RecipientConfig {
    /// Defaults for a recipient at a broker: 1 % gas share, the whole deposit, native scheme, tickets of 10¹² wei.
    pub fn new(recipient: Address, domain: Domain) -> Self {
        Self {
            recipient,
            domain,
            scheme: Scheme::Native,
            ticket_value: Wei::from(1_000_000_000_000),
            gas_share_ppm: 10_000,
            deposit_share_ppm: PPM,
            redemption_gas: 75_000,
            max_nonce_jump: 10_000,
            grace_rounds: 1,
            max_lanes: 64,
            session_idle_ms: 600_000,
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
    Refused(#[from] Box<PaymentRefusal>),
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
///
/// Payments are checked against the last view of the chain, so that they go on while the chain is
/// away: only opening a session asks it, for at most a few seconds.
#[derive(Clone)]
pub struct Recipient {
    inner: Arc<Inner>,
}

struct Inner {
    config: RecipientConfig,
    secret: RecipientSecret,
    ledger: Arc<dyn Ledger>,
    broker: Arc<dyn BrokerView>,
    clock: Arc<dyn Clock>,
    view: Mutex<View>,
}

/// The last view of the chain and of the sessions in use.
#[derive(Default)]
struct View {
    chain: ChainView,
    rounds: Rounds,
    funding: HashMap<Address, Funding>,
    sessions: HashMap<B256, Expected>,
}

/// What stands behind a sender, and what of it is spoken for.
#[derive(Clone, Copy)]
struct Funding {
    funds: SenderFunds,
    pending: Wei,
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
        if config.ticket_value.is_zero() {
            return Err(RecipientError::Config("ticket_value is zero; set what one ticket is worth"));
        }
        if config.gas_share_ppm == 0 {
            return Err(RecipientError::Config("gas_share_ppm is zero; no face value would be enough"));
        }
        if config.deposit_share_ppm == 0 {
            return Err(RecipientError::Config("deposit_share_ppm is zero; no sender could fund a ticket"));
        }
        let secret = RecipientSecret::from_bytes(ledger.secret().await?);
        ledger.release_holds().await?;
        let view = Mutex::default();
        let recipient = Self { inner: Arc::new(Inner { config, secret, ledger, broker, clock, view }) };
        recipient.refresh().await?;
        Ok(recipient)
    }

    /// How this recipient is configured.
    pub fn config(&self) -> &RecipientConfig {
        &self.inner.config
    }

    /// Looks at the chain again: round, gas price, funds of senders with sessions in use. Call it
    /// every few seconds. When the chain is away, the last view stays in use and the error says so.
    pub async fn refresh(&self) -> Result<(), RecipientError> {
        let chain = patiently(self.inner.broker.chain()).await?;
        let senders = {
            let mut view = self.view();
            view.chain = chain;
            view.rounds.observe(&chain);
            let in_use: HashSet<_> = view.sessions.values().map(|session| session.lane.sender).collect();
            view.funding.retain(|sender, _| in_use.contains(sender));
            in_use
        };
        for sender in senders {
            self.look_up(sender).await?;
        }
        Ok(())
    }

    /// The round as the chain was last seen.
    pub fn round(&self) -> Round {
        self.view().chain.round
    }

    /// Opens a session for `sender` and issues its first parameters; for a known session, fresh
    /// ones. The terms (face value, win probability) are fixed for the session's life.
    ///
    /// Asks the chain for the sender's funds; when it is away, the last known ones count.
    pub async fn open_session(&self, sender: Address, session: B256) -> Result<TicketParams, RecipientError> {
        let funding = match self.look_up(sender).await {
            Ok(funding) => funding,
            Err(error @ RecipientError::Broker(BrokerError::Unavailable(_))) => {
                self.known_funding(sender).ok_or(error)?
            }
            Err(error) => return Err(error),
        };
        let chain = self.view().chain;
        let terms = funding::wanted_terms(self.config(), chain.gas_price);
        self.check_funding(sender, terms.face_value, &funding, &chain)?;
        let now_ms = self.inner.clock.now_ms();
        let new = NewSession {
            id: session,
            sender,
            recipient: self.config().recipient,
            face_value: terms.face_value,
            win_prob: terms.win_prob,
            max_lanes: self.config().max_lanes,
            idle_before_ms: now_ms.saturating_sub(self.config().session_idle_ms),
            now_ms,
        };
        let opened = self.inner.ledger.open_session(new).await?;
        self.remember(&opened);
        // A refresh in between forgets the funds of senders that have no session yet.
        self.view().funding.entry(sender).or_insert(funding);
        Ok(self.issue(&opened))
    }

    /// Fresh parameters for an open session: current round, unrevealed secret, current nonce floor.
    /// Refused when the sender's funds no longer cover a face value.
    pub async fn params(&self, session: B256) -> Result<TicketParams, RecipientError> {
        let open = self.inner.ledger.session(session).await?;
        let open = open.ok_or(RecipientError::UnknownSession(session))?;
        self.remember(&open);
        let sender = open.lane.sender;
        let funding = self.funding(sender).await?;
        let chain = self.view().chain;
        self.check_funding(sender, open.face_value, &funding, &chain)?;
        Ok(self.issue(&open))
    }

    /// Checks a payment ([`TicketBatch`] bytes; may be empty when credit suffices), keeps its good
    /// tickets, and holds `cost` of the session's credit. Returns once all of it is durable.
    ///
    /// `cost` comes from the caller's own stored quote, never from the request. Dropped before it
    /// returns, the payment may or may not have been taken: the same tickets sent again are then
    /// refused as replayed, and their value is in the credit.
    ///
    /// Errors: [`RecipientError::Refused`] when credit does not cover the cost (the good tickets are
    /// kept all the same), [`RecipientError::Malformed`], [`RecipientError::UnknownSession`].
    pub async fn accept(&self, session: B256, payment: &[u8], cost: Wei) -> Result<Accepted, RecipientError> {
        let expected = self.expected(session).await?;
        let funding = self.funding(expected.lane.sender).await?;
        let checked = self.check(payment, &expected, &funding)?;
        let acceptance = Acceptance {
            session,
            serial: checked.serial,
            ticket_value: expected.terms.ticket_value(),
            tickets: checked.good,
            cost,
            max_nonce_jump: self.config().max_nonce_jump,
            now_ms: self.inner.clock.now_ms(),
        };
        let acknowledged = self.inner.ledger.accept(acceptance).await.map_err(unknown_session)?;
        self.count_pending(&expected, acknowledged.winners);
        answer(acknowledged, checked.refused, cost)
    }

    /// Ends the hold of an accepted payment: `actual` is spent, the rest becomes credit again.
    /// Returns the credit. Pass zero when the work failed; more than was held is taken from the
    /// credit as far as it goes.
    pub async fn settle(&self, session: B256, held: Wei, actual: Wei) -> Result<Wei, RecipientError> {
        self.inner.ledger.settle(session, held, actual).await.map_err(unknown_session)
    }

    /// Free credit of an open session.
    pub async fn credit(&self, session: B256) -> Result<Wei, RecipientError> {
        let open = self.inner.ledger.session(session).await?;
        open.map(|open| open.state.credit).ok_or(RecipientError::UnknownSession(session))
    }

    /// Drops what is kept in memory of a session, so that the chain is no longer asked about its sender. Its account stays open.
    pub fn forget(&self, session: B256) {
        self.view().sessions.remove(&session);
    }

    /// Closes a session and frees its lane; winners stay and are redeemed.
    pub async fn close_session(&self, session: B256) -> Result<(), RecipientError> {
        self.view().sessions.remove(&session);
        Ok(self.inner.ledger.close_session(session).await?)
    }

    fn view(&self) -> MutexGuard<'_, View> {
        // No code that holds the lock can panic half way through a change.
        self.inner.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_funding(
        &self,
        sender: Address,
        face_value: Wei,
        Funding { funds, pending }: &Funding,
        chain: &ChainView,
    ) -> Result<(), FundingRefusal> {
        funding::check(sender, face_value, funds, *pending, self.config().deposit_share_ppm, chain)
    }

    fn issue(&self, session: &Session) -> TicketParams {
        let chain = self.view().chain;
        let config = self.config();
        self.inner.secret.seal(TicketParams {
            scheme: config.scheme,
            domain: config.domain,
            recipient: session.lane.recipient,
            sender: session.lane.sender,
            session: session.id,
            face_value: session.face_value,
            win_prob: session.win_prob,
            lane: session.lane.lane,
            serial: session.lane_state.serial,
            round: chain.round,
            round_block_hash: chain.round_block_hash,
            expires: chain.round.saturating_add(config.grace_rounds),
            nonce_floor: session.lane_state.highest,
            recipient_rand_hash: B256::ZERO,
        })
    }

    fn check(
        &self,
        payment: &[u8],
        expected: &Expected,
        funding: &Funding,
    ) -> Result<Checked, RecipientError> {
        if payment.is_empty() {
            return Ok(Checked::default());
        }
        let batch = TicketBatch::decode(payment)?;
        let opened = {
            let view = self.view();
            validate::open_params(&batch.params, expected, &view.rounds, &self.inner.secret)
        };
        // All of a payment's tickets are credited at once: funds must cover what they are worth
        // together, or a sender with one face value could buy the work of many.
        let worth = expected.terms.ticket_value().saturating_mul(batch.tickets.len() as u64);
        let share = self.config().deposit_share_ppm;
        let float = funding::max_float(&funding.funds, funding.pending, share);
        let covered = float >= expected.terms.face_value.max(worth);
        let opened = opened.and_then(|rand| if covered { Ok(rand) } else { Err(Reason::SenderUnfunded) });
        let (good, refused) = match opened {
            Ok(rand) => validate::check_tickets(&batch, rand),
            Err(reason) => {
                let all = 0..batch.tickets.len();
                (Vec::new(), all.map(|index| RefusedTicket { index, reason }).collect())
            }
        };
        Ok(Checked { serial: batch.params.serial, good, refused })
    }

    async fn expected(&self, session: B256) -> Result<Expected, RecipientError> {
        if let Some(known) = self.view().sessions.get(&session) {
            return Ok(*known);
        }
        let open = self.inner.ledger.session(session).await?;
        Ok(self.remember(&open.ok_or(RecipientError::UnknownSession(session))?))
    }

    fn remember(&self, session: &Session) -> Expected {
        let expected = Expected {
            scheme: self.config().scheme,
            domain: self.config().domain,
            session: session.id,
            lane: session.lane,
            terms: Terms { face_value: session.face_value, win_prob: session.win_prob },
        };
        let mut view = self.view();
        if view.sessions.len() >= MAX_CACHED {
            view.sessions.clear();
        }
        view.sessions.insert(session.id, expected);
        expected
    }

    fn known_funding(&self, sender: Address) -> Option<Funding> {
        self.view().funding.get(&sender).copied()
    }

    async fn funding(&self, sender: Address) -> Result<Funding, RecipientError> {
        match self.known_funding(sender) {
            Some(known) => Ok(known),
            None => self.look_up(sender).await,
        }
    }

    async fn look_up(&self, sender: Address) -> Result<Funding, RecipientError> {
        let funds = patiently(self.inner.broker.funds(sender, self.config().recipient)).await?;
        let pending = self.inner.ledger.pending_value(sender).await?;
        let funding = Funding { funds, pending };
        let mut view = self.view();
        if view.funding.len() >= MAX_CACHED {
            view.funding.clear();
        }
        view.funding.insert(sender, funding);
        Ok(funding)
    }

    fn count_pending(&self, expected: &Expected, winners: u64) {
        if let Some(funding) = self.view().funding.get_mut(&expected.lane.sender) {
            let value = expected.terms.face_value.saturating_mul(winners);
            funding.pending = funding.pending.saturating_add(value);
        }
    }
}

/// A payment after the checks that need no ledger.
#[derive(Default)]
struct Checked {
    serial: u64,
    good: Vec<CheckedTicket>,
    refused: Vec<RefusedTicket>,
}

fn answer(
    acknowledged: Acknowledged,
    mut refused: Vec<RefusedTicket>,
    cost: Wei,
) -> Result<Accepted, RecipientError> {
    let Acknowledged { credited, winners, credit, held, .. } = acknowledged;
    let by_ledger = acknowledged.refused.into_iter();
    refused.extend(by_ledger.map(|(index, reason)| RefusedTicket { index, reason }));
    refused.sort_by_key(|ticket| ticket.index);
    if held {
        return Ok(Accepted { credit, held: cost, tickets: credited, winners, refused });
    }
    let reason = refused.first().map_or(Reason::InsufficientCredit, |ticket| ticket.reason);
    let shortfall = cost.saturating_sub(credit);
    Err(Box::new(PaymentRefusal { reason, refused, credit, cost, shortfall, winners }).into())
}

fn unknown_session(error: LedgerError) -> RecipientError {
    match error {
        LedgerError::UnknownSession(session) => RecipientError::UnknownSession(session),
        other => other.into(),
    }
}
