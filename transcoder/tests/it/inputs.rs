//! Every kind of input: cut as a broadcaster cuts it, transcoded, and held against what FFmpeg's own tools say of the input.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use framemill_media::{
    DecoderConfig, MediaLimits, Segmenter, SegmenterConfig, Ticks, VideoReader, time::wrapped_difference,
};
use framemill_network::ladder::{Codec, FrameGate, Ladder, LadderEntry, Profile};

use crate::{ladder::check, support::*};

/// One kind of input and what its first rendition is to be.
struct Input {
    name: &'static str,
    /// Ending of the file, which chooses the container.
    container: &'static str,
    /// Everything of the `ffmpeg` command line that makes it but the output.
    arguments: &'static str,
    ladder: &'static str,
    /// Width and height of the first rendition.
    size: (u32, u32),
    /// Range, matrix, transfer and primaries as ffprobe names them.
    color: [&'static str; 4],
    /// Shape of a pixel.
    aspect: &'static str,
    /// Codecs of the audio tracks.
    audio: &'static [&'static str],
}

const UNTAGGED: [&str; 4] = ["unknown"; 4];
/// How most inputs differ from this one.
const PLAIN: Input = Input {
    name: "",
    container: "ts",
    arguments: "",
    ladder: "72:100k",
    size: (128, 72),
    color: UNTAGGED,
    aspect: "1:1",
    audio: &[],
};

/// Three seconds of a picture; a tone; a keyframe each second.
macro_rules! made {
    ($picture:literal, $rest:literal) => {
        concat!("-f lavfi -i testsrc2=", $picture, ":d=3 -f lavfi -i sine=r=48000:d=3 ", $rest)
    };
}

const CONTAINERS: &[Input] = &[
    Input {
        name: "h264 with aac in mpeg-ts",
        arguments: made!("s=320x180:r=30", "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 30 -c:a aac"),
        audio: &["aac"],
        ..PLAIN
    },
    Input {
        name: "h264 with aac in flv",
        container: "flv",
        arguments: made!("s=320x180:r=30", "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 30 -c:a aac"),
        audio: &["aac"],
        ..PLAIN
    },
    Input {
        name: "h264 with aac in fragmented mp4",
        container: "mp4",
        arguments: made!(
            "s=320x180:r=24000/1001",
            "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 24 -c:a aac -movflags frag_keyframe+empty_moov"
        ),
        audio: &["aac"],
        ..PLAIN
    },
    Input {
        name: "h264 with aac in mp4 whose index stands at the end",
        container: "mp4",
        arguments: made!(
            "s=320x180:r=30000/1001",
            "-c:v libx264 -preset ultrafast -bf 2 -pix_fmt yuv420p -g 30 -c:a aac -ar 44100"
        ),
        audio: &["aac"],
        ..PLAIN
    },
];

const CODECS: &[Input] = &[
    Input {
        name: "hevc in mp4",
        container: "mp4",
        arguments: made!(
            "s=320x180:r=30",
            "-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=30:open-gop=0 -pix_fmt yuv420p -an"
        ),
        ..PLAIN
    },
    Input {
        name: "hevc, ten bit, 4:2:2, in mpeg-ts",
        arguments: made!(
            "s=320x180:r=30",
            "-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=30:open-gop=0 -pix_fmt yuv422p10le -an"
        ),
        ..PLAIN
    },
    Input {
        name: "vp9 with opus in webm",
        container: "webm",
        arguments: made!(
            "s=320x180:r=30",
            "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 300k -g 30 -pix_fmt yuv420p -c:a libopus"
        ),
        audio: &["opus"],
        ..PLAIN
    },
    Input {
        name: "vp9 with aac in fragmented mp4",
        container: "mp4",
        arguments: made!(
            "s=320x180:r=30",
            "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 300k -g 30 -pix_fmt yuv420p -c:a aac -movflags \
             frag_keyframe+empty_moov"
        ),
        audio: &["aac"],
        ..PLAIN
    },
    Input {
        name: "av1 with opus in webm",
        container: "webm",
        arguments: made!(
            "s=320x180:r=30",
            "-c:v libsvtav1 -preset 12 -b:v 300k -g 30 -pix_fmt yuv420p -c:a libopus"
        ),
        audio: &["opus"],
        ..PLAIN
    },
    Input {
        name: "av1, ten bit, with aac in fragmented mp4",
        container: "mp4",
        arguments: made!(
            "s=320x180:r=30",
            "-c:v libsvtav1 -preset 12 -b:v 300k -g 30 -pix_fmt yuv420p10le -c:a aac -movflags \
             frag_keyframe+empty_moov"
        ),
        audio: &["aac"],
        ..PLAIN
    },
];

