//! The walk over the NAL units of H.264 and HEVC: parameter sets, slice headers, supplemental messages.

#![no_main]

use framemill_verification::nal::{Syntax, walk};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&cut, rest)) = data.split_first() else { return };
    let syntax = if cut & 1 == 0 { Syntax::H264 } else { Syntax::Hevc };
    let size = (usize::from(cut >> 1) + 1) * 8;
    let found = walk(rest.chunks(size), syntax);
    let bytes = rest.len() as u64;
    assert!(
        found.message_bytes <= bytes && found.stray_bytes <= bytes,
        "nothing is counted twice: {found:?}"
    );
    assert!(found.pictures <= bytes, "no picture without a byte");
});
