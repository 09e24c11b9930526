//! Buys one segment's renditions: picks an orchestrator, tries it, fails over inside the deadline.

use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_primitives::{B256, U256};
use framemill_network::{Ladder, QuoteRequest, SourceVideo};
use framemill_verification::evidence::ReceiptRecord;
use framemill_verification::policy::attention::Sight;
use tokio::sync::watch;

use crate::attempt::{Attempt, Blame, Failure, Trace, millis_since};
use crate::bundles;
use crate::check::{Delivered, LazySource, hashes};
use crate::config::StreamConfig;
use crate::core::plan::{GiveUp, SegmentPlan, Step};
use crate::core::scoreboard::Standing;
use crate::core::select::Merit;
use crate::error::SegmentError;
use crate::event::{AttemptOutcome, AttemptReport, Events, StreamEvent};
use crate::evidence::Evidence;
use crate::sampling::StreamSampling;
use crate::service::Shared;
use crate::sessions::{Session, Sessions};
use crate::stream::Segment;

/// Orchestrators that must say "bad source" before it is believed: one alone could make any segment fail.
const BLAMES_BELIEVED: usize = 2;

/// Segments an orchestrator without a record may owe us at a time.
const UNPROVEN_SEGMENTS: u64 = 2;

/// A segment on which no attempt was possible ends after this many rounds of quotes' time.
const ROUNDS_WITHOUT_SESSION: u32 = 2;

/// A segment's purchase, delivered or not.
pub(crate) struct Bought {
    pub(crate) segment: Segment,
    pub(crate) arrived: Instant,
    pub(crate) attempts: Vec<AttemptReport>,
    pub(crate) result: Result<Purchase, SegmentError>,
}

/// What was bought, and where.
pub(crate) struct Purchase {
    pub(crate) session: Arc<Session>,
    pub(crate) delivered: Delivered,
}

/// The buying side of one stream.
pub(crate) struct Market {
    shared: Arc<Shared>,
    config: StreamConfig,
    ladder: Ladder,
    sessions: Arc<Sessions>,
    sampling: StreamSampling,
    events: Events,
}

