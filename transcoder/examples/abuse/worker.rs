//! The process that media is tried on.

use std::{
    fs,
    io::{self, Cursor},
    path::PathBuf,
    time::{Duration, Instant},
};

use bytes::Bytes;
use framemill_media::{MediaError, MediaLimits, Segmenter, SegmenterConfig, probe, segment_info};
use framemill_network::Ladder;
use framemill_transcoder::{Engine, Job, Rendition, SessionId, SoftwareEngine, TranscodeError};

use super::case::Case;
use crate::process::serve;

/// What each step may take by default: far more than the longest clip needs on a slow machine that does nothing else.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Two rungs.
const LADDER: &str = r#"[{"name":"a","width":128,"height":72,"bitrate":80000},
    {"name":"b","width":64,"height":36,"bitrate":30000}]"#;

/// What came of one case.
pub(crate) struct Answer {
    /// The most memory that was resident.
    pub(crate) peak_kib: u64,
    /// How long all steps took together.
    pub(crate) millis: u64,
    /// What came of each step.
    pub(crate) outcome: String,
    /// What is wrong with that; empty where nothing is.
    pub(crate) flaw: String,
}

impl Answer {
    fn line(&self) -> String {
        let Self { peak_kib, millis, outcome, flaw } = self;
        format!("{peak_kib}\t{millis}\t{outcome}\t{}", flaw.replace(['\t', '\n'], " "))
    }

    /// What [`Answer::line`] has written.
    pub(crate) fn parse(line: &str) -> Result<Self, String> {
        let unreadable = || format!("answered {line}");
        let [peak, millis, outcome, flaw] = line.split('\t').collect::<Vec<_>>()[..] else {
            return Err(unreadable());
        };
        let number = |text: &str| text.parse().map_err(|_| unreadable());
        let (outcome, flaw) = (outcome.to_owned(), flaw.to_owned());
        Ok(Self { peak_kib: number(peak)?, millis: number(millis)?, outcome, flaw })
    }
}

/// The line that asks for a case.
pub(crate) fn question(case: &Case) -> String {
    format!("{}\t{}", case.damage, case.clip.display())
}

fn parse(question: &str) -> Result<Case, String> {
    let (damage, clip) = question.split_once('\t').ok_or_else(|| format!("{question} is no case"))?;
    Ok(Case { clip: PathBuf::from(clip), damage: damage.parse()? })
}

/// Tries the cases that it is asked for, with this deadline for each step.
pub(crate) fn work(deadline: Duration) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let engine = SoftwareEngine::default();
    serve(|question| {
        let case = parse(question).map_err(io::Error::other)?;
        let source: Bytes = case.damage.apply(&fs::read(&case.clip)?).into();
        // Writing 5 sets the peak back to what is resident.
        fs::write("/proc/self/clear_refs", "5")?;
        let started = Instant::now();
        let (outcome, flaw) = runtime.block_on(examine(&engine, &source, deadline));
        let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(Answer { peak_kib: peak_kib()?, millis, outcome, flaw: flaw.unwrap_or_default() }.line())
    })
}

fn peak_kib() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| io::Error::other("/proc/self/status does not tell the peak"))
}

/// What came of each step, and the first thing wrong with that.
async fn examine(engine: &SoftwareEngine, source: &Bytes, deadline: Duration) -> (String, Option<String>) {
    let limits = || MediaLimits::segment().with_deadline(Instant::now() + deadline);
    let probed = probe(source, &limits());
    let config = SegmenterConfig::default;
    let (_, arrived) = cut(Segmenter::open(Cursor::new(source.clone()), config(), &limits()));
    let (segments, cut) = cut(Segmenter::from_bytes(source.clone(), config(), &limits()));
    let steps = [probed.as_ref().err(), arrived.as_ref().err(), cut.as_ref().err()];
    let mut flaws: Vec<_> = steps.into_iter().map(flaw_of_media).collect();
    let mut transcoded = Vec::new();
    for source in std::iter::once(source).chain(segments.first()) {
        let made = transcode(engine, source.clone(), deadline).await;
        flaws.push(flaw(&made));
        transcoded.push(made.map_or_else(|error| error.code(), |_| "whole"));
    }
    let code = |error: &MediaError| error.code();
    let probed = probed.as_ref().map_or_else(code, |_| "known");
    let [arrived, cut] = [arrived, cut].map(|cut| cut.as_ref().map_or_else(code, |()| "cut"));
    let outcome =
        format!("{probed}, stream {arrived}, {cut} into {}, {}", segments.len(), transcoded.join(", "));
    (outcome, flaws.into_iter().flatten().next())
}

/// The segments, and how it ended.
fn cut(segmenter: Result<Segmenter, MediaError>) -> (Vec<Bytes>, Result<(), MediaError>) {
    let mut segments = Vec::new();
    let outcome = segmenter.and_then(|mut segmenter| {
        while let Some(segment) = segmenter.next_segment()? {
            segments.push(segment.data);
        }
        Ok(())
    });
    (segments, outcome)
}

async fn transcode(
    engine: &SoftwareEngine,
    source: Bytes,
    deadline: Duration,
) -> Result<Vec<Rendition>, TranscodeError> {
    let ladder: Ladder = LADDER.parse().expect("a ladder of two rungs");
    let deadline = Instant::now() + deadline;
    engine
        .transcode(Job { session: SessionId::ZERO, sequence: 0, source, ladder, deadline })
        .collect_all()
        .await
}

/// Bad media is to be called that. A deadline that passes would be an end in time as well, but no clip here needs so long.
fn flaw_of_media(error: Option<&MediaError>) -> Option<String> {
    error.filter(|error| !error.is_bad_media()).map(|error| format!("not blamed on the media: {error}"))
}

fn flaw(made: &Result<Vec<Rendition>, TranscodeError>) -> Option<String> {
    match made {
        Ok(renditions) => renditions.iter().find_map(flaw_of_rendition),
        Err(error) if error.code() == "bad_media" => None,
        Err(error) => Some(format!("not blamed on the media: {error}")),
    }
}

/// A rendition must hold what it is said to.
fn flaw_of_rendition(rendition: &Rendition) -> Option<String> {
    let info = match segment_info(&rendition.data, &MediaLimits::segment()) {
        Ok(info) => info,
        Err(error) => return Some(format!("a rendition is not readable: {error}")),
    };
    let frames = info.video.map_or(0, |video| video.frames() as u64);
    let told = rendition.summary.frames;
    (frames != told).then(|| format!("a rendition of {told} frames has {frames}"))
}
