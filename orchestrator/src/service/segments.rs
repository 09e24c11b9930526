//! One segment from its header to its receipt.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use alloy_primitives::B256;
use bytes::Bytes;
use framemill_media::{Container, MediaError, MediaLimits, SegmentInfo};
use framemill_network::{
    IncomingSegment, JobDownload, JobEvent, JobExchange, JobHeader, Ladder, LadderEntry, NetworkError,
    PeerId, RenditionClaim, SegmentAccept, SegmentHeader, SegmentReply, SegmentServer, SignedReceipt,
    SourceReader, SourceWriter, TranscodeReceipt, WireCode, WorkerHandle, renditions_root,
};
use framemill_verification::plain_video;
use probabilistic_ticket::Wei;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tracing::field::{Empty, display};
use tracing::{Instrument, Span, debug, info_span, warn};

use super::pool::Slot;
use super::vouch::{Original, Vouched, vouch};
use super::{Shared, locked};
use crate::config::SegmentLimits;
use crate::dispatch::{Demand, MAX_JOBS};
use crate::events::OrchestratorEvent;
use crate::evidence::KeptReceipt;
use crate::gate;
use crate::openings::Renditions;
use crate::payments::Held;
use crate::refusal::Refusal;
use crate::relay::{Fault, Made, Relay};
use crate::session::{SegmentEnd, SegmentKey, Terms};

/// Segments looked at at once: those in work, and as many again that are being refused.
const MAX_SEGMENTS: usize = 2 * MAX_JOBS;

/// Sessions of other processes looked for in the ledger at once.
pub(crate) const MAX_RECALLS: usize = 16;

/// Bytes that one permit of the buffer semaphore stands for; its counts are 32 bits wide.
pub(crate) const BUFFER_UNIT: u64 = 4096;

/// Permits for a number of bytes.
pub(crate) fn buffer_units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(BUFFER_UNIT)).unwrap_or(u32::MAX)
}

/// Serves segments until the network ends, or until it drains and the last segment is over.
pub(crate) async fn serve(shared: Arc<Shared>, mut server: SegmentServer) {
    let mut segments = JoinSet::new();
    loop {
        let draining = shared.draining.is_cancelled();
        if draining && segments.is_empty() {
            return;
        }
        tokio::select! {
            offer = server.next(), if segments.len() < MAX_SEGMENTS => match offer {
                Some(offer) => {
                    let span = span(&offer);
                    segments.spawn(segment(shared.clone(), offer).instrument(span));
                }
                None => break,
            },
            Some(_) = segments.join_next() => {}
            () = shared.draining.cancelled(), if !draining => {}
        }
    }
    while segments.join_next().await.is_some() {}
}

/// A begun segment; ends with its session's books in order however its task ends.
struct Begun {
    shared: Arc<Shared>,
    session: B256,
    sequence: u64,
    end: SegmentEnd,
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.shared.sessions().end(Instant::now(), self.session, self.sequence, self.end);
    }
}

/// A segment that may be uploaded: everything it needs is reserved and paid for.
struct Admitted {
    begun: Begun,
    terms: Terms,
    slot: Slot,
    held: Held,
    deadline: Instant,
    _buffer: OwnedSemaphorePermit,
}

/// The span of a segment, whose times are milliseconds since its offer.
fn span(offer: &IncomingSegment) -> Span {
    let header = offer.header();
    info_span!(
        "segment",
        peer = %offer.peer(),
        session = %header.session,
        sequence = header.sequence,
        admitted_ms = Empty,
        uploaded_ms = Empty,
        transcoder = Empty,
        made_ms = Empty,
        ended_ms = Empty,
        refusal = Empty,
    )
}

/// Notes on the segment's span when a stage ended.
fn note(stage: &'static str, offered: Instant) {
    Span::current().record(stage, u64::try_from(offered.elapsed().as_millis()).unwrap_or(u64::MAX));
}

