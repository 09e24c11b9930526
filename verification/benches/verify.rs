//! CPU of verification as a share of the CPU of the transcode it verifies, and beside FFmpeg's own comparisons of the
//! same pictures, all measured in this run on one thread.
//!
//! Of three contents: a generated one with motion and grain, one that is drawn and costs encoders little, and a filmed one where
//! `$FRAMEMILL_MEDIA` or `../shared/media` beside the project has it. Prints one line per figure and, last, one JSON object.
//! `cargo bench -p framemill-verification --bench verify`.

use std::collections::HashMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use alloy_primitives::B256;
use bytes::Bytes;
use framemill_media::{
    ClipSpec, Decoder, DecoderConfig, Encoder, EncoderConfig, FinishedRows, MediaError, MediaLimits, Muxer,
    OutputFormat, Packet, PictureId, Rational, Scaler, ScalerConfig, VideoCodec, VideoReader, Watcher,
    generate_clip,
};
use framemill_network::ladder::{Codec, FrameRate, Ladder, LadderEntry};
use framemill_network::{RenditionClaim, SignedReceipt, SigningDomain, TranscodeReceipt, renditions_root};
use framemill_verification::evidence::{Bundle, Case, ClaimRecord, Outcome, Parts, ReceiptRecord};
use framemill_verification::features::Lattice;
use framemill_verification::{
    FeatureMeter, Kernel, PPM, Policy, SourceReference, commit, declare, ts, verify,
};
use probabilistic_ticket::EthKey;
use sha2::{Digest, Sha256};

/// As long as a usual segment.
const SECONDS: u32 = 2;
/// Rungs as width, height and bits per second at 30 frames a second.
const LADDER: [(u32, u32, u32); 3] = [(1280, 720, 3_000_000), (854, 480, 1_500_000), (640, 360, 800_000)];
/// Other work on the machine only ever adds to what is measured: the least of so many runs counts.
const REPEATS: usize = 5;
/// How many results a broadcaster encodes again by default, of a million.
const AUDITS_PPM: u32 = 1_000;

type Failure = Box<dyn std::error::Error>;

/// A segment of 1080p, and what is made of it.
struct Subject {
    name: &'static str,
    source: Bytes,
    rate: Rational,
    ladder: Vec<LadderEntry>,
}

fn main() -> Result<(), Failure> {
    let limits = MediaLimits::segment();
    let mut table = serde_json::Map::new();
    for subject in subjects(&limits)? {
        let figures = subject.measure(&limits)?;
        table.insert(subject.name.to_owned(), serde_json::Value::Object(figures));
    }
    println!("{}", serde_json::json!({ "verification_share_of_transcode_percent": table }));
    Ok(())
}

fn subjects(limits: &MediaLimits) -> Result<Vec<Subject>, Failure> {
    let rate = Rational::new(30, 1);
    let spec = ClipSpec { bitrate: 6_000_000, audio: None, ..ClipSpec::new(1920, 1080, rate, SECONDS) };
    let generated = generate_clip(&spec, limits)?;
    let picture = format!("testsrc2=s=1920x1080:r=30:d={SECONDS}");
    let drawn = ffmpeg_made(
        &["-f", "lavfi", "-i", &picture],
        &["-c:v", "libx264", "-b:v", "6M", "-pix_fmt", "yuv420p"],
    )?;
    let mut all = vec![
        Subject::new("motion and grain, 1080p30", generated, rate),
        Subject::new("drawn, 1080p30", drawn, rate),
    ];
    let clips = std::env::var_os("FRAMEMILL_MEDIA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/media"), PathBuf::from);
    let filmed = clips.join("kitchen-1080p60-2s.mp4");
    if filmed.exists() {
        let segment = ffmpeg_made(&["-i", &filmed.to_string_lossy()], &["-an", "-c:v", "copy"])?;
        all.push(Subject::new("filmed, 1080p60", segment, Rational::new(60, 1)));
    } else {
        println!("skipped: the filmed clip; set FRAMEMILL_MEDIA to the folder of clips");
    }
    Ok(all)
}

/// The transport stream that the `ffmpeg` command makes.
fn ffmpeg_made(input: &[&str], output: &[&str]) -> Result<Bytes, Failure> {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin"]).args(input).args(output).args(["-f", "mpegts", "-"]);
    let made = command.output()?;
    if !made.status.success() {
        return Err(format!("ffmpeg: {}", String::from_utf8_lossy(&made.stderr)).into());
    }
    Ok(made.stdout.into())
}

