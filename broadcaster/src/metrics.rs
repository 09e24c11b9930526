//! Prometheus metrics; label sets are closed, so their number is bounded whatever peers and users do.

use std::marker::PhantomData;
use std::time::Duration;

use framemill_verification::{Tier, policy::attention::Suspicion};
use prometheus::core::Collector;
use prometheus::{Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::error::BroadcasterError;
use crate::event::{AttemptOutcome, HedgeWinner};

/// Buckets in seconds, from a warm loopback to a segment nobody waits for any more.
const LATENCY_BUCKETS: [f64; 12] = [0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 2.5, 4.0, 6.0, 10.0, 20.0, 40.0];

/// A registry with every series that a broadcaster has, for whoever describes them.
///
/// # Errors
/// A metric is defined wrongly.
pub fn every_series() -> Result<Registry, BroadcasterError> {
    let registry = Registry::new();
    Metrics::new(Some(&registry))?;
    Ok(registry)
}

/// What a label may say.
pub(crate) trait Label: Copy + 'static {
    const ALL: &'static [Self];

    fn as_str(self) -> &'static str;
}

macro_rules! labels {
    ($($(#[$doc:meta])+ $name:ident { $($variant:ident = $value:literal),+ })+) => {$(
        $(#[$doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $name { $($variant),+ }

        impl Label for $name {
            const ALL: &'static [Self] = &[$(Self::$variant),+];

            fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $value),+ }
            }
        }
    )+};
}

labels! {
    /// How a segment ended.
    SegmentEnd { Published = "published", Lost = "lost" }
    /// How an attempt ended.
    AttemptEnd {
        Delivered = "delivered", Refused = "refused", Failed = "failed", Late = "late",
        Outpaced = "outpaced", Rejected = "rejected"
    }
    /// What a quote was good for.
    QuoteEnd { Usable = "usable", Refused = "refused" }
    /// How deep a result was judged.
    Depth { Structure = "structure", FirstFrame = "first_frame", Whole = "whole" }
    /// Whether what was claimed of a rendition is so.
    ClaimEnd { True = "true", False = "false" }
    /// What came of a rendition that was drawn to be held against a second encode.
    AuditEnd { Met = "met", Below = "below", Skipped = "skipped", Failed = "failed" }
    /// What became of a segment in a further store.
    CopyEnd { Published = "published", Missed = "missed" }
}

impl From<&AttemptOutcome> for AttemptEnd {
    fn from(outcome: &AttemptOutcome) -> Self {
        match outcome {
            AttemptOutcome::Delivered => Self::Delivered,
            AttemptOutcome::Refused { .. } => Self::Refused,
            AttemptOutcome::Failed { .. } => Self::Failed,
            AttemptOutcome::Late { .. } => Self::Late,
            AttemptOutcome::Outpaced { .. } => Self::Outpaced,
            AttemptOutcome::Rejected { .. } => Self::Rejected,
        }
    }
}

impl From<Tier> for Depth {
    fn from(tier: Tier) -> Self {
        match tier {
            Tier::Structure => Self::Structure,
            Tier::FirstFrame => Self::FirstFrame,
            Tier::Whole => Self::Whole,
        }
    }
}

impl Label for Suspicion {
    const ALL: &'static [Self] = &Suspicion::ALL;

    fn as_str(self) -> &'static str {
        Suspicion::as_str(self)
    }
}

impl Label for HedgeWinner {
    const ALL: &'static [Self] = &[Self::First, Self::Spare, Self::Neither];

    fn as_str(self) -> &'static str {
        HedgeWinner::as_str(self)
    }
}

/// A counter for each value of a label. All are there from the start: what begins at one shows no increase, and an alert would
/// miss the first.
#[derive(Debug, Clone)]
pub(crate) struct Counters<L> {
    series: IntCounterVec,
    label: PhantomData<fn(L)>,
}

impl<L: Label> Counters<L> {
    fn new(name: &str, help: &str, label: &str) -> prometheus::Result<Self> {
        let counters = IntCounterVec::new(Opts::new(full(name), help), &[label])?;
        let new = Self { series: counters, label: PhantomData };
        L::ALL.iter().for_each(|value| new.add(*value, 0));
        Ok(new)
    }

    pub(crate) fn inc(&self, value: L) {
        self.add(value, 1);
    }

    pub(crate) fn add(&self, value: L, more: u64) {
        self.series.with_label_values(&[value.as_str()]).inc_by(more);
    }
}

/// Metrics of one broadcaster.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    pub(crate) streams: IntGauge,
    pub(crate) segments: Counters<SegmentEnd>,
    pub(crate) attempts: Counters<AttemptEnd>,
    pub(crate) renditions: IntCounter,
    pub(crate) source_bytes: IntCounter,
    pub(crate) rendition_bytes: IntCounter,
    pub(crate) tickets: IntCounter,
    pub(crate) quotes: Counters<QuoteEnd>,
    pub(crate) orchestrators: IntGauge,
    pub(crate) suspended: IntGauge,
    pub(crate) segment_seconds: Histogram,
    pub(crate) verify_seconds: Histogram,
    pub(crate) verify_waiting: IntGauge,
    pub(crate) judged: Counters<Depth>,
    pub(crate) downgraded: IntCounter,
    pub(crate) shed: IntCounter,
    pub(crate) escalated: IntCounter,
    pub(crate) published_wrong: IntCounter,
    pub(crate) looks_unended: IntCounter,
    pub(crate) claims: Counters<ClaimEnd>,
    pub(crate) suspicions: Counters<Suspicion>,
    pub(crate) sampling_share: Gauge,
    pub(crate) discounted: IntCounter,
    pub(crate) quality_audits: Counters<AuditEnd>,
    pub(crate) hedges: Counters<HedgeWinner>,
    pub(crate) outpaced_tickets: IntCounter,
    pub(crate) copied: Counters<CopyEnd>,
}

