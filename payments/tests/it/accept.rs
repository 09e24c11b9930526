//! What a recipient takes, and every reason why it does not.

use alloy_primitives::{Address, B256};
use probabilistic_ticket::{
    Broker, Domain, Ledger, Reason, RecipientError, Round, Scheme, SenderFunds, Signature, TicketBatch,
    TicketParams, Wei, WinProb,
};

use super::common::{ETHER, SESSION, TICKET, World, key, payment, recipient_config, refusal, sign};

/// Pays one ticket on tampered parameters and returns why it was refused.
async fn reason_for(tamper: impl FnOnce(&mut TicketParams)) -> Reason {
    let world = World::new().await;
    let mut params = world.params().await;
    tamper(&mut params);
    let refusal = refusal(world.pay(&params, &[1], TICKET).await);
    assert_eq!(refusal.credit, Wei::ZERO);
    refusal.reason
}

#[tokio::test]
async fn takes_good_tickets_and_holds_the_cost() {
    let world = World::new().await;
    let params = world.params().await;
    let accepted = world.pay(&params, &[1, 2, 3], 2 * TICKET).await.unwrap();
    assert_eq!(accepted.credit, Wei::from(TICKET));
    assert_eq!(accepted.held, Wei::from(2 * TICKET));
    assert_eq!(accepted.tickets, 3);
    assert_eq!(accepted.refused, []);
}

#[tokio::test]
async fn takes_livepeer_tickets_when_configured() {
    let mut config = recipient_config(false);
    config.scheme = Scheme::Livepeer;
    let world = World::with(config).await;
    let params = world.params().await;
    assert_eq!(world.pay(&params, &[1], TICKET).await.unwrap().tickets, 1);
}

#[tokio::test]
async fn rejects_ticket_with_wrong_face_value() {
    assert_eq!(reason_for(|params| params.face_value = Wei::from(1)).await, Reason::WrongFaceValue);
}

#[tokio::test]
async fn rejects_ticket_with_wrong_win_prob() {
    assert_eq!(reason_for(|params| params.win_prob = WinProb::MAX).await, Reason::WrongWinProb);
}

#[tokio::test]
async fn rejects_ticket_with_wrong_rand_hash() {
    let tamper = |params: &mut TicketParams| params.recipient_rand_hash = B256::repeat_byte(7);
    assert_eq!(reason_for(tamper).await, Reason::WrongRandHash);
}

#[tokio::test]
async fn rejects_parameters_with_a_longer_life_than_issued() {
    assert_eq!(reason_for(|params| params.expires = Round(1000)).await, Reason::WrongRandHash);
}

#[tokio::test]
async fn rejects_parameters_with_a_changed_serial() {
    assert_eq!(reason_for(|params| params.serial += 1).await, Reason::WrongRandHash);
}

#[tokio::test]
async fn rejects_ticket_for_another_recipient() {
    let tamper = |params: &mut TicketParams| params.recipient = Address::repeat_byte(7);
    assert_eq!(reason_for(tamper).await, Reason::WrongRecipient);
}

#[tokio::test]
async fn rejects_ticket_of_another_sender() {
    let tamper = |params: &mut TicketParams| params.sender = Address::repeat_byte(7);
    assert_eq!(reason_for(tamper).await, Reason::WrongSender);
}

#[tokio::test]
async fn rejects_ticket_in_another_lane() {
    assert_eq!(reason_for(|params| params.lane += 1).await, Reason::WrongLane);
}

#[tokio::test]
async fn rejects_ticket_for_another_chain() {
    let tamper = |params: &mut TicketParams| params.domain = Domain::new(1, params.domain.broker());
    assert_eq!(reason_for(tamper).await, Reason::WrongDomain);
}

#[tokio::test]
async fn rejects_ticket_for_another_broker() {
    let tamper = |params: &mut TicketParams| params.domain = Domain::new(31_337, Address::repeat_byte(7));
    assert_eq!(reason_for(tamper).await, Reason::WrongDomain);
}

