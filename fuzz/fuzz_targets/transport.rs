//! The strict reader of transport streams.
//!
//! Arbitrary bytes are far from whole packets, so they are cut into packets whose first byte is put right; checksums of
//! tables are put right as well, else nothing behind them would ever be reached.

#![no_main]

use framemill_verification::ts;
use libfuzzer_sys::fuzz_target;

const PACKET: usize = 188;

fuzz_target!(|data: &[u8]| {
    let _ = ts::parse(data);
    let mut bytes = data.to_vec();
    bytes.resize(data.len().next_multiple_of(PACKET), 0xff);
    for packet in bytes.chunks_exact_mut(PACKET) {
        packet[0] = 0x47;
        if packet[1] & 0x40 != 0 && packet[3] & 0x30 == 0x10 && packet[4] == 0 {
            put_right(&mut packet[5..]);
        }
    }
    if let Ok(stream) = ts::parse(&bytes) {
        for elementary in &stream.streams {
            let told: usize = elementary.unit_data().map(<[u8]>::len).sum();
            assert_eq!(told, elementary.data.len(), "every byte belongs to a unit");
        }
    }
});

/// Writes the checksum of a table section where it says that it ends.
fn put_right(section: &mut [u8]) {
    let length = 3 + (usize::from(section[1] & 0x0f) << 8 | usize::from(section[2]));
    let section = section.get_mut(..length).unwrap_or_default();
    if let Some((body, checksum)) = section.split_last_chunk_mut::<4>() {
        let crc = body.iter().fold(u32::MAX, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte) << 24, |crc, _| {
                (crc << 1) ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 }
            })
        });
        *checksum = crc.to_be_bytes();
    }
}
