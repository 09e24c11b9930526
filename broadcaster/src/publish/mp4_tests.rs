//! Renditions in fragmented MP4 beside others: what is stored, listed and deleted of them, and whether it plays.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use framemill_media::{
    ClipSpec, MediaLimits, Rational, Segmenter, SegmenterConfig, SourceSegment, generate_clip,
};

use super::*;
use crate::core::codecs::codec_strings;
use crate::core::mp4::tests::{fragment, make, track};
use crate::core::parts::PartPlaylist;
use crate::editions::Editions;
use crate::store::ObjectStorage;

const TWO_SECONDS: i64 = 180_000;

struct Stage {
    folder: tempfile::TempDir,
    publisher: Publisher,
}

impl Stage {
    fn new(mode: PlaylistMode) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let publisher = publisher(folder.path(), mode);
        Self { folder, publisher }
    }

    /// Publishes a segment at this place, whose MP4 has this section and begins at the same time.
    async fn publish(&mut self, place: Place, section: &'static str) -> Vec<String> {
        let pieces = [
            Piece { name: "360p".into(), data: Bytes::from_static(b"transport stream") },
            Piece { name: "av1".into(), data: mp4(section, place.start_pts_90k).into() },
        ];
        let paths = self.publisher.store(place, &pieces).await.unwrap();
        self.publisher.list().await.unwrap();
        paths
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join("cam").join(file)
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.path(file)).unwrap()
    }

    fn has_section(&self, section: &str) -> bool {
        self.path(&format!("av1/{}", name_of(section))).exists()
    }
}

fn publisher(folder: &Path, mode: PlaylistMode) -> Publisher {
    let store = Arc::new(ObjectStorage::folder(folder).unwrap());
    let mut publisher = Publisher::new(store, "cam".into(), mode, 180_000);
    let variant = |name: &str| Variant::new(name.into(), 640, 360, (30, 1), Vec::new());
    publisher.set_variants(vec![variant("360p"), variant("av1").with_files(Files::MP4)]);
    publisher
}

fn section(text: &str) -> Vec<u8> {
    let index = make(b"moov", &[&track(1, b"vide", 90_000, &[])]);
    [make(b"ftyp", &[text.as_bytes()]), index].concat()
}

fn mp4(text: &str, start: i64) -> Vec<u8> {
    [section(text), fragment(1, start as u64)].concat()
}

fn name_of(text: &str) -> String {
    Section::of(&section(text)).to_string()
}

fn place(sequence: u64) -> Place {
    starting(sequence, sequence as i64 * TWO_SECONDS)
}

fn starting(sequence: u64, start_pts_90k: i64) -> Place {
    Place { sequence, start_pts_90k, duration_90k: 180_000 }
}

#[tokio::test]
async fn a_segment_is_stored_without_the_section_that_its_playlist_names() {
    let mut stage = Stage::new(PlaylistMode::Event);
    assert_eq!(stage.publish(place(0), "a").await, ["cam/360p/0.ts", "cam/av1/0.m4s"]);
    stage.publish(place(1), "b").await;
    let map = |text| format!("#EXT-X-MAP:URI=\"{}\"\n", name_of(text));
    let list = format!("{}#EXTINF:2.000000,\n0.m4s\n{}#EXTINF:2.000000,\n1.m4s\n", map("a"), map("b"));
    let text = stage.read("av1/index.m3u8");
    assert!(text.ends_with(&list) && text.contains("#EXT-X-VERSION:6\n"), "{text}");
    let other = stage.read("360p/index.m3u8");
    assert!(other.ends_with("#EXTINF:2.000000,\n1.ts\n") && other.contains("#EXT-X-VERSION:3\n"), "{other}");
    assert!(!other.contains("MAP"));
    let [first, rest] = [name_of("b").as_str(), "1.m4s"].map(|file| stage.path("av1").join(file));
    assert_eq!([std::fs::read(first).unwrap(), std::fs::read(rest).unwrap()].concat(), mp4("b", TWO_SECONDS));
}

