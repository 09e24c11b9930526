//! Sampled verification in running streams: who is looked at how deep, and how it can be shown afterwards.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use framemill_broadcaster::{
    AttemptOutcome, BroadcasterConfig, SamplingConfig, StreamConfig, StreamEvent, StreamHandle, Verification,
};
use framemill_media::SourceSegment;
use framemill_verification::policy::attention::AttentionConfig;
use framemill_verification::policy::journal::{Audit, Entry, audit};
use framemill_verification::{PPM, Policy};
use prometheus::Registry;
use tokio::runtime::Builder;

use crate::support::{Act, Peer, Rig, segments, silent_segments, stream_config};

/// Beyond any value that passes: no figure of an honest encode is suspicious here.
const NEVER_BORDERLINE: u32 = 1_001;

/// Trusts pictures blindly after a single clean look, so that a test sees both ends.
fn hasty() -> AttentionConfig {
    AttentionConfig {
        floor: Policy::STRUCTURE_ONLY,
        patience: 1,
        borderline_permille: NEVER_BORDERLINE,
        ..AttentionConfig::default()
    }
}

fn adaptive(name: &str) -> StreamConfig {
    StreamConfig { verification: Verification::ADAPTIVE, in_flight: 1, ..stream_config(name) }
}

fn roomy(attention: AttentionConfig, folder: Option<&Path>) -> SamplingConfig {
    let folder = folder.map(Path::to_owned);
    SamplingConfig { attention, max_waiting: 100, folder, ..SamplingConfig::default() }
}

async fn rig(peer: &Arc<Peer>, sampling: SamplingConfig, registry: &Registry) -> Rig {
    rig_with_room(peer, sampling, registry, 100).await
}

async fn rig_with_room(
    peer: &Arc<Peer>,
    sampling: SamplingConfig,
    registry: &Registry,
    verify_queue: usize,
) -> Rig {
    let config = BroadcasterConfig {
        orchestrators: vec![(peer.account, peer.service()).into()],
        verify_parallelism: 1,
        verify_queue,
        sampling,
        ..BroadcasterConfig::default()
    };
    Rig::with(&[], |builder| builder.config(config).registry(registry.clone())).await
}

/// The value of a broadcaster's metric, with this value of its only label where it has one.
fn metric(registry: &Registry, name: &str, label: &str) -> f64 {
    let families = registry.gather();
    let family = families.iter().find(|family| family.name() == format!("framemill_broadcaster_{name}"));
    let metrics = family.map(|family| family.get_metric()).unwrap_or_default();
    let wanted = metrics.iter().find(|metric| metric.get_label().iter().all(|pair| pair.value() == label));
    wanted.map_or(0.0, |metric| metric.get_counter().get_value() + metric.get_gauge().get_value())
}

/// Results judged by their structure alone, by first frames, and whole.
fn looked_at(registry: &Registry) -> [u32; 3] {
    ["structure", "first_frame", "whole"].map(|tier| metric(registry, "judged_total", tier) as u32)
}

async fn push(stream: &StreamHandle, segment: SourceSegment) -> bool {
    stream.push(segment).await.unwrap().outcome().await.is_ok()
}

