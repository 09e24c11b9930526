//! Media from strangers: probed, listed packet by packet, decoded as far as it goes.

#![no_main]

use framemill_fuzz::media;
use framemill_media::{DecoderConfig, MediaLimits, VideoReader, probe, segment_info};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let data = media(data);
    // A picture of hostile size takes seconds that say nothing new.
    let limits = MediaLimits {
        pixels_per_frame: 1 << 20,
        total_pixels: 1 << 26,
        picture_bytes: 256 << 20,
        ..MediaLimits::segment()
    };
    let probed = probe(&data, &limits);
    let told = segment_info(&data, &limits);
    assert!(probed.is_ok() || told.is_err(), "packets of what is no media");
    if let Ok(reader) = VideoReader::open(data, &DecoderConfig { threads: 2, strict: false }, &limits) {
        let _ = reader.map_while(Result::ok).count();
    }
});
