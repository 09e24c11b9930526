//! Checks a complete result before anything of it is published.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use alloy_primitives::B256;
use bytes::Bytes;
use framemill_media::MediaLimits;
use framemill_network::{Ladder, LadderEntry, RenditionClaim, SignedReceipt};
use framemill_verification::evidence::Draw;
use framemill_verification::policy::attention::is_in_doubt;
use framemill_verification::policy::draw::DrawnResult;
use framemill_verification::{
    Check, Delivery, Policy, Report, SourceReference, Tier, VerifyError, pixels_match, price_share_ppm,
    quality_match, verify_hashed, verify_receipt,
};
use futures::future::join_all;

use crate::claims;
use crate::cores::Turn;
use crate::event::RenditionVerdict;
use crate::queue::Place;
use crate::sampling::{OpenEpoch, Waiting};
use crate::service::Shared;
use crate::sessions::Session;
use crate::stream::Segment;

/// The source to judge against, read when the first result is there and shared by all renditions and attempts.
pub(crate) struct LazySource {
    data: Bytes,
    sha256: B256,
    read: OnceLock<Result<SourceReference, VerifyError>>,
}

impl LazySource {
    pub(crate) fn new(data: Bytes, sha256: B256) -> Self {
        Self { data, sha256, read: OnceLock::new() }
    }

    /// Blocks on reading the first time.
    fn get(&self) -> Result<&SourceReference, VerifyError> {
        let read = || SourceReference::hashed(self.data.clone(), self.sha256, &MediaLimits::segment());
        self.read.get_or_init(read).as_ref().map_err(Clone::clone)
    }
}

/// Everything an orchestrator sent for one segment.
#[derive(Debug, Clone)]
pub(crate) struct Delivered {
    pub(crate) renditions: Vec<Bytes>,
    pub(crate) claims: Vec<RenditionClaim>,
    pub(crate) receipt: SignedReceipt,
    /// How deep it was looked at, once it was.
    pub(crate) tier: Option<Tier>,
}

/// What the checks came to when they passed.
pub(crate) struct Passed {
    /// How deep they looked.
    pub(crate) tier: Tier,
    /// On each rendition.
    pub(crate) reports: Vec<Report>,
    /// Pixels of each rendition, and the millionths of their price that its quality is paid with.
    pub(crate) parts: Vec<(u64, u32)>,
    /// The result's own seed, for what else is drawn.
    pub(crate) seed: [u8; 32],
    /// What was drawn beyond that and is still to be looked at.
    pub(crate) later: Option<Later>,
}

/// A look at whole pictures that publication does not wait for.
pub(crate) struct Later {
    judging: Arc<Judging>,
    place: Place,
}

impl Later {
    /// Looks as deep as was drawn.
    pub(crate) async fn look(
        self,
        shared: &Arc<Shared>,
        ladder: &Ladder,
        delivered: &Delivered,
    ) -> Result<(), Finding> {
        let case = Case { shared, ladder, delivered, place: &self.place };
        let judged = self.judging.look(&case, Turn::Later).await.map_err(Finding::Unjudgeable)?;
        self.judging.conclude(shared, judged).map(|_| ())
    }
}

/// What a judgement came to: reports on all renditions, and the first fault.
type Judged = (Vec<Report>, Option<Fault>);

/// What a judgement works with.
struct Case<'a> {
    shared: &'a Arc<Shared>,
    ladder: &'a Ladder,
    delivered: &'a Delivered,
    place: &'a Place,
}

/// What the checks came to when they did not pass.
pub(crate) enum Finding {
    /// The result is wrong.
    Rejected {
        /// The first check that failed.
        reason: String,
        /// Reports of the renditions that were judged.
        reports: Vec<Report>,
        /// The rendition that is at fault, where it is a single one.
        accused: Option<u32>,
        /// How the depth of the judgement was drawn, where it came to one.
        draw: Option<Box<Draw>>,
    },
    /// The source cannot be judged against, which says nothing about the result.
    Unjudgeable(String),
}