#[tokio::test]
async fn rejects_ticket_of_another_scheme() {
    assert_eq!(reason_for(|params| params.scheme = Scheme::Livepeer).await, Reason::WrongDomain);
}

#[tokio::test]
async fn rejects_ticket_with_wrong_round_hash() {
    let tamper = |params: &mut TicketParams| params.round_block_hash = B256::repeat_byte(7);
    assert_eq!(reason_for(tamper).await, Reason::WrongRoundHash);
}

#[tokio::test]
async fn rejects_ticket_of_a_future_round() {
    assert_eq!(reason_for(|params| params.round = Round(9)).await, Reason::WrongRoundHash);
}

#[tokio::test]
async fn rejects_ticket_of_a_round_that_a_reorganization_changed() {
    let world = World::new().await;
    let params = world.params().await;
    world.broker.set_round_hash(B256::repeat_byte(9));
    world.recipient.refresh().await.unwrap();
    assert_eq!(refusal(world.pay(&params, &[1], TICKET).await).reason, Reason::WrongRoundHash);
}

#[tokio::test]
async fn rejects_expired_ticket() {
    let world = World::new().await;
    let params = world.params().await;
    world.broker.set_round(Round(3));
    world.recipient.refresh().await.unwrap();
    assert_eq!(refusal(world.pay(&params, &[1], TICKET).await).reason, Reason::Expired);
}

#[tokio::test]
async fn takes_ticket_of_the_previous_round_within_the_grace() {
    let world = World::new().await;
    let params = world.params().await;
    world.broker.set_round(Round(2));
    world.recipient.refresh().await.unwrap();
    assert_eq!(world.pay(&params, &[1], TICKET).await.unwrap().tickets, 1);
}

#[tokio::test]
async fn rejects_ticket_with_wrong_signer() {
    let world = World::new().await;
    let params = world.params().await;
    let forged = payment(&params, &key("somebody else"), &[1]);
    let outcome = world.recipient.accept(SESSION, &forged, Wei::from(TICKET)).await;
    assert_eq!(refusal(outcome).reason, Reason::WrongSigner);
}

#[tokio::test]
async fn rejects_second_encoding_of_a_signature() {
    let world = World::new().await;
    let params = world.params().await;
    let mut ticket = sign(&params, &key("sender"), 1);
    ticket.signature = high_s(&ticket.signature);
    let bytes = TicketBatch { params, tickets: vec![ticket] }.encode().unwrap();
    let outcome = world.recipient.accept(SESSION, &bytes, Wei::from(TICKET)).await;
    assert_eq!(refusal(outcome).reason, Reason::WrongSigner);
}

/// The other signature that verifies over the same digest: `n - s`, recovery bit flipped.
fn high_s(signature: &Signature) -> Signature {
    let order =
        alloy_primitives::uint!(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256);
    let mut bytes = signature.0;
    let s = alloy_primitives::U256::from_be_slice(&bytes[32..64]);
    bytes[32..64].copy_from_slice(&(order - s).to_be_bytes::<32>());
    bytes[64] = 27 + 28 - bytes[64];
    Signature(bytes)
}

#[tokio::test]
async fn rejects_ticket_with_reused_nonce() {
    let world = World::new().await;
    let params = world.params().await;
    world.pay(&params, &[1], TICKET).await.unwrap();
    assert_eq!(refusal(world.pay(&params, &[1], TICKET).await).reason, Reason::Replayed);
}

#[tokio::test]
async fn rejects_ticket_twice_in_one_payment() {
    let world = World::new().await;
    let params = world.params().await;
    let refusal = refusal(world.pay(&params, &[1, 1], 2 * TICKET).await);
    assert_eq!((refusal.reason, refusal.credit), (Reason::Replayed, Wei::from(TICKET)));
}

