//! Renditions of neighbouring segments, made by engines that know nothing of each other, play as one.

use bytes::Bytes;
use framemill_media::{ClipSpec, Packet, Rational};

use crate::support::*;

/// Transcodes each segment on an engine of its own and strings the first renditions together.
async fn joined(segments: &[Bytes], ladder: &str) -> Bytes {
    let mut joined = Vec::new();
    for segment in segments {
        let renditions = transcode(segment, ladder_for(segment, ladder)).await.expect("renditions");
        joined.extend_from_slice(&renditions[0].data);
    }
    joined.into()
}

fn assert_rising(packets: &[Packet]) {
    for pair in packets.windows(2) {
        assert!(pair[0].dts() < pair[1].dts(), "decoding time does not rise: {pair:?}");
    }
}

fn assert_joins(segments: &[Bytes], joined: &Bytes) {
    let expected_times: Vec<_> = segments.iter().flat_map(times).collect();
    assert_eq!(times(joined), expected_times);
    let (video, audio) = packets(joined);
    assert_rising(&video);
    let source: Vec<_> = segments.iter().map(sound).collect();
    for (track, packets) in audio.iter().enumerate() {
        assert_rising(packets);
        let expected: Vec<_> = source.iter().flat_map(|segment| segment[track].clone()).collect();
        assert_eq!(sound(joined)[track], expected);
    }
}

#[tokio::test]
async fn segments_of_a_synthetic_stream_join() {
    let segments = segments(synthetic(320, 180, 30, 6));
    assert!(segments.len() >= 3, "{} segments", segments.len());
    assert_joins(&segments, &joined(&segments, "144:150k").await);
}

#[tokio::test]
async fn segments_of_a_live_stream_join() {
    let (Some(first), Some(second)) = (clip("car-720p-segment-1.ts"), clip("car-720p-segment-2.ts")) else {
        return;
    };
    let segments = [first, second];
    assert_joins(&segments, &joined(&segments, "240:300k").await);
}

#[tokio::test]
async fn segments_join_across_the_wrap_of_the_clock() {
    let start_pts = (1 << 33) - 3 * 90_000;
    let clip = clip_of(&ClipSpec { start_pts, ..ClipSpec::new(320, 180, Rational::new(30, 1), 6) });
    let segments = segments(clip);
    let joined = joined(&segments, "144:150k").await;
    assert_rising(&packets(&joined).0);
    let seconds = times(&joined).windows(2).filter(|pair| pair[1] - pair[0] != 3_000).count();
    assert_eq!(seconds, 0, "frames of a 30 fps stream are 3000 ticks apart, across the wrap too");
}

#[tokio::test]
async fn segments_of_uneven_frames_join() {
    let uneven = [
        "-i",
        "testsrc2=s=320x180:r=60:d=6",
        "-vf",
        "select='mod(n\\,3)-mod(n\\,7)'",
        "-fps_mode",
        "vfr",
        "-c:v",
        "libx264",
        "-g",
        "30",
        "-output_ts_offset",
        "10",
    ];
    let Some(clip) = ffmpeg_clip(&uneven) else { return };
    let segments = segments(clip);
    assert!(segments.len() >= 2, "{} segments", segments.len());
    assert_joins(&segments, &joined(&segments, "144:150k").await);
}
