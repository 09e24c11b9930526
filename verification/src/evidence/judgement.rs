//! What a bundle proves, from the bundle alone.

use std::fmt;

use alloy_primitives::{Address, B256};
use framemill_media::MediaLimits;
use framemill_network::receipt::rendition_branch;
use framemill_network::{RenditionClaim, SignedReceipt, SigningDomain};
use serde::Serialize;
use thiserror::Error;

use super::proof::FeatureProof;
use super::{Bundle, RENDITION, REPORT, SOURCE};
use crate::claim::{ClaimReport, check_claim_by};
use crate::commitment::{CommitmentError, Witness, commit};
use crate::error::VerifyError;
use crate::judge::{Onlooker, judge, verify};
use crate::opening::Difference;
use crate::receipt::{Delivery, ReceiptError, verify_receipt};
use crate::report::{Report, Tier};
use crate::rules;
use crate::source::SourceReference;

/// What a bundle comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The accused signed something that is wrong.
    FaultProven,
    /// Everything that could be looked at is as it was signed.
    NoFault,
}

/// Something wrong that was signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// The receipt's pixels are not the sum of its claims'.
    ReceiptPixels {
        /// In the receipt.
        signed: u64,
        /// Sum over the claims.
        claimed: u64,
    },
    /// The rendition holds other pixels than were claimed, and paid, for it.
    ClaimedPixels {
        /// In the claim.
        claimed: u64,
        /// In the bytes.
        found: u64,
    },
    /// The committed features are not those of the rendition. Exact: no threshold.
    FalseFeatures {
        /// The root that was signed.
        claimed: B256,
        /// The root that the bytes have.
        found: B256,
        /// Where they part, where the root was opened.
        difference: Option<Difference>,
    },
    /// The rendition is worse than was declared, and paid, for it. Exact: no threshold. Quality itself is no fault.
    FalseQuality {
        /// Luma PSNR in the claim, in hundredths of a decibel.
        claimed: u32,
        /// That of the rendition.
        found: u32,
    },
    /// The rendition is no faithful encode by the rules. Thresholds are involved: stake is at risk only for wide margins
    /// on two independent segments.
    Unfaithful {
        /// The first check that failed, in words.
        reason: String,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReceiptPixels { signed, claimed } => {
                write!(f, "the receipt says {signed} pixels, its claims {claimed}")
            }
            Self::ClaimedPixels { claimed, found } => {
                write!(f, "{claimed} pixels claimed, {found} delivered")
            }
            Self::FalseFeatures { difference, .. } => match difference {
                None => f.write_str("the committed features are not those of the rendition"),
                Some(Difference::Shape { committed, found }) => write!(
                    f,
                    "features committed for {} frames of {}x{}, the rendition has {} of {}x{}",
                    committed.frames,
                    committed.width,
                    committed.height,
                    found.frames,
                    found.width,
                    found.height
                ),
                Some(Difference::Frame { frame }) => write!(f, "the features of frame {frame} are false"),
                Some(Difference::Block { frame, block, .. }) => {
                    write!(f, "the features of frame {frame} are false in block {block}")
                }
            },
            Self::FalseQuality { claimed, found } => {
                write!(f, "luma PSNR of {claimed} hundredths of a decibel claimed, {found} delivered")
            }
            Self::Unfaithful { reason } => write!(f, "no faithful encode: {reason}"),
        }
    }
}

