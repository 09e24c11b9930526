//! The process that has a device: reads jobs, runs them, writes what comes of them.

use std::{
    collections::HashMap,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use framemill_media::MediaLimits;
use futures::StreamExt as _;
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite, stdin, stdout},
    sync::mpsc,
    task::{AbortHandle, JoinSet},
    time::{MissedTickBehavior, interval},
};

use super::{
    device::{DeviceEngine, Progress},
    message::{Failure, FromWorker, JobHead, ToWorker, receive, send},
    probe::probe,
};
use crate::{Capabilities, Job, RenditionEvent, Renditions};

/// Jobs at once: more than any daemon admits to one device.
const MAX_JOBS: usize = 512;

/// Messages that wait to be read by the daemon.
const OUTGOING: usize = 64;

/// Messages of the daemon that wait for this process: pieces of sources, mostly.
const INCOMING: usize = 8;

/// How often a job that goes on says so.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// How often sessions of quiet streams are looked for.
const EXPIRE_EVERY: Duration = Duration::from_secs(5);

/// Why a device's process ended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// Standard input or output failed, or carried what is no message.
    #[error("talking to the daemon failed: {0}")]
    Io(#[from] io::Error),
    /// The daemon sent more jobs, or more of a source, than it may.
    #[error("the daemon broke the protocol: {what}")]
    Protocol {
        /// How.
        what: &'static str,
    },
}

/// Serves a device on standard input and output, until the input closes. For the process that
/// [`NvidiaEngine`](super::NvidiaEngine) starts: nothing else may write to standard output.
///
/// # Errors
/// When talking to the daemon fails.
pub async fn work_on_gpu(gpu: u32) -> Result<(), WorkerError> {
    let (mut input, mut output) = (stdin(), stdout());
    let found = tokio::task::spawn_blocking(move || probe(gpu)).await;
    match found.unwrap_or_else(|_| Err("looking at the device panicked".to_owned())) {
        Err(reason) => {
            send(&mut output, &FromWorker::Unusable { reason }).await?;
            // The daemon hears of it and hangs up.
            while receive::<ToWorker>(&mut input).await?.is_some() {}
            Ok(())
        }
        Ok((device, ready)) => {
            let capabilities = Capabilities {
                codecs: ready.codecs.clone(),
                device: ready.name.clone(),
                max_sessions: ready.encoders,
            };
            send(&mut output, &FromWorker::Ready(ready)).await?;
            let engine = Arc::new(DeviceEngine::new(device, capabilities));
            let start = {
                let engine = Arc::clone(&engine);
                move |job| engine.transcode(job)
            };
            serve(start, move || engine.expire(Instant::now()), input, output).await
        }
    }
}

/// A job whose source is still coming.
struct Pending {
    head: JobHead,
    arrived: Instant,
    source: BytesMut,
}

/// What serves, and the jobs it has.
struct Server<S> {
    start: S,
    outgoing: mpsc::Sender<FromWorker>,
    pending: HashMap<u64, Pending>,
    running: HashMap<u64, AbortHandle>,
    tasks: JoinSet<u64>,
}

/// Serves until the input ends. `start` begins a job and counts what it does; `tidy` is called now and then.
async fn serve(
    start: impl Fn(Job) -> (Renditions, Arc<Progress>),
    tidy: impl Fn() + Clone + Send + 'static,
    input: impl AsyncRead + Send + Unpin + 'static,
    output: impl AsyncWrite + Send + Unpin + 'static,
) -> Result<(), WorkerError> {
    let (outgoing, messages) = mpsc::channel(OUTGOING);
    let mut writer = tokio::spawn(write(output, messages));
    let mut incoming = read(input);
    let mut server =
        Server { start, outgoing, pending: HashMap::new(), running: HashMap::new(), tasks: JoinSet::new() };
    let mut tick = interval(EXPIRE_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            message = incoming.recv() => match message {
                Some(message) => server.take(message?).await?,
                None => return Ok(()),
            },
            Some(Ok(job)) = server.tasks.join_next() => {
                server.running.remove(&job);
            }
            ended = &mut writer => return Ok(ended.unwrap_or(Ok(()))?),
            _ = tick.tick() => {
                let tidy = tidy.clone();
                tokio::task::spawn_blocking(tidy);
            }
        }
    }
}

