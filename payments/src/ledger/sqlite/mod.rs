//! The embedded store: one SQLite file, one writer, group commit.
//!
//! Calls queue to one task that owns the connection. It takes whatever is waiting, up to
//! [`MAX_GROUP`], runs it in one transaction, and answers after the commit: thousands of payments a
//! second share a handful of syncs.

mod recipient;
mod redeem;
mod row;
mod schema;
mod sender;
mod writer;

use std::path::Path;

use alloy_primitives::{Address, B256};
use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use super::{
    Acceptance, Acknowledged, DeadReason, Fate, Ledger, LedgerError, LiveSubmission, NewSession, NewSpending,
    Reservation, Reserved, Retirement, SenderLedger, Session, SpendingState, Submission, Winner, WorkOutcome,
};
use crate::port::PreparedRedemption;
use crate::units::Wei;
use writer::{Command, Reply};

/// Calls that share a transaction. More would delay the first of them for little gain.
pub const MAX_GROUP: usize = 1024;

/// Calls that may wait for the writer; callers beyond it wait for a place.
const QUEUE: usize = 4 * MAX_GROUP;

/// A ledger in one SQLite file. Cheap to clone; clones share the file.
#[derive(Clone, Debug)]
pub struct SqliteLedger {
    commands: mpsc::Sender<Command>,
}

impl SqliteLedger {
    /// Opens or makes the file, mode 0600, and brings its schema up to date. Needs a tokio runtime.
    ///
    /// One process at a time: [`LedgerError::Locked`] when the file is in use. The file is released
    /// when the last clone is dropped and its calls are answered, or by [`SqliteLedger::close`].
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, LedgerError> {
        let (connection, lock) = schema::open(path.as_ref()).await?;
        let (commands, queue) = mpsc::channel(QUEUE);
        tokio::spawn(writer::run(connection, lock, queue));
        Ok(Self { commands })
    }

    /// Answers the calls made before and releases the file; later calls fail with
    /// [`LedgerError::Closed`].
    pub async fn close(&self) {
        // An error means that it is closed already.
        let _ = self.call(Command::Close).await;
    }

    async fn call<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, LedgerError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| LedgerError::Closed)?;
        answer.await.unwrap_or_else(|_| Err(self.unanswered()))
    }

    fn unanswered(&self) -> LedgerError {
        if self.commands.is_closed() {
            return LedgerError::Closed;
        }
        LedgerError::Store("no transaction could be started".to_owned())
    }
}

#[async_trait]
impl Ledger for SqliteLedger {
    async fn secret(&self) -> Result<[u8; 32], LedgerError> {
        self.call(Command::Secret).await
    }

    async fn open_session(&self, new: NewSession) -> Result<Session, LedgerError> {
        self.call(|reply| Command::OpenSession(new, reply)).await
    }

    async fn session(&self, id: B256) -> Result<Option<Session>, LedgerError> {
        self.call(|reply| Command::Session(id, reply)).await
    }

    async fn close_session(&self, id: B256) -> Result<(), LedgerError> {
        self.call(|reply| Command::CloseSession(id, reply)).await
    }

    async fn accept(&self, acceptance: Acceptance) -> Result<Acknowledged, LedgerError> {
        self.call(|reply| Command::Accept(acceptance, reply)).await
    }

    async fn settle(&self, session: B256, held: Wei, actual: Wei) -> Result<Wei, LedgerError> {
        self.call(|reply| Command::Settle { session, held, actual, reply }).await
    }

    async fn release_holds(&self) -> Result<(), LedgerError> {
        self.call(Command::ReleaseHolds).await
    }

    async fn retire_sessions(&self) -> Result<(), LedgerError> {
        self.call(Command::RetireSessions).await
    }

    async fn pending_value(&self, sender: Address) -> Result<Wei, LedgerError> {
        self.call(|reply| Command::PendingValue(sender, reply)).await
    }

    async fn pending_winners(&self, limit: u32) -> Result<Vec<Winner>, LedgerError> {
        self.call(|reply| Command::PendingWinners(limit, reply)).await
    }

    async fn reveal(&self, lanes: &[Retirement], now_ms: u64) -> Result<Vec<Winner>, LedgerError> {
        let lanes = lanes.to_vec();
        self.call(|reply| Command::Reveal(lanes, now_ms, reply)).await
    }

    async fn submit(&self, submission: Submission) -> Result<(), LedgerError> {
        self.call(|reply| Command::Submit(submission, reply)).await
    }

    async fn submissions(&self) -> Result<Vec<LiveSubmission>, LedgerError> {
        self.call(Command::Submissions).await
    }

    async fn replace(
        &self,
        tx: B256,
        replacement: PreparedRedemption,
        offered_ms: u64,
    ) -> Result<(), LedgerError> {
        self.call(|reply| Command::Replace { tx, replacement, offered_ms, reply }).await
    }

    async fn conclude(&self, tx: B256, mined: B256, fates: &[(i64, Fate)]) -> Result<(), LedgerError> {
        let fates = fates.to_vec();
        self.call(|reply| Command::Conclude { tx, mined, fates, reply }).await
    }

    async fn note_failure(&self, winners: &[i64]) -> Result<(), LedgerError> {
        let winners = winners.to_vec();
        self.call(|reply| Command::NoteFailure(winners, reply)).await
    }

    async fn bury(&self, winners: &[(i64, DeadReason)]) -> Result<(), LedgerError> {
        let winners = winners.to_vec();
        self.call(|reply| Command::Bury(winners, reply)).await
    }

    async fn winners_of(&self, sender: Address, limit: u32) -> Result<Vec<Winner>, LedgerError> {
        self.call(|reply| Command::WinnersOf(sender, limit, reply)).await
    }
}

#[async_trait]
impl SenderLedger for SqliteLedger {
    async fn open_spending(&self, new: NewSpending) -> Result<(), LedgerError> {
        self.call(|reply| Command::OpenSpending(new, reply)).await
    }

    async fn reserve(&self, reservation: Reservation) -> Result<Reserved, LedgerError> {
        self.call(|reply| Command::Reserve(reservation, reply)).await
    }

    async fn record(
        &self,
        session: B256,
        cost: Wei,
        outcome: WorkOutcome,
    ) -> Result<SpendingState, LedgerError> {
        self.call(|reply| Command::Record { session, cost, outcome, reply }).await
    }

    async fn spending(&self, session: B256) -> Result<Option<SpendingState>, LedgerError> {
        self.call(|reply| Command::Spending(session, reply)).await
    }

    async fn close_spending(&self, session: B256) -> Result<(), LedgerError> {
        self.call(|reply| Command::CloseSpending(session, reply)).await
    }
}

impl From<sqlx::Error> for LedgerError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.to_string())
    }
}
