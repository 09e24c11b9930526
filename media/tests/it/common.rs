//! Where the clips lie, and what many tests do.

use std::path::PathBuf;

use bytes::Bytes;
use framemill_media::{
    ClipSpec, MediaError, MediaLimits, Rational, Segmenter, SegmenterConfig, SourceSegment, generate_clip,
};

pub(crate) const THIRTY: Rational = Rational::new(30, 1);

/// A real clip, or `None` on a machine that has none.
pub(crate) fn clip(name: &str) -> Option<Bytes> {
    let folder = std::env::var_os("FRAMEMILL_MEDIA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/media"), PathBuf::from);
    match std::fs::read(folder.join(name)) {
        Ok(bytes) => Some(bytes.into()),
        Err(_) => {
            eprintln!("skipped: no clip {name}; set FRAMEMILL_MEDIA");
            None
        }
    }
}

pub(crate) fn limits() -> MediaLimits {
    MediaLimits::default()
}

/// A small synthetic clip.
pub(crate) fn synthetic(change: impl FnOnce(&mut ClipSpec)) -> Bytes {
    let mut spec = ClipSpec::new(320, 180, THIRTY, 4);
    spec.bitrate = 300_000;
    change(&mut spec);
    generate_clip(&spec, &limits()).unwrap()
}

pub(crate) fn segments(data: Bytes) -> Result<Vec<SourceSegment>, MediaError> {
    Segmenter::from_bytes(data, SegmenterConfig::default(), &limits())?.collect()
}
