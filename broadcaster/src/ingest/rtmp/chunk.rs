//! RTMP's chunk stream ("Adobe's Real Time Messaging Protocol" 1.0, section 5.3): messages cut into chunks and interleaved.

use std::collections::HashMap;

use bytes::{Buf, Bytes, BytesMut};

use super::RtmpError;

/// Chunk size before anybody sets another (section 5.4.1).
const FIRST_CHUNK_SIZE: usize = 128;
/// Largest chunk that may be agreed on.
const MAX_CHUNK_SIZE: u32 = 1 << 24;
/// Chunk streams that one publisher uses: about five; the state of each is kept.
const MAX_CHUNK_STREAMS: usize = 32;
/// Largest audio or video message: a key frame of a quarter of a second of 250 Mbit/s.
pub(super) const MAX_MEDIA_BYTES: usize = 8 << 20;
/// Largest message of any other kind.
pub(super) const MAX_COMMAND_BYTES: usize = 64 << 10;
/// Bytes of messages that are not whole yet, over all chunk streams.
const MAX_PARTIAL_BYTES: usize = 2 * MAX_MEDIA_BYTES;
/// A timestamp that does not fit three bytes is marked by this and follows in four.
const EXTENDED: u32 = 0xff_ffff;

/// Message types (sections 5.4 and 7.1).
pub(super) mod kind {
    pub(in super::super) const SET_CHUNK_SIZE: u8 = 1;
    pub(in super::super) const ABORT: u8 = 2;
    pub(in super::super) const ACKNOWLEDGEMENT: u8 = 3;
    pub(in super::super) const USER_CONTROL: u8 = 4;
    pub(in super::super) const WINDOW_SIZE: u8 = 5;
    pub(in super::super) const PEER_BANDWIDTH: u8 = 6;
    pub(in super::super) const AUDIO: u8 = 8;
    pub(in super::super) const VIDEO: u8 = 9;
    pub(in super::super) const AMF3_COMMAND: u8 = 17;
    pub(in super::super) const AMF0_COMMAND: u8 = 20;
}

/// A whole message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) kind: u8,
    /// Milliseconds.
    pub(super) timestamp: u32,
    pub(super) stream: u32,
    pub(super) data: Bytes,
}

/// What the last header of a chunk stream said, and what of its message is there.
#[derive(Debug, Default)]
struct Channel {
    timestamp: u32,
    delta: u32,
    length: usize,
    kind: u8,
    stream: u32,
    extended: bool,
    partial: BytesMut,
}

/// Puts messages together.
#[derive(Debug)]
pub(super) struct ChunkReader {
    chunk_size: usize,
    channels: HashMap<u32, Channel>,
    partial: usize,
}

impl ChunkReader {
    pub(super) fn new() -> Self {
        Self { chunk_size: FIRST_CHUNK_SIZE, channels: HashMap::new(), partial: 0 }
    }

    pub(super) fn set_chunk_size(&mut self, size: u32) -> Result<(), RtmpError> {
        if !(1..=MAX_CHUNK_SIZE).contains(&size) {
            return Err(RtmpError::Malformed("a chunk size out of its range"));
        }
        self.chunk_size = size as usize;
        Ok(())
    }

    /// Forgets what is there of a message that its sender gave up.
    pub(super) fn abort(&mut self, channel: u32) {
        if let Some(channel) = self.channels.get_mut(&channel) {
            // With its memory: what is counted is what is held.
            self.partial -= std::mem::take(&mut channel.partial).len();
        }
    }

    /// Takes one chunk from the front of `buffer`: `Some(None)` when its message is not whole yet, `None` when the chunk itself is
    /// not there in full.
    pub(super) fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Option<Message>>, RtmpError> {
        let Some(header) = Header::read(buffer, &self.channels)? else { return Ok(None) };
        if !self.channels.contains_key(&header.channel) && self.channels.len() >= MAX_CHUNK_STREAMS {
            return Err(RtmpError::Malformed("more chunk streams than a publisher needs"));
        }
        let begun = self.channels.get(&header.channel).map_or(0, |channel| channel.partial.len());
        let (length, kind) = (header.next.length, header.next.kind);
        let most = match kind {
            kind::AUDIO | kind::VIDEO => MAX_MEDIA_BYTES,
            _ => MAX_COMMAND_BYTES,
        };
        if length > most {
            return Err(RtmpError::TooLong { length, most });
        }
        let payload = (length - begun.min(length)).min(self.chunk_size);
        if buffer.len() < header.size + payload {
            return Ok(None);
        }
        if self.partial + payload > MAX_PARTIAL_BYTES {
            return Err(RtmpError::Malformed("too many messages begun at a time"));
        }
        buffer.advance(header.size);
        let data = buffer.split_to(payload);
        let channel = self.channels.entry(header.channel).or_default();
        let partial = std::mem::take(&mut channel.partial);
        *channel = Channel { partial, ..header.next };
        if channel.partial.is_empty() && payload == length {
            return Ok(Some(Some(channel.message(data.freeze()))));
        }
        channel.partial.extend_from_slice(&data);
        self.partial += payload;
        if channel.partial.len() < length {
            return Ok(Some(None));
        }
        let whole = std::mem::take(&mut channel.partial).freeze();
        self.partial -= whole.len();
        Ok(Some(Some(channel.message(whole))))
    }
}

