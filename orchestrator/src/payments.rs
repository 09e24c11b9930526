//! The till: ticket parameters with quotes, money before work, the exact price after it, winners to the chain.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, B256};
use bytes::Bytes;
use framemill_contracts::{Change, Changes};
use probabilistic_ticket::recipient::LimitName;
use probabilistic_ticket::{
    Broker, BrokerError, Clock, FundingRefusal, Ledger, LedgerError, PARAMS_BYTES, Reason, Recipient,
    RecipientConfig, RecipientError, RedeemError, RedeemPolicy, RedeemReport, Redeemer, RefusedTicket,
    SystemClock, TicketParams, Wei,
};
use tracing::{error, info, warn};

use crate::config::RedemptionConfig;
use crate::error::OrchestratorError;
use crate::events::{Events, OrchestratorEvent};
use crate::metrics::Metrics;
use crate::refusal::Refusal;
use crate::session::Terms;

/// Everything that takes tickets and turns winners into money.
pub struct Payments {
    recipient: Recipient,
    redeemer: Redeemer,
    broker: Arc<dyn Broker>,
    changes: Option<Changes>,
    /// The ledger, where other processes use it, too: then sessions outlive this one.
    shared: Option<Arc<dyn Ledger>>,
}

impl Payments {
    /// Opens the books of one recipient over one ledger.
    ///
    /// # Errors
    /// The ledger cannot be read, or the chain cannot be reached now.
    pub async fn open(
        config: RecipientConfig,
        policy: RedeemPolicy,
        ledger: Arc<dyn Ledger>,
        broker: Arc<dyn Broker>,
    ) -> Result<Self, OrchestratorError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let shared = ledger.is_shared().then(|| ledger.clone());
        if shared.is_none() {
            // Nobody can use a session of the process before this one: it must not keep its sender's lane.
            ledger.retire_sessions().await.map_err(RecipientError::from)?;
        }
        let recipient = Recipient::open(config, ledger.clone(), broker.clone(), clock.clone()).await?;
        let redeemer = Redeemer::new(policy, ledger, broker.clone(), clock);
        Ok(Self { recipient, redeemer, broker, changes: None, shared })
    }

    /// Looks at the chain when it has changed, not at intervals.
    #[must_use]
    pub fn following(mut self, changes: Changes) -> Self {
        self.changes = Some(changes);
        self
    }
}

impl std::fmt::Debug for Payments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Payments").field("recipient", self.recipient.config()).finish_non_exhaustive()
    }
}

/// What was held for a segment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// To be settled when the segment ends.
    pub(crate) amount: Wei,
    /// Tickets of its payment that are no credit: the client must hear of them, or the two books part.
    pub(crate) refused_tickets: u32,
}

/// Takes payment for sessions, or works for free.
pub(crate) struct Till {
    payments: Option<Payments>,
    metrics: Metrics,
    events: Events,
}

impl Till {
    pub(crate) fn new(payments: Option<Payments>, metrics: Metrics, events: Events) -> Self {
        Self { payments, metrics, events }
    }

    /// Whether work is paid for.
    pub(crate) fn takes_payment(&self) -> bool {
        self.payments.is_some()
    }

    /// Opens a session's account; its encoded ticket parameters, empty when work is free.
    pub(crate) async fn open(&self, sender: Address, session: B256) -> Result<Bytes, Refusal> {
        let Some(payments) = &self.payments else { return Ok(Bytes::new()) };
        let params = payments.recipient.open_session(sender, session).await.map_err(refusal)?;
        Ok(Bytes::copy_from_slice(&params.encode()))
    }

    /// The round that receipts are dated with, known as long as there are books; 0 where work is free and no chain is looked at.
    pub(crate) fn round(&self) -> u32 {
        let round = self.payments.as_ref().map_or(0, |payments| payments.recipient.round().0);
        u32::try_from(round).unwrap_or(u32::MAX)
    }

    /// Takes a payment and holds `cost`; everything is durable when this returns.
    pub(crate) async fn take(&self, session: B256, payment: &[u8], cost: Wei) -> Result<Held, Refusal> {
        let Some(payments) = &self.payments else { return Ok(Held::default()) };
        match payments.recipient.accept(session, payment, cost).await {
            Ok(accepted) => {
                self.count(accepted.tickets, accepted.winners, accepted.refused.len());
                Ok(Held { amount: accepted.held, refused_tickets: not_credited(&accepted.refused) })
            }
            Err(RecipientError::Refused(refused)) => {
                self.count(0, refused.winners, refused.refused.len());
                let fresh_params = self.fresh_params(session).await;
                Err(Refusal::Payment { reason: refused.reason, text: refused.to_string(), fresh_params })
            }
            Err(other) => Err(refusal(other)),
        }
    }

    /// Current parameters of a session, to pay the next segment with.
    pub(crate) async fn fresh_params(&self, session: B256) -> Option<Bytes> {
        let params = self.payments.as_ref()?.recipient.params(session).await.ok()?;
        Some(Bytes::copy_from_slice(&params.encode()))
    }

