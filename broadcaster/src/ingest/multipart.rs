//! The `multipart/mixed` answer to a pushed segment (RFC 2046), one part per rendition.

use bytes::{BufMut, Bytes, BytesMut};
use framemill_media::OutputFormat;

use crate::event::RenditionResult;
use crate::format::output_format;

/// Room for the headers of one part.
const HEADERS_HINT: usize = 320;

/// Header of the whole answer.
pub(super) fn content_type(boundary: &str) -> String {
    format!("multipart/mixed; boundary={boundary}")
}

/// The body: every rendition in ladder order between boundaries.
pub(super) fn body(boundary: &str, sequence: u64, renditions: &[RenditionResult]) -> Bytes {
    let size: usize = renditions.iter().map(|r| r.data.len() + HEADERS_HINT).sum();
    let mut out = BytesMut::with_capacity(size);
    for rendition in renditions {
        let name = &rendition.entry.name;
        let (extension, kind) = match output_format(rendition.entry.codec) {
            OutputFormat::FragmentedMp4 => ("mp4", "video/mp4"),
            _ => ("ts", "video/mp2t"),
        };
        let file = format!("{name}_{sequence}.{extension}");
        let headers = format!(
            "--{boundary}\r\nContent-Type: {kind}; name=\"{file}\"\r\nContent-Length: {}\r\n\
             Content-Disposition: attachment; filename=\"{file}\"\r\nRendition-Name: {name}\r\n\r\n",
            rendition.data.len()
        );
        out.put(headers.as_bytes());
        out.put(rendition.data.clone());
        out.put(&b"\r\n"[..]);
    }
    out.put(format!("--{boundary}--\r\n").as_bytes());
    out.freeze()
}

/// A boundary that no part contains: 128 random bits.
pub(super) fn boundary() -> String {
    format!("framemill-{:032x}", rand::random::<u128>())
}

#[cfg(test)]
mod tests {
    use alloy_primitives::B256;
    use framemill_network::{Codec, FrameRate, LadderEntry};

    use super::*;

    fn rendition(codec: Codec, data: &'static [u8]) -> RenditionResult {
        RenditionResult {
            entry: LadderEntry::from_height(360, FrameRate::SOURCE, 800_000, codec),
            data: Bytes::from_static(data),
            sha256: B256::ZERO,
            path: String::new(),
        }
    }

    #[test]
    fn a_part_carries_name_length_and_bytes() {
        let body = body("xyz", 7, &[rendition(Codec::H264, b"\x47data")]);
        assert_eq!(
            body,
            &b"--xyz\r\nContent-Type: video/mp2t; name=\"360p_7.ts\"\r\nContent-Length: 5\r\n\
               Content-Disposition: attachment; filename=\"360p_7.ts\"\r\nRendition-Name: 360p\r\n\r\n\x47data\r\n--xyz--\r\n"[..]
        );
    }

    #[test]
    fn av1_is_handed_out_whole_as_mp4() {
        let body = body("xyz", 7, &[rendition(Codec::Av1, b"ftyp moov moof mdat")]);
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(text.contains("Content-Type: video/mp4; name=\"360p-av1_7.mp4\"\r\nContent-Length: 19\r\n"));
        assert!(text.contains("\r\n\r\nftyp moov moof mdat\r\n"));
    }
}
