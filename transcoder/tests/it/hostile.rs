//! Sources that are no source.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use framemill_media::{
    ClipSpec, Demuxer, Limit, MediaError, MediaLimits, Muxer, OutputFormat, Rational, Ticks,
};
use framemill_transcoder::{Engine, SoftwareConfig, SoftwareEngine, TranscodeError};
use futures::StreamExt;

use crate::support::*;

async fn refusal(source: &Bytes) -> TranscodeError {
    let outcome = transcode(source, small_ladder()).await;
    outcome.expect_err("a source that cannot be transcoded")
}

fn assert_bad_media(error: &TranscodeError) {
    assert_eq!(error.code(), "bad_media", "{error}");
}

#[tokio::test]
async fn refuses_text() {
    assert_bad_media(&refusal(&Bytes::from_static(b"WEBVTT\n\n00:00.000 --> 00:01.000\nhello\n")).await);
}

#[tokio::test]
async fn refuses_nothing_at_all() {
    assert_bad_media(&refusal(&Bytes::new()).await);
}

#[tokio::test]
async fn refuses_video_that_never_comes() {
    let Some(source) = clip("bad-zero-frame.ts") else { return };
    assert_bad_media(&refusal(&source).await);
}

#[tokio::test]
async fn refuses_audio_alone() {
    let source = synthetic(320, 180, 30, 1);
    let error = refusal(&audio_only(&source)).await;
    assert!(matches!(error, TranscodeError::BadMedia(MediaError::NoVideo)), "{error}");
}

fn audio_only(source: &Bytes) -> Bytes {
    let mut demuxer = Demuxer::from_bytes(source.clone(), &MediaLimits::default()).expect("a readable clip");
    let track = demuxer.probe().audio[0].stream;
    let mut builder = Muxer::builder(OutputFormat::MpegTs);
    let stream = builder.add_stream(&demuxer.parameters(track).expect("a track")).expect("aac fits mpeg-ts");
    let mut muxer = builder.start().expect("a muxer");
    while let Some(packet) = demuxer.next_packet().expect("a readable packet") {
        if packet.stream() == track {
            muxer.write(stream, &packet).expect("a packet in order");
        }
    }
    muxer.finish().expect("a trailer")
}

#[tokio::test]
async fn refuses_a_segment_cut_off_in_a_picture() {
    let source = synthetic(320, 180, 30, 1);
    let cut = source.slice(..source.len() / 3 / 188 * 188 + 100);
    // What is left may end with a whole picture; then it is a shorter segment, and every picture of it must come out.
    match transcode(&cut, small_ladder()).await {
        Ok(renditions) => assert_eq!(times(&renditions[0].data), times(&cut)),
        Err(error) => assert_bad_media(&error),
    }
}

#[tokio::test]
async fn refuses_damaged_pictures() {
    let source = synthetic(320, 180, 30, 1);
    let mut damaged = BytesMut::from(&source[..]);
    for packet in damaged.chunks_exact_mut(188).skip(12).step_by(3) {
        packet[60..160].fill(0xa5);
    }
    assert_bad_media(&refusal(&damaged.freeze()).await);
}

/// Whoever cuts inside an open group leaves pictures that need the segment before. A rendition without them would have a hole.
#[tokio::test]
async fn refuses_pictures_that_need_the_segment_before() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let open = "keyint=60:min-keyint=60:open-gop=1:bframes=3:scenecut=0";
    let picture =
        ["-f", "lavfi", "-i", "testsrc2=s=320x180:r=30:d=6", "-c:v", "libx264", "-x264-params", open];
    let cut = ["-f", "segment", "-segment_time", "2", "-segment_format", "mpegts"];
    if ffmpeg(&[&picture[..], &cut].concat(), &folder.path().join("%d.ts")).is_none() {
        return;
    }
    let segment = |number: u32| std::fs::read(folder.path().join(format!("{number}.ts"))).expect("a segment");
    assert!(transcode(&segment(0).into(), small_ladder()).await.is_ok());
    assert_bad_media(&refusal(&segment(1).into()).await);
}

/// The parameter sets that a container holds apart from the pictures are the stream's as well: FFmpeg calls an impossible length in them
/// an invalid argument, as if the caller had made it up.
#[tokio::test]
async fn refuses_parameter_sets_of_impossible_lengths() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let path = folder.path().join("clip.mkv");
    let picture = ["-f", "lavfi", "-i", "testsrc2=s=320x180:r=30:d=1", "-c:v", "libx265"];
    let quiet = ["-x265-params", "log-level=none:open-gop=0", "-pix_fmt", "yuv420p"];
    if ffmpeg(&[&picture[..], &quiet].concat(), &path).is_none() {
        return;
    }
    let mut clip = std::fs::read(&path).expect("a clip");
    assert!(transcode(&clip.clone().into(), small_ladder()).await.is_ok());
    // The element CodecPrivate: its name, its length in two bytes, and of the record 23 bytes before the first array of units.
    let at = clip
        .windows(2)
        .position(|two| two == [0x63, 0xa2])
        .expect("the record of the decoder's configuration");
    let first_length = at + 4 + 23 + 3;
    clip[first_length] = 0xff;
    let error = refusal(&clip.into()).await;
    assert!(matches!(error, TranscodeError::BadMedia(MediaError::Truncated { .. })), "{error}");
}