/// A bundle that proves nothing either way.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum Unjudgeable {
    /// The signature has another length.
    #[error("receipt's signature has {0} bytes, want 65; nothing was signed")]
    SignatureLength(usize),
    /// The receipt is not by the accused, or about something else.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// The ladder or the claims have no such rendition.
    #[error("rendition {accused} is accused, ladder and claims have {renditions}; name one of them")]
    NoSuchRendition {
        /// Index that is accused.
        accused: u32,
        /// Renditions in the ladder.
        renditions: usize,
    },
    /// The bytes are not those that were signed: nobody knows where they come from.
    #[error("rendition hashes to {found}, the claim names {claimed}; bring that one")]
    OtherRendition {
        /// Hash of the bytes.
        found: B256,
        /// Hash in the claim.
        claimed: B256,
    },
    /// Neither features nor a source to compare with.
    #[error("no features were committed and the source is not in the bundle; bring the source")]
    NothingToCompare,
    /// Another rule set.
    #[error(
        "bundle is judged by rules version {theirs}, this is version {}; judge it with that one",
        rules::VERSION
    )]
    RulesVersion {
        /// The bundle's.
        theirs: u32,
    },
    /// The features cannot be had.
    #[error(transparent)]
    Features(#[from] CommitmentError),
    /// The source cannot be judged against.
    #[error(transparent)]
    Content(#[from] VerifyError),
}

/// A judgement that was repeated from a bundle.
#[derive(Clone, Debug, Serialize)]
pub struct Judgement {
    /// What it came to.
    pub outcome: Outcome,
    /// The account whose signature the receipt carries.
    pub accused: Address,
    /// Identity of the bundle.
    pub bundle: B256,
    /// Everything that is wrong.
    pub faults: Vec<Fault>,
    /// The comparison with the committed features.
    pub claim: ClaimReport,
    /// The comparison with the source, where the bundle has it.
    pub report: Option<Report>,
    /// Whether the accuser's own report was had again, byte for byte; none where the bundle has no report or no draw.
    pub reproduced: Option<bool>,
}

impl Bundle {
    /// Judges the case again: signature, hashes, pixels, committed features, and the rendition against its source.
    /// Believes nothing that the accuser says.
    ///
    /// # Errors
    /// When the bundle proves nothing either way; the error says what is missing.
    pub fn judge(&self, limits: &MediaLimits) -> Result<Judgement, Unjudgeable> {
        let case = &self.manifest.case;
        let signed = self.signed()?;
        let claims: Vec<RenditionClaim> = case.claims.iter().map(RenditionClaim::from).collect();
        let sum = claims.iter().fold(0u64, |sum, claim| sum.saturating_add(claim.pixels));
        let mut faults = Vec::new();
        if signed.receipt.pixels != sum {
            faults.push(Fault::ReceiptPixels { signed: signed.receipt.pixels, claimed: sum });
        }
        self.signed_by_accused(&signed, &claims)?;
        let claim = self.claim(&claims)?;
        let found = self.manifest.rendition;
        if found != claim.sha256 {
            return Err(Unjudgeable::OtherRendition { found, claimed: claim.sha256 });
        }
        // The rendition is decoded once, for its content and for its features.
        let mut witness = Witness::default();
        let onlooker = (!claim.feature_root.is_zero()).then_some(&mut witness);
        let content = self.content(limits, onlooker);
        let report = content.as_ref().ok().and_then(|(report, _)| report.as_ref());
        let seen = report.and_then(|report| witness.commitment(report));
        let rendition = self.data(RENDITION).expect("every bundle has its rendition");
        let checked = check_claim_by(found, &claim, || seen.map_or_else(|| commit(rendition, limits), Ok))?;
        faults.extend(self.false_features(&checked, &claim, limits)?);
        faults.extend(checked.true_pixels.and_then(|found| other_pixels(&claim, found)));
        let (report, reproduced) = match content {
            Ok(judged) => judged,
            // What is proven already stays so without the source.
            Err(_) if !faults.is_empty() => (None, None),
            Err(Unjudgeable::NothingToCompare) if checked.true_root.is_some() => (None, None),
            Err(error) => return Err(error),
        };
        if let Some(report) = &report {
            faults.extend(report.reason().map(|reason| Fault::Unfaithful { reason }));
            let counted = checked.true_pixels.is_some() || !report.passed();
            faults.extend(other_pixels(&claim, report.pixels).filter(|_| !counted));
            faults.extend(false_quality(&claim, report));
        }
        let outcome = if faults.is_empty() { Outcome::NoFault } else { Outcome::FaultProven };
        Ok(Judgement {
            outcome,
            accused: case.signer,
            bundle: self.id(),
            faults,
            claim: checked,
            report,
            reproduced,
        })
    }

    /// The compact proof of false features; none where the bundle has no opening.
    #[must_use]
    pub fn feature_proof(&self) -> Option<FeatureProof> {
        let case = &self.manifest.case;
        let position = case.accused as usize;
        let claims: Vec<RenditionClaim> = case.claims.iter().map(RenditionClaim::from).collect();
        Some(FeatureProof {
            receipt: case.receipt.clone(),
            claim: *case.claims.get(position)?,
            // At most MAX_ENTRIES.
            claims: claims.len() as u32,
            branch: rendition_branch(&claims, position)?,
            opening: self.opening.clone()?,
        })
    }

    fn domain(&self) -> SigningDomain {
        let case = &self.manifest.case;
        SigningDomain { chain_id: case.chain_id, controller: case.controller }
    }

    fn signed(&self) -> Result<SignedReceipt, Unjudgeable> {
        let receipt = &self.manifest.case.receipt;
        receipt.signed().ok_or(Unjudgeable::SignatureLength(receipt.signature.len()))
    }

    /// That the accused signed a receipt about this ladder, this source and these claims.
    fn signed_by_accused(
        &self,
        signed: &SignedReceipt,
        claims: &[RenditionClaim],
    ) -> Result<(), Unjudgeable> {
        let receipt = &signed.receipt;
        let delivery = Delivery {
            session: receipt.session,
            sequence: receipt.sequence,
            source_sha256: self.manifest.source.unwrap_or(receipt.source_hash),
            ladder_hash: self.ladder.hash(),
            renditions: claims,
            rounds: None,
        };
        let accused = [self.manifest.case.signer];
        match verify_receipt(signed, &self.domain(), &accused, &delivery) {
            // A fault of its own, and the last thing that is checked.
            Err(ReceiptError::Field { field: "pixels", .. }) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn claim(&self, claims: &[RenditionClaim]) -> Result<RenditionClaim, Unjudgeable> {
        let accused = self.manifest.case.accused;
        let missing = Unjudgeable::NoSuchRendition { accused, renditions: self.ladder.len() };
        let claim = claims.get(accused as usize).copied().filter(|claim| claim.index == accused);
        if claims.len() == self.ladder.len() { claim.ok_or(missing) } else { Err(missing) }
    }

    fn false_features(
        &self,
        checked: &ClaimReport,
        claim: &RenditionClaim,
        limits: &MediaLimits,
    ) -> Result<Option<Fault>, Unjudgeable> {
        let Some(found) = checked.true_root.filter(|_| checked.proves_false_features()) else {
            return Ok(None);
        };
        let difference = match &self.opening {
            // What is false stays so if the accuser opened something else.
            Some(opening) if opening.verify(claim.feature_root).is_ok() => {
                let rendition = self.data(RENDITION).expect("every bundle has its rendition");
                opening.difference_from(rendition, limits)?
            }
            _ => None,
        };
        Ok(Some(Fault::FalseFeatures { claimed: claim.feature_root, found, difference }))
    }

    /// The rendition against its source, every frame; and whether the accuser's report comes out again.
    fn content(
        &self,
        limits: &MediaLimits,
        witness: Option<&mut Witness>,
    ) -> Result<(Option<Report>, Option<bool>), Unjudgeable> {
        let (Some(source), Some(rendition)) = (self.data(SOURCE), self.data(RENDITION)) else {
            return Err(Unjudgeable::NothingToCompare);
        };
        let (case, theirs) = (&self.manifest.case, self.manifest.rules_version);
        if theirs != rules::VERSION {
            return Err(Unjudgeable::RulesVersion { theirs });
        }
        let renditions = self.ladder.len();
        let entry = self.entry().ok_or(Unjudgeable::NoSuchRendition { accused: case.accused, renditions })?;
        let source = SourceReference::new(source.clone(), limits)?;
        let onlooker = witness.map(|witness| witness as &mut dyn Onlooker);
        let report = judge(&source, rendition, entry, Tier::Whole, onlooker)?;
        let reproduced = match (self.data(REPORT), &case.draw) {
            (Some(told), Some(draw)) => {
                let drawn = draw.policy().draw(&draw.seed.0);
                let again = match drawn {
                    Tier::Whole => report.clone(),
                    _ => verify(&source, rendition, entry, &draw.policy(), &draw.seed.0)?,
                };
                Some(super::json(&again) == *told)
            }
            _ => None,
        };
        Ok((Some(report), reproduced))
    }
}

fn false_quality(claim: &RenditionClaim, report: &Report) -> Option<Fault> {
    let (claimed, found) = (claim.psnr_centi_db?, report.quality.psnr_centi_db);
    (report.measures_quality() && claimed > found).then_some(Fault::FalseQuality { claimed, found })
}

fn other_pixels(claim: &RenditionClaim, found: u64) -> Option<Fault> {
    let claimed = claim.pixels;
    (claimed != found).then_some(Fault::ClaimedPixels { claimed, found })
}
