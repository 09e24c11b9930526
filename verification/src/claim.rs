//! The claim check: do the bytes have the pixels and the features that were signed for them? No threshold, no source.

use std::cell::RefCell;

use alloy_primitives::B256;
use bytes::Bytes;
use framemill_media::MediaLimits;
use framemill_network::RenditionClaim;
use serde::Serialize;

use crate::commitment::{COMMITMENT_VERSION, Commitment, CommitmentError, FrameBlocks, commit, open_frame};
use crate::opening::Features;
use crate::outline::sha256;
use crate::report::{Check, Verdict};

/// What the check came to. Every figure is exact, so that everybody who has the bytes gets the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClaimReport {
    /// Pass when all is as claimed.
    pub verdict: Verdict,
    /// Whether the claim says anything about features: a root of zero does not, and nothing was decoded.
    pub committed: bool,
    /// SHA-256 of the bytes.
    pub rendition_sha256: B256,
    /// The root that was claimed.
    pub claimed_root: B256,
    /// The root that the bytes have; none where they are not those of the claim, where nothing comparable was claimed, or
    /// where they do not decode cleanly.
    pub true_root: Option<B256>,
    /// The pixels that the bytes have; none where there is no true root.
    pub true_pixels: Option<u64>,
    /// The single checks.
    pub checks: Vec<Check>,
}

impl ClaimReport {
    fn new(
        claim: &RenditionClaim,
        sha256: B256,
        commitment: Option<&Commitment>,
        checks: Vec<Check>,
    ) -> Self {
        let verdict = if checks.iter().all(Check::pass) { Verdict::Pass } else { Verdict::Fail };
        Self {
            verdict,
            committed: !claim.feature_root.is_zero(),
            rendition_sha256: sha256,
            claimed_root: claim.feature_root,
            true_root: commitment.map(Commitment::root),
            true_pixels: commitment.map(|commitment| commitment.shape().pixels()),
            checks,
        }
    }

    /// Whether the claimed root is proven false: the bytes are those of the claim, decode cleanly, and have another.
    #[must_use]
    pub fn proves_false_features(&self) -> bool {
        self.true_root.is_some_and(|root| root != self.claimed_root)
    }
}

/// Checks a claim against the bytes it is about. Costs the decoding of the rendition and its features, or next to
/// nothing where no features are committed.
///
/// `limits` bound what bytes of a stranger may cost; beyond them the rendition counts as not decodable.
///
/// # Errors
/// Only when the work could not be done, such as for its deadline.
pub fn check_claim(
    rendition: &Bytes,
    claim: &RenditionClaim,
    limits: &MediaLimits,
) -> Result<ClaimReport, CommitmentError> {
    check_claim_by(sha256(rendition), claim, || commit(rendition, limits))
}

/// [`check_claim`] of bytes with this hash; `commit` is asked for the true commitment where it matters.
pub(crate) fn check_claim_by(
    sha256: B256,
    claim: &RenditionClaim,
    commit: impl FnOnce() -> Result<Commitment, CommitmentError>,
) -> Result<ClaimReport, CommitmentError> {
    let hash = Check::is("claimed_hash", i64::from(sha256 == claim.sha256), 1);
    if claim.feature_root.is_zero() {
        return Ok(ClaimReport::new(claim, sha256, None, vec![hash]));
    }
    let version =
        Check::is("commitment_version", i64::from(claim.feature_root[0]), i64::from(COMMITMENT_VERSION));
    if !hash.pass() || !version.pass() {
        return Ok(ClaimReport::new(claim, sha256, None, vec![hash, version]));
    }
    let commitment = match commit() {
        Ok(commitment) => commitment,
        Err(error) if error.is_nonconforming() => {
            tracing::debug!(%error, "rendition with committed features does not decode");
            let checks = vec![hash, version, Check::is("committable", 0, 1)];
            return Ok(ClaimReport::new(claim, sha256, None, checks));
        }
        Err(error) => return Err(error),
    };
    let count = |pixels: u64| i64::try_from(pixels).unwrap_or(i64::MAX);
    let checks = vec![
        hash,
        version,
        Check::is("committable", 1, 1),
        Check::is("claimed_pixels", count(claim.pixels), count(commitment.shape().pixels())),
        Check::is("claimed_features", i64::from(commitment.root() == claim.feature_root), 1),
    ];
    Ok(ClaimReport::new(claim, sha256, Some(&commitment), checks))
}

/// The features of a rendition that is at hand. Opening a frame decodes the rendition up to it.
#[derive(Debug)]
pub struct RenditionFeatures {
    rendition: Bytes,
    limits: MediaLimits,
    commitment: Commitment,
    /// The frame opened last: a bisection asks for many places of one.
    opened: RefCell<Option<FrameBlocks>>,
}

impl RenditionFeatures {
    /// Decodes the rendition.
    ///
    /// # Errors
    /// As [`commit`].
    pub fn new(rendition: Bytes, limits: MediaLimits) -> Result<Self, CommitmentError> {
        let commitment = commit(&rendition, &limits)?;
        Ok(Self::committed(rendition, limits, commitment))
    }

    /// With the commitment that was made to this very rendition.
    #[must_use]
    pub fn committed(rendition: Bytes, limits: MediaLimits, commitment: Commitment) -> Self {
        Self { rendition, limits, commitment, opened: RefCell::new(None) }
    }
}

impl Features for RenditionFeatures {
    fn commitment(&self) -> &Commitment {
        &self.commitment
    }

    fn frame(&self, index: u32) -> Result<FrameBlocks, CommitmentError> {
        if let Some(frame) = self.opened.borrow().as_ref().filter(|frame| frame.index() == index) {
            return Ok(frame.clone());
        }
        let frame = open_frame(&self.rendition, index, &self.limits)?;
        self.opened.replace(Some(frame.clone()));
        Ok(frame)
    }
}
