use bytes::Bytes;
use framemill_media::{ClipSpec, MediaLimits, Rational, generate_clip};
use framemill_network::WireCode;

use crate::support::*;

/// Sends `source` as the clip it is not, expects `expected`, then a good segment under the same number.
async fn refused_and_still_working(source: Bytes, expected: WireCode) {
    let mut market = Market::free().await;
    let _worker = market.software().await;
    let quote = market.session().await;
    let bad = market.send(header_for(&quote, 0, &source), source).await;
    assert_eq!(code(bad), Some(expected));
    assert_whole(&market.send(header(&quote, 0), clip()).await.expect("a result after a refusal"));
}

#[tokio::test]
async fn refuses_a_text_file() {
    let text = Bytes::from("all work and no play makes jack a dull boy\n".repeat(1000));
    refused_and_still_working(text, WireCode::BadMedia).await;
}

#[tokio::test]
async fn refuses_a_truncated_segment() {
    let half = clip().slice(..clip().len() / 2);
    refused_and_still_working(half, WireCode::SourceMismatch).await;
}

#[tokio::test]
async fn refuses_another_frame_count_than_announced() {
    let spec = ClipSpec::new(320, 180, Rational::new(25, 1), 1);
    let other = generate_clip(&spec, &MediaLimits::default()).expect("a clip");
    refused_and_still_working(other, WireCode::SourceMismatch).await;
}

#[tokio::test]
async fn refuses_an_empty_segment_before_the_upload() {
    let mut market = Market::free().await;
    let _worker = market.software().await;
    let quote = market.session().await;
    let sent = market.send(header_for(&quote, 0, &Bytes::new()), Bytes::new()).await;
    assert!(sent.is_err());
    assert_whole(&market.send(header(&quote, 0), clip()).await.expect("a result after a refusal"));
}

#[tokio::test]
async fn refuses_a_source_with_another_hash_than_announced() {
    let mut market = Market::free().await;
    let _worker = market.software().await;
    let quote = market.session().await;
    let mut wrong = header(&quote, 0);
    wrong.source_sha256 = alloy_primitives::B256::repeat_byte(1);
    assert_eq!(code(market.send(wrong, clip()).await), Some(WireCode::SourceMismatch));
    assert_whole(&market.send(header(&quote, 0), clip()).await.expect("a result after a refusal"));
}

#[tokio::test]
async fn refuses_more_pixels_than_the_quoted_rate_before_the_upload() {
    let mut market = Market::free().await;
    let _worker = market.software().await;
    let quote = market.session().await;
    let mut fast = header(&quote, 0);
    fast.frames = 240;
    let opened = market.client.open_segment(market.network.peer_id(), fast).await;
    assert_eq!(code(opened), Some(WireCode::TooLarge));
}

#[tokio::test]
async fn refuses_a_segment_that_is_too_long_before_the_upload() {
    let mut market = Market::free().await;
    let _worker = market.software().await;
    let quote = market.session().await;
    let mut long = header(&quote, 0);
    long.duration_90k = 36_000 * 90_000;
    let opened = market.client.open_segment(market.network.peer_id(), long).await;
    assert!(opened.is_err());
    assert_whole(&market.send(header(&quote, 0), clip()).await.expect("a result after a refusal"));
}

#[tokio::test]
async fn a_client_that_goes_away_during_the_upload_frees_its_place() {
    let mut market = Market::free().await;
    let _worker = market.software().await;
    let quote = market.session().await;
    let mut exchange =
        market.client.open_segment(market.network.peer_id(), header(&quote, 0)).await.expect("accepted");
    exchange.upload.send(clip().slice(..1000)).await.expect("some bytes");
    drop(exchange);
    market
        .until(|event| {
            matches!(event, framemill_orchestrator::OrchestratorEvent::SegmentFailed { sequence: 0, .. })
        })
        .await;
    assert_whole(&market.send(header(&quote, 0), clip()).await.expect("a result after a break"));
}
