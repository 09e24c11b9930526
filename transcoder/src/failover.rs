//! Several engines in a row: what one cannot do the next one does, in time, and once.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use framemill_network::ladder::Ladder;
use futures::StreamExt as _;
use tracing::warn;

use crate::{
    CHUNK_BYTES, Capabilities, Card, Engine, Job, RenditionEvent, RenditionSink, RenditionSummary,
    Renditions, Room, TranscodeError, capacity::MEASURE_SESSION, pipeline::media_codec,
};

/// An engine with others behind it. What it is and offers is that of the first.
///
/// A rendition is handed on when it is complete, so that one whose engine dies half way can be made anew by the next engine: nobody
/// sees bytes of both. Renditions that were complete are not made again. A job's deadline holds for all its engines together.
#[derive(Debug)]
pub struct Failover {
    first: Arc<dyn Engine>,
    others: Arc<[Arc<dyn Engine>]>,
}

impl Failover {
    /// `first`, and behind it `others` in their order.
    pub fn new(first: Arc<dyn Engine>, others: Vec<Arc<dyn Engine>>) -> Self {
        Self { first, others: others.into() }
    }
}

impl Engine for Failover {
    fn name(&self) -> &'static str {
        self.first.name()
    }

    fn capabilities(&self) -> &Capabilities {
        self.first.capabilities()
    }

    fn room(&self) -> Room {
        self.first.room()
    }

    fn card(&self) -> Option<Card> {
        self.first.card()
    }

    fn is_up(&self) -> bool {
        self.first.is_up()
    }

    fn transcode(&self, job: Job) -> Renditions {
        // A measurement is of the first engine, and of nothing that stands in for it.
        if self.others.is_empty() || job.session == MEASURE_SESSION {
            return self.first.transcode(job);
        }
        let (sink, renditions, _) = Renditions::channel(self.name(), job.deadline);
        let (first, others) = (Arc::clone(&self.first), Arc::clone(&self.others));
        tokio::spawn(async move {
            let outcome = tokio::select! {
                outcome = run(&first, &others, job, &sink) => outcome,
                () = sink.abandoned() => Err(TranscodeError::Cancelled),
            };
            sink.conclude(outcome).await;
        });
        renditions
    }
}

async fn run(
    first: &Arc<dyn Engine>,
    others: &[Arc<dyn Engine>],
    job: Job,
    sink: &RenditionSink,
) -> Result<(), TranscodeError> {
    let mut missing: Vec<u32> = (0..).take(job.ladder.len()).collect();
    let mut outcome = attempt(first.as_ref(), &job, &mut missing, sink).await;
    for engine in others.iter().filter(|engine| can_make(engine.as_ref(), &job.ladder)) {
        match &outcome {
            Err(error) if error.is_for_another_engine() => {
                warn!(sequence = job.sequence, %error, next = engine.name(), "segment goes to another engine");
            }
            _ => break,
        }
        outcome = attempt(engine.as_ref(), &job, &mut missing, sink).await;
    }
    outcome
}

fn can_make(engine: &dyn Engine, ladder: &Ladder) -> bool {
    let codecs = &engine.capabilities().codecs;
    engine.is_up() && ladder.iter().all(|entry| codecs.contains(&media_codec(entry.codec)))
}