/// Checks receipt and renditions. Decoding runs on [`Shared::cores`], for as many results as [`Shared::queue`] has room for.
pub(crate) async fn check(
    shared: &Arc<Shared>,
    session: &Session,
    segment: &Segment,
    ladder: &Ladder,
    source: &Arc<LazySource>,
    epoch: &Arc<OpenEpoch>,
    delivered: &Delivered,
) -> Result<Passed, Finding> {
    let started = Instant::now();
    let delivery = Delivery {
        session: session.quote.session,
        sequence: segment.sequence,
        source_sha256: segment.sha256,
        ladder_hash: ladder.hash(),
        renditions: &delivered.claims,
        rounds: shared.rounds.accepted(),
    };
    let receipt = verify_receipt(&delivered.receipt, &shared.domain, &session.signers(), &delivery);
    let refused = |reason| Finding::Rejected { reason, reports: Vec::new(), accused: None, draw: None };
    receipt.map_err(|error| refused(error.to_string()))?;
    claims::promised(session.quote.commitment_version, &delivered.claims).map_err(refused)?;

    let result = DrawnResult {
        orchestrator: session.account,
        session: session.quote.session,
        sequence: segment.sequence,
        result: delivered.receipt.receipt.signing_hash(&shared.domain),
    };
    let judging = Arc::new(Judging {
        source: Arc::clone(source),
        result,
        epoch: Arc::clone(epoch),
        queued: started,
        allowed: epoch.allows(segment.duration()),
        policy: OnceLock::new(),
        escalated: AtomicBool::new(false),
    });
    let place = judging.enter(shared, ladder.len()).await;
    let case = Case { shared, ladder, delivered, place: &place };
    let outcome = judging.judge(&case).await;
    shared.metrics.verify_seconds.observe(started.elapsed().as_secs_f64());
    let (reports, later) = match outcome.map_err(Finding::Unjudgeable)? {
        Outcome::Whole(judged) => (judging.conclude(shared, judged)?, None),
        Outcome::InPart(reports, room) => {
            (reports, Some(Later { judging: Arc::clone(&judging), place: room }))
        }
    };
    Ok(Passed {
        tier: depth(&reports),
        parts: parts(session, ladder, &reports, &delivered.claims),
        reports,
        seed: judging.seed(),
        later,
    })
}

fn depth(reports: &[Report]) -> Tier {
    reports.iter().map(|report| report.tier).max().unwrap_or(Tier::Structure)
}

/// How far a judgement came before publication.
enum Outcome {
    /// As deep as was drawn.
    Whole(Judged),
    /// First frames, which are above doubt; the rest is looked at later, in this place.
    InPart(Vec<Report>, Place),
}

/// A result in judgement.
struct Judging {
    source: Arc<LazySource>,
    result: DrawnResult,
    epoch: Arc<OpenEpoch>,
    queued: Instant,
    allowed: Duration,
    /// Decided on arrival where its picture stays unseen, else when its first rendition gets a core; by the load of that time, and
    /// the same for all.
    policy: OnceLock<Policy>,
    /// It is compared whole, whatever was drawn.
    escalated: AtomicBool,
}

/// Index of a rendition at fault, and what is wrong with it.
type Fault = (u32, String);

/// How deep to look.
#[derive(Clone, Copy)]
enum Look {
    AsDrawn,
    FirstFrames,
}

impl Judging {
    /// Looks as deep as is drawn, or at first frames only where the rest can be left for later.
    async fn judge(self: &Arc<Self>, case: &Case<'_>) -> Result<Outcome, String> {
        if let Some(room) = self.room_for_later(case) {
            let reports = self.reports(case, Look::FirstFrames, Turn::Now).await?;
            let escalate_permille = case.shared.sampling.escalate_permille();
            let fault = first_fault(case.ladder, &reports, &case.delivered.claims);
            if fault.is_none() && !is_in_doubt(&reports, escalate_permille) {
                return Ok(Outcome::InPart(reports, room));
            }
        }
        self.look(case, Turn::Now).await.map(Outcome::Whole)
    }