async fn segment(shared: Arc<Shared>, incoming: IncomingSegment) {
    let offered = Instant::now();
    let (peer, header) = (incoming.peer(), incoming.header().clone());
    let (session, sequence) = (header.session, header.sequence);
    let refused = match admit(&shared, peer, &header, incoming.deadline()).await {
        Ok(admitted) => {
            note("admitted_ms", offered);
            match run(&shared, incoming, header, admitted, offered).await {
                Ok(()) => {
                    note("ended_ms", offered);
                    debug!("segment ended with a receipt");
                    shared.metrics.segments.count(Ok(()));
                    return;
                }
                Err(refusal) => refusal,
            }
        }
        Err(refusal) => {
            incoming.reject(refusal.to_wire()).await;
            refusal
        }
    };
    let refusal = refused.code();
    let code = refusal.as_str();
    note("ended_ms", offered);
    Span::current().record("refusal", code);
    debug!(%peer, %session, sequence, refusal = %refused, "segment ended without a receipt");
    shared.metrics.segments.count(Err(refusal));
    shared.events.send(OrchestratorEvent::SegmentFailed { session, sequence, code });
}

/// Everything that is decided before the upload; money last, and durably.
async fn admit(
    shared: &Arc<Shared>,
    peer: PeerId,
    header: &SegmentHeader,
    deadline: Instant,
) -> Result<Admitted, Refusal> {
    if shared.draining.is_cancelled() {
        return Err(Refusal::ShuttingDown);
    }
    let limits = &shared.config.segments;
    gate::check_header(header, limits)?;
    let deadline = deadline.min(Instant::now() + limits.max_deadline);
    let (begun, terms) = match begin(shared, peer, header) {
        Err(unknown @ Refusal::UnknownSession { .. }) => {
            recall(shared, peer, header.session).await?.then_some(()).ok_or(unknown)?;
            begin(shared, peer, header)?
        }
        begun => begun?,
    };
    shared.till.check_unsigned(terms.id, header.sequence).await?;
    gate::check_rate(header, &terms)?;
    let busy = Refusal::Busy { retry_after: shared.config.sessions.busy_retry };
    let buffer =
        shared.buffers.clone().try_acquire_many_owned(buffer_units(header.source_len)).map_err(|_| busy)?;
    let pixels = header.expected_pixels();
    let slot = shared.pool.reserve(Demand {
        session: terms.id,
        pixels_per_second: terms.pixels_per_second,
        pixels,
        deadline,
    })?;
    let held = shared.till.take(terms.id, &header.payment, Wei(terms.price.cost(pixels))).await?;
    slot.confirm();
    shared.sessions().activate(Instant::now(), terms.id);
    Ok(Admitted { begun, terms, slot, held, deadline, _buffer: buffer })
}

fn begin(shared: &Arc<Shared>, peer: PeerId, header: &SegmentHeader) -> Result<(Begun, Terms), Refusal> {
    let key = SegmentKey {
        session: header.session,
        peer,
        sequence: header.sequence,
        ladder_hash: header.ladder.hash(),
    };
    let capacity = shared.pool.capacity();
    let terms = shared.sessions().begin(Instant::now(), &key, capacity)?;
    let begun = Begun {
        shared: shared.clone(),
        session: key.session,
        sequence: key.sequence,
        end: SegmentEnd::Failed,
    };
    Ok((begun, terms))
}

/// Takes in a session of this peer that another process opened over the same books; false where there is none.
async fn recall(shared: &Shared, peer: PeerId, session: B256) -> Result<bool, Refusal> {
    // Strangers may ask for any session: those who pay must not wait behind them for the ledger.
    let Ok(_place) = shared.recalls.try_acquire() else {
        return Err(Refusal::Busy { retry_after: shared.config.sessions.busy_retry });
    };
    let recalled = shared.till.recall(session).await?;
    let Some((terms, age)) = recalled.filter(|(terms, _)| terms.peer == peer) else { return Ok(false) };
    let evicted = shared.sessions().adopt(Instant::now(), terms, age)?;
    shared.metrics.adopted.inc();
    if let Some(evicted) = evicted {
        shared.end(evicted.id).await;
    }
    Ok(true)
}