fn record(folder: &Path) -> Vec<Entry> {
    let text = std::fs::read_to_string(folder.join("draws.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complaint_brings_a_trusted_orchestrator_back_to_full_attention() {
    let (peer, registry) = (Peer::start(Act::Honest).await, Registry::new());
    let rig = rig(&peer, roomy(hasty(), None), &registry).await;
    let stream = rig.broadcaster.stream(adaptive("cam")).unwrap();
    let mut source = segments(4).into_iter();
    assert!(push(&stream, source.next().unwrap()).await);
    assert_eq!(looked_at(&registry), [0, 0, 1], "a new identity is looked at in full");
    assert!(push(&stream, source.next().unwrap()).await);
    assert!(push(&stream, source.next().unwrap()).await);
    assert_eq!(looked_at(&registry), [2, 0, 1]);

    rig.broadcaster.complain(peer.account);
    assert_eq!(metric(&registry, "suspicions_total", "complaint"), 1.0);
    assert!(push(&stream, source.next().unwrap()).await);
    assert_eq!(looked_at(&registry), [2, 0, 2]);
    stream.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_picture_that_nobody_looks_at_is_caught_once_there_is_suspicion() {
    let (peer, registry) = (Peer::start(Act::Honest).await, Registry::new());
    let rig = rig(&peer, roomy(hasty(), None), &registry).await;
    let stream = rig.broadcaster.stream(adaptive("cam")).unwrap();
    let mut source = silent_segments(3).into_iter();
    assert!(push(&stream, source.next().unwrap()).await);
    peer.act(Act::WrongContent);
    assert!(push(&stream, source.next().unwrap()).await, "the floor of this test looks at no picture");
    rig.broadcaster.complain(peer.account);
    assert!(!push(&stream, source.next().unwrap()).await);
    assert_eq!(stream.finish().await.totals.rejected, 1);
    assert_eq!(metric(&registry, "suspicions_total", "wrong"), 1.0);
}

/// Looks at every result whole, and has publication wait for none of them.
fn afterwards() -> SamplingConfig {
    let attention = AttentionConfig { floor: Policy::FULL, ..hasty() };
    SamplingConfig { later_below_ppm: PPM, ..roomy(attention, None) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_publication_does_not_wait_for_counts_all_the_same() {
    let (peer, registry) = (Peer::start(Act::Honest).await, Registry::new());
    let rig = rig(&peer, afterwards(), &registry).await;
    let (summary, events) = rig.run(adaptive("cam"), 2).await;
    assert_eq!((summary.totals.published, summary.totals.rejected), (2, 0));
    assert_eq!(looked_at(&registry), [0, 0, 2]);
    let published = events.iter().filter_map(|event| match event {
        StreamEvent::Segment(report) => report.tier,
        _ => None,
    });
    assert_eq!(published.collect::<Vec<_>>(), [1, 1], "what was seen by then is what is told");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_found_after_publication_is_held_against_its_orchestrator() {
    let (peer, registry) = (Peer::start(Act::FalseFeatures).await, Registry::new());
    let config = BroadcasterConfig {
        orchestrators: vec![(peer.account, peer.service()).into()],
        commitments: true,
        sampling: afterwards(),
        ..BroadcasterConfig::default()
    };
    let rig = Rig::with(&[], |builder| builder.config(config).registry(registry.clone())).await;
    let (summary, events) = rig.run(adaptive("cam"), 1).await;
    assert_eq!((summary.totals.published, summary.totals.rejected), (1, 1), "its first frames are right");
    assert_eq!(metric(&registry, "published_wrong_total", ""), 1.0);
    assert_eq!(metric(&registry, "suspicions_total", "wrong"), 1.0);
    assert_eq!(metric(&registry, "suspended_orchestrators", ""), 1.0);
    let evidence = rig.broadcaster.evidence();
    let found = events.iter().find_map(|event| match event {
        StreamEvent::FoundWrong { orchestrator, reason, .. } => Some((*orchestrator, reason.clone())),
        _ => None,
    });
    assert_eq!(found, Some((peer.account, evidence[0].reason.clone())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_frame_that_is_wrong_is_never_published_to_be_looked_at_later() {
    let (peer, registry) = (Peer::start(Act::WrongContent).await, Registry::new());
    let rig = rig(&peer, afterwards(), &registry).await;
    let stream = rig.broadcaster.stream(adaptive("cam")).unwrap();
    assert!(!push(&stream, silent_segments(1).remove(0)).await);
    assert_eq!(stream.finish().await.totals.rejected, 1);
    assert_eq!(metric(&registry, "published_wrong_total", ""), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_asks_for_every_frame_gets_it_whatever_the_record() {
    let (peer, registry) = (Peer::start(Act::Honest).await, Registry::new());
    let rig = rig(&peer, roomy(hasty(), None), &registry).await;
    let config = StreamConfig { verification: Verification::FULL, ..adaptive("cam") };
    rig.run(config, 3).await;
    assert_eq!(looked_at(&registry), [0, 0, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_may_ask_for_more_than_the_record_does() {
    let (peer, registry) = (Peer::start(Act::Honest).await, Registry::new());
    let rig = rig(&peer, roomy(hasty(), None), &registry).await;
    let verification = Verification::Adaptive { minimum: Policy::FIRST_FRAMES };
    let (_, events) = rig.run(StreamConfig { verification, ..adaptive("cam") }, 3).await;
    assert_eq!(looked_at(&registry), [0, 2, 1]);
    let told = events.iter().filter_map(|event| match event {
        StreamEvent::Segment(report) => report.tier,
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [2, 1, 1], "whoever publishes is told what nobody looked at");
}

#[tokio::test(flavor = "multi_thread")]
async fn overload_lowers_the_rates_of_adaptive_streams_and_says_so() {
    let (peer, registry) = (Peer::start(Act::Honest).await, Registry::new());
    let folder = tempfile::tempdir().unwrap();
    let attention = AttentionConfig { patience: u32::MAX, ..hasty() };
    // The second rendition of any result waits for the only core, and none may.
    let sampling = SamplingConfig { max_waiting: 0, ..roomy(attention, Some(folder.path())) };
    let rig = rig(&peer, sampling, &registry).await;
    let (summary, _) = rig.run(adaptive("cam"), 3).await;
    assert_eq!(summary.totals.published, 3);
    assert!(metric(&registry, "sampling_share_ratio", "") <= 0.5);
    rig.broadcaster.shutdown(Duration::from_secs(5)).await;

    let lowered = |entry: &Entry| match entry {
        Entry::Draw { draw, share_ppm, .. } => Some((draw.rates.whole_ppm, *share_ppm)),
        _ => None,
    };
    let lowered: Vec<_> = record(folder.path()).iter().filter_map(lowered).collect();
    assert_eq!(lowered.len(), 3);
    assert!(lowered.iter().all(|(rate, share)| rate <= share && *share <= PPM / 2), "{lowered:?}");
}

/// Room for one rendition, where every result has two.
const NO_ROOM: usize = 1;

#[tokio::test(flavor = "multi_thread")]
async fn a_result_without_room_in_the_queue_is_looked_at_least_but_its_structure_always() {
    let (peer, registry) = (Peer::start(Act::Honest).await, Registry::new());
    let folder = tempfile::tempdir().unwrap();
    let attention = AttentionConfig { patience: u32::MAX, ..hasty() };
    let rig = rig_with_room(&peer, roomy(attention, Some(folder.path())), &registry, NO_ROOM).await;
    let (summary, _) = rig.run(StreamConfig { in_flight: 3, ..adaptive("cam") }, 6).await;
    assert_eq!((summary.totals.published, summary.totals.lost), (6, 0));
    assert_eq!(looked_at(&registry).iter().sum::<u32>(), 6, "nothing is published unseen");
    assert_eq!(metric(&registry, "verify_shed_total", ""), 6.0);
    assert!(metric(&registry, "sampling_share_ratio", "") <= 0.5);
    rig.broadcaster.shutdown(Duration::from_secs(5)).await;

    let rates = |entry: &Entry| match entry {
        Entry::Draw { draw, .. } => Some(draw.rates),
        _ => None,
    };
    let rates: Vec<_> = record(folder.path()).iter().filter_map(rates).collect();
    assert_eq!(rates.len(), 6);
    assert!(rates.iter().all(|rates| (1..PPM / 500).contains(&rates.whole_ppm)), "{rates:?}");
    assert_eq!(audit(record(folder.path())).proven, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_structure_is_caught_however_full_the_queue_is() {
    let (peer, registry) = (Peer::start(Act::WrongSize).await, Registry::new());
    let attention = AttentionConfig { patience: u32::MAX, ..hasty() };
    let rig = rig_with_room(&peer, roomy(attention, None), &registry, NO_ROOM).await;
    let stream = rig.broadcaster.stream(adaptive("cam")).unwrap();
    assert!(!push(&stream, segments(1).remove(0)).await);
    assert_eq!(stream.finish().await.totals.rejected, 1);
    assert_eq!(metric(&registry, "verify_shed_total", ""), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fixed_policy_waits_for_room_and_is_not_lowered() {
    let (peer, registry) = (Peer::start(Act::Honest).await, Registry::new());
    let rig = rig_with_room(&peer, roomy(hasty(), None), &registry, NO_ROOM).await;
    let config = StreamConfig { verification: Verification::FULL, in_flight: 3, ..adaptive("cam") };
    let (summary, _) = rig.run(config, 4).await;
    assert_eq!(summary.totals.published, 4);
    assert_eq!(looked_at(&registry), [0, 0, 4]);
    assert_eq!(metric(&registry, "verify_shed_total", ""), 0.0);
}

#[test]
fn later_results_arrive_while_earlier_ones_are_still_judged() {
    // Judgements run on the runtime's threads for what blocks. This one has a single such thread, which the test holds.
    let runtime = Builder::new_multi_thread().max_blocking_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let (peer, registry) = (Peer::start(Act::Honest).await, Registry::new());
        let rig = rig(&peer, roomy(hasty(), None), &registry).await;
        let config = StreamConfig { verification: Verification::FULL, in_flight: 2, ..adaptive("cam") };
        let stream = rig.broadcaster.stream(config).unwrap();
        let (release, held) = std::sync::mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || held.recv());
        let mut results = Vec::new();
        for segment in segments(2) {
            results.push(stream.push(segment).await.unwrap());
        }
        // Of two renditions each the first has the only core, and the others wait: both results are there, whole.
        let both_there = async {
            while metric(&registry, "verify_waiting", "") < 3.0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(50), both_there).await.expect("the second result arrives");
        assert_eq!(looked_at(&registry), [0, 0, 0], "nothing is judged yet");
        release.send(()).unwrap();
        for result in results {
            assert!(result.outcome().await.is_ok());
        }
        assert_eq!(looked_at(&registry), [0, 0, 2]);
        stream.finish().await;
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_frame_near_a_bound_has_the_whole_result_compared_at_once() {
    let (peer, registry) = (Peer::start(Act::Honest).await, Registry::new());
    let attention = AttentionConfig { escalate_permille: 0, ..hasty() };
    let rig = rig(&peer, roomy(attention, None), &registry).await;
    let verification = Verification::Adaptive { minimum: Policy::FIRST_FRAMES };
    rig.run(StreamConfig { verification, ..adaptive("cam") }, 3).await;
    assert_eq!(looked_at(&registry), [0, 0, 3]);
    assert_eq!(metric(&registry, "escalated_total", ""), 2.0, "the first one was drawn whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orchestrator_is_told_the_commitment_that_its_results_are_drawn_under() {
    let (peer, registry) = (Peer::start(Act::Honest).await, Registry::new());
    let rig = rig(&peer, roomy(hasty(), None), &registry).await;
    let (_, events) = rig.run(adaptive("cam"), 2).await;
    let committed = events.iter().find_map(|event| match event {
        StreamEvent::SeedCommitted { commitment, .. } => Some(*commitment),
        _ => None,
    });
    let told = peer.books().commitments.clone();
    assert_eq!(told.len(), 2);
    // An hour may end between the two.
    assert_eq!(told[0], committed);
}

#[tokio::test(flavor = "multi_thread")]
async fn overload_never_lowers_a_fixed_policy() {
    let (peer, registry) = (Peer::start(Act::Honest).await, Registry::new());
    let sampling = SamplingConfig { max_waiting: 0, ..roomy(hasty(), None) };
    let rig = rig(&peer, sampling, &registry).await;
    rig.run(StreamConfig { verification: Verification::FULL, ..adaptive("cam") }, 3).await;
    assert_eq!(metric(&registry, "sampling_share_ratio", ""), 1.0);
    assert_eq!(looked_at(&registry), [0, 0, 3]);
    assert_eq!(metric(&registry, "downgraded_total", ""), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_draw_of_an_ended_stream_can_be_proven_from_its_record() {
    let (peer, registry) = (Peer::start(Act::Honest).await, Registry::new());
    let folder = tempfile::tempdir().unwrap();
    let attention = AttentionConfig { patience: 1, ..AttentionConfig::default() };
    let rig = rig(&peer, roomy(attention, Some(folder.path())), &registry).await;
    rig.run(adaptive("cam"), 4).await;
    rig.broadcaster.shutdown(Duration::from_secs(5)).await;
    assert_eq!(audit(record(folder.path())), Audit { proven: 4, ..Audit::default() });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seed_is_committed_before_the_first_attempt_and_revealed_after_the_last() {
    let (peer, registry) = (Peer::start(Act::Honest).await, Registry::new());
    let rig = rig(&peer, roomy(hasty(), None), &registry).await;
    let (_, events) = rig.run(adaptive("cam"), 2).await;
    let order: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            StreamEvent::SeedCommitted { .. } => Some("committed"),
            StreamEvent::Attempt(attempt) if attempt.result == AttemptOutcome::Delivered => Some("delivered"),
            StreamEvent::SeedRevealed { .. } => Some("revealed"),
            _ => None,
        })
        .collect();
    assert_eq!(order.first(), Some(&"committed"), "{order:?}");
    assert_eq!(order.last(), Some(&"revealed"), "{order:?}");
    let commitments = events.iter().filter_map(|event| match event {
        StreamEvent::SeedCommitted { epoch, commitment } => Some((*epoch, *commitment)),
        _ => None,
    });
    let opened = events.iter().filter_map(|event| match event {
        StreamEvent::SeedRevealed { epoch, seed } => Some((*epoch, seed.commitment(epoch))),
        _ => None,
    });
    assert!(commitments.eq(opened), "{events:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_with_what_is_known_of_each_orchestrator() {
    let peer = Peer::start(Act::Honest).await;
    let folder = tempfile::tempdir().unwrap();
    let sampling = roomy(hasty(), Some(folder.path()));
    let first = rig(&peer, sampling.clone(), &Registry::new()).await;
    first.run(adaptive("cam"), 1).await;
    first.broadcaster.shutdown(Duration::from_secs(5)).await;

    let second = rig(&peer, sampling, &Registry::new()).await;
    assert_eq!(second.broadcaster.orchestrators()[0].rates, Some(Policy::STRUCTURE_ONLY));
}
