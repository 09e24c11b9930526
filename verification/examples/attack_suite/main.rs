//! Judges honest and tampered renditions of many clips: `attack_suite [--cache DIR] [--rungs 720,480,360] [--every N]
//! [--fresh] [--honest] [--peers] [--json FILE] [CLIP...]`.
//!
//! Without clips it takes those that bounds were fitted on and others, with `--fresh` the others alone; with `--honest` it
//! makes no attack. Prints one line per judgement, then what came of them: honest renditions refused, for every attack and
//! rung how many of those that a viewer could see were caught by all frames (T2) and by the first one (T1), and how many
//! lies of the container by reading it (T0); last whether the goals are met, which its exit status says, too. With `--peers`,
//! beside what PSNR, SSIM and the MPEG-7 signature catch when their thresholds are taken from honest renditions of the other
//! contents. Renditions are kept in the cache folder, so that a change of the rules is judged without encoding anew;
//! `--every N` makes every N-th attack and variant of a clip, others for every clip. `--json` writes every judgement with
//! all its figures, a line each.

use std::cell::LazyCell;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use framemill_media::{MediaLimits, segment_info};
use framemill_network::ladder::{FrameRate, LadderEntry};
use framemill_verification::{Policy, SourceReference};

#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../../tests/it/clips.rs"]
mod clips;
#[allow(dead_code, unused_imports, reason = "the tests use the rest")]
#[path = "../../tests/it/container.rs"]
mod container;
mod contents;
#[allow(dead_code, unused_imports, reason = "the tests use the rest")]
#[path = "../../tests/it/headers.rs"]
mod headers;
mod peers;
#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../../tests/it/picture.rs"]
mod picture;
#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../../tests/it/rewrite.rs"]
mod rewrite;
mod sound;
#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../../tests/it/studio.rs"]
mod studio;
#[path = "../../tests/it/suite.rs"]
mod suite;
mod table;
#[path = "../../tests/it/tamper.rs"]
mod tamper;
mod turncoat;
mod variants;

use contents::{Standing, Subject};
use picture::Content;
use studio::{Clip, entry};
use suite::{Suite, Visible, judged};
use table::{Judgement, Table};
use tamper::Attack;

/// Judgements at a time: one decodes while another encodes.
const THREADS: usize = 2;
/// Lines of the rungs that attacks are judged at.
const RUNGS: [u32; 3] = [720, 480, 360];
/// Bits for each pixel of a usual rung at 30 frames a second, in thousandths.
const MILLIBITS: u32 = 116;

fn main() -> ExitCode {
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(reason) => {
            eprintln!("attack_suite: {reason}");
            return ExitCode::from(2);
        }
    };
    let json = match options.json.as_ref().map(File::create).transpose() {
        Ok(file) => file.map(Mutex::new),
        Err(error) => {
            eprintln!("attack_suite: the file for --json: {error}");
            return ExitCode::from(2);
        }
    };
    let mut clips = contents::subjects(&options.given, options.cache.as_deref());
    clips.retain(|subject| !(options.fresh && subject.standing == Standing::Fitted));
    let run = Run { clips, options, json, table: Mutex::default() };
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(clip) = run.clips.get(place) else { return };
                    run.judge(place, clip);
                }
            });
        }
    });
    let table = run.table.into_inner().expect("no judge has panicked");
    table.print();
    if !run.options.honest {
        turncoat::print();
    }
    let lies = table::print_lies(&[container::judged(), headers::judged()].concat());
    if table.print_goals(lies) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Options {
    cache: Option<PathBuf>,
    rungs: Vec<u32>,
    every: usize,
    peers: bool,
    fresh: bool,
    honest: bool,
    json: Option<PathBuf>,
    given: Vec<PathBuf>,
}

impl Options {
    fn read(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            cache: None,
            rungs: RUNGS.to_vec(),
            every: 1,
            peers: false,
            fresh: false,
            honest: false,
            json: None,
            given: Vec::new(),
        };
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} wants a value"));
            match arg.as_str() {
                "--json" => options.json = Some(value()?.into()),
                "--cache" => options.cache = Some(value()?.into()),
                "--rungs" => {
                    let rungs = value()?.split(',').map(str::parse).collect::<Result<Vec<u32>, _>>();
                    options.rungs = rungs.map_err(|_| "--rungs wants heights, as 720,360".to_owned())?;
                }
                "--every" => {
                    let every = value()?.parse().ok().filter(|every| *every > 0);
                    options.every = every.ok_or("--every wants a number above 0")?;
                }
                "--peers" => options.peers = true,
                "--fresh" => options.fresh = true,
                "--honest" => options.honest = true,
                other if other.starts_with("--") => return Err(format!("{other} is no option")),
                path => options.given.push(path.into()),
            }
        }
        if let Some(folder) = &options.cache {
            std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        Ok(options)
    }
}

struct Run {
    options: Options,
    clips: Vec<Subject>,
    json: Option<Mutex<File>>,
    table: Mutex<Table>,
}

