//! Winners become money once each, whatever happens in between.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use alloy_primitives::{Address, B256};
use async_trait::async_trait;
use probabilistic_ticket::ledger::{DeadReason, WinnerState};
use probabilistic_ticket::memory::MemoryBroker;
use probabilistic_ticket::{
    Broker, BrokerError, BrokerView, ChainView, Ledger, LedgerError, PreparedRedemption, Reason,
    RedeemPolicy, Redeemer, Round, SenderFunds, TicketResult, TxStatus, Wei, WinningTicket,
};
use tokio::sync::Notify;

use super::common::{SESSION, TICKET, World, key, payment, recipient_config, refusal};

async fn winning_world() -> World {
    World::with(recipient_config(true)).await
}

fn redeemer(world: &World, broker: Arc<dyn Broker>) -> Redeemer {
    let policy = RedeemPolicy { confirmations: 3, ..RedeemPolicy::default() };
    Redeemer::new(policy, Arc::new(world.ledger.clone()), broker, world.clock.clone())
}

async fn states(world: &World) -> Vec<WinnerState> {
    let winners = world.ledger.winners_of(key("sender").address(), 1000).await.unwrap();
    winners.iter().map(|winner| winner.state).collect()
}

fn paid_nonces(world: &World) -> Vec<u64> {
    world.broker.paid().iter().map(|(_, nonce)| *nonce).collect()
}

/// Turns and blocks until nothing changes any more.
async fn finish(world: &World) {
    let redeemer = redeemer(world, world.broker.clone());
    for _ in 0..12 {
        redeemer.flush().await.unwrap();
        world.broker.mine();
    }
    redeemer.turn().await.unwrap();
}

#[tokio::test]
async fn winners_are_paid_and_final_after_confirmations() {
    let world = winning_world().await;
    let params = world.params().await;
    world.pay(&params, &[1, 2, 3], 0).await.unwrap();
    let redeemer = redeemer(&world, world.broker.clone());
    let report = redeemer.flush().await.unwrap();
    assert_eq!((report.sent, report.submitted), (1, 3));
    world.broker.mine();
    world.broker.mine();
    assert_eq!(redeemer.turn().await.unwrap().paid, 0);
    world.broker.mine();
    let report = redeemer.turn().await.unwrap();
    assert_eq!((report.paid, report.paid_value), (3, Wei::from(3 * TICKET)));
    assert_eq!(paid_nonces(&world), [1, 2, 3]);
}

#[tokio::test]
async fn winners_that_nobody_pays_do_not_hide_those_behind_them() {
    let world = winning_world().await;
    let mut payers = [key("one"), key("another")];
    payers.sort_by_key(|payer| payer.address());
    let rich = SenderFunds { deposit: Wei::new(u128::MAX), ..SenderFunds::default() };
    for (payer, batches) in payers.iter().zip([9, 1]) {
        let session = B256::left_padding_from(payer.address().as_slice());
        world.broker.fund(payer.address(), rich);
        let params = world.recipient.open_session(payer.address(), session).await.unwrap();
        for batch in 0..batches {
            let nonces: Vec<u64> = (1..=128).map(|nonce| batch * 128 + nonce).collect();
            world.recipient.accept(session, &payment(&params, payer, &nonces), Wei::ZERO).await.unwrap();
        }
    }
    world.broker.fund(payers[0].address(), SenderFunds::default());
    let redeemer = redeemer(&world, world.broker.clone());
    for _ in 0..8 {
        redeemer.flush().await.unwrap();
        world.broker.mine();
    }
    let funded = world.ledger.winners_of(payers[1].address(), 1000).await.unwrap();
    assert!(
        funded.iter().any(|winner| winner.is_paid()),
        "winners of the second sender were never looked at"
    );
}

