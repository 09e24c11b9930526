//! Scripted orchestrators and a broadcaster wired to them.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::stated::Stated;
use alloy_primitives::{Address, B256, U256};
use bytes::Bytes;
use framemill_broadcaster::HedgePolicy;
use framemill_broadcaster::{
    Broadcaster, BroadcasterBuilder, BroadcasterConfig, DeadlinePolicy, ObjectStorage, PlaylistMode,
    StreamConfig, StreamEvent, StreamSummary,
};
use framemill_media::{
    ClipAudio, ClipSpec, MediaLimits, Rational, Segmenter, SegmenterConfig, SourceSegment, generate_clip,
};
use framemill_network::{
    IncomingSegment, Ladder, LadderEntry, Network, NetworkConfig, OpeningServer, PPM, PricePerPixel,
    QualityTerms, Quote, QuoteServer, RenditionEnd, SegmentAccept, SegmentServer, ServiceAddress,
    SignedQuote, SignedReceipt, SigningDomain, TranscodeReceipt, WireCode, WireError, renditions_root,
};
use framemill_transcoder::{Engine, Job, Preset, Rendition, SoftwareConfig, SoftwareEngine};
use framemill_verification::{
    COMMITMENT_VERSION, Features, SourceReference, answer, commit, declare, price_share_ppm,
};
use futures::StreamExt;
use probabilistic_ticket::{CodecError, EthKey, RecipientSecret, TicketBatch, TicketParams, Wei};

/// Segments that may be offered to a scripted orchestrator at a time.
const QUEUE: usize = 16;

/// What a scripted orchestrator does with a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// What was asked for.
    Honest,
    /// Transcodes another clip of the same shape.
    WrongContent,
    /// Transcodes the right clip at half the size.
    WrongSize,
    /// Commits to features that the renditions do not have.
    FalseFeatures,
    /// Commits to the features of each rendition but for one cell, and opens that commitment to whoever asks.
    FalseCell,
    /// Quotes commitments and makes none.
    NoFeatures,
    /// Encodes with half the effort and half the bits, and says so.
    Lazy,
    /// Does the same and declares a quality that it does not have.
    Boastful,
    /// Signs the receipt with another key.
    WrongSigner,
    /// Takes the segment and never answers.
    Silent,
    /// Hangs up when the segment is offered.
    GoneBeforeUpload,
    /// Hangs up after the first bytes of the source.
    GoneDuringUpload,
    /// Hangs up after the whole source.
    GoneAfterUpload,
    /// Delivers the first rendition only.
    FewerRenditions,
    /// Says that it is busy once, without a look at the payment.
    Busy,
    /// Keeps the tickets and knows nothing of the session they came with.
    ForgetsSessions,
    /// Says that the source is bad.
    BlamesSource,
}

/// What a scripted orchestrator knows of its sessions.
#[derive(Default)]
pub(crate) struct Books {
    /// Credit of every session it quoted.
    pub(crate) credit: HashMap<B256, Wei>,
    nonces: HashSet<u64>,
    sender: Address,
    /// Whether commitments were asked for.
    committed: bool,
    /// The commitments that came with segments.
    pub(crate) commitments: Vec<Option<B256>>,
    /// What was stated of renditions that it lied about, by session, sequence and position.
    stated: HashMap<(B256, u64, u32), Arc<Stated>>,
    /// Questions about them.
    pub(crate) questions: u32,
}

/// One scripted orchestrator.
pub(crate) struct Peer {
    pub(crate) network: Network,
    pub(crate) account: Address,
    key: EthKey,
    engine: SoftwareEngine,
    lazy: SoftwareEngine,
    script: Mutex<Act>,
    pub(crate) offered: AtomicU32,
    pub(crate) served: AtomicU32,
    /// Tickets received in accepted payments.
    pub(crate) tickets: AtomicU32,
    price: u64,
    quality: QualityTerms,
    /// What it booked for each segment it signed for, in wei.
    earned: Mutex<Vec<Wei>>,
    secret: RecipientSecret,
    serial: Mutex<u64>,
    books: Mutex<Books>,
    /// Reveals its secret before each of so many segments, so that the parameters handed out are stale.
    pub(crate) stale: AtomicU32,
}

impl Peer {
    /// Starts an orchestrator that works for nothing.
    pub(crate) async fn start(act: Act) -> Arc<Self> {
        Self::start_at(act, 0).await
    }

