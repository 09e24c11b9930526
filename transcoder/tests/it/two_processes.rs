//! Segments of one stream that two processes encode in turn play as one.

use framemill_media::Rational;

#[path = "../../examples/relay/mod.rs"]
mod relay;

/// What the example `joins` does with an hour.
const STREAM: relay::Stream =
    relay::Stream { segments: 12, frames: 60, rate: Rational::new(30_000, 1001), sample_rate: 44_100 };

#[test]
fn segments_of_two_processes_join_to_the_tick_across_the_wrap() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let program = std::env::current_exe().expect("the tests are a program");
    let child = ["--ignored", "--exact", "two_processes::works_in_a_process_of_its_own", "--nocapture"];
    let (source, rungs) = STREAM.run(&program, &child, folder.path()).expect("a stream that joins");
    let digest = |path: &_| relay::digest_of_sound(path).expect("ffmpeg decodes the sound");
    let heard = digest(&source);
    assert!(rungs.iter().all(|rung| digest(rung) == heard), "the sound decodes to other samples");
}

#[test]
#[ignore = "runs in the processes that the test above starts"]
fn works_in_a_process_of_its_own() {
    relay::work().expect("segments by their paths");
}
