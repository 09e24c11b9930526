//! Buys one segment's renditions: asks an orchestrator, sends a copy to the spare when it is late, fails over when it fails, all
//! inside the deadline.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::watch;
use tracing::Instrument;

use crate::attempt::{Attempt, Signal, Trace, millis_since};
use crate::check::{Delivered, LazySource};
use crate::core::plan::{GiveUp, Outlook, SegmentPlan, Step};
use crate::core::scoreboard::Standing;
use crate::directory::{Orchestrator, OrchestratorId};
use crate::error::SegmentError;
use crate::event::{AttemptOutcome, AttemptReport, HedgeWinner};
use crate::failure::{Blame, Failure};
use crate::market::{Bought, Market, Order, Purchase, Work};
use crate::service::lock;
use crate::sessions::Session;
use crate::span;
use crate::stream::Segment;

/// Orchestrators that must say "bad source" before it is believed: one alone could make any segment fail.
const BLAMES_BELIEVED: usize = 2;

/// A segment on which no attempt was possible ends after this many rounds of quotes' time.
const ROUNDS_WITHOUT_SESSION: u32 = 2;

/// An attempt with what it came to.
pub(crate) struct Ended {
    pub(crate) attempt: Attempt,
    pub(crate) trace: Trace,
    pub(crate) result: Result<Delivered, Failure>,
}

/// An attempt under way.
struct Entrant {
    id: OrchestratorId,
    signal: Arc<Signal>,
    late_at: Instant,
    /// Whether it was told to the watch over our own strain.
    noted: bool,
}

/// Who buys one segment, and what is remembered meanwhile.
pub(crate) struct Buyer {
    market: Arc<Market>,
    segment: Segment,
    source: Arc<LazySource>,
    arrived: Instant,
    plan: SegmentPlan<OrchestratorId>,
    running: FuturesUnordered<BoxFuture<'static, Ended>>,
    /// In the order in which they started.
    entrants: Vec<Entrant>,
    /// The two that had the segment at a time.
    pair: Option<(OrchestratorId, OrchestratorId)>,
    attempts: Vec<AttemptReport>,
    blames: usize,
    /// Why our own payer refused last.
    unpaid: Option<String>,
    changes: watch::Receiver<u64>,
}

impl Buyer {
    pub(crate) fn new(
        market: Arc<Market>,
        segment: Segment,
        arrived: Instant,
        plan: SegmentPlan<OrchestratorId>,
    ) -> Self {
        Self {
            source: Arc::new(LazySource::new(segment.data.clone(), segment.sha256)),
            changes: market.sessions.changes(),
            market,
            segment,
            arrived,
            plan,
            running: FuturesUnordered::new(),
            entrants: Vec::new(),
            pair: None,
            attempts: Vec::new(),
            blames: 0,
            unpaid: None,
        }
    }

    pub(crate) async fn buy(mut self) -> Bought {
        let result = self.purchase().await;
        // Whoever still works on it was slower, or works in vain.
        for entrant in &self.entrants {
            entrant.signal.stop();
        }
        for ending in std::mem::take(&mut self.running) {
            self.market.see_off(ending);
        }
        let hedge = self.pair.map(|pair| winner(pair, result.as_ref().ok()));
        if let Some(winner) = hedge {
            self.market.shared.metrics.hedges.inc(winner);
        }
        Bought { segment: self.segment, arrived: self.arrived, attempts: self.attempts, hedge, result }
    }

    async fn purchase(&mut self) -> Result<Purchase, SegmentError> {
        loop {
            let now = Instant::now();
            self.changes.mark_unchanged();
            self.note_progress(now);
            let (sessions, more) = self.look(now);
            let standing =
                |session: &Arc<Session>| (session.id(), self.market.shared.standing(&session.id(), now));
            let candidates: Vec<_> = sessions.iter().map(standing).collect();
            match self.plan.next(now, &candidates, Outlook { more, may_hedge: self.may_hedge() }) {
                Step::Attempt { among, budget } => {
                    let among: Vec<_> = among.into_iter().map(|index| &sessions[index]).collect();
                    let first = self.attempts.is_empty();
                    let market = &self.market;
                    let chosen = if first { market.choose(&among) } else { market.choose_second(&among) };
                    if self.start(among[chosen], budget).await && first {
                        self.market.keep_spare(&among[chosen].id(), now);
                    }
                }
                Step::Hedge { among, budget } => {
                    let among: Vec<_> = among.into_iter().map(|index| &sessions[index]).collect();
                    let second = among[self.market.choose_second(&among)];
                    self.hedge(second, budget).await;
                }
                Step::Await(time) => {
                    if let Some(ended) = self.ended(time).await
                        && let Some(purchase) = self.conclude(ended)?
                    {
                        return Ok(purchase);
                    }
                }
                Step::Wait(time) => {
                    if let Some(error) = self.hopeless() {
                        return Err(error);
                    }
                    self.wait(time).await;
                }
                Step::GiveUp(GiveUp::NobodyLeft) if more => {
                    let left = self.plan.deadline().saturating_duration_since(now);
                    self.wait(left).await;
                }
                Step::GiveUp(reason) => return Err(self.lost(reason)),
            }
        }
    }

