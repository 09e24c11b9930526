//! Quality: what an orchestrator declares is what a judgement finds, and the figures mean what they mean elsewhere.

use std::process::Command;

use bytes::Bytes;
use framemill_media::MediaLimits;
use framemill_network::ladder::LadderEntry;
use framemill_verification::{Policy, Quality, SourceReference, commit, declare, verify};

use crate::clips::{real_set, synthetic};
use crate::picture::Content;
use crate::studio::{Clip, Recipe, entry, honest};

fn source(clip: &Clip) -> SourceReference {
    SourceReference::new(clip.data.clone(), &MediaLimits::segment()).expect("source is sound")
}

fn declared(source: &SourceReference, rendition: &Bytes, entry: &LadderEntry) -> Quality {
    let limits = MediaLimits::segment();
    let declared = declare(rendition, source, entry, &limits).expect("it can be said");
    let commitment = commit(rendition, &limits).expect("it decodes");
    assert_eq!(declared.commitment, commitment);
    assert_eq!(declared.psnr_centi_db(), Some(declared.quality.psnr_centi_db));
    declared.quality
}

fn judged(clip: &Clip, rendition: &Bytes, entry: &LadderEntry) -> Quality {
    verify(&source(clip), rendition, entry, &Policy::FULL, &[0; 32]).expect("a verdict").quality
}

fn declares_what_is_judged(clip: &Clip, entry: &LadderEntry, recipe: &Recipe) {
    let rendition = honest(clip, entry, recipe);
    let found = judged(clip, &rendition, entry);
    assert_eq!(declared(&source(clip), &rendition, entry), found, "{} {recipe:?}", clip.name);
    assert!(found.frames >= 2 && found.ssim_ppm > 500_000, "{} {found:?}", clip.name);
}

#[test]
fn a_declared_quality_is_what_a_judgement_of_every_frame_finds() {
    for content in [Content::Landscape, Content::ScreenText, Content::Dark] {
        let clip = synthetic(content, 0, 480, 270);
        declares_what_is_judged(&clip, &entry(320, 180, 300_000), &Recipe::default());
        let halved = LadderEntry { fps: "15".parse().expect("a rate"), ..entry(320, 180, 300_000) };
        declares_what_is_judged(&clip, &halved, &Recipe { preset: "ultrafast", ..Recipe::default() });
    }
    for clip in real_set().iter().take(2) {
        declares_what_is_judged(clip, &entry(320, 180, 300_000), &Recipe::default());
    }
}

#[test]
fn frames_kept_beside_the_usual_ones_are_measured_too() {
    let clip = synthetic(Content::Landscape, 0, 480, 270);
    let entry = entry(320, 180, 300_000);
    let rendition = honest(&clip, &entry, &Recipe::default());
    let source = source(&clip).with_frames_kept(vec![0, 7, 31, 1_000]);
    assert_eq!(declared(&source, &rendition, &entry).frames, 3 + 2);
}

#[test]
fn a_lazier_encode_has_less_of_every_figure() {
    let clip = synthetic(Content::Landscape, 0, 480, 270);
    let entry = entry(320, 180, 300_000);
    let measured = |preset, rate_percent| {
        let rendition = honest(&clip, &entry, &Recipe { preset, rate_percent, ..Recipe::default() });
        declared(&source(&clip), &rendition, &entry)
    };
    let honest = measured("veryfast", 100);
    for lazy in [measured("ultrafast", 100), measured("veryfast", 50)] {
        assert!(lazy.psnr_centi_db + 100 < honest.psnr_centi_db, "{lazy:?} against {honest:?}");
        assert!(lazy.ssim_ppm + 3_000 < honest.ssim_ppm, "{lazy:?} against {honest:?}");
    }
}

/// The mean over all frames that FFmpeg's filter prints.
fn ffmpeg_ssim(source: &Bytes, rendition: &Bytes, entry: &LadderEntry) -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, data: &Bytes| {
        let path = folder.path().join(name);
        std::fs::write(&path, data).expect("a file");
        path
    };
    let graph = format!(
        "[1:v]scale={}:{}:flags=area,setpts=N[s];[0:v]setpts=N[r];[r][s]ssim",
        entry.width, entry.height
    );
    let mut command = Command::new("ffmpeg");
    command.arg("-i").arg(file("rendition.ts", rendition)).arg("-i").arg(file("source.ts", source));
    let run = command.args(["-filter_complex", &graph, "-f", "null", "-"]).output().expect("ffmpeg runs");
    let told = String::from_utf8_lossy(&run.stderr);
    let luma = told.split("SSIM Y:").nth(1).and_then(|rest| rest.split_whitespace().next());
    luma.and_then(|figure| figure.parse().ok()).expect("ffmpeg tells its figure")
}

/// Other windows, other frames and another scaler: the same order of magnitude.
#[test]
fn ssim_is_near_that_of_ffmpegs_filter() {
    for (content, rate_percent) in [(Content::Landscape, 100), (Content::Landscape, 40), (Content::Dark, 100)]
    {
        let (clip, entry) = (synthetic(content, 0, 480, 270), entry(320, 180, 300_000));
        let rendition = honest(&clip, &entry, &Recipe { rate_percent, ..Recipe::default() });
        let ours = f64::from(declared(&source(&clip), &rendition, &entry).ssim_ppm) / 1e6;
        let theirs = ffmpeg_ssim(&clip.data, &rendition, &entry);
        assert!((ours - theirs).abs() < 0.04, "{content:?} at {rate_percent} %: {ours} against {theirs}");
    }
}
