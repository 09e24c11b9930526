//! What stays open between the segments of a stream: an encoder session and a scaler for each rung.

use std::{
    collections::HashMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use framemill_media::{Encoder, EncoderConfig, GpuFrame, GpuScaler, MediaError, MediaLimits, Rational};

use crate::{SESSION_IDLE, SessionId, TranscodeError};

/// How often a job that waits for the one before it looks whether it may go on waiting.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What one rung keeps. The scaler stays with its encoder because the driver knows the memory that the scaler writes into.
pub(super) struct Kept {
    pub(super) config: EncoderConfig,
    pub(super) scaler: GpuScaler,
    pub(super) encoder: Encoder<GpuFrame>,
}

/// What a stream keeps, by the index of the rung.
pub(super) type Rungs = HashMap<u32, Kept>;

#[derive(Default)]
struct Stream {
    /// Whether a job of the stream runs now; it has the rungs.
    busy: bool,
    rungs: Rungs,
    last_used: Option<Instant>,
}

/// All streams of a device. Jobs of one stream run one after the other, so that a stream has one session for each rung.
#[derive(Default)]
pub(super) struct Streams {
    streams: Mutex<HashMap<SessionId, Stream>>,
    freed: Condvar,
    /// Held by who closes sessions to open its own.
    making_room: Mutex<()>,
}

/// A job's turn at its stream. What it does not give back by [`Turn::end`] is closed.
pub(super) struct Turn {
    streams: Arc<Streams>,
    session: SessionId,
    ended: bool,
}

impl Streams {
    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Stream>> {
        // The map is whole after every operation, whatever thread panicked.
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the stream's turn and hands out what it keeps. `waiting` is called now and then.
    ///
    /// # Errors
    /// When the job's time is over first.
    pub(super) fn enter(
        self: &Arc<Self>,
        session: SessionId,
        limits: &MediaLimits,
        waiting: impl Fn(),
    ) -> Result<(Turn, Rungs), TranscodeError> {
        let mut streams = self.lock();
        while streams.get(&session).is_some_and(|stream| stream.busy) {
            limits.check_time()?;
            waiting();
            streams = self.freed.wait_timeout(streams, LOOK_EVERY).unwrap_or_else(PoisonError::into_inner).0;
        }
        let stream = streams.entry(session).or_default();
        stream.busy = true;
        let rungs = std::mem::take(&mut stream.rungs);
        Ok((Turn { streams: Arc::clone(self), session, ended: false }, rungs))
    }

    /// Opens again what the device had no room for, and closes what idle streams keep if it still has none. One at a time: what
    /// another job's rung is closing meanwhile is room only when it is closed.
    pub(super) fn with_room<T>(&self, open: impl Fn() -> Result<T, MediaError>) -> Result<T, MediaError> {
        let _alone = self.making_room.lock().unwrap_or_else(PoisonError::into_inner);
        match open() {
            Err(MediaError::Device { .. }) if self.close_idle() => open(),
            opened => opened,
        }
    }

    /// Closes what streams keep that have no job now; says whether that was anything.
    fn close_idle(&self) -> bool {
        self.close(|_| true)
    }

    /// Closes what streams keep that went quiet.
    pub(super) fn expire(&self, now: Instant) {
        self.close(|last_used| now.saturating_duration_since(last_used) >= SESSION_IDLE);
    }

    fn close(&self, old_enough: impl Fn(Instant) -> bool) -> bool {
        let mut closed = Vec::new();
        self.lock().retain(|_, stream| {
            let close = !stream.busy && stream.last_used.is_none_or(&old_enough);
            if close {
                closed.push(std::mem::take(&mut stream.rungs));
            }
            !close
        });
        // Closing talks to the driver and may take its time: the lock is free by now.
        closed.iter().any(|rungs| !rungs.is_empty())
    }

    fn leave(&self, session: SessionId, rungs: Rungs) {
        let mut streams = self.lock();
        if rungs.is_empty() {
            streams.remove(&session);
        } else {
            streams.insert(session, Stream { busy: false, rungs, last_used: Some(Instant::now()) });
        }
        self.freed.notify_all();
    }
}

impl Turn {
    /// Ends the turn and keeps these rungs for the next one.
    pub(super) fn end(mut self, rungs: Rungs) {
        self.ended = true;
        self.streams.leave(self.session, rungs);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.ended {
            self.streams.leave(self.session, Rungs::new());
        }
    }
}

/// Whether an encoder that was opened with `open` serves for `asked`: all that viewers see is the same. Rates that differ by
/// rounding count as the same.
pub(super) fn suits(open: &EncoderConfig, asked: &EncoderConfig) -> bool {
    (open.width, open.height, open.bitrate, open.gop) == (asked.width, asked.height, asked.bitrate, asked.gop)
        && open.codec == asked.codec
        && open.profile == asked.profile
        && open.color == asked.color
        && open.sample_aspect == asked.sample_aspect
        && is_near(open.frame_rate, asked.frame_rate)
}

/// Whether two rates differ by less than a hundredth.
fn is_near(a: Rational, b: Rational) -> bool {
    let (a, b) = (u64::from(a.num) * u64::from(b.den), u64::from(b.num) * u64::from(a.den));
    a.abs_diff(b) < a.max(b).div_ceil(100)
}

#[cfg(test)]
mod tests {
    use framemill_media::VideoCodec;

    use super::*;

    const A: SessionId = SessionId::repeat_byte(1);

    fn config() -> EncoderConfig {
        EncoderConfig::h264(1280, 720, 3_000_000, Rational::new(30, 1))
    }

    #[test]
    fn a_session_is_used_again_unless_size_format_or_ladder_change() {
        assert!(suits(&config(), &config()));
        let jittered = EncoderConfig { frame_rate: Rational::new(29_970, 1_000), ..config() };
        assert!(suits(&config(), &jittered));
        let changes = [
            EncoderConfig { width: 854, ..config() },
            EncoderConfig { bitrate: 1, ..config() },
            EncoderConfig { codec: VideoCodec::Hevc, ..config() },
            EncoderConfig { gop: 30, ..config() },
            EncoderConfig { frame_rate: Rational::new(60, 1), ..config() },
        ];
        assert!(changes.iter().all(|changed| !suits(&config(), changed)));
    }

    #[test]
    fn jobs_of_one_stream_take_turns() {
        let streams = Arc::new(Streams::default());
        let limits = MediaLimits::segment();
        let (turn, _) = streams.enter(A, &limits, || {}).expect("nobody else");
        let late = limits.clone().with_deadline(Instant::now());
        assert_eq!(streams.enter(A, &late, || {}).err(), Some(TranscodeError::DeadlineExceeded));
        drop(turn);
        assert!(streams.enter(A, &late, || {}).is_ok());
    }

    #[test]
    fn waiting_for_a_turn_ends_with_the_one_before() {
        let streams = Arc::new(Streams::default());
        let (turn, _) = streams.enter(A, &MediaLimits::segment(), || {}).expect("nobody else");
        let (waits, waited) = std::sync::mpsc::channel();
        let other = Arc::clone(&streams);
        let second = std::thread::spawn(move || {
            other.enter(A, &MediaLimits::segment(), || waits.send(()).expect("the test waits")).is_ok()
        });
        waited.recv().expect("the second job waits");
        turn.end(Rungs::new());
        assert!(second.join().expect("no panic"));
    }

    #[test]
    fn a_stream_that_keeps_nothing_leaves_nothing_behind() {
        let streams = Arc::new(Streams::default());
        let (turn, rungs) = streams.enter(A, &MediaLimits::segment(), || {}).expect("nobody else");
        turn.end(rungs);
        assert!(streams.lock().is_empty());
        assert!(!streams.close_idle());
    }
}
