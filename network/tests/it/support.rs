//! Nodes, headers and results that the tests share.

use std::time::Duration;

use alloy_primitives::{Address, B256, U256};
use bytes::Bytes;
use framemill_network::{
    FrameRate, IncomingSegment, Ladder, Network, NetworkConfig, PricePerPixel, QualityTerms, Quote,
    QuoteRequest, SegmentAccept, SegmentHeader, SegmentReply, SignedQuote, SignedReceipt, SourceVideo,
    TranscodeReceipt, renditions_root,
};
use sha2::{Digest, Sha256};

/// Longer than any step takes; only a hung test reaches it.
pub(crate) const LONG: Duration = Duration::from_secs(30);

pub(crate) fn sha256(bytes: &[u8]) -> B256 {
    B256::from_slice(&Sha256::digest(bytes))
}

pub(crate) fn source_video() -> SourceVideo {
    SourceVideo { width: 640, height: 360, fps: FrameRate::new(30, 1).unwrap() }
}

pub(crate) fn ladder() -> Ladder {
    "360:800k,240:400k".parse::<Ladder>().unwrap().resolve(&source_video()).unwrap()
}

pub(crate) fn source() -> Bytes {
    (0..300_000_u32).map(|index| (index * 7 % 251) as u8).collect()
}

pub(crate) fn header(source: &[u8]) -> SegmentHeader {
    SegmentHeader {
        session: B256::repeat_byte(1),
        sequence: 5,
        duration_90k: 180_000,
        frames: 60,
        source_len: source.len() as u64,
        source_sha256: sha256(source),
        ladder: ladder(),
        deadline: LONG,
        payment: Bytes::from_static(b"tickets"),
        sampling_commitment: None,
    }
}

pub(crate) fn quote_request() -> QuoteRequest {
    QuoteRequest {
        sender: Address::repeat_byte(2),
        ladder: ladder(),
        source: source_video(),
        pixels_per_second: ladder().pixels_per_second(source_video().fps),
        max_price: None,
        commitments: false,
    }
}

pub(crate) fn quote_for(network: &Network, incoming: &framemill_network::IncomingQuote) -> SignedQuote {
    let request = incoming.request();
    SignedQuote {
        quote: Quote {
            session: B256::repeat_byte(1),
            orchestrator: Address::repeat_byte(3),
            orchestrator_peer: network.peer_id(),
            broadcaster_peer: incoming.peer(),
            sender: request.sender,
            price: PricePerPixel::new(U256::from(1_000), 1).unwrap(),
            ticket_params: Bytes::from_static(b"params"),
            capacity: request.pixels_per_second,
            expires_at_unix_ms: u64::MAX,
            ladder_hash: request.ladder.hash(),
            commitment_version: 0,
            quality: QualityTerms::WHOLE,
        },
        signature: [7; 65],
    }
}

pub(crate) async fn node() -> Network {
    Network::start(NetworkConfig::loopback()).await.unwrap()
}

/// A node that only dials, and knows `server`.
pub(crate) async fn client_of(server: &Network) -> Network {
    client_with(server, |_| {}).await
}

pub(crate) async fn client_with(server: &Network, change: impl FnOnce(&mut NetworkConfig)) -> Network {
    let mut config = NetworkConfig { listen: Vec::new(), ..NetworkConfig::loopback() };
    change(&mut config);
    let client = Network::start(config).await.unwrap();
    client.add_peer(&server.service_address().unwrap()).unwrap();
    client
}

/// Answers every request for a quote from now on, which is how a test sees that honest peers are served.
pub(crate) fn answer_quotes(server: &Network) {
    let mut quotes = server.serve_quotes(64).unwrap();
    let server = server.clone();
    tokio::spawn(async move {
        while let Some(incoming) = quotes.next().await {
            let quote = quote_for(&server, &incoming);
            incoming.respond(Ok(quote));
        }
    });
}

/// A peer that has not been here before connects, asks for a quote and gets it.
pub(crate) async fn an_honest_peer_is_served(server: &Network) {
    let client = client_with(server, |config| config.timeouts.dial = LONG).await;
    client.request_quote(server.peer_id(), &quote_request(), LONG).await.unwrap();
}

pub(crate) async fn node_with(change: impl FnOnce(&mut NetworkConfig)) -> Network {
    let mut config = NetworkConfig::loopback();
    change(&mut config);
    Network::start(config).await.unwrap()
}

/// What a rendition of the ladder has in pixels when every frame is there.
pub(crate) fn pixels(header: &SegmentHeader, index: u32) -> u64 {
    header.ladder.get(index).unwrap().pixels_per_frame() * u64::from(header.frames)
}

/// Serves one segment: every rendition is the source with a byte in front.
pub(crate) async fn transcode(incoming: IncomingSegment) {
    let renditions = incoming.header().ladder.len();
    let (header, source, reply) = take(incoming).await;
    let made = (0..renditions).map(|index| [&[index as u8], &source[..]].concat().into());
    deliver(header, reply, &made.collect::<Vec<_>>()).await;
}

/// Serves one segment of `source` with these renditions.
pub(crate) async fn answer(incoming: IncomingSegment, source: &Bytes, renditions: &[Bytes]) {
    let (header, received, reply) = take(incoming).await;
    assert_eq!(received, source);
    deliver(header, reply, renditions).await;
}

async fn take(incoming: IncomingSegment) -> (SegmentHeader, Bytes, SegmentReply) {
    let header = incoming.header().clone();
    let (reader, reply) = incoming.accept(SegmentAccept::default()).await.unwrap();
    (header, reader.read_all().await.unwrap(), reply)
}

async fn deliver(header: SegmentHeader, mut reply: SegmentReply, renditions: &[Bytes]) {
    let mut claims = Vec::new();
    for (index, rendition) in (0..).zip(renditions) {
        reply.chunk(index, rendition.clone()).await.unwrap();
        let end = reply.end(index, pixels(&header, index), header.frames, B256::ZERO, None).await.unwrap();
        claims.push(end.claim());
    }
    let receipt = TranscodeReceipt {
        session: header.session,
        sequence: header.sequence,
        source_hash: header.source_sha256,
        ladder_hash: header.ladder.hash(),
        renditions_root: renditions_root(&claims),
        pixels: claims.iter().map(|claim| claim.pixels).sum(),
        round: 9,
    };
    reply.finish(SignedReceipt { receipt, signature: [8; 65] }).await.unwrap();
}
