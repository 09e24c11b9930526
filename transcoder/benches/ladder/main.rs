//! The software engine against the `ffmpeg` command line doing the same ladder in one process, both in processes of their own.
//!
//! Nine sources: three contents, each at 1080p60, 1080p30 and 720p30. Then a stream of segments of two seconds against one run of
//! `ffmpeg` over the whole, for what segments cost and what a session holds. Jobs take turns and the least of each counts, because
//! other work on the machine only ever adds. Time is compared with `ffmpeg` as it chooses threads, pictures with `ffmpeg` whose
//! encoders have as many as ours: by their threads x264 decides what it spends. Prints the figures and which goals are met, and last
//! one JSON object; asserts nothing.
//!
//! `cargo bench -p framemill-transcoder --bench ladder`, with `-- NAME` for the part that is called so, as `drawn 1080p30` or `stream`.
//! Filmed content comes from `$FRAMEMILL_MEDIA` or `../shared/media` beside the project, and is skipped where neither has it.

mod quality;
mod sides;
mod sources;

use std::{error::Error, ffi::OsString, path::Path};

use serde_json::{Map, Value, json};

use quality::{Quality, compare};
use sides::{Cost, Side, Threads, Work};
use sources::{Content, SHAPES, Shape, Source};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Rounds over all sides of a source.
const ROUNDS: usize = 2;
/// Length of each source in seconds: two segments.
const SECONDS: u32 = 4;
/// Length of the stream in seconds, within what one job may have.
const STREAM_SECONDS: u32 = 28;
/// Length of a segment in seconds.
const SEGMENT_SECONDS: u32 = 2;

/// What the figures are to be.
const CPU: f64 = 1.0;
const WALL: f64 = 0.95;
const PSNR_DB: f64 = 0.1;
const BITRATE: f64 = 0.05;
const SEGMENTING: f64 = 1.03;
const MEMORY: f64 = 1.2;

fn main() -> Result<()> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match arguments.first().and_then(|first| first.to_str()) {
        Some(sides::WORKER) => sides::work(&arguments[1..]),
        _ if arguments.iter().any(|argument| argument == "--bench") => bench(
            arguments.iter().find_map(|argument| argument.to_str().filter(|name| !name.starts_with('-'))),
        ),
        _ => {
            println!("run with `cargo bench`");
            Ok(())
        }
    }
}

/// All of it, or what has this in its name.
fn bench(only: Option<&str>) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let threads = std::thread::available_parallelism()?;
    let contents = sources::contents();
    println!("software ladder vs ffmpeg command line, {threads} cpu threads");
    let mut goals = Goals::default();
    // First, because Linux counts what this process holds as held by a child that has just begun.
    let wanted = |name: &str| only.is_none_or(|only| name.contains(only));
    let stream = match wanted("stream") {
        true => stream(&contents[0], folder.path(), &mut goals)?,
        false => Value::Null,
    };
    let mut table = Map::new();
    for content in &contents {
        for shape in SHAPES.iter().filter(|shape| wanted(&content.name(shape))) {
            let source = content.source(shape, SECONDS, folder.path())?;
            table.insert(source.name.clone(), ladder(&source, folder.path(), &mut goals)?);
        }
    }
    goals.tell();
    let figures = json!({ "threads": threads, "ladder": table, "stream": stream, "missed": goals.missed });
    println!("{figures}");
    Ok(())
}

