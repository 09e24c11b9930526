//! Prometheus metrics; label sets are closed, so their number is bounded whatever peers and users do.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

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
}

impl Metrics {
    /// Creates the metrics and registers them where a registry is given.
    pub(crate) fn new(registry: Option<&Registry>) -> Result<Self, BroadcasterError> {
        let new = || -> prometheus::Result<Self> {
            Ok(Self {
                streams: gauge(registry, "streams", "Streams open now.")?,
                segments: counters(registry, "segments_total", "Segments by how they ended.", "result")?,
                attempts: counters(
                    registry,
                    "attempts_total",
                    "Attempts on segments by outcome.",
                    "outcome",
                )?,
                renditions: counter(registry, "renditions_total", "Renditions verified and published.")?,
                source_bytes: counter(registry, "source_bytes_total", "Bytes of source segments taken in.")?,
                rendition_bytes: counter(
                    registry,
                    "rendition_bytes_total",
                    "Bytes of renditions published.",
                )?,
                tickets: counter(registry, "tickets_total", "Tickets sent.")?,
                quotes: counters(registry, "quotes_total", "Quotes asked for, by result.", "result")?,
                orchestrators: gauge(registry, "orchestrators", "Orchestrators known.")?,
                suspended: gauge(registry, "suspended_orchestrators", "Orchestrators suspended now.")?,
                segment_seconds: histogram(
                    registry,
                    "segment_seconds",
                    "Arrival of a segment to its publication.",
                )?,
                verify_seconds: histogram(
                    registry,
                    "verify_seconds",
                    "Checks of one result, all renditions.",
                )?,
            })
        };
        new().map_err(|error| BroadcasterError::Metrics(error.to_string()))
    }

    pub(crate) fn attempt(&self, outcome: &AttemptOutcome) {
        let label = match outcome {
            AttemptOutcome::Delivered => "delivered",
            AttemptOutcome::Refused { .. } => "refused",
            AttemptOutcome::Failed { .. } => "failed",
            AttemptOutcome::Late { .. } => "late",
            AttemptOutcome::Rejected { .. } => "rejected",
        };
        self.attempts.with_label_values(&[label]).inc();
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

fn register<C>(registry: Option<&Registry>, collector: C) -> prometheus::Result<C>
where
    C: prometheus::core::Collector + Clone + 'static,
{
    if let Some(registry) = registry {
        registry.register(Box::new(collector.clone()))?;
    }
    Ok(collector)
}

fn gauge(registry: Option<&Registry>, name: &str, help: &str) -> prometheus::Result<IntGauge> {
    register(registry, IntGauge::new(full(name), help)?)
}

fn counter(registry: Option<&Registry>, name: &str, help: &str) -> prometheus::Result<IntCounter> {
    register(registry, IntCounter::new(full(name), help)?)
}

fn counters(
    registry: Option<&Registry>,
    name: &str,
    help: &str,
    label: &str,
) -> prometheus::Result<IntCounterVec> {
    register(registry, IntCounterVec::new(Opts::new(full(name), help), &[label])?)
}

fn histogram(registry: Option<&Registry>, name: &str, help: &str) -> prometheus::Result<Histogram> {
    register(
        registry,
        Histogram::with_opts(HistogramOpts::new(full(name), help).buckets(LATENCY_BUCKETS.to_vec()))?,
    )
}
