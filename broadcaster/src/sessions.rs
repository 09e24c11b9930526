//! The sessions a stream holds with orchestrators: quotes asked in parallel, checked, kept warm.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use alloy_primitives::{Address, B256};
use framemill_network::{
    NetworkError, PeerId, PricePerPixel, Quote, QuoteRequest, RenditionClaim, ServiceAddress, SignedQuote,
};
use framemill_verification::COMMITMENT_VERSION;
use futures::stream::{FuturesUnordered, StreamExt};
use probabilistic_ticket::{MAX_TICKETS, Signature, TicketBatch, TicketParams, Wei, recover};
use rand::seq::SliceRandom;
use tokio::sync::watch;

use crate::core::freshness::Freshness;
use crate::core::offers::UsualQuality;
use crate::core::panel;
use crate::core::prospect::{Prospect, prospect};
use crate::core::scoreboard::{Severity, Standing};
use crate::core::select::Merit;
use crate::directory::{Orchestrator, OrchestratorId};
use crate::metrics::QuoteEnd;
use crate::service::{Shared, lock};

/// How long value that an orchestrator took for nothing counts against it.
const LOSS_MEMORY: Duration = Duration::from_secs(600);

/// Places of the panel that fell free are filled this often: newcomers and those who recovered get their turn in a long stream.
const TOP_UP: Duration = Duration::from_secs(60);

/// Time between two rounds of quotes of one stream: a round that found nobody is not repeated at once.
const ROUND_PAUSE: Duration = Duration::from_millis(500);

/// A session with one orchestrator, proven by its signed quote.
pub(crate) struct Session {
    pub(crate) orchestrator: Orchestrator,
    pub(crate) account: Address,
    pub(crate) quote: Quote,
    /// Held from the making of tickets until they are accepted: nonces must arrive in order.
    pub(crate) terms: tokio::sync::Mutex<Terms>,
    /// The chance that its orchestrator had to be asked, for the draws that follow.
    pub(crate) chance: f64,
    opened: Instant,
    lifetime: Duration,
    used: Mutex<Instant>,
    /// Segments that are out at this orchestrator.
    out: AtomicU64,
}

/// A segment's place at an orchestrator; gives it back and wakes who waits for one.
pub(crate) struct Slot {
    session: Arc<Session>,
    sessions: Arc<Sessions>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.session.out.fetch_sub(1, Ordering::AcqRel);
        self.sessions.changes.send_modify(|count| *count += 1);
    }
}

/// What payments of a session are made from.
pub(crate) struct Terms {
    /// The newest ticket parameters; `None` where nothing is to be paid.
    pub(crate) params: Option<TicketParams>,
    /// Value that may be out for work not verified yet, as the payer was last told.
    pub(crate) bound: Wei,
    /// Tickets that were sent and not taken, as far as we know: they are credit only once they arrive.
    pub(crate) unheard: Option<Tickets>,
    /// The last segment that was offered was taken: the next one's first bytes need not wait to be asked for.
    pub(crate) welcome: bool,
    freshness: Freshness,
}

impl Terms {
    fn new(params: Option<TicketParams>) -> Self {
        Self {
            params,
            bound: Wei::ZERO,
            unheard: None,
            welcome: false,
            freshness: Freshness::new(Instant::now()),
        }
    }

    /// Takes newer parameters.
    pub(crate) fn renew(&mut self, params: TicketParams) {
        self.params = Some(params);
        self.confirm();
    }

    /// Notes that what was paid on is not replaced: the orchestrator, which took it, told nothing newer.
    pub(crate) fn confirm(&mut self) {
        self.freshness.renewed(Instant::now());
    }

    /// Notes that tickets were refused because the parameters had been replaced.
    pub(crate) fn note_stale(&mut self) {
        self.freshness.found_stale(Instant::now());
    }

    /// Whether tickets on these parameters would be at risk.
    pub(crate) fn at_risk(&self, now: Instant) -> bool {
        self.params.is_some() && self.freshness.at_risk(now)
    }
}

/// Tickets as they are sent.
#[derive(Debug, Clone)]
pub(crate) struct Tickets {
    pub(crate) batch: TicketBatch,
    pub(crate) value: Wei,
}

impl Tickets {
    /// `self` before `newer`, or `newer` alone where one payment cannot hold both.
    pub(crate) fn followed_by(mut self, newer: Self) -> Self {
        let count = self.batch.tickets.len() + newer.batch.tickets.len();
        if !self.batch.params.has_terms_of(&newer.batch.params) || count > MAX_TICKETS {
            return newer;
        }
        self.batch.tickets.extend(newer.batch.tickets);
        self.value = self.value.saturating_add(newer.value);
        self
    }
}

