//! What the engine makes of good sources.

use bytes::Bytes;
use framemill_media::{MediaLimits, VideoCodec, segment_info};
use framemill_transcoder::{Engine as _, Job, SoftwareEngine, TranscodeError};

use super::rig::*;

#[tokio::test]
async fn makes_a_ladder_on_the_device_alone() {
    let Some(mut rig) = Rig::new("") else { return };
    let engine = rig.engine(0).await;
    rig.count("open 0").await;
    let job = job(&segment(), 1);
    let renditions = transcode(engine.as_ref(), job.clone()).await.unwrap();
    assert_every_picture(&job, &renditions);
    assert_eq!(rig.count("encode 0").await, FRAMES * job.ladder.len(), "every picture was encoded there");
}

#[tokio::test]
async fn renditions_say_what_the_engine_can_do() {
    let Some(rig) = Rig::new("") else { return };
    let engine = rig.engine(0).await;
    let capabilities = engine.capabilities();
    assert_eq!(capabilities.codecs, [VideoCodec::H264, VideoCodec::Hevc]);
    assert!(capabilities.device.contains("simulator"), "{capabilities:?}");
    assert_eq!(engine.room().encoders, None, "no cap on this device");
}

#[tokio::test]
async fn makes_hevc_of_hevc() {
    let Some(rig) = Rig::new("") else { return };
    let engine = rig.engine(0).await;
    let hevc = Job { ladder: ladder(&segment(), "180:300k:hevc"), ..job(&segment(), 1) };
    let renditions = transcode(engine.as_ref(), hevc.clone()).await.unwrap();
    assert_faithful(&hevc, &renditions);
    let info = segment_info(&renditions[0].data, &MediaLimits::default()).unwrap();
    assert_eq!(info.require_video().unwrap().codec, VideoCodec::Hevc);
    let again = Job { ladder: ladder(&renditions[0].data, "144:200k"), ..job(&renditions[0].data, 2) };
    let renditions = transcode(engine.as_ref(), again.clone()).await.unwrap();
    assert_faithful(&again, &renditions);
}

#[tokio::test]
async fn segments_join_with_those_of_the_cpu() {
    let Some(rig) = Rig::new("") else { return };
    let (card, cpu) = (rig.engine(0).await, SoftwareEngine::default());
    let segments = stream(8);
    assert!(segments.len() >= 4, "{} segments", segments.len());
    let (mut joined, mut expected) = (Vec::new(), Vec::new());
    for (sequence, source) in segments.iter().enumerate() {
        let job = Job { sequence: sequence as u64, ladder: ladder(source, "180:300k"), ..job(source, 1) };
        let engine: &dyn framemill_transcoder::Engine = if sequence % 3 == 2 { &cpu } else { card.as_ref() };
        let renditions = transcode(engine, job.clone()).await.unwrap();
        assert_faithful(&job, &renditions);
        joined.extend_from_slice(&renditions[0].data);
        expected.extend(
            segment_info(source, &MediaLimits::default()).unwrap().require_video().unwrap().pts.clone(),
        );
    }
    let info = segment_info(&Bytes::from(joined), &MediaLimits::default()).unwrap();
    assert_eq!(info.require_video().unwrap().pts, expected);
}

#[tokio::test]
async fn leaves_out_frames_where_a_rung_asks_for_fewer() {
    let Some(rig) = Rig::new("") else { return };
    let engine = rig.engine(0).await;
    let source = segment();
    let job = Job { ladder: ladder(&source, "144p15:150k"), ..job(&source, 1) };
    let renditions = transcode(engine.as_ref(), job).await.unwrap();
    let times =
        |data| segment_info(data, &MediaLimits::default()).unwrap().require_video().unwrap().pts.clone();
    let every_second: Vec<_> = times(&source).into_iter().step_by(2).collect();
    assert_eq!(times(&renditions[0].data), every_second);
}

/// A source that FFmpeg's command makes; `None`, after a line that says so, where it cannot.
fn coded(encoder: &[&str]) -> Option<Bytes> {
    let picture = "testsrc2=size=320x180:rate=30:duration=2";
    let made = std::process::Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-f", "lavfi", "-i", picture])
        .args(encoder)
        .args(["-f", "mpegts", "-"])
        .output();
    match made {
        Ok(made) if made.status.success() => Some(made.stdout.into()),
        other => {
            eprintln!("skipped: the ffmpeg command makes no such source: {other:?}");
            None
        }
    }
}

/// Makes the ladder of a source by the card with the CPU behind it; returns the frames that the card encoded.
async fn encoded_by_the_card(rig: &mut Rig, source: &Bytes) -> usize {
    let engine = rig.engine(0).await;
    rig.count("encode 0").await;
    let job = job(source, 1);
    let renditions = transcode(&backed(&engine), job.clone()).await.unwrap();
    assert_faithful(&job, &renditions);
    rig.count("encode 0").await
}

#[tokio::test]
async fn hevc_of_ten_bits_is_made_by_the_card() {
    let Some(mut rig) = Rig::new("") else { return };
    let ten_bits = ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none", "-pix_fmt"];
    let Some(source) = coded(&[&ten_bits[..], &["yuv420p10le"]].concat()) else { return };
    assert_eq!(encoded_by_the_card(&mut rig, &source).await, FRAMES * 3, "each picture, once");
}

#[tokio::test]
async fn pictures_that_the_card_does_not_decode_are_made_by_the_cpu() {
    for encoder in [
        &["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv422p"][..],
        &["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p10le"],
        &[
            "-c:v",
            "libx265",
            "-preset",
            "ultrafast",
            "-x265-params",
            "log-level=none",
            "-pix_fmt",
            "yuv422p10le",
        ],
    ] {
        let Some(mut rig) = Rig::new("") else { return };
        let Some(source) = coded(encoder) else { return };
        assert_eq!(encoded_by_the_card(&mut rig, &source).await, 0, "{encoder:?}");
    }
}

#[tokio::test]
async fn what_is_no_video_is_the_sources_fault() {
    let Some(rig) = Rig::new("") else { return };
    let engine = backed(&rig.engine(0).await);
    let job = Job { source: Bytes::from_static(&[0x47; 4096]), ..job(&segment(), 1) };
    let refused = transcode(&engine, job).await.unwrap_err();
    assert!(matches!(refused, TranscodeError::SourceRefused { .. }), "{refused:?}");
    assert_eq!(refused.code(), "bad_media");
}

#[tokio::test]
async fn a_dropped_job_is_cancelled_in_the_process() {
    let Some(mut rig) = Rig::new("encode_hang_after=30") else { return };
    let engine = rig.engine(0).await;
    let job = job(&segment(), 1);
    let renditions = engine.transcode(job.clone());
    rig.wait_for("encode 0", 31).await;
    drop(renditions);
    rig.set("");
    // The stream's next job gets its turn only when the first one is gone.
    let renditions = transcode(engine.as_ref(), job.clone()).await.unwrap();
    assert_faithful(&job, &renditions);
}
