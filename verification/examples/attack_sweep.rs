//! Judges honest and tampered renditions of many clips: `attack_sweep [--cache DIR] [CLIP...]`.
//!
//! Without clips it takes the test set. Prints one line per judgement with every figure of the picture, then the highest
//! figure of any honest rendition beside its bound, the honest renditions that were refused, and the recall of each
//! attack among those that a viewer could see. Renditions are kept in the cache folder and used again, so that a
//! change of the rules is judged without encoding anew.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use framemill_network::ladder::{Codec, FrameRate, LadderEntry};
use framemill_verification::{Policy, Report, Tier};

#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../tests/it/clips.rs"]
mod clips;
#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../tests/it/picture.rs"]
mod picture;
#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../tests/it/studio.rs"]
mod studio;
#[path = "../tests/it/suite.rs"]
mod suite;
#[path = "../tests/it/tamper.rs"]
mod tamper;

use picture::Content;
use studio::{Clip, Recipe, entry, honest};
use suite::{Suite, judged};
use tamper::Attack;

/// Judgements at a time: one decodes while another encodes.
const THREADS: usize = 2;
/// Rungs that attacks are judged at; clips from outside the test set are judged at the first.
const ATTACKED: [(u32, u32, u32); 3] = [(640, 360, 800_000), (256, 144, 200_000), (128, 72, 100_000)];
/// The checks from this one on are of the picture.
const FIRST_PICTURE_CHECK: &str = "undecodable_frames";

fn main() {
    let mut args = std::env::args().skip(1).peekable();
    let cache = args.next_if_eq("--cache").and_then(|_| args.next()).map(PathBuf::from);
    if let Some(folder) = &cache {
        std::fs::create_dir_all(folder).expect("cache folder can be made");
    }
    let given: Vec<Clip> =
        args.map(|path| clips::file(path.as_ref(), 0).expect("clip can be read")).collect();
    let sweep = Sweep {
        rungs: if given.is_empty() { ATTACKED.len() } else { 1 },
        clips: if given.is_empty() { [clips::synthetic_set(), clips::real_set()].concat() } else { given },
        cache,
        table: Mutex::default(),
    };
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(clip) = sweep.clips.get(next.fetch_add(1, Ordering::Relaxed)) {
                    sweep.honest(clip);
                    sweep.attacks(clip);
                }
            });
        }
    });
    sweep.table.into_inner().expect("no judge has panicked").print();
}

struct Sweep {
    clips: Vec<Clip>,
    rungs: usize,
    cache: Option<PathBuf>,
    table: Mutex<Table>,
}

impl Sweep {
    fn honest(&self, clip: &Clip) {
        let source = suite::source(clip);
        for (entry, recipe) in honest_set() {
            let label = format!(
                "{}{}{}{:?}{}{}{:?}{:?}",
                recipe.preset,
                recipe.rate_percent,
                recipe.gop,
                recipe.filter,
                recipe.zero_latency,
                recipe.b_frames.is_some(),
                entry.fps,
                entry.codec
            );
            let name = format!("{}-{}x{}-{}-{label}", clip.name, entry.width, entry.height, entry.bitrate);
            let (rendition, _) = self.cached(&name, || (honest(clip, &entry, &recipe), true));
            for policy in [Policy::FULL, Policy::FIRST_FRAMES] {
                let report = judged(&source, &rendition, &entry, &policy);
                self.table.lock().expect("no judge has panicked").honest(&name, &report);
            }
        }
    }

    fn attacks(&self, clip: &Clip) {
        let place = self.clips.iter().position(|other| other.name == clip.name).unwrap_or(0);
        let other = &self.clips[(place + 1) % self.clips.len()];
        // A replayed segment is the same scene at another time, where there is one.
        let content = Content::ALL.into_iter().find(|content| format!("{content:?}") == clip.name);
        let again = content.map(|content| clips::synthetic(content, 70, 960, 540));
        let later = again.as_ref().unwrap_or(&self.clips[(place + 3) % self.clips.len()]);
        let source = suite::source(clip);
        for (width, height, bitrate) in ATTACKED.into_iter().take(self.rungs) {
            let entry = entry(width, height, bitrate);
            let suite = std::cell::LazyCell::new(|| Suite::new(clip, entry.clone(), other, later));
            for &attack in Attack::STRONG.iter().chain(&Attack::WEAK) {
                let name = format!("{}-{width}x{height}-{bitrate}-A-{attack:?}", clip.name);
                let (rendition, visible) =
                    self.cached(&name, || (suite.rendition(attack), suite.visible(attack)));
                let report = judged(&source, &rendition, &entry, &Policy::FULL);
                let kind = format!("{width}x{height} {attack:?}");
                self.table.lock().expect("no judge has panicked").attack(&name, kind, visible, &report);
            }
        }
    }

