//! Recall: every strong attack on every clip must be caught by a judgement of all frames.

use std::fmt::Write as _;

use framemill_media::MediaLimits;
use framemill_network::ladder::LadderEntry;
use framemill_verification::{Policy, Report, SourceReference, Verdict, verify};

use crate::clips::{real_set, synthetic, synthetic_set};
use crate::picture::{Content, Pic};
use crate::studio::{Clip, Recipe, Timed, entry, rendition, scaled};
use crate::tamper::Attack;

struct Suite<'a> {
    clip: &'a Clip,
    entry: LadderEntry,
    source: SourceReference,
    honest: Timed,
    other: Vec<Pic>,
    later: Vec<Pic>,
}

impl<'a> Suite<'a> {
    fn new(clip: &'a Clip, entry: LadderEntry, other: &Clip, later: &Clip) -> Self {
        let recipe = Recipe::default();
        let pictures = |clip: &Clip| -> Timed {
            let frames = scaled(clip, &entry, recipe.filter);
            frames.iter().map(|frame| (frame.pts().expect("time"), Pic::from_frame(frame))).collect()
        };
        let honest = pictures(clip);
        let fit = |timed: Timed| -> Vec<Pic> {
            (0..honest.len()).map(|index| timed[index % timed.len()].1.clone()).collect()
        };
        let (other, later) = (fit(pictures(other)), fit(pictures(later)));
        let source =
            SourceReference::new(clip.data.clone(), &MediaLimits::segment()).expect("source is sound");
        Self { clip, entry, source, honest, other, later }
    }

    /// The verdict, and whether the attack did anything that a viewer could see.
    fn judge(&self, attack: Attack) -> (Report, bool) {
        let tampered = attack.apply(&self.honest, &self.other, &self.later);
        let frames: Vec<_> = tampered.iter().map(|(pts, pic)| pic.to_frame(*pts)).collect();
        let bytes = rendition(self.clip, &frames, &self.entry, &Recipe::default());
        let report = verify(&self.source, &bytes, &self.entry, &Policy::FULL, &[0; 32]).expect("a verdict");
        (report, mean_change(&self.honest, &tampered) >= VISIBLE)
    }
}

/// Change of block means over the clip, in hundredths of a level, from which an attack counts: less is what coding noise
/// does, and a frame shown at another time where nothing moves, or a flat picture turned around, harms nobody.
const VISIBLE: u64 = 100;

/// The mean change of any plane's blocks of 16 x 16; grain averages out in them.
fn mean_change(honest: &Timed, tampered: &Timed) -> u64 {
    let plane_change = |plane: usize| {
        let (mut sum, mut samples) = (0u64, 0u64);
        for ((_, a), (_, b)) in honest.iter().zip(tampered) {
            let width = a.plane_width(plane);
            let across = width.div_ceil(16);
            let mut blocks = vec![0i64; across * a.height.div_ceil(16)];
            for (i, (&a, &b)) in a.planes[plane].iter().zip(&b.planes[plane]).enumerate() {
                let block = i / width / 16 * across + i % width / 16;
                blocks[block] += i64::from(a) - i64::from(b);
            }
            sum += blocks.iter().map(|change| change.unsigned_abs()).sum::<u64>();
            samples += a.planes[plane].len() as u64;
        }
        100 * sum / samples
    };
    (0..3).map(plane_change).max().unwrap_or(0)
}

/// Judges attacks on a clip; returns those that pass though they can be seen.
fn run(suite: &Suite<'_>, attacks: &[Attack], log: &mut String) -> Vec<String> {
    let mut missed = Vec::new();
    for &attack in attacks {
        let (report, visible) = suite.judge(attack);
        let reasons: Vec<String> = report
            .failures()
            .map(|check| format!("{} {}/{}", check.name, check.value, check.bound))
            .collect();
        let unseen = if visible { "" } else { "(nothing to see) " };
        let _ = writeln!(log, "{:24} {attack:?}: {unseen}{}", suite.clip.name, reasons.join(", "));
        if visible && report.verdict == Verdict::Pass {
            missed.push(format!("{attack:?} on {}", suite.clip.name));
        }
    }
    missed
}

fn assert_caught(suites: impl Iterator<Item = Suite<'static>>) {
    let mut log = String::new();
    let mut missed = Vec::new();
    for suite in suites {
        missed.extend(run(&suite, &Attack::STRONG, &mut log));
        let weak = run(&suite, &Attack::WEAK, &mut log);
        let _ = writeln!(log, "{:24} weak attacks missed: {weak:?}", suite.clip.name);
    }
    println!("{log}");
    assert!(missed.is_empty(), "missed: {missed:#?}");
}

#[test]
fn catches_strong_attacks_on_synthetic_contents() {
    let clips = synthetic_set();
    let suites = Content::ALL.iter().enumerate().map(|(index, &content)| {
        let later = synthetic(content, 70, 960, 540);
        let other = &clips[(index + 1) % clips.len()];
        Suite::new(&clips[index], entry(640, 360, 800_000), other, &later)
    });
    assert_caught(suites);
}

#[test]
fn catches_strong_attacks_on_real_clips() {
    let clips = real_set();
    let suites = (0..clips.len()).map(|index| {
        let other = &clips[(index + 1) % clips.len()];
        let later = &clips[(index + 3) % clips.len()];
        Suite::new(&clips[index], entry(640, 360, 900_000), other, later)
    });
    assert_caught(suites);
}
