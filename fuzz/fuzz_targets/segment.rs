//! Streams from strangers as they arrive, in pieces: cut into segments, each of which must be readable.

#![no_main]

use std::io::Read;

use bytes::Bytes;
use framemill_fuzz::media;
use framemill_media::{MediaLimits, Segmenter, SegmenterConfig, segment_info};
use libfuzzer_sys::fuzz_target;

/// Bytes that come a few at a time, as from a socket.
struct Pieces {
    bytes: Bytes,
    most: usize,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = buffer.len().min(self.most).min(self.bytes.len());
        buffer[..count].copy_from_slice(&self.bytes.split_to(count));
        Ok(count)
    }
}

fuzz_target!(|data: &[u8]| {
    let limits = MediaLimits { pixels_per_frame: 1 << 20, ..MediaLimits::segment() };
    let most = 1 + data.len() % 1_500;
    // Short, so that a clip of a second has several.
    let config = SegmenterConfig { target: 18_000, ..SegmenterConfig::default() };
    let Ok(segmenter) = Segmenter::open(Pieces { bytes: media(data), most }, config, &limits) else { return };
    for segment in segmenter.map_while(Result::ok) {
        let wide = MediaLimits::default();
        match segment_info(&segment.data, &wide) {
            Ok(info) => assert_eq!(info.bytes, segment.data.len() as u64),
            Err(error) => assert!(error.is_bad_media(), "{error}"),
        }
    }
});