const SHAPES: &[Input] = &[
    Input {
        name: "h264 4:2:2",
        arguments: made!("s=320x180:r=30", "-c:v libx264 -preset ultrafast -pix_fmt yuv422p -g 30 -an"),
        ..PLAIN
    },
    Input {
        name: "h264 4:4:4 of an odd size",
        arguments: made!("s=319x181:r=30", "-c:v libx264 -preset ultrafast -pix_fmt yuv444p -g 30 -an"),
        ..PLAIN
    },
    Input {
        name: "portrait",
        arguments: made!("s=180x320:r=30", "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 30 -an"),
        ladder: "128:100k",
        size: (72, 128),
        ..PLAIN
    },
    Input {
        name: "both sides given: the picture is fitted in",
        arguments: made!("s=320x240:r=30", "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 30 -an"),
        ladder: r#"[{"name":"box","width":128,"height":72,"bitrate":100000}]"#,
        size: (96, 72),
        ..PLAIN
    },
    Input {
        name: "pixels that are wider than high, as broadcast in pal",
        arguments: made!(
            "s=720x576:r=25",
            "-vf setsar=64/45 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 25 -an"
        ),
        ladder: "144:100k",
        size: (180, 144),
        aspect: "64:45",
        ..PLAIN
    },
    Input {
        name: "pixels that are higher than wide, said by the container alone",
        container: "mkv",
        arguments: made!(
            "s=320x180:r=30",
            "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 30 -an -aspect 4:3"
        ),
        aspect: "3:4",
        ..PLAIN
    },
    Input {
        name: "pixels that are wider than high, fitted into another shape",
        arguments: made!(
            "s=360x288:r=25",
            "-vf setsar=16/11 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 25 -an"
        ),
        ladder: r#"[{"name":"box","width":128,"height":72,"bitrate":100000}]"#,
        size: (90, 72),
        aspect: "16:11",
        ..PLAIN
    },
];

const LADDERS: &[Input] = &[
    Input {
        name: "width alone given",
        arguments: made!("s=320x240:r=30", "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 30 -an"),
        ladder: r#"[{"name":"wide","width":160,"bitrate":100000,"profile":"baseline","gop":"0.5"}]"#,
        size: (160, 120),
        ..PLAIN
    },
    Input {
        name: "a usual preset",
        arguments: made!("s=320x180:r=30", "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 30 -an"),
        ladder: "P144p30fps16x9",
        size: (256, 144),
        ..PLAIN
    },
    Input {
        name: "hevc out",
        arguments: made!(
            "s=320x180:r=30",
            "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 30 -c:a aac -color_range tv -colorspace bt709 -color_trc bt709 \
             -color_primaries bt709"
        ),
        ladder: r#"[{"name":"h","height":72,"bitrate":100000,"codec":"hevc","gop":"1"}]"#,
        color: ["tv", "bt709", "bt709", "bt709"],
        audio: &["aac"],
        ..PLAIN
    },
    Input {
        name: "hevc out, of other pixels, frames and size",
        arguments: made!(
            "s=360x288:r=50",
            "-vf setsar=16/15 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 50 -an"
        ),
        ladder: r#"[{"name":"h","height":144,"bitrate":100000,"codec":"hevc","fps":25}]"#,
        // What goes without saying in H.264 is said by x265.
        color: ["tv", "unknown", "unknown", "unknown"],
        size: (180, 144),
        aspect: "16:15",
        ..PLAIN
    },
    Input {
        name: "60 to 30 frames per second",
        arguments: made!("s=320x180:r=60", "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 60 -an"),
        ladder: "72p30:100k",
        ..PLAIN
    },
    Input {
        name: "60 to 30000/1001 frames per second",
        arguments: made!("s=320x180:r=60", "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 60 -an"),
        ladder: r#"[{"name":"ntsc","height":72,"bitrate":100000,"fps":"30000/1001"}]"#,
        ..PLAIN
    },
    Input {
        name: "variable frame rate",
        arguments: made!(
            "s=320x180:r=60",
            "-vf select='mod(n\\,3)-mod(n\\,7)' -fps_mode vfr -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 30 -an"
        ),
        ..PLAIN
    },
];