/// Sound is passed on as it is, and what its own header says of it goes into the headers of the rendition.
#[tokio::test]
async fn refuses_sound_of_a_kind_that_there_is_not() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let path = folder.path().join("clip.flv");
    let picture = ["-f", "lavfi", "-i", "testsrc2=s=320x180:r=30:d=1", "-c:v", "libx264"];
    let sound = ["-f", "lavfi", "-i", "sine=r=44100:d=1", "-c:a", "aac"];
    if ffmpeg(&[&picture[..4], &sound[..4], &picture[4..], &sound[4..]].concat(), &path).is_none() {
        return;
    }
    let mut clip = std::fs::read(&path).expect("a clip");
    assert!(transcode(&clip.clone().into(), small_ladder()).await.is_ok());
    // The tag that holds AAC's configuration, whose first five bits are the kind of object; there is none of number zero.
    let at = clip.windows(3).position(|three| three[..2] == [0xaf, 0] && three[2] >> 3 == 2);
    clip[at.expect("a configuration of AAC") + 2] &= 7;
    let error = refusal(&clip.into()).await;
    assert!(matches!(error, TranscodeError::BadMedia(MediaError::Truncated { .. })), "{error}");
}

#[tokio::test]
async fn refuses_a_picture_that_changes_its_size() {
    let part = |width, height, start_pts: Ticks| {
        clip_of(&ClipSpec { start_pts, audio: None, ..ClipSpec::new(width, height, Rational::new(30, 1), 1) })
    };
    let source = [part(320, 180, 90_000), part(640, 360, 180_000)].concat();
    let error = refusal(&source.into()).await;
    assert!(
        matches!(error, TranscodeError::SizeChanged { from: (320, 180), to: (640, 360), frame: 31 }),
        "{error}"
    );
}

#[tokio::test]
async fn refuses_pictures_that_are_shown_twice() {
    let second = synthetic(320, 180, 30, 1);
    let error = refusal(&[second.clone(), second].concat().into()).await;
    assert!(matches!(error, TranscodeError::BadMedia(MediaError::Timestamps { .. })), "{error}");
}

#[tokio::test]
async fn refuses_more_than_its_budget() {
    let limits = MediaLimits { frames: 10, ..MediaLimits::segment() };
    let engine = SoftwareEngine::new(SoftwareConfig { limits, ..SoftwareConfig::default() });
    let outcome = engine.transcode(job(synthetic(320, 180, 30, 1), small_ladder())).collect_all().await;
    assert!(
        matches!(outcome, Err(TranscodeError::BadMedia(MediaError::LimitExceeded { .. }))),
        "{outcome:?}"
    );
}

/// Pictures that decoders allocate through FFmpeg and, of AV1, past it.
#[tokio::test]
async fn refuses_pictures_that_take_too_much_memory() {
    const PICTURE: u64 = 320 * 180 * 3 / 2;
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let encoders = [
        ("libx264", "clip.ts"),
        ("libvpx-vp9 -cpu-used 8", "clip.webm"),
        ("libsvtav1 -preset 12", "clip.mp4"),
    ];
    for (encoder, name) in encoders {
        let path = folder.path().join(name);
        let arguments = format!("-f lavfi -i testsrc2=s=320x180:r=30:d=1 -pix_fmt yuv420p -c:v {encoder}");
        let Some(()) = ffmpeg(&arguments.split_whitespace().collect::<Vec<_>>(), &path) else { return };
        let source: Bytes = std::fs::read(&path).expect("ffmpeg wrote it").into();
        let within = |picture_bytes| {
            let limits = MediaLimits { picture_bytes, ..MediaLimits::segment() };
            let engine = SoftwareEngine::new(SoftwareConfig { limits, ..SoftwareConfig::default() });
            engine.transcode(job(source.clone(), small_ladder())).collect_all()
        };
        let refused = within(2 * PICTURE).await;
        let expected = matches!(
            refused,
            Err(TranscodeError::BadMedia(MediaError::LimitExceeded { limit: Limit::PictureBytes, .. }))
        );
        assert!(expected, "{encoder}: {refused:?}");
        assert!(within(40 * PICTURE).await.is_ok(), "{encoder}");
    }
}

#[tokio::test]
async fn ends_at_the_deadline() {
    let mut late = job(synthetic(320, 180, 30, 1), small_ladder());
    late.deadline = Instant::now();
    let outcome = SoftwareEngine::default().transcode(late).collect_all().await;
    assert_eq!(outcome, Err(TranscodeError::DeadlineExceeded));
}

#[tokio::test]
async fn dropping_the_stream_ends_the_job() {
    let engine = SoftwareEngine::default();
    let source = synthetic(640, 360, 30, 10);
    let ladder = ladder_for(&source, "360:2000k");
    let mut renditions = engine.transcode(job(source, ladder));
    assert!(matches!(renditions.next().await, Some(Ok(_))));
    assert_eq!(engine.jobs(), 1);
    drop(renditions);
    let ended = async {
        while engine.jobs() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("the job's threads end");
}

#[tokio::test]
async fn an_error_ends_the_stream() {
    let engine = SoftwareEngine::default();
    let mut renditions = engine.transcode(job(Bytes::new(), small_ladder()));
    assert!(matches!(renditions.next().await, Some(Err(_))));
    assert!(renditions.next().await.is_none());
}

#[tokio::test]
async fn a_bad_job_leaves_the_engine_as_it_was() {
    let engine = SoftwareEngine::default();
    let bad = engine.transcode(job(Bytes::from_static(b"not media"), small_ladder())).collect_all().await;
    assert!(bad.is_err());
    let good = engine.transcode(job(synthetic(320, 180, 30, 1), small_ladder())).collect_all().await;
    assert_eq!(good.map(|renditions| renditions.len()), Ok(1));
}
