//! One stream: takes segments in order, buys their renditions several at a time, publishes them in order.

use std::io::{Read, Seek};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use alloy_primitives::B256;
use bytes::Bytes;
use framemill_media::{
    AudioCodec, Container, MediaError, MediaLimits, SegmentInfo, Segmenter, SegmenterConfig, SourceSegment,
    segment_info,
};
use framemill_network::{FrameRate, Ladder, SourceVideo};
use framemill_verification::plain_video;
use futures::stream::{FuturesOrdered, Stream, StreamExt};
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, Span};

use crate::attempt::millis_since;
use crate::config::StreamConfig;
use crate::error::{SegmentError, StreamError};
use crate::event::{
    CopySummary, Events, RenditionResult, SegmentOutcome, SegmentReport, SegmentResult, StreamEvent,
    StreamSummary, Totals,
};
use crate::ingest::reader::{Pace, arriving, pump, seekable};
use crate::market::{Bought, Market, Purchase, spent};
use crate::outlets::{Outlets, variants};
use crate::publish::{Piece, Place, SOURCE_NAME};
use crate::service::Shared;
use crate::span;

/// A segment of a source, checked and ready to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) sequence: u64,
    pub(crate) data: Bytes,
    pub(crate) sha256: B256,
    pub(crate) start_pts_90k: i64,
    pub(crate) duration_90k: u64,
    pub(crate) info: Arc<SegmentInfo>,
}

impl Segment {
    pub(crate) fn duration(&self) -> Duration {
        Duration::from_micros(self.duration_90k.saturating_mul(100) / 9)
    }

    /// Number of video frames.
    pub(crate) fn frames(&self) -> u32 {
        let frames = self.info.video.as_ref().map_or(0, |video| video.frames());
        u32::try_from(frames).unwrap_or(u32::MAX)
    }

    fn place(&self) -> Place {
        Place { sequence: self.sequence, start_pts_90k: self.start_pts_90k, duration_90k: self.duration_90k }
    }

    /// [`Segment::inspect`] on a blocking thread.
    pub(crate) async fn inspect_off_thread(sequence: u64, data: Bytes) -> Result<Self, StreamError> {
        let inspected = tokio::task::spawn_blocking(move || Self::inspect(sequence, data)).await;
        // A panic in the inspection is a defect; the segment is refused and the node lives on.
        inspected.unwrap_or(Err(MediaError::Cancelled.into()))
    }

    /// Checks a whole segment; one in another container than MPEG-TS, with sound that renditions cannot carry or with pictures that need the
    /// segment before is cut anew. Blocks on the length of the data.
    fn inspect(sequence: u64, data: Bytes) -> Result<Self, StreamError> {
        let limits = MediaLimits::segment();
        let info = match plain_video(&data, &limits) {
            // Of what live streams consist of; sound is taken along as it is and never asked for.
            Some(video) => SegmentInfo {
                container: Container::MpegTs,
                video: Some(video),
                audio: Vec::new(),
                bytes: data.len() as u64,
            },
            None => segment_info(&data, &limits)?,
        };
        let leading = info.require_video()?.leading;
        let foreign = info.audio.iter().any(|track| matches!(track.codec, AudioCodec::Other(_)));
        if info.container != Container::MpegTs || foreign || leading > 0 {
            return Self::remux(sequence, data, &limits);
        }
        let start = info.start().unwrap_or(0);
        let duration = u64::try_from(info.duration()).unwrap_or(0);
        Self::new(sequence, data, start, duration, info)
    }

    /// The whole input as one segment of the kind that the [`Segmenter`] makes.
    fn remux(sequence: u64, data: Bytes, limits: &MediaLimits) -> Result<Self, StreamError> {
        let config = SegmenterConfig {
            target: limits.duration,
            max_duration: limits.duration,
            first_sequence: sequence,
            require_video: true,
            ..SegmenterConfig::default()
        };
        let mut segmenter = Segmenter::from_bytes(data, config, limits)?;
        let segment = segmenter.next_segment()?.ok_or(MediaError::NoFrames)?;
        Self::from_source(segment)
    }

    fn from_source(segment: SourceSegment) -> Result<Self, StreamError> {
        let duration = u64::try_from(segment.duration).unwrap_or(0);
        let SourceSegment { sequence, data, start_pts, info, .. } = segment;
        Self::new(sequence, data, start_pts, duration, info)
    }

