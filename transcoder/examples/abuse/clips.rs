//! What is damaged: the clips that are at hand, and some that are made so that no kind is missing.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use framemill_media::{ClipSpec, MediaLimits, OutputFormat, Rational, generate_clip};

/// Clips that only the `ffmpeg` command line makes: name, picture, sound, and what encodes them.
const MADE_BY_FFMPEG: [(&str, &str); 5] = [
    ("made-vp9-opus.webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 200k -g 20 -c:a libopus"),
    ("made-av1-aac.mp4", "-c:v libsvtav1 -preset 12 -b:v 200k -g 20 -c:a aac"),
    (
        "made-hevc-flac.mkv",
        "-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=20:open-gop=0 -pix_fmt yuv420p10le -c:a flac",
    ),
    ("made-h264-pcm.mov", "-c:v libx264 -preset ultrafast -pix_fmt yuv422p -g 20 -c:a pcm_s16le"),
    (
        "made-h264-aac.flv",
        "-c:v libx264 -preset veryfast -bf 3 -pix_fmt yuv420p -g 20 -c:a aac -ar 44100 -flvflags no_duration_filesize",
    ),
];

/// Writes small clips into a folder: a transport stream and fragments always, other kinds where `ffmpeg` is installed.
pub(crate) fn make(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut clips = make_simple(folder)?;
    for (name, encoders) in MADE_BY_FFMPEG {
        let path = folder.join(name);
        if made_by_ffmpeg(&path, encoders)? {
            clips.push(path);
        }
    }
    Ok(clips)
}

/// The clips that need no tool.
fn make_simple(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let kinds = [("made.ts", OutputFormat::MpegTs), ("made.mp4", OutputFormat::FragmentedMp4)];
    let make = |(name, format)| {
        let spec = ClipSpec {
            format,
            bitrate: 200_000,
            start_pts: 90_000,
            ..ClipSpec::new(160, 96, Rational::new(20, 1), 2)
        };
        let path = folder.join(name);
        fs::write(&path, generate_clip(&spec, &MediaLimits::default()).map_err(io::Error::other)?)?;
        Ok(path)
    };
    kinds.into_iter().map(make).collect()
}

/// Whether the clip was made; an `ffmpeg` without one of the encoders makes none.
fn made_by_ffmpeg(path: &Path, encoders: &str) -> io::Result<bool> {
    let sources = "-v error -y -f lavfi -i testsrc2=s=160x96:r=20:d=2 -f lavfi -i sine=r=48000:d=2";
    let mut command = Command::new("ffmpeg");
    command.args(sources.split_whitespace()).args(encoders.split_whitespace()).arg(path);
    match command.stderr(Stdio::null()).status() {
        Ok(status) => Ok(status.success()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
