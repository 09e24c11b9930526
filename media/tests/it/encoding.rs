//! Encoders and what comes out of them.

use bytes::{Bytes, BytesMut};
use framemill_media::{
    DecoderConfig, Encoder, EncoderConfig, Frame, H264Profile, Muxer, OutputFormat, Packet, VideoCodec,
    VideoReader, probe, segment_info,
};

use crate::common::{THIRTY, frames, limits, segments, synthetic};

fn config() -> EncoderConfig {
    EncoderConfig::h264(320, 180, 300_000, THIRTY)
}

fn source() -> Vec<Frame> {
    frames(synthetic(|spec| spec.audio = None)).unwrap()
}

fn encode(config: &EncoderConfig, frames: &[Frame], keys: &[usize]) -> (Vec<Packet>, Bytes) {
    let format = if config.global_header { OutputFormat::FragmentedMp4 } else { OutputFormat::MpegTs };
    let mut encoder = Encoder::new(config).unwrap();
    let mut builder = Muxer::builder(format);
    builder.add_stream(encoder.parameters()).unwrap();
    let mut muxer = builder.start().unwrap();
    let mut packets = Vec::new();
    for (index, frame) in frames.iter().enumerate() {
        if keys.contains(&index) {
            encoder.send_key(frame).unwrap()
        } else {
            encoder.send(frame).unwrap()
        }
        while let Some(packet) = encoder.receive().unwrap() {
            packets.push(packet);
        }
    }
    encoder.flush().unwrap();
    while let Some(packet) = encoder.receive().unwrap() {
        packets.push(packet);
    }
    packets.iter().for_each(|packet| muxer.write(0, packet).unwrap());
    (packets, muxer.finish().unwrap())
}

fn key_times(packets: &[Packet]) -> Vec<i64> {
    packets.iter().filter(|packet| packet.is_key()).map(|packet| packet.pts().unwrap()).collect()
}

#[test]
fn uneven_frame_times_pass_through_exactly() {
    let jitter = [0i64, 30, -60, 45, -15, 7, 0, -33];
    let frames: Vec<Frame> = source()
        .into_iter()
        .zip(jitter.iter().cycle())
        .map(|(frame, jitter)| {
            let pts = frame.pts().unwrap() + 90_000 + jitter;
            frame.with_pts(pts)
        })
        .collect();
    let expected: Vec<i64> = frames.iter().map(|frame| frame.pts().unwrap()).collect();
    for variable_frame_rate in [false, true] {
        let (_, data) = encode(&EncoderConfig { variable_frame_rate, ..config() }, &frames, &[]);
        assert_eq!(segment_info(&data, &limits()).unwrap().video.unwrap().pts, expected);
    }
}

#[test]
fn group_length_is_kept() {
    let (packets, _) = encode(&EncoderConfig { gop: 30, ..config() }, &source(), &[]);
    assert_eq!(key_times(&packets), [0, 90_000, 180_000, 270_000]);
}

#[test]
fn keyframes_can_be_forced() {
    let (packets, _) = encode(&EncoderConfig { gop: 1000, ..config() }, &source(), &[50]);
    assert_eq!(key_times(&packets), [0, 150_000]);
}

#[test]
fn source_picture_types_do_not_leak_into_the_encoding() {
    let (packets, _) = encode(&EncoderConfig { gop: 1000, ..config() }, &source(), &[]);
    assert_eq!(key_times(&packets), [0]);
}

#[test]
fn frame_rate_of_the_headers_is_the_configured_one() {
    let (_, data) = encode(&config(), &source(), &[]);
    let video = probe(&data, &limits()).unwrap().video.unwrap();
    assert_eq!((video.frame_rate, video.base_frame_rate), (THIRTY, THIRTY));
}

#[test]
fn profile_is_kept() {
    let baseline = EncoderConfig { profile: Some(H264Profile::Baseline), ..config() };
    let (packets, data) = encode(&baseline, &source(), &[]);
    let profile = probe(&data, &limits()).unwrap().video.unwrap().profile.unwrap();
    assert!(profile.contains("Baseline"), "{profile}");
    assert!(packets.iter().all(|packet| packet.pts() == packet.dts()));
}

#[test]
fn bitrate_is_met() {
    let frames: Vec<Frame> = source();
    for codec in [VideoCodec::H264, VideoCodec::Hevc] {
        let config = EncoderConfig { codec: codec.clone(), gop: 60, ..config() };
        let (packets, _) = encode(&config, &frames, &[]);
        let bits: u64 = packets.iter().map(|packet| packet.data().len() as u64 * 8).sum();
        let rate = bits / 4;
        assert!((150_000..450_000).contains(&rate), "{codec} made {rate} bits per second");
    }
}

