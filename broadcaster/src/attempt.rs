//! One attempt: pay, offer, upload, download, check.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use alloy_primitives::U256;
use bytes::{Bytes, BytesMut};
use framemill_network::{
    Ladder, LadderEntry, MAX_AHEAD_BYTES, NetworkError, PPM, ProtocolError, RenditionClaim, RenditionEnd,
    Retry, SegmentDownload, SegmentEvent, SegmentExchange, SegmentHeader, SourceWriter, WireCode,
};
use probabilistic_ticket::{Sender, SenderSession, TicketBatch, Wei, WorkOutcome};
use tokio_util::sync::CancellationToken;

use crate::audit;
use crate::check::{Delivered, Finding, Later, LazySource, Passed, check, verdicts};
use crate::core::plan::Setback;
use crate::core::scoreboard::Severity;
use crate::event::{AttemptOutcome, Events, RenditionVerdict, Timeline};
use crate::failure::Failure;
use crate::sampling::OpenEpoch;
use crate::service::Shared;
use crate::sessions::{Session, Slot, Terms, Tickets, decode_params};
use crate::stream::Segment;

/// Wait for an orchestrator's own reason after the upload to it broke.
const REASON_WAIT: Duration = Duration::from_secs(1);

/// Times that an orchestrator may lose us what may be out at it before it is paid no more for a while: it may have
/// crashed, but a session that is forgotten with its payment must not pay more than the work would.
const LOSSES_BORNE: u64 = 2;

/// What is heard of an attempt, and told to it, while it runs.
pub(crate) struct Signal {
    pub(crate) began: Instant,
    /// Its result is there and being checked.
    arrived: AtomicBool,
    /// Another was faster.
    stop: CancellationToken,
}

impl Signal {
    pub(crate) fn new(began: Instant) -> Arc<Self> {
        Arc::new(Self { began, arrived: AtomicBool::new(false), stop: CancellationToken::new() })
    }

    pub(crate) fn has_arrived(&self) -> bool {
        self.arrived.load(Ordering::Acquire)
    }

    /// Ends the attempt at the next point at which nothing is half done. A result that is there already is judged all the same.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }
}

/// What one attempt is about.
pub(crate) struct Attempt {
    pub(crate) shared: Arc<Shared>,
    pub(crate) events: Events,
    pub(crate) session: Arc<Session>,
    pub(crate) segment: Segment,
    pub(crate) ladder: Arc<Ladder>,
    pub(crate) source: Arc<LazySource>,
    pub(crate) epoch: Arc<OpenEpoch>,
    pub(crate) signal: Arc<Signal>,
    /// Its place among what may be out at the orchestrator.
    pub(crate) _slot: Slot,
    pub(crate) stream_id: alloy_primitives::B256,
    /// Segments that may be out, and so unverified, at this orchestrator.
    pub(crate) may_owe: u64,
    /// Value lately paid to this orchestrator in sessions that ended before the work was done.
    pub(crate) lost: Wei,
    /// Arrival of the segment.
    pub(crate) arrived: Instant,
    /// Time to deliver. What the checks take is not part of it.
    pub(crate) budget: Duration,
    /// When the result is worthless, checked or not.
    pub(crate) deadline: Instant,
}

/// What an attempt did, filled in as it goes so that it survives a time-out.
#[derive(Default)]
pub(crate) struct Trace {
    pub(crate) timeline: Timeline,
    pub(crate) tickets: u64,
    pub(crate) expected_value: U256,
    /// The orchestrator accepted, so an upload began.
    pub(crate) accepted: bool,
    /// A payment whose work is not settled with the payer yet.
    unsettled: Option<Wei>,
    /// What the delivered renditions cost, by their quality.
    owed: Option<Wei>,
    /// How often the payment was made again.
    pub(crate) repaid: u32,
    /// All that was received, once it is complete.
    pub(crate) delivered: Option<Delivered>,
    /// When it was.
    pub(crate) delivered_at: Option<Instant>,
    /// What of it is still to be looked at.
    pub(crate) later: Option<Later>,
    /// What the checks found of each rendition.
    pub(crate) verdicts: Vec<RenditionVerdict>,
}

