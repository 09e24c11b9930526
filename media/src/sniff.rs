//! Which container some bytes are, by their first kilobyte.
//!
//! FFmpeg's own guess would consider hundreds of demuxers; strangers' bytes meet four here.

use crate::codec::Container;
use crate::error::MediaError;

/// Bytes that are looked at.
pub(crate) const SNIFF_BYTES: usize = 1024;

/// Packet sizes of transport streams: plain, with a time code (M2TS), with error correction.
const TS_PACKETS: [usize; 3] = [188, 192, 204];
const TS_SYNC: u8 = 0x47;
/// Packets in a row that must start with the sync byte.
const TS_RUN: usize = 3;

/// Boxes an MP4 file or a stream of fragments may start with.
const MP4_BOXES: [&[u8; 4]; 10] =
    [b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"sidx", b"emsg"];

/// The container these first bytes belong to.
pub(crate) fn sniff(head: &[u8]) -> Result<Container, MediaError> {
    if head.is_empty() {
        return Err(MediaError::Truncated { reason: "it has zero bytes".into() });
    }
    if head.starts_with(b"FLV\x01") {
        return Ok(Container::Flv);
    }
    if head.starts_with(&[0x1a, 0x45, 0xdf, 0xa3]) {
        return Ok(Container::Matroska);
    }
    if head.get(4..8).is_some_and(|name| MP4_BOXES.iter().any(|known| name == *known)) {
        return Ok(Container::Mp4);
    }
    if is_transport_stream(head) {
        return Ok(Container::MpegTs);
    }
    Err(MediaError::NotMedia { reason: "its first bytes belong to no known container".into() })
}

/// Whether sync bytes stand at one of the known distances, from some place within the first packet on.
fn is_transport_stream(head: &[u8]) -> bool {
    TS_PACKETS.iter().any(|&size| {
        (0..size.min(head.len())).any(|start| {
            let syncs = head[start..].iter().step_by(size);
            // A file shorter than the run must be aligned, or single bytes of any text would do.
            let enough = if start == 0 { head.len().div_ceil(size).min(TS_RUN) } else { TS_RUN };
            let whole = head.len() >= size;
            whole && syncs.clone().count() >= enough && syncs.take(TS_RUN).all(|&byte| byte == TS_SYNC)
        })
    })
}
