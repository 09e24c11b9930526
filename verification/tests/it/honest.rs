//! No honest encode is ever refused.

use std::fmt::Write as _;

use framemill_network::ladder::{Codec, FrameRate, LadderEntry};
use framemill_verification::{Policy, Verdict, verify};

use crate::clips::{generated, real_set, synthetic, synthetic_set};
use crate::picture::Content;
use crate::studio::{Clip, Recipe, entry, honest, recipes, with_sound};
use crate::suite::source;

/// Judges an honest rendition of every recipe and entry, whole and by its first frame alone.
fn refused(clip: &Clip, entries: &[LadderEntry], recipes: &[Recipe], log: &mut String) -> Vec<String> {
    let source = source(clip);
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

const PICTURE: [&str; 9] = [
    "frame_cells",
    "frame_error_permille",
    "error_permille",
    "mean_cells",
    "luma_offset",
    "chroma_permille",
    "displacement",
    "misaligned_permille",
    "frozen_permille",
];

/// What a source that broke off leaves: a few frames, of which the later ones lag behind as any do.
#[test]
fn segments_of_a_few_frames_pass() {
    let clips: Vec<Clip> = (0..24)
        .map(|place| {
            let (start, frames) = (7 * place, 2 + place % 6);
            let picture = format!(
                "testsrc2=s=320x180:r=30,trim=start_frame={start}:end_frame={},setpts=PTS-STARTPTS",
                start + frames
            );
            generated(&format!("{frames} frames from {start}"), &picture, &["-pix_fmt", "yuv420p"])
        })
        .collect();
    let entries = [entry(256, 144, 150_000), entry(128, 72, 60_000)];
    assert_passes(clips.iter(), &entries, &recipes()[..2]);
}

fn assert_passes<'a>(clips: impl Iterator<Item = &'a Clip>, entries: &[LadderEntry], recipes: &[Recipe]) {
    let mut log = String::new();
    let refused: Vec<String> = clips.flat_map(|clip| refused(clip, entries, recipes, &mut log)).collect();
    println!("{log}");
    assert!(refused.is_empty(), "refused: {refused:#?}");
}

/// Recipes for a clip: the plain one and two more, others for every clip.
fn sample(place: usize) -> Vec<Recipe> {
    let all = recipes();
    let others = all.len() - 1;
    [0, 1 + 2 * place % others, 1 + (2 * place + 1) % others].map(|index| all[index].clone()).to_vec()
}

fn assert_each_passes(clips: &[Clip], entry: &LadderEntry) {
    let mut log = String::new();
    let refused: Vec<String> = clips
        .iter()
        .enumerate()
        .flat_map(|(place, clip)| refused(clip, std::slice::from_ref(entry), &sample(place), &mut log))
        .collect();
    println!("{log}");
    assert!(refused.is_empty(), "refused: {refused:#?}");
}

#[test]
fn passes_honest_encodes_of_synthetic_contents() {
    assert_each_passes(synthetic_set(), &entry(640, 360, 800_000));
}

#[test]
fn passes_honest_encodes_of_real_clips() {
    assert_each_passes(real_set(), &entry(640, 360, 800_000));
}

#[test]
fn passes_starved_and_small_rungs() {
    let entries =
        [entry(640, 360, 300_000), entry(256, 144, 200_000), entry(128, 72, 100_000), entry(66, 50, 100_000)];
    let clips = synthetic_set().iter().take(3).chain(real_set().iter().take(3));
    assert_passes(
        clips,
        &entries,
        &[Recipe { preset: "ultrafast", zero_latency: true, ..Recipe::default() }],
    );
}

#[test]
fn passes_sizes_that_no_codec_block_divides() {
    let entries = [entry(854, 480, 1_500_000), entry(426, 238, 400_000)];
    assert_passes(synthetic_set().iter().take(2), &entries, &[Recipe::default()]);
}

#[test]
fn passes_a_portrait_picture() {
    let clip = synthetic(Content::Landscape, 0, 540, 960);
    assert_passes([&clip].into_iter(), &[entry(202, 360, 400_000)], &recipes()[..2]);
}

#[test]
fn passes_sources_of_other_formats() {
    let sources = [
        ("10 bits", "testsrc2=s=640x360:r=30", ["-pix_fmt", "yuv420p10le", "-color_range", "tv"]),
        ("full range", "testsrc2=s=640x360:r=30", ["-pix_fmt", "yuvj420p", "-color_range", "pc"]),
        ("odd sides", "testsrc2=s=641x361:r=30", ["-pix_fmt", "yuv444p", "-color_range", "tv"]),
        ("4:2:2", "mandelbrot=s=640x360:r=30", ["-pix_fmt", "yuv422p", "-color_range", "tv"]),
    ];
    let clips = sources.map(|(name, picture, format)| generated(name, picture, &format));
    assert_passes(clips.iter(), &[entry(480, 270, 600_000)], &[Recipe::default()]);
}

#[test]
fn passes_a_lower_frame_rate_where_it_was_agreed() {
    let at = |rate| LadderEntry { fps: FrameRate::new(rate, 1).expect("a rate"), ..entry(640, 360, 500_000) };
    assert_passes(synthetic_set().iter().take(3), &[at(15)], &recipes()[..2]);
    let fast = generated("60 frames a second", "testsrc2=s=640x360:r=60", &["-pix_fmt", "yuv420p"]);
    assert_passes([&fast].into_iter(), &[at(30)], &recipes()[..2]);
}

#[test]
fn passes_hevc() {
    let hevc = LadderEntry { codec: Codec::Hevc, ..entry(480, 270, 500_000) };
    let recipe = Recipe { preset: "ultrafast", ..Recipe::default() };
    assert_passes(synthetic_set().iter().take(2), &[hevc], &[recipe]);
}

#[test]
fn passes_av1() {
    let av1 = |width, height, bitrate| LadderEntry { codec: Codec::Av1, ..entry(width, height, bitrate) };
    let recipe = |preset, rate_percent| Recipe { preset, rate_percent, ..Recipe::default() };
    let recipes = [recipe("veryfast", 100), recipe("medium", 60)];
    assert_passes(synthetic_set().iter(), &[av1(320, 180, 250_000)], &recipes);
    let half = LadderEntry { fps: FrameRate::new(15, 1).expect("a rate"), ..av1(480, 270, 400_000) };
    assert_passes(synthetic_set().iter().take(3), &[half], &recipes[..1]);
}

#[test]
fn passes_a_rendition_with_the_source_s_sound() {
    assert_passes([&with_sound(2)].into_iter(), &[entry(320, 180, 300_000)], &[Recipe::default()]);
}
