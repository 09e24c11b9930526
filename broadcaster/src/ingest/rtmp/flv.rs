//! FLV around the audio and video messages of RTMP, which are FLV tags without their headers ("Adobe Flash Video File Format
//! Specification" 10.1, annex E).

use bytes::{BufMut, Bytes, BytesMut};

use super::chunk::kind;

/// Tags that are held until the streams are known; publishers name them in their first few.
const MAX_HELD: usize = 256;
/// Bytes of held tags after which nobody waits for more.
const MAX_HELD_BYTES: usize = 1 << 20;

/// Writes one FLV file. Its header says which streams there are, so the first tags wait until the first picture.
#[derive(Debug, Default)]
pub(super) struct FlvWriter {
    started: bool,
    held: BytesMut,
    tags: usize,
    audio: bool,
    video: bool,
    /// There was a coded picture.
    picture: bool,
}

impl FlvWriter {
    /// Adds a message's data.
    pub(super) fn tag(&mut self, kind: u8, timestamp: u32, data: &[u8]) {
        self.audio |= kind == kind::AUDIO;
        self.video |= kind == kind::VIDEO;
        self.picture |= kind == kind::VIDEO && is_picture(data);
        put_tag(&mut self.held, kind, timestamp, data);
        self.tags += 1;
    }

    /// The bytes to write now, if any.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        let waits = !self.picture && self.tags < MAX_HELD && self.held.len() < MAX_HELD_BYTES;
        if self.held.is_empty() || waits && !self.started {
            return None;
        }
        let tags = self.held.split().freeze();
        if std::mem::replace(&mut self.started, true) {
            return Some(tags);
        }
        Some([&self.header()[..], &tags[..]].concat().into())
    }

    fn header(&self) -> [u8; 13] {
        let flags = u8::from(self.audio) << 2 | u8::from(self.video);
        [b'F', b'L', b'V', 1, flags, 0, 0, 0, 9, 0, 0, 0, 0]
    }
}

fn put_tag(out: &mut BytesMut, kind: u8, timestamp: u32, data: &[u8]) {
    // A message has less than 2^24 bytes.
    let length = data.len() as u32;
    let begin = out.len();
    out.put_u8(kind);
    out.put_uint(length.into(), 3);
    out.put_uint((timestamp & 0xff_ffff).into(), 3);
    out.put_u8((timestamp >> 24) as u8);
    out.put_uint(0, 3);
    out.put_slice(data);
    out.put_u32((out.len() - begin) as u32);
}

/// Whether a video message is coded picture and not a codec's header; by the legacy and the enhanced layout ("Enhanced RTMP" v1).
fn is_picture(data: &[u8]) -> bool {
    match data {
        [first, ..] if first & 0x80 != 0 => matches!(first & 0x0f, 1 | 3),
        // H.264 and HEVC have headers of their own, marked by the second byte; older codecs have none.
        [first, second, ..] if matches!(first & 0x0f, 7 | 12) => *second == 1,
        [_, ..] => true,
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_waits_for_the_first_picture_and_names_what_came_until_then() {
        let mut writer = FlvWriter::default();
        writer.tag(kind::VIDEO, 0, &[0x17, 0, 0, 0, 0]);
        assert_eq!(writer.take(), None);
        writer.tag(kind::AUDIO, 0, &[0xaf, 0, 0x12]);
        writer.tag(kind::VIDEO, 40, &[0x17, 1, 0, 0, 0, 9]);
        let written = writer.take().unwrap();
        assert_eq!(written[..13], [b'F', b'L', b'V', 1, 5, 0, 0, 0, 9, 0, 0, 0, 0]);
        assert_eq!(written[13..24], [9, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(writer.take(), None);
        writer.tag(kind::AUDIO, 0x0102_0304, &[0xaf, 1]);
        let next = writer.take().unwrap();
        assert_eq!(next[..], [8, 0, 0, 2, 2, 3, 4, 1, 0, 0, 0, 0xaf, 1, 0, 0, 0, 13]);
    }

    #[test]
    fn a_publisher_that_never_sends_a_picture_is_not_held_for_ever() {
        let mut writer = FlvWriter::default();
        let mut written = 0;
        for at in 0..MAX_HELD as u32 {
            writer.tag(kind::AUDIO, at, &[0xaf, 1]);
            written += usize::from(writer.take().is_some());
        }
        assert_eq!(written, 1);
    }

    #[test]
    fn pictures_are_told_from_headers_in_both_layouts() {
        assert!(
            is_picture(&[0x27, 1])
                && is_picture(&[0x91, b'h'])
                && is_picture(&[0x93, b'h'])
                && is_picture(&[0x22])
        );
        assert!(!is_picture(&[0x17, 0]) && !is_picture(&[0x90, b'h']) && !is_picture(&[]));
    }
}
