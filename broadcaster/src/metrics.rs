//! Prometheus metrics; label sets are closed, so their number is bounded whatever peers and users do.

use std::time::Duration;

use framemill_verification::Tier;
use prometheus::core::Collector;
use prometheus::{Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::error::BroadcasterError;
use crate::event::AttemptOutcome;

/// Buckets in seconds, from a warm loopback to a segment nobody waits for any more.
const LATENCY_BUCKETS: [f64; 12] = [0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 2.5, 4.0, 6.0, 10.0, 20.0, 40.0];

/// Metrics of one broadcaster.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    pub(crate) streams: IntGauge,
    pub(crate) segments: IntCounterVec,
    pub(crate) attempts: IntCounterVec,
    pub(crate) renditions: IntCounter,
    pub(crate) source_bytes: IntCounter,
    pub(crate) rendition_bytes: IntCounter,
    pub(crate) tickets: IntCounter,
    pub(crate) quotes: IntCounterVec,
    pub(crate) orchestrators: IntGauge,
    pub(crate) suspended: IntGauge,
    pub(crate) segment_seconds: Histogram,
    pub(crate) verify_seconds: Histogram,
    pub(crate) verify_waiting: IntGauge,
    pub(crate) judged: IntCounterVec,
    pub(crate) downgraded: IntCounter,
    pub(crate) shed: IntCounter,
    pub(crate) escalated: IntCounter,
    pub(crate) published_wrong: IntCounter,
    pub(crate) looks_unended: IntCounter,
    pub(crate) claims: IntCounterVec,
    pub(crate) suspicions: IntCounterVec,
    pub(crate) sampling_share: Gauge,
    pub(crate) discounted: IntCounter,
    pub(crate) quality_audits: IntCounterVec,
    pub(crate) hedges: IntCounterVec,
    pub(crate) outpaced_tickets: IntCounter,
    pub(crate) copied: IntCounterVec,
}

impl Metrics {
    /// Creates the metrics and registers them where a registry is given.
    pub(crate) fn new(registry: Option<&Registry>) -> Result<Self, BroadcasterError> {
        let new = || -> prometheus::Result<Self> {
            let metrics = Self::create()?;
            metrics.begin_at_zero();
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
            segments: counters("segments_total", "Segments by how they ended.", "result")?,
            attempts: counters("attempts_total", "Attempts on segments by outcome.", "outcome")?,
            renditions: counter("renditions_total", "Renditions verified and published.")?,
            source_bytes: counter("source_bytes_total", "Bytes of source segments taken in.")?,
            rendition_bytes: counter("rendition_bytes_total", "Bytes of renditions published.")?,
            tickets: counter("tickets_total", "Tickets sent.")?,
            quotes: counters("quotes_total", "Quotes asked for, by result.", "result")?,
            orchestrators: gauge("orchestrators", "Orchestrators known.")?,
            suspended: gauge("suspended_orchestrators", "Orchestrators suspended now.")?,
            segment_seconds: histogram("segment_seconds", "Arrival of a segment to its publication.")?,
            verify_seconds: histogram("verify_seconds", "Checks of one result, all renditions.")?,
            verify_waiting: gauge("verify_waiting", "Renditions that wait for a core to be judged on.")?,
            judged: counters("judged_total", "Results judged, by how deep.", "tier")?,
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
            claims: counters("claim_checks_total", "Claims compared with their renditions.", "result")?,
            suspicions: counters(
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
            quality_audits: counters(
                "quality_audits_total",
                "Renditions drawn to be held against a second encode, by outcome.",
                "outcome",
            )?,
            hedges: counters(
                "hedges_total",
                "Segments sent to the spare as well, by who delivered.",
                "winner",
            )?,
            outpaced_tickets: counter(
                "outpaced_tickets_total",
                "Tickets sent with attempts that another outpaced.",
            )?,
            copied: counters(
                "copied_segments_total",
                "Segments offered to further stores, by how that ended.",
                "result",
            )?,
        })
    }

