//! Segments of a stream, cut at keyframes.

use std::io::{Read, Seek};
use std::sync::Arc;

use bytes::Bytes;

use crate::annexb::with_parameter_sets;
use crate::codec::{Container, OutputFormat};
use crate::convert::AudioConverter;
use crate::cut::{Cut, Cutter, Lead};
use crate::demux::Demuxer;
use crate::error::MediaError;
use crate::inspect::{AudioTrack, SegmentInfo, VideoTrack};
use crate::limits::MediaLimits;
use crate::mux::{Muxer, MuxerBuilder, can_carry};
use crate::packet::{Packet, StreamParameters};
use crate::probe::{AudioInfo, Probe, VideoInfo};
use crate::repair::repair_timestamps;
use crate::time::{TICKS_PER_SECOND, Ticks, onto_the_clock};

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

/// One segment of a stream: a complete file.
#[derive(Clone, Debug)]
pub struct SourceSegment {
    /// Its number in the stream.
    pub sequence: u64,
    /// MPEG-TS, or fragmented MP4 where the video is VP9 or AV1 or has to be turned, for which MPEG-TS has no place. Video
    /// starts with a keyframe; codecs and timestamps are those of the source, the latter modulo 2^33.
    pub data: Bytes,
    /// Presentation time of the first video frame (of the first audio packet where there is no video), unwrapped.
    pub start_pts: Ticks,
    /// Time to the start of the next segment, or to the end of the last frame.
    pub duration: Ticks,
    /// What lies inside.
    pub info: SegmentInfo,
    /// What the stream consists of.
    pub probe: Arc<Probe>,
    /// Pictures at its beginning that could not be decoded without the segment before, and so are not in it: see [`Segmenter`].
    pub left_out: u64,
}

impl SourceSegment {
    /// Number of video frames.
    pub fn frames(&self) -> u64 {
        self.info.video.as_ref().map_or(0, |video| video.frames() as u64)
    }
}

/// Cuts a stream of any supported container into segments, without re-encoding: see [`SourceSegment::data`].
///
/// Audio that cannot be carried, such as PCM or Vorbis, is the exception: it becomes AAC, encoded in one run over the whole
/// stream, so that segments join without a click.
///
/// A segment starts with a keyframe and ends before the first keyframe at or after the wanted duration. Audio goes with
/// the segment during which it is heard, bit for bit. Where the clock of the source jumps by more than ten seconds the
/// segment ends and the next starts at the keyframe after. Sources that never send a keyframe in FFmpeg's sense are cut
/// nowhere, but may begin with a plain intra picture.
///
/// In H.264 and HEVC a group of pictures may be open: pictures that follow its keyframe and are shown before it refer to the
/// group before. Whoever gets one segment alone cannot decode them, and nothing else refers to them; at the beginning of a
/// segment they are left out and counted ([`SourceSegment::left_out`]). An encoder with closed groups loses nothing.
pub struct Segmenter {
    demuxer: Demuxer,
    probe: Arc<Probe>,
    cutter: Cutter,
    format: OutputFormat,
    lanes: Vec<Lane>,
    sequence: u64,
    state: State,
}

/// A stream that goes into the segments; video is the first.
struct Lane {
    stream: usize,
    parameters: StreamParameters,
    /// What is heard; `None` of video.
    audio: Option<AudioInfo>,
    converter: Option<AudioConverter>,
}

impl Lane {
    fn of_video(demuxer: &Demuxer, video: &VideoInfo) -> Result<Self, MediaError> {
        let parameters = demuxer.parameters(video.stream).ok_or(MediaError::NoVideo)?;
        Ok(Self { stream: video.stream, parameters, audio: None, converter: None })
    }

    fn of_audio(demuxer: &Demuxer, audio: &AudioInfo, format: OutputFormat) -> Result<Self, MediaError> {
        let stream = audio.stream;
        let parameters = demuxer.parameters(stream).ok_or(MediaError::NoAudio)?;
        if can_carry(format, &parameters) {
            return Ok(Self { stream, parameters, audio: Some(audio.clone()), converter: None });
        }
        let converter = AudioConverter::new(audio, &parameters, demuxer.limits())?;
        let (audio, parameters) = (Some(converter.info().clone()), converter.parameters().clone());
        Ok(Self { stream, parameters, audio, converter: Some(converter) })
    }
}

