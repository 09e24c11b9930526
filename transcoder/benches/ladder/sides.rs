//! The two sides, each in a process of its own.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use bytes::Bytes;
use framemill_media::{MediaLimits, Segmenter, SegmenterConfig};
use framemill_network::ladder::Ladder;
use framemill_transcoder::{Engine, Job, Rendition, SessionId, SoftwareConfig, SoftwareEngine};

use crate::{
    Result,
    sources::{Shape, Source},
};

/// What the process that transcodes for us is told.
pub(crate) const WORKER: &str = "--worker";
/// Kernel clock ticks per second in `/proc`; fixed by Linux's interface.
const USER_HZ: f64 = 100.0;
/// Longest a job may take on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(600);

/// Who transcodes.
#[derive(Clone, Copy)]
pub(crate) enum Side {
    Ours(Work),
    /// The command line.
    Ffmpeg {
        threads: Threads,
        /// Seconds between keyframes.
        keyframes: u32,
    },
}

/// Threads of the command line's encoders; its decoder chooses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Threads {
    /// As many as it chooses.
    Chosen,
    /// As many as ours have.
    Ours,
}

/// How our engine gets the source.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// In one job.
    Whole,
    /// Cut into segments, one after the other.
    Segments,
}

/// What a run used: seconds, and the most memory at a time.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) wall: f64,
    pub(crate) cpu: f64,
    pub(crate) peak_mib: f64,
}

impl Cost {
    pub(crate) const WORST: Self = Self { wall: f64::MAX, cpu: f64::MAX, peak_mib: f64::MAX };

    pub(crate) fn least(self, other: Self) -> Self {
        Self {
            wall: self.wall.min(other.wall),
            cpu: self.cpu.min(other.cpu),
            peak_mib: self.peak_mib.min(other.peak_mib),
        }
    }
}

impl Side {
    /// Makes the ladder of a source, and leaves its rungs in the folder.
    pub(crate) fn run(self, source: &Source, folder: &Path) -> Result<Cost> {
        let mut command = match self {
            Self::Ours(work) => worker(work, source, folder)?,
            Self::Ffmpeg { threads, keyframes } => {
                ffmpeg(source, folder, &source.shape.ladder()?, threads, keyframes)
            }
        };
        let (begun, cpu) = (Instant::now(), children_seconds()?);
        let output = command.output()?;
        let (wall, cpu) = (begun.elapsed().as_secs_f64(), children_seconds()? - cpu);
        let peak_kib = match output.status.success() {
            true => peak_kib(&output),
            false => None,
        };
        let told = || format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(Cost { wall, cpu, peak_mib: peak_kib.ok_or_else(told)? / 1024.0 })
    }
}

/// Where our rung lies.
pub(crate) fn ours(folder: &Path, rung: &str) -> PathBuf {
    folder.join(format!("ours-{rung}.ts"))
}

/// Where `ffmpeg`'s rung lies.
pub(crate) fn theirs(folder: &Path, rung: &str) -> PathBuf {
    folder.join(format!("ffmpeg-{rung}.ts"))
}

/// CPU seconds of children that have ended.
fn children_seconds() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().ok_or("no process name in /proc/self/stat")?;
    // Fields 16 and 17 of proc(5), user and system time. Two fields come before the name's end.
    let ticks = after_name.split_whitespace().skip(13).take(2).map(str::parse);
    let ticks: Vec<f64> = ticks.collect::<std::result::Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / USER_HZ)
}

/// The figure behind `maxrss=`, which both sides print.
fn peak_kib(output: &Output) -> Option<f64> {
    let told = String::from_utf8_lossy(&output.stderr);
    let (_, figure) = told.rsplit_once("maxrss=")?;
    figure.split_once("kB")?.0.trim().parse().ok()
}

fn worker(work: Work, source: &Source, folder: &Path) -> Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    let work = if work == Work::Whole { "whole" } else { "segments" };
    command.args([WORKER, work, source.shape.name]).arg(&source.path).arg(folder);
    Ok(command)
}

/// What the process does that [`worker`] starts.
pub(crate) fn work(arguments: &[OsString]) -> Result<()> {
    let [work, shape, source, folder] = arguments else { return Err("work, shape, source, folder".into()) };
    let ladder = Shape::named(&shape.to_string_lossy())?.ladder()?;
    let data = Bytes::from(fs::read(source)?);
    tokio::runtime::Runtime::new()?.block_on(async {
        let engine = SoftwareEngine::new(SoftwareConfig::default());
        if work == "whole" {
            return keep(&ladder, transcode(&engine, 0, data, &ladder).await?, Path::new(folder));
        }
        let cut = Segmenter::from_bytes(data, SegmenterConfig::default(), &MediaLimits::default())?;
        for (sequence, segment) in (0..).zip(cut) {
            let renditions = transcode(&engine, sequence, segment?.data, &ladder).await?;
            keep(&ladder, renditions, Path::new(folder))?;
        }
        Ok::<_, Box<dyn std::error::Error>>(())
    })?;
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    eprintln!("maxrss={}", peak.trim().replace(' ', ""));
    Ok(())
}

async fn transcode(
    engine: &SoftwareEngine,
    sequence: u64,
    source: Bytes,
    ladder: &Ladder,
) -> Result<Vec<Rendition>> {
    let deadline = Instant::now() + PATIENCE;
    let job = Job { session: SessionId::ZERO, sequence, source, ladder: ladder.clone(), deadline };
    Ok(engine.transcode(job).collect_all().await?)
}

fn keep(ladder: &Ladder, renditions: Vec<Rendition>, folder: &Path) -> Result<()> {
    for (entry, rendition) in ladder.iter().zip(renditions) {
        fs::write(ours(folder, &entry.name), &rendition.data)?;
    }
    Ok(())
}

/// The command line with our settings.
fn ffmpeg(source: &Source, folder: &Path, ladder: &Ladder, threads: Threads, keyframes: u32) -> Command {
    let split: String = (0..ladder.len()).map(|index| format!("[s{index}]")).collect();
    let mut graph = format!("[0:v]split={}{split}", ladder.len());
    for (index, entry) in ladder.iter().enumerate() {
        graph += &format!(";[s{index}]scale={}:{}[v{index}]", entry.width, entry.height);
    }
    let same = SoftwareEngine::new(SoftwareConfig::default()).encoder_threads(ladder);
    let argument = |count: u32| match threads {
        Threads::Chosen => "auto".to_owned(),
        Threads::Ours => count.to_string(),
    };
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-benchmark", "-nostats", "-nostdin", "-y"]);
    ffmpeg.arg("-i").arg(&source.path).args(["-filter_complex", &graph]);
    for (index, entry) in ladder.iter().enumerate() {
        ffmpeg.args(["-map", &format!("[v{index}]"), "-c:v", "libx264", "-preset", "veryfast"]);
        ffmpeg.args(["-b:v", &entry.bitrate.to_string(), "-maxrate", &(entry.bitrate / 2 * 3).to_string()]);
        ffmpeg.args(["-bufsize", &(entry.bitrate * 2).to_string(), "-flags", "+cgop", "-copyts"]);
        ffmpeg.args(["-g", &(keyframes * source.shape.fps).to_string(), "-threads", &argument(same[index])]);
        ffmpeg
            .args(["-force_key_frames", &format!("expr:gte(t,n_forced*{keyframes})"), "-f", "mpegts"])
            .arg(theirs(folder, &entry.name));
    }
    ffmpeg
}
