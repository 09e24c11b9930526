//! What a group of calls needs, read and locked at once: on a server, where each statement is a round trip and others
//! write too.
//!
//! Whoever touches rows takes the ledger's lock first, shared with others of its kind, then recipients' sessions, then
//! senders' sessions, then deposits, each kind in the order of its keys. Whoever may touch anything takes the ledger's
//! lock alone. So nobody waits for one who waits for him.

use std::collections::BTreeSet;

use alloy_primitives::{Address, B256};

use super::books::Books;
use super::calls::{Command, Scope};
use super::conn::{Value, values};
use super::recipient::{LANES, SESSIONS};
use super::row;
use super::sender::{DEPOSITS, MINUTES, SPEND_LANES, SPENDINGS, hour_start, minute_of};
use crate::ledger::{LaneId, LedgerError, Reservation};

/// The rows that a group touches.
#[derive(Default)]
pub(crate) struct Wanted<'c> {
    sessions: BTreeSet<B256>,
    spendings: BTreeSet<B256>,
    reservations: Vec<&'c Reservation>,
}

/// What a group touches; `None` when that cannot be said before.
pub(crate) fn wanted(calls: &[Command]) -> Option<Wanted<'_>> {
    let mut wanted = Wanted::default();
    for call in calls {
        match call.scope() {
            Scope::Reads => {}
            Scope::Session(id) => drop(wanted.sessions.insert(id)),
            Scope::Spending(id) => drop(wanted.spendings.insert(id)),
            Scope::Reservation(ask) => {
                wanted.spendings.insert(ask.session);
                wanted.reservations.push(ask);
            }
            Scope::All => return None,
        }
    }
    Some(wanted)
}

fn lane_values(lane: &LaneId) -> Vec<Value> {
    values![lane.sender, lane.recipient, lane.lane]
}

impl Books<'_> {
    /// Locks and reads.
    pub(crate) async fn gather(&mut self, wanted: &Wanted<'_>) -> Result<(), LedgerError> {
        self.gather_sessions(&wanted.sessions).await?;
        self.gather_spendings(&wanted.spendings).await?;
        self.gather_reservations(&wanted.reservations).await
    }

    async fn gather_sessions(&mut self, ids: &BTreeSet<B256>) -> Result<(), LedgerError> {
        let keys = ids.iter().map(|id| values![*id, self.instance]).collect();
        let mut lanes = BTreeSet::new();
        for found in self.conn.rows_each(&SESSIONS, keys).await? {
            let session = row::session(&found)?;
            lanes.insert(session.lane);
            self.sessions.learn(found.hash("id")?, Some(session));
        }
        for id in ids {
            self.sessions.learn(*id, None);
        }
        for found in self.conn.rows_each(&LANES, lanes.iter().map(lane_values).collect()).await? {
            self.lanes.learn(row::lane_id(&found)?, Some(row::lane_state(&found)?));
        }
        Ok(())
    }

    async fn gather_spendings(&mut self, ids: &BTreeSet<B256>) -> Result<(), LedgerError> {
        let keys = ids.iter().map(|id| values![*id]).collect();
        for found in self.conn.rows_each(&SPENDINGS, keys).await? {
            let spending = row::spending(&found)?;
            self.spendings.learn(spending.parties.session, Some(spending));
        }
        for id in ids {
            self.spendings.learn(*id, None);
        }
        Ok(())
    }

    async fn gather_reservations(&mut self, asks: &[&Reservation]) -> Result<(), LedgerError> {
        let mut senders: BTreeSet<Address> = BTreeSet::new();
        let mut lanes = BTreeSet::new();
        let mut minutes = Vec::new();
        for ask in asks {
            let Some(Some(spending)) = self.spendings.get(&ask.session) else { continue };
            let parties = spending.parties;
            senders.insert(parties.sender);
            lanes.insert(LaneId { sender: parties.sender, recipient: parties.recipient, lane: ask.lane });
            minutes.push(values![parties.stream, hour_start(minute_of(ask))]);
            self.hours.entry(parties.stream).or_default();
        }
        let keys = senders.iter().map(|sender| values![*sender]).collect();
        for found in self.conn.rows_each(&DEPOSITS, keys).await? {
            self.deposits.learn(found.address("sender")?, Some(row::deposit(&found)?));
        }
        for found in self.conn.rows_each(&SPEND_LANES, lanes.iter().map(lane_values).collect()).await? {
            self.spend_lanes.learn(row::lane_id(&found)?, Some(found.counter("next_nonce")?));
        }
        for lane in lanes {
            self.spend_lanes.learn(lane, None);
        }
        let rows = self.conn.rows_each(&MINUTES, minutes).await?;
        self.learn_minutes(&rows)
    }
}
