//! What a bought segment costs on the wire beside its media, with everything that market and money put there.

use alloy_primitives::B256;
use bytes::Bytes;
use framemill_media::{ClipSpec, MediaLimits, Rational, generate_clip};
use framemill_network::{
    FrameRate, Identity, Ladder, LadderEntry, MAX_AHEAD_BYTES, Network, NetworkConfig, SegmentHeader,
    SignedQuote, SourceVideo,
};
use framemill_transcoder::{CHUNK_BYTES, RenditionEvent, RenditionSink, RenditionSummary};
use probabilistic_ticket::{TicketParams, Wei};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::meter::Proxy;
use crate::support::*;

const SECONDS: u32 = 2;
const FRAMES: u32 = 60;
/// A source of 4.4 Mbit/s.
const SOURCE_BYTES: usize = 1_100_000;
/// Segments that are counted, after those that warm the connection.
const SEGMENTS: u64 = 5;
const WARMING: u64 = 1;
/// Bytes that one segment may cost whatever its media: header, ticket, answers, receipt, and the frames that they travel in.
const MOST: u64 = 2_048;
/// Bytes that may be added for a million bytes of media: frames around each message, packets of the encryption, windows.
const MOST_PER_MILLION: u64 = 1_000;

fn video() -> SourceVideo {
    SourceVideo { width: 1_280, height: 720, fps: FrameRate::new(30, 1).unwrap() }
}

/// The ladder that is bought by default: 720p, 480p and 360p.
fn default_ladder() -> Ladder {
    Ladder::default().resolve(&video()).unwrap()
}

/// Two seconds of pictures and sound, filled up to `bytes` with the container's own padding where they are fewer.
fn clip_of(width: u32, height: u32, bytes: usize) -> Bytes {
    let spec = ClipSpec { bitrate: 400_000, ..ClipSpec::new(width, height, Rational::new(30, 1), SECONDS) };
    let clip = generate_clip(&spec, &MediaLimits::default()).unwrap();
    let mut packet = [0xff; 188];
    packet[..4].copy_from_slice(&[0x47, 0x1f, 0xff, 0x10]);
    let missing = bytes.saturating_sub(clip.len()) / packet.len();
    [&clip[..], &packet.repeat(missing)].concat().into()
}

/// A source, and what comes back for it.
struct Media {
    source: Bytes,
    renditions: Vec<Bytes>,
}

impl Media {
    /// `source` bytes of 720p, and the default ladder at `seconds` of its bit rates.
    fn new(source: usize, seconds: u32) -> Self {
        let bytes = |rung: &LadderEntry| usize::try_from(rung.bitrate / 8 * seconds).unwrap();
        let ladder = default_ladder();
        let renditions = ladder.iter().map(|rung| clip_of(rung.width, rung.height, bytes(rung)));
        Self { source: clip_of(1_280, 720, source), renditions: renditions.collect() }
    }

    fn bytes(&self) -> u64 {
        (self.source.len() + self.renditions.iter().map(Bytes::len).sum::<usize>()) as u64
    }
}

/// Hands renditions on in the pieces of an encoder.
fn deliver(sink: &RenditionSink, renditions: Vec<Bytes>) {
    for ((index, rung), mut rendition) in (0..).zip(&default_ladder()).zip(renditions) {
        let bytes = rendition.len() as u64;
        while !rendition.is_empty() {
            let data = rendition.split_to(rendition.len().min(CHUNK_BYTES));
            sink.send(RenditionEvent::Chunk { index, data }).unwrap();
        }
        let pixels = rung.pixels_per_frame() * u64::from(FRAMES);
        let summary = RenditionSummary { frames: FRAMES.into(), pixels, bytes };
        sink.send(RenditionEvent::End { index, summary }).unwrap();
    }
}

/// Who buys through a proxy that counts.
struct Buyer {
    market: Market,
    _worker: Worker,
    jobs: UnboundedReceiver<RenditionSink>,
    proxy: Proxy,
    client: Network,
    quote: SignedQuote,
    price: Wei,
    bought: u64,
}

impl Buyer {
    async fn new() -> Self {
        let price = default_ladder().expected_pixels(FRAMES, u64::from(SECONDS) * 90_000);
        let mut market = Market::paid(price).await;
        let (puppet, jobs) = Puppet::new();
        let worker = market.transcoder(puppet, LOTS).await;
        let proxy = Proxy::before(&market.network).await;
        let client = Network::start(NetworkConfig::new(Identity::generate())).await.unwrap();
        client.add_peer(&proxy.service_address(&market.network)).unwrap();
        let quote = market.quote_for(&client, |request| {
            request.ladder = default_ladder();
            request.source = video();
            request.pixels_per_second = default_ladder().pixels_per_second(video().fps);
        });
        let quote = market.opened(quote.await.unwrap()).await;
        Self { market, _worker: worker, jobs, proxy, client, quote, price: Wei::from(price), bought: 0 }
    }

    /// Buys one segment with one ticket. It names the commitment of a draw, and its first bytes go ahead of the decision.
    async fn buy(&mut self, media: &Media) {
        let session = self.quote.quote.session;
        let params = TicketParams::decode(&self.quote.quote.ticket_params).unwrap();
        let payment = self.market.bank().sender.pay(session, &params, self.price).await.unwrap();
        assert_eq!(payment.tickets, 1);
        let source = &media.source;
        let header = SegmentHeader {
            duration_90k: u64::from(SECONDS) * 90_000,
            frames: FRAMES,
            ladder: default_ladder(),
            payment: payment.bytes.into(),
            sampling_commitment: Some(B256::repeat_byte(3)),
            ..header_for(&self.quote, self.bought, source)
        };
        self.bought += 1;
        let ahead = source.slice(..source.len().min(MAX_AHEAD_BYTES));
        let orchestrator = self.market.network.peer_id();
        let buying = async {
            let exchange = self.client.open_segment_ahead(orchestrator, header, ahead).await.unwrap();
            exchange.complete(source.clone()).await.unwrap()
        };
        let making = async {
            let (sink, renditions) = (next_job(&mut self.jobs).await, media.renditions.clone());
            tokio::task::spawn_blocking(move || deliver(&sink, renditions)).await.unwrap();
        };
        let (result, ()) = tokio::join!(buying, making);
        assert_eq!(result.renditions, media.renditions);
        assert_eq!(result.accept.ticket_params, None, "what was paid on still holds");
    }

    /// Bytes beyond its media that TCP carries for one of several such segments.
    async fn cost(&mut self, media: &Media) -> u64 {
        for _ in 0..WARMING {
            self.buy(media).await;
        }
        let before = self.proxy.bytes();
        for _ in 0..SEGMENTS {
            self.buy(media).await;
        }
        let cost = (self.proxy.bytes() - before) / SEGMENTS - media.bytes();
        println!("TCP carried {cost} bytes per segment beyond {} of media", media.bytes());
        cost
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bought_segment_costs_under_two_kibibytes_beyond_its_media() {
    let (small, large) = (Media::new(0, 0), Media::new(SOURCE_BYTES, SECONDS));
    let mut buyer = Buyer::new().await;
    let costs = [buyer.cost(&small).await, buyer.cost(&large).await];
    let framing = (costs[1] - costs[0]) * 1_000_000 / (large.bytes() - small.bytes());
    let own = costs[1] - framing * large.bytes() / 1_000_000;
    println!("{own} bytes whatever the media, {framing} for each million bytes of them");
    assert!(own < MOST, "{own} bytes");
    assert!(framing < MOST_PER_MILLION, "{framing} bytes per million");
}