impl Subject {
    fn new(name: &'static str, source: Bytes, rate: Rational) -> Self {
        let entry = |(width, height, bitrate)| {
            let bitrate = bitrate * rate.num / (30 * rate.den);
            LadderEntry { width, ..LadderEntry::from_height(height, FrameRate::SOURCE, bitrate, Codec::H264) }
        };
        Self { name, source, rate, ladder: LADDER.map(entry).into() }
    }

    /// Prints what is measured, and returns it in hundredths of the transcode.
    fn measure(&self, limits: &MediaLimits) -> Result<serde_json::Map<String, serde_json::Value>, Failure> {
        let Self { name, source, ladder, .. } = self;
        let renditions = &self.transcode(ladder, limits)?;
        let bundles = &self.bundles(renditions, limits)?;
        let all = || std::iter::once(source).chain(renditions);
        let commit_to = |rung: &Bytes| commit(rung, limits).map(drop);
        let folder = tempfile::tempdir()?;
        let mut jobs = Jobs::default();
        let transcode = jobs.add(|| timed(|| self.transcode(ladder, limits)));
        let again = jobs.add(|| timed(|| self.transcode(&ladder[..1], limits)));
        let mut judged = |policy| jobs.add(move || timed(|| self.judgement(renditions, policy)));
        let structure = judged(Policy::STRUCTURE_ONLY);
        let first = judged(Policy::FIRST_FRAMES);
        let every = judged(Policy { claim_ppm: 0, ..Policy::FULL });
        let decode = jobs.add(|| timed(|| decode_all(all(), limits)));
        let decode_rungs = jobs.add(|| timed(|| decode_all(renditions.iter(), limits)));
        let committed = jobs.add(|| timed(|| renditions.iter().try_for_each(commit_to)));
        let declared = jobs.add(|| timed(|| self.declaration(renditions)));
        let juror = jobs.add(|| timed(|| bundles.iter().try_for_each(|bundle| dismissed(bundle, limits))));
        let evidence = renditions.iter().flat_map(|rung| [source, rung]);
        let evidence = jobs.add(move || timed(|| decode_all(evidence.clone(), limits)));
        let mut features = Vec::new();
        for kernel in Kernel::available() {
            let mut frames = LeastOfEach::default();
            let job = jobs.add(move || frames.features(source, renditions, limits, kernel));
            features.push((kernel, job));
        }
        let filters = ["psnr", "ssim", "signature"];
        let filters = filters.map(|name| (name, jobs.add(|| self.filter(name, renditions, folder.path()))));

        let least = jobs.least()?;
        let whole = least[transcode].as_secs_f64();
        println!(
            "\n{name}: transcode to {} rungs, x264 veryfast, one thread: {whole:.2} s = 100 %",
            ladder.len()
        );
        let mut shares = serde_json::Map::new();
        let share = |time: Duration| 100.0 * time.as_secs_f64() / whole;
        let mut report = |name: &str, percent: f64| {
            println!("{name:63} {percent:7.2} %");
            shares.insert(name.replace(' ', "_"), serde_json::json!((percent * 100.0).round() / 100.0));
        };
        let of = |job: usize| share(least[job]);
        let beyond = |job: usize, less: usize| share(least[job].saturating_sub(least[less]));
        report("structure only", of(structure));
        report("structure and first frames", of(first));
        report("structure and every frame", of(every));
        report("decoding of source and rungs alone", of(decode));
        report("features and comparison beyond decoding", beyond(every, decode));
        for (kernel, job) in features {
            report(&format!("features of source and rungs, chroma included, {kernel}"), of(job));
        }
        report("decoding of rungs alone", of(decode_rungs));
        report("feature commitments of all rungs, which a claim check repeats", of(committed));
        report("feature commitments beyond decoding", beyond(committed, decode_rungs));
        report("feature commitments and quality of all rungs", of(declared));
        report("quality beyond the commitments, decoding of the source in", beyond(declared, committed));
        report("a second encode of the widest rung", of(again));
        let rate = |ppm: u32| f64::from(ppm) / f64::from(PPM);
        let Policy { first_frame_ppm, whole_ppm, claim_ppm } = Policy::FLOOR;
        let (q1, q2) = (rate(first_frame_ppm), rate(whole_ppm));
        let firsts = (q1 - q2).max(0.0) * (of(first) - of(structure));
        let floor = of(structure) + firsts + q2 * (of(every) - of(structure));
        report("the sampling floor on average", floor);
        let (claims, audits) = (rate(claim_ppm) * of(committed), rate(AUDITS_PPM) * of(again));
        report("with claim checks and second encodes at their default rates", floor + claims + audits);
        report("a bundle of each rung, judged by a juror", of(juror));
        report("decoding of source and rung for each of them", of(evidence));
        for (name, job) in filters {
            report(&format!("ffmpeg's {name} filter, each rung against the source"), of(job));
        }
        let speed = all().map(Bytes::len).sum::<usize>() as f64 / least[structure].as_secs_f64() / 1e9;
        println!("the structure of source and rungs is read at {speed:.2} GB/s, hashes in");
        for (name, job, decoding) in [("a juror", juror, evidence), ("judging every frame", every, decode)] {
            let ratio = least[job].as_secs_f64() / least[decoding].as_secs_f64();
            println!("{name} takes {ratio:.2} times decoding");
            let name = format!("{name}, times decoding").replace(' ', "_");
            shares.insert(name, serde_json::json!((ratio * 100.0).round() / 100.0));
        }
        Ok(shares)
    }