#[tokio::test]
async fn winners_that_arrived_out_of_order_are_redeemed_in_nonce_order() {
    let world = winning_world().await;
    let params = world.params().await;
    for nonce in [5, 2, 9, 3] {
        world.pay(&params, &[nonce], 0).await.unwrap();
    }
    finish(&world).await;
    assert_eq!(paid_nonces(&world), [2, 3, 5, 9]);
}

#[tokio::test]
async fn lane_has_one_transaction_at_a_time() {
    let world = winning_world().await;
    let params = world.params().await;
    world.pay(&params, &[1], 0).await.unwrap();
    let redeemer = redeemer(&world, world.broker.clone());
    redeemer.flush().await.unwrap();
    let fresh = world.recipient.params(SESSION).await.unwrap();
    world.pay(&fresh, &[2], 0).await.unwrap();
    assert_eq!(redeemer.flush().await.unwrap().sent, 0);
    assert_eq!(world.broker.waiting(), 1);
    finish(&world).await;
    assert_eq!(paid_nonces(&world), [1, 2]);
}

#[tokio::test]
async fn sender_that_pays_during_the_grace_has_no_ticket_refused() {
    let world = winning_world().await;
    let old = world.params().await;
    let nonces: Vec<_> = (1..=10).collect();
    world.pay(&old, &nonces, 0).await.unwrap();
    let redeemer = redeemer(&world, world.broker.clone());
    assert_eq!(redeemer.turn().await.unwrap().sent, 0, "the secret retires first");

    let accepted = world.pay(&old, &[11], 0).await.unwrap();
    assert_eq!((accepted.tickets, accepted.refused), (1, vec![]));
    let fresh = world.recipient.params(SESSION).await.unwrap();
    world.pay(&fresh, &[12], 0).await.unwrap();
    let report = redeemer.turn().await.unwrap();
    assert_eq!((report.sent, report.submitted), (1, 11), "the sender has gone on: no need to wait longer");
    finish(&world).await;
    assert_eq!(paid_nonces(&world), (1..=12).collect::<Vec<_>>());
}

#[tokio::test]
async fn sender_that_pays_no_more_delays_redemption_by_the_grace_only() {
    let world = winning_world().await;
    let params = world.params().await;
    let nonces: Vec<_> = (1..=10).collect();
    world.pay(&params, &nonces, 0).await.unwrap();
    let redeemer = redeemer(&world, world.broker.clone());
    assert_eq!(redeemer.turn().await.unwrap().submitted, 0);
    world.clock.advance(RedeemPolicy::default().grace_ms);
    assert_eq!(redeemer.turn().await.unwrap().submitted, 10);
}

#[tokio::test]
async fn redemption_unmined_by_a_reorganization_is_redeemed_again() {
    let world = winning_world().await;
    let params = world.params().await;
    world.pay(&params, &[1, 2], 0).await.unwrap();
    let redeemer = redeemer(&world, world.broker.clone());
    redeemer.flush().await.unwrap();
    world.broker.mine();
    redeemer.turn().await.unwrap();
    world.broker.reorganize(1);
    assert_eq!(paid_nonces(&world), [] as [u64; 0]);
    finish(&world).await;
    assert_eq!(paid_nonces(&world), [1, 2]);
    assert!(states(&world).await.iter().all(|state| matches!(state, WinnerState::Paid(_))));
}

#[tokio::test]
async fn transaction_that_the_pool_forgot_is_sent_again_as_it_was() {
    let world = winning_world().await;
    let params = world.params().await;
    world.pay(&params, &[1], 0).await.unwrap();
    redeemer(&world, world.broker.clone()).flush().await.unwrap();
    let before = states(&world).await;
    world.broker.forget_pool();
    redeemer(&world, world.broker.clone()).turn().await.unwrap();
    assert_eq!(world.broker.waiting(), 1);
    assert_eq!(states(&world).await, before);
    finish(&world).await;
    assert_eq!(paid_nonces(&world), [1]);
}

