//! The software ladder against the `ffmpeg` command line doing the same ladder in one process.
//!
//! Both take 1080p30 H.264 and make 720p, 480p and 360p with x264 `veryfast`, the same bitrates and buffers. Rounds alternate
//! and the best of each side counts, so that another load on the machine hits both. Prints ratios; asserts nothing.
//!
//! `cargo bench -p framemill-transcoder --bench ladder`

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use bytes::Bytes;
use framemill_media::{
    DecoderConfig, Demuxer, Frame, MediaLimits, Scaler, ScalerConfig, Segmenter, SegmenterConfig, VideoReader,
};
use framemill_network::ladder::Ladder;
use framemill_transcoder::{Engine, Job, Rendition, SessionId, SoftwareConfig, SoftwareEngine};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Alternating rounds of each side.
const ROUNDS: usize = 2;
/// Kernel clock ticks per second in `/proc`; fixed by Linux's interface.
const USER_HZ: f64 = 100.0;
const LADDER: &str = r#"[
    {"name": "720p", "width": 1280, "height": 720, "bitrate": 3000000},
    {"name": "480p", "width": 854, "height": 480, "bitrate": 1500000},
    {"name": "360p", "width": 640, "height": 360, "bitrate": 800000}
]"#;

/// What one side used.
#[derive(Clone, Copy)]
struct Cost {
    wall: f64,
    cpu: f64,
}

impl Cost {
    const WORST: Self = Self { wall: f64::MAX, cpu: f64::MAX };

    fn best(self, other: Self) -> Self {
        Self { wall: self.wall.min(other.wall), cpu: self.cpu.min(other.cpu) }
    }
}

/// CPU seconds of this process and of its children that have ended.
fn cpu_seconds() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().ok_or("no process name in /proc/self/stat")?;
    // Fields 14 to 17 of proc(5): user and system time, of the process and of its children. Two fields come before.
    let ticks: Vec<f64> = after_name
        .split_whitespace()
        .skip(11)
        .take(4)
        .map(str::parse)
        .collect::<std::result::Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / USER_HZ)
}

/// Measures from its start, this process and its children together.
struct Meter {
    begun: Instant,
    cpu: f64,
}

impl Meter {
    fn start() -> Result<Self> {
        Ok(Self { begun: Instant::now(), cpu: cpu_seconds()? })
    }

    fn stop(&self) -> Result<Cost> {
        Ok(Cost { wall: self.begun.elapsed().as_secs_f64(), cpu: cpu_seconds()? - self.cpu })
    }
}

/// 1080p30 H.264 of about eight seconds with a keyframe every two: filmed material where it is at hand, else synthetic.
fn source(folder: &Path) -> Result<(PathBuf, &'static str)> {
    let clips = std::env::var_os("FRAMEMILL_MEDIA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/media"), PathBuf::from);
    let filmed = clips.join("kitchen-1080p60-2s.mp4");
    let path = folder.join("source.ts");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-y"]);
    let content = if filmed.exists() {
        ffmpeg.args(["-stream_loop", "3", "-i"]).arg(filmed);
        "natural"
    } else {
        ffmpeg.args(["-f", "lavfi", "-i", "testsrc2=s=1920x1080:r=30:d=8"]);
        "synthetic"
    };
    ffmpeg.args(["-an", "-r", "30", "-t", "8", "-c:v", "libx264", "-preset", "veryfast", "-b:v", "6M"]);
    ffmpeg.args(["-g", "60", "-sc_threshold", "0", "-flags", "+cgop", "-muxdelay", "0"]).arg(&path);
    if !ffmpeg.status()?.success() {
        return Err("ffmpeg could not make the source clip".into());
    }
    Ok((path, content))
}

fn command_line(source: &Path, folder: &Path, ladder: &Ladder, threads: Option<u32>) -> Result<Vec<PathBuf>> {
    let outputs: Vec<PathBuf> =
        ladder.iter().map(|entry| folder.join(format!("{}.ts", entry.name))).collect();
    let split: String = (0..ladder.len()).map(|index| format!("[s{index}]")).collect();
    let mut graph = format!("[0:v]split={}{split}", ladder.len());
    for (index, entry) in ladder.iter().enumerate() {
        graph += &format!(";[s{index}]scale={}:{}[v{index}]", entry.width, entry.height);
    }
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-y"]);
    if let Some(threads) = threads {
        ffmpeg.args(["-threads", &threads.to_string()]);
    }
    ffmpeg.arg("-i").arg(source).args(["-filter_complex", &graph]);
    for ((index, entry), output) in ladder.iter().enumerate().zip(&outputs) {
        ffmpeg.args(["-map", &format!("[v{index}]"), "-c:v", "libx264", "-preset", "veryfast", "-g", "240"]);
        ffmpeg.args(["-b:v", &entry.bitrate.to_string(), "-maxrate", &(entry.bitrate / 2 * 3).to_string()]);
        ffmpeg.args(["-bufsize", &(entry.bitrate * 2).to_string(), "-flags", "+cgop", "-copyts"]);
        if let Some(threads) = threads {
            ffmpeg.args(["-threads", &threads.to_string()]);
        }
        ffmpeg.args(["-f", "mpegts"]).arg(output);
    }
    if !ffmpeg.status()?.success() {
        return Err("ffmpeg could not make the ladder".into());
    }
    Ok(outputs)
}