    /// Decodes once and encodes the rungs, all on this thread.
    fn transcode(&self, rungs: &[LadderEntry], limits: &MediaLimits) -> Result<Vec<Bytes>, MediaError> {
        struct Rung {
            scaler: Scaler,
            encoder: Encoder,
            muxer: Muxer,
        }
        let rung = |entry: &LadderEntry, color| -> Result<Rung, MediaError> {
            let &LadderEntry { width, height, bitrate, .. } = entry;
            let scaler = Scaler::new(ScalerConfig::yuv420p(width, height), limits)?;
            let config = EncoderConfig::h264(width, height, u64::from(bitrate), self.rate);
            let encoder = Encoder::new(&EncoderConfig { color, ..config })?;
            let mut builder = Muxer::builder(OutputFormat::MpegTs);
            builder.add_stream(encoder.parameters())?;
            Ok(Rung { scaler, encoder, muxer: builder.start()? })
        };
        let mut outputs = Vec::new();
        let mut reader = VideoReader::open(self.source.clone(), &DecoderConfig::default(), limits)?;
        while let Some(frame) = reader.next_frame()? {
            if outputs.is_empty() {
                outputs = rungs.iter().map(|entry| rung(entry, frame.color())).collect::<Result<_, _>>()?;
            }
            for rung in &mut outputs {
                rung.encoder.send(&rung.scaler.scale(&frame)?)?;
                while let Some(packet) = rung.encoder.receive()? {
                    rung.muxer.write(0, &packet)?;
                }
            }
        }
        let mut renditions = Vec::new();
        for mut rung in outputs {
            rung.encoder.flush()?;
            while let Some(packet) = rung.encoder.receive()? {
                rung.muxer.write(0, &packet)?;
            }
            renditions.push(rung.muxer.finish()?);
        }
        Ok(renditions)
    }

    /// Judges the whole ladder once, reading the source included.
    fn judgement(&self, renditions: &[Bytes], policy: Policy) -> Result<(), Failure> {
        let reference = SourceReference::new(self.source.clone(), &MediaLimits::segment())?;
        for (rendition, rung) in renditions.iter().zip(&self.ladder) {
            let report = verify(&reference, rendition, rung, &policy, &[0; 32])?;
            if let Some(reason) = report.reason() {
                return Err(format!("an honest rendition is refused: {reason}").into());
            }
        }
        Ok(())
    }

    /// What an orchestrator does whose price follows the quality.
    fn declaration(&self, renditions: &[Bytes]) -> Result<(), Failure> {
        let limits = MediaLimits::segment();
        let reference = SourceReference::new(self.source.clone(), &limits)?;
        for (rendition, rung) in renditions.iter().zip(&self.ladder) {
            declare(rendition, &reference, rung, &limits)?;
        }
        Ok(())
    }