    /// Starts an orchestrator that takes `price` wei per pixel.
    pub(crate) async fn start_at(act: Act, price: u64) -> Arc<Self> {
        Self::start_with(act, price, QualityTerms::WHOLE).await
    }

    /// Starts an orchestrator whose price follows the quality.
    pub(crate) async fn start_with(act: Act, price: u64, quality: QualityTerms) -> Arc<Self> {
        let network = Network::start(NetworkConfig::loopback()).await.unwrap();
        let quotes = network.serve_quotes(QUEUE).unwrap();
        let segments = network.serve_segments(QUEUE).unwrap();
        let openings = network.serve_openings(QUEUE).unwrap();
        let key = EthKey::random();
        let peer = Arc::new(Self {
            account: key.address(),
            key,
            network,
            engine: SoftwareEngine::default(),
            lazy: SoftwareEngine::new(SoftwareConfig {
                preset: Preset::Ultrafast,
                ..SoftwareConfig::default()
            }),
            script: Mutex::new(act),
            offered: AtomicU32::new(0),
            served: AtomicU32::new(0),
            tickets: AtomicU32::new(0),
            price,
            quality,
            earned: Mutex::default(),
            secret: RecipientSecret::from_bytes([7; 32]),
            serial: Mutex::new(1),
            books: Mutex::default(),
            stale: AtomicU32::new(0),
        });
        tokio::spawn(Arc::clone(&peer).quote_all(quotes));
        tokio::spawn(Arc::clone(&peer).serve_all(segments));
        tokio::spawn(Arc::clone(&peer).open_all(openings));
        peer
    }

    pub(crate) fn service(&self) -> ServiceAddress {
        self.network.service_address().unwrap()
    }

    pub(crate) fn act(&self, act: Act) {
        *self.script.lock().unwrap() = act;
    }

