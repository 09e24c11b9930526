//! What a peer may use over all its streams and connections, and what it loses by going beyond.

use std::time::{Duration, Instant};

use bytes::Bytes;
use framemill_network::{Network, SegmentAccept, SegmentHeader};
use tokio::time::timeout;

use crate::raw::*;
use crate::support::*;

/// Opens streams and spoils them until the server hangs up; how many there were.
async fn spoil_until_hung_up(server: &Network, peer: &RawPeer, bytes: &[u8]) -> usize {
    timeout(LONG, async {
        let mut streams = 0;
        while let Some(mut stream) = peer.try_open(server, QUOTE).await {
            try_send(&mut stream, bytes).await;
            read_to_end(&mut stream).await;
            streams += 1;
        }
        streams
    })
    .await
    .expect("the server hangs up")
}

#[tokio::test]
async fn a_peer_that_keeps_breaking_the_protocol_is_banned_within_a_few_messages() {
    let server = node().await;
    let _quotes = server.serve_quotes(4).unwrap();
    let (villain, neighbour) = (RawPeer::start(Some(&server)).await, RawPeer::start(Some(&server)).await);
    let streams = spoil_until_hung_up(&server, &villain, &[0]).await;
    // Ten at once are too many; what leaked away meanwhile, and what was open already, comes on top.
    assert!((10..100).contains(&streams), "{streams} streams");
    assert!(server.is_banned(villain.peer) && !server.is_banned(neighbour.peer));
    assert!(neighbour.try_open(&server, QUOTE).await.is_some());
}

#[tokio::test]
async fn a_peer_that_floods_streams_is_banned() {
    let server = node_with(|config| {
        config.limits.request_burst = 1;
        config.limits.requests_per_second = 1;
    })
    .await;
    let _quotes = server.serve_quotes(4).unwrap();
    let villain = RawPeer::start(Some(&server)).await;
    let flood = async {
        let mut streams = Vec::new();
        while let Some(mut stream) = villain.try_open(&server, QUOTE).await {
            try_send(&mut stream, &[0x80]).await;
            streams.push(stream);
        }
        streams.len()
    };
    let streams = timeout(LONG, flood).await.expect("the server hangs up");
    assert!(streams >= 50 && server.is_banned(villain.peer), "{streams} streams");
}

#[tokio::test]
async fn a_banned_peer_does_not_come_back_by_another_connection() {
    let server = node().await;
    let mut quotes = server.serve_quotes(4).unwrap();
    let client = client_of(&server).await;
    server.ban(client.peer_id(), Duration::from_secs(3_600));
    let request = quote_request();
    tokio::select! {
        result = client.request_quote(server.peer_id(), &request, LONG) => assert!(result.is_err()),
        _ = quotes.next() => panic!("a banned peer was served"),
    }
}

async fn another_is_turned_away(server: &Network) {
    let mut quotes = server.serve_quotes(4).unwrap();
    let _first = RawPeer::start(Some(server)).await;
    let second = client_of(server).await;
    let request = quote_request();
    tokio::select! {
        result = second.request_quote(server.peer_id(), &request, LONG) => assert!(result.is_err()),
        _ = quotes.next() => panic!("a second connection was taken"),
    }
}

#[tokio::test]
async fn an_address_has_a_bounded_number_of_connections() {
    another_is_turned_away(&node_with(|config| config.limits.max_connections_per_address = 1).await).await;
}

#[tokio::test]
async fn one_peer_keeps_a_bounded_number_of_connections() {
    const MOST: usize = 4;
    let server = node().await;
    let kept = timeout(LONG, RawPeer::connect_often(&server, 3 * MOST, MOST)).await;
    assert!((1..=MOST).contains(&kept.expect("connections beyond the bound are closed")));
}

#[tokio::test]
async fn an_address_that_connects_too_often_is_turned_away() {
    let often = node_with(|config| {
        config.limits.connection_burst = 1;
        config.limits.connections_per_second = 1;
    })
    .await;
    let mut quotes = often.serve_quotes(4).unwrap();
    let _first = RawPeer::start(Some(&often)).await;
    // Each tries both transports: some of the many have to fail.
    let clients = futures::future::join_all((0..4).map(|_| client_of(&often))).await;
    let request = quote_request();
    let asking = clients.iter().map(|client| client.request_quote(often.peer_id(), &request, LONG));
    let serving = async {
        while let Some(incoming) = quotes.next().await {
            let quote = quote_for(&often, &incoming);
            incoming.respond(Ok(quote));
        }
    };
    let asked = tokio::select! {
        asked = futures::future::join_all(asking) => asked,
        () = serving => unreachable!("the server goes on"),
    };
    assert!(asked.iter().any(Result::is_err), "{asked:?}");
}

#[tokio::test]
async fn a_peer_above_its_byte_rate_is_slowed_down_and_loses_nothing() {
    let server = node_with(|config| config.limits.bytes_per_second = 200_000).await;
    let mut segments = server.serve_segments(4).unwrap();
    let client = client_of(&server).await;
    let source = Bytes::from(vec![5; 600_000]);
    let began = Instant::now();
    let header = SegmentHeader { ..header(&source) };
    let uploading = async {
        let exchange = client.open_segment(server.peer_id(), header).await.unwrap();
        let mut upload = exchange.upload;
        upload.send(source.clone()).await.unwrap();
        upload.finish().await.unwrap();
        exchange.download
    };
    let serving = async {
        let (reader, reply) = segments.next().await.unwrap().accept(SegmentAccept::default()).await.unwrap();
        (reader.read_all().await.unwrap(), reply)
    };
    let (_download, (received, _reply)) = tokio::join!(uploading, serving);
    assert_eq!(received, source);
    // Two seconds' worth went at once; no clock can make the rest take less than it is worth.
    assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
}
