use framemill_media::{ClipSpec, MediaLimits, Rational, generate_clip};

use super::run;

const CANNOT_JUDGE: Option<i32> = Some(2);

#[test]
fn cannot_judge_what_is_no_media() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "this is no video\n".repeat(100)).unwrap();
    let text = text.display().to_string();
    let output = run(&["verify", &text, &text, "--json"]);
    assert_eq!(output.status.code(), CANNOT_JUDGE);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(answer["verdict"].is_null(), "{answer}");
    assert!(answer["reason"].as_str().is_some_and(|reason| reason.contains("source")), "{answer}");
}

#[test]
fn cannot_judge_a_file_that_is_not_there() {
    let output = run(&["verify", "/nowhere/source.ts", "/nowhere/rendition.ts"]);
    assert_eq!(output.status.code(), CANNOT_JUDGE);
}

#[test]
fn a_verdict_comes_with_the_quality() {
    let folder = tempfile::tempdir().unwrap();
    let clip = ClipSpec { audio: None, ..ClipSpec::new(320, 180, Rational::new(25, 1), 1) };
    let clip = generate_clip(&clip, &MediaLimits::default()).unwrap();
    let source = folder.path().join("source.ts");
    std::fs::write(&source, clip).unwrap();
    let source = source.display().to_string();
    let output = run(&["verify", &source, &source]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("quality: PSNR 100.00 dB, SSIM 1.0000, detail 100.0 %, over 3 frames"), "{text}");
    assert!(text.contains("% of the agreed rate"), "{text}");
}
