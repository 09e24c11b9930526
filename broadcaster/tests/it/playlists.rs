//! What players understand of the playlists, by the word of a strict reader that is not ours, and of ffprobe and ffplay, over HTTP.

use std::net::SocketAddr;
use std::path::PathBuf;

use framemill_broadcaster::{PlaylistMode, StreamConfig, hls_router};
use framemill_media::SourceSegment;
use serde::Deserialize;
use tokio::process::Command;

use crate::ffplay;
use crate::support::{Act, Peer, Rig, segments, stream_config};

/// What the reader understood of one variant and its media playlist.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Variant {
    pub(crate) uri: String,
    bandwidth: u64,
    average: u64,
    codecs: String,
    width: u32,
    height: u32,
    rate: f64,
    pub(crate) target: u64,
    pub(crate) first: u64,
    kind: Option<String>,
    pub(crate) ended: bool,
    independent: bool,
    pub(crate) segments: Vec<Listed>,
    pub(crate) part_target: Option<f64>,
    pub(crate) part_hold_back: Option<f64>,
    pub(crate) can_block: bool,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Listed {
    pub(crate) uri: String,
    duration: f64,
    /// Media sequence number.
    pub(crate) number: u64,
    /// Discontinuity sequence number.
    discontinuities: u64,
    pub(crate) gap: bool,
    /// Name of each part, and what it is.
    pub(crate) parts: Vec<String>,
}

fn listed(sequence: u64, number: u64, discontinuities: u64, gap: bool) -> Listed {
    Listed { uri: format!("{sequence}.ts"), duration: 1.0, number, discontinuities, gap, parts: Vec::new() }
}

pub(crate) async fn serve(rig: &Rig) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = hls_router(&rig.broadcaster);
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

pub(crate) async fn read(master: &str) -> Vec<Variant> {
    let crate_folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let modules = crate_folder.join("../tools/node_modules");
    assert!(modules.join("hls-parser").is_dir(), "no hls-parser: run scripts/setup browser");
    let output = Command::new("node")
        .arg(crate_folder.join("tests/hls/read.mjs"))
        .arg(master)
        .arg(modules)
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{master}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Profile, level, size, rate and packets of the video that ffprobe finds behind an address, and the audio's codec.
pub(crate) async fn probe(url: &str, entries: &str) -> Vec<String> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-count_packets", "-of", "csv=p=0", "-show_entries", entries])
        .arg(url)
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{url}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines: Vec<String> = text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
    lines.dedup();
    lines
}

fn bytes(rig: &Rig, rendition: &str, sequences: &[u64]) -> Vec<u64> {
    let file = |sequence| rig.folder.path().join(format!("cam/{rendition}/{sequence}.ts"));
    sequences.iter().map(|sequence| std::fs::metadata(file(sequence)).unwrap().len()).collect()
}

