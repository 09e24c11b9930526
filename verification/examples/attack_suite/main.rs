//! Judges honest and tampered renditions of many clips: `attack_suite [--cache DIR] [--rungs 720,480,360] [--every N]
//! [--peers] [CLIP...]`.
//!
//! Without clips it takes the test set and a few contents that no bound was fitted on. Prints one line per judgement, then
//! what came of them: honest renditions refused, and for every attack and rung how many of those that a viewer could see
//! were caught by all frames (T2) and by the first one (T1). With `--peers`, beside what PSNR, SSIM and the MPEG-7 signature
//! catch when their thresholds are taken from honest renditions of the other contents. Renditions are kept in the cache
//! folder, so that a change of the rules is judged without encoding anew; `--every N` judges every N-th attack of a clip,
//! others for every clip.

use std::cell::LazyCell;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use framemill_media::{MediaLimits, segment_info};
use framemill_network::ladder::{Codec, FrameRate, LadderEntry};
use framemill_verification::{Policy, SourceReference};

#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../../tests/it/clips.rs"]
mod clips;
mod peers;
#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../../tests/it/picture.rs"]
mod picture;
mod sound;
#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../../tests/it/studio.rs"]
mod studio;
#[path = "../../tests/it/suite.rs"]
mod suite;
mod table;
#[path = "../../tests/it/tamper.rs"]
mod tamper;

use picture::Content;
use studio::{Clip, Recipe, entry, honest};
use suite::{Suite, judged};
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
    let run = Run { clips: options.clips(), options, table: Mutex::default() };
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
    run.table.into_inner().expect("no judge has panicked").print();
    ExitCode::SUCCESS
}

struct Options {
    cache: Option<PathBuf>,
    rungs: Vec<u32>,
    every: usize,
    peers: bool,
    given: Vec<PathBuf>,
}

impl Options {
    fn read(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options =
            Self { cache: None, rungs: RUNGS.to_vec(), every: 1, peers: false, given: Vec::new() };
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} wants a value"));
            match arg.as_str() {
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
                other if other.starts_with("--") => return Err(format!("{other} is no option")),
                path => options.given.push(path.into()),
            }
        }
        if let Some(folder) = &options.cache {
            std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        Ok(options)
    }

    fn clips(&self) -> Vec<Subject> {
        if !self.given.is_empty() {
            let read = |path: &PathBuf| clips::file(path, 0).expect("clip can be read");
            return self.given.iter().map(|path| Subject { clip: read(path), fitted: false }).collect();
        }
        let fitted = Content::ALL.iter().map(|&content| clips::synthetic(content, 0, 1280, 720));
        let fitted = fitted.chain(clips::real_set().iter().cloned());
        let fresh = FRESH.iter().map(|(name, picture, format)| clips::generated(name, picture, format));
        fitted
            .map(|clip| Subject { clip, fitted: true })
            .chain(fresh.map(|clip| Subject { clip, fitted: false }))
            .collect()
    }
}

/// Contents that no bound was fitted on: name, what FFmpeg draws, and its format.
const FRESH: [(&str, &str, [&str; 2]); 5] = [
    (
        "game",
        "mandelbrot=s=1280x720:r=30:start_scale=0.05:end_scale=0.001,drawgrid=w=320:h=180:t=3:c=red,\
         drawbox=x=40:y=600:w=300:h=80:c=blue@0.6:t=fill",
        ["-pix_fmt", "yuv420p"],
    ),
    ("portrait", "mandelbrot=s=720x1280:r=30,format=yuv420p,noise=alls=6:allf=t", ["-pix_fmt", "yuv420p"]),
    (
        "interlaced-looking",
        "testsrc2=s=1280x720:r=60,format=yuv420p,noise=alls=4:allf=t,tinterlace=mode=interleave_top",
        ["-pix_fmt", "yuv420p"],
    ),
    ("carpet", "sierpinski=s=1280x720:r=30:type=carpet,boxblur=2", ["-pix_fmt", "yuv420p"]),
    (
        "flickering-dots",
        "gradients=s=720x1280:r=30:n=5:speed=0.05,noise=alls=6:allf=t",
        ["-pix_fmt", "yuv420p"],
    ),
];

