//! The daemon's end of a device: hands jobs to its process, watches over them, and has the process started again.

use std::{
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    sync::watch,
    time::{sleep_until, timeout},
};
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use super::{
    link::{Link, WorkerProgram},
    message::{FromWorker, JobHead, Ready, SOURCE_PIECE, ToWorker},
    name_of,
};
use crate::{
    Capabilities, Card, Engine, Job, RenditionEvent, RenditionSink, Renditions, Room, TranscodeError,
    backoff::Backoff, pipeline::check_ladder,
};

/// How long a job may show no progress unless told otherwise: a frame takes milliseconds, a session tenths of a second to open.
const PATIENCE: Duration = Duration::from_secs(2);

/// Shortest wait for progress: a busy machine stands still for so long at times.
const LEAST_PATIENCE: Duration = Duration::from_millis(250);

/// Part of the time to a job's deadline that may pass without progress. The rest is for another engine.
const PATIENCE_PART: u32 = 4;

/// Time for a killed process to leave the system.
const GONE_PATIENCE: Duration = Duration::from_secs(10);

/// Part of the free device memory that is promised to sessions, in percent: estimates err, and others use the card too.
const MEMORY_PERCENT: u64 = 80;

/// Settings of an [`NvidiaEngine`].
#[derive(Debug, Clone)]
pub struct NvidiaConfig {
    /// Index of the device.
    pub gpu: u32,
    /// How to start its process.
    pub worker: WorkerProgram,
    /// How long a job may show no progress before the process is killed; a quarter of the time to the job's deadline where that is
    /// less.
    pub patience: Duration,
}

impl NvidiaConfig {
    /// The usual patience.
    pub fn new(gpu: u32, worker: WorkerProgram) -> Self {
        Self { gpu, worker, patience: PATIENCE }
    }
}

/// The engine on one device. It takes no session while its process is not there, and fails its jobs at once then.
#[derive(Debug)]
pub struct NvidiaEngine {
    gpu: u32,
    capabilities: Capabilities,
    room: Room,
    patience: Duration,
    state: watch::Receiver<State>,
    _supervisor: AbortOnDropHandle<()>,
}

/// What is known of the process.
#[derive(Debug, Clone)]
enum State {
    Up(Arc<Link>),
    Down(String),
}

impl NvidiaEngine {
    /// Starts the device's process. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// Why the device cannot be used.
    pub async fn start(config: NvidiaConfig) -> Result<Self, TranscodeError> {
        let gpu = config.gpu;
        let started = Link::start(&config.worker, gpu).await;
        let (link, ready) = started.map_err(|reason| TranscodeError::GpuDown { gpu, reason })?;
        let Ready { name, codecs, encoders, memory_bytes } = ready;
        info!(gpu, name, encoders, memory_bytes, "gpu is usable");
        let (state, watch) = watch::channel(State::Up(Arc::clone(&link)));
        let supervisor = tokio::spawn(supervise(config.clone(), link, state));
        Ok(Self {
            gpu,
            capabilities: Capabilities { codecs, device: name, max_sessions: encoders },
            room: Room { encoders, memory_bytes: Some(memory_bytes / 100 * MEMORY_PERCENT) },
            patience: config.patience,
            state: watch,
            _supervisor: AbortOnDropHandle::new(supervisor),
        })
    }

    /// Index of the device.
    pub fn gpu(&self) -> u32 {
        self.gpu
    }

    /// Identifier of the device's process while there is one.
    pub fn process(&self) -> Option<u32> {
        match &*self.state.borrow() {
            State::Up(link) => link.process(),
            State::Down(_) => None,
        }
    }

    /// Waits until the device's process is another than `before`.
    pub async fn restarted(&self, before: Option<u32>) {
        let mut state = self.state.clone();
        let other = |state: &State| matches!(state, State::Up(link) if link.process() != before);
        // The supervisor lives as long as the engine.
        let _ = state.wait_for(other).await;
    }

    fn link(&self) -> Result<Arc<Link>, TranscodeError> {
        match &*self.state.borrow() {
            State::Up(link) => Ok(Arc::clone(link)),
            State::Down(reason) => Err(TranscodeError::GpuDown { gpu: self.gpu, reason: reason.clone() }),
        }
    }