#[tokio::test]
async fn transaction_that_can_never_be_mined_is_replaced() {
    let world = winning_world().await;
    let params = world.params().await;
    world.pay(&params, &[1], 0).await.unwrap();
    redeemer(&world, world.broker.clone()).flush().await.unwrap();
    world.broker.spend_account_nonce();
    finish(&world).await;
    assert_eq!(paid_nonces(&world), [1]);
}

#[tokio::test]
async fn poisoned_ticket_is_skipped_and_blocks_nobody() {
    let world = winning_world().await;
    let params = world.params().await;
    world.pay(&params, &[1, 2, 3], 0).await.unwrap();
    world.broker.poison(2);
    let redeemer = redeemer(&world, world.broker.clone());
    for _ in 0..40 {
        redeemer.flush().await.unwrap();
        world.broker.mine();
    }
    assert_eq!(paid_nonces(&world), [1, 3]);
    assert_eq!(states(&world).await[1], WinnerState::Dead(DeadReason::Poisoned));
}

#[tokio::test]
async fn unfunded_winners_wait_for_a_top_up() {
    let world = winning_world().await;
    let params = world.params().await;
    world.pay(&params, &[1, 2], 0).await.unwrap();
    let sender = key("sender").address();
    world.broker.fund(sender, SenderFunds { deposit: Wei::from(TICKET), ..SenderFunds::default() });
    finish(&world).await;
    assert_eq!(paid_nonces(&world), [1]);
    world.broker.fund(sender, SenderFunds { deposit: Wei::from(TICKET), ..SenderFunds::default() });
    finish(&world).await;
    assert_eq!(paid_nonces(&world), [1, 2]);
}

#[tokio::test]
async fn expired_winners_are_given_up() {
    let world = winning_world().await;
    let params = world.params().await;
    world.pay(&params, &[1], 0).await.unwrap();
    world.broker.set_round(Round(4));
    finish(&world).await;
    assert_eq!(states(&world).await, [WinnerState::Dead(DeadReason::Expired)]);
    assert_eq!(paid_nonces(&world), [] as [u64; 0]);
}

#[tokio::test]
async fn chain_that_is_away_ends_the_turn_and_loses_nothing() {
    let world = winning_world().await;
    let params = world.params().await;
    world.pay(&params, &[1], 0).await.unwrap();
    world.broker.set_online(false);
    assert!(redeemer(&world, world.broker.clone()).flush().await.is_err());
    world.broker.set_online(true);
    finish(&world).await;
    assert_eq!(paid_nonces(&world), [1]);
}

/// Calls of the chain after which a process dies: before the call is made, or after it took effect.
struct DyingBroker {
    inner: Arc<MemoryBroker>,
    left: AtomicUsize,
    after: bool,
    died: Notify,
}

impl DyingBroker {
    async fn call<T>(&self, call: impl Future<Output = T> + Send) -> T {
        let dies = self.left.fetch_sub(1, Ordering::SeqCst) == 0;
        if dies && !self.after {
            self.die().await;
        }
        let outcome = call.await;
        if dies {
            self.die().await;
        }
        outcome
    }

    async fn die(&self) {
        self.died.notify_one();
        pending::<()>().await;
    }
}

#[async_trait]
impl BrokerView for DyingBroker {
    async fn chain(&self) -> Result<ChainView, BrokerError> {
        self.call(self.inner.chain()).await
    }

    async fn funds(&self, sender: Address, claimant: Address) -> Result<SenderFunds, BrokerError> {
        self.call(self.inner.funds(sender, claimant)).await
    }
}

#[async_trait]
impl Broker for DyingBroker {
    async fn lane_nonce(&self, sender: Address, lane: u64) -> Result<u64, BrokerError> {
        self.call(self.inner.lane_nonce(sender, lane)).await
    }

    async fn rehearse(&self, tickets: &[WinningTicket]) -> Result<Vec<TicketResult>, BrokerError> {
        self.call(self.inner.rehearse(tickets)).await
    }