impl Metrics {
    /// Creates the metrics and registers them where a registry is given.
    pub(crate) fn new(registry: Option<&Registry>) -> Result<Self, BroadcasterError> {
        let new = || -> prometheus::Result<Self> {
            let metrics = Self::create()?;
            if let Some(registry) = registry {
                metrics.collectors().into_iter().try_for_each(|collector| registry.register(collector))?;
            }
            Ok(metrics)
        };
        new().map_err(|error| BroadcasterError::Metrics(error.to_string()))
    }

    fn create() -> prometheus::Result<Self> {
        Ok(Self {
            streams: gauge("streams", "Streams open now.")?,
            segments: Counters::new("segments_total", "Segments by how they ended.", "result")?,
            attempts: Counters::new("attempts_total", "Attempts on segments by outcome.", "outcome")?,
            renditions: counter("renditions_total", "Renditions verified and published.")?,
            source_bytes: counter("source_bytes_total", "Bytes of source segments taken in.")?,
            rendition_bytes: counter("rendition_bytes_total", "Bytes of renditions published.")?,
            tickets: counter("tickets_total", "Tickets sent.")?,
            quotes: Counters::new("quotes_total", "Quotes asked for, by result.", "result")?,
            orchestrators: gauge("orchestrators", "Orchestrators known.")?,
            suspended: gauge("suspended_orchestrators", "Orchestrators suspended now.")?,
            segment_seconds: histogram("segment_seconds", "Arrival of a segment to its publication.")?,
            verify_seconds: histogram("verify_seconds", "Checks of one result, all renditions.")?,
            verify_waiting: gauge("verify_waiting", "Renditions that wait for a core to be judged on.")?,
            judged: Counters::new("judged_total", "Results judged, by how deep.", "tier")?,
            downgraded: counter(
                "downgraded_total",
                "Results judged less deep than drawn, for lack of cores.",
            )?,
            shed: counter("verify_shed_total", "Results for which the queue had no room.")?,
            escalated: counter(
                "escalated_total",
                "Results compared whole because their first frame came near a bound.",
            )?,
            published_wrong: counter(
                "published_wrong_total",
                "Published results that a look afterwards found wrong.",
            )?,
            looks_unended: counter(
                "looks_unended_total",
                "Looks at published results that came to no end; the log says why.",
            )?,
            claims: Counters::new("claim_checks_total", "Claims compared with their renditions.", "result")?,
            suspicions: Counters::new(
                "suspicions_total",
                "Times an orchestrator got full attention, by cause.",
                "cause",
            )?,
            sampling_share: Gauge::new(
                full("sampling_share_ratio"),
                "Part of the attention beyond the floor that the load leaves.",
            )?,
            discounted: counter(
                "discounted_renditions_total",
                "Renditions paid with less than their whole price for their quality.",
            )?,
            quality_audits: Counters::new(
                "quality_audits_total",
                "Renditions drawn to be held against a second encode, by outcome.",
                "outcome",
            )?,
            hedges: Counters::new(
                "hedges_total",
                "Segments sent to the spare as well, by who delivered.",
                "winner",
            )?,
            outpaced_tickets: counter(
                "outpaced_tickets_total",
                "Tickets sent with attempts that another outpaced.",
            )?,
            copied: Counters::new(
                "copied_segments_total",
                "Segments offered to further stores, by how that ended.",
                "result",
            )?,
        })
    }

    fn collectors(&self) -> [Box<dyn Collector>; 27] {
        [
            Box::new(self.streams.clone()),
            Box::new(self.segments.series.clone()),
            Box::new(self.attempts.series.clone()),
            Box::new(self.renditions.clone()),
            Box::new(self.source_bytes.clone()),
            Box::new(self.rendition_bytes.clone()),
            Box::new(self.tickets.clone()),
            Box::new(self.quotes.series.clone()),
            Box::new(self.orchestrators.clone()),
            Box::new(self.suspended.clone()),
            Box::new(self.segment_seconds.clone()),
            Box::new(self.verify_seconds.clone()),
            Box::new(self.verify_waiting.clone()),
            Box::new(self.judged.series.clone()),
            Box::new(self.downgraded.clone()),
            Box::new(self.shed.clone()),
            Box::new(self.escalated.clone()),
            Box::new(self.published_wrong.clone()),
            Box::new(self.looks_unended.clone()),
            Box::new(self.claims.series.clone()),
            Box::new(self.suspicions.series.clone()),
            Box::new(self.sampling_share.clone()),
            Box::new(self.discounted.clone()),
            Box::new(self.quality_audits.series.clone()),
            Box::new(self.hedges.series.clone()),
            Box::new(self.outpaced_tickets.clone()),
            Box::new(self.copied.series.clone()),
        ]
    }

    pub(crate) fn segment(&self, published: bool, elapsed: Duration) {
        self.segments.inc(if published { SegmentEnd::Published } else { SegmentEnd::Lost });
        if published {
            self.segment_seconds.observe(elapsed.as_secs_f64());
        }
    }
}

fn full(name: &str) -> String {
    format!("framemill_broadcaster_{name}")
}

fn gauge(name: &str, help: &str) -> prometheus::Result<IntGauge> {
    IntGauge::new(full(name), help)
}

fn counter(name: &str, help: &str) -> prometheus::Result<IntCounter> {
    IntCounter::new(full(name), help)
}

fn histogram(name: &str, help: &str) -> prometheus::Result<Histogram> {
    Histogram::with_opts(HistogramOpts::new(full(name), help).buckets(LATENCY_BUCKETS.to_vec()))
}
