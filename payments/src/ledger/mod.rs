//! What must survive a kill: one trait per side, two stores.
//!
//! Every mutating method returns only after its effect is durable (written and synced). A method
//! dropped before it returns may or may not have taken effect, as with a crash: callers treat an
//! unanswered call as unknown and read the state again.
//!
//! [`SqliteLedger`] is a file of one process; [`PostgresLedger`] is a database that several share. What a call does is
//! decided once, for both (`store`); they differ in how a transaction begins and what a failure means.

mod account;
mod error;
mod journal;
pub mod postgres;
pub mod sqlite;
mod store;

use alloy_primitives::{Address, B256};
use async_trait::async_trait;

pub use account::{LaneState, NONCE_WINDOW, SessionState, Settlement};
pub use error::{LedgerError, SpendingLimit};
pub use postgres::{PostgresAddress, PostgresLedger};
pub use sqlite::SqliteLedger;
pub use store::{Audit, Difference, Earned, Inspector, OpenSession, OpenSpending};

use crate::port::{PreparedRedemption, WinningTicket};
use crate::reason::Reason;
use crate::ticket::{Domain, Scheme};
use crate::units::{Round, Wei, WinProb};

/// One nonce sequence of a sender with a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneId {
    /// The sender.
    pub sender: Address,
    /// The recipient.
    pub recipient: Address,
    /// The lane's number.
    pub lane: u64,
}

impl std::fmt::Display for LaneId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} to {}", self.lane, self.sender, self.recipient)
    }
}

/// A session as the recipient opens it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewSession {
    /// Its id, chosen by the caller; never reused.
    pub id: B256,
    /// Who pays.
    pub sender: Address,
    /// Who is paid.
    pub recipient: Address,
    /// The face value agreed for the session's life.
    pub face_value: Wei,
    /// The win probability agreed for the session's life.
    pub win_prob: WinProb,
    /// Lanes this sender may have.
    pub max_lanes: u64,
    /// Sessions not paid since then give way when all lanes are taken, in Unix milliseconds.
    pub idle_before_ms: u64,
    /// When it was opened, in Unix milliseconds.
    pub now_ms: u64,
}

/// A session with the lane it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: B256,
    /// The lane it holds while open.
    pub lane: LaneId,
    /// The face value agreed.
    pub face_value: Wei,
    /// The win probability agreed.
    pub win_prob: WinProb,
    /// Money.
    pub state: SessionState,
    /// Nonces.
    pub lane_state: LaneState,
}

/// A winning ticket to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewWinner {
    /// How it was signed.
    pub scheme: Scheme,
    /// Where it is redeemed.
    pub domain: Domain,
    /// The ticket and the secret.
    pub ticket: WinningTicket,
}

/// A ticket that passed every check that needs no ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckedTicket {
    /// Its place in the payment.
    pub index: usize,
    /// Its nonce.
    pub nonce: u64,
    /// The winner, if it won.
    pub winner: Option<NewWinner>,
}

/// Checked tickets of one payment and the work they pay for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acceptance {
    /// The session.
    pub session: B256,
    /// The secret's generation the tickets are made on.
    pub serial: u64,
    /// What each ticket is worth.
    pub ticket_value: Wei,
    /// The tickets.
    pub tickets: Vec<CheckedTicket>,
    /// What to hold for the work about to be done.
    pub cost: Wei,
    /// How far a nonce may lie above the highest one seen.
    pub max_nonce_jump: u64,
    /// When, in Unix milliseconds.
    pub now_ms: u64,
}

/// What became of an [`Acceptance`]. Tickets that were good are kept and credited even when the
/// work is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// Tickets credited.
    pub credited: u64,
    /// Winners stored.
    pub winners: u64,
    /// Tickets refused by the ledger, by their place in the payment.
    pub refused: Vec<(usize, Reason)>,
    /// Whether the cost was covered and is now held.
    pub held: bool,
    /// The session's free credit afterwards.
    pub credit: Wei,
    /// The secret's current generation in the lane.
    pub serial: u64,
    /// The highest nonce seen in the lane.
    pub nonce_floor: u64,
}

