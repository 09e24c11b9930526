//! Clips cut into the segments that a stream is made of.

use bytes::Bytes;
use framemill_media::{MediaLimits, Segmenter, SegmenterConfig, SourceSegment, TICKS_PER_SECOND};

/// Cuts a clip at its keyframes into segments of about `seconds`.
///
/// # Panics
/// When the clip cannot be cut.
pub fn cut(clip: &Bytes, seconds: i64) -> Vec<SourceSegment> {
    let config = SegmenterConfig { target: seconds * TICKS_PER_SECOND, ..SegmenterConfig::default() };
    let mut segmenter =
        Segmenter::from_bytes(clip.clone(), config, &MediaLimits::default()).expect("the clip is media");
    std::iter::from_fn(|| segmenter.next_segment().expect("the clip can be cut")).collect()
}
