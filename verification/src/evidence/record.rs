//! What was signed and drawn, in a form that can be written down.

use alloy_primitives::{B256, Bytes as HexBytes};
use framemill_network::{RenditionClaim, SignedReceipt, TranscodeReceipt};
use serde::{Deserialize, Serialize};

use crate::policy::Policy;
use crate::policy::draw::{DrawnResult, Epoch, Seed};

/// A signed receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptRecord {
    /// Session of the quote.
    pub session: B256,
    /// Number of the segment.
    pub sequence: u64,
    /// SHA-256 of the source.
    pub source_sha256: B256,
    /// Hash of the ladder.
    pub ladder_hash: B256,
    /// Merkle root over the claims.
    pub renditions_root: B256,
    /// Pixels of all renditions.
    pub pixels: u64,
    /// Protocol round.
    pub round: u32,
    /// The signature, 65 bytes.
    pub signature: HexBytes,
}

impl From<&SignedReceipt> for ReceiptRecord {
    fn from(signed: &SignedReceipt) -> Self {
        let receipt = &signed.receipt;
        Self {
            session: receipt.session,
            sequence: receipt.sequence,
            source_sha256: receipt.source_hash,
            ladder_hash: receipt.ladder_hash,
            renditions_root: receipt.renditions_root,
            pixels: receipt.pixels,
            round: receipt.round,
            signature: HexBytes::copy_from_slice(&signed.signature),
        }
    }
}

impl ReceiptRecord {
    /// The statement.
    #[must_use]
    pub fn statement(&self) -> TranscodeReceipt {
        TranscodeReceipt {
            session: self.session,
            sequence: self.sequence,
            source_hash: self.source_sha256,
            ladder_hash: self.ladder_hash,
            renditions_root: self.renditions_root,
            pixels: self.pixels,
            round: self.round,
        }
    }

    /// The statement and its signature; none where the signature has not 65 bytes.
    #[must_use]
    pub fn signed(&self) -> Option<SignedReceipt> {
        let signature = self.signature.as_ref().try_into().ok()?;
        Some(SignedReceipt { receipt: self.statement(), signature })
    }
}

/// What a receipt says about one rendition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimRecord {
    /// Position in the ladder.
    pub index: u32,
    /// SHA-256 of the rendition.
    pub sha256: B256,
    /// Pixels of all its frames.
    pub pixels: u64,
    /// Root over its features; zero where none are committed.
    pub feature_root: B256,
    /// Luma PSNR it has at least, in hundredths of a decibel; none where no quality is declared.
    pub psnr_centi_db: Option<u32>,
}

impl From<&RenditionClaim> for ClaimRecord {
    fn from(claim: &RenditionClaim) -> Self {
        let RenditionClaim { index, sha256, pixels, feature_root, psnr_centi_db } = *claim;
        Self { index, sha256, pixels, feature_root, psnr_centi_db }
    }
}

impl From<&ClaimRecord> for RenditionClaim {
    fn from(claim: &ClaimRecord) -> Self {
        let ClaimRecord { index, sha256, pixels, feature_root, psnr_centi_db } = *claim;
        Self { index, sha256, pixels, feature_root, psnr_centi_db }
    }
}

/// How the depth of a judgement was drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draw {
    /// As [`Policy::first_frame_ppm`].
    pub first_frame_ppm: u32,
    /// As [`Policy::whole_ppm`].
    pub whole_ppm: u32,
    /// The seed, secret until then.
    pub seed: B256,
    /// What the seed comes from, where it was committed to beforehand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed: Option<CommittedEpoch>,
}

/// The epoch whose seed decided, and the commitment to that seed, which the accused was told with the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommittedEpoch {
    /// The epoch.
    pub epoch: Epoch,
    /// The commitment to its seed.
    pub commitment: B256,
}

impl Draw {
    /// Writes a draw down.
    #[must_use]
    pub fn new(policy: &Policy, seed: &[u8; 32]) -> Self {
        let Policy { first_frame_ppm, whole_ppm, .. } = *policy;
        Self { first_frame_ppm, whole_ppm, seed: B256::from(*seed), committed: None }
    }

    /// Names the epoch whose seed decided.
    #[must_use]
    pub fn committed(self, epoch: Epoch, commitment: B256) -> Self {
        Self { committed: Some(CommittedEpoch { epoch, commitment }), ..self }
    }

    /// Whether this is the draw for `result` from the epoch's seed, which is revealed when the epoch is over.
    #[must_use]
    pub fn is_of(&self, result: &DrawnResult, revealed: &Seed) -> bool {
        let opens = |known: &CommittedEpoch| revealed.commitment(&known.epoch) == known.commitment;
        self.committed.as_ref().is_some_and(opens) && revealed.for_result(result) == self.seed.0
    }

    /// The rates that were drawn by.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let (first_frame_ppm, whole_ppm) = (self.first_frame_ppm, self.whole_ppm);
        Policy { first_frame_ppm, whole_ppm, ..Policy::STRUCTURE_ONLY }
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::Address;

    use super::*;
    use crate::policy::draw::Secret;

    #[test]
    fn a_draw_in_evidence_is_proven_when_its_epoch_is_revealed() {
        let epoch = Epoch { stream: B256::repeat_byte(1), number: 2 };
        let seed = Secret::from_bytes([3; 32]).seed(&epoch);
        let result = |sequence| DrawnResult {
            orchestrator: Address::ZERO,
            session: B256::ZERO,
            sequence,
            result: B256::ZERO,
        };
        let told = Draw::new(&Policy::FLOOR, &seed.for_result(&result(7)));
        assert!(!told.is_of(&result(7), &seed), "nothing was committed to");
        let told = told.committed(epoch, seed.commitment(&epoch));
        assert!(told.is_of(&result(7), &seed));
        assert!(!told.is_of(&result(8), &seed));
        assert!(!told.is_of(&result(7), &Seed::from_bytes([4; 32])));
    }
}
