use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use framemill_network::{
    NetworkError, SegmentAccept, SegmentEvent, SegmentHeader, ServiceAddress, WireCode, WireError,
};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::timeout;

use crate::support::*;

async fn a_segment_goes_there_and_back_over(transport: &str) {
    let orchestrator = node().await;
    let mut segments = orchestrator.serve_segments(4).unwrap();
    let broadcaster = client_of(&orchestrator).await;
    let only =
        orchestrator.listen_addresses().into_iter().filter(|address| address.to_string().contains(transport));
    let service = ServiceAddress::new(orchestrator.peer_id(), only.collect()).unwrap();
    broadcaster.add_peer(&service).unwrap();
    let serving = async {
        let incoming = segments.next().await.unwrap();
        assert_eq!(incoming.peer(), broadcaster.peer_id());
        assert_eq!(incoming.header().payment, &b"tickets"[..]);
        transcode(incoming).await;
    };
    let source = source();
    let buying = async {
        let exchange = broadcaster.open_segment(orchestrator.peer_id(), header(&source)).await.unwrap();
        exchange.complete(source.clone()).await.unwrap()
    };
    let (result, ()) = tokio::join!(buying, serving);
    for (index, rendition) in result.renditions.iter().enumerate() {
        assert_eq!((rendition[0], &rendition[1..]), (index as u8, &source[..]));
    }
    assert_eq!((result.ends.len(), result.receipt.receipt.round), (2, 9));
}

#[tokio::test]
async fn a_segment_goes_there_and_back_over_quic() {
    a_segment_goes_there_and_back_over("quic").await;
}

#[tokio::test]
async fn a_segment_goes_there_and_back_over_tcp() {
    a_segment_goes_there_and_back_over("/tcp/").await;
}

