use std::time::Duration;

use framemill_network::{
    Network, NetworkError, ProtocolError, SegmentAccept, SourceReader, WireCode, WorkToken,
};
use futures::AsyncWriteExt;
use libp2p::Stream;

use crate::raw::*;
use crate::support::*;

const TICK: Duration = Duration::from_millis(20);

/// An orchestrator that serves everything, with short waits.
async fn impatient() -> Network {
    node_with(|config| {
        config.timeouts.message = Duration::from_millis(400);
        config.timeouts.rate_grace = Duration::from_millis(100);
        config.limits.min_upload_rate = 10_000;
    })
    .await
}

/// A raw peer's segment that the orchestrator accepted.
async fn accepted(server: &Network, source: &[u8]) -> (RawPeer, Stream, SourceReader) {
    let mut segments = server.serve_segments(4).unwrap();
    let peer = RawPeer::start(Some(server)).await;
    let mut stream = peer.open(server, SEGMENT).await;
    send(&mut stream, &segment_header(source)).await;
    let incoming = segments.next().await.unwrap();
    let (reader, _reply) = incoming.accept(SegmentAccept::default()).await.unwrap();
    (peer, stream, reader)
}

#[tokio::test]
async fn a_length_of_four_gibibytes_is_refused_on_every_protocol() {
    let server = node().await;
    let _quotes = server.serve_quotes(4).unwrap();
    let _segments = server.serve_segments(4).unwrap();
    let _work = server.serve_work(WorkToken::generate(), 4).unwrap();
    let peer = RawPeer::start(Some(&server)).await;
    for protocol in [QUOTE, SEGMENT, WORK] {
        let mut stream = peer.open(&server, protocol).await;
        assert!(try_send(&mut stream, &FOUR_GIBIBYTES).await);
        assert_eq!(error_code(&mut stream).await, Some(WireCode::TooLarge.number()), "{protocol}");
    }
}

#[tokio::test]
async fn a_length_of_four_gibibytes_in_mid_upload_ends_the_segment() {
    let server = node().await;
    let (_peer, mut stream, reader) = accepted(&server, b"source").await;
    try_send(&mut stream, &FOUR_GIBIBYTES).await;
    let error = reader.read_all().await.unwrap_err();
    assert!(matches!(error, NetworkError::Protocol(ProtocolError::MessageTooLarge { .. })), "{error}");
}

