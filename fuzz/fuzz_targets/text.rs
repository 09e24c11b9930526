//! Text from strangers: ladders in both notations, the configuration header of a pushed segment, registry records.

#![no_main]

use framemill_network::ladder::{FrameRate, Ladder, SourceVideo};
use framemill_network::{ServiceAddress, TranscodeConfiguration};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(ladder) = text.parse::<Ladder>() {
        let written = ladder.to_json();
        assert_eq!(Ladder::from_json(&written).expect("its own notation"), ladder);
        let source = SourceVideo { width: 1920, height: 1080, fps: FrameRate::SOURCE };
        if let Ok(resolved) = ladder.resolve(&source) {
            assert!(resolved.iter().all(|entry| entry.is_concrete()));
        }
    }
    let _ = TranscodeConfiguration::from_json(text);
    if let Ok(address) = text.parse::<ServiceAddress>() {
        assert_eq!(address.to_string().parse::<ServiceAddress>().expect("its own notation"), address);
    }
});
