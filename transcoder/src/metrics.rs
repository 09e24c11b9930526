//! Counters of the transcoder role.

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::{Capacity, TranscodeError};

/// Seconds a segment takes: from faster than a 2 s segment plays to where no live deadline holds any more.
const SEGMENT_BUCKETS: [f64; 10] = [0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0, 8.0, 16.0];

/// Counters and gauges of the transcoder role, all named `framemill_transcoder_*`.
#[derive(Debug, Clone)]
pub struct Metrics {
    segments: IntCounterVec,
    pixels: IntCounterVec,
    seconds: HistogramVec,
    capacity: IntGaugeVec,
    reserved: IntGaugeVec,
    sessions: IntGaugeVec,
    in_flight: IntGauge,
    connected: IntGauge,
    connections: IntCounter,
}

impl Metrics {
    /// Registers everything with `registry`.
    ///
    /// # Errors
    /// When a metric of the same name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            segments: IntCounterVec::new(
                opts("segments_total", "Segments that ended, by how: ok or an error code."),
                &["engine", "outcome"],
            )?,
            pixels: IntCounterVec::new(
                opts("pixels_total", "Pixels encoded in complete renditions."),
                &["engine"],
            )?,
            seconds: HistogramVec::new(
                HistogramOpts::from(opts("segment_seconds", "Time from a job's arrival to its last byte."))
                    .buckets(SEGMENT_BUCKETS.to_vec()),
                &["engine"],
            )?,
            capacity: IntGaugeVec::new(
                opts("capacity_pixels_per_second", "Measured capacity that is offered."),
                &["engine"],
            )?,
            reserved: IntGaugeVec::new(
                opts("reserved_pixels_per_second", "Capacity promised to open sessions."),
                &["engine"],
            )?,
            sessions: IntGaugeVec::new(opts("sessions", "Sessions that hold a reservation."), &["engine"])?,
            in_flight: IntGauge::with_opts(opts("jobs_in_flight", "Segments being transcoded."))?,
            connected: IntGauge::with_opts(opts(
                "connected",
                "Whether the orchestrator is connected: 0 or 1.",
            ))?,
            connections: IntCounter::with_opts(opts(
                "connections_total",
                "Times the orchestrator accepted us.",
            ))?,
        };
        for collector in metrics.collectors() {
            registry.register(collector)?;
        }
        Ok(metrics)
    }

    fn collectors(&self) -> [Box<dyn Collector>; 9] {
        [
            Box::new(self.segments.clone()),
            Box::new(self.pixels.clone()),
            Box::new(self.seconds.clone()),
            Box::new(self.capacity.clone()),
            Box::new(self.reserved.clone()),
            Box::new(self.sessions.clone()),
            Box::new(self.in_flight.clone()),
            Box::new(self.connected.clone()),
            Box::new(self.connections.clone()),
        ]
    }

    pub(crate) fn connected(&self) {
        self.connected.set(1);
        self.connections.inc();
    }

    pub(crate) fn disconnected(&self) {
        self.connected.set(0);
    }

    pub(crate) fn offered(&self, engine: &str, capacity: Capacity) {
        self.capacity.with_label_values(&[engine]).set(gauge(capacity.pixels_per_second));
        // What begins at one shows no increase: an alert would miss the first.
        for outcome in ["ok", "gpu", "deadline", "stuck", "internal"] {
            self.segments.with_label_values(&[engine, outcome]);
        }
    }

    pub(crate) fn load(&self, engine: &str, reserved: u64, sessions: usize) {
        self.reserved.with_label_values(&[engine]).set(gauge(reserved));
        self.sessions.with_label_values(&[engine]).set(gauge(sessions as u64));
    }

    pub(crate) fn job_started(&self) {
        self.in_flight.inc();
    }

    pub(crate) fn job_ended(&self, engine: &str, took: Duration, outcome: &Result<u64, TranscodeError>) {
        self.in_flight.dec();
        let code = outcome.as_ref().map_or_else(TranscodeError::code, |_| "ok");
        self.segments.with_label_values(&[engine, code]).inc();
        self.seconds.with_label_values(&[engine]).observe(took.as_secs_f64());
        if let Ok(pixels) = outcome {
            self.pixels.with_label_values(&[engine]).inc_by(*pixels);
        }
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("framemill").subsystem("transcoder")
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_its_row_in_the_documentation() {
        let page = include_str!("../../docs/metrics.md");
        let metrics = Metrics::register(&Registry::new()).unwrap();
        let collectors = metrics.collectors();
        for desc in collectors.iter().flat_map(|collector| collector.desc()) {
            let labels: Vec<_> = desc.variable_labels.iter().map(|label| format!("`{label}` ")).collect();
            let row = format!("| `{}` | {}| {} |", desc.fq_name, labels.concat(), desc.help);
            assert!(page.contains(&row), "docs/metrics.md has no row {row}");
        }
        assert_eq!(page.matches("| `framemill_transcoder_").count(), collectors.len(), "a row too many");
    }
}
