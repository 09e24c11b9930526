//! Makes sources and renditions with the project's own decoder, scaler, encoder and muxer.

use std::io::Write;
use std::process::{Command, Stdio};

use bytes::Bytes;
use framemill_media::time::onto_the_clock;
use framemill_media::{
    ClipSpec, ColorInfo, DecoderConfig, Demuxer, Encoder, EncoderConfig, Frame, MediaLimits, Muxer,
    OutputFormat, Packet, Rational, ScaleFilter, Scaler, ScalerConfig, StreamParameters, VideoCodec,
    VideoReader, generate_clip, repair_timestamps,
};
use framemill_network::ladder::{Codec, FrameGate, FrameRate, LadderEntry};

use crate::picture::Pic;

/// How a rendition is encoded.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    pub(crate) preset: &'static str,
    pub(crate) filter: ScaleFilter,
    pub(crate) rate_percent: u64,
    pub(crate) b_frames: Option<u32>,
    pub(crate) zero_latency: bool,
    pub(crate) gop: u32,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            preset: "veryfast",
            filter: ScaleFilter::Bicubic,
            rate_percent: 100,
            b_frames: None,
            zero_latency: false,
            gop: 0,
        }
    }
}

/// Encodes of one clip that an honest transcoder may make; the plain one first.
pub(crate) fn recipes() -> Vec<Recipe> {
    let plain = Recipe::default;
    vec![
        plain(),
        Recipe { preset: "ultrafast", ..plain() },
        Recipe { rate_percent: 75, ..plain() },
        Recipe { rate_percent: 50, preset: "superfast", ..plain() },
        Recipe { zero_latency: true, b_frames: Some(0), ..plain() },
        Recipe { gop: 15, filter: ScaleFilter::Bilinear, ..plain() },
        Recipe { filter: ScaleFilter::Area, ..plain() },
        Recipe { filter: ScaleFilter::Lanczos, ..plain() },
        Recipe { preset: "slow", ..plain() },
    ]
}

/// A concrete ladder entry.
pub(crate) fn entry(width: u32, height: u32, bitrate: u32) -> LadderEntry {
    LadderEntry {
        width,
        name: "rung".into(),
        ..LadderEntry::from_height(height, FrameRate::SOURCE, bitrate, Codec::H264)
    }
}

/// Pictures with their times.
pub(crate) type Timed = Vec<(i64, Pic)>;

/// A source clip that was decoded for tampering.
#[derive(Clone)]
pub(crate) struct Clip {
    pub(crate) name: String,
    pub(crate) data: Bytes,
    pub(crate) rate: Rational,
}

/// The clip's frames at the entry's size and rate, as an honest transcoder scales them.
pub(crate) fn scaled(clip: &Clip, entry: &LadderEntry, filter: ScaleFilter) -> Vec<Frame> {
    let limits = MediaLimits::default();
    let config = DecoderConfig { threads: 1, strict: false };
    let mut reader = VideoReader::open(clip.data.clone(), &config, &limits).expect("source opens");
    let mut gate = FrameGate::new(entry.fps);
    let config = ScalerConfig { filter, ..ScalerConfig::yuv420p(entry.width, entry.height) };
    let mut scaler = Scaler::new(config, &limits).expect("scaler opens");
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_frame().expect("source decodes") {
        if gate.keep(frame.pts().expect("frames have times")) {
            frames.push(scaler.scale(&frame).expect("frame scales"));
        }
    }
    frames
}

/// Encodes frames into packets, tagged with the first one's colours.
pub(crate) fn encode(
    frames: &[Frame],
    entry: &LadderEntry,
    rate: Rational,
    recipe: &Recipe,
) -> (StreamParameters, Vec<Packet>) {
    encode_tagged(frames, frames[0].color(), entry, rate, recipe)
}

/// The same, tagged with these colours.
pub(crate) fn encode_tagged(
    frames: &[Frame],
    color: ColorInfo,
    entry: &LadderEntry,
    rate: Rational,
    recipe: &Recipe,
) -> (StreamParameters, Vec<Packet>) {
    let bitrate = u64::from(entry.bitrate) * recipe.rate_percent / 100;
    let config = EncoderConfig {
        codec: media_codec(entry.codec),
        preset: recipe.preset,
        b_frames: recipe.b_frames,
        zero_latency: recipe.zero_latency,
        gop: recipe.gop,
        color,
        ..EncoderConfig::h264(entry.width, entry.height, bitrate, rate)
    };
    let mut encoder = Encoder::new(&config).expect("encoder opens");
    let mut packets = Vec::new();
    for frame in frames {
        encoder.send(frame).expect("frame is taken");
        while let Some(packet) = encoder.receive().expect("packet") {
            packets.push(packet);
        }
    }
    encoder.flush().expect("flush");
    while let Some(packet) = encoder.receive().expect("packet") {
        packets.push(packet);
    }
    (encoder.parameters().clone(), packets)
}

