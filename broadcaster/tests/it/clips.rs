//! Real clips of the field through the whole way.

use std::fs::File;
use std::path::PathBuf;

use framemill_broadcaster::{Pace, StreamConfig, StreamError, StreamEvent, StreamSummary};
use framemill_media::MediaError;
use framemill_network::Ladder;
use futures::StreamExt;

use crate::support::{Act, Peer, Rig, stream_config};

/// Where the clips lie; `None` where they are not installed.
fn folder() -> Option<PathBuf> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/media");
    let folder = std::env::var_os("FRAMEMILL_MEDIA").map_or_else(beside, PathBuf::from);
    folder.is_dir().then_some(folder)
}

async fn play(name: &str) -> Option<Result<StreamSummary, StreamError>> {
    let Some(folder) = folder() else {
        println!("skipped: no clips; set FRAMEMILL_MEDIA to their folder");
        return None;
    };
    let peer = Peer::start(Act::Honest).await;
    let rig = Rig::new(&[&peer]).await;
    // Rates as people use them: a starved encode may rightly be refused.
    let ladder = Ladder::default().entries()[1..].to_vec();
    let config = StreamConfig { ladder: Ladder::new(ladder).unwrap(), ..stream_config("clip") };
    let stream = rig.broadcaster.stream(config).unwrap();
    let mut events = stream.events();
    let pushed = stream.push_file(File::open(folder.join(name)).unwrap(), Pace::Fast).await;
    let summary = stream.finish().await;
    while let Some(event) = events.next().await {
        if let StreamEvent::Segment(report) = &event
            && let Some(reason) = &report.lost
        {
            println!("segment {} of {name} was lost: {reason}", report.sequence);
        }
        if matches!(event, StreamEvent::Ended(_)) {
            break;
        }
    }
    Some(pushed.map(|_| summary))
}

async fn plays_whole(name: &str) {
    let Some(result) = play(name).await else { return };
    let summary = result.unwrap();
    assert!(summary.totals.published > 0, "{name}: {summary:?}");
    assert_eq!(summary.totals.lost, 0, "{name}: {summary:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_mp4_of_1080p60_without_sound_plays() {
    plays_whole("kitchen-1080p60-2s.mp4").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_flv_of_a_webcam_plays() {
    plays_whole("desk-360p-aac.flv").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_of_a_live_stream_plays() {
    plays_whole("car-720p-segment-1.ts").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_4_2_2_plays() {
    plays_whole("dark-720p-422.ts").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_without_dts_plays() {
    plays_whole("bad-missing-dts.ts").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_with_duplicate_audio_dts_plays() {
    plays_whole("bad-duplicate-audio-dts.ts").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_without_a_frame_is_a_clear_error() {
    let Some(result) = play("bad-zero-frame.ts").await else { return };
    let error = result.unwrap_err();
    assert!(matches!(error, StreamError::Media(MediaError::NoFrames | MediaError::NoVideo)), "{error:?}");
}
