//! The examples, run as a reader would run them.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use framemill_media::{ClipSpec, MediaLimits, Rational, generate_clip};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::support::{Act, Peer};

const PATIENCE: Duration = Duration::from_secs(120);

/// An example that was built with these tests.
pub(crate) fn example(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let program: PathBuf = test.parent().and_then(Path::parent).unwrap().join("examples").join(name);
    assert!(
        program.is_file(),
        "{} is not built: run cargo test, or cargo build --examples first",
        program.display()
    );
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Two seconds that fit the lowest rung of the default ladder.
pub(crate) fn clip() -> Bytes {
    let spec = ClipSpec { bitrate: 600_000, ..ClipSpec::new(640, 360, Rational::new(25, 1), 2) };
    generate_clip(&spec, &MediaLimits::default()).unwrap()
}

async fn output(mut command: Command) -> String {
    let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("it does not end").unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_example_writes_a_ladder() {
    let peer = Peer::start(Act::Honest).await;
    let folder = tempfile::tempdir().unwrap();
    let (input, hls) = (folder.path().join("clip.ts"), folder.path().join("hls"));
    std::fs::write(&input, clip()).unwrap();
    let mut command = example("file");
    command.arg(&input).arg(&hls).arg(peer.service().to_string());
    let said = output(command).await;
    assert!(said.contains("1 of 1 segments published, 1 renditions"), "{said}");
    assert!(hls.join("file/vod.m3u8").is_file() && hls.join("file/360p/0.ts").is_file());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_of_the_front_page_writes_a_ladder() {
    let peer = Peer::start(Act::Honest).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("clip.mp4"), clip()).unwrap();
    let mut command = example("first");
    command.current_dir(folder.path()).arg(peer.service().to_string());
    assert_eq!(output(command).await, "1 segments: play hls/first/vod.m3u8\n");
    assert!(folder.path().join("hls/first/360p/0.ts").is_file());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_a_store_of_ones_own_keeps_a_ladder_in_memory() {
    let peer = Peer::start(Act::Honest).await;
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("clip.ts");
    std::fs::write(&input, clip()).unwrap();
    let mut command = example("custom_store");
    command.arg(&input).arg(peer.service().to_string());
    let said = output(command).await;
    // A segment, a live and a final playlist of the rendition, and two masters.
    assert!(said.starts_with("5 objects, ") && said.ends_with("play memory:memory/vod.m3u8\n"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_axum_example_takes_pushes_and_serves_playlists_beside_its_own_routes() {
    let peer = Peer::start(Act::Honest).await;
    let folder = tempfile::tempdir().unwrap();
    let mut command = example("axum_handler");
    command.arg(folder.path()).arg("127.0.0.1:0").arg(peer.service().to_string());
    let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
    let base = line.strip_prefix("push to ").and_then(|rest| rest.split_once("/live/")).unwrap().0;

    let client = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
    let push = async |path: &str| {
        client.put(format!("{base}{path}")).body(clip()).send().await.unwrap().status().as_u16()
    };
    let get = async |path: &str| {
        client
            .get(format!("{base}{path}"))
            .send()
            .await
            .unwrap()
            .error_for_status()
            .unwrap()
            .text()
            .await
            .unwrap()
    };
    assert_eq!(push("/live/stranger/0.ts").await, 403);
    assert_eq!(push("/live/cam/0.ts").await, 200);
    assert_eq!(get("/readyz").await, "ready");
    assert!(get("/hls/cam/master.m3u8").await.contains("360p/index.m3u8"));
    assert!(get("/hls/cam/360p/index.m3u8").await.contains("0.ts"));

    let pid = process.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().await.unwrap().success());
    let ended = tokio::time::timeout(PATIENCE, process.wait()).await.expect("it does not stop").unwrap();
    assert!(ended.success(), "{ended}");
}

#[test]
fn the_front_page_adds_what_its_program_uses() {
    let page = include_str!("../../src/lib.rs");
    let lines = page.lines().filter_map(|line| line.strip_prefix("//! cargo add "));
    let added: Vec<_> = lines.map(|line| line.split(' ').collect::<Vec<_>>()).collect();
    let [["--path", library], ["tokio", "--features", features]] = [&added[0][..], &added[1][..]] else {
        panic!("{added:?}")
    };
    assert_eq!((added.len(), Path::new(library).file_name().unwrap()), (2, "broadcaster".as_ref()));
    let program = include_str!("../../examples/first.rs");
    let used: std::collections::BTreeSet<_> = program
        .lines()
        .filter_map(|line| {
            line.trim_start().trim_start_matches("#[").trim_start_matches("use ").split_once("::")
        })
        .map(|(root, _)| root)
        .filter(|root| root.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
        .collect();
    assert_eq!(used.into_iter().collect::<Vec<_>>(), ["framemill_broadcaster", "std", "tokio"]);
    assert!(program.contains("#[tokio::main]"), "the features below are for it");
    assert_eq!(features.split(',').collect::<Vec<_>>(), ["macros", "rt-multi-thread"]);
}