    /// Sessions that can take the segment, and whether there may be more of them soon.
    fn look(&self, now: Instant) -> (Vec<Arc<Session>>, bool) {
        let market = &self.market;
        let live = market.sessions.live(now);
        let known = live.len();
        let roomy = |session: &Arc<Session>| session.has_room(market.may_owe(session));
        let sessions: Vec<_> = live.into_iter().filter(roomy).collect();
        let full = sessions.len() < known;
        let untried = sessions.iter().filter(|session| !self.plan.was_tried(&session.id())).count();
        let wanted = market.shared.config.warm_sessions.min(market.shared.directory.list().len());
        let short = untried == 0 || known < wanted;
        if short || market.sessions.wants_top_up(now) {
            let asking = market.sessions.refill(now);
            return (sessions, (short && asking) || full);
        }
        (sessions, full)
    }

    /// Whether a copy can be paid and would help.
    fn may_hedge(&self) -> bool {
        lock(&self.market.hedges).has_one() && !self.market.shared.is_strained()
    }

    /// Tells the plan whose results are there, and the watch over our own strain who has become late.
    fn note_progress(&mut self, now: Instant) {
        for entrant in &mut self.entrants {
            if entrant.signal.has_arrived() {
                self.plan.arrived(&entrant.id);
            } else if now >= entrant.late_at && !entrant.noted {
                entrant.noted = true;
                self.market.shared.note_late(entrant.id, true);
            }
        }
    }

    /// Starts an attempt; `false` when there is no room for it any more.
    async fn start(&mut self, session: &Arc<Session>, budget: Duration) -> bool {
        let order = Order {
            segment: &self.segment,
            source: &self.source,
            arrived: self.arrived,
            budget,
            deadline: self.plan.deadline(),
        };
        let Some(attempt) = self.market.prepare(session, order).await else { return false };
        let shared = &self.market.shared;
        let (id, signal) = (session.id(), Arc::clone(&attempt.signal));
        let usual = shared.config.hedging.after(&shared.performance(&id), self.segment.duration());
        let late_at = signal.began + usual;
        self.plan.started(&id, late_at);
        self.entrants.push(Entrant { id, signal, late_at, noted: false });
        let span = span::attempt(session.account);
        let inside = span.clone();
        let run = async move {
            let mut trace = Trace::default();
            let result = attempt.run(&mut trace).await;
            span::attempted(&span, &trace, &result);
            Ended { attempt, trace, result }
        };
        self.running.push(run.instrument(inside).boxed());
        true
    }

    async fn hedge(&mut self, second: &Arc<Session>, budget: Duration) {
        let first = self.entrants.last().map(|entrant| entrant.id);
        if !self.start(second, budget).await {
            return;
        }
        lock(&self.market.hedges).spend();
        self.pair = first.map(|first| (first, second.id()));
        tracing::debug!(
            stream = %self.market.config.name, sequence = self.segment.sequence, spare = %second.account,
            "segment is later than usual and sent to the spare as well"
        );
    }

    /// The next attempt that ends, if one does within `time`.
    async fn ended(&mut self, time: Option<Duration>) -> Option<Ended> {
        let Some(time) = time else { return self.running.next().await };
        tokio::time::timeout(time, self.running.next()).await.ok().flatten()
    }

