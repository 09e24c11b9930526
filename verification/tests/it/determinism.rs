//! The same bytes get the same report, however the judge's machine decodes them.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use bytes::Bytes;
use framemill_media::{DecoderConfig, Frame, MediaLimits, Rational, VideoReader};
use framemill_network::ladder::{Codec, LadderEntry};
use framemill_verification::features::{FrameFeatures, Lattice, Picture, Range};
use framemill_verification::plane::Plane;
use framemill_verification::{Kernel, Policy, Report, Tier, verify};

use crate::clips::{generated, synthetic_set};
use crate::damaged::{Bases, Case, Way, damaged, report};
use crate::fuzzed;
use crate::studio::{Clip, Recipe, entry, honest};
use crate::suite::{judged, source};

/// Judges an honest rendition of the clip with these numbers of decoder threads and kernels, and compares the reports.
fn assert_one_report(clip: &Clip, ways: &[(u32, Kernel)]) {
    let entry = entry(426, 240, 400_000);
    let rendition = honest(clip, &entry, &Recipe::default());
    let judged = |threads: u32, kernel: Kernel, policy: &Policy| -> Report {
        let source = source(clip).with_decoder_threads(threads).with_kernel(kernel);
        verify(&source, &rendition, &entry, policy, &[0; 32]).expect("a verdict")
    };
    for policy in [Policy::FULL, Policy::FIRST_FRAMES] {
        let plain = judged(1, Kernel::SCALAR, &policy);
        assert_eq!(plain.reason(), None);
        for &(threads, kernel) in ways {
            let report = judged(threads, kernel, &policy);
            assert_eq!(report.hash, plain.hash, "{}: {threads} threads, {kernel:?}", clip.name);
        }
    }
}

#[test]
fn decoder_threads_and_kernels_leave_the_report_as_it_is() {
    let best = Kernel::detect();
    let ways = [(0, best), (1, best), (3, Kernel::SCALAR), (8, Kernel::SCALAR), (8, best)];
    assert_one_report(&synthetic_set()[0], &ways);
}

#[test]
fn kernels_leave_the_report_of_any_format_as_it_is() {
    for (format, picture) in [
        ("yuv420p10le", "testsrc2=s=640x360:r=30"),
        ("yuv422p", "testsrc2=s=642x362:r=30"),
        ("yuv444p", "testsrc2=s=641x361:r=30"),
    ] {
        let clip = generated(format, picture, &["-pix_fmt", format, "-color_range", "tv"]);
        let others: Vec<_> = Kernel::available().skip(1).map(|kernel| (1, kernel)).collect();
        assert_one_report(&clip, &others);
    }
}

/// The visible samples of a frame, plane after plane.
fn pixels(frame: &Frame) -> Vec<u8> {
    let planes = (0..frame.planes()).filter_map(|index| frame.plane(index));
    planes.flat_map(|plane| plane.iter_rows().flatten().copied().collect::<Vec<u8>>()).collect()
}

#[test]
fn a_decoder_without_simd_gives_the_same_samples() {
    let limited = |format| ["-pix_fmt", format, "-color_range", "tv"];
    let hevc = LadderEntry { codec: Codec::Hevc, ..entry(320, 180, 400_000) };
    let recipe = Recipe { preset: "ultrafast", ..Recipe::default() };
    for (name, data) in [
        ("8 bits", generated("8 bits", "testsrc2=s=320x180:r=30", &limited("yuv420p")).data),
        ("10 bits", generated("10 bits", "testsrc2=s=320x180:r=30", &limited("yuv422p10le")).data),
        ("HEVC", honest(&synthetic_set()[0], &hevc, &recipe)),
    ] {
        let config = DecoderConfig { threads: 8, strict: true };
        let reader = VideoReader::open(data.clone(), &config, &MediaLimits::segment()).expect("clip opens");
        let ours: Vec<Vec<u8>> = reader.map(|frame| pixels(&frame.expect("clip decodes"))).collect();
        let plain = decoded_without_simd(&data);
        assert!(ours.len() > 20, "{name}: {} frames", ours.len());
        assert_eq!(plain.len(), ours.iter().map(Vec::len).sum::<usize>(), "{name}");
        for (index, (plain, ours)) in plain.chunks_exact(ours[0].len()).zip(&ours).enumerate() {
            assert!(plain == ours, "{name}: frame {index} differs");
        }
    }
}

