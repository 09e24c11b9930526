//! The buying side of one stream: who is asked, who is kept ready, and what comes of each attempt.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use alloy_primitives::{B256, U256};
use framemill_network::{Ladder, QuoteRequest, SourceVideo};
use framemill_verification::evidence::ReceiptRecord;
use framemill_verification::policy::attention::Sight;
use tokio_util::task::TaskTracker;

use crate::attempt::{Attempt, Signal, Trace, millis_since};
use crate::bundles;
use crate::check::{Delivered, Later, LazySource, hashes};
use crate::config::StreamConfig;
use crate::core::hedge::HedgeBudget;
use crate::core::plan::SegmentPlan;
use crate::core::scoreboard::{Delivery, Standing};
use crate::core::select::{Merit, SelectionPolicy};
use crate::core::spare::{Fitness, Spare};
use crate::directory::OrchestratorId;
use crate::error::SegmentError;
use crate::event::{AttemptOutcome, AttemptReport, Events, HedgeWinner, StreamEvent, Totals};
use crate::evidence::Evidence;
use crate::failure::Failure;
use crate::purchase::{Buyer, Ended};
use crate::sampling::StreamSampling;
use crate::service::{Shared, lock};
use crate::sessions::{Session, Sessions};
use crate::stream::Segment;

/// Segments an orchestrator without a record may owe us at a time.
const UNPROVEN_SEGMENTS: u64 = 2;

/// A segment's purchase, delivered or not.
pub(crate) struct Bought {
    pub(crate) segment: Segment,
    pub(crate) arrived: Instant,
    pub(crate) attempts: Vec<AttemptReport>,
    /// Who delivered, where it was sent to two.
    pub(crate) hedge: Option<HedgeWinner>,
    pub(crate) result: Result<Purchase, SegmentError>,
}

/// What was bought, and where.
pub(crate) struct Purchase {
    pub(crate) session: Arc<Session>,
    pub(crate) delivered: Delivered,
}

/// The buying side of one stream.
pub(crate) struct Market {
    pub(crate) shared: Arc<Shared>,
    pub(crate) config: StreamConfig,
    ladder: Arc<Ladder>,
    pub(crate) sessions: Arc<Sessions>,
    sampling: StreamSampling,
    pub(crate) events: Events,
    pub(crate) hedges: Mutex<HedgeBudget>,
    spare: Mutex<Spare<OrchestratorId>>,
    /// Attempts that another outpaced, on their way to their end.
    outpaced: TaskTracker,
    /// Looks that publication does not wait for.
    looks: TaskTracker,
    /// What both came to.
    beside_totals: Mutex<Totals>,
}

/// What is asked of an attempt.
pub(crate) struct Order<'a> {
    pub(crate) segment: &'a Segment,
    pub(crate) source: &'a Arc<LazySource>,
    pub(crate) arrived: Instant,
    pub(crate) budget: Duration,
    pub(crate) deadline: Instant,
}

/// What an orchestrator did on a segment.
pub(crate) struct Work<'a> {
    pub(crate) session: &'a Arc<Session>,
    pub(crate) segment: &'a Segment,
    /// What came back, once all of it had.
    pub(crate) delivered: Option<&'a Delivered>,
}

impl Market {
    pub(crate) fn new(
        shared: Arc<Shared>,
        config: StreamConfig,
        ladder: Ladder,
        source: SourceVideo,
        events: Events,
    ) -> Self {
        let request = QuoteRequest {
            sender: shared.payer_address(),
            pixels_per_second: ladder.pixels_per_second(source.fps),
            ladder: ladder.clone(),
            source,
            max_price: shared.limits().price_ceiling,
            commitments: shared.config.commitments,
        };
        // Random, so that caps per stream and hour follow this run of the stream and nobody can guess it.
        let sessions = Sessions::new(Arc::clone(&shared), request, B256::random());
        let now = Instant::now();
        sessions.refill(now);
        let sampling =
            StreamSampling::new(Arc::clone(&shared.sampling), sessions.stream_id(), &config, events.clone());
        Self {
            hedges: Mutex::new(HedgeBudget::new(shared.config.hedging)),
            spare: Mutex::new(Spare::new(now)),
            outpaced: TaskTracker::new(),
            looks: TaskTracker::new(),
            beside_totals: Mutex::default(),
            shared,
            config,
            ladder: Arc::new(ladder),
            sessions,
            sampling,
            events,
        }
    }

