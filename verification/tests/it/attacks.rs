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

    fn judge(&self, attack: Attack) -> Report {
        let frames: Vec<_> = attack
            .apply(&self.honest, &self.other, &self.later)
            .iter()
            .map(|(pts, pic)| pic.to_frame(*pts))
            .collect();
        let bytes = rendition(self.clip, &frames, &self.entry, &Recipe::default());
        verify(&self.source, &bytes, &self.entry, &Policy::FULL, &[0; 32]).expect("a verdict")
    }
}

/// Judges all attacks on a clip; returns the strong ones that passed.
fn run(suite: &Suite<'_>, attacks: &[Attack], log: &mut String) -> Vec<String> {
    let mut missed = Vec::new();
    for &attack in attacks {
        if attack.needs_motion() && !suite.clip.moves {
            continue;
        }
        let report = suite.judge(attack);
        let reasons: Vec<String> = report
            .failures()
            .map(|check| format!("{} {}/{}", check.name, check.value, check.bound))
            .collect();
        let _ = writeln!(log, "{:24} {:24} {}", suite.clip.name, format!("{attack:?}"), reasons.join(", "));
        if report.verdict == Verdict::Pass {
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
        let later = &clips[(index + 2) % clips.len()];
        Suite::new(&clips[index], entry(854, 480, 1_500_000), other, later)
    });
    assert_caught(suites);
}
