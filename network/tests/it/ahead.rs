//! What a segment costs on the wire: no round trip before its first byte, and little beside its media.

use bytes::Bytes;
use framemill_network::{
    Ladder, MAX_AHEAD_BYTES, Network, SegmentAccept, SegmentHeader, SegmentServer, WireCode, WireError,
};
use tokio::time::timeout;

use crate::proxy::Proxy;
use crate::support::*;

/// Bytes on the wire beyond media that one segment may cost, whatever its size: header, tickets, ends, receipt, and the frames
/// that they travel in.
const MAX_OVERHEAD: u64 = 2_048;
/// What the transport's own frames around media may add, in thousandths of the media.
const MAX_FRAMING: u64 = 2;

/// A ladder for a source of 2 Mbit/s, and how many bytes of each rendition come back for two seconds of it.
const LADDER: &str = "360:1200k,240:800k,144:400k";
const RENDITIONS: [usize; 3] = [300_000, 200_000, 100_000];
/// Bytes of a payment with one ticket.
const PAYMENT: usize = 377;

/// Buys one segment whose renditions have these sizes, and gives how many bytes of media went there and back.
async fn buy_sized(
    (client, server): (&Network, &Network),
    segments: &mut SegmentServer,
    source: &Bytes,
    renditions: [usize; 3],
) -> u64 {
    let ahead = source.slice(..source.len().min(MAX_AHEAD_BYTES));
    let ladder = LADDER.parse::<Ladder>().unwrap().resolve(&source_video()).unwrap();
    let header = SegmentHeader { ladder, payment: Bytes::from(vec![1; PAYMENT]), ..header(source) };
    let buying = async {
        let exchange = client.open_segment_ahead(server.peer_id(), header, ahead).await.unwrap();
        exchange.complete(source.clone()).await.unwrap()
    };
    let answers: Vec<_> = renditions.iter().map(|bytes| Bytes::from(vec![9; *bytes])).collect();
    let serving = async { answer(segments.next().await.unwrap(), source, &answers).await };
    let (result, ()) = timeout(LONG, async { tokio::join!(buying, serving) }).await.unwrap();
    assert_eq!(result.renditions, answers);
    (source.len() + renditions.iter().sum::<usize>()) as u64
}

async fn buy(client: &Network, server: &Network, segments: &mut SegmentServer, source: &Bytes) -> u64 {
    buy_sized((client, server), segments, source, RENDITIONS).await
}

#[tokio::test]
async fn the_first_source_bytes_do_not_wait_for_a_round_trip() {
    let server = node().await;
    let proxy = Proxy::before(&server).await;
    let mut segments = server.serve_segments(4).unwrap();
    let client = client_of(&server).await;
    client.add_peer(&proxy.service_address(&server)).unwrap();
    let source = source();
    buy(&client, &server, &mut segments, &source).await;

    // The connection is warm. From here on the client hears nothing, and still the server gets the source's first bytes.
    proxy.hold_answers(true);
    let ahead = source.slice(..MAX_AHEAD_BYTES);
    let buying = client.open_segment_ahead(server.peer_id(), header(&source), ahead.clone());
    let serving = async {
        let (mut reader, reply) =
            segments.next().await.unwrap().accept(SegmentAccept::default()).await.unwrap();
        let mut received = Vec::new();
        while received.len() < ahead.len() {
            received.extend_from_slice(&reader.next().await.unwrap().unwrap());
        }
        assert_eq!(received, ahead);
        proxy.hold_answers(false);
        reply
    };
    let (exchange, _reply) = timeout(LONG, async { tokio::join!(buying, serving) }).await.unwrap();
    assert_eq!(exchange.unwrap().upload.sent(), ahead.len() as u64);
}

