//! One job on its own threads: the decoder on the job's thread, each rung on one of its own.

use std::{
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, ScopedJoinHandle},
};

use framemill_media::{Decoder, MediaError, MediaLimits, Picture, Ticks};
use framemill_network::ladder::Ladder;

use super::{
    Backend,
    plan::{Origin, RungPlan, plan},
    rung::{Feed, Rung, Shape, Shared, untimed},
    source::Source,
};
use crate::{Job, RenditionSink, RenditionSummary, TranscodeError};

/// Frames that may wait between two threads: enough to smooth the encoders' bursts, few enough that a 1080p rung holds
/// some 12 MB.
const FRAMES_IN_FLIGHT: u64 = 4;
/// Pixels that may wait so: four frames of 4K. Of larger pictures fewer wait, since the decoder has a budget of bytes for all.
const PIXELS_IN_FLIGHT: u64 = FRAMES_IN_FLIGHT * 3840 * 2160;

/// What a job needs from its engine.
pub(crate) struct Work<'b, B> {
    /// What decodes, scales and encodes.
    pub(crate) backend: &'b B,
    /// Threads of the encoders together.
    pub(crate) threads: u32,
    /// Speed against compression, in x264's terms.
    pub(crate) preset: &'static str,
    /// Bounds of the one job.
    pub(crate) limits: MediaLimits,
}

type Handle<'scope> = ScopedJoinHandle<'scope, Result<RenditionSummary, TranscodeError>>;

impl<B: Backend> Work<'_, B> {
    /// Transcodes the whole job.
    pub(crate) fn run(&self, job: Job, sink: &RenditionSink) -> Result<(), TranscodeError> {
        let source = Source::read(job.source, &self.limits)?;
        let decoder = self.backend.decoder(&source, &self.limits)?;
        let shared = Shared {
            backend: self.backend,
            audio: source.audio.clone(),
            timing: source.timing,
            shape: Shape {
                width: source.video.width,
                height: source.video.height,
                sample_aspect: source.video.sample_aspect,
            },
            preset: self.preset,
            limits: self.limits.clone(),
            sink: sink.clone(),
        };
        let plan = plan(&job.ladder, self.threads);
        thread::scope(|scope| {
            let mut handles = Vec::with_capacity(plan.len());
            let Wiring { rungs, roots } = wire(&job.ladder, &plan, &shared);
            for (rung, feed) in rungs {
                let builder = thread::Builder::new().name(format!("rung {}", rung.entry.name));
                let handle = builder.spawn_scoped(scope, move || rung.run(&feed));
                handles.push(handle.map_err(|error| TranscodeError::NoThread { reason: error.to_string() })?);
            }
            let decoded = self.decode(&source, decoder, roots);
            outcome(B::NAME, decoded, handles)
        })
    }

    /// Decodes everything and feeds it to the rungs that scale it. Returning closes the channels.
    fn decode(
        &self,
        source: &Source,
        mut decoder: Decoder<B::Picture>,
        roots: Vec<SyncSender<Feed<B::Picture>>>,
    ) -> Result<(), TranscodeError> {
        let mut check = FrameCheck { size: (source.video.width, source.video.height), frames: 0, last: None };
        for packet in &source.packets {
            self.limits.check_time()?;
            decoder.send(packet)?;
            self.hand_on(&mut decoder, &mut check, &roots)?;
        }
        decoder.flush()?;
        self.hand_on(&mut decoder, &mut check, &roots)?;
        check.complete(source.timing.frames)?;
        broadcast(&roots, || Feed::End)
    }

    fn hand_on(
        &self,
        decoder: &mut Decoder<B::Picture>,
        check: &mut FrameCheck,
        roots: &[SyncSender<Feed<B::Picture>>],
    ) -> Result<(), TranscodeError> {
        while let Some(frame) = decoder.receive()? {
            check.frame(&frame)?;
            self.backend.decoded();
            broadcast(roots, || Feed::Frame(frame.clone()))?;
        }
        Ok(())
    }
}

/// Hands a picture, or the end, to everything that the decoder feeds.
fn broadcast<P>(roots: &[SyncSender<Feed<P>>], feed: impl Fn() -> Feed<P>) -> Result<(), TranscodeError> {
    roots.iter().try_for_each(|root| root.send(feed()).map_err(|_| TranscodeError::Cancelled))
}

