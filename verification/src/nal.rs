//! A walk over every NAL unit of an Annex B stream of H.264 or HEVC.

/// Syntax of an elementary stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// ITU-T H.264
    H264,
    /// ITU-T H.265
    Hevc,
}

/// Supplemental information that makes a player show something other than the decoded picture: frame packing and
/// display orientation, numbered alike in both standards.
const SEI_DISPLAY: [u32; 2] = [45, 47];
/// Parameter sets that are told apart before counting stops: one more than is ever allowed suffices.
const MAX_DISTINCT: usize = 4;

/// What a walk found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NalWalk {
    /// Pictures: slices that start one.
    pub pictures: u64,
    /// Pictures that are instantaneous decoder refreshes.
    pub idr_pictures: u64,
    /// Whether the first picture is one, after its parameter sets.
    pub starts_with_idr: bool,
    /// Different parameter sets, by content (counting stops at four of a kind): sequence, picture.
    pub sequence_sets: usize,
    /// Different picture parameter sets.
    pub picture_sets: usize,
    /// Frame packing or display orientation messages.
    pub display_messages: u64,
    /// Bytes of filler data and supplemental messages.
    pub idle_bytes: u64,
    /// NAL units of types that have no business in a rendition: data partitions, auxiliary and extension slices.
    pub foreign_units: u64,
    /// Bytes before the first start code, zeros aside.
    pub leading_bytes: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Slice { idr: bool, first: bool },
    SequenceSet,
    PictureSet,
    VideoSet,
    Sei,
    Filler,
    Delimiter,
    Foreign,
}

/// Walks a whole elementary stream.
#[must_use]
pub fn walk(data: &[u8], syntax: Syntax) -> NalWalk {
    let mut walker = Walker { syntax, out: NalWalk::default(), sequence: Vec::new(), picture: Vec::new() };
    let mut start = next_start_code(data, 0);
    walker.out.leading_bytes = trim_zeros(&data[..start.unwrap_or(data.len())]).len() as u64;
    while let Some(at) = start {
        let next = next_start_code(data, at + 3);
        walker.unit(trim_zeros(&data[at + 3..next.unwrap_or(data.len())]));
        start = next;
    }
    walker.out.sequence_sets = walker.sequence.len();
    walker.out.picture_sets = walker.picture.len();
    walker.out
}

/// Offset of the next `00 00 01` at or after `from`.
fn next_start_code(data: &[u8], from: usize) -> Option<usize> {
    let mut i = from;
    while i + 2 < data.len() {
        // The third byte decides how far one may jump: anything above 1 ends no start code here or at the next two.
        match data[i + 2] {
            0 => i += 1,
            1 if data[i] == 0 && data[i + 1] == 0 => return Some(i),
            _ => i += 3,
        }
    }
    None
}

/// Without the zero bytes that may precede the next start code.
fn trim_zeros(unit: &[u8]) -> &[u8] {
    let end = unit.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1);
    &unit[..end]
}

struct Walker<'a> {
    syntax: Syntax,
    out: NalWalk,
    sequence: Vec<&'a [u8]>,
    picture: Vec<&'a [u8]>,
}

impl<'a> Walker<'a> {
    fn unit(&mut self, unit: &'a [u8]) {
        match kind(unit, self.syntax) {
            Kind::Slice { idr, first } => self.slice(idr, first),
            Kind::SequenceSet => remember(&mut self.sequence, unit),
            Kind::PictureSet => remember(&mut self.picture, unit),
            Kind::Sei => {
                self.out.idle_bytes += unit.len() as u64;
                self.out.display_messages += display_messages(unit, self.syntax);
            }
            Kind::Filler => self.out.idle_bytes += unit.len() as u64,
            Kind::VideoSet | Kind::Delimiter => {}
            Kind::Foreign => self.out.foreign_units += 1,
        }
    }

    fn slice(&mut self, idr: bool, first: bool) {
        if self.out.pictures == 0 {
            self.out.starts_with_idr = idr && first && !self.sequence.is_empty() && !self.picture.is_empty();
        }
        if first {
            self.out.pictures += 1;
            self.out.idr_pictures += u64::from(idr);
        }
    }
}

fn remember<'a>(sets: &mut Vec<&'a [u8]>, unit: &'a [u8]) {
    if sets.len() < MAX_DISTINCT && !sets.contains(&unit) {
        sets.push(unit);
    }
}

