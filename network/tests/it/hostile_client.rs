use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use framemill_network::{
    Network, NetworkConfig, NetworkError, ProtocolError, SegmentAccept, SourceReader, WireCode, WorkToken,
};
use futures::AsyncWriteExt;
use libp2p::Stream;
use tokio::time::timeout;

use crate::raw::*;
use crate::support::*;

const TICK: Duration = Duration::from_millis(20);
/// How long a message may take where nobody has patience.
const MESSAGE: Duration = Duration::from_millis(400);

/// An orchestrator that serves everything, with short waits.
async fn impatient() -> Network {
    node_with(|config| {
        config.timeouts.message = MESSAGE;
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

/// Everything that a node may serve, and the services' ends; quotes are answered.
fn serve_everything(server: &Network) -> impl Sized {
    answer_quotes(server);
    let segments = server.serve_segments(4).unwrap();
    let openings = server.serve_openings(4).unwrap();
    let blobs = server.serve_blobs(4).unwrap();
    (segments, openings, blobs, server.serve_work(WorkToken::generate(), 4).unwrap())
}

/// The protocols, and how many bytes the first message of each may have.
const FIRST_MESSAGES: [(&str, usize); 5] = [
    (QUOTE, 8 * 1024),
    (SEGMENT, 66 * 1024 + 512),
    (OPENING, 8 * 1024),
    (BLOB, 8 * 1024),
    (WORK, 66 * 1024 + 512),
];

/// A length as it stands before a message.
fn prefix(length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encode_length_delimiter(length, &mut bytes).unwrap();
    bytes
}

#[tokio::test]
async fn a_length_of_four_gibibytes_is_refused_on_every_protocol() {
    let server = node().await;
    let _services = serve_everything(&server);
    let peer = RawPeer::start(Some(&server)).await;
    for (protocol, _) in FIRST_MESSAGES {
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
async fn one_byte_more_than_a_first_message_may_have_is_refused_before_it_is_sent() {
    let server = node().await;
    let _services = serve_everything(&server);
    for (protocol, most) in FIRST_MESSAGES {
        let peer = RawPeer::start(Some(&server)).await;
        // As long as it may be it is read, and found to be none.
        let mut stream = peer.open(&server, protocol).await;
        assert!(try_send(&mut stream, &[prefix(most), vec![0xff; most]].concat()).await);
        assert_eq!(error_code(&mut stream).await, Some(WireCode::BadRequest.number()), "{protocol}");
        let mut stream = peer.open(&server, protocol).await;
        assert!(try_send(&mut stream, &prefix(most + 1)).await);
        assert_eq!(error_code(&mut stream).await, Some(WireCode::TooLarge.number()), "{protocol}");
    }
    an_honest_peer_is_served(&server).await;
}

#[tokio::test]
async fn who_opens_a_stream_and_says_nothing_is_cut_off_on_every_protocol() {
    let server = impatient().await;
    let _services = serve_everything(&server);
    let peer = RawPeer::start(Some(&server)).await;
    let (silent_peer, asked) = (&peer, &server);
    let silent = FIRST_MESSAGES.map(|(protocol, _)| async move {
        let began = Instant::now();
        let mut stream = silent_peer.open(asked, protocol).await;
        let code = error_code(&mut stream).await;
        (protocol, code, began.elapsed())
    });
    let all = futures::future::join_all(silent);
    let (cut, ()) =
        timeout(LONG, async { tokio::join!(all, an_honest_peer_is_served(&server)) }).await.unwrap();
    for (protocol, code, after) in cut {
        assert_eq!(code, Some(WireCode::TooSlow.number()), "{protocol}");
        assert!(after >= MESSAGE, "{protocol}: {after:?}");
    }
}

/// Not by the clock, which a busy machine stretches: another stream, opened later and silent, must outlive it.
#[tokio::test]
async fn a_first_message_that_begins_late_has_no_more_time_for_that() {
    const MESSAGE: Duration = Duration::from_secs(4);
    let server = node_with(|config| config.timeouts.message = MESSAGE).await;
    answer_quotes(&server);
    let peer = RawPeer::start(Some(&server)).await;
    let mut late = peer.open(&server, QUOTE).await;
    tokio::time::sleep(MESSAGE / 4).await;
    let mut later = peer.open(&server, QUOTE).await;
    tokio::time::sleep(MESSAGE / 4).await;
    assert!(try_send(&mut late, &[0x80]).await);
    tokio::select! {
        biased;
        code = error_code(&mut late) => assert_eq!(code, Some(WireCode::TooSlow.number())),
        _ = error_code(&mut later) => panic!("the one that began late had more time"),
    }
}

#[tokio::test]
async fn noise_instead_of_a_message_is_refused_on_every_protocol() {
    let server = node().await;
    let _services = serve_everything(&server);
    let peer = RawPeer::start(Some(&server)).await;
    for (protocol, _) in FIRST_MESSAGES {
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

/// Each message ends with the first byte of the next, so that the server is never between two of them, and each comes in good time.
#[tokio::test]
async fn an_upload_in_small_steps_ends_when_an_exchange_must_whatever_deadline_was_asked_for() {
    const EXCHANGE: Duration = Duration::from_secs(2);
    let server = node_with(|config| {
        config.timeouts.exchange = EXCHANGE;
        config.limits.min_upload_rate = 1;
    })
    .await;
    answer_quotes(&server);
    let mut segments = server.serve_segments(4).unwrap();
    let peer = RawPeer::start(Some(&server)).await;
    let mut stream = peer.open(&server, SEGMENT).await;
    let (began, asked) = (Instant::now(), segment_header(&vec![0; 1 << 20]));
    send(&mut stream, &proto::SegmentHeader { deadline_ms: u32::MAX, ..asked }).await;
    let (reader, _reply) = segments.next().await.unwrap().accept(SegmentAccept::default()).await.unwrap();
    let trickle = async {
        let message = framed(&source_chunk(&[0; 100]));
        let step = [&message[1..], &message[..1]].concat();
        try_send(&mut stream, &message[..1]).await;
        while try_send(&mut stream, &step).await {
            tokio::time::sleep(TICK).await;
        }
        std::future::pending::<()>().await;
    };
    let reading = async {
        let result = timeout(LONG, reader.read_all()).await.expect("it ends with its exchange");
        (result.unwrap_err(), began.elapsed())
    };
    tokio::select! {
        ((error, after), ()) = async { tokio::join!(reading, an_honest_peer_is_served(&server)) } => {
            assert!(matches!(error, NetworkError::Timeout { .. }), "{error}");
            assert!(after >= EXCHANGE, "{after:?}");
        }
        () = trickle => unreachable!("it never ends"),
    }
}

#[tokio::test]
async fn who_takes_nothing_of_what_comes_back_is_cut_off_within_the_time_of_a_message() {
    let server = node_with(|config| {
        config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
        config.timeouts.message = MESSAGE;
    })
    .await;
    answer_quotes(&server);
    let mut segments = server.serve_segments(4).unwrap();
    let peer = RawPeer::start(Some(&server)).await;
    let mut stream = peer.open(&server, SEGMENT).await;
    let header = proto::SegmentHeader { source_len: 32 << 20, ..segment_header(b"source") };
    send(&mut stream, &header).await;
    let (_reader, mut reply) = segments.next().await.unwrap().accept(SegmentAccept::default()).await.unwrap();
    let chunk = Bytes::from(vec![1; 32 * 1024]);
    let sending = async {
        let mut sent = 0;
        loop {
            let began = Instant::now();
            match reply.chunk(0, chunk.clone()).await {
                Ok(()) => sent += chunk.len(),
                Err(error) => return (error, sent, began.elapsed()),
            }
        }
    };
    let both = async { tokio::join!(sending, an_honest_peer_is_served(&server)) };
    let ((error, sent, waited), ()) = timeout(LONG, both).await.expect("it is given up");
    assert!(matches!(error, NetworkError::Timeout { .. }), "{error}");
    assert!(waited >= MESSAGE && sent <= 1024 * 1024, "{sent} bytes, then {waited:?}");
}

/// A peer fills as many streams as it may have, and nobody reads them.
async fn what_nobody_reads(listen: &str) -> usize {
    const STREAMS: usize = 64;
    let listen = |config: &mut NetworkConfig| config.listen = vec![listen.parse().unwrap()];
    let server = node_with(listen).await;
    answer_quotes(&server);
    let mut segments = server.serve_segments(STREAMS).unwrap();
    let peer = RawPeer::start(Some(&server)).await;
    let header = proto::SegmentHeader { source_len: 32 << 20, ..segment_header(b"source") };
    let (mut streams, mut unread) = (Vec::new(), Vec::new());
    for _ in 0..STREAMS {
        let mut stream = peer.open(&server, SEGMENT).await;
        send(&mut stream, &header).await;
        unread.push(segments.next().await.unwrap().accept(SegmentAccept::default()).await.unwrap());
        streams.push(stream);
    }
    let (sent, chunk) = (AtomicUsize::new(0), framed(&source_chunk(&[0; 16 * 1024])));
    let flood = futures::future::join_all(streams.iter_mut().map(async |stream| {
        while let Ok(count @ 1..) = stream.write(&chunk).await {
            sent.fetch_add(count, Ordering::Relaxed);
        }
    }));
    let stopped = async {
        let mut before = usize::MAX;
        while sent.load(Ordering::Relaxed) != before {
            before = sent.load(Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        an_honest_peer_is_served(&server).await;
        before
    };
    tokio::select! {
        stopped = timeout(LONG, stopped) => stopped.expect("the peer has to wait"),
        _ = flood => panic!("the streams were ended"),
    }
}

#[tokio::test]
async fn what_a_peer_sends_on_all_its_streams_and_nobody_reads_is_bounded() {
    let unread = what_nobody_reads("/ip4/127.0.0.1/udp/0/quic-v1").await;
    assert!((2 << 20..9 << 20).contains(&unread), "{unread} bytes without a reader");
}

#[tokio::test]
async fn what_a_peer_sends_on_all_its_streams_over_tcp_and_nobody_reads_is_bounded() {
    let unread = what_nobody_reads("/ip4/127.0.0.1/tcp/0").await;
    assert!((2 << 20..24 << 20).contains(&unread), "{unread} bytes without a reader");
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