impl Session {
    pub(crate) fn id(&self) -> OrchestratorId {
        self.orchestrator.id
    }

    pub(crate) fn peer(&self) -> PeerId {
        self.orchestrator.peer
    }

    /// Who may sign receipts of this session.
    pub(crate) fn signers(&self) -> Vec<Address> {
        std::iter::once(self.account).chain(self.orchestrator.signing_key).collect()
    }

    /// Notes that the session is in use, which keeps it alive at the orchestrator.
    pub(crate) fn touch(&self, now: Instant) {
        *lock(&self.used) = now;
    }

    /// Whether fewer than `limit` segments are out.
    pub(crate) fn has_room(&self, limit: u64) -> bool {
        self.out.load(Ordering::Acquire) < limit
    }

    /// Whether a segment is out beside the one that asks.
    pub(crate) fn has_others_out(&self) -> bool {
        self.out.load(Ordering::Acquire) > 1
    }

    /// Whether payments were made on it, or are being made.
    fn was_paid(&self) -> bool {
        self.terms.try_lock().map_or(true, |terms| !terms.bound.is_zero())
    }

    /// Whether no segment is out.
    fn is_idle(&self) -> bool {
        self.out.load(Ordering::Acquire) == 0
    }

    fn is_stale(&self, now: Instant) -> bool {
        let last = (*lock(&self.used)).max(self.opened);
        now.saturating_duration_since(last) >= self.lifetime
    }
}

/// Price in wei per pixel, for comparing offers; never for paying.
fn ratio(price: PricePerPixel) -> f64 {
    f64::from(price.wei()) / price.pixels() as f64
}

/// Sessions of one stream. A session is for one ladder, so streams do not share them.
pub(crate) struct Sessions {
    shared: Arc<Shared>,
    request: QuoteRequest,
    stream_id: B256,
    live: Mutex<HashMap<OrchestratorId, Arc<Session>>>,
    /// The quality that renditions of the stream usually have.
    usual: Mutex<UsualQuality>,
    /// What was paid for nothing in ended sessions, and when that began.
    losses: Mutex<HashMap<OrchestratorId, (Wei, Instant)>>,
    asking: AtomicBool,
    last_round: Mutex<Option<Instant>>,
    last_refusal: Mutex<Option<String>>,
    changes: watch::Sender<u64>,
}

impl Sessions {
    pub(crate) fn new(shared: Arc<Shared>, request: QuoteRequest, stream_id: B256) -> Arc<Self> {
        Arc::new(Self {
            shared,
            request,
            stream_id,
            live: Mutex::default(),
            usual: Mutex::default(),
            losses: Mutex::default(),
            asking: AtomicBool::new(false),
            last_round: Mutex::default(),
            last_refusal: Mutex::default(),
            changes: watch::Sender::new(0),
        })
    }

    pub(crate) fn stream_id(&self) -> B256 {
        self.stream_id
    }

    /// What a draw knows of a session's orchestrator.
    pub(crate) fn merit(&self, session: &Session) -> Merit {
        Merit {
            stake: f64::from(session.orchestrator.stake),
            price: ratio(session.quote.price),
            share: self.expected_share(session),
            demand: self.request.pixels_per_second as f64,
            chance: session.chance,
            performance: self.shared.performance(&session.id()),
        }
    }

    /// What is known of one that has not quoted.
    fn prospect(&self, orchestrator: &Orchestrator) -> Merit {
        Merit {
            stake: f64::from(orchestrator.stake),
            price: 0.0,
            share: 1.0,
            demand: self.request.pixels_per_second as f64,
            chance: 1.0,
            performance: self.shared.performance(&orchestrator.id),
        }
    }

    /// Sessions that can be used now.
    pub(crate) fn live(self: &Arc<Self>, now: Instant) -> Vec<Arc<Session>> {
        let mut live = lock(&self.live);
        for (_, stale) in live.extract_if(|_, session| session.is_stale(now)) {
            self.retire(stale);
        }
        live.values().cloned().collect()
    }

    /// Value that an orchestrator took lately in sessions that ended before the work was done.
    pub(crate) fn lost_to(&self, id: &OrchestratorId, now: Instant) -> Wei {
        let losses = lock(&self.losses);
        let recent = |(_, since): &&(Wei, Instant)| now.saturating_duration_since(*since) < LOSS_MEMORY;
        losses.get(id).filter(recent).map_or(Wei::ZERO, |(value, _)| *value)
    }