impl Attempt {
    /// Runs the attempt within its budget, checks what it brought by the segment's deadline, and settles its payment. Returns what
    /// was delivered and passed every check.
    pub(crate) async fn run(&self, trace: &mut Trace) -> Result<Delivered, Failure> {
        trace.timeline.quote_ms = Some(self.elapsed());
        let result = match tokio::time::timeout(self.budget, self.exchange(trace)).await {
            Ok(Ok(delivered)) => self.checked(delivered, trace).await,
            Ok(Err(failure)) => Err(failure),
            Err(_) => {
                let allowed_ms = u64::try_from(self.budget.as_millis()).unwrap_or(u64::MAX);
                let outcome = AttemptOutcome::Late { allowed_ms };
                Err(Failure::new(outcome, Setback::Failed, Some(Severity::Unavailable)))
            }
        };
        match &result {
            Ok(_) => self.settle(trace, WorkOutcome::Verified).await,
            Err(failure) if failure.is_unchecked => self.settle(trace, WorkOutcome::Verified).await,
            // Who has the whole source is not stopped by us leaving, and keeps the credit. It stays ordered and is never
            // verified, so it counts against what may be out: who lives on being outpaced soon gets nothing more.
            Err(failure) if failure.is_outpaced && trace.timeline.uploaded_ms.is_some() => {
                trace.unsettled = None;
            }
            Err(_) => self.settle(trace, WorkOutcome::NotDone).await,
        }
        result
    }

    /// `work`, unless another is faster. To be used only where dropping it leaves nothing half done.
    async fn unless_outpaced<T>(&self, work: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::select! {
            // What has not begun need not begin.
            biased;
            () = self.signal.stop.cancelled() => Err(Failure::outpaced(self.signal.began)),
            done = work => Ok(done),
        }
    }

    async fn exchange(&self, trace: &mut Trace) -> Result<Delivered, Failure> {
        let exchange = self.offer(trace).await?;
        trace.accepted = true;
        trace.timeline.accepted_ms = Some(self.elapsed());
        let SegmentExchange { upload, download, .. } = exchange;
        let transfer = self.transfer(upload, download, &mut trace.timeline);
        let delivered = self.unless_outpaced(transfer).await?;
        let delivered = delivered.map_err(|error| Failure::network(&error, true))?;
        trace.timeline.downloaded_ms = Some(self.elapsed());
        trace.delivered_at = Some(Instant::now());
        self.signal.arrived.store(true, Ordering::Release);
        trace.delivered = Some(delivered.clone());
        Ok(delivered)
    }

    /// Checks what was delivered. However long that takes, it is not the orchestrator's time.
    async fn checked(&self, delivered: Delivered, trace: &mut Trace) -> Result<Delivered, Failure> {
        let (session, segment) = (&self.session, &self.segment);
        let check =
            check(&self.shared, session, segment, &self.ladder, &self.source, &self.epoch, &delivered);
        match tokio::time::timeout_at(self.deadline.into(), check).await {
            Err(_) => Err(Failure::unchecked()),
            Ok(Ok(passed)) => {
                trace.timeline.verified_ms = Some(self.elapsed());
                trace.verdicts = verdicts(&self.ladder, &passed.reports, None);
                self.value(&passed, trace);
                let result = (&*self.ladder, &delivered);
                audit::consider(&self.shared, &self.events, session, segment, result, passed.seed);
                trace.later = passed.later;
                Ok(Delivered { tier: Some(passed.tier), ..delivered })
            }
            Ok(Err(finding)) => {
                if let Finding::Rejected { reason, reports, accused, .. } = &finding {
                    trace.timeline.verified_ms = Some(self.elapsed());
                    trace.verdicts = verdicts(&self.ladder, reports, accused.zip(Some(reason.as_str())));
                }
                Err(finding.into())
            }
        }
    }

    /// Pays and offers the segment until it is accepted or refused for good. Stale parameters are paid again at once.
    async fn offer(&self, trace: &mut Trace) -> Result<SegmentExchange, Failure> {
        let mut terms = self.unless_outpaced(self.session.terms.lock()).await?;
        if terms.at_risk(Instant::now())
            && (terms.unheard.is_some() || !self.is_covered().await?)
            && let Some(exchange) = self.offer_unpaid(&mut terms, trace).await?
        {
            return Ok(exchange);
        }
        loop {
            self.pay(&mut terms, trace).await?;
            let header = self.header(terms.unheard.as_ref().map(|tickets| &tickets.batch))?;
            let ahead = self.ahead(&terms);
            // Tickets that may have arrived stay unheard: they are sent again, and taken once.
            let offer = self.shared.network.open_segment_ahead(self.session.peer(), header, ahead);
            let opened = self.unless_outpaced(offer).await?;
            terms.welcome = opened.is_ok();
            match opened {
                Ok(exchange) => {
                    self.heard(&mut terms, exchange.accept.refused_tickets).await;
                    return Ok(self.accepted(exchange, &mut terms));
                }
                Err(error) => {
                    if error.wire_code().is_some_and(|code| code.retry() == Retry::Repay) {
                        self.write_off(&error, terms.unheard.take(), trace).await;
                    }
                    let fresh = self.fresh_terms(&error, trace.repaid);
                    let Some(fresh) = fresh else { return Err(Failure::network(&error, false)) };
                    if error.wire_code() != Some(WireCode::PaymentInsufficient) {
                        terms.note_stale();
                    }
                    terms.renew(fresh);
                    trace.repaid += 1;
                }
            }
        }
    }

