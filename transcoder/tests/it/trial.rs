//! Trials of a real engine: what it keeps up with, and that being late or failing shows.

use std::sync::Arc;
use std::time::Duration;

use framemill_network::Ladder;
use framemill_transcoder::{
    Capabilities, Engine, Job, Renditions, SoftwareConfig, SoftwareEngine, TrialClip, TrialError,
    most_streams, pace, sustain,
};

use crate::support::synthetic;

fn clip() -> TrialClip {
    let ladder: Ladder = "90:100k,72:60k".parse().expect("a ladder");
    TrialClip::from_bytes(synthetic(160, 90, 10, 4), &ladder).expect("a clip")
}

fn engine() -> Arc<dyn Engine> {
    Arc::new(SoftwareEngine::new(SoftwareConfig::default()))
}

/// An engine that nobody gets an answer from in time.
#[derive(Debug)]
struct Broken(Arc<dyn Engine>);

impl Engine for Broken {
    fn name(&self) -> &'static str {
        "broken"
    }

    fn capabilities(&self) -> &Capabilities {
        self.0.capabilities()
    }

    fn transcode(&self, job: Job) -> Renditions {
        self.0.transcode(Job { source: job.source.slice(..job.source.len() / 2), ..job })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_keeps_up_is_offered_more_streams() {
    let (engine, clip) = (engine(), clip());
    let paced = most_streams(&engine, &clip, 1, 2).await.expect("a small picture is no trouble");
    assert!(paced.holds());
    assert_eq!(paced.latencies.len(), 2 * paced.streams as usize);
    assert!(paced.quantile(500) <= paced.quantile(990));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_without_a_pause_is_counted_in_pixels() {
    let (engine, clip) = (engine(), clip());
    let sustained = sustain(&engine, &clip, 2, Duration::from_millis(1)).await.expect("an engine that works");
    // Each of both lanes makes the first segment at least: two seconds of both rungs.
    assert!(sustained.pixels >= 2 * 2 * clip.pixels_per_second(), "{sustained:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_that_come_to_nothing_are_late_and_no_stream_is_kept_up_with() {
    let broken: Arc<dyn Engine> = Arc::new(Broken(engine()));
    let paced = pace(&broken, &clip(), 1).await;
    assert_eq!((paced.late, paced.latencies.len(), paced.holds()), (2, 0, false));
    assert_eq!(most_streams(&broken, &clip(), 2, 9).await, None);
    assert!(sustain(&broken, &clip(), 1, Duration::from_secs(1)).await.is_err());
}

#[test]
fn what_is_no_media_is_no_clip() {
    let error = TrialClip::from_bytes(vec![7; 4_096].into(), &Ladder::default()).unwrap_err();
    assert!(matches!(error, TrialError::Media(_)), "{error}");
}
