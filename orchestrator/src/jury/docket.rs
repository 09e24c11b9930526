//! What is remembered of the disputes that are followed, and what judging them came to.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::B256;
use framemill_contracts::{Dispute, Verdict};
use framemill_verification::evidence::{Finding, Opinion};
use tokio::task::{AbortHandle, Id};

/// Disputes that are followed at once; each has cost somebody a bond. Beyond, the newest are left to others.
const MAX_DISPUTES: usize = 4_096;
/// Times that judging a dispute may panic before it is given up.
const MAX_PANICS: u32 = 2;

/// A dispute that is followed.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// It is to be looked at.
    pub(super) changed: bool,
    /// It is to be looked at from this block on.
    pub(super) wake: Option<u64>,
    /// Until when this account has something to do, as of the last look.
    pub(super) until: Option<u64>,
    /// What was being judged when it was last looked at.
    pub(super) judging: Option<Judging>,
    pub(super) evidence: Vec<B256>,
    /// The last jury whose missed vote was counted.
    pub(super) missed: Option<u64>,
    /// The last jury whose lost vote was told.
    pub(super) lost: Option<u64>,
    panics: u32,
}

impl Entry {
    /// Whether judging it may begin.
    pub(super) fn can_be_judged(&self) -> bool {
        self.judging.is_none() && self.panics < MAX_PANICS
    }
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
    /// Last block of the commit window: what is not on disk by then is of no use.
    pub(super) until: u64,
    pub(super) opinion: Opinion,
}

/// All disputes that are followed.
#[derive(Debug)]
pub(super) struct Docket {
    entries: BTreeMap<u64, Entry>,
    /// Disputes below this number were read, and are followed or over.
    unread: u64,
}

impl Docket {
    pub(super) fn new() -> Self {
        Self { entries: BTreeMap::new(), unread: 1 }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The dispute from which on they are to be read again: those before it are over.
    pub(super) fn first_to_read(&self) -> u64 {
        self.entries.keys().next().map_or(self.unread, |first| self.unread.min(*first))
    }

    /// Takes in what was read, in the order of numbers: what is open, and what `own` says that it concerns this account. Whatever
    /// was followed stays, with what goes on for it, and is looked at.
    pub(super) fn take_in(&mut self, disputes: &[Dispute], own: impl Fn(&Dispute) -> bool) {
        self.touch_all();
        for dispute in disputes {
            if !dispute.is_closed() || own(dispute) {
                let Some(entry) = self.follow(dispute.id) else {
                    self.unread = self.unread.min(dispute.id);
                    return;
                };
                entry.evidence.clone_from(&dispute.evidence);
            }
            self.unread = self.unread.max(dispute.id + 1);
        }
    }

    /// Follows a dispute, which is to be looked at; `None` when there are too many.
    pub(super) fn follow(&mut self, id: u64) -> Option<&mut Entry> {
        if self.entries.len() >= MAX_DISPUTES && !self.entries.contains_key(&id) {
            return None;
        }
        let entry = self.entries.entry(id).or_default();
        entry.changed = true;
        Some(entry)
    }

    pub(super) fn touch_all(&mut self) {
        self.entries.values_mut().for_each(|entry| entry.changed = true);
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut Entry> {
        self.entries.get_mut(&id)
    }

    /// What is to be looked at in this block; what ends first comes first.
    pub(super) fn due(&self, height: u64) -> Vec<u64> {
        let due = |entry: &Entry| entry.changed || entry.wake.is_some_and(|wake| wake <= height);
        let mut ids: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| due(entry))
            .map(|(id, entry)| (entry.until.unwrap_or(u64::MAX), *id))
            .collect();
        ids.sort_unstable();
        ids.into_iter().map(|(_, id)| id).collect()
    }

    /// Drops one that is over, and ends its judging.
    pub(super) fn remove(&mut self, id: u64) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        if let Some(judging) = &entry.judging {
            judging.task.abort();
        }
        Some(entry)
    }

    /// The opening of a dispute was taken back: its number will come again.
    pub(super) fn vanished(&mut self, id: u64) {
        self.unread = self.unread.min(id);
    }

    /// Judging panicked in this task: it is begun again, a bounded number of times.
    pub(super) fn panicked(&mut self, task: Id) {
        for entry in self.entries.values_mut() {
            if entry.judging.take_if(|judging| judging.task.id() == task).is_some() {
                entry.panics += 1;
                entry.changed = true;
            }
        }
    }

    /// The bundles of all that are followed.
    pub(super) fn evidence(&self) -> BTreeSet<B256> {
        self.entries.values().flat_map(|entry| entry.evidence.iter().copied()).collect()
    }
}