#[cfg(any(test, fuzzing))]
impl ChunkReader {
    /// Whether what is held of messages is within its bounds, and is what was counted.
    pub(super) fn is_bounded(&self) -> bool {
        let held: usize = self.channels.values().map(|channel| channel.partial.len()).sum();
        held == self.partial && held <= MAX_PARTIAL_BYTES && self.channels.len() <= MAX_CHUNK_STREAMS
    }
}

impl Channel {
    fn message(&self, data: Bytes) -> Message {
        Message { kind: self.kind, timestamp: self.timestamp, stream: self.stream, data }
    }
}

/// A chunk's header, applied to what its chunk stream said before.
struct Header {
    channel: u32,
    /// Bytes of it.
    size: usize,
    next: Channel,
}

impl Header {
    /// The header at the front of `buffer`, which is not taken from it; `None` when it is not there in full.
    fn read(buffer: &[u8], channels: &HashMap<u32, Channel>) -> Result<Option<Self>, RtmpError> {
        let mut fields = Fields { bytes: buffer, at: 0 };
        Self::parse(&mut fields, channels).transpose()
    }

    /// `None` where bytes are missing.
    fn parse(fields: &mut Fields<'_>, channels: &HashMap<u32, Channel>) -> Option<Result<Self, RtmpError>> {
        let basic = fields.big_endian(1)?;
        let channel = match basic & 0x3f {
            0 => fields.big_endian(1)? + 64,
            1 => fields.little_endian(2)? + 64,
            small => small,
        };
        let format = basic >> 6;
        let last = channels.get(&channel);
        if last.is_none() && format != 0 {
            return Some(Err(RtmpError::Malformed("a chunk stream that begins without a full header")));
        }
        let none = Channel::default();
        let last = last.unwrap_or(&none);
        let mut next = Channel { partial: BytesMut::new(), ..*last };
        let mut stamp = if format < 3 { fields.big_endian(3)? } else { EXTENDED };
        if format < 2 {
            next.length = fields.big_endian(3)? as usize;
            next.kind = fields.big_endian(1)? as u8;
        }
        if format == 0 {
            next.stream = fields.little_endian(4)?;
        }
        next.extended = if format < 3 { stamp == EXTENDED } else { last.extended };
        if next.extended {
            stamp = fields.big_endian(4)?;
        }
        // A header within a message repeats, and moves no clock.
        if last.partial.is_empty() {
            next.delta = match format {
                0 => 0,
                1 | 2 => stamp,
                _ => last.delta,
            };
            next.timestamp = if format == 0 { stamp } else { last.timestamp.wrapping_add(next.delta) };
        } else if format < 3 {
            return Some(Err(RtmpError::Malformed("a message that begins within another")));
        }
        Some(Ok(Self { channel, size: fields.at, next }))
    }
}