async fn ours(engine: &SoftwareEngine, source: Bytes, ladder: &Ladder) -> Result<Vec<Rendition>> {
    let deadline = Instant::now() + Duration::from_secs(600);
    let job = Job { session: SessionId::ZERO, sequence: 0, source, ladder: ladder.clone(), deadline };
    Ok(engine.transcode(job).collect_all().await?)
}

fn video_bits(data: &Bytes) -> Result<f64> {
    let mut demuxer = Demuxer::from_bytes(data.clone(), &MediaLimits::default())?;
    let video = demuxer.probe().require_video()?.stream;
    let mut bytes = 0;
    while let Some(packet) = demuxer.next_packet()? {
        if packet.stream() == video {
            bytes += packet.data().len();
        }
    }
    Ok(bytes as f64 * 8.0)
}

/// Luma PSNR in dB against the source, scaled once to the rendition's size.
fn psnr(source: &Bytes, rendition: &Bytes) -> Result<f64> {
    let limits = MediaLimits::default();
    let config = DecoderConfig::default();
    let mut reference = VideoReader::open(source.clone(), &config, &limits)?;
    let mut coded = VideoReader::open(rendition.clone(), &config, &limits)?;
    let mut scaler: Option<Scaler> = None;
    let (mut error, mut pixels) = (0_u64, 0_u64);
    while let (Some(reference), Some(coded)) = (reference.next_frame()?, coded.next_frame()?) {
        let scaler = match &mut scaler {
            Some(scaler) => scaler,
            None => {
                scaler.insert(Scaler::new(ScalerConfig::yuv420p(coded.width(), coded.height()), &limits)?)
            }
        };
        error += luma_error(&scaler.scale(&reference)?, &coded)?;
        pixels += coded.pixels();
    }
    Ok(10.0 * (255.0 * 255.0 * pixels as f64 / error.max(1) as f64).log10())
}

fn luma_error(left: &Frame, right: &Frame) -> Result<u64> {
    let (left, right) = (left.plane(0).ok_or("no luma")?, right.plane(0).ok_or("no luma")?);
    let rows = left.iter_rows().zip(right.iter_rows());
    Ok(rows
        .flat_map(|(left, right)| left.iter().zip(right))
        .map(|(&left, &right)| u64::from(left.abs_diff(right)).pow(2))
        .sum())
}

fn row(name: &str, ours: Cost, theirs: Cost) {
    println!(
        "{name:<44} cpu {:6.2} s vs {:6.2} s = {:.3}x   wall {:6.2} s vs {:6.2} s = {:.3}x",
        ours.cpu,
        theirs.cpu,
        ours.cpu / theirs.cpu,
        ours.wall,
        theirs.wall,
        ours.wall / theirs.wall
    );
}

#[tokio::main]
async fn main() -> Result<()> {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("run with `cargo bench`");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let (path, content) = source(folder.path())?;
    let data = Bytes::from(fs::read(&path)?);
    let cut = Segmenter::from_bytes(data.clone(), SegmenterConfig::default(), &MediaLimits::default())?;
    let segments = cut.map(|segment| Ok(segment?.data)).collect::<Result<Vec<_>>>()?;
    let ladder: Ladder = LADDER.parse()?;
    let engine = SoftwareEngine::new(SoftwareConfig::default());

    let (mut whole, mut cut, mut theirs, mut single) = (Cost::WORST, Cost::WORST, Cost::WORST, Cost::WORST);
    let (mut renditions, mut outputs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let meter = Meter::start()?;
        renditions = ours(&engine, data.clone(), &ladder).await?;
        whole = whole.best(meter.stop()?);

        let meter = Meter::start()?;
        for segment in &segments {
            ours(&engine, segment.clone(), &ladder).await?;
        }
        cut = cut.best(meter.stop()?);

        let meter = Meter::start()?;
        command_line(&path, folder.path(), &ladder, Some(1))?;
        single = single.best(meter.stop()?);

        let meter = Meter::start()?;
        outputs = command_line(&path, folder.path(), &ladder, None)?;
        theirs = theirs.best(meter.stop()?);
    }

    let threads = std::thread::available_parallelism()?;
    println!(
        "software ladder vs ffmpeg command line: 1080p30 -> 720p 480p 360p, {content}, {threads} cpu threads"
    );
    row("whole clip, ffmpeg as it chooses threads", whole, theirs);
    row("whole clip, ffmpeg with one thread per codec", whole, single);
    row(&format!("{} segments, ffmpeg unsegmented", segments.len()), cut, theirs);
    println!("{:<44} cpu {:+.1} %", "cost of segmenting", 100.0 * (cut.cpu / whole.cpu - 1.0));
    for ((entry, rendition), output) in ladder.iter().zip(&renditions).zip(&outputs) {
        let output = Bytes::from(fs::read(output)?);
        let (mine, other) = (psnr(&data, &rendition.data)?, psnr(&data, &output)?);
        let bits = video_bits(&rendition.data)? / video_bits(&output)?;
        println!(
            "{:<6} psnr {mine:.2} dB vs {other:.2} dB = {:+.2} dB   bitrate {bits:.3}x",
            entry.name,
            mine - other
        );
    }
    println!("goals: cpu <= 1.00x, wall <= 0.95x, psnr within 0.1 dB, bitrate within 5 %, segmenting <= 3 %");
    Ok(())
}