    /// Waits for attempts that were outpaced and ends the sessions.
    pub(crate) async fn close(&self) {
        self.outpaced.close();
        self.outpaced.wait().await;
        self.sessions.close().await;
    }

    /// Waits for the looks at what was published, and returns what went on beside the stream came to.
    pub(crate) async fn looked(&self) -> Totals {
        self.looks.close();
        self.looks.wait().await;
        self.beside()
    }

    /// What went on beside the stream has come to so far.
    pub(crate) fn beside(&self) -> Totals {
        lock(&self.beside_totals).clone()
    }

    /// Buys the renditions of one segment. Ends by the segment's deadline.
    pub(crate) async fn buy(self: &Arc<Self>, segment: Segment) -> Bought {
        let arrived = Instant::now();
        let deadline = arrived + self.config.deadline.allow(segment.duration());
        let plan = SegmentPlan::new(deadline, self.shared.config.plan);
        lock(&self.hedges).earn();
        Buyer::new(Arc::clone(self), segment, arrived, plan).buy().await
    }

    /// Segments that may be out at an orchestrator: few while it has not proven itself.
    pub(crate) fn may_owe(&self, session: &Session) -> u64 {
        let proven = !self.shared.performance(&session.id()).is_unknown();
        if proven { self.config.in_flight as u64 + 1 } else { UNPROVEN_SEGMENTS }
    }

    /// Draws who is asked first.
    pub(crate) fn choose(&self, among: &[&Arc<Session>]) -> usize {
        self.draw(&self.shared.config.selection, among)
    }

    /// Who is asked when another failed or is late: the spare where it can be, somebody like it otherwise.
    pub(crate) fn choose_second(&self, among: &[&Arc<Session>]) -> usize {
        let spare = lock(&self.spare).held().copied();
        let held = spare.and_then(|spare| among.iter().position(|session| session.id() == spare));
        held.unwrap_or_else(|| self.draw(&self.shared.config.selection.for_spare(), among))
    }

    fn draw(&self, policy: &SelectionPolicy, among: &[&Arc<Session>]) -> usize {
        let merits: Vec<Merit> = among.iter().map(|session| self.sessions.merit(session)).collect();
        policy.choose(&merits, &mut rand::rng()).expect("a plan never asks to choose among nobody")
    }

    /// Sees to it that a spare other than `first` is ready.
    pub(crate) fn keep_spare(&self, first: &OrchestratorId, now: Instant) {
        let sessions = self.sessions.live(now);
        let fitness = |session: &Arc<Session>| {
            let known = self.shared.performance(&session.id());
            let good = self.shared.standing(&session.id(), now) == Standing::Good;
            (session.id(), Fitness { good, tail: known.tail })
        };
        let candidates: Vec<_> = sessions.iter().map(fitness).collect();
        let policy = self.shared.config.selection.for_spare();
        let choose = |among: &[usize]| {
            among[self.draw(&policy, &among.iter().map(|&index| &sessions[index]).collect::<Vec<_>>())]
        };
        let mut spare = lock(&self.spare);
        spare.heard(first, now);
        spare.settle(now, Some(first), &candidates, choose);
        let due = spare.due(now);
        drop(spare);
        if let Some(session) = due.and_then(|due| sessions.iter().find(|session| session.id() == due)) {
            self.sessions.renew(session);
        }
    }