    /// Current parameters of a session, unless this payment was made on them: whoever sent it has them.
    pub(crate) async fn newer_params(&self, session: B256, payment: &[u8]) -> Option<Bytes> {
        let params = self.payments.as_ref()?.recipient.params(session).await.ok()?;
        let paid_on = payment.get(..PARAMS_BYTES).and_then(|bytes| TicketParams::decode(bytes).ok());
        let same = paid_on.is_some_and(|paid_on| paid_on.has_terms_of(&params));
        (!same).then(|| Bytes::copy_from_slice(&params.encode()))
    }

    /// Ends a hold: `actual` of it is earned, the rest is the client's credit again.
    pub(crate) async fn settle(&self, session: B256, held: Held, actual: Wei) -> Result<(), Refusal> {
        let Some(payments) = &self.payments else { return Ok(()) };
        payments.recipient.settle(session, held.amount, actual).await.map_err(refusal)?;
        Ok(())
    }

    /// Keeps the terms of an open session for the processes that share the books.
    pub(crate) async fn share(&self, terms: &Terms) -> Result<(), Refusal> {
        let Some(ledger) = self.shared() else { return Ok(()) };
        ledger
            .keep_terms(terms.id, terms.to_bytes(SystemClock.now_ms()))
            .await
            .map_err(|error| refusal(error.into()))
    }

    /// The terms of a session that another process opened over the same books, and how long ago.
    pub(crate) async fn recall(&self, session: B256) -> Result<Option<(Terms, Duration)>, Refusal> {
        let Some(ledger) = self.shared() else { return Ok(None) };
        let kept = ledger.terms(session).await.map_err(|error| refusal(error.into()))?;
        let recalled = kept.and_then(|kept| Terms::from_bytes(session, &kept));
        Ok(recalled.map(|(terms, opened_ms)| {
            (terms, Duration::from_millis(SystemClock.now_ms().saturating_sub(opened_ms)))
        }))
    }

    /// Refuses a segment that another process over the same books has signed for.
    pub(crate) async fn check_unsigned(&self, session: B256, sequence: u64) -> Result<(), Refusal> {
        let Some(ledger) = self.shared() else { return Ok(()) };
        match ledger.is_vouched(session, sequence).await {
            Ok(false) => Ok(()),
            Ok(true) => Err(Refusal::Replayed { sequence }),
            Err(error) => Err(refusal(error.into())),
        }
    }

    /// Claims the right to sign for a segment, once among all processes that share the books.
    pub(crate) async fn vouch(&self, session: B256, sequence: u64) -> Result<(), Refusal> {
        let Some(ledger) = self.shared() else { return Ok(()) };
        match ledger.vouch(session, sequence).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refusal::Replayed { sequence }),
            Err(error) => Err(refusal(error.into())),
        }
    }

    fn shared(&self) -> Option<&Arc<dyn Ledger>> {
        self.payments.as_ref()?.shared.as_ref()
    }

    /// Closes the account of a session that ended. Of shared books it stays open, since another process may serve the
    /// session: its lane is free for others when nobody has paid for long.
    pub(crate) async fn close(&self, session: B256) {
        let Some(payments) = &self.payments else { return };
        if payments.shared.is_some() {
            payments.recipient.forget(session);
            return;
        }
        if let Err(error) = payments.recipient.close_session(session).await {
            warn!(%session, %error, "session's account stays open");
        }
    }

    /// Whether winners and unknown senders wait for a chain that does not answer.
    pub(crate) fn waits_for_chain(&self) -> bool {
        self.payments.is_some() && self.metrics.chain_up.get() == 0
    }

    /// One look at the chain and the winners; fails where the chain does not answer.
    async fn turn(&self, payments: &Payments) -> Result<(), RedeemError> {
        match payments.recipient.refresh().await {
            Ok(()) => {}
            Err(RecipientError::Ledger(error)) => return Err(error.into()),
            Err(_) => drop(payments.broker.chain().await?),
        }
        let report = payments.redeemer.turn().await?;
        self.report(&report);
        Ok(())
    }

    /// Follows the chain and redeems winners until it is dropped. Cancel safe: every step is on disk
    /// before the next begins.
    pub(crate) async fn run(&self, config: &RedemptionConfig) {
        let Some(payments) = &self.payments else { return std::future::pending().await };
        let mut changes = payments.changes.as_ref().map(Changes::resubscribe);
        let mut pause = config.interval;
        let mut occasion = Occasion::Block;
        loop {
            match self.attend(payments, occasion).await {
                Ok(()) => pause = config.interval,
                Err(RedeemError::Broker(BrokerError::Unavailable(reason))) => {
                    if self.chain_answers(false) {
                        warn!(%reason, "chain does not answer; winners wait on disk");
                    }
                    pause = pause.saturating_mul(2).min(config.max_backoff.max(config.interval));
                }
                Err(error) => {
                    error!(%error, "redemption failed; check the ledger and the chain endpoint");
                    pause = config.max_backoff.max(config.interval);
                }
            }
            occasion = next_occasion(changes.as_mut(), pause).await;
            // What failed is tried again whatever the chain says.
            if self.metrics.chain_up.get() == 0 {
                occasion = Occasion::Block;
            }
        }
    }

    async fn attend(&self, payments: &Payments, occasion: Occasion) -> Result<(), RedeemError> {
        match occasion {
            Occasion::Block => {
                self.turn(payments).await?;
                self.chain_answers(true);
            }
            Occasion::Clock => self.report(&payments.redeemer.tick().await?),
            Occasion::Silence => {
                if self.chain_answers(false) {
                    warn!("chain does not answer; winners wait on disk");
                }
            }
        }
        Ok(())
    }

    /// Records whether the chain answered; true when that is news.
    fn chain_answers(&self, up: bool) -> bool {
        let news = (self.metrics.chain_up.get() == 1) != up;
        self.metrics.chain_up.set(i64::from(up));
        if news && up {
            info!("chain answers");
        }
        news
    }

    fn report(&self, report: &RedeemReport) {
        self.metrics.redemptions([report.submitted, report.paid, report.dead].map(|count| count as u64));
        if report.submitted > 0 {
            info!(tickets = report.submitted, "winning tickets sent to the chain");
            self.events.send(OrchestratorEvent::RedemptionSent { tickets: report.submitted });
        }
        if report.paid > 0 {
            info!(tickets = report.paid, wei = %report.paid_value, "winning tickets paid");
            self.events
                .send(OrchestratorEvent::RedemptionPaid { tickets: report.paid, value: report.paid_value });
        }
        if report.dead > 0 {
            warn!(tickets = report.dead, "winning tickets were given up");
        }
    }

    fn count(&self, accepted: u64, won: u64, refused: usize) {
        self.metrics.tickets([accepted, won, refused as u64]);
        if won > 0 {
            info!(tickets = won, "tickets won");
            self.events.send(OrchestratorEvent::TicketsWon { tickets: won });
        }
    }
}