    fn new(
        sequence: u64,
        data: Bytes,
        start_pts_90k: i64,
        duration_90k: u64,
        info: SegmentInfo,
    ) -> Result<Self, StreamError> {
        let video = info.require_video()?;
        if video.frames() == 0 || duration_90k == 0 {
            return Err(MediaError::NoFrames.into());
        }
        let sha256 = B256::from(<[u8; 32]>::from(Sha256::digest(&data)));
        Ok(Self { sequence, data, sha256, start_pts_90k, duration_90k, info: Arc::new(info) })
    }
}

/// What travels to the stream's task.
struct Job {
    segment: Segment,
    ladder: Arc<Ladder>,
    reply: oneshot::Sender<SegmentOutcome>,
}

/// A segment on its way. Resolves when it was published or lost; dropping it changes nothing about the segment.
#[derive(Debug)]
pub struct PendingSegment {
    sequence: u64,
    reply: oneshot::Receiver<SegmentOutcome>,
}

impl PendingSegment {
    /// Waits for the segment to be published or lost. Cancel safe only in that the segment goes on: the outcome is then
    /// seen in the stream's events alone.
    pub async fn outcome(self) -> SegmentOutcome {
        self.reply.await.unwrap_or(Err(SegmentError::Aborted { sequence: self.sequence }))
    }
}

/// Shared by all handles of a stream.
pub(crate) struct StreamInner {
    config: StreamConfig,
    jobs: tokio::sync::Mutex<Intake>,
    ladder: OnceLock<Arc<Ladder>>,
    events: Events,
    done: watch::Receiver<Option<StreamSummary>>,
    /// No more segments are taken.
    closing: CancellationToken,
    cancel: CancellationToken,
}

/// The way in: one pusher at a time, so that the order in which segments are taken is the order of their numbers.
struct Intake {
    jobs: mpsc::Sender<Job>,
    last: Option<u64>,
}

/// A running stream. Cheap to clone; when the last clone is dropped the stream drains and ends as if finished.
#[derive(Clone)]
pub struct StreamHandle {
    inner: Arc<StreamInner>,
}

impl From<Arc<StreamInner>> for StreamHandle {
    fn from(inner: Arc<StreamInner>) -> Self {
        Self { inner }
    }
}

impl StreamHandle {
    pub(crate) fn start(shared: Arc<Shared>, config: StreamConfig) -> Self {
        let (jobs, incoming) = mpsc::channel(1);
        let events = Events::new(&config.name, shared.events.clone());
        let (summary, done) = watch::channel(None);
        let (closing, cancel) = (CancellationToken::new(), shared.cancel.child_token());
        let worker = Worker::new(Arc::clone(&shared), config.clone(), events.clone());
        let (close, token) = (closing.clone(), cancel.clone());
        shared.tasks.spawn(async move {
            summary.send_replace(Some(worker.run(incoming, close, token).await));
        });
        let inner = StreamInner {
            config,
            jobs: tokio::sync::Mutex::new(Intake { jobs, last: None }),
            ladder: OnceLock::new(),
            events,
            done,
            closing,
            cancel,
        };
        Self { inner: Arc::new(inner) }
    }

    pub(crate) fn downgrade(&self) -> Weak<StreamInner> {
        Arc::downgrade(&self.inner)
    }

    /// Name of the stream.
    pub fn name(&self) -> &str {
        &self.inner.config.name
    }

    /// The stream's settings.
    pub fn config(&self) -> &StreamConfig {
        &self.inner.config
    }

    /// The concrete ladder; `None` before the first segment.
    pub fn ladder(&self) -> Option<Arc<Ladder>> {
        self.inner.ladder.get().cloned()
    }

    /// Takes one segment of a [`Segmenter`]. Waits while
    /// [`StreamConfig::in_flight`] segments are worked on; that is the stream's back-pressure.
    ///
    /// Cancel safe: a dropped call has not taken the segment, which may be pushed again.
    ///
    /// # Errors
    /// When the segment has no video, comes out of order, or the stream has ended.
    pub async fn push(&self, segment: SourceSegment) -> Result<PendingSegment, StreamError> {
        self.take(Segment::from_source(segment)?).await
    }

    /// Takes the bytes of one whole segment, in any container that is read; they are inspected first, and cut anew unless they are MPEG-TS.
    /// Otherwise like [`StreamHandle::push`].
    ///
    /// # Errors
    /// As [`StreamHandle::push`], and when the bytes are not a usable segment.
    pub async fn push_bytes(&self, sequence: u64, data: Bytes) -> Result<PendingSegment, StreamError> {
        let segment = Segment::inspect_off_thread(sequence, data).await?;
        self.take(segment).await
    }