    /// Offers the segment without tickets. The refusal brings parameters that hold now, with nothing at risk; `Some` when
    /// the orchestrator takes the segment on credit from before.
    async fn offer_unpaid(
        &self,
        terms: &mut Terms,
        trace: &mut Trace,
    ) -> Result<Option<SegmentExchange>, Failure> {
        let offer = self.shared.network.open_segment(self.session.peer(), self.header(None)?);
        match self.unless_outpaced(offer).await? {
            Ok(exchange) => {
                // Credit that these books count is spent here as there; what they have written off is not owed again.
                if self.is_covered().await? {
                    self.pay(terms, trace).await?;
                }
                Ok(Some(self.accepted(exchange, terms)))
            }
            Err(error) => match self.fresh_terms(&error, 0) {
                Some(fresh) => {
                    terms.renew(fresh);
                    Ok(None)
                }
                None => Err(Failure::network(&error, false)),
            },
        }
    }

    /// What of the source goes out with the offer: nothing to who has not just taken one, as it may be refused.
    fn ahead(&self, terms: &Terms) -> Bytes {
        let most = if terms.welcome { MAX_AHEAD_BYTES } else { 0 };
        self.segment.data.slice(..most.min(self.segment.data.len()))
    }

    fn accepted(&self, exchange: SegmentExchange, terms: &mut Terms) -> SegmentExchange {
        // Fresh parameters that do not decode are noticed when they are used: the old ones stay.
        match &exchange.accept.ticket_params {
            None => terms.confirm(),
            Some(fresh) => {
                if let Ok(fresh) = decode_params(fresh, &self.session.quote) {
                    terms.renew(fresh);
                }
            }
        }
        self.session.touch(Instant::now());
        exchange
    }

    /// The orchestrator has taken the tickets but for some: earlier credit made up for these, and counts for no more.
    async fn heard(&self, terms: &mut Terms, refused: u32) {
        let (Some(payer), Some(sent)) = (&self.shared.payer, terms.unheard.take()) else { return };
        let refused = u64::from(refused).min(sent.batch.tickets.len() as u64);
        if refused > 0 {
            let value = sent.batch.params.ticket_value().saturating_mul(refused);
            self.book(payer, Wei::ZERO, WorkOutcome::Refused(value)).await;
            terms.note_stale();
        }
    }

    /// The orchestrator has looked at the tickets and does not take them for enough.
    async fn write_off(&self, error: &NetworkError, sent: Option<Tickets>, trace: &mut Trace) {
        // It sees less credit than we do, or refuses a second time: the next payment goes on from none.
        let denied = trace.repaid > 0 || error.wire_code() == Some(WireCode::PaymentInsufficient);
        let refused = WorkOutcome::Refused(sent.map_or(Wei::ZERO, |tickets| tickets.value));
        self.settle(trace, if denied { WorkOutcome::NoCredit } else { refused }).await;
    }

    /// Whether credit from earlier payments covers the segment, so that it needs no tickets.
    async fn is_covered(&self) -> Result<bool, Failure> {
        let Some(payer) = &self.shared.payer else { return Ok(true) };
        let credit = payer.credit(self.session.quote.session).await;
        let credit = credit.map_err(|error| Failure::payment(&error, &self.session))?;
        Ok(credit >= self.cost())
    }

