//! What is kept of a result that failed: enough to show who signed what, without the media itself.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use alloy_primitives::{Address, B256};
use framemill_verification::{Report, evidence::ReceiptRecord};
use serde::Serialize;

/// A rejected result with the orchestrator's signed statement about it.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Evidence {
    /// Name of the stream.
    pub stream: String,
    /// Sequence of the segment.
    pub sequence: u64,
    /// Account of the orchestrator.
    pub orchestrator: Address,
    /// The first check that failed.
    pub reason: String,
    /// The receipt as it was signed.
    pub receipt: ReceiptRecord,
    /// SHA-256 of what was really received, in ladder order.
    pub renditions: Vec<B256>,
    /// The reports of the renditions that were judged.
    pub reports: Vec<Report>,
}

/// The newest evidence, bounded.
pub(crate) struct EvidenceLog {
    limit: usize,
    kept: Mutex<VecDeque<Evidence>>,
}

impl EvidenceLog {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, kept: Mutex::new(VecDeque::new()) }
    }

    pub(crate) fn keep(&self, evidence: Evidence) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back(evidence);
        while kept.len() > self.limit {
            kept.pop_front();
        }
    }

    pub(crate) fn list(&self) -> Vec<Evidence> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}
