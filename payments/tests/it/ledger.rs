//! The file: who may open it, who may read it, and what it remembers.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;

use probabilistic_ticket::ledger::{LaneState, NONCE_WINDOW};
use probabilistic_ticket::{LedgerError, Reason, SqliteLedger};
use proptest::prelude::*;
use sqlx::{ConnectOptions, Executor};
use tempfile::TempDir;

use crate::common::World;

#[tokio::test]
async fn second_opening_of_one_file_is_refused_until_the_first_is_closed() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("ledger.db");
    let first = SqliteLedger::open(&path).await.unwrap();
    let second = SqliteLedger::open(&path).await;
    assert!(matches!(&second, Err(LedgerError::Locked(_))), "{second:?}");
    first.close().await;
    SqliteLedger::open(&path).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ledger_of_a_living_process_is_refused_to_a_second() {
    let dir = TempDir::new().unwrap();
    let mut child = crate::kill::start_child(dir.path());
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut lines = output.lines();
    lines.find(|line| line.as_ref().unwrap().starts_with("ack")).unwrap().unwrap();
    let second = SqliteLedger::open(dir.path().join("recipient.db")).await;
    let audit = SqliteLedger::inspect(dir.path().join("recipient.db")).await.unwrap().audit().await.unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(matches!(&second, Err(LedgerError::Locked(_))), "{second:?}");
    assert!(audit.is_clean(), "it may be looked at: {audit:#?}");
    SqliteLedger::open(dir.path().join("recipient.db")).await.unwrap();
}

#[tokio::test]
async fn every_file_of_a_ledger_is_for_its_owner_only() {
    let world = World::new().await;
    world.params().await;
    let mut seen = 0;
    for entry in std::fs::read_dir(world.dir.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", entry.path().display());
        seen += 1;
    }
    assert!(seen >= 3, "database, journal and lock");
}

#[tokio::test]
async fn file_of_a_newer_program_is_refused() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("ledger.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    options.connect().await.unwrap().execute("PRAGMA user_version = 99").await.unwrap();
    let opened = SqliteLedger::open(&path).await;
    assert!(matches!(opened, Err(LedgerError::TooNew { found: 99, .. })), "{opened:?}");
    let read = SqliteLedger::inspect(&path).await.map(drop);
    assert!(matches!(read, Err(LedgerError::TooNew { found: 99, .. })), "{read:?}");
}

proptest! {
    #[test]
    fn lane_takes_each_nonce_once_and_all_near_ones(steps in proptest::collection::vec((0_u64..3000, any::<bool>()), 1..400)) {
        let mut lane = LaneState::default();
        let mut taken = HashSet::new();
        for (step, back) in steps {
            let nonce = if back { lane.highest.saturating_sub(step) } else { lane.highest + step };
            let fresh = nonce > 0 && !taken.contains(&nonce);
            let near = nonce > lane.highest || lane.highest - nonce < NONCE_WINDOW;
            let verdict = lane.admit(nonce, 2000);
            if nonce > lane.highest {
                prop_assert_eq!(verdict, Err(Reason::NonceJump));
            } else {
                prop_assert_eq!(verdict.is_ok(), fresh && near, "nonce {}", nonce);
            }
            if verdict.is_ok() {
                taken.insert(nonce);
            }
        }
    }

    #[test]
    fn revealed_lane_takes_nothing_at_or_below_what_it_saw(seen in 1_u64..5000, later in 0_u64..5000) {
        let mut lane = LaneState::default();
        lane.admit(seen, 5000).unwrap();
        lane.rotate(0);
        lane.retire();
        prop_assert_eq!(lane.admit(later, 5000).is_ok(), later > seen);
    }
}
