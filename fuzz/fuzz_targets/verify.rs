//! The whole judgement of a hostile rendition: an honest one with bytes changed, cut or put in, decoded as deep as it gets.

#![no_main]

use std::sync::OnceLock;

use bytes::Bytes;
use framemill_media::{
    ClipSpec, DecoderConfig, Encoder, EncoderConfig, MediaLimits, Muxer, OutputFormat, Rational, Scaler,
    ScalerConfig, VideoCodec, VideoReader, generate_clip,
};
use framemill_network::ladder::{Codec, FrameRate, LadderEntry};
use framemill_verification::{Policy, SourceReference, verify};
use libfuzzer_sys::fuzz_target;

const PACKET: usize = 188;
const RATE: Rational = Rational::new(10, 1);
/// The codecs that are judged, each in its container, and sizes that their encoders take.
const RUNGS: [(Codec, u32, u32); 2] = [(Codec::H264, 64, 48), (Codec::Av1, 64, 64)];

struct Stage {
    source: SourceReference,
    entry: LadderEntry,
    honest: Bytes,
}

fn stage(rung: usize) -> &'static Stage {
    static STAGES: [OnceLock<Stage>; RUNGS.len()] = [const { OnceLock::new() }; RUNGS.len()];
    STAGES[rung].get_or_init(|| {
        let limits = MediaLimits::segment();
        let spec = ClipSpec { start_pts: 90_000, audio: None, ..ClipSpec::new(128, 96, RATE, 1) };
        let clip = generate_clip(&spec, &limits).expect("a clip");
        let (codec, width, height) = RUNGS[rung];
        let entry =
            LadderEntry { width, ..LadderEntry::from_height(height, FrameRate::SOURCE, 200_000, codec) };
        let honest = transcode(&clip, &entry, &limits);
        let source = SourceReference::new(clip, &limits).expect("a sound source");
        let report = verify(&source, &honest, &entry, &Policy::FULL, &[0; 32]).expect("a verdict");
        assert_eq!(report.reason(), None, "the stage is honest");
        Stage { source, entry, honest }
    })
}

fn transcode(clip: &Bytes, entry: &LadderEntry, limits: &MediaLimits) -> Bytes {
    let codec = if entry.codec == Codec::Av1 { VideoCodec::Av1 } else { VideoCodec::H264 };
    let format = OutputFormat::for_codec(&codec);
    let config =
        EncoderConfig { codec, ..EncoderConfig::h264(entry.width, entry.height, entry.bitrate.into(), RATE) };
    let mut scaler = Scaler::new(ScalerConfig::yuv420p(entry.width, entry.height), limits).expect("a scaler");
    let mut encoder = Encoder::new(&config).expect("an encoder");
    let mut builder = Muxer::builder(format).in_pieces();
    builder.add_stream(encoder.parameters()).expect("a stream");
    let mut muxer = builder.start().expect("a muxer");
    let mut reader = VideoReader::open(clip.clone(), &DecoderConfig::default(), limits).expect("a reader");
    while let Some(frame) = reader.next_frame().expect("a frame") {
        encoder.send(&scaler.scale(&frame).expect("a scaled frame")).expect("room");
    }
    encoder.flush().expect("the end");
    while let Some(packet) = encoder.receive().expect("a packet") {
        muxer.write(0, &packet).expect("written");
    }
    muxer.finish().expect("a rendition")
}

/// Reads an input as edits of the honest rendition: each is an operation, a place, and a byte or a length.
fn edited(honest: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut bytes = honest.to_vec();
    for edit in edits.chunks_exact(4) {
        let at = usize::from(u16::from_be_bytes([edit[1], edit[2]]));
        if bytes.is_empty() {
            break;
        }
        let at = at % bytes.len();
        let packet = at / PACKET * PACKET;
        match edit[0] % 6 {
            // Most edits change coded bytes, which only the decoder notices.
            0..=2 => bytes[at] = edit[3],
            3 => drop(bytes.drain(packet..(packet + PACKET).min(bytes.len()))),
            4 => {
                let again = bytes[packet..].iter().copied().take(PACKET).collect::<Vec<_>>();
                bytes.extend(again);
            }
            _ => bytes.truncate(at),
        }
    }
    bytes
}

fuzz_target!(|data: &[u8]| {
    let rung = data.first().map_or(0, |first| usize::from(*first) % RUNGS.len());
    let Stage { source, entry, honest } = stage(rung);
    let rendition = match data.split_first() {
        Some((0 | 1, raw)) => raw.to_vec(),
        Some((_, edits)) => edited(honest, edits),
        None => Vec::new(),
    };
    let changed = rendition != honest[..];
    let report = verify(source, &Bytes::from(rendition), entry, &Policy::FULL, &[0; 32]).expect("a verdict");
    assert!(changed || report.passed(), "the honest rendition is refused: {:?}", report.reason());
});
