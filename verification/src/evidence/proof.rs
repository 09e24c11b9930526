//! The compact form of one fault: false features, for who has the rendition's bytes already.

use alloy_primitives::{Address, B256};
use bytes::Bytes;
use framemill_media::MediaLimits;
use framemill_network::receipt::verify_rendition_branch;
use framemill_network::{RenditionClaim, SigningDomain};
use probabilistic_ticket::KeyError;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::record::{ClaimRecord, ReceiptRecord};
use crate::commitment::CommitmentError;
use crate::opening::{BadOpening, Difference, Opening};
use crate::outline::sha256;
use crate::receipt::receipt_signer;

/// A signed receipt, one of its claims, and an opening of that claim's feature root: a few kilobytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureProof {
    /// What was signed.
    pub receipt: ReceiptRecord,
    /// The claim about the accused rendition; its hash names the bytes.
    pub claim: ClaimRecord,
    /// Number of claims under the receipt's root.
    pub claims: u32,
    /// From the claim up to the receipt's root.
    pub branch: Vec<B256>,
    /// The committed features where they are false.
    pub opening: Opening,
}

/// Why a proof shows nothing.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The signature is no signature.
    #[error("receipt's signature is unusable: {0}")]
    Signature(#[from] KeyError),
    /// The signature has another length.
    #[error("receipt's signature has {0} bytes, want 65")]
    SignatureLength(usize),
    /// Somebody else signed.
    #[error("receipt is signed by {found}, the accused is {accused}")]
    Signer {
        /// Who signed.
        found: Address,
        /// Who is accused.
        accused: Address,
    },
    /// The claim is not under the receipt's root.
    #[error("the claim about rendition {0} is not under the receipt's root")]
    Branch(u32),
    /// The rendition is another one.
    #[error("rendition hashes to {found}, the claim names {claimed}; fetch that one")]
    Rendition {
        /// Hash of the bytes.
        found: B256,
        /// Hash in the claim.
        claimed: B256,
    },
    /// The opening opens another root.
    #[error(transparent)]
    Opening(#[from] BadOpening),
    /// The rendition's features cannot be had.
    #[error(transparent)]
    Features(#[from] CommitmentError),
    /// What was opened is true.
    #[error("the opened features are those of the rendition; the accusation is wrong")]
    NotFalse,
}

impl FeatureProof {
    /// Repeats the whole argument: the accused signed this claim about these bytes, and decoding them gives other features
    /// than the ones that were committed. Decodes up to the opened frame.
    ///
    /// # Errors
    /// Says which step of the argument fails.
    pub fn verify(
        &self,
        domain: &SigningDomain,
        accused: Address,
        rendition: &Bytes,
        limits: &MediaLimits,
    ) -> Result<Difference, ProofError> {
        let length = ProofError::SignatureLength(self.receipt.signature.len());
        let signed = self.receipt.signed().ok_or(length)?;
        let found = receipt_signer(&signed, domain)?;
        if found != accused {
            return Err(ProofError::Signer { found, accused });
        }
        let claim = RenditionClaim::from(&self.claim);
        let root = signed.receipt.renditions_root;
        if !verify_rendition_branch(root, &claim, self.claims as usize, &self.branch) {
            return Err(ProofError::Branch(claim.index));
        }
        let found = sha256(rendition);
        if found != claim.sha256 {
            return Err(ProofError::Rendition { found, claimed: claim.sha256 });
        }
        self.opening.verify(claim.feature_root)?;
        self.opening.difference_from(rendition, limits)?.ok_or(ProofError::NotFalse)
    }
}
