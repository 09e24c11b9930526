//! The receipts that were signed, kept for disputes; bounded, newest win.

use std::collections::VecDeque;

use alloy_primitives::B256;
use framemill_network::{RenditionClaim, SignedReceipt};

/// A receipt that was given out, with what its root was built of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptReceipt {
    /// The receipt with our signature.
    pub signed: SignedReceipt,
    /// The leaves of the receipt's renditions root, in ladder order.
    pub claims: Vec<RenditionClaim>,
}

/// The last receipts.
#[derive(Debug)]
pub(crate) struct Evidence {
    bound: usize,
    receipts: VecDeque<KeptReceipt>,
}

impl Evidence {
    pub(crate) fn new(bound: usize) -> Self {
        Self { bound, receipts: VecDeque::new() }
    }

    /// Keeps a receipt; the oldest goes when there is no room.
    pub(crate) fn keep(&mut self, receipt: KeptReceipt) {
        if self.receipts.len() >= self.bound {
            self.receipts.pop_front();
        }
        self.receipts.push_back(receipt);
    }

    /// The receipt of one segment, while it is kept.
    pub(crate) fn find(&self, session: B256, sequence: u64) -> Option<KeptReceipt> {
        self.receipts
            .iter()
            .rev()
            .find(|r| r.signed.receipt.session == session && r.signed.receipt.sequence == sequence)
            .cloned()
    }

    /// Everything kept, oldest first.
    pub(crate) fn all(&self) -> Vec<KeptReceipt> {
        self.receipts.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use framemill_network::TranscodeReceipt;

    use super::*;

    fn receipt(sequence: u64) -> KeptReceipt {
        let receipt = TranscodeReceipt {
            session: B256::ZERO,
            sequence,
            source_hash: B256::ZERO,
            ladder_hash: B256::ZERO,
            renditions_root: B256::ZERO,
            pixels: 0,
            round: 0,
        };
        KeptReceipt { signed: SignedReceipt { receipt, signature: [0; 65] }, claims: Vec::new() }
    }

    #[test]
    fn the_oldest_receipt_goes_first() {
        let mut evidence = Evidence::new(2);
        for sequence in 0..3 {
            evidence.keep(receipt(sequence));
        }
        assert_eq!(evidence.all(), vec![receipt(1), receipt(2)]);
        assert_eq!(evidence.find(B256::ZERO, 0), None);
        assert_eq!(evidence.find(B256::ZERO, 2), Some(receipt(2)));
    }
}
