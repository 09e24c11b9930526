//! CPU of verification as a share of the CPU of the transcode it verifies, both measured in this run on one thread.
//!
//! Prints one line per figure and, last, one JSON object. `cargo bench -p framemill-verification`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use framemill_media::{
    ClipSpec, DecoderConfig, Encoder, EncoderConfig, Frame, MediaError, MediaLimits, Muxer, OutputFormat,
    Rational, Scaler, ScalerConfig, VideoReader, generate_clip,
};
use framemill_network::ladder::{Codec, FrameRate, LadderEntry};
use framemill_verification::features::{FrameFeatures, Lattice, Picture, Range};
use framemill_verification::plane::Plane;
use framemill_verification::{Policy, SourceReference, commit, verify};

const LADDER: [(u32, u32, u32); 3] = [(1280, 720, 3_000_000), (854, 480, 1_500_000), (640, 360, 800_000)];
const SECONDS: u32 = 4;
const RATE: Rational = Rational::new(30, 1);
/// Judgements are short: repeated so that the clock's step does not matter.
const REPEATS: u32 = 3;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limits = MediaLimits::segment();
    let spec = ClipSpec { bitrate: 6_000_000, audio: None, ..ClipSpec::new(1920, 1080, RATE, SECONDS) };
    let source = generate_clip(&spec, &limits)?;
    let (renditions, transcode) = timed(|| transcode(&source, &limits))?;
    println!(
        "transcode, 1080p30 to {} rungs, x264 veryfast, one thread: {transcode:.2?} = 100 %",
        LADDER.len()
    );

    let mut shares = serde_json::Map::new();
    let mut report = |name: &str, time: Duration| {
        let share = 100.0 * time.as_secs_f64() / transcode.as_secs_f64();
        println!("{name:58} {share:7.2} %");
        shares.insert(name.replace(' ', "_"), serde_json::json!((share * 100.0).round() / 100.0));
    };
    report("structure only", judgement(&source, &renditions, Policy::STRUCTURE_ONLY)?);
    report("structure and first frames", judgement(&source, &renditions, Policy::FIRST_FRAMES)?);
    let whole = judgement(&source, &renditions, Policy::FULL)?;
    report("structure and every frame, the default policy", whole);
    let decode = timed(|| decode_all(std::iter::once(&source).chain(&renditions), &limits))?.1;
    report("decoding of source and rungs alone", decode);
    report("features and comparison beyond decoding", whole.saturating_sub(decode));
    report("area means of source and rungs", features(&source, &renditions, &limits)?);
    let decode = timed(|| decode_all(renditions.iter(), &limits))?.1;
    report("decoding of rungs alone", decode);
    let committed = timed(|| renditions.iter().try_for_each(|rung| commit(rung, &limits).map(drop)))?.1;
    report("feature commitments of all rungs, which a claim check repeats", committed);
    report("feature commitments beyond decoding", committed.saturating_sub(decode));
    println!("{}", serde_json::json!({ "verification_share_of_transcode_percent": shares }));
    Ok(())
}

fn timed<T, E>(work: impl FnOnce() -> Result<T, E>) -> Result<(T, Duration), E> {
    let start = Instant::now();
    let result = work()?;
    Ok((result, start.elapsed()))
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

/// Time to judge the whole ladder once, source included.
fn judgement(
    source: &Bytes,
    renditions: &[Bytes],
    policy: Policy,
) -> Result<Duration, Box<dyn std::error::Error>> {
    let (_, time) = timed(|| -> Result<(), Box<dyn std::error::Error>> {
        for _ in 0..REPEATS {
            let reference = SourceReference::new(source.clone(), &MediaLimits::segment())?;
            for (rendition, rung) in renditions.iter().zip(LADDER) {
                let report = verify(&reference, rendition, &entry(rung), &policy, &[0; 32])?;
                if let Some(reason) = report.reason() {
                    return Err(format!("an honest rendition is refused: {reason}").into());
                }
            }
        }
        Ok(())
    })?;
    Ok(time / REPEATS)
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

/// Time of the area means alone, over frames that were just decoded.
fn features(
    source: &Bytes,
    renditions: &[Bytes],
    limits: &MediaLimits,
) -> Result<Duration, Box<dyn std::error::Error>> {
    let mut spent = Duration::ZERO;
    for data in std::iter::once(source).chain(renditions) {
        let mut reader = VideoReader::open(data.clone(), &DecoderConfig::default(), limits)?;
        while let Some(frame) = reader.next_frame()? {
            let start = Instant::now();
            black_box(FrameFeatures::measure(&picture(&frame)?, Lattice::for_picture(1920, 1080)));
            spent += start.elapsed();
        }
    }
    Ok(spent)
}

fn picture(frame: &Frame) -> Result<Picture<'_>, Box<dyn std::error::Error>> {
    let plane = |index| -> Result<Plane<'_>, Box<dyn std::error::Error>> {
        let plane = frame.plane(index).ok_or("a 4:2:0 frame has three planes")?;
        Ok(Plane::new(plane.data(), plane.stride(), plane.row_bytes(), plane.rows(), 8)?)
    };
    Ok(Picture { pts: 0, range: Range::Limited, y: plane(0)?, chroma: Some((plane(1)?, plane(2)?)) })
}