/// Upload, work, receipt. Whatever fails here leaves the client its credit, unless it is the client that stops taking
/// what is made for it: it would have the renditions, and the credit to have more for nothing.
async fn run(
    shared: &Arc<Shared>,
    incoming: IncomingSegment,
    header: SegmentHeader,
    mut admitted: Admitted,
    offered: Instant,
) -> Result<(), Refusal> {
    let session = admitted.terms.id;
    let ticket_params = shared.till.newer_params(session, &header.payment).await;
    let refused_tickets = admitted.held.refused_tickets;
    let answer = SegmentAccept { ticket_params, refused_tickets };
    let (reader, mut reply) = match incoming.accept(answer).await {
        Ok(accepted) => accepted,
        Err(error) => {
            shared.till.settle(session, admitted.held, Wei::ZERO).await?;
            return Err(Refusal::Wire(error.to_wire()));
        }
    };
    let work = Work {
        shared,
        offered,
        header: &header,
        admitted: &admitted,
        client_awaited: AtomicBool::new(false),
        committed: Mutex::default(),
    };
    let deadline = admitted.deadline.into();
    let produced = tokio::time::timeout_at(deadline, work.produce(reader, &mut reply)).await;
    let Work { client_awaited, committed, .. } = work;
    let owed = if client_awaited.into_inner() { admitted.held.amount } else { Wei::ZERO };
    let failure = match produced.unwrap_or(Err(Refusal::Late)) {
        Ok(made) => match charge(shared, &admitted, &made).await {
            Ok(earned) => {
                // From here on no other receipt for this sequence may ever be signed.
                admitted.begun.end = SegmentEnd::Signed;
                let committed = std::mem::take(&mut *locked(&committed));
                let place = (header.session, header.sequence);
                locked(&shared.openings).keep(Instant::now(), admitted.terms.peer, place, committed);
                let claims = made.into_iter().map(|made| made.claim).collect();
                deliver(shared, &header, &admitted, claims, earned, reply).await;
                return Ok(());
            }
            Err(refusal) => refusal,
        },
        Err(refusal) => shared.till.settle(session, admitted.held, owed).await.err().unwrap_or(refusal),
    };
    reply.fail(failure.to_wire()).await;
    Err(failure)
}

/// Books what the segment earned: its real pixels at the shares of their quality, never more than what was held for it. All of
/// that where another process has signed for the segment meanwhile: the client had it made twice.
async fn charge(shared: &Shared, admitted: &Admitted, made: &[Made]) -> Result<Wei, Refusal> {
    if let Err(refusal) = shared.till.vouch(admitted.terms.id, admitted.begun.sequence).await {
        let twice = matches!(refusal, Refusal::Replayed { .. });
        let owed = if twice { admitted.held.amount } else { Wei::ZERO };
        shared.till.settle(admitted.terms.id, admitted.held, owed).await?;
        return Err(refusal);
    }
    let parts = made.iter().map(|made| (made.claim.pixels, made.share_ppm));
    let earned = Wei(admitted.terms.price.cost_of_shares(parts)).min(admitted.held.amount);
    shared.till.settle(admitted.terms.id, admitted.held, earned).await?;
    Ok(earned)
}

fn pixels_of(claims: &[RenditionClaim]) -> u64 {
    claims.iter().fold(0, |sum, claim| sum.saturating_add(claim.pixels))
}

/// Signs the receipt, keeps it, sends it. The work is done and charged even if the client is gone.
async fn deliver(
    shared: &Shared,
    header: &SegmentHeader,
    admitted: &Admitted,
    claims: Vec<RenditionClaim>,
    earned: Wei,
    reply: SegmentReply,
) {
    let receipt = TranscodeReceipt {
        session: header.session,
        sequence: header.sequence,
        source_hash: header.source_sha256,
        ladder_hash: admitted.terms.ladder_hash,
        renditions_root: renditions_root(&claims),
        pixels: pixels_of(&claims),
        round: shared.till.round(),
    };
    let signature = shared.key.sign_digest(receipt.signing_hash(&shared.domain));
    let signed = SignedReceipt { receipt, signature: *signature.as_bytes() };
    if let Some(commitment) = header.sampling_commitment {
        shared.notes.told(commitment, &receipt, receipt.signing_hash(&shared.domain));
    }
    locked(&shared.evidence).keep(KeptReceipt { signed, claims });
    shared.metrics.pixels.inc_by(receipt.pixels);
    shared.events.send(OrchestratorEvent::SegmentDone {
        session: receipt.session,
        sequence: receipt.sequence,
        pixels: receipt.pixels,
        earned,
    });
    if let Err(error) = reply.finish(signed).await {
        debug!(session = %receipt.session, sequence = receipt.sequence, %error, "client left before its receipt");
    }
}

/// Why an attempt on one transcoder ended.
pub(super) enum Failed {
    /// The transcoder's fault: another one may do it.
    Transcoder(Fault),
    /// The segment is over.
    Segment(Refusal),
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        Self::Transcoder(fault)
    }
}

