//! Does the orchestrator's signed receipt say what was delivered?

use std::ops::RangeInclusive;

use alloy_primitives::{Address, B256};
use framemill_network::{RenditionClaim, SignedReceipt, SigningDomain, renditions_root};
use probabilistic_ticket::{KeyError, Signature, recover};
use thiserror::Error;

/// What the broadcaster knows of its own about a segment.
#[derive(Clone, Debug)]
pub struct Delivery<'a> {
    /// Session of the quote.
    pub session: B256,
    /// Number of the segment.
    pub sequence: u64,
    /// SHA-256 of the source that was sent.
    pub source_sha256: B256,
    /// Hash of the concrete ladder that was asked for.
    pub ladder_hash: B256,
    /// What came back, in ladder order: hashes computed over the bytes received, pixels as they were claimed.
    pub renditions: &'a [RenditionClaim],
    /// Rounds that the receipt may be dated with: the court hears nothing about a receipt of another time. `None` where no
    /// chain tells, or where the date is for the court to judge.
    pub rounds: Option<RangeInclusive<u32>>,
}

/// Why a receipt does not cover a delivery.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReceiptError {
    /// The signature is no signature.
    #[error("receipt's signature is unusable: {0}")]
    Signature(#[from] KeyError),
    /// Somebody else signed.
    #[error("receipt is signed by {found}, want {expected:?}; refuse the result")]
    Signer {
        /// Who signed.
        found: Address,
        /// Who may.
        expected: Vec<Address>,
    },
    /// A field differs from what the broadcaster knows.
    #[error("receipt's {field} is {found}, want {expected}; refuse the result")]
    Field {
        /// Name of the field.
        field: &'static str,
        /// What the receipt says.
        found: String,
        /// What was sent or received.
        expected: String,
    },
}

/// Checks signer, session, sequence, hashes, renditions' root, round and pixels. Pure arithmetic: microseconds.
///
/// The pixels of each claim are the orchestrator's word; [`Report::pixels`](crate::Report::pixels) is what the bytes
/// hold, and [`pixels_match`] compares them.
///
/// # Errors
/// The first thing that does not match.
pub fn verify_receipt(
    signed: &SignedReceipt,
    domain: &SigningDomain,
    signers: &[Address],
    delivery: &Delivery<'_>,
) -> Result<(), ReceiptError> {
    let receipt = &signed.receipt;
    let found = receipt_signer(signed, domain)?;
    if !signers.contains(&found) {
        return Err(ReceiptError::Signer { found, expected: signers.to_vec() });
    }
    same("session", &receipt.session, &delivery.session)?;
    same("sequence", &receipt.sequence, &delivery.sequence)?;
    same("source hash", &receipt.source_hash, &delivery.source_sha256)?;
    same("ladder hash", &receipt.ladder_hash, &delivery.ladder_hash)?;
    same("renditions root", &receipt.renditions_root, &renditions_root(delivery.renditions))?;
    if let Some(rounds) = delivery.rounds.as_ref().filter(|rounds| !rounds.contains(&receipt.round)) {
        return Err(ReceiptError::Field {
            field: "round",
            found: receipt.round.to_string(),
            expected: format!("{} to {}", rounds.start(), rounds.end()),
        });
    }
    let pixels = delivery.renditions.iter().fold(0u64, |sum, claim| sum.saturating_add(claim.pixels));
    same("pixels", &receipt.pixels, &pixels)
}

/// The account that signed a receipt.
///
/// # Errors
/// When the signature is none.
pub fn receipt_signer(signed: &SignedReceipt, domain: &SigningDomain) -> Result<Address, KeyError> {
    recover(signed.receipt.signing_hash(domain), &Signature::from_bytes(signed.signature)?)
}

/// Checks that a rendition holds the pixels that were claimed, and so paid, for it.
///
/// # Errors
/// When the figures differ.
pub fn pixels_match(report: &crate::Report, claim: &RenditionClaim) -> Result<(), ReceiptError> {
    same("rendition hash", &claim.sha256, &report.rendition_sha256)?;
    same("rendition pixels", &claim.pixels, &report.pixels)
}

/// Checks that a rendition is at least as good as was declared, and so paid, for it. Exact where every frame was looked
/// at; a shallower judgement measures other frames and says nothing.
///
/// # Errors
/// When it is worse.
pub fn quality_match(report: &crate::Report, claim: &RenditionClaim) -> Result<(), ReceiptError> {
    same("rendition hash", &claim.sha256, &report.rendition_sha256)?;
    let (found, measured) = (report.quality.psnr_centi_db, report.measures_quality());
    match claim.psnr_centi_db.filter(|&declared| measured && declared > found) {
        None => Ok(()),
        Some(declared) => Err(ReceiptError::Field {
            field: "declared quality",
            found: declared.to_string(),
            expected: format!("at most {found}"),
        }),
    }
}

