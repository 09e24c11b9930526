//! The calls of both sides as data, so that many of them share a transaction and are done again when it fails.

use alloy_primitives::{Address, B256};
use tokio::sync::oneshot;

use super::books::Books;
use super::redeem::Term;
use crate::ledger::{
    Acceptance, Acknowledged, DeadReason, Fate, LaneId, LedgerError, LiveSubmission, NewSession, NewSpending,
    Reservation, Reserved, Retirement, Session, SpendingState, Submission, Winner, WorkOutcome,
};
use crate::port::PreparedRedemption;
use crate::units::Wei;

/// Where an answer goes, and what it will be once the transaction is committed.
pub(crate) struct Slot<T> {
    reply: oneshot::Sender<Result<T, LedgerError>>,
    outcome: Option<Result<T, LedgerError>>,
}

impl<T> Slot<T> {
    pub(crate) fn new(reply: oneshot::Sender<Result<T, LedgerError>>) -> Self {
        Self { reply, outcome: None }
    }

    /// The caller may be gone: its answer then goes nowhere, its effect stays.
    fn answer(self, commit: Result<(), LedgerError>) {
        let outcome = self.outcome.unwrap_or(Err(LedgerError::Closed));
        let _ = self.reply.send(commit.and(outcome));
    }
}

/// One line a call: its arguments, its answer, the method of [`Books`] that does it.
macro_rules! calls {
    (|$books:ident| $($name:ident { $($arg:ident: $type:ty),* } -> $answer:ty = $call:expr;)*) => {
        /// One call, with where its answer goes.
        pub(crate) enum Command {
            $($name { $($arg: $type,)* slot: Slot<$answer> },)*
        }

        impl Command {
            /// Does it. May be repeated in another transaction, when this one was not committed.
            pub(super) async fn run(&mut self, $books: &mut Books<'_>) {
                match self {
                    $(Self::$name { $($arg,)* slot } => {
                        let outcome = $call.await;
                        $books.remember(outcome.as_ref().err());
                        slot.outcome = Some(outcome);
                    })*
                }
            }

            /// Tells the caller, once the fate of the transaction is known.
            pub(crate) fn answer(self, commit: Result<(), LedgerError>) {
                match self {
                    $(Self::$name { slot, .. } => slot.answer(commit),)*
                }
            }
        }
    };
}

calls! {
    |books|
    Secret {} -> [u8; 32] = books.secret();
    OpenSession { new: NewSession } -> Session = books.open_session(*new);
    Session { id: B256 } -> Option<Session> = books.session(*id);
    CloseSession { id: B256 } -> () = books.close_session(*id);
    Accept { acceptance: Acceptance } -> Acknowledged = books.accept(acceptance);
    Settle { id: B256, held: Wei, actual: Wei } -> Wei = books.settle(*id, *held, *actual);
    ReleaseHolds {} -> () = books.release_holds();
    RetireSessions {} -> () = books.retire_sessions();
    KeepTerms { session: B256, terms: Vec<u8> } -> () = books.keep_terms(*session, terms);
    Terms { session: B256 } -> Option<Vec<u8>> = books.terms(*session);
    IsVouched { session: B256, number: u64 } -> bool = books.is_vouched(*session, *number);
    Vouch { session: B256, number: u64 } -> bool = books.vouch(*session, *number);
    PendingValue { sender: Address } -> Wei = books.pending_value(*sender);
    PendingWinners { after: Option<LaneId>, limit: u32 } -> Vec<Winner>
        = books.pending_winners(*after, *limit);
    Reveal { term: Term, lanes: Vec<Retirement>, now_ms: u64 } -> Vec<Winner>
        = books.reveal(*term, lanes, *now_ms);
    Submit { term: Term, submission: Submission } -> () = books.submit(*term, submission);
    Submissions {} -> Vec<LiveSubmission> = books.submissions();
    Replace { term: Term, tx: B256, replacement: PreparedRedemption, offered_ms: u64 } -> ()
        = books.replace(*term, *tx, replacement, *offered_ms);
    Conclude { term: Term, tx: B256, mined: B256, fates: Vec<(i64, Fate)> } -> ()
        = books.conclude(*term, *tx, *mined, fates);
    NoteFailure { term: Term, winners: Vec<i64> } -> () = books.note_failure(*term, winners);
    Bury { term: Term, winners: Vec<(i64, DeadReason)> } -> () = books.bury(*term, winners);
    WinnersOf { sender: Address, limit: u32 } -> Vec<Winner> = books.winners_of(*sender, *limit);
    OpenSpending { new: NewSpending } -> () = books.open_spending(*new);
    Reserve { ask: Reservation } -> Reserved = books.reserve(ask);
    Record { session: B256, cost: Wei, outcome: WorkOutcome } -> SpendingState
        = books.record(*session, *cost, *outcome);
    Spending { session: B256 } -> Option<SpendingState> = books.spending(*session);
    CloseSpending { session: B256 } -> () = books.close_spending(*session);
    Fold {} -> usize = books.fold();
}

/// What of the books a call touches.
pub(super) enum Scope<'c> {
    /// Nothing that anybody waits for.
    Reads,
    /// A recipient's session.
    Session(B256),
    /// A sender's session.
    Spending(B256),
    /// A sender's session, its lane and its deposit.
    Reservation(&'c Reservation),
    /// More than can be said beforehand.
    All,
}

impl Command {
    pub(super) fn scope(&self) -> Scope<'_> {
        match self {
            Self::Accept { acceptance, .. } => Scope::Session(acceptance.session),
            Self::Settle { id, .. } | Self::Session { id, .. } => Scope::Session(*id),
            Self::KeepTerms { session, .. } | Self::Vouch { session, .. } => Scope::Session(*session),
            Self::Reserve { ask, .. } => Scope::Reservation(ask),
            Self::Record { session, .. } | Self::Spending { session, .. } => Scope::Spending(*session),
            Self::Terms { .. }
            | Self::IsVouched { .. }
            | Self::PendingValue { .. }
            | Self::PendingWinners { .. }
            | Self::Submissions { .. }
            | Self::WinnersOf { .. } => Scope::Reads,
            Self::Secret { .. }
            | Self::OpenSession { .. }
            | Self::CloseSession { .. }
            | Self::ReleaseHolds { .. }
            | Self::RetireSessions { .. }
            | Self::Reveal { .. }
            | Self::Submit { .. }
            | Self::Replace { .. }
            | Self::Conclude { .. }
            | Self::NoteFailure { .. }
            | Self::Bury { .. }
            | Self::OpenSpending { .. }
            | Self::CloseSpending { .. }
            | Self::Fold { .. } => Scope::All,
        }
    }
}

/// Does the calls of a group in their order, as far as the transaction bears it.
pub(crate) async fn run(books: &mut Books<'_>, calls: &mut [Command]) {
    for call in calls {
        if books.has_failed() {
            return;
        }
        call.run(books).await;
    }
}

/// Answers every call of a group.
pub(crate) fn answer(calls: Vec<Command>, commit: &Result<(), LedgerError>) {
    for call in calls {
        call.answer(commit.clone());
    }
}