struct Work<'a> {
    shared: &'a Shared,
    offered: Instant,
    header: &'a SegmentHeader,
    admitted: &'a Admitted,
    /// Output waits for the client; still up at the end when it left or stopped taking it.
    client_awaited: AtomicBool,
    /// What was committed to up to now.
    committed: Mutex<Renditions>,
}

impl Work<'_> {
    /// Reads the source and delivers every rendition, over as many transcoders as it takes.
    async fn produce(&self, reader: SourceReader, reply: &mut SegmentReply) -> Result<Vec<Made>, Refusal> {
        let started = Instant::now();
        let source = reader.read_all().await.map_err(|error| Refusal::Wire(error.to_wire()))?;
        let uploaded = Instant::now();
        note("uploaded_ms", self.offered);
        let limits = self.media_limits();
        let info = inspect(source.clone(), limits).await?.map_err(bad_source)?;
        let pixels = info.video.as_ref().map_or(0, |video| u64::from(video.width) * u64::from(video.height));
        let pts = gate::check_source(info, self.header, self.limits())?;

        let terms = &self.admitted.terms;
        let (pictures, limits) = ((source.clone(), pixels), self.media_limits());
        let original = Original::new(self.shared, terms, pictures, limits).await?;
        let _ahead = original.decode_ahead(self.shared, terms);
        let mut relay = Relay::new(terms.ladder.clone(), self.header.duration_90k);
        while relay.missing() > 0 {
            let worker = self.admitted.slot.assign()?;
            match self.attempt(&worker, (&source, &original), &pts, &mut relay, reply).await {
                Ok(()) => {
                    Span::current().record("transcoder", display(worker.peer()));
                }
                Err(Failed::Segment(refusal)) => return Err(refusal),
                Err(Failed::Transcoder(fault)) => {
                    warn!(transcoder = %worker.peer(), %fault, "transcoder failed a segment; trying another");
                    self.shared.metrics.retries.inc();
                    self.admitted.slot.failed();
                }
            }
        }
        note("made_ms", self.offered);
        self.shared.metrics.upload_seconds.observe((uploaded - started).as_secs_f64());
        self.shared.metrics.transcode_seconds.observe(uploaded.elapsed().as_secs_f64());
        Ok(relay.made())
    }

    /// Has one transcoder make what is missing.
    async fn attempt(
        &self,
        worker: &WorkerHandle,
        (source, original): (&Bytes, &Arc<Original>),
        pts: &[i64],
        relay: &mut Relay,
        reply: &mut SegmentReply,
    ) -> Result<(), Failed> {
        let (ladder, restarted) = relay.begin_attempt();
        for index in restarted {
            self.to_client(reply.restart_rendition(index)).await?;
        }
        let JobExchange { upload, download } =
            worker.open_job(self.job(ladder)).await.map_err(worker_failed)?;
        let mut upload = std::pin::pin!(push(upload, source.clone()));
        let mut pull = std::pin::pin!(self.pull(download, (pts, original), relay, reply));
        let mut uploaded = false;
        loop {
            tokio::select! {
                pulled = &mut pull => return pulled,
                // Why an upload failed is said on the other half, where the transcoder's own words come.
                _ = &mut upload, if !uploaded => uploaded = true,
            }
        }
    }

    /// Forwards what a transcoder makes; vouches for each rendition only after its own look at it.
    async fn pull(
        &self,
        mut download: JobDownload,
        (pts, original): (&[i64], &Arc<Original>),
        relay: &mut Relay,
        reply: &mut SegmentReply,
    ) -> Result<(), Failed> {
        while let Some(event) = download.next().await.map_err(worker_failed)? {
            match event {
                JobEvent::Chunk(chunk) => {
                    let index = relay.chunk(chunk.index, &chunk.data)?;
                    self.to_client(reply.chunk(index, chunk.data)).await?;
                }
                JobEvent::Restart { index } => {
                    if let Some(index) = relay.restart(index)? {
                        self.to_client(reply.restart_rendition(index)).await?;
                    }
                }
                JobEvent::End(end) => {
                    let (index, bytes) = relay.whole(end.index)?;
                    let (frames, pixels) = self.check(index, bytes.clone(), pts).await?;
                    let (terms, entry) = (&self.admitted.terms, self.entry(index)?);
                    let vouched = vouch(self.shared, terms, original, entry, (index, bytes)).await?;
                    let Vouched { feature_root, psnr_centi_db, share_ppm, committed } = vouched;
                    if let Some(committed) = committed {
                        locked(&self.committed).insert(index, committed);
                    }
                    let sending = reply.end(index, pixels, frames, feature_root, psnr_centi_db);
                    let claim = self.to_client(sending).await?.claim();
                    relay.complete(Made { claim, share_ppm });
                }
            }
        }
        match relay.missing() {
            0 => Ok(()),
            missing => Err(Fault::Incomplete { missing }.into()),
        }
    }

    /// Sends output to the client, and keeps note of whom the segment waits for.
    async fn to_client<T>(
        &self,
        sending: impl Future<Output = Result<T, NetworkError>>,
    ) -> Result<T, Failed> {
        self.client_awaited.store(true, Ordering::Relaxed);
        let unsendable = match sending.await {
            Ok(sent) => Ok(sent),
            // The transcoder made something that nobody asked for.
            Err(error @ NetworkError::Unsendable { .. }) => Err(Fault::Worker(error.to_string()).into()),
            Err(error) => return Err(Failed::Segment(Refusal::Wire(error.to_wire()))),
        };
        self.client_awaited.store(false, Ordering::Relaxed);
        unsendable
    }

    async fn check(&self, index: u32, bytes: Bytes, pts: &[i64]) -> Result<(u32, u64), Failed> {
        let entry = self.entry(index)?;
        let info = inspect(bytes, self.media_limits()).await.map_err(Failed::Segment)?;
        let info = info.map_err(|error| Fault::NotMedia { index, reason: error.to_string() })?;
        Ok(gate::check_rendition(index, entry, pts, &info)?)
    }

    fn entry(&self, index: u32) -> Result<&LadderEntry, Fault> {
        let ladder = &self.admitted.terms.ladder;
        ladder.get(index).ok_or(Fault::Unexpected { index, count: ladder.len() })
    }

    fn job(&self, ladder: Ladder) -> JobHeader {
        JobHeader {
            job: self.admitted.slot.id(),
            session: self.header.session,
            sequence: self.header.sequence,
            duration_90k: self.header.duration_90k,
            frames: self.header.frames,
            source_len: self.header.source_len,
            source_sha256: self.header.source_sha256,
            ladder,
            deadline: self.admitted.deadline.saturating_duration_since(Instant::now()),
        }
    }

    fn limits(&self) -> &SegmentLimits {
        &self.shared.config.segments
    }

    fn media_limits(&self) -> MediaLimits {
        let limits = self.limits();
        MediaLimits {
            pixels_per_frame: limits.max_source_pixels,
            frames: u64::from(limits.max_frames),
            ..MediaLimits::segment()
        }
        .with_deadline(self.admitted.deadline)
    }
}