    fn check(&self, job: &Job) -> Result<Arc<Link>, TranscodeError> {
        check_ladder(&job.ladder, &self.capabilities)?;
        let rungs = u32::try_from(job.ladder.len()).unwrap_or(u32::MAX);
        if let Some(most) = self.room.encoders.filter(|&most| rungs > most) {
            let reason = format!("it gives {most} encoder sessions and the ladder needs {rungs}");
            return Err(TranscodeError::Gpu { gpu: self.gpu, reason });
        }
        self.link()
    }
}

impl Engine for NvidiaEngine {
    fn name(&self) -> &'static str {
        name_of(self.gpu)
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn room(&self) -> Room {
        self.room
    }

    fn card(&self) -> Option<Card> {
        Some(Card { ordinal: self.gpu, process: self.process() })
    }

    fn is_up(&self) -> bool {
        matches!(&*self.state.borrow(), State::Up(_))
    }

    fn transcode(&self, job: Job) -> Renditions {
        let name = self.name();
        let link = match self.check(&job) {
            Ok(link) => link,
            Err(refusal) => return Renditions::refused(name, refusal),
        };
        let (sink, renditions, _) = Renditions::channel(name, job.deadline);
        let remaining = job.deadline.saturating_duration_since(Instant::now());
        let patience = (remaining / PATIENCE_PART).min(self.patience).max(LEAST_PATIENCE);
        let work = JobAtWork { link, gpu: self.gpu, patience, usual: self.patience };
        tokio::spawn(async move {
            let outcome = work.run(job, &sink).await;
            sink.conclude(outcome).await;
        });
        renditions
    }
}

/// A job that a process works on.
struct JobAtWork {
    link: Arc<Link>,
    gpu: u32,
    /// With this job: less where its deadline leaves less.
    patience: Duration,
    /// With the process.
    usual: Duration,
}

/// Cancels the job in the process unless that has ended it.
struct Ending<'a>(&'a Link, u64);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.end(self.1);
    }
}

/// How a job goes on.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// When there was a sign of it last.
    beat: Instant,
    /// Whoever takes the renditions is waited for.
    delivering: bool,
    /// Frames that are decoded, and frames there are.
    frames: (u64, u64),
}

/// What is known of a job's pace.
struct Pulse(Mutex<Pace>);

impl Pulse {
    fn new() -> Self {
        Self(Mutex::new(Pace { beat: Instant::now(), delivering: false, frames: (0, 0) }))
    }

    fn lock(&self) -> MutexGuard<'_, Pace> {
        // A pace is whole whatever thread panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn beat(&self) {
        self.lock().beat = Instant::now();
    }

    /// Delivers, which is not the device's time however long it takes.
    async fn delivering(
        &self,
        delivery: impl Future<Output = Result<(), TranscodeError>>,
    ) -> Result<(), TranscodeError> {
        self.lock().delivering = true;
        let delivered = delivery.await;
        let mut pace = self.lock();
        (pace.delivering, pace.beat) = (false, Instant::now());
        delivered
    }

    /// Returns when half of the time has passed and not half of the frames are decoded: how many are, of how many. The other half of
    /// the time is for another engine.
    async fn too_slow(&self, deadline: Instant) -> (u64, u64) {
        let begun = Instant::now();
        let halfway = begun + deadline.saturating_duration_since(begun) / 2;
        sleep_until(halfway.into()).await;
        let (frames, of) = self.lock().frames;
        if frames.saturating_mul(2) >= of { pending().await } else { (frames, of) }
    }

    /// Returns when it has not beaten for so long.
    async fn stopped(&self, patience: Duration) {
        loop {
            let now = Instant::now();
            let pace = *self.lock();
            let until = if pace.delivering { now } else { pace.beat } + patience;
            if until <= now {
                return;
            }
            sleep_until(until.into()).await;
        }
    }
}