/// A whole source as one job.
fn ladder(source: &Source, folder: &Path, goals: &mut Goals) -> Result<Value> {
    let ffmpeg = |threads| Side::Ffmpeg { threads, keyframes: SECONDS };
    let sides = [Side::Ours(Work::Whole), ffmpeg(Threads::Chosen), ffmpeg(Threads::Ours)];
    let [ours, chosen, same] = least(sides, source, folder)?;
    let (cpu, wall) = (ours.cpu / chosen.cpu, ours.wall / chosen.wall);
    let name = &source.name;
    println!("\n{name}, {} s, made into {}", source.seconds, source.shape.rungs());
    row("cpu", "s", [ours.cpu, chosen.cpu, same.cpu]);
    row("wall", "s", [ours.wall, chosen.wall, same.wall]);
    goals.at_most(format!("{name}: cpu"), cpu, CPU);
    goals.at_most(format!("{name}: wall"), wall, WALL);
    let mut rungs = Map::new();
    for rung in source.shape.ladder()?.iter() {
        let Quality { psnr, peer_psnr, bitrate } = compare(source, &rung.name, folder)?;
        let better = psnr - peer_psnr;
        println!(
            "  {:<5} psnr {psnr:.2} dB vs {peer_psnr:.2} dB = {better:+.2} dB   bitrate {bitrate:.3}x",
            rung.name
        );
        goals.at_most(format!("{name}, {}: dB of psnr that are lost", rung.name), -better, PSNR_DB);
        goals.at_most(format!("{name}, {}: bitrate off by", rung.name), (bitrate - 1.0).abs(), BITRATE);
        rungs.insert(rung.name.clone(), json!({ "psnr_db": rounded(better), "bitrate": rounded(bitrate) }));
    }
    Ok(json!({ "cpu": rounded(cpu), "wall": rounded(wall), "rungs": rungs }))
}

/// A stream of segments through one engine, as a session brings them.
fn stream(content: &Content, folder: &Path, goals: &mut Goals) -> Result<Value> {
    let source = content.source(&Shape::FULL_HD_30, STREAM_SECONDS, folder)?;
    let ffmpeg = |threads| Side::Ffmpeg { threads, keyframes: SEGMENT_SECONDS };
    let sides =
        [Side::Ours(Work::Segments), Side::Ours(Work::Whole), ffmpeg(Threads::Chosen), ffmpeg(Threads::Ours)];
    let [segments, whole, chosen, same] = least(sides, &source, folder)?;
    let cpu = segments.cpu / chosen.cpu;
    let memory = segments.peak_mib / chosen.peak_mib;
    println!("\n{}, {STREAM_SECONDS} s in segments of 2 s, one after the other", source.name);
    row("cpu", "s", [segments.cpu, chosen.cpu, same.cpu]);
    row("wall", "s", [segments.wall, chosen.wall, same.wall]);
    row("peak memory", "MiB", [segments.peak_mib, chosen.peak_mib, same.peak_mib]);
    let cut = segments.cpu / whole.cpu;
    println!("  as one job {:.2} s of cpu: segments cost {:+.1} %", whole.cpu, 100.0 * (cut - 1.0));
    goals.at_most("segments: cpu, unsegmented ffmpeg".to_owned(), cpu, SEGMENTING);
    goals.at_most("an active 1080p session: memory".to_owned(), memory, MEMORY);
    Ok(json!({
        "cpu": rounded(cpu),
        "cpu_of_one_job": rounded(cut),
        "memory": rounded(memory),
        "peak_mib": rounded(segments.peak_mib),
    }))
}

/// Runs the sides in turns.
fn least<const N: usize>(sides: [Side; N], source: &Source, folder: &Path) -> Result<[Cost; N]> {
    let mut least = [Cost::WORST; N];
    for _ in 0..ROUNDS {
        for (side, least) in sides.iter().zip(&mut least) {
            *least = least.least(side.run(source, folder)?);
        }
    }
    Ok(least)
}

fn row(what: &str, unit: &str, [ours, chosen, same]: [f64; 3]) {
    println!("  {what}: {ours:.2} {unit}; ffmpeg {chosen:.2} {unit}, with our threads {same:.2} {unit}");
}

/// To a thousandth.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// Which goals are met.
#[derive(Default)]
struct Goals {
    met: usize,
    missed: Vec<String>,
}

impl Goals {
    fn at_most(&mut self, what: String, value: f64, bound: f64) {
        match value <= bound {
            true => self.met += 1,
            false => self.missed.push(format!("{what} {value:.3}, goal {bound}")),
        }
    }

    fn tell(&self) {
        println!(
            "\ngoals: cpu <= {CPU:.2}x, wall <= {WALL}x of the command line, psnr no worse by more than {PSNR_DB} dB,"
        );
        println!(
            "bitrate within {:.0} %; segments <= {SEGMENTING}x of unsegmented ffmpeg's cpu, memory <= {MEMORY}x",
            100.0 * BITRATE
        );
        println!("{} met, {} missed", self.met, self.missed.len());
        self.missed.iter().for_each(|missed| println!("  missed: {missed}"));
    }
}