/// A rung and where its pictures come from.
type FedRung<'a, B> = (Rung<'a, B>, Receiver<Feed<<B as Backend>::Picture>>);

/// The threads of a job and how they hang together.
struct Wiring<'a, B: Backend> {
    rungs: Vec<FedRung<'a, B>>,
    /// What the decoder feeds.
    roots: Vec<SyncSender<Feed<B::Picture>>>,
}

/// Makes the rungs and the channels between them.
fn wire<'a, B: Backend>(ladder: &'a Ladder, plan: &[RungPlan], shared: &'a Shared<'a, B>) -> Wiring<'a, B> {
    let waiting = frames_in_flight(shared.shape);
    let (senders, feeds): (Vec<_>, Vec<_>) = plan.iter().map(|_| sync_channel(waiting)).unzip();
    let fed_by = |origin: Origin| -> Vec<SyncSender<Feed<B::Picture>>> {
        let fed = plan.iter().zip(&senders).filter(|(rung, _)| rung.origin == origin);
        fed.map(|(_, sender)| sender.clone()).collect()
    };
    let rung = |(index, (entry, feed))| {
        let position: usize = index;
        let rung = Rung {
            index: u32::try_from(position).expect("a ladder has at most 16 entries"),
            entry,
            threads: plan[position].threads,
            shared,
            children: fed_by(Origin::Rung(position)),
        };
        (rung, feed)
    };
    let rungs = ladder.iter().zip(feeds).enumerate().map(rung).collect();
    Wiring { rungs, roots: fed_by(Origin::Source) }
}

/// Frames that may wait between two threads for pictures of this size.
fn frames_in_flight(shape: Shape) -> usize {
    let pixels = u64::from(shape.width) * u64::from(shape.height);
    let frames = (PIXELS_IN_FLIGHT / pixels.max(1)).clamp(1, FRAMES_IN_FLIGHT);
    usize::try_from(frames).expect("four at most")
}

/// What must hold for the decoded source, so that a rendition of it can be sold.
struct FrameCheck {
    size: (u32, u32),
    frames: u64,
    last: Option<Ticks>,
}

impl FrameCheck {
    fn frame(&mut self, frame: &impl Picture) -> Result<(), TranscodeError> {
        self.frames += 1;
        let size = (frame.width(), frame.height());
        if size != self.size {
            return Err(TranscodeError::SizeChanged { from: self.size, to: size, frame: self.frames });
        }
        if frame.is_corrupt() {
            return Err(damaged(1, self.frames));
        }
        self.rises(frame.pts().ok_or_else(untimed)?)
    }

    /// Two pictures cannot be shown at once, nor one before what was shown already.
    fn rises(&mut self, pts: Ticks) -> Result<(), TranscodeError> {
        match self.last.replace(pts) {
            Some(last) if pts <= last => {
                let reason = format!("a picture at {pts} follows one at {last}");
                Err(MediaError::Timestamps { stream: 0, reason }.into())
            }
            _ => Ok(()),
        }
    }

    /// Every picture of the container has to come out: a rendition that lacks some would not be one of this source.
    fn complete(&self, expected: u64) -> Result<(), TranscodeError> {
        match self.frames {
            0 => Err(MediaError::NoFrames.into()),
            frames if frames < expected => Err(damaged(expected - frames, expected)),
            _ => Ok(()),
        }
    }
}

fn damaged(errors: u64, packets: u64) -> TranscodeError {
    MediaError::Decode { errors, packets }.into()
}

/// The one error that caused the others, if any: a thread that fails makes its neighbours see a closed channel.
fn outcome(
    engine: &'static str,
    decoded: Result<(), TranscodeError>,
    handles: Vec<Handle<'_>>,
) -> Result<(), TranscodeError> {
    let mut outcome = decoded;
    for handle in handles {
        let rung = handle.join().unwrap_or(Err(TranscodeError::EngineDied { engine }));
        let consequence = matches!(outcome, Ok(()) | Err(TranscodeError::Cancelled));
        if let (Err(error), true) = (rung, consequence) {
            outcome = Err(error);
        }
    }
    outcome
}