const COLOURS: &[Input] = &[
    Input {
        name: "full range",
        arguments: made!(
            "s=320x180:r=30",
            "-vf scale=out_range=pc -c:v libx264 -preset ultrafast -pix_fmt yuv420p -color_range pc -g 30 -an"
        ),
        color: ["pc", "unknown", "unknown", "unknown"],
        ..PLAIN
    },
    Input {
        name: "colours of ultra-high definition in ten bit",
        arguments: made!(
            "s=320x180:r=30",
            "-c:v libx264 -preset ultrafast -pix_fmt yuv420p10le -g 30 -an -color_range tv -colorspace bt2020nc -color_trc smpte2084 \
             -color_primaries bt2020"
        ),
        color: ["tv", "bt2020nc", "smpte2084", "bt2020"],
        ..PLAIN
    },
    Input {
        name: "colours of high definition",
        arguments: made!(
            "s=320x180:r=30",
            "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 30 -an -color_range tv -colorspace bt709 -color_trc bt709 \
             -color_primaries bt709"
        ),
        color: ["tv", "bt709", "bt709", "bt709"],
        ..PLAIN
    },
];

const SOUNDS: &[Input] = &[
    Input {
        name: "pcm in quicktime",
        container: "mov",
        arguments: made!(
            "s=320x180:r=30",
            "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 30 -c:a pcm_s16le -ac 2"
        ),
        audio: &["aac"],
        ..PLAIN
    },
    Input {
        name: "three tracks, one of which no rendition carries",
        container: "mkv",
        arguments: made!(
            "s=320x180:r=30",
            "-map 0 -map 1 -map 1 -map 1 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 30 -c:a:0 aac -c:a:1 pcm_s24le -ar:a:1 96000 \
             -c:a:2 libmp3lame"
        ),
        audio: &["aac", "aac", "mp3"],
        ..PLAIN
    },
    Input {
        name: "ac-3 of six channels",
        arguments: made!(
            "s=320x180:r=30",
            "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 30 -c:a ac3 -ac 6"
        ),
        audio: &["ac3"],
        ..PLAIN
    },
    Input {
        name: "enhanced ac-3",
        arguments: made!("s=320x180:r=30", "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 30 -c:a eac3"),
        audio: &["eac3"],
        ..PLAIN
    },
    Input {
        name: "opus in mpeg-ts",
        arguments: made!(
            "s=320x180:r=30",
            "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 30 -c:a libopus"
        ),
        audio: &["opus"],
        ..PLAIN
    },
    Input {
        name: "mp3 in flv",
        container: "flv",
        arguments: made!(
            "s=320x180:r=30",
            "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 30 -c:a libmp3lame -ar 44100"
        ),
        audio: &["mp3"],
        ..PLAIN
    },
];

/// The input as a file, and its folder.
fn make(input: &Input, folder: &Path) -> Option<PathBuf> {
    let path = folder.join("input").with_extension(input.container);
    let arguments: Vec<&str> = input.arguments.split_whitespace().collect();
    ffmpeg(&arguments, &path)?;
    Some(path)
}

/// Presentation times of the video in ticks, as ffprobe reads them, rising.
fn times_by_ffprobe(path: &Path) -> Vec<i64> {
    let wanted = ["-select_streams", "v:0", "-show_entries", "packet=pts_time", "-of", "csv=p=0"];
    let text = String::from_utf8(told("ffprobe", &wanted, path, &[])).expect("numbers");
    let seconds = text.lines().filter_map(|line| line.trim_end_matches(',').parse::<f64>().ok());
    let mut times: Vec<i64> = seconds.map(|time| (time * 90_000.0).round() as i64).collect();
    times.sort_unstable();
    times
}

/// What ffprobe says of a stream.
fn stream_by_ffprobe(path: &Path, stream: &str, entries: &str) -> Vec<String> {
    let entries = format!("stream={entries}");
    let wanted = ["-select_streams", stream, "-show_entries", &entries, "-of", "default=nw=1"];
    let text = String::from_utf8(told("ffprobe", &wanted, path, &[])).expect("text");
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    // Of a transport stream it tells everything twice: of the program's streams and of the file's.
    let (first, again) = lines.split_at(lines.len() / 2);
    if path.extension().is_some_and(|ending| ending == "ts") && first == again {
        return first.to_vec();
    }
    lines
}

