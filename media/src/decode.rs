//! Pictures out of packets.

use bytes::Bytes;

use crate::error::MediaError;
use crate::frame::Frame;
use crate::limits::MediaLimits;
use crate::packet::{Packet, StreamParameters};
use crate::probe::Probe;

/// How to decode.
#[derive(Clone, Debug)]
pub struct DecoderConfig {
    /// Threads; zero lets FFmpeg take one per core.
    pub threads: u32,
    /// Fail on the first packet that does not decode instead of counting it.
    pub strict: bool,
}

impl Default for DecoderConfig {
    fn default() -> Self {
        Self { threads: 1, strict: false }
    }
}

/// Decodes one video stream. Frames come in presentation order with the exact timestamps of their packets.
pub struct Decoder {
    errors: u64,
}

impl Decoder {
    /// A decoder for a stream with these parameters.
    pub fn new(
        parameters: &StreamParameters,
        config: &DecoderConfig,
        limits: &MediaLimits,
    ) -> Result<Self, MediaError> {
        let _ = (parameters, config, limits);
        Err(MediaError::NoFrames)
    }

    /// Hands one packet to the decoder. Take all frames with [`Decoder::receive`] before the next.
    pub fn send(&mut self, packet: &Packet) -> Result<(), MediaError> {
        let _ = packet;
        Err(MediaError::NoFrames)
    }

    /// Says that no packet follows; the frames still held come out of [`Decoder::receive`].
    pub fn flush(&mut self) -> Result<(), MediaError> {
        Err(MediaError::NoFrames)
    }

    /// The next frame, or `None` when the decoder wants a packet or, after [`Decoder::flush`], is empty.
    pub fn receive(&mut self) -> Result<Option<Frame>, MediaError> {
        Err(MediaError::NoFrames)
    }

    /// Packets and frames that did not decode so far.
    pub const fn errors(&self) -> u64 {
        self.errors
    }
}

/// All video frames of an input in memory, in presentation order.
pub struct VideoReader {
    probe: Probe,
}

impl VideoReader {
    /// Opens an input.
    ///
    /// # Errors
    ///
    /// As [`Demuxer::from_bytes`](crate::Demuxer::from_bytes); [`MediaError::NoVideo`] without a video stream.
    pub fn open(data: Bytes, config: &DecoderConfig, limits: &MediaLimits) -> Result<Self, MediaError> {
        let _ = (data, config, limits);
        Err(MediaError::NoFrames)
    }

    /// What the input consists of.
    pub fn probe(&self) -> &Probe {
        &self.probe
    }

    /// The next frame, or `None` at the end.
    ///
    /// # Errors
    ///
    /// [`MediaError::NoFrames`] at the end of an input out of which no frame came; a passed limit; the deadline.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, MediaError> {
        Err(MediaError::NoFrames)
    }

    /// Packets and frames that did not decode so far.
    pub fn errors(&self) -> u64 {
        0
    }
}

impl Iterator for VideoReader {
    type Item = Result<Frame, MediaError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_frame().transpose()
    }
}