    /// Takes in how an attempt ended. `Ok(None)` means that another one may follow, or still runs.
    fn conclude(&mut self, ended: Ended) -> Result<Option<Purchase>, SegmentError> {
        let market = Arc::clone(&self.market);
        if ended.trace.accepted {
            self.plan.began();
        }
        self.note_end(&ended);
        match &ended.result {
            Ok(delivered) => {
                market.delivered(&ended, delivered);
                self.attempts.push(market.report(&ended.attempt, &ended.trace, AttemptOutcome::Delivered));
            }
            Err(failure) if failure.made_offer => {
                let outcome = failure.outcome.clone();
                self.attempts.push(market.report(&ended.attempt, &ended.trace, outcome));
            }
            Err(failure) => {
                let reason = failure.outcome.summary();
                tracing::debug!(stream = %market.config.name, %reason, "own payer refused");
                self.unpaid = Some(reason);
            }
        }
        let Ended { attempt, trace, result } = ended;
        match result {
            Ok(delivered) => {
                let session = Arc::clone(&attempt.session);
                if let Some(later) = trace.later {
                    market.look_later(attempt, delivered.clone(), later);
                }
                Ok(Some(Purchase { session, delivered }))
            }
            Err(mut failure) => {
                let delivered = trace.delivered.as_ref();
                let work = Work { session: &attempt.session, segment: &attempt.segment, delivered };
                market.hold_against(&work, &mut failure);
                self.set_back(&attempt.session.id(), &failure).map(|()| None)
            }
        }
    }

    /// Tells the watch over our own strain who was in time.
    fn note_end(&self, ended: &Ended) {
        let id = ended.attempt.session.id();
        let entrant = self.entrants.iter().find(|entrant| entrant.id == id && !entrant.noted);
        if let Some(entrant) = entrant.filter(|_| ended.trace.accepted) {
            let late = ended.trace.delivered_at.unwrap_or_else(Instant::now) > entrant.late_at;
            self.market.shared.note_late(id, late);
        }
    }

    fn set_back(&mut self, id: &OrchestratorId, failure: &Failure) -> Result<(), SegmentError> {
        self.entrants.retain(|entrant| entrant.id != *id);
        self.plan.set_back(id, Instant::now(), failure.setback);
        match failure.blames_source {
            Some(Blame::Peer) => self.blames += 1,
            Some(Blame::Ourselves) => self.blames = BLAMES_BELIEVED,
            None => {}
        }
        if self.blames >= BLAMES_BELIEVED {
            let reason = failure.outcome.summary();
            return Err(SegmentError::Source { sequence: self.segment.sequence, reason });
        }
        Ok(())
    }

    /// The error when nobody could be asked for longer than rounds of quotes take.
    fn hopeless(&self) -> Option<SegmentError> {
        let market = &self.market;
        let patience = market.shared.config.quote_timeout * ROUNDS_WITHOUT_SESSION;
        let never = self.attempts.is_empty() && market.sessions.live(Instant::now()).is_empty();
        (never && self.arrived.elapsed() >= patience).then(|| self.lost(GiveUp::NobodyLeft))
    }

    /// Waits for a change of the sessions, at most for `time`.
    async fn wait(&mut self, time: Duration) {
        // A closed channel cannot be: the sessions outlive their buyers.
        let _ = tokio::time::timeout(time, self.changes.changed()).await;
    }

    /// The best reason for not having asked anybody.
    fn why_nobody(&self) -> String {
        let shared = &self.market.shared;
        let known = shared.directory.list();
        let now = Instant::now();
        let barred = |o: &&Orchestrator| shared.standing(&o.id, now) == Standing::Barred;
        let suspended = known.iter().filter(barred).count();
        if suspended > 0 && suspended == known.len() {
            return format!("all {suspended} known are suspended for wrong results");
        }
        let reason = self.unpaid.clone().or_else(|| self.market.sessions.last_refusal());
        reason.unwrap_or_else(|| "nobody was found".to_owned())
    }

    fn lost(&self, reason: GiveUp) -> SegmentError {
        let sequence = self.segment.sequence;
        let attempts = self.plan.attempts();
        let Some(last) = self.attempts.last() else {
            return SegmentError::NoOrchestrator(self.why_nobody());
        };
        let last = format!("{} {}", last.orchestrator, last.result.summary());
        // Who was busy before has not looked at the source.
        if self.blames > 0 && self.blames >= attempts as usize {
            return SegmentError::Source { sequence, reason: last };
        }
        match reason {
            GiveUp::Deadline => {
                SegmentError::Deadline { sequence, millis: millis_since(self.arrived), attempts, last }
            }
            GiveUp::Attempts | GiveUp::NobodyLeft => SegmentError::Exhausted { sequence, attempts, last },
        }
    }
}

fn winner((first, second): (OrchestratorId, OrchestratorId), purchase: Option<&Purchase>) -> HedgeWinner {
    match purchase.map(|purchase| purchase.session.id()) {
        Some(id) if id == first => HedgeWinner::First,
        Some(id) if id == second => HedgeWinner::Spare,
        _ => HedgeWinner::Neither,
    }
}
