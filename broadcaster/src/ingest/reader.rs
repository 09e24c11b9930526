//! Feeds a stream from any reader: a file, a pipe, a socket.

use std::io::{Read, Seek};
use std::time::Duration;

use framemill_media::{CancelFlag, MediaError, MediaLimits, Segmenter, SegmenterConfig, SourceSegment};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::error::StreamError;
use crate::stream::StreamHandle;

/// How fast a source is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Pace {
    /// Segments are pushed when they would be there in a live stream.
    Realtime,
    /// As fast as the stream takes them.
    #[default]
    Fast,
}

/// Raises the flag when the pump ends, however it ends, so that the reading thread does too.
struct StopReading(CancelFlag);

impl Drop for StopReading {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Opens a source; runs on a blocking thread.
type Open = Box<dyn FnOnce(SegmenterConfig, &MediaLimits) -> Result<Segmenter, MediaError> + Send>;

/// A source that arrives.
pub(crate) fn arriving(reader: impl Read + Send + 'static) -> Open {
    Box::new(|config, limits| Segmenter::open(reader, config, limits))
}

/// A file.
pub(crate) fn seekable(reader: impl Read + Seek + Send + 'static) -> Open {
    Box::new(|config, limits| Segmenter::open_seekable(reader, config, limits))
}

pub(crate) async fn pump(stream: &StreamHandle, open: Open, pace: Pace) -> Result<u64, StreamError> {
    let stop = StopReading(CancelFlag::new());
    let config = stream.config().segmenter();
    let limits = MediaLimits::default().with_cancel(stop.0.clone());
    // One segment waits while the stream is full: reading further ahead would only cost memory.
    let (sender, mut segments) = mpsc::channel(1);
    let (told, reading) = oneshot::channel();
    // A live source keeps its thread for as long as it lasts: the shared ones would run out.
    let work = move || {
        // Nobody listens any more when the pump was dropped.
        let _ = told.send(read(open, config, &limits, &sender));
    };
    std::thread::Builder::new().name("ingest".to_owned()).spawn(work).map_err(|_| MediaError::Cancelled)?;

    let mut clock: Option<(Instant, i64)> = None;
    let mut count = 0;
    while let Some(segment) = segments.recv().await {
        let (start, first_pts) = *clock.get_or_insert((Instant::now(), segment.start_pts));
        if pace == Pace::Realtime {
            tokio::time::sleep_until(start + offset(first_pts, segment.start_pts)).await;
        }
        // What becomes of the segment is told by the stream's events.
        drop(stream.push(segment).await?);
        count += 1;
    }
    match reading.await {
        Ok(result) => result?,
        Err(_) => return Err(MediaError::Cancelled.into()),
    }
    Ok(count)
}

fn read(
    open: Open,
    config: SegmenterConfig,
    limits: &MediaLimits,
    sender: &mpsc::Sender<SourceSegment>,
) -> Result<(), MediaError> {
    let mut segmenter = open(config, limits)?;
    let mut warned = false;
    while let Some(segment) = segmenter.next_segment()? {
        if segment.left_out > 0 && !std::mem::replace(&mut warned, true) {
            tracing::warn!(
                pictures = segment.left_out,
                "the source has open groups of pictures: those that are shown before a segment's keyframe are left out; \
                 have its encoder close groups (x265: open-gop=0)"
            );
        }
        if sender.blocking_send(segment).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn offset(first_pts: i64, pts: i64) -> Duration {
    let ticks = u64::try_from(pts.saturating_sub(first_pts)).unwrap_or(0);
    Duration::from_micros(ticks.saturating_mul(100) / 9)
}
