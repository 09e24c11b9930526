use bytes::Bytes;
use framemill_network::WireCode;
use framemill_orchestrator::OrchestratorEvent;
use framemill_transcoder::{Capacity, RenditionEvent, RenditionSink, RenditionSummary};

use crate::support::*;

/// More than [`LOTS`]: gets new sessions first.
const MOST: Capacity = Capacity { pixels_per_second: 2_000_000_000, max_sessions: 64 };

async fn send(sink: &RenditionSink, event: RenditionEvent) {
    let sink = sink.clone();
    let sent = tokio::task::spawn_blocking(move || sink.send(event)).await;
    sent.expect("a thread").expect("a receiver");
}

fn chunk(index: u32, data: Bytes) -> RenditionEvent {
    RenditionEvent::Chunk { index, data }
}

#[tokio::test]
async fn another_transcoder_takes_over_when_one_dies_in_mid_segment() {
    let mut market = Market::free().await;
    let (puppet, mut jobs) = Puppet::new();
    let dying = market.transcoder(puppet, MOST).await;
    let _healthy = market.software().await;
    let quote = market.session().await;

    let dies = async {
        let sink = next_job(&mut jobs).await;
        send(&sink, chunk(0, Bytes::from_static(b"the beginning of a rendition"))).await;
        dying.vanish().await;
    };
    let (result, ()) = tokio::join!(market.send(header(&quote, 0), clip()), dies);
    assert_whole(&result.expect("the other transcoder's result"));
}

#[tokio::test]
async fn another_transcoder_takes_over_when_one_returns_other_sizes() {
    let mut market = Market::free().await;
    let (puppet, mut jobs) = Puppet::new();
    let _cheat = market.transcoder(puppet, MOST).await;
    let _honest = market.software().await;
    let quote = market.session().await;

    let cheats = async {
        let sink = next_job(&mut jobs).await;
        for piece in clip().chunks(32 << 10) {
            send(&sink, chunk(0, Bytes::copy_from_slice(piece))).await;
        }
        let summary = RenditionSummary { frames: 30, pixels: 30 * 128 * 72, bytes: clip().len() as u64 };
        send(&sink, RenditionEvent::End { index: 0, summary }).await;
        sink
    };
    let (result, _sink) = tokio::join!(market.send(header(&quote, 0), clip()), cheats);
    assert_whole(&result.expect("the other transcoder's result"));
}

#[tokio::test]
async fn a_segment_whose_only_transcoder_dies_fails_and_can_be_sent_again() {
    let mut market = Market::free().await;
    let (puppet, mut jobs) = Puppet::new();
    let dying = market.transcoder(puppet, LOTS).await;
    let quote = market.session().await;

    let dies = async {
        let _sink = next_job(&mut jobs).await;
        dying.vanish().await;
    };
    let (result, ()) = tokio::join!(market.send(header(&quote, 0), clip()), dies);
    assert_eq!(code(result), Some(WireCode::TranscoderFailed));

    let _healthy = market.software().await;
    assert_whole(&market.send(header(&quote, 0), clip()).await.expect("a result"));
}

#[tokio::test]
async fn is_busy_before_the_upload_while_others_hold_all_capacity() {
    let mut config = framemill_orchestrator::OrchestratorConfig::default();
    config.sessions.quote_hold = std::time::Duration::ZERO;
    let mut market = Market::free_with(config).await;
    let (puppet, mut jobs) = Puppet::new();
    let one_session = Capacity { pixels_per_second: PIXELS * 3 / 2, max_sessions: 8 };
    let _worker = market.transcoder(puppet, one_session).await;
    let (first, second) = (market.session().await, market.session().await);

    let exchange =
        market.client.open_segment(market.network.peer_id(), header(&first, 0)).await.expect("accepted");
    let running = tokio::spawn(exchange.complete(clip()));
    let _sink = next_job(&mut jobs).await;
    let opened = market.client.open_segment(market.network.peer_id(), header(&second, 0)).await;
    assert_eq!(code(opened), Some(WireCode::Busy));
    assert_eq!(code(market.quote().await), Some(WireCode::Busy));
    running.abort();
}

#[tokio::test]
async fn a_transcoder_that_hangs_costs_the_segment_its_deadline_and_nothing_else() {
    let mut market = Market::free().await;
    let (puppet, mut jobs) = Puppet::new();
    let hanging = market.transcoder(puppet, LOTS).await;
    let quote = market.session().await;
    let mut soon = header(&quote, 0);
    soon.deadline = std::time::Duration::from_millis(1_500);
    let (result, _sink) = tokio::join!(market.send(soon, clip()), next_job(&mut jobs));
    assert!(result.is_err());
    market.until(|event| matches!(event, OrchestratorEvent::SegmentFailed { sequence: 0, .. })).await;

    hanging.vanish().await;
    let _healthy = market.software().await;
    assert_whole(&market.send(header(&quote, 0), clip()).await.expect("a result"));
}
