//! What goes between two transport streams that follow each other in one file.

use std::collections::HashSet;

/// Bytes of a packet.
const PACKET: usize = 188;
/// First byte of a packet.
const SYNC: u8 = 0x47;
/// Identifier of packets that mean nothing.
const NULL: u16 = 0x1fff;
/// Bytes of a program clock reference.
const CLOCK: usize = 6;

/// Packets that announce that every counter of `next` begins anew, so that whole transport streams may follow each other in one file
/// without a change to any of them: one for each identifier, without payload.
///
/// ISO/IEC 13818-1, 2.4.3.5: under a `discontinuity_indicator` a `continuity_counter` may be any, and the one after it follows. On the
/// clock's own identifier it may also announce another clock, so that its packet repeats the clock that comes.
pub fn seam(next: &[u8]) -> Vec<u8> {
    let mut known = HashSet::from([NULL]);
    let mut seam = Vec::new();
    for packet in next.chunks_exact(PACKET).take_while(|packet| packet[0] == SYNC) {
        if known.insert(u16::from_be_bytes([packet[1] & 0x1f, packet[2]])) {
            seam.extend_from_slice(&announcement(packet));
        }
    }
    seam
}

/// What stands before the first packet of an identifier.
fn announcement(packet: &[u8]) -> [u8; PACKET] {
    let (has_field, has_payload) = (packet[3] & 0x20 != 0, packet[3] & 0x10 != 0);
    let counter = packet[3] & 0x0f;
    // Packets without payload do not count.
    let before = if has_payload { counter.wrapping_sub(1) & 0x0f } else { counter };
    let clock = match has_field && usize::from(packet[4]) > CLOCK && packet[5] & 0x10 != 0 {
        true => &packet[6..6 + CLOCK],
        false => &[],
    };
    let mut told = [0xff; PACKET];
    told[..4].copy_from_slice(&[SYNC, packet[1] & 0x1f, packet[2], 0x20 | before]);
    told[4] = (PACKET - 5) as u8;
    told[5] = 0x80 | if clock.is_empty() { 0 } else { 0x10 };
    told[6..6 + clock.len()].copy_from_slice(clock);
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet with payload, and a clock if there is one.
    fn packet(pid: u16, counter: u8, clock: Option<[u8; CLOCK]>) -> Vec<u8> {
        let [high, low] = pid.to_be_bytes();
        let mut packet = vec![SYNC, 0x40 | high, low, 0x10 | counter];
        if let Some(clock) = clock {
            packet[3] |= 0x20;
            packet.extend_from_slice(&[7, 0x50]);
            packet.extend_from_slice(&clock);
        }
        packet.resize(PACKET, 0);
        packet
    }

    #[test]
    fn every_counter_is_announced_once_with_the_one_before_it() {
        let next =
            [packet(0, 0, None), packet(256, 5, None), packet(256, 6, None), packet(0, 1, None)].concat();
        let seam = seam(&next);
        let heads: Vec<&[u8]> = seam.chunks(PACKET).map(|packet| &packet[..6]).collect();
        assert_eq!(heads, [[SYNC, 0, 0, 0x2f, 183, 0x80], [SYNC, 1, 0, 0x24, 183, 0x80]]);
        assert!(seam.chunks(PACKET).all(|packet| packet[6..].iter().all(|byte| *byte == 0xff)));
    }

    #[test]
    fn the_clock_is_repeated() {
        let clock = [1, 2, 3, 4, 0x7e, 6];
        let seam = seam(&packet(256, 0, Some(clock)));
        assert_eq!(seam[4..6], [183, 0x90]);
        assert_eq!(seam[6..12], clock);
    }

    #[test]
    fn what_is_no_transport_stream_has_no_seam() {
        assert!(seam(b"").is_empty());
        assert!(seam(&[0u8; 4 * PACKET]).is_empty());
        assert!(seam(&packet(NULL, 3, None)).is_empty());
    }
}