    /// Makes the tickets that the segment needs beside the credit left. They wait in the terms, before those of offers that
    /// were refused unread, until an orchestrator has taken them.
    async fn pay(&self, terms: &mut Terms, trace: &mut Trace) -> Result<(), Failure> {
        let (Some(payer), Some(params)) = (&self.shared.payer, terms.params) else { return Ok(()) };
        let cost = self.cost();
        let most = cost.saturating_mul(self.may_owe).saturating_add(params.ticket_value());
        if self.lost > most.saturating_mul(LOSSES_BORNE) {
            return Err(Failure::defaulted(self.lost));
        }
        self.raise_bound(payer, &mut terms.bound, most).await?;
        let session = self.session.quote.session;
        let payment = payer
            .pay(session, &params, cost)
            .await
            .map_err(|error| Failure::payment(&error, &self.session))?;
        trace.unsettled = Some(payment.cost);
        trace.tickets += payment.tickets;
        trace.expected_value = trace.expected_value.saturating_add(payment.value.0);
        if payment.tickets == 0 {
            return Ok(());
        }
        let batch = TicketBatch::decode(&payment.bytes)
            .map_err(|error| Failure::payment(&error.into(), &self.session))?;
        let made = Tickets { batch, value: payment.value };
        // Tickets on parameters that were replaced since are left behind: when they are missing, the answer says so.
        let all = match terms.unheard.take() {
            Some(earlier) => earlier.followed_by(made),
            None => made,
        };
        terms.unheard = Some(all);
        Ok(())
    }

    /// The parameters to pay with again, when the refusal brings some and asks for it.
    fn fresh_terms(&self, error: &NetworkError, repaid: u32) -> Option<probabilistic_ticket::TicketParams> {
        let NetworkError::Refused(wire) = error else { return None };
        if wire.code.retry() != Retry::Repay || repaid >= crate::core::plan::MAX_REPAYS {
            return None;
        }
        decode_params(wire.details.as_ref()?, &self.session.quote).ok()
    }

    /// Tells the payer how much may be out at this orchestrator, when that grew. Tickets come whole, so it is what the
    /// segments cost and one ticket more.
    async fn raise_bound(&self, payer: &Sender, bound: &mut Wei, wanted: Wei) -> Result<(), Failure> {
        if wanted <= *bound {
            return Ok(());
        }
        let session = SenderSession {
            id: self.session.quote.session,
            stream: self.stream_id,
            recipient: self.session.account,
            max_outstanding: wanted,
        };
        payer.open_session(session).await.map_err(|error| Failure::payment(&error, &self.session))?;
        *bound = wanted;
        Ok(())
    }

    fn header(&self, payment: Option<&TicketBatch>) -> Result<SegmentHeader, Failure> {
        let payment = payment.map(TicketBatch::encode).transpose();
        let payment =
            payment.map_err(|error| Failure::payment(&error.into(), &self.session))?.unwrap_or_default();
        Ok(SegmentHeader {
            session: self.session.quote.session,
            sequence: self.segment.sequence,
            duration_90k: self.segment.duration_90k,
            frames: self.segment.frames(),
            source_len: self.segment.data.len() as u64,
            source_sha256: self.segment.sha256,
            ladder: (*self.ladder).clone(),
            deadline: self.budget,
            payment: payment.into(),
            sampling_commitment: Some(self.epoch.committed().1),
        })
    }

    /// What the segment costs at full quality.
    fn cost(&self) -> Wei {
        let pixels = self.ladder.expected_pixels(self.segment.frames(), self.segment.duration_90k);
        Wei(self.session.quote.price.cost(pixels))
    }

    /// Uploads and downloads at the same time: renditions may come back while the source still goes out.
    async fn transfer(
        &self,
        upload: SourceWriter,
        mut download: SegmentDownload,
        timeline: &mut Timeline,
    ) -> Result<Delivered, NetworkError> {
        let data = self.segment.data.clone();
        let arrived = self.arrived;
        let upload = async move {
            let mut upload = upload;
            let sent = usize::try_from(upload.sent()).map_or(data.len(), |sent| sent.min(data.len()));
            upload.send(data.slice(sent..)).await?;
            upload.finish().await?;
            Ok::<_, NetworkError>(millis_since(arrived))
        };
        tokio::pin!(upload);
        let mut collector = Collector::new(&self.ladder, self.segment.duration_90k);
        let mut upload_error: Option<NetworkError> = None;
        let reason_wait = tokio::time::sleep(REASON_WAIT);
        tokio::pin!(reason_wait);
        loop {
            tokio::select! {
                () = &mut reason_wait, if upload_error.is_some() => {
                    return Err(upload_error.expect("checked by the branch's condition"));
                }
                sent = &mut upload, if timeline.uploaded_ms.is_none() && upload_error.is_none() => match sent {
                    Ok(at) => timeline.uploaded_ms = Some(at),
                    // What the orchestrator has to say about it is on its way; an error of its own explains more.
                    Err(error) => {
                        upload_error = Some(error);
                        reason_wait.as_mut().reset(tokio::time::Instant::now() + REASON_WAIT);
                    }
                },
                event = download.next() => match event {
                    Ok(Some(event)) => {
                        timeline.first_byte_ms.get_or_insert_with(|| millis_since(arrived));
                        if let Some(delivered) = collector.take(event) {
                            timeline.uploaded_ms.get_or_insert_with(|| millis_since(arrived));
                            return Ok(delivered);
                        }
                    }
                    Ok(None) => return Err(ProtocolError::Truncated { what: "renditions" }.into()),
                    Err(error) => {
                        let unexplained = !matches!(error, NetworkError::Refused(_) | NetworkError::Protocol(_));
                        return Err(upload_error.filter(|_| unexplained).unwrap_or(error));
                    }
                },
            }
        }
    }

