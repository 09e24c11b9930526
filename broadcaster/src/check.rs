//! Checks a complete result before anything of it is published.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use alloy_primitives::B256;
use bytes::Bytes;
use framemill_media::MediaLimits;
use framemill_network::{Ladder, LadderEntry, RenditionClaim, SignedReceipt};
use framemill_verification::policy::draw::DrawnResult;
use framemill_verification::{
    Delivery, Policy, Report, SourceReference, Tier, VerifyError, pixels_match, price_share_ppm,
    quality_match, verify, verify_receipt,
};
use futures::future::join_all;

use crate::claims;
use crate::sampling::{OpenEpoch, Waiting};
use crate::service::Shared;
use crate::sessions::Session;
use crate::stream::Segment;

/// The source to judge against, read when the first result is there and shared by all renditions and attempts.
pub(crate) struct LazySource {
    data: Bytes,
    read: OnceLock<Result<SourceReference, VerifyError>>,
}

impl LazySource {
    pub(crate) fn new(data: Bytes) -> Self {
        Self { data, read: OnceLock::new() }
    }

    /// Blocks on reading the first time.
    fn get(&self) -> Result<&SourceReference, VerifyError> {
        let read = || SourceReference::new(self.data.clone(), &MediaLimits::segment());
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
    /// Pixels of each rendition, and the millionths of their price that its quality is paid with.
    pub(crate) parts: Vec<(u64, u32)>,
    /// The result's own seed, for what else is drawn.
    pub(crate) seed: [u8; 32],
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
    },
    /// The source cannot be judged against, which says nothing about the result.
    Unjudgeable(String),
}

/// Checks receipt and renditions. Decoding runs on blocking threads, as many as [`Shared::verify_slots`] allows.
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
    };
    let receipt = verify_receipt(&delivered.receipt, &shared.domain, &session.signers(), &delivery);
    let refused = |reason| Finding::Rejected { reason, reports: Vec::new(), accused: None };
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
    });
    let judged = join_all(ladder.iter().zip(&delivered.renditions).map(|(entry, rendition)| {
        // All of them wait before the first one starts, so that the load it sees is the same every time.
        let waiting = shared.sampling.wait();
        judge(shared, waiting, Arc::clone(&judging), rendition.clone(), entry.clone())
    }))
    .await;
    shared.metrics.verify_seconds.observe(started.elapsed().as_secs_f64());

    let reports = judged.into_iter().collect::<Result<Vec<_>, _>>().map_err(Finding::Unjudgeable)?;
    let tier = reports.iter().map(|report| report.tier).max().unwrap_or(Tier::Structure);
    shared.metrics.judged(tier);
    let mut fault = first_fault(ladder, &reports, &delivered.claims);
    let seed = epoch.seed_for(&result);
    if fault.is_none() && claims::drawn(shared.config.claim_checks_ppm, &seed) {
        fault = claims::first_false(shared, ladder, delivered).await.map_err(Finding::Unjudgeable)?;
    }
    match fault {
        Some((accused, reason)) => Err(Finding::Rejected { reason, reports, accused: Some(accused) }),
        None => {
            shared.sampling.passed(&session.account, &reports);
            Ok(Passed { tier, parts: parts(session, ladder, &reports, &delivered.claims), seed })
        }
    }
}

/// A result in judgement.
struct Judging {
    source: Arc<LazySource>,
    result: DrawnResult,
    epoch: Arc<OpenEpoch>,
    queued: Instant,
    allowed: Duration,
    /// Decided when its first rendition gets a core, by the load of that time, and the same for all.
    policy: OnceLock<Policy>,
}

impl Judging {
    /// Blocks on decoding.
    fn verify(&self, rendition: &Bytes, entry: &LadderEntry) -> Result<Report, VerifyError> {
        let policy = self.policy.get_or_init(|| self.epoch.decide(self.result, self.queued, self.allowed));
        verify(self.source.get()?, rendition, entry, policy, &self.epoch.seed_for(&self.result))
    }
}

async fn judge(
    shared: &Arc<Shared>,
    waiting: Waiting,
    judging: Arc<Judging>,
    rendition: Bytes,
    entry: LadderEntry,
) -> Result<Report, String> {
    let _slot = shared.verify_slots.acquire().await.map_err(|_| "the broadcaster has ended".to_owned())?;
    drop(waiting);
    match tokio::task::spawn_blocking(move || judging.verify(&rendition, &entry)).await {
        Ok(Ok(report)) => Ok(report),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("verification ended without a verdict; this is a defect, see the log".to_owned()),
    }
}

/// The first rendition with a fault, and what is wrong with it.
fn first_fault(ladder: &Ladder, reports: &[Report], claims: &[RenditionClaim]) -> Option<(u32, String)> {
    ladder.iter().zip(reports).zip(claims).find_map(|((entry, report), claim)| {
        let name = &entry.name;
        if let Some(check) = report.failures().next() {
            let reason = format!("{name}: {} is {}, bound {}", check.name, check.value, check.bound);
            return Some((claim.index, reason));
        }
        let wrong = pixels_match(report, claim).and_then(|()| quality_match(report, claim));
        wrong.err().map(|error| (claim.index, format!("{name}: {error}")))
    })
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

/// SHA-256 of each rendition received.
pub(crate) fn hashes(delivered: &Delivered) -> Vec<B256> {
    delivered.claims.iter().map(|claim| claim.sha256).collect()
}
