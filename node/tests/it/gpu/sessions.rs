//! Encoder sessions: kept open between segments, found by trying, never more than the device gives.

use framemill_transcoder::{Engine as _, Job, TranscodeError};

use super::rig::*;

#[tokio::test]
async fn sessions_stay_open_between_the_segments_of_a_stream() {
    let Some(mut rig) = Rig::new("") else { return };
    let engine = rig.engine(0).await;
    rig.count("open 0").await;
    for (sequence, source) in stream(6).iter().enumerate() {
        let job = Job { sequence: sequence as u64, ..job(source, 1) };
        let renditions = transcode(engine.as_ref(), job.clone()).await.unwrap();
        assert_faithful(&job, &renditions);
        let expected = if sequence == 0 { 3 } else { 0 };
        assert_eq!(rig.count("open 0").await, expected, "segment {sequence}");
    }
}

#[tokio::test]
async fn another_ladder_opens_them_anew() {
    let Some(mut rig) = Rig::new("") else { return };
    let engine = rig.engine(0).await;
    let source = segment();
    transcode(engine.as_ref(), job(&source, 1)).await.unwrap();
    rig.count("open 0").await;
    let changed = Job { ladder: ladder(&source, "180:300k,160:230k,144:200k"), ..job(&source, 1) };
    let renditions = transcode(engine.as_ref(), changed.clone()).await.unwrap();
    assert_faithful(&changed, &renditions);
    assert_eq!(rig.count("open 0").await, 1, "the rung with another bit rate, and no other");
}

#[tokio::test]
async fn a_cap_is_found_by_trying() {
    for switches in ["sessions=5", "sessions=5 session_key=1"] {
        let Some(rig) = Rig::new(switches) else { return };
        let engine = rig.engine(0).await;
        assert_eq!(engine.room().encoders, Some(5));
        assert_eq!(engine.capabilities().max_sessions, Some(5));
    }
}

#[tokio::test]
async fn idle_sessions_make_room_for_another_stream() {
    let Some(mut rig) = Rig::new("sessions=4") else { return };
    let engine = rig.engine(0).await;
    let source = segment();
    transcode(engine.as_ref(), job(&source, 1)).await.unwrap();
    rig.count("close 0").await;
    let other = job(&source, 2);
    let renditions = transcode(engine.as_ref(), other.clone()).await.unwrap();
    assert_faithful(&other, &renditions);
    assert_eq!(rig.count("close 0").await, 3, "those of the first stream");
}

#[tokio::test]
async fn a_ladder_with_more_rungs_than_sessions_goes_to_another_engine() {
    let Some(mut rig) = Rig::new("sessions=2") else { return };
    let engine = rig.engine(0).await;
    rig.count("encode 0").await;
    let job = job(&segment(), 1);
    let refused = transcode(engine.as_ref(), job.clone()).await.unwrap_err();
    assert!(
        matches!(&refused, TranscodeError::Gpu { gpu: 0, reason } if reason.contains("2 encoder sessions")),
        "{refused}"
    );
    let renditions = transcode(&backed(&engine), job.clone()).await.unwrap();
    assert_faithful(&job, &renditions);
    assert_eq!(rig.count("encode 0").await, 0);
}

#[tokio::test]
async fn sessions_that_others_have_taken_meanwhile_go_to_another_engine() {
    let Some(rig) = Rig::new("sessions=8") else { return };
    let engine = rig.engine(0).await;
    rig.set("sessions=1");
    let job = job(&segment(), 1);
    let refused = transcode(engine.as_ref(), job.clone()).await.unwrap_err();
    assert!(refused.to_string().contains("out of memory"), "{refused}");
    let renditions = transcode(&backed(&engine), job.clone()).await.unwrap();
    assert_faithful(&job, &renditions);
}

#[tokio::test]
async fn each_device_has_an_engine_and_a_process() {
    let Some(mut rig) = Rig::new("devices=2") else { return };
    let (first, second) = (rig.engine(0).await, rig.engine(1).await);
    assert_eq!((first.name(), second.name()), ("nvidia0", "nvidia1"));
    assert_ne!(first.process(), second.process());
    rig.count("open 1").await;
    let job = job(&segment(), 1);
    let renditions = transcode(second.as_ref(), job.clone()).await.unwrap();
    assert_faithful(&job, &renditions);
    assert_eq!(rig.count("encode 1").await, FRAMES * job.ladder.len());
}
