//! What a session holds while nothing of it is in work.

use std::process::Command;

use framemill_network::SegmentHeader;

use crate::support::*;

/// Sessions that have delivered before the first look: what comes with the first ones stays.
const BEFORE: usize = 8;
/// Sessions that are opened between both looks.
const SESSIONS: u64 = 40;
/// What each may hold, in KiB.
const MOST_KIB: u64 = 2 << 10;

#[test]
fn an_idle_session_holds_two_mebibytes_at_most() {
    // Other tests of this process take and give memory.
    let process = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "idle::measured_in_a_process_of_its_own"])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&process.stdout);
    assert!(process.status.success(), "{told}{}", String::from_utf8_lossy(&process.stderr));
    told.lines().filter(|line| line.contains("KiB")).for_each(|line| println!("{line}"));
}

/// Both ends of the market and the transcoder are in it: what is measured is more than what the orchestrator holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs in the process that the test above starts"]
async fn measured_in_a_process_of_its_own() {
    let mut market = Market::paid(PIXELS / 4).await;
    let _worker = market.software().await;
    for _ in 0..BEFORE {
        deliver_one_segment(&market).await;
    }
    let before = resident_kib();
    for _ in 0..SESSIONS {
        deliver_one_segment(&market).await;
    }
    let each = resident_kib().saturating_sub(before) / SESSIONS;
    println!("an idle session holds {each} KiB");
    assert!(each <= MOST_KIB, "{each} KiB");
}

/// Opens a session, and has one segment made in it.
async fn deliver_one_segment(market: &Market) {
    let quote = market.session().await;
    let header = SegmentHeader { payment: market.pay(&quote).await, ..header(&quote, 0) };
    assert_whole(&market.send(header, clip()).await.expect("a result"));
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
