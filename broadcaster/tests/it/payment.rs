//! Paying with each segment.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use alloy_primitives::{Address, B256, U256};
use async_trait::async_trait;
use probabilistic_ticket::{
    BrokerError, BrokerView, ChainView, Domain, EthKey, Round, Scheme, Sender, SenderConfig, SenderFunds,
    SqliteLedger, SystemClock, TicketParams, Wei, WinProb,
};

use crate::support::{Act, Peer, Rig, stream_config};

const FACE_VALUE: u64 = 1_000_000_000;
const TICKET_VALUE: u64 = 1_000_000;

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
    let ledger = SqliteLedger::open(folder.path().join("sender.db")).await.unwrap();
    let config = SenderConfig::new(domain());
    Sender::open(EthKey::random(), config, Arc::new(ledger), Arc::new(StillChain), Arc::new(SystemClock))
        .await
        .unwrap()
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
    *peer.stale.lock().unwrap() = true;
    let (summary, _) = rig.run(stream_config("cam"), 1).await;
    assert_eq!((summary.totals.published, summary.totals.failovers), (1, 0));
    assert_eq!(peer.offered(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orchestrator_that_asks_a_price_is_not_used_without_a_payer() {
    let peer = Peer::start_at(Act::Honest, 10).await;
    let rig = Rig::new(&[&peer]).await;
    let config = framemill_broadcaster::StreamConfig {
        deadline: framemill_broadcaster::DeadlinePolicy {
            factor: 1,
            floor: std::time::Duration::from_secs(2),
        },
        ..stream_config("cam")
    };
    let (summary, events) = rig.run(config, 1).await;
    assert_eq!((summary.totals.lost, peer.offered()), (1, 0));
    let told = events.iter().any(|event| {
        matches!(event, framemill_broadcaster::StreamEvent::Segment(report)
            if report.lost.as_ref().is_some_and(|reason| reason.contains("no payer")))
    });
    assert!(told, "{events:?}");
}
