//! Paying by quality: less for less, nothing for a false statement, and a second look that only shifts the work.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::U256;
use framemill_broadcaster::core::scoreboard::Standing;
use framemill_broadcaster::{AttemptOutcome, BroadcasterConfig, DeadlinePolicy, StreamConfig, StreamEvent};
use framemill_media::MediaLimits;
use framemill_network::{PPM, QualityTerms};
use framemill_verification::evidence::{Bundle, Fault};
use futures::StreamExt;
use probabilistic_ticket::ledger::SpendingState;
use probabilistic_ticket::{SenderLedger, Wei};

use crate::payment::payer_with_books;
use crate::support::*;

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Pixels of one segment's ladder.
const PIXELS: u64 = 25 * (256 * 144 + 128 * 72);

const PRICE: u64 = 10;

/// What honest encodes of the clip reach, and lazy ones do not.
const TERMS: QualityTerms = QualityTerms { full_centi_db: 3_500, least_centi_db: 3_200, least_ppm: 200_000 };

fn config(peers: &[&Arc<Peer>], bundles: Option<&Path>) -> BroadcasterConfig {
    BroadcasterConfig {
        orchestrators: peers.iter().map(|peer| (peer.account, peer.service()).into()).collect(),
        commitments: true,
        claim_checks_ppm: 0,
        bundles: bundles.map(Path::to_owned),
        ..BroadcasterConfig::default()
    }
}

/// What the peer booked and what the payer's books say of it, after a stream of `count` segments.
async fn settled(act: Act, count: u32) -> (Vec<Wei>, SpendingState, Wei) {
    let folder = tempfile::tempdir().unwrap();
    let (sender, books) = payer_with_books(&folder).await;
    let peer = Peer::start_with(act, PRICE, TERMS).await;
    let config = config(&[&peer], None);
    let rig = Rig::with(&[&peer], |builder| builder.config(config).payer(sender)).await;
    let stream = rig.broadcaster.stream(StreamConfig { in_flight: 1, ..stream_config("cam") }).unwrap();
    for segment in segments(count) {
        let outcome = stream.push(segment).await.unwrap().outcome().await;
        outcome.expect("a published segment");
    }
    let session = *peer.books().credit.keys().next().expect("a session");
    let spent = books.spending(session).await.unwrap().expect("an open session");
    let credit = peer.books().credit[&session];
    let earned = peer.earned.lock().unwrap().clone();
    stream.finish().await;
    (earned, spent, credit)
}

#[tokio::test(flavor = "multi_thread")]
async fn honest_work_is_paid_in_whole_and_lazy_work_less_to_the_last_wei() {
    let whole = Wei(U256::from(PIXELS * PRICE));
    let mut sums = Vec::new();
    for act in [Act::Honest, Act::Lazy] {
        let (earned, spent, credit) = settled(act, 2).await;
        let sum = earned.iter().fold(Wei::ZERO, |sum, one| sum.saturating_add(*one));
        assert_eq!(spent.verified, sum, "both sides count alike");
        // What is paid and not earned is credit on both sides.
        assert_eq!(spent.paid.saturating_sub(spent.ordered), credit);
        assert_eq!(spent.ordered, spent.verified);
        sums.push((sum, spent.paid));
    }
    let [(honest, _), (lazy, paid)] = sums[..] else { panic!("{sums:?}") };
    assert_eq!(honest, whole.saturating_mul(2));
    assert!(lazy < whole.saturating_mul(2).mul_div(9, 10).unwrap(), "{lazy} of {honest}");
    // The second segment was paid with what the first had left.
    assert!(paid < whole.saturating_mul(2), "{paid} was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_commitments_the_whole_price_is_paid() {
    let folder = tempfile::tempdir().unwrap();
    let (sender, _) = payer_with_books(&folder).await;
    let peer = Peer::start_with(Act::Lazy, PRICE, TERMS).await;
    let rig = Rig::with(&[&peer], |builder| builder.payer(sender)).await;
    let (summary, _) = rig.run(stream_config("cam"), 1).await;
    assert_eq!(summary.totals.published, 1);
    assert_eq!(*peer.earned.lock().unwrap(), [Wei(U256::from(PIXELS * PRICE))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_quality_that_is_not_there_is_rejected_unpaid_and_proven_by_the_bundle_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let (sender, _) = payer_with_books(&folder).await;
    let peer = Peer::start_with(Act::Boastful, PRICE, TERMS).await;
    let bundles = folder.path().join("bundles");
    let config = config(&[&peer], Some(&bundles));
    let rig = Rig::with(&[&peer], |builder| builder.config(config).payer(sender)).await;
    let short = StreamConfig {
        deadline: DeadlinePolicy { factor: 1, floor: Duration::from_secs(20) },
        ..stream_config("cam")
    };
    let (summary, events) = rig.run(short, 1).await;
    assert_eq!(summary.totals.published, 0);
    let rejected = events.iter().find_map(|event| match event {
        StreamEvent::Attempt(report) => match &report.result {
            AttemptOutcome::Rejected { reason } => Some(reason.clone()),
            _ => None,
        },
        _ => None,
    });
    assert!(rejected.is_some_and(|reason| reason.contains("declared quality")), "{events:?}");
    rig.broadcaster.shutdown(PATIENCE).await;
    let bundle = std::fs::read_dir(&bundles).unwrap().next().expect("a bundle").unwrap();
    let judgement = Bundle::open(&bundle.path()).unwrap().judge(&MediaLimits::segment()).unwrap();
    assert_eq!(judgement.accused, peer.account);
    let [Fault::FalseQuality { claimed, found }] = judgement.faults[..] else {
        panic!("{:?}", judgement.faults)
    };
    assert_eq!(claimed, found + 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_costs_a_lazy_orchestrator_work_and_nothing_else() {
    for (act, honest) in [(Act::Honest, true), (Act::Lazy, false)] {
        let peer = Peer::start(act).await;
        let config = BroadcasterConfig { quality_audits_ppm: PPM, ..config(&[&peer], None) };
        let rig = Rig::with(&[&peer], |builder| builder.config(config)).await;
        let events = rig.broadcaster.events();
        let (summary, _) = rig.run(StreamConfig { in_flight: 1, ..stream_config("cam") }, 1).await;
        assert_eq!((summary.totals.published, summary.totals.rejected), (1, 0));
        let audits = events.filter_map(|(_, event)| async move {
            match event {
                StreamEvent::Audit(report) => Some(report),
                _ => None,
            }
        });
        let mut audits = std::pin::pin!(audits);
        let next = audits.next();
        let report = tokio::time::timeout(PATIENCE, next).await.expect("an audit").expect("an event");
        assert_eq!(report.worth_ppm == PPM, honest, "{report:?}");
        let view = &rig.broadcaster.orchestrators()[0];
        assert_eq!(view.performance.worth >= 1.0, honest);
        assert_eq!(view.standing, Standing::Good);
    }
}
