//! The file that a publisher's messages become: FLV, or Matroska for what "Enhanced RTMP" added, which FFmpeg's reader of FLV knows
//! only from version 6.1 on.

use bytes::{Bytes, BytesMut};

use super::RtmpError;
use super::chunk::kind;
use super::flv;
use super::matroska::Matroska;

/// Messages that are held until the streams are known; publishers name them in their first few.
const MAX_HELD: usize = 256;
/// Bytes of held messages after which nobody waits for more.
const MAX_HELD_BYTES: usize = 1 << 20;

/// An audio or video message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) kind: u8,
    /// Milliseconds, modulo 2^32.
    pub(super) timestamp: u32,
    pub(super) data: Bytes,
}

/// Writes one file. Its header says which streams there are, so the first messages wait until the first picture.
#[derive(Debug)]
pub(super) struct Writer {
    stage: Stage,
    out: BytesMut,
}

#[derive(Debug)]
enum Stage {
    Held { tags: Vec<Tag>, bytes: usize },
    Flv,
    Matroska(Matroska),
}

impl Writer {
    pub(super) fn new() -> Self {
        Self { stage: Stage::Held { tags: Vec::new(), bytes: 0 }, out: BytesMut::new() }
    }

    /// Adds a message.
    pub(super) fn tag(&mut self, tag: Tag) -> Result<(), RtmpError> {
        match &mut self.stage {
            Stage::Held { tags, bytes } => {
                *bytes += tag.data.len();
                let known = flv::is_picture(&tag);
                tags.push(tag);
                if known || tags.len() >= MAX_HELD || *bytes >= MAX_HELD_BYTES {
                    let tags = std::mem::take(tags);
                    self.begin(&tags)?;
                }
            }
            Stage::Flv => flv::put_tag(&mut self.out, &tag),
            Stage::Matroska(matroska) => matroska.put(&mut self.out, &tag)?,
        }
        Ok(())
    }

    /// The bytes to write now, if any.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        (!self.out.is_empty()).then(|| self.out.split().freeze())
    }

    fn begin(&mut self, tags: &[Tag]) -> Result<(), RtmpError> {
        if tags.iter().any(flv::is_enhanced) {
            let mut matroska = Matroska::begin(&mut self.out, tags)?;
            tags.iter().try_for_each(|tag| matroska.put(&mut self.out, tag))?;
            self.stage = Stage::Matroska(matroska);
        } else {
            let is_there = |kind| tags.iter().any(|tag| tag.kind == kind);
            flv::put_header(&mut self.out, is_there(kind::AUDIO), is_there(kind::VIDEO));
            tags.iter().for_each(|tag| flv::put_tag(&mut self.out, tag));
            self.stage = Stage::Flv;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(writer: &mut Writer, kind: u8, timestamp: u32, data: &'static [u8]) -> Option<Bytes> {
        writer.tag(Tag { kind, timestamp, data: data.into() }).unwrap();
        writer.take()
    }

    #[test]
    fn the_header_waits_for_the_first_picture_and_names_what_came_until_then() {
        let mut writer = Writer::new();
        assert_eq!(add(&mut writer, kind::VIDEO, 0, &[0x17, 0, 0, 0, 0]), None);
        assert_eq!(add(&mut writer, kind::AUDIO, 0, &[0xaf, 0, 0x12]), None);
        let written = add(&mut writer, kind::VIDEO, 40, &[0x17, 1, 0, 0, 0, 9]).unwrap();
        assert_eq!(written[..13], [b'F', b'L', b'V', 1, 5, 0, 0, 0, 9, 0, 0, 0, 0]);
        assert_eq!(written[13..24], [9, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(writer.take(), None);
        let next = add(&mut writer, kind::AUDIO, 0x0102_0304, &[0xaf, 1]).unwrap();
        assert_eq!(next[..], [8, 0, 0, 2, 2, 3, 4, 1, 0, 0, 0, 0xaf, 1, 0, 0, 0, 13]);
    }

    #[test]
    fn a_publisher_that_never_sends_a_picture_is_not_held_for_ever() {
        let mut writer = Writer::new();
        let written = (0..MAX_HELD as u32).filter_map(|at| add(&mut writer, kind::AUDIO, at, &[0xaf, 1]));
        assert_eq!(written.count(), 1);
    }

    #[test]
    fn what_enhanced_rtmp_added_goes_into_matroska() {
        let mut writer = Writer::new();
        assert_eq!(add(&mut writer, kind::VIDEO, 0, b"\x90hvc1record"), None);
        let written = add(&mut writer, kind::VIDEO, 0, b"\x91hvc1\x00\x00\x28picture").unwrap();
        assert_eq!(written[..4], [0x1a, 0x45, 0xdf, 0xa3]);
        assert!(written.ends_with(b"picture"));
    }
}