    /// What begins at one shows no increase: an alert would miss the first.
    fn begin_at_zero(&self) {
        for result in ["published", "lost"] {
            self.segments.with_label_values(&[result]);
        }
        for outcome in ["delivered", "refused", "failed", "late", "outpaced", "rejected"] {
            self.attempts.with_label_values(&[outcome]);
        }
        for result in ["usable", "refused"] {
            self.quotes.with_label_values(&[result]);
        }
        for result in ["published", "missed"] {
            self.copied.with_label_values(&[result]);
        }
    }

    fn collectors(&self) -> [Box<dyn Collector>; 27] {
        [
            Box::new(self.streams.clone()),
            Box::new(self.segments.clone()),
            Box::new(self.attempts.clone()),
            Box::new(self.renditions.clone()),
            Box::new(self.source_bytes.clone()),
            Box::new(self.rendition_bytes.clone()),
            Box::new(self.tickets.clone()),
            Box::new(self.quotes.clone()),
            Box::new(self.orchestrators.clone()),
            Box::new(self.suspended.clone()),
            Box::new(self.segment_seconds.clone()),
            Box::new(self.verify_seconds.clone()),
            Box::new(self.verify_waiting.clone()),
            Box::new(self.judged.clone()),
            Box::new(self.downgraded.clone()),
            Box::new(self.shed.clone()),
            Box::new(self.escalated.clone()),
            Box::new(self.published_wrong.clone()),
            Box::new(self.looks_unended.clone()),
            Box::new(self.claims.clone()),
            Box::new(self.suspicions.clone()),
            Box::new(self.sampling_share.clone()),
            Box::new(self.discounted.clone()),
            Box::new(self.quality_audits.clone()),
            Box::new(self.hedges.clone()),
            Box::new(self.outpaced_tickets.clone()),
            Box::new(self.copied.clone()),
        ]
    }

    pub(crate) fn attempt(&self, outcome: &AttemptOutcome) {
        let label = match outcome {
            AttemptOutcome::Delivered => "delivered",
            AttemptOutcome::Refused { .. } => "refused",
            AttemptOutcome::Failed { .. } => "failed",
            AttemptOutcome::Late { .. } => "late",
            AttemptOutcome::Outpaced { .. } => "outpaced",
            AttemptOutcome::Rejected { .. } => "rejected",
        };
        self.attempts.with_label_values(&[label]).inc();
    }

    pub(crate) fn judged(&self, tier: Tier) {
        let label = match tier {
            Tier::Structure => "structure",
            Tier::FirstFrame => "first_frame",
            Tier::Whole => "whole",
        };
        self.judged.with_label_values(&[label]).inc();
    }

    pub(crate) fn segment(&self, published: bool, elapsed: Duration) {
        self.segments.with_label_values(&[if published { "published" } else { "lost" }]).inc();
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

fn counters(name: &str, help: &str, label: &str) -> prometheus::Result<IntCounterVec> {
    IntCounterVec::new(Opts::new(full(name), help), &[label])
}

fn histogram(name: &str, help: &str) -> prometheus::Result<Histogram> {
    Histogram::with_opts(HistogramOpts::new(full(name), help).buckets(LATENCY_BUCKETS.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_its_row_in_the_documentation() {
        let page = include_str!("../../docs/metrics.md");
        let metrics = Metrics::create().unwrap();
        let collectors = metrics.collectors();
        for desc in collectors.iter().flat_map(|collector| collector.desc()) {
            let labels: Vec<_> = desc.variable_labels.iter().map(|label| format!("`{label}` ")).collect();
            let row = format!("| `{}` | {}| {} |", desc.fq_name, labels.concat(), desc.help);
            assert!(page.contains(&row), "docs/metrics.md has no row {row}");
        }
        assert_eq!(page.matches("| `framemill_broadcaster_").count(), collectors.len(), "a row too many");
    }
}
