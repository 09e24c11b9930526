//! CPU of verification as a share of the CPU of the transcode it verifies, and beside FFmpeg's own comparisons of the
//! same pictures, all measured in this run on one thread.
//!
//! Prints one line per figure and, last, one JSON object. `cargo bench -p framemill-verification`.

use std::hint::black_box;
use std::process::Command;
use std::time::{Duration, Instant};

use alloy_primitives::B256;
use bytes::Bytes;
use framemill_media::{
    ClipSpec, DecoderConfig, Encoder, EncoderConfig, Frame, MediaError, MediaLimits, Muxer, OutputFormat,
    Rational, Scaler, ScalerConfig, VideoReader, generate_clip,
};
use framemill_network::ladder::{Codec, FrameRate, Ladder, LadderEntry};
use framemill_network::{RenditionClaim, SignedReceipt, SigningDomain, TranscodeReceipt, renditions_root};
use framemill_verification::evidence::{Bundle, Case, ClaimRecord, Outcome, Parts, ReceiptRecord};
use framemill_verification::features::{FrameFeatures, Lattice, Picture, Range};
use framemill_verification::plane::Plane;
use framemill_verification::{Kernel, PPM, Policy, SourceReference, commit, declare, verify};
use probabilistic_ticket::EthKey;
use sha2::{Digest, Sha256};

const LADDER: [(u32, u32, u32); 3] = [(1280, 720, 3_000_000), (854, 480, 1_500_000), (640, 360, 800_000)];
/// As long as a usual segment.
const SECONDS: u32 = 2;
const RATE: Rational = Rational::new(30, 1);
/// Other work on the machine only ever adds to what is measured: the least of so many runs counts.
const REPEATS: usize = 5;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let limits = MediaLimits::segment();
    let spec = ClipSpec { bitrate: 6_000_000, audio: None, ..ClipSpec::new(1920, 1080, RATE, SECONDS) };
    let source = generate_clip(&spec, &limits)?;
    let renditions = transcode(&source, &limits)?;
    let whole_work = least(|| transcode(&source, &limits))?;
    println!(
        "transcode of {SECONDS} s, 1080p30 to {} rungs, x264 veryfast, one thread: {whole_work:.2?} = 100 %",
        LADDER.len()
    );

    let mut shares = serde_json::Map::new();
    let mut report = |name: &str, time: Duration| -> f64 {
        let share = 100.0 * time.as_secs_f64() / whole_work.as_secs_f64();
        println!("{name:58} {share:7.2} %");
        shares.insert(name.replace(' ', "_"), serde_json::json!((share * 100.0).round() / 100.0));
        share
    };
    let judged = |policy| least(|| judgement(&source, &renditions, policy));
    let decode = least(|| decode_all(std::iter::once(&source).chain(&renditions), &limits))?;
    let structure = report("structure only", judged(Policy::STRUCTURE_ONLY)?);
    let first = report("structure and first frames", judged(Policy::FIRST_FRAMES)?);
    let whole = judged(Policy::FULL)?;
    let every = report("structure and every frame", whole);
    let rate = |ppm: u32| f64::from(ppm) / f64::from(PPM);
    let (q1, q2) = (rate(Policy::FLOOR.first_frame_ppm), rate(Policy::FLOOR.whole_ppm));
    let floor = structure + (q1 - q2).max(0.0) * (first - structure) + q2 * (every - structure);
    report("the sampling floor on average", whole_work.mul_f64(floor / 100.0));
    report("decoding of source and rungs alone", decode);
    report("features and comparison beyond decoding", whole.saturating_sub(decode));
    for kernel in Kernel::available() {
        let name = format!("features of source and rungs, chroma included, {kernel}");
        report(&name, features(&source, &renditions, &limits, kernel)?);
    }
    let decode_rungs = least(|| decode_all(renditions.iter(), &limits))?;
    report("decoding of rungs alone", decode_rungs);
    let committed = least(|| renditions.iter().try_for_each(|rung| commit(rung, &limits).map(drop)))?;
    report("feature commitments of all rungs, which a claim check repeats", committed);
    report("feature commitments beyond decoding", committed.saturating_sub(decode_rungs));
    let declared = least(|| declaration(&source, &renditions))?;
    report("feature commitments and quality of all rungs", declared);
    report("quality beyond the commitments, decoding of the source in", declared.saturating_sub(committed));
    let bundles = bundles(&source, &renditions, &limits)?;
    let juror = least(|| bundles.iter().try_for_each(|bundle| dismissed(bundle, &limits)))?;
    report("a bundle of each rung, judged by a juror", juror);
    let evidence = least(|| decode_all(renditions.iter().flat_map(|rung| [&source, rung]), &limits))?;
    report("decoding of source and rung for each of them", evidence);
    filters(&source, &renditions, &mut report)?;
    println!("a juror takes {:.2} times decoding", juror.as_secs_f64() / evidence.as_secs_f64());
    println!("judging every frame takes {:.2} times decoding", whole.as_secs_f64() / decode.as_secs_f64());
    println!("{}", serde_json::json!({ "verification_share_of_transcode_percent": shares }));
    Ok(())
}

