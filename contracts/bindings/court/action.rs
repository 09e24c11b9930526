//! What an account does before the court by hand.

use alloy::primitives::{Address, B256, U256};

use super::{CourtReceipt, CourtRung, Fault, PixelClaim};
use crate::{abi::Court, tx::Draft, writes::draft};

/// One thing that an account wants of the court. Bonds are approved first where that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CourtAction {
    /// Accuse before a jury.
    Open {
        /// The orchestrator.
        accused: Address,
        /// Of what.
        fault: Fault,
        /// What it signed.
        receipts: Vec<CourtReceipt>,
        /// SHA-256 of the manifest of each receipt's bundle.
        evidence: Vec<B256>,
        /// Base units that are put up.
        bond: U256,
    },
    /// Report two receipts for one segment.
    ReportEquivocation {
        /// The orchestrator.
        accused: Address,
        /// One of them.
        first: Box<CourtReceipt>,
        /// The other.
        second: Box<CourtReceipt>,
    },
    /// Report pixels that contradict claims or ladder.
    ReportPixels {
        /// The orchestrator.
        accused: Address,
        /// What it signed.
        receipt: Box<CourtReceipt>,
        /// All claims under it, in order.
        claims: Vec<PixelClaim>,
        /// The ladder; empty where the sum alone is wrong.
        ladder: Vec<CourtRung>,
    },
    /// Move a dispute on.
    Advance {
        /// The dispute.
        dispute: u64,
    },
    /// Appeal a verdict.
    Appeal {
        /// The dispute.
        dispute: u64,
        /// Base units that are put up.
        bond: U256,
    },
    /// Carry a final verdict out.
    Execute {
        /// The dispute.
        dispute: u64,
    },
    /// Pay or fine a juror of a closed dispute.
    Settle {
        /// The jury.
        jury: u64,
        /// The juror.
        juror: Address,
    },
    /// Take out what the court owes the account.
    Withdraw,
}

impl CourtAction {
    /// Base units that the court takes.
    pub(crate) fn bond(&self) -> U256 {
        match self {
            Self::Open { bond, .. } | Self::Appeal { bond, .. } => *bond,
            _ => U256::ZERO,
        }
    }

    pub(crate) fn draft(self, court: Address) -> Draft {
        let id = U256::from::<u64>;
        match self {
            Self::Open { accused, fault, receipts, evidence, .. } => {
                let receipts = receipts.iter().map(CourtReceipt::signed).collect();
                draft(court, &Court::openDisputeCall { accused, fault: fault as u8, receipts, evidence })
            }
            Self::ReportEquivocation { accused, first, second } => {
                let (first, second) = (first.signed(), second.signed());
                draft(court, &Court::reportEquivocationCall { accused, first, second })
            }
            Self::ReportPixels { accused, receipt, claims, ladder } => {
                let claims = claims.into_iter().map(PixelClaim::to_abi).collect();
                let ladder = ladder.into_iter().map(CourtRung::to_abi).collect();
                draft(court, &Court::reportPixelsCall { accused, signed: receipt.signed(), claims, ladder })
            }
            Self::Advance { dispute } => draft(court, &Court::advanceCall { dispute: id(dispute) }),
            Self::Appeal { dispute, .. } => draft(court, &Court::appealCall { dispute: id(dispute) }),
            Self::Execute { dispute } => draft(court, &Court::executeCall { dispute: id(dispute) }),
            Self::Settle { jury, juror } => draft(court, &Court::settleJurorCall { id: id(jury), juror }),
            Self::Withdraw => draft(court, &Court::withdrawCall {}),
        }
    }
}