/// The encoder's name of a ladder's codec.
fn media_codec(codec: Codec) -> VideoCodec {
    match codec {
        Codec::Hevc => VideoCodec::Hevc,
        Codec::Av1 => VideoCodec::Av1,
        _ => VideoCodec::H264,
    }
}

/// Audio streams of a clip: parameters and packets.
pub(crate) fn audio_of(clip: &Bytes) -> Vec<(StreamParameters, Vec<Packet>)> {
    let mut demuxer = Demuxer::from_bytes(clip.clone(), &MediaLimits::default()).expect("source opens");
    let streams: Vec<usize> = demuxer.probe().audio.iter().map(|audio| audio.stream).collect();
    let mut out: Vec<_> = streams
        .iter()
        .map(|&index| (demuxer.parameters(index).expect("audio has parameters"), Vec::new()))
        .collect();
    while let Some(packet) = demuxer.next_packet().expect("source demuxes") {
        if let Some(track) = streams.iter().position(|&index| index == packet.stream()) {
            out[track].1.push(packet);
        }
    }
    out
}

/// Puts streams into a transport stream, interleaved by decoding time.
pub(crate) fn mux(streams: Vec<(StreamParameters, Vec<Packet>)>) -> Bytes {
    mux_into(OutputFormat::MpegTs, streams)
}

/// The same of any container.
pub(crate) fn mux_into(format: OutputFormat, streams: Vec<(StreamParameters, Vec<Packet>)>) -> Bytes {
    let mut builder = Muxer::builder(format).in_pieces();
    let first = streams.iter().flat_map(|(_, packets)| packets).filter_map(Packet::pts).min();
    let shift = if format == OutputFormat::FragmentedMp4 { onto_the_clock(first.unwrap_or(0)) } else { 0 };
    let mut all = Vec::new();
    for (parameters, mut packets) in streams {
        let index = builder.add_stream(&parameters).expect("stream fits");
        repair_timestamps(&mut packets).expect("times can be repaired");
        all.extend(packets.into_iter().map(|packet| (index, packet.shifted(shift))));
    }
    all.sort_by_key(|(_, packet)| packet.dts());
    let mut muxer = builder.start().expect("muxer starts");
    for (index, packet) in &all {
        muxer.write(*index, packet).expect("packet is written");
    }
    muxer.finish().expect("muxer finishes")
}

/// A rendition of the clip from these frames, with the clip's audio.
pub(crate) fn rendition(clip: &Clip, frames: &[Frame], entry: &LadderEntry, recipe: &Recipe) -> Bytes {
    rendition_tagged(clip, frames, frames[0].color(), entry, recipe)
}

/// The same, tagged with these colours.
pub(crate) fn rendition_tagged(
    clip: &Clip,
    frames: &[Frame],
    color: ColorInfo,
    entry: &LadderEntry,
    recipe: &Recipe,
) -> Bytes {
    let mut streams = vec![encode_tagged(frames, color, entry, clip.rate, recipe)];
    streams.extend(audio_of(&clip.data));
    mux_into(OutputFormat::for_codec(&media_codec(entry.codec)), streams)
}

/// An honest rendition.
pub(crate) fn honest(clip: &Clip, entry: &LadderEntry, recipe: &Recipe) -> Bytes {
    rendition(clip, &scaled(clip, entry, recipe.filter), entry, recipe)
}

/// A source clip from pictures, at a bit rate that leaves them nearly untouched.
pub(crate) fn film(name: &str, pictures: &Timed, rate: Rational) -> Clip {
    let frames: Vec<Frame> = pictures.iter().map(|(pts, pic)| pic.to_frame(*pts)).collect();
    let entry = entry(frames[0].width(), frames[0].height(), 12_000_000);
    let recipe = Recipe { preset: "veryfast", ..Recipe::default() };
    let data = mux(vec![encode(&frames, &entry, rate, &recipe)]);
    Clip { name: name.into(), data, rate }
}

/// A generated clip with sound.
pub(crate) fn with_sound(seconds: u32) -> Clip {
    let rate = Rational::new(30, 1);
    let data = generate_clip(&ClipSpec::new(640, 360, rate, seconds), &MediaLimits::default())
        .expect("clip is made");
    Clip { name: "generated".into(), data, rate }
}

/// Pipes a clip through the `ffmpeg` command with these settings, into a transport stream.
pub(crate) fn ffmpeg(clip: &Bytes, settings: &[&str]) -> Bytes {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-copyts", "-i", "-"]).args(settings);
    command.args(["-muxdelay", "0", "-muxpreload", "0", "-f", "mpegts", "-"]);
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = piped.expect("the ffmpeg command is installed");
    let mut input = child.stdin.take().expect("piped");
    let bytes = clip.clone();
    let feeder = std::thread::spawn(move || input.write_all(&bytes));
    let output = child.wait_with_output().expect("ffmpeg ends");
    feeder.join().expect("the feeder ends").expect("ffmpeg reads all");
    assert!(output.status.success(), "ffmpeg refuses {settings:?}");
    output.stdout.into()
}
