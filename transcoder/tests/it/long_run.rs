//! Minutes of a stream through one engine, in a process of its own so that what it holds can be told.

use std::process::Command;

#[path = "../../examples/steady/mod.rs"]
mod steady;

use steady::Held;

/// Eight minutes of stream.
const SEGMENTS: u32 = 240;
/// What memory may grow by from the second quarter to the last, in KiB. A segment and its renditions are some 60 KiB, and
/// 60 lie between: an engine that kept a tenth of what it sees would pass this, as would one that keeps one encoder in twenty.
const GROWTH: u64 = 4 << 10;

#[test]
fn minutes_of_a_stream_leave_nothing_behind() {
    let program = std::env::current_exe().expect("the tests are a program");
    let child = ["--ignored", "--exact", "long_run::stream_in_a_process_of_its_own", "--nocapture"];
    let run = Command::new(program).args(child).output().expect("the tests can run themselves");
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(
        run.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&run.stderr)
    );
}

#[tokio::test]
#[ignore = "runs in the process that the test above starts"]
async fn stream_in_a_process_of_its_own() {
    let mut quarters = [None; 4];
    let outcome = steady::run(SEGMENTS, |sequence, held| {
        let quarter = (sequence / (SEGMENTS / 4)) as usize;
        quarters[quarter] = Held::over(quarters[quarter], held);
    });
    outcome.await.expect("every segment is whole");
    println!("{quarters:?}");
    let [_, Some(second), _, Some(last)] = quarters else { panic!("a quarter saw nothing: {quarters:?}") };
    assert!(last.memory <= second.memory + GROWTH, "memory grew: {quarters:?}");
    assert!(last.files <= second.files, "files were left open: {quarters:?}");
    assert!(last.threads <= second.threads, "threads were left: {quarters:?}");
}
