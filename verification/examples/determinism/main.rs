//! Looks at many fuzzed frames in every way this machine knows and compares: `determinism [FRAMES]`.
//!
//! Random pictures are measured by every kernel on one and on eight threads. Then H.264 and HEVC streams of many formats,
//! most of them with their coded pictures damaged at random, are decoded and judged by processes that differ in FFmpeg's
//! instructions, decoder threads and kernels. Ends with failure where of the same samples any two measure another feature
//! or write another report, and where FFmpeg decodes a whole stream to other samples. Of damaged ones it may: they are
//! counted.

#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../../tests/it/damaged.rs"]
mod damaged;
#[path = "../../tests/it/fuzzed.rs"]
mod fuzzed;
#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../../tests/it/picture.rs"]
mod picture;
#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../../tests/it/studio.rs"]
mod studio;

use std::io::Write as _;
use std::process::{Command, ExitCode, Stdio};

use bytes::Bytes;
use damaged::{Bases, Case, JUDGED, STREAMS, Seen, Way, damaged, report};
use framemill_verification::Kernel;

type Failure = Box<dyn std::error::Error>;

/// Random pictures and decoded frames, each at least.
const FRAMES: u64 = 100_000;

/// Streams of one round: after each it is seen whether there were frames enough.
const ROUND: u64 = 500;

/// One stream in so many is left whole. Prime to the kinds of streams, so that each is.
const WHOLE_EVERY: u64 = 9;

/// One way of looking: which instructions FFmpeg may use, its threads, and our kernel.
struct Setting {
    plain: bool,
    threads: u32,
    kernel: Kernel,
}

impl Setting {
    fn all() -> Vec<Self> {
        let of = |plain, threads, kernel| Self { plain, threads, kernel };
        let mut all = vec![of(true, 1, Kernel::SCALAR), of(false, 1, Kernel::SCALAR)];
        all.extend(Kernel::available().skip(1).map(|kernel| of(false, 8, kernel)));
        all.push(of(true, 3, Kernel::detect()));
        all
    }