/// Where a winning ticket stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WinnerState {
    /// Waiting to be redeemed.
    Pending,
    /// In the transaction with this hash, which is on its way or mined but not final.
    Submitted(B256),
    /// Paid, and final.
    Paid(B256),
    /// Given up.
    Dead(DeadReason),
}

impl WinnerState {
    /// Whether nothing changes it any more.
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Paid(_) | Self::Dead(_))
    }
}

/// Why a winner will never be redeemed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeadReason {
    /// Its validity ended.
    Expired,
    /// The broker refused it as invalid, or too often.
    Poisoned,
    /// A higher nonce of its lane was paid first.
    NoncePassed,
}

impl DeadReason {
    /// The number that stands for it in a store.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Expired => 1,
            Self::Poisoned => 2,
            Self::NoncePassed => 3,
        }
    }

    /// What a number in a store stands for.
    pub(crate) fn of(number: u8) -> Option<Self> {
        [Self::Expired, Self::Poisoned, Self::NoncePassed]
            .into_iter()
            .find(|reason| reason.number() == number)
    }
}

/// A lane whose winners are to be redeemed, which reveals its secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retirement {
    /// The lane.
    pub lane: LaneId,
    /// How long tickets on the old secret are still taken, in milliseconds, unless one on the new secret comes first:
    /// its sender has tickets on the way. Zero reveals at once.
    pub grace_ms: u64,
}

/// A winner as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Winner {
    /// Its row.
    pub id: i64,
    /// The lane and nonce it counts in.
    pub lane: LaneId,
    /// Its number in the lane.
    pub nonce: u64,
    /// The secret's generation.
    pub serial: u64,
    /// The ticket and the secret.
    pub ticket: WinningTicket,
    /// How it was signed.
    pub scheme: Scheme,
    /// Where it stands.
    pub state: WinnerState,
    /// Transactions that failed to pay it.
    pub attempts: u32,
    /// When it was accepted, in Unix milliseconds.
    pub accepted_ms: u64,
    /// When it was certain that it is paid or dead, in Unix milliseconds; `None` while it is not, and for winners that were settled
    /// before this was kept.
    pub settled_ms: Option<u64>,
}

impl Winner {
    /// Whether it was paid, and finally.
    pub fn is_paid(&self) -> bool {
        matches!(self.state, WinnerState::Paid(_))
    }

    /// The last round in which it can be redeemed, given the chain's validity window.
    pub fn last_round(&self, validity_rounds: u64) -> Round {
        self.ticket.signed.ticket.creation_round.saturating_add(validity_rounds)
    }
}

/// Versions of one submission: a fee that rises by an eighth is a thousandfold after 59.
pub const MAX_VERSIONS: usize = 64;

/// A redemption on its way, with its winners as they stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveSubmission {
    /// The signed transaction. Its hash names the submission.
    pub prepared: PreparedRedemption,
    /// Versions of it at higher fees, oldest first. The chain takes one of all versions at most.
    pub replacements: Vec<PreparedRedemption>,
    /// When the newest version was stored, in Unix milliseconds.
    pub offered_ms: u64,
    /// The winners in it, in the order of the batch.
    pub winners: Vec<Winner>,
}

impl LiveSubmission {
    /// The version with the highest fee.
    pub fn newest(&self) -> &PreparedRedemption {
        self.replacements.last().unwrap_or(&self.prepared)
    }
}

/// A redemption about to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// The signed transaction.
    pub prepared: PreparedRedemption,
    /// The winners in it, in the order of the batch.
    pub winners: Vec<i64>,
    /// The present, in Unix milliseconds.
    pub offered_ms: u64,
}

/// How a winner's row changes when its transaction's fate is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Paid and final.
    Paid,
    /// To be tried again; counts an attempt when the transaction got as far as failing.
    Retry {
        /// Whether this was a failed attempt.
        failed: bool,
    },
    /// Never.
    Dead(DeadReason),
}

