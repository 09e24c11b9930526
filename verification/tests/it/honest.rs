//! No honest encode is ever refused.

use std::fmt::Write as _;

use framemill_media::{MediaLimits, ScaleFilter};
use framemill_network::ladder::{Codec, FrameRate, LadderEntry};
use framemill_verification::{Policy, SourceReference, Verdict, verify};

use crate::clips::{real_set, synthetic_set};
use crate::studio::{Clip, Recipe, entry, honest, with_sound};

/// Encodes of one clip that an honest transcoder may make.
fn recipes() -> Vec<Recipe> {
    let plain = Recipe::default;
    vec![
        plain(),
        Recipe { preset: "ultrafast", ..plain() },
        Recipe { preset: "slow", ..plain() },
        Recipe { rate_percent: 75, ..plain() },
        Recipe { rate_percent: 50, preset: "superfast", ..plain() },
        Recipe { zero_latency: true, b_frames: Some(0), ..plain() },
        Recipe { gop: 15, filter: ScaleFilter::Bilinear, ..plain() },
        Recipe { filter: ScaleFilter::Area, ..plain() },
        Recipe { filter: ScaleFilter::Lanczos, ..plain() },
    ]
}

/// Judges an honest rendition of every recipe and entry, whole and by its first frame alone.
fn refused(clip: &Clip, entries: &[LadderEntry], recipes: &[Recipe], log: &mut String) -> Vec<String> {
    let source = SourceReference::new(clip.data.clone(), &MediaLimits::segment()).expect("source is sound");
    let mut refused = Vec::new();
    for entry in entries {
        for recipe in recipes {
            let bytes = honest(clip, entry, recipe);
            for policy in [Policy::FULL, Policy::FIRST_FRAMES] {
                let report = verify(&source, &bytes, entry, &policy, &[0; 32]).expect("a verdict");
                let what = format!("{} {}x{} {:?}", clip.name, entry.width, entry.height, recipe);
                let figures: Vec<String> = report
                    .checks
                    .iter()
                    .filter(|check| PICTURE.contains(&check.name))
                    .map(|check| format!("{}={}", check.name, check.value))
                    .collect();
                let _ = writeln!(log, "{what}: {} {:?}", figures.join(" "), report.quality);
                if report.verdict == Verdict::Fail {
                    refused.push(format!("{what}: {:?}", report.reason()));
                }
            }
        }
    }
    refused
}

const PICTURE: [&str; 7] = [
    "frame_cells",
    "mean_cells",
    "luma_offset",
    "chroma_permille",
    "displacement",
    "misaligned_permille",
    "frozen_permille",
];

fn assert_passes<'a>(clips: impl Iterator<Item = &'a Clip>, entries: &[LadderEntry], recipes: &[Recipe]) {
    let mut log = String::new();
    let refused: Vec<String> = clips.flat_map(|clip| refused(clip, entries, recipes, &mut log)).collect();
    println!("{log}");
    assert!(refused.is_empty(), "refused: {refused:#?}");
}

#[test]
fn passes_honest_encodes_of_synthetic_contents() {
    assert_passes(synthetic_set().iter(), &[entry(640, 360, 800_000)], &recipes());
}

#[test]
fn passes_honest_encodes_of_real_clips() {
    assert_passes(real_set().iter(), &[entry(640, 360, 800_000)], &recipes()[..5]);
}

#[test]
fn passes_a_halved_frame_rate_where_it_was_agreed() {
    let half = LadderEntry { fps: FrameRate::new(15, 1).expect("a rate"), ..entry(640, 360, 500_000) };
    assert_passes(synthetic_set().iter().take(3), &[half], &recipes()[..2]);
}

#[test]
fn passes_hevc() {
    let clip = &synthetic_set()[0];
    let hevc = LadderEntry { codec: Codec::Hevc, ..entry(480, 270, 500_000) };
    let source = SourceReference::new(clip.data.clone(), &MediaLimits::segment()).expect("source is sound");
    let bytes = honest(clip, &hevc, &Recipe { preset: "ultrafast", ..Recipe::default() });
    let report = verify(&source, &bytes, &hevc, &Policy::FULL, &[0; 32]).expect("a verdict");
    assert_eq!(report.reason(), None);
}

#[test]
fn passes_a_rendition_with_the_source_s_sound() {
    let clip = with_sound(2);
    let entry = entry(320, 180, 300_000);
    let source = SourceReference::new(clip.data.clone(), &MediaLimits::segment()).expect("source is sound");
    let report = verify(&source, &honest(&clip, &entry, &Recipe::default()), &entry, &Policy::FULL, &[0; 32]);
    assert_eq!(report.expect("a verdict").reason(), None);
}
