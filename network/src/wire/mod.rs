//! Bytes to checked messages and back: framing with a bound before every allocation, validation of every field.

mod announcement;
mod blob;
mod convert;
mod field;
mod frame;
mod message;
mod opening;
mod stream;

pub(crate) use message::{
    BlobFrame, ControlFrame, OpeningReply, QuoteReply, ReplyFrame, SourceChunk, Welcome, WireMessage,
    WorkHelloFrame, WorkOpen,
};
pub(crate) use stream::{MessageReader, MessageWriter, Remote, Wait, open_with, split};

use crate::transfer::MAX_CHUNK_BYTES;

/// Largest message that carries media: one chunk and its fields.
pub(crate) const MAX_CHUNK_MESSAGE: usize = MAX_CHUNK_BYTES + 64;
/// Largest first message of a stream: a payment, a ladder, fixed fields.
pub(crate) const MAX_OPEN_MESSAGE: usize = crate::segment::MAX_PAYMENT_BYTES + MAX_LADDER_BYTES + 512;
/// Largest message of the quote and opening protocols and of a work session's control stream.
pub(crate) const MAX_SMALL_MESSAGE: usize = 8 * 1024;
/// Largest encoded ladder: 16 entries of at most 120 bytes.
pub(crate) const MAX_LADDER_BYTES: usize = 2 * 1024;

/// Decodes the bytes as every message there is, and as what comes on a stream: messages with their lengths.
#[cfg(any(test, fuzzing))]
pub(crate) fn decode_all(bytes: &bytes::Bytes) {
    let mut stream = bytes::BytesMut::from(&bytes[..]);
    while let Ok(frame::Split::Message(message)) = frame::take(&mut stream, MAX_CHUNK_MESSAGE) {
        assert!(message.len() <= MAX_CHUNK_MESSAGE, "no message is longer than it may be");
    }
    let _ = crate::quote::QuoteRequest::decode(bytes.clone());
    let _ = QuoteReply::decode(bytes.clone());
    let _ = crate::opening::OpeningRequest::decode(bytes.clone());
    let _ = OpeningReply::decode(bytes.clone());
    let _ = crate::blob::BlobRequest::decode(bytes.clone());
    let _ = BlobFrame::decode(bytes.clone());
    if let Ok(header) = crate::segment::SegmentHeader::decode(bytes.clone()) {
        let _ = header.expected_pixels();
    }
    let _ = SourceChunk::decode(bytes.clone());
    let _ = ReplyFrame::decode(bytes.clone());
    let _ = WorkOpen::decode(bytes.clone());
    let _ = ControlFrame::decode(bytes.clone());
    let _ = crate::announcement::SignedAnnouncement::decode(bytes.clone());
    let _ = crate::records::read(&[], bytes);
}

#[cfg(test)]
mod tests;
