//! Paying with each segment.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use alloy_primitives::{Address, B256, U256};
use async_trait::async_trait;
use framemill_broadcaster::{DeadlinePolicy, StreamConfig, StreamEvent};
use probabilistic_ticket::{
    BrokerError, BrokerView, ChainView, Domain, EthKey, Round, Scheme, Sender, SenderConfig, SenderFunds,
    SenderLedger, SqliteLedger, SystemClock, TicketParams, Wei, WinProb,
};

use crate::support::{Act, Peer, Rig, segments, stream_config};

const FACE_VALUE: u64 = 1_000_000_000;
pub(crate) const TICKET_VALUE: u64 = 10_000_000;

fn domain() -> Domain {
    Domain::new(31_337, Address::repeat_byte(0xb0))
}

/// Parameters as a recipient would issue them.
pub(crate) fn params(recipient: Address, sender: Address, session: B256, serial: u64) -> TicketParams {
    let face_value = Wei::from(FACE_VALUE);
    TicketParams {
        scheme: Scheme::Native,
        domain: domain(),
        recipient,
        sender,
        session,
        face_value,
        win_prob: WinProb::for_expected_value(Wei::from(TICKET_VALUE), face_value).unwrap(),
        lane: 1,
        serial,
        round: Round(5),
        round_block_hash: B256::repeat_byte(5),
        expires: Round(9),
        nonce_floor: 0,
        recipient_rand_hash: B256::ZERO,
    }
}

/// A chain that stands still, with a rich sender.
struct StillChain;

#[async_trait]
impl BrokerView for StillChain {
    async fn chain(&self) -> Result<ChainView, BrokerError> {
        Ok(ChainView {
            round: Round(5),
            round_block_hash: B256::repeat_byte(5),
            validity_rounds: 2,
            gas_price: Wei::from(1),
        })
    }

    async fn funds(&self, _: Address, _: Address) -> Result<SenderFunds, BrokerError> {
        let deposit = Wei::new(10_u128.pow(18));
        Ok(SenderFunds { deposit, claimable_reserve: deposit, withdraw_round: None })
    }
}

async fn payer(folder: &tempfile::TempDir) -> Sender {
    payer_with_books(folder).await.0
}

pub(crate) async fn payer_with_books(folder: &tempfile::TempDir) -> (Sender, SqliteLedger) {
    let ledger = SqliteLedger::open(folder.path().join("sender.db")).await.unwrap();
    (payer_on(ledger.clone(), Arc::new(StillChain)).await, ledger)
}

