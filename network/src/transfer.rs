//! The bytes of an exchange: a source one way, renditions the other.

use alloy_primitives::B256;
use bytes::Bytes;

use crate::error::NetworkError;
use crate::receipt::RenditionClaim;

/// Most media bytes in one message; larger buffers are split.
pub const MAX_CHUNK_BYTES: usize = 64 * 1024;

/// Some bytes of a rendition, following those of the chunk before with the same index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenditionChunk {
    /// Position in the ladder.
    pub index: u32,
    /// At most [`MAX_CHUNK_BYTES`].
    pub data: Bytes,
}

/// The end of a rendition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RenditionEnd {
    /// Position in the ladder.
    pub index: u32,
    /// SHA-256 of all its bytes.
    pub sha256: B256,
    /// Number of its bytes.
    pub bytes: u64,
    /// Pixels of all its frames.
    pub pixels: u64,
    /// Number of its frames.
    pub frames: u32,
    /// Root over its committed features; zero where none are.
    pub feature_root: B256,
}

impl RenditionEnd {
    /// What a receipt says about this rendition.
    pub fn claim(&self) -> RenditionClaim {
        RenditionClaim {
            index: self.index,
            sha256: self.sha256,
            pixels: self.pixels,
            feature_root: self.feature_root,
        }
    }
}

/// Sends a source of the announced length.
#[derive(Debug)]
pub struct SourceWriter {
    pub(crate) _private: (),
}

/// Receives a source of the announced length and hash.
#[derive(Debug)]
pub struct SourceReader {
    pub(crate) _private: (),
}

impl SourceWriter {
    /// Sends the next bytes. Waits while the peer is slow.
    ///
    /// # Errors
    /// When the peer is gone or too slow, or the bytes exceed the announced length.
    pub async fn send(&mut self, data: Bytes) -> Result<(), NetworkError> {
        let _ = data;
        todo!()
    }

    /// Ends the source.
    ///
    /// # Errors
    /// When the peer is gone, or bytes of the announced length are missing.
    pub async fn finish(self) -> Result<(), NetworkError> {
        todo!()
    }
}

impl SourceReader {
    /// The next bytes as they arrive; `None` when the source is complete and has the announced hash. Cancel safe.
    ///
    /// # Errors
    /// When the peer is gone, too slow, or sends other bytes than announced.
    pub async fn next(&mut self) -> Result<Option<Bytes>, NetworkError> {
        todo!()
    }

    /// The whole source, which is at most as long as announced.
    ///
    /// # Errors
    /// As [`SourceReader::next`].
    pub async fn read_all(self) -> Result<Bytes, NetworkError> {
        todo!()
    }
}
