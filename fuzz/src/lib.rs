//! What several targets make of their input: hostile media.

use std::sync::OnceLock;

use bytes::Bytes;
use framemill_media::{ClipSpec, MediaLimits, OutputFormat, Rational, generate_clip};

/// Width and height of the clips that are edited.
pub const SIZE: (u32, u32) = (64, 48);

/// The same clip as a transport stream and as fragments.
fn clips() -> &'static [Bytes; 2] {
    static CLIPS: OnceLock<[Bytes; 2]> = OnceLock::new();
    CLIPS.get_or_init(|| {
        [OutputFormat::MpegTs, OutputFormat::FragmentedMp4].map(|format| {
            let spec = ClipSpec {
                format,
                start_pts: 90_000,
                ..ClipSpec::new(SIZE.0, SIZE.1, Rational::new(10, 1), 1)
            };
            generate_clip(&spec, &MediaLimits::segment()).expect("a clip")
        })
    })
}

/// Bytes beyond which an edited clip is not repeated any more.
const MOST_BYTES: usize = 1 << 20;

/// The clip cut off, repeated or with bytes changed: each edit is an operation, a place, and a byte.
fn edited(clip: &Bytes, edits: &[u8]) -> Bytes {
    let mut bytes = clip.to_vec();
    for edit in edits.chunks_exact(4) {
        let at = usize::from(u16::from_be_bytes([edit[1], edit[2]]));
        match (edit[0] % 8, bytes.len()) {
            (_, 0) => break,
            (0, length) => bytes.truncate(at % length),
            (1, length) if length <= MOST_BYTES => bytes.extend_from_within(at % length..),
            (_, length) => bytes[at % length] = edit[3],
        }
    }
    bytes.into()
}

/// Reads an input as media: what follows a zero as it is, what follows another byte as edits of a clip.
pub fn media(data: &[u8]) -> Bytes {
    match data {
        [0, raw @ ..] => Bytes::copy_from_slice(raw),
        [kind, edits @ ..] => edited(&clips()[usize::from(kind % 2)], edits),
        [] => Bytes::new(),
    }
}
