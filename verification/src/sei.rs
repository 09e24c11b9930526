//! Supplemental enhancement information: which messages a rendition may carry, and what they say of the picture.

use crate::bits::BitReader;
use crate::nal::{Syntax, unescape};
use crate::sequence::PictureStruct;

/// Messages that make a player show something other than the decoded picture: pan and scan, full-frame freeze and
/// snapshot, film grain, stereo, post filters, tone mapping, frame packing, several views, display orientation, colour
/// remapping, and the projections of 360-degree video.
const DISPLAY: [u32; 18] = [2, 13, 15, 19, 21, 22, 23, 45, 46, 47, 142, 150, 151, 152, 153, 154, 155, 156];
/// Of H.264: buffering period, picture timing, filler, unregistered user data, recovery point.
const PLAIN_H264: [u32; 5] = [0, 1, 3, 5, 6];
/// The same of HEVC, and active parameter sets, decoding units, temporal sub-layers, picture hashes, time codes.
const PLAIN_HEVC: [u32; 10] = [0, 1, 3, 5, 6, 129, 130, 131, 132, 136];
/// Messages that belong to the content: captions, mastering display, light level, preferred transfer. A rendition may
/// repeat what its source says and say nothing else.
const CARRIED: [u32; 4] = [4, 137, 144, 147];

const PICTURE_TIMING: u32 = 1;
const FILLER: u32 = 3;
/// Every trailing part of a unit: a one and zeros to the next byte.
const TRAILING: u8 = 0x80;

/// A message of a supplemental unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    /// Says nothing about the picture.
    Plain,
    /// Only fills the stream up.
    Filler(usize),
    /// Changes what is shown.
    Display,
    /// Says that the picture is a field, two fields, or shown several times.
    Field,
    /// Belongs to the content.
    Carried(u32, &'a [u8]),
    /// Unknown, or no message at all.
    Foreign,
}

/// Calls `each` for every message of a unit, whose header is taken off.
pub(crate) fn messages(
    unit: &[u8],
    syntax: Syntax,
    picture_struct: Option<PictureStruct>,
    mut each: impl FnMut(Message<'_>),
) {
    let payload = unescape(unit);
    let [body @ .., TRAILING] = payload.as_slice() else {
        return each(Message::Foreign);
    };
    let mut rest = body;
    while !rest.is_empty() {
        let Some((number, message, after)) = next(rest) else {
            return each(Message::Foreign);
        };
        each(classify(number, message, syntax, picture_struct));
        rest = after;
    }
}

/// Number and payload of the next message, and what follows it.
fn next(bytes: &[u8]) -> Option<(u32, &[u8], &[u8])> {
    let (number, bytes) = coded_number(bytes)?;
    let (size, bytes) = coded_number(bytes)?;
    let (message, rest) = bytes.split_at_checked(size as usize)?;
    Some((number, message, rest))
}

/// A number written as a run of 255s and a last byte.
fn coded_number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let run = bytes.iter().position(|&b| b != 0xff)?;
    let last = u32::from(bytes[run]);
    Some((u32::try_from(run).ok()?.checked_mul(255)?.checked_add(last)?, &bytes[run + 1..]))
}

fn classify(
    number: u32,
    message: &[u8],
    syntax: Syntax,
    picture_struct: Option<PictureStruct>,
) -> Message<'_> {
    let plain: &[u32] = if syntax == Syntax::H264 { &PLAIN_H264 } else { &PLAIN_HEVC };
    match number {
        FILLER => Message::Filler(message.len()),
        PICTURE_TIMING if picture_struct.is_some_and(|at| !is_frame(message, at)) => Message::Field,
        _ if plain.contains(&number) => Message::Plain,
        _ if CARRIED.contains(&number) => Message::Carried(number, message),
        _ if DISPLAY.contains(&number) => Message::Display,
        _ => Message::Foreign,
    }
}

/// Whether a picture timing message says that the picture is one whole frame, shown once.
fn is_frame(message: &[u8], at: PictureStruct) -> bool {
    let mut bits = BitReader::plain(message);
    bits.skip(at.skip).and_then(|()| bits.bits(4)) == Some(0)
}

/// What a message that belongs to the content says, free of what muxers and encoders write as they please.
///
/// Of captions (ATSC A/53 part 4, `cc_data` in registered user data) the flags beside the count, the reserved byte after
/// it and the marker at the end say nothing: encoders that take captions over write them anew.
pub(crate) fn said(number: u32, message: &[u8]) -> Vec<u8> {
    let plain = || message.to_vec();
    let Some(&[flags, _, ref captions @ ..]) =
        message.strip_prefix(CAPTIONS).filter(|_| number == REGISTERED)
    else {
        return plain();
    };
    let length = 3 * usize::from(flags & CAPTION_COUNT);
    match captions.split_at_checked(length) {
        Some((triplets, [] | [MARKER])) => [CAPTIONS, &[flags & CAPTION_FLAGS, MARKER], triplets].concat(),
        _ => plain(),
    }
}

/// User data of a registered kind.
const REGISTERED: u32 = 4;
/// Country, provider, `GA94` and the type of caption data.
const CAPTIONS: &[u8] = &[0xb5, 0x00, 0x31, b'G', b'A', b'9', b'4', 0x03];
/// Bits that count the triplets.
const CAPTION_COUNT: u8 = 0x1f;
/// They, and the one that says that captions are to be shown.
const CAPTION_FLAGS: u8 = 0x5f;
/// Ends captions, and fills what is reserved.
const MARKER: u8 = 0xff;

#[cfg(test)]
mod tests {
    use super::*;

    /// Two caption triplets between what is written as one pleases.
    fn captions(flags: u8, reserved: u8, triplets: [u8; 6], end: &[u8]) -> Vec<u8> {
        [CAPTIONS, &[flags, reserved], &triplets, end].concat()
    }

    const SAID: [u8; 6] = [0xfc, 0x94, 0xae, 0xfc, 0x20, 0x41];

    #[test]
    fn captions_say_the_same_however_they_are_written() {
        let one = said(REGISTERED, &captions(0x42, 0xff, SAID, &[MARKER]));
        for other in [
            captions(0x42, 0x00, SAID, &[MARKER]),
            captions(0xc2, 0xff, SAID, &[MARKER]),
            captions(0x42, 0xff, SAID, &[]),
        ] {
            assert_eq!(said(REGISTERED, &other), one);
        }
    }

    #[test]
    fn other_captions_say_something_else() {
        let one = said(REGISTERED, &captions(0x42, 0xff, SAID, &[MARKER]));
        let [a, b, c, d, e, f] = SAID;
        for other in [
            captions(0x42, 0xff, [a, b, c, d, e, f ^ 1], &[MARKER]),
            captions(0x02, 0xff, SAID, &[MARKER]),
            captions(0x41, 0xff, SAID, &[MARKER]),
            captions(0x42, 0xff, SAID, &[MARKER, 7]),
            captions(0x43, 0xff, SAID, &[MARKER]),
        ] {
            assert_ne!(said(REGISTERED, &other), one);
        }
        assert_ne!(said(5, &captions(0x42, 0x00, SAID, &[MARKER])), one);
    }
}
