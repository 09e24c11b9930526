//! The video of a segment, for decoding.
//!
//! A transport stream or fragmented MP4 with one video is handed to the decoder unit by unit as the strict reader finds them: FFmpeg's
//! demuxer decodes the first pictures once more to guess what the stream is. Anything else goes through that demuxer.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use framemill_media::{
    Decoder, DecoderConfig, Frame, MediaError, MediaLimits, Packet, VideoCodec, VideoReader, Watcher,
};

use crate::fragmented::Fragmented;
use crate::meter::FeatureMeter;
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
    /// Reads a segment in normal form whose one video has a time for every unit; `None` for anything else. Times lie around
    /// `origin`.
    pub(crate) fn read(data: &Bytes, origin: i64) -> Option<Self> {
        if data.first() == Some(&ts::SYNC) {
            Self::in_transport_stream(data, origin)
        } else {
            Self::in_mp4(data, origin)
        }
    }

    fn in_mp4(data: &Bytes, origin: i64) -> Option<Self> {
        let segment = Fragmented::read(data).ok()?;
        let video = segment.video().filter(|_| segment.videos() == 1)?;
        let (mut stream, mut units) = (Vec::with_capacity(data.len()), Vec::new());
        for (unit, bytes) in video.units().iter().zip(video.data()) {
            let start = stream.len();
            stream.extend_from_slice(bytes);
            units.push((near(origin, unit.pts?.cast_signed()), start..stream.len()));
        }
        Some(Self { codec: VideoCodec::Av1, data: stream, units })
    }

    /// A transport stream without gaps.
    fn in_transport_stream(data: &[u8], origin: i64) -> Option<Self> {
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
        let mut decoder = Decoder::of_units(self.codec.clone(), config, limits, None)?;
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
    Plain(Box<PlainFrames>),
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
    /// `meter` watches the decoder, where frames go to one directly.
    pub(crate) fn open(
        data: &Bytes,
        config: &DecoderConfig,
        limits: &MediaLimits,
        origin: i64,
        meter: Option<&Arc<FeatureMeter>>,
    ) -> Result<Self, MediaError> {
        match Track::read(data, origin) {
            Some(track) => {
                let watcher = meter.map(|meter| Arc::clone(meter) as Arc<dyn Watcher>);
                let decoder = Decoder::of_units(track.codec.clone(), config, limits, watcher)?;
                Ok(Self::Plain(Box::new(PlainFrames { track, decoder, sent: 0, delivered: 0 })))
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

#[cfg(test)]
mod tests {
    use framemill_media::{ClipSpec, Rational, generate_clip};

    use super::*;

    fn clip(spec: &ClipSpec) -> Bytes {
        generate_clip(spec, &MediaLimits::segment()).expect("a clip")
    }

    fn spec() -> ClipSpec {
        ClipSpec::new(192, 108, Rational::new(30, 1), 1)
    }

    /// First time of a clip whose packets are sound.
    fn origin(data: &Bytes) -> i64 {
        let video = ts::parse(data).expect("sound").streams.into_iter().find(Elementary::is_video);
        let units = video.expect("video").units;
        let times = units.iter().map(|unit| unit.pts.expect("a time") as i64);
        // Of a clip that is shorter than half of the clock's range.
        let some = units[0].pts.expect("a time") as i64;
        times.min_by_key(|&time| near(some, time)).expect("a unit")
    }

    /// Times and samples of all frames.
    fn shown(mut frames: Frames, origin: i64) -> Vec<(i64, Vec<Vec<u8>>)> {
        let mut out = Vec::new();
        while let Some(frame) = frames.next_frame().expect("it decodes") {
            let rows = |index| frame.plane(index).into_iter().flat_map(|plane| plane.iter_rows().flatten());
            let planes = (0..3).map(|index| rows(index).copied().collect()).collect();
            out.push((near(origin, frame.pts().expect("a time")), planes));
        }
        out
    }

    #[test]
    fn units_decode_to_the_frames_that_a_demuxer_finds() {
        let config = DecoderConfig { threads: 1, strict: true };
        let limits = MediaLimits::segment();
        for (start_pts, b_frames) in [(0, 0), (900_000, 3), ((1 << 33) - 50_000, 2)] {
            let data = clip(&ClipSpec { start_pts, b_frames, ..spec() });
            let origin = origin(&data);
            let mut plain = Frames::open(&data, &config, &limits, origin, None).expect("it opens");
            assert!(matches!(plain, Frames::Plain(_)));
            let demuxed = shown(Frames::demuxed(&data, &config, &limits).expect("it opens"), origin);
            assert_eq!(demuxed.len(), 30);
            assert!(demuxed.windows(2).all(|pair| pair[0].0 < pair[1].0));
            let first = first_frame(&data, &config, &limits, origin).expect("it decodes").expect("a frame");
            assert_eq!(first.pts(), Some(demuxed[0].0));
            let mut last = None;
            for wanted in &demuxed {
                last = plain.next_frame().expect("it decodes");
                assert_eq!(last.as_ref().and_then(Frame::pts), Some(wanted.0));
            }
            assert!(last.is_some() && plain.next_frame().expect("it ends").is_none() && plain.is_whole());
            let again = Frames::open(&data, &config, &limits, origin, None).expect("it opens");
            assert!(shown(again, origin) == demuxed, "samples differ");
        }
    }

    #[test]
    fn a_stream_with_a_gap_goes_through_the_demuxer() {
        let data = clip(&spec());
        let origin = origin(&data);
        let gap = 40 * 188;
        let torn: Bytes = [&data[..gap], &data[gap + 188..]].concat().into();
        assert!(Track::read(&data, origin).is_some());
        assert!(Track::read(&torn, origin).is_none());
        let frames = Frames::open(&torn, &DecoderConfig::default(), &MediaLimits::segment(), origin, None);
        assert!(matches!(frames, Ok(Frames::Demuxed(_))));
    }

    #[test]
    fn bytes_that_are_no_transport_stream_have_no_track() {
        assert!(Track::read(&Bytes::new(), 0).is_none());
        assert!(Track::read(&Bytes::from_static(&[0x47; 376]), 0).is_none());
    }
}
