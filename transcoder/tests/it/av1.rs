//! Ladders in AV1 by the software engine.

use std::time::{Duration, Instant};

use bytes::Bytes;
use framemill_media::{ClipSpec, Container, MediaLimits, Rational, Ticks, segment_info, time::WRAP};
use framemill_network::CHUNK_BYTES;
use framemill_transcoder::{Engine, RenditionEvent, SoftwareEngine, TranscodeError};
use futures::StreamExt;

use crate::{ladder::check, support::*};

/// Kinds of the boxes at the top of a file.
fn kinds(mut data: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while let Some(head) = data.first_chunk::<8>() {
        found.push(&data[4..8]);
        let size = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        data = &data[size as usize..];
    }
    found
}

fn assert_in_pieces(rendition: &Bytes) {
    let kinds = kinds(rendition);
    assert_eq!(kinds[..2], [b"ftyp", b"moov"]);
    assert!(kinds[2..].chunks(2).all(|pair| pair == [b"moof", b"mdat"]));
}

#[tokio::test]
async fn makes_a_mixed_ladder() {
    let source = synthetic(640, 360, 30, 2);
    let renditions =
        check(&source, ladder_for(&source, "360:600k:av1,360:800k,240:300k:av1,144:150k:hevc")).await;
    let containers: Vec<_> = renditions
        .iter()
        .map(|data| segment_info(data, &MediaLimits::default()).expect("a readable rendition").container)
        .collect();
    assert_eq!(containers, [Container::Mp4, Container::MpegTs, Container::Mp4, Container::MpegTs]);
    assert_in_pieces(&renditions[0]);
    assert_in_pieces(&renditions[2]);
}

#[tokio::test]
async fn takes_real_clips() {
    for (name, ladder) in [
        ("kitchen-1080p60-2s.mp4", "360p30:500k:av1,144:100k:av1"),
        ("desk-360p-aac.flv", "240:200k:av1"),
        ("bad-missing-dts.ts", "240:200k:av1"),
        ("bad-duplicate-audio-dts.ts", "240:200k:av1"),
    ] {
        let Some(clip) = clip(name) else { continue };
        for segment in segments(clip) {
            check(&segment, ladder_for(&segment, ladder)).await;
        }
    }
}

/// Two engines in turns, neither of which knows of the other or of more than one segment.
#[tokio::test]
async fn segments_made_in_turns_have_the_times_of_the_stream() {
    for start_pts in [0, WRAP - 3 * 90_000] {
        let spec = ClipSpec { start_pts, ..ClipSpec::new(320, 180, Rational::new(30, 1), 6) };
        let segments = segments(clip_of(&spec));
        assert!(segments.len() >= 3);
        let engines = [SoftwareEngine::default(), SoftwareEngine::default()];
        for (segment, engine) in segments.iter().zip(engines.iter().cycle()) {
            let ladder = ladder_for(segment, "144:100k:av1");
            let made =
                engine.transcode(job(segment.clone(), ladder)).collect_all().await.expect("a rendition");
            assert_eq!(times(&made[0].data), times(segment));
            let (video, audio) = packets(&made[0].data);
            assert!(video[0].is_key() && video.iter().all(|packet| packet.pts() == packet.dts()));
            let first: Ticks = video
                .iter()
                .chain(audio.iter().flatten())
                .filter_map(|packet| packet.pts())
                .min()
                .expect("packets");
            assert!((0..WRAP).contains(&first), "{first}");
        }
    }
}

#[tokio::test]
async fn one_picture_is_a_rendition() {
    let one =
        ["-i", "testsrc2=s=320x180:r=30:d=1", "-frames:v", "1", "-c:v", "libx264", "-pix_fmt", "yuv420p"];
    let Some(source) = ffmpeg_clip(&one) else { return };
    check(&source, ladder_for(&source, "144:100k:av1")).await;
}

#[tokio::test]
async fn short_groups_are_as_short_as_asked_for() {
    let source = synthetic(320, 180, 30, 1);
    for (gop, keys) in [("0.5", 2), ("0.01", 30), ("intra", 30)] {
        let text = format!(
            r#"[{{"name":"a","width":256,"height":144,"bitrate":300000,"codec":"av1","gop":"{gop}"}}]"#
        );
        let made = transcode(&source, text.parse().expect("a ladder")).await.expect("a rendition");
        assert_eq!(packets(&made[0].data).0.iter().filter(|packet| packet.is_key()).count(), keys, "{gop}");
    }
}

#[tokio::test]
async fn bytes_come_in_chunks() {
    let source = synthetic(640, 360, 30, 4);
    let engine = SoftwareEngine::default();
    let mut renditions = engine.transcode(job(source.clone(), ladder_for(&source, "360:4M:av1")));
    let (mut chunks, mut bytes) = (0, 0);
    while let Some(event) = renditions.next().await {
        match event.expect("a rendition") {
            RenditionEvent::Chunk { data, .. } => (chunks, bytes) = (chunks + 1, bytes + data.len()),
            RenditionEvent::End { summary, .. } => assert_eq!(summary.bytes, bytes as u64),
        }
    }
    assert!(chunks > 2 && chunks <= bytes / CHUNK_BYTES + 1, "{chunks} chunks of {bytes} bytes");
}

/// Waits until the engine has no job any more.
async fn idle(engine: &SoftwareEngine) {
    let gone = async {
        while engine.jobs() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), gone).await.expect("its jobs end");
}

#[tokio::test]
async fn a_job_that_is_given_up_ends_wherever_it_is() {
    let source = synthetic(640, 360, 30, 4);
    let ladder = ladder_for(&source, "360:4M:av1,144:100k:av1");
    let engine = SoftwareEngine::default();
    drop(engine.transcode(job(source.clone(), ladder.clone())));
    idle(&engine).await;
    let mut begun = engine.transcode(job(source.clone(), ladder.clone()));
    assert!(begun.next().await.expect("a first event").is_ok());
    drop(begun);
    idle(&engine).await;
    for millis in [1, 50, 150, 300] {
        let mut late = job(source.clone(), ladder.clone());
        late.deadline = Instant::now() + Duration::from_millis(millis);
        let outcome = engine.transcode(late).collect_all().await;
        assert!(matches!(outcome, Ok(_) | Err(TranscodeError::DeadlineExceeded)), "{outcome:?}");
        idle(&engine).await;
    }
}

#[tokio::test]
async fn a_damaged_source_ends_in_an_error() {
    let source = synthetic(320, 180, 30, 2);
    let mut damaged = source.to_vec();
    for packet in damaged.chunks_exact_mut(188).skip(40).step_by(3) {
        packet[60..160].fill(0xa5);
    }
    let engine = SoftwareEngine::default();
    let ladder = ladder_for(&source, "144:100k:av1");
    let outcome = engine.transcode(job(damaged.into(), ladder)).collect_all().await;
    assert_eq!(outcome.expect_err("no rendition of damage").code(), "bad_media");
    idle(&engine).await;
}
