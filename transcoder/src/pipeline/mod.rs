//! What every engine does with a segment: one decode, a scaler and an encoder for each rung in parallel, output while it is encoded.
//!
//! Where pictures lie and who works on them is a [`Backend`]'s business.

mod job;
mod plan;
mod rung;
mod running;
mod source;

use framemill_media::{
    Decoder, Encoder, EncoderConfig, MediaError, MediaLimits, Muxer, OutputFormat, Picture, VideoCodec,
};

pub(crate) use job::Work;
pub(crate) use plan::plan;
pub(crate) use rung::media_codec;
pub(crate) use running::Running;
pub(crate) use source::Source;

use framemill_network::ladder::Ladder;

use crate::{Capabilities, TranscodeError};

/// Decoder, scaler and encoders of an engine.
pub(crate) trait Backend: Sync {
    /// Name of the engine.
    const NAME: &'static str;
    /// Whether encoders outlive a segment.
    const KEEPS_ENCODERS: bool;
    /// A picture, where this backend keeps it.
    type Picture: Picture + Sync;
    /// Makes pictures of one size.
    type Scaler;

    /// A decoder of the source that fails on the first damage it sees.
    fn decoder(
        &self,
        source: &Source,
        limits: &MediaLimits,
    ) -> Result<Decoder<Self::Picture>, TranscodeError>;

    /// A scaler for the rung with this index, to this size.
    fn scaler(&self, rung: u32, size: (u32, u32), limits: &MediaLimits) -> Result<Self::Scaler, MediaError>;

    /// The picture in the scaler's size.
    fn scale(scaler: &mut Self::Scaler, picture: &Self::Picture) -> Result<Self::Picture, MediaError>;

    /// An encoder for the rung with this index, whose first picture is given.
    fn encoder(
        &self,
        rung: u32,
        config: &EncoderConfig,
        first: &Self::Picture,
    ) -> Result<Encoder<Self::Picture>, MediaError>;

    /// Takes a rung's scaler and encoder back after its last packet came out.
    fn keep(&self, rung: u32, scaler: Self::Scaler, encoder: Encoder<Self::Picture>);

    /// A picture was decoded.
    fn decoded(&self) {}

    /// A picture was encoded.
    fn encoded(&self) {}
}

/// Whether what an encoder of this codec makes can be carried by the FFmpeg at hand in what its renditions travel in.
pub(crate) fn can_be_carried<P: Picture>(codec: &VideoCodec, encoder: &Encoder<P>) -> bool {
    Muxer::builder(OutputFormat::for_codec(codec)).add_stream(encoder.parameters()).is_ok()
}

/// An error unless an engine of these capabilities can make every rung.
pub(crate) fn check_ladder(ladder: &Ladder, capabilities: &Capabilities) -> Result<(), TranscodeError> {
    for entry in ladder {
        let unsupported =
            |reason: String| Err(TranscodeError::Unsupported { rendition: entry.name.clone(), reason });
        if !entry.is_concrete() {
            let size = format!("{}x{}", entry.width, entry.height);
            return unsupported(format!("size {size} is not two even sides; resolve the ladder first"));
        }
        if !capabilities.codecs.contains(&media_codec(entry.codec)) {
            return unsupported(format!("codec {} cannot be encoded here; ask for h264", entry.codec));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_a_codec_that_an_engine_does_not_have() {
        let having = |codecs: &[VideoCodec]| Capabilities {
            codecs: codecs.to_vec(),
            device: "none".into(),
            max_sessions: None,
        };
        let ladder: Ladder = r#"[{"name":"a","width":256,"height":144,"bitrate":150000,"codec":"av1"}]"#
            .parse()
            .expect("a ladder");
        let refused = check_ladder(&ladder, &having(&[VideoCodec::H264, VideoCodec::Hevc]));
        assert!(matches!(refused, Err(TranscodeError::Unsupported { rendition, .. }) if rendition == "a"));
        assert!(check_ladder(&ladder, &having(&[VideoCodec::Av1])).is_ok());
    }
}