#[tokio::test]
async fn a_section_is_stored_once_and_its_bytes_are_nobodys_rate() {
    let mut stage = Stage::new(PlaylistMode::Live { segments: 2 });
    stage.publish(place(0), "a").await;
    std::fs::remove_file(stage.path(&format!("av1/{}", name_of("a")))).unwrap();
    for sequence in 1..5 {
        stage.publish(place(sequence), "a").await;
    }
    assert!(!stage.has_section("a"));
    let media = fragment(1, 0).len() as u64;
    assert!(stage.read("master.m3u8").contains(&format!("BANDWIDTH={},", media * 4)));
    // The first listed segment's section is named however long it has been there.
    let first = format!("#EXT-X-MAP:URI=\"{}\"\n#EXTINF:2.000000,\n3.m4s\n", name_of("a"));
    assert!(stage.read("av1/index.m3u8").contains(&first));
    stage.publisher.finish().await.unwrap();
    let recorded = stage.read("av1/vod.m3u8");
    assert_eq!((recorded.matches("#EXT-X-MAP").count(), recorded.matches("#EXTINF").count()), (1, 5));
}

#[tokio::test]
async fn a_section_goes_with_the_last_segment_that_needs_it() {
    let mut stage = Stage::new(PlaylistMode::Sliding { segments: 2 });
    let needed = ["a", "b", "a", "c", "c", "c", "c", "c", "c", "c"];
    let mut gone = Vec::new();
    for (sequence, text) in (0..).zip(needed) {
        stage.publish(place(sequence), text).await;
        let oldest = (0..=sequence).find(|number| stage.path(&format!("av1/{number}.m4s")).exists()).unwrap();
        for section in ["a", "b", "c"].iter().filter(|section| needed[..=sequence as usize].contains(section))
        {
            let is_needed = needed[oldest as usize..=sequence as usize].contains(section);
            assert_eq!(stage.has_section(section), is_needed, "{section} with {oldest} to {sequence}");
            gone.extend(Some(*section).filter(|_| !is_needed));
        }
    }
    assert!(gone.contains(&"a") && gone.contains(&"b"), "the stream was long enough");
}

#[tokio::test]
async fn a_recorded_stream_keeps_every_section() {
    let mut stage = Stage::new(PlaylistMode::Live { segments: 1 });
    for (sequence, text) in (0..).zip(["a", "b", "c", "c", "c", "c"]) {
        stage.publish(place(sequence), text).await;
    }
    assert!(["a", "b", "c"].iter().all(|section| stage.has_section(section)));
}

#[tokio::test]
async fn the_wrap_of_the_clock_breaks_all_renditions_where_one_is_mp4() {
    let mut stage = Stage::new(PlaylistMode::Event);
    // The second crosses the wrap and is not wrapped; the third begins behind it.
    let starts = [WRAP - 270_000, WRAP - 90_000, 90_000, 270_000];
    for (sequence, start) in (0..).zip(starts) {
        stage.publish(starting(sequence, start), "a").await;
    }
    for (rendition, extension) in [("360p", "ts"), ("av1", "m4s")] {
        let text = stage.read(&format!("{rendition}/index.m3u8"));
        let breaks = format!("#EXT-X-DISCONTINUITY\n#EXTINF:2.000000,\n2.{extension}\n");
        assert!(text.contains(&breaks) && text.matches("DISCONTINUITY").count() == 1, "{text}");
    }
}

#[tokio::test]
async fn a_segment_whose_mp4_is_not_wrapped_yet_does_not_break() {
    let mut stage = Stage::new(PlaylistMode::Event);
    stage.publish(starting(0, WRAP - TWO_SECONDS), "a").await;
    // Its sound begins before the wrap, so that its picture's time goes on behind it.
    let pieces = [Piece { name: "av1".into(), data: mp4("a", WRAP + 100).into() }];
    stage.publisher.store(starting(1, 100), &pieces).await.unwrap();
    stage.publish(starting(2, TWO_SECONDS + 100), "a").await;
    let text = stage.read("av1/index.m3u8");
    let rest = text.split("1.m4s\n").collect::<Vec<_>>();
    assert!(!rest[0].contains("DISCONTINUITY") && rest[1].starts_with("#EXT-X-DISCONTINUITY\n"), "{text}");
}

