//! What an orchestrator signs for every segment: the source it was given, the ladder, and every rendition it returned.

use alloy_primitives::B256;
use alloy_sol_types::{SolStruct, sol};

use crate::merkle;
use crate::signing::{SignatureBytes, SigningDomain};

mod eip712 {
    use super::sol;

    sol! {
        struct TranscodeReceipt {
            bytes32 session;
            uint64 sequence;
            bytes32 sourceHash;
            bytes32 ladderHash;
            bytes32 renditionsRoot;
            uint64 pixels;
            uint32 round;
        }
    }
}

/// The statement `TranscodeReceipt(bytes32 session,uint64 sequence,bytes32 sourceHash,bytes32 ladderHash,bytes32 renditionsRoot,uint64 pixels,uint32 round)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TranscodeReceipt {
    /// Session of the quote.
    pub session: B256,
    /// Number of the segment in its stream.
    pub sequence: u64,
    /// SHA-256 of the source segment's bytes.
    pub source_hash: B256,
    /// Hash of the concrete ladder.
    pub ladder_hash: B256,
    /// [`renditions_root`] over every rendition in ladder order.
    pub renditions_root: B256,
    /// Output pixels of all renditions together.
    pub pixels: u64,
    /// Protocol round in which the work was done; 0 when there is no chain.
    pub round: u32,
}

impl TranscodeReceipt {
    /// The EIP-712 digest that the orchestrator signs.
    pub fn signing_hash(&self, domain: &SigningDomain) -> B256 {
        self.to_sol().eip712_signing_hash(&domain.eip712())
    }

    /// The EIP-712 struct hash alone, as a contract computes it.
    pub fn struct_hash(&self) -> B256 {
        self.to_sol().eip712_hash_struct()
    }

    fn to_sol(self) -> eip712::TranscodeReceipt {
        eip712::TranscodeReceipt {
            session: self.session,
            sequence: self.sequence,
            sourceHash: self.source_hash,
            ladderHash: self.ladder_hash,
            renditionsRoot: self.renditions_root,
            pixels: self.pixels,
            round: self.round,
        }
    }
}

/// A receipt with the orchestrator's signature over [`TranscodeReceipt::signing_hash`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedReceipt {
    /// The statement.
    pub receipt: TranscodeReceipt,
    /// Signature by the orchestrator's registered key.
    pub signature: SignatureBytes,
}

/// What a receipt says about one rendition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RenditionClaim {
    /// Position in the ladder.
    pub index: u32,
    /// SHA-256 of the rendition's bytes.
    pub sha256: B256,
    /// Pixels of all frames of the rendition.
    pub pixels: u64,
    /// Root over the rendition's committed features; zero where none are committed.
    pub feature_root: B256,
    /// Luma PSNR that the rendition has at least, in hundredths of a decibel; none where no quality is declared.
    pub psnr_centi_db: Option<u32>,
}

impl RenditionClaim {
    /// Bytes of a leaf: index, hash, pixels, feature root, quality, integers big-endian.
    const LEAF_BYTES: usize = 4 + 32 + 8 + 32 + 4;

    /// What a leaf has in place of a quality that is not declared: above any PSNR.
    const UNDECLARED: u32 = u32::MAX;

    /// The claim's leaf in the renditions' tree.
    pub fn leaf(&self) -> B256 {
        let mut bytes = [0_u8; Self::LEAF_BYTES];
        bytes[..4].copy_from_slice(&self.index.to_be_bytes());
        bytes[4..36].copy_from_slice(self.sha256.as_slice());
        bytes[36..44].copy_from_slice(&self.pixels.to_be_bytes());
        bytes[44..76].copy_from_slice(self.feature_root.as_slice());
        bytes[76..].copy_from_slice(&self.psnr_centi_db.unwrap_or(Self::UNDECLARED).to_be_bytes());
        merkle::leaf_hash(&bytes)
    }
}