async fn payer_on(ledger: SqliteLedger, chain: Arc<dyn BrokerView>) -> Sender {
    let config = SenderConfig::new(domain());
    Sender::open(EthKey::random(), config, Arc::new(ledger), chain, Arc::new(SystemClock)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_segment_is_paid_with_tickets_worth_its_pixels() {
    let folder = tempfile::tempdir().unwrap();
    let sender = payer(&folder).await;
    let peer = Peer::start_at(Act::Honest, 10).await;
    let rig = Rig::with(&[&peer], |builder| builder.payer(sender)).await;
    let (summary, _) = rig.run(stream_config("cam"), 3).await;
    assert_eq!(summary.totals.published, 3);
    let tickets = u64::from(peer.tickets.load(Ordering::SeqCst));
    assert_eq!(summary.totals.tickets, tickets);
    let pixels = 3 * 25 * (256 * 144 + 128 * 72);
    assert!(summary.totals.expected_value >= U256::from(pixels * 10), "{:?}", summary.totals);
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_parameters_are_paid_again_at_once_with_fresh_ones() {
    let folder = tempfile::tempdir().unwrap();
    let sender = payer(&folder).await;
    let peer = Peer::start_at(Act::Honest, 10).await;
    let rig = Rig::with(&[&peer], |builder| builder.payer(sender)).await;
    peer.stale.store(1, Ordering::SeqCst);
    let (summary, _) = rig.run(stream_config("cam"), 1).await;
    assert_eq!((summary.totals.published, summary.totals.failovers), (1, 0));
    assert_eq!(peer.offered(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_refused_tickets_are_used_up_gives_way_to_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let sender = payer(&folder).await;
    let peer = Peer::start_at(Act::Honest, 10).await;
    let rig = Rig::with(&[&peer], |builder| builder.payer(sender)).await;
    peer.stale.store(4, Ordering::SeqCst);
    let (summary, events) = rig.run(stream_config("cam"), 1).await;
    assert_eq!((summary.totals.published, summary.totals.lost), (1, 0), "{events:#?}");
    assert_eq!(peer.books().credit.len(), 2, "sessions");
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_that_a_busy_orchestrator_did_not_look_at_are_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let sender = payer(&folder).await;
    let peer = Peer::start_at(Act::Busy, 10).await;
    let rig = Rig::with(&[&peer], |builder| builder.payer(sender)).await;
    let (summary, events) = rig.run(stream_config("cam"), 1).await;
    assert_eq!((summary.totals.published, peer.offered()), (1, 2));
    assert_eq!(summary.totals.tickets, u64::from(peer.tickets.load(Ordering::SeqCst)));
    assert!(!events.iter().any(|event| matches!(event, StreamEvent::Suspended { .. })), "{events:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn credit_that_an_orchestrator_denies_does_not_stop_the_stream() {
    let folder = tempfile::tempdir().unwrap();
    let sender = payer(&folder).await;
    // One ticket pays for several segments at this price.
    let peer = Peer::start_at(Act::Honest, 1).await;
    let rig = Rig::with(&[&peer], |builder| builder.payer(sender)).await;
    let stream = rig.broadcaster.stream(stream_config("cam")).unwrap();
    let mut segments = segments(2).into_iter();
    stream.push(segments.next().unwrap()).await.unwrap().outcome().await.unwrap();
    peer.books().credit.values_mut().for_each(|credit| *credit = Wei::ZERO);
    stream.push(segments.next().unwrap()).await.unwrap().outcome().await.unwrap();
    assert_eq!(stream.finish().await.totals.published, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_credit_pays_is_booked_on_both_sides_after_parameters_were_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (sender, books) = payer_with_books(&folder).await;
    // One ticket pays for several segments at this price.
    let peer = Peer::start_at(Act::Honest, 1).await;
    let rig = Rig::with(&[&peer], |builder| builder.payer(sender)).await;
    let stream = rig.broadcaster.stream(StreamConfig { in_flight: 1, ..stream_config("cam") }).unwrap();
    peer.stale.store(1, Ordering::SeqCst);
    for segment in segments(3) {
        stream.push(segment).await.unwrap().outcome().await.expect("a published segment");
        // From then on parameters that are older than half a second are doubted.
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    assert_eq!(peer.offered(), 4, "nothing at risk needs no second offer");
    let session = *peer.books().credit.keys().next().expect("a session");
    let spent = books.spending(session).await.unwrap().expect("an open session");
    assert_eq!(spent.ordered, spent.verified);
    let credit = spent.paid.saturating_sub(spent.ordered).saturating_sub(spent.written_off);
    assert_eq!(credit, peer.books().credit[&session], "{spent:?}");
    stream.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_that_are_refused_while_credit_lasts_are_counted_on_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    let (sender, books) = payer_with_books(&folder).await;
    // A segment costs a little more than a ticket.
    let peer = Peer::start_at(Act::Honest, 10).await;
    let rig = Rig::with(&[&peer], |builder| builder.payer(sender)).await;
    let stream = rig.broadcaster.stream(StreamConfig { in_flight: 1, ..stream_config("cam") }).unwrap();
    let mut segments = segments(3).into_iter();
    stream.push(segments.next().unwrap()).await.unwrap().outcome().await.unwrap();
    // The orchestrator has more credit than the payer knows of, and refuses the ticket that comes beside it.
    let session = *peer.books().credit.keys().next().expect("a session");
    let gift = Wei::from(2 * TICKET_VALUE);
    peer.books().credit.entry(session).and_modify(|credit| *credit = credit.saturating_add(gift));
    peer.stale.store(1, Ordering::SeqCst);
    stream.push(segments.next().unwrap()).await.unwrap().outcome().await.unwrap();
    let spent = books.spending(session).await.unwrap().expect("an open session");
    assert_eq!(peer.offered(), 2, "credit made up for what was refused");
    let there = peer.books().credit[&session];
    let gone = spent.ordered.saturating_add(spent.written_off);
    assert_eq!(spent.paid.saturating_add(gift), gone.saturating_add(there), "{spent:?}");
    assert_eq!(spent.written_off, Wei::from(TICKET_VALUE), "{spent:?}");
    stream.push(segments.next().unwrap()).await.unwrap().outcome().await.unwrap();
    stream.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orchestrator_that_keeps_tickets_and_forgets_sessions_is_soon_paid_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let (sender, books) = payer_with_books(&folder).await;
    let peer = Peer::start_at(Act::ForgetsSessions, 10).await;
    let rig = Rig::with(&[&peer], |builder| builder.payer(sender)).await;
    let config = StreamConfig {
        deadline: DeadlinePolicy { factor: 1, floor: Duration::from_secs(8) },
        ..stream_config("cam")
    };
    let (summary, _) = rig.run(config, 1).await;
    assert_eq!(summary.totals.published, 0);
    // A segment costs 2 tickets, and two segments may be out at a newcomer.
    let tickets = peer.tickets.load(Ordering::SeqCst);
    assert!((2..=12).contains(&tickets), "{tickets} tickets for nothing");
    rig.broadcaster.shutdown(Duration::from_secs(5)).await;
    let sessions: Vec<_> = peer.books().credit.keys().copied().collect();
    for session in sessions {
        assert_eq!(books.spending(session).await.unwrap(), None, "a session was left open with the payer");
    }
}

/// A chain whose sender can be topped up.
struct GrowingDeposit(AtomicU64);

#[async_trait]
impl BrokerView for GrowingDeposit {
    async fn chain(&self) -> Result<ChainView, BrokerError> {
        StillChain.chain().await
    }

    async fn funds(&self, _: Address, _: Address) -> Result<SenderFunds, BrokerError> {
        let deposit = Wei::from(self.0.load(Ordering::SeqCst));
        Ok(SenderFunds { deposit, ..SenderFunds::default() })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_deposit_is_told_and_its_top_up_noticed_while_the_node_runs() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = SqliteLedger::open(folder.path().join("sender.db")).await.unwrap();
    let chain = Arc::new(GrowingDeposit(AtomicU64::new(0)));
    let sender = payer_on(ledger, chain.clone()).await;
    let peer = Peer::start_at(Act::Honest, 10).await;
    let rig = Rig::with(&[&peer], |builder| builder.payer(sender.clone())).await;
    let reason = rig.broadcaster.not_ready().expect("nothing can be paid");
    assert!(reason.contains("has no deposit") && reason.contains("framemill wallet fund"), "{reason}");
    chain.0.store(2, Ordering::SeqCst);
    let noticed = async {
        while sender.deposit() != Wei::from(2) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), noticed).await.expect("the new deposit");
    assert_eq!(rig.broadcaster.not_ready(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orchestrator_that_asks_a_price_is_not_used_without_a_payer() {
    let peer = Peer::start_at(Act::Honest, 10).await;
    let rig = Rig::new(&[&peer]).await;
    let config = StreamConfig {
        deadline: DeadlinePolicy { factor: 1, floor: Duration::from_secs(2) },
        ..stream_config("cam")
    };
    let (summary, events) = rig.run(config, 1).await;
    assert_eq!((summary.totals.lost, peer.offered()), (1, 0));
    let told = events.iter().any(|event| {
        matches!(event, StreamEvent::Segment(report)
            if report.lost.as_ref().is_some_and(|reason| reason.contains("no payer")))
    });
    assert!(told, "{events:?}");
}