/// The recipient's books: secret, sessions, nonces, credit, winners, redemptions.
///
/// Several handles may share one store; each method is atomic.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// The recipient's secret, made on first use.
    async fn secret(&self) -> Result<[u8; 32], LedgerError>;

    /// Opens a session in the lowest lane of the pair without one, or returns the session of the
    /// same id, sender and recipient. When all lanes are taken, sessions that were never paid give
    /// way, then those that nobody has paid for long.
    async fn open_session(&self, new: NewSession) -> Result<Session, LedgerError>;

    /// An open session.
    async fn session(&self, id: B256) -> Result<Option<Session>, LedgerError>;

    /// Frees the session's lane. What is left of its credit is forfeited; winners stay.
    async fn close_session(&self, id: B256) -> Result<(), LedgerError>;

    /// Checks nonces against the lane, credits what is good, stores winners and holds the cost: all
    /// or nothing, once.
    async fn accept(&self, acceptance: Acceptance) -> Result<Acknowledged, LedgerError>;

    /// Ends a hold: `actual` of it is spent, the rest is credit again. An `actual` above `held`
    /// takes the difference from the credit, down to zero. Returns the credit.
    async fn settle(&self, session: B256, held: Wei, actual: Wei) -> Result<Wei, LedgerError>;

    /// Turns the holds of processes that are dead back into credit: their work in progress died with them. Sessions that
    /// were last paid through them give way to new ones from now on, unless they are paid again. What living processes
    /// hold that share the ledger stays held.
    async fn release_holds(&self) -> Result<(), LedgerError>;

    /// Lets every session that was last paid through a dead process give way as soon as its sender has no lane left,
    /// however lately it was paid: for a recipient whose sessions end with its process.
    async fn retire_sessions(&self) -> Result<(), LedgerError>;

    /// Whether other processes may have the ledger open at the same time, so that sessions outlive this one.
    fn is_shared(&self) -> bool;

    /// Keeps what an open session is bound to beside money, in place of what was kept before, for the processes that share the
    /// ledger. It goes with the session.
    async fn keep_terms(&self, session: B256, terms: Vec<u8>) -> Result<(), LedgerError>;

    /// What [`Ledger::keep_terms`] kept; `None` where there is nothing.
    async fn terms(&self, session: B256) -> Result<Option<Vec<u8>>, LedgerError>;

    /// Whether piece `number` of the session's work was vouched for, or lies [`SEQUENCE_WINDOW`](crate::SEQUENCE_WINDOW)
    /// behind one that was. Needs terms.
    async fn is_vouched(&self, session: B256, number: u64) -> Result<bool, LedgerError>;

    /// Claims the right to vouch for piece `number` of the session's work: true once, whoever asks. Needs terms.
    async fn vouch(&self, session: B256, number: u64) -> Result<bool, LedgerError>;

    /// Whether this process is the one that redeems the ledger's winners. Becomes it when nobody is. Ask before each step:
    /// a process that cannot reach the ledger is replaced, and what it does afterwards fails with
    /// [`LedgerError::NotLeader`]: [`Ledger::reveal`], [`Ledger::submit`], [`Ledger::replace`], [`Ledger::conclude`],
    /// [`Ledger::note_failure`] and [`Ledger::bury`].
    async fn lead(&self) -> Result<bool, LedgerError>;

    /// The face value of the sender's winners that are neither paid nor dead.
    async fn pending_value(&self, sender: Address) -> Result<Wei, LedgerError>;

    /// Pending winners in the order of their lanes and by nonce within one, from the lane after `after` on, at most `limit`.
    async fn pending_winners(&self, after: Option<LaneId>, limit: u32) -> Result<Vec<Winner>, LedgerError>;

    /// Gives lanes with pending winners a new secret, and marks the old one as revealed as soon as its grace is over:
    /// from then on no ticket on it is accepted. Returns the pending winners of these lanes whose secrets are revealed,
    /// by lane and nonce: a set that can no longer grow, below every winner still to come.
    async fn reveal(&self, lanes: &[Retirement], now_ms: u64) -> Result<Vec<Winner>, LedgerError>;

    /// Stores a signed transaction before it is sent, and ties the winners to it. Fails when one of
    /// them is not pending.
    async fn submit(&self, submission: Submission) -> Result<(), LedgerError>;

    /// Stores a version of submission `tx` at a higher fee before it is sent, at most [`MAX_VERSIONS`] in all. Fails when
    /// there is no such submission.
    async fn replace(
        &self,
        tx: B256,
        replacement: PreparedRedemption,
        offered_ms: u64,
    ) -> Result<(), LedgerError>;

    /// Transactions on their way.
    async fn submissions(&self) -> Result<Vec<LiveSubmission>, LedgerError>;

    /// Ends submission `tx`, of which the chain took the version `mined`: applies one fate per winner and forgets all
    /// versions.
    async fn conclude(&self, tx: B256, mined: B256, fates: &[(i64, Fate)]) -> Result<(), LedgerError>;

    /// Counts a failed attempt for pending winners whose transaction could not even be made.
    async fn note_failure(&self, winners: &[i64]) -> Result<(), LedgerError>;

    /// Gives up pending winners that no transaction will carry.
    async fn bury(&self, winners: &[(i64, DeadReason)]) -> Result<(), LedgerError>;

    /// Every winner of `sender`, whatever became of it, by lane and nonce, at most `limit`.
    async fn winners_of(&self, sender: Address, limit: u32) -> Result<Vec<Winner>, LedgerError>;
}

