//! The container and the headers of a rendition against its source and its ladder entry: one strict normal form, so that
//! verifier and player cannot be shown different pictures.

use bytes::Bytes;
use framemill_media::time::wrapped_difference;
use framemill_media::{MediaError, MediaLimits};
use framemill_network::ladder::{Codec, FrameGate, LadderEntry, Profile};

use crate::error::VerifyError;
use crate::fragmented::Fragmented;
use crate::nal::{NalWalk, Syntax, walk};
use crate::outline::{Outline, near, shown_color, syntax};
use crate::report::Check;
use crate::rules::structure::{
    ASPECT_PERMILLE, CONTAINER_ALLOWANCE, CONTAINER_PERCENT, CROP_H264, CROP_HEVC, IDLE_BYTES_PER_PICTURE,
    MAX_DECODING_LEAD, MAX_RATE_PERCENT, MESSAGE_BYTES_PER_PICTURE, RATE_ALLOWANCE, STUFFING_ALLOWANCE,
    STUFFING_PER_UNIT, TABLE_ALLOWANCE, TABLES_PER_UNIT, TIMESTAMP_SLACK,
};
use crate::sequence::Sequence;
use crate::sound::others;
use crate::source::SourceReference;
use crate::ts::{self, Elementary, TransportStream, Unit};

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
    source.limits().check_time().map_err(VerifyError::Judge)?;
    let mut out = Structure::default();
    let size = Check::max("total_bytes", rendition.len() as i64, count(total_bound(source.outline(), entry)));
    out.checks.push(size);
    if !size.pass() {
        return Ok(out);
    }
    let expected = expected_pts(source.pts(), entry);
    let judged = match entry.codec {
        Codec::Av1 => in_mp4(&mut out, source, rendition, entry, &expected),
        _ => in_transport_stream(&mut out, source, rendition, entry, &expected),
    };
    let Some(sound) = judged else {
        return Ok(out);
    };
    let wanted = entry.pixels_per_frame().saturating_mul(expected.len() as u64);
    out.checks.extend([
        Check::is("pixels", count(out.pixels), count(wanted)),
        Check::is("audio_changed", sound.map_err(VerifyError::Judge)?, 0),
    ]);
    Ok(out)
}

/// Packets of sound that are not those of the source, or what keeps the source from being read.
type ChangedSound = Result<i64, MediaError>;

/// What a strict reader made of a rendition, whose verdict is the check of this name.
fn in_normal_form<T, E: std::fmt::Display>(
    out: &mut Structure,
    container: &'static str,
    parsed: Result<T, E>,
) -> Option<T> {
    out.checks.push(Check::is(container, i64::from(parsed.is_ok()), 1));
    let told = |reason: &E| tracing::debug!(%reason, container, "rendition is not in normal form");
    parsed.inspect_err(told).ok()
}

/// Checks all but the size of a rendition in a transport stream; `None` where there is no more to check.
fn in_transport_stream(
    out: &mut Structure,
    source: &SourceReference,
    rendition: &Bytes,
    entry: &LadderEntry,
    expected: &[i64],
) -> Option<ChangedSound> {
    let stream = in_normal_form(out, "transport_stream", ts::parse(rendition))?;
    container(out, &stream, source);
    let video = stream.streams.iter().find(|stream| stream.is_video())?;
    out.video_bytes = video.data.len() as u64;
    timing(out, &video.units, expected, source.origin());
    out.checks.push(Check::is("wrong_clock", wrong_clocks(&stream, video), 0));
    let syntax = syntax(video.stream_type).filter(|syntax| match syntax {
        Syntax::H264 => entry.codec == Codec::H264,
        Syntax::Hevc => entry.codec == Codec::Hevc,
    });
    out.checks.push(Check::is("codec", i64::from(syntax.is_some()), 1));
    if let Some(syntax) = syntax {
        bitstream(out, &walk(video.unit_data(), syntax), entry, source.outline());
    }
    let limits = limits(source, entry, expected.len());
    Some(source.outline().sound.changed(rendition, &limits, &stream))
}

