//! Why the books did not do what they were asked.

use alloy_primitives::{Address, B256};

use crate::units::Wei;

/// Why the ledger did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// Another process has the ledger open.
    #[error("ledger {0} is in use by another process; stop it or configure another ledger path")]
    Locked(String),
    /// The store failed; nothing of the call was kept.
    #[error("ledger store failed: {0}; check the disk and the file's permissions")]
    Store(String),
    /// The server does not answer, or stopped to while it committed: whether the call took effect is unknown.
    #[error("ledger server does not answer: {0}; check it, and read the books before you repeat the call")]
    Unreachable(String),
    /// Others kept the rows for too long; nothing of the call was kept.
    #[error("ledger is busy: {0}; try again")]
    Busy(String),
    /// The server does not let this user in.
    #[error(
        "ledger server refused the login: {0}; check user, database, and the password file or PGPASSWORD"
    )]
    Denied(String),
    /// The ledger's address cannot be used.
    #[error("ledger address: {0}")]
    Address(String),
    /// The ledger was written by a newer program.
    #[error("ledger has schema version {found}, newer than {known}; update this program")]
    TooNew {
        /// What it has.
        found: u32,
        /// The newest this program knows.
        known: u32,
    },
    /// The ledger was written by an older program, and is only to be read.
    #[error(
        "ledger has schema version {found}, this program reads {known}; start a node on it once, which migrates it"
    )]
    TooOld {
        /// What it has.
        found: u32,
        /// What this program reads.
        known: u32,
    },
    /// A row does not decode: the file was changed by something else.
    #[error("ledger holds a malformed {0}; restore the file from a backup")]
    Corrupt(&'static str),
    /// The ledger has been closed.
    #[error("ledger is closed; open it again")]
    Closed,
    /// Another process redeems this ledger's winners.
    #[error("another process redeems for this ledger; wait for it or stop it")]
    NotLeader,
    /// No such session.
    #[error("session {0} is unknown or closed; open it first")]
    UnknownSession(B256),
    /// All lanes of this sender hold sessions with credit.
    #[error("sender {sender} has {lanes} open sessions, the most allowed; close one first")]
    TooManySessions {
        /// The sender.
        sender: Address,
        /// How many lanes it may have.
        lanes: u64,
    },
    /// The session exists with other terms.
    #[error("session {0} exists with another party; choose another session id")]
    SessionTaken(B256),
    /// A spending limit would be passed.
    #[error("{limit} of {bound} wei would be passed: {spent} wei spent, {asked} wei asked")]
    Limit {
        /// Which limit.
        limit: SpendingLimit,
        /// Its value.
        bound: Wei,
        /// What already counts against it.
        spent: Wei,
        /// What was asked on top.
        asked: Wei,
    },
    /// A winner is in a transaction already, or done with.
    #[error("winner {0} is not pending; read the pending winners again")]
    NotPending(i64),
    /// There is no such redemption on its way.
    #[error("no redemption {0} is on its way; read the submissions again")]
    NoSubmission(B256),
    /// The lane's nonces are used up.
    #[error("lane {0} has no nonce left above {1}; open a session in another lane")]
    NoncesExhausted(u64, u64),
}

impl LedgerError {
    /// Whether the store failed, so that the call may have been done by half and must be undone; otherwise the call was
    /// understood and refused.
    pub(super) fn is_of_store(&self) -> bool {
        matches!(
            self,
            Self::Store(_) | Self::Corrupt(_) | Self::Unreachable(_) | Self::Busy(_) | Self::Denied(_)
        )
    }
}

/// What bounds a sender's spending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SpendingLimit {
    /// Tickets of one payment, in tickets.
    Tickets,
    /// Value of all tickets of a session.
    Session,
    /// Value per stream within an hour.
    StreamHour,
    /// Value against a deposit since it was topped up.
    Deposit,
    /// Value out for work that is not verified.
    Outstanding,
    /// Value of tickets that the recipient refused.
    Refused,
}

impl SpendingLimit {
    /// Every limit.
    pub const ALL: [Self; 6] =
        [Self::Tickets, Self::Session, Self::StreamHour, Self::Deposit, Self::Outstanding, Self::Refused];

    /// Whether it counts within one session only: a new session starts anew.
    pub fn is_of_session(self) -> bool {
        matches!(self, Self::Session | Self::Outstanding | Self::Refused)
    }
}

impl std::fmt::Display for SpendingLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tickets => "tickets of one payment",
            Self::Session => "value per session",
            Self::StreamHour => "value per stream and hour",
            Self::Deposit => "value per deposit",
            Self::Outstanding => "value out for unverified work",
            Self::Refused => "value of refused tickets",
        })
    }
}

/// Errors of the server's class and code: <https://www.postgresql.org/docs/15/errcodes-appendix.html>. SQLite's codes
/// are numbers without five digits.
impl From<sqlx::Error> for LedgerError {
    fn from(error: sqlx::Error) -> Self {
        let text = error.to_string();
        let sqlx::Error::Database(database) = &error else {
            return match error {
                sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
                    Self::Unreachable(text)
                }
                _ => Self::Store(text),
            };
        };
        match database.code().unwrap_or_default().as_ref() {
            // Serialization failure, deadlock, lock or statement that took too long.
            "40001" | "40P01" | "55P03" | "57014" => Self::Busy(text),
            // Shutting down, crashed, starting up, told to go away, too many connections.
            "57P01" | "57P02" | "57P03" | "57P05" | "53300" | "25P03" => Self::Unreachable(text),
            code if code.len() == 5 && code.starts_with("08") => Self::Unreachable(text),
            "3D000" | "28P01" | "28000" | "42501" => Self::Denied(text),
            _ => Self::Store(text),
        }
    }
}
