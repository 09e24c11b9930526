//! What an engine sustains, measured by running it.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use bytes::Bytes;
use framemill_media::{ClipSpec, MediaError, MediaLimits, Rational, generate_clip};
use framemill_network::ladder::{FrameRate, Ladder, LadderEntry};
use futures::StreamExt;

use crate::{Engine, Job, RenditionEvent, SessionId, TranscodeError};

/// Longest a measurement may take. An engine slower than this is not worth offering.
const MEASURE_DEADLINE: Duration = Duration::from_secs(60);

/// Part of the measured speed that is offered, in percent: sockets, audio and the operating system need the rest, and an
/// engine at its very limit is late half of the time.
const OFFERED_PERCENT: u64 = 80;

/// Output of the smallest usual session (240p30): speed divided by this is the most sessions that can make sense.
const SMALLEST_SESSION: u64 = 426 * 240 * 30;

/// Most sessions offered however fast the engine is: each one costs threads and memory.
pub(crate) const MOST_SESSIONS: u32 = 128;

/// Session of the measuring jobs; no quote has it.
pub(crate) const MEASURE_SESSION: SessionId = SessionId::ZERO;

/// What an engine offers to sessions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Encoded pixels per second over all renditions of all sessions, decoding and scaling included.
    pub pixels_per_second: u64,
    /// Sessions at once.
    pub max_sessions: u32,
}

/// One timed run of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measurement {
    /// Encoded pixels of all renditions.
    pub pixels: u64,
    /// From the submission to the last byte.
    pub elapsed: Duration,
    /// From the submission to the first byte.
    pub first_byte: Duration,
}

impl Measurement {
    /// Encoded pixels per second, as measured.
    pub fn pixels_per_second(&self) -> u64 {
        let micros = self.elapsed.as_micros().max(1);
        u64::try_from(u128::from(self.pixels) * 1_000_000 / micros).unwrap_or(u64::MAX)
    }

    /// What to offer on the strength of this run, for an engine whose device takes at most `device_sessions`.
    pub fn capacity(&self, device_sessions: Option<u32>) -> Capacity {
        let pixels_per_second = self.pixels_per_second() / 100 * OFFERED_PERCENT;
        let by_speed = u32::try_from(pixels_per_second / SMALLEST_SESSION).unwrap_or(MOST_SESSIONS);
        let max_sessions = by_speed.min(device_sessions.unwrap_or(MOST_SESSIONS)).clamp(1, MOST_SESSIONS);
        Capacity { pixels_per_second, max_sessions }
    }
}

/// Times an engine on the built-in clip (1280x720, one second) and the default ladder.
///
/// # Errors
/// Whatever keeps the engine from transcoding the clip: an engine that cannot do this is not to be offered.
pub async fn measure(engine: &dyn Engine) -> Result<Measurement, TranscodeError> {
    let source = tokio::task::spawn_blocking(measuring_clip)
        .await
        .map_err(|_| TranscodeError::EngineDied { engine: engine.name() })?
        .map_err(TranscodeError::Engine)?;
    let begun = Instant::now();
    let job = Job {
        session: MEASURE_SESSION,
        sequence: 0,
        source,
        ladder: measuring_ladder(),
        deadline: begun + MEASURE_DEADLINE,
    };
    let mut measurement = Measurement { pixels: 0, elapsed: Duration::ZERO, first_byte: Duration::ZERO };
    let mut renditions = engine.transcode(job);
    while let Some(event) = renditions.next().await {
        match event? {
            RenditionEvent::Chunk { .. } if measurement.first_byte.is_zero() => {
                measurement.first_byte = begun.elapsed()
            }
            RenditionEvent::Chunk { .. } => {}
            RenditionEvent::End { summary, .. } => measurement.pixels += summary.pixels,
        }
    }
    measurement.elapsed = begun.elapsed();
    Ok(measurement)
}

/// [`measure`], turned into an offer.
///
/// # Errors
/// Those of [`measure`].
pub async fn measure_capacity(engine: &dyn Engine) -> Result<Capacity, TranscodeError> {
    let measurement = measure(engine).await?;
    Ok(measurement.capacity(engine.capabilities().max_sessions))
}

/// The default ladder at the measuring clip's size: 720p, 480p and 360p.
fn measuring_ladder() -> Ladder {
    let rung =
        |(width, entry): (u32, &LadderEntry)| LadderEntry { width, fps: FrameRate::SOURCE, ..entry.clone() };
    let entries = [1280, 854, 640].into_iter().zip(Ladder::default().iter()).map(rung).collect();
    Ladder::new(entries).expect("three entries with distinct names")
}

/// The clip every measurement uses, encoded once per process.
fn measuring_clip() -> Result<Bytes, MediaError> {
    static CLIP: OnceLock<Bytes> = OnceLock::new();
    if let Some(clip) = CLIP.get() {
        return Ok(clip.clone());
    }
    let clip = generate_clip(&ClipSpec::new(1280, 720, Rational::new(30, 1), 1), &MediaLimits::segment())?;
    Ok(CLIP.get_or_init(|| clip).clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(pixels: u64, millis: u64) -> Measurement {
        Measurement { pixels, elapsed: Duration::from_millis(millis), first_byte: Duration::ZERO }
    }

    #[test]
    fn speed_is_pixels_over_time() {
        assert_eq!(run(50_000_000, 500).pixels_per_second(), 100_000_000);
        assert_eq!(run(1, 0).pixels_per_second(), 1_000_000);
    }

    #[test]
    fn offers_less_than_was_measured() {
        assert_eq!(run(100_000_000, 1_000).capacity(None).pixels_per_second, 80_000_000);
    }

    #[test]
    fn offers_no_more_sessions_than_the_device_or_its_speed_allow() {
        assert_eq!(run(100_000_000, 1_000).capacity(None).max_sessions, 26);
        assert_eq!(run(100_000_000, 1_000).capacity(Some(8)).max_sessions, 8);
        assert_eq!(run(1_000, 1_000).capacity(None).max_sessions, 1);
    }
}