/// Reads messages on a task of its own: reading one must not be given up half way.
fn read(mut input: impl AsyncRead + Send + Unpin + 'static) -> mpsc::Receiver<io::Result<ToWorker>> {
    let (sender, receiver) = mpsc::channel(INCOMING);
    tokio::spawn(async move {
        loop {
            let message = match receive(&mut input).await {
                Ok(None) => break,
                Ok(Some(message)) => Ok(message),
                Err(error) => Err(error),
            };
            let last = message.is_err();
            if sender.send(message).await.is_err() || last {
                break;
            }
        }
    });
    receiver
}

async fn write(
    mut output: impl AsyncWrite + Unpin,
    mut messages: mpsc::Receiver<FromWorker>,
) -> io::Result<()> {
    while let Some(message) = messages.recv().await {
        send(&mut output, &message).await?;
    }
    Ok(())
}

impl<S: Fn(Job) -> (Renditions, Arc<Progress>)> Server<S> {
    async fn take(&mut self, message: ToWorker) -> Result<(), WorkerError> {
        match message {
            ToWorker::Job(head) => self.accept(head),
            ToWorker::Source { job, data } => self.fill(job, &data),
            ToWorker::Cancel { job } => {
                self.pending.remove(&job);
                if let Some(task) = self.running.remove(&job) {
                    task.abort();
                }
                Ok(())
            }
        }
    }

    fn accept(&mut self, head: JobHead) -> Result<(), WorkerError> {
        if self.pending.len() + self.running.len() >= MAX_JOBS {
            return Err(WorkerError::Protocol { what: "more jobs than were agreed on" });
        }
        if head.source_bytes == 0 || head.source_bytes > MediaLimits::segment().input_bytes {
            return Err(WorkerError::Protocol { what: "a source of no size that segments have" });
        }
        let pending = Pending { arrived: Instant::now(), source: BytesMut::new(), head };
        self.pending.insert(pending.head.job, pending);
        Ok(())
    }

    /// Adds a piece of a source; the last one starts the job. Pieces of a job that was cancelled come to nothing.
    fn fill(&mut self, job: u64, data: &Bytes) -> Result<(), WorkerError> {
        let Some(pending) = self.pending.get_mut(&job) else { return Ok(()) };
        pending.source.extend_from_slice(data);
        let (have, want) = (pending.source.len() as u64, pending.head.source_bytes);
        if have > want {
            return Err(WorkerError::Protocol { what: "more of a source than was announced" });
        }
        if have == want
            && let Some(pending) = self.pending.remove(&job)
        {
            self.begin(pending);
        }
        Ok(())
    }

    fn begin(&mut self, Pending { head, arrived, source }: Pending) {
        let (renditions, progress) = (self.start)(Job {
            session: head.session,
            sequence: head.sequence,
            source: source.freeze(),
            ladder: head.ladder,
            deadline: arrived + Duration::from_millis(head.millis),
        });
        let outgoing = self.outgoing.clone();
        let task = self.tasks.spawn(async move {
            report(head.job, renditions, &progress, outgoing).await;
            head.job
        });
        self.running.insert(head.job, task);
    }
}