fn kind(unit: &[u8], syntax: Syntax) -> Kind {
    let Some(&head) = unit.first() else {
        return Kind::Foreign;
    };
    match syntax {
        Syntax::H264 => {
            // `first_mb_in_slice` is the exp-Golomb code 1 for zero.
            let first = unit.get(1).is_some_and(|b| b & 0x80 != 0);
            match head & 0x1f {
                1 => Kind::Slice { idr: false, first },
                5 => Kind::Slice { idr: true, first },
                6 => Kind::Sei,
                7 => Kind::SequenceSet,
                8 => Kind::PictureSet,
                9..=11 => Kind::Delimiter,
                12 => Kind::Filler,
                _ => Kind::Foreign,
            }
        }
        Syntax::Hevc => {
            let first = unit.get(2).is_some_and(|b| b & 0x80 != 0);
            match head >> 1 & 0x3f {
                19 | 20 => Kind::Slice { idr: true, first },
                0..=9 | 16..=21 => Kind::Slice { idr: false, first },
                32 => Kind::VideoSet,
                33 => Kind::SequenceSet,
                34 => Kind::PictureSet,
                35..=37 => Kind::Delimiter,
                38 => Kind::Filler,
                39 | 40 => Kind::Sei,
                _ => Kind::Foreign,
            }
        }
    }
}

/// Counts the messages of a supplemental unit that change how pictures are shown.
fn display_messages(unit: &[u8], syntax: Syntax) -> u64 {
    let header = if syntax == Syntax::H264 { 1 } else { 2 };
    let payload = unescape(unit.get(header..).unwrap_or_default());
    let mut rest = payload.as_slice();
    let mut count = 0;
    // The last byte holds the stop bit alone.
    while rest.len() > 2 {
        let Some((kind, after)) = message_number(rest) else {
            break;
        };
        let Some((size, after)) = message_number(after) else {
            break;
        };
        count += u64::from(SEI_DISPLAY.contains(&kind));
        rest = after.get(size as usize..).unwrap_or_default();
    }
    count
}

/// A number written as a run of 255s and a last byte.
fn message_number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let run = bytes.iter().position(|&b| b != 0xff)?;
    let last = u32::from(bytes[run]);
    Some((u32::try_from(run).ok()?.checked_mul(255)?.checked_add(last)?, &bytes[run + 1..]))
}

/// The payload of a unit: its bytes without emulation prevention.
pub fn unescape(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut zeros = 0;
    for &byte in bytes {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stream(units: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for unit in units {
            out.extend([0, 0, 0, 1]);
            out.extend_from_slice(unit);
        }
        out
    }

    const SPS: &[u8] = &[0x67, 1, 2, 3];
    const PPS: &[u8] = &[0x68, 9];
    const IDR: &[u8] = &[0x65, 0x88, 7];
    const INTER: &[u8] = &[0x41, 0x9a, 7];
    const SECOND_SLICE: &[u8] = &[0x41, 0x40, 7];

    #[test]
    fn counts_pictures_not_slices() {
        let walk = walk(&stream(&[SPS, PPS, IDR, INTER, SECOND_SLICE]), Syntax::H264);
        assert_eq!((walk.pictures, walk.idr_pictures), (2, 1));
        assert!(walk.starts_with_idr);
        assert_eq!((walk.sequence_sets, walk.picture_sets, walk.leading_bytes), (1, 1, 0));
    }

    #[test]
    fn an_idr_without_parameter_sets_does_not_start_a_rendition() {
        assert!(!walk(&stream(&[IDR]), Syntax::H264).starts_with_idr);
        assert!(!walk(&stream(&[SPS, PPS, INTER]), Syntax::H264).starts_with_idr);
    }

    #[test]
    fn sees_a_parameter_set_that_changes() {
        let walk = walk(&stream(&[SPS, PPS, IDR, &[0x67, 1, 2, 4], IDR]), Syntax::H264);
        assert_eq!(walk.sequence_sets, 2);
    }

    #[test]
    fn finds_a_display_orientation_behind_another_message() {
        let sei = &[0x06, 5, 2, 0xaa, 0xbb, 47, 1, 0x80, 0x80];
        assert_eq!(walk(&stream(&[sei]), Syntax::H264).display_messages, 1);
        assert_eq!(walk(&stream(&[&sei[..5]]), Syntax::H264).display_messages, 0);
    }

    #[test]
    fn reads_hevc_headers() {
        let units: [&[u8]; 5] =
            [&[0x40, 1, 1], &[0x42, 1, 1], &[0x44, 1, 1], &[0x26, 1, 0x80], &[0x02, 1, 0x80]];
        let walk = walk(&stream(&units), Syntax::Hevc);
        assert_eq!((walk.pictures, walk.idr_pictures), (2, 1));
        assert!(walk.starts_with_idr);
    }

    proptest! {
        #[test]
        fn start_codes_are_found_as_a_plain_search_finds_them(
            data in prop::collection::vec(prop_oneof![Just(0u8), Just(1u8), any::<u8>()], 0..200),
        ) {
            let mut from = 0;
            while let Some(at) = data[from..].windows(3).position(|w| w == [0, 0, 1]) {
                prop_assert_eq!(next_start_code(&data, from), Some(from + at));
                from += at + 3;
            }
            prop_assert_eq!(next_start_code(&data, from), None);
            let _ = walk(&data, Syntax::H264);
            let _ = walk(&data, Syntax::Hevc);
        }
    }
}