/// The vote that a finding is.
pub(super) fn verdict(finding: Finding) -> Verdict {
    match finding {
        Finding::Guilty => Verdict::Guilty,
        Finding::NotGuilty => Verdict::NotGuilty,
        Finding::Unavailable => Verdict::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, U256};
    use framemill_contracts::{DisputeStatus, Fault};

    use super::*;

    fn dispute(id: u64, status: DisputeStatus) -> Dispute {
        Dispute {
            id,
            challenger: Address::ZERO,
            accused: Address::ZERO,
            appellant: None,
            fault: Fault::FalseFeatures,
            status,
            verdict: None,
            first_verdict: None,
            bond: U256::ZERO,
            appeal_bond: U256::ZERO,
            appeal_until: 0,
            jury: 1,
            first_jury: 1,
            appeal_jury: 0,
            receipts: vec![],
            evidence: vec![B256::repeat_byte(id as u8)],
        }
    }

    fn open(id: u64) -> Dispute {
        dispute(id, DisputeStatus::Judging)
    }

    fn closed(id: u64) -> Dispute {
        dispute(id, DisputeStatus::Closed)
    }

    /// Ends only when it is aborted.
    fn judging() -> Judging {
        let task = tokio::spawn(std::future::pending::<()>()).abort_handle();
        Judging { jury: 1, case: B256::ZERO, task }
    }

    #[tokio::test]
    async fn reading_again_keeps_what_goes_on_and_skips_what_is_over() {
        let mut docket = Docket::new();
        docket.take_in(&[closed(1), open(2), closed(3), closed(4)], |own| own.id == 4);
        assert_eq!(docket.due(0), [2, 4]);
        let entry = docket.get_mut(2).unwrap();
        (entry.judging, entry.missed, entry.changed) = (Some(judging()), Some(1), false);
        assert_eq!(docket.first_to_read(), 2);
        docket.take_in(&[open(2), closed(3), closed(4), open(5)], |_| false);
        let entry = docket.get_mut(2).unwrap();
        assert!(entry.changed && entry.judging.is_some() && entry.missed == Some(1));
        assert_eq!(docket.due(0), [2, 4, 5]);
        for over in [2, 4, 5] {
            docket.remove(over).unwrap();
        }
        assert_eq!(docket.first_to_read(), 6);
        docket.vanished(5);
        assert_eq!(docket.first_to_read(), 5, "another one will have the number");
    }

    #[tokio::test]
    async fn what_is_over_is_judged_no_further() {
        let mut docket = Docket::new();
        let task = tokio::spawn(std::future::pending::<()>());
        let judging = Judging { jury: 1, case: B256::ZERO, task: task.abort_handle() };
        docket.follow(1).unwrap().judging = Some(judging);
        docket.remove(1).unwrap();
        assert!(task.await.unwrap_err().is_cancelled());
    }

    #[test]
    fn what_ends_first_is_looked_at_first() {
        let mut docket = Docket::new();
        for (id, until) in [(1, None), (2, Some(90)), (3, Some(50))] {
            docket.follow(id).unwrap().until = until;
        }
        assert_eq!(docket.due(0), [3, 2, 1]);
        for id in [1, 2, 3] {
            let entry = docket.get_mut(id).unwrap();
            (entry.changed, entry.wake) = (false, Some(10 * id));
        }
        assert_eq!((docket.due(9), docket.due(20)), (vec![], vec![2, 1]));
    }

    #[tokio::test]
    async fn judging_that_panics_is_begun_again_a_bounded_number_of_times() {
        let mut docket = Docket::new();
        docket.follow(2).unwrap().judging = Some(judging());
        for _ in 0..MAX_PANICS {
            let entry = docket.follow(1).unwrap();
            assert!(entry.can_be_judged());
            let judging = judging();
            let task = judging.task.id();
            entry.judging = Some(judging);
            assert!(!entry.can_be_judged(), "it goes on");
            docket.panicked(task);
        }
        assert!(!docket.get_mut(1).unwrap().can_be_judged());
        assert!(docket.get_mut(2).unwrap().judging.is_some(), "it did not panic");
    }

    #[test]
    fn the_newest_beyond_the_bound_are_left_and_read_again() {
        let mut docket = Docket::new();
        let disputes: Vec<Dispute> = (1..=MAX_DISPUTES as u64 + 2).map(open).collect();
        docket.take_in(&disputes, |_| false);
        assert_eq!(docket.len(), MAX_DISPUTES);
        for id in 1..=MAX_DISPUTES as u64 {
            docket.remove(id);
        }
        assert_eq!(docket.first_to_read(), MAX_DISPUTES as u64 + 1);
    }
}
