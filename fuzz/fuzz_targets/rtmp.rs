//! RTMP as a publisher's connection brings it: chunks, commands, and the FLV stream that is made of its media.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| framemill_broadcaster::read_rtmp(data));
