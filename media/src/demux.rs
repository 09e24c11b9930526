//! Packets out of a container.

use std::io::{Cursor, Read, Seek};

use bytes::Bytes;
use ffmpeg_next::codec::packet::Packet as RawPacket;
use ffmpeg_next::ffi::{self, AVRational};
use ffmpeg_next::format::context::Input;

use crate::avio::Failure;
use crate::decode::{Decoder, DecoderConfig};
use crate::describe::{describe, parameters};
use crate::error::{Limit, MediaError};
use crate::input::{self, OpenInput, streams};
use crate::limits::{MediaLimits, check};
use crate::packet::{Packet, StreamParameters};
use crate::probe::Probe;
use crate::sys;
use crate::time::{Ticks, Unwrapper};

/// Damaged packets in a row after which a container is given up: each costs a read, so this bounds the work.
const MAX_DAMAGED_IN_A_ROW: u32 = 4096;

/// Bits of a timestamp in MPEG-TS.
const TS_CLOCK_BITS: i32 = 33;

/// Reads packets of the video stream and of all audio streams, in the order of the container.
///
/// Timestamps are 90 kHz ticks on one unbroken timeline: MPEG-TS is unwrapped.
pub struct Demuxer {
    input: Input,
    failure: Failure,
    limits: MediaLimits,
    probe: Probe,
    lanes: Vec<Option<Lane>>,
    clock: Unwrapper,
    budget: Budget,
}

/// A stream whose packets are handed out.
struct Lane {
    parameters: StreamParameters,
    time_base: AVRational,
    wraps: bool,
}

/// What was read so far, against the limits.
#[derive(Default)]
struct Budget {
    packets: u64,
    frames: u64,
    range: Option<(Ticks, Ticks)>,
}

impl Budget {
    fn spend(&mut self, packet: &Packet, is_video: bool, limits: &MediaLimits) -> Result<(), MediaError> {
        self.packets += 1;
        check(Limit::Packets, self.packets, limits.packets)?;
        if is_video {
            self.frames += 1;
            check(Limit::Frames, self.frames, limits.frames)?;
        }
        if let Some(pts) = packet.pts() {
            let (first, last) = self.range.unwrap_or((pts, pts));
            let range = (first.min(pts), last.max(pts));
            self.range = Some(range);
            let duration = range.1.saturating_sub(range.0);
            check(Limit::Duration, duration.unsigned_abs(), limits.duration.unsigned_abs())?;
        }
        Ok(())
    }
}

impl Demuxer {
    /// Opens media that lies in memory.
    ///
    /// # Errors
    ///
    /// [`MediaError::NotMedia`], [`MediaError::Truncated`], a passed limit, or the deadline.
    pub fn from_bytes(data: Bytes, limits: &MediaLimits) -> Result<Self, MediaError> {
        check(Limit::InputBytes, data.len() as u64, limits.input_bytes)?;
        Self::from_seekable(Cursor::new(data), limits)
    }

    /// Opens a file: an MP4 whose index stands at the end can be read so.
    ///
    /// # Errors
    ///
    /// As [`Demuxer::from_bytes`].
    pub fn from_seekable(
        reader: impl Read + Seek + Send + 'static,
        limits: &MediaLimits,
    ) -> Result<Self, MediaError> {
        Self::new(input::open_seekable(reader, limits)?, limits)
    }

    /// Opens a stream that arrives. Blocks until enough has come to tell what the streams are.
    ///
    /// # Errors
    ///
    /// As [`Demuxer::from_bytes`].
    pub fn from_reader(reader: impl Read + Send + 'static, limits: &MediaLimits) -> Result<Self, MediaError> {
        Self::new(input::open_stream(reader, limits)?, limits)
    }

    fn new(open: OpenInput, limits: &MediaLimits) -> Result<Self, MediaError> {
        let OpenInput { input, container, failure } = open;
        let probe = describe(&input, container, limits)?;
        let lanes = streams(&input)
            .into_iter()
            .enumerate()
            .map(|(index, stream)| {
                probe.carries(index).then(|| {
                    Ok(Lane {
                        parameters: StreamParameters::copy_of(parameters(stream))?
                            .turned(probe.rotation_of(index)),
                        time_base: stream.time_base,
                        wraps: stream.pts_wrap_bits == TS_CLOCK_BITS,
                    })
                })
            })
            .map(Option::transpose)
            .collect::<Result<_, MediaError>>()?;
        let limits = limits.clone();
        Ok(Self { input, failure, limits, probe, lanes, clock: Unwrapper::new(), budget: Budget::default() })
    }