#[tokio::test]
async fn rejects_ticket_replayed_after_a_restart() {
    let mut world = World::new().await;
    let params = world.params().await;
    world.pay(&params, &[1], TICKET).await.unwrap();
    world.restart().await;
    let refusal = refusal(world.pay(&params, &[1], 2 * TICKET).await);
    assert_eq!(refusal.reason, Reason::Replayed);
}

#[tokio::test]
async fn rejects_ticket_replayed_in_a_later_session_of_its_lane() {
    let world = World::new().await;
    let params = world.params().await;
    world.pay(&params, &[1], TICKET).await.unwrap();
    world.recipient.close_session(SESSION).await.unwrap();
    let again = world.params().await;
    assert_eq!((again.lane, again.nonce_floor), (params.lane, 1));
    assert_eq!(refusal(world.pay(&again, &[1], TICKET).await).reason, Reason::Replayed);
}

#[tokio::test]
async fn takes_payments_that_overtake_each_other() {
    let world = World::new().await;
    let params = world.params().await;
    for nonce in [3, 1, 2] {
        world.pay(&params, &[nonce], TICKET).await.unwrap();
    }
}

#[tokio::test]
async fn rejects_nonce_jump() {
    let world = World::new().await;
    let params = world.params().await;
    world.pay(&params, &[1], TICKET).await.unwrap();
    let far = world.config.max_nonce_jump + 2;
    assert_eq!(refusal(world.pay(&params, &[far], TICKET).await).reason, Reason::NonceJump);
    assert_eq!(refusal(world.pay(&params, &[u64::MAX], TICKET).await).reason, Reason::NonceJump);
    world.pay(&params, &[far - 1], TICKET).await.unwrap();
}

#[tokio::test]
async fn books_that_were_lost_go_on_where_the_sender_is() {
    let world = World::new().await;
    let params = world.params().await;
    let far = 100 * world.config.max_nonce_jump;
    assert_eq!(refusal(world.pay(&params, &[u64::MAX], TICKET).await).reason, Reason::NonceJump);
    world.pay(&params, &[far], TICKET).await.unwrap();
    world.pay(&params, &[far + 1], TICKET).await.unwrap();
    assert_eq!(refusal(world.pay(&params, &[far], TICKET).await).reason, Reason::Replayed);
}

#[tokio::test]
async fn rejects_work_beyond_the_credit_and_says_what_is_missing() {
    let world = World::new().await;
    let params = world.params().await;
    let refusal = refusal(world.pay(&params, &[1], 3 * TICKET).await);
    assert_eq!(refusal.reason, Reason::InsufficientCredit);
    assert_eq!(refusal.shortfall, Wei::from(2 * TICKET));
    world.pay(&params, &[2, 3], 3 * TICKET).await.unwrap();
}

#[tokio::test]
async fn one_bad_ticket_does_not_lose_the_good_ones() {
    let world = World::new().await;
    let params = world.params().await;
    let good = |nonce| sign(&params, &key("sender"), nonce);
    let tickets = vec![good(1), sign(&params, &key("forger"), 2), good(3), good(3)];
    let bytes = TicketBatch { params, tickets }.encode().unwrap();
    let accepted = world.recipient.accept(SESSION, &bytes, Wei::from(2 * TICKET)).await.unwrap();
    let refused: Vec<_> = accepted.refused.iter().map(|ticket| (ticket.index, ticket.reason)).collect();
    assert_eq!(refused, [(1, Reason::WrongSigner), (3, Reason::Replayed)]);
    assert_eq!((accepted.tickets, accepted.credit), (2, Wei::ZERO));
}