    /// Looks as deep as is drawn.
    async fn look(self: &Arc<Self>, case: &Case<'_>, turn: Turn) -> Result<Judged, String> {
        let Case { shared, ladder, delivered, .. } = *case;
        let mut reports = self.reports(case, Look::AsDrawn, turn).await?;
        if is_in_doubt(&reports, shared.sampling.escalate_permille()) {
            shared.metrics.escalated.inc();
            self.escalated.store(true, Ordering::Release);
            reports = self.reports(case, Look::AsDrawn, turn).await?;
        }
        let mut fault = first_fault(ladder, &reports, &delivered.claims);
        if fault.is_none() && self.policy().draws_claim_check(&self.seed()) {
            fault = claims::first_false(shared, ladder, delivered, turn).await?;
        }
        Ok((reports, fault))
    }

    /// Counts a judgement, and puts on record what it showed. Returns the reports on a result that passed.
    fn conclude(&self, shared: &Shared, (reports, fault): Judged) -> Result<Vec<Report>, Finding> {
        shared.metrics.judged.inc(depth(&reports).into());
        match fault {
            Some((accused, reason)) => {
                let (accused, draw) = (Some(accused), self.draw());
                Err(Finding::Rejected { reason, reports, accused, draw })
            }
            None => {
                shared.sampling.passed(&self.result.orchestrator, &reports);
                Ok(reports)
            }
        }
    }

    /// A place among what is looked at later, where publication need not wait for all that is drawn.
    fn room_for_later(&self, case: &Case<'_>) -> Option<Place> {
        self.can_wait().then(|| case.shared.queue.try_later(case.ladder.len())).flatten()
    }

    /// Whether publication need not wait for all that is drawn.
    fn can_wait(&self) -> bool {
        match self.policy.get() {
            Some(policy) => self.epoch.leaves_for_later(&self.result, policy),
            None => match self.epoch.decide_later(self.result, self.allowed) {
                Some(policy) => self.policy.set(policy).is_ok(),
                None => false,
            },
        }
    }

    /// Takes room in the queue for pictures. A result at adaptive rates whose picture is not drawn passes beside it: it waits for
    /// nobody's picture. Without room it is drawn at the least rates there are, and waits only when even these want its picture.
    async fn enter(&self, shared: &Shared, renditions: usize) -> Place {
        let room = shared.queue.try_enter(renditions);
        let unseen = match &room {
            Some(_) => self.epoch.decide_unseen(self.result, self.allowed),
            None => self.epoch.decide_without_room(self.result),
        };
        if let Some(policy) = unseen {
            let policy = self.policy.get_or_init(|| policy);
            if self.epoch.leaves_unseen(&self.result, policy) {
                return Place::Express;
            }
        }
        match room {
            Some(place) => place,
            None => shared.queue.enter(renditions).await,
        }
    }

    async fn reports(
        self: &Arc<Self>,
        case: &Case<'_>,
        look: Look,
        turn: Turn,
    ) -> Result<Vec<Report>, String> {
        let Case { shared, ladder, delivered, place } = *case;
        let renditions = delivered.renditions.iter().zip(hashes(delivered));
        let judged = join_all(ladder.iter().zip(renditions).map(|(entry, (rendition, sha256))| {
            // All of them wait before the first one starts, so that the load it sees is the same every time.
            let waiting = matches!(place, Place::Queued { .. }).then(|| shared.sampling.wait());
            self.report(shared, waiting, (rendition.clone(), sha256), (entry.clone(), look, turn))
        }))
        .await;
        judged.into_iter().collect()
    }

    async fn report(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        waiting: Option<Waiting>,
        rendition: (Bytes, B256),
        (entry, look, turn): (LadderEntry, Look, Turn),
    ) -> Result<Report, String> {
        let core = match &waiting {
            Some(_) => shared.cores.take(turn).await,
            None => shared.queue.express().await,
        };
        drop(waiting);
        let judging = Arc::clone(self);
        match core.run(move || judging.verify(&rendition, &entry, look)).await {
            Some(Ok(report)) => Ok(report),
            Some(Err(error)) => Err(error.to_string()),
            None => Err("verification ended without a verdict; this is a defect, see the log".to_owned()),
        }
    }

