//! The video of a segment, for decoding.
//!
//! A transport stream with one video is handed to the decoder unit by unit as the strict reader finds them: FFmpeg's
//! demuxer decodes the first pictures once more to guess what the stream is. Anything else goes through that demuxer.

use std::ops::Range;

use bytes::Bytes;
use framemill_media::{Decoder, DecoderConfig, Frame, MediaError, MediaLimits, Packet, VideoCodec, VideoReader};

use crate::outline::near;
use crate::ts::{self, Elementary};

/// The units of a video stream.
pub(crate) struct Track {
    codec: VideoCodec,
    data: Vec<u8>,
    /// Time and place of every unit.
    units: Vec<(i64, Range<usize>)>,
}

impl Track {
    /// Reads a transport stream without gaps whose one video has a time for every unit; `None` for anything else. Times
    /// lie around `origin`.
    pub(crate) fn read(data: &[u8], origin: i64) -> Option<Self> {
        let stream = ts::parse(data).ok()?;
        if stream.discontinuities > 0 || stream.stray_packets > 0 {
            return None;
        }
        let mut videos = stream.streams.into_iter().filter(Elementary::is_video);
        let (video, None) = (videos.next()?, videos.next()) else { return None };
        let codec = match video.stream_type {
            0x1b => VideoCodec::H264,
            0x24 => VideoCodec::Hevc,
            _ => return None,
        };
        let ends = video.units.iter().skip(1).map(|unit| unit.start).chain([video.data.len()]);
        let timed = video.units.iter().zip(ends);
        let units = timed
            .map(|(unit, end)| Some((near(origin, i64::try_from(unit.pts?).ok()?), unit.start..end)))
            .collect::<Option<_>>()?;
        Some(Self { codec, data: video.data, units })
    }

    /// Decodes the first unit alone.
    fn first(&self, config: &DecoderConfig, limits: &MediaLimits) -> Result<Option<Frame>, MediaError> {
        let mut decoder = Decoder::of_units(self.codec.clone(), config, limits)?;
        if let Some(packet) = self.packet(0) {
            decoder.send(&packet)?;
        }
        decoder.flush()?;
        decoder.receive()
    }

    fn packet(&self, index: usize) -> Option<Packet> {
        let (pts, place) = self.units.get(index)?.clone();
        Some(Packet::of_unit(self.data.get(place)?, pts, index == 0))
    }
}

/// The frames of a segment in the order of presentation.
pub(crate) enum Frames {
    /// Of a plain track.
    Plain(PlainFrames),
    /// Through FFmpeg's demuxer.
    Demuxed(Box<VideoReader>),
}

/// A track on its way through a decoder.
pub(crate) struct PlainFrames {
    track: Track,
    decoder: Decoder,
    sent: usize,
    delivered: usize,
}

impl Frames {
    pub(crate) fn open(
        data: &Bytes,
        config: &DecoderConfig,
        limits: &MediaLimits,
        origin: i64,
    ) -> Result<Self, MediaError> {
        match Track::read(data, origin) {
            Some(track) => {
                let decoder = Decoder::of_units(track.codec.clone(), config, limits)?;
                Ok(Self::Plain(PlainFrames { track, decoder, sent: 0, delivered: 0 }))
            }
            None => Self::demuxed(data, config, limits),
        }
    }

    /// The frames as a player's demuxer finds them.
    pub(crate) fn demuxed(
        data: &Bytes,
        config: &DecoderConfig,
        limits: &MediaLimits,
    ) -> Result<Self, MediaError> {
        Ok(Self::Demuxed(Box::new(VideoReader::open(data.clone(), config, limits)?)))
    }

    /// The next frame, or `None` at the end.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Frame>, MediaError> {
        match self {
            Self::Plain(frames) => frames.next_frame(),
            Self::Demuxed(reader) => reader.next_frame(),
        }
    }

    /// Whether every unit was one frame and none was damaged, so that a demuxer would have found the same. Known at the
    /// end.
    pub(crate) fn is_whole(&self) -> bool {
        match self {
            Self::Plain(frames) => {
                frames.decoder.errors() == 0 && frames.delivered == frames.track.units.len()
            }
            Self::Demuxed(_) => true,
        }
    }
}

impl PlainFrames {
    fn next_frame(&mut self) -> Result<Option<Frame>, MediaError> {
        loop {
            if let Some(frame) = self.decoder.receive()? {
                self.delivered += 1;
                return Ok(Some(frame));
            }
            if self.sent > self.track.units.len() {
                return if self.delivered == 0 { Err(MediaError::NoFrames) } else { Ok(None) };
            }
            match self.track.packet(self.sent) {
                Some(packet) => self.decoder.send(&packet)?,
                None => self.decoder.flush()?,
            }
            self.sent += 1;
        }
    }
}

/// The frame shown first, decoding no more than its packet where that is the first keyframe.
pub(crate) fn first_frame(
    data: &Bytes,
    config: &DecoderConfig,
    limits: &MediaLimits,
    origin: i64,
) -> Result<Option<Frame>, MediaError> {
    if let Some(track) = Track::read(data, origin) {
        let frame = track.first(config, limits)?;
        if let Some(frame) = frame.filter(|frame| frame.pts() == Some(origin) && !frame.is_corrupt()) {
            return Ok(Some(frame));
        }
    }
    // Pictures that lead the keyframe, or two fields in two packets: decode in order.
    Frames::demuxed(data, config, limits)?.next_frame()
}
