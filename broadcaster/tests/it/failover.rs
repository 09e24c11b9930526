//! What happens when orchestrators do not deliver what they were asked for.

use std::time::Duration;

use framemill_broadcaster::Standing;
use framemill_broadcaster::{AttemptOutcome, DeadlinePolicy, StreamConfig, StreamEvent};
use framemill_media::{MediaLimits, segment_info};

use crate::support::{Act, Peer, Rig, segments, stream_config};

/// Outcomes of all attempts, in order.
fn outcomes(events: &[StreamEvent]) -> Vec<AttemptOutcome> {
    let outcome = |event: &StreamEvent| match event {
        StreamEvent::Attempt(attempt) => Some(attempt.result.clone()),
        _ => None,
    };
    events.iter().filter_map(outcome).collect()
}

fn has(outcomes: &[AttemptOutcome], wanted: fn(&AttemptOutcome) -> bool) -> bool {
    outcomes.iter().any(wanted)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_published_as_a_ladder_that_players_can_read() {
    let peer = Peer::start(Act::Honest).await;
    let rig = Rig::new(&[&peer]).await;
    let (summary, events) = rig.run(stream_config("cam"), 3).await;
    assert_eq!((summary.totals.published, summary.totals.lost, summary.totals.renditions), (3, 0, 6));

    let master = rig.read(&summary.master_playlist);
    assert_eq!(master.matches("#EXT-X-STREAM-INF").count(), 2);
    assert!(master.contains("RESOLUTION=256x144") && master.contains("FRAME-RATE=25.000"), "{master}");
    assert!(master.contains("CODECS=\"avc1.") && master.contains("mp4a.40.2\""), "{master}");
    let media = rig.read("cam/144p/index.m3u8");
    assert_eq!(media.matches("#EXTINF:1.000000,").count(), 3, "{media}");
    assert!(media.ends_with("#EXT-X-ENDLIST\n"));

    let order: Vec<u64> = events
        .iter()
        .filter_map(|event| match event {
            StreamEvent::Segment(report) => Some(report.sequence),
            _ => None,
        })
        .collect();
    assert_eq!(order, [0, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn published_segments_keep_the_timeline_of_the_source() {
    let peer = Peer::start(Act::Honest).await;
    let rig = Rig::new(&[&peer]).await;
    rig.run(stream_config("cam"), 2).await;
    for source in segments(2) {
        let path = rig.folder.path().join(format!("cam/72p/{}.ts", source.sequence));
        let info = segment_info(&std::fs::read(path).unwrap().into(), &MediaLimits::segment()).unwrap();
        assert_eq!(info.video.unwrap().pts, source.info.video.unwrap().pts);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_content_is_rejected_replaced_and_its_sender_barred() {
    let (cheat, honest) = (Peer::start(Act::WrongContent).await, Peer::start(Act::Honest).await);
    let rig = Rig::new(&[&cheat, &honest]).await;
    let config = StreamConfig { in_flight: 1, ..stream_config("cam") };
    // Whom the first draw takes is chance: a few segments bring the cheat its turn.
    let (summary, events) = rig.run(config, 8).await;
    assert_eq!((summary.totals.published, summary.totals.lost), (8, 0));
    if cheat.offered() == 0 {
        return;
    }
    assert!(has(&outcomes(&events), |o| matches!(o, AttemptOutcome::Rejected { .. })), "{events:?}");
    assert_eq!(cheat.offered(), 1, "a barred orchestrator is not asked again");
    let views = rig.broadcaster.orchestrators();
    let view = views.iter().find(|view| view.orchestrator.account == Some(cheat.account)).unwrap();
    assert_eq!(view.standing, Standing::Barred);
    let evidence = rig.broadcaster.evidence();
    assert_eq!(evidence.len(), 1);
    assert_eq!(evidence[0].orchestrator, cheat.account);
    assert_eq!(evidence[0].receipt.signature.len(), 65);
}

/// Every way to fail alone loses the segment with a clear error and leaves the node running; beside an honest
/// orchestrator nothing is lost.
async fn fails_over_from(act: Act) {
    let (bad, honest) = (Peer::start(act).await, Peer::start(Act::Honest).await);
    let rig = Rig::new(&[&bad, &honest]).await;
    let config = StreamConfig {
        in_flight: 1,
        // Silence is noticed by time alone: half of this.
        deadline: DeadlinePolicy { factor: 1, floor: Duration::from_secs(16) },
        ..stream_config("cam")
    };
    let stream = rig.broadcaster.stream(config).unwrap();
    for segment in segments(8) {
        let outcome = stream.push(segment).await.unwrap().outcome().await;
        assert!(outcome.is_ok(), "{act:?}: {outcome:?}");
        if bad.offered() > 0 {
            break;
        }
    }
    let summary = stream.finish().await;
    assert_eq!(summary.totals.lost, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_orchestrator_costs_a_failover() {
    fails_over_from(Act::Silent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orchestrator_gone_before_the_upload_costs_a_failover() {
    fails_over_from(Act::GoneBeforeUpload).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orchestrator_gone_during_the_upload_costs_a_failover() {
    fails_over_from(Act::GoneDuringUpload).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orchestrator_gone_after_the_upload_costs_a_failover() {
    fails_over_from(Act::GoneAfterUpload).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_rendition_costs_a_failover() {
    fails_over_from(Act::FewerRenditions).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rendition_of_another_size_costs_a_failover() {
    fails_over_from(Act::WrongSize).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_signed_by_somebody_else_costs_a_failover() {
    fails_over_from(Act::WrongSigner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_orchestrator_alone_cannot_blame_the_source() {
    fails_over_from(Act::BlamesSource).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_orchestrator_is_asked_again() {
    let peer = Peer::start(Act::Busy).await;
    let rig = Rig::new(&[&peer]).await;
    let (summary, events) = rig.run(stream_config("cam"), 1).await;
    assert_eq!(summary.totals.published, 1);
    assert!(has(&outcomes(&events), |o| matches!(o, AttemptOutcome::Refused { code, .. } if code == "busy")));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_honest_orchestrator_the_segment_is_lost_with_a_reason() {
    let (one, other) = (Peer::start(Act::WrongContent).await, Peer::start(Act::WrongSigner).await);
    let rig = Rig::new(&[&one, &other]).await;
    let stream = rig.broadcaster.stream(stream_config("cam")).unwrap();
    let segment = segments(1).remove(0);
    let error = stream.push(segment).await.unwrap().outcome().await.unwrap_err();
    assert!(error.to_string().contains("rejected"), "{error}");
    let summary = stream.finish().await;
    assert_eq!((summary.totals.lost, summary.totals.rejected), (1, 2));
    assert_eq!(summary.master_playlist, "", "nothing was published");
    assert!(rig.broadcaster.not_ready().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_orchestrator_the_error_says_so() {
    let rig = Rig::new(&[]).await;
    let config = StreamConfig {
        deadline: DeadlinePolicy { factor: 1, floor: Duration::from_secs(2) },
        ..stream_config("cam")
    };
    let stream = rig.broadcaster.stream(config).unwrap();
    let error = stream.push(segments(1).remove(0)).await.unwrap().outcome().await.unwrap_err();
    assert!(error.to_string().contains("no orchestrator"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_stream_takes_no_more_and_its_name_is_free() {
    let peer = Peer::start(Act::Honest).await;
    let rig = Rig::new(&[&peer]).await;
    let stream = rig.broadcaster.stream(stream_config("cam")).unwrap();
    assert!(rig.broadcaster.stream(stream_config("cam")).is_err());
    stream.finish().await;
    assert!(stream.push(segments(1).remove(0)).await.is_err());
    assert!(rig.broadcaster.stream(stream_config("cam")).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_comes_twice_is_refused() {
    let peer = Peer::start(Act::Honest).await;
    let rig = Rig::new(&[&peer]).await;
    let stream = rig.broadcaster.stream(stream_config("cam")).unwrap();
    let segment = segments(1).remove(0);
    drop(stream.push(segment.clone()).await.unwrap());
    let error = stream.push(segment).await.unwrap_err();
    assert!(error.to_string().contains("comes after segment 0"), "{error}");
}
