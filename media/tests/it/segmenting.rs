//! Where streams are cut.

use std::io::Read;

use bytes::Bytes;
use framemill_media::{
    CancelFlag, ClipAudio, Limit, MediaError, MediaLimits, OutputFormat, Segmenter, SegmenterConfig,
    SourceSegment, TICKS_PER_SECOND, push_source,
};

use crate::common::{clip, frame_times, limits, packets, segments, synthetic};

const SECOND: i64 = TICKS_PER_SECOND;

fn cut(data: Bytes, config: SegmenterConfig) -> Result<Vec<SourceSegment>, MediaError> {
    Segmenter::from_bytes(data, config, &limits())?.collect()
}

#[test]
fn cuts_at_the_keyframe_nearest_above_the_target() {
    let data = synthetic(|spec| spec.duration = 7 * SECOND);
    let durations: Vec<i64> = segments(data).unwrap().iter().map(|segment| segment.duration).collect();
    assert_eq!(durations, [2 * SECOND, 2 * SECOND, 2 * SECOND, SECOND]);
}

#[test]
fn every_segment_starts_with_a_keyframe() {
    for segment in segments(synthetic(|_| {})).unwrap() {
        assert!(segment.info.video.unwrap().starts_with_key);
    }
}

#[test]
fn audio_goes_with_the_segment_in_which_it_is_heard() {
    let data = synthetic(|spec| spec.duration = 6 * SECOND);
    for segment in segments(data).unwrap().iter().take(2) {
        let audio = &segment.info.audio[0];
        assert!(audio.start >= segment.start_pts);
        assert!(audio.start + audio.duration <= segment.start_pts + segment.duration + 1920);
    }
}

#[test]
fn audio_alone_is_cut_by_time() {
    let data = remux_audio_only(synthetic(|spec| spec.duration = 5 * SECOND));
    let segments = segments(data).unwrap();
    assert_eq!(segments.len(), 3);
    assert!(segments.iter().all(|segment| segment.info.video.is_none() && segment.frames() == 0));
    assert!((segments[0].duration - 2 * SECOND).abs() <= 2 * SECOND / 10);
}

#[test]
fn audio_alone_is_refused_where_video_is_required() {
    let data = remux_audio_only(synthetic(|_| {}));
    let config = SegmenterConfig { require_video: true, ..SegmenterConfig::default() };
    assert_eq!(cut(data, config).unwrap_err(), MediaError::NoVideo);
}

#[test]
fn video_alone_is_cut() {
    let segments = segments(synthetic(|spec| spec.audio = None)).unwrap();
    assert_eq!(segments.len(), 2);
    assert!(segments.iter().all(|segment| segment.info.audio.is_empty()));
}

#[test]
fn several_audio_tracks_are_kept() {
    let data = synthetic(|spec| spec.audio = Some(ClipAudio { tracks: 3, ..ClipAudio::default() }));
    assert!(segments(data).unwrap().iter().all(|segment| segment.info.audio.len() == 3));
}

#[test]
fn fragmented_mp4_becomes_transport_stream() {
    let data = synthetic(|spec| spec.format = OutputFormat::FragmentedMp4);
    let source = frame_times(data.clone());
    let cut: Vec<i64> =
        segments(data).unwrap().into_iter().flat_map(|segment| frame_times(segment.data)).collect();
    assert_eq!(cut, source);
}

#[test]
fn long_gap_between_keyframes_is_an_error() {
    let data = synthetic(|spec| spec.gop = 0);
    let config = SegmenterConfig { max_duration: 3 * SECOND, ..SegmenterConfig::default() };
    let error = cut(data, config).unwrap_err();
    assert!(matches!(error, MediaError::LimitExceeded { limit: Limit::SegmentDuration, .. }), "{error}");
}

#[test]
fn oversized_segment_is_an_error() {
    let config = SegmenterConfig { max_bytes: 20_000, ..SegmenterConfig::default() };
    let error = cut(synthetic(|_| {}), config).unwrap_err();
    assert!(matches!(error, MediaError::LimitExceeded { limit: Limit::SegmentBytes, .. }), "{error}");
}

#[test]
fn target_above_the_largest_duration_is_an_invalid_setting() {
    let config = SegmenterConfig { target: 60 * SECOND, ..SegmenterConfig::default() };
    assert_eq!(cut(synthetic(|_| {}), config).unwrap_err().code(), "invalid_setting");
}