    /// What the input consists of.
    pub fn probe(&self) -> &Probe {
        &self.probe
    }

    /// Parameters of stream `index`, for a [`MuxerBuilder`](crate::MuxerBuilder) or a decoder; `None` for streams that
    /// are not read.
    pub fn parameters(&self, index: usize) -> Option<StreamParameters> {
        Some(self.lanes.get(index)?.as_ref()?.parameters.clone())
    }

    /// What the input may ask of this machine.
    pub(crate) fn limits(&self) -> &MediaLimits {
        &self.limits
    }

    /// A decoder for the video stream.
    ///
    /// # Errors
    ///
    /// As [`Probe::require_video`] and [`Decoder::new`].
    pub fn decoder(&self, config: &DecoderConfig) -> Result<Decoder, MediaError> {
        let video = self.probe.require_video()?;
        let parameters = self.parameters(video.stream).ok_or(MediaError::NoVideo)?;
        Decoder::new(&parameters, config, &self.limits)
    }

    /// The next packet, or `None` at the end.
    ///
    /// # Errors
    ///
    /// A passed limit, the deadline, or a failure of the source. Damaged packets are skipped, not errors.
    pub fn next_packet(&mut self) -> Result<Option<Packet>, MediaError> {
        loop {
            let Some(raw) = self.read()? else { return Ok(None) };
            let index = raw.stream();
            let Some(lane) = self.lanes.get(index).and_then(Option::as_ref) else { continue };
            let mut packet = Packet::new(raw, index, lane.time_base);
            if lane.wraps {
                unwrap_times(&mut self.clock, &mut packet);
            }
            let is_video = lane.parameters.is_video();
            self.budget.spend(&packet, is_video, &self.limits)?;
            return Ok(Some(packet));
        }
    }

    /// The next raw packet of any stream.
    fn read(&mut self) -> Result<Option<RawPacket>, MediaError> {
        for _ in 0..MAX_DAMAGED_IN_A_ROW {
            self.limits.check_time()?;
            let mut packet = RawPacket::empty();
            let outcome = packet.read(&mut self.input);
            if let Some(error) = self.failure.get() {
                return Err(error);
            }
            match outcome {
                Ok(()) => return Ok(Some(packet)),
                Err(ffmpeg_next::Error::Eof) => return Ok(None),
                Err(ffmpeg_next::Error::InvalidData) => {}
                Err(ffmpeg_next::Error::Other { errno: ffi::EAGAIN }) => {}
                // FFmpeg may not take as much at once as the packet is said to have.
                Err(ffmpeg_next::Error::Other { errno: ffi::ENOMEM }) => {
                    return Err(MediaError::Truncated {
                        reason: "a packet claims more bytes than it can have".into(),
                    });
                }
                // A broken pipe is how FFmpeg calls a place that a stream cannot go to; what the source itself fails with was looked at before.
                Err(ffmpeg_next::Error::Other { errno: ffi::EPIPE }) => {
                    return Err(MediaError::Truncated {
                        reason: "a packet is said to lie where a stream cannot go back to".into(),
                    });
                }
                Err(error) => return Err(sys::failure("read a packet", error.into())),
            }
        }
        Err(MediaError::Truncated { reason: format!("{MAX_DAMAGED_IN_A_ROW} reads in a row gave no packet") })
    }
}

/// Puts the packet's times on the unbroken timeline.
fn unwrap_times(clock: &mut Unwrapper, packet: &mut Packet) {
    if let Some(dts) = packet.dts() {
        packet.set_dts(clock.advance(dts));
    }
    if let Some(pts) = packet.pts() {
        let placed = if packet.dts().is_some() { clock.place(pts) } else { clock.advance(pts) };
        packet.set_pts(placed);
    }
}