fn same<T: PartialEq + ToString>(field: &'static str, found: &T, expected: &T) -> Result<(), ReceiptError> {
    if found == expected {
        return Ok(());
    }
    Err(ReceiptError::Field { field, found: found.to_string(), expected: expected.to_string() })
}

#[cfg(test)]
mod tests {
    use framemill_network::TranscodeReceipt;
    use probabilistic_ticket::EthKey;

    use super::*;

    const DOMAIN: SigningDomain = SigningDomain { chain_id: 31_337, controller: Address::ZERO };

    fn claims() -> [RenditionClaim; 2] {
        [0, 1].map(|index| RenditionClaim {
            index,
            sha256: B256::repeat_byte(index as u8 + 1),
            pixels: 1_000,
            feature_root: B256::ZERO,
            psnr_centi_db: None,
        })
    }

    fn delivery(renditions: &[RenditionClaim]) -> Delivery<'_> {
        Delivery {
            session: B256::repeat_byte(7),
            sequence: 3,
            source_sha256: B256::repeat_byte(8),
            ladder_hash: B256::repeat_byte(9),
            renditions,
            rounds: Some(4..=6),
        }
    }

    fn signed(key: &EthKey, change: impl Fn(&mut TranscodeReceipt)) -> SignedReceipt {
        let mut receipt = TranscodeReceipt {
            session: B256::repeat_byte(7),
            sequence: 3,
            source_hash: B256::repeat_byte(8),
            ladder_hash: B256::repeat_byte(9),
            renditions_root: renditions_root(&claims()),
            pixels: 2_000,
            round: 5,
        };
        change(&mut receipt);
        let signature = key.sign_digest(receipt.signing_hash(&DOMAIN)).0;
        SignedReceipt { receipt, signature }
    }

    type Change = fn(&mut TranscodeReceipt);

    fn key(byte: u8) -> EthKey {
        EthKey::from_bytes(&[byte; 32]).expect("a valid secret")
    }

    fn judge(receipt: &SignedReceipt) -> Result<(), ReceiptError> {
        let claims = claims();
        verify_receipt(receipt, &DOMAIN, &[key(1).address()], &delivery(&claims))
    }

    #[test]
    fn accepts_what_was_delivered() {
        assert_eq!(judge(&signed(&key(1), |_| ())), Ok(()));
    }

    #[test]
    fn refuses_another_signer() {
        assert!(matches!(judge(&signed(&key(2), |_| ())), Err(ReceiptError::Signer { .. })));
    }

    #[test]
    fn refuses_every_field_that_differs() {
        let changes: [(&str, Change); 9] = [
            ("session", |r| r.session = B256::ZERO),
            ("sequence", |r| r.sequence += 1),
            ("source hash", |r| r.source_hash = B256::ZERO),
            ("ladder hash", |r| r.ladder_hash = B256::ZERO),
            ("renditions root", |r| r.renditions_root = B256::ZERO),
            ("round", |r| r.round = 0),
            ("round", |r| r.round -= 2),
            ("round", |r| r.round += 2),
            ("pixels", |r| r.pixels += 1),
        ];
        for (name, change) in changes {
            match judge(&signed(&key(1), change)) {
                Err(ReceiptError::Field { field, .. }) => assert_eq!(field, name),
                other => panic!("{name} is not noticed: {other:?}"),
            }
        }
    }

    #[test]
    fn accepts_the_rounds_beside_and_any_where_no_chain_tells() {
        assert_eq!(judge(&signed(&key(1), |r| r.round -= 1)), Ok(()));
        assert_eq!(judge(&signed(&key(1), |r| r.round += 1)), Ok(()));
        let claims = claims();
        let timeless = Delivery { rounds: None, ..delivery(&claims) };
        let receipt = signed(&key(1), |r| r.round = 0);
        assert_eq!(verify_receipt(&receipt, &DOMAIN, &[key(1).address()], &timeless), Ok(()));
    }

    #[test]
    fn refuses_a_receipt_for_another_chain() {
        let receipt = signed(&key(1), |_| ());
        let other = SigningDomain { chain_id: 1, ..DOMAIN };
        let claims = claims();
        let result = verify_receipt(&receipt, &other, &[key(1).address()], &delivery(&claims));
        assert!(matches!(result, Err(ReceiptError::Signer { .. })));
    }
}