    /// Makes an attempt ready to run; `None` when its orchestrator has no room for it any more.
    pub(crate) async fn prepare(&self, session: &Arc<Session>, order: Order<'_>) -> Option<Attempt> {
        let began = Instant::now();
        let may_owe = self.may_owe(session);
        // Another segment may have taken the last place since the look at it: choose again.
        let slot = self.sessions.reserve(session, may_owe)?;
        Some(Attempt {
            shared: Arc::clone(&self.shared),
            events: self.events.clone(),
            session: Arc::clone(session),
            segment: order.segment.clone(),
            ladder: Arc::clone(&self.ladder),
            source: Arc::clone(order.source),
            epoch: self.sampling.epoch().await,
            signal: Signal::new(began),
            _slot: slot,
            stream_id: self.sessions.stream_id(),
            may_owe,
            lost: self.sessions.lost_to(&session.id(), began),
            arrived: order.arrived,
            budget: order.budget,
            deadline: order.deadline,
        })
    }

    /// Remembers a delivery that passed its checks.
    pub(crate) fn delivered(&self, ended: &Ended, delivered: &Delivered) {
        let Ended { attempt, trace, .. } = ended;
        self.sessions.note_quality(&delivered.claims);
        let took = trace.delivered_at.unwrap_or_else(Instant::now);
        let delivery = Delivery {
            took: took.saturating_duration_since(attempt.signal.began),
            duration: attempt.segment.duration(),
            pixels: delivered.claims.iter().fold(0, |sum, claim| claim.pixels.saturating_add(sum)),
        };
        self.shared.delivered(&attempt.session.id(), &delivery);
    }

    /// Counts and tells how an attempt ended.
    pub(crate) fn report(&self, attempt: &Attempt, trace: &Trace, result: AttemptOutcome) -> AttemptReport {
        self.shared.metrics.attempts.inc((&result).into());
        self.shared.metrics.tickets.inc_by(trace.tickets);
        let report = AttemptReport {
            sequence: attempt.segment.sequence,
            orchestrator: attempt.session.account,
            result,
            timeline: trace.timeline,
            price: attempt.session.quote.price,
            renditions: trace.verdicts.clone(),
            tickets: u32::try_from(trace.tickets).unwrap_or(u32::MAX),
            expected_value: trace.expected_value,
        };
        self.events.send(StreamEvent::Attempt(report.clone()));
        report
    }

    /// Draws the consequences of a failed attempt for its orchestrator.
    pub(crate) fn hold_against(&self, work: &Work<'_>, failure: &mut Failure) {
        let Work { session, segment, delivered } = *work;
        if failure.drop_session {
            self.sessions.forget(session);
        }
        if let AttemptOutcome::Rejected { reason } = &failure.outcome {
            self.shared.count(|totals| totals.rejected += 1);
            self.shared.sampling.see(&session.account, Sight::Wrong);
            tracing::info!(
                stream = %self.config.name, sequence = segment.sequence, orchestrator = %session.account, %reason,
                "result rejected"
            );
            if let Some(delivered) = delivered {
                bundles::keep(&self.shared, session, &self.ladder, segment, delivered, failure);
                self.shared.evidence.keep(Evidence {
                    stream: self.config.name.clone(),
                    sequence: segment.sequence,
                    orchestrator: session.account,
                    reason: reason.clone(),
                    receipt: ReceiptRecord::from(&delivered.receipt),
                    renditions: hashes(delivered),
                    reports: std::mem::take(&mut failure.reports),
                });
            }
        }
        if let Some(severity) = failure.severity {
            let length = self.shared.failed(&session.id(), severity);
            self.events.send(StreamEvent::Suspended {
                orchestrator: session.account,
                reason: failure.outcome.summary(),
                millis: u64::try_from(length.as_millis()).unwrap_or(u64::MAX),
            });
        }
    }