#[tokio::test]
async fn rejects_ticket_on_revealed_parameters_and_goes_on_with_fresh_ones() {
    let world = World::with(recipient_config(true)).await;
    let params = world.params().await;
    world.pay(&params, &[1, 2], 2 * TICKET).await.unwrap();
    world.reveal(0).await;

    assert_eq!(refusal(world.pay(&params, &[3], TICKET).await).reason, Reason::ParamsRevealed);
    let fresh = world.recipient.params(SESSION).await.unwrap();
    assert_eq!((fresh.lane, fresh.nonce_floor), (params.lane, 2));
    assert_ne!(fresh.recipient_rand_hash, params.recipient_rand_hash);
    assert_eq!(refusal(world.pay(&fresh, &[2], TICKET).await).reason, Reason::Replayed);
    world.pay(&fresh, &[3], TICKET).await.unwrap();
}

#[tokio::test]
async fn tickets_that_are_sent_again_count_as_taken_after_their_secret_was_revealed() {
    let world = World::with(recipient_config(true)).await;
    let params = world.params().await;
    world.pay(&params, &[1, 2], 0).await.unwrap();
    world.reveal(0).await;
    let accepted = world.pay(&params, &[1, 2, 3], TICKET).await.unwrap();
    let reasons: Vec<_> = accepted.refused.iter().map(|ticket| ticket.reason).collect();
    assert_eq!(reasons, [Reason::Replayed, Reason::Replayed, Reason::ParamsRevealed]);
}

#[tokio::test]
async fn ticket_on_a_retiring_secret_is_taken_until_its_grace_is_over() {
    let mut world = World::with(recipient_config(true)).await;
    let params = world.params().await;
    world.pay(&params, &[1], TICKET).await.unwrap();
    assert_eq!(world.reveal(5_000).await, [] as [u64; 0]);
    let fresh = world.recipient.params(SESSION).await.unwrap();
    assert_ne!(fresh.recipient_rand_hash, params.recipient_rand_hash);

    world.clock.advance(4_999);
    world.restart().await;
    world.pay(&params, &[2], TICKET).await.unwrap();
    assert_eq!(world.reveal(5_000).await, [] as [u64; 0]);

    world.clock.advance(1);
    assert_eq!(world.reveal(5_000).await, [1, 2]);
    // The restart has turned the first hold back into credit.
    assert_eq!(refusal(world.pay(&params, &[3], 2 * TICKET).await).reason, Reason::ParamsRevealed);
    world.pay(&fresh, &[3], 2 * TICKET).await.unwrap();
}

#[tokio::test]
async fn first_ticket_on_the_next_secret_retires_the_one_before() {
    let world = World::with(recipient_config(true)).await;
    let params = world.params().await;
    world.pay(&params, &[1, 5], 2 * TICKET).await.unwrap();
    world.reveal(5_000).await;
    let fresh = world.recipient.params(SESSION).await.unwrap();
    assert_eq!(refusal(world.pay(&fresh, &[4], TICKET).await).reason, Reason::Replayed);
    world.pay(&params, &[3], TICKET).await.unwrap();

    world.pay(&fresh, &[6], TICKET).await.unwrap();
    assert_eq!(refusal(world.pay(&params, &[4], TICKET).await).reason, Reason::ParamsRevealed);
    assert_eq!(refusal(world.pay(&params, &[7], TICKET).await).reason, Reason::ParamsRevealed);
    assert_eq!(world.reveal(5_000).await, [1, 3, 5], "the sixth is on a secret that is still in use");
}

#[tokio::test]
async fn rejects_ticket_when_pending_winners_use_up_the_funds() {
    let world = World::with(recipient_config(true)).await;
    let funds = SenderFunds { deposit: Wei::from(2 * TICKET), ..SenderFunds::default() };
    world.broker.fund(key("sender").address(), funds);
    let params = world.params().await;
    world.pay(&params, &[1, 2], 2 * TICKET).await.unwrap();
    assert_eq!(refusal(world.pay(&params, &[3], TICKET).await).reason, Reason::SenderUnfunded);
}