/// The same of one in fragmented MP4.
fn in_mp4(
    out: &mut Structure,
    source: &SourceReference,
    rendition: &Bytes,
    entry: &LadderEntry,
    expected: &[i64],
) -> Option<ChangedSound> {
    let segment = in_normal_form(out, "fragmented_mp4", Fragmented::read(rendition))?;
    streams(out, segment.videos(), segment.sound().count(), source);
    let video = segment.video()?;
    out.video_bytes = video.bytes();
    timing(out, &video.units(), expected, source.origin());
    out.checks.push(Check::is("wrong_clock", segment.off_the_clock(), 0));
    let walk = video.walk();
    out.checks.extend(video.checks(&walk, expected));
    bitstream(out, &walk.0, entry, source.outline());
    Some(source.outline().sound.changed_in_mp4(&segment))
}

/// The times a rendition of this entry must have.
pub(crate) fn expected_pts(source: &[i64], entry: &LadderEntry) -> Vec<i64> {
    let mut gate = FrameGate::new(entry.fps);
    source.iter().copied().filter(|&pts| gate.keep(pts)).collect()
}

fn container(out: &mut Structure, stream: &TransportStream, source: &SourceReference) {
    let units: usize = stream.streams.iter().map(|stream| stream.units.len()).sum();
    let units = units as u64;
    out.checks.extend([
        Check::is("stray_packets", count(stream.stray_packets), 0),
        Check::is("null_packets", count(stream.null_packets), 0),
        Check::is("discontinuities", count(stream.discontinuities), 0),
        Check::is("private_bytes", count(stream.private_bytes), 0),
        Check::max(
            "stuffing_bytes",
            count(stream.stuffing_bytes),
            count(units * STUFFING_PER_UNIT + STUFFING_ALLOWANCE),
        ),
        Check::max(
            "table_packets",
            count(stream.table_packets),
            count(units * TABLES_PER_UNIT + TABLE_ALLOWANCE),
        ),
    ]);
    let videos = stream.streams.iter().filter(|stream| stream.is_video()).count();
    streams(out, videos, others(stream).count(), source);
}

fn streams(out: &mut Structure, videos: usize, sounds: usize, source: &SourceReference) {
    out.checks.extend([
        Check::is("video_streams", videos as i64, 1),
        Check::is("audio_streams", sounds as i64, source.outline().sound.tracks() as i64),
    ]);
}

fn timing(out: &mut Structure, units: &[Unit], expected: &[i64], origin: i64) {
    out.frames = units.len() as u64;
    let untimed = units.iter().filter(|unit| unit.pts.is_none()).count();
    let mut times: Vec<i64> =
        units.iter().filter_map(|unit| unit.pts).map(|pts| near(origin, pts as i64)).collect();
    times.sort_unstable();
    let wrong = times.iter().zip(expected).filter(|(a, b)| a.abs_diff(**b) > TIMESTAMP_SLACK as u64).count();
    out.checks.extend([
        Check::is("frames", units.len() as i64, expected.len() as i64),
        Check::is("frames_without_time", untimed as i64, 0),
        Check::is("wrong_times", wrong as i64, 0),
        Check::is("wrong_decoding_times", wrong_decoding_times(units), 0),
    ]);
}

/// When a unit is decoded.
fn decoding_time(unit: &Unit) -> Option<i64> {
    unit.dts.or(unit.pts).map(|time| time as i64)
}

/// Whether `earlier` lies before `later` or with it, and not longer before than anything waits for its decoding.
fn leads(earlier: i64, later: i64) -> bool {
    (0..=MAX_DECODING_LEAD).contains(&wrapped_difference(earlier, later))
}

/// Units that decode after they are shown, unreasonably long before, or not after the one before.
fn wrong_decoding_times(units: &[Unit]) -> i64 {
    let mut last = None;
    let wrong = units.iter().filter(|unit| {
        let (Some(pts), Some(dts)) = (unit.pts, decoding_time(unit)) else { return false };
        let rises = last.replace(dts).is_none_or(|last| wrapped_difference(last, dts) > 0);
        !rises || !leads(dts, pts as i64)
    });
    wrong.count() as i64
}

