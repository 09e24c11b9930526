//! Streams in parts: what players are told, what they get for it, and how far behind the source they are.

use std::collections::HashMap;
use std::io::Cursor;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use framemill_broadcaster::{Pace, PlaylistMode, StreamConfig, StreamHandle};
use framemill_media::{ClipSpec, MediaLimits, Rational, SourceSegment, generate_clip};
use framemill_network::Ladder;
use reqwest::StatusCode;
use serde::Deserialize;
use tokio::process::Command;
use tokio::task::JoinHandle;

use crate::playlists::{Listed, Variant, probe, read, serve};
use crate::support::{Act, Peer, Rig, ladder, segments, stream_config, unix_ms};

/// Where Debian puts the browser.
const CHROMIUM: &str = "/usr/bin/chromium";
/// Longest wait for the browser.
const PATIENCE: Duration = Duration::from_secs(110);
/// A stream in parts is to be behind its source by less than this share of what one without is.
const SHARE: f64 = 0.75;

/// A stream in parts of one second, and the server that shows it.
struct Stage {
    peer: Arc<Peer>,
    rig: Rig,
    stream: StreamHandle,
    address: SocketAddr,
}

impl Stage {
    async fn new(parts_per_segment: usize) -> Self {
        let peer = Peer::start(Act::Honest).await;
        let rig = Rig::new(&[&peer]).await;
        let playlist = PlaylistMode::Live { segments: 3 };
        let config = StreamConfig { playlist, parts_per_segment, ..stream_config("cam") };
        let stream = rig.broadcaster.stream(config).unwrap();
        let address = serve(&rig).await;
        Self { peer, rig, stream, address }
    }

