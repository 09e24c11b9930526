//! Paying by quality: less for less, nothing for a false statement, and a second look that only shifts the work.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::U256;
use framemill_broadcaster::HedgePolicy;
use framemill_broadcaster::Standing;
use framemill_broadcaster::{AttemptOutcome, BroadcasterConfig, DeadlinePolicy, StreamConfig, StreamEvent};
use framemill_media::MediaLimits;
use framemill_network::{Ladder, PPM, QualityTerms};
use framemill_verification::evidence::{Bundle, Fault};
use futures::StreamExt;
use probabilistic_ticket::{SenderLedger, Wei};

use crate::payment::{TICKET_VALUE, payer_with_books};
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
        bundles: bundles.map(Path::to_owned),
        // What one that was outpaced has earned, only it knows.
        hedging: HedgePolicy { share: 0.0, ..HedgePolicy::default() },
        ..BroadcasterConfig::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_one_market_honest_work_is_paid_in_whole_and_lazy_work_less_to_the_last_wei() {
    let folder = tempfile::tempdir().unwrap();
    let (sender, books) = payer_with_books(&folder).await;
    let honest = Peer::start_with(Act::Honest, PRICE, TERMS).await;
    let lazy = Peer::start_with(Act::Lazy, PRICE, TERMS).await;
    let config = config(&[&honest, &lazy], None);
    let rig = Rig::with(&[&honest, &lazy], |builder| builder.config(config).payer(sender)).await;
    let stream = rig.broadcaster.stream(StreamConfig { in_flight: 1, ..stream_config("cam") }).unwrap();
    // Whom the draws take is chance: with so many segments each has its turn but once in hundreds of runs.
    for segment in segments(8) {
        stream.push(segment).await.unwrap().outcome().await.expect("a published segment");
    }
    let whole = Wei(U256::from(PIXELS * PRICE));
    assert!(honest.earned().iter().all(|earned| *earned == whole), "{:?}", honest.earned());
    let most = whole.mul_div(9, 10).unwrap();
    assert!(lazy.earned().iter().all(|earned| *earned < most), "{:?} of {whole}", lazy.earned());
    for peer in [honest, lazy] {
        let session = *peer.books().credit.keys().next().expect("a session");
        let spent = books.spending(session).await.unwrap().unwrap_or_default();
        let sum = peer.earned().iter().fold(Wei::ZERO, |sum, one| sum.saturating_add(*one));
        assert_eq!((spent.verified, spent.ordered), (sum, sum), "both sides count alike");
        // What was paid and is not earned is credit on both sides, and pays the next segment.
        assert_eq!(spent.paid.saturating_sub(spent.ordered), peer.books().credit[&session]);
        let ahead = whole.saturating_add(Wei::from(TICKET_VALUE));
        assert!(spent.paid < sum.saturating_add(ahead), "{} was sent for {sum}", spent.paid);
    }
    stream.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_commitments_the_whole_price_is_paid() {
    let folder = tempfile::tempdir().unwrap();
    let (sender, _) = payer_with_books(&folder).await;
    let peer = Peer::start_with(Act::Lazy, PRICE, TERMS).await;
    let rig = Rig::with(&[&peer], |builder| builder.payer(sender)).await;
    let (summary, _) = rig.run(stream_config("cam"), 1).await;
    assert_eq!(summary.totals.published, 1);
    assert_eq!(peer.earned(), [Wei(U256::from(PIXELS * PRICE))]);
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
        // The larger rung alone: the smallest has bits to spare, so that half of them show little.
        let ladder = Ladder::new(vec![ladder().entries()[0].clone()]).unwrap();
        let (summary, _) = rig.run(StreamConfig { ladder, ..stream_config("cam") }, 1).await;
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