/// Readings of the program clock that run back, or that lie after the decoding of what comes with them or unreasonably
/// long before; one where there is no clock.
fn wrong_clocks(stream: &TransportStream, video: &Elementary) -> i64 {
    if stream.clocks.is_empty() || stream.clock_pid != video.pid {
        return 1;
    }
    let mut last = None;
    let wrong = stream.clocks.iter().filter(|clock| {
        let base = clock.base as i64;
        let rises = last.replace(base).is_none_or(|last| wrapped_difference(last, base) >= 0);
        let unit = video.units.get(clock.units.saturating_sub(1));
        let due = unit.and_then(decoding_time).is_none_or(|dts| leads(base, dts));
        !rises || !due
    });
    wrong.count() as i64
}

fn bitstream(out: &mut Structure, walk: &NalWalk, entry: &LadderEntry, source: &Outline) {
    units(out, walk, entry.codec, source);
    amounts(out, walk, entry, source);
    let (width, height) = walk.sequence.as_ref().map_or((0, 0), |sequence| (sequence.width, sequence.height));
    out.pixels = (u64::from(width) * u64::from(height)).saturating_mul(out.frames);
    out.checks.extend([
        Check::is("width", i64::from(width), i64::from(entry.width)),
        Check::is("height", i64::from(height), i64::from(entry.height)),
    ]);
    if let Some(sequence) = &walk.sequence {
        sequence_checks(out, sequence, entry, source);
        color_checks(out, walk, source);
    }
}

/// Which units there are, in which order, and what they refer to.
fn units(out: &mut Structure, walk: &NalWalk, codec: Codec, source: &Outline) {
    let foreign = walk.carried.difference(&source.carried).count() as u64 + walk.foreign_messages;
    out.checks.extend([
        Check::is("pictures", count(walk.pictures), count(out.frames)),
        Check::is("uneven_units", count(walk.uneven_units), 0),
        Check::is("starts_with_idr", i64::from(walk.starts_with_idr), 1),
        Check::is("sequence_sets", walk.sequence_sets as i64, 1),
        Check::is("picture_sets", walk.picture_sets as i64, i64::from(codec != Codec::Av1)),
        Check::is("video_sets", walk.video_sets as i64, i64::from(codec == Codec::Hevc)),
        Check::is("ambiguous_sets", count(walk.ambiguous_sets), 0),
        Check::is("orphaned_slices", count(walk.orphaned_slices), 0),
        Check::is("withholding_pictures", count(walk.withholding_pictures), 0),
        Check::is("field_messages", count(walk.field_messages), 0),
        Check::is("display_messages", count(walk.display_messages), 0),
        Check::is("foreign_messages", count(foreign), 0),
        Check::is("foreign_units", count(walk.foreign_units), 0),
        Check::is("misplaced_units", count(walk.misplaced_units), 0),
        Check::is("stray_bytes", count(walk.stray_bytes), 0),
    ]);
}

/// How many bytes there are, and for what.
fn amounts(out: &mut Structure, walk: &NalWalk, entry: &LadderEntry, source: &Outline) {
    let pictures = walk.pictures + 1;
    // An encoder of constant rate fills up to the agreed rate; nobody fills beyond it.
    let busy = out.video_bytes.saturating_sub(walk.idle_bytes);
    let room = agreed_bytes(source, entry).saturating_sub(busy);
    out.checks.extend([
        Check::max("message_bytes", count(walk.message_bytes), count(pictures * MESSAGE_BYTES_PER_PICTURE)),
        Check::max("idle_bytes", count(walk.idle_bytes), count(pictures * IDLE_BYTES_PER_PICTURE + room)),
        Check::max("video_bytes", count(out.video_bytes), count(video_bound(source, entry))),
    ]);
}

