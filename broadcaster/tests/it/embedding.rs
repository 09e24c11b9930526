//! What a program may rely on that this library is a part of: nothing global, and nothing open that it did not ask for.

use std::collections::HashSet;
use std::process::Stdio;
use std::time::Duration;

use framemill_broadcaster::{
    Broadcaster, ObjectStorage, Pace, PendingSegment, PushIngest, RtmpIngest, Standing, Store, StreamError,
    StreamHandle, hls_object, open_payer,
};
use prometheus::Registry;

use crate::examples::{clip, example};
use crate::support::{Act, Peer, Rig, stream_config};

const PATIENCE: Duration = Duration::from_secs(60);

/// Compiles only while every future of the library may move between threads, which no signature shows.
#[expect(dead_code, reason = "it is compiled, and there is nothing to run")]
fn futures_may_be_sent(broadcaster: &Broadcaster, stream: &StreamHandle, pending: PendingSegment) {
    fn is_send(_: impl Future + Send) {}
    fn made<T>() -> T {
        unreachable!("nobody calls it")
    }
    is_send(Broadcaster::builder().build());
    is_send(broadcaster.wait_for_orchestrators(1, PATIENCE));
    is_send(broadcaster.shutdown(PATIENCE));
    is_send(stream.push(made()));
    is_send(stream.push_bytes(0, made()));
    is_send(stream.push_reader(std::io::empty(), Pace::Fast));
    is_send(stream.push_file(std::io::Cursor::new([]), Pace::Fast));
    is_send(stream.finish());
    is_send(stream.abort());
    is_send(pending.outcome());
    is_send(made::<&PushIngest>().finish());
    is_send(made::<RtmpIngest>().serve(made(), made()));
    is_send(made::<&ObjectStorage>().probe());
    is_send(hls_object(made::<&dyn Store>(), ""));
    is_send(open_payer(made(), made(), made(), made()));
}

/// What a counter without labels, or all series of one with labels, add up to.
fn counted(registry: &Registry, name: &str) -> f64 {
    let family =
        registry.gather().into_iter().find(|family| family.name() == name).expect("it is registered");
    family.get_metric().iter().map(|metric| metric.get_counter().get_value()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_broadcasters_in_one_process_know_nothing_of_each_other() {
    let (honest, cheat) = (Peer::start(Act::Honest).await, Peer::start(Act::WrongContent).await);
    let (mine, theirs) = (Registry::new(), Registry::new());
    let one = Rig::with(&[&honest], |builder| builder.registry(mine.clone())).await;
    let other = Rig::with(&[&cheat], |builder| builder.registry(theirs.clone())).await;

    // Even a name is free that the other has.
    let ((published, _), (lost, _)) =
        tokio::join!(one.run(stream_config("cam"), 2), other.run(stream_config("cam"), 1));
    assert_eq!((published.totals.published, published.totals.rejected), (2, 0));
    assert_eq!((lost.totals.published, lost.totals.lost), (0, 1));
    assert!(lost.totals.rejected > 0, "{lost:?}");
    assert_eq!((one.broadcaster.totals().segments, other.broadcaster.totals().segments), (2, 1));
    let standing =
        |rig: &Rig| rig.broadcaster.orchestrators().iter().map(|view| view.standing).collect::<Vec<_>>();
    assert_eq!((standing(&one), standing(&other)), (vec![Standing::Good], vec![Standing::Barred]));
    assert_eq!((one.broadcaster.evidence().len(), other.broadcaster.evidence().is_empty()), (0, false));
    let segments = "framemill_broadcaster_segments_total";
    assert_eq!((counted(&mine, segments), counted(&theirs, segments)), (2.0, 1.0));

    other.broadcaster.shutdown(PATIENCE).await;
    assert!(matches!(other.broadcaster.stream(stream_config("late")), Err(StreamError::Ended(_))));
    assert_eq!(one.run(stream_config("late"), 1).await.0.totals.published, 1);
}

/// The inodes of a process's sockets.
fn sockets(pid: u32) -> HashSet<String> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let targets = entries.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    targets
        .filter_map(|target| Some(target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect()
}

/// Lines of the process's TCP sockets that take connections.
fn listening(pid: u32) -> Vec<String> {
    /// As Linux numbers the states of TCP.
    const LISTEN: &str = "0A";
    let own = sockets(pid);
    let table = ["tcp", "tcp6"]
        .map(|kind| std::fs::read_to_string(format!("/proc/{pid}/net/{kind}")).unwrap_or_default());
    let lines = table.iter().flat_map(|text| text.lines().skip(1));
    let is_own = |line: &&str| {
        let columns: Vec<_> = line.split_whitespace().collect();
        columns[3] == LISTEN && own.contains(columns[9])
    };
    lines.filter(is_own).map(str::to_owned).collect()
}

/// Signals that the process has a handler for, as a mask.
fn handled(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(line.trim(), 16).unwrap()
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_embeds_it_has_no_open_port_and_no_handler_of_a_signal() {
    // Rust's own for a stack that is full, SIGBUS and SIGSEGV, and the two that the C library keeps for its threads.
    const OF_THE_RUNTIME: u64 = 1 << (7 - 1) | 1 << (11 - 1) | 1 << (32 - 1) | 1 << (33 - 1);
    let peer = Peer::start(Act::Silent).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("clip.mp4"), clip()).unwrap();
    let mut command = example("first");
    command
        .current_dir(folder.path())
        .arg(peer.service().to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let process = command.spawn().unwrap();
    let pid = process.id().unwrap();
    // It works by now, with every part of it.
    let offered = async {
        while peer.offered() == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, offered).await.expect("it offers its segment");
    assert!(!sockets(pid).is_empty(), "it is connected");
    assert_eq!(listening(pid), [""; 0]);
    assert_eq!(handled(pid) & !OF_THE_RUNTIME, 0, "{:x}", handled(pid));
}
