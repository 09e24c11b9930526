//! What honest transcoders make of a rung: this project's engine, and the `ffmpeg` command in its many settings.

use std::io::Write;
use std::process::{Command, Stdio};

use bytes::Bytes;
use framemill_media::Rational;
use framemill_network::ladder::{Codec, FrameRate, LadderEntry};

use crate::studio::{self, Clip, Recipe};

/// One of them.
pub(crate) struct Variant {
    pub(crate) name: String,
    pub(crate) entry: LadderEntry,
    how: How,
}

enum How {
    Engine(Recipe),
    Command { filter: &'static str, settings: Vec<String> },
}

impl Variant {
    pub(crate) fn rendition(&self, clip: &Clip) -> Bytes {
        match &self.how {
            How::Engine(recipe) => studio::honest(clip, &self.entry, recipe),
            How::Command { filter, settings } => transcoded(clip, &self.entry, filter, settings),
        }
    }
}

/// All of a rung of a clip with this frame rate.
pub(crate) fn all(usual: &LadderEntry, rate: Rational) -> Vec<Variant> {
    let mut set = engine(usual, rate);
    set.extend(SETTINGS.iter().map(|&(codec, percent, filter, settings)| {
        let codec_share = if codec == Codec::Hevc { 67 } else { 100 };
        let entry = LadderEntry { codec, bitrate: usual.bitrate / 100 * codec_share, ..usual.clone() };
        let kilobits = entry.bitrate / 1000 * percent / 100;
        let filled: Vec<String> =
            settings.split(' ').map(|word| word.replace("RATE", &kilobits.to_string())).collect();
        let name = format!("ffmpeg {codec:?} {percent} {filter} {settings}");
        Variant { name, entry, how: How::Command { filter, settings: filled } }
    }));
    set
}

fn engine(usual: &LadderEntry, rate: Rational) -> Vec<Variant> {
    let plain = Recipe::default;
    let mut set: Vec<_> = studio::recipes().into_iter().map(|recipe| (usual.clone(), recipe)).collect();
    set.extend(
        [
            Recipe { rate_percent: 125, ..plain() },
            Recipe { gop: 120, ..plain() },
            Recipe { preset: "ultrafast", b_frames: Some(0), gop: 60, ..plain() },
        ]
        .map(|recipe| (usual.clone(), recipe)),
    );
    // 60 to 30 frames a second, 30 to 15.
    let half = FrameRate::new(rate.num.div_ceil(rate.den).max(2) / 2, 1).expect("a rate");
    set.push((LadderEntry { fps: half, bitrate: usual.bitrate / 3 * 2, ..usual.clone() }, plain()));
    let hevc = LadderEntry { codec: Codec::Hevc, bitrate: usual.bitrate / 3 * 2, ..usual.clone() };
    set.push((hevc, Recipe { preset: "ultrafast", ..plain() }));
    let av1 = LadderEntry { codec: Codec::Av1, bitrate: usual.bitrate / 3 * 2, ..usual.clone() };
    set.extend(["veryfast", "medium", "slower"].map(|preset| (av1.clone(), Recipe { preset, ..plain() })));
    set.into_iter()
        .map(|(entry, recipe)| {
            let Recipe { preset, filter, rate_percent, b_frames, zero_latency, gop } = &recipe;
            let name = format!(
                "{:?}-{preset}-{filter:?}-{rate_percent}-{b_frames:?}-{zero_latency}-{gop}-{}",
                entry.codec,
                if entry.fps == FrameRate::SOURCE { "all" } else { "half" }
            );
            Variant { name, entry, how: How::Engine(recipe) }
        })
        .collect()
}

/// Codec, percent of the agreed rate, scaler and settings of the command; `RATE` is the rate in kilobits.
const SETTINGS: [(Codec, u32, &str, &str); 24] = [
    (Codec::H264, 100, "bicubic", "-preset superfast -b:v RATEk -g 15"),
    (Codec::H264, 100, "bilinear", "-preset faster -b:v RATEk -g 30"),
    (Codec::H264, 100, "area", "-preset fast -b:v RATEk -g 60"),
    (Codec::H264, 100, "lanczos", "-preset medium -b:v RATEk -g 120"),
    (Codec::H264, 100, "bicubic", "-preset slow -b:v RATEk -maxrate RATEk -bufsize RATEk"),
    (Codec::H264, 75, "bilinear", "-preset veryfast -b:v RATEk"),
    (Codec::H264, 125, "bicubic", "-preset veryfast -b:v RATEk"),
    (Codec::H264, 75, "area", "-preset medium -b:v RATEk"),
    (Codec::H264, 100, "bicubic", "-preset veryfast -profile:v baseline -b:v RATEk"),
    (Codec::H264, 100, "bicubic", "-preset ultrafast -profile:v baseline -b:v RATEk"),
    (
        Codec::H264,
        100,
        "bilinear",
        "-preset superfast -tune zerolatency -bf 0 -b:v RATEk -maxrate RATEk -bufsize RATEk",
    ),
    (
        Codec::H264,
        100,
        "bicubic",
        "-preset veryfast -tune zerolatency -slices 4 -b:v RATEk -x264-params nal-hrd=cbr:vbv-maxrate=RATE:vbv-bufsize=RATE",
    ),
    (Codec::H264, 100, "bicubic", "-preset veryfast -crf 18 -maxrate RATEk -bufsize RATEk"),
    (Codec::H264, 100, "bicubic", "-preset veryfast -crf 23 -maxrate RATEk -bufsize RATEk"),
    (Codec::H264, 100, "lanczos", "-preset faster -crf 28 -maxrate RATEk -bufsize RATEk"),
    (Codec::H264, 100, "bicubic", "-preset veryfast -tune grain -b:v RATEk"),
    (Codec::H264, 100, "bicubic", "-preset veryfast -tune animation -b:v RATEk"),
    (Codec::H264, 100, "area", "-preset veryfast -b:v RATEk -x264-params aq-mode=0:psy=0"),
    (Codec::H264, 100, "bicubic", "-preset veryfast -b:v RATEk -x264-params intra-refresh=1:keyint=30"),
    (Codec::Hevc, 100, "bicubic", "-preset ultrafast -b:v RATEk -x265-params log-level=none"),
    (Codec::Hevc, 100, "bilinear", "-preset superfast -b:v RATEk -x265-params log-level=none"),
    (Codec::Hevc, 75, "area", "-preset veryfast -b:v RATEk -x265-params log-level=none"),
    (Codec::Hevc, 100, "lanczos", "-preset fast -b:v RATEk -x265-params log-level=none"),
    (
        Codec::Hevc,
        125,
        "bicubic",
        "-preset ultrafast -tune zerolatency -b:v RATEk -x265-params log-level=none",
    ),
];

/// Pipes a clip through the `ffmpeg` command.
fn transcoded(clip: &Clip, entry: &LadderEntry, filter: &str, settings: &[String]) -> Bytes {
    let scale = format!("scale={}:{}:flags={filter}", entry.width, entry.height);
    let encoder = if entry.codec == Codec::Hevc { "libx265" } else { "libx264" };
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-copyts", "-f", "mpegts", "-i", "-", "-map", "0", "-c:a", "copy"]);
    command.args(["-vf", &scale, "-vsync", "passthrough", "-enc_time_base", "-1", "-pix_fmt", "yuv420p"]);
    command.args(["-threads", "1", "-c:v", encoder]).args(settings);
    command.args([
        "-muxdelay",
        "0",
        "-muxpreload",
        "0",
        "-avoid_negative_ts",
        "disabled",
        "-f",
        "mpegts",
        "-",
    ]);
    piped(command, clip.data.clone()).into()
}

/// What a command writes of these bytes.
fn piped(mut command: Command, bytes: Bytes) -> Vec<u8> {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = child.expect("the ffmpeg command is installed");
    let mut input = child.stdin.take().expect("piped");
    let feeder = std::thread::spawn(move || input.write_all(&bytes));
    let output = child.wait_with_output().expect("ffmpeg ends");
    feeder.join().expect("the feeder ends").expect("ffmpeg reads all");
    assert!(output.status.success(), "refused: {command:?}");
    output.stdout
}