    /// A case about each of the renditions, in which everything is as it was signed.
    fn bundles(&self, renditions: &[Bytes], limits: &MediaLimits) -> Result<Vec<Bundle>, Failure> {
        let sha256 = |data: &Bytes| B256::from_slice(&Sha256::digest(data));
        let ladder = Ladder::new(self.ladder.clone())?;
        let claim = |(index, rendition): (u32, &Bytes)| -> Result<RenditionClaim, Failure> {
            let commitment = commit(rendition, limits)?;
            Ok(RenditionClaim {
                index,
                sha256: sha256(rendition),
                pixels: commitment.shape().pixels(),
                feature_root: commitment.root(),
                psnr_centi_db: None,
            })
        };
        let claims: Vec<_> = (0..).zip(renditions).map(claim).collect::<Result<_, _>>()?;
        let receipt = TranscodeReceipt {
            session: B256::ZERO,
            sequence: 0,
            source_hash: sha256(&self.source),
            ladder_hash: ladder.hash(),
            renditions_root: renditions_root(&claims),
            pixels: claims.iter().map(|claim| claim.pixels).sum(),
            round: 0,
        };
        let (key, domain) = (EthKey::random(), SigningDomain::default());
        let signature = key.sign_digest(receipt.signing_hash(&domain)).0;
        let receipt = ReceiptRecord::from(&SignedReceipt { receipt, signature });
        let bundle = |(accused, rendition): (u32, &Bytes)| {
            let case = Case {
                chain_id: domain.chain_id,
                controller: domain.controller,
                signer: key.address(),
                receipt: receipt.clone(),
                claims: claims.iter().map(ClaimRecord::from).collect(),
                accused,
                draw: None,
            };
            let (rendition, source) = (rendition.clone(), Some(self.source.clone()));
            Ok(Bundle::new(Parts { case, ladder: &ladder, rendition, source, report: None, opening: None })?)
        };
        (0..).zip(renditions).map(bundle).collect()
    }

    /// What a filter of FFmpeg's takes for the ladder, decoding included.
    fn filter(&self, name: &str, renditions: &[Bytes], folder: &Path) -> Result<Duration, Failure> {
        let file = |name: &str, data: &Bytes| -> Result<String, Failure> {
            let path = folder.join(name);
            std::fs::write(&path, data)?;
            Ok(path.to_string_lossy().into_owned())
        };
        let source = file("source.ts", &self.source)?;
        let mut time = Duration::ZERO;
        for (rendition, LadderEntry { width, height, .. }) in renditions.iter().zip(&self.ladder) {
            let rendition = file("rendition.ts", rendition)?;
            let graph = match name {
                "signature" => "[0:v][1:v]signature=nb_inputs=2:detectmode=full".to_owned(),
                _ => format!("[1:v]scale={width}:{height}:flags=area[s];[0:v][s]{name}"),
            };
            time += ffmpeg(&rendition, &source, &graph)?;
        }
        Ok(time)
    }
}

/// What is measured, in turn, so that what else the machine does for a while meets all of it.
#[derive(Default)]
struct Jobs<'a> {
    all: Vec<Box<dyn FnMut() -> Result<Duration, Failure> + 'a>>,
}

impl<'a> Jobs<'a> {
    /// Where to find the job's time.
    fn add(&mut self, job: impl FnMut() -> Result<Duration, Failure> + 'a) -> usize {
        self.all.push(Box::new(job));
        self.all.len() - 1
    }

    /// Of every job the least time of several runs.
    fn least(mut self) -> Result<Vec<Duration>, Failure> {
        let mut least = vec![Duration::MAX; self.all.len()];
        for _ in 0..REPEATS {
            for (job, least) in self.all.iter_mut().zip(&mut least) {
                *least = job()?.min(*least);
            }
        }
        Ok(least)
    }
}

/// CPU time that the work takes.
fn timed<T, E>(work: impl FnOnce() -> Result<T, E>) -> Result<Duration, Failure>
where
    Failure: From<E>,
{
    let start = cpu_time();
    black_box(work()?);
    Ok(cpu_time().saturating_sub(start))
}

/// CPU time of this thread where the system tells it, else time since the start.
fn cpu_time() -> Duration {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    // The system brings the figure up to date when the thread gives way.
    std::thread::yield_now();
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = told.and_then(|told| told.split(' ').next()?.parse().ok());
    nanoseconds.map_or_else(|| START.elapsed(), Duration::from_nanos)
}

/// What a juror does who finds no fault.
fn dismissed(bundle: &Bundle, limits: &MediaLimits) -> Result<(), Failure> {
    match bundle.judge(limits)?.outcome {
        Outcome::NoFault => Ok(()),
        Outcome::FaultProven => Err("an honest rendition is found at fault".into()),
    }
}

fn decode_all<'a>(segments: impl Iterator<Item = &'a Bytes>, limits: &MediaLimits) -> Result<(), MediaError> {
    for data in segments {
        let mut reader = VideoReader::open(data.clone(), &DecoderConfig::default(), limits)?;
        while let Some(frame) = reader.next_frame()? {
            black_box(frame);
        }
    }
    Ok(())
}