    /// A place for one more segment at `session`; `None` when `limit` are out already.
    pub(crate) fn reserve(self: &Arc<Self>, session: &Arc<Session>, limit: u64) -> Option<Slot> {
        let next = |out| (out < limit).then_some(out + 1);
        session.out.fetch_update(Ordering::AcqRel, Ordering::Acquire, next).ok()?;
        Some(Slot { session: Arc::clone(session), sessions: Arc::clone(self) })
    }

    /// Counts up whenever a session was added, a place became free or a round of quotes ended.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Why the last quote that could not be used could not.
    pub(crate) fn last_refusal(&self) -> Option<String> {
        lock(&self.last_refusal).clone()
    }

    /// Takes in the quality that was declared for a segment.
    pub(crate) fn note_quality(&self, claims: &[RenditionClaim]) {
        lock(&self.usual).note(claims.iter().map(|claim| claim.psnr_centi_db));
    }

    /// The share of its price that a session is likely to cost, 0 to 1; for comparing offers, never for paying.
    fn expected_share(&self, session: &Session) -> f64 {
        lock(&self.usual).expected_share(&session.quote.quality)
    }

    /// Ends a session on this side.
    pub(crate) fn forget(self: &Arc<Self>, session: &Session) {
        let mut live = lock(&self.live);
        if live.get(&session.id()).is_some_and(|known| known.quote.session == session.quote.session)
            && let Some(session) = live.remove(&session.id())
        {
            self.retire(session);
        }
    }

    /// Ends a session with the payer, too, as soon as no segment is out on it.
    fn retire(self: &Arc<Self>, session: Arc<Session>) {
        let sessions = Arc::clone(self);
        self.shared.tasks.spawn(async move {
            let mut changes = sessions.changes();
            // The sender of changes is held here, so waiting ends with the session's last segment.
            while !session.is_idle() && changes.changed().await.is_ok() {}
            sessions.close_with_payer(&session).await;
        });
    }

    /// Ends all sessions with the payer.
    pub(crate) async fn close(&self) {
        let sessions: Vec<_> = lock(&self.live).drain().map(|(_, session)| session).collect();
        for session in sessions {
            self.close_with_payer(&session).await;
        }
    }

    async fn close_with_payer(&self, session: &Session) {
        let Some(payer) = &self.shared.payer else { return };
        match payer.close_session(session.quote.session).await {
            Ok(sums) => self.note_loss(session.id(), sums.paid.saturating_sub(sums.verified)),
            Err(error) => tracing::debug!(%error, "payment session could not be closed"),
        }
    }

    fn note_loss(&self, id: OrchestratorId, value: Wei) {
        if value.is_zero() {
            return;
        }
        let now = Instant::now();
        let before = self.lost_to(&id, now);
        let mut losses = lock(&self.losses);
        let since = losses.get(&id).filter(|_| !before.is_zero()).map_or(now, |(_, since)| *since);
        losses.insert(id, (before.saturating_add(value), since));
    }

    /// Whether it is time to fill places that fell free.
    pub(crate) fn wants_top_up(&self, now: Instant) -> bool {
        let due = |last: Instant| now.saturating_duration_since(last) >= TOP_UP;
        lock(&self.last_round).is_some_and(due) && lock(&self.live).len() < self.shared.config.max_quotes
    }

    /// Starts a round of quotes unless one runs or nobody is left to ask; a moment later if one ended just now. `true`
    /// while one runs or waits.
    pub(crate) fn refill(self: &Arc<Self>, now: Instant) -> bool {
        if self.asking.load(Ordering::Acquire) {
            return true;
        }
        if !self.has_targets(now) || self.asking.swap(true, Ordering::AcqRel) {
            return self.asking.load(Ordering::Acquire);
        }
        let since = lock(&self.last_round).map(|last| now.saturating_duration_since(last));
        let pause = since.map_or(Duration::ZERO, |since| ROUND_PAUSE.saturating_sub(since));
        let sessions = Arc::clone(self);
        let cancel = self.shared.cancel.clone();
        self.shared.tasks.spawn(async move {
            // The flag falls however the round ends, or no other would ever start.
            let _round = RoundGuard(&sessions);
            tokio::select! {
                () = cancel.cancelled() => {}
                () = sessions.round(pause) => {}
            }
        });
        true
    }

    /// Whether somebody without a session could be asked.
    fn has_targets(&self, now: Instant) -> bool {
        let live = lock(&self.live);
        let open = |orchestrator: &Orchestrator| {
            !live.contains_key(&orchestrator.id)
                && self.shared.standing(&orchestrator.id, now) != Standing::Barred
        };
        self.shared.directory.list().iter().any(open)
    }