fn sequence_checks(out: &mut Structure, sequence: &Sequence, entry: &LadderEntry, source: &Outline) {
    let (profiles, crop): (&[u32], _) = match (entry.codec, entry.profile) {
        // Main, and Main 10 of streams that use 8 bits.
        (Codec::Hevc, _) => (&[1, 2], CROP_HEVC),
        // Main: 4:2:0 of up to 10 bits. Pictures have any size.
        (Codec::Av1, _) => (&[0], 0),
        (_, Profile::Baseline) => (&[66], CROP_H264),
        (_, Profile::Main) => (&[66, 77], CROP_H264),
        (_, _) => (&[66, 77, 100], CROP_H264),
    };
    let [left, right, top, bottom] = sequence.crop;
    out.checks.extend([
        Check::is("profile_allowed", i64::from(profiles.contains(&sequence.profile)), 1),
        Check::is("chroma_format", i64::from(sequence.chroma_format), 1),
        Check::is("bit_depth", i64::from(sequence.depth), 8),
        Check::is("interlaced", i64::from(sequence.interlaced), 0),
        Check::is("cropped_start", i64::from(left.max(top)), 0),
        Check::max("cropped_end", i64::from(right.max(bottom)), crop),
        Check::is("trimmed", i64::from(sequence.trimmed), 0),
        Check::max("aspect_permille", aspect_permille(sequence, source), ASPECT_PERMILLE),
    ]);
}

/// How far the shape of the whole picture is from the source's, in thousandths. Square pixels of a source may stay
/// square: a rung's rounding to even sides is not worth an odd shape.
fn aspect_permille(sequence: &Sequence, source: &Outline) -> i64 {
    let is_square = |(num, den): (u32, u32)| num == den;
    if is_square(sequence.aspect) && is_square(source.aspect) {
        return 0;
    }
    let shape = |(num, den): (u32, u32), width: u32, height: u32| {
        (u128::from(num) * u128::from(width), u128::from(den) * u128::from(height))
    };
    let (a, b) = shape(source.aspect, source.width, source.height);
    let (c, d) = shape(sequence.aspect, sequence.width, sequence.height);
    let (wanted, found) = (a * d, c * b);
    i64::try_from(wanted.abs_diff(found) * 1000 / wanted.max(1)).unwrap_or(i64::MAX)
}

/// What the numbers of a pixel mean: as in the source.
fn color_checks(out: &mut Structure, walk: &NalWalk, source: &Outline) {
    let (found, wanted) = (shown_color(walk).canonical(), source.color.canonical());
    // RGB has no matrix that 4:2:0 could keep.
    let matrix = if wanted.matrix == 0 { found.matrix } else { wanted.matrix };
    out.checks.extend([
        Check::is("full_range", i64::from(found.full_range), i64::from(wanted.full_range)),
        Check::is("color_primaries", i64::from(found.primaries), i64::from(wanted.primaries)),
        Check::is("color_transfer", i64::from(found.transfer), i64::from(wanted.transfer)),
        Check::is("color_matrix", i64::from(found.matrix), i64::from(matrix)),
    ]);
}

/// Bytes of the entry's bit rate over the source's duration.
fn agreed_bytes(source: &Outline, entry: &LadderEntry) -> u64 {
    let bits = u128::from(entry.bitrate) * u128::from(source.duration());
    u64::try_from(bits / (8 * 90_000)).unwrap_or(u64::MAX)
}

/// Most bytes of video.
fn video_bound(source: &Outline, entry: &LadderEntry) -> u64 {
    let percent = agreed_bytes(source, entry).saturating_mul(MAX_RATE_PERCENT) / 100;
    percent.saturating_add(RATE_ALLOWANCE)
}

/// Most bytes of a rendition with everything in it: looked at before anything else is.
fn total_bound(source: &Outline, entry: &LadderEntry) -> u64 {
    let carried = video_bound(source, entry).saturating_add(source.sound.bytes());
    (carried.saturating_mul(CONTAINER_PERCENT) / 100).saturating_add(CONTAINER_ALLOWANCE)
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
