//! Claim checks: do the renditions have the features that were signed for them?

use std::sync::Arc;

use framemill_media::MediaLimits;
use framemill_network::{Ladder, RenditionClaim};
use framemill_verification::{ClaimReport, check_claim};

use crate::check::Delivered;
use crate::cores::Turn;
use crate::metrics::ClaimEnd;
use crate::service::Shared;

/// Whether every rendition comes with the commitment that the quote promised.
///
/// # Errors
/// Names the first rendition without.
pub(crate) fn promised(version: u32, claims: &[RenditionClaim]) -> Result<(), String> {
    let kept = |claim: &&RenditionClaim| version == 0 || u32::from(claim.feature_root[0]) == version;
    match claims.iter().find(|claim| !kept(claim)) {
        Some(claim) => Err(format!(
            "rendition {} has no feature commitment of version {version}, which was quoted",
            claim.index
        )),
        None => Ok(()),
    }
}

/// Checks the claims one after the other; the first that is false, and why.
///
/// # Errors
/// When a check could not be made, which says nothing about the result.
pub(crate) async fn first_false(
    shared: &Arc<Shared>,
    ladder: &Ladder,
    delivered: &Delivered,
    turn: Turn,
) -> Result<Option<(u32, String)>, String> {
    let claimed = ladder.iter().zip(&delivered.claims).zip(&delivered.renditions);
    for ((entry, claim), rendition) in claimed.filter(|((_, claim), _)| !claim.feature_root.is_zero()) {
        let (claim, rendition) = (*claim, rendition.clone());
        let core = shared.cores.take(turn).await;
        let check = move || check_claim(&rendition, &claim, &MediaLimits::segment());
        let report = match core.run(check).await {
            Some(Ok(report)) => report,
            Some(Err(error)) => return Err(error.to_string()),
            None => return Err("a claim check ended without a verdict; see the log".to_owned()),
        };
        let reason = reason(&report);
        shared.metrics.claims.inc(if reason.is_none() { ClaimEnd::True } else { ClaimEnd::False });
        if let Some(reason) = reason {
            return Ok(Some((claim.index, format!("{}: {reason}", entry.name))));
        }
    }
    Ok(None)
}

fn reason(report: &ClaimReport) -> Option<String> {
    let check = report.checks.iter().find(|check| !check.pass())?;
    Some(format!("{} is {}, bound {}", check.name, check.value, check.bound))
}

#[cfg(test)]
mod tests {
    use alloy_primitives::B256;

    use super::*;

    fn claim(first: u8) -> RenditionClaim {
        let mut feature_root = B256::repeat_byte(7);
        feature_root[0] = first;
        RenditionClaim { index: 0, sha256: B256::ZERO, pixels: 1, feature_root, psnr_centi_db: None }
    }

    #[test]
    fn a_promised_commitment_must_be_there_in_its_version() {
        assert!(promised(1, &[claim(1), claim(1)]).is_ok());
        assert!(promised(1, &[claim(1), claim(2)]).is_err());
        let none = RenditionClaim { feature_root: B256::ZERO, ..claim(1) };
        assert!(promised(1, &[none]).is_err());
        assert!(promised(0, &[none]).is_ok());
    }
}
