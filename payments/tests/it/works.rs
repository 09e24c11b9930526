//! What is kept of a session beside its money, and who may vouch for a piece of its work.

use alloy_primitives::B256;
use probabilistic_ticket::{Ledger as _, LedgerError};

use super::common::{SESSION, World};

#[tokio::test]
async fn terms_are_kept_with_their_session_and_go_with_it() {
    let mut world = World::new().await;
    let unknown = world.ledger.keep_terms(SESSION, b"none".to_vec()).await;
    assert_eq!(unknown, Err(LedgerError::UnknownSession(SESSION)));
    world.params().await;
    assert_eq!(world.ledger.terms(SESSION).await.unwrap(), None);
    world.ledger.keep_terms(SESSION, b"first".to_vec()).await.unwrap();
    world.ledger.keep_terms(SESSION, b"second".to_vec()).await.unwrap();
    world.restart().await;
    assert_eq!(world.ledger.terms(SESSION).await.unwrap().as_deref(), Some(&b"second"[..]));
    assert_eq!(world.ledger.terms(B256::ZERO).await.unwrap(), None);
    world.ledger.close_session(SESSION).await.unwrap();
    assert_eq!(world.ledger.terms(SESSION).await.unwrap(), None);
    assert_eq!(world.ledger.vouch(SESSION, 0).await, Err(LedgerError::UnknownSession(SESSION)));
}

#[tokio::test]
async fn a_piece_of_work_is_vouched_for_once_even_after_a_restart() {
    let mut world = World::new().await;
    world.params().await;
    world.ledger.keep_terms(SESSION, Vec::new()).await.unwrap();
    assert!(!world.ledger.is_vouched(SESSION, 7).await.unwrap());
    assert!(world.ledger.vouch(SESSION, 7).await.unwrap());
    world.restart().await;
    assert!(world.ledger.is_vouched(SESSION, 7).await.unwrap());
    assert!(!world.ledger.vouch(SESSION, 7).await.unwrap());
    assert!(world.ledger.vouch(SESSION, 5).await.unwrap(), "segments overtake each other");
    world.ledger.keep_terms(SESSION, b"again".to_vec()).await.unwrap();
    assert!(!world.ledger.vouch(SESSION, 5).await.unwrap(), "new terms are no new start");
}

#[tokio::test]
async fn of_many_that_want_to_vouch_at_once_one_may() {
    let world = World::new().await;
    world.params().await;
    world.ledger.keep_terms(SESSION, Vec::new()).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let ledger = world.ledger.clone();
        tasks.spawn(async move { ledger.vouch(SESSION, 3).await.unwrap() });
    }
    let granted = tasks.join_all().await.into_iter().filter(|granted| *granted).count();
    assert_eq!(granted, 1);
}