    /// Lets an attempt that another outpaced come to its end, beside the stream.
    pub(crate) fn see_off(self: &Arc<Self>, ending: impl Future<Output = Ended> + Send + 'static) {
        let market = Arc::clone(self);
        self.outpaced.spawn(async move { market.lost_race(ending.await) });
    }

    /// Looks at what publication did not wait for. Wrong is wrong afterwards, too: only what was published stays so.
    pub(crate) fn look_later(self: &Arc<Self>, attempt: Attempt, delivered: Delivered, later: Later) {
        let market = Arc::clone(self);
        // Its place among what may be out at the orchestrator is free again.
        let Attempt { session, segment, .. } = attempt;
        self.looks.spawn(async move {
            let looked = tokio::select! {
                looked = later.look(&market.shared, &market.ladder, &delivered) => looked,
                () = market.shared.cancel.cancelled() => return,
            };
            let Err(finding) = looked else { return };
            let mut failure = Failure::from(finding);
            market.found_wrong(
                &Work { session: &session, segment: &segment, delivered: Some(&delivered) },
                &mut failure,
            );
        });
    }

    /// Tells of a published result that a later look found wrong, or could not end.
    fn found_wrong(&self, work: &Work<'_>, failure: &mut Failure) {
        let (sequence, orchestrator) = (work.segment.sequence, work.session.account);
        let AttemptOutcome::Rejected { reason } = &failure.outcome else {
            let reason = failure.outcome.summary();
            tracing::warn!(stream = %self.config.name, sequence, %reason, "look after publication came to no end");
            self.shared.metrics.looks_unended.inc();
            return;
        };
        let reason = reason.clone();
        self.shared.metrics.published_wrong.inc();
        lock(&self.beside_totals).rejected += 1;
        self.hold_against(work, failure);
        self.events.send(StreamEvent::FoundWrong { sequence, orchestrator, reason });
    }

    /// Books an attempt that another outpaced. What it had delivered was judged: wrong is wrong in second place, too.
    fn lost_race(self: &Arc<Self>, ended: Ended) {
        let outcome = self.outpaced_outcome(&ended);
        let Ended { attempt, trace, result } = ended;
        if let Some(outcome) = outcome {
            let report = self.report(&attempt, &trace, outcome);
            self.shared.metrics.outpaced_tickets.inc_by(trace.tickets);
            lock(&self.beside_totals).add_outpaced(&report);
            self.shared.count(|totals| totals.add_outpaced(&report));
        }
        match (result, trace.later) {
            (Ok(delivered), Some(later)) => self.look_later(attempt, delivered, later),
            (Ok(_), None) => {}
            (Err(mut failure), _) => {
                let delivered = trace.delivered.as_ref();
                let work = Work { session: &attempt.session, segment: &attempt.segment, delivered };
                self.hold_against(&work, &mut failure);
                let rejected = matches!(failure.outcome, AttemptOutcome::Rejected { .. });
                lock(&self.beside_totals).rejected += u64::from(rejected);
            }
        }
    }

    /// How an attempt that another outpaced ended; `None` for one that its orchestrator has not heard of.
    fn outpaced_outcome(&self, ended: &Ended) -> Option<AttemptOutcome> {
        let Ended { attempt, result, .. } = ended;
        let elapsed = attempt.signal.began.elapsed();
        match result {
            Ok(delivered) => self.delivered(ended, delivered),
            Err(failure) if failure.is_outpaced => {
                self.shared.outpaced(&attempt.session.id(), elapsed, attempt.segment.duration());
            }
            Err(failure) => return failure.made_offer.then(|| failure.outcome.clone()),
        }
        Some(AttemptOutcome::Outpaced { after_ms: millis_since(attempt.signal.began) })
    }
}

/// Sums over attempts.
pub(crate) fn spent(attempts: &[AttemptReport]) -> (u32, U256) {
    attempts.iter().fold((0_u32, U256::ZERO), |(tickets, value), attempt| {
        (tickets.saturating_add(attempt.tickets), value.saturating_add(attempt.expected_value))
    })
}