    async fn push(&self, segments: impl IntoIterator<Item = SourceSegment>) {
        for segment in segments {
            let published = self.stream.push(segment).await.unwrap().outcome().await;
            assert_eq!(published.is_ok(), *self.peer.script() == Act::Honest);
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/cam/{path}", self.address)
    }

    async fn get(&self, path: &str) -> (StatusCode, Bytes) {
        get(self.url(path)).await
    }

    fn ask(&self, path: &str) -> JoinHandle<(StatusCode, Bytes)> {
        tokio::spawn(get(self.url(path)))
    }

    /// Gives requests that wait the time to be answered wrongly: whole exchanges on connections of their own.
    async fn others_are_served(&self) {
        for path in ["master.m3u8", "144p/index.m3u8", "72p/0.ts", "72p/index.m3u8?_HLS_msn=0"] {
            assert_eq!(self.get(path).await.0, StatusCode::OK, "{path}");
        }
        assert_eq!(self.get("72p/99.ts").await.0, StatusCode::NOT_FOUND);
    }
}

async fn get(url: String) -> (StatusCode, Bytes) {
    let answer = reqwest::get(url).await.unwrap();
    (answer.status(), answer.bytes().await.unwrap())
}

fn shown(segment: &Listed) -> (&str, u64, bool, Vec<&str>) {
    (&segment.uri, segment.number, segment.gap, segment.parts.iter().map(String::as_str).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_reader_finds_parts_in_what_is_served_and_segments_in_what_is_stored() {
    let stage = Stage::new(3).await;
    let mut source = segments(9).into_iter();
    stage.push(source.by_ref().take(5)).await;
    stage.peer.act(Act::BlamesSource);
    stage.push(source.by_ref().take(1)).await;
    stage.peer.act(Act::Honest);
    stage.push(source.by_ref().take(2)).await;

    let variants = read(&stage.url("master.m3u8")).await;
    let [first, second] = &variants[..] else { panic!("{variants:?}") };
    assert_eq!(first.segments, second.segments, "one timeline");
    let Variant { target, part_target, part_hold_back, can_block, ended, .. } = first;
    assert_eq!((*target, *part_target, *part_hold_back), (3, Some(1.0), Some(3.0)));
    assert!(*can_block && !ended);
    let listed: Vec<_> = first.segments.iter().map(shown).collect();
    assert_eq!(
        listed,
        [
            ("0.ts", 0, false, vec![]),
            ("1-3.ts", 1, false, vec![]),
            ("4.ts", 2, false, vec!["4.ts"]),
            ("5.ts", 3, true, vec!["5.ts gap dependent"]),
            ("", 4, false, vec!["6.ts", "7.ts", "8.ts hint dependent"]),
        ]
    );
    let stored = stage.rig.read("cam/144p/index.m3u8");
    assert_eq!(stored.matches("#EXTINF:1.000000,").count(), 8, "{stored}");
    for tag in ["EXT-X-PART", "CAN-BLOCK-RELOAD", "PRELOAD-HINT"] {
        assert!(!stored.contains(tag), "nobody holds requests for a folder: {stored}");
    }
    stage.push(source).await;
    assert_eq!(stage.stream.finish().await.master_playlist, "cam/vod.m3u8");
    let end = &read(&stage.url("master.m3u8")).await[0];
    assert!(end.ended);
    assert_eq!(end.segments.last().map(shown), Some(("6-8.ts", 4, false, vec!["6.ts", "7.ts", "8.ts"])));
    // The recording is what it would be without parts.
    let entry = |number: u64| {
        let gap = if number == 5 { "#EXT-X-GAP\n" } else { "" };
        format!("{gap}#EXTINF:1.000000,\n{number}.ts\n")
    };
    let recorded = format!(
        "#EXTM3U\n#EXT-X-VERSION:8\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:0\n\
         #EXT-X-PLAYLIST-TYPE:VOD\n{}#EXT-X-ENDLIST\n",
        (0..9).map(entry).collect::<String>()
    );
    assert_eq!(stage.rig.read("cam/144p/vod.m3u8"), recorded);
}

/// Packets whose counter does not follow, by the rule of ISO/IEC 13818-1, 2.4.3.3 and 2.4.3.5.
fn breaks(stream: &[u8]) -> usize {
    let mut counters: HashMap<u16, u8> = HashMap::new();
    let broken = stream.chunks(188).filter(|packet| {
        assert_eq!((packet.len(), packet[0]), (188, 0x47));
        let (field, payload, counter) = (packet[3] & 0x20 != 0, packet[3] & 0x10 != 0, packet[3] & 0x0f);
        let announced = field && packet[4] > 0 && packet[5] & 0x80 != 0;
        let before = counters.insert(u16::from_be_bytes([packet[1] & 0x1f, packet[2]]), counter);
        before.is_some_and(|before| !announced && counter != (before + u8::from(payload)) & 0x0f)
    });
    broken.count()
}

/// What FFmpeg complains of when it decodes a file.
async fn complaints(file: &Path) -> String {
    let mut decode = Command::new("ffmpeg");
    let output =
        decode.args(["-v", "warning", "-i"]).arg(file).args(["-f", "null", "-"]).output().await.unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_is_its_parts_untouched_and_decodes_without_a_complaint() {
    let stage = Stage::new(3).await;
    stage.push(segments(4)).await;
    let (status, segment) = stage.get("144p/1-3.ts").await;
    assert_eq!(status, StatusCode::OK);
    let parts: Vec<Vec<u8>> = (1..=3)
        .map(|number| std::fs::read(stage.rig.folder.path().join(format!("cam/144p/{number}.ts"))).unwrap())
        .collect();
    let mut rest = &segment[..];
    for part in &parts {
        let seam = rest.chunks(188).take_while(|packet| packet[3] & 0x10 == 0).count() * 188;
        assert!(rest[seam..].starts_with(part));
        rest = &rest[seam + part.len()..];
    }
    assert!(rest.is_empty());
    assert!(breaks(&parts.concat()) > 0 && breaks(&segment) == 0);

    let (joined, plain) =
        (stage.rig.folder.path().join("joined.ts"), stage.rig.folder.path().join("plain.ts"));
    std::fs::write(&joined, &segment).unwrap();
    std::fs::write(&plain, parts.concat()).unwrap();
    assert!(complaints(&plain).await.contains("corrupt"), "FFmpeg does not look at counters any more");
    assert_eq!(complaints(&joined).await, "");
    let packets = probe(&stage.url("144p/1-3.ts"), "stream=codec_type,nb_read_packets").await;
    assert!(packets.contains(&"video,75".to_owned()), "{packets:?}");
    for path in ["144p/1-4.ts", "144p/3-1.ts", "144p/0-999999.ts", "144p/..%2f0-1.ts", "144p/0-1.m3u8"] {
        assert_eq!(stage.get(path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_for_what_it_asks_for_and_nothing_else_does() {
    let stage = Stage::new(3).await;
    let mut source = segments(7).into_iter();
    stage.push(source.by_ref().take(2)).await;
    // Segment 1 has one part of three.
    let part = stage.ask("144p/index.m3u8?_HLS_msn=1&_HLS_part=1");
    let hinted = stage.ask("72p/2.ts");
    let segment = stage.ask("144p/index.m3u8?token=x&_HLS_msn=1&_HLS_skip=YES");
    let behind = stage.ask("144p/index.m3u8?_HLS_msn=1&_HLS_part=3");
    stage.others_are_served().await;
    assert!([&part, &hinted, &segment, &behind].iter().all(|asked| !asked.is_finished()));

    stage.push(source.by_ref().take(1)).await;
    let (status, text) = part.await.unwrap();
    assert_eq!(status, StatusCode::OK);
    assert!(text.ends_with(b"URI=\"2.ts\",INDEPENDENT=YES\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"3.ts\"\n"));
    let file = std::fs::read(stage.rig.folder.path().join("cam/72p/2.ts")).unwrap();
    assert_eq!(hinted.await.unwrap(), (StatusCode::OK, file.into()));
    stage.others_are_served().await;
    assert!(!segment.is_finished() && !behind.is_finished());

    stage.push(source.by_ref().take(1)).await;
    assert!(segment.await.unwrap().1.windows(6).any(|text| text == b"1-3.ts"));
    assert!(!behind.is_finished());
    // The next one is lost: a gap answers who waited for it, and its file is none.
    let lost = stage.ask("72p/4.ts");
    stage.others_are_served().await;
    stage.peer.act(Act::BlamesSource);
    stage.push(source.by_ref().take(1)).await;
    assert!(behind.await.unwrap().1.windows(24).any(|text| text == b"#EXT-X-GAP\n#EXT-X-PART:D"));
    assert_eq!(lost.await.unwrap().0, StatusCode::NOT_FOUND);

    stage.peer.act(Act::Honest);
    let waiting = ["144p/index.m3u8?_HLS_msn=3&_HLS_part=0", "72p/index.m3u8?_HLS_msn=4", "72p/5.ts"];
    let waiting = waiting.map(|path| stage.ask(path));
    stage.others_are_served().await;
    assert!(waiting.iter().all(|asked| !asked.is_finished()));
    stage.stream.finish().await;
    let [playlist, other, hinted] = waiting;
    for asked in [playlist, other] {
        let (status, text) = asked.await.unwrap();
        assert!(status == StatusCode::OK && text.ends_with(b"#EXT-X-ENDLIST\n"));
    }
    assert_eq!(hinted.await.unwrap().0, StatusCode::NOT_FOUND);
    assert_eq!(stage.get("72p/index.m3u8?_HLS_msn=x").await.0, StatusCode::OK, "nothing follows the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_requests_are_refused_at_once_and_late_ones_in_time() {
    let stage = Stage::new(2).await;
    stage.push(segments(2)).await;
    let hostile = [
        "_HLS_part=0",
        "_HLS_msn=",
        "_HLS_msn=x",
        "_HLS_msn=-1",
        "_HLS_msn=1.5",
        "_HLS_msn=18446744073709551615",
        "_HLS_msn=18446744073709551616",
        "_HLS_msn=99999999999999999999999999999999",
        "_HLS_msn=1&_HLS_part=18446744073709551615",
        "_HLS_msn=1&_HLS_part=-1",
        "_HLS_msn=0&_HLS_msn=0",
        "_HLS_msn=0&_HLS_part=0&_HLS_part=0",
        "_HLS_msn=3",
        "_HLS_msn=1&_HLS_part=4",
        "_HLS_msn=%00",
        "_HLS_msn=%ff",
    ];
    for query in hostile {
        let (status, _) = stage.get(&format!("144p/index.m3u8?{query}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}");
        // Where nothing waits nothing is refused either.
        assert_eq!(stage.get(&format!("master.m3u8?{query}")).await.0, StatusCode::OK, "{query}");
        assert_eq!(stage.get(&format!("144p/0.ts?{query}")).await.0, StatusCode::OK, "{query}");
    }
    let (status, text) = stage.get("144p/index.m3u8?_HLS_msn=0&_HLS_part=18446744073709551610").await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{text:?}");

    let plain = stage.rig.run(stream_config("plain"), 1).await.0;
    assert_eq!(plain.master_playlist, "plain/master.m3u8");
    let (status, _) = get(format!("http://{}/plain/144p/index.m3u8?_HLS_msn=x", stage.address)).await;
    assert_eq!(status, StatusCode::OK);

    let waiting: Vec<_> = (0..64).map(|_| stage.ask("144p/index.m3u8?_HLS_msn=1&_HLS_part=1")).collect();
    stage.others_are_served().await;
    for asked in waiting {
        assert_eq!(asked.await.unwrap().0, StatusCode::SERVICE_UNAVAILABLE);
    }
}

/// What `latency.mjs` saw of a player.
#[derive(Debug, Deserialize)]
struct Watched {
    name: String,
    /// Seconds behind the source, while it played.
    behind: Vec<f64>,
    /// Seconds of the stream that were played meanwhile, and those that it took.
    played: f64,
    took: f64,
    stalls: usize,
    /// Whether parts were loaded.
    parts: bool,
    errors: Vec<String>,
}

impl Watched {
    fn median(&self) -> f64 {
        let mut sorted = self.behind.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }
}

async fn watch(players: serde_json::Value) -> Vec<Watched> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let modules = folder.join("../tools/node_modules");
    assert!(modules.join("hls.js").is_dir() && Path::new(CHROMIUM).is_file(), "run scripts/setup browser");
    let stage = serde_json::json!({ "modules": modules, "chromium": CHROMIUM, "players": players });
    let mut command = Command::new("node");
    command.arg(folder.join("tests/hls/latency.mjs")).arg(stage.to_string());
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output =
        tokio::time::timeout(PATIENCE, command.output()).await.expect("the browser does not end").unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Feeds a stream at the pace of its clip, for longer than anybody watches.
fn feed(rig: &Rig, config: StreamConfig, clip: &Bytes) -> JoinHandle<()> {
    let (stream, clip) = (rig.broadcaster.stream(config).unwrap(), Cursor::new(clip.clone()));
    tokio::spawn(async move { drop(stream.push_file(clip, Pace::Realtime).await) })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_is_closer_to_the_source_with_parts_than_without() {
    let spec = ClipSpec { bitrate: 300_000, gop: 15, ..ClipSpec::new(320, 180, Rational::new(30, 1), 110) };
    let clip = generate_clip(&spec, &MediaLimits::default()).unwrap();
    let peer = Peer::start(Act::Honest).await;
    let rig = Rig::new(&[&peer]).await;
    let address = serve(&rig).await;
    let settings = |name: &str, milliseconds, parts_per_segment| StreamConfig {
        ladder: Ladder::new(ladder().entries()[..1].to_vec()).unwrap(),
        playlist: PlaylistMode::Live { segments: 6 },
        segment_duration: Duration::from_millis(milliseconds),
        parts_per_segment,
        in_flight: 8,
        ..stream_config(name)
    };
    // Segments of two seconds for both, one in four parts. Of either a segment is pushed when it begins, which favours long ones.
    let begun = unix_ms();
    let feeding =
        [feed(&rig, settings("parts", 500, 4), &clip), feed(&rig, settings("whole", 2_000, 1), &clip)];
    for name in ["parts", "whole"] {
        let enough =
            || async { rig.try_read(&format!("{name}/144p/index.m3u8")).matches("#EXTINF").count() >= 4 };
        while !enough().await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    let player = |name: &str, stream: &str, unit: f64, low_latency: bool| {
        let url = format!("http://{address}/{stream}/master.m3u8");
        serde_json::json!({ "name": name, "url": url, "unit": unit, "lowLatency": low_latency, "begun": begun })
    };
    let watched = watch(serde_json::json!([
        player("parts", "parts", 0.5, true),
        player("whole", "whole", 2.0, true),
        player("unaware", "parts", 0.5, false),
    ]))
    .await;
    feeding.iter().for_each(JoinHandle::abort);
    for player in &watched {
        println!("{}: {:.2} s behind, {} stalls", player.name, player.median(), player.stalls);
        assert!(player.errors.is_empty(), "{player:?}");
        assert!(
            player.behind.len() > 20 && player.played > 0.7 * player.took,
            "it does not go on: {player:?}"
        );
        assert_eq!(player.parts, player.name == "parts", "{player:?}");
    }
    let share = watched[0].median() / watched[1].median();
    println!("with parts {share:.2} of the time without");
    assert!(share < SHARE, "{watched:?}");
}
