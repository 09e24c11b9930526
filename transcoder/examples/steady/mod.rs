//! A long stream at fast forward through one engine, and what the process holds meanwhile.

use std::{
    error::Error,
    fs, io,
    time::{Duration, Instant},
};

use bytes::Bytes;
use framemill_media::{
    ClipSpec, Demuxer, MediaLimits, Muxer, OutputFormat, Packet, Rational, Segmenter, SegmenterConfig,
    TICKS_PER_SECOND, Ticks, generate_clip, segment_info,
    time::{WRAP, wrapped},
};
use framemill_network::Ladder;
use framemill_transcoder::{Engine, Job, SessionId, SoftwareEngine};

/// Length of a segment in seconds.
pub(crate) const SEGMENT_SECONDS: u32 = 2;
/// Frames of a segment.
const FRAMES: usize = 20;
/// Far beyond what a segment takes on any machine.
const DEADLINE: Duration = Duration::from_secs(300);
/// Two rungs.
const LADDER: &str = r#"[{"name":"a","width":96,"height":72,"bitrate":60000},
    {"name":"b","width":64,"height":48,"bitrate":30000}]"#;

/// What a process holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    /// Resident memory in KiB.
    pub(crate) memory: u64,
    /// Open file descriptors.
    pub(crate) files: u64,
    /// Threads.
    pub(crate) threads: u64,
}

impl Held {
    /// What this process holds now.
    ///
    /// # Errors
    /// Where the system does not tell.
    pub(crate) fn now() -> io::Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        let untold = || io::Error::other("/proc/self/status lacks a line");
        Ok(Self {
            memory: field("VmRSS:").ok_or_else(untold)?,
            files: fs::read_dir("/proc/self/fd")?.count() as u64,
            threads: field("Threads:").ok_or_else(untold)?,
        })
    }

    /// What a span of time held that both moments are of: the most memory, but the fewest files and threads. What is left
    /// behind is held from then on, while a job's last thread may still be ending when its output is there.
    pub(crate) fn over(span: Option<Self>, now: Self) -> Option<Self> {
        let span = span.unwrap_or(now);
        Some(Self {
            memory: span.memory.max(now.memory),
            files: span.files.min(now.files),
            threads: span.threads.min(now.threads),
        })
    }
}

/// One segment of a stream, to be played again and again on a clock that goes on.
struct Reel {
    demuxed: Vec<Vec<Packet>>,
    builder: Demuxer,
    start: Ticks,
}

impl Reel {
    fn new() -> Result<Self, Box<dyn Error>> {
        let limits = MediaLimits::default();
        let rate = Rational::new(10, 1);
        let spec = ClipSpec { bitrate: 100_000, gop: 20, ..ClipSpec::new(128, 96, rate, SEGMENT_SECONDS) };
        let clip = generate_clip(&spec, &limits)?;
        let mut segments = Segmenter::from_bytes(clip, SegmenterConfig::default(), &limits)?;
        let segment = segments.next_segment()?.ok_or("the clip is empty")?;
        let mut demuxer = Demuxer::from_bytes(segment.data, &limits)?;
        let mut demuxed = vec![Vec::new(); demuxer.probe().streams];
        while let Some(packet) = demuxer.next_packet()? {
            demuxed[packet.stream()].push(packet);
        }
        Ok(Self { demuxed, builder: demuxer, start: segment.start_pts })
    }

    /// The segment as it is when it starts at this time.
    fn at(&self, start: Ticks) -> Result<Bytes, Box<dyn Error>> {
        let shift = start - self.start;
        let mut muxer = Muxer::builder(OutputFormat::MpegTs);
        for stream in 0..self.demuxed.len() {
            muxer.add_stream(&self.builder.parameters(stream).ok_or("a stream has no parameters")?)?;
        }
        let mut muxer = muxer.start()?;
        for (stream, packets) in self.demuxed.iter().enumerate() {
            for packet in packets {
                let mut packet = packet.clone();
                let (pts, dts) = (packet.pts().ok_or("no time")?, packet.dts().ok_or("no time")?);
                packet.set_pts(pts + shift);
                packet.set_dts(dts + shift);
                muxer.write(stream, &packet)?;
            }
        }
        Ok(muxer.finish()?)
    }
}

/// Passes so many segments through one engine; `after` sees what the process holds after each. The clock wraps half way.
///
/// # Errors
/// When a segment fails, or a rendition lacks a frame or has one at another time.
pub(crate) async fn run(segments: u32, mut after: impl FnMut(u32, Held)) -> Result<(), Box<dyn Error>> {
    let engine = SoftwareEngine::default();
    let reel = Reel::new()?;
    let ladder: Ladder = LADDER.parse()?;
    let length = Ticks::from(SEGMENT_SECONDS) * TICKS_PER_SECOND;
    let begin = WRAP - length * Ticks::from(segments / 2);
    for sequence in 0..segments {
        let start = begin + length * Ticks::from(sequence);
        let job = Job {
            session: SessionId::ZERO,
            sequence: sequence.into(),
            source: reel.at(start)?,
            ladder: ladder.clone(),
            deadline: Instant::now() + DEADLINE,
        };
        let renditions = engine.transcode(job).collect_all().await?;
        if renditions.len() != ladder.len() {
            return Err(format!("segment {sequence} has {} renditions", renditions.len()).into());
        }
        for rendition in renditions {
            check(&rendition.data, start).map_err(|error| format!("segment {sequence}: {error}"))?;
        }
        after(sequence, Held::now()?);
    }
    Ok(())
}

/// Every frame must be there, at its time.
fn check(rendition: &Bytes, start: Ticks) -> Result<(), Box<dyn Error>> {
    let info = segment_info(rendition, &MediaLimits::segment())?;
    let step = TICKS_PER_SECOND * Ticks::from(SEGMENT_SECONDS) / FRAMES as Ticks;
    let wanted = (0..FRAMES as Ticks).map(|frame| wrapped(start + frame * step));
    let found = info.require_video()?.pts.iter().copied().map(wrapped);
    if !found.clone().eq(wanted) {
        return Err(format!("frames at {:?}", found.collect::<Vec<_>>()).into());
    }
    Ok(())
}