impl Run {
    fn judge(&self, place: usize, subject: &Subject) {
        let source = suite::source(&subject.clip);
        let info = segment_info(&subject.clip.data, &MediaLimits::segment()).expect("clip can be read");
        let video = info.video.expect("clip has pictures");
        let (width, height) = (video.width, video.height);
        for &rung in &self.options.rungs {
            // The short side of a portrait picture is its rung.
            let (wide, short) = if width >= height { (true, height) } else { (false, width) };
            if short < rung {
                continue;
            }
            let long = (u64::from(rung) * u64::from(width.max(height)) / u64::from(short)) as u32 & !1;
            let (w, h) = if wide { (long, rung) } else { (rung, long) };
            let rung_entry = entry(w, h, w * h / 1000 * 30 * MILLIBITS);
            self.honest(place, subject, &source, rung, &rung_entry);
            if !self.options.honest {
                self.attacks(place, subject, &source, rung, &rung_entry);
            }
        }
        if self.options.honest {
            return;
        }
        sound::judge(&subject.clip, &source, |judgement| self.note(judgement));
    }

    fn honest(
        &self,
        place: usize,
        subject: &Subject,
        source: &SourceReference,
        rung: u32,
        rung_entry: &LadderEntry,
    ) {
        let clip = &subject.clip;
        let variants = variants::all(rung_entry, clip.rate);
        for variant in variants.iter().skip(place % self.options.every).step_by(self.options.every) {
            let entry = &variant.entry;
            let (rendition, _) =
                self.cached(clip, rung, &variant.name, || (variant.rendition(clip), Visible::default()));
            let peers =
                (entry.fps == FrameRate::SOURCE).then(|| self.peers(clip, &rendition, entry)).flatten();
            self.note(Judgement {
                content: clip.name.clone(),
                standing: subject.standing,
                rung,
                attack: None,
                name: variant.name.clone(),
                visible: true,
                whole: judged(source, &rendition, entry, &Policy::FULL),
                first: Some(judged(source, &rendition, entry, &Policy::FIRST_FRAMES)),
                peers,
            });
        }
    }

    fn attacks(
        &self,
        place: usize,
        subject: &Subject,
        source: &SourceReference,
        rung: u32,
        entry: &LadderEntry,
    ) {
        let clip = &subject.clip;
        let other = &self.clips[(place + 1) % self.clips.len()].clip;
        // A replayed segment is the same scene at another time, where there is one.
        let content = Content::ALL.into_iter().find(|content| format!("{content:?}") == clip.name);
        let again = content.map(|content| clips::synthetic(content, 70, 960, 540));
        let later = again.as_ref().unwrap_or(&self.clips[(place + 3) % self.clips.len()].clip);
        let suite = LazyCell::new(|| Suite::new(clip, entry.clone(), other, later));
        let attacks = Attack::STRONG.iter().chain(&Attack::REPORTED);
        for &attack in attacks.skip(place % self.options.every).step_by(self.options.every) {
            let name = format!("{attack:?}");
            let (rendition, visible) = self.cached(clip, rung, &name, || {
                let rendition = suite.rendition(attack);
                let visible = suite.visible(attack, &rendition);
                (rendition, visible)
            });
            let first = (attack.is_persistent() && visible.first)
                .then(|| judged(source, &rendition, entry, &Policy::FIRST_FRAMES));
            self.note(Judgement {
                content: clip.name.clone(),
                standing: subject.standing,
                rung,
                attack: Some(name.clone()),
                name,
                visible: visible.at_all,
                whole: judged(source, &rendition, entry, &Policy::FULL),
                first,
                peers: self.peers(clip, &rendition, entry),
            });
        }
    }

    fn peers(&self, clip: &Clip, rendition: &Bytes, entry: &LadderEntry) -> Option<peers::Figures> {
        self.options.peers.then(|| peers::measure(&clip.data, rendition, entry))
    }

    fn note(&self, judgement: Judgement) {
        judgement.line();
        if let Some(file) = &self.json {
            let line = judgement.json();
            writeln!(file.lock().expect("no judge has panicked"), "{line}").expect("the file takes a line");
        }
        self.table.lock().expect("no judge has panicked").add(judgement);
    }

    /// A rendition and what of its tampering can be seen, from the cache or made now.
    fn cached(
        &self,
        clip: &Clip,
        rung: u32,
        name: &str,
        make: impl FnOnce() -> (Bytes, Visible),
    ) -> (Bytes, Visible) {
        let file =
            |folder: &PathBuf| folder.join(format!("{}-{rung}-{name}", clip.name).replace(['/', ' '], "_"));
        let path = self.options.cache.as_ref().map(file);
        path.as_deref().and_then(read_cached).unwrap_or_else(|| {
            let (rendition, visible) = make();
            if let Some(path) = path {
                let flags = [u8::from(visible.at_all), u8::from(visible.first)];
                std::fs::write(path, [&flags, rendition.as_ref()].concat()).expect("cache can be written");
            }
            (rendition, visible)
        })
    }
}

fn read_cached(path: &Path) -> Option<(Bytes, Visible)> {
    let data = Bytes::from(std::fs::read(path).ok()?);
    let visible = Visible { at_all: *data.first()? == 1, first: *data.get(1)? == 1 };
    Some((data.slice(2..), visible))
}