/// Numbers from the front of some bytes.
struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Fields<'_> {
    fn take(&mut self, count: usize) -> Option<&[u8]> {
        let taken = self.bytes.get(self.at..self.at + count)?;
        self.at += count;
        Some(taken)
    }

    fn big_endian(&mut self, count: usize) -> Option<u32> {
        Some(self.take(count)?.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    fn little_endian(&mut self, count: usize) -> Option<u32> {
        Some(self.take(count)?.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }
}

/// Appends a message in chunks of the first chunk size, which holds for what we send.
pub(super) fn write(out: &mut Vec<u8>, channel: u8, message: &Message) {
    out.push(channel & 0x3f);
    out.extend(&message.timestamp.min(EXTENDED - 1).to_be_bytes()[1..]);
    out.extend(&(message.data.len() as u32).to_be_bytes()[1..]);
    out.push(message.kind);
    out.extend(message.stream.to_le_bytes());
    for (number, piece) in message.data.chunks(FIRST_CHUNK_SIZE).enumerate() {
        if number > 0 {
            out.push(0xc0 | channel & 0x3f);
        }
        out.extend(piece);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(kind: u8, timestamp: u32, data: Vec<u8>) -> Message {
        Message { kind, timestamp, stream: 1, data: data.into() }
    }

    fn read_all(reader: &mut ChunkReader, bytes: &[u8], step: usize) -> Result<Vec<Message>, RtmpError> {
        let (mut buffer, mut messages) = (BytesMut::new(), Vec::new());
        for piece in bytes.chunks(step.max(1)) {
            buffer.extend_from_slice(piece);
            while let Some(chunk) = reader.next(&mut buffer)? {
                messages.extend(chunk);
            }
        }
        Ok(messages)
    }

    proptest! {
        #[test]
        fn messages_come_out_as_they_were_written_however_they_arrive(
            messages in prop::collection::vec((any::<bool>(), 0..EXTENDED - 1, prop::collection::vec(any::<u8>(), 0..600)), 0..8),
            step in 1..400_usize,
        ) {
            let messages: Vec<_> = messages
                .into_iter()
                .map(|(audio, at, data)| message(if audio { kind::AUDIO } else { kind::VIDEO }, at, data))
                .collect();
            let mut bytes = Vec::new();
            messages.iter().for_each(|message| write(&mut bytes, 4, message));
            prop_assert_eq!(read_all(&mut ChunkReader::new(), &bytes, step).unwrap(), messages);
        }

        #[test]
        fn any_bytes_end_in_messages_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..2_000), step in 1..300_usize) {
            let mut reader = ChunkReader::new();
            let _ = read_all(&mut reader, &bytes, step);
            prop_assert!(reader.is_bounded());
        }
    }

    #[test]
    fn short_headers_go_on_from_the_last_one() {
        let mut bytes = vec![0x04, 0, 0, 10, 0, 0, 1, kind::AUDIO, 1, 0, 0, 0, b'a'];
        // 20 ms later and of another length; 5 ms after that; and as much later again.
        bytes.extend([0x44, 0, 0, 20, 0, 0, 2, kind::AUDIO, b'b', b'b']);
        bytes.extend([0x84, 0, 0, 5, b'c', b'c']);
        bytes.extend([0xc4, b'd', b'd']);
        let read = read_all(&mut ChunkReader::new(), &bytes, 1).unwrap();
        let told: Vec<_> = read.iter().map(|message| (message.timestamp, &message.data[..])).collect();
        assert_eq!(told, [(10, &b"a"[..]), (30, b"bb"), (35, b"cc"), (40, b"dd")]);
    }

    #[test]
    fn a_timestamp_beyond_three_bytes_follows_in_four_in_every_chunk() {
        let mut reader = ChunkReader::new();
        reader.set_chunk_size(2).unwrap();
        let mut bytes =
            vec![0x04, 0xff, 0xff, 0xff, 0, 0, 3, kind::VIDEO, 1, 0, 0, 0, 1, 0, 0, 7, b'a', b'b'];
        bytes.extend([0xc4, 1, 0, 0, 7, b'c']);
        let read = read_all(&mut reader, &bytes, 3).unwrap();
        assert_eq!(read, [message(kind::VIDEO, 0x0100_0007, b"abc".to_vec())]);
    }

    #[test]
    fn audio_between_the_chunks_of_a_picture_is_told_apart() {
        let mut reader = ChunkReader::new();
        reader.set_chunk_size(2).unwrap();
        let mut bytes = vec![0x06, 0, 0, 1, 0, 0, 3, kind::VIDEO, 1, 0, 0, 0, b'a', b'b'];
        bytes.extend([0x04, 0, 0, 2, 0, 0, 1, kind::AUDIO, 1, 0, 0, 0, b'x']);
        bytes.extend([0xc6, b'c']);
        let read = read_all(&mut reader, &bytes, 100).unwrap();
        assert_eq!(read, [message(kind::AUDIO, 2, b"x".to_vec()), message(kind::VIDEO, 1, b"abc".to_vec())]);
    }

    #[test]
    fn what_is_longer_than_its_kind_may_be_is_refused_from_its_header() {
        let header = |kind| vec![0x04, 0, 0, 0, 0x7f, 0xff, 0xff, kind, 0, 0, 0, 0];
        for (kind, most) in [(kind::AMF0_COMMAND, MAX_COMMAND_BYTES), (kind::VIDEO, MAX_MEDIA_BYTES)] {
            let mut bytes = header(kind);
            if kind == kind::VIDEO {
                bytes[4] = 0xff;
            }
            let error = read_all(&mut ChunkReader::new(), &bytes, 100).unwrap_err();
            assert!(matches!(error, RtmpError::TooLong { most: bound, .. } if bound == most), "{error}");
        }
    }

    #[test]
    fn a_publisher_cannot_open_chunk_streams_without_end() {
        let open = |channel: u8| [0x00, channel, 0, 0, 0, 0, 0, 2, kind::AUDIO, 0, 0, 0, 0, b'a', b'b'];
        let bytes: Vec<u8> = (0..200).flat_map(open).collect();
        assert!(read_all(&mut ChunkReader::new(), &bytes, 1_000).is_err());
    }
}