/// What is remembered while one segment is bought.
struct Progress {
    arrived: Instant,
    plan: SegmentPlan<crate::directory::OrchestratorId>,
    attempts: Vec<AttemptReport>,
    blames: usize,
    /// Why our own payer refused last.
    unpaid: Option<String>,
    changes: watch::Receiver<u64>,
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
            max_price: shared.config.price_ceiling,
            commitments: shared.config.commitments,
        };
        // Random, so that caps per stream and hour follow this run of the stream and nobody can guess it.
        let sessions = Sessions::new(Arc::clone(&shared), request, B256::random());
        sessions.refill(Instant::now());
        let sampling =
            StreamSampling::new(Arc::clone(&shared.sampling), sessions.stream_id(), &config, events.clone());
        Self { shared, config, ladder, sessions, sampling, events }
    }

    /// Ends the sessions.
    pub(crate) async fn close(&self) {
        self.sessions.close().await;
    }

    /// Buys the renditions of one segment. Ends by the segment's deadline.
    pub(crate) async fn buy(&self, segment: Segment) -> Bought {
        let arrived = Instant::now();
        let deadline = arrived + self.config.deadline.allow(segment.duration());
        let mut progress = Progress {
            arrived,
            plan: SegmentPlan::new(deadline, self.shared.config.plan),
            attempts: Vec::new(),
            blames: 0,
            unpaid: None,
            changes: self.sessions.changes(),
        };
        let source = Arc::new(LazySource::new(segment.data.clone()));
        let result = self.purchase(&segment, &source, &mut progress).await;
        Bought { segment, arrived, attempts: progress.attempts, result }
    }

    async fn purchase(
        &self,
        segment: &Segment,
        source: &Arc<LazySource>,
        progress: &mut Progress,
    ) -> Result<Purchase, SegmentError> {
        loop {
            let now = Instant::now();
            progress.changes.mark_unchanged();
            let sessions = self.sessions.live(now);
            let known = sessions.len();
            let sessions: Vec<_> =
                sessions.into_iter().filter(|session| session.has_room(self.may_owe(session))).collect();
            let full = sessions.len() < known;
            let candidates: Vec<_> = sessions
                .iter()
                .map(|session| (session.id(), self.shared.standing(&session.id(), now)))
                .collect();
            let untried = candidates.iter().filter(|(id, _)| !progress.plan.was_tried(id)).count();
            let wanted = self.shared.config.warm_sessions.min(self.shared.directory.list().len());
            let asking = (untried == 0 || known < wanted) && self.sessions.refill(now);
            let more = asking || full;
            match progress.plan.next(now, &candidates, more) {
                Step::Attempt { among, budget } => {
                    let among: Vec<_> = among.into_iter().map(|index| &sessions[index]).collect();
                    let session = self.choose(&among);
                    if let Some(purchase) = self.attempt(segment, source, session, budget, progress).await? {
                        return Ok(purchase);
                    }
                }
                Step::Wait(time) => {
                    if let Some(error) = self.hopeless(segment, progress) {
                        return Err(error);
                    }
                    wait(&mut progress.changes, time).await;
                }
                Step::GiveUp(GiveUp::NobodyLeft) if more => {
                    let left = progress.plan.deadline().saturating_duration_since(now);
                    wait(&mut progress.changes, left).await;
                }
                Step::GiveUp(reason) => return Err(self.lost(segment, reason, progress)),
            }
        }
    }

    /// The error when nobody could be asked for longer than rounds of quotes take.
    fn hopeless(&self, segment: &Segment, progress: &Progress) -> Option<SegmentError> {
        let patience = self.shared.config.quote_timeout * ROUNDS_WITHOUT_SESSION;
        let never = progress.attempts.is_empty() && self.sessions.live(Instant::now()).is_empty();
        (never && progress.arrived.elapsed() >= patience)
            .then(|| self.lost(segment, GiveUp::NobodyLeft, progress))
    }

    /// Segments that may be out at an orchestrator: few while it has not proven itself.
    fn may_owe(&self, session: &Session) -> u64 {
        let proven = !self.shared.performance(&session.id()).is_unknown();
        if proven { self.config.in_flight as u64 + 1 } else { UNPROVEN_SEGMENTS }
    }

    fn choose<'a>(&self, among: &[&'a Arc<Session>]) -> &'a Arc<Session> {
        let merits: Vec<Merit> = among
            .iter()
            .map(|session| Merit {
                stake: f64::from(session.orchestrator.stake),
                price: session.price(),
                share: self.sessions.expected_share(session),
                performance: self.shared.performance(&session.id()),
            })
            .collect();
        let index = self.shared.config.selection.choose(&merits, &mut rand::rng());
        among[index.expect("a plan never asks to choose among nobody")]
    }

    /// One attempt. `Ok(None)` means that another one may follow.
    async fn attempt(
        &self,
        segment: &Segment,
        source: &Arc<LazySource>,
        session: &Arc<Session>,
        budget: Duration,
        progress: &mut Progress,
    ) -> Result<Option<Purchase>, SegmentError> {
        let began = Instant::now();
        let may_owe = self.may_owe(session);
        // Another segment may have taken the last place since the look at it: choose again.
        let Some(_slot) = self.sessions.reserve(session, may_owe) else { return Ok(None) };
        let attempt = Attempt {
            shared: &self.shared,
            events: &self.events,
            session,
            segment,
            ladder: &self.ladder,
            source,
            epoch: &self.sampling.epoch().await,
            stream_id: self.sessions.stream_id(),
            may_owe,
            lost: self.sessions.lost_to(&session.id(), began),
            arrived: progress.arrived,
            budget,
            deadline: progress.plan.deadline(),
        };
        let mut trace = Trace::default();
        let result = attempt.run(&mut trace).await;
        if trace.accepted {
            progress.plan.began();
        }
        let outcome = match &result {
            Ok(_) => AttemptOutcome::Delivered,
            Err(failure) => failure.outcome.clone(),
        };
        if !matches!(&result, Err(failure) if !failure.made_offer) {
            self.report(segment, session, outcome, &trace, progress);
        }
        match result {
            Ok(delivered) => {
                self.sessions.note_quality(&delivered.claims);
                let took = trace.delivered_at.unwrap_or_else(Instant::now).saturating_duration_since(began);
                self.shared.delivered(&session.id(), took, segment.duration());
                Ok(Some(Purchase { session: Arc::clone(session), delivered }))
            }
            Err(failure) if !failure.made_offer => {
                let reason = failure.outcome.summary();
                tracing::debug!(stream = %self.config.name, %reason, "own payer refused");
                progress.unpaid = Some(reason);
                self.failed(segment, session, failure, &trace, progress).map(|()| None)
            }
            Err(failure) => self.failed(segment, session, failure, &trace, progress).map(|()| None),
        }
    }

    fn report(
        &self,
        segment: &Segment,
        session: &Session,
        result: AttemptOutcome,
        trace: &Trace,
        progress: &mut Progress,
    ) {
        self.shared.metrics.attempt(&result);
        self.shared.metrics.tickets.inc_by(trace.tickets);
        let report = AttemptReport {
            sequence: segment.sequence,
            orchestrator: session.account,
            result,
            timeline: trace.timeline,
            tickets: u32::try_from(trace.tickets).unwrap_or(u32::MAX),
            expected_value: trace.expected_value,
        };
        progress.attempts.push(report.clone());
        self.events.send(StreamEvent::Attempt(report));
    }

    /// Draws the consequences of a failed attempt.
    fn failed(
        &self,
        segment: &Segment,
        session: &Session,
        failure: Failure,
        trace: &Trace,
        progress: &mut Progress,
    ) -> Result<(), SegmentError> {
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
            if let Some(delivered) = &trace.delivered {
                bundles::keep(&self.shared, session, &self.ladder, segment, delivered, &failure);
                self.shared.evidence.keep(Evidence {
                    stream: self.config.name.clone(),
                    sequence: segment.sequence,
                    orchestrator: session.account,
                    reason: reason.clone(),
                    receipt: ReceiptRecord::from(&delivered.receipt),
                    renditions: hashes(delivered),
                    reports: failure.reports,
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
        progress.plan.set_back(&session.id(), Instant::now(), failure.setback);
        match failure.blames_source {
            Some(Blame::Peer) => progress.blames += 1,
            Some(Blame::Ourselves) => progress.blames = BLAMES_BELIEVED,
            None => {}
        }
        if progress.blames >= BLAMES_BELIEVED {
            return Err(SegmentError::Source {
                sequence: segment.sequence,
                reason: failure.outcome.summary(),
            });
        }
        Ok(())
    }

    /// The best reason for not having asked anybody.
    fn why_nobody(&self, progress: &Progress) -> String {
        let known = self.shared.directory.list();
        let now = Instant::now();
        let barred =
            |o: &&crate::directory::Orchestrator| self.shared.standing(&o.id, now) == Standing::Barred;
        let suspended = known.iter().filter(barred).count();
        if suspended > 0 && suspended == known.len() {
            return format!("all {suspended} known are suspended for wrong results");
        }
        let reason = progress.unpaid.clone().or_else(|| self.sessions.last_refusal());
        reason.unwrap_or_else(|| "nobody was found".to_owned())
    }

    fn lost(&self, segment: &Segment, reason: GiveUp, progress: &Progress) -> SegmentError {
        let sequence = segment.sequence;
        let attempts = progress.plan.attempts();
        let Some(last) = progress.attempts.last() else {
            return SegmentError::NoOrchestrator(self.why_nobody(progress));
        };
        let last = format!("{} {}", last.orchestrator, last.result.summary());
        // Who was busy before has not looked at the source.
        if progress.blames > 0 && progress.blames >= attempts as usize {
            return SegmentError::Source { sequence, reason: last };
        }
        match reason {
            GiveUp::Deadline => {
                SegmentError::Deadline { sequence, millis: millis_since(progress.arrived), attempts, last }
            }
            GiveUp::Attempts | GiveUp::NobodyLeft => SegmentError::Exhausted { sequence, attempts, last },
        }
    }
}

/// Waits for a change of the sessions, at most for `time`.
async fn wait(changes: &mut watch::Receiver<u64>, time: Duration) {
    // A closed channel cannot be: the sessions outlive their buyers.
    let _ = tokio::time::timeout(time, changes.changed()).await;
}

/// Sums over attempts.
pub(crate) fn spent(attempts: &[AttemptReport]) -> (u32, U256) {
    attempts.iter().fold((0_u32, U256::ZERO), |(tickets, value), attempt| {
        (tickets.saturating_add(attempt.tickets), value.saturating_add(attempt.expected_value))
    })
}
