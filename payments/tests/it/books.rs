//! What every store remembers, and who may have it.

use alloy_primitives::B256;
use probabilistic_ticket::{Ledger, LedgerError, Wei};
use tempfile::TempDir;

use super::common::{self, SESSION, TICKET, World};
use super::store;

#[tokio::test]
async fn secret_is_made_once() {
    let dir = TempDir::new().unwrap();
    let ledger = store::open(dir.path(), "ledger").await;
    let secret = ledger.secret().await.unwrap();
    ledger.close().await;
    let again = store::open(dir.path(), "ledger").await;
    assert_eq!(again.secret().await.unwrap(), secret);
    assert_ne!(secret, [0; 32]);
}

#[tokio::test]
async fn closed_ledger_says_so() {
    let dir = TempDir::new().unwrap();
    let ledger = store::open(dir.path(), "ledger").await;
    ledger.close().await;
    assert_eq!(ledger.secret().await, Err(LedgerError::Closed));
}

#[tokio::test]
async fn many_concurrent_payments_are_all_credited_once() {
    let mut world = World::new().await;
    let params = world.params().await;
    let payments = (1..=200_u64).map(|nonce| {
        let recipient = world.recipient.clone();
        let bytes = common::payment(&params, &common::key("sender"), &[nonce]);
        tokio::spawn(async move { recipient.accept(SESSION, &bytes, Wei::ZERO).await })
    });
    for payment in payments.collect::<Vec<_>>() {
        payment.await.unwrap().unwrap();
    }
    world.restart().await;
    assert_eq!(world.recipient.credit(SESSION).await.unwrap(), Wei::from(200 * TICKET));
}

#[tokio::test]
async fn call_on_a_malformed_row_fails_and_its_neighbours_do_not() {
    let mut world = World::new().await;
    let params = world.params().await;
    let broken = B256::repeat_byte(7);
    world.recipient.open_session(common::key("sender").address(), broken).await.unwrap();
    world.ledger.close().await;
    let sql = format!("UPDATE sessions SET credit = sender WHERE lane <> {}", params.lane);
    assert_eq!(store::tamper(world.dir.path(), "recipient", &sql).await, 1);
    world.restart().await;
    let (ledger, recipient) = (world.ledger.clone(), world.recipient.clone());
    let bytes = common::payment(&params, &common::key("sender"), &[1]);
    // In one thread, so that they queue before the writer runs and share its group.
    let (malformed, accepted, again) = tokio::join!(
        ledger.session(broken),
        recipient.accept(SESSION, &bytes, Wei::ZERO),
        ledger.settle(broken, Wei::ZERO, Wei::ZERO)
    );
    assert_eq!(malformed, Err(LedgerError::Corrupt("credit")));
    assert_eq!(again, Err(LedgerError::Corrupt("credit")));
    assert_eq!(accepted.unwrap().tickets, 1);
}
