//! Length prefixes: an unsigned LEB128 integer of at most four bytes before every message.

use bytes::{Buf, Bytes, BytesMut};

use crate::error::ProtocolError;

/// Bytes of the longest legal prefix; enough for lengths that every bound here is far below.
pub(super) const MAX_PREFIX: usize = 4;

/// What a buffer holds at its start.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Split {
    /// A whole message, taken out of the buffer.
    Message(Bytes),
    /// At least so many bytes are missing.
    Need(usize),
}

/// Takes the next message out of a buffer. A length above `max` is refused as soon as its prefix is there.
pub(super) fn take(buffer: &mut BytesMut, max: usize) -> Result<Split, ProtocolError> {
    let mut length = 0_u64;
    for position in 0..=MAX_PREFIX {
        let Some(&byte) = buffer.get(position) else { return Ok(Split::Need(1)) };
        length |= u64::from(byte & 0x7f) << (7 * position);
        if byte & 0x80 == 0 {
            return take_body(buffer, position + 1, length, max);
        }
    }
    Err(ProtocolError::MessageTooLarge { length, max })
}

fn take_body(buffer: &mut BytesMut, prefix: usize, length: u64, max: usize) -> Result<Split, ProtocolError> {
    let bounded = usize::try_from(length).ok().filter(|length| *length <= max);
    let body = bounded.ok_or(ProtocolError::MessageTooLarge { length, max })?;
    let end = prefix + body;
    if buffer.len() < end {
        return Ok(Split::Need(end - buffer.len()));
    }
    buffer.advance(prefix);
    Ok(Split::Message(buffer.split_to(body).freeze()))
}

/// Appends the prefix of a message of `length` bytes.
pub(super) fn put_prefix(out: &mut Vec<u8>, length: usize) {
    let mut rest = length;
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_four_gibibytes_from_the_prefix_alone() {
        let mut buffer = BytesMut::from(&[0x80, 0x80, 0x80, 0x80, 0x10][..]);
        let capacity = buffer.capacity();
        let error = take(&mut buffer, 64 * 1024).unwrap_err();
        assert_eq!(error, ProtocolError::MessageTooLarge { length: 1 << 32, max: 64 * 1024 });
        assert_eq!(buffer.capacity(), capacity);
    }

    #[test]
    fn refuses_a_prefix_without_end() {
        let mut buffer = BytesMut::from(&[0xff; 5][..]);
        assert!(take(&mut buffer, usize::MAX).is_err());
    }

    #[test]
    fn asks_for_what_is_missing() {
        assert_eq!(take(&mut BytesMut::new(), 10), Ok(Split::Need(1)));
        assert_eq!(take(&mut BytesMut::from(&[5, 1, 2][..]), 10), Ok(Split::Need(3)));
    }

    proptest! {
        #[test]
        fn takes_out_what_was_put_in(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..5)) {
            let mut stream = Vec::new();
            for body in &bodies {
                put_prefix(&mut stream, body.len());
                stream.extend_from_slice(body);
            }
            let mut buffer = BytesMut::from(&stream[..]);
            for body in bodies {
                prop_assert_eq!(take(&mut buffer, 300).unwrap(), Split::Message(body.into()));
            }
            prop_assert_eq!(take(&mut buffer, 300).unwrap(), Split::Need(1));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), max in 0..100_usize) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Split::Message(message)) = take(&mut buffer, max) {
                prop_assert!(message.len() <= max);
            }
        }
    }
}
