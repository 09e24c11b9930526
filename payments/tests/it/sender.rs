//! What a sender pays, and what it refuses to.

use alloy_primitives::{Address, B256};
use probabilistic_ticket::ledger::SpendingLimit;
use probabilistic_ticket::{
    Domain, LedgerError, Reason, Round, Sender, SenderConfig, SenderError, SenderFunds, SenderSession,
    TicketBatch, TicketParams, Wei, WorkOutcome,
};

use super::common::{ETHER, SESSION, TICKET, World, domain, key, sender_session};
use super::store;

async fn refusal(tamper: impl FnOnce(&mut TicketParams)) -> SenderError {
    let (_world, sender, mut params) = paying().await;
    tamper(&mut params);
    sender.pay(SESSION, &params, Wei::from(TICKET)).await.unwrap_err()
}

/// Pays under changed caps; names the limit that stood against it.
async fn limit(change: impl FnOnce(&mut SenderConfig), cost: u64) -> SpendingLimit {
    let world = World::new().await;
    let mut config = SenderConfig::new(domain());
    change(&mut config);
    let ledger = store::open(world.dir.path(), "sender").await;
    let sender = world.sender_on(ledger, config).await;
    let params = world.params().await;
    match sender.pay(SESSION, &params, Wei::from(cost)).await {
        Err(SenderError::Ledger(LedgerError::Limit { limit, .. })) => limit,
        other => panic!("wanted a limit, got {other:?}"),
    }
}

/// A sender with a session that is open on both sides, and parameters to pay with.
async fn paying() -> (World, Sender, TicketParams) {
    let world = World::new().await;
    let sender = world.sender().await;
    let params = world.params().await;
    (world, sender, params)
}

#[tokio::test]
async fn payment_covers_the_cost_and_is_accepted() {
    let (world, sender, params) = paying().await;
    let cost = Wei::from(2 * TICKET + 1);
    let payment = sender.pay(SESSION, &params, cost).await.unwrap();
    assert_eq!((payment.tickets, payment.value), (3, Wei::from(3 * TICKET)));
    let accepted = world.recipient.accept(SESSION, &payment.bytes, cost).await.unwrap();
    assert_eq!(accepted.credit, Wei::from(TICKET - 1));
}

#[tokio::test]
async fn credit_left_over_pays_for_the_next_segment() {
    let (world, sender, params) = paying().await;
    let half = Wei::from(TICKET / 2);
    let first = sender.pay(SESSION, &params, half).await.unwrap();
    let second = sender.pay(SESSION, &params, half).await.unwrap();
    assert_eq!((first.tickets, second.tickets), (1, 0));
    world.recipient.accept(SESSION, &first.bytes, half).await.unwrap();
    world.recipient.accept(SESSION, &second.bytes, half).await.unwrap();
}

#[tokio::test]
async fn work_not_done_is_not_paid_twice() {
    let (_world, sender, params) = paying().await;
    let cost = Wei::from(TICKET);
    sender.pay(SESSION, &params, cost).await.unwrap();
    sender.record(SESSION, cost, WorkOutcome::NotDone).await.unwrap();
    assert_eq!(sender.pay(SESSION, &params, cost).await.unwrap().tickets, 0);
}

#[tokio::test]
async fn refused_tickets_are_made_anew_with_fresh_nonces() {
    let (_world, sender, params) = paying().await;
    let cost = Wei::from(TICKET);
    let first = sender.pay(SESSION, &params, cost).await.unwrap();
    sender.record(SESSION, cost, WorkOutcome::Refused(first.value)).await.unwrap();
    let second = sender.pay(SESSION, &params, cost).await.unwrap();
    assert_eq!(TicketBatch::decode(&second.bytes).unwrap().tickets[0].nonce, 2);
}

#[tokio::test]
async fn credit_that_the_recipient_denies_is_paid_anew() {
    let (_world, sender, params) = paying().await;
    let cost = Wei::from(TICKET);
    sender.pay(SESSION, &params, cost).await.unwrap();
    sender.record(SESSION, cost, WorkOutcome::NotDone).await.unwrap();
    assert_eq!(sender.pay(SESSION, &params, cost).await.unwrap().tickets, 0);
    let state = sender.record(SESSION, cost, WorkOutcome::NoCredit).await.unwrap();
    assert_eq!(state.written_off, Wei::from(TICKET));
    assert_eq!(sender.pay(SESSION, &params, cost).await.unwrap().tickets, 1);
}

