//! Claim checks: do the renditions have the features that were signed for them?

use alloy_primitives::keccak256;
use framemill_media::MediaLimits;
use framemill_network::{Ladder, RenditionClaim};
use framemill_verification::{ClaimReport, PPM, check_claim};
use std::sync::Arc;

use crate::check::Delivered;
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

/// Whether this seed draws a claim check: independent of the depth that the same seed draws.
pub(crate) fn drawn(ppm: u32, seed: &[u8; 32]) -> bool {
    let hash = keccak256([b"framemill-claim-check".as_slice(), seed].concat());
    let mut word = [0; 16];
    word.copy_from_slice(&hash[..16]);
    u128::from_be_bytes(word) % u128::from(PPM) < u128::from(ppm)
}

/// Checks the claims one after the other; the first that is false, and why.
///
/// # Errors
/// When a check could not be made, which says nothing about the result.
pub(crate) async fn first_false(
    shared: &Arc<Shared>,
    ladder: &Ladder,
    delivered: &Delivered,
) -> Result<Option<(u32, String)>, String> {
    for ((entry, claim), rendition) in ladder.iter().zip(&delivered.claims).zip(&delivered.renditions) {
        let _slot =
            shared.verify_slots.acquire().await.map_err(|_| "the broadcaster has ended".to_owned())?;
        let (claim, rendition) = (*claim, rendition.clone());
        let checking =
            tokio::task::spawn_blocking(move || check_claim(&rendition, &claim, &MediaLimits::segment()));
        let report = match checking.await {
            Ok(Ok(report)) => report,
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("a claim check ended without a verdict; see the log".to_owned()),
        };
        if let Some(reason) = reason(&report) {
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

    #[test]
    fn claim_checks_follow_their_rate() {
        let share = |ppm| (0u32..2000).filter(|i| drawn(ppm, &keccak256(i.to_be_bytes()).0)).count();
        assert_eq!((share(0), share(PPM)), (0, 2000));
        assert!((340..460).contains(&share(PPM / 5)));
    }
}