    /// Blocks on decoding. The hash is the claimed one, which the bytes were held against as they arrived.
    fn verify(
        &self,
        (rendition, sha256): &(Bytes, B256),
        entry: &LadderEntry,
        look: Look,
    ) -> Result<Report, VerifyError> {
        let policy = match look {
            Look::AsDrawn => self.policy(),
            Look::FirstFrames => Policy::FIRST_FRAMES,
        };
        verify_hashed(self.source.get()?, (rendition, *sha256), entry, &policy, &self.seed())
    }

    /// The rates in force.
    fn policy(&self) -> Policy {
        if self.escalated.load(Ordering::Acquire) {
            return Policy::FULL;
        }
        *self.policy.get_or_init(|| self.epoch.decide(self.result, self.queued, self.allowed))
    }

    fn seed(&self) -> [u8; 32] {
        self.epoch.seed_for(&self.result)
    }

    /// The draw as evidence shows it: it gives the same reports again. What was escalated is shown as drawn at full rates.
    fn draw(&self) -> Option<Box<Draw>> {
        self.policy.get()?;
        let (epoch, commitment) = self.epoch.committed();
        Some(Box::new(Draw::new(&self.policy(), &self.seed()).committed(epoch, commitment)))
    }
}

/// The first rendition with a fault, and what is wrong with it.
fn first_fault(ladder: &Ladder, reports: &[Report], claims: &[RenditionClaim]) -> Option<Fault> {
    ladder.iter().zip(reports).zip(claims).find_map(|((entry, report), claim)| {
        let name = &entry.name;
        if let Some(check) = report.failures().next() {
            return Some((claim.index, format!("{name}: {}", told(check))));
        }
        let wrong = pixels_match(report, claim).and_then(|()| quality_match(report, claim));
        wrong.err().map(|error| (claim.index, format!("{name}: {error}")))
    })
}

fn told(check: &Check) -> String {
    format!("{} is {}, bound {}", check.name, check.value, check.bound)
}

/// What each rendition is paid for: pixels, and the share of their price by the quality that was declared.
fn parts(
    session: &Session,
    ladder: &Ladder,
    reports: &[Report],
    claims: &[RenditionClaim],
) -> Vec<(u64, u32)> {
    let terms = &session.quote.quality;
    let part = |((entry, report), claim): ((&LadderEntry, &Report), &RenditionClaim)| {
        let bits = report.quality.bits_per_second;
        (claim.pixels, price_share_ppm(terms, claim.psnr_centi_db, bits, entry))
    };
    ladder.iter().zip(reports).zip(claims).map(part).collect()
}

/// What was found of each rendition that was judged; `fault` is of the one that it names.
pub(crate) fn verdicts(
    ladder: &Ladder,
    reports: &[Report],
    fault: Option<(u32, &str)>,
) -> Vec<RenditionVerdict> {
    let verdict = |(index, (entry, report)): (usize, (&LadderEntry, &Report))| {
        let own = report.failures().next().map(told);
        let named =
            fault.filter(|(accused, _)| *accused as usize == index).map(|(_, reason)| reason.to_owned());
        RenditionVerdict {
            name: entry.name.clone(),
            width: entry.width,
            height: entry.height,
            tier: report.tier as u8,
            psnr_centi_db: (report.quality.frames > 0).then_some(report.quality.psnr_centi_db),
            fault: own.or(named),
        }
    };
    ladder.iter().zip(reports).enumerate().map(verdict).collect()
}

/// SHA-256 of each rendition received.
pub(crate) fn hashes(delivered: &Delivered) -> Vec<B256> {
    delivered.claims.iter().map(|claim| claim.sha256).collect()
}