    pub(crate) fn script(&self) -> MutexGuard<'_, Act> {
        self.script.lock().unwrap()
    }

    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap()
    }

    pub(crate) fn earned(&self) -> Vec<Wei> {
        self.earned.lock().unwrap().clone()
    }

    pub(crate) fn offered(&self) -> u32 {
        self.offered.load(Ordering::SeqCst)
    }

    async fn quote_all(self: Arc<Self>, mut quotes: QuoteServer) {
        while let Some(incoming) = quotes.next().await {
            let request = incoming.request();
            let session = B256::random();
            self.books().credit.insert(session, Wei::ZERO);
            self.books().sender = request.sender;
            self.books().committed = request.commitments;
            let price = PricePerPixel::new(U256::from(self.price), 1).unwrap();
            let params = (self.price > 0).then(|| self.params(session, request.sender).encode().to_vec());
            let quote = Quote {
                session,
                orchestrator: self.account,
                orchestrator_peer: self.network.peer_id(),
                broadcaster_peer: incoming.peer(),
                sender: request.sender,
                price,
                ticket_params: params.unwrap_or_default().into(),
                capacity: request.pixels_per_second,
                expires_at_unix_ms: unix_ms() + 60_000,
                ladder_hash: request.ladder.hash(),
                commitment_version: if request.commitments { COMMITMENT_VERSION.into() } else { 0 },
                quality: if request.commitments { self.quality } else { QualityTerms::WHOLE },
            };
            let signature = self.key.sign_digest(quote.signing_hash(&SigningDomain::default())).0;
            incoming.respond(Ok(SignedQuote { quote, signature }));
        }
    }

    fn params(&self, session: B256, sender: Address) -> TicketParams {
        self.secret.seal(crate::payment::params(self.account, sender, session, *self.serial.lock().unwrap()))
    }

    async fn open_all(self: Arc<Self>, mut openings: OpeningServer) {
        while let Some(incoming) = openings.next().await {
            let asked = *incoming.request();
            let key = (asked.session, asked.sequence, asked.rendition);
            self.books().questions += 1;
            let stated = self.books().stated.get(&key).cloned();
            incoming.respond(match stated {
                Some(stated) => Ok(answer(&*stated, asked.question.into()).unwrap().unwrap().into()),
                None => Err(WireError::new(WireCode::UnknownSession, "nothing to open")),
            });
        }
    }

    async fn serve_all(self: Arc<Self>, mut segments: SegmentServer) {
        while let Some(incoming) = segments.next().await {
            self.offered.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(Arc::clone(&self).serve(incoming));
        }
    }

    async fn serve(self: Arc<Self>, incoming: IncomingSegment) {
        let act = *self.script.lock().unwrap();
        match act {
            Act::Busy => {
                self.act(Act::Honest);
                let error =
                    WireError::new(WireCode::Busy, "full").with_retry_after(Duration::from_millis(50));
                return incoming.reject(error).await;
            }
            Act::GoneBeforeUpload => return self.network.shutdown().await,
            _ => {}
        }
        let refused_tickets = match self.price > 0 {
            true => match self.take_payment(&incoming) {
                Ok(refused) => refused,
                Err(error) => return incoming.reject(error).await,
            },
            false => 0,
        };
        if act == Act::ForgetsSessions {
            return incoming.reject(WireError::new(WireCode::UnknownSession, "never heard of it")).await;
        }
        let header = incoming.header().clone();
        self.books().commitments.push(header.sampling_commitment);
        let answer = SegmentAccept { refused_tickets, ..SegmentAccept::default() };
        let (mut source, mut reply) = match incoming.accept(answer).await {
            Ok(halves) => halves,
            Err(_) => return,
        };
        if act == Act::GoneDuringUpload {
            let _ = source.next().await;
            return self.network.shutdown().await;
        }
        let Ok(source) = source.read_all().await else { return };
        match act {
            Act::GoneAfterUpload => return self.network.shutdown().await,
            Act::Silent => return std::future::pending().await,
            Act::BlamesSource => {
                return reply.fail(WireError::new(WireCode::BadMedia, "does not decode")).await;
            }
            _ => {}
        }
        let original = SourceReference::new(source.clone(), &MediaLimits::segment()).unwrap();
        let renditions = self.transcode(act, source, &header.ladder).await;
        let committed = self.books().committed;
        let mut ends: Vec<RenditionEnd> = Vec::new();
        let mut parts = Vec::new();
        for (index, rendition) in renditions.into_iter().enumerate() {
            let (index, entry) = (index as u32, &header.ladder.entries()[index]);
            let frames = rendition.summary.frames;
            if reply.chunk(index, rendition.data.clone()).await.is_err() {
                return;
            }
            let pixels = entry.pixels_per_frame() * frames;
            let mut root = if committed { feature_root(act, &rendition.data) } else { B256::ZERO };
            if act == Act::FalseCell {
                let stated = Arc::new(Stated::with_a_false_cell(&rendition.data));
                root = stated.commitment().root();
                self.books().stated.insert((header.session, header.sequence, index), stated);
            }
            let (quality, share_ppm) = match committed && !self.quality.is_whole() {
                true => declared(act, &self.quality, &original, entry, &rendition.data),
                false => (None, PPM),
            };
            parts.push((pixels, share_ppm));
            let Ok(end) = reply.end(index, pixels, frames as u32, root, quality).await else { return };
            ends.push(end);
            if act == Act::FewerRenditions {
                return;
            }
        }
        self.book(header.session, header.expected_pixels(), parts);
        let claims: Vec<_> = ends.iter().map(RenditionEnd::claim).collect();
        let receipt = TranscodeReceipt {
            session: header.session,
            sequence: header.sequence,
            source_hash: header.source_sha256,
            ladder_hash: header.ladder.hash(),
            renditions_root: renditions_root(&claims),
            pixels: claims.iter().map(|claim| claim.pixels).sum(),
            round: 0,
        };
        let other = EthKey::random();
        let key = if act == Act::WrongSigner { &other } else { &self.key };
        let signature = key.sign_digest(receipt.signing_hash(&SigningDomain::default())).0;
        if reply.finish(SignedReceipt { receipt, signature }).await.is_ok() {
            self.served.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Gives back what was held beyond the price of the quality.
    fn book(&self, session: B256, expected: u64, parts: Vec<(u64, u32)>) {
        let price = PricePerPixel::new(U256::from(self.price), 1).unwrap();
        let (held, earned) = (Wei(price.cost(expected)), Wei(price.cost_of_shares(parts)));
        let mut books = self.books();
        let credit = books.credit.entry(session).or_default();
        *credit = credit.saturating_add(held.saturating_sub(earned));
        self.earned.lock().unwrap().push(earned);
    }

    /// Checks parameters, nonces and credit as a recipient would; signatures are the payment crate's own tests' business.
    /// Returns how many tickets were refused where credit made up for them.
    fn take_payment(&self, incoming: &IncomingSegment) -> Result<u32, WireError> {
        let header = incoming.header();
        let malformed = |error: CodecError| WireError::new(WireCode::PaymentMalformed, error.to_string());
        let batch = match header.payment.is_empty() {
            true => None,
            false => Some(TicketBatch::decode(&header.payment).map_err(malformed)?),
        };
        let less = |left: u32| left.checked_sub(1);
        if self.stale.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
            *self.serial.lock().unwrap() += 1;
        }
        let sender = self.books().sender;
        let refuse = |code, text: &str| {
            let fresh = self.params(header.session, sender).encode().to_vec();
            Err(WireError::new(code, text).with_details(Bytes::from(fresh)))
        };
        let serial = *self.serial.lock().unwrap();
        let (stale, batch) = match batch {
            Some(batch) if batch.params.serial != serial => (Some(batch.tickets.len()), None),
            batch => (None, batch),
        };
        let mut books = self.books();
        let mut credit = books.credit.get(&header.session).copied().unwrap_or_default();
        for (batch, ticket) in batch.iter().flat_map(|b| b.tickets.iter().map(move |ticket| (b, ticket))) {
            if books.nonces.insert(ticket.nonce) {
                credit = credit.saturating_add(batch.params.ticket_value());
                self.tickets.fetch_add(1, Ordering::SeqCst);
            }
        }
        let cost = Wei(U256::from(self.price) * U256::from(header.expected_pixels()));
        let left = credit.checked_sub(cost);
        books.credit.insert(header.session, left.unwrap_or(credit));
        drop(books);
        match (left, stale) {
            (Some(_), stale) => Ok(stale.unwrap_or(0) as u32),
            (None, Some(_)) => refuse(WireCode::PaymentParamsStale, "secret revealed"),
            (None, None) => refuse(WireCode::PaymentInsufficient, "not enough"),
        }
    }

    async fn transcode(&self, act: Act, source: Bytes, ladder: &Ladder) -> Vec<Rendition> {
        let source = if act == Act::WrongContent { another_like(source).await } else { source };
        let mut ladder = ladder.clone();
        if act == Act::WrongSize {
            let mut entries = ladder.entries().to_vec();
            entries[0].width /= 2;
            ladder = Ladder::new(entries).unwrap();
        }
        let lazy = matches!(act, Act::Lazy | Act::Boastful);
        if lazy {
            let halved =
                ladder.iter().map(|entry| LadderEntry { bitrate: entry.bitrate / 2, ..entry.clone() });
            ladder = Ladder::new(halved.collect()).unwrap();
        }
        let deadline = Instant::now() + Duration::from_secs(60);
        let job = Job { session: B256::ZERO, sequence: 0, source, ladder, deadline };
        let engine = if lazy { &self.lazy } else { &self.engine };
        engine.transcode(job).collect_all().await.unwrap()
    }
}

