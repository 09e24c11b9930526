//! The engine on the CPU.

use std::{sync::Arc, thread};

use framemill_media::{
    Decoder, Encoder, EncoderConfig, Frame, MediaError, MediaLimits, Rational, Scaler, ScalerConfig,
    VideoCodec,
};
use framemill_network::ladder::Ladder;
use serde::{Deserialize, Serialize};

use crate::{
    Capabilities, Engine, Job, Renditions, TranscodeError,
    pipeline::{Backend, Running, Source, Work, can_be_carried, check_ladder, plan},
};

/// Name of the engine.
pub(crate) const NAME: &str = "software";

/// Decoder threads beyond which more only cost memory for live sizes.
const MAX_DECODER_THREADS: u32 = 8;

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

/// Transcodes on the CPU with libx264, and with libx265 and libaom where FFmpeg has them.
///
/// Every job opens its own decoder and encoders: opening one costs a few milliseconds where a 2 s segment costs hundreds,
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
        let codecs = [VideoCodec::H264, VideoCodec::Hevc, VideoCodec::Av1];
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

    /// Threads that the encoder of each rung gets.
    pub fn encoder_threads(&self, ladder: &Ladder) -> Vec<u32> {
        plan(ladder, self.threads).iter().map(|rung| rung.threads).collect()
    }

    /// Jobs whose threads are alive, those that hang past their deadline included.
    pub fn jobs(&self) -> usize {
        self.running.count()
    }

    fn check(&self, job: &Job) -> Result<(), TranscodeError> {
        check_ladder(&job.ladder, &self.capabilities)?;
        self.running.admit(NAME)
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
        let (threads, preset) = (self.threads, self.preset);
        let running = Running::enter(&self.running, job.deadline);
        let body = move || {
            let _running = running;
            let backend = Cpu { threads };
            let outcome = Work { backend: &backend, threads, preset, limits }.run(job, &sink);
            sink.finish(outcome);
        };
        match thread::Builder::new().name("transcode".to_owned()).spawn(body) {
            Ok(_) => renditions,
            Err(error) => Renditions::refused(NAME, TranscodeError::NoThread { reason: error.to_string() }),
        }
    }
}

/// Everything in main memory, by libavcodec and swscale.
struct Cpu {
    threads: u32,
}

impl Backend for Cpu {
    const NAME: &'static str = NAME;
    const KEEPS_ENCODERS: bool = false;
    type Picture = Frame;
    type Scaler = Scaler;

    fn decoder(&self, source: &Source, _: &MediaLimits) -> Result<Decoder, TranscodeError> {
        source.decoder((self.threads / 2).clamp(1, MAX_DECODER_THREADS))
    }

    fn scaler(
        &self,
        _: u32,
        (width, height): (u32, u32),
        limits: &MediaLimits,
    ) -> Result<Scaler, MediaError> {
        Scaler::new(ScalerConfig::yuv420p(width, height), limits)
    }

    fn scale(scaler: &mut Scaler, picture: &Frame) -> Result<Frame, MediaError> {
        scaler.scale(picture)
    }

    fn encoder(&self, _: u32, config: &EncoderConfig, _: &Frame) -> Result<Encoder, MediaError> {
        Encoder::new(config)
    }

    fn keep(&self, _: u32, _: Scaler, _: Encoder) {}
}

fn machine_threads() -> u32 {
    thread::available_parallelism().map_or(1, |threads| u32::try_from(threads.get()).unwrap_or(u32::MAX))
}

/// Whether a codec can be encoded and carried by the FFmpeg at hand.
fn can_produce(codec: &VideoCodec) -> bool {
    let config = EncoderConfig {
        codec: codec.clone(),
        ..EncoderConfig::h264(128, 128, 100_000, Rational::new(30, 1))
    };
    Encoder::new(&config).is_ok_and(|encoder| can_be_carried(codec, &encoder))
}
