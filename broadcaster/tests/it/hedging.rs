//! An orchestrator that turns slow: the spare has the segment too, and what is known of both outlives the process.

use std::sync::Arc;
use std::time::Duration;

use framemill_broadcaster::HedgePolicy;
use framemill_broadcaster::Standing;
use framemill_broadcaster::{
    AttemptOutcome, BroadcasterConfig, HedgeWinner, OrchestratorView, StreamConfig, StreamEvent,
    StreamHandle, StreamSummary,
};
use futures::StreamExt;
use prometheus::Registry;

use crate::payment::payer_with_books;
use crate::support::{Act, Peer, Rig, segments, stream_config};

/// A copy goes out after four times the duration of a segment, which nothing but silence takes: nothing here is about speed.
fn patient(peers: &[&Arc<Peer>]) -> BroadcasterConfig {
    BroadcasterConfig {
        orchestrators: peers.iter().map(|peer| (peer.account, peer.service()).into()).collect(),
        hedging: HedgePolicy { least: 4.0, unknown: 4.0, ..HedgePolicy::default() },
        ..BroadcasterConfig::default()
    }
}

/// More segments than it takes for each of two to have its turn.
const MANY: u32 = 24;

fn view(rig: &Rig, peer: &Arc<Peer>) -> OrchestratorView {
    let views = rig.broadcaster.orchestrators();
    views.into_iter().find(|view| view.orchestrator.account == Some(peer.account)).unwrap()
}

/// Pushes segments one by one until `peer` was offered one that it will not answer; every one must be published.
async fn push_until_offered(stream: &StreamHandle, peer: &Arc<Peer>) -> Option<HedgeWinner> {
    let before = peer.offered();
    for segment in segments(MANY) {
        let result = stream.push(segment).await.unwrap().outcome().await.unwrap();
        if peer.offered() > before {
            return result.report.hedge;
        }
    }
    panic!("{MANY} segments and none for the slow one");
}

async fn events_of(
    stream: StreamHandle,
    events: impl StreamExt<Item = StreamEvent>,
) -> (StreamSummary, Vec<StreamEvent>) {
    let summary = stream.finish().await;
    drop(stream);
    let events = events.take_while(|event| std::future::ready(!matches!(event, StreamEvent::Ended(_))));
    (summary, events.collect().await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_of_one_that_turned_silent_is_delivered_by_the_spare_and_nobody_is_blamed() {
    let folder = tempfile::tempdir().unwrap();
    let (sender, _books) = payer_with_books(&folder).await;
    let (slow, spare) = (Peer::start_at(Act::Silent, 10).await, Peer::start_at(Act::Honest, 10).await);
    let registry = Registry::new();
    let config = patient(&[&slow, &spare]);
    let rig = Rig::with(&[], |builder| builder.config(config).payer(sender).registry(registry.clone())).await;
    let stream = rig.broadcaster.stream(StreamConfig { in_flight: 1, ..stream_config("cam") }).unwrap();
    let events = Box::pin(stream.events());
    assert_eq!(push_until_offered(&stream, &slow).await, Some(HedgeWinner::Spare));
    let (summary, events) = events_of(stream, events).await;

    let totals = &summary.totals;
    assert_eq!((totals.lost, totals.hedges, totals.outpaced, totals.failovers), (0, 1, 1, 0));
    let outpaced = events.iter().find_map(|event| match event {
        StreamEvent::Attempt(attempt) if attempt.orchestrator == slow.account => Some(attempt.clone()),
        _ => None,
    });
    let outpaced = outpaced.unwrap();
    assert!(matches!(outpaced.result, AttemptOutcome::Outpaced { .. }), "{outpaced:?}");
    // What the slow one was sent is accounted, and beside what the others were.
    assert!(outpaced.tickets > 0 && totals.outpaced_value == outpaced.expected_value, "{totals:?}");
    let sent = events.iter().map(|event| match event {
        StreamEvent::Attempt(attempt) => u64::from(attempt.tickets),
        _ => 0,
    });
    assert_eq!(totals.tickets, sent.sum::<u64>());
    assert_eq!(view(&rig, &slow).standing, Standing::Good);
    assert_eq!(view(&rig, &slow).performance.failed, 0);
    let metrics = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    assert!(metrics.contains(r#"framemill_broadcaster_hedges_total{winner="spare"} 1"#), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_share_for_copies_only_failure_moves_a_segment_on() {
    let (slow, other) = (Peer::start(Act::GoneAfterUpload).await, Peer::start(Act::Honest).await);
    let mut config = patient(&[&slow, &other]);
    config.hedging.share = 0.0;
    let rig = Rig::with(&[], |builder| builder.config(config)).await;
    let stream = rig.broadcaster.stream(StreamConfig { in_flight: 1, ..stream_config("cam") }).unwrap();
    assert_eq!(push_until_offered(&stream, &slow).await, None);
    let totals = stream.finish().await.totals;
    assert_eq!((totals.lost, totals.hedges, totals.failovers), (0, 0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_copy_is_rejected_and_its_sender_barred_as_ever() {
    let (slow, cheat) = (Peer::start(Act::Silent).await, Peer::start(Act::WrongContent).await);
    let honest = Peer::start(Act::Honest).await;
    let config = patient(&[&slow, &cheat, &honest]);
    let rig = Rig::with(&[], |builder| builder.config(config)).await;
    let stream = rig.broadcaster.stream(StreamConfig { in_flight: 1, ..stream_config("cam") }).unwrap();
    for segment in segments(MANY) {
        stream.push(segment).await.unwrap().outcome().await.unwrap();
        if cheat.offered() > 0 && slow.offered() > 0 {
            break;
        }
    }
    let totals = stream.finish().await.totals;
    assert_eq!(totals.lost, 0);
    if cheat.offered() > 0 {
        assert_eq!((totals.rejected, view(&rig, &cheat).standing), (1, Standing::Barred));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_a_cheat_suspended_and_what_was_measured() {
    let (cheat, honest) = (Peer::start(Act::WrongContent).await, Peer::start(Act::Honest).await);
    let folder = tempfile::tempdir().unwrap();
    let rig = async || {
        let memory = Some(folder.path().join("orchestrators.json"));
        let config = BroadcasterConfig { memory, ..patient(&[&cheat, &honest]) };
        Rig::with(&[], |builder| builder.config(config)).await
    };
    let first = rig().await;
    let stream = first.broadcaster.stream(StreamConfig { in_flight: 1, ..stream_config("cam") }).unwrap();
    for segment in segments(MANY) {
        stream.push(segment).await.unwrap().outcome().await.unwrap();
        if cheat.offered() > 0 {
            break;
        }
    }
    stream.finish().await;
    let known = view(&first, &honest).performance;
    first.broadcaster.shutdown(Duration::from_secs(5)).await;

    let second = rig().await;
    assert_eq!(view(&second, &cheat).standing, Standing::Barred);
    let again = view(&second, &honest).performance;
    assert_eq!((again.delivered, again.slowness), (known.delivered, known.slowness));
    let offered = cheat.offered();
    let (summary, _) = second.run(stream_config("cam"), 3).await;
    assert_eq!((summary.totals.published, cheat.offered()), (3, offered));
}