/// The sender's side of a session as it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewSpending {
    /// The session's id.
    pub session: B256,
    /// The stream it serves, for the hourly cap.
    pub stream: B256,
    /// Who is paid.
    pub recipient: Address,
    /// Who pays.
    pub sender: Address,
}

/// Limits that a reservation is checked against, atomically with its booking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpendingLimits {
    /// Tickets' value per session.
    pub session: Wei,
    /// Tickets' value per stream in any hour.
    pub stream_hour: Wei,
    /// Share of the deposit, in parts per million, that tickets may be worth until it is topped up.
    pub deposit_share_ppm: u64,
    /// Value sent for work that is not verified yet, on top of one ticket.
    pub outstanding: Wei,
    /// Tickets in one payment.
    pub tickets: u64,
}

/// Nonces and budget asked for one payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// The session.
    pub session: B256,
    /// The lane of the recipient's parameters.
    pub lane: u64,
    /// The recipient's hint of the highest nonce used.
    pub nonce_floor: u64,
    /// What one ticket is worth.
    pub ticket_value: Wei,
    /// What the work costs.
    pub cost: Wei,
    /// The limits.
    pub limits: SpendingLimits,
    /// The deposit as last seen on chain.
    pub deposit: Wei,
    /// When, in Unix milliseconds.
    pub now_ms: u64,
}

/// Nonces that are ours and will not be given out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// The first of them.
    pub first_nonce: u64,
    /// How many: zero when earlier credit covers the cost.
    pub count: u64,
}

/// What became of work that was paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkOutcome {
    /// Delivered and verified.
    Verified,
    /// Not delivered, or refused by our verification; the recipient still holds the credit.
    NotDone,
    /// The recipient refused tickets of this value: they are no credit, but nobody can take them
    /// back.
    Refused(Wei),
    /// The recipient says that no credit is left for the work: what these books count as free
    /// credit is written off, so that the next payment covers its work alone.
    NoCredit,
}

/// The sums of a sender's session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpendingState {
    /// Value of all tickets sent.
    pub paid: Wei,
    /// Value the recipient refused.
    pub written_off: Wei,
    /// Cost of work ordered.
    pub ordered: Wei,
    /// Cost of work verified.
    pub verified: Wei,
}

/// The sender's books: nonces, sessions and caps.
#[async_trait]
pub trait SenderLedger: Send + Sync {
    /// Opens a session, or finds the one of the same id and parties.
    async fn open_spending(&self, new: NewSpending) -> Result<(), LedgerError>;

    /// Books a payment: takes as many fresh nonces as the cost needs beyond the credit left, within
    /// all limits. Durable before it returns, so a crash can skip nonces but never reuse one.
    async fn reserve(&self, reservation: Reservation) -> Result<Reserved, LedgerError>;

    /// Records what became of work of this cost.
    async fn record(
        &self,
        session: B256,
        cost: Wei,
        outcome: WorkOutcome,
    ) -> Result<SpendingState, LedgerError>;

    /// The sums of a session.
    async fn spending(&self, session: B256) -> Result<Option<SpendingState>, LedgerError>;

    /// Forgets a session; its nonces stay used.
    async fn close_spending(&self, session: B256) -> Result<(), LedgerError>;
}
