//! What the packets and headers of a source segment say, without decoding.

use std::collections::BTreeSet;

use alloy_primitives::B256;
use bytes::Bytes;
use framemill_media::time::{Unwrapper, wrapped_difference};
use framemill_media::{Demuxer, MediaError, MediaLimits, VideoCodec, VideoTrack};
use sha2::{Digest, Sha256};

use crate::nal::{NalWalk, Syntax, walk};
use crate::sequence::{Color, Sequence};
use crate::sound::{Sound, is_plain, others};
use crate::ts::{self, Elementary, TransportStream};

/// The message that names the curve pixels really have, where the sequence parameter set names another for old players.
const PREFERRED_TRANSFER: u32 = 147;

/// Figures of a segment.
#[derive(Debug)]
pub(crate) struct Outline {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Shape of a pixel.
    pub(crate) aspect: (u32, u32),
    pub(crate) color: Color,
    /// Messages that renditions may repeat.
    pub(crate) carried: BTreeSet<(u32, Vec<u8>)>,
    /// Presentation times of the video's packets, rising.
    pub(crate) pts: Vec<i64>,
    pub(crate) sound: Sound,
}

impl Outline {
    /// Reads every packet once: at memory speed where the segment is a plain transport stream, as live segments are,
    /// else as FFmpeg tells its packets.
    pub(crate) fn read(data: &Bytes, limits: &MediaLimits) -> Result<Self, MediaError> {
        limits.check_time()?;
        match Self::from_plain(data, limits) {
            Some(outline) => Ok(outline),
            None => Self::from_packets(data, limits),
        }
    }

    fn from_plain(data: &Bytes, limits: &MediaLimits) -> Option<Self> {
        let Plain { mut stream, walk, sequence, pts, .. } = Plain::read(data, limits)?;
        let Sequence { width, height, aspect, .. } = sequence;
        let color = shown_color(&walk);
        stream.streams.retain(|stream| !stream.is_video() && !stream.units.is_empty());
        let sound = Sound::of_streams(data, limits, stream.streams);
        Some(Self { width, height, aspect, color, carried: walk.carried, pts, sound })
    }

    fn from_packets(data: &Bytes, limits: &MediaLimits) -> Result<Self, MediaError> {
        let mut demuxer = Demuxer::from_bytes(data.clone(), limits)?;
        let video = demuxer.probe().require_video()?.clone();
        let mut pts = Vec::new();
        while let Some(packet) = demuxer.next_packet()? {
            if let (true, Some(time)) = (packet.stream() == video.stream, packet.pts().or(packet.dts())) {
                pts.push(time);
            }
        }
        pts.sort_unstable();
        if pts.is_empty() {
            return Err(MediaError::NoFrames);
        }
        let [primaries, transfer, matrix] = video.color.code_points();
        Ok(Self {
            width: video.width,
            height: video.height,
            aspect: (video.sample_aspect.num, video.sample_aspect.den),
            color: Color { full_range: video.color.is_full_range(), primaries, transfer, matrix },
            carried: BTreeSet::new(),
            pts,
            sound: Sound::of_packets(data, limits)?,
        })
    }

    /// Ticks from the first frame to the end of the last, which is taken to last as long as the average one.
    pub(crate) fn duration(&self) -> u64 {
        let (Some(first), Some(last)) = (self.pts.first(), self.pts.last()) else {
            return 0;
        };
        let span = last.abs_diff(*first);
        span + span / (self.pts.len() as u64 - 1).max(1)
    }
}

/// A segment in which strict and lenient readers see the same: one video whose every unit is one frame with a time of its own,
/// and sound of known kinds.
struct Plain {
    stream: TransportStream,
    walk: NalWalk,
    sequence: Sequence,
    syntax: Syntax,
    /// Presentation times, rising.
    pts: Vec<i64>,
}

impl Plain {
    /// None of any other segment, and of one that passes a limit: the reader that names it is another.
    fn read(data: &Bytes, limits: &MediaLimits) -> Option<Self> {
        if data.len() as u64 > limits.input_bytes {
            return None;
        }
        let stream = ts::parse(data).ok()?;
        if stream.stray_packets > 0 || stream.discontinuities > 0 || !others(&stream).all(is_plain) {
            return None;
        }
        let mut videos = stream.streams.iter().filter(|stream| stream.is_video());
        let (video, None) = (videos.next()?, videos.next()) else { return None };
        let syntax = syntax(video.stream_type)?;
        let walk = walk(video.unit_data(), syntax);
        let sequence = walk.sequence.clone().filter(|_| is_plain_video(&walk))?;
        limits.check_frame_size(sequence.width, sequence.height).ok()?;
        let pts = times(video)?;
        let span = pts.last()?.abs_diff(*pts.first()?);
        if pts.len() as u64 > limits.frames || span > limits.duration.unsigned_abs() {
            return None;
        }
        Some(Self { stream, walk, sequence, syntax, pts })
    }
}