/// Of every frame the least time of several runs: what takes a tenth of a millisecond is seldom interrupted each time.
#[derive(Default)]
struct LeastOfEach(Vec<Duration>);

impl LeastOfEach {
    /// Time of the features alone, as a judgement measures them: while the frames are decoded.
    fn features(
        &mut self,
        source: &Bytes,
        renditions: &[Bytes],
        limits: &MediaLimits,
        kernel: Kernel,
    ) -> Result<Duration, Failure> {
        let mut spent = Vec::new();
        for data in std::iter::once(source).chain(renditions) {
            let lattice = Lattice::for_picture(1920, 1080);
            let watch = Arc::new(Stopwatch::new(FeatureMeter::new(kernel, Some(lattice))));
            let watcher = Arc::clone(&watch) as Arc<dyn Watcher>;
            let config = DecoderConfig::default();
            let mut decoder = Decoder::of_units(VideoCodec::H264, &config, limits, Some(watcher))?;
            let mut take = |decoder: &mut Decoder| -> Result<(), Failure> {
                while let Some(frame) = decoder.receive()? {
                    let start = Instant::now();
                    black_box(watch.meter.features(&frame, 0)?);
                    spent.push(start.elapsed() + watch.spent_on(frame.picture()));
                }
                Ok(())
            };
            for packet in packets(data)? {
                decoder.send(&packet)?;
                take(&mut decoder)?;
            }
            decoder.flush()?;
            take(&mut decoder)?;
        }
        self.0.resize(spent.len(), Duration::MAX);
        self.0.iter_mut().zip(spent).for_each(|(least, spent)| *least = spent.min(*least));
        Ok(self.0.iter().sum())
    }
}

/// The video of a transport stream, a packet for each picture.
fn packets(data: &Bytes) -> Result<Vec<Packet>, Failure> {
    let video = ts::parse(data)?.streams.into_iter().find(ts::Elementary::is_video).ok_or("no video")?;
    // Pictures need an order here, but no times.
    Ok(video.unit_data().map(|unit| Packet::of_unit(unit, 0, false)).collect())
}

/// Measures what a meter takes of the time of the decoder that it watches.
struct Stopwatch {
    meter: FeatureMeter,
    spent: Mutex<HashMap<PictureId, Duration>>,
}

impl Stopwatch {
    fn new(meter: FeatureMeter) -> Self {
        Self { meter, spent: Mutex::default() }
    }

    fn spent_on(&self, picture: PictureId) -> Duration {
        let spent = self.spent.lock().expect("no thread dies").remove(&picture);
        spent.unwrap_or_default()
    }

    fn time(&self, picture: PictureId, work: impl FnOnce()) {
        let start = Instant::now();
        work();
        let took = start.elapsed();
        *self.spent.lock().expect("no thread dies").entry(picture).or_default() += took;
    }
}

impl Watcher for Stopwatch {
    fn begin(&self, picture: PictureId) {
        self.spent_on(picture);
        self.time(picture, || self.meter.begin(picture));
    }

    fn rows(&self, rows: &FinishedRows<'_>) {
        self.time(rows.picture(), || self.meter.rows(rows));
    }

    fn end(&self, picture: PictureId) {
        self.meter.end(picture);
    }
}

/// CPU time of one run of the `ffmpeg` command, as it tells itself.
fn ffmpeg(rendition: &str, source: &str, graph: &str) -> Result<Duration, Failure> {
    let single = ["-threads", "1", "-i", rendition, "-threads", "1", "-i", source];
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-benchmark", "-filter_threads", "1", "-filter_complex_threads", "1"]);
    let run = command.args(single).args(["-filter_complex", graph, "-f", "null", "-"]).output()?;
    let told = String::from_utf8_lossy(&run.stderr);
    let line = told.lines().find(|line| line.starts_with("bench: utime"));
    let seconds = line.into_iter().flat_map(str::split_whitespace).filter_map(|word| {
        let (name, value) = word.split_once('=')?;
        let value = value.strip_suffix('s')?.parse::<f64>().ok()?;
        ["utime", "stime"].contains(&name).then_some(value)
    });
    let seconds: f64 = seconds.sum();
    if !run.status.success() || seconds == 0.0 {
        return Err(format!("ffmpeg with {graph} failed: {told}").into());
    }
    Ok(Duration::from_secs_f64(seconds))
}