    /// Whom to ask: without a session, in good standing, drawn by their weight; where places are left those whose announcement
    /// does not fit, then suspended ones; barred ones never. Each comes with the chance it had.
    fn targets(&self, now: Instant) -> Vec<(Orchestrator, f64)> {
        let panel = self.shared.config.max_quotes;
        let list = self.shared.directory.list();
        let wanted = self.wanted();
        let mut ranks: [Vec<&Orchestrator>; 3] = Default::default();
        let live = lock(&self.live);
        for orchestrator in list.iter().filter(|orchestrator| !live.contains_key(&orchestrator.id)) {
            match self.shared.standing(&orchestrator.id, now) {
                Standing::Good if self.denies(orchestrator, &wanted) => ranks[1].push(orchestrator),
                Standing::Good => ranks[0].push(orchestrator),
                Standing::LastResort => ranks[2].push(orchestrator),
                Standing::Barred => {}
            }
        }
        let fit = live.keys().filter(|id| self.shared.standing(id, now) == Standing::Good).count();
        drop(live);
        // Who is there may be full, or have failed on a segment that waits.
        let places = panel.saturating_sub(fit).max(self.shared.config.warm_sessions.min(panel));
        let [good, mut unlikely, mut suspended] = ranks;
        let merits: Vec<Merit> = good.iter().map(|orchestrator| self.prospect(orchestrator)).collect();
        let policy = &self.shared.config.selection;
        let asked = panel::choose(policy, &merits, (places, panel), &mut rand::rng());
        for rest in [&mut unlikely, &mut suspended] {
            rest.shuffle(&mut rand::rng());
        }
        let rest = unlikely.into_iter().chain(suspended).take(places - asked.len());
        let rest: Vec<_> = rest.map(|orchestrator| (orchestrator.clone(), 1.0)).collect();
        let asked = asked.into_iter().map(|asked| (good[asked.index].clone(), asked.chance));
        asked.chain(rest).collect()
    }

    /// What is asked for now: the ceiling may have changed since the stream began.
    fn wanted(&self) -> QuoteRequest {
        QuoteRequest { max_price: self.shared.limits().price_ceiling, ..self.request.clone() }
    }

    /// Whether it announced that it has no offer for this stream: too high a price, too little room, no commitments.
    fn denies(&self, orchestrator: &Orchestrator, wanted: &QuoteRequest) -> bool {
        let announced = self.shared.network.announced(orchestrator.peer);
        prospect(announced.as_ref(), wanted) == Prospect::Unlikely
    }

    /// Asks the orchestrator of a session for a fresh quote, beside everything else: that shows that it is still there and
    /// keeps the connection open. A session that holds credit stays, or the credit would be lost with it.
    pub(crate) fn renew(self: &Arc<Self>, session: &Arc<Session>) {
        let (sessions, session) = (Arc::clone(self), Arc::clone(session));
        let cancel = self.shared.cancel.clone();
        self.shared.tasks.spawn(async move {
            let asked = sessions.ask((session.orchestrator.clone(), session.chance));
            let Some((orchestrator, answer)) = cancel.run_until_cancelled(asked).await else { return };
            if answer.is_err() || !session.was_paid() {
                sessions.take(&orchestrator, answer);
            }
        });
    }

    async fn round(self: &Arc<Self>, pause: Duration) {
        tokio::time::sleep(pause).await;
        let targets = self.targets(Instant::now());
        let mut quotes: FuturesUnordered<_> = targets.into_iter().map(|target| self.ask(target)).collect();
        while let Some((orchestrator, answer)) = quotes.next().await {
            self.take(&orchestrator, answer);
        }
    }

    /// Opens the session that a quote offers, or draws the consequences of there being none.
    fn take(self: &Arc<Self>, orchestrator: &Orchestrator, answer: Result<Session, Refusal>) {
        let end = match answer {
            Ok(session) => {
                if let Some(replaced) = lock(&self.live).insert(session.id(), Arc::new(session)) {
                    self.retire(replaced);
                }
                self.changes.send_modify(|count| *count += 1);
                QuoteEnd::Usable
            }
            Err(refusal) => {
                tracing::debug!(peer = %orchestrator.peer, reason = %refusal.reason, "no usable quote");
                if let Some(severity) = refusal.severity {
                    self.shared.failed(&orchestrator.id, severity);
                }
                *lock(&self.last_refusal) = Some(format!("{}: {}", orchestrator.peer, refusal.reason));
                QuoteEnd::Refused
            }
        };
        self.shared.metrics.quotes.inc(end);
    }

