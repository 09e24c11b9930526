use std::time::Duration;

use alloy_primitives::{Address, B256, U256};
use bytes::Bytes;
use framemill_network::{NetworkError, SegmentEvent, SegmentExchange, SegmentHeader, SignedQuote, WireCode};
use framemill_orchestrator::OrchestratorEvent;
use framemill_transcoder::RenditionEvent;
use probabilistic_ticket::{Signature, TicketBatch, TicketParams, Wei};

use crate::support::*;

/// A ticket's worth that makes a segment cost some tickets.
const TICKET: u64 = PIXELS / 4;

async fn paid_header(market: &Market, quote: &SignedQuote, sequence: u64) -> SegmentHeader {
    SegmentHeader { payment: market.pay(quote).await, ..header(quote, sequence) }
}

#[tokio::test]
async fn earns_the_price_of_the_pixels_it_made() {
    let mut market = Market::paid(TICKET).await;
    let _worker = market.software().await;
    let quote = market.session().await;
    let header = paid_header(&market, &quote, 0).await;
    assert_whole(&market.send(header, clip()).await.expect("a result"));
    let done = market.until(|event| matches!(event, OrchestratorEvent::SegmentDone { .. })).await;
    let earned = Wei(quote.quote.price.cost(PIXELS));
    let session = quote.quote.session;
    assert_eq!(done, OrchestratorEvent::SegmentDone { session, sequence: 0, pixels: PIXELS, earned });
}

#[tokio::test]
async fn refuses_an_unpaid_segment_before_the_upload_with_fresh_parameters() {
    let mut market = Market::paid(TICKET).await;
    let _worker = market.software().await;
    let quote = market.session().await;
    let refused = market.client.open_segment(market.network.peer_id(), header(&quote, 0)).await;
    let Err(NetworkError::Refused(error)) = refused else { panic!("not refused: {refused:?}") };
    assert_eq!(error.code, WireCode::PaymentInsufficient);
    let params = TicketParams::decode(&error.details.expect("fresh parameters")).expect("parameters");
    assert_eq!(params.session, quote.quote.session);
}

#[tokio::test]
async fn a_failed_segment_costs_nothing_and_its_credit_pays_the_next() {
    let mut market = Market::paid(TICKET).await;
    let _worker = market.software().await;
    let quote = market.session().await;
    let text = Bytes::from_static(b"no media");
    let payment = market.pay(&quote).await;
    let bad = SegmentHeader { payment, ..header_for(&quote, 0, &text) };
    assert_eq!(code(market.send(bad, text).await), Some(WireCode::BadMedia));
    assert_whole(&market.send(header(&quote, 1), clip()).await.expect("a result on old credit"));
}

