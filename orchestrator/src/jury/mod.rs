//! Jury duty: an orchestrator claims the seats that a draw gives it, fetches the evidence, judges, votes, and is paid.
//!
//! What to do next is decided by [`plan`] from the chain's state and the own votes alone, so that a juror that is
//! restarted at any point, or whose chain took blocks back, goes on from what it finds. A vote and its salt are on disk
//! ([`book`]) before the commitment is sent; what is sent is fenced, so that two processes with one key send it once.
//! Nothing is polled: a dispute is looked at after its events, and at the blocks where its windows begin or end.

mod book;
mod colleagues;
mod docket;
mod evidence;
mod holders;
mod juror;
mod plan;
mod store;
mod terms;

use std::path::PathBuf;
use std::time::Duration;

use framemill_contracts::{ChainClient, Changes};

pub use colleagues::Colleagues;
pub(crate) use juror::Juror;
pub use terms::{accusation, court_receipt};

/// How jury duty is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JuryPolicy {
    /// Above this price of gas, in wei, what has time waits: a vote until a quarter of its window is left.
    pub calm_gas_price: u128,
    /// Blocks that an account waits for each one before it to move a dispute on.
    pub turn_blocks: u64,
    /// Blocks after which a dispute that nobody moves on is moved at any price of gas that the client may pay.
    pub patience_blocks: u64,
    /// Bytes that are fetched for one dispute; evidence that is larger cannot be had.
    pub max_fetch_bytes: u64,
    /// Disputes judged at a time, each on a core.
    pub cores: usize,
    /// Pause before evidence that nobody had is asked for again. It doubles up to [`JuryPolicy::longest_pause`].
    pub pause: Duration,
    /// Longest pause.
    pub longest_pause: Duration,
    /// Pause before what failed is tried again.
    pub retry: Duration,
}

impl Default for JuryPolicy {
    fn default() -> Self {
        Self {
            calm_gas_price: 50_000_000_000,
            turn_blocks: 2,
            patience_blocks: 300,
            max_fetch_bytes: 1 << 30,
            cores: 1,
            pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(30),
            retry: Duration::from_secs(5),
        }
    }
}

/// What jury duty is done with.
#[derive(Debug)]
pub struct JuryDuty {
    /// Sends with the orchestrator's key.
    pub client: ChainClient,
    /// What happens on the client's chain.
    pub changes: Changes,
    /// How.
    pub policy: JuryPolicy,
    /// Folder for votes and fetched evidence. It is made when missing.
    pub folder: PathBuf,
}

impl JuryDuty {
    /// Folder of the evidence that was fetched, which this node serves to other jurors.
    pub(crate) fn evidence(&self) -> PathBuf {
        self.folder.join("evidence")
    }
}
