//! `framemill bench` on this machine's processors.

use framemill_media::{ClipSpec, MediaLimits, Rational, generate_clip};
use serde_json::Value;

use crate::{run, stderr, stdout};

#[test]
fn bench_tries_out_streams_and_suggests_settings_that_are_a_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("clip.ts");
    let spec = ClipSpec::new(160, 90, Rational::new(10, 1), 4);
    std::fs::write(&clip, generate_clip(&spec, &MediaLimits::default()).unwrap()).unwrap();
    let arguments =
        ["bench", "--json", "--seconds", "1", "--most", "2", "--ladder", "90:100k,72:60k", "--input"];
    let output = run(&[&arguments[..], &[clip.to_str().unwrap()]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let engine = &told["engines"][0];
    assert!(engine["pixels_per_second"].as_u64().unwrap() > 0, "{told}");
    let streams = engine["streams"].as_u64().unwrap();
    assert!(streams >= 1, "{told}");
    assert!(engine["latency_p50_ms"].as_u64() <= engine["latency_p99_ms"].as_u64(), "{told}");

    let suggested = folder.path().join("suggested.toml");
    std::fs::write(&suggested, told["settings"].as_str().unwrap()).unwrap();
    let shown = run(&["config", "show", "--config", suggested.to_str().unwrap()]);
    assert!(shown.status.success(), "{}", stderr(&shown));
    assert!(stdout(&shown).contains("max_sessions"));
}

#[test]
fn bench_says_what_is_wrong_with_a_clip_or_a_ladder() {
    let folder = tempfile::tempdir().unwrap();
    let noise = folder.path().join("noise.ts");
    std::fs::write(&noise, [7; 4_096]).unwrap();
    let output = run(&["bench", "--input", noise.to_str().unwrap()]);
    assert!(!output.status.success());
    assert!(stderr(&output).contains("noise.ts"), "{}", stderr(&output));
    let output = run(&["bench", "--ladder", "tall:1"]);
    assert!(stderr(&output).contains("--ladder"), "{}", stderr(&output));
}
