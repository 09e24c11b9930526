//! What sessions earned, by hour.

use std::collections::BTreeMap;

use alloy_primitives::B256;

use super::{Account, Balance, Balances, Entry};
use crate::ledger::LaneId;
use crate::units::Wei;

/// Milliseconds of an hour.
const HOUR_MS: u64 = 3_600_000;

/// What a session earned in an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sum {
    /// Whose it was.
    pub(crate) lane: LaneId,
    /// Tickets credited.
    pub(crate) tickets: u64,
    /// What they were worth.
    pub(crate) value: Wei,
    /// What work was paid with it.
    pub(crate) spent: Wei,
}

impl Sum {
    /// Adds what the same session earned besides.
    pub(crate) fn add(&mut self, other: &Self) {
        self.tickets = self.tickets.saturating_add(other.tickets);
        self.value = self.value.saturating_add(other.value);
        self.spent = self.spent.saturating_add(other.spent);
    }
}

/// Sums by hour since 1970 and session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally(pub(crate) BTreeMap<(u64, B256), Sum>);

impl Tally {
    /// Counts an entry of this time, which `before` is about to be changed by.
    pub(crate) fn count(&mut self, at_ms: u64, entry: &Entry, before: &Balances) {
        let (session, tickets, value, spent) = match *entry {
            Entry::Paid { session, tickets, value, .. } => (session, tickets, value, Wei::ZERO),
            Entry::Settled { session, spent, beyond, .. } => {
                (session, 0, Wei::ZERO, spent.saturating_add(beyond))
            }
            _ => return,
        };
        let Some(Balance::Session { lane, .. }) = before.0.get(&Account::Session { session }) else { return };
        if tickets > 0 || !spent.is_zero() {
            self.add(at_ms / HOUR_MS, session, &Sum { lane: *lane, tickets, value, spent });
        }
    }

    /// Adds what a session earned in an hour.
    pub(crate) fn add(&mut self, hour: u64, session: B256, sum: &Sum) {
        self.0.entry((hour, session)).and_modify(|known| known.add(sum)).or_insert(*sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: B256 = B256::repeat_byte(1);

    fn paid(tickets: u64, value: u64) -> Entry {
        let (value, held) = (Wei::from(value), Wei::ZERO);
        Entry::Paid { session: SESSION, tickets, value, held, highest: 0, floor: 0 }
    }

    #[test]
    fn payments_count_in_their_hour_and_work_when_it_is_settled() {
        let lane = LaneId { sender: Default::default(), recipient: Default::default(), lane: 3 };
        let mut balances = Balances::default();
        balances.apply(1, &Entry::Opened { session: SESSION, lane }).expect("it opens");
        let mut tally = Tally::default();
        let spent = Entry::Settled {
            session: SESSION,
            spent: Wei::from(4),
            returned: Wei::from(9),
            beyond: Wei::from(1),
        };
        for (at_ms, entry) in [(1, paid(2, 10)), (HOUR_MS - 1, paid(1, 5)), (HOUR_MS, spent)] {
            tally.count(at_ms, &entry, &balances);
        }
        let sums: Vec<_> = tally.0.values().map(|sum| (sum.tickets, sum.value, sum.spent)).collect();
        let wei = Wei::from;
        assert_eq!(sums, [(3, wei(15), wei(0)), (0, wei(0), wei(5))]);
    }

    #[test]
    fn a_hold_that_earned_nothing_makes_no_hour() {
        let mut tally = Tally::default();
        tally.count(0, &paid(0, 0), &Balances::default());
        assert_eq!(tally, Tally::default());
    }
}