#[tokio::test]
async fn the_wrap_is_no_break_of_transport_streams() {
    let mut stage = Stage::new(PlaylistMode::Event);
    stage.publisher.variants.truncate(1);
    for (sequence, start) in [(0, WRAP - 90_000), (1, 90_000)] {
        stage.publish(starting(sequence, start), "a").await;
    }
    assert!(!stage.read("360p/index.m3u8").contains("DISCONTINUITY"));
}

#[tokio::test]
async fn another_publisher_goes_on_with_sections_of_its_own() {
    let mode = PlaylistMode::Sliding { segments: 3 };
    let mut stage = Stage::new(mode);
    for sequence in 0..3 {
        stage.publish(place(sequence), "a").await;
    }
    stage.publisher = publisher(stage.folder.path(), mode);
    stage.publish(place(3), "b").await;
    let list =
        format!("#EXT-X-MEDIA-SEQUENCE:3\n#EXT-X-MAP:URI=\"{}\"\n#EXTINF:2.000000,\n3.m4s\n", name_of("b"));
    assert!(stage.read("av1/index.m3u8").ends_with(&list));
    assert!(stage.has_section("a"), "players still have the other's playlist");
}

/// Runs a tool that real users have at hand.
fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// A rendition of a source segment, `later` than it by so many ticks, made by FFmpeg.
fn transcoded(source: &[u8], later: i64, arguments: &[&str]) -> Bytes {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.ts"), folder.path().join("out"));
    std::fs::write(&input, source).unwrap();
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.env("SVT_LOG", "1").args(["-v", "error", "-copyts", "-i"]).arg(input);
    let later = (later as f64 / 90_000.0).to_string();
    ffmpeg.args(["-map", "0", "-c:a", "copy", "-output_ts_offset", &later]);
    run(ffmpeg.args(arguments).arg(&output));
    std::fs::read(output).unwrap().into()
}

