//! The load test's echo: an engine that encodes nothing and returns what was prepared for a source by its hash.
//!
//! It exists so that everything but the encode can be loaded for real. It is reachable as `framemill load echo` alone, and names
//! itself `echo` to its orchestrator, in logs and in its title.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use alloy_primitives::B256;
use bytes::Bytes;
use framemill_media::VideoCodec;
use framemill_transcoder::{
    CHUNK_BYTES, Capabilities, Capacity, Daemon, DaemonConfig, Engine, Job, RenditionEvent, RenditionSink,
    RenditionSummary, Renditions, TranscodeError,
};

use super::prepared::{Prepared, Rendition, Segment, hash};
use crate::cli::EchoArgs;
use crate::commands::transcoder;
use crate::config::Config;

/// What it is called to its orchestrator and in every log line.
const NAME: &str = "echo";
/// An echo is as fast as its wire: what it offers must not be what limits a load test.
const CAPACITY: Capacity = Capacity { pixels_per_second: 1 << 48, max_sessions: 1 << 20 };

/// Runs an echo until it is asked to stop.
pub(super) async fn run(config: &Config, args: &EchoArgs) -> anyhow::Result<()> {
    tracing::warn!("this is a load test's echo: it returns prepared renditions and encodes nothing");
    let engine = EchoEngine::new(Prepared::load(&args.media)?, Duration::from_millis(args.echo_ms));
    let make = async move |offer: DaemonConfig| {
        let offer = DaemonConfig { max_sessions: CAPACITY.max_sessions, name: NAME.to_owned(), ..offer };
        Ok(Daemon::offering(offer, vec![(Arc::new(engine) as Arc<dyn Engine>, CAPACITY)])?)
    };
    transcoder::serve(config, "Load test echo: encodes nothing", make, None).await
}

/// Returns prepared renditions, evenly over a given time.
#[derive(Debug)]
pub(super) struct EchoEngine {
    library: Arc<Library>,
    takes: Duration,
    capabilities: Capabilities,
}

#[derive(Debug)]
struct Library {
    prepared: Prepared,
    by_hash: HashMap<B256, usize>,
}

impl EchoEngine {
    pub(super) fn new(prepared: Prepared, takes: Duration) -> Self {
        let by_hash =
            prepared.segments.iter().enumerate().map(|(at, segment)| (segment.sha256, at)).collect();
        let capabilities = Capabilities {
            codecs: vec![VideoCodec::H264, VideoCodec::Hevc],
            device: "prepared renditions, no encoder".to_owned(),
            max_sessions: None,
        };
        Self { library: Arc::new(Library { prepared, by_hash }), takes, capabilities }
    }
}

impl Engine for EchoEngine {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn transcode(&self, job: Job) -> Renditions {
        let (sink, renditions, _) = Renditions::channel(NAME, job.deadline);
        let (library, takes) = (Arc::clone(&self.library), self.takes);
        tokio::task::spawn_blocking(move || {
            let outcome = library.find(&job).and_then(|found| deliver(found, takes, &sink));
            sink.finish(outcome);
        });
        renditions
    }
}

impl Library {
    /// The renditions that a job asks for, by their index in its ladder.
    fn find(&self, job: &Job) -> Result<Vec<(u32, &Rendition)>, TranscodeError> {
        let segment = self.by_hash.get(&hash(&job.source)).map(|at| &self.prepared.segments[*at]);
        let segment = segment.ok_or_else(|| unknown("the source"))?;
        (0..).zip(&job.ladder).map(|(index, entry)| Ok((index, self.rung(segment, entry)?))).collect()
    }

    fn rung<'a>(
        &self,
        segment: &'a Segment,
        entry: &framemill_network::LadderEntry,
    ) -> Result<&'a Rendition, TranscodeError> {
        let known = self.prepared.ladder.iter().position(|prepared| prepared == entry);
        known.and_then(|at| segment.renditions.get(at)).ok_or_else(|| unknown(&entry.name))
    }
}

