//! Segments of a stream, cut at keyframes.

use std::io::{Read, Seek};
use std::sync::Arc;

use bytes::Bytes;

use crate::annexb::with_parameter_sets;
use crate::codec::{Container, OutputFormat};
use crate::cut::{Cut, Cutter, Lead};
use crate::demux::Demuxer;
use crate::error::MediaError;
use crate::inspect::{AudioTrack, SegmentInfo, VideoTrack};
use crate::limits::MediaLimits;
use crate::mux::{Muxer, MuxerBuilder};
use crate::packet::Packet;
use crate::probe::Probe;
use crate::repair::repair_timestamps;
use crate::time::{TICKS_PER_SECOND, Ticks};

/// How to cut a stream.
#[derive(Clone, Debug)]
pub struct SegmenterConfig {
    /// Wanted duration: a segment ends at the first keyframe at or after it.
    pub target: Ticks,
    /// Duration no segment may pass; a source without keyframes for so long ends with an error.
    pub max_duration: Ticks,
    /// Size no segment may pass.
    pub max_bytes: usize,
    /// Number of the first segment.
    pub first_sequence: u64,
    /// Refuse sources without video instead of cutting their audio by time.
    pub require_video: bool,
}

impl Default for SegmenterConfig {
    fn default() -> Self {
        Self {
            target: 2 * TICKS_PER_SECOND,
            max_duration: 20 * TICKS_PER_SECOND,
            max_bytes: 64 << 20,
            first_sequence: 0,
            require_video: false,
        }
    }
}

impl SegmenterConfig {
    fn check(&self) -> Result<(), MediaError> {
        if self.target <= 0 || self.target > self.max_duration {
            return Err(MediaError::InvalidSetting {
                setting: "segment duration",
                value: self.target.to_string(),
                hint: "give more than zero and at most the largest duration, in 90 kHz ticks",
            });
        }
        Ok(())
    }
}

/// One segment of a stream: a complete MPEG-TS file.
#[derive(Clone, Debug)]
pub struct SourceSegment {
    /// Its number in the stream.
    pub sequence: u64,
    /// MPEG-TS. Video starts with a keyframe; codecs and timestamps are those of the source, the latter modulo 2^33.
    pub data: Bytes,
    /// Presentation time of the first video frame (of the first audio packet where there is no video), unwrapped.
    pub start_pts: Ticks,
    /// Time to the start of the next segment, or to the end of the last frame.
    pub duration: Ticks,
    /// What lies inside.
    pub info: SegmentInfo,
    /// What the stream consists of.
    pub probe: Arc<Probe>,
}

impl SourceSegment {
    /// Number of video frames.
    pub fn frames(&self) -> u64 {
        self.info.video.as_ref().map_or(0, |video| video.frames() as u64)
    }
}

/// Cuts a stream of any supported container into MPEG-TS segments, without re-encoding.
///
/// A segment starts with a keyframe and ends before the first keyframe at or after the wanted duration. Audio goes with
/// the segment during which it is heard, bit for bit. Where the clock of the source jumps by more than ten seconds the
/// segment ends and the next starts at the keyframe after. Sources that never send a keyframe in FFmpeg's sense are cut
/// nowhere, but may begin with a plain intra picture.
pub struct Segmenter {
    demuxer: Demuxer,
    probe: Arc<Probe>,
    cutter: Cutter,
    lanes: Vec<usize>,
    sequence: u64,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    Draining,
    Finished,
}

impl Segmenter {
    /// Cuts a stream that arrives. Blocks until the streams are known.
    ///
    /// # Errors
    ///
    /// As [`Demuxer::from_reader`]; [`MediaError::UnsupportedCodec`] when MPEG-TS cannot carry one of the codecs;
    /// [`MediaError::NoFrames`] when video is announced of which nothing comes.
    pub fn open(
        reader: impl Read + Send + 'static,
        config: SegmenterConfig,
        limits: &MediaLimits,
    ) -> Result<Self, MediaError> {
        Self::new(Demuxer::from_reader(reader, limits)?, config)
    }

    /// Cuts a file. Unlike [`Segmenter::open`] it can read an MP4 whose index stands at the end.
    ///
    /// # Errors
    ///
    /// As [`Segmenter::open`].
    pub fn open_seekable(
        reader: impl Read + Seek + Send + 'static,
        config: SegmenterConfig,
        limits: &MediaLimits,
    ) -> Result<Self, MediaError> {
        Self::new(Demuxer::from_seekable(reader, limits)?, config)
    }

    /// Cuts an input that lies in memory.
    ///
    /// # Errors
    ///
    /// As [`Segmenter::open`].
    pub fn from_bytes(
        data: Bytes,
        config: SegmenterConfig,
        limits: &MediaLimits,
    ) -> Result<Self, MediaError> {
        Self::new(Demuxer::from_bytes(data, limits)?, config)
    }

