//! The sources of the test set: synthetic contents, and real clips where they are at hand.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use framemill_media::{MediaLimits, Rational, Segmenter, SegmenterConfig};

use crate::picture::Content;
use crate::studio::{Clip, film};

const FRAMES: usize = 45;
const RATE: Rational = Rational::new(30, 1);

/// Times that lie before a 33-bit wrap and cross it.
const START: i64 = (1 << 33) - 60_000;

/// A synthetic clip.
pub(crate) fn synthetic(content: Content, first: usize, width: usize, height: usize) -> Clip {
    synthetic_at(START, content, first, width, height)
}

/// The same from this time on.
pub(crate) fn synthetic_at(start: i64, content: Content, first: usize, width: usize, height: usize) -> Clip {
    let pictures =
        (0..FRAMES).map(|t| (start + 3000 * t as i64, content.frame(first + t, width, height))).collect();
    film(&format!("{content:?}"), &pictures, RATE)
}

/// All synthetic contents at 960 x 540.
pub(crate) fn synthetic_set() -> &'static [Clip] {
    static CLIPS: OnceLock<Vec<Clip>> = OnceLock::new();
    CLIPS.get_or_init(|| Content::ALL.iter().map(|&content| synthetic(content, 0, 960, 540)).collect())
}

/// One segment of each real clip, as many as are found.
pub(crate) fn real_set() -> &'static [Clip] {
    static CLIPS: OnceLock<Vec<Clip>> = OnceLock::new();
    CLIPS.get_or_init(|| {
        // The dark clip is black at first: its third segment shows something.
        let names = [
            ("kitchen-1080p60-2s.mp4", 0),
            ("car-720p-segment-1.ts", 0),
            ("dark-720p-422.ts", 2),
            ("desk-360p-aac.flv", 1),
            ("bad-missing-dts.ts", 0),
            ("car-720p-segment-2.ts", 0),
            ("bad-duplicate-audio-dts.ts", 0),
        ];
        names.iter().filter_map(|&(name, index)| real(name, index)).collect()
    })
}

/// Where the real clips lie.
pub(crate) fn folder() -> PathBuf {
    std::env::var_os("FRAMEMILL_MEDIA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/media"), PathBuf::from)
}

fn real(name: &str, index: usize) -> Option<Clip> {
    file(&folder().join(name), index)
}

/// A segment of a file; none where the file cannot be read.
pub(crate) fn file(path: &Path, index: usize) -> Option<Clip> {
    let name = path.file_name()?.to_string_lossy();
    Some(segment(&name, std::fs::read(path).ok()?, index))
}

/// The segment of this place of a file.
pub(crate) fn segment(name: &str, data: Vec<u8>, index: usize) -> Clip {
    let mut segmenter =
        Segmenter::from_bytes(data.into(), SegmenterConfig::default(), &MediaLimits::default()).expect(name);
    let segment = segmenter.nth(index).expect("as many segments").expect(name);
    let rate = segment.info.video.as_ref().expect("video").frame_rate;
    Clip { name: name.into(), data: segment.data, rate }
}

/// A second of what one of FFmpeg's own sources draws, in a format that the project's encoder does not make.
pub(crate) fn generated(name: &str, picture: &str, format: &[&str]) -> Clip {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-f", "lavfi", "-i", picture, "-t", "1"]).args(format);
    command.args(["-c:v", "libx264", "-preset", "veryfast", "-b:v", "6M", "-f", "mpegts", "-"]);
    let made = command.output().expect("the ffmpeg command is installed");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    segment(name, made.stdout, 0)
}