    async fn prepare(&self, tickets: &[WinningTicket]) -> Result<PreparedRedemption, BrokerError> {
        self.call(self.inner.prepare(tickets)).await
    }

    async fn send(&self, prepared: &PreparedRedemption) -> Result<(), BrokerError> {
        self.call(self.inner.send(prepared)).await
    }

    async fn replacement(
        &self,
        slow: &PreparedRedemption,
    ) -> Result<Option<PreparedRedemption>, BrokerError> {
        self.call(self.inner.replacement(slow)).await
    }

    async fn status(&self, prepared: &PreparedRedemption) -> Result<TxStatus, BrokerError> {
        self.call(self.inner.status(prepared)).await
    }
}

/// Runs turns and blocks until the broker's process dies; false when it outlived them all.
async fn die_at(world: &World, call: usize, after: bool) -> bool {
    let broker = Arc::new(DyingBroker {
        inner: world.broker.clone(),
        left: AtomicUsize::new(call),
        after,
        died: Notify::new(),
    });
    let redeemer = redeemer(world, broker.clone());
    let life = async {
        for _ in 0..5 {
            redeemer.flush().await.unwrap();
            // The first turn's transactions are slow and get replaced.
            world.clock.advance(RedeemPolicy::default().bump_after_ms);
            redeemer.flush().await.unwrap();
            world.broker.mine();
        }
    };
    tokio::select! {
        () = life => false,
        () = broker.died.notified() => true,
    }
}

#[tokio::test]
async fn death_at_any_call_of_the_chain_pays_every_winner_once() {
    let mut deaths = 0;
    for after in [false, true] {
        for call in 0.. {
            let mut world = winning_world().await;
            let params = world.params().await;
            world.pay(&params, &[1, 2], 0).await.unwrap();
            let other = B256::repeat_byte(2);
            let second = world.recipient.open_session(key("sender").address(), other).await.unwrap();
            let bytes = payment(&second, &key("sender"), &[1]);
            world.recipient.accept(other, &bytes, Wei::ZERO).await.unwrap();
            if !die_at(&world, call, after).await {
                break;
            }
            deaths += 1;
            world.restart().await;
            finish(&world).await;
            let mut paid = world.broker.paid();
            assert_eq!(paid.len(), 3, "died at call {call}, after: {after}");
            paid.dedup();
            assert_eq!(paid.len(), 3, "died at call {call}, after: {after}");
            let states = states(&world).await;
            assert!(states.iter().all(|state| matches!(state, WinnerState::Paid(_))), "{states:?}");
        }
    }
    assert!(deaths >= 14, "only {deaths} points of death were reached");
}

/// One winner on its way, not mined.
async fn waiting_world() -> World {
    let world = winning_world().await;
    let params = world.params().await;
    world.pay(&params, &[1], 0).await.unwrap();
    redeemer(&world, world.broker.clone()).flush().await.unwrap();
    world
}

async fn newest(world: &World) -> B256 {
    world.ledger.submissions().await.unwrap()[0].newest().tx
}

#[tokio::test]
async fn slow_redemption_is_replaced_by_one_that_offers_more_and_paid_once() {
    let world = waiting_world().await;
    let redeemer = redeemer(&world, world.broker.clone());
    let first = newest(&world).await;
    redeemer.turn().await.unwrap();
    assert_eq!(world.broker.waiting_hashes(), [first], "it has not waited long");
    world.clock.advance(RedeemPolicy::default().bump_after_ms);
    redeemer.turn().await.unwrap();
    let second = newest(&world).await;
    assert_ne!(second, first);
    assert_eq!(world.broker.waiting_hashes(), [second], "never two for one ticket");
    finish(&world).await;
    assert_eq!(paid_nonces(&world), [1]);
    assert_eq!(states(&world).await, [WinnerState::Paid(second)]);
    assert!(world.ledger.submissions().await.unwrap().is_empty());
}

