//! Clips to test with: real ones where there are some, synthetic ones always.

use std::path::PathBuf;

use bytes::Bytes;
use framemill_media::{ClipSpec, MediaLimits, Rational, generate_clip};

use crate::workspace;

/// The folder with real clips: `$FRAMEMILL_MEDIA`, or `../shared/media` beside the checkout.
fn folder() -> Option<PathBuf> {
    let configured = std::env::var_os("FRAMEMILL_MEDIA").map(PathBuf::from);
    let beside = workspace().parent().map(|parent| parent.join("shared/media"));
    configured.into_iter().chain(beside).find(|folder| folder.is_dir())
}

/// All real clips, by name; none where there is no folder of them.
pub fn real_clips() -> Vec<PathBuf> {
    let Some(entries) = folder().and_then(|folder| folder.read_dir().ok()) else { return Vec::new() };
    let media =
        |path: &PathBuf| path.extension().is_some_and(|kind| kind == "ts" || kind == "mp4" || kind == "flv");
    let mut clips: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(media).collect();
    clips.sort();
    clips
}

/// A real clip by its file name, where there is one.
pub fn clip(name: &str) -> Option<PathBuf> {
    folder().map(|folder| folder.join(name)).filter(|path| path.is_file())
}

/// A synthetic MPEG-TS clip with sound: 30 frames per second, a keyframe each second.
///
/// # Panics
/// When FFmpeg cannot make it.
pub fn synthetic(width: u32, height: u32, seconds: u32) -> Bytes {
    let spec = ClipSpec::new(width, height, Rational::new(30, 1), seconds);
    generate_clip(&spec, &MediaLimits::default()).expect("a synthetic clip can be made")
}