    fn name(&self) -> String {
        let simd = if self.plain { "FFmpeg without SIMD" } else { "FFmpeg with SIMD" };
        format!("{simd}, {} decoder threads, {} kernel", self.threads, self.kernel)
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--look", plain, threads, kernel, folder, first] => look(plain, threads, kernel, folder, first),
        [] => compare(FRAMES),
        [frames] => frames.parse().map_err(Failure::from).and_then(compare),
        _ => Err("usage: determinism [FRAMES]".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("determinism: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn compare(frames: u64) -> Result<(), Failure> {
    let wanted = fuzzed::digest(Kernel::SCALAR, frames, 1);
    println!("{frames} random pictures: {wanted}");
    for (kernel, threads) in Kernel::available().flat_map(|kernel| [(kernel, 1), (kernel, 8)]) {
        let same = fuzzed::digest(kernel, frames, threads) == wanted;
        println!("    {kernel} kernel, {threads} threads: {}", if same { "the same" } else { "ANOTHER" });
        if !same {
            return Err(format!("the {kernel} kernel measures random pictures otherwise").into());
        }
    }
    streams(frames)
}

/// Compares what every setting sees of streams, until there were frames enough.
fn streams(frames: u64) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let bases = Bases::make();
    let file = |name: &str, data: &[u8]| std::fs::write(folder.path().join(name), data);
    for (index, stream) in bases.decoded.iter().enumerate() {
        file(&format!("decoded-{index}"), stream)?;
    }
    for (number, case) in bases.judged.iter().enumerate() {
        case.write(folder.path(), number)?;
    }
    let settings = Setting::all();
    let (first, others) = settings.split_first().ok_or("no settings")?;
    let mut tallies = vec![Tally::default(); others.len()];
    let mut round = 0;
    let lacks = |tally: &Tally| tally.frames.min(tally.judged) < frames;
    while tallies.iter().any(lacks) {
        let of = |setting: &Setting| lines(setting, &folder.path().to_string_lossy(), round * ROUND);
        let wanted = of(first)?;
        // Where FFmpeg's threads make other pictures of what is damaged, it takes more streams than elsewhere.
        for (setting, tally) in others.iter().zip(&mut tallies).filter(|(_, tally)| lacks(tally)) {
            for (wanted, line) in wanted.iter().zip(of(setting)?) {
                tally
                    .add(setting, wanted, &line)
                    .map_err(|reason| format!("{}: {reason}", setting.name()))?;
            }
        }
        round += 1;
        let least = tallies.iter().map(|tally| tally.frames.min(tally.judged)).min().unwrap_or(0);
        eprintln!("{} streams looked at: reports on {least} frames in every setting", round * ROUND);
    }
    println!("{} streams or fewer, against {}", round * ROUND, first.name());
    for (setting, Tally { frames, judged, reports, whole, otherwise }) in others.iter().zip(&tallies) {
        println!("    {}: the same features of {frames} frames ({whole} of whole streams)", setting.name());
        println!("        the same {reports} reports, on {judged} frames");
        println!("        {otherwise} damaged streams that FFmpeg itself decodes otherwise");
    }
    Ok(())
}

/// What two settings agree on.
#[derive(Clone, Default)]
struct Tally {
    frames: u64,
    /// Decoded frames that reports are on.
    judged: u64,
    reports: u64,
    /// Frames of streams that were not damaged.
    whole: u64,
    /// Damaged streams of which FFmpeg made other pictures, or which it refused in one setting only.
    otherwise: u64,
}

impl Tally {
    /// Takes the lines that two settings wrote on the same stream: of the same samples there must be the same features and
    /// reports, and of a whole stream the same samples.
    fn add(&mut self, setting: &Setting, wanted: &str, line: &str) -> Result<(), String> {
        let parts = |line: &str| -> Option<[String; 4]> {
            let parts: Vec<String> = line.split('|').map(str::to_owned).collect();
            parts.try_into().ok()
        };
        let too_short = || format!("cannot read {line}");
        let [stream, counts, decoded, derived] = parts(wanted).ok_or_else(too_short)?;
        let [_, _, other_decoded, other_derived] = parts(line).ok_or_else(too_short)?;
        let whole = stream.ends_with("whole");
        if decoded != other_decoded {
            self.otherwise += 1;
            return if whole { Err(format!("{stream} decodes otherwise")) } else { Ok(()) };
        }
        let counts = counts.split(' ').map(|count| count.parse().map_err(|_| too_short()));
        let counts: Vec<u64> = counts.collect::<Result<_, _>>()?;
        let [frames, judged, reports] = counts[..] else { return Err(too_short()) };
        if derived != other_derived && !whole && reports != 0 && setting.threads > 1 {
            // The judge decodes in another way than the tool, so that threads may show there alone.
            self.otherwise += 1;
            return Ok(());
        }
        if derived != other_derived {
            return Err(format!(
                "of the same samples of stream {stream}\n    {derived}\n    {other_derived}"
            ));
        }
        self.frames += frames;
        self.judged += judged;
        self.whole += if whole { frames } else { 0 };
        self.reports += reports;
        Ok(())
    }
}

/// What a process of this setting writes on a round of streams.
fn lines(setting: &Setting, folder: &str, first: u64) -> Result<Vec<String>, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--look", &setting.plain.to_string(), &setting.threads.to_string()]);
    command.args([&setting.kernel.to_string(), folder, &first.to_string()]);
    let output = command.stdout(Stdio::piped()).spawn()?.wait_with_output()?;
    let lines: Vec<String> = String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect();
    if output.status.success() && lines.len() as u64 == ROUND {
        Ok(lines)
    } else {
        Err(format!("{}: ended after {} of {ROUND} streams", setting.name(), lines.len()).into())
    }
}

/// Prints for every stream of a round which it is, how many frames it had, of how many reports tell, and how many reports these
/// are, what FFmpeg decoded, and what we made of that.
fn look(plain: &str, threads: &str, kernel: &str, folder: &str, first: &str) -> Result<(), Failure> {
    if plain.parse()? {
        framemill_media::use_plain_instructions();
    }
    let kernel = Kernel::available().find(|known| known.to_string() == kernel).ok_or("no such kernel")?;
    let way = Way { threads: threads.parse()?, kernel };
    let read = |name: String| std::fs::read(format!("{folder}/{name}")).map(Bytes::from);
    let cases = (0..JUDGED).map(|number| Case::read(folder.as_ref(), number));
    let cases: Vec<Case> = cases.collect::<Result<_, _>>()?;
    let clean: Vec<_> = cases.iter().map(|case| way.source(case.source.clone())).collect();
    let mut out = std::io::stdout().lock();
    let first: u64 = first.parse()?;
    for number in first..first + ROUND {
        let whole = number % WHOLE_EVERY == 0;
        let harm = |stream: Bytes| if whole { stream } else { damaged(&stream, number) };
        let name = if whole { "whole" } else { "damaged" };
        let turn = (number / 2) as usize;
        if number % 2 == 0 {
            let case = turn % JUDGED;
            let (Case { source, entry, rendition }, clean) = (&cases[case], &clean[case]);
            let (harmed, source) = (harm(rendition.clone()), harm(source.clone()));
            let [strict, lenient] = [way.look(&harmed, true), way.look(&source, false)];
            let against = way.source(source);
            let reports =
                [report(clean.as_ref(), &harmed, entry), report(against.as_ref(), rendition, entry)];
            let frames = strict.frames + lenient.frames;
            // Nobody looks at the pictures of a rendition that breaks, and no report is on a source that cannot be read.
            let judged = [(strict.clean, strict.frames), (against.is_some(), lenient.frames)];
            let judged: u64 = judged.iter().filter_map(|&(counts, frames)| counts.then_some(frames)).sum();
            let decoded = [strict.decoded, lenient.decoded].join(" ");
            writeln!(out, "{number} {name}|{frames} {judged} 2|{decoded}|{reports:?}")?;
        } else {
            let harmed = harm(read(format!("decoded-{}", turn % STREAMS.len()))?);
            let Seen { frames, decoded, features, .. } = way.look(&harmed, true);
            writeln!(out, "{number} {name}|{frames} 0 0|{decoded}|{features}")?;
        }
    }
    Ok(())
}
