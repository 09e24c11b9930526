//! Where the clips lie, and what many tests do.

use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use framemill_media::{
    ClipSpec, DecoderConfig, Demuxer, Encoder, EncoderConfig, Frame, MediaError, MediaLimits, Muxer,
    OutputFormat, Packet, Rational, Scaler, ScalerConfig, Segmenter, SegmenterConfig, SourceSegment, Ticks,
    VideoReader, generate_clip, repair_timestamps,
};

pub(crate) const THIRTY: Rational = Rational::new(30, 1);

/// A real clip, or `None` on a machine that has none.
pub(crate) fn clip(name: &str) -> Option<Bytes> {
    let folder = std::env::var_os("FRAMEMILL_MEDIA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/media"), PathBuf::from);
    match std::fs::read(folder.join(name)) {
        Ok(bytes) => Some(bytes.into()),
        Err(_) => {
            eprintln!("skipped: no clip {name}; set FRAMEMILL_MEDIA to the folder of clips");
            None
        }
    }
}

pub(crate) fn limits() -> MediaLimits {
    MediaLimits::default()
}

/// Four seconds of a small synthetic clip, unless changed.
pub(crate) fn synthetic(change: impl FnOnce(&mut ClipSpec)) -> Bytes {
    let mut spec = ClipSpec::new(320, 180, THIRTY, 4);
    spec.bitrate = 300_000;
    change(&mut spec);
    generate_clip(&spec, &limits()).unwrap()
}

pub(crate) fn segments(data: Bytes) -> Result<Vec<SourceSegment>, MediaError> {
    Segmenter::from_bytes(data, SegmenterConfig::default(), &limits())?.collect()
}

pub(crate) fn frames(data: Bytes) -> Result<Vec<Frame>, MediaError> {
    VideoReader::open(data, &DecoderConfig::default(), &limits())?.collect()
}

pub(crate) fn frame_times(data: Bytes) -> Vec<Ticks> {
    frames(data).unwrap().iter().map(|frame| frame.pts().unwrap()).collect()
}

/// All packets of an input by stream.
pub(crate) fn packets(data: Bytes) -> Vec<Vec<Packet>> {
    let mut demuxer = Demuxer::from_bytes(data, &limits()).unwrap();
    let mut lanes = vec![Vec::new(); demuxer.probe().streams];
    while let Some(packet) = demuxer.next_packet().unwrap() {
        lanes[packet.stream()].push(packet);
    }
    lanes
}

/// A segment as a worker makes it: video scaled and encoded, audio passed through.
pub(crate) fn rendition(source: &Bytes, width: u32, height: u32) -> Bytes {
    let mut demuxer = Demuxer::from_bytes(source.clone(), &limits()).unwrap();
    let video = demuxer.probe().require_video().unwrap().clone();
    let mut decoder = demuxer.decoder(&DecoderConfig::default()).unwrap();
    let mut scaler = Scaler::new(ScalerConfig::yuv420p(width, height), &limits()).unwrap();
    let config = EncoderConfig { color: video.color, ..EncoderConfig::h264(width, height, 400_000, THIRTY) };
    let mut encoder = Encoder::new(&config).unwrap();
    let mut builder = Muxer::builder(OutputFormat::MpegTs);
    builder.add_stream(encoder.parameters()).unwrap();
    let tracks: Vec<usize> = demuxer.probe().audio.iter().map(|audio| audio.stream).collect();
    for &track in &tracks {
        builder.add_stream(&demuxer.parameters(track).unwrap()).unwrap();
    }
    let mut muxer = builder.start().unwrap();
    let mut audio: Vec<Vec<Packet>> = vec![Vec::new(); tracks.len()];
    while let Some(packet) = demuxer.next_packet().unwrap() {
        match tracks.iter().position(|&track| track == packet.stream()) {
            Some(place) => audio[place].push(packet),
            None => decoder.send(&packet).unwrap(),
        }
    }
    for (place, lane) in audio.iter_mut().enumerate() {
        repair_timestamps(lane).unwrap();
        lane.iter().for_each(|packet| muxer.write(place + 1, packet).unwrap());
    }
    let mut bytes = BytesMut::new();
    decoder.flush().unwrap();
    while let Some(frame) = decoder.receive().unwrap() {
        encoder.send(&scaler.scale(&frame).unwrap()).unwrap();
        write_ready(&mut encoder, &mut muxer);
        bytes.extend_from_slice(&muxer.drain());
    }
    encoder.flush().unwrap();
    write_ready(&mut encoder, &mut muxer);
    bytes.extend_from_slice(&muxer.finish().unwrap());
    bytes.freeze()
}

fn write_ready(encoder: &mut Encoder, muxer: &mut Muxer) {
    while let Some(packet) = encoder.receive().unwrap() {
        muxer.write(0, &packet).unwrap();
    }
}

/// A clip made by the `ffmpeg` command line, in MPEG-TS; `None` where it is not installed.
pub(crate) fn ffmpeg(arguments: &[&str]) -> Option<Bytes> {
    let run = std::process::Command::new("ffmpeg")
        .args(["-v", "error"])
        .args(arguments)
        .args(["-f", "mpegts", "pipe:1"])
        .output();
    let Ok(run) = run else {
        eprintln!("skipped: no ffmpeg command line");
        return None;
    };
    assert!(run.status.success(), "ffmpeg {arguments:?}: {}", String::from_utf8_lossy(&run.stderr));
    Some(run.stdout.into())
}