    /// A rendition and whether what was done to it can be seen, from the cache or made now.
    fn cached(&self, name: &str, make: impl FnOnce() -> (Bytes, bool)) -> (Bytes, bool) {
        let path = self.cache.as_ref().map(|folder| folder.join(name.replace(['/', ' '], "_")));
        if let Some(Ok(data)) = path.as_ref().map(std::fs::read)
            && let Some(&visible) = data.first()
        {
            return (Bytes::from(data).slice(1..), visible == 1);
        }
        let (rendition, visible) = make();
        if let Some(path) = path {
            let data = [&[u8::from(visible)], rendition.as_ref()].concat();
            std::fs::write(path, data).expect("cache can be written");
        }
        (rendition, visible)
    }
}

/// What an honest transcoder may make of a clip.
fn honest_set() -> Vec<(LadderEntry, Recipe)> {
    let usual = entry(640, 360, 800_000);
    let mut set: Vec<_> = studio::recipes().into_iter().map(|recipe| (usual.clone(), recipe)).collect();
    let hurried = Recipe { preset: "ultrafast", zero_latency: true, ..Recipe::default() };
    let small = [(128, 72, 100_000), (256, 144, 200_000), (426, 240, 300_000), (66, 50, 80_000)];
    for (width, height, bitrate) in small.into_iter().chain([(640, 360, 300_000), (854, 480, 1_500_000)]) {
        set.push((entry(width, height, bitrate), Recipe::default()));
        set.push((entry(width, height, bitrate), hurried.clone()));
    }
    let half = FrameRate::new(15, 1).expect("a rate");
    set.push((LadderEntry { fps: half, ..entry(640, 360, 400_000) }, Recipe::default()));
    let hevc = LadderEntry { codec: Codec::Hevc, ..entry(480, 270, 400_000) };
    set.push((hevc, Recipe { preset: "ultrafast", ..Recipe::default() }));
    set
}

/// What came of the judgements.
#[derive(Default)]
struct Table {
    honest: u32,
    refused: Vec<String>,
    /// By tier and check: the highest figure in percent of its bound, the figure, the bound, and whose it is.
    highest: BTreeMap<(Tier, &'static str), (i64, i64, i64, String)>,
    /// By rung and attack: caught, visible, and what was missed.
    recall: BTreeMap<String, (u32, u32, Vec<String>)>,
}

impl Table {
    fn honest(&mut self, name: &str, report: &Report) {
        line("honest", name, report);
        self.honest += 1;
        if let Some(reason) = report.reason() {
            self.refused.push(format!("{name}: {reason}"));
        }
        for check in report.checks.iter().skip_while(|check| check.name != FIRST_PICTURE_CHECK) {
            let percent = check.value * 100 / check.bound.max(1);
            let highest = self.highest.entry((report.tier, check.name)).or_default();
            if percent >= highest.0 {
                *highest = (percent, check.value, check.bound, name.to_owned());
            }
        }
    }

    fn attack(&mut self, name: &str, kind: String, visible: bool, report: &Report) {
        line(if visible { "attack" } else { "unseen" }, name, report);
        let (caught, seen, missed) = self.recall.entry(kind).or_default();
        if visible {
            *seen += 1;
            *caught += u32::from(!report.passed());
            if report.passed() {
                missed.push(name.split('-').next().unwrap_or(name).to_owned());
            }
        }
    }

    fn print(&self) {
        println!("\nhighest figures of honest renditions");
        for ((tier, check), (percent, value, bound, name)) in &self.highest {
            println!("{tier:?} {check}: {value} of {bound} ({percent} %) {name}");
        }
        println!("\nrefused {} of {} judgements of honest renditions", self.refused.len(), self.honest);
        self.refused.iter().for_each(|refused| println!("{refused}"));
        println!("\nrecall where it can be seen");
        for (kind, (caught, seen, missed)) in &self.recall {
            println!("{kind}: {caught} of {seen} {}", missed.join(", "));
        }
    }
}

fn line(kind: &str, name: &str, report: &Report) {
    let checks = report.checks.iter().skip_while(|check| check.name != FIRST_PICTURE_CHECK);
    let figures: Vec<String> = checks
        .map(|check| format!("{}={}{}", check.name, check.value, if check.pass() { "" } else { "!" }))
        .collect();
    println!("{kind} {:?} {:?} {name} {}", report.verdict, report.tier, figures.join(" "));
}
