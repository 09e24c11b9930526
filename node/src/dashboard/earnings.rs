//! What an orchestrator has earned, read from its books.

use std::time::Duration;

use alloy_primitives::Address;
use probabilistic_ticket::{
    Wei,
    ledger::{Inspector, OpenSession, Winner, WinnerState},
};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::fresh::Fresh;
use crate::{commands::tickets, ledger::Place};

/// Winners shown, the newest.
const MAX_WINNERS: usize = 200;
/// Sessions shown, those with the most credit.
const MAX_SESSIONS: usize = 200;
/// How old an answer may be.
const AGE: Duration = Duration::from_secs(2);

/// How many, and what they are worth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    tickets: u64,
    value: Wei,
}

impl Sum {
    fn add(&mut self, value: Wei) {
        self.tickets += 1;
        self.value = self.value.saturating_add(value);
    }

    fn json(self) -> Value {
        json!({ "tickets": self.tickets, "value_wei": self.value.0.to_string() })
    }
}

/// Winners by where they stand: pending, submitted, paid, dead.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sums([Sum; 4]);

const STATES: [&str; 4] = ["pending", "submitted", "paid", "dead"];

fn place(state: WinnerState) -> usize {
    match state {
        WinnerState::Pending => 0,
        WinnerState::Submitted(_) => 1,
        WinnerState::Paid(_) => 2,
        WinnerState::Dead(_) => 3,
    }
}

impl Sums {
    fn add(&mut self, winner: &Winner) {
        self.0[place(winner.state)].add(winner.ticket.signed.ticket.face_value);
    }
}

/// Winners up to a row that are all settled for good: they are counted once, not at every look.
#[derive(Debug, Default)]
struct Settled {
    last: i64,
    sums: Sums,
    newest: Vec<Winner>,
}

impl Settled {
    /// Takes in the next winner where it and all before it are settled.
    fn take(&mut self, winner: &Winner, unbroken: bool) -> bool {
        let settled = unbroken && place(winner.state) >= 2;
        if settled {
            self.last = winner.id;
            self.sums.add(winner);
            keep_newest(&mut self.newest, winner);
        }
        settled
    }
}

fn keep_newest(newest: &mut Vec<Winner>, winner: &Winner) {
    if newest.len() == MAX_WINNERS {
        newest.remove(0);
    }
    newest.push(*winner);
}

/// Reads the books for whoever looks at the page.
pub(super) struct EarningsDesk {
    books: Place,
    /// Whose winners; of everybody in the books without it.
    account: Option<Address>,
    settled: Mutex<Settled>,
    answer: Fresh<Value>,
}

impl EarningsDesk {
    pub(super) fn new(books: Place, account: Option<Address>) -> Self {
        Self { books, account, settled: Mutex::default(), answer: Fresh::default() }
    }

    /// Winners and open sessions.
    pub(super) async fn read(&self) -> anyhow::Result<Value> {
        let answer = self.answer.within(AGE, async {
            let mut inspector = self.books.inspect().await?;
            let mut value = self.winners(&mut inspector).await?;
            let sessions = inspector.sessions().await?;
            let own = |recipient| self.account.is_none_or(|account| account == recipient);
            let sessions = sessions.into_iter().filter(|session| own(session.lane.recipient)).collect();
            put_sessions(&mut value, sessions);
            anyhow::Ok(value)
        });
        Ok(Value::clone(&*answer.await?))
    }

    async fn winners(&self, inspector: &mut Inspector) -> anyhow::Result<Value> {
        let mut settled = self.settled.lock().await;
        let (mut sums, mut newest) = (settled.sums, settled.newest.clone());
        let (mut last, mut unbroken) = (settled.last, true);
        loop {
            let page = inspector.winners(last).await?;
            let Some(end) = page.last() else { break };
            last = end.id;
            let own = |winner: &&Winner| self.account.is_none_or(|account| account == winner.lane.recipient);
            for winner in page.iter().filter(own) {
                sums.add(winner);
                keep_newest(&mut newest, winner);
                unbroken = settled.take(winner, unbroken);
            }
        }
        let total: u64 = sums.0.iter().map(|sum| sum.tickets).sum();
        let by_state = STATES.iter().zip(sums.0).map(|(state, sum)| ((*state).to_owned(), sum.json()));
        Ok(json!({
            "winners": newest.iter().rev().map(told).collect::<Vec<_>>(),
            "omitted": total.saturating_sub(newest.len() as u64),
            "sums": by_state.collect::<serde_json::Map<_, _>>(),
        }))
    }
}

fn put_sessions(value: &mut Value, mut sessions: Vec<OpenSession>) {
    sessions.sort_by_key(|session| std::cmp::Reverse(session.credit.saturating_add(session.held)));
    value["sessions_omitted"] = json!(sessions.len().saturating_sub(MAX_SESSIONS));
    sessions.truncate(MAX_SESSIONS);
    let told = |session: &OpenSession| {
        json!({
            "session": session.id,
            "sender": session.lane.sender,
            "credit_wei": session.credit.0.to_string(),
            "held_wei": session.held.0.to_string(),
            "tickets": session.tickets,
        })
    };
    value["sessions"] = sessions.iter().map(told).collect();
}

fn told(winner: &Winner) -> Value {
    let (transaction, reason) = match winner.state {
        WinnerState::Pending => (None, None),
        WinnerState::Submitted(hash) | WinnerState::Paid(hash) => (Some(hash), None),
        WinnerState::Dead(reason) => (None, Some(tickets::dead(reason))),
    };
    json!({
        "sender": winner.lane.sender,
        "nonce": winner.nonce,
        "face_value_wei": winner.ticket.signed.ticket.face_value.0.to_string(),
        "state": STATES[place(winner.state)],
        "transaction": transaction,
        "reason": reason,
        "accepted_ms": winner.accepted_ms,
    })
}
