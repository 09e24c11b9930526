//! The container and the headers of a rendition against its source and its ladder entry.

use bytes::Bytes;
use framemill_media::MediaLimits;
use framemill_network::ladder::{Codec, FrameGate, LadderEntry};

use crate::error::VerifyError;
use crate::nal::{Syntax, walk};
use crate::outline::{AudioPacket, Outline, near};
use crate::report::Check;
use crate::rules::structure::{
    AUDIO_SLACK, IDLE_BYTES_PER_PICTURE, MAX_RATE_PERCENT, RATE_ALLOWANCE, TIMESTAMP_SLACK,
};
use crate::source::SourceReference;
use crate::ts::{self, Elementary, TransportStream};

/// What the structure says.
#[derive(Debug, Default)]
pub(crate) struct Structure {
    pub(crate) checks: Vec<Check>,
    pub(crate) frames: u64,
    pub(crate) pixels: u64,
    pub(crate) video_bytes: u64,
}

/// Checks everything that can be told without decoding.
pub(crate) fn check(
    source: &SourceReference,
    rendition: &Bytes,
    entry: &LadderEntry,
) -> Result<Structure, VerifyError> {
    let mut out = Structure::default();
    let stream = match ts::parse(rendition) {
        Ok(stream) => stream,
        Err(reason) => {
            tracing::debug!(%reason, "rendition is no transport stream in normal form");
            out.checks.push(Check::is("transport_stream", 0, 1));
            return Ok(out);
        }
    };
    out.checks.push(Check::is("transport_stream", 1, 1));
    container(&mut out, &stream, source);
    let Some(video) = stream.streams.iter().find(|stream| stream.is_video()) else {
        return Ok(out);
    };
    out.frames = video.units.len() as u64;
    out.video_bytes = video.data.len() as u64;
    let expected = expected_pts(source.pts(), entry);
    timing(&mut out, video, &expected, source.origin());
    bitstream(&mut out, video, entry, source);
    tracks(&mut out, rendition, entry, source, expected.len())?;
    Ok(out)
}

/// The times a rendition of this entry must have.
pub(crate) fn expected_pts(source: &[i64], entry: &LadderEntry) -> Vec<i64> {
    let mut gate = FrameGate::new(entry.fps);
    source.iter().copied().filter(|&pts| gate.keep(pts)).collect()
}

fn container(out: &mut Structure, stream: &TransportStream, source: &SourceReference) {
    let videos = stream.streams.iter().filter(|stream| stream.is_video()).count();
    let others =
        stream.streams.iter().filter(|stream| !stream.is_video() && !stream.units.is_empty()).count();
    out.checks.extend([
        Check::is("stray_packets", count(stream.stray_packets), 0),
        Check::is("null_packets", count(stream.null_packets), 0),
        Check::is("discontinuities", count(stream.discontinuities), 0),
        Check::is("video_streams", videos as i64, 1),
        Check::is("audio_streams", others as i64, source.outline().audio.len() as i64),
    ]);
}

fn timing(out: &mut Structure, video: &Elementary, expected: &[i64], origin: i64) {
    let untimed = video.units.iter().filter(|unit| unit.pts.is_none()).count();
    let mut times: Vec<i64> =
        video.units.iter().filter_map(|unit| unit.pts).map(|pts| near(origin, pts as i64)).collect();
    times.sort_unstable();
    let wrong = times.iter().zip(expected).filter(|(a, b)| a.abs_diff(**b) > TIMESTAMP_SLACK as u64).count();
    out.checks.extend([
        Check::is("frames", video.units.len() as i64, expected.len() as i64),
        Check::is("frames_without_time", untimed as i64, 0),
        Check::is("wrong_times", wrong as i64, 0),
    ]);
}

