//! The log of what changed every balance, and what it adds up to: pure, shared by every store.
//!
//! Entries are movements, not results: a balance is the sum of its movements. They are written in the transaction that
//! changes the balances, one row for all calls of a commit, and never changed. Old rows are folded into openings: what
//! the log up to there adds up to.

mod balance;
mod codec;
mod entry;
mod tally;

pub(crate) use balance::{Account, Balance, Balances};
pub(crate) use codec::Pack;
pub(crate) use entry::{Entry, decode_all};
pub(crate) use tally::{Sum, Tally};