#[test]
fn hevc_in_transport_stream_decodes_at_the_same_times() {
    let source = source();
    let config = EncoderConfig { codec: VideoCodec::Hevc, preset: "ultrafast", ..config() };
    let (_, data) = encode(&config, &source, &[]);
    assert_eq!(probe(&data, &limits()).unwrap().video.unwrap().codec, VideoCodec::Hevc);
    let times = |frames: &[Frame]| -> Vec<_> { frames.iter().map(Frame::pts).collect() };
    assert_eq!(times(&frames(data).unwrap()), times(&source));
}

#[test]
fn codecs_without_an_encoder_are_unsupported() {
    for codec in [VideoCodec::Vp9, VideoCodec::Other("theora".into())] {
        let error = Encoder::new(&EncoderConfig { codec, ..config() }).err().unwrap();
        assert_eq!(error.code(), "unsupported_codec");
    }
}

#[test]
fn zero_latency_hands_out_each_frame_at_once() {
    let mut encoder = Encoder::new(&EncoderConfig { zero_latency: true, ..config() }).unwrap();
    for frame in &source()[..10] {
        encoder.send(frame).unwrap();
        assert_eq!(encoder.receive().unwrap().unwrap().pts(), frame.pts());
    }
}

#[test]
fn frames_that_do_not_rise_are_refused() {
    let mut encoder = Encoder::new(&config()).unwrap();
    let frame = source().swap_remove(0);
    encoder.send(&frame).unwrap();
    assert_eq!(encoder.send(&frame).unwrap_err().code(), "timestamps");
}

#[test]
fn frames_of_another_size_are_refused() {
    let mut encoder = Encoder::new(&EncoderConfig { width: 640, ..config() }).unwrap();
    assert_eq!(encoder.send(&source()[0]).unwrap_err().code(), "invalid_setting");
}

#[test]
fn settings_that_cannot_be_met_are_refused() {
    for bad in [
        EncoderConfig { width: 321, ..config() },
        EncoderConfig { height: 0, ..config() },
        EncoderConfig { bitrate: 0, ..config() },
        EncoderConfig { preset: "no such preset", ..config() },
    ] {
        assert_eq!(Encoder::new(&bad).err().unwrap().code(), "invalid_setting");
    }
}

#[test]
fn muxer_refuses_times_that_do_not_rise() {
    let (packets, _) = encode(&config(), &source(), &[]);
    let encoder = Encoder::new(&config()).unwrap();
    let mut builder = Muxer::builder(OutputFormat::MpegTs);
    builder.add_stream(encoder.parameters()).unwrap();
    let mut muxer = builder.start().unwrap();
    muxer.write(0, &packets[0]).unwrap();
    assert_eq!(muxer.write(0, &packets[0]).unwrap_err().code(), "timestamps");
}

#[test]
fn muxer_hands_out_bytes_while_it_runs() {
    let (packets, whole) = encode(&config(), &source(), &[]);
    let encoder = Encoder::new(&config()).unwrap();
    let mut builder = Muxer::builder(OutputFormat::MpegTs);
    builder.add_stream(encoder.parameters()).unwrap();
    let mut muxer = builder.start().unwrap();
    let mut bytes = BytesMut::new();
    let mut early = 0;
    for packet in &packets {
        muxer.write(0, packet).unwrap();
        let chunk = muxer.drain();
        early += usize::from(!chunk.is_empty());
        bytes.extend_from_slice(&chunk);
    }
    bytes.extend_from_slice(&muxer.finish().unwrap());
    assert!(early > packets.len() / 2);
    assert_eq!(bytes, whole);
}

#[test]
fn work_spreads_over_threads() {
    let segment = segments(synthetic(|_| {})).unwrap().swap_remove(0);
    let config = DecoderConfig { threads: 2, ..DecoderConfig::default() };
    let reader = VideoReader::open(segment.data, &config, &limits()).unwrap();
    let (sender, receiver) = std::sync::mpsc::channel::<Frame>();
    let worker = std::thread::spawn(move || {
        let mut encoder = Encoder::new(&EncoderConfig::h264(320, 180, 300_000, THIRTY)).unwrap();
        let mut count = 0;
        for frame in receiver {
            encoder.send(&frame).unwrap();
            count += 1;
        }
        count
    });
    for frame in reader {
        sender.send(frame.unwrap()).unwrap();
    }
    drop(sender);
    assert_eq!(worker.join().unwrap(), 60);
}
