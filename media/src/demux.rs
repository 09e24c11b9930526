//! Packets out of a container.

use std::io::Read;

use bytes::Bytes;

use crate::decode::{Decoder, DecoderConfig};
use crate::error::MediaError;
use crate::limits::MediaLimits;
use crate::packet::{Packet, StreamParameters};
use crate::probe::Probe;

/// Reads packets of the video stream and of all audio streams, in the order of the container.
///
/// Timestamps are 90 kHz ticks on one unbroken timeline: MPEG-TS is unwrapped.
pub struct Demuxer {
    probe: Probe,
}

impl Demuxer {
    /// Opens media that lies in memory.
    pub fn from_bytes(data: Bytes, limits: &MediaLimits) -> Result<Self, MediaError> {
        let _ = (data, limits);
        Err(MediaError::NoFrames)
    }

    /// Opens a stream that arrives. Blocks until enough has come to tell what the streams are.
    pub fn from_reader(reader: impl Read + Send + 'static, limits: &MediaLimits) -> Result<Self, MediaError> {
        let _ = (reader, limits);
        Err(MediaError::NoFrames)
    }

    /// What the input consists of.
    pub fn probe(&self) -> &Probe {
        &self.probe
    }

    /// Parameters of stream `index`, for a [`MuxerBuilder`](crate::MuxerBuilder) or a decoder.
    pub fn parameters(&self, index: usize) -> Option<StreamParameters> {
        let _ = index;
        None
    }

    /// A decoder for the video stream.
    pub fn decoder(&self, config: &DecoderConfig) -> Result<Decoder, MediaError> {
        let _ = config;
        Err(MediaError::NoFrames)
    }

    /// The next packet, or `None` at the end.
    ///
    /// # Errors
    ///
    /// A passed limit, the deadline, or a failure of the source. Damaged packets are skipped, not errors.
    pub fn next_packet(&mut self) -> Result<Option<Packet>, MediaError> {
        Err(MediaError::NoFrames)
    }
}