/// The quality that is declared, and the share of the price that follows.
fn declared(
    act: Act,
    terms: &QualityTerms,
    original: &SourceReference,
    entry: &LadderEntry,
    rendition: &Bytes,
) -> (Option<u32>, u32) {
    let declared = declare(rendition, original, entry, &MediaLimits::segment()).unwrap();
    let boast = if act == Act::Boastful { 500 } else { 0 };
    let quality = declared.psnr_centi_db().map(|true_one| true_one + boast);
    (quality, price_share_ppm(terms, quality, declared.quality.bits_per_second, entry))
}

/// What is committed to a rendition's features.
fn feature_root(act: Act, rendition: &Bytes) -> B256 {
    let mut root = commit(rendition, &MediaLimits::segment()).unwrap().root();
    match act {
        Act::NoFeatures => return B256::ZERO,
        Act::FalseFeatures => root[31] ^= 1,
        _ => {}
    }
    root
}

/// A clip with other content at the same times.
async fn another_like(source: Bytes) -> Bytes {
    let info = framemill_media::segment_info(&source, &MediaLimits::segment()).unwrap();
    let video = info.video.unwrap();
    let spec = ClipSpec {
        seed: 99,
        start_pts: video.pts[0],
        duration: video.duration,
        audio: info.audio.first().map(|_| ClipAudio::default()),
        ..ClipSpec::new(video.width, video.height, video.frame_rate, 1)
    };
    tokio::task::spawn_blocking(move || generate_clip(&spec, &MediaLimits::default()).unwrap()).await.unwrap()
}

