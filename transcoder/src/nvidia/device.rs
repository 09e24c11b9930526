//! Jobs on a device, in the process that has it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use framemill_media::{
    Decoder, Encoder, EncoderConfig, GpuDevice, GpuFrame, GpuScaler, MediaError, MediaLimits,
};

use super::streams::{Kept, Rungs, Streams, suits};
use crate::{
    Capabilities, Job, Renditions, TranscodeError,
    pipeline::{Backend, Running, Source, Work, check_ladder},
};

/// Name of the engine in this process; its parent knows it by its device.
const NAME: &str = "nvidia";

/// Threads that the plan of a job may count on: encoders on a device need none.
const THREADS: u32 = 1;

/// Speed against compression: what NVENC calls p4.
const PRESET: &str = "veryfast";

/// How far a job is.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Signs of life: whatever happens.
    beats: AtomicU64,
    /// Frames that were decoded.
    frames: AtomicU64,
    /// Frames of the source; zero before it was read.
    of: AtomicU64,
}

impl Progress {
    fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// Signs of life so far.
    pub(super) fn beats(&self) -> u64 {
        self.beats.load(Ordering::Relaxed)
    }

    /// Frames that were decoded, and frames of the source.
    pub(super) fn frames(&self) -> (u64, u64) {
        (self.frames.load(Ordering::Relaxed), self.of.load(Ordering::Relaxed))
    }
}

/// Takes jobs for one device.
pub(super) struct DeviceEngine {
    device: GpuDevice,
    capabilities: Capabilities,
    limits: MediaLimits,
    streams: Arc<Streams>,
    running: Arc<Running>,
}

impl DeviceEngine {
    pub(super) fn new(device: GpuDevice, capabilities: Capabilities) -> Self {
        Self {
            device,
            capabilities,
            limits: MediaLimits::segment(),
            streams: Arc::default(),
            running: Arc::default(),
        }
    }

    /// Closes sessions of streams that went quiet.
    pub(super) fn expire(&self, now: Instant) {
        self.streams.expire(now);
    }

    /// Starts a job, and counts what it does.
    pub(super) fn transcode(&self, job: Job) -> (Renditions, Arc<Progress>) {
        let progress = Arc::default();
        (self.start(job, &progress), progress)
    }

    fn start(&self, job: Job, progress: &Arc<Progress>) -> Renditions {
        if let Err(refusal) = self.check(&job) {
            return Renditions::refused(NAME, refusal);
        }
        let (sink, renditions, cancel) = Renditions::channel(NAME, job.deadline);
        let limits = self.limits.clone().with_deadline(job.deadline).with_cancel(cancel);
        let running = Running::enter(&self.running, job.deadline);
        let (device, streams) = (self.device.clone(), Arc::clone(&self.streams));
        let progress = Arc::clone(progress);
        let body = move || {
            let _running = running;
            let outcome = in_turn(&device, &streams, &progress, limits, job, &sink);
            sink.finish(outcome);
        };
        match thread::Builder::new().name("transcode".to_owned()).spawn(body) {
            Ok(_) => renditions,
            Err(error) => Renditions::refused(NAME, TranscodeError::NoThread { reason: error.to_string() }),
        }
    }

    fn check(&self, job: &Job) -> Result<(), TranscodeError> {
        check_ladder(&job.ladder, &self.capabilities)?;
        self.running.admit(NAME)
    }
}

/// Runs a job when it is its stream's turn. Only a job that ends well leaves its sessions open.
fn in_turn(
    device: &GpuDevice,
    streams: &Arc<Streams>,
    progress: &Progress,
    limits: MediaLimits,
    job: Job,
    sink: &crate::RenditionSink,
) -> Result<(), TranscodeError> {
    let (turn, rungs) = streams.enter(job.session, &limits, || progress.beat())?;
    let backend = Gpu { device, streams, progress, state: Mutex::new(State { rungs, ..State::default() }) };
    Work { backend: &backend, threads: THREADS, preset: PRESET, limits }.run(job, sink)?;
    turn.end(backend.state.into_inner().unwrap_or_else(PoisonError::into_inner).done);
    Ok(())
}

/// What moves between a job's threads.
#[derive(Default)]
struct State {
    /// What the segment before has left.
    rungs: Rungs,
    /// Encoders that were taken out and whose scaler was not, or the other way round.
    encoders: HashMap<u32, (EncoderConfig, Encoder<GpuFrame>)>,
    /// What encoders that were opened or used again are set to.
    configs: HashMap<u32, EncoderConfig>,
    /// What the next segment finds.
    done: Rungs,
}

/// Everything in a device's memory, by NVDEC, `scale_cuda` and NVENC.
struct Gpu<'a> {
    device: &'a GpuDevice,
    streams: &'a Streams,
    progress: &'a Progress,
    state: Mutex<State>,
}

impl Gpu<'_> {
    fn state(&self) -> MutexGuard<'_, State> {
        // The maps are whole after every operation, whatever thread panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new session; where the device has no more, those that nobody uses now are closed for it.
    fn open(&self, config: &EncoderConfig, first: &GpuFrame) -> Result<Encoder<GpuFrame>, MediaError> {
        match Encoder::on_gpu(config, first) {
            Err(MediaError::Device { .. }) => self.streams.with_room(|| Encoder::on_gpu(config, first)),
            opened => opened,
        }
    }
}

impl Backend for Gpu<'_> {
    const NAME: &'static str = NAME;
    const KEEPS_ENCODERS: bool = true;
    type Picture = GpuFrame;
    type Scaler = GpuScaler;

    fn decoder(&self, source: &Source, limits: &MediaLimits) -> Result<Decoder<GpuFrame>, TranscodeError> {
        self.progress.of.store(source.timing.frames, Ordering::Relaxed);
        self.progress.beat();
        source.decoder_on(self.device, limits)
    }

    fn scaler(
        &self,
        rung: u32,
        (width, height): (u32, u32),
        limits: &MediaLimits,
    ) -> Result<GpuScaler, MediaError> {
        let mut state = self.state();
        match state.rungs.remove(&rung) {
            Some(Kept { config, mut scaler, encoder })
                if (config.width, config.height) == (width, height) =>
            {
                state.encoders.insert(rung, (config, encoder));
                scaler.set_limits(limits);
                Ok(scaler)
            }
            _ => GpuScaler::new(width, height, limits),
        }
    }

    fn scale(scaler: &mut GpuScaler, picture: &GpuFrame) -> Result<GpuFrame, MediaError> {
        scaler.scale(picture)
    }

    fn encoder(
        &self,
        rung: u32,
        config: &EncoderConfig,
        first: &GpuFrame,
    ) -> Result<Encoder<GpuFrame>, MediaError> {
        let kept = self.state().encoders.remove(&rung);
        let encoder = match kept {
            Some((open, encoder)) if suits(&open, config) => encoder,
            // The old session is closed before a new one is asked for.
            other => {
                drop(other);
                self.open(config, first)?
            }
        };
        self.state().configs.insert(rung, config.clone());
        Ok(encoder)
    }

    fn keep(&self, rung: u32, scaler: GpuScaler, mut encoder: Encoder<GpuFrame>) {
        encoder.restart();
        let mut state = self.state();
        if let Some(config) = state.configs.remove(&rung) {
            state.done.insert(rung, Kept { config, scaler, encoder });
        }
    }

    fn decoded(&self) {
        self.progress.frames.fetch_add(1, Ordering::Relaxed);
        self.progress.beat();
    }

    fn encoded(&self) {
        self.progress.beat();
    }
}
