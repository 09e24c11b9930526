//! The commands of a miner on a machine with (simulated) cards, and on one without.

use std::process::Output;

use serde_json::Value;

use super::rig::*;
use crate::{framemill, stderr, stdout};

fn run(rig: &Rig, arguments: &[&str]) -> Output {
    framemill(arguments).envs(rig.environment()).output().expect("the binary runs")
}

fn devices(rig: &Rig, more: &[&str]) -> Value {
    let output = run(rig, &[&["devices", "--json"][..], more].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

fn names(shown: &Value) -> Vec<&str> {
    shown["engines"].as_array().unwrap().iter().map(|engine| engine["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn devices_shows_each_card_with_what_was_found() {
    let Some(rig) = Rig::new("devices=2 sessions.0=6") else { return };
    let shown = devices(&rig, &[]);
    assert_eq!(names(&shown), ["nvidia0", "nvidia1"]);
    let [first, second] = &shown["engines"].as_array().unwrap()[..] else { panic!("{shown}") };
    assert_eq!(first["encoder_sessions"], 6);
    assert_eq!(second["encoder_sessions"], Value::Null);
    assert!(first["measured_pixels_per_second"].as_u64().unwrap() > 0);
    assert_eq!(shown["gpus"]["driver"], "12.2");
    assert_eq!(shown["gpus"]["devices"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn the_settings_choose_among_cards() {
    let Some(rig) = Rig::new("devices=2") else { return };
    assert_eq!(names(&devices(&rig, &["--set", "transcoder.gpus=1"])), ["nvidia1"]);
    assert_eq!(names(&devices(&rig, &["--set", "transcoder.engine=software"])), ["software"]);
    let shown = devices(&rig, &["--set", "transcoder.gpus=0,3"]);
    assert_eq!(names(&shown), ["nvidia0"]);
    assert_eq!(shown["gpus"]["missing"][0]["ordinal"], 3, "{shown}");
}

#[tokio::test]
async fn devices_says_why_a_card_is_not_used() {
    let Some(rig) = Rig::new("devices=2 sessions.1=0") else { return };
    let output = run(&rig, &["devices"]);
    let text = stdout(&output);
    assert!(text.contains("engine nvidia0 on Framemill simulator 0"), "{text}");
    assert!(text.contains("not used:") && text.contains("out of memory"), "{text}");
}

#[tokio::test]
async fn an_old_driver_leaves_the_cpu_or_nothing_as_was_asked() {
    let Some(rig) = Rig::new("nvenc=0xa0") else { return };
    let shown = devices(&rig, &[]);
    assert_eq!(names(&shown), ["software"]);
    let reason = shown["gpus"]["devices"][0]["unused_because"].as_str().unwrap();
    assert!(reason.contains("nvenc API version"), "{reason}");
    let output = run(&rig, &["devices", "--set", "transcoder.engine=nvidia"]);
    assert!(!output.status.success());
    let text = stderr(&output);
    assert!(text.contains("engine nvidia cannot be used") && text.contains("Found: 10.0"), "{text}");
}

#[tokio::test]
async fn a_file_goes_through_verification_and_out_as_hls() {
    let Some(mut rig) = Rig::new("") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (input, out) = (folder.path().join("in.ts"), folder.path().join("out"));
    std::fs::write(&input, stream(6).concat()).unwrap();
    let (input, folder) = (input.display().to_string(), out.display().to_string());
    let arguments = ["transcode", &input, &folder, "--local", "--ladder", "180:300k,144:200k", "--json"];
    let output = run(&rig, &arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    let summary: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!(summary["published"], 3, "{summary}");
    assert_eq!(summary["lost"], 0, "{summary}");
    assert!(out.join(summary["master_playlist"].as_str().unwrap()).exists(), "{summary}");
    assert!(rig.count("encode 0").await >= 2 * 180, "the card made them");
}

/// What `framemill bench` tells of the first card with this ladder.
fn bench(rig: &Rig, ladder: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in.ts");
    std::fs::write(&input, stream(2).concat()).unwrap();
    let input = input.display().to_string();
    let output = run(
        rig,
        &["bench", "--json", "--seconds", "1", "--most", "1", "--ladder", ladder, "--input", &input],
    );
    assert!(output.status.success(), "{}", stderr(&output));
    let shown: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!(shown["engines"][0]["engine"], "nvidia0", "{shown}");
    shown["engines"][0].clone()
}

#[tokio::test]
async fn bench_credits_a_card_with_nothing_that_the_cpu_made() {
    let Some(rig) = Rig::new("sessions=3") else { return };
    let card = bench(&rig, "180:300k,160:250k,144:200k,120:150k");
    assert_eq!(card["pixels_per_second"], 0, "{card}");
    assert_eq!(card["streams"], 0, "{card}");
    assert!(card["failed"].as_str().unwrap().contains("3 encoder sessions"), "{card}");
}

#[tokio::test]
async fn bench_asks_no_more_of_a_card_at_once_than_it_has_sessions_for() {
    let Some(rig) = Rig::new("sessions=3") else { return };
    let card = bench(&rig, LADDER);
    assert!(card["pixels_per_second"].as_u64().unwrap() > 0, "{card}");
    assert_eq!(card["failed"], Value::Null, "{card}");
}

#[test]
fn a_machine_without_a_driver_says_so_and_uses_the_cpu() {
    if framemill_gpu::list_devices().is_ok() {
        return eprintln!("skipped: this machine has a driver");
    }
    let output = framemill(&["devices"]).output().unwrap();
    let text = stdout(&output);
    assert!(text.contains("engine software") && text.contains("no gpu: no CUDA driver"), "{text}");
    let output = framemill(&["devices", "--set", "transcoder.engine=nvidia"]).output().unwrap();
    let text = stderr(&output);
    assert!(text.contains("engine nvidia cannot be used: no CUDA driver"), "{text}");
}