#[tokio::test]
async fn a_refusal_wastes_no_more_than_what_goes_ahead() {
    let server = node().await;
    let proxy = Proxy::before(&server).await;
    let mut segments = server.serve_segments(4).unwrap();
    let client = client_of(&server).await;
    client.add_peer(&proxy.service_address(&server)).unwrap();
    let source = Bytes::from(vec![7; 8 * 1024 * 1024]);
    buy(&client, &server, &mut segments, &self::source()).await;
    let before = proxy.bytes();
    let buying =
        client.open_segment_ahead(server.peer_id(), header(&source), source.slice(..MAX_AHEAD_BYTES));
    let serving = async {
        let incoming = segments.next().await.unwrap();
        incoming.reject(WireError::new(WireCode::Busy, "no room")).await;
    };
    let (error, ()) = tokio::join!(buying, serving);
    assert_eq!(error.unwrap_err().wire_code(), Some(WireCode::Busy));
    let wasted = proxy.bytes() - before;
    assert!(wasted < MAX_AHEAD_BYTES as u64 + 2 * MAX_OVERHEAD, "{wasted} bytes");
}

#[tokio::test]
async fn more_than_may_go_ahead_is_not_sent() {
    let server = node().await;
    let client = client_of(&server).await;
    let source = Bytes::from(vec![7; MAX_AHEAD_BYTES + 1]);
    let error = client.open_segment_ahead(server.peer_id(), header(&source), source.clone()).await;
    assert!(matches!(error, Err(framemill_network::NetworkError::Unsendable { .. })), "{error:?}");
}

/// Counts what TCP carries in both directions over one warm connection: our messages, Yamux, Noise; without the headers of TCP.
/// Segments of hardly any media show what a segment costs, those of 2 s of 2 Mbit/s what its media add.
#[tokio::test]
async fn a_segment_costs_under_two_kibibytes_beyond_its_media() {
    let server = node().await;
    let proxy = Proxy::before(&server).await;
    let mut segments = server.serve_segments(4).unwrap();
    let client = client_of(&server).await;
    client.add_peer(&proxy.service_address(&server)).unwrap();
    const SEGMENTS: u64 = 20;
    let mut overheads = Vec::new();
    for (source, renditions) in [(1_000, [500; 3]), (500_000, RENDITIONS)] {
        let source = Bytes::from(vec![7; source]);
        buy_sized((&client, &server), &mut segments, &source, renditions).await;
        let before = proxy.bytes();
        let mut media = 0;
        for _ in 0..SEGMENTS {
            media += buy_sized((&client, &server), &mut segments, &source, renditions).await;
        }
        let (overhead, media) = ((proxy.bytes() - before - media) / SEGMENTS, media / SEGMENTS);
        println!("TCP carried {overhead} bytes per segment beyond {media} of media");
        overheads.push((overhead, media));
    }
    let [(small, few), (large, many)] = overheads[..] else { unreachable!("two sizes") };
    assert!(small < MAX_OVERHEAD, "{small} bytes per segment");
    let framing = (large - small) * 1_000 / (many - few);
    assert!(framing < MAX_FRAMING, "{framing} thousandths");
}

#[tokio::test]
async fn busy_is_heard_before_anything_is_uploaded_where_nothing_goes_ahead() {
    let server = node().await;
    let proxy = Proxy::before(&server).await;
    let mut segments = server.serve_segments(4).unwrap();
    let client = client_of(&server).await;
    client.add_peer(&proxy.service_address(&server)).unwrap();
    buy(&client, &server, &mut segments, &self::source()).await;
    let before = proxy.bytes();
    let source = Bytes::from(vec![7; 8 * 1024 * 1024]);
    let header = SegmentHeader { payment: Bytes::from(vec![1; 400]), ..header(&source) };
    let opening = client.open_segment(server.peer_id(), header);
    let serving = async {
        let incoming = segments.next().await.unwrap();
        incoming.reject(WireError::new(WireCode::Busy, "no room")).await;
    };
    let (error, ()) = tokio::join!(opening, serving);
    assert_eq!(error.unwrap_err().wire_code(), Some(WireCode::Busy));
    assert!(proxy.bytes() - before < 2 * MAX_OVERHEAD, "{} bytes", proxy.bytes() - before);
}
