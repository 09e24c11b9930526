//! The head of a fragmented MP4: `ftyp` and `moov`, without what differs from segment to segment of one stream.

use bytes::{Bytes, BytesMut};

/// The letters of a box.
type Kind = [u8; 4];

/// Bytes of a box's length and letters.
const HEADER: usize = 8;
/// Bytes before the entries of a list of sample descriptions.
const DESCRIPTIONS: usize = 8;
/// Bytes before the boxes of a sample entry: of pictures, and of sound.
const VISUAL: usize = 78;
const SOUND: usize = 28;
/// Sample entries of pictures.
const PICTURES: [&Kind; 4] = [b"av01", b"vp09", b"avc1", b"hvc1"];
/// Tag of the descriptor of a decoder (ISO/IEC 14496-1, 7.2.6.6), and where in it, behind tag and length, its buffer and its rates stand.
const DECODER: u8 = 4;
const DECODER_RATES: std::ops::Range<usize> = 2..13;
/// Bytes that FFmpeg writes for the length of a descriptor.
const LENGTH: usize = 4;

/// Holds back what a muxer writes until the head is whole.
///
/// FFmpeg measures the bit rates of the first fragment and says them in the head. Players do not need them, and to a player whose
/// segments come one by one a head that differs is another that it has to fetch.
#[derive(Debug, Default)]
pub(crate) struct Head {
    held: BytesMut,
    released: bool,
}

impl Head {
    /// What may go out now that this was written.
    pub(crate) fn take(&mut self, written: Bytes) -> Bytes {
        if self.released {
            return written;
        }
        self.held.extend_from_slice(&written);
        match end_of_movie(&self.held) {
            Some(end) => {
                each_box(&mut self.held[..end], clear_rates);
                self.rest()
            }
            None => Bytes::new(),
        }
    }

    /// What is held back still.
    pub(crate) fn rest(&mut self) -> Bytes {
        self.released = true;
        self.held.split().freeze()
    }
}

/// Where the movie box ends, once it is there.
fn end_of_movie(bytes: &[u8]) -> Option<usize> {
    let mut offset = 0;
    loop {
        let (head, _) = bytes.get(offset..)?.split_first_chunk::<HEADER>()?;
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        let end = offset.checked_add(usize::try_from(length).ok().filter(|&length| length >= HEADER)?)?;
        if &head[4..] == b"moov" {
            return (end <= bytes.len()).then_some(end);
        }
        offset = end;
    }
}

/// Sets the bit rates in a box to zero, not known, wherever boxes of this kind have any.
fn clear_rates(kind: Kind, content: &mut [u8]) {
    match &kind {
        b"moov" | b"trak" | b"mdia" | b"minf" | b"stbl" => each_box(content, clear_rates),
        b"stsd" => each_box(content.get_mut(DESCRIPTIONS..).unwrap_or_default(), clear_entry),
        b"btrt" => content.fill(0),
        b"esds" => clear_descriptor(content),
        _ => {}
    }
}

/// The same of a sample entry.
fn clear_entry(kind: Kind, content: &mut [u8]) {
    let fields = if PICTURES.contains(&&kind) { VISUAL } else { SOUND };
    each_box(content.get_mut(fields..).unwrap_or_default(), clear_rates);
}

/// The same of the descriptor of a decoder, which stands first in that of its stream.
fn clear_descriptor(content: &mut [u8]) {
    let decoder = 4 + 1 + LENGTH + 3;
    let from = decoder + 1 + LENGTH;
    if content.get(decoder) == Some(&DECODER)
        && let Some(rates) = content.get_mut(from + DECODER_RATES.start..from + DECODER_RATES.end)
    {
        rates.fill(0);
    }
}

/// Calls `each` with letters and content of every box.
fn each_box(mut bytes: &mut [u8], each: fn(Kind, &mut [u8])) {
    while let Some((&[a, b, c, d, kind @ ..], _)) = bytes.split_first_chunk::<HEADER>() {
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let Some((this, rest)) = std::mem::take(&mut bytes).split_at_mut_checked(length) else { return };
        let Some(content) = this.get_mut(HEADER..) else { return };
        each(kind, content);
        bytes = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER + content.len()).unwrap();
        [&length.to_be_bytes()[..], kind, content].concat()
    }

    /// A movie with one sample entry, of sound, whose decoder's set-up has the letters of another box in it.
    fn movie() -> Vec<u8> {
        let decoder = [
            &[DECODER, 0x80, 0x80, 0x80, 25, 0x40, 0x15][..],
            &[9; 11],
            &[5, 0x80, 0x80, 0x80, 8],
            b"btrt\x07\x07\x07\x07",
        ];
        let stream = [&[0, 0, 0, 0, 3, 0x80, 0x80, 0x80, 38, 0, 1, 0][..], &decoder.concat()].concat();
        let entry = [vec![1; SOUND], boxed(b"esds", &stream), boxed(b"btrt", &[9; 12])].concat();
        let list = [vec![0; DESCRIPTIONS], boxed(b"mp4a", &entry)].concat();
        [b"stsd", b"stbl", b"minf", b"mdia", b"trak", b"moov"]
            .into_iter()
            .fold(list, |content, kind| boxed(kind, &content))
    }

    #[test]
    fn a_head_goes_out_whole_and_without_rates() {
        let written = [boxed(b"ftyp", b"iso5"), movie(), boxed(b"moof", &[7; 20])].concat();
        for cut in [1, 20, 60, written.len() - 28, written.len()] {
            let mut head = Head::default();
            let first = head.take(Bytes::copy_from_slice(&written[..cut]));
            assert!(first.is_empty() || cut >= written.len() - 28, "{cut}");
            let out = [first, head.take(Bytes::copy_from_slice(&written[cut..]))].concat();
            let wanted: Vec<u8> = written.iter().map(|&byte| if byte == 9 { 0 } else { byte }).collect();
            assert_eq!(out, wanted);
        }
    }

    #[test]
    fn what_is_no_head_is_held_to_the_end() {
        let mut head = Head::default();
        assert!(head.take(Bytes::from_static(b"\0\0\0\x04none and more of it")).is_empty());
        assert_eq!(head.rest(), "\0\0\0\x04none and more of it");
        assert_eq!(head.take(Bytes::from_static(b"rest")), "rest");
    }
}