#[tokio::test]
async fn rejects_a_payment_that_is_worth_more_than_the_senders_funds() {
    let world = World::with(recipient_config(true)).await;
    let funds = SenderFunds { deposit: Wei::from(2 * TICKET), ..SenderFunds::default() };
    world.broker.fund(key("sender").address(), funds);
    let params = world.params().await;
    let refused = refusal(world.pay(&params, &[1, 2, 3], 3 * TICKET).await);
    assert_eq!((refused.reason, refused.credit), (Reason::SenderUnfunded, Wei::ZERO));
    world.pay(&params, &[1, 2], 2 * TICKET).await.unwrap();
}

#[tokio::test]
async fn malformed_payment_is_an_error_and_no_credit() {
    let world = World::new().await;
    world.params().await;
    let outcome = world.recipient.accept(SESSION, b"nonsense", Wei::ZERO).await;
    assert!(matches!(outcome, Err(RecipientError::Malformed(_))), "{outcome:?}");
}

#[tokio::test]
async fn unknown_session_is_an_error() {
    let world = World::new().await;
    let outcome = world.recipient.accept(B256::repeat_byte(9), &[], Wei::ZERO).await;
    assert!(matches!(outcome, Err(RecipientError::UnknownSession(_))), "{outcome:?}");
}

#[tokio::test]
async fn settling_returns_what_was_not_spent() {
    let world = World::new().await;
    let params = world.params().await;
    let accepted = world.pay(&params, &[1, 2], 2 * TICKET).await.unwrap();
    let credit = world.recipient.settle(SESSION, accepted.held, Wei::from(TICKET)).await.unwrap();
    assert_eq!(credit, Wei::from(TICKET));
    world.recipient.accept(SESSION, &[], Wei::from(TICKET)).await.unwrap();
}

#[tokio::test]
async fn parallel_segments_cannot_spend_the_same_credit() {
    let world = World::new().await;
    let params = world.params().await;
    world.pay(&params, &[1], 0).await.unwrap();
    let (first, second) = tokio::join!(
        world.recipient.accept(SESSION, &[], Wei::from(TICKET)),
        world.recipient.accept(SESSION, &[], Wei::from(TICKET)),
    );
    assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
}

#[tokio::test]
async fn hold_of_a_dead_process_is_credit_again() {
    let mut world = World::new().await;
    let params = world.params().await;
    world.pay(&params, &[1], TICKET).await.unwrap();
    world.restart().await;
    assert_eq!(world.recipient.credit(SESSION).await.unwrap(), Wei::from(TICKET));
}

#[tokio::test]
async fn parameters_survive_a_restart() {
    let mut world = World::new().await;
    let params = world.params().await;
    world.restart().await;
    assert_eq!(world.recipient.params(SESSION).await.unwrap(), params);
    world.pay(&params, &[1], TICKET).await.unwrap();
}

#[tokio::test]
async fn payments_go_on_while_the_chain_is_away() {
    let world = World::new().await;
    let params = world.params().await;
    world.broker.set_online(false);
    assert!(world.recipient.refresh().await.is_err());
    world.pay(&params, &[1], TICKET).await.unwrap();
    assert_eq!(world.params().await.lane, params.lane);
}

#[tokio::test]
async fn quote_is_refused_with_the_limit_and_what_to_fund() {
    let world = World::new().await;
    let funds = SenderFunds { deposit: Wei::from(5), ..SenderFunds::default() };
    world.broker.fund(key("sender").address(), funds);
    let outcome = world.recipient.open_session(key("sender").address(), SESSION).await;
    let Err(RecipientError::Funding(refusal)) = outcome else { panic!("{outcome:?}") };
    let needed = refusal.limits[0].needed;
    assert_eq!(refusal.limits[0].fund, needed.checked_sub(Wei::from(5)).unwrap());
}

