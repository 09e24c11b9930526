//! What is remembered of a dispute that is followed, and what judging it came to.

use alloy_primitives::B256;
use framemill_contracts::Verdict;
use framemill_verification::evidence::{Finding, Opinion};
use tokio::task::AbortHandle;

/// A dispute that is followed.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// It is to be looked at.
    pub(super) changed: bool,
    /// It is to be looked at from this block on.
    pub(super) wake: Option<u64>,
    /// What was being judged when it was last looked at.
    pub(super) judging: Option<Judging>,
    pub(super) evidence: Vec<B256>,
    /// The last jury whose missed vote was counted.
    pub(super) missed: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Judging {
    pub(super) jury: u64,
    pub(super) case: B256,
    pub(super) task: AbortHandle,
}

/// What judging came to.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) dispute: u64,
    pub(super) jury: u64,
    pub(super) case: B256,
    pub(super) opinion: Opinion,
}

/// The vote that a finding is.
pub(super) fn verdict(finding: Finding) -> Verdict {
    match finding {
        Finding::Guilty => Verdict::Guilty,
        Finding::NotGuilty => Verdict::NotGuilty,
        Finding::Unavailable => Verdict::Unavailable,
    }
}

/// How a vote is called in metrics.
pub(super) fn label(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Guilty => "guilty",
        Verdict::NotGuilty => "not_guilty",
        Verdict::Unavailable => "unavailable",
    }
}