fn bitstream(out: &mut Structure, video: &Elementary, entry: &LadderEntry, source: &SourceReference) {
    let syntax = match (video.stream_type, entry.codec) {
        (0x1b, Codec::H264) => Some(Syntax::H264),
        (0x24, Codec::Hevc) => Some(Syntax::Hevc),
        _ => None,
    };
    out.checks.push(Check::is("codec", i64::from(syntax.is_some()), 1));
    let Some(syntax) = syntax else {
        return;
    };
    let walk = walk(&video.data, syntax);
    let allowed = u128::from(entry.bitrate) * u128::from(source.outline().duration());
    let allowed = allowed * u128::from(MAX_RATE_PERCENT) / (8 * 90_000 * 100);
    let allowed = u64::try_from(allowed).unwrap_or(u64::MAX).saturating_add(RATE_ALLOWANCE);
    out.checks.extend([
        Check::is("pictures", count(walk.pictures), video.units.len() as i64),
        Check::is("starts_with_idr", i64::from(walk.starts_with_idr), 1),
        Check::is("sequence_sets", walk.sequence_sets as i64, 1),
        Check::is("picture_sets", walk.picture_sets as i64, 1),
        Check::is("display_messages", count(walk.display_messages), 0),
        Check::is("foreign_units", count(walk.foreign_units + walk.leading_bytes), 0),
        Check::max("idle_bytes", count(walk.idle_bytes), count((walk.pictures + 1) * IDLE_BYTES_PER_PICTURE)),
        Check::max("video_bytes", count(out.video_bytes), count(allowed)),
    ]);
}

fn tracks(
    out: &mut Structure,
    rendition: &Bytes,
    entry: &LadderEntry,
    source: &SourceReference,
    frames: usize,
) -> Result<(), VerifyError> {
    let outline = match Outline::read(rendition, &limits(source, entry, frames)) {
        Ok(outline) => outline,
        Err(error) if error.is_bad_media() => {
            tracing::debug!(%error, "rendition cannot be demuxed");
            out.checks.push(Check::is("readable", 0, 1));
            return Ok(());
        }
        Err(error) => return Err(VerifyError::Judge(error)),
    };
    out.pixels = u64::from(outline.width) * u64::from(outline.height) * out.frames;
    let wanted = entry.pixels_per_frame().saturating_mul(frames as u64);
    out.checks.extend([
        Check::is("width", i64::from(outline.width), i64::from(entry.width)),
        Check::is("height", i64::from(outline.height), i64::from(entry.height)),
        Check::is("rotation", i64::from(outline.rotation), 0),
        Check::is("pixels", count(out.pixels), count(wanted)),
        Check::is(
            "audio_changed",
            changed_audio(&source.outline().audio, &outline.audio, source.origin()),
            0,
        ),
    ]);
    Ok(())
}

/// Audio packets that are missing, added, altered or at another time.
fn changed_audio(source: &[Vec<AudioPacket>], shown: &[Vec<AudioPacket>], origin: i64) -> i64 {
    let same = |a: &AudioPacket, b: &AudioPacket| {
        let drift = near(origin, a.pts).abs_diff(near(origin, b.pts));
        a.sha256 == b.sha256 && drift <= AUDIO_SLACK as u64
    };
    let tracks = source.len().max(shown.len());
    let none = Vec::new();
    let changed = (0..tracks).map(|track| {
        let (a, b) = (source.get(track).unwrap_or(&none), shown.get(track).unwrap_or(&none));
        let altered = a.iter().zip(b).filter(|(a, b)| !same(a, b)).count();
        altered + a.len().abs_diff(b.len())
    });
    changed.sum::<usize>() as i64
}

/// What reading and decoding a rendition may cost: what its entry asks for and no more.
pub(crate) fn limits(source: &SourceReference, entry: &LadderEntry, frames: usize) -> MediaLimits {
    let limits = source.limits();
    let frames = frames as u64;
    MediaLimits {
        // Decoders pad to whole coding blocks, of up to 64 pixels a side; the exact size is checked for itself.
        pixels_per_frame: (u64::from(entry.width) + 64)
            .saturating_mul(u64::from(entry.height) + 64)
            .min(limits.pixels_per_frame),
        frames: frames.min(limits.frames),
        // One frame more, so that the limit never cuts off what the frame count has let pass.
        total_pixels: entry.pixels_per_frame().saturating_mul(frames + 1).min(limits.total_pixels),
        ..limits.clone()
    }
}

fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