#[tokio::test]
async fn noise_instead_of_a_message_is_refused_on_every_protocol() {
    let server = node().await;
    let _quotes = server.serve_quotes(4).unwrap();
    let _segments = server.serve_segments(4).unwrap();
    let _work = server.serve_work(WorkToken::generate(), 4).unwrap();
    let peer = RawPeer::start(Some(&server)).await;
    for protocol in [QUOTE, SEGMENT, WORK] {
        let mut stream = peer.open(&server, protocol).await;
        assert!(try_send(&mut stream, &[8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).await);
        assert_eq!(error_code(&mut stream).await, Some(WireCode::BadRequest.number()), "{protocol}");
    }
}

#[tokio::test]
async fn a_header_that_comes_byte_by_byte_is_cut_off() {
    let server = impatient().await;
    let _segments = server.serve_segments(4).unwrap();
    let peer = RawPeer::start(Some(&server)).await;
    let mut stream = peer.open(&server, SEGMENT).await;
    let bytes = framed(&segment_header(b"source"));
    let mut sent = 0;
    for byte in &bytes {
        if !try_send(&mut stream, &[*byte]).await {
            break;
        }
        sent += 1;
        tokio::time::sleep(TICK).await;
    }
    assert!(sent < bytes.len());
    assert_eq!(error_code(&mut stream).await, Some(WireCode::TooSlow.number()));
}

#[tokio::test]
async fn a_source_that_comes_byte_by_byte_is_cut_off() {
    let server = impatient().await;
    let source = vec![1; 100_000];
    let (_peer, mut stream, reader) = accepted(&server, &source).await;
    let trickle = async {
        let chunk = framed(&source_chunk(&[1]));
        while try_send(&mut stream, &chunk).await {
            tokio::time::sleep(TICK).await;
        }
    };
    let error = tokio::select! {
        result = reader.read_all() => result.unwrap_err(),
        () = trickle => panic!("the reader was still waiting"),
    };
    assert!(matches!(error, NetworkError::Protocol(ProtocolError::TooSlow { .. })), "{error}");
}

#[tokio::test]
async fn a_silent_uploader_is_cut_off() {
    let server = impatient().await;
    let (_peer, _stream, reader) = accepted(&server, b"source").await;
    let error = reader.read_all().await.unwrap_err();
    assert!(matches!(error, NetworkError::Timeout { .. }), "{error}");
}

#[tokio::test]
async fn more_bytes_than_announced_end_the_segment() {
    let server = node().await;
    let (_peer, mut stream, reader) = accepted(&server, b"source").await;
    send(&mut stream, &source_chunk(b"source")).await;
    send(&mut stream, &source_chunk(b"!")).await;
    let error = reader.read_all().await.unwrap_err();
    assert!(
        matches!(error, NetworkError::Protocol(ProtocolError::SourceTooLong { announced: 6 })),
        "{error}"
    );
}

#[tokio::test]
async fn fewer_bytes_than_announced_end_the_segment() {
    let server = node().await;
    let (_peer, mut stream, reader) = accepted(&server, b"source").await;
    send(&mut stream, &source_chunk(b"sour")).await;
    stream.close().await.unwrap();
    let error = reader.read_all().await.unwrap_err();
    assert!(matches!(error, NetworkError::Protocol(ProtocolError::Truncated { .. })), "{error}");
}

#[tokio::test]
async fn other_bytes_than_announced_end_the_segment() {
    let server = node().await;
    let (_peer, mut stream, reader) = accepted(&server, b"source").await;
    send(&mut stream, &source_chunk(b"forged")).await;
    stream.close().await.unwrap();
    let error = reader.read_all().await.unwrap_err();
    assert!(matches!(error, NetworkError::Protocol(ProtocolError::SourceHash)), "{error}");
}

#[tokio::test]
async fn a_source_of_exabytes_is_refused_from_its_header() {
    let server = node().await;
    let _segments = server.serve_segments(4).unwrap();
    let peer = RawPeer::start(Some(&server)).await;
    let mut stream = peer.open(&server, SEGMENT).await;
    let header = proto::SegmentHeader { source_len: u64::MAX, ..segment_header(b"source") };
    send(&mut stream, &header).await;
    assert_eq!(error_code(&mut stream).await, Some(WireCode::TooLarge.number()));
}

#[tokio::test]
async fn headers_out_of_bounds_are_refused() {
    let server = node().await;
    let _segments = server.serve_segments(4).unwrap();
    let peer = RawPeer::start(Some(&server)).await;
    let good = segment_header(b"source");
    let bad = [
        proto::SegmentHeader { frames: u32::MAX, ..good.clone() },
        proto::SegmentHeader { duration_90k: u64::MAX, ..good.clone() },
        proto::SegmentHeader { session: vec![1; 31].into(), ..good.clone() },
        proto::SegmentHeader { ladder: Default::default(), ..good.clone() },
        proto::SegmentHeader { ladder: [0x0a, 0x00].repeat(600).into(), ..good },
    ];
    for header in bad {
        let mut stream = peer.open(&server, SEGMENT).await;
        send(&mut stream, &header).await;
        assert_eq!(error_code(&mut stream).await, Some(WireCode::BadRequest.number()), "{header:?}");
    }
}

#[tokio::test]
async fn more_streams_than_allowed_are_refused_while_the_others_live() {
    let server = node_with(|config| config.limits.max_streams_per_peer = 2).await;
    let _segments = server.serve_segments(4).unwrap();
    let peer = RawPeer::start(Some(&server)).await;
    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut stream = peer.open(&server, SEGMENT).await;
        assert!(try_send(&mut stream, &[0x80]).await);
        streams.push(stream);
    }
    let mut third = peer.open(&server, SEGMENT).await;
    // The refusal may come before the first byte has left.
    try_send(&mut third, &[0x80]).await;
    assert_eq!(error_code(&mut third).await, Some(WireCode::RateLimited.number()));
}

#[tokio::test]
async fn more_requests_than_allowed_are_refused() {
    let server = node_with(|config| {
        config.limits.request_burst = 3;
        config.limits.requests_per_second = 1;
    })
    .await;
    let _quotes = server.serve_quotes(4).unwrap();
    let peer = RawPeer::start(Some(&server)).await;
    let mut codes = Vec::new();
    for _ in 0..4 {
        let mut stream = peer.open(&server, QUOTE).await;
        try_send(&mut stream, &[0]).await;
        codes.push(error_code(&mut stream).await.unwrap());
    }
    let (bad, limited) = (WireCode::BadRequest.number(), WireCode::RateLimited.number());
    assert_eq!(codes, [bad, bad, bad, limited]);
}

#[tokio::test]
async fn one_peer_at_its_limit_does_not_hinder_another() {
    let server = node_with(|config| config.limits.max_streams_per_peer = 1).await;
    let _quotes = server.serve_quotes(4).unwrap();
    let (greedy, modest) = (RawPeer::start(Some(&server)).await, RawPeer::start(Some(&server)).await);
    let mut held = greedy.open(&server, QUOTE).await;
    assert!(try_send(&mut held, &[0x80]).await);
    let mut stream = modest.open(&server, QUOTE).await;
    assert!(try_send(&mut stream, &[0]).await);
    assert_eq!(error_code(&mut stream).await, Some(WireCode::BadRequest.number()));
}

#[tokio::test]
async fn connections_beyond_the_limit_are_refused() {
    let server = node_with(|config| config.limits.max_connections = 1).await;
    let mut quotes = server.serve_quotes(4).unwrap();
    let _first = RawPeer::start(Some(&server)).await;
    let second = client_of(&server).await;
    let request = quote_request();
    tokio::select! {
        result = second.request_quote(server.peer_id(), &request, LONG) => assert!(result.is_err()),
        _ = quotes.next() => panic!("a second connection was taken"),
    }
}
