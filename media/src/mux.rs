//! Packets into a container.

use bytes::Bytes;

use crate::codec::OutputFormat;
use crate::error::MediaError;
use crate::packet::{Packet, StreamParameters};

/// Collects the streams of an output before its first byte is written.
pub struct MuxerBuilder {
    format: OutputFormat,
    streams: Vec<StreamParameters>,
}

impl MuxerBuilder {
    /// Adds a stream and returns its index, which is what [`Muxer::write`] takes.
    ///
    /// # Errors
    ///
    /// [`MediaError::UnsupportedCodec`] when the container cannot carry the codec.
    pub fn add_stream(&mut self, parameters: &StreamParameters) -> Result<usize, MediaError> {
        self.streams.push(parameters.clone());
        Ok(self.streams.len() - 1)
    }

    /// Writes the header.
    pub fn start(self) -> Result<Muxer, MediaError> {
        let _ = self.format;
        Err(MediaError::NoFrames)
    }
}

/// Writes packets into a container in memory.
///
/// Timestamps go into the container as they are (MPEG-TS: modulo 2^33); nothing is shifted, so segments that different
/// machines made from neighbours of one stream join. In MPEG-TS every packet gets a PES packet of its own, so audio
/// timestamps survive exactly as well, and the program clock equals the decoding time.
pub struct Muxer {
    streams: usize,
}

impl Muxer {
    /// Starts an output.
    pub fn builder(format: OutputFormat) -> MuxerBuilder {
        MuxerBuilder { format, streams: Vec::new() }
    }

    /// Writes one packet of stream `stream`. Packets of one stream come in decoding order; streams may be interleaved
    /// loosely, the muxer sorts them.
    ///
    /// # Errors
    ///
    /// [`MediaError::Timestamps`] when times are missing, do not rise, or a packet decodes after it shows; see
    /// [`repair_timestamps`](crate::repair_timestamps).
    pub fn write(&mut self, stream: usize, packet: &Packet) -> Result<(), MediaError> {
        let _ = (stream, packet, self.streams);
        Err(MediaError::NoFrames)
    }

    /// The bytes made since the last call; empty while packets wait for others to be sorted.
    pub fn drain(&mut self) -> Bytes {
        Bytes::new()
    }

    /// Writes what still waits and the trailer, and returns the bytes made since the last [`Muxer::drain`].
    pub fn finish(self) -> Result<Bytes, MediaError> {
        Err(MediaError::NoFrames)
    }
}