/// The least CPU time of several runs.
fn least<T, E>(mut work: impl FnMut() -> Result<T, E>) -> Result<Duration, E> {
    let mut least = Duration::MAX;
    for _ in 0..REPEATS {
        let start = cpu_time();
        black_box(work()?);
        least = least.min(cpu_time().saturating_sub(start));
    }
    Ok(least)
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

fn entry((width, height, bitrate): (u32, u32, u32)) -> LadderEntry {
    LadderEntry { width, ..LadderEntry::from_height(height, FrameRate::SOURCE, bitrate, Codec::H264) }
}

/// Decodes once and encodes every rung, all on this thread.
fn transcode(source: &Bytes, limits: &MediaLimits) -> Result<Vec<Bytes>, MediaError> {
    struct Rung {
        scaler: Scaler,
        encoder: Encoder,
        muxer: Muxer,
    }
    let mut rungs = Vec::new();
    for (width, height, bitrate) in LADDER {
        let scaler = Scaler::new(ScalerConfig::yuv420p(width, height), limits)?;
        let encoder = Encoder::new(&EncoderConfig::h264(width, height, u64::from(bitrate), RATE))?;
        let mut builder = Muxer::builder(OutputFormat::MpegTs);
        builder.add_stream(encoder.parameters())?;
        rungs.push(Rung { scaler, encoder, muxer: builder.start()? });
    }
    let mut reader = VideoReader::open(source.clone(), &DecoderConfig::default(), limits)?;
    while let Some(frame) = reader.next_frame()? {
        for rung in &mut rungs {
            rung.encoder.send(&rung.scaler.scale(&frame)?)?;
            while let Some(packet) = rung.encoder.receive()? {
                rung.muxer.write(0, &packet)?;
            }
        }
    }
    let mut renditions = Vec::new();
    for mut rung in rungs {
        rung.encoder.flush()?;
        while let Some(packet) = rung.encoder.receive()? {
            rung.muxer.write(0, &packet)?;
        }
        renditions.push(rung.muxer.finish()?);
    }
    Ok(renditions)
}

/// Judges the whole ladder once, reading the source included.
fn judgement(source: &Bytes, renditions: &[Bytes], policy: Policy) -> Result<(), Failure> {
    let reference = SourceReference::new(source.clone(), &MediaLimits::segment())?;
    for (rendition, rung) in renditions.iter().zip(LADDER) {
        let report = verify(&reference, rendition, &entry(rung), &policy, &[0; 32])?;
        if let Some(reason) = report.reason() {
            return Err(format!("an honest rendition is refused: {reason}").into());
        }
    }
    Ok(())
}

/// What an orchestrator does whose price follows the quality.
fn declaration(source: &Bytes, renditions: &[Bytes]) -> Result<(), Failure> {
    let limits = MediaLimits::segment();
    let reference = SourceReference::new(source.clone(), &limits)?;
    for (rendition, rung) in renditions.iter().zip(LADDER) {
        declare(rendition, &reference, &entry(rung), &limits)?;
    }
    Ok(())
}

/// A case about each of the renditions, in which everything is as it was signed.
fn bundles(source: &Bytes, renditions: &[Bytes], limits: &MediaLimits) -> Result<Vec<Bundle>, Failure> {
    let sha256 = |data: &Bytes| B256::from_slice(&Sha256::digest(data));
    let ladder = Ladder::new(LADDER.map(entry).into())?;
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
        source_hash: sha256(source),
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
        let (rendition, source) = (rendition.clone(), Some(source.clone()));
        Ok(Bundle::new(Parts { case, ladder: &ladder, rendition, source, report: None, opening: None })?)
    };
    (0..).zip(renditions).map(bundle).collect()
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

/// Time of the features alone, over frames that were just decoded: for every frame the least of several runs, since what
/// takes a tenth of a millisecond is seldom interrupted each time.
fn features(
    source: &Bytes,
    renditions: &[Bytes],
    limits: &MediaLimits,
    kernel: Kernel,
) -> Result<Duration, Failure> {
    let lattice = Lattice::for_picture(1920, 1080);
    let mut least: Vec<Duration> = Vec::new();
    for _ in 0..REPEATS {
        let mut index = 0;
        for data in std::iter::once(source).chain(renditions) {
            let mut reader = VideoReader::open(data.clone(), &DecoderConfig::default(), limits)?;
            while let Some(frame) = reader.next_frame()? {
                let start = Instant::now();
                black_box(FrameFeatures::measure_by(kernel, &picture(&frame)?, lattice));
                let spent = start.elapsed();
                match least.get_mut(index) {
                    Some(least) => *least = spent.min(*least),
                    None => least.push(spent),
                }
                index += 1;
            }
        }
    }
    Ok(least.iter().sum())
}

/// What FFmpeg's filters take for the ladder, decoding included.
fn filters(
    source: &Bytes,
    renditions: &[Bytes],
    report: &mut impl FnMut(&str, Duration) -> f64,
) -> Result<(), Failure> {
    let folder = std::env::temp_dir().join(format!("framemill-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let file = |name: &str, data: &Bytes| -> Result<String, Failure> {
        let path = folder.join(name);
        std::fs::write(&path, data)?;
        Ok(path.to_string_lossy().into_owned())
    };
    let source = file("source.ts", source)?;
    for filter in ["psnr", "ssim", "signature=nb_inputs=2:detectmode=full"] {
        let mut time = Duration::ZERO;
        for (rendition, (width, height, _)) in renditions.iter().zip(LADDER) {
            let rendition = file("rendition.ts", rendition)?;
            let scale = if filter.starts_with("signature") {
                "null".to_owned()
            } else {
                format!("scale={width}:{height}:flags=area")
            };
            let graph = format!("[1:v]{scale}[s];[0:v][s]{filter}");
            time += ffmpeg(&rendition, &source, &graph)?;
        }
        let name = filter.split('=').next().unwrap_or(filter);
        report(&format!("ffmpeg's {name} filter, each rung against the source"), time);
    }
    std::fs::remove_dir_all(&folder)?;
    Ok(())
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

fn picture(frame: &Frame) -> Result<Picture<'_>, Failure> {
    let plane = |index| -> Result<Plane<'_>, Failure> {
        let plane = frame.plane(index).ok_or("a 4:2:0 frame has three planes")?;
        Ok(Plane::new(plane.data(), plane.stride(), plane.row_bytes(), plane.rows(), 8)?)
    };
    Ok(Picture { pts: 0, range: Range::Limited, y: plane(0)?, chroma: Some((plane(1)?, plane(2)?)) })
}