/// An encoder with what it takes to be fast.
type Maker = [&'static str; 6];
const SVT: Maker = ["-c:v", "libsvtav1", "-preset", "12", "-crf", "45"];
const AOM: Maker = ["-c:v", "libaom-av1", "-cpu-used", "8", "-usage", "realtime"];

fn av1(source: &[u8], later: i64, maker: &Maker) -> Bytes {
    let flags = "+frag_keyframe+empty_moov+delay_moov+default_base_moof+frag_discont+skip_trailer";
    let video = [&maker[..], &["-g", "60", "-video_track_timescale", "90000"]].concat();
    let container = [
        "-bsf:a",
        "aac_adtstoasc",
        "-use_editlist",
        "0",
        "-avoid_negative_ts",
        "disabled",
        "-movflags",
        flags,
        "-f",
        "mp4",
    ];
    without_rates(transcoded(source, later, &[&video[..], &container].concat()).to_vec())
}

/// Bit rates, which FFmpeg measures, differ from segment to segment and would make a section of each.
fn without_rates(mut segment: Vec<u8>) -> Bytes {
    for at in 0..section_length(&segment).unwrap() {
        match &segment[at..at + 4] {
            b"esds" => segment[at + 26..at + 34].fill(0),
            b"btrt" => segment[at + 8..at + 16].fill(0),
            _ => {}
        }
    }
    segment.into()
}

fn h264(source: &[u8], later: i64) -> Bytes {
    let container = ["-muxdelay", "0", "-muxpreload", "0", "-f", "mpegts"];
    transcoded(
        source,
        later,
        &[&["-c:v", "libx264", "-preset", "ultrafast", "-g", "60", "-bf", "0"][..], &container].concat(),
    )
}

/// Segments of a synthetic clip.
fn source(spec: ClipSpec, target: i64) -> Vec<SourceSegment> {
    let clip = generate_clip(&spec, &MediaLimits::default()).unwrap();
    let config = SegmenterConfig { target, ..SegmenterConfig::default() };
    Segmenter::from_bytes(clip, config, &MediaLimits::default()).unwrap().map(Result::unwrap).collect()
}

/// A stream of six segments whose clock wraps in the second and whose fourth is missing, with renditions by two makers in turn.
async fn publish_real(stage: &mut Stage) {
    let spec = ClipSpec { gop: 60, ..ClipSpec::new(320, 180, Rational::new(30, 1), 12) };
    let segments = source(spec, TWO_SECONDS);
    let later = WRAP - 270_000 - segments[0].start_pts;
    for segment in segments.iter().filter(|segment| segment.sequence != 3) {
        let start = segment.start_pts + later;
        let wrapped = start.rem_euclid(WRAP) - segment.start_pts;
        // Another section without a break, both at once (FFmpeg writes headers of 64 bits before the wrap), and a break without another.
        let maker = if (1..5).contains(&segment.sequence) { AOM } else { SVT };
        let pieces = [
            Piece { name: "360p".into(), data: h264(&segment.data, wrapped) },
            Piece { name: "av1".into(), data: av1(&segment.data, wrapped, &maker) },
        ];
        for (variant, piece) in stage.publisher.variants.iter_mut().zip(&pieces) {
            variant.codecs = codec_strings(&piece.data);
        }
        let place = Place { duration_90k: segment.duration as u64, ..starting(segment.sequence, start) };
        stage.publisher.store(place, &pieces).await.unwrap();
        stage.publisher.list().await.unwrap();
    }
}

/// Where Debian puts the browser.
const CHROMIUM: &str = "/usr/bin/chromium";
/// One browser at a time: another would be late for reasons of its own.
static BROWSER: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn serve(folder: &Path, editions: Arc<Editions>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = crate::serve::router(Arc::new(ObjectStorage::folder(folder).unwrap()), editions);
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}/cam")
}

fn modules() -> PathBuf {
    let modules = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tools/node_modules");
    assert!(modules.join("hls.js").is_dir() && Path::new(CHROMIUM).is_file(), "run scripts/setup browser");
    modules
}

/// What a script of the tests prints.
async fn script(name: &str, arguments: &[&str]) -> serde_json::Value {
    let mut node = Command::new("node");
    node.arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)).args(arguments);
    let output = tokio::task::spawn_blocking(move || run(&mut node)).await.unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Video packets that ffprobe finds behind an address.