    fn new(demuxer: Demuxer, config: SegmenterConfig) -> Result<Self, MediaError> {
        config.check()?;
        let probe = Arc::new(demuxer.probe().clone());
        let video = match probe.require_video() {
            Ok(video) => Some(video),
            Err(MediaError::NoVideo) if !config.require_video => None,
            Err(error) => return Err(error),
        };
        let lanes: Vec<usize> = video
            .map(|video| video.stream)
            .into_iter()
            .chain(probe.audio.iter().map(|audio| audio.stream))
            .collect();
        let (&lead, rest) = lanes.split_first().ok_or(MediaError::NoFrames)?;
        let lead = Lead { stream: lead, codec: video.map(|video| video.codec.clone()) };
        let sequence = config.first_sequence;
        let cutter = Cutter::new(config, lead, rest.iter().copied());
        let segmenter = Self { demuxer, probe, cutter, lanes, sequence, state: State::Reading };
        // Says now, not at the first segment, that a codec does not fit.
        segmenter.builder(segmenter.lanes.iter().copied())?;
        Ok(segmenter)
    }

    /// What the stream consists of.
    pub fn probe(&self) -> &Arc<Probe> {
        &self.probe
    }

    /// The next segment, or `None` at the end of the stream. After an error the segmenter is finished.
    ///
    /// # Errors
    ///
    /// [`MediaError::NoFrames`] at the end of a stream that brought nothing to begin with; [`MediaError::LimitExceeded`]
    /// when no keyframe came in time; failures of the source; the deadline.
    pub fn next_segment(&mut self) -> Result<Option<SourceSegment>, MediaError> {
        let result = self.advance();
        if result.is_err() {
            self.state = State::Finished;
        }
        result
    }

    fn advance(&mut self) -> Result<Option<SourceSegment>, MediaError> {
        loop {
            if self.state == State::Finished {
                return Ok(None);
            }
            if let Some(cut) = self.cutter.pop() {
                return self.build(cut).map(Some);
            }
            if self.state == State::Draining {
                self.state = State::Finished;
                return if self.sequence == self.cutter.first_sequence() {
                    Err(MediaError::NoFrames)
                } else {
                    Ok(None)
                };
            }
            match self.demuxer.next_packet()? {
                Some(packet) => self.cutter.push(packet)?,
                None => {
                    self.cutter.finish();
                    self.state = State::Draining;
                }
            }
        }
    }

    /// Writes the packets of one segment into a transport stream of its own.
    fn build(&mut self, cut: Cut) -> Result<SourceSegment, MediaError> {
        let Cut { lead, rest, end } = cut;
        let mut lanes: Vec<Vec<Packet>> = std::iter::once(lead).chain(rest).collect();
        for lane in &mut lanes {
            repair_timestamps(lane)?;
        }
        let video = self.probe.video.as_ref();
        if let (Some(video), Some(first)) = (video, lanes[0].first_mut()) {
            let parameters = self.demuxer.parameters(video.stream).ok_or(MediaError::NoVideo)?;
            if let Some(complete) = with_parameter_sets(first, &video.codec, parameters.extradata()) {
                *first = complete;
            }
        }
        let data = self.mux(&lanes)?;
        let info = self.info_of(&lanes, data.len());
        let start_pts = info.start().ok_or(MediaError::NoFrames)?;
        let duration = end.map_or(info.duration(), |end| end.saturating_sub(start_pts));
        let sequence = self.sequence;
        self.sequence += 1;
        Ok(SourceSegment { sequence, data, start_pts, duration, info, probe: Arc::clone(&self.probe) })
    }

    fn builder(&self, streams: impl Iterator<Item = usize>) -> Result<MuxerBuilder, MediaError> {
        let mut builder = Muxer::builder(OutputFormat::MpegTs);
        for stream in streams {
            builder.add_stream(&self.demuxer.parameters(stream).ok_or(MediaError::NoFrames)?)?;
        }
        Ok(builder)
    }

    /// All packets in decoding order. A stream that is silent in this segment is not announced in it.
    fn mux(&self, lanes: &[Vec<Packet>]) -> Result<Bytes, MediaError> {
        let present = || self.lanes.iter().zip(lanes).filter(|(_, packets)| !packets.is_empty());
        let mut muxer = self.builder(present().map(|(&stream, _)| stream))?.start()?;
        let mut packets: Vec<(usize, &Packet)> = present()
            .enumerate()
            .flat_map(|(output, (_, packets))| packets.iter().map(move |packet| (output, packet)))
            .collect();
        packets.sort_by_key(|(_, packet)| packet.dts());
        for (output, packet) in packets {
            muxer.write(output, packet)?;
        }
        muxer.finish()
    }

    fn info_of(&self, lanes: &[Vec<Packet>], bytes: usize) -> SegmentInfo {
        let (video, audio) = match &self.probe.video {
            Some(video) => (VideoTrack::of(video, &lanes[0]), &lanes[1..]),
            None => (None, lanes),
        };
        SegmentInfo {
            container: Container::MpegTs,
            video,
            audio: self
                .probe
                .audio
                .iter()
                .zip(audio)
                .filter_map(|(info, lane)| AudioTrack::of(info, lane))
                .collect(),
            bytes: bytes as u64,
        }
    }
}

impl Iterator for Segmenter {
    type Item = Result<SourceSegment, MediaError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_segment().transpose()
    }
}
