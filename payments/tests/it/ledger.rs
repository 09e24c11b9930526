//! The file: who may open it, who may read it, and what it remembers.

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt;

use probabilistic_ticket::ledger::{LaneState, NONCE_WINDOW};
use probabilistic_ticket::{Ledger, LedgerError, Reason, SqliteLedger, Wei};
use proptest::prelude::*;
use sqlx::{ConnectOptions, Executor};
use tempfile::TempDir;

use crate::common::{SESSION, TICKET, World};

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
    assert!(matches!(&opened, Err(LedgerError::Store(text)) if text.contains("newer")), "{opened:?}");
}

#[tokio::test]
async fn secret_is_made_once() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("ledger.db");
    let ledger = SqliteLedger::open(&path).await.unwrap();
    let secret = ledger.secret().await.unwrap();
    ledger.close().await;
    let again = SqliteLedger::open(&path).await.unwrap();
    assert_eq!(again.secret().await.unwrap(), secret);
    assert_ne!(secret, [0; 32]);
}

#[tokio::test]
async fn closed_ledger_says_so() {
    let dir = TempDir::new().unwrap();
    let ledger = SqliteLedger::open(dir.path().join("ledger.db")).await.unwrap();
    ledger.close().await;
    assert_eq!(ledger.secret().await, Err(LedgerError::Closed));
}

#[tokio::test]
async fn many_concurrent_payments_are_all_credited_once() {
    let mut world = World::new().await;
    let params = world.params().await;
    let payments = (1..=200_u64).map(|nonce| {
        let recipient = world.recipient.clone();
        let bytes = crate::common::payment(&params, &crate::common::key("sender"), &[nonce]);
        tokio::spawn(async move { recipient.accept(SESSION, &bytes, Wei::ZERO).await })
    });
    for payment in payments.collect::<Vec<_>>() {
        payment.await.unwrap().unwrap();
    }
    world.restart().await;
    assert_eq!(world.recipient.credit(SESSION).await.unwrap(), Wei::from(200 * TICKET));
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
