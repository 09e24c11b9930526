//! The task that owns the file.

use sqlx::Connection;
use tokio::sync::mpsc;

use super::schema::OpenFile;
use crate::ledger::LedgerError;
use crate::ledger::store::{
    Books, Command, Conn, Job, LogLength, Slot, answer, next_group, run as run_calls,
};

/// Runs until the last handle is gone or one of them closes the ledger.
pub(super) async fn run(mut file: OpenFile, mut waiting: mpsc::Receiver<Job>) {
    let mut log = LogLength::new(file.log_bytes);
    let mut closing = Vec::new();
    while closing.is_empty() {
        let Some((calls, ends)) = next_group(&mut waiting).await else { break };
        closing = ends;
        if log.grow(commit_group(&mut file, calls).await) {
            log.shrink(fold(&mut file).await);
        }
    }
    // Calls that came after the one that closes are told so at once.
    waiting.close();
    if let Err(error) = file.connection.close().await {
        tracing::warn!(%error, "ledger did not close cleanly; its journal is replayed on the next open");
    }
    // A child that is being started may hold a copy of the handle: closing ours would not be enough.
    if let Err(error) = file.lock.unlock() {
        tracing::warn!(%error, "ledger's lock is released with the process only");
    }
    for reply in closing {
        let _ = reply.send(());
    }
}

/// Commits a group; how many bytes the log grew by. A group that fails is tried again call by call: one that cannot be
/// done must not fail its neighbours.
async fn commit_group(file: &mut OpenFile, mut calls: Vec<Command>) -> usize {
    let mut commit = transact(file, &mut calls).await;
    if commit.is_err() && calls.len() > 1 {
        let mut bytes = 0;
        for call in calls {
            bytes += Box::pin(commit_group(file, vec![call])).await;
        }
        return bytes;
    }
    if let Err(error) = &mut commit {
        tracing::error!(%error, "ledger call failed and was not acknowledged; check the disk");
    }
    let bytes = *commit.as_ref().unwrap_or(&0);
    answer(calls, &commit.map(drop));
    bytes
}

async fn transact(file: &mut OpenFile, calls: &mut [Command]) -> Result<usize, LedgerError> {
    let instance = file.instance;
    let mut transaction = file.connection.begin_with("BEGIN IMMEDIATE").await?;
    let mut books = Books::new(Conn::Sqlite(&mut transaction), instance);
    run_calls(&mut books, calls).await;
    let bytes = books.finish().await?;
    transaction.commit().await?;
    Ok(bytes)
}

/// Folds some of the log; how many bytes of it.
async fn fold(file: &mut OpenFile) -> usize {
    let (reply, folded) = tokio::sync::oneshot::channel();
    commit_group(file, vec![Command::Fold { slot: Slot::new(reply) }]).await;
    // The group has been answered.
    folded.await.ok().and_then(Result::ok).unwrap_or_default()
}