/// The first picture, small and grey, upright.
fn thumbnail(path: &Path) -> Vec<u8> {
    let wanted = ["-frames:v", "1", "-vf", "scale=8:8:flags=area,format=gray", "-f", "rawvideo", "-"];
    told("ffmpeg", &[], path, &wanted)
}

fn assert_like(shown: &[u8], wanted: &[u8], name: &str) {
    assert_eq!(shown.len(), 64, "{name}");
    let difference: u32 = shown.iter().zip(wanted).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
    assert!(difference < 64 * 8, "{name} shows another picture: {shown:?} for {wanted:?}");
}

fn assert_tagged(input: &Input, codec: Codec, rendition: &Path) {
    let found = stream_by_ffprobe(rendition, "v:0", "color_range,color_space,color_transfer,color_primaries");
    let [range, matrix, transfer, primaries] = input.color;
    // AV1 always says which range it has.
    let range = if codec == Codec::Av1 && range == "unknown" { "tv" } else { range };
    let wanted = [
        format!("color_range={range}"),
        format!("color_space={matrix}"),
        format!("color_transfer={transfer}"),
        format!("color_primaries={primaries}"),
    ];
    assert_eq!(found, wanted, "{}", input.name);
    let shape = stream_by_ffprobe(rendition, "v:0", "sample_aspect_ratio,pix_fmt");
    let formats: &[&str] =
        if range == "pc" { &["pix_fmt=yuvj420p", "pix_fmt=yuv420p"] } else { &["pix_fmt=yuv420p"] };
    assert!(shape.iter().any(|line| formats.contains(&line.as_str())), "{}: {shape:?}", input.name);
    // Square pixels may go without saying.
    let unsaid = input.aspect == "1:1" && shape.iter().any(|line| line.ends_with("=N/A"));
    assert!(
        unsaid || shape.contains(&format!("sample_aspect_ratio={}", input.aspect)),
        "{}: {shape:?}",
        input.name
    );
}

/// The ladder with its first entry alone, in this codec.
fn in_codec(ladder: &Ladder, codec: Codec) -> Ladder {
    let entry = LadderEntry { codec, profile: Profile::Auto, ..ladder.entries()[0].clone() };
    Ladder::new(vec![entry]).expect("a ladder")
}

/// Checks an input against its ladder, in this codec where one is given.
async fn check_input(input: &Input, codec: Option<Codec>) {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let Some(path) = make(input, folder.path()) else { return };
    let source: Bytes = std::fs::read(&path).expect("ffmpeg wrote it").into();
    let mut expected = times_by_ffprobe(&path).into_iter().peekable();
    let (mut renditions, mut found) = (Vec::new(), Vec::new());
    let (mut wanted, mut made_in) = (Vec::new(), Codec::H264);
    for segment in segments(source) {
        let ladder = ladder_for(&segment, input.ladder);
        let ladder = codec.map_or(ladder.clone(), |codec| in_codec(&ladder, codec));
        let entry = ladder.entries()[0].clone();
        made_in = entry.codec;
        assert_eq!((entry.width, entry.height), input.size, "{}", input.name);
        let rendition = check(&segment, ladder).await.swap_remove(0);
        let mut gate = FrameGate::new(entry.fps);
        wanted.extend(expected.by_ref().take(times(&segment).len()).filter(|&pts| gate.keep(pts)));
        found.extend(times(&rendition));
        renditions.push(rendition);
    }
    assert_eq!(expected.next(), None, "{} lost pictures", input.name);
    assert_eq!(found.len(), wanted.len(), "{}", input.name);
    let close = |(found, wanted): (&i64, &i64)| wrapped_difference(*found, *wanted).abs() <= 1;
    assert!(found.iter().zip(&wanted).all(close), "{}: {found:?} for {wanted:?}", input.name);

    // Files of MPEG-TS can be strung together as they are.
    let (name, whole) = match made_in {
        Codec::Av1 => ("rendition.mp4", renditions.swap_remove(0).to_vec()),
        _ => ("rendition.ts", renditions.concat()),
    };
    let rendition = folder.path().join(name);
    std::fs::write(&rendition, whole).expect("room for a clip");
    assert_tagged(input, made_in, &rendition);
    let codecs: Vec<_> = input.audio.iter().map(|codec| format!("codec_name={codec}")).collect();
    assert_eq!(stream_by_ffprobe(&rendition, "a", "codec_name"), codecs, "{}", input.name);
    assert_like(&thumbnail(&rendition), &thumbnail(&path), input.name);
}

/// Goes through all of them, so that the report names each that fails.
async fn check_all(inputs: &'static [Input]) {
    check_all_in(inputs, None).await;
}