/// Why the till looks at its winners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Occasion {
    /// The chain may have changed.
    Block,
    /// Time has passed.
    Clock,
    /// The chain stopped to answer.
    Silence,
}

/// Without changes to follow, every interval is a look at the chain. Blocks that queued up need one look.
async fn next_occasion(changes: Option<&mut Changes>, pause: Duration) -> Occasion {
    let clock = tokio::time::sleep(pause);
    let Some(changes) = changes else {
        clock.await;
        return Occasion::Block;
    };
    tokio::pin!(clock);
    loop {
        let change = tokio::select! {
            () = &mut clock => return Occasion::Clock,
            change = changes.next() => change,
        };
        match change {
            Some(Change::Head(_) | Change::Missed | Change::Answers(true)) => {
                let silent =
                    std::iter::from_fn(|| changes.waiting()).any(|change| change == Change::Answers(false));
                return if silent { Occasion::Silence } else { Occasion::Block };
            }
            Some(Change::Answers(false)) => return Occasion::Silence,
            Some(_) => {}
            None => {
                clock.await;
                return Occasion::Block;
            }
        }
    }
}

/// Of refused tickets, those whose sender counts them as credit in vain. What is sent again was credited before, and of payments
/// that are refused for their date or for lack of funds nobody has looked at the nonces.
fn not_credited(refused: &[RefusedTicket]) -> u32 {
    let lost = |reason| matches!(reason, Reason::ParamsRevealed | Reason::NonceJump | Reason::WrongSigner);
    let lost = refused.iter().filter(|ticket| lost(ticket.reason)).count();
    u32::try_from(lost).unwrap_or(u32::MAX)
}

/// How long a sender waits before it asks again while our own books or the chain fail.
const FAILURE_RETRY: Duration = Duration::from_secs(2);

fn refusal(error: RecipientError) -> Refusal {
    match error {
        RecipientError::Funding(refusal) => sender_refused(&refusal),
        RecipientError::UnknownSession(session)
        | RecipientError::Ledger(LedgerError::UnknownSession(session)) => Refusal::UnknownSession { session },
        RecipientError::Ledger(error @ (LedgerError::Unreachable(_) | LedgerError::Busy(_))) => {
            warn!(%error, "the ledger does not answer; nothing is taken until it does");
            Refusal::Busy { retry_after: FAILURE_RETRY }
        }
        RecipientError::Malformed(error) => Refusal::PaymentMalformed(error.to_string()),
        RecipientError::Ledger(LedgerError::TooManySessions { lanes, .. }) => {
            let bound = usize::try_from(lanes).unwrap_or(usize::MAX);
            Refusal::TooManySessions { held: bound, bound, retry_after: FAILURE_RETRY }
        }
        RecipientError::Broker(error) => {
            warn!(%error, "chain does not answer; sessions of unknown senders are refused");
            Refusal::Busy { retry_after: FAILURE_RETRY }
        }
        other => {
            error!(error = %other, "payment could not be booked; check the ledger");
            Refusal::Internal
        }
    }
}

fn sender_refused(refusal: &FundingRefusal) -> Refusal {
    let unlocking = refusal.limits.iter().any(|limit| limit.name == LimitName::Unlocked);
    Refusal::Sender { unlocking, text: refusal.to_string() }
}