fn unknown(what: &str) -> TranscodeError {
    let reason = "an echo returns what was prepared for it and nothing else; this is a load test".to_owned();
    TranscodeError::Unsupported { rendition: what.to_owned(), reason }
}

/// Sends the renditions side by side, as an encoder would.
fn deliver(
    renditions: Vec<(u32, &Rendition)>,
    takes: Duration,
    sink: &RenditionSink,
) -> Result<(), TranscodeError> {
    let begun = Instant::now();
    let rounds = renditions.iter().map(|(_, one)| one.data.len().div_ceil(CHUNK_BYTES)).max().unwrap_or(0);
    for round in 0..rounds {
        let due = takes * u32::try_from(round + 1).unwrap_or(u32::MAX) / u32::try_from(rounds).unwrap_or(1);
        thread::sleep(due.saturating_sub(begun.elapsed()));
        for (index, rendition) in &renditions {
            if let Some(data) = chunk(&rendition.data, round) {
                sink.send(RenditionEvent::Chunk { index: *index, data })?;
            }
        }
    }
    renditions.iter().try_for_each(|(index, rendition)| {
        let bytes = rendition.data.len() as u64;
        let summary = RenditionSummary { frames: rendition.frames, pixels: rendition.pixels, bytes };
        sink.send(RenditionEvent::End { index: *index, summary })
    })
}

fn chunk(data: &Bytes, round: usize) -> Option<Bytes> {
    let start = round * CHUNK_BYTES;
    (start < data.len()).then(|| data.slice(start..data.len().min(start + CHUNK_BYTES)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

    use framemill_network::Ladder;
    use framemill_transcoder::SessionId;

    use super::super::prepared::tiny;
    use super::*;

    fn job(source: &Bytes, ladder: Ladder) -> Job {
        let deadline = Instant::now() + Duration::from_secs(60);
        Job { session: SessionId::ZERO, sequence: 1, source: source.clone(), ladder, deadline }
    }

    #[tokio::test]
    async fn returns_exactly_what_was_prepared_for_the_source() {
        let prepared = tiny(3);
        let engine = EchoEngine::new(prepared.clone(), Duration::ZERO);
        for segment in &prepared.segments {
            let made =
                engine.transcode(job(&segment.data, prepared.ladder.clone())).collect_all().await.unwrap();
            let pairs = made.iter().zip(&segment.renditions);
            assert!(pairs.clone().all(|(made, wanted)| made.data == wanted.data));
            assert!(pairs.clone().all(|(made, wanted)| made.summary.pixels == wanted.pixels));
            assert_eq!(made.len(), segment.renditions.len());
        }
    }

    #[tokio::test]
    async fn returns_the_rungs_that_a_job_asks_for() {
        let prepared = tiny(1);
        let second = Ladder::new(vec![prepared.ladder.get(1).unwrap().clone()]).unwrap();
        let engine = EchoEngine::new(prepared.clone(), Duration::from_millis(1));
        let made = engine.transcode(job(&prepared.segments[0].data, second)).collect_all().await.unwrap();
        assert_eq!(made.len(), 1);
        assert_eq!(made[0].data, prepared.segments[0].renditions[1].data);
    }

    #[tokio::test]
    async fn refuses_a_source_that_was_not_prepared() {
        let prepared = tiny(1);
        let engine = EchoEngine::new(prepared.clone(), Duration::ZERO);
        let unknown = job(&Bytes::from_static(b"another"), prepared.ladder.clone());
        let refused = engine.transcode(unknown).collect_all().await;
        assert!(matches!(refused, Err(TranscodeError::Unsupported { .. })), "{refused:?}");
    }

    #[tokio::test]
    async fn refuses_a_rendition_that_was_not_prepared() {
        let prepared = tiny(1);
        let engine = EchoEngine::new(prepared.clone(), Duration::ZERO);
        let other: Ladder = r#"[{"name":"a","width":64,"height":36,"bitrate":90000}]"#.parse().unwrap();
        let refused = engine.transcode(job(&prepared.segments[0].data, other)).collect_all().await;
        assert!(matches!(refused, Err(TranscodeError::Unsupported { .. })), "{refused:?}");
    }
}
