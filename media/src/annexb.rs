//! The little that must be known of H.264 and HEVC byte streams (Annex B of either), and of units behind their lengths.

use std::ops::RangeInclusive;

use memchr::memmem;

use crate::codec::VideoCodec;
use crate::packet::Packet;
use crate::time::Ticks;

/// NAL unit types that matter here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Delimiter,
    ParameterSet,
    Slice,
    Other,
}

impl Unit {
    fn of(codec: &VideoCodec, nal: &[u8]) -> Self {
        let Some(kind) = kind(codec, nal) else { return Self::Other };
        match codec {
            VideoCodec::H264 => match kind {
                1..=5 => Self::Slice,
                7 => Self::ParameterSet,
                9 => Self::Delimiter,
                _ => Self::Other,
            },
            VideoCodec::Hevc => match kind {
                0..=31 => Self::Slice,
                33 => Self::ParameterSet,
                35 => Self::Delimiter,
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }
}

/// The type in a unit's header.
fn kind(codec: &VideoCodec, unit: &[u8]) -> Option<u8> {
    let header = *unit.first()?;
    Some(if *codec == VideoCodec::H264 { header & 0x1f } else { header >> 1 & 0x3f })
}

const START_CODE: &[u8] = &[0, 0, 1];

/// Whether the bytes are NAL units behind start codes, not behind lengths, of which 256 to 511 look like one.
fn is_byte_stream(data: &[u8]) -> bool {
    (data.starts_with(START_CODE) || data.starts_with(&[0, 0, 0, 1])) && behind_lengths(data).is_none()
}

/// Offsets behind the start codes.
fn unit_starts(data: &[u8]) -> impl Iterator<Item = usize> + '_ {
    memmem::find_iter(data, START_CODE).map(|at| at + START_CODE.len())
}

/// Whether the packet has one slice at most, and so decodes from the top down, nothing twice.
pub(crate) fn is_single_slice(data: &[u8], codec: &VideoCodec) -> bool {
    unit_starts(data).filter(|&start| Unit::of(codec, &data[start..]) == Unit::Slice).nth(1).is_none()
}

/// The first packet of a segment with the parameter sets in front of its slices: a decoder that starts here needs them, and some
/// encoders send them once per stream only. `None` when the packet has them or takes none.
pub(crate) fn with_parameter_sets(packet: &Packet, codec: &VideoCodec, extradata: &[u8]) -> Option<Packet> {
    let data = packet.data();
    let lengths = behind_lengths(data);
    let in_lengths = lengths.is_some();
    let (sets, starts) = match lengths {
        None if is_byte_stream(data) && is_byte_stream(extradata) => {
            (extradata.to_vec(), unit_starts(data).collect())
        }
        // What puts units behind start codes on the way into MPEG-TS adds them to IDR pictures of H.264, and to all keyframes of HEVC.
        Some(starts) if *codec == VideoCodec::H264 => (configured_sets(extradata)?, starts),
        _ => return None,
    };
    let units = || starts.iter().map(|&start| Unit::of(codec, &data[start..]));
    let before_slices = || units().take_while(|unit| *unit != Unit::Slice);
    if before_slices().any(|unit| unit == Unit::ParameterSet) {
        return None;
    }
    // A delimiter, where there is one, stays in front of everything.
    let delimiter = before_slices().any(|unit| unit == Unit::Delimiter);
    let place = match starts.get(1) {
        _ if !delimiter => 0,
        None => data.len(),
        // The zero byte of a four-byte start code belongs to what follows it, as do all bytes of a length.
        Some(second) if in_lengths || data[second - START_CODE.len() - 1] == 0 => {
            second - START_CODE.len() - 1
        }
        Some(second) => second - START_CODE.len(),
    };
    Some(packet.with_data(&[&data[..place], &sets, &data[place..]].concat()))
}

/// The parameter sets of an `AVCDecoderConfigurationRecord` (ISO/IEC 14496-15, 5.3.3.1), behind lengths of four bytes. `None` where
/// that is none, or lengths have other sizes.
fn configured_sets(record: &[u8]) -> Option<Vec<u8>> {
    const VERSION: u8 = 1;
    const LENGTH_OF_FOUR: u8 = 3;
    let (header, mut rest) = record.split_at_checked(5)?;
    if header[0] != VERSION || header[4] & 3 != LENGTH_OF_FOUR {
        return None;
    }
    let mut sets = Vec::new();
    // Sequence parameter sets, whose number has five bits, then picture parameter sets.
    for mask in [0x1f, 0xff] {
        let (&count, behind) = rest.split_first()?;
        rest = behind;
        for _ in 0..count & mask {
            let (length, behind) = rest.split_first_chunk()?;
            let length = u16::from_be_bytes(*length);
            let (set, behind) = behind.split_at_checked(length.into())?;
            sets.extend_from_slice(&u32::from(length).to_be_bytes());
            sets.extend_from_slice(set);
            rest = behind;
        }
    }
    (!sets.is_empty()).then_some(sets)
}

/// Where a group of pictures begins that may be open: pictures that follow it and are shown before it may need the group before.
/// A keyframe of H.264 or HEVC that is no IDR picture.
pub(crate) fn may_begin_open_group(packet: &Packet, codec: &VideoCodec) -> bool {
    let mut kinds = slice_kinds(packet.data(), codec).peekable();
    kinds.peek().is_some()
        && kinds.all(|kind| match codec {
            VideoCodec::H264 => kind != H264_IDR,
            _ => !HEVC_IDR.contains(&kind),
        })
}

/// Whether a picture of the group that begins with a keyframe shown at `start` may need the group before: it is shown before the
/// keyframe, and its type, which tells in HEVC alone, does not say that it can be decoded from there on.
pub(crate) fn is_leading(packet: &Packet, start: Ticks, codec: &VideoCodec) -> bool {
    let decodable = || {
        *codec == VideoCodec::Hevc && slice_kinds(packet.data(), codec).all(|kind| HEVC_RADL.contains(&kind))
    };
    packet.pts().is_some_and(|shown| shown < start) && !decodable()
}

/// Tables 7-1 of either: IDR pictures, and leading pictures that need nothing before their keyframe.
const H264_IDR: u8 = 5;
const HEVC_IDR: RangeInclusive<u8> = 19..=20;
const HEVC_RADL: RangeInclusive<u8> = 6..=7;

/// Types of the units that are slices.
fn slice_kinds<'a>(data: &'a [u8], codec: &'a VideoCodec) -> impl Iterator<Item = u8> + 'a {
    let starts = behind_lengths(data).unwrap_or_else(|| unit_starts(data).collect());
    starts
        .into_iter()
        .filter_map(|start| data.get(start..))
        .filter(|unit| Unit::of(codec, unit) == Unit::Slice)
        .filter_map(|unit| kind(codec, unit))
}

/// Offsets behind lengths of four bytes, which all but old files have. `None` where the bytes are not made of such units.
fn behind_lengths(data: &[u8]) -> Option<Vec<usize>> {
    let mut starts = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        let (length, behind) = rest.split_first_chunk()?;
        starts.push(data.len() - behind.len());
        rest = behind.get(usize::try_from(u32::from_be_bytes(*length)).ok()?..)?;
    }
    Some(starts)
}

