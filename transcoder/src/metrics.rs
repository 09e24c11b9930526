//! Counters of the transcoder role.

use std::time::Duration;

use framemill_gpu::{Memory, Telemetry};
use prometheus::core::Collector;
use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::{Capacity, TranscodeError, error::Code, nvidia, software, watchdog::Reason};

/// Seconds a segment takes: from faster than a 2 s segment plays to where no live deadline holds any more.
const SEGMENT_BUCKETS: [f64; 10] = [0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0, 8.0, 16.0];

/// Label of a segment that was transcoded.
const DONE: &str = "ok";

/// A registry with every series that a transcoder may have, for whoever describes them.
///
/// # Errors
/// A metric is defined wrongly.
pub fn every_series() -> Result<Registry, prometheus::Error> {
    let registry = Registry::new();
    let metrics = Metrics::register(&registry)?;
    let told = Telemetry {
        sm_percent: Some(0),
        process_sm_percent: Some(0),
        encoder_percent: Some(0),
        decoder_percent: Some(0),
        memory: Some(Memory { unused: 0, total: 0 }),
        temperature_celsius: Some(0),
        power_milliwatts: Some(0),
    };
    for engine in nvidia::NAMES.into_iter().chain([software::NAME]) {
        metrics.offered(engine, Capacity::default());
        metrics.watched(engine);
        metrics.load(engine, 0, 0);
        metrics.telemetry(engine, &told);
        metrics.pixels.with_label_values(&[engine]);
        metrics.seconds.with_label_values(&[engine]);
    }
    Ok(registry)
}

/// Counters and gauges of the transcoder role, all named `framemill_transcoder_*`.
#[derive(Debug, Clone)]
pub struct Metrics {
    segments: IntCounterVec,
    pixels: IntCounterVec,
    seconds: HistogramVec,
    capacity: IntGaugeVec,
    share: GaugeVec,
    cuts: IntCounterVec,
    reserved: IntGaugeVec,
    sessions: IntGaugeVec,
    in_flight: IntGauge,
    connected: IntGauge,
    connections: IntCounter,
    gpu_busy: GaugeVec,
    gpu_memory: GaugeVec,
    gpu_temperature: GaugeVec,
    gpu_power: GaugeVec,
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
            share: GaugeVec::new(
                opts("offered_ratio", "Part of the measured capacity that is offered: 0 to 1."),
                &["engine"],
            )?,
            cuts: IntCounterVec::new(
                opts("cuts_total", "Times that less was offered beside other work, by reason."),
                &["engine", "reason"],
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
            gpu_busy: GaugeVec::new(
                opts("gpu_busy_ratio", "Part of the time in which a part of the card was busy: 0 to 1."),
                &["engine", "part"],
            )?,
            gpu_memory: GaugeVec::new(
                opts("gpu_memory_taken_bytes", "Memory of the card that is taken, by whomever."),
                &["engine"],
            )?,
            gpu_temperature: GaugeVec::new(
                opts("gpu_temperature_celsius", "Temperature of the card's processor."),
                &["engine"],
            )?,
            gpu_power: GaugeVec::new(
                opts("gpu_power_watts", "What the card draws, whoever makes it."),
                &["engine"],
            )?,
        };
        for collector in metrics.collectors() {
            registry.register(collector)?;
        }
        Ok(metrics)
    }

    fn collectors(&self) -> [Box<dyn Collector>; 15] {
        [
            Box::new(self.segments.clone()),
            Box::new(self.pixels.clone()),
            Box::new(self.seconds.clone()),
            Box::new(self.capacity.clone()),
            Box::new(self.share.clone()),
            Box::new(self.cuts.clone()),
            Box::new(self.reserved.clone()),
            Box::new(self.sessions.clone()),
            Box::new(self.in_flight.clone()),
            Box::new(self.connected.clone()),
            Box::new(self.connections.clone()),
            Box::new(self.gpu_busy.clone()),
            Box::new(self.gpu_memory.clone()),
            Box::new(self.gpu_temperature.clone()),
            Box::new(self.gpu_power.clone()),
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
        for outcome in Code::ALL.map(Code::as_str).into_iter().chain([DONE]) {
            self.segments.with_label_values(&[engine, outcome]);
        }
    }

    /// An engine under watch is offered whole.
    pub(crate) fn watched(&self, engine: &str) {
        self.share.with_label_values(&[engine]).set(1.0);
        for reason in Reason::CODES {
            self.cuts.with_label_values(&[engine, reason]);
        }
    }

    /// Another part of an engine is offered; `reason` where it is less.
    pub(crate) fn share(&self, engine: &str, part: f64, reason: Option<Reason>) {
        self.share.with_label_values(&[engine]).set(part);
        if let Some(reason) = reason {
            self.cuts.with_label_values(&[engine, reason.code()]).inc();
        }
    }

    /// What the engine's card told last. What it does not tell is not there: a value that stays would look like news.
    pub(crate) fn telemetry(&self, engine: &str, told: &Telemetry) {
        let busy = [
            ("sm", told.sm_percent),
            ("transcoding_sm", told.process_sm_percent),
            ("encoder", told.encoder_percent),
            ("decoder", told.decoder_percent),
        ];
        for (part, percent) in busy {
            show(&self.gpu_busy, &[engine, part], percent.map(|percent| f64::from(percent) / 100.0));
        }
        let taken = told.memory.map(|memory| memory.total.saturating_sub(memory.unused) as f64);
        show(&self.gpu_memory, &[engine], taken);
        show(&self.gpu_temperature, &[engine], told.temperature_celsius.map(f64::from));
        show(&self.gpu_power, &[engine], told.power_milliwatts.map(|power| f64::from(power) / 1_000.0));
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
        let code = outcome.as_ref().map_or_else(TranscodeError::code, |_| DONE);
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

fn show(gauge: &GaugeVec, labels: &[&str], value: Option<f64>) {
    match value {
        Some(value) => gauge.with_label_values(labels).set(value),
        // One that was never there cannot be taken away, which is what is wanted.
        None => drop(gauge.remove_label_values(labels)),
    }
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
