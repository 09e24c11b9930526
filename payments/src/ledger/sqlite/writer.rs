//! The task that owns the connection.

use std::fs::File;

use alloy_primitives::{Address, B256};
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{mpsc, oneshot};

use super::MAX_GROUP;
use super::recipient::Books;
use crate::ledger::{
    Acceptance, Acknowledged, DeadReason, Fate, LedgerError, LiveSubmission, NewSession, NewSpending,
    Reservation, Reserved, Retirement, Session, SpendingState, Submission, Winner, WorkOutcome,
};
use crate::port::PreparedRedemption;
use crate::units::Wei;

pub(super) type Reply<T> = oneshot::Sender<Result<T, LedgerError>>;

/// One call, with where its answer goes.
pub(super) enum Command {
    Secret(Reply<[u8; 32]>),
    OpenSession(NewSession, Reply<Session>),
    Session(B256, Reply<Option<Session>>),
    CloseSession(B256, Reply<()>),
    Accept(Acceptance, Reply<Acknowledged>),
    Settle { session: B256, held: Wei, actual: Wei, reply: Reply<Wei> },
    ReleaseHolds(Reply<()>),
    RetireSessions(Reply<()>),
    PendingValue(Address, Reply<Wei>),
    PendingWinners(u32, Reply<Vec<Winner>>),
    Reveal(Vec<Retirement>, u64, Reply<Vec<Winner>>),
    Submit(Submission, Reply<()>),
    Submissions(Reply<Vec<LiveSubmission>>),
    Replace { tx: B256, replacement: PreparedRedemption, offered_ms: u64, reply: Reply<()> },
    Conclude { tx: B256, mined: B256, fates: Vec<(i64, Fate)>, reply: Reply<()> },
    NoteFailure(Vec<i64>, Reply<()>),
    Bury(Vec<(i64, DeadReason)>, Reply<()>),
    WinnersOf(Address, u32, Reply<Vec<Winner>>),
    OpenSpending(NewSpending, Reply<()>),
    Reserve(Reservation, Reply<Reserved>),
    Record { session: B256, cost: Wei, outcome: WorkOutcome, reply: Reply<SpendingState> },
    Spending(B256, Reply<Option<SpendingState>>),
    CloseSpending(B256, Reply<()>),
    Close(Reply<()>),
}

/// An answer that waits for the commit.
type Answer = Box<dyn FnOnce(Result<(), LedgerError>) + Send>;

/// The caller may be gone: its answer then goes nowhere, its effect stays.
fn hold<T: Send + 'static>(reply: Reply<T>, outcome: Result<T, LedgerError>) -> Answer {
    Box::new(move |commit| {
        let _ = reply.send(commit.and(outcome));
    })
}

/// Runs until the last handle is gone or one of them closes the ledger.
pub(super) async fn run(mut connection: SqliteConnection, lock: File, mut queue: mpsc::Receiver<Command>) {
    let mut group = Vec::with_capacity(MAX_GROUP);
    let mut closing = Vec::new();
    while closing.is_empty() && queue.recv_many(&mut group, MAX_GROUP).await > 0 {
        let (ends, calls) = group.drain(..).partition(|command| matches!(command, Command::Close(_)));
        closing = ends;
        commit_group(&mut connection, calls).await;
    }
    if let Err(error) = connection.close().await {
        tracing::warn!(%error, "ledger did not close cleanly; its journal is replayed on the next open");
    }
    // A child that is being started may hold a copy of the handle: closing ours would not be enough.
    if let Err(error) = lock.unlock() {
        tracing::warn!(%error, "ledger's lock is released with the process only");
    }
    for command in closing {
        if let Command::Close(reply) = command {
            let _ = reply.send(Ok(()));
        }
    }
}

async fn commit_group(connection: &mut SqliteConnection, calls: Vec<Command>) {
    let mut answers = Vec::with_capacity(calls.len());
    let commit = transact(connection, calls, &mut answers).await;
    if let Err(error) = &commit {
        tracing::error!(%error, calls = answers.len(), "ledger group failed, nothing of it was acknowledged; check the disk");
    }
    for answer in answers {
        answer(commit.clone());
    }
}

async fn transact(
    connection: &mut SqliteConnection,
    calls: Vec<Command>,
    answers: &mut Vec<Answer>,
) -> Result<(), LedgerError> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let mut books = Books::new(&mut transaction);
    for call in calls {
        execute(&mut books, call, answers).await;
    }
    books.finish().await?;
    transaction.commit().await?;
    Ok(())
}

/// A store failure in the middle of a call leaves half of it behind, so it fails the whole group:
/// [`Books`] remembers it.
async fn execute(books: &mut Books<'_>, call: Command, answers: &mut Vec<Answer>) {
    macro_rules! answer {
        ($reply:expr, $call:expr) => {{
            let outcome = $call.await;
            books.remember(outcome.as_ref().err());
            answers.push(hold($reply, outcome));
        }};
    }
    match call {
        Command::Secret(reply) => answer!(reply, books.secret()),
        Command::OpenSession(new, reply) => answer!(reply, books.open_session(new)),
        Command::Session(id, reply) => answer!(reply, books.session(id)),
        Command::CloseSession(id, reply) => answer!(reply, books.close_session(id)),
        Command::Accept(acceptance, reply) => answer!(reply, books.accept(acceptance)),
        Command::Settle { session, held, actual, reply } => {
            answer!(reply, books.settle(session, held, actual))
        }
        Command::ReleaseHolds(reply) => answer!(reply, books.release_holds()),
        Command::RetireSessions(reply) => answer!(reply, books.retire_sessions()),
        Command::PendingValue(sender, reply) => answer!(reply, books.pending_value(sender)),
        Command::PendingWinners(limit, reply) => answer!(reply, books.pending_winners(limit)),
        Command::Reveal(lanes, now_ms, reply) => answer!(reply, books.reveal(lanes, now_ms)),
        Command::Submit(submission, reply) => answer!(reply, books.submit(submission)),
        Command::Submissions(reply) => answer!(reply, books.submissions()),
        Command::Replace { tx, replacement, offered_ms, reply } => {
            answer!(reply, books.replace(tx, replacement, offered_ms))
        }
        Command::Conclude { tx, mined, fates, reply } => answer!(reply, books.conclude(tx, mined, fates)),
        Command::NoteFailure(winners, reply) => answer!(reply, books.note_failure(winners)),
        Command::Bury(winners, reply) => answer!(reply, books.bury(winners)),
        Command::WinnersOf(sender, limit, reply) => answer!(reply, books.winners_of(sender, limit)),
        Command::OpenSpending(new, reply) => answer!(reply, books.open_spending(new)),
        Command::Reserve(reservation, reply) => answer!(reply, books.reserve(reservation)),
        Command::Record { session, cost, outcome, reply } => {
            answer!(reply, books.record(session, cost, outcome))
        }
        Command::Spending(session, reply) => answer!(reply, books.spending(session)),
        Command::CloseSpending(session, reply) => answer!(reply, books.close_spending(session)),
        Command::Close(reply) => answers.push(hold(reply, Ok(()))),
    }
}