/// Whether an H.264 picture consists of intra slices only. Some live encoders never send the IDR pictures that FFmpeg
/// takes for keyframes; decoding can begin at such a picture all the same.
pub(crate) fn is_intra_picture(packet: &Packet, codec: &VideoCodec) -> bool {
    let data = packet.data();
    if *codec != VideoCodec::H264 || !is_byte_stream(data) {
        return false;
    }
    let mut slices = unit_starts(data)
        .map(|start| &data[start..])
        .filter(|nal| Unit::of(codec, nal) == Unit::Slice)
        .peekable();
    slices.peek().is_some() && slices.all(|nal| slice_type(nal).is_some_and(|kind| kind % 5 == I_SLICE))
}

/// Table 7-6 of H.264.
const I_SLICE: u32 = 2;

/// The slice type of an H.264 slice: the second Exp-Golomb number behind the header byte (7.3.3).
fn slice_type(nal: &[u8]) -> Option<u32> {
    /// Two numbers of at most 32 bits fit here; emulation bytes cannot occur before them.
    const HEADER_BYTES: usize = 17;
    let bytes = &nal.get(1..)?[..HEADER_BYTES.min(nal.len() - 1)];
    let mut bits = bytes.iter().flat_map(|byte| (0..8).rev().map(move |shift| u32::from(byte >> shift & 1)));
    exp_golomb(&mut bits)?;
    exp_golomb(&mut bits)
}

fn exp_golomb(bits: &mut impl Iterator<Item = u32>) -> Option<u32> {
    let mut zeros = 0u32;
    while bits.next()? == 0 {
        zeros += 1;
        if zeros > 31 {
            return None;
        }
    }
    let tail = (0..zeros).try_fold(0u32, |value, _| Some(value << 1 | bits.next()?))?;
    Some((1 << zeros) - 1 + tail)
}