/// A clip to be judged renditions of.
struct Subject {
    clip: Clip,
    /// Whether bounds were fitted on it.
    fitted: bool,
}

struct Run {
    options: Options,
    clips: Vec<Subject>,
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
            self.honest(subject, &source, rung, &rung_entry);
            self.attacks(place, subject, &source, rung, &rung_entry);
        }
        sound::judge(&subject.clip, &source, |judgement| self.note(judgement));
    }

    fn honest(&self, subject: &Subject, source: &SourceReference, rung: u32, rung_entry: &LadderEntry) {
        for (name, entry, recipe) in variants(rung_entry) {
            let (rendition, _) =
                self.cached(&subject.clip, rung, &name, || (honest(&subject.clip, &entry, &recipe), true));
            let peers = (entry.fps == FrameRate::SOURCE)
                .then(|| self.peers(&subject.clip, &rendition, &entry))
                .flatten();
            self.note(Judgement {
                content: subject.clip.name.clone(),
                fitted: subject.fitted,
                rung,
                attack: None,
                name,
                visible: true,
                whole: judged(source, &rendition, &entry, &Policy::FULL),
                first: Some(judged(source, &rendition, &entry, &Policy::FIRST_FRAMES)),
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
            let made = self.cached(clip, rung, &name, || (suite.rendition(attack), suite.visible(attack)));
            let (rendition, visible) = made;
            let first =
                attack.is_persistent().then(|| judged(source, &rendition, entry, &Policy::FIRST_FRAMES));
            self.note(Judgement {
                content: clip.name.clone(),
                fitted: subject.fitted,
                rung,
                attack: Some(name.clone()),
                name,
                visible,
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
        self.table.lock().expect("no judge has panicked").add(judgement);
    }

    /// A rendition and whether what was done to it can be seen, from the cache or made now.
    fn cached(
        &self,
        clip: &Clip,
        rung: u32,
        name: &str,
        make: impl FnOnce() -> (Bytes, bool),
    ) -> (Bytes, bool) {
        let file =
            |folder: &PathBuf| folder.join(format!("{}-{rung}-{name}", clip.name).replace(['/', ' '], "_"));
        let path = self.options.cache.as_ref().map(file);
        path.as_deref().and_then(read_cached).unwrap_or_else(|| {
            let (rendition, visible) = make();
            if let Some(path) = path {
                let data = [&[u8::from(visible)], rendition.as_ref()].concat();
                std::fs::write(path, data).expect("cache can be written");
            }
            (rendition, visible)
        })
    }
}

fn read_cached(path: &Path) -> Option<(Bytes, bool)> {
    let data = Bytes::from(std::fs::read(path).ok()?);
    let visible = *data.first()? == 1;
    Some((data.slice(1..), visible))
}

/// What an honest transcoder may make of a rung.
fn variants(usual: &LadderEntry) -> Vec<(String, LadderEntry, Recipe)> {
    let mut set: Vec<_> = studio::recipes().into_iter().map(|recipe| (usual.clone(), recipe)).collect();
    let plain = Recipe::default;
    set.extend(
        [
            Recipe { rate_percent: 125, ..plain() },
            Recipe { gop: 120, ..plain() },
            Recipe { preset: "ultrafast", b_frames: Some(0), gop: 60, ..plain() },
        ]
        .map(|recipe| (usual.clone(), recipe)),
    );
    let half = FrameRate::new(15, 1).expect("a rate");
    set.push((LadderEntry { fps: half, bitrate: usual.bitrate / 2, ..usual.clone() }, plain()));
    let hevc = LadderEntry { codec: Codec::Hevc, bitrate: usual.bitrate / 3 * 2, ..usual.clone() };
    set.push((hevc, Recipe { preset: "ultrafast", ..plain() }));
    set.into_iter()
        .map(|(entry, recipe)| {
            let Recipe { preset, filter, rate_percent, b_frames, zero_latency, gop } = &recipe;
            let name = format!(
                "{:?}-{preset}-{filter:?}-{rate_percent}-{b_frames:?}-{zero_latency}-{gop}-{:?}",
                entry.codec, entry.fps
            );
            (name, entry, recipe)
        })
        .collect()
}
