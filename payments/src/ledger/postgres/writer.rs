//! The task that owns the connection.

use std::time::Duration;

use sqlx::{Connection, PgConnection};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::session::{Session, end};
use super::{LOCKS, PostgresAddress, lock};
use crate::ledger::LedgerError;
use crate::ledger::store::{
    Books, Command, Conn, Job, LogLength, Slot, answer, next_group, run as run_calls, upkeep, wanted,
};

/// How long a group is tried for, while the server is away or others are in the way. A result for live video that is later
/// than that is wrong.
const PATIENCE: Duration = Duration::from_secs(4);

/// The first pause between two tries; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// How often the connection is used when nobody calls, so that its end is noticed, and others' deaths are.
const UPKEEP: Duration = Duration::from_secs(5);

/// How a try failed.
enum Failure {
    /// Nothing of it was kept: it may be done again.
    Undone(LedgerError),
    /// The answer to the commit of this transaction was lost.
    Unknown(String, LedgerError),
    /// It would fail again.
    Final(LedgerError),
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Unreachable(_) | LedgerError::Busy(_) => Self::Undone(error),
            _ => Self::Final(error),
        }
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        LedgerError::from(error).into()
    }
}

/// The writer of one process.
pub(super) struct Writer {
    address: PostgresAddress,
    instance: i64,
    /// `None` after it broke.
    connection: Option<PgConnection>,
    log: LogLength,
}

impl Writer {
    /// Connects as a new instance.
    pub(super) async fn connect(address: PostgresAddress) -> Result<Self, LedgerError> {
        let Session { mut connection, instance } = Session::begin(&address).await?;
        let sum = "SELECT COALESCE(SUM(LENGTH(entries)), 0)::bigint FROM journal";
        let bytes: i64 = sqlx::query_scalar(sum).fetch_one(&mut connection).await?;
        let log = LogLength::new(usize::try_from(bytes).unwrap_or_default());
        Ok(Self { address, instance, connection: Some(connection), log })
    }

    /// Runs until the last handle is gone or one of them closes the ledger.
    pub(super) async fn run(mut self, mut waiting: mpsc::Receiver<Job>) {
        let mut clock = interval(UPKEEP);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let closing = loop {
            let group = tokio::select! {
                group = next_group(&mut waiting) => group,
                _ = clock.tick() => {
                    self.commit_group(vec![upkeep(|slot| Command::ReleaseHolds { slot })]).await;
                    continue;
                }
            };
            let Some((calls, closing)) = group else { break Vec::new() };
            self.commit_and_fold(calls).await;
            if !closing.is_empty() {
                break closing;
            }
        };
        // Calls that came after the one that closes are told so at once.
        waiting.close();
        if let Some(connection) = self.connection {
            // A server that does not answer notices by itself.
            let _ = tokio::time::timeout(PATIENCE, end(connection)).await;
        }
        for reply in closing {
            let _ = reply.send(());
        }
    }

    async fn commit_and_fold(&mut self, calls: Vec<Command>) {
        let bytes = self.commit_group(calls).await;
        if !self.log.grow(bytes) {
            return;
        }
        let (reply, folded) = oneshot::channel();
        self.commit_group(vec![Command::Fold { slot: Slot::new(reply) }]).await;
        // The group has been answered.
        self.log.shrink(folded.await.ok().and_then(Result::ok).unwrap_or_default());
    }

    /// Commits a group and answers it; how many bytes the log grew by. A group that fails by what it asks is tried again call
    /// by call: one that cannot be done must not fail its neighbours.
    async fn commit_group(&mut self, mut calls: Vec<Command>) -> usize {
        if calls.is_empty() {
            return 0;
        }
        let outcome = self.persist(&mut calls).await;
        if matches!(outcome, Err(LedgerError::Store(_) | LedgerError::Corrupt(_))) && calls.len() > 1 {
            let mut bytes = 0;
            for call in calls {
                bytes += Box::pin(self.commit_group(vec![call])).await;
            }
            return bytes;
        }
        if let Err(error) = &outcome {
            tracing::error!(%error, calls = calls.len(), "ledger calls failed and were not acknowledged; check the server");
        }
        let bytes = *outcome.as_ref().unwrap_or(&0);
        answer(calls, &outcome.map(drop));
        bytes
    }