#[tokio::test]
async fn older_version_that_was_mined_after_all_counts() {
    let world = waiting_world().await;
    let redeemer = redeemer(&world, world.broker.clone());
    let first = newest(&world).await;
    world.broker.mine();
    world.broker.reorganize(1);
    world.clock.advance(RedeemPolicy::default().bump_after_ms);
    let live = world.ledger.submissions().await.unwrap().remove(0);
    // The newer version is on disk, the older one in the block: a crash between the two.
    let raised = world.broker.replacement(&live.prepared).await.unwrap().unwrap();
    world.ledger.replace(first, raised, 0).await.unwrap();
    world.broker.send(&live.prepared).await.unwrap();
    for _ in 0..3 {
        world.broker.mine();
    }
    assert_eq!(redeemer.turn().await.unwrap().paid, 1);
    assert_eq!(states(&world).await, [WinnerState::Paid(first)]);
}

#[tokio::test]
async fn redemption_at_the_highest_fee_waits() {
    let world = waiting_world().await;
    let redeemer = redeemer(&world, world.broker.clone());
    world.broker.set_replacements(2);
    for _ in 0..5 {
        world.clock.advance(RedeemPolicy::default().bump_after_ms);
        redeemer.turn().await.unwrap();
    }
    assert_eq!(world.ledger.submissions().await.unwrap()[0].replacements.len(), 2);
    finish(&world).await;
    assert_eq!(paid_nonces(&world), [1]);
}

#[tokio::test]
async fn restart_knows_every_version_of_a_redemption() {
    let mut world = waiting_world().await;
    world.clock.advance(RedeemPolicy::default().bump_after_ms);
    redeemer(&world, world.broker.clone()).turn().await.unwrap();
    let before = world.ledger.submissions().await.unwrap();
    world.restart().await;
    assert_eq!(world.ledger.submissions().await.unwrap(), before);
    assert_eq!(before[0].replacements.len(), 1);
    finish(&world).await;
    assert_eq!(paid_nonces(&world), [1]);
}

#[tokio::test]
async fn version_of_an_unknown_redemption_is_not_stored() {
    let world = waiting_world().await;
    let live = world.ledger.submissions().await.unwrap().remove(0);
    let refused = world.ledger.replace(B256::repeat_byte(9), live.prepared, 0).await;
    assert!(matches!(refused, Err(LedgerError::NoSubmission(_))), "{refused:?}");
}

#[tokio::test]
async fn clock_alone_sends_what_is_due_and_asks_nothing_of_what_was_sent() {
    let world = winning_world().await;
    let params = world.params().await;
    world.pay(&params, &[1], 0).await.unwrap();
    let redeemer = redeemer(&world, world.broker.clone());
    world.clock.advance(RedeemPolicy::default().max_wait_ms);
    assert_eq!(redeemer.tick().await.unwrap().sent, 0, "the secret retires first");
    world.clock.advance(RedeemPolicy::default().grace_ms);
    assert_eq!(redeemer.tick().await.unwrap().sent, 1);
    for _ in 0..3 {
        world.broker.mine();
    }
    assert_eq!(redeemer.tick().await.unwrap().paid, 0);
    assert_eq!(redeemer.turn().await.unwrap().paid, 1);
}

#[tokio::test]
async fn secret_is_retired_before_its_redemption_is_prepared() {
    const PREPARE: usize = 4; // after round, lane nonce, funds and rehearsal
    let world = winning_world().await;
    let params = world.params().await;
    world.pay(&params, &[1], TICKET).await.unwrap();
    assert!(die_at(&world, PREPARE, false).await);
    assert_eq!(states(&world).await, [WinnerState::Pending]);
    assert_eq!(refusal(world.pay(&params, &[2], TICKET).await).reason, Reason::ParamsRevealed);
}
