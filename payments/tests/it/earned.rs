//! What was earned, by hour and session, however much of the log has been folded.

use probabilistic_ticket::ledger::{DeadReason, Earned, Fate, Submission, Winner};
use probabilistic_ticket::{Ledger as _, PreparedRedemption, Wei};

use super::common::{SESSION, TICKET, World, key, recipient_address, recipient_config};
use super::store;

async fn earned(world: &World) -> Vec<Earned> {
    store::inspect(world.dir.path(), "recipient").await.unwrap().earned().await.unwrap()
}

/// Sums over hours: a test may run across the end of one.
fn total(of: &[Earned]) -> (u64, Wei, Wei) {
    of.iter().fold((0, Wei::ZERO, Wei::ZERO), |(tickets, value, charged), one| {
        let parties = (one.session, one.sender, one.recipient);
        assert_eq!(parties, (SESSION, key("sender").address(), recipient_address()));
        (tickets + one.tickets, value.saturating_add(one.value), charged.saturating_add(one.charged))
    })
}

#[tokio::test]
async fn accepted_tickets_and_the_work_they_paid_are_counted_once_however_the_log_is_folded() {
    let world = World::new().await;
    let params = world.params().await;
    let cost = Wei::from(TICKET / 2);
    world.pay(&params, &[1, 2], TICKET / 2).await.unwrap();
    world.recipient.settle(SESSION, cost, Wei::from(7)).await.unwrap();
    let expected = (2, Wei::from(2 * TICKET), Wei::from(7));
    assert_eq!(total(&earned(&world).await), expected);
    assert!(world.ledger.fold().await.unwrap() > 0);
    assert_eq!(total(&earned(&world).await), expected, "what was folded counts as before");

    world.pay(&params, &[3], 0).await.unwrap();
    let expected = (3, Wei::from(3 * TICKET), Wei::from(7));
    assert_eq!(total(&earned(&world).await), expected);
    world.ledger.close_session(SESSION).await.unwrap();
    assert!(world.ledger.fold().await.unwrap() > 0);
    assert_eq!(total(&earned(&world).await), expected, "an hour that was folded in two parts adds up");
}

#[tokio::test]
async fn a_winner_has_a_time_once_it_is_paid_or_dead() {
    let world = World::with(recipient_config(true)).await;
    let params = world.params().await;
    world.pay(&params, &[1, 2, 3], 0).await.unwrap();
    let pending = world.ledger.pending_winners(None, 9).await.unwrap();
    assert!(pending.iter().all(|winner| winner.settled_ms.is_none()));
    let prepared = PreparedRedemption { tx: SESSION, raw: vec![1] };
    let winners = vec![pending[0].id];
    world.ledger.submit(Submission { prepared, winners, offered_ms: 0 }).await.unwrap();
    world.ledger.conclude(SESSION, SESSION, &[(pending[0].id, Fate::Paid)]).await.unwrap();
    world.ledger.bury(&[(pending[1].id, DeadReason::Expired)]).await.unwrap();
    let all = store::inspect(world.dir.path(), "recipient").await.unwrap().winners(0).await.unwrap();
    let settled = |winner: &Winner| winner.settled_ms.is_some();
    assert_eq!(all.iter().map(settled).collect::<Vec<_>>(), [true, true, false]);
}