/// The video of a plain transport stream, as live segments and renditions are, at memory speed and without FFmpeg. None of
/// anything else, and of what passes a limit: [`segment_info`](framemill_media::segment_info()) tells all.
#[must_use]
pub fn plain_video(data: &Bytes, limits: &MediaLimits) -> Option<VideoTrack> {
    limits.check_time().ok()?;
    let Plain { walk, sequence, syntax, pts, .. } = Plain::read(data, limits)?;
    let codec = match syntax {
        Syntax::H264 => VideoCodec::H264,
        Syntax::Hevc => VideoCodec::Hevc,
    };
    let key_frames = usize::try_from(walk.idr_pictures).unwrap_or(usize::MAX);
    VideoTrack::of_times(codec, (sequence.width, sequence.height), pts, key_frames)
}

/// The syntax of a video stream by its `stream_type`.
pub(crate) fn syntax(stream_type: u8) -> Option<Syntax> {
    match stream_type {
        0x1b => Some(Syntax::H264),
        0x24 => Some(Syntax::Hevc),
        _ => None,
    }
}

/// The colour of a stream, its message on the curve heard.
pub(crate) fn shown_color(walk: &NalWalk) -> Color {
    let color = walk.sequence.as_ref().map(|sequence| sequence.color).unwrap_or_default();
    let preferred = walk.carried.iter().find(|(number, _)| *number == PREFERRED_TRANSFER);
    match preferred.and_then(|(_, message)| message.first()) {
        Some(&transfer) => Color { transfer: u32::from(transfer), ..color },
        None => color,
    }
}

/// Whether FFmpeg makes one packet of every unit and shows it as one frame.
fn is_plain_video(walk: &NalWalk) -> bool {
    let progressive = walk.sequence.as_ref().is_some_and(|sequence| !sequence.interlaced);
    progressive
        && walk.sequence_sets == 1
        && walk.starts_with_idr
        && walk.uneven_units == 0
        && walk.orphaned_slices == 0
        && walk.display_messages == 0
        && walk.stray_bytes == 0
}

/// Presentation times, rising, on the timeline that decoding times count; `None` where one is missing or there twice.
fn times(video: &Elementary) -> Option<Vec<i64>> {
    let mut clock = Unwrapper::new();
    let mut times = Vec::with_capacity(video.units.len());
    for unit in &video.units {
        let pts = unit.pts?;
        clock.advance(unit.dts.unwrap_or(pts) as i64);
        times.push(clock.place(pts as i64));
    }
    times.sort_unstable();
    times.windows(2).all(|pair| pair[0] < pair[1]).then_some(times)
}

/// Puts a time on the timeline around `origin`, whatever side of a 33-bit wrap it was read on.
pub(crate) fn near(origin: i64, pts: i64) -> i64 {
    origin + wrapped_difference(origin, pts)
}

pub(crate) fn sha256(bytes: &[u8]) -> B256 {
    B256::from_slice(&Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use framemill_media::{ClipSpec, Rational, generate_clip, segment_info};

    use super::*;

    #[test]
    fn the_video_of_a_plain_segment_is_what_ffmpeg_tells() {
        let limits = MediaLimits::segment();
        for (rate, b_frames, seconds) in [((30_000, 1001), 0, 1), ((25, 1), 2, 2), ((60, 1), 3, 1)] {
            let rate = Rational::new(rate.0, rate.1);
            let spec = ClipSpec { b_frames, start_pts: 90_123, ..ClipSpec::new(128, 72, rate, seconds) };
            let clip = generate_clip(&spec, &limits).expect("a clip");
            let told = segment_info(&clip, &limits).expect("a segment").video;
            assert_eq!(plain_video(&clip, &limits), told);
        }
    }

    #[test]
    fn what_is_not_plain_is_left_to_ffmpeg() {
        let limits = MediaLimits::segment();
        let clip = generate_clip(&ClipSpec::new(128, 72, Rational::new(25, 1), 1), &limits).expect("a clip");
        assert_eq!(plain_video(&clip.slice(..clip.len() - 1), &limits), None);
        assert_eq!(plain_video(&clip, &MediaLimits { frames: 24, ..limits }), None);
    }

    #[test]
    fn reads_a_plain_segment_as_ffmpeg_does() {
        let limits = MediaLimits::segment();
        for (start_pts, b_frames) in [(0, 0), (126_000, 2), ((1 << 33) - 20_000, 2)] {
            let spec =
                ClipSpec { start_pts, b_frames, ..ClipSpec::new(128, 72, Rational::new(30_000, 1001), 1) };
            let clip = generate_clip(&spec, &limits).expect("a clip");
            let plain = Outline::from_plain(&clip, &limits).expect("a plain segment");
            let told = Outline::from_packets(&clip, &limits).expect("a segment");
            let near = |outline: &Outline| -> Vec<i64> {
                outline.pts.iter().map(|&pts| near(outline.pts[0], pts) - outline.pts[0]).collect()
            };
            assert_eq!(near(&plain), near(&told));
            assert_eq!(wrapped_difference(plain.pts[0], told.pts[0]), 0);
            assert_eq!((plain.width, plain.height, plain.aspect), (told.width, told.height, told.aspect));
            assert_eq!(plain.color, told.color);
            assert_eq!((plain.sound.tracks(), plain.sound.bytes()), (1, told.sound.bytes()));
        }
    }
}