#[tokio::test]
async fn credit_that_work_in_progress_holds_is_not_written_off() {
    let (_world, sender, params) = paying().await;
    let cost = Wei::from(TICKET);
    sender.pay(SESSION, &params, cost).await.unwrap();
    sender.pay(SESSION, &params, cost).await.unwrap();
    let state = sender.record(SESSION, cost, WorkOutcome::NoCredit).await.unwrap();
    assert_eq!((state.ordered, state.written_off), (cost, cost));
}

#[tokio::test]
async fn closed_session_says_what_it_came_to() {
    let (_world, sender, params) = paying().await;
    sender.pay(SESSION, &params, Wei::from(TICKET)).await.unwrap();
    assert_eq!(sender.close_session(SESSION).await.unwrap().paid, Wei::from(TICKET));
    assert_eq!(sender.close_session(SESSION).await.unwrap().paid, Wei::ZERO);
}

#[tokio::test]
async fn no_nonce_is_used_twice_across_a_restart() {
    let world = World::new().await;
    let params = world.params().await;
    let mut nonces = Vec::new();
    for _ in 0..3 {
        let ledger = store::open(world.dir.path(), "sender").await;
        let sender = world.sender_on(ledger.clone(), SenderConfig::new(domain())).await;
        let payment = sender.pay(SESSION, &params, Wei::from(2 * TICKET)).await.unwrap();
        nonces.extend(TicketBatch::decode(&payment.bytes).unwrap().tickets.iter().map(|ticket| ticket.nonce));
        ledger.close().await;
    }
    assert_eq!(nonces, [1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn sender_with_a_lost_ledger_continues_above_the_floor() {
    let world = World::new().await;
    let params = world.params().await;
    world.pay(&params, &[41], 0).await.unwrap();
    let sender = world.sender().await;
    let fresh = world.recipient.params(SESSION).await.unwrap();
    let payment = sender.pay(SESSION, &fresh, Wei::from(TICKET)).await.unwrap();
    assert_eq!(TicketBatch::decode(&payment.bytes).unwrap().tickets[0].nonce, 42);
}

#[tokio::test]
async fn concurrent_payments_use_distinct_nonces() {
    let (_world, sender, params) = paying().await;
    let payments = (0..16).map(|_| {
        let sender = sender.clone();
        tokio::spawn(async move { sender.pay(SESSION, &params, Wei::from(TICKET)).await.unwrap() })
    });
    let mut nonces = Vec::new();
    for payment in payments.collect::<Vec<_>>() {
        let batch = TicketBatch::decode(&payment.await.unwrap().bytes).unwrap();
        nonces.extend(batch.tickets.iter().map(|ticket| ticket.nonce));
    }
    nonces.sort_unstable();
    assert_eq!(nonces, (1..=16).collect::<Vec<_>>());
}

#[tokio::test]
async fn refuses_unknown_recipient() {
    let error = refusal(|params| params.recipient = Address::repeat_byte(9)).await;
    assert!(matches!(error, SenderError::Params(Reason::WrongRecipient)), "{error}");
}

#[tokio::test]
async fn refuses_wrong_domain() {
    let error = refusal(|params| params.domain = Domain::new(1, Address::ZERO)).await;
    assert!(matches!(error, SenderError::Params(Reason::WrongDomain)), "{error}");
}

#[tokio::test]
async fn refuses_parameters_for_another_sender_or_session() {
    let error = refusal(|params| params.sender = Address::repeat_byte(9)).await;
    assert!(matches!(error, SenderError::Params(Reason::WrongSender)), "{error}");
    let error = refusal(|params| params.session = B256::repeat_byte(9)).await;
    assert!(matches!(error, SenderError::Params(Reason::WrongLane)), "{error}");
}

#[tokio::test]
async fn refuses_expired_parameters() {
    let error = refusal(|params| params.expires = Round(0)).await;
    assert!(matches!(error, SenderError::Expired { .. }), "{error}");
}

#[tokio::test]
async fn refuses_face_value_above_deposit_over_multiplier() {
    let error = refusal(|params| params.face_value = Wei::from(ETHER + 1)).await;
    assert!(matches!(error, SenderError::FaceValue { bound, .. } if bound == Wei::from(ETHER)), "{error}");
}

#[tokio::test]
async fn refuses_tickets_worth_nothing_or_above_the_cap() {
    let error = refusal(|params| params.win_prob = Default::default()).await;
    assert!(matches!(error, SenderError::TicketValue { .. }), "{error}");
    let error = refusal(|params| params.win_prob = probabilistic_ticket::WinProb::MAX).await;
    assert!(matches!(error, SenderError::TicketValue { .. }), "{error}");
}

#[tokio::test]
async fn refuses_a_nonce_floor_at_the_end_of_the_lane() {
    let error = refusal(|params| params.nonce_floor = u64::MAX).await;
    assert!(matches!(error, SenderError::Ledger(LedgerError::NoncesExhausted(..))), "{error}");
}

#[tokio::test]
async fn session_cap_holds() {
    let cap = |config: &mut SenderConfig| config.caps.session = Wei::from(2 * TICKET);
    assert_eq!(limit(cap, 3 * TICKET).await, SpendingLimit::Session);
}

#[tokio::test]
async fn stream_cap_holds_for_an_hour_across_sessions() {
    let world = World::new().await;
    let mut config = SenderConfig::new(domain());
    config.caps.stream_hour = Wei::from(2 * TICKET);
    let ledger = store::open(world.dir.path(), "sender").await;
    let sender = world.sender_on(ledger, config).await;
    let params = world.params().await;
    sender.pay(SESSION, &params, Wei::from(2 * TICKET)).await.unwrap();

    let other = SenderSession { id: B256::repeat_byte(2), ..sender_session() };
    sender.open_session(other).await.unwrap();
    let params = world.recipient.open_session(key("sender").address(), other.id).await.unwrap();
    let error = sender.pay(other.id, &params, Wei::from(TICKET)).await.unwrap_err();
    assert!(error.to_string().contains("value per stream and hour"), "{error}");
    world.clock.advance(61 * 60_000);
    sender.pay(other.id, &params, Wei::from(TICKET)).await.unwrap();
}

#[tokio::test]
async fn deposit_cap_holds_until_a_top_up() {
    let world = World::new().await;
    let mut config = SenderConfig::new(domain());
    config.caps.deposit_share_ppm = 1;
    let ledger = store::open(world.dir.path(), "sender").await;
    let sender = world.sender_on(ledger, config).await;
    let params = world.params().await;
    // A millionth of ten ether is ten tickets.
    sender.pay(SESSION, &params, Wei::from(10 * TICKET)).await.unwrap();
    let error = sender.pay(SESSION, &params, Wei::from(TICKET)).await.unwrap_err();
    assert!(error.to_string().contains("value per deposit"), "{error}");
    let topped_up = SenderFunds { deposit: Wei::from(11 * ETHER), ..SenderFunds::default() };
    world.broker.fund(sender.address(), topped_up);
    sender.refresh().await.unwrap();
    sender.pay(SESSION, &params, Wei::from(TICKET)).await.unwrap();
}

#[tokio::test]
async fn payment_of_too_many_tickets_is_refused() {
    assert_eq!(limit(|_| {}, 129 * TICKET).await, SpendingLimit::Tickets);
}

#[tokio::test]
async fn unverified_work_is_bounded_and_verification_lifts_it() {
    let world = World::new().await;
    let sender = world.sender().await;
    let bound = SenderSession { max_outstanding: Wei::from(TICKET), ..sender_session() };
    sender.open_session(bound).await.unwrap();
    let params = world.params().await;
    let cost = Wei::from(TICKET);
    sender.pay(SESSION, &params, cost).await.unwrap();
    sender.pay(SESSION, &params, cost).await.unwrap();
    let error = sender.pay(SESSION, &params, cost).await.unwrap_err();
    assert!(error.to_string().contains("unverified work"), "{error}");
    sender.record(SESSION, cost, WorkOutcome::Verified).await.unwrap();
    sender.pay(SESSION, &params, cost).await.unwrap();
}

#[tokio::test]
async fn recipient_that_keeps_refusing_tickets_gets_no_more() {
    let world = World::new().await;
    let sender = world.sender().await;
    let bound = SenderSession { max_outstanding: Wei::from(2 * TICKET), ..sender_session() };
    sender.open_session(bound).await.unwrap();
    let params = world.params().await;
    let cost = Wei::from(TICKET);
    for _ in 0..4 {
        let payment = sender.pay(SESSION, &params, cost).await.unwrap();
        sender.record(SESSION, cost, WorkOutcome::Refused(payment.value)).await.unwrap();
    }
    let error = sender.pay(SESSION, &params, cost).await.unwrap_err();
    assert!(error.to_string().contains("refused tickets"), "{error}");
}

#[tokio::test]
async fn payments_go_on_while_the_chain_is_away() {
    let (world, sender, params) = paying().await;
    world.broker.set_online(false);
    assert!(sender.refresh().await.is_err());
    sender.pay(SESSION, &params, Wei::from(TICKET)).await.unwrap();
}
