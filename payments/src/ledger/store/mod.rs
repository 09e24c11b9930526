//! What every store shares: calls queue to one task, which runs as many as wait in one transaction and answers after the
//! commit, so that thousands of payments a second share a handful of syncs.

mod books;
mod calls;
mod conn;
mod earned;
mod fold;
mod gather;
mod inspect;
mod instances;
mod recipient;
mod redeem;
mod row;
mod rows;
mod sender;
mod works;

use alloy_primitives::{Address, B256};
use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use super::{
    Acceptance, Acknowledged, DeadReason, Fate, LaneId, Ledger, LedgerError, LiveSubmission, NewSession,
    NewSpending, Reservation, Reserved, Retirement, SenderLedger, Session, SpendingState, Submission, Winner,
    WorkOutcome,
};
use crate::port::PreparedRedemption;
use crate::units::Wei;

pub(crate) use books::Books;
pub(crate) use calls::{Command, Slot, answer, run};
pub(crate) use conn::Conn;
pub(crate) use fold::open_with_rows;
pub(crate) use gather::wanted;
pub(crate) use inspect::Reader;
pub use inspect::{Audit, Difference, Earned, Inspector, OpenSession, OpenSpending};

/// Calls that share a transaction. More would delay the first of them for little gain.
pub const MAX_GROUP: usize = 1024;

/// Calls that may wait for the writer; callers beyond it wait for a place.
const QUEUE: usize = 4 * MAX_GROUP;

/// Bytes of the log that are kept before its oldest rows are folded into openings: some 500,000 payments.
const KEEP_LOG: usize = 64 << 20;

/// Bytes written to the log between two foldings.
const FOLD_EVERY: usize = 64 << 10;

/// What waits for the task that writes.
pub(crate) enum Job {
    Call(Box<Command>),
    /// Answer what came before and end.
    Close(oneshot::Sender<()>),
}

/// The way to the task that writes. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    jobs: mpsc::Sender<Job>,
}

impl Queue {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Job>) {
        let (jobs, waiting) = mpsc::channel(QUEUE);
        (Self { jobs }, waiting)
    }

    pub(crate) async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        // An error means that it is closed already.
        if self.jobs.send(Job::Close(reply)).await.is_ok() {
            let _ = closed.await;
        }
    }

    /// Folds the oldest rows of the log; how many bytes of it.
    pub(crate) async fn fold(&self) -> Result<usize, LedgerError> {
        self.call(|slot| Command::Fold { slot }).await
    }

    async fn call<T>(&self, command: impl FnOnce(Slot<T>) -> Command) -> Result<T, LedgerError> {
        let (reply, answer) = oneshot::channel();
        let job = Job::Call(Box::new(command(Slot::new(reply))));
        self.jobs.send(job).await.map_err(|_| LedgerError::Closed)?;
        answer.await.unwrap_or(Err(LedgerError::Closed))
    }
}

/// Takes the next group of calls, and who asked to close. `None` when all handles are gone.
pub(crate) async fn next_group(
    waiting: &mut mpsc::Receiver<Job>,
) -> Option<(Vec<Command>, Vec<oneshot::Sender<()>>)> {
    let mut jobs = Vec::with_capacity(MAX_GROUP);
    if waiting.recv_many(&mut jobs, MAX_GROUP).await == 0 {
        return None;
    }
    let (mut calls, mut closing) = (Vec::with_capacity(jobs.len()), Vec::new());
    for job in jobs {
        match job {
            Job::Call(call) => calls.push(*call),
            Job::Close(reply) => closing.push(reply),
        }
    }
    Some((calls, closing))
}

/// A call of the store itself, whose answer only the log is told.
pub(crate) fn upkeep(command: impl FnOnce(Slot<()>) -> Command) -> Command {
    command(Slot::new(oneshot::channel().0))
}

/// When this process folds the log.
#[derive(Debug, Default)]
pub(crate) struct LogLength {
    total: usize,
    since: usize,
}

impl LogLength {
    /// As the log was found.
    pub(crate) fn new(total: usize) -> Self {
        Self { total, since: 0 }
    }

    /// Counts what was written; true when it is time to fold some.
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        self.total += bytes;
        self.since += bytes;
        let due = self.total > KEEP_LOG && self.since >= FOLD_EVERY;
        if due {
            self.since = 0;
        }
        due
    }

    /// Counts what was folded.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        self.total = self.total.saturating_sub(bytes);
    }
}

/// A ledger whose calls go through a queue.
pub(crate) trait Queued: Send + Sync {
    fn queue(&self) -> &Queue;

    /// In which term this process redeems, as it last heard; `None` where there is no other.
    fn term(&self) -> Option<u64>;

    /// Whether other processes may have the ledger open as well.
    fn shared(&self) -> bool;

    /// Whether this process redeems.
    fn elect(&self) -> impl Future<Output = Result<bool, LedgerError>> + Send;
}

#[async_trait]
impl<L: Queued> Ledger for L {
    async fn secret(&self) -> Result<[u8; 32], LedgerError> {
        self.queue().call(|slot| Command::Secret { slot }).await
    }

    async fn open_session(&self, new: NewSession) -> Result<Session, LedgerError> {
        self.queue().call(|slot| Command::OpenSession { new, slot }).await
    }

