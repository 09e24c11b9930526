//! The one verdict of a juror: what bundles say about an accusation before the court.

use alloy_primitives::B256;
use framemill_media::MediaLimits;
use framemill_network::{RenditionClaim, SigningDomain, renditions_root};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Bundle, Fault, Judgement, Manifest};

/// What a jury is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Accusation {
    /// A rendition holds other pixels than were claimed.
    ClaimedPixels,
    /// The signed feature root is not that of the bytes.
    FalseFeatures,
    /// A rendition is worse than was declared for it.
    FalseQuality,
    /// Renditions of two segments are no faithful encodes of their sources, both by wide margins.
    Unfaithful,
}

/// What it finds. Everybody who has the same bytes finds the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// The fault is proven.
    Guilty,
    /// The evidence was judged and does not show this fault.
    NotGuilty,
    /// The evidence cannot be judged.
    Unavailable,
}

/// A finding with its reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opinion {
    /// What was found.
    pub finding: Finding,
    /// Why, for people.
    pub reason: String,
}

impl Opinion {
    /// That the evidence cannot be had or judged.
    #[must_use]
    pub fn unavailable(reason: impl ToString) -> Self {
        Self { finding: Finding::Unavailable, reason: reason.to_string() }
    }

    fn not_guilty(reason: &str) -> Self {
        Self { finding: Finding::NotGuilty, reason: reason.to_owned() }
    }
}

/// A manifest that is about something else than what is accused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Unrelated {
    /// Another receipt.
    #[error("its receipt has the digest {found}, {accused} is accused")]
    Receipt {
        /// Digest in the court's domain.
        found: B256,
        /// Digest before the court.
        accused: B256,
    },
    /// The claims are not those of the receipt.
    #[error("its claims are not under the receipt's root")]
    Claims,
    /// The rendition is not the one of the claim.
    #[error("the rendition it brings is not the one that was claimed")]
    Rendition,
    /// The source is not the one of the receipt.
    #[error("the source it brings is not the one of the receipt")]
    Source,
}

impl Manifest {
    /// That it is about the receipt with this digest, and brings the bytes that the receipt names. Nothing but the manifest
    /// is needed, so nobody has to fetch media that the accused never signed.
    ///
    /// # Errors
    /// Says what is something else.
    pub fn is_about(&self, domain: &SigningDomain, receipt: B256) -> Result<(), Unrelated> {
        let case = &self.case;
        let stated = case.receipt.statement();
        let found = stated.signing_hash(domain);
        if found != receipt || (case.chain_id, case.controller) != (domain.chain_id, domain.controller) {
            return Err(Unrelated::Receipt { found, accused: receipt });
        }
        let claims: Vec<RenditionClaim> = case.claims.iter().map(RenditionClaim::from).collect();
        if renditions_root(&claims) != stated.renditions_root {
            return Err(Unrelated::Claims);
        }
        if claims.get(case.accused as usize).is_none_or(|claim| claim.sha256 != self.rendition) {
            return Err(Unrelated::Rendition);
        }
        if self.source.is_some_and(|source| source != stated.source_hash) {
            return Err(Unrelated::Source);
        }
        Ok(())
    }
}

/// Judges an accusation by the bundles of its receipts, in their order; `domain` is the court's. Blocks for as long as decoding
/// the media takes. Never fails: evidence that cannot be judged is a finding.
#[must_use]
pub fn judge_accusation(
    accusation: Accusation,
    domain: &SigningDomain,
    receipts: &[B256],
    bundles: &[Bundle],
    limits: &MediaLimits,
) -> Opinion {
    if receipts.is_empty() || receipts.len() != bundles.len() {
        return Opinion::unavailable(format!("{} receipts, {} bundles", receipts.len(), bundles.len()));
    }
    let mut opinions = receipts.iter().zip(bundles).map(|(receipt, bundle)| {
        if let Err(unrelated) = bundle.manifest().is_about(domain, *receipt) {
            return Opinion::unavailable(unrelated);
        }
        match bundle.judge(limits) {
            Ok(judgement) => opinion(accusation, bundle, &judgement),
            Err(unjudgeable) => Opinion::unavailable(unjudgeable),
        }
    });
    let first = opinions.next().unwrap_or_else(|| Opinion::unavailable("no receipt"));
    // Each receipt has to show the fault: the first that does not decides, unless another cannot be judged.
    opinions.fold(first, |so_far, next| match (so_far.finding, next.finding) {
        (Finding::Unavailable, _) | (Finding::NotGuilty, Finding::Guilty | Finding::NotGuilty) => so_far,
        _ => next,
    })
}

fn opinion(accusation: Accusation, bundle: &Bundle, judgement: &Judgement) -> Opinion {
    let shown = judgement.faults.iter().find(|fault| proves(accusation, fault, judgement));
    if let Some(fault) = shown {
        return Opinion { finding: Finding::Guilty, reason: fault.to_string() };
    }
    let case = &bundle.manifest().case;
    let claim = case.claims.get(case.accused as usize);
    let (claimed, report) = (&judgement.claim, judgement.report.as_ref());
    match accusation {
        // A report that failed counts no pixels: what it saw may not be what every decoder sees.
        Accusation::ClaimedPixels
            if claimed.true_pixels.is_none() && !report.is_some_and(super::Report::passed) =>
        {
            Opinion::unavailable("the rendition's frames cannot be counted")
        }
        Accusation::FalseFeatures if !claimed.committed => {
            Opinion::not_guilty("no features were committed to")
        }
        Accusation::FalseFeatures if claimed.true_root.is_none() => {
            Opinion::unavailable("the rendition has no root that every decoder agrees on")
        }
        Accusation::FalseQuality if claim.is_some_and(|claim| claim.psnr_centi_db.is_none()) => {
            Opinion::not_guilty("no quality was declared")
        }
        Accusation::FalseQuality if !report.is_some_and(super::Report::measures_quality) => {
            Opinion::unavailable("the rendition's quality cannot be measured")
        }
        Accusation::Unfaithful if report.is_none() => Opinion::unavailable("the source is not in the bundle"),
        _ => Opinion::not_guilty("the evidence does not show this fault"),
    }
}

fn proves(accusation: Accusation, fault: &Fault, judgement: &Judgement) -> bool {
    match (accusation, fault) {
        (Accusation::ClaimedPixels, Fault::ClaimedPixels { .. })
        | (Accusation::FalseFeatures, Fault::FalseFeatures { .. })
        | (Accusation::FalseQuality, Fault::FalseQuality { .. }) => true,
        (Accusation::Unfaithful, Fault::Unfaithful { .. }) => {
            judgement.report.as_ref().is_some_and(super::Report::is_far_off)
        }
        _ => false,
    }
}
