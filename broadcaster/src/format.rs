//! What renditions of a codec travel in.

use framemill_media::{OutputFormat, VideoCodec};
use framemill_network::ladder::Codec;

/// The codec that a ladder asks for, as `media` calls it.
pub(crate) fn video_codec(codec: Codec) -> VideoCodec {
    match codec {
        Codec::H264 => VideoCodec::H264,
        Codec::Hevc => VideoCodec::Hevc,
        Codec::Av1 => VideoCodec::Av1,
        other => VideoCodec::Other(other.to_string()),
    }
}

/// The container of a rendition.
pub(crate) fn output_format(codec: Codec) -> OutputFormat {
    OutputFormat::for_codec(&video_codec(codec))
}
