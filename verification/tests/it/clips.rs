//! The sources of the test set: synthetic contents, and real clips where they are at hand.

use std::path::PathBuf;
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
    let pictures =
        (0..FRAMES).map(|t| (START + 3000 * t as i64, content.frame(first + t, width, height))).collect();
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

fn folder() -> PathBuf {
    std::env::var_os("FRAMEMILL_MEDIA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/media"), PathBuf::from)
}

fn real(name: &str, index: usize) -> Option<Clip> {
    let data = std::fs::read(folder().join(name)).ok()?;
    let mut segmenter =
        Segmenter::from_bytes(data.into(), SegmenterConfig::default(), &MediaLimits::default()).expect(name);
    let segment = segmenter.nth(index).expect("as many segments").expect(name);
    let rate = segment.info.video.as_ref().expect("video").frame_rate;
    Some(Clip { name: name.into(), data: segment.data, rate })
}
