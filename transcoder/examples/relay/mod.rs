//! One stream, encoded segment by segment by two processes in turn, put together again and held against its source.

use std::{
    error::Error,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use bytes::Bytes;
use framemill_media::{
    ClipAudio, ClipSpec, DecoderConfig, Demuxer, MediaLimits, Packet, Rational, Segmenter, SegmenterConfig,
    TICKS_PER_SECOND, Ticks, VideoReader, generate_clip, segment_info, time::WRAP,
};
use framemill_network::Ladder;
use framemill_transcoder::{Engine, Job, SessionId, SoftwareEngine};

use crate::process::{Helper, serve};

/// Far beyond what a segment takes on any machine.
const DEADLINE: Duration = Duration::from_secs(300);
/// Two rungs.
const LADDER: &str = r#"[{"name":"a","width":64,"height":48,"bitrate":40000},
    {"name":"b","width":48,"height":36,"bitrate":20000}]"#;
const RUNGS: usize = 2;
/// Samples of a packet of AAC.
const AAC_SAMPLES: Ticks = 1024;

/// A stream, which begins so that the clock of 33 bits wraps half way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stream {
    /// Segments at least, an even number.
    pub(crate) segments: u32,
    /// Frames of each.
    pub(crate) frames: u32,
    /// Frames per second.
    pub(crate) rate: Rational,
    /// Samples per second of its sound.
    pub(crate) sample_rate: u32,
}

impl Stream {
    /// Length of a segment.
    fn length(&self) -> Ticks {
        let Rational { num, den } = self.rate;
        TICKS_PER_SECOND * Ticks::from(self.frames) * Ticks::from(den) / Ticks::from(num)
    }

    fn make(&self) -> Result<Bytes, Box<dyn Error>> {
        let half = self.length() * Ticks::from(self.segments / 2);
        let spec = ClipSpec {
            duration: 2 * half,
            bitrate: 60_000,
            gop: self.frames,
            start_pts: WRAP - half,
            audio: Some(ClipAudio { sample_rate: self.sample_rate, channels: 1, tracks: 1 }),
            ..ClipSpec::new(96, 72, self.rate, 0)
        };
        Ok(generate_clip(&spec, &MediaLimits::default())?)
    }

    /// The segments as files in a folder.
    fn cut(&self, source: &Bytes, folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
        let config = SegmenterConfig { target: self.length(), ..SegmenterConfig::default() };
        let mut files = Vec::new();
        for segment in Segmenter::from_bytes(source.clone(), config, &MediaLimits::default())? {
            let segment = segment?;
            let path = folder.join(format!("{}.ts", segment.sequence));
            fs::write(&path, segment.data)?;
            files.push(path);
        }
        // A scene change may have ended one early.
        if files.len() < self.segments as usize {
            return Err(format!("{} segments instead of {}", files.len(), self.segments).into());
        }
        Ok(files)
    }

    /// Encodes the stream by two processes, started as `program` with `arguments`, which [`work`]; checks every segment as well as the
    /// whole, and returns the files of the source and of each rung.
    ///
    /// # Errors
    /// The first thing that is not as it should be.
    pub(crate) fn run(
        &self,
        program: &Path,
        arguments: &[&str],
        folder: &Path,
    ) -> Result<(PathBuf, [PathBuf; RUNGS]), Box<dyn Error>> {
        let source = self.make()?;
        let start = || {
            let mut command = Command::new(program);
            command.args(arguments);
            Helper::start(command)
        };
        let mut processes = [start()?, start()?];
        let mut joined: [Vec<u8>; RUNGS] = Default::default();
        for (number, segment) in self.cut(&source, folder)?.iter().enumerate() {
            processes[number % 2].ask(&segment.display().to_string(), DEADLINE)?;
            for (rung, joined) in joined.iter_mut().enumerate() {
                let rendition: Bytes = fs::read(rendition_of(segment, rung))?.into();
                check_start(&rendition).map_err(|error| format!("segment {number}, rung {rung}: {error}"))?;
                joined.extend_from_slice(&rendition);
            }
        }
        let path = folder.join("source.ts");
        fs::write(&path, &source)?;
        let mut paths = <[PathBuf; RUNGS]>::default();
        for (rung, joined) in joined.into_iter().enumerate() {
            let joined = Bytes::from(joined);
            self.check(&source, &joined).map_err(|error| format!("rung {rung}: {error}"))?;
            paths[rung] = folder.join(format!("joined-{rung}.ts"));
            fs::write(&paths[rung], joined)?;
        }
        Ok((path, paths))
    }

    fn check(&self, source: &Bytes, joined: &Bytes) -> Result<(), Box<dyn Error>> {
        let (source, joined) = (Lanes::of(source)?, Lanes::of(joined)?);
        source.check_rising()?;
        joined.check_rising()?;
        same("times of pictures", &joined.video_times(), &source.video_times())?;
        same("times of decoded pictures", &joined.pictures, &source.video_times())?;
        same("packets of sound", &joined.sound(), &source.sound())?;
        self.check_grid(&joined.audio)
    }