#[tokio::test]
async fn a_refusal_comes_before_the_upload_with_fresh_parameters() {
    let orchestrator = node().await;
    let mut segments = orchestrator.serve_segments(4).unwrap();
    let broadcaster = client_of(&orchestrator).await;
    let stale =
        WireError::new(WireCode::PaymentParamsStale, "pay again").with_details(Bytes::from_static(b"fresh"));
    let serving = async { segments.next().await.unwrap().reject(stale.clone()).await };
    let opening = broadcaster.open_segment(orchestrator.peer_id(), header(&source()));
    match tokio::join!(opening, serving).0 {
        Err(NetworkError::Refused(error)) => assert_eq!(error, stale),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_failure_in_mid_upload_reaches_the_broadcaster_as_its_reason() {
    for transport in ["quic", "/tcp/"] {
        let orchestrator = node().await;
        let mut segments = orchestrator.serve_segments(4).unwrap();
        let broadcaster = client_of(&orchestrator).await;
        let only = orchestrator
            .listen_addresses()
            .into_iter()
            .filter(|address| address.to_string().contains(transport));
        let service = ServiceAddress::new(orchestrator.peer_id(), only.collect()).unwrap();
        broadcaster.add_peer(&service).unwrap();
        let serving = async {
            let incoming = segments.next().await.unwrap();
            let (mut reader, reply) = incoming.accept(SegmentAccept::default()).await.unwrap();
            reader.next().await.unwrap();
            reply.fail(WireError::new(WireCode::TranscoderFailed, "gone")).await;
        };
        let source = Bytes::from(vec![3; 8 * 1024 * 1024]);
        let buying = async {
            let exchange = broadcaster.open_segment(orchestrator.peer_id(), header(&source)).await.unwrap();
            exchange.complete(source.clone()).await
        };
        let error = tokio::join!(buying, serving).0.unwrap_err();
        assert_eq!(error.wire_code(), Some(WireCode::TranscoderFailed), "{transport}: {error}");
    }
}

#[tokio::test]
async fn renditions_arrive_before_the_upload_ends() {
    let orchestrator = node().await;
    let mut segments = orchestrator.serve_segments(4).unwrap();
    let broadcaster = client_of(&orchestrator).await;
    let source = source();
    let serving = async {
        let incoming = segments.next().await.unwrap();
        let (mut reader, mut reply) = incoming.accept(SegmentAccept::default()).await.unwrap();
        reader.next().await.unwrap().unwrap();
        reply.chunk(0, Bytes::from_static(b"early")).await.unwrap();
        (reader, reply)
    };
    let buying = async {
        let mut exchange = broadcaster.open_segment(orchestrator.peer_id(), header(&source)).await.unwrap();
        exchange.upload.send(source.slice(..10)).await.unwrap();
        let event = exchange.download.next().await.unwrap();
        (event, exchange)
    };
    let ((event, _exchange), _) = tokio::join!(buying, serving);
    assert!(matches!(event, Some(SegmentEvent::Chunk(chunk)) if chunk.data == b"early"[..]));
}

#[tokio::test]
async fn a_restarted_rendition_replaces_what_came_of_it() {
    let orchestrator = node().await;
    let mut segments = orchestrator.serve_segments(4).unwrap();
    let broadcaster = client_of(&orchestrator).await;
    let serving = async {
        let incoming = segments.next().await.unwrap();
        let (_reader, mut reply) = incoming.accept(SegmentAccept::default()).await.unwrap();
        reply.chunk(0, Bytes::from_static(b"void")).await.unwrap();
        reply.restart_rendition(0).await.unwrap();
        reply.chunk(0, Bytes::from_static(b"anew")).await.unwrap();
        let header = header(&source());
        reply.end(0, pixels(&header, 0), header.frames, Default::default(), None).await.unwrap()
    };
    let buying = async {
        let mut exchange = broadcaster.open_segment(orchestrator.peer_id(), header(&source())).await.unwrap();
        let mut events = Vec::new();
        while !matches!(events.last(), Some(SegmentEvent::End(_))) {
            events.push(exchange.download.next().await.unwrap().unwrap());
        }
        events
    };
    let (events, end) = tokio::join!(buying, serving);
    assert_eq!(events[1], SegmentEvent::Restart { index: 0 });
    assert_eq!((end.sha256, events.last().unwrap()), (sha256(b"anew"), &SegmentEvent::End(end)));
}

#[tokio::test]
async fn a_slow_reader_stops_the_writer_and_loses_nothing() {
    let unread = unread_bytes("/ip4/127.0.0.1/udp/0/quic-v1").await;
    assert!(unread <= 2 * 1024 * 1024, "{unread} bytes without a reader");
}

#[tokio::test]
async fn a_slow_reader_stops_the_writer_over_tcp_before_sockets_are_full() {
    let unread = unread_bytes("/ip4/127.0.0.1/tcp/0").await;
    assert!(unread <= 1024 * 1024, "{unread} bytes without a reader");
}

/// Bytes that a writer gets rid of before a reader that does not read stops it; all of them are read then.
async fn unread_bytes(listen: &str) -> usize {
    let orchestrator = node_with(|config| {
        config.timeouts.message = LONG;
        config.listen = vec![listen.parse().unwrap()];
    })
    .await;
    let mut segments = orchestrator.serve_segments(4).unwrap();
    let broadcaster = client_of(&orchestrator).await;
    let header = SegmentHeader { source_len: 32 * 1024 * 1024, ..header(&source()) };
    let (sent, total) = (AtomicUsize::new(0), 800_usize);
    // Each fits one message.
    let chunk = Bytes::from(vec![1; 32 * 1024]);
    let serving = async {
        let incoming = segments.next().await.unwrap();
        let (_reader, mut reply) = incoming.accept(SegmentAccept::default()).await.unwrap();
        for _ in 0..total {
            reply.chunk(0, chunk.clone()).await.unwrap();
            sent.fetch_add(1, Ordering::Relaxed);
        }
        reply
    };
    let buying = async {
        let mut exchange = broadcaster.open_segment(orchestrator.peer_id(), header).await.unwrap();
        // The writer goes on until the transport's window is full, then stands still.
        let mut before = usize::MAX;
        while sent.load(Ordering::Relaxed) != before {
            before = sent.load(Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        assert!(before < total, "all {total} chunks left without a reader");
        for _ in 0..total {
            exchange.download.next().await.unwrap().unwrap();
        }
        (exchange, before * chunk.len())
    };
    let ((_exchange, unread), _reply) = timeout(LONG, async { tokio::join!(buying, serving) }).await.unwrap();
    unread
}

#[tokio::test]
async fn a_segment_ends_at_its_deadline() {
    let orchestrator = node().await;
    let mut segments = orchestrator.serve_segments(4).unwrap();
    let broadcaster = client_of(&orchestrator).await;
    let source = source();
    let header = SegmentHeader { deadline: Duration::from_millis(500), ..header(&source) };
    let serving = async {
        let incoming = segments.next().await.unwrap();
        incoming.accept(SegmentAccept::default()).await.unwrap()
    };
    let buying = async {
        let exchange = broadcaster.open_segment(orchestrator.peer_id(), header).await.unwrap();
        exchange.complete(source).await
    };
    let (result, _halves) = tokio::join!(buying, serving);
    assert!(matches!(result, Err(NetworkError::Timeout { .. })), "{result:?}");
}

#[tokio::test]
async fn an_offer_above_the_size_limit_is_refused_before_the_application_sees_it() {
    let orchestrator = node_with(|config| config.limits.max_source_bytes = 1_000).await;
    let _segments = orchestrator.serve_segments(4).unwrap();
    let broadcaster = client_of(&orchestrator).await;
    let error = broadcaster.open_segment(orchestrator.peer_id(), header(&source())).await.unwrap_err();
    assert_eq!(error.wire_code(), Some(WireCode::TooLarge));
}

#[tokio::test]
async fn an_offer_that_nobody_takes_is_busy() {
    let orchestrator = node().await;
    let _segments = orchestrator.serve_segments(1).unwrap();
    let broadcaster = client_of(&orchestrator).await;
    let source = source();
    let open = || broadcaster.open_segment(orchestrator.peer_id(), header(&source));
    let mut offers = FuturesUnordered::from_iter([open(), open(), open()]);
    for _ in 0..2 {
        let error = offers.next().await.unwrap().unwrap_err();
        assert_eq!(error.wire_code(), Some(WireCode::Busy));
    }
}