/// Sends what comes of a job. Nobody to send to is no failure: the process ends then.
async fn report(
    job: u64,
    mut renditions: Renditions,
    progress: &Progress,
    outgoing: mpsc::Sender<FromWorker>,
) {
    let mut tick = interval(PROGRESS_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = 0;
    loop {
        let message = tokio::select! {
            event = renditions.next() => match event {
                Some(Ok(RenditionEvent::Chunk { index, data })) => FromWorker::Chunk { job, index, data },
                Some(Ok(RenditionEvent::End { index, summary })) => FromWorker::End { job, index, summary },
                Some(Err(error)) => FromWorker::Failed { job, failure: Failure::from(error) },
                None => FromWorker::Done { job },
            },
            _ = tick.tick() => {
                let now = progress.beats();
                if std::mem::replace(&mut told, now) == now {
                    continue;
                }
                let (frames, of) = progress.frames();
                FromWorker::Progress { job, frames, of }
            }
        };
        let last = matches!(message, FromWorker::Done { .. } | FromWorker::Failed { .. });
        if outgoing.send(message).await.is_err() || last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex, split};

    use super::*;
    use crate::{RenditionSummary, SessionId, TranscodeError};

    fn head(job: u64, source_bytes: u64) -> JobHead {
        let ladder = r#"[{"name":"a","width":640,"height":360,"bitrate":100000}]"#.parse().expect("a ladder");
        JobHead { job, session: SessionId::ZERO, sequence: 1, ladder, millis: 60_000, source_bytes }
    }

    /// A worker whose jobs give the source back as their one rendition.
    fn echo() -> (DuplexStream, tokio::task::JoinHandle<Result<(), WorkerError>>) {
        let (near, far) = duplex(1 << 16);
        let (input, output) = split(far);
        let start = |job: Job| {
            let (sink, renditions, _) = Renditions::channel("echo", job.deadline);
            tokio::task::spawn_blocking(move || {
                let bytes = job.source.len() as u64;
                let end = RenditionSummary { frames: 1, pixels: 1, bytes };
                let sent = sink.send(RenditionEvent::Chunk { index: 0, data: job.source });
                let sent = sent.and_then(|()| sink.send(RenditionEvent::End { index: 0, summary: end }));
                sink.finish(sent);
            });
            (renditions, Arc::default())
        };
        (near, tokio::spawn(serve(start, || {}, input, output)))
    }

    /// The next message that is not of progress.
    async fn next(near: &mut DuplexStream) -> FromWorker {
        loop {
            match receive(near).await.expect("a message").expect("not the end") {
                FromWorker::Progress { .. } => {}
                message => return message,
            }
        }
    }

    #[tokio::test]
    async fn runs_a_job_when_its_source_is_whole() {
        let (mut near, worker) = echo();
        send(&mut near, &ToWorker::Job(head(5, 4))).await.expect("it listens");
        for data in [Bytes::from_static(b"ab"), Bytes::from_static(b"cd")] {
            send(&mut near, &ToWorker::Source { job: 5, data }).await.expect("it listens");
        }
        let data = Bytes::from_static(b"abcd");
        assert_eq!(next(&mut near).await, FromWorker::Chunk { job: 5, index: 0, data });
        assert!(matches!(next(&mut near).await, FromWorker::End { job: 5, index: 0, .. }));
        assert_eq!(next(&mut near).await, FromWorker::Done { job: 5 });
        drop(near);
        assert!(worker.await.expect("no panic").is_ok(), "a closed input is the orderly end");
    }

    #[tokio::test]
    async fn more_of_a_source_than_announced_ends_it() {
        let (mut near, worker) = echo();
        send(&mut near, &ToWorker::Job(head(5, 2))).await.expect("it listens");
        let data = Bytes::from_static(b"abcd");
        send(&mut near, &ToWorker::Source { job: 5, data }).await.expect("it listens");
        assert!(matches!(worker.await.expect("no panic"), Err(WorkerError::Protocol { .. })));
    }

    #[tokio::test]
    async fn a_cancelled_job_is_forgotten() {
        let (mut near, _worker) = echo();
        send(&mut near, &ToWorker::Job(head(5, 4))).await.expect("it listens");
        send(&mut near, &ToWorker::Cancel { job: 5 }).await.expect("it listens");
        let data = Bytes::from_static(b"abcd");
        send(&mut near, &ToWorker::Source { job: 5, data: data.clone() }).await.expect("it listens");
        send(&mut near, &ToWorker::Job(head(6, 4))).await.expect("it listens");
        send(&mut near, &ToWorker::Source { job: 6, data: data.clone() }).await.expect("it listens");
        assert_eq!(next(&mut near).await, FromWorker::Chunk { job: 6, index: 0, data });
    }

    #[test]
    fn bad_media_and_failures_of_the_device_are_told_apart() {
        use framemill_media::MediaError;
        let bad = Failure::from(TranscodeError::BadMedia(MediaError::NoVideo)).of_gpu(1);
        assert!(matches!(&bad, TranscodeError::SourceRefused { .. }) && !bad.is_for_another_engine());
        let device = MediaError::Device { operation: "decode", reason: "it is lost".to_owned() };
        let failed = Failure::from(TranscodeError::Engine(device)).of_gpu(1);
        assert!(failed.is_for_another_engine());
        assert_eq!(failed.to_string(), "gpu 1 failed: could not decode: it is lost");
    }
}