    async fn session(&self, id: B256) -> Result<Option<Session>, LedgerError> {
        self.queue().call(|slot| Command::Session { id, slot }).await
    }

    async fn close_session(&self, id: B256) -> Result<(), LedgerError> {
        self.queue().call(|slot| Command::CloseSession { id, slot }).await
    }

    async fn accept(&self, acceptance: Acceptance) -> Result<Acknowledged, LedgerError> {
        self.queue().call(|slot| Command::Accept { acceptance, slot }).await
    }

    async fn settle(&self, session: B256, held: Wei, actual: Wei) -> Result<Wei, LedgerError> {
        self.queue().call(|slot| Command::Settle { id: session, held, actual, slot }).await
    }

    async fn release_holds(&self) -> Result<(), LedgerError> {
        self.queue().call(|slot| Command::ReleaseHolds { slot }).await
    }

    async fn retire_sessions(&self) -> Result<(), LedgerError> {
        self.queue().call(|slot| Command::RetireSessions { slot }).await
    }

    fn is_shared(&self) -> bool {
        self.shared()
    }

    async fn keep_terms(&self, session: B256, terms: Vec<u8>) -> Result<(), LedgerError> {
        self.queue().call(|slot| Command::KeepTerms { session, terms, slot }).await
    }

    async fn terms(&self, session: B256) -> Result<Option<Vec<u8>>, LedgerError> {
        self.queue().call(|slot| Command::Terms { session, slot }).await
    }

    async fn is_vouched(&self, session: B256, number: u64) -> Result<bool, LedgerError> {
        self.queue().call(|slot| Command::IsVouched { session, number, slot }).await
    }

    async fn vouch(&self, session: B256, number: u64) -> Result<bool, LedgerError> {
        self.queue().call(|slot| Command::Vouch { session, number, slot }).await
    }

    async fn lead(&self) -> Result<bool, LedgerError> {
        self.elect().await
    }

    async fn pending_value(&self, sender: Address) -> Result<Wei, LedgerError> {
        self.queue().call(|slot| Command::PendingValue { sender, slot }).await
    }

    async fn pending_winners(&self, after: Option<LaneId>, limit: u32) -> Result<Vec<Winner>, LedgerError> {
        self.queue().call(|slot| Command::PendingWinners { after, limit, slot }).await
    }

    async fn reveal(&self, lanes: &[Retirement], now_ms: u64) -> Result<Vec<Winner>, LedgerError> {
        let (term, lanes) = (self.term(), lanes.to_vec());
        self.queue().call(|slot| Command::Reveal { term, lanes, now_ms, slot }).await
    }

    async fn submit(&self, submission: Submission) -> Result<(), LedgerError> {
        let term = self.term();
        self.queue().call(|slot| Command::Submit { term, submission, slot }).await
    }

    async fn submissions(&self) -> Result<Vec<LiveSubmission>, LedgerError> {
        self.queue().call(|slot| Command::Submissions { slot }).await
    }

    async fn replace(
        &self,
        tx: B256,
        replacement: PreparedRedemption,
        offered_ms: u64,
    ) -> Result<(), LedgerError> {
        let term = self.term();
        self.queue().call(|slot| Command::Replace { term, tx, replacement, offered_ms, slot }).await
    }

    async fn conclude(&self, tx: B256, mined: B256, fates: &[(i64, Fate)]) -> Result<(), LedgerError> {
        let (term, fates) = (self.term(), fates.to_vec());
        self.queue().call(|slot| Command::Conclude { term, tx, mined, fates, slot }).await
    }

    async fn note_failure(&self, winners: &[i64]) -> Result<(), LedgerError> {
        let (term, winners) = (self.term(), winners.to_vec());
        self.queue().call(|slot| Command::NoteFailure { term, winners, slot }).await
    }

    async fn bury(&self, winners: &[(i64, DeadReason)]) -> Result<(), LedgerError> {
        let (term, winners) = (self.term(), winners.to_vec());
        self.queue().call(|slot| Command::Bury { term, winners, slot }).await
    }

    async fn winners_of(&self, sender: Address, limit: u32) -> Result<Vec<Winner>, LedgerError> {
        self.queue().call(|slot| Command::WinnersOf { sender, limit, slot }).await
    }
}

#[async_trait]
impl<L: Queued> SenderLedger for L {
    async fn open_spending(&self, new: NewSpending) -> Result<(), LedgerError> {
        self.queue().call(|slot| Command::OpenSpending { new, slot }).await
    }

    async fn reserve(&self, reservation: Reservation) -> Result<Reserved, LedgerError> {
        self.queue().call(|slot| Command::Reserve { ask: reservation, slot }).await
    }

    async fn record(
        &self,
        session: B256,
        cost: Wei,
        outcome: WorkOutcome,
    ) -> Result<SpendingState, LedgerError> {
        self.queue().call(|slot| Command::Record { session, cost, outcome, slot }).await
    }

    async fn spending(&self, session: B256) -> Result<Option<SpendingState>, LedgerError> {
        self.queue().call(|slot| Command::Spending { session, slot }).await
    }

    async fn close_spending(&self, session: B256) -> Result<(), LedgerError> {
        self.queue().call(|slot| Command::CloseSpending { session, slot }).await
    }
}
