//! Judges a rendition file against its source file: `verify SOURCE RENDITION BITRATE`.
//!
//! Both are one segment. The ladder entry is taken from the rendition's own size, so this shows what the picture checks
//! say, not whether the right size was delivered.

use bytes::Bytes;
use framemill_media::{MediaLimits, probe};
use framemill_network::ladder::{Codec, FrameRate, LadderEntry};
use framemill_verification::{Policy, SourceReference, verify};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(source), Some(rendition), Some(bitrate)) = (args.next(), args.next(), args.next()) else {
        return Err("usage: verify SOURCE RENDITION BITRATE".into());
    };
    let limits = MediaLimits::segment();
    let source = SourceReference::new(Bytes::from(std::fs::read(source)?), &limits)?;
    let rendition = Bytes::from(std::fs::read(rendition)?);
    let probe = probe(&rendition, &limits)?;
    let video = probe.require_video()?;
    let (height, bitrate) = (video.height, bitrate.parse()?);
    let codec: Codec = video.codec.name().parse()?;
    let entry = LadderEntry {
        width: video.width,
        ..LadderEntry::from_height(height, FrameRate::SOURCE, bitrate, codec)
    };
    let report = verify(&source, &rendition, &entry, &Policy::FULL, &[0; 32])?;
    println!("{:#}", report.to_json());
    std::process::exit(i32::from(!report.passed()));
}