    /// Tries a group until it is committed, fails for good, or patience ends.
    async fn persist(&mut self, calls: &mut [Command]) -> Result<usize, LedgerError> {
        let deadline = Instant::now() + PATIENCE;
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match self.attempt(calls).await {
                Ok(bytes) => return Ok(bytes),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Undone(error)) => error,
                Err(Failure::Unknown(transaction, error)) => {
                    tracing::warn!(%error, transaction, "ledger's answer to a commit was lost; asking for it");
                    if self.was_committed(&transaction, deadline).await.ok_or_else(|| error.clone())? {
                        return Ok(0);
                    }
                    error
                }
            };
            if Instant::now() + pause >= deadline {
                return Err(error);
            }
            tracing::debug!(%error, "ledger calls are tried again");
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Runs a group in one transaction. The connection is kept when it can be used again.
    async fn attempt(&mut self, calls: &mut [Command]) -> Result<usize, Failure> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Session::resume(&self.address, self.instance).await?.connection,
        };
        let outcome = transact(&mut connection, self.instance, calls).await;
        let broken =
            matches!(&outcome, Err(Failure::Unknown(..) | Failure::Undone(LedgerError::Unreachable(_))));
        if !broken {
            self.connection = Some(connection);
        }
        outcome
    }

    /// What became of a transaction; `None` when the server does not say in time.
    async fn was_committed(&mut self, transaction: &str, deadline: Instant) -> Option<bool> {
        let mut pause = FIRST_PAUSE;
        while Instant::now() + pause < deadline {
            if let Ok(status) = self.status(transaction).await {
                match status.as_deref() {
                    Some("committed") => return Some(true),
                    Some("aborted") => return Some(false),
                    // It is still at it.
                    Some(_) => {}
                    None => return None,
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        None
    }

    async fn status(&mut self, transaction: &str) -> Result<Option<String>, LedgerError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Session::resume(&self.address, self.instance).await?.connection,
        };
        let status = sqlx::query_scalar("SELECT pg_xact_status($1::text::xid8)")
            .bind(transaction)
            .fetch_one(&mut connection)
            .await?;
        self.connection = Some(connection);
        Ok(status)
    }
}

/// Takes the ledger's lock, shared or alone, and the transaction's number, by which its fate can be asked for.
const BEGIN_SHARED: &str =
    "SELECT pg_advisory_xact_lock_shared($1, $2)::text, pg_current_xact_id()::text AS xid";
const BEGIN_ALONE: &str = "SELECT pg_advisory_xact_lock($1, $2)::text, pg_current_xact_id()::text AS xid";

async fn transact(
    connection: &mut PgConnection,
    instance: i64,
    calls: &mut [Command],
) -> Result<usize, Failure> {
    let mut transaction = connection.begin().await?;
    let wanted = wanted(calls);
    let begin = if wanted.is_some() { BEGIN_SHARED } else { BEGIN_ALONE };
    let begun = sqlx::query(begin).bind(LOCKS).bind(lock::ROWS).fetch_one(&mut *transaction).await?;
    let number: String = sqlx::Row::try_get(&begun, "xid")?;
    let mut books = Books::new(Conn::Postgres(&mut transaction), instance.cast_unsigned());
    if let Some(wanted) = &wanted {
        books.gather(wanted).await?;
    }
    drop(wanted);
    run_calls(&mut books, calls).await;
    let bytes = books.finish().await?;
    match transaction.commit().await.map_err(LedgerError::from) {
        Ok(()) => Ok(bytes),
        Err(error @ LedgerError::Unreachable(_)) => Err(Failure::Unknown(number, error)),
        Err(error) => Err(error.into()),
    }
}