async fn packets(url: String) -> String {
    let mut probe = Command::new("ffprobe");
    probe.args(["-v", "error", "-count_packets", "-select_streams", "v", "-of", "csv=p=0"]);
    probe.args(["-show_entries", "stream=codec_name,nb_read_packets"]).arg(url);
    let output = tokio::task::spawn_blocking(move || run(&mut probe)).await.unwrap();
    String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn real_renditions_in_two_containers_play_in_ffmpeg_and_in_a_browser_without_a_gap() {
    let _browser = BROWSER.lock().await;
    let mut stage = Stage::new(PlaylistMode::Live { segments: 2 });
    publish_real(&mut stage).await;
    stage.publisher.finish().await.unwrap();
    let text = stage.read("av1/vod.m3u8");
    assert_eq!((text.matches("#EXT-X-MAP").count(), text.matches("DISCONTINUITY").count()), (4, 2), "{text}");
    let master = stage.read("vod.m3u8");
    assert!(master.contains("\"av01.0.00M.08,mp4a.40.2\"") && master.contains("\"avc1.42c00d,mp4a.40.2\""));

    let modules = modules().display().to_string();
    let address = serve(stage.folder.path(), Arc::default()).await;
    let read = script("tests/hls/read.mjs", &[&format!("{address}/vod.m3u8"), &modules]).await;
    assert_eq!(read[1]["segments"][4]["uri"], "5.m4s");
    assert_eq!(packets(format!("{address}/av1/vod.m3u8")).await, "av1,300");
    assert_eq!(packets(format!("{address}/360p/vod.m3u8")).await, "h264,300");

    let master = stage.path("vod.m3u8").display().to_string();
    let played = script("../tests/browser/play.mjs", &[&master, &modules, CHROMIUM]).await;
    assert_eq!(played["levels"], 2);
    for pass in played["passes"].as_array().unwrap() {
        assert_eq!(
            (pass["errors"].clone(), pass["ended"].clone()),
            (serde_json::json!([]), true.into()),
            "{pass}"
        );
        assert!(pass["width"] == 320 && pass["frames"].as_u64() > pass["dropped"].as_u64(), "{pass}");
        let [range] = &pass["buffered"].as_array().unwrap()[..] else {
            panic!("a gap between segments: {pass}")
        };
        let (start, end) = (range[0].as_f64().unwrap(), range[1].as_f64().unwrap());
        assert!(start < 0.05 && (end - 10.0).abs() < 0.1, "{pass}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_mp4_play_in_a_browser_over_a_change_of_the_section() {
    let _browser = BROWSER.lock().await;
    let spec = ClipSpec { gop: 30, audio: None, ..ClipSpec::new(320, 180, Rational::new(30, 1), 30) };
    let made = source(spec, 90_000);
    let made: Vec<_> = made
        .iter()
        .map(|segment| {
            // Makers that do not follow each other's sections, with the second in the middle of a segment.
            let maker = if (8..17).contains(&segment.sequence) { AOM } else { SVT };
            let place = Place { duration_90k: 90_000, ..starting(segment.sequence, segment.start_pts) };
            (place, Piece { name: "av1".into(), data: av1(&segment.data, 0, &maker) })
        })
        .collect();
    let mut stage = Stage::new(PlaylistMode::Live { segments: 18 });
    let editions = Arc::new(Editions::default());
    let parts = PartPlaylist::new(Kind::Window(6), 90_000, 3);
    let publisher = publisher(stage.folder.path(), PlaylistMode::Live { segments: 18 });
    stage.publisher = publisher.told_by(Herald::new(Arc::clone(&editions), "cam".into(), parts));
    stage.publisher.variants.remove(0);
    stage.publisher.variants[0].codecs = codec_strings(&made[0].1.data);
    let address = serve(stage.folder.path(), editions).await;

    let mut feed = async |made: &[(Place, Piece)], pace| {
        for (place, piece) in made {
            stage.publisher.store(*place, std::slice::from_ref(piece)).await.unwrap();
            stage.publisher.list().await.unwrap();
            tokio::time::sleep(pace).await;
        }
    };
    feed(&made[..7], Duration::ZERO).await;
    let url = format!("{address}/master.m3u8");
    let player = |name: &str, low: bool| serde_json::json!({ "name": name, "url": url, "unit": 1, "lowLatency": low, "begun": 0 });
    let told = serde_json::json!({
        "modules": modules(), "chromium": CHROMIUM, "players": [player("parts", true), player("whole", false)],
    });
    let told = told.to_string();
    let arguments = [told.as_str()];
    let (watched, ()) =
        tokio::join!(script("tests/hls/latency.mjs", &arguments), feed(&made[7..], Duration::from_secs(1)));
    for player in watched.as_array().unwrap() {
        let name = player["name"].as_str().unwrap();
        println!("{name}: {} of {} s, {} stalls", player["played"], player["took"], player["stalls"]);
        assert_eq!(player["errors"], serde_json::json!([]), "{player}");
        assert_eq!(player["parts"], name == "parts", "{player}");
        assert!(player["played"].as_f64().unwrap() > 1.0, "{player}");
    }
    stage.publisher.finish().await.unwrap();
    assert_eq!(stage.read("av1/vod.m3u8").matches("#EXT-X-MAP").count(), 3);
}