    /// Every packet of sound is heard where the one before ends, to the tick that its time was rounded to, from first to last.
    fn check_grid(&self, audio: &[Packet]) -> Result<(), Box<dyn Error>> {
        let first = audio.first().and_then(Packet::pts).ok_or("no sound")?;
        for (number, packet) in (0..).zip(audio) {
            let exact = AAC_SAMPLES * TICKS_PER_SECOND * number / Ticks::from(self.sample_rate);
            let late = packet.pts().ok_or("a packet has no time")? - first - exact;
            if late.abs() > 1 {
                return Err(format!("packet {number} of the sound is {late} ticks late").into());
            }
        }
        Ok(())
    }
}

fn same<T: PartialEq>(what: &str, found: &[T], wanted: &[T]) -> Result<(), Box<dyn Error>> {
    if found.len() != wanted.len() {
        return Err(format!("{} {what} instead of {}", found.len(), wanted.len()).into());
    }
    match found.iter().zip(wanted).position(|(found, wanted)| found != wanted) {
        Some(place) => Err(format!("{what} differ at {place}").into()),
        None => Ok(()),
    }
}

/// What lies in a file of one video and one audio stream.
struct Lanes {
    video: Vec<Packet>,
    audio: Vec<Packet>,
    /// Times of the pictures as they were decoded.
    pictures: Vec<Ticks>,
}

impl Lanes {
    fn of(data: &Bytes) -> Result<Self, Box<dyn Error>> {
        let limits = MediaLimits::default();
        let mut demuxer = Demuxer::from_bytes(data.clone(), &limits)?;
        let stream = demuxer.probe().require_video()?.stream;
        let (mut video, mut audio) = (Vec::new(), Vec::new());
        while let Some(packet) = demuxer.next_packet()? {
            if packet.stream() == stream { video.push(packet) } else { audio.push(packet) }
        }
        let strict = DecoderConfig { strict: true, ..DecoderConfig::default() };
        let mut reader = VideoReader::open(data.clone(), &strict, &limits)?;
        let mut pictures = Vec::new();
        while let Some(frame) = reader.next_frame()? {
            pictures.push(frame.pts().ok_or("a picture has no time")?);
        }
        Ok(Self { video, audio, pictures })
    }

    fn video_times(&self) -> Vec<Ticks> {
        let mut times: Vec<Ticks> = self.video.iter().filter_map(Packet::pts).collect();
        times.sort_unstable();
        times
    }

    fn sound(&self) -> Vec<(Option<Ticks>, &[u8])> {
        self.audio.iter().map(|packet| (packet.pts(), packet.data())).collect()
    }

    fn check_rising(&self) -> Result<(), Box<dyn Error>> {
        for lane in [&self.video, &self.audio] {
            if let Some(pair) = lane.windows(2).find(|pair| pair[0].dts() >= pair[1].dts()) {
                return Err(format!("{:?} is followed by {:?}", pair[0].dts(), pair[1].dts()).into());
            }
        }
        Ok(())
    }
}

/// A rendition starts with an IDR picture, of which its first packet has a NAL unit.
fn check_start(rendition: &Bytes) -> Result<(), Box<dyn Error>> {
    const IDR: u8 = 5;
    if !segment_info(rendition, &MediaLimits::default())?.require_video()?.starts_with_key {
        return Err("does not start with a keyframe".into());
    }
    let first = Lanes::of(rendition)?.video.into_iter().next().ok_or("no pictures")?;
    let is_idr = |unit: &[u8]| unit[..3] == [0, 0, 1] && unit[3] & 0x1f == IDR;
    if first.data().windows(4).any(is_idr) {
        Ok(())
    } else {
        Err("does not start with an IDR picture".into())
    }
}

fn rendition_of(segment: &Path, rung: usize) -> PathBuf {
    segment.with_extension(format!("{rung}.ts"))
}

/// Transcodes the segments whose paths it is asked for, on an engine of its own, and leaves the renditions beside them.
pub(crate) fn work() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let engine = SoftwareEngine::default();
    let ladder: Ladder = LADDER.parse().map_err(io::Error::other)?;
    serve(|path| {
        let segment = Path::new(path);
        let job = Job {
            session: SessionId::ZERO,
            sequence: 0,
            source: fs::read(segment)?.into(),
            ladder: ladder.clone(),
            deadline: Instant::now() + DEADLINE,
        };
        let renditions = runtime
            .block_on(async { engine.transcode(job).collect_all().await })
            .map_err(io::Error::other)?;
        for (rung, rendition) in renditions.iter().enumerate() {
            fs::write(rendition_of(segment, rung), &rendition.data)?;
        }
        Ok(format!("{} renditions", renditions.len()))
    })
}

/// The sound of a file as FFmpeg's command line decodes it, by its digest; `None` where it is not installed.
pub(crate) fn digest_of_sound(path: &Path) -> Result<Option<String>, Box<dyn Error>> {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-i"]).arg(path).args([
        "-map",
        "0:a:0",
        "-c:a",
        "pcm_s16le",
        "-f",
        "md5",
        "-",
    ]);
    match command.output() {
        Ok(run) if run.status.success() => Ok(Some(String::from_utf8(run.stdout)?)),
        Ok(run) => Err(String::from_utf8_lossy(&run.stderr).into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}
