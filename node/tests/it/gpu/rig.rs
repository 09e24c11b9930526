//! The simulated driver, built when first asked for, and what tests do with it.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use bytes::Bytes;
use framemill_media::{
    ClipSpec, MediaLimits, Rational, Segmenter, SegmenterConfig, generate_clip, segment_info,
};
use framemill_network::ladder::{FrameRate, Ladder, SourceVideo};
use framemill_transcoder::{
    Engine, Failover, Job, NvidiaConfig, NvidiaEngine, Rendition, SessionId, SoftwareEngine, TranscodeError,
    WorkerProgram,
};
use framemill_verification::{Policy, SourceReference, Verdict, verify};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    net::unix::pipe,
};

/// Longer than any test's work takes on a busy machine; nothing waits for it to pass.
pub(super) const PATIENCE: Duration = Duration::from_secs(300);

/// Where the libraries lie; `None`, after a line that says so, where they cannot be built.
pub(super) fn driver() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    BUILT.get_or_init(build).as_deref()
}

fn build() -> Option<PathBuf> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../gpu/simulator");
    for (tool, arguments) in
        [("cc", ["--version", ""]), ("make", ["--version", ""]), ("pkg-config", ["--exists", "ffnvcodec"])]
    {
        let arguments = arguments.iter().filter(|argument| !argument.is_empty());
        if !Command::new(tool).args(arguments).output().is_ok_and(|output| output.status.success()) {
            eprintln!(
                "skipped: the simulated driver cannot be built here; run scripts/setup build simulator"
            );
            return None;
        }
    }
    let out =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("simulated-driver-{:016x}", digest(&sources)));
    if !out.exists() {
        let fresh = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder beside it").keep();
        let make = Command::new("make")
            .arg("-s")
            .arg("-C")
            .arg(&sources)
            .arg(format!("OUT={}", fresh.display()))
            .output();
        let make = make.expect("make was there a moment ago");
        assert!(make.status.success(), "{}", String::from_utf8_lossy(&make.stderr));
        // Another test process may have been first.
        let _ = std::fs::rename(&fresh, &out);
    }
    Some(out)
}

/// Of everything the libraries are made of.
fn digest(sources: &Path) -> u64 {
    let files: BTreeMap<_, _> = std::fs::read_dir(sources)
        .expect("the simulator's folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), std::fs::read(path).expect("a file")))
        .collect();
    let mut hasher = DefaultHasher::new();
    files.hash(&mut hasher);
    hasher.finish()
}

/// A simulated driver of a test's own, with its switches and what it tells.
pub(super) struct Rig {
    folder: TempDir,
    driver: &'static Path,
    trace: Lines<BufReader<pipe::Receiver>>,
}

impl Rig {
    /// A driver with these switches set. Must be called inside a tokio runtime.
    pub(super) fn new(switches: &str) -> Option<Self> {
        let driver = driver()?;
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("trace");
        let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success(), "mkfifo failed");
        // Open for both, so that it does not end when the first process does.
        let trace = pipe::OpenOptions::new().read_write(true).open_receiver(&pipe).unwrap();
        let rig = Self { folder, driver, trace: BufReader::new(trace).lines() };
        rig.set(switches);
        Some(rig)
    }

    /// Replaces all switches, also for processes that run.
    pub(super) fn set(&self, switches: &str) {
        let fresh = self.folder.path().join("fresh");
        std::fs::write(&fresh, switches.replace(' ', "\n")).unwrap();
        std::fs::rename(&fresh, self.folder.path().join("control")).unwrap();
    }

    /// Waits until this was said so many times.
    pub(super) async fn wait_for(&mut self, line: &str, times: usize) {
        let mut seen = 0;
        while seen < times {
            seen += usize::from(self.trace.next_line().await.unwrap().unwrap() == line);
        }
    }

    /// How often this was said since the last look. Lines are there when what they tell of has returned.
    pub(super) async fn count(&mut self, line: &str) -> usize {
        // A line of our own marks the end of what is there.
        let pipe = self.folder.path().join("trace");
        std::fs::OpenOptions::new().append(true).open(pipe).unwrap().write_all(b"look\n").unwrap();
        let mut seen = 0;
        loop {
            match self.trace.next_line().await.unwrap().unwrap() {
                mark if mark == "look" => return seen,
                said => seen += usize::from(said == line),
            }
        }
    }

    /// What processes need to find it.
    pub(super) fn environment(&self) -> Vec<(OsString, OsString)> {
        let folder = self.folder.path();
        [
            ("LD_LIBRARY_PATH", self.driver.to_owned()),
            ("NVSIM_CONTROL", folder.join("control")),
            ("NVSIM_TRACE", folder.join("trace")),
        ]
        .map(|(name, value)| (name.into(), value.into()))
        .to_vec()
    }

    pub(super) fn config(&self, gpu: u32) -> NvidiaConfig {
        let worker = WorkerProgram {
            program: env!("CARGO_BIN_EXE_framemill").into(),
            arguments: ["gpu-worker", "--device"].map(OsString::from).to_vec(),
            environment: self.environment(),
        };
        // A machine that does other things beside may stand still for seconds.
        NvidiaConfig { patience: Duration::from_secs(60), ..NvidiaConfig::new(gpu, worker) }
    }

    pub(super) async fn engine(&self, gpu: u32) -> Arc<NvidiaEngine> {
        Arc::new(NvidiaEngine::start(self.config(gpu)).await.expect("a simulated device"))
    }
}

