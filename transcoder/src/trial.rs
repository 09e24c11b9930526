//! Trials: what an engine sustains when many live streams want it at once, over more than one segment.

use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_primitives::B256;
use bytes::Bytes;
use framemill_media::{
    ClipSpec, MediaError, MediaLimits, Rational, Segmenter, SegmenterConfig, SourceSegment, TICKS_PER_SECOND,
    generate_clip,
};
use framemill_network::ladder::{FrameRate, Ladder, LadderError, SourceVideo};
use futures::StreamExt;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use crate::{Engine, Job, RenditionEvent, SessionId, TranscodeError};

/// Longest that one segment may take in a trial: whoever needs longer is no engine for live streams.
const PATIENCE: Duration = Duration::from_secs(60);

/// Paced trials of a search at most: each takes as long as its clip.
const MOST_TRIALS: usize = 8;

/// Segments of a clip that are used at most.
const MOST_SEGMENTS: usize = 64;

/// What a trial plays: some consecutive segments of one stream, and the ladder that is made of each.
#[derive(Debug, Clone)]
pub struct TrialClip {
    segments: Arc<[Segment]>,
    ladder: Ladder,
    source: SourceVideo,
}

#[derive(Debug)]
struct Segment {
    data: Bytes,
    duration: Duration,
}

/// Why there is nothing to play.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// The clip is no usable media.
    #[error("the clip cannot be cut: {0}")]
    Media(#[from] MediaError),
    /// The ladder does not fit the clip.
    #[error("the ladder does not fit the clip: {0}")]
    Ladder(#[from] LadderError),
    /// There is no whole segment in it.
    #[error("the clip has no whole segment; give one of two seconds or more with a keyframe at its start")]
    Empty,
}

/// Output while an engine had always something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sustained {
    /// Encoded pixels of all renditions.
    pub pixels: u64,
    /// From the first submission to the last byte.
    pub elapsed: Duration,
}

/// How long segments took while so many streams came at the pace of live ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paced {
    /// Streams at a time.
    pub streams: u32,
    /// From a segment's due time to its last byte, ascending.
    pub latencies: Vec<Duration>,
    /// Segments that took longer than they last, or came to nothing.
    pub late: u32,
}

impl TrialClip {
    /// A synthetic clip with sound. Blocks on encoding it.
    ///
    /// # Errors
    /// The clip cannot be made here, or the ladder does not fit it.
    pub fn synthetic(
        (width, height): (u32, u32),
        fps: u32,
        seconds: u32,
        ladder: &Ladder,
    ) -> Result<Self, TrialError> {
        let data = generate_clip(
            &ClipSpec::new(width, height, Rational::new(fps, 1), seconds),
            &MediaLimits::default(),
        )?;
        Self::from_bytes(data, ladder)
    }

    /// A clip of anybody's. Blocks on cutting it.
    ///
    /// # Errors
    /// It is no usable media, has no whole segment, or the ladder does not fit it.
    pub fn from_bytes(data: Bytes, ladder: &Ladder) -> Result<Self, TrialError> {
        let config = SegmenterConfig { require_video: true, ..SegmenterConfig::default() };
        let mut segmenter = Segmenter::from_bytes(data, config, &MediaLimits::default())?;
        let video = segmenter.probe().require_video()?;
        let rate = video.frame_rate;
        let fps = FrameRate::new(rate.num, rate.den).unwrap_or(FrameRate::SOURCE);
        let source = SourceVideo { width: video.width, height: video.height, fps };
        let ladder = ladder.resolve(&source)?;
        let mut segments = Vec::new();
        while segments.len() < MOST_SEGMENTS
            && let Some(segment) = segmenter.next_segment()?
        {
            segments.push(Segment { duration: duration(&segment), data: segment.data });
        }
        let segments: Arc<[Segment]> = segments.into();
        if segments.iter().all(|segment| segment.duration.is_zero()) {
            return Err(TrialError::Empty);
        }
        Ok(Self { segments, ladder, source })
    }

    /// What is made of each segment.
    pub fn ladder(&self) -> &Ladder {
        &self.ladder
    }

    /// The picture that is played.
    pub fn source(&self) -> &SourceVideo {
        &self.source
    }

    /// Pixels that one stream of it asks for in a second.
    pub fn pixels_per_second(&self) -> u64 {
        self.ladder.pixels_per_second(self.source.fps)
    }

    fn job(&self, session: SessionId, sequence: usize) -> Job {
        Job {
            session,
            sequence: sequence as u64,
            source: self.segments[sequence].data.clone(),
            ladder: self.ladder.clone(),
            deadline: Instant::now() + PATIENCE,
        }
    }
}

fn duration(segment: &SourceSegment) -> Duration {
    let ticks = u64::try_from(segment.duration).unwrap_or(0);
    Duration::from_micros(ticks.saturating_mul(1_000_000) / TICKS_PER_SECOND.unsigned_abs())
}

impl Sustained {
    /// Encoded pixels per second.
    pub fn pixels_per_second(&self) -> u64 {
        let micros = self.elapsed.as_micros().max(1);
        u64::try_from(u128::from(self.pixels) * 1_000_000 / micros).unwrap_or(u64::MAX)
    }
}

