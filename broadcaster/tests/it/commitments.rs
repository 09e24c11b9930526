//! Commitments to features: asked for, checked, and proven false with what is left on disk.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use framemill_broadcaster::{AttemptOutcome, BroadcasterConfig, StreamEvent};
use framemill_media::MediaLimits;
use framemill_verification::evidence::{Bundle, Fault, Judgement};
use framemill_verification::{BLOCK_BYTES, Difference};

use crate::stated::{FALSE_BYTE, FALSE_FRAME};
use crate::support::*;

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

async fn rig(peers: &[&Arc<Peer>], bundles: &Path) -> Rig {
    let config = BroadcasterConfig {
        orchestrators: peers.iter().map(|peer| (peer.account, peer.service()).into()).collect(),
        commitments: true,
        bundles: Some(bundles.to_owned()),
        ..BroadcasterConfig::default()
    };
    Rig::with(peers, |builder| builder.config(config)).await
}

fn rejections(events: &[StreamEvent]) -> Vec<String> {
    let reason = |event: &StreamEvent| match event {
        StreamEvent::Attempt(report) => match &report.result {
            AttemptOutcome::Rejected { reason } => Some(reason.clone()),
            _ => None,
        },
        _ => None,
    };
    events.iter().filter_map(reason).collect()
}

/// Runs a stream in which `cheat` gets its turn, and gives what was said of it and what was written.
async fn caught(act: Act) -> Option<(Vec<String>, Vec<Judgement>, Arc<Peer>)> {
    let (cheat, honest) = (Peer::start(act).await, Peer::start(Act::Honest).await);
    let folder = tempfile::tempdir().unwrap();
    let rig = rig(&[&cheat, &honest], folder.path()).await;
    let config = framemill_broadcaster::StreamConfig { in_flight: 1, ..stream_config("cam") };
    // Whom the first draw takes is chance: a few segments bring the cheat its turn.
    let (summary, events) = rig.run(config, 6).await;
    assert_eq!((summary.totals.published, summary.totals.lost), (6, 0));
    rig.broadcaster.shutdown(PATIENCE).await;
    let bundles = std::fs::read_dir(folder.path()).unwrap().map(|entry| {
        let bundle = Bundle::open(&entry.unwrap().path()).unwrap();
        bundle.judge(&MediaLimits::segment()).unwrap()
    });
    let bundles = bundles.collect();
    (cheat.offered() > 0).then(|| (rejections(&events), bundles, cheat))
}

#[tokio::test(flavor = "multi_thread")]
async fn committed_results_are_published() {
    let honest = Peer::start(Act::Honest).await;
    let folder = tempfile::tempdir().unwrap();
    let rig = rig(&[&honest], folder.path()).await;
    let (summary, events) = rig.run(stream_config("cam"), 2).await;
    assert_eq!((summary.totals.published, summary.totals.lost), (2, 0), "{events:?}");
    assert_eq!(rejections(&events), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn false_features_are_rejected_and_proven_by_the_bundle_on_disk() {
    let Some((reasons, bundles, cheat)) = caught(Act::FalseFeatures).await else { return };
    assert!(reasons[0].contains("claimed_features"), "{reasons:?}");
    assert_eq!(bundles.len(), 1);
    assert_eq!(bundles[0].accused, cheat.account);
    assert!(matches!(&bundles[0].faults[..], [Fault::FalseFeatures { .. }]), "{:?}", bundles[0].faults);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_cell_is_bisected_with_its_signer_to_the_byte() {
    let cheat = Peer::start(Act::FalseCell).await;
    let folder = tempfile::tempdir().unwrap();
    let rig = rig(&[&cheat], folder.path()).await;
    let (summary, events) = rig.run(stream_config("cam"), 1).await;
    assert_eq!((summary.totals.lost, summary.totals.rejected), (1, 1));
    assert!(rejections(&events)[0].contains("claimed_features"), "{events:?}");
    rig.broadcaster.shutdown(PATIENCE).await;
    let bundle = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let judgement = Bundle::open(&bundle).unwrap().judge(&MediaLimits::segment()).unwrap();
    let [Fault::FalseFeatures { difference, .. }] = &judgement.faults[..] else {
        panic!("{:?}", judgement.faults)
    };
    let block = FALSE_BYTE / BLOCK_BYTES as u32;
    assert_eq!(*difference, Some(Difference::Block { frame: FALSE_FRAME, block, byte: Some(FALSE_BYTE) }));
    assert!((5..30).contains(&cheat.books().questions), "{} questions", cheat.books().questions);
}

#[tokio::test(flavor = "multi_thread")]
async fn commitments_that_were_quoted_must_be_made() {
    let Some((reasons, bundles, _)) = caught(Act::NoFeatures).await else { return };
    assert!(reasons[0].contains("no feature commitment"), "{reasons:?}");
    assert!(bundles.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_content_is_proven_by_the_bundle_on_disk() {
    let Some((_, bundles, cheat)) = caught(Act::WrongContent).await else { return };
    assert_eq!(bundles[0].accused, cheat.account);
    assert_eq!(bundles[0].reproduced, Some(true), "the draw that the bundle shows gives the same report");
    assert!(matches!(&bundles[0].faults[..], [Fault::Unfaithful { .. }]), "{:?}", bundles[0].faults);
}