    /// Cuts a live byte stream into segments and pushes them, in real time or as fast as they are taken. Returns the number
    /// of segments when the source ends; finish the stream then.
    ///
    /// Cancel safe: dropping the call stops reading; segments taken go on. A read that is under way ends first: give a reader
    /// that cannot wait for ever.
    ///
    /// # Errors
    /// When the source is not usable media or fails, or the stream has ended.
    pub async fn push_reader(
        &self,
        reader: impl Read + Send + 'static,
        pace: Pace,
    ) -> Result<u64, StreamError> {
        pump(self, arriving(reader), pace).await
    }

    /// Like [`StreamHandle::push_reader`] for a file, which may be an MP4 with its index at the end.
    ///
    /// # Errors
    /// As [`StreamHandle::push_reader`].
    pub async fn push_file(
        &self,
        file: impl Read + Seek + Send + 'static,
        pace: Pace,
    ) -> Result<u64, StreamError> {
        pump(self, seekable(file), pace).await
    }

    pub(crate) async fn take(&self, segment: Segment) -> Result<PendingSegment, StreamError> {
        let ladder = self.ladder_for(&segment.info)?;
        let mut intake = self.inner.jobs.lock().await;
        let sequence = segment.sequence;
        if let Some(last) = intake.last.filter(|last| sequence <= *last) {
            return Err(StreamError::OutOfOrder { stream: self.name().to_owned(), sequence, last });
        }
        let Intake { jobs, last } = &mut *intake;
        let permit = jobs.reserve().await.map_err(|_| StreamError::Ended(self.name().to_owned()))?;
        let (sender, reply) = oneshot::channel();
        permit.send(Job { segment, ladder, reply: sender });
        *last = Some(sequence);
        Ok(PendingSegment { sequence, reply })
    }

    /// The concrete ladder, made for the first segment and kept: players do not expect renditions to change size.
    fn ladder_for(&self, info: &SegmentInfo) -> Result<Arc<Ladder>, StreamError> {
        if let Some(ladder) = self.inner.ladder.get() {
            return Ok(Arc::clone(ladder));
        }
        let ladder = Arc::new(self.inner.config.ladder.resolve(&source_of(info))?);
        Ok(Arc::clone(self.inner.ladder.get_or_init(|| ladder)))
    }

    /// Everything that happens from now on. A reader that falls too far behind gets [`StreamEvent::Missed`].
    pub fn events(&self) -> impl Stream<Item = StreamEvent> + Send + Unpin + use<> {
        self.inner.events.subscribe()
    }

    /// Takes no more segments, waits for those in flight, ends the playlists. May be called more than once. A push that waits
    /// for room ends with [`StreamError::Ended`].
    ///
    /// Cancel safe: the stream goes on ending when the call is dropped, from its first poll on.
    pub async fn finish(&self) -> StreamSummary {
        self.inner.closing.cancel();
        self.ended().await
    }

    /// Drops what is in flight and ends the playlists with what was published.
    ///
    /// Cancel safe, as [`StreamHandle::finish`].
    pub async fn abort(&self) -> StreamSummary {
        self.inner.cancel.cancel();
        self.ended().await
    }

    /// Waits for the end of the stream.
    async fn ended(&self) -> StreamSummary {
        let mut done = self.inner.done.clone();
        let summary = done.wait_for(Option::is_some).await.ok().and_then(|summary| summary.clone());
        // The task ends without a summary only if it panicked.
        summary.unwrap_or_else(|| StreamSummary {
            stream: self.name().to_owned(),
            totals: Totals::default(),
            master_playlist: String::new(),
            copies: Vec::new(),
            duration_90k: 0,
        })
    }
}

/// The picture that a stream's ladder is resolved against, zero by zero for a segment without video.
pub fn source_of(info: &SegmentInfo) -> SourceVideo {
    let (num, den) = rate_of(info);
    let fps = FrameRate::new(num, den).unwrap_or(FrameRate::SOURCE);
    let (width, height) = info.video.as_ref().map_or((0, 0), |video| (video.width, video.height));
    SourceVideo { width, height, fps }
}

