//! What goes wrong on a card goes wrong alone: the segment arrives from another engine, in time and once.

use std::{
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use framemill_transcoder::{Engine as _, Failover, Job, NvidiaConfig, NvidiaEngine, TranscodeError};

use super::rig::*;

/// The segment arrives although the device fails under these switches.
async fn survives(switches: &str) {
    let Some(rig) = Rig::new("") else { return };
    let engine = rig.engine(0).await;
    rig.set(switches);
    let job = job(&segment(), 1);
    let failed = transcode(engine.as_ref(), job.clone()).await.unwrap_err();
    assert!(matches!(failed, TranscodeError::Gpu { gpu: 0, .. }), "{failed:?}");
    let renditions = transcode(&backed(&engine), job.clone()).await.unwrap();
    assert_faithful(&job, &renditions);
}

#[tokio::test]
async fn an_encoder_that_fails_after_some_frames() {
    survives("encode_error_after=40").await;
}

#[tokio::test]
async fn a_decoder_that_fails_after_some_frames() {
    survives("decode_error_after=20").await;
}

#[tokio::test]
async fn a_device_without_memory() {
    survives("memory=1000000").await;
}

#[tokio::test]
async fn a_device_that_is_lost() {
    survives("lost=1").await;
}

#[tokio::test]
async fn a_device_that_stays_lost_is_promised_nothing_until_it_is_back() {
    let Some(rig) = Rig::new("") else { return };
    let engine = rig.engine(0).await;
    let before = engine.process();
    rig.set("lost=1");
    let source = segment();
    // The second failure in a row costs the process its life, and a new one does not find the device.
    while engine.is_up() {
        transcode(engine.as_ref(), job(&source, 1)).await.unwrap_err();
    }
    let down = transcode(engine.as_ref(), job(&source, 1)).await.unwrap_err();
    assert!(matches!(down, TranscodeError::GpuDown { gpu: 0, .. }), "{down:?}");
    rig.set("");
    engine.restarted(before).await;
    let job = job(&source, 1);
    let renditions = transcode(engine.as_ref(), job.clone()).await.unwrap();
    assert_faithful(&job, &renditions);
}

#[tokio::test]
async fn a_segment_goes_to_the_next_card_before_it_goes_to_the_cpu() {
    let Some(mut rig) = Rig::new("devices=2") else { return };
    let (first, second) = (rig.engine(0).await, rig.engine(1).await);
    rig.set("devices=2 lost.0=1");
    rig.count("open 1").await;
    let job = job(&segment(), 1);
    let renditions = transcode(&Failover::new(first, vec![second]), job.clone()).await.unwrap();
    assert_faithful(&job, &renditions);
    assert_eq!(rig.count("encode 1").await, FRAMES * job.ladder.len());
}

/// An engine that loses patience soon.
async fn impatient(rig: &Rig) -> Arc<NvidiaEngine> {
    let config = NvidiaConfig { patience: Duration::from_millis(500), ..rig.config(0) };
    Arc::new(NvidiaEngine::start(config).await.unwrap())
}

#[tokio::test]
async fn an_encoder_that_hangs_is_killed_and_started_again() {
    let Some(rig) = Rig::new("") else { return };
    let engine = impatient(&rig).await;
    let before = engine.process();
    rig.set("encode_hang_after=40");
    let job = job(&segment(), 1);
    let renditions = transcode(&backed(&engine), job.clone()).await.unwrap();
    assert_faithful(&job, &renditions);
    rig.set("");
    engine.restarted(before).await;
    assert_ne!(engine.process(), before);
    // Patience is short for a machine that is busy: whoever makes this one, it arrives.
    let renditions = transcode(&backed(&engine), job.clone()).await.unwrap();
    assert_faithful(&job, &renditions);
}

#[tokio::test]
async fn a_hung_decoder_tells_which_device_and_how_long() {
    let Some(rig) = Rig::new("decode_hang_after=10") else { return };
    let stalled = transcode(impatient(&rig).await.as_ref(), job(&segment(), 1)).await.unwrap_err();
    assert!(matches!(stalled, TranscodeError::Stalled { gpu: 0, .. }), "{stalled:?}");
    assert!(stalled.to_string().contains("no progress for 500 ms"), "{stalled}");
}

/// Sends a signal to an engine's process.
fn signal(name: &str, engine: &NvidiaEngine) {
    let process = engine.process().expect("a process").to_string();
    assert!(Command::new("kill").args(["-s", name, &process]).status().unwrap().success());
}

#[tokio::test]
async fn a_process_that_is_killed_in_mid_segment() {
    let Some(mut rig) = Rig::new("encode_hang_after=60") else { return };
    let engine = rig.engine(0).await;
    let before = engine.process();
    let job = job(&segment(), 1);
    let work = tokio::spawn({
        let (engine, job) = (backed(&engine), job.clone());
        async move { transcode(&engine, job).await }
    });
    rig.wait_for("encode 0", 61).await;
    signal("KILL", &engine);
    assert_faithful(&job, &work.await.unwrap().unwrap());
    engine.restarted(before).await;
}

#[tokio::test]
async fn a_process_that_is_stopped_in_mid_segment() {
    let Some(mut rig) = Rig::new("encode_delay_us=5000") else { return };
    let engine = impatient(&rig).await;
    let before = engine.process();
    let job = job(&segment(), 1);
    let work = tokio::spawn({
        let (engine, job) = (backed(&engine), job.clone());
        async move { transcode(&engine, job).await }
    });
    rig.wait_for("encode 0", 20).await;
    signal("STOP", &engine);
    assert_faithful(&job, &work.await.unwrap().unwrap());
    engine.restarted(before).await;
}

#[tokio::test]
async fn signals_that_a_whole_service_gets_cut_off_no_segment() {
    let Some(mut rig) = Rig::new("encode_delay_us=5000") else { return };
    let engine = rig.engine(0).await;
    rig.count("encode 0").await;
    let before = engine.process();
    let job = job(&segment(), 1);
    let work = tokio::spawn({
        let (engine, job) = (Arc::clone(&engine), job.clone());
        async move { transcode(engine.as_ref(), job).await }
    });
    rig.wait_for("encode 0", 20).await;
    for name in ["HUP", "INT", "TERM"] {
        signal(name, &engine);
    }
    assert_faithful(&job, &work.await.unwrap().unwrap());
    assert_eq!(engine.process(), before);
}

#[tokio::test]
async fn a_slow_device_that_goes_on_is_left_alone() {
    let Some(mut rig) = Rig::new("encode_delay_us=10000") else { return };
    let engine = rig.engine(0).await;
    rig.count("encode 0").await;
    let job = job(&segment(), 1);
    let renditions = transcode(&backed(&engine), job.clone()).await.unwrap();
    assert_faithful(&job, &renditions);
    assert_eq!(rig.count("encode 0").await, FRAMES * job.ladder.len());
}

#[tokio::test]
async fn a_device_that_is_too_slow_for_the_deadline_leaves_half_of_the_time() {
    let Some(rig) = Rig::new("encode_delay_us=5000000") else { return };
    let engine = rig.engine(0).await;
    let job = Job { deadline: Instant::now() + Duration::from_secs(40), ..job(&segment(), 1) };
    let renditions = transcode(&backed(&engine), job.clone()).await.unwrap();
    assert_faithful(&job, &renditions);
}

#[tokio::test]
async fn a_driver_that_is_too_old_says_so() {
    let Some(rig) = Rig::new("nvenc=0xa0") else { return };
    let refused = NvidiaEngine::start(rig.config(0)).await.unwrap_err().to_string();
    assert!(refused.contains("does not support the required nvenc API version"), "{refused}");
    assert!(
        refused.contains("Found: 10.0") && refused.contains("minimum required Nvidia driver"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_device_that_is_not_there_is_named() {
    let Some(rig) = Rig::new("") else { return };
    let refused = NvidiaEngine::start(rig.config(3)).await.unwrap_err().to_string();
    assert!(refused.contains("the driver has 1 devices and none with index 3"), "{refused}");
}

#[tokio::test]
async fn a_program_that_is_no_worker_is_told_apart() {
    let Some(rig) = Rig::new("") else { return };
    let mut config = rig.config(0);
    config.worker.arguments = vec!["--version".into()];
    let refused = NvidiaEngine::start(config).await.unwrap_err().to_string();
    assert!(refused.contains("its process"), "{refused}");
}
