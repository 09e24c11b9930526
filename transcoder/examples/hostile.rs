//! Every clip cut off at random places and with bytes changed, through probe, segmenter and engine, in processes that may die of it.
//!
//! `cargo run -p framemill-transcoder --example hostile -- [--cuts N] [--flips N] [--seed N] [--clip NAME] [--damage DAMAGE] [--seconds N]`:
//! 64 cuts and 4 runs of changed bytes at each of two rates for each clip of `$FRAMEMILL_MEDIA`, of `../shared/media` beside the
//! checkout, and for clips it makes itself. A report names each case so that `--clip` and `--damage` try it again. A step that
//! takes longer than so many seconds, 60 by default, is a flaw: give more where the machine does other work.

use std::{
    env,
    error::Error,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

mod abuse;
mod process;

use abuse::case::{Case, Damage, Measure, cases};

/// What the process that does the work is told.
const WORKER: &str = "--worker";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [WORKER, seconds] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        return Ok(abuse::worker::work(Duration::from_secs(seconds.parse()?))?);
    }
    let options = Options::parse(&arguments)?;
    let folder = tempfile::tempdir()?;
    let cases = options.cases(folder.path())?;
    println!("{} cases, seed {}", cases.len(), options.measure.seed);
    let tell = |case: &Case, outcome: &str| println!("{case}: {outcome}");
    let deadline = Duration::from_secs(options.seconds);
    let report =
        abuse::run(&cases, &env::current_exe()?, &[WORKER, &options.seconds.to_string()], deadline, tell)?;
    let ((memory, largest), (millis, slowest)) = (&report.largest, &report.slowest);
    println!("{} cases; most memory {memory} KiB ({largest}); longest {millis} ms ({slowest})", report.cases);
    for flaw in &report.flaws {
        println!("FLAW {flaw}");
    }
    match report.flaws.len() {
        0 => Ok(()),
        flaws => Err(format!("{flaws} cases went wrong, seed {}", options.measure.seed).into()),
    }
}

/// What the command line asks for.
struct Options {
    measure: Measure,
    clip: Option<String>,
    damage: Option<Damage>,
    seconds: u64,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self, Box<dyn Error>> {
        let measure = Measure { cuts: 64, flips: 4, seed: rand::random() };
        let seconds = abuse::worker::DEADLINE.as_secs();
        let mut options = Self { measure, clip: None, damage: None, seconds };
        for pair in arguments.chunks(2) {
            let [name, value] = pair else { return Err(format!("{pair:?} lacks a value").into()) };
            match name.as_str() {
                "--cuts" => options.measure.cuts = value.parse()?,
                "--flips" => options.measure.flips = value.parse()?,
                "--seed" => options.measure.seed = value.parse()?,
                "--clip" => options.clip = Some(value.clone()),
                "--seconds" => options.seconds = value.parse()?,
                "--damage" => options.damage = Some(value.parse()?),
                _ => return Err(format!("{name} is no option; see the first lines of the example").into()),
            }
        }
        Ok(options)
    }

    fn cases(&self, folder: &Path) -> Result<Vec<Case>, Box<dyn Error>> {
        let clips = [found(&media_folder())?, abuse::clips::make(folder)?].concat();
        let wanted = |path: &&PathBuf| self.clip.as_ref().is_none_or(|name| path.ends_with(name));
        let mut all = Vec::new();
        for clip in clips.iter().filter(wanted) {
            match self.damage {
                Some(damage) => all.push(Case { clip: clip.clone(), damage }),
                None => all.extend(cases(clip.clone(), fs::read(clip)?.len(), self.measure)),
            }
        }
        Ok(all)
    }
}

/// Where clips lie that no test makes.
fn media_folder() -> PathBuf {
    env::var_os("FRAMEMILL_MEDIA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/media"), PathBuf::from)
}

/// The files of a folder of clips; none where the folder is not there.
fn found(folder: &Path) -> io::Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let files = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    let is_clip = |path: &PathBuf| path.is_file() && path.extension().is_none_or(|ending| ending != "md");
    let mut clips: Vec<PathBuf> = files.into_iter().filter(is_clip).collect();
    clips.sort();
    Ok(clips)
}