#[tokio::test]
async fn sessions_of_one_sender_have_lanes_of_their_own() {
    let mut config = recipient_config(false);
    config.max_lanes = 2;
    let world = World::with(config).await;
    let sender = key("sender").address();
    let open = |id| world.recipient.open_session(sender, B256::repeat_byte(id));
    let first = open(1).await.unwrap();
    let second = open(2).await.unwrap();
    assert_eq!((first.lane, second.lane), (0, 1));
    let paid = payment(&first, &key("sender"), &[1]);
    world.recipient.accept(B256::repeat_byte(1), &paid, Wei::ZERO).await.unwrap();
    // All lanes are taken: the session that never paid gives way, the paid one stays.
    assert_eq!(open(3).await.unwrap().lane, 1);
    assert_eq!(world.broker.lane_nonce(sender, 0).await.unwrap(), 0);
    assert!(world.recipient.params(B256::repeat_byte(2)).await.is_err());
    assert!(world.recipient.params(B256::repeat_byte(1)).await.is_ok());
}

#[tokio::test]
async fn session_that_nobody_pays_any_more_gives_way_when_lanes_run_out() {
    let mut config = recipient_config(false);
    config.max_lanes = 1;
    let world = World::with(config).await;
    let params = world.params().await;
    world.pay(&params, &[1], 0).await.unwrap();
    let sender = key("sender").address();
    let other = B256::repeat_byte(2);
    assert!(world.recipient.open_session(sender, other).await.is_err());
    world.clock.advance(world.config.session_idle_ms + 1);
    let next = world.recipient.open_session(sender, other).await.unwrap();
    assert_eq!((next.lane, next.nonce_floor), (0, 1));
}

#[tokio::test]
async fn sessions_of_before_a_restart_give_way_unless_they_are_paid_again() {
    let mut config = recipient_config(false);
    config.max_lanes = 2;
    let mut world = World::with(config).await;
    world.clock.advance(world.config.session_idle_ms + 1);
    let sender = key("sender").address();
    let [dead, living, new] = [1, 2, 3].map(B256::repeat_byte);
    for (session, nonce) in [(dead, 1), (living, 1)] {
        let params = world.recipient.open_session(sender, session).await.unwrap();
        world
            .recipient
            .accept(session, &payment(&params, &key("sender"), &[nonce]), Wei::ZERO)
            .await
            .unwrap();
    }
    assert!(world.recipient.open_session(sender, new).await.is_err());
    world.restart().await;
    let params = world.recipient.params(living).await.unwrap();
    world.recipient.accept(living, &payment(&params, &key("sender"), &[2]), Wei::ZERO).await.unwrap();
    let next = world.recipient.open_session(sender, new).await.unwrap();
    assert_eq!((next.lane, next.nonce_floor), (0, 1));
    assert!(world.recipient.params(living).await.is_ok());
}

#[tokio::test]
async fn sessions_of_a_process_before_give_way_at_once_when_lanes_run_out() {
    let mut config = recipient_config(false);
    config.max_lanes = 1;
    let mut world = World::with(config).await;
    let params = world.params().await;
    world.pay(&params, &[1], 0).await.unwrap();
    let other = B256::repeat_byte(2);
    world.ledger.retire_sessions().await.unwrap();
    world.recipient.open_session(key("sender").address(), other).await.unwrap_err();
    world.restart().await;
    world.ledger.retire_sessions().await.unwrap();
    let next = world.recipient.open_session(key("sender").address(), other).await.unwrap();
    assert_eq!((next.lane, next.nonce_floor), (0, 1));
    assert!(world.recipient.params(SESSION).await.is_err());
}

#[tokio::test]
async fn face_value_never_exceeds_what_the_sender_has() {
    let world = World::new().await;
    world.broker.set_gas_price(Wei::from(ETHER));
    world.recipient.refresh().await.unwrap();
    let outcome = world.recipient.open_session(key("sender").address(), SESSION).await;
    assert!(matches!(outcome, Err(RecipientError::Funding(_))), "{outcome:?}");
}