#[tokio::test]
async fn a_client_that_leaves_with_output_before_the_receipt_has_paid_for_it() {
    let mut market = Market::paid(TICKET).await;
    let (puppet, mut jobs) = Puppet::new();
    let _worker = market.transcoder(puppet, LOTS).await;
    let quote = market.session().await;
    let first = paid_header(&market, &quote, 0).await;
    let exchange = market.client.open_segment(market.network.peer_id(), first).await.expect("accepted");
    let SegmentExchange { mut upload, mut download, .. } = exchange;
    upload.send(clip()).await.expect("an upload");
    upload.finish().await.expect("a whole upload");

    let sink = next_job(&mut jobs).await;
    // Ends with the job.
    std::thread::spawn(move || {
        let output = || RenditionEvent::Chunk { index: 0, data: Bytes::from_static(b"part of a rendition") };
        while sink.send(output()).is_ok() {
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    let event = download.next().await.expect("output").expect("an event");
    assert!(matches!(event, SegmentEvent::Chunk(_)), "{event:?}");
    market.network.ban(market.client.peer_id(), Duration::ZERO);
    market.until(|event| matches!(event, OrchestratorEvent::SegmentFailed { sequence: 0, .. })).await;
    let again = market.client.open_segment(market.network.peer_id(), header(&quote, 1)).await;
    assert_eq!(code(again), Some(WireCode::PaymentInsufficient));
}

#[tokio::test]
async fn refuses_tickets_that_were_sent_before() {
    let mut market = Market::paid(TICKET).await;
    let _worker = market.software().await;
    let quote = market.session().await;
    let first = paid_header(&market, &quote, 0).await;
    let replay = SegmentHeader { sequence: 1, ..first.clone() };
    market.send(first, clip()).await.expect("a result");
    assert_eq!(code(market.send(replay, clip()).await), Some(WireCode::PaymentNonceReused));
}

#[tokio::test]
async fn tells_how_many_tickets_are_no_credit_where_earlier_credit_pays() {
    let mut market = Market::paid(TICKET).await;
    let _worker = market.software().await;
    let quote = market.session().await;
    let first = market.pay(&quote).await;
    let next = market.pay(&quote).await;
    let text = Bytes::from_static(b"no media");
    // Comes to nothing, so that its payment is credit.
    let bad = SegmentHeader { payment: first.clone(), ..header_for(&quote, 0, &text) };
    assert_eq!(code(market.send(bad, text).await), Some(WireCode::BadMedia));

    let mut batch = TicketBatch::decode(&next).expect("a payment");
    batch.tickets[0].signature = Signature([1; 65]);
    let spoiled = batch.encode().expect("an encodable payment").into();
    let refused_of = async |payment, sequence| {
        let header = SegmentHeader { payment, ..header(&quote, sequence) };
        let offer = market.client.open_segment(market.network.peer_id(), header).await;
        offer.expect("a segment that credit pays").accept.refused_tickets
    };
    assert_eq!(refused_of(spoiled, 1).await, 1);
    // What was taken before is credit already.
    let mut third = TicketBatch::decode(&market.pay(&quote).await).expect("a payment");
    third.tickets.extend_from_slice(&batch.tickets[1..]);
    let repeated = third.encode().expect("an encodable payment").into();
    assert_eq!(refused_of(repeated, 2).await, 0);
}

/// What the orchestrator tells of parameters when it takes a segment with this payment.
async fn told(market: &Market, quote: &SignedQuote, payment: Bytes, sequence: u64) -> Option<TicketParams> {
    let header = SegmentHeader { payment, ..header(quote, sequence) };
    let taken = market.send(header, clip()).await.expect("a result");
    taken.accept.ticket_params.map(|params| TicketParams::decode(&params).expect("parameters"))
}

#[tokio::test]
async fn parameters_are_not_told_to_who_has_just_paid_on_them() {
    let mut market = Market::paid(4 * PIXELS).await;
    let _worker = market.software().await;
    let quote = market.session().await;
    let issued = TicketParams::decode(&quote.quote.ticket_params).expect("parameters");
    let paid = market.pay(&quote).await;
    assert_eq!(told(&market, &quote, paid, 0).await, None);
    // Credit pays: which parameters a client has that sends none is not known.
    let current = told(&market, &quote, Bytes::new(), 1).await.expect("parameters");
    assert!(current.has_terms_of(&issued), "{current:?}");
}

#[tokio::test]
async fn parameters_that_replace_others_are_told_to_who_paid_on_those() {
    let mut market = Market::paid_redeeming(PIXELS, Duration::from_millis(50)).await;
    let _worker = market.software().await;
    let quote = market.session().await;
    let issued = TicketParams::decode(&quote.quote.ticket_params).expect("parameters");
    // The first winner is redeemed, for which its secret is replaced.
    let next = async {
        for sequence in 0.. {
            if let Some(newer) = told(&market, &quote, market.pay(&quote).await, sequence).await {
                return newer;
            }
        }
        unreachable!("the loop has no end")
    };
    let newer = tokio::time::timeout(PATIENCE, next).await.expect("a redemption");
    assert!(newer.serial > issued.serial, "{newer:?}");
}

/// Sends a payment that `change` spoiled.
async fn refusal_of(change: impl FnOnce(&mut TicketBatch)) -> Option<WireCode> {
    let mut market = Market::paid(TICKET).await;
    let _worker = market.software().await;
    let quote = market.session().await;
    let mut batch = TicketBatch::decode(&market.pay(&quote).await).expect("a payment");
    change(&mut batch);
    let payment = batch.encode().expect("an encodable payment").into();
    code(market.send(SegmentHeader { payment, ..header(&quote, 0) }, clip()).await)
}

#[tokio::test]
async fn refuses_another_face_value() {
    let refused = refusal_of(|batch| batch.params.face_value = Wei(U256::from(1))).await;
    assert_eq!(refused, Some(WireCode::PaymentFaceValue));
}

#[tokio::test]
async fn refuses_another_win_probability() {
    let refused = refusal_of(|batch| batch.params.win_prob.0 = U256::from(1)).await;
    assert_eq!(refused, Some(WireCode::PaymentWinProb));
}

#[tokio::test]
async fn refuses_another_rand_hash() {
    let refused = refusal_of(|batch| batch.params.recipient_rand_hash = B256::repeat_byte(1)).await;
    assert_eq!(refused, Some(WireCode::PaymentRandHash));
}

#[tokio::test]
async fn refuses_another_recipient() {
    let refused = refusal_of(|batch| batch.params.recipient = Address::repeat_byte(1)).await;
    assert_eq!(refused, Some(WireCode::PaymentRecipient));
}

#[tokio::test]
async fn refuses_another_signer() {
    let refused = refusal_of(|batch| {
        for ticket in &mut batch.tickets {
            ticket.signature = Signature([1; 65]);
        }
    })
    .await;
    assert_eq!(refused, Some(WireCode::PaymentSigner));
}

#[tokio::test]
async fn refuses_bytes_that_are_no_payment() {
    let mut market = Market::paid(TICKET).await;
    let _worker = market.software().await;
    let quote = market.session().await;
    let payment = Bytes::from_static(b"money");
    let sent = market.send(SegmentHeader { payment, ..header(&quote, 0) }, clip()).await;
    assert_eq!(code(sent), Some(WireCode::PaymentMalformed));
}

#[tokio::test]
async fn has_no_quote_for_a_sender_without_a_deposit() {
    let mut market = Market::paid(TICKET).await;
    let _worker = market.software().await;
    let quote = market.quote_for(&market.client, |request| request.sender = Address::repeat_byte(1)).await;
    assert_eq!(code(quote), Some(WireCode::PaymentUnfunded));
}

#[tokio::test]
async fn redeems_winning_tickets() {
    let mut market = Market::paid_redeeming(TICKET, Duration::from_millis(20)).await;
    let _worker = market.software().await;
    let quote = market.session().await;
    let header = paid_header(&market, &quote, 0).await;
    market.send(header, clip()).await.expect("a result");
    market.until(|event| matches!(event, OrchestratorEvent::TicketsWon { .. })).await;
    market.until(|event| matches!(event, OrchestratorEvent::RedemptionSent { .. })).await;
    market.bank().broker().mine();
    market.until(|event| matches!(event, OrchestratorEvent::RedemptionPaid { .. })).await;
    assert!(!market.bank().broker().paid().is_empty());
}

#[tokio::test]
async fn goes_on_while_the_chain_is_away() {
    let mut market = Market::paid_redeeming(TICKET, Duration::from_millis(20)).await;
    let _worker = market.software().await;
    let quote = market.session().await;
    market.bank().broker().set_online(false);
    let header = paid_header(&market, &quote, 0).await;
    assert_whole(&market.send(header, clip()).await.expect("a result without a chain"));
    market.bank().broker().set_online(true);
    market.until(|event| matches!(event, OrchestratorEvent::RedemptionSent { .. })).await;
}
