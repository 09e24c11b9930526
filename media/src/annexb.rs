//! The little that must be known of H.264 and HEVC byte streams (Annex B of either).

use crate::codec::VideoCodec;
use crate::packet::Packet;

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
        let Some(&header) = nal.first() else { return Self::Other };
        match codec {
            VideoCodec::H264 => match header & 0x1f {
                1..=5 => Self::Slice,
                7 => Self::ParameterSet,
                9 => Self::Delimiter,
                _ => Self::Other,
            },
            VideoCodec::Hevc => match (header >> 1) & 0x3f {
                0..=31 => Self::Slice,
                33 => Self::ParameterSet,
                35 => Self::Delimiter,
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }
}

const START_CODE: &[u8] = &[0, 0, 1];

/// Whether the bytes are NAL units behind start codes, not behind lengths.
fn is_byte_stream(data: &[u8]) -> bool {
    data.starts_with(START_CODE) || data.starts_with(&[0, 0, 0, 1])
}

/// Offsets behind the start codes.
fn unit_starts(data: &[u8]) -> impl Iterator<Item = usize> + '_ {
    data.windows(START_CODE.len())
        .enumerate()
        .filter(|(_, window)| *window == START_CODE)
        .map(|(at, _)| at + 3)
}

/// The first packet of a segment with the parameter sets in front of its slices: a decoder that starts here needs them,
/// and some encoders send them once per stream only. `None` when the packet has them or takes none.
pub(crate) fn with_parameter_sets(packet: &Packet, codec: &VideoCodec, extradata: &[u8]) -> Option<Packet> {
    let data = packet.data();
    if !is_byte_stream(data) || !is_byte_stream(extradata) {
        return None;
    }
    let units = || unit_starts(data).map(|start| (start, Unit::of(codec, &data[start..])));
    let before_slices = || units().take_while(|(_, unit)| *unit != Unit::Slice);
    if before_slices().any(|(_, unit)| unit == Unit::ParameterSet) {
        return None;
    }
    // A delimiter, where there is one, stays in front of everything.
    let delimiter = before_slices().any(|(_, unit)| unit == Unit::Delimiter);
    let place = if delimiter { units().nth(1).map_or(data.len(), |(start, _)| start - 3) } else { 0 };
    // The zero byte of a four-byte start code belongs to what follows it.
    let place = if place > 0 && data[place - 1] == 0 { place - 1 } else { place };
    Some(packet.with_data(&[&data[..place], extradata, &data[place..]].concat()))
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