    async fn ask(
        &self,
        (orchestrator, chance): (Orchestrator, f64),
    ) -> (Orchestrator, Result<Session, Refusal>) {
        let answer = self.quote(&orchestrator, chance).await;
        (orchestrator, answer)
    }

    async fn quote(&self, orchestrator: &Orchestrator, chance: f64) -> Result<Session, Refusal> {
        let network = &self.shared.network;
        let service = ServiceAddress::new(orchestrator.peer, orchestrator.addresses.clone())
            .map_err(|error| Refusal::plain(error.to_string()))?;
        network.add_peer(&service).map_err(|error| Refusal::plain(error.to_string()))?;
        let limit = self.shared.config.quote_timeout;
        let signed = network
            .request_quote(orchestrator.peer, &self.wanted(), limit)
            .await
            .map_err(|error| Refusal::from_network(&error))?;
        self.open(orchestrator, chance, signed).await
    }

    /// Checks a quote and opens the session it offers.
    async fn open(
        &self,
        orchestrator: &Orchestrator,
        chance: f64,
        signed: SignedQuote,
    ) -> Result<Session, Refusal> {
        let SignedQuote { quote, signature } = signed;
        let signature =
            Signature::from_bytes(signature).map_err(|error| Refusal::dishonest(error.to_string()))?;
        let signer = recover(quote.signing_hash(&self.shared.domain), &signature)
            .map_err(|error| Refusal::dishonest(error.to_string()))?;
        if !orchestrator.may_sign(quote.orchestrator, signer) {
            let expected = orchestrator.account.unwrap_or(quote.orchestrator);
            return Err(Refusal::dishonest(format!("quote is signed by {signer}, want {expected}")));
        }
        let now_ms = unix_ms();
        if quote.is_expired(now_ms) {
            return Err(Refusal::plain("quote has expired already; check both clocks".into()));
        }
        let version = quote.commitment_version;
        if self.request.commitments && version != u32::from(COMMITMENT_VERSION) {
            let reason = format!("commits to features of version {version}, want {COMMITMENT_VERSION}");
            return Err(Refusal::plain(reason));
        }
        let params = self.terms(&quote)?;
        let now = Instant::now();
        Ok(Session {
            orchestrator: orchestrator.clone(),
            account: quote.orchestrator,
            lifetime: Duration::from_millis(quote.expires_at_unix_ms.saturating_sub(now_ms)),
            terms: tokio::sync::Mutex::new(Terms::new(params)),
            quote,
            chance,
            opened: now,
            used: Mutex::new(now),
            out: AtomicU64::new(0),
        })
    }

    /// The ticket parameters of a quote; `None` where the work is free.
    fn terms(&self, quote: &Quote) -> Result<Option<TicketParams>, Refusal> {
        if quote.price.wei().is_zero() {
            return Ok(None);
        }
        if self.shared.payer.is_none() {
            return Err(Refusal::plain(format!("asks {} and this broadcaster has no payer", quote.price)));
        }
        let params = decode_params(&quote.ticket_params, quote).map_err(Refusal::dishonest)?;
        Ok(Some(params))
    }
}

/// Reads ticket parameters and checks that they pay for this session.
pub(crate) fn decode_params(bytes: &[u8], quote: &Quote) -> Result<TicketParams, String> {
    let params = TicketParams::decode(bytes).map_err(|error| error.to_string())?;
    if params.recipient != quote.orchestrator
        || params.sender != quote.sender
        || params.session != quote.session
    {
        return Err("ticket parameters are not for this session, sender and orchestrator".into());
    }
    Ok(params)
}

struct RoundGuard<'a>(&'a Sessions);

impl Drop for RoundGuard<'_> {
    fn drop(&mut self) {
        *lock(&self.0.last_round) = Some(Instant::now());
        self.0.asking.store(false, Ordering::Release);
        self.0.changes.send_modify(|count| *count += 1);
    }
}

/// Why a quote cannot be used, and what its orchestrator gets for it.
struct Refusal {
    reason: String,
    severity: Option<Severity>,
}

impl Refusal {
    fn plain(reason: String) -> Self {
        Self { reason, severity: None }
    }

    fn dishonest(reason: String) -> Self {
        Self { reason, severity: Some(Severity::Dishonest) }
    }

    /// A polite refusal is no failure; silence and a broken protocol are.
    fn from_network(error: &NetworkError) -> Self {
        let severity = match error {
            NetworkError::Refused(_) | NetworkError::ShutDown => None,
            _ => Some(Severity::Unavailable),
        };
        Self { reason: error.to_string(), severity }
    }
}

pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
