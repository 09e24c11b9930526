//! FLV around the audio and video messages of RTMP, which are FLV tags without their headers ("Adobe Flash Video File Format
//! Specification" 10.1, annex E).

use bytes::{BufMut, BytesMut};

use super::chunk::kind;
use super::container::Tag;

/// The file's header, which says which streams there are.
pub(super) fn put_header(out: &mut BytesMut, audio: bool, video: bool) {
    let flags = u8::from(audio) << 2 | u8::from(video);
    out.put_slice(&[b'F', b'L', b'V', 1, flags, 0, 0, 0, 9, 0, 0, 0, 0]);
}

pub(super) fn put_tag(out: &mut BytesMut, tag: &Tag) {
    // A message has less than 2^24 bytes.
    let length = tag.data.len() as u32;
    let begin = out.len();
    out.put_u8(tag.kind);
    out.put_uint(length.into(), 3);
    out.put_uint((tag.timestamp & 0xff_ffff).into(), 3);
    out.put_u8((tag.timestamp >> 24) as u8);
    out.put_uint(0, 3);
    out.put_slice(&tag.data);
    out.put_u32((out.len() - begin) as u32);
}

/// Whether a message is of the layout of "Enhanced RTMP".
pub(super) fn is_enhanced(tag: &Tag) -> bool {
    match (tag.kind, tag.data.first()) {
        (kind::VIDEO, Some(first)) => first & 0x80 != 0,
        // In the place of a sound format.
        (kind::AUDIO, Some(first)) => first >> 4 == 9,
        _ => false,
    }
}

/// Whether a message is coded picture and not a codec's header; by the legacy and the enhanced layout ("Enhanced RTMP" v1).
pub(super) fn is_picture(tag: &Tag) -> bool {
    match tag.data[..] {
        _ if tag.kind != kind::VIDEO => false,
        [first, ..] if first & 0x80 != 0 => matches!(first & 0x0f, 1 | 3),
        // H.264 and HEVC have headers of their own, marked by the second byte; older codecs have none.
        [first, second, ..] if matches!(first & 0x0f, 7 | 12) => second == 1,
        [_, ..] => true,
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn video(data: &'static [u8]) -> Tag {
        Tag { kind: kind::VIDEO, timestamp: 0, data: data.into() }
    }

    #[test]
    fn pictures_are_told_from_headers_in_both_layouts() {
        for picture in [&[0x27, 1][..], &[0x91, b'h'], &[0x93, b'h'], &[0x22]] {
            assert!(is_picture(&video(picture)), "{picture:?}");
        }
        for header in [&[0x17, 0][..], &[0x90, b'h'], &[]] {
            assert!(!is_picture(&video(header)), "{header:?}");
        }
        assert!(!is_picture(&Tag { kind: kind::AUDIO, ..video(&[0x22]) }));
    }

    #[test]
    fn the_enhanced_layout_is_told_by_the_first_byte() {
        let audio = |data: &'static [u8]| Tag { kind: kind::AUDIO, ..video(data) };
        assert!(is_enhanced(&video(&[0x90])) && is_enhanced(&audio(&[0x91])));
        assert!(!is_enhanced(&video(&[0x17])) && !is_enhanced(&audio(&[0xaf])) && !is_enhanced(&video(&[])));
    }
}
