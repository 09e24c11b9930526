//! What lies in a segment, by its packets alone.

use bytes::Bytes;

use crate::annexb::{is_leading, may_begin_open_group};
use crate::codec::{AudioCodec, Container, VideoCodec};
use crate::demux::Demuxer;
use crate::error::MediaError;
use crate::limits::MediaLimits;
use crate::packet::{Packet, drop_trailing_discards};
use crate::probe::{AudioInfo, VideoInfo};
use crate::repair::repair_timestamps;
use crate::time::{Rational, Ticks};

/// What lies in a segment, by its packets alone: no picture was decoded for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// The container.
    pub container: Container,
    /// The video stream.
    pub video: Option<VideoTrack>,
    /// The audio streams that carry packets.
    pub audio: Vec<AudioTrack>,
    /// Size of the segment.
    pub bytes: u64,
}

impl SegmentInfo {
    /// The video stream, or the error that says there is none.
    pub fn require_video(&self) -> Result<&VideoTrack, MediaError> {
        self.video.as_ref().ok_or(MediaError::NoVideo)
    }

    /// First presentation time: of video where there is some, else of audio.
    pub fn start(&self) -> Option<Ticks> {
        match &self.video {
            Some(video) => video.pts.first().copied(),
            None => self.audio.iter().map(|track| track.start).min(),
        }
    }

    /// Time from [`SegmentInfo::start`] to the end of the last frame, or of the last audio packet without video.
    pub fn duration(&self) -> Ticks {
        match &self.video {
            Some(video) => video.duration,
            None => self.audio.iter().map(|track| track.duration).max().unwrap_or(0),
        }
    }
}

/// The video stream of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoTrack {
    /// The codec.
    pub codec: VideoCodec,
    /// Width of the upright picture.
    pub width: u32,
    /// Height of the upright picture.
    pub height: u32,
    /// Presentation times of all frames, in rising order, unwrapped.
    pub pts: Vec<Ticks>,
    /// Time from the first frame to the end of the last.
    pub duration: Ticks,
    /// Whether the first frame in decoding order is a keyframe.
    pub starts_with_key: bool,
    /// Number of keyframes.
    pub key_frames: usize,
    /// Pictures that follow the first keyframe, are shown before it and may need what came before it: it begins an open group.
    pub leading: usize,
    /// Average frame rate: `(frames - 1) / (last - first)`; what the headers say where there is one frame.
    pub frame_rate: Rational,
}

impl VideoTrack {
    /// What these packets of a stream amount to; `None` without packets that have a time.
    pub(crate) fn of(info: &VideoInfo, packets: &[Packet]) -> Option<Self> {
        let mut pts: Vec<Ticks> = packets.iter().filter_map(Packet::pts).collect();
        pts.sort_unstable();
        let (first, last) = (*pts.first()?, *pts.last()?);
        let span = last.saturating_sub(first);
        let intervals = pts.len() as Ticks - 1;
        let frame_rate = Rational::of_intervals(intervals, span).unwrap_or(info.frame_rate);
        let last_frame = match intervals {
            0 => packets.iter().map(Packet::duration).max().filter(|&duration| duration > 0),
            _ => Some(average(span, intervals)),
        };
        let leading =
            packets.split_first().map_or(0, |(key, others)| leading_pictures(key, others, &info.codec));
        Some(Self {
            codec: info.codec.clone(),
            width: info.width,
            height: info.height,
            duration: span.saturating_add(last_frame.unwrap_or_else(|| frame_rate.frame_duration())),
            starts_with_key: packets.first().is_some_and(Packet::is_key),
            key_frames: packets.iter().filter(|packet| packet.is_key()).count(),
            leading,
            frame_rate,
            pts,
        })
    }

    /// A track whose packets were read elsewhere: their presentation times in rising order, the first an IDR picture. None with fewer
    /// than two, which say nothing of the rate.
    pub fn of_times(
        codec: VideoCodec,
        (width, height): (u32, u32),
        pts: Vec<Ticks>,
        key_frames: usize,
    ) -> Option<Self> {
        let span = pts.last()?.saturating_sub(*pts.first()?);
        let intervals = pts.len() as Ticks - 1;
        let frame_rate = Rational::of_intervals(intervals, span)?;
        let duration = span.saturating_add(average(span, intervals));
        Some(Self {
            codec,
            width,
            height,
            pts,
            duration,
            starts_with_key: true,
            key_frames,
            leading: 0,
            frame_rate,
        })
    }

    /// Number of frames.
    pub fn frames(&self) -> usize {
        self.pts.len()
    }

    /// Pixels of all frames.
    pub fn pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height) * self.pts.len() as u64
    }
}

/// How many of the pictures behind a segment's first need what came before it.
fn leading_pictures(first: &Packet, others: &[Packet], codec: &VideoCodec) -> usize {
    let Some(start) = first.pts().filter(|_| may_begin_open_group(first, codec)) else { return 0 };
    others.iter().filter(|packet| is_leading(packet, start, codec)).count()
}

/// Length of one of so many intervals, which are at least one.
fn average(span: Ticks, intervals: Ticks) -> Ticks {
    (span + intervals / 2) / intervals
}

/// An audio stream of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioTrack {
    /// The codec.
    pub codec: AudioCodec,
    /// Samples per second.
    pub sample_rate: u32,
    /// Channels.
    pub channels: u32,
    /// Number of packets.
    pub packets: usize,
    /// First presentation time, unwrapped.
    pub start: Ticks,
    /// Time from the first packet to the end of the last.
    pub duration: Ticks,
}

impl AudioTrack {
    /// What these packets of a stream amount to; `None` without packets that have a time.
    pub(crate) fn of(info: &AudioInfo, packets: &[Packet]) -> Option<Self> {
        let start = packets.iter().filter_map(Packet::pts).min()?;
        let end = packets
            .iter()
            .filter_map(|packet| Some(packet.pts()?.saturating_add(packet.duration())))
            .max()?;
        Some(Self {
            codec: info.codec.clone(),
            sample_rate: info.sample_rate,
            channels: info.channels,
            packets: packets.len(),
            start,
            duration: end.saturating_sub(start),
        })
    }
}

/// Reads all packets of a segment and says what lies inside, without decoding them.
///
/// # Errors
///
/// As [`probe`](crate::probe()); [`MediaError::NoFrames`] when video is announced and no packet of it is there.
pub fn segment_info(data: &Bytes, limits: &MediaLimits) -> Result<SegmentInfo, MediaError> {
    let mut demuxer = Demuxer::from_bytes(data.clone(), limits)?;
    let mut packets: Vec<Vec<Packet>> = vec![Vec::new(); demuxer.probe().streams];
    while let Some(packet) = demuxer.next_packet()? {
        if let Some(lane) = packets.get_mut(packet.stream()) {
            lane.push(packet);
        }
    }
    for lane in &mut packets {
        drop_trailing_discards(lane);
        repair_timestamps(lane)?;
    }
    let probe = demuxer.probe();
    let of_stream = |stream: usize| packets.get(stream).map_or(&[][..], Vec::as_slice);
    let video = match probe.require_video() {
        Ok(video) => Some(VideoTrack::of(video, of_stream(video.stream)).ok_or(MediaError::NoFrames)?),
        Err(MediaError::NoVideo) => None,
        Err(error) => return Err(error),
    };
    let audio =
        probe.audio.iter().filter_map(|audio| AudioTrack::of(audio, of_stream(audio.stream))).collect();
    Ok(SegmentInfo { container: probe.container, video, audio, bytes: data.len() as u64 })
}