    /// What the orchestrator has earned, by the same integers that it computes with.
    fn value(&self, passed: &Passed, trace: &mut Trace) {
        let discounted = passed.parts.iter().filter(|(_, share_ppm)| *share_ppm < PPM).count();
        if discounted > 0 {
            self.shared.metrics.discounted.inc_by(discounted as u64);
            trace.owed = Some(Wei(self.session.quote.price.cost_of_shares(passed.parts.iter().copied())));
        }
    }

    async fn settle(&self, trace: &mut Trace, outcome: WorkOutcome) {
        let (Some(payer), Some(cost)) = (&self.shared.payer, trace.unsettled.take()) else { return };
        let earned = trace.owed.take().filter(|_| outcome == WorkOutcome::Verified).unwrap_or(cost).min(cost);
        if earned < cost {
            // What a lower quality leaves is credit again, there as here: the next segment needs fewer tickets.
            self.book(payer, cost.saturating_sub(earned), WorkOutcome::NotDone).await;
        }
        self.book(payer, earned, outcome).await;
    }

    async fn book(&self, payer: &Sender, amount: Wei, outcome: WorkOutcome) {
        if let Err(error) = payer.record(self.session.quote.session, amount, outcome).await {
            tracing::warn!(%error, "payer's books could not be updated; the next payment may be refused by its caps");
        }
    }

    fn elapsed(&self) -> u64 {
        millis_since(self.arrived)
    }
}

/// Puts the renditions together. Bytes per rendition are bounded by the network against the ladder's bit rates.
struct Collector {
    parts: Vec<Part>,
}

/// A rendition on its way in.
struct Part {
    /// Room that is made for it with its first bytes.
    expected: usize,
    data: BytesMut,
    end: Option<RenditionEnd>,
}

impl Collector {
    /// For the renditions of so many ticks of 90 kHz.
    fn new(ladder: &Ladder, duration_90k: u64) -> Self {
        let part = |entry: &LadderEntry| Part {
            expected: entry.usual_bytes(duration_90k),
            data: BytesMut::new(),
            end: None,
        };
        Self { parts: ladder.iter().map(part).collect() }
    }

    /// The whole delivery once the receipt is there, which the network lets through only after every end.
    fn take(&mut self, event: SegmentEvent) -> Option<Delivered> {
        match event {
            SegmentEvent::Chunk(chunk) => {
                self.with(chunk.index, |part| part.add(&chunk.data));
                None
            }
            SegmentEvent::Restart { index } => {
                // Another transcoder took over: its bytes differ from the first.
                self.with(index, Part::restart);
                None
            }
            SegmentEvent::End(end) => {
                self.with(end.index, |part| part.end = Some(end));
                None
            }
            SegmentEvent::Receipt(receipt) => {
                let claims = self.parts.iter().filter_map(|part| part.end.as_ref());
                let claims: Vec<RenditionClaim> = claims.map(RenditionEnd::claim).collect();
                let renditions = self.parts.drain(..).map(|part| part.data.freeze()).collect();
                Some(Delivered { renditions, claims, receipt, tier: None })
            }
        }
    }

    fn with(&mut self, index: u32, change: impl FnOnce(&mut Part)) {
        if let Some(part) = self.parts.get_mut(index as usize) {
            change(part);
        }
    }
}

impl Part {
    fn restart(&mut self) {
        self.data.clear();
        self.end = None;
    }

    fn add(&mut self, chunk: &[u8]) {
        if self.data.capacity() == 0 {
            self.data.reserve(self.expected);
        }
        self.data.extend_from_slice(chunk);
    }
}

pub(crate) fn millis_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}