/// Has an engine make what is missing. What it completes is handed on and missing no more.
async fn attempt(
    engine: &dyn Engine,
    job: &Job,
    missing: &mut Vec<u32>,
    sink: &RenditionSink,
) -> Result<(), TranscodeError> {
    let asked = missing.clone();
    let entries = asked.iter().filter_map(|&index| job.ladder.get(index).cloned()).collect();
    let ladder = Ladder::new(entries).expect("part of a ladder that is one");
    let mut parts = vec![BytesMut::new(); asked.len()];
    let mut renditions = engine.transcode(Job { ladder, ..job.clone() });
    let stray = || TranscodeError::EngineDied { engine: engine.name() };
    while let Some(event) = renditions.next().await {
        match event? {
            RenditionEvent::Chunk { index, data } => {
                parts.get_mut(index as usize).ok_or_else(stray)?.extend_from_slice(&data);
            }
            RenditionEvent::End { index, summary } => {
                let part = parts.get_mut(index as usize).ok_or_else(stray)?;
                let index = asked[index as usize];
                hand_on(index, std::mem::take(part).freeze(), summary, sink).await?;
                missing.retain(|&other| other != index);
            }
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(stray()) }
}

async fn hand_on(
    index: u32,
    mut data: Bytes,
    summary: RenditionSummary,
    sink: &RenditionSink,
) -> Result<(), TranscodeError> {
    while !data.is_empty() {
        let piece = data.split_to(data.len().min(CHUNK_BYTES));
        sink.deliver(RenditionEvent::Chunk { index, data: piece }).await?;
    }
    sink.deliver(RenditionEvent::End { index, summary }).await
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        sync::{Mutex, PoisonError},
        time::{Duration, Instant},
    };

    use framemill_media::VideoCodec;

    use super::*;
    use crate::{Rendition, SessionId};

    /// What an engine of these tests does with a job: makes this many renditions whole, then one by half, then ends so.
    type Script = (usize, Result<(), TranscodeError>);

    #[derive(Debug)]
    struct Scripted {
        name: &'static str,
        capabilities: Capabilities,
        scripts: Mutex<VecDeque<Script>>,
    }

    fn engine(name: &'static str, scripts: impl Into<VecDeque<Script>>) -> Arc<dyn Engine> {
        let capabilities =
            Capabilities { codecs: vec![VideoCodec::H264], device: name.to_owned(), max_sessions: None };
        Arc::new(Scripted { name, capabilities, scripts: Mutex::new(scripts.into()) })
    }

    impl Engine for Scripted {
        fn name(&self) -> &'static str {
            self.name
        }

        fn capabilities(&self) -> &Capabilities {
            &self.capabilities
        }

        fn transcode(&self, job: Job) -> Renditions {
            let (sink, renditions, _) = Renditions::channel(self.name, job.deadline);
            let mut scripts = self.scripts.lock().unwrap_or_else(PoisonError::into_inner);
            let (whole, outcome) = scripts.pop_front().expect("a script for each job");
            let name = self.name;
            tokio::spawn(async move {
                for (index, entry) in (0..).zip(&job.ladder) {
                    let data = Bytes::from(format!("{} by {name}", entry.name));
                    let summary = RenditionSummary { frames: 1, pixels: 1, bytes: data.len() as u64 };
                    if index as usize > whole || (index as usize == whole && outcome.is_ok()) {
                        break;
                    }
                    sink.deliver(RenditionEvent::Chunk { index, data }).await.expect("somebody listens");
                    if (index as usize) < whole {
                        sink.deliver(RenditionEvent::End { index, summary }).await.expect("somebody listens");
                    }
                }
                sink.conclude(outcome).await;
            });
            renditions
        }
    }

    async fn transcode(engines: Vec<Arc<dyn Engine>>) -> Result<Vec<String>, TranscodeError> {
        let mut engines = engines.into_iter();
        let failover = Failover::new(engines.next().expect("one at least"), engines.collect());
        let ladder = r#"[{"name":"a","width":640,"height":360,"bitrate":100000},
            {"name":"b","width":320,"height":180,"bitrate":100000},{"name":"c","width":160,"height":90,"bitrate":100000}]"#;
        let job = Job {
            session: SessionId::repeat_byte(1),
            sequence: 0,
            source: Bytes::new(),
            ladder: ladder.parse().expect("a ladder"),
            deadline: Instant::now() + Duration::from_secs(600),
        };
        let renditions = failover.transcode(job).collect_all().await?;
        let text = |Rendition { data, .. }| String::from_utf8(data.to_vec()).expect("text");
        Ok(renditions.into_iter().map(text).collect())
    }

    fn died() -> Result<(), TranscodeError> {
        Err(TranscodeError::WorkerDied { gpu: 0 })
    }

    #[tokio::test]
    async fn makes_anew_what_was_not_complete_and_nothing_else() {
        let made = transcode(vec![engine("x", [(1, died())]), engine("y", [(2, Ok(()))])]).await;
        assert_eq!(made, Ok(vec!["a by x".to_owned(), "b by y".to_owned(), "c by y".to_owned()]));
    }

    #[tokio::test]
    async fn goes_on_to_the_next_until_one_can() {
        let engines =
            vec![engine("x", [(0, died())]), engine("y", [(0, died())]), engine("z", [(3, Ok(()))])];
        let made = transcode(engines).await.expect("the last one can");
        assert!(made.iter().all(|text| text.ends_with("by z")), "{made:?}");
    }

    #[tokio::test]
    async fn tells_the_last_error_when_none_can() {
        let stuck = TranscodeError::Stalled { gpu: 1, waited: Duration::ZERO };
        let made = transcode(vec![engine("x", [(0, died())]), engine("y", [(0, Err(stuck.clone()))])]).await;
        assert_eq!(made, Err(stuck));
    }

    #[tokio::test]
    async fn bad_media_are_bad_for_every_engine() {
        let bad = TranscodeError::SourceRefused { reason: "no video".to_owned() };
        let made = transcode(vec![engine("x", [(0, Err(bad.clone()))]), engine("y", [])]).await;
        assert_eq!(made, Err(bad));
    }

    #[tokio::test]
    async fn an_engine_that_ends_before_it_is_done_has_failed() {
        let made = transcode(vec![engine("x", [(2, Ok(()))]), engine("y", [(1, Ok(()))])]).await;
        assert_eq!(made.expect("the second one can")[2], "c by y");
    }
}
