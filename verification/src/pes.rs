//! Headers of packetised elementary streams (ISO/IEC 13818-1, 2.4.3.6).

use crate::reason::Reason;

/// Bytes of a header before its optional fields.
const FIXED: usize = 9;
/// Bytes of one timestamp.
const STAMP: usize = 5;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) pts: Option<u64>,
    pub(crate) dts: Option<u64>,
    /// Bytes of the header, all fields included.
    pub(crate) length: usize,
    /// Bytes of the header that are no timestamps.
    pub(crate) idle: usize,
    /// Payload bytes the packet announces; none where it ends with the next one.
    pub(crate) payload: Option<usize>,
}

/// Reads the header at the start of a unit.
pub(crate) fn header(bytes: &[u8]) -> Result<Header, Reason> {
    let [0, 0, 1, _, hi, lo, marks, flags, optional, rest @ ..] = bytes else {
        return Err(Reason::BadHeader);
    };
    if marks & 0xf0 != 0x80 {
        return Err(Reason::ScrambledHeader);
    }
    let (stamps, pts, dts) = match flags >> 6 {
        0 => (0, None, None),
        2 => (1, Some(stamp(rest, 2)?), None),
        3 => (2, Some(stamp(rest, 3)?), Some(stamp(rest.get(STAMP..).unwrap_or_default(), 1)?)),
        _ => return Err(Reason::OnlyDecodingTime),
    };
    let optional = usize::from(*optional);
    let length = FIXED + optional;
    let idle = optional.checked_sub(stamps * STAMP).ok_or(Reason::TimeMissing)?;
    let payload = match usize::from(u16::from_be_bytes([*hi, *lo])) {
        0 => None,
        announced => Some((announced + 6).checked_sub(length).ok_or(Reason::ShorterThanHeader)?),
    };
    if bytes.len() < length {
        return Err(Reason::HeaderLeaves);
    }
    Ok(Header { pts, dts, length, idle, payload })
}

/// A timestamp behind its four-bit prefix; its marker bits must be set.
fn stamp(bytes: &[u8], prefix: u8) -> Result<u64, Reason> {
    let [a, b, c, d, e, ..] = bytes else {
        return Err(Reason::TimeMissing);
    };
    if a >> 4 != prefix || a & c & e & 1 == 0 {
        return Err(Reason::BadTime);
    }
    let high = u64::from(a >> 1 & 7) << 30 | u64::from(*b) << 22;
    Ok(high | u64::from(c >> 1) << 15 | u64::from(*d) << 7 | u64::from(e >> 1))
}
