//! The head of a fragmented MP4: `ftyp` and `moov`, without what differs from segment to segment of one stream.

use bytes::{Bytes, BytesMut};

/// Bytes of a box's length and letters.
const HEADER: usize = 8;
/// Bytes of a bit rate box behind its letters: size of a buffer, highest and average rate.
const RATES: usize = 12;
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
                clear_rates(&mut self.held[..end]);
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

/// Sets every bit rate to zero: not known.
fn clear_rates(head: &mut [u8]) {
    for at in places(head, b"btrt") {
        if let Some(rates) = head.get_mut(at..at + RATES) {
            rates.fill(0);
        }
    }
    for at in places(head, b"esds") {
        // Version and flags, the descriptor of the stream, and in it first that of the decoder.
        let decoder = at + 4 + 1 + LENGTH + 3;
        let from = decoder + 1 + LENGTH;
        if head.get(decoder) == Some(&DECODER)
            && let Some(rates) = head.get_mut(from + DECODER_RATES.start..from + DECODER_RATES.end)
        {
            rates.fill(0);
        }
    }
}

/// Where the contents of boxes with these letters begin.
fn places(head: &[u8], letters: &[u8; 4]) -> Vec<usize> {
    let found = head.windows(letters.len()).enumerate().filter(|(_, bytes)| bytes == letters);
    found.map(|(at, _)| at + letters.len()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER + content.len()).unwrap();
        [&length.to_be_bytes()[..], kind, content].concat()
    }

    #[test]
    fn a_head_goes_out_whole_and_without_rates() {
        let rates = boxed(b"btrt", &[7; RATES]);
        let decoder =
            [&[DECODER, 0x80, 0x80, 0x80, 17, 0x40, 0x15][..], &[9; 11], &[5, 0x80, 0x80, 0x80, 2, 1, 2]];
        let stream = [&[0, 0, 0, 0, 3, 0x80, 0x80, 0x80, 30, 0, 1, 0][..], &decoder.concat()].concat();
        let movie = boxed(b"moov", &[rates, boxed(b"esds", &stream)].concat());
        let written = [boxed(b"ftyp", b"iso5"), movie, boxed(b"moof", &[7; 20])].concat();
        for cut in [1, 20, 60, written.len() - 28, written.len()] {
            let mut head = Head::default();
            let first = head.take(Bytes::copy_from_slice(&written[..cut]));
            assert!(first.is_empty() || cut >= written.len() - 28, "{cut}");
            let out = [first, head.take(Bytes::copy_from_slice(&written[cut..]))].concat();
            assert_eq!(out.len(), written.len());
            assert!(out.windows(RATES).any(|bytes| bytes == [0; RATES]) && !out.contains(&9));
            assert!(out.ends_with(&[7; 20]), "what follows stays");
            assert!(out.windows(4).any(|bytes| bytes == [0x40, 0x15, 0, 0]), "the decoder's kind stays");
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
