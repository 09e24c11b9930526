//! What bundles of evidence hold, in the court's terms.

use framemill_contracts::{CourtReceipt, Fault};
use framemill_verification::evidence::{Accusation, ReceiptRecord};

/// What a jury is asked about a fault; `None` for faults that the court itself sees.
pub fn accusation(fault: Fault) -> Option<Accusation> {
    match fault {
        Fault::ClaimedPixels => Some(Accusation::ClaimedPixels),
        Fault::FalseFeatures => Some(Accusation::FalseFeatures),
        Fault::FalseQuality => Some(Accusation::FalseQuality),
        Fault::Unfaithful => Some(Accusation::Unfaithful),
        Fault::Equivocation | Fault::ReceiptPixels => None,
    }
}

/// A receipt as the court takes it. A signature of another length than 65 bytes becomes one of nobody, which the court
/// refuses.
pub fn court_receipt(record: &ReceiptRecord) -> CourtReceipt {
    CourtReceipt {
        session: record.session,
        sequence: record.sequence,
        source_hash: record.source_sha256,
        ladder_hash: record.ladder_hash,
        renditions_root: record.renditions_root,
        pixels: record.pixels,
        round: record.round,
        signature: record.signature.as_ref().try_into().unwrap_or([0; 65]),
    }
}