#[test]
fn pushed_bytes_give_the_same_segments_as_memory() {
    let data = synthetic(|spec| spec.duration = 6 * SECOND);
    let expected: Vec<Bytes> =
        segments(data.clone()).unwrap().into_iter().map(|segment| segment.data).collect();
    let (handle, reader) = push_source(4, CancelFlag::new());
    let pusher = std::thread::spawn(move || {
        for chunk in data.chunks(1316) {
            handle.push(Bytes::copy_from_slice(chunk)).unwrap();
        }
    });
    let segmenter = Segmenter::open(reader, SegmenterConfig::default(), &limits()).unwrap();
    let pushed: Vec<Bytes> = segmenter.map(|segment| segment.unwrap().data).collect();
    pusher.join().unwrap();
    assert_eq!(pushed, expected);
}

#[test]
fn segments_leave_before_the_stream_has_ended() {
    let data = synthetic(|spec| spec.duration = 8 * SECOND);
    let (handle, reader) = push_source(1024, CancelFlag::new());
    handle.push(data.slice(..data.len() * 7 / 8)).unwrap();
    let mut segmenter = Segmenter::open(reader, SegmenterConfig::default(), &limits()).unwrap();
    assert_eq!(segmenter.next_segment().unwrap().unwrap().sequence, 0);
    drop(handle);
}

#[test]
fn cancelled_reader_ends_as_cancelled() {
    let cancel = CancelFlag::new();
    let (handle, reader) = push_source(1, cancel.clone());
    handle.push(Bytes::from_static(b"FLV\x01\x05\0\0\0\x09\0\0\0\0")).unwrap();
    let limits = MediaLimits::default().with_cancel(cancel.clone());
    let worker =
        std::thread::spawn(move || Segmenter::open(reader, SegmenterConfig::default(), &limits).err());
    cancel.cancel();
    let error = worker.join().unwrap().unwrap();
    assert_eq!(error, MediaError::Cancelled);
}

#[test]
fn failing_reader_ends_as_a_source_error() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the cable is cut"))
        }
    }
    let data = synthetic(|_| {});
    let reader = std::io::Cursor::new(data.slice(..100_000)).chain(Broken);
    let error = Segmenter::open(reader, SegmenterConfig::default(), &limits())
        .and_then(|segmenter| segmenter.collect::<Result<Vec<_>, _>>())
        .unwrap_err();
    assert_eq!(error, MediaError::Source { reason: "the cable is cut".into() });
}

#[test]
fn jump_of_the_clock_ends_a_segment() {
    let first = synthetic(|spec| spec.duration = 3 * SECOND);
    let second = synthetic(|spec| {
        spec.duration = 3 * SECOND;
        spec.start_pts = 3600 * SECOND;
    });
    let joined: Bytes = [first, second].concat().into();
    let segments = segments(joined).unwrap();
    assert!(segments.iter().all(|segment| segment.duration <= 2 * SECOND));
    let frames: u64 = segments.iter().map(SourceSegment::frames).sum();
    assert_eq!(frames, 180);
    assert!(segments.last().unwrap().start_pts >= 3600 * SECOND);
}

#[test]
fn stream_joined_in_mid_group_starts_at_the_next_keyframe() {
    let data = synthetic(|_| {});
    let late = data.slice(data.len() / 10 / 188 * 188..);
    let segments = segments(late).unwrap();
    assert!(segments[0].info.video.as_ref().unwrap().starts_with_key);
    assert_eq!(segments[0].start_pts, SECOND);
}

#[test]
fn parameter_sets_are_repeated_where_the_source_sends_them_once() {
    let data = synthetic(|spec| spec.format = OutputFormat::FragmentedMp4);
    for segment in segments(data).unwrap() {
        let first = packets(segment.data).swap_remove(0).swap_remove(0);
        assert!(first.data().windows(4).any(|window| window[..3] == [0, 0, 1] && window[3] & 0x1f == 7));
    }
}

#[test]
fn live_stream_without_idr_pictures_starts_at_an_intra_picture() {
    let Some(data) = clip("car-720p-segment-2.ts") else { return };
    let segments = segments(data).unwrap();
    assert_eq!(segments[0].frames(), 35);
    assert!(!segments[0].info.video.as_ref().unwrap().starts_with_key);
}

/// The audio of a clip in a transport stream of its own.
fn remux_audio_only(data: Bytes) -> Bytes {
    let demuxer = framemill_media::Demuxer::from_bytes(data.clone(), &limits()).unwrap();
    let mut builder = framemill_media::Muxer::builder(OutputFormat::MpegTs);
    builder.add_stream(&demuxer.parameters(1).unwrap()).unwrap();
    let mut muxer = builder.start().unwrap();
    for packet in &packets(data)[1] {
        muxer.write(0, packet).unwrap();
    }
    muxer.finish().unwrap()
}