/// What segments of such a stream travel in.
fn format_for(video: Option<&VideoInfo>) -> OutputFormat {
    match video {
        Some(video) if video.rotation != 0 => OutputFormat::FragmentedMp4,
        Some(video) => OutputFormat::for_codec(&video.codec),
        None => OutputFormat::MpegTs,
    }
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
    /// As [`Demuxer::from_reader`]; [`MediaError::UnsupportedCodec`] for a codec that is neither carried nor converted;
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
        let format = format_for(video);
        let heard = probe.audio.iter().map(|audio| Lane::of_audio(&demuxer, audio, format));
        let seen = video.map(|video| Lane::of_video(&demuxer, video));
        let lanes: Vec<Lane> = seen.into_iter().chain(heard).collect::<Result<_, _>>()?;
        let mut streams = lanes.iter().map(|lane| lane.stream);
        let lead = streams.next().ok_or(MediaError::NoFrames)?;
        let lead = Lead { stream: lead, codec: video.map(|video| video.codec.clone()) };
        let sequence = config.first_sequence;
        let cutter = Cutter::new(config, lead, streams);
        let segmenter = Self { demuxer, probe, cutter, format, lanes, sequence, state: State::Reading };
        // Says now, not at the first segment, that a codec does not fit.
        segmenter.builder(segmenter.lanes.iter())?;
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
                Some(packet) => self.take(packet)?,
                None => {
                    self.finish_conversion()?;
                    self.cutter.finish();
                    self.state = State::Draining;
                }
            }
        }
    }

    /// Hands a packet to the cutter, or what its converter makes of it.
    fn take(&mut self, packet: Packet) -> Result<(), MediaError> {
        let stream = packet.stream();
        let lane = self.lanes.iter_mut().find(|lane| lane.stream == stream);
        let Some(converter) = lane.and_then(|lane| lane.converter.as_mut()) else {
            return self.cutter.push(packet);
        };
        converter.push(&packet)?;
        while let Some(made) = converter.receive() {
            self.cutter.push(made)?;
        }
        Ok(())
    }

    fn finish_conversion(&mut self) -> Result<(), MediaError> {
        for converter in self.lanes.iter_mut().filter_map(|lane| lane.converter.as_mut()) {
            converter.finish()?;
            while let Some(made) = converter.receive() {
                self.cutter.push(made)?;
            }
        }
        Ok(())
    }

    /// Writes the packets of one segment into a file of its own.
    fn build(&mut self, cut: Cut) -> Result<SourceSegment, MediaError> {
        let Cut { lead, rest, end, left_out } = cut;
        let mut lanes: Vec<Vec<Packet>> = std::iter::once(lead).chain(rest).collect();
        for lane in &mut lanes {
            repair_timestamps(lane)?;
        }
        let video = self.probe.video.as_ref();
        if let (Some(video), Some(first)) = (video, lanes[0].first_mut()) {
            let extradata = self.lanes[0].parameters.extradata();
            if let Some(complete) = with_parameter_sets(first, &video.codec, extradata) {
                *first = complete;
            }
        }
        let data = self.mux(&lanes)?;
        let info = self.info_of(&lanes, data.len());
        let start_pts = info.start().ok_or(MediaError::NoFrames)?;
        let duration = end.map_or(info.duration(), |end| end.saturating_sub(start_pts));
        let sequence = self.sequence;
        self.sequence += 1;
        let probe = Arc::clone(&self.probe);
        Ok(SourceSegment { sequence, data, start_pts, duration, info, probe, left_out })
    }

    fn builder<'a>(&self, lanes: impl Iterator<Item = &'a Lane>) -> Result<MuxerBuilder, MediaError> {
        let mut builder = Muxer::builder(self.format);
        for lane in lanes {
            builder.add_stream(&lane.parameters)?;
        }
        Ok(builder)
    }

    /// All packets in decoding order. A stream that is silent in this segment is not announced in it.
    fn mux(&self, lanes: &[Vec<Packet>]) -> Result<Bytes, MediaError> {
        let present = || self.lanes.iter().zip(lanes).filter(|(_, packets)| !packets.is_empty());
        let mut muxer = self.builder(present().map(|(lane, _)| lane))?.start()?;
        let shift = match self.format {
            OutputFormat::MpegTs => 0,
            OutputFormat::FragmentedMp4 => onto_the_clock(first_shown(lanes)),
        };
        let mut packets: Vec<(usize, &Packet)> = present()
            .enumerate()
            .flat_map(|(output, (_, packets))| packets.iter().map(move |packet| (output, packet)))
            .collect();
        packets.sort_by_key(|(_, packet)| packet.dts());
        for (output, packet) in packets {
            match shift {
                0 => muxer.write(output, packet)?,
                shift => muxer.write(output, &packet.shifted(shift))?,
            }
        }
        muxer.finish()
    }

    fn info_of(&self, lanes: &[Vec<Packet>], bytes: usize) -> SegmentInfo {
        let heard = |(lane, packets): (&Lane, &Vec<Packet>)| AudioTrack::of(lane.audio.as_ref()?, packets);
        SegmentInfo {
            container: match self.format {
                OutputFormat::MpegTs => Container::MpegTs,
                OutputFormat::FragmentedMp4 => Container::Mp4,
            },
            video: self.probe.video.as_ref().and_then(|video| VideoTrack::of(video, lanes.first()?)),
            audio: self.lanes.iter().zip(lanes).filter_map(heard).collect(),
            bytes: bytes as u64,
        }
    }
}

/// The smallest presentation time of all streams.
fn first_shown(lanes: &[Vec<Packet>]) -> Ticks {
    lanes.iter().flatten().filter_map(Packet::pts).min().unwrap_or(0)
}

impl Iterator for Segmenter {
    type Item = Result<SourceSegment, MediaError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_segment().transpose()
    }
}
