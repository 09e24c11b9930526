//! Hostile sources: a clip with bytes changed, cut or in another container, judged against and judged as its own rendition.

#![no_main]

use framemill_fuzz::{SIZE, media};
use framemill_media::MediaLimits;
use framemill_network::ladder::{Codec, FrameRate, LadderEntry};
use framemill_verification::{Policy, SourceReference, inspect, verify};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let source = media(data);
    let Ok(reference) = SourceReference::new(source.clone(), &MediaLimits::segment()) else { return };
    let entry = LadderEntry {
        width: SIZE.0,
        ..LadderEntry::from_height(SIZE.1, FrameRate::SOURCE, 200_000, Codec::H264)
    };
    let judged = verify(&reference, &source, &entry, &Policy::FULL, &[0; 32]);
    let inspected = inspect(&reference, &source, &entry, None);
    if let (Ok(report), Ok(inspection)) = (judged, inspected) {
        assert_eq!(report.hash, inspection.report.hash);
    }
});