/// What FFmpeg's own command decodes on one thread when it may use no instructions beyond the basic ones.
fn decoded_without_simd(data: &Bytes) -> Vec<u8> {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-cpuflags", "0", "-threads", "1", "-i", "-"]);
    command.args(["-fps_mode", "passthrough", "-f", "rawvideo", "-"]);
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("the ffmpeg command is installed");
    let mut input = child.stdin.take().expect("a pipe");
    let data = data.clone();
    let writer = std::thread::spawn(move || input.write_all(&data));
    let output = child.wait_with_output().expect("the command ends");
    writer.join().expect("the writer ends").expect("the clip is read");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Samples of a plane moved to rows that lie `stride` bytes apart, what is between them filled with noise.
fn restrided(rows: &[&[u8]], stride: usize) -> Vec<u8> {
    let mut out: Vec<u8> = (0..stride * rows.len()).map(|i| (i * 151 % 256) as u8).collect();
    for (to, row) in out.chunks_exact_mut(stride).zip(rows) {
        to[..row.len()].copy_from_slice(row);
    }
    out
}

#[test]
fn the_space_between_rows_leaves_the_features_as_they_are() {
    let config = DecoderConfig::default();
    let data = synthetic_set()[0].data.clone();
    let mut reader = VideoReader::open(data, &config, &MediaLimits::segment()).expect("source opens");
    let frame = reader.next_frame().expect("source decodes").expect("a frame");
    let measured = |padding: usize| {
        let planes = [0, 1, 2].map(|index| {
            let raw = frame.plane(index).expect("three planes");
            let rows: Vec<&[u8]> = raw.iter_rows().collect();
            let stride = raw.row_bytes() + padding;
            (restrided(&rows, stride), stride, raw.row_bytes(), raw.rows())
        });
        let plane = |index: usize| {
            let (data, stride, width, rows) = &planes[index];
            Plane::new(data, *stride, *width, *rows, 8).expect("sound plane")
        };
        let picture =
            Picture { pts: 7, range: Range::Limited, y: plane(0), chroma: Some((plane(1), plane(2))) };
        FrameFeatures::measure(&picture, Lattice::for_picture(960, 540)).canonical_bytes()
    };
    let tight = measured(0);
    for padding in [1, 13, 64, 999] {
        assert_eq!(measured(padding), tight, "{padding} bytes between rows");
    }
}

/// Digest of the features of the first fuzzed frames. It changes with the features, which makes a new version of
/// commitments and rules, and with nothing else: not with the processor.
const FUZZED: (u64, &str) = (2000, "b107575e6b963bc1dfeffdb88b03a6ed3cdcbc7ba442498d864e68101d0e46dc");

#[test]
fn fuzzed_frames_have_the_features_that_they_have_on_every_processor() {
    let (frames, digest) = FUZZED;
    for (kernel, threads) in Kernel::available().flat_map(|kernel| [(kernel, 1), (kernel, 8)]) {
        assert_eq!(fuzzed::digest(kernel, frames, threads), digest, "{kernel}, {threads} threads");
    }
}

#[test]
fn damaged_streams_get_one_report_from_every_kernel() {
    let bases = Bases::make();
    let way = |kernel| Way { threads: 1, kernel };
    let sources = |case: &Case| -> Vec<_> {
        Kernel::available().map(|kernel| (kernel, way(kernel).source(case.source.clone()))).collect()
    };
    let sources: Vec<_> = bases.judged.iter().map(sources).collect();
    let mut refused = 0;
    for seed in 0..24 {
        let judged = seed as usize % bases.judged.len();
        let (Case { entry, rendition, .. }, sources) = (&bases.judged[judged], &sources[judged]);
        let rendition = damaged(rendition, seed);
        let reports = sources.iter().map(|(_, source)| report(source.as_ref(), &rendition, entry));
        let reports: Vec<String> = reports.collect();
        assert!(reports.iter().all(|report| report != "none" && *report == reports[0]), "seed {seed}");
        let stream = damaged(&bases.decoded[seed as usize % bases.decoded.len()], seed);
        let seen: Vec<_> = sources.iter().map(|&(kernel, _)| way(kernel).look(&stream, true)).collect();
        assert!(seen.iter().all(|one| *one == seen[0]), "seed {seed}");
        refused += u64::from(!seen[0].clean);
    }
    assert!((1..24).contains(&refused), "{refused} of 24 are refused");
}

/// Names the folder of cases to the process that judges them without SIMD.
const FOLDER: &str = "FRAMEMILL_TEST_CASES";
/// Begins a line of that process.
const REPORT: &str = "report of a case: ";

#[test]
fn sources_that_are_no_420_get_one_report_with_simd_and_without() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let cases = Case::unusual().enumerate().map(|(number, case)| {
        case.write(folder.path(), number).expect("room for the case");
        let clip = Clip { name: String::new(), data: case.source, rate: Rational::new(30, 1) };
        let report = judged(&source(&clip), &case.rendition, &case.entry, &Policy::FULL);
        assert_eq!((report.tier, report.reason()), (Tier::Whole, None), "case {number}");
        report.hash.to_string()
    });
    let cases: Vec<String> = cases.collect();
    let mut command = Command::new(std::env::current_exe().expect("the tests are a program"));
    command.args(["--ignored", "--exact", "determinism::judges_without_simd", "--nocapture"]);
    let output = command.env(FOLDER, folder.path()).output().expect("the tests can run themselves");
    let told = String::from_utf8_lossy(&output.stdout);
    let plain: Vec<&str> = told.lines().filter_map(|line| line.strip_prefix(REPORT)).collect();
    assert_eq!(plain, cases, "{told}");
}

#[test]
#[ignore = "runs in the process that the test above starts"]
fn judges_without_simd() {
    framemill_media::use_plain_instructions();
    let folder = PathBuf::from(std::env::var_os(FOLDER).expect("the test above names it"));
    let way = Way { threads: 1, kernel: Kernel::SCALAR };
    for Case { source, entry, rendition } in (0..).map_while(|number| Case::read(&folder, number).ok()) {
        // On a line of its own: the name of the test stands before.
        println!("\n{REPORT}{}", report(way.source(source).as_ref(), &rendition, &entry));
    }
}

#[test]
fn a_stream_that_breaks_is_reported_without_its_pictures() {
    let bases = Bases::make();
    let Case { source, entry, rendition } = &bases.judged[0];
    let way = Way { threads: 1, kernel: Kernel::detect() };
    let source = way.source(source.clone()).expect("sound source");
    let judged =
        |rendition: &Bytes| verify(&source, rendition, entry, &Policy::FULL, &[0; 32]).expect("a verdict");
    let whole = judged(rendition);
    let broken = (0..).map(|seed| damaged(rendition, seed)).find(|stream| !way.look(stream, true).clean);
    let report = judged(&broken.expect("one that breaks"));
    assert_eq!(whole.reason(), None);
    let last = report.checks.last().expect("checks");
    assert_eq!((last.name, last.value as u64), ("undecodable_frames", source.pts().len() as u64));
    assert_eq!(report.quality.frames, 0);
}
