//! Hostile sources: a clip with bytes changed, cut or in another container, judged against and judged as its own rendition.

#![no_main]

use std::sync::OnceLock;

use bytes::Bytes;
use framemill_media::{ClipSpec, MediaLimits, OutputFormat, Rational, generate_clip};
use framemill_network::ladder::{Codec, FrameRate, LadderEntry};
use framemill_verification::{Policy, SourceReference, inspect, verify};
use libfuzzer_sys::fuzz_target;

/// The same clip as a transport stream and as fragments.
fn clips() -> &'static [Bytes; 2] {
    static CLIPS: OnceLock<[Bytes; 2]> = OnceLock::new();
    CLIPS.get_or_init(|| {
        [OutputFormat::MpegTs, OutputFormat::FragmentedMp4].map(|format| {
            let spec =
                ClipSpec { format, start_pts: 90_000, ..ClipSpec::new(64, 48, Rational::new(10, 1), 1) };
            generate_clip(&spec, &MediaLimits::segment()).expect("a clip")
        })
    })
}

fn edited(clip: &Bytes, edits: &[u8]) -> Bytes {
    let mut bytes = clip.to_vec();
    for edit in edits.chunks_exact(4) {
        let at = usize::from(u16::from_be_bytes([edit[1], edit[2]]));
        match (edit[0] % 8, bytes.len()) {
            (_, 0) => break,
            (0, length) => bytes.truncate(at % length),
            (1, length) => bytes.extend_from_within(at % length..),
            (_, length) => bytes[at % length] = edit[3],
        }
    }
    bytes.into()
}

fuzz_target!(|data: &[u8]| {
    let source = match data {
        [0, raw @ ..] => Bytes::copy_from_slice(raw),
        [kind, edits @ ..] => edited(&clips()[usize::from(kind % 2)], edits),
        [] => Bytes::new(),
    };
    let Ok(reference) = SourceReference::new(source.clone(), &MediaLimits::segment()) else { return };
    let entry =
        LadderEntry { width: 64, ..LadderEntry::from_height(48, FrameRate::SOURCE, 200_000, Codec::H264) };
    let judged = verify(&reference, &source, &entry, &Policy::FULL, &[0; 32]);
    let inspected = inspect(&reference, &source, &entry, None);
    if let (Ok(report), Ok(inspection)) = (judged, inspected) {
        assert_eq!(report.hash, inspection.report.hash);
    }
});
