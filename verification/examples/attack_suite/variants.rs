//! What honest transcoders make of a rung: this project's engine, and the `ffmpeg` command in its many settings.

use std::io::Write;
use std::process::{Command, Stdio};

use bytes::Bytes;
use framemill_media::{Rational, ScaleFilter};
use framemill_network::ladder::{Codec, FrameRate, LadderEntry};

use crate::picture::Pic;
use crate::studio::{self, Clip, Recipe};

/// One of them.
pub(crate) struct Variant {
    pub(crate) name: String,
    pub(crate) entry: LadderEntry,
    how: How,
}

enum How {
    Engine(Recipe),
    Command {
        filter: &'static str,
        settings: Vec<String>,
    },
    /// SVT-AV1 at this preset and rate, in kilobits. MPEG-TS has no place for it: x264 delivers its pictures, at a rate that adds little.
    Relayed {
        preset: &'static str,
        kilobits: u32,
    },
}

impl Variant {
    pub(crate) fn rendition(&self, clip: &Clip) -> Bytes {
        match &self.how {
            How::Engine(recipe) => studio::honest(clip, &self.entry, recipe),
            How::Command { filter, settings } => transcoded(clip, &self.entry, filter, settings),
            How::Relayed { preset, kilobits } => relayed(clip, &self.entry, preset, *kilobits),
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
    set.extend([("8", 67), ("9", 80)].map(|(preset, percent)| {
        let entry = usual.clone();
        let kilobits = entry.bitrate / 1000 * percent / 100;
        Variant {
            name: format!("svt-av1 {percent} {preset} no filter"),
            entry,
            how: How::Relayed { preset, kilobits },
        }
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

fn relayed(clip: &Clip, entry: &LadderEntry, preset: &str, kilobits: u32) -> Bytes {
    let frames = studio::scaled(clip, entry, ScaleFilter::Bicubic);
    let (width, height) = (entry.width as usize, entry.height as usize);
    let raw: Vec<u8> = frames.iter().flat_map(|frame| Pic::from_frame(frame).planes.concat()).collect();
    let mut encoder = Command::new("ffmpeg");
    let (size, rate) = (format!("{width}x{height}"), format!("{}/{}", clip.rate.num, clip.rate.den));
    encoder
        .args(["-v", "error", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", &size, "-r", &rate, "-i", "-"]);
    // By its temporal filter it shows a mean of several frames in place of a keyframe: of what flickers, another picture.
    encoder.args(["-c:v", "libsvtav1", "-preset", preset, "-svtav1-params", "enable-tf=0"]);
    encoder.args(["-b:v", &format!("{kilobits}k"), "-f", "ivf", "-"]);
    // Its own log does not go through FFmpeg's.
    encoder.env("SVT_LOG", "1").stderr(Stdio::null());
    let mut decoder = Command::new("ffmpeg");
    decoder.args(["-v", "error", "-f", "ivf", "-i", "-", "-vsync", "passthrough", "-f", "rawvideo", "-"]);
    let raw = piped(decoder, piped(encoder, raw.into()).into());
    let luma = width * height;
    let chroma = width.div_ceil(2) * height.div_ceil(2);
    let pictures = raw.chunks_exact(luma + 2 * chroma).map(|picture| {
        let (y, colours) = picture.split_at(luma);
        let (u, v) = colours.split_at(chroma);
        Pic { width, height, planes: [y.to_vec(), u.to_vec(), v.to_vec()] }
    });
    let times = frames.iter().map(|frame| frame.pts().expect("frames have times"));
    let coded: Vec<_> = times.zip(pictures).map(|(pts, picture)| picture.to_frame(pts)).collect();
    assert_eq!(coded.len(), frames.len(), "SVT-AV1 keeps every picture");
    let generous = Recipe { rate_percent: 300, ..Recipe::default() };
    studio::rendition_tagged(clip, &coded, frames[0].color(), entry, &generous)
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