async fn push(mut upload: SourceWriter, source: Bytes) -> Result<(), NetworkError> {
    upload.send(source).await?;
    upload.finish().await
}

/// Looks at packets on a thread that may block.
async fn inspect(data: Bytes, limits: MediaLimits) -> Result<Result<SegmentInfo, MediaError>, Refusal> {
    let looked = tokio::task::spawn_blocking(move || info_of(&data, &limits)).await;
    looked.map_err(|_| Refusal::Internal)
}

/// The gate asks for the video alone, which takes no FFmpeg to tell of what live streams consist of.
fn info_of(data: &Bytes, limits: &MediaLimits) -> Result<SegmentInfo, MediaError> {
    match plain_video(data, limits) {
        Some(video) => Ok(SegmentInfo {
            container: Container::MpegTs,
            video: Some(video),
            audio: Vec::new(),
            bytes: data.len() as u64,
        }),
        None => framemill_media::segment_info(data, limits),
    }
}

fn bad_source(error: MediaError) -> Refusal {
    match error {
        MediaError::DeadlineExceeded => Refusal::Late,
        error => Refusal::BadMedia(error.to_string()),
    }
}

/// Whose fault a failed job is: the source's, the clock's, or the transcoder's.
fn worker_failed(error: NetworkError) -> Failed {
    match error {
        NetworkError::Refused(wire) if wire.code == WireCode::BadMedia => {
            Failed::Segment(Refusal::BadMedia(wire.message))
        }
        NetworkError::Refused(wire) if wire.code == WireCode::DeadlineExceeded => {
            Failed::Segment(Refusal::Late)
        }
        error => Failed::Transcoder(Fault::Worker(error.to_string())),
    }
}