/// As [`check_all`], in this codec where one is given.
async fn check_all_in(inputs: &'static [Input], codec: Option<Codec>) {
    let mut failed = Vec::new();
    for input in inputs {
        if let Err(error) = tokio::spawn(check_input(input, codec)).await {
            failed.push(format!("{}: {error}", input.name));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[tokio::test]
async fn every_container_is_taken() {
    check_all(CONTAINERS).await;
}

#[tokio::test]
async fn every_codec_is_taken() {
    check_all(CODECS).await;
}

#[tokio::test]
async fn every_shape_of_picture_is_taken() {
    check_all(SHAPES).await;
}

#[tokio::test]
async fn every_field_of_a_ladder_is_followed() {
    check_all(LADDERS).await;
}

#[tokio::test]
async fn what_the_numbers_of_a_pixel_mean_is_carried() {
    check_all(COLOURS).await;
}

#[tokio::test]
async fn sound_is_carried_or_becomes_aac() {
    check_all(SOUNDS).await;
}

#[tokio::test]
async fn every_input_can_become_av1() {
    for inputs in [CONTAINERS, CODECS, SHAPES, COLOURS, SOUNDS] {
        check_all_in(inputs, Some(Codec::Av1)).await;
    }
}

#[tokio::test]
async fn frame_rates_are_followed_in_av1() {
    let of_rates = LADDERS.split_at(4).1;
    assert_eq!(of_rates[0].name, "60 to 30 frames per second");
    check_all_in(of_rates, Some(Codec::Av1)).await;
}

/// A clip whose container says that it was filmed with the camera on its side or its head.
async fn check_turned(degrees: &str, size: (u32, u32), ladder: &str) {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let (flat, turned) = (folder.path().join("flat.mp4"), folder.path().join("turned.mp4"));
    let picture = made!("s=320x180:r=30", "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 30 -c:a aac");
    let arguments: Vec<_> = picture.split_whitespace().collect();
    let Some(()) = ffmpeg(&arguments, &flat) else { return };
    let rotate = format!("rotate={degrees}");
    let flat = flat.to_str().expect("a plain path");
    ffmpeg(&["-i", flat, "-c", "copy", "-metadata:s:v", &rotate], &turned).expect("it was there before");
    let source: Bytes = std::fs::read(&turned).expect("ffmpeg wrote it").into();
    let mut joined = Vec::new();
    for segment in segments(source) {
        let resolved = ladder_for(&segment, ladder);
        assert_eq!((resolved.entries()[0].width, resolved.entries()[0].height), size, "{degrees}");
        joined.extend_from_slice(&check(&segment, resolved).await[0]);
    }
    let rendition = folder.path().join("rendition.ts");
    std::fs::write(&rendition, joined).expect("room for a clip");
    assert_like(&thumbnail(&rendition), &thumbnail(&turned), degrees);
}

#[tokio::test]
async fn pictures_filmed_on_their_side_come_out_upright() {
    check_turned("90", (72, 128), "128:100k").await;
    check_turned("180", (128, 72), "72:100k").await;
    check_turned("270", (72, 128), "128:100k").await;
}

/// Samples of the first audio track at 48 kHz, one channel, and when the first is heard.
fn samples(path: &Path) -> (f64, Vec<f64>) {
    let start = stream_by_ffprobe(path, "a:0", "start_time").swap_remove(0);
    let start = start.trim_start_matches("start_time=").parse().expect("a time");
    let raw = told("ffmpeg", &[], path, &["-map", "0:a:0", "-ac", "1", "-ar", "48000", "-f", "s16le", "-"]);
    let sample = |pair: &[u8]| f64::from(i16::from_le_bytes([pair[0], pair[1]]));
    (start, raw.chunks_exact(2).map(sample).collect())
}

/// Audio that is encoded on the way must be heard when it was, and join without a click where segments do.
#[tokio::test]
async fn sound_that_becomes_aac_is_heard_at_its_time_and_joins_without_a_click() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let path = folder.path().join("input.mov");
    let arguments = "-f lavfi -i testsrc2=s=128x72:r=30:d=9 -f lavfi -i \
                     aevalsrc=0.3*sin(2*PI*t*440):s=48000:d=9 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 30 -c:a pcm_s16le";
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    let Some(()) = ffmpeg(&arguments, &path) else { return };
    let source: Bytes = std::fs::read(&path).expect("ffmpeg wrote it").into();
    let mut joined = Vec::new();
    for segment in segments(source) {
        let renditions = transcode(&segment, ladder_for(&segment, "36:20k")).await.expect("renditions");
        joined.extend_from_slice(&renditions[0].data);
    }
    let rendition = folder.path().join("rendition.ts");
    std::fs::write(&rendition, joined).expect("room for a clip");
    let ((original_start, original), (start, made)) = (samples(&path), samples(&rendition));
    let shift = ((start - original_start) * 48_000.0).round() as isize;
    assert!(shift.abs() < 48, "the sound starts {shift} samples late");
    assert!(made.len() >= original.len(), "{} of {} samples", made.len(), original.len());
    // The first frame lacks its neighbour.
    let errors = original.iter().enumerate().skip(2_048).take(original.len() - 4_096);
    let worst = errors
        .map(|(place, sample)| (made[place.saturating_add_signed(-shift)] - sample).abs())
        .fold(0.0, f64::max);
    // Of a tone of 9,830 the encoder misses 900; a click or a slip of three samples would miss more.
    assert!(worst < 1_500.0, "samples differ by up to {worst}");
}

/// Sources with open groups, by encoder and container, and how many pictures of six seconds may be lost at the two cuts.
const OPEN_GROUPS: [(&str, &str, u64); 4] = [
    ("ts", "-c:v libx264 -x264-params keyint=60:min-keyint=60:open-gop=1:bframes=3:scenecut=0:b-adapt=0", 6),
    (
        "mkv",
        "-c:v libx264 -x264-params keyint=60:min-keyint=60:open-gop=1:bframes=2:b-pyramid=none:scenecut=0",
        4,
    ),
    (
        "ts",
        "-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=60:min-keyint=60:open-gop=1:bframes=4",
        8,
    ),
    (
        "mp4",
        "-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=60:min-keyint=60:open-gop=1:radl=2",
        8,
    ),
];

/// Digests of all pictures, by the time at which they are shown.
fn pictures(data: Bytes) -> BTreeMap<Ticks, u64> {
    let reader = VideoReader::open(data, &DecoderConfig::default(), &MediaLimits::default());
    let frames = reader.expect("a source that can be decoded").map(|frame| frame.expect("a whole picture"));
    frames
        .map(|frame| {
            let mut hasher = DefaultHasher::new();
            (0..frame.planes())
                .filter_map(|plane| frame.plane(plane))
                .for_each(|plane| plane.iter_rows().for_each(|row| row.hash(&mut hasher)));
            (frame.pts().expect("a time"), hasher.finish())
        })
        .collect()
}

/// Every segment can be made alone; what of the stream is not in any is counted, and is little; what is, is what it was.
#[tokio::test]
async fn of_open_groups_only_the_pictures_at_the_cuts_are_left_out() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    for (number, (container, encoder, most)) in OPEN_GROUPS.into_iter().enumerate() {
        let path = folder.path().join(format!("{number}.{container}"));
        let arguments = format!("-f lavfi -i testsrc2=s=320x180:r=30:d=6 -pix_fmt yuv420p {encoder}");
        if ffmpeg(&arguments.split(' ').collect::<Vec<_>>(), &path).is_none() {
            return;
        }
        let clip = Bytes::from(std::fs::read(&path).expect("ffmpeg wrote the clip"));
        let whole = pictures(clip.clone());
        let cut = Segmenter::from_bytes(clip, SegmenterConfig::default(), &MediaLimits::default());
        let segments: Vec<_> = cut.expect("a clip").map(|segment| segment.expect("a segment")).collect();
        assert_eq!(segments.len(), 3, "{encoder}");
        let mut shown = BTreeMap::new();
        for segment in &segments {
            let alone = pictures(segment.data.clone());
            assert_eq!(*alone.keys().next().expect("pictures"), segment.start_pts, "{encoder}");
            shown.extend(alone);
            let made = transcode(&segment.data, small_ladder()).await.expect("a segment of its own");
            assert_eq!(times(&made[0].data), times(&segment.data), "{encoder}");
        }
        let left_out: u64 = segments.iter().map(|segment| segment.left_out).sum();
        assert!((1..=most).contains(&left_out), "{encoder}: {left_out} pictures left out");
        assert_eq!(shown.len() as u64 + left_out, whole.len() as u64, "{encoder}");
        assert!(shown.iter().all(|(time, digest)| whole[time] == *digest), "{encoder}: another picture");
    }
}
