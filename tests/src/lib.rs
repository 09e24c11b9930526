//! End-to-end, chaos, interop and load tests across all crates.
//!
//! This library is the harness: clips, the binary under test, and markets made of real processes on a real chain. The stories
//! stand in `tests/it`, one module each.

mod balancer;
mod client;
mod clips;
pub mod court;
mod cut;
pub mod impostor;
mod market;
#[path = "../../payments/tests/it/postgres/server.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "the ledger's own tests use the rest, and fail where a server fails"
)]
pub mod postgres;
pub mod raw;
mod reach;

use std::path::{Path, PathBuf};

pub use balancer::Balancer;
pub use client::{Client, Session, WireSegment};
pub use clips::{clip, real_clips, synthetic};
pub use cut::cut;
pub use market::{Market, MarketPlan};
pub use reach::{BroadcasterProcess, Redeemed, free_address, node_modules, playlist_entries};

/// Says that a test, or the rest of it, was left out: where it is seen, also when tests pass.
pub fn skipped(reason: &str) {
    use std::io::Write as _;
    // Whoever closed standard error does not want to know.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {reason}");
}

/// The checkout.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests crate lies in the workspace")
}

/// The `framemill` binary that was built with these tests.
///
/// # Panics
/// When it was not: `cargo test --workspace` builds it.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own file");
    let profile = test.parent().and_then(Path::parent).expect("tests lie in target/PROFILE/deps");
    let binary = profile.join("framemill");
    assert!(
        binary.is_file(),
        "{} is not built: run cargo test --workspace, or cargo build first",
        binary.display()
    );
    binary
}