impl JobAtWork {
    /// Sees a job through. A job without progress for the usual time costs the process its life: nothing else ends a hung driver. One
    /// that has less time is only given up, and costs it that where nothing is heard of any other either.
    async fn run(&self, job: Job, sink: &RenditionSink) -> Result<(), TranscodeError> {
        let pulse = Pulse::new();
        let deadline = job.deadline;
        let (number, mut events) = self.link.begin();
        let _ending = Ending(&self.link, number);
        let work = async {
            self.hand_over(number, job, &pulse).await?;
            while let Some(event) = events.recv().await {
                pulse.beat();
                match event {
                    FromWorker::Chunk { index, data, .. } => {
                        pulse.delivering(sink.deliver(RenditionEvent::Chunk { index, data })).await?;
                    }
                    FromWorker::End { index, summary, .. } => {
                        pulse.delivering(sink.deliver(RenditionEvent::End { index, summary })).await?;
                    }
                    FromWorker::Done { .. } => return Ok(()),
                    FromWorker::Failed { failure, .. } => return Err(failure.of_gpu(self.gpu)),
                    FromWorker::Progress { frames, of, .. } => pulse.lock().frames = (frames, of),
                    FromWorker::Ready(_) | FromWorker::Unusable { .. } => {}
                }
                pulse.beat();
            }
            Err(TranscodeError::WorkerDied { gpu: self.gpu })
        };
        tokio::select! {
            outcome = work => {
                match &outcome {
                    Ok(()) => self.link.ended(true),
                    Err(TranscodeError::Gpu { .. }) => self.link.ended(false),
                    Err(_) => {}
                }
                outcome
            }
            () = sink.abandoned() => Err(TranscodeError::Cancelled),
            (frames, of) = pulse.too_slow(deadline) => Err(TranscodeError::TooSlow { gpu: self.gpu, frames, of }),
            () = pulse.stopped(self.patience) => {
                match self.usual.saturating_sub(self.patience) {
                    Duration::ZERO => self.link.kill(),
                    rest => self.link.kill_if_silent(rest),
                }
                Err(TranscodeError::Stalled { gpu: self.gpu, waited: self.patience })
            }
        }
    }

    async fn hand_over(&self, number: u64, job: Job, pulse: &Pulse) -> Result<(), TranscodeError> {
        let remaining = job.deadline.saturating_duration_since(Instant::now());
        let head = ToWorker::Job(JobHead {
            job: number,
            session: job.session,
            sequence: job.sequence,
            ladder: job.ladder,
            millis: u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX),
            source_bytes: job.source.len() as u64,
        });
        let mut rest = job.source;
        let mut alive = self.link.send(head).await;
        while alive && !rest.is_empty() {
            pulse.beat();
            let data = rest.split_to(rest.len().min(SOURCE_PIECE));
            alive = self.link.send(ToWorker::Source { job: number, data }).await;
        }
        if alive { Ok(()) } else { Err(TranscodeError::WorkerDied { gpu: self.gpu }) }
    }
}

/// Starts the process again whenever it ends, with longer waits while that does not help.
async fn supervise(config: NvidiaConfig, mut link: Arc<Link>, state: watch::Sender<State>) {
    let gpu = config.gpu;
    let mut backoff = Backoff::default();
    loop {
        link.died().await;
        if link.has_proved_itself() {
            backoff.reset();
        }
        state.send_replace(State::Down("its process died and is being started again".to_owned()));
        warn!(gpu, "gpu's process ended; starting it again");
        while timeout(GONE_PATIENCE, link.gone()).await.is_err() {
            let reason =
                "its process hangs in the driver and cannot be killed; restart the machine".to_owned();
            warn!(gpu, reason, "gpu is not usable");
            state.send_replace(State::Down(reason));
        }
        link = loop {
            tokio::time::sleep(backoff.next(rand::random())).await;
            match Link::start(&config.worker, gpu).await {
                Ok((link, _)) => break link,
                Err(reason) => {
                    warn!(gpu, reason, "gpu is not usable; trying again");
                    state.send_replace(State::Down(reason));
                }
            }
        };
        info!(gpu, "gpu is usable again");
        state.send_replace(State::Up(Arc::clone(&link)));
    }
}
