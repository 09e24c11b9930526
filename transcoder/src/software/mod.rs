//! The engine on the CPU: one decode, scaling in a cascade, encoders in parallel, output while it is encoded.

mod job;
mod plan;
mod rung;
mod source;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use framemill_media::{Encoder, EncoderConfig, MediaLimits, Muxer, OutputFormat, Rational, VideoCodec};
use serde::{Deserialize, Serialize};

pub(crate) use rung::media_codec;

use crate::{Capabilities, Engine, Job, Renditions, TranscodeError};

/// Name of the engine.
const NAME: &str = "software";

/// How long after its deadline a job counts as hanging: cancellation is looked at once per frame, so a live one is gone.
const HANG_GRACE: Duration = Duration::from_secs(10);

/// Jobs that may hang before the engine takes no more. A thread inside a codec cannot be ended from outside, so each one
/// keeps its memory until the process ends.
const MAX_HANGING: usize = 4;

/// Speed against compression of the software encoders, in x264's terms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// Fastest, worst.
    Ultrafast,
    /// Between ultrafast and veryfast.
    Superfast,
    /// What live ladders use.
    #[default]
    Veryfast,
    /// Better than veryfast at about 1.5 times its cost.
    Faster,
    /// Better yet.
    Fast,
    /// x264's own default.
    Medium,
}

impl Preset {
    /// The encoder's name of it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ultrafast => "ultrafast",
            Self::Superfast => "superfast",
            Self::Veryfast => "veryfast",
            Self::Faster => "faster",
            Self::Fast => "fast",
            Self::Medium => "medium",
        }
    }
}

/// Settings of the [`SoftwareEngine`].
#[derive(Debug, Clone)]
pub struct SoftwareConfig {
    /// Threads to use; 0 takes what the machine has.
    pub threads: u32,
    /// Speed against compression.
    pub preset: Preset,
    /// What one source segment may ask of this machine.
    pub limits: MediaLimits,
}

impl Default for SoftwareConfig {
    fn default() -> Self {
        Self { threads: 0, preset: Preset::default(), limits: MediaLimits::segment() }
    }
}

/// Transcodes on the CPU with libx264 (and libx265 where FFmpeg has it). AV1 is not offered: renditions are MPEG-TS, for
/// which FFmpeg has no mapping of it.
///
/// Every job opens its own decoder and encoders: opening x264 costs a few milliseconds where a 2 s segment costs hundreds,
/// and state that does not outlive a segment cannot leak from one session into another.
#[derive(Debug)]
pub struct SoftwareEngine {
    threads: u32,
    preset: &'static str,
    limits: MediaLimits,
    capabilities: Capabilities,
    running: Arc<Running>,
}

impl SoftwareEngine {
    /// An engine with these settings. Opens each encoder once to find out which are there.
    pub fn new(config: SoftwareConfig) -> Self {
        let threads = if config.threads == 0 { machine_threads() } else { config.threads };
        let codecs = [VideoCodec::H264, VideoCodec::Hevc];
        let capabilities = Capabilities {
            codecs: codecs.into_iter().filter(can_produce).collect(),
            device: format!("{threads} cpu threads"),
            max_sessions: None,
        };
        Self {
            threads,
            preset: config.preset.as_str(),
            limits: config.limits,
            capabilities,
            running: Arc::default(),
        }
    }

    /// Jobs whose threads are alive, those that hang past their deadline included.
    pub fn jobs(&self) -> usize {
        self.running.lock().len()
    }

    fn check(&self, job: &Job) -> Result<(), TranscodeError> {
        for entry in &job.ladder {
            let unsupported =
                |reason: String| TranscodeError::Unsupported { rendition: entry.name.clone(), reason };
            if !entry.is_concrete() {
                let size = format!("{}x{}", entry.width, entry.height);
                return Err(unsupported(format!(
                    "size {size} is not two even sides; resolve the ladder first"
                )));
            }
            if !self.capabilities.codecs.contains(&media_codec(entry.codec)) {
                return Err(unsupported(format!(
                    "codec {} cannot be encoded here; ask for h264",
                    entry.codec
                )));
            }
        }
        let stuck = self.running.hanging(Instant::now());
        if stuck >= MAX_HANGING {
            return Err(TranscodeError::EngineStuck { engine: NAME, stuck, limit: MAX_HANGING });
        }
        Ok(())
    }
}

impl Default for SoftwareEngine {
    fn default() -> Self {
        Self::new(SoftwareConfig::default())
    }
}

impl Engine for SoftwareEngine {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn transcode(&self, job: Job) -> Renditions {
        if let Err(refusal) = self.check(&job) {
            return Renditions::refused(NAME, refusal);
        }
        let (sink, renditions, cancel) = Renditions::channel(NAME, job.deadline);
        let limits = self.limits.clone().with_deadline(job.deadline).with_cancel(cancel);
        let work = job::Work { threads: self.threads, preset: self.preset, limits };
        let running = Running::enter(&self.running, job.deadline);
        let body = move || {
            let _running = running;
            let outcome = work.run(job, &sink);
            sink.finish(outcome);
        };
        match thread::Builder::new().name("transcode".to_owned()).spawn(body) {
            Ok(_) => renditions,
            Err(error) => Renditions::refused(NAME, TranscodeError::NoThread { reason: error.to_string() }),
        }
    }
}

/// Deadlines of the jobs whose threads are alive.
#[derive(Debug, Default)]
struct Running {
    next: AtomicU64,
    deadlines: Mutex<HashMap<u64, Instant>>,
}

impl Running {
    fn enter(running: &Arc<Self>, deadline: Instant) -> RunningJob {
        let id = running.next.fetch_add(1, Ordering::Relaxed);
        running.lock().insert(id, deadline);
        RunningJob { id, running: Arc::clone(running) }
    }

    fn hanging(&self, now: Instant) -> usize {
        self.lock().values().filter(|&&deadline| now.saturating_duration_since(deadline) > HANG_GRACE).count()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Instant>> {
        // The map is whole after every operation, whatever thread panicked.
        self.deadlines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct RunningJob {
    id: u64,
    running: Arc<Running>,
}

impl Drop for RunningJob {
    fn drop(&mut self) {
        self.running.lock().remove(&self.id);
    }
}

fn machine_threads() -> u32 {
    thread::available_parallelism().map_or(1, |threads| u32::try_from(threads.get()).unwrap_or(u32::MAX))
}

/// Whether a codec can be encoded and carried in MPEG-TS by the FFmpeg at hand.
fn can_produce(codec: &VideoCodec) -> bool {
    let config = EncoderConfig {
        codec: codec.clone(),
        ..EncoderConfig::h264(128, 128, 100_000, Rational::new(30, 1))
    };
    let Ok(encoder) = Encoder::new(&config) else { return false };
    let mut builder = Muxer::builder(OutputFormat::MpegTs);
    builder.add_stream(encoder.parameters()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_jobs_that_hang_and_forgets_those_that_end() {
        let running = Arc::new(Running::default());
        let now = Instant::now();
        let hanging = Running::enter(&running, now);
        let _live = Running::enter(&running, now + HANG_GRACE * 2);
        let later = now + HANG_GRACE + Duration::from_millis(1);
        assert_eq!(running.hanging(now), 0);
        assert_eq!(running.hanging(later), 1);
        drop(hanging);
        assert_eq!(running.hanging(later), 0);
    }
}
