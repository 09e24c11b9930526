//! Looks at what was published with the eyes of a player and of a juror, independently of who published it.

use std::path::{Path, PathBuf};

use alloy_primitives::B256;
use anyhow::{Context as _, ensure};
use bytes::Bytes;
use framemill_media::{
    MediaLimits, Segmenter, SegmenterConfig, SourceSegment, Ticks, segment_info, time::wrapped_difference,
};
use framemill_network::LadderEntry;
use framemill_verification::{Policy, SourceReference, verify};

/// One media playlist, as a player reads it.
#[derive(Debug, PartialEq)]
struct MediaPlaylist {
    segments: Vec<PathBuf>,
    ended: bool,
    gaps: usize,
}

/// Checks the whole ladder: every playlist ends, joins without a gap, and every rendition is a faithful encode of its
/// source segment. Returns the number of renditions checked. Blocks while it decodes.
///
/// # Errors
/// The first thing that is wrong.
pub(super) fn check(
    master: &Path,
    input: &Path,
    cut: &SegmenterConfig,
    ladder: &[LadderEntry],
) -> anyhow::Result<u64> {
    let variants = variants(&read_text(master)?, master);
    ensure!(variants.len() == ladder.len(), "{} variants, expected {}", variants.len(), ladder.len());
    let playlists = variants.iter().map(|path| media_playlist(path)).collect::<Result<Vec<_>, _>>()?;
    let mut ends: Vec<Option<Ticks>> = vec![None; playlists.len()];
    let mut checked = 0;
    let mut number = 0;
    let mut segmenter =
        Segmenter::open_seekable(std::fs::File::open(input)?, cut.clone(), &MediaLimits::default())?;
    while let Some(source) = segmenter.next_segment()? {
        let reference = SourceReference::new(source.data.clone(), &MediaLimits::segment())?;
        for ((playlist, entry), end) in playlists.iter().zip(ladder).zip(&mut ends) {
            let path = playlist
                .segments
                .get(number)
                .with_context(|| format!("{}: segment {number} is missing", entry.name))?;
            let rendition = Bytes::from(std::fs::read(path).with_context(|| path.display().to_string())?);
            *end = Some(joins(&source, &rendition, *end).with_context(|| path.display().to_string())?);
            let report = verify(&reference, &rendition, entry, &Policy::FULL, &B256::ZERO)?;
            ensure!(report.passed(), "{}: {}", path.display(), report.reason().unwrap_or_default());
            checked += 1;
        }
        number += 1;
    }
    for (playlist, entry) in playlists.iter().zip(ladder) {
        ensure!(playlist.ended, "{}: the playlist has no end", entry.name);
        ensure!(playlist.gaps == 0, "{}: {} gaps", entry.name, playlist.gaps);
        ensure!(
            playlist.segments.len() == number,
            "{}: {} segments, expected {number}",
            entry.name,
            playlist.segments.len()
        );
    }
    Ok(checked)
}

/// Checks that a rendition begins where the one before ended; returns where it ends.
fn joins(source: &SourceSegment, rendition: &Bytes, before: Option<Ticks>) -> anyhow::Result<Ticks> {
    let info = segment_info(rendition, &MediaLimits::segment())?;
    let video = info.require_video()?;
    let first = *video.pts.first().context("no frame")?;
    // A segment file knows its timestamps modulo 2^33; the source's place on the timeline is known in full.
    ensure!(
        wrapped_difference(source.start_pts, first) == 0,
        "starts at {first:?}, its source at {:?}",
        source.start_pts
    );
    if let Some(before) = before {
        ensure!(
            source.start_pts == before,
            "starts at {:?}, the segment before ended at {before:?}",
            source.start_pts
        );
    }
    Ok(source.start_pts + source.duration)
}

fn read_text(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}

fn variants(master: &str, path: &Path) -> Vec<PathBuf> {
    let folder = path.parent().unwrap_or(Path::new("."));
    lines(master).filter(|line| !line.starts_with('#')).map(|line| folder.join(line)).collect()
}

fn media_playlist(path: &Path) -> anyhow::Result<MediaPlaylist> {
    let text = read_text(path)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    Ok(MediaPlaylist {
        segments: lines(&text).filter(|line| !line.starts_with('#')).map(|line| folder.join(line)).collect(),
        ended: lines(&text).any(|line| line == "#EXT-X-ENDLIST"),
        gaps: lines(&text).filter(|line| *line == "#EXT-X-GAP" || *line == "#EXT-X-DISCONTINUITY").count(),
    })
}
