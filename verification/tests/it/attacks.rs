//! Recall: every strong attack on every clip must be caught by a judgement of all frames.

use std::fmt::Write as _;

use framemill_network::ladder::LadderEntry;
use framemill_verification::{Policy, Verdict};

use crate::clips::{real_set, synthetic, synthetic_set};
use crate::picture::Content;
use crate::studio::{Clip, entry};
use crate::suite::{Suite, judged, source};
use crate::tamper::Attack;

/// Attacks of which one is judged on a clip; `make attack-suite` judges all.
const EVERY: usize = 3;

fn rung() -> LadderEntry {
    entry(640, 360, 800_000)
}

/// Judges some of the strong attacks on a clip, others for every clip; returns those that pass though they can be seen.
fn missed(clip: &Clip, suite: &Suite<'_>, place: usize, log: &mut String) -> Vec<String> {
    let source = source(clip);
    let mut missed = Vec::new();
    for &attack in Attack::STRONG.iter().skip(place % EVERY).step_by(EVERY) {
        let rendition = suite.rendition(attack);
        let report = judged(&source, &rendition, &rung(), &Policy::FULL);
        let reasons: Vec<String> = report
            .failures()
            .map(|check| format!("{} {}/{}", check.name, check.value, check.bound))
            .collect();
        let _ = writeln!(log, "{:24} {attack:?}: {}", clip.name, reasons.join(", "));
        if report.verdict == Verdict::Pass && suite.visible(attack, &rendition).at_all {
            missed.push(format!("{attack:?} on {}", clip.name));
        }
    }
    missed
}

/// Judges each clip with the pictures of others to put in their place.
fn assert_caught(clips: &[Clip], later: impl Fn(usize) -> Clip) {
    let mut log = String::new();
    let missed: Vec<String> = clips
        .iter()
        .enumerate()
        .flat_map(|(place, clip)| {
            let suite = Suite::new(clip, rung(), &clips[(place + 1) % clips.len()], &later(place));
            missed(clip, &suite, place, &mut log)
        })
        .collect();
    println!("{log}");
    assert!(missed.is_empty(), "missed: {missed:#?}");
}

#[test]
fn catches_strong_attacks_on_synthetic_contents() {
    assert_caught(synthetic_set(), |place| synthetic(Content::ALL[place], 70, 960, 540));
}

#[test]
fn catches_strong_attacks_on_real_clips() {
    let clips = real_set();
    assert_caught(clips, |place| clips[(place + 3) % clips.len()].clone());
}