pub(crate) fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// A small moving clip with sound.
pub(crate) fn clip(seconds: u32) -> Bytes {
    let spec = ClipSpec { bitrate: 400_000, ..ClipSpec::new(320, 180, Rational::new(25, 1), seconds) };
    generate_clip(&spec, &MediaLimits::default()).unwrap()
}

/// Its segments of one second.
pub(crate) fn segments(seconds: u32) -> Vec<SourceSegment> {
    cut(clip(seconds))
}

/// Segments of one second without sound: only their pictures can be tampered with.
pub(crate) fn silent_segments(seconds: u32) -> Vec<SourceSegment> {
    let spec =
        ClipSpec { bitrate: 400_000, audio: None, ..ClipSpec::new(320, 180, Rational::new(25, 1), seconds) };
    cut(generate_clip(&spec, &MediaLimits::default()).unwrap())
}

fn cut(clip: Bytes) -> Vec<SourceSegment> {
    let config = SegmenterConfig { target: 90_000, ..SegmenterConfig::default() };
    let segmenter = Segmenter::from_bytes(clip, config, &MediaLimits::default()).unwrap();
    segmenter.map(Result::unwrap).collect()
}

pub(crate) fn ladder() -> Ladder {
    Ladder::new(vec![rung(144, 200_000), rung(72, 100_000)]).unwrap()
}

fn rung(height: u32, bitrate: u32) -> LadderEntry {
    use framemill_network::{Codec, FrameRate};
    LadderEntry::from_height(height, FrameRate::SOURCE, bitrate, Codec::H264)
}

/// A stream of short segments with generous deadlines: nothing here is about speed.
pub(crate) fn stream_config(name: &str) -> StreamConfig {
    StreamConfig {
        ladder: ladder(),
        playlist: PlaylistMode::Event,
        deadline: DeadlinePolicy { factor: 1, floor: Duration::from_secs(60) },
        segment_duration: Duration::from_secs(1),
        in_flight: 2,
        ..StreamConfig::new(name)
    }
}

/// A broadcaster with its folder.
pub(crate) struct Rig {
    pub(crate) broadcaster: Broadcaster,
    pub(crate) folder: tempfile::TempDir,
}

impl Rig {
    pub(crate) async fn new(peers: &[&Arc<Peer>]) -> Self {
        Self::with(peers, |builder| builder).await
    }

    pub(crate) async fn with(
        peers: &[&Arc<Peer>],
        change: impl FnOnce(BroadcasterBuilder) -> BroadcasterBuilder,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = BroadcasterConfig {
            orchestrators: peers.iter().map(|peer| (peer.account, peer.service()).into()).collect(),
            // Whoever is slow on a busy machine must not be outpaced here: copies have tests of their own.
            hedging: HedgePolicy { share: 0.0, ..HedgePolicy::default() },
            ..BroadcasterConfig::default()
        };
        let network = Network::start(NetworkConfig::loopback()).await.unwrap();
        let builder = Broadcaster::builder()
            .network(network)
            .config(config)
            .store(Arc::new(ObjectStorage::folder(folder.path()).unwrap()));
        Self { broadcaster: change(builder).build().await.unwrap(), folder }
    }

    /// Runs a stream of `count` segments to its end and returns its events.
    pub(crate) async fn run(&self, config: StreamConfig, count: u32) -> (StreamSummary, Vec<StreamEvent>) {
        let stream = self.broadcaster.stream(config).unwrap();
        let events = stream.events();
        for segment in segments(count) {
            drop(stream.push(segment).await.unwrap());
        }
        let summary = stream.finish().await;
        drop(stream);
        let events = events.take_while(|event| {
            let ended = matches!(event, StreamEvent::Ended(_));
            std::future::ready(!ended)
        });
        (summary, events.collect().await)
    }

    pub(crate) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(path)).unwrap()
    }

    /// As [`Rig::read`], empty where there is no such file yet.
    pub(crate) fn try_read(&self, path: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(path)).unwrap_or_default()
    }
}