/// `avc1` with profile and level as ffprobe names them.
fn avc1(profile: &str, level: &str) -> String {
    let (profile, constraints) = match profile {
        "High" => (0x64, "00"),
        "Main" => (0x4d, "40"),
        other => panic!("an unexpected profile: {other}"),
    };
    format!("avc1.{profile:02x}{constraints}{:02x}", level.parse::<u8>().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_stream_has_the_attributes_that_its_media_have() {
    let peer = Peer::start(Act::Honest).await;
    let rig = Rig::new(&[&peer]).await;
    let config = StreamConfig { playlist: PlaylistMode::Live { segments: 2 }, ..stream_config("cam") };
    let (summary, _) = rig.run(config, 3).await;
    assert_eq!(summary.master_playlist, "cam/vod.m3u8");
    let address = serve(&rig).await;
    let vod = read(&format!("http://{address}/cam/vod.m3u8")).await;
    let live = read(&format!("http://{address}/cam/master.m3u8")).await;
    assert_eq!(
        vod.iter().map(|variant| variant.uri.as_str()).collect::<Vec<_>>(),
        ["144p/vod.m3u8", "72p/vod.m3u8"]
    );

    for (vod, live) in vod.iter().zip(&live) {
        let (name, _) = vod.uri.split_once('/').unwrap();
        let url = format!("http://{address}/cam/{}", vod.uri);
        let video = "stream=codec_name,profile,width,height,level,avg_frame_rate,nb_read_packets";
        let video = probe(&url, video).await.into_iter().find(|line| line.starts_with("h264")).unwrap();
        let fields: Vec<&str> = video.split(',').collect();
        let [_, profile, width, height, level, rate, packets] = fields[..] else { panic!("{video}") };
        assert_eq!(
            (width, height, rate, packets),
            (&*vod.width.to_string(), &*vod.height.to_string(), "25/1", "75")
        );
        assert_eq!(vod.codecs.to_lowercase(), format!("{},mp4a.40.2", avc1(profile, level)));
        assert_eq!(vod.rate, 25.0);
        let sizes = bytes(&rig, name, &[0, 1, 2]);
        assert_eq!(vod.bandwidth, 8 * sizes.iter().max().unwrap());
        assert_eq!(vod.average, (8 * sizes.iter().sum::<u64>()).div_ceil(3));
        assert_eq!((vod.kind.as_deref(), vod.ended, vod.target, vod.first), (Some("VOD"), true, 1, 0));
        assert_eq!(vod.segments, [listed(0, 0, 0, false), listed(1, 1, 0, false), listed(2, 2, 0, false)]);
        assert_eq!((live.kind.as_deref(), live.ended, live.target, live.first), (None, true, 1, 1));
        assert_eq!(live.segments, [listed(1, 1, 0, false), listed(2, 2, 0, false)]);
        assert!(vod.independent && live.independent);
    }
    // Its best rendition of three seconds.
    let [from_vod, from_live] = ["vod", "master"].map(|name| format!("http://{address}/cam/{name}.m3u8"));
    let (whole, newest) = tokio::join!(ffplay::shown(&from_vod, None), ffplay::shown(&from_live, None));
    assert_eq!((whole, newest), (75, 50));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_window_counts_what_left_it_over_gaps_and_jumps_of_the_clock() {
    let peer = Peer::start(Act::Honest).await;
    let rig = Rig::new(&[&peer]).await;
    let config = StreamConfig { playlist: PlaylistMode::Live { segments: 2 }, ..stream_config("cam") };
    let stream = rig.broadcaster.stream(config).unwrap();
    let address = serve(&rig).await;
    let push = async |segment: SourceSegment| stream.push(segment).await.unwrap().outcome().await.is_ok();
    let window = async || {
        let variants = read(&format!("http://{address}/cam/master.m3u8")).await;
        assert_eq!(variants[0].segments, variants[1].segments, "one timeline");
        assert!(!variants[0].ended);
        (variants[0].first, variants[0].segments.clone())
    };
    // Of five seconds the third is never sent, and the fourth cannot be had.
    let mut source = segments(5);
    source.remove(2);
    let mut source = source.into_iter();
    assert!(push(source.next().unwrap()).await);
    assert_eq!(window().await, (0, vec![listed(0, 0, 0, false)]));
    assert!(push(source.next().unwrap()).await);
    peer.act(Act::BlamesSource);
    assert!(!push(source.next().unwrap()).await);
    peer.act(Act::Honest);
    assert_eq!(window().await, (1, vec![listed(1, 1, 0, false), listed(3, 2, 1, true)]));
    assert!(push(source.next().unwrap()).await);
    assert_eq!(window().await, (2, vec![listed(3, 2, 1, true), listed(4, 3, 1, false)]));

    assert_eq!(stream.finish().await.master_playlist, "cam/vod.m3u8");
    let recorded = &read(&format!("http://{address}/cam/vod.m3u8")).await[0];
    let whole =
        [listed(0, 0, 0, false), listed(1, 1, 0, false), listed(3, 2, 1, true), listed(4, 3, 1, false)];
    assert_eq!(recorded.segments, whole);
    let packets =
        probe(&format!("http://{address}/cam/72p/vod.m3u8"), "stream=codec_type,nb_read_packets").await;
    assert!(packets.contains(&"video,75".to_owned()), "{packets:?}");
}
