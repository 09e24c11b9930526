//! The daemon's end of one process: started, talked to, killed.

use std::{
    collections::{HashMap, HashSet},
    ffi::OsString,
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::AsyncWrite,
    process::{Child, ChildStdout, Command},
    sync::mpsc,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::message::{FromWorker, Ready, ToWorker, receive, send};

/// How long a process may take to open its device and look at what that can do. Drivers take seconds after a boot.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// Messages that wait to be read by the process: pieces of sources, mostly.
const OUTGOING: usize = 8;

/// Jobs that fail in a row by the device's fault until its process is started anew.
const FAILURES_IN_A_ROW: u32 = 2;

/// Bytes of output of one job: 16 rungs at more bits than any ladder asks for. More is a process that went mad.
const MAX_OUTPUT: u64 = 1 << 30;

/// What an event counts for beside its bytes: those without any are not free.
const EVENT_BYTES: u64 = 64;

/// How to start a device's process.
#[derive(Debug, Clone)]
pub struct WorkerProgram {
    /// The program; `framemill` itself.
    pub program: PathBuf,
    /// What stands before the device's index on its command line.
    pub arguments: Vec<OsString>,
    /// What is added to its environment.
    pub environment: Vec<(OsString, OsString)>,
}

/// A job's events, as they come.
#[derive(Debug)]
struct Lane {
    events: mpsc::UnboundedSender<FromWorker>,
    bytes: u64,
    /// Renditions that are whole.
    ended: HashSet<u32>,
}

/// One process.
#[derive(Debug)]
pub(super) struct Link {
    outgoing: mpsc::Sender<ToWorker>,
    jobs: Mutex<HashMap<u64, Lane>>,
    next: AtomicU64,
    process: Option<u32>,
    kill: CancellationToken,
    /// It does no more work.
    dead: CancellationToken,
    /// It has left the system.
    gone: CancellationToken,
    /// When it said anything last, of whichever job.
    heard: Mutex<Instant>,
    proved: AtomicBool,
    failures: AtomicU32,
}

impl Link {
    /// Starts a process and waits until it knows its device.
    ///
    /// # Errors
    /// Why the device cannot be used, for the operator.
    pub(super) async fn start(worker: &WorkerProgram, gpu: u32) -> Result<(Arc<Self>, Ready), String> {
        let mut child = spawn(worker, gpu)
            .map_err(|error| format!("{} could not be started: {error}", worker.program.display()))?;
        let (input, mut output) = (child.stdin.take(), child.stdout.take());
        let hello = async {
            match &mut output {
                Some(output) => receive(output).await,
                None => Ok(None),
            }
        };
        let ready = match timeout(START_PATIENCE, hello).await {
            Ok(Ok(Some(FromWorker::Ready(ready)))) => ready,
            Ok(Ok(Some(FromWorker::Unusable { reason }))) => return Err(reason),
            Ok(Ok(_)) => return Err("its process ended before it was ready".to_owned()),
            Ok(Err(error)) => return Err(format!("its process cannot be understood: {error}")),
            Err(_) => return Err(format!("its process was not ready after {START_PATIENCE:?}")),
        };
        let (Some(input), Some(output)) = (input, output) else {
            return Err("its process has no standard input or output".to_owned());
        };
        let (outgoing, messages) = mpsc::channel(OUTGOING);
        let link = Arc::new(Self {
            outgoing,
            jobs: Mutex::default(),
            next: AtomicU64::new(1),
            process: child.id(),
            kill: CancellationToken::new(),
            dead: CancellationToken::new(),
            gone: CancellationToken::new(),
            heard: Mutex::new(Instant::now()),
            proved: AtomicBool::new(false),
            failures: AtomicU32::new(0),
        });
        tokio::spawn(write(input, messages, link.kill.clone()));
        let tokens = Tokens { kill: link.kill.clone(), dead: link.dead.clone(), gone: link.gone.clone() };
        tokio::spawn(watch(Arc::downgrade(&link), tokens, child, output));
        Ok((link, ready))
    }

    /// Identifier of the process, for the operator and for tests.
    pub(super) fn process(&self) -> Option<u32> {
        self.process
    }

    /// Begins a job: its number, and what will come of it. The stream ends without a last event when the process dies.
    pub(super) fn begin(&self) -> (u64, mpsc::UnboundedReceiver<FromWorker>) {
        let job = self.next.fetch_add(1, Ordering::Relaxed);
        let (events, receiver) = mpsc::unbounded_channel();
        let mut jobs = self.lock();
        if !self.dead.is_cancelled() {
            jobs.insert(job, Lane { events, bytes: 0, ended: HashSet::new() });
        }
        (job, receiver)
    }

    /// Ends a job; one that the process still works on is cancelled there.
    pub(super) fn end(&self, job: u64) {
        if self.lock().remove(&job).is_some() {
            // A process that does not read is killed by whoever waits for it.
            let _ = self.outgoing.try_send(ToWorker::Cancel { job });
        }
    }

    /// Sends a message; `false` when the process is gone. Waits while the process does not read.
    pub(super) async fn send(&self, message: ToWorker) -> bool {
        self.outgoing.send(message).await.is_ok()
    }

    /// Ends the process at once, whatever it is doing.
    pub(super) fn kill(&self) {
        self.kill.cancel();
    }

    /// Ends the process unless it says anything within `patience`, of whichever job.
    pub(super) fn kill_if_silent(self: &Arc<Self>, patience: Duration) {
        let link = Arc::downgrade(self);
        let asked = Instant::now();
        tokio::spawn(async move {
            tokio::time::sleep(patience).await;
            if let Some(link) = link.upgrade().filter(|link| *link.heard() < asked) {
                link.kill();
            }
        });
    }

    fn heard(&self) -> MutexGuard<'_, Instant> {
        // A moment is whole whatever thread panicked.
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A job ended well, or by the device's fault. A device that fails time after time may be one that only a new process reaches
    /// again: many faults of a driver stay with the process that had them. While others' jobs go on it has not failed: what it failed
    /// at may be a stream that it does not decode.
    pub(super) fn ended(&self, well: bool) {
        if well {
            self.proved.store(true, Ordering::Relaxed);
            self.failures.store(0, Ordering::Relaxed);
        } else if self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES_IN_A_ROW
            && self.lock().is_empty()
        {
            self.kill();
        }
    }

    /// Waits until the process does no more work.
    pub(super) async fn died(&self) {
        self.dead.cancelled().await;
    }

    /// Waits until it has left the system, which one that hangs in its driver may never do.
    pub(super) async fn gone(&self) {
        self.gone.cancelled().await;
    }

    /// Whether it has done a job.
    pub(super) fn has_proved_itself(&self) -> bool {
        self.proved.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Lane>> {
        // The map is whole after every operation, whatever thread panicked.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands an event to its job. An error is a process that does not keep to the protocol.
    fn route(&self, event: FromWorker) -> Result<(), &'static str> {
        let (job, bytes, last) = match &event {
            FromWorker::Ready(_) | FromWorker::Unusable { .. } => return Err("it was ready twice"),
            FromWorker::Chunk { job, data, .. } => (*job, data.len() as u64, false),
            FromWorker::End { job, .. } | FromWorker::Progress { job, .. } => (*job, 0, false),
            FromWorker::Done { job } | FromWorker::Failed { job, .. } => (*job, 0, true),
        };
        *self.heard() = Instant::now();
        let mut jobs = self.lock();
        // A job that was cancelled may still speak.
        let Some(lane) = jobs.get_mut(&job) else { return Ok(()) };
        lane.bytes = lane.bytes.saturating_add(bytes).saturating_add(EVENT_BYTES);
        let again = match &event {
            FromWorker::Chunk { index, .. } => lane.ended.contains(index),
            FromWorker::End { index, .. } => !lane.ended.insert(*index),
            _ => false,
        };
        if again {
            return Err("a rendition went on after its end");
        }
        if lane.bytes > MAX_OUTPUT {
            return Err("a job gave more output than any ladder asks for");
        }
        // Whoever began the job may have given it up just now.
        let _ = lane.events.send(event);
        if last {
            jobs.remove(&job);
        }
        Ok(())
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(worker: &WorkerProgram, gpu: u32) -> std::io::Result<Child> {
    Command::new(&worker.program)
        .args(&worker.arguments)
        .arg(gpu.to_string())
        .envs(worker.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
}

async fn write(
    mut input: impl AsyncWrite + Unpin,
    mut messages: mpsc::Receiver<ToWorker>,
    kill: CancellationToken,
) {
    let all = async {
        while let Some(message) = messages.recv().await {
            if send(&mut input, &message).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = all => kill.cancel(),
        () = kill.cancelled() => {}
    }
}

/// The ends of a process.
struct Tokens {
    kill: CancellationToken,
    dead: CancellationToken,
    gone: CancellationToken,
}

/// Reads what the process says until it ends or is to be killed, and sees to it that it is gone.
async fn watch(link: std::sync::Weak<Link>, tokens: Tokens, mut child: Child, mut output: ChildStdout) {
    let Tokens { kill, dead, gone } = tokens;
    tokio::select! {
        () = listen(&link, &mut output) => {}
        () = kill.cancelled() => {}
    }
    kill.cancel();
    // Nobody waits with its jobs for a process that hangs in its driver and does not go.
    dead.cancel();
    if let Some(link) = link.upgrade() {
        // Their events end here.
        link.lock().clear();
    }
    if let Err(error) = child.kill().await {
        warn!(%error, "a gpu's process could not be killed");
    }
    gone.cancel();
}

async fn listen(link: &std::sync::Weak<Link>, output: &mut ChildStdout) {
    loop {
        let event = match receive(output).await {
            Ok(Some(event)) => event,
            Ok(None) => return,
            Err(error) => {
                debug!(%error, "a gpu's process cannot be understood");
                return;
            }
        };
        let Some(link) = link.upgrade() else { return };
        if let Err(what) = link.route(event) {
            warn!(what, "a gpu's process does not keep to the protocol");
            return;
        }
    }
}