impl Paced {
    /// Whether every segment was there before the next one of its stream.
    pub fn holds(&self) -> bool {
        self.late == 0
    }

    /// The latency that so many thousandths of the segments stayed within; none when nothing was delivered.
    pub fn quantile(&self, permille: usize) -> Option<Duration> {
        let last = self.latencies.len().checked_sub(1)?;
        self.latencies.get((last * permille.min(1_000)).div_ceil(1_000)).copied()
    }
}

/// Keeps `at_once` jobs going for about `time`, and lets those that have begun end. Each lane does one at least.
///
/// # Errors
/// The first job that failed.
pub async fn sustain(
    engine: &Arc<dyn Engine>,
    clip: &TrialClip,
    at_once: u32,
    time: Duration,
) -> Result<Sustained, TranscodeError> {
    let begun = Instant::now();
    let mut lanes = JoinSet::new();
    for _ in 0..at_once.max(1) {
        let (engine, clip) = (Arc::clone(engine), clip.clone());
        lanes.spawn(async move {
            let mut pixels = 0_u64;
            // A lane that is late to begin makes one segment all the same: nothing is learnt from an idle one.
            'time: loop {
                let session = B256::random();
                for sequence in 0..clip.segments.len() {
                    pixels = pixels.saturating_add(run(engine.as_ref(), clip.job(session, sequence)).await?);
                    if begun.elapsed() >= time {
                        break 'time;
                    }
                }
            }
            Ok::<_, TranscodeError>(pixels)
        });
    }
    let mut pixels = 0_u64;
    while let Some(lane) = lanes.join_next().await {
        let made = lane.map_err(|_| TranscodeError::EngineDied { engine: engine.name() })?;
        pixels = pixels.saturating_add(made?);
    }
    Ok(Sustained { pixels, elapsed: begun.elapsed() })
}

/// Plays the clip as so many live streams, which begin evenly over a segment's time.
pub async fn pace(engine: &Arc<dyn Engine>, clip: &TrialClip, streams: u32) -> Paced {
    let begin = Instant::now();
    let first = clip.segments[0].duration;
    let mut segments = JoinSet::new();
    for stream in 0..streams {
        let session = B256::random();
        // A live segment is whole, and due, when it is over.
        let mut due = begin + first * stream / streams;
        for (sequence, segment) in clip.segments.iter().enumerate() {
            due += segment.duration;
            let (engine, clip, allowed) = (Arc::clone(engine), clip.clone(), segment.duration);
            segments.spawn(async move {
                sleep_until(due.into()).await;
                let made = run(engine.as_ref(), clip.job(session, sequence)).await;
                (made.is_ok().then(|| due.elapsed()), allowed)
            });
        }
    }
    let mut paced = Paced { streams, latencies: Vec::new(), late: 0 };
    while let Some(segment) = segments.join_next().await {
        let (took, allowed) = segment.unwrap_or((None, Duration::ZERO));
        paced.late += u32::from(took.is_none_or(|took| took > allowed));
        paced.latencies.extend(took);
    }
    paced.latencies.sort_unstable();
    paced
}

/// The most streams of the clip that an engine keeps up with, looked for from `estimate` on and not beyond `most`; none when it does
/// not keep up with one, or none was found in a few trials.
pub async fn most_streams(
    engine: &Arc<dyn Engine>,
    clip: &TrialClip,
    estimate: u32,
    most: u32,
) -> Option<Paced> {
    let mut streams = estimate.clamp(1, most.max(1));
    let mut best: Option<Paced> = None;
    for _ in 0..MOST_TRIALS {
        let paced = pace(engine, clip, streams).await;
        if !paced.holds() {
            if best.is_some() || streams == 1 {
                break;
            }
            // An estimate that is far off is not worked down one by one.
            streams -= (streams / 8).max(1);
            continue;
        }
        best = Some(paced);
        if streams >= most {
            break;
        }
        streams += 1;
    }
    best
}

/// Runs a job to its end; returns the pixels that were encoded.
async fn run(engine: &dyn Engine, job: Job) -> Result<u64, TranscodeError> {
    let mut renditions = engine.transcode(job);
    let mut pixels = 0_u64;
    while let Some(event) = renditions.next().await {
        if let RenditionEvent::End { summary, .. } = event? {
            pixels = pixels.saturating_add(summary.pixels);
        }
    }
    Ok(pixels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_latency_that_was_seen() {
        let millis = |count: u64| (1..=count).map(Duration::from_millis).collect();
        let paced = Paced { streams: 1, latencies: millis(100), late: 0 };
        assert_eq!(paced.quantile(500), Some(Duration::from_millis(51)));
        assert_eq!(paced.quantile(990), Some(Duration::from_millis(100)));
        assert_eq!(paced.quantile(1_000), Some(Duration::from_millis(100)));
        assert_eq!(Paced { latencies: Vec::new(), ..paced }.quantile(500), None);
    }

    #[test]
    fn speed_is_pixels_over_time() {
        let sustained = Sustained { pixels: 300, elapsed: Duration::from_millis(500) };
        assert_eq!(sustained.pixels_per_second(), 600);
    }
}