pub(crate) fn rate_of(info: &SegmentInfo) -> (u32, u32) {
    info.video.as_ref().map_or((0, 1), |video| (video.frame_rate.num, video.frame_rate.den))
}

/// The task behind a stream.
struct Worker {
    shared: Arc<Shared>,
    config: StreamConfig,
    events: Events,
    outlets: Outlets,
    totals: Totals,
    duration_90k: u64,
}

/// A purchase in flight with the one who waits for it.
struct Running {
    bought: Bought,
    ladder: Arc<Ladder>,
    reply: oneshot::Sender<SegmentOutcome>,
    span: Span,
}

/// Takes the stream out of the open ones however its task ends.
struct Registered {
    shared: Arc<Shared>,
    name: String,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.shared.closed(&self.name);
    }
}

impl Worker {
    fn new(shared: Arc<Shared>, config: StreamConfig, events: Events) -> Self {
        let outlets = Outlets::new(&shared, &config, &events);
        Self { shared, config, events, outlets, totals: Totals::default(), duration_90k: 0 }
    }

    async fn run(
        mut self,
        mut jobs: mpsc::Receiver<Job>,
        closing: CancellationToken,
        cancel: CancellationToken,
    ) -> StreamSummary {
        let registered = Registered { shared: Arc::clone(&self.shared), name: self.config.name.clone() };
        let mut market: Option<Arc<Market>> = None;
        let mut running: FuturesOrdered<AbortOnDropHandle<Running>> = FuturesOrdered::new();
        let mut open = true;
        while open || !running.is_empty() {
            let room = running.len() < self.config.in_flight.max(1);
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                // What was taken until now is still received.
                () = closing.cancelled(), if !jobs.is_closed() => jobs.close(),
                Some(done) = running.next(), if !running.is_empty() => self.settle(done).await,
                job = jobs.recv(), if open && room => match job {
                    Some(job) => {
                        let market = market.get_or_insert_with(|| Arc::new(self.market(&job)));
                        running.push_back(AbortOnDropHandle::new(tokio::spawn(run_job(Arc::clone(market), job))));
                    }
                    None => open = false,
                },
            }
        }
        drop(running);
        if let Some(market) = &market {
            market.close().await;
        }
        let (master_playlist, copies) = self.outlets.finish(&cancel).await;
        // The name is free: looks at what was published may still take a while.
        drop(registered);
        if let Some(market) = market {
            let looked = tokio::select! {
                looked = market.looked() => looked,
                () = cancel.cancelled() => market.beside(),
            };
            self.totals.add_outpaced_of(&looked);
        }
        self.end(master_playlist, copies)
    }

    fn market(&self, first: &Job) -> Market {
        let source = source_of(&first.segment.info);
        let ladder = (*first.ladder).clone();
        Market::new(Arc::clone(&self.shared), self.config.clone(), ladder, source, self.events.clone())
    }

    /// Publishes or loses the next segment in order, and tells everybody.
    async fn settle(&mut self, done: Result<Running, tokio::task::JoinError>) {
        let Ok(Running { bought, ladder, reply, span }) = done else {
            // A panic in a purchase is a defect that costs its segment; whoever waits for it hears "aborted".
            tracing::error!(stream = %self.config.name, "a purchase ended without an outcome; report the panic above");
            self.totals.segments += 1;
            self.totals.lost += 1;
            return;
        };
        let inside = span.clone();
        self.conclude(bought, &ladder, reply, &span).instrument(inside).await;
    }

    /// Does that inside the segment's span.
    async fn conclude(
        &mut self,
        bought: Bought,
        ladder: &Ladder,
        reply: oneshot::Sender<SegmentOutcome>,
        span: &Span,
    ) {
        let Bought { segment, arrived, attempts, hedge, result } = bought;
        let (tickets, expected_value) = spent(&attempts);
        let mut report = SegmentReport {
            stream: self.config.name.clone(),
            sequence: segment.sequence,
            duration_90k: segment.duration_90k,
            start_pts_90k: segment.start_pts_90k,
            source_bytes: segment.data.len() as u64,
            orchestrator: None,
            lost: None,
            renditions: 0,
            rendition_bytes: 0,
            verified: 0,
            tier: None,
            timeline: attempts.last().map(|attempt| attempt.timeline).unwrap_or_default(),
            attempts,
            hedge,
            tickets,
            expected_value,
        };
        let published = match result {
            Ok(purchase) => self.publish(&segment, ladder, purchase, &mut report).await,
            Err(error) => {
                self.outlets.lose(segment.place()).await;
                Err(error)
            }
        };
        if let Err(error) = &published {
            report.lost = Some(error.to_string());
            tracing::warn!(stream = %self.config.name, sequence = segment.sequence, %error, "segment lost");
        }
        report.timeline.published_ms = report.lost.is_none().then(|| millis_since(arrived));
        span::ended(span, &report);
        tracing::debug!("segment ended");
        self.count(&report, arrived.elapsed());
        self.events.send(StreamEvent::Segment(report.clone()));
        let _ = reply.send(published.map(|renditions| SegmentResult { report, renditions }));
    }

    async fn publish(
        &mut self,
        segment: &Segment,
        ladder: &Ladder,
        purchase: Purchase,
        report: &mut SegmentReport,
    ) -> Result<Vec<RenditionResult>, SegmentError> {
        let Purchase { session, delivered } = purchase;
        let mut pieces: Vec<Piece> = ladder
            .iter()
            .zip(&delivered.renditions)
            .map(|(entry, data)| Piece { name: entry.name.clone(), data: data.clone() })
            .collect();
        // Playlists name a source's segments as transport streams: another container's bytes would not play under such a name.
        if self.config.publish_source && segment.info.container == Container::MpegTs {
            pieces.push(Piece { name: SOURCE_NAME.to_owned(), data: segment.data.clone() });
        }
        let (count, bytes) = (pieces.len(), pieces.iter().map(|piece| piece.data.len() as u64).sum::<u64>());
        let paths = self
            .outlets
            .publish(segment.place(), pieces, |pieces| variants(ladder, pieces, &segment.info))
            .await
            .map_err(|error| SegmentError::Store { sequence: segment.sequence, reason: error.to_string() })?;
        report.orchestrator = Some(session.account);
        report.renditions = count as u32;
        report.verified = ladder.len() as u32;
        report.tier = delivered.tier.map(|tier| tier as u8);
        report.rendition_bytes = bytes;
        let results = ladder.iter().zip(delivered.renditions).zip(&delivered.claims).zip(paths);
        Ok(results
            .map(|(((entry, data), claim), path)| RenditionResult {
                entry: entry.clone(),
                data,
                sha256: claim.sha256,
                path,
            })
            .collect())
    }

    fn count(&mut self, report: &SegmentReport, elapsed: Duration) {
        let published = report.is_published();
        // Asking the same orchestrator again is no failover.
        let failovers =
            report.attempts.windows(2).filter(|w| w[0].orchestrator != w[1].orchestrator).count() as u64;
        let change = |totals: &mut Totals| {
            totals.segments += 1;
            totals.published += u64::from(published);
            totals.lost += u64::from(!published);
            totals.renditions += u64::from(report.renditions);
            totals.failovers += failovers;
            totals.hedges += u64::from(report.hedge.is_some());
            totals.tickets += u64::from(report.tickets);
            totals.expected_value = totals.expected_value.saturating_add(report.expected_value);
        };
        change(&mut self.totals);
        self.shared.count(change);
        let rejected = |attempt: &&crate::event::AttemptReport| {
            matches!(attempt.result, crate::event::AttemptOutcome::Rejected { .. })
        };
        // The broadcaster's own total is counted when it happens; the stream's with its segment.
        self.totals.rejected += report.attempts.iter().filter(rejected).count() as u64;
        if published {
            self.duration_90k += report.duration_90k;
        }
        let metrics = &self.shared.metrics;
        metrics.segment(published, elapsed);
        metrics.source_bytes.inc_by(report.source_bytes);
        metrics.renditions.inc_by(u64::from(report.renditions));
        metrics.rendition_bytes.inc_by(report.rendition_bytes);
    }

    fn end(self, master_playlist: String, copies: Vec<CopySummary>) -> StreamSummary {
        let summary = StreamSummary {
            stream: self.config.name.clone(),
            totals: self.totals,
            master_playlist,
            copies,
            duration_90k: self.duration_90k,
        };
        self.events.send(StreamEvent::Ended(summary.clone()));
        summary
    }
}

async fn run_job(market: Arc<Market>, job: Job) -> Running {
    let Job { segment, ladder, reply } = job;
    let span = span::open(&market.config.name, segment.sequence);
    let bought = market.buy(segment).instrument(span.clone()).await;
    span::bought(&span, &bought);
    Running { bought, ladder, reply, span }
}