/// Merkle root over the claims in the given order, which must be ladder order.
pub fn renditions_root(claims: &[RenditionClaim]) -> B256 {
    merkle::root(&leaves(claims))
}

/// The proof that the claim at `position` is under [`renditions_root`]; `None` when there is no such claim.
pub fn rendition_branch(claims: &[RenditionClaim], position: usize) -> Option<Vec<B256>> {
    merkle::branch(&leaves(claims), position)
}

/// True when `branch` proves `claim` at its own index among `count` renditions under `root`.
pub fn verify_rendition_branch(root: B256, claim: &RenditionClaim, count: usize, branch: &[B256]) -> bool {
    let Ok(position) = usize::try_from(claim.index) else { return false };
    merkle::verify(root, claim.leaf(), position, count, branch)
}

fn leaves(claims: &[RenditionClaim]) -> Vec<B256> {
    claims.iter().map(RenditionClaim::leaf).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{Address, keccak256};

    fn receipt() -> TranscodeReceipt {
        TranscodeReceipt {
            session: B256::repeat_byte(1),
            sequence: 2,
            source_hash: B256::repeat_byte(3),
            ladder_hash: B256::repeat_byte(4),
            renditions_root: B256::repeat_byte(5),
            pixels: 6,
            round: 7,
        }
    }

    /// The encoding of EIP-712 written out by hand, independent of the `sol!` macro.
    #[test]
    fn signs_the_documented_type_string() {
        let type_hash = keccak256(
            "TranscodeReceipt(bytes32 session,uint64 sequence,bytes32 sourceHash,bytes32 ladderHash,bytes32 renditionsRoot,uint64 pixels,uint32 round)",
        );
        let word = |value: u8| B256::with_last_byte(value);
        let fields = [
            type_hash,
            B256::repeat_byte(1),
            word(2),
            B256::repeat_byte(3),
            B256::repeat_byte(4),
            B256::repeat_byte(5),
            word(6),
            word(7),
        ];
        let struct_hash = keccak256(fields.map(|field| field.0).concat());
        assert_eq!(receipt().struct_hash(), struct_hash);

        let controller = Address::repeat_byte(9);
        let domain_type =
            keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
        let domain = keccak256(
            [domain_type, keccak256("Framemill"), keccak256("1"), word(42), controller.into_word()]
                .map(|field| field.0)
                .concat(),
        );
        let digest = keccak256([b"\x19\x01".as_slice(), domain.as_slice(), struct_hash.as_slice()].concat());
        assert_eq!(receipt().signing_hash(&SigningDomain { chain_id: 42, controller }), digest);
    }

    #[test]
    fn a_signature_for_one_chain_is_none_for_another() {
        let here = SigningDomain { chain_id: 1, controller: Address::ZERO };
        let there = SigningDomain { chain_id: 2, controller: Address::ZERO };
        assert_ne!(receipt().signing_hash(&here), receipt().signing_hash(&there));
    }

    #[test]
    fn proves_each_rendition_and_no_other_pixels_or_quality() {
        let claims: Vec<_> = (0..3)
            .map(|index| RenditionClaim {
                index,
                sha256: B256::repeat_byte(index as u8),
                pixels: 10,
                feature_root: B256::ZERO,
                psnr_centi_db: Some(3_800),
            })
            .collect();
        let root = renditions_root(&claims);
        for (position, claim) in claims.iter().enumerate() {
            let branch = rendition_branch(&claims, position).unwrap();
            assert!(verify_rendition_branch(root, claim, 3, &branch));
            for psnr_centi_db in [None, Some(0), Some(3_801)] {
                let other = RenditionClaim { psnr_centi_db, ..*claim };
                assert!(!verify_rendition_branch(root, &other, 3, &branch));
            }
            assert!(!verify_rendition_branch(root, &RenditionClaim { pixels: 11, ..*claim }, 3, &branch));
        }
    }
}