/// The engine with the CPU behind it.
pub(super) fn backed(engine: &Arc<NvidiaEngine>) -> Failover {
    Failover::new(Arc::clone(engine) as Arc<dyn Engine>, vec![Arc::new(SoftwareEngine::default())])
}

/// A stream with sound in segments of two seconds, of small pictures: what is tested is who makes them.
pub(super) fn stream(seconds: u32) -> Vec<Bytes> {
    let spec = ClipSpec::new(320, 180, Rational::new(30, 1), seconds);
    let clip = generate_clip(&spec, &MediaLimits::default()).unwrap();
    let cut = Segmenter::from_bytes(clip, SegmenterConfig::default(), &MediaLimits::default()).unwrap();
    cut.map(|segment| segment.unwrap().data).collect()
}

/// One segment.
pub(super) fn segment() -> Bytes {
    static SEGMENT: OnceLock<Bytes> = OnceLock::new();
    SEGMENT.get_or_init(|| stream(2).swap_remove(0)).clone()
}

/// A ladder in text form, made concrete for a source.
pub(super) fn ladder(source: &Bytes, text: &str) -> Ladder {
    let info = segment_info(source, &MediaLimits::default()).unwrap();
    let video = info.require_video().unwrap();
    let fps = FrameRate::new(video.frame_rate.num, video.frame_rate.den).unwrap();
    let source = SourceVideo { width: video.width, height: video.height, fps };
    text.parse::<Ladder>().and_then(|ladder| ladder.resolve(&source)).unwrap()
}

/// Three rungs.
pub(super) const LADDER: &str = "180:300k,160:250k,144:200k";

/// Frames of a segment, and pictures that its ladder encodes.
pub(super) const FRAMES: usize = 60;

pub(super) fn job(source: &Bytes, stream: u8) -> Job {
    Job {
        session: SessionId::repeat_byte(stream),
        sequence: 1,
        source: source.clone(),
        ladder: ladder(source, LADDER),
        deadline: Instant::now() + PATIENCE,
    }
}

pub(super) async fn transcode(engine: &dyn Engine, job: Job) -> Result<Vec<Rendition>, TranscodeError> {
    engine.transcode(job).collect_all().await
}

/// Everything that must hold for the renditions of a job, whoever made them: as many as rungs, each once, with the source's times and
/// sound, an IDR frame first, and what else verification asks of a container, and of the first picture.
pub(super) fn assert_faithful(job: &Job, renditions: &[Rendition]) {
    assert_passes(job, renditions, &Policy::FIRST_FRAMES);
}

/// As [`assert_faithful`], of every picture.
pub(super) fn assert_every_picture(job: &Job, renditions: &[Rendition]) {
    assert_passes(job, renditions, &Policy::FULL);
}

fn assert_passes(job: &Job, renditions: &[Rendition], policy: &Policy) {
    assert_eq!(renditions.len(), job.ladder.len());
    let reference = SourceReference::new(job.source.clone(), &MediaLimits::default()).unwrap();
    let expected = segment_info(&job.source, &MediaLimits::default()).unwrap();
    for (rendition, entry) in renditions.iter().zip(&job.ladder) {
        let info = segment_info(&rendition.data, &MediaLimits::default()).unwrap();
        let video = info.require_video().unwrap();
        assert_eq!((video.width, video.height), (entry.width, entry.height), "{}", entry.name);
        assert_eq!(video.pts, expected.require_video().unwrap().pts, "{}", entry.name);
        assert!(video.starts_with_key, "{}", entry.name);
        assert_eq!(info.audio, expected.audio, "{}", entry.name);
        assert_eq!(rendition.summary.frames, video.frames() as u64);
        assert_eq!(rendition.summary.bytes, rendition.data.len() as u64);
        let report = verify(&reference, &rendition.data, entry, policy, &SessionId::ZERO).unwrap();
        assert_eq!(report.verdict, Verdict::Pass, "{}: {report:?}", entry.name);
    }
}
