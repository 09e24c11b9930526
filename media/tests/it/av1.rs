//! AV1 by the encoder on the CPU, and the fragmented MP4 that it travels in.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use framemill_media::time::WRAP;
use framemill_media::{
    ColorInfo, Container, DecoderConfig, Demuxer, Encoder, EncoderConfig, Frame, Muxer, OutputFormat, Packet,
    PixelFormat, Rational, Scaler, ScalerConfig, StreamParameters, Ticks, VideoCodec, VideoReader, probe,
    segment_info,
};

use crate::common::{THIRTY, frames, limits, packets, synthetic};

fn config() -> EncoderConfig {
    EncoderConfig { codec: VideoCodec::Av1, gop: 60, ..EncoderConfig::h264(320, 180, 300_000, THIRTY) }
}

/// Two seconds of pictures.
fn pictures() -> Vec<Frame> {
    frames(synthetic(|spec| {
        spec.audio = None;
        spec.duration = 180_000;
    }))
    .unwrap()
}

fn scaled(pictures: &[Frame], width: u32, height: u32) -> Vec<Frame> {
    let mut scaler = Scaler::new(ScalerConfig::yuv420p(width, height), &limits()).unwrap();
    pictures.iter().map(|picture| scaler.scale(picture).unwrap()).collect()
}

/// The packets of all pictures, and the parameters of their stream.
fn encode(config: &EncoderConfig, pictures: &[Frame]) -> (Vec<Packet>, StreamParameters) {
    let mut encoder = Encoder::new(config).unwrap();
    let mut packets = Vec::new();
    for picture in pictures {
        encoder.send(picture).unwrap();
        packets.extend(std::iter::from_fn(|| encoder.receive().unwrap()));
    }
    encoder.flush().unwrap();
    packets.extend(std::iter::from_fn(|| encoder.receive().unwrap()));
    (packets, encoder.parameters().clone())
}

/// Streams in decoding order of all, as a rendition is written.
fn mux(streams: &[(StreamParameters, Vec<Packet>)]) -> Vec<Bytes> {
    let mut builder = Muxer::builder(OutputFormat::FragmentedMp4).in_pieces();
    for (parameters, _) in streams {
        builder.add_stream(parameters).unwrap();
    }
    let mut muxer = builder.start().unwrap();
    let mut all: Vec<(usize, &Packet)> = Vec::new();
    for (stream, (_, packets)) in streams.iter().enumerate() {
        all.extend(packets.iter().map(|packet| (stream, packet)));
    }
    all.sort_by_key(|(_, packet)| packet.dts());
    let mut pieces = Vec::new();
    for (stream, packet) in all {
        muxer.write(stream, packet).unwrap();
        pieces.push(muxer.drain());
    }
    pieces.push(muxer.finish().unwrap());
    pieces
}

fn whole(pieces: &[Bytes]) -> Bytes {
    let mut bytes = BytesMut::new();
    pieces.iter().for_each(|piece| bytes.extend_from_slice(piece));
    bytes.freeze()
}

fn rendition(config: &EncoderConfig, pictures: &[Frame]) -> Bytes {
    let (packets, parameters) = encode(config, pictures);
    whole(&mux(&[(parameters, packets)]))
}

fn times(pictures: &[Frame]) -> Vec<Ticks> {
    pictures.iter().map(|picture| picture.pts().unwrap()).collect()
}

fn at(pictures: &[Frame], time: impl Fn(usize) -> Ticks) -> Vec<Frame> {
    pictures.iter().enumerate().map(|(number, picture)| picture.clone().with_pts(time(number))).collect()
}

/// Kind and body of every box at one level.
fn boxes(mut data: &[u8]) -> Vec<(String, &[u8])> {
    let mut found = Vec::new();
    while let Some((head, _)) = data.split_at_checked(8) {
        let size = u32::from_be_bytes(head[..4].try_into().unwrap()) as usize;
        let (whole, rest) = data.split_at(size);
        found.push((String::from_utf8_lossy(&head[4..]).into_owned(), &whole[8..]));
        data = rest;
    }
    assert!(data.is_empty(), "{} bytes that are no box", data.len());
    found
}

fn kinds(data: &[u8]) -> Vec<String> {
    boxes(data).into_iter().map(|(kind, _)| kind).collect()
}

/// The body of the first box on this path.
fn inside<'a>(data: &'a [u8], path: &[&str]) -> &'a [u8] {
    path.iter().fold(data, |data, kind| {
        let found = boxes(data).into_iter().find(|(found, _)| found == kind);
        found.unwrap_or_else(|| panic!("no {kind} in {:?}", kinds(data))).1
    })
}

/// Kinds and bodies in the sample entry of a track.
fn sample_entry(track: &[u8]) -> (String, Vec<(String, &[u8])>) {
    /// Bytes of a visual sample entry before its boxes.
    const VISUAL: usize = 78;
    let descriptions = inside(track, &["mdia", "minf", "stbl", "stsd"]);
    let (kind, body) = boxes(&descriptions[8..]).swap_remove(0);
    (kind, boxes(&body[VISUAL..]))
}

fn timescale(track: &[u8]) -> u32 {
    let header = inside(track, &["mdia", "mdhd"]);
    let place = if header[0] == 0 { 12 } else { 20 };
    u32::from_be_bytes(header[place..place + 4].try_into().unwrap())
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// Opens an encoder, gives it so many pictures, takes what is ready where `take` says so, and closes it.
fn open_and_close(pictures: &[Frame], take: bool) {
    let mut encoder = Encoder::new(&config()).unwrap();
    for picture in pictures {
        encoder.send(picture).unwrap();
        while take && encoder.receive().unwrap().is_some() {}
    }
}

/// Fails the test instead of hanging it.
fn within_a_minute(body: impl FnOnce() + Send + 'static) {
    let (done, ended) = std::sync::mpsc::channel();
    let worker = std::thread::spawn(move || {
        body();
        done.send(()).unwrap();
    });
    let outcome = ended.recv_timeout(Duration::from_secs(60));
    assert_ne!(outcome, Err(std::sync::mpsc::RecvTimeoutError::Timeout), "it hangs");
    worker.join().unwrap();
}

#[test]
fn closes_after_any_number_of_pictures() {
    let pictures = pictures();
    within_a_minute(move || {
        for count in [0, 1, 5, 20, 60] {
            open_and_close(&pictures[..count], true);
            open_and_close(&pictures[..count], false);
        }
    });
}

#[test]
fn an_end_without_pictures_is_one() {
    within_a_minute(|| {
        let mut encoder = Encoder::new(&config()).unwrap();
        encoder.flush().unwrap();
        assert!(encoder.receive().unwrap().is_none());
    });
}

#[test]
fn packets_may_be_taken_after_the_end() {
    let pictures = pictures();
    let mut encoder = Encoder::new(&config()).unwrap();
    pictures[..30].iter().for_each(|picture| encoder.send(picture).unwrap());
    encoder.flush().unwrap();
    let came: Vec<_> = std::iter::from_fn(|| encoder.receive().unwrap()).collect();
    assert_eq!(came.iter().map(|packet| packet.pts().unwrap()).collect::<Vec<_>>(), times(&pictures[..30]));
}

#[test]
fn closes_after_an_end_whose_packets_nobody_took() {
    let pictures = pictures();
    within_a_minute(move || {
        let mut encoder = Encoder::new(&config()).unwrap();
        pictures[..30].iter().for_each(|picture| encoder.send(picture).unwrap());
        encoder.flush().unwrap();
    });
}

#[test]
fn closes_after_a_refused_picture() {
    let pictures = scaled(&pictures()[..1], 160, 90);
    within_a_minute(move || {
        let mut encoder = Encoder::new(&config()).unwrap();
        assert_eq!(encoder.send(&pictures[0]).unwrap_err().code(), "invalid_setting");
    });
}

/// Run in a process of its own by `closing_leaves_nothing_behind`: other tests have threads too.
#[test]
#[ignore = "counts the threads of its process"]
fn threads_and_memory_are_as_before() {
    let resident = || {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    };
    let pictures = pictures();
    open_and_close(&pictures[..10], true);
    let (threads_before, memory_before) = (threads(), resident());
    for count in (0..40).step_by(2) {
        open_and_close(&pictures[..count], true);
    }
    assert_eq!(threads(), threads_before);
    let grown = resident().saturating_sub(memory_before);
    assert!(grown < 32 << 20, "{grown} bytes more after 20 encoders");
}

#[test]
fn closing_leaves_nothing_behind() {
    let run = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "av1::threads_and_memory_are_as_before", "--test-threads=1"])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && told.contains("1 passed"), "{told}");
}

#[test]
fn every_packet_shows_one_picture_at_its_time() {
    let uneven = at(&pictures(), |number| 7 + 3003 * number as Ticks + [0, 30, -60, 45][number % 4]);
    for variable_frame_rate in [false, true] {
        let (packets, _) = encode(&EncoderConfig { variable_frame_rate, ..config() }, &uneven);
        let shown: Vec<_> = packets.iter().map(|packet| packet.pts().unwrap()).collect();
        assert_eq!(shown, times(&uneven));
        assert!(packets.iter().all(|packet| packet.dts() == packet.pts() && packet.duration() == 3000));
        assert!(packets[0].is_key());
    }
}

#[test]
fn keyframes_are_no_further_apart_than_asked_for() {
    let keys = |gop| {
        let (packets, _) = encode(&EncoderConfig { gop, ..config() }, &pictures());
        let key = |(number, packet): (usize, &Packet)| packet.is_key().then_some(number);
        packets.iter().enumerate().filter_map(key).collect::<Vec<_>>()
    };
    assert_eq!(keys(20), [0, 20, 40]);
    assert_eq!(keys(1).len(), 60);
    assert_eq!(keys(60), [0]);
    assert_eq!(keys(u32::MAX), [0]);
}

#[test]
fn any_picture_may_be_made_a_keyframe() {
    let pictures = pictures();
    let mut encoder = Encoder::new(&config()).unwrap();
    let mut keys = Vec::new();
    for (number, picture) in pictures.iter().enumerate() {
        if number % 7 == 3 {
            encoder.send_key(picture).unwrap()
        } else {
            encoder.send(picture).unwrap()
        };
        keys.extend(std::iter::from_fn(|| encoder.receive().unwrap()).filter(Packet::is_key));
    }
    let times: Vec<_> = keys.iter().map(|packet| packet.pts()).collect();
    let wanted = pictures.iter().enumerate().filter(|(number, _)| *number == 0 || number % 7 == 3);
    assert_eq!(times, wanted.map(|(_, picture)| picture.pts()).collect::<Vec<_>>());
}

#[test]
fn bitrate_is_met_where_the_group_is_the_segment() {
    let pictures = pictures();
    let (packets, _) = encode(&config(), &pictures);
    let rate: u64 = packets.iter().map(|packet| packet.data().len() as u64 * 8).sum::<u64>() / 2;
    assert!((150_000..450_000).contains(&rate), "{rate} bits per second");
}

#[test]
fn each_packet_comes_before_the_next_picture() {
    let mut encoder = Encoder::new(&config()).unwrap();
    for picture in pictures() {
        encoder.send(&picture).unwrap();
        assert_eq!(encoder.receive().unwrap().unwrap().pts(), picture.pts());
    }
}

#[test]
fn sizes_from_the_smallest_on_come_out_as_they_went_in() {
    let pictures = pictures();
    for (width, height) in [(16, 16), (62, 34), (66, 130), (130, 66), (98, 174), (426, 240), (180, 320)] {
        let data =
            rendition(&EncoderConfig { width, height, ..config() }, &scaled(&pictures[..6], width, height));
        let shown = frames(data).unwrap();
        assert_eq!(shown.len(), 6);
        for frame in shown {
            assert_eq!(
                (frame.width(), frame.height(), frame.format()),
                (width, height, PixelFormat::YUV420P)
            );
        }
    }
}

#[test]
fn pictures_may_be_seconds_apart_and_a_millisecond() {
    for (rate, step) in [(Rational::new(1, 3), 270_000), (Rational::new(1_000, 1), 90)] {
        let pictures = at(&pictures()[..6], |number| step * number as Ticks);
        let (packets, _) = encode(&EncoderConfig { frame_rate: rate, ..config() }, &pictures);
        assert_eq!(packets.iter().map(|packet| packet.pts().unwrap()).collect::<Vec<_>>(), times(&pictures));
    }
}

#[test]
fn one_picture_is_enough() {
    let picture = &at(&pictures()[..1], |_| 900_000);
    assert_eq!(times(&frames(rendition(&config(), picture)).unwrap()), [900_000]);
}

#[test]
fn colours_and_the_shape_of_pixels_reach_the_decoder() {
    let hdr = ["-f", "lavfi", "-i", "color=gray:s=320x180:r=30:d=1", "-c:v", "libx264", "-x264-params"];
    let tags = "fullrange=on:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc";
    let Some(source) = crate::common::ffmpeg(&[&hdr[..], &[tags, "-pix_fmt", "yuv420p"]].concat()) else {
        return;
    };
    let color = probe(&source, &limits()).unwrap().video.unwrap().color;
    assert_ne!(color, ColorInfo::default());
    let config = EncoderConfig { color, sample_aspect: Rational::new(4, 3), ..config() };
    let data = rendition(&config, &at(&pictures()[..10], |number| 3000 * number as Ticks));
    let video = probe(&data, &limits()).unwrap().video.unwrap();
    assert_eq!((video.color, video.sample_aspect), (color, Rational::new(4, 3)));
    assert_eq!(frames(data).unwrap()[0].color(), color);
}

#[test]
fn a_rendition_consists_of_headers_and_fragments_alone() {
    let data = rendition(&config(), &pictures());
    let top = kinds(&data);
    assert_eq!(top[..2], ["ftyp", "moov"]);
    assert!(top[2..].chunks(2).all(|pair| pair == ["moof", "mdat"]), "{top:?}");
    assert_eq!(top.len(), 2 + 2 * 4, "two seconds are four fragments");
    let moov = inside(&data, &["moov"]);
    assert_eq!(kinds(moov)[..3], ["mvhd", "trak", "mvex"]);
    let track = inside(moov, &["trak"]);
    assert_eq!(kinds(track), ["tkhd", "mdia"], "no edit list");
    assert_eq!(timescale(track), 90_000);
    let (kind, boxes) = sample_entry(track);
    assert_eq!(kind, "av01");
    /// Bytes of `av1C` before the headers of the stream, and the header of an OBU that is a sequence header with a size.
    const CONFIGURATION: usize = 4;
    const SEQUENCE_HEADER: u8 = 0x0a;
    let (_, configuration) = boxes.iter().find(|(kind, _)| kind == "av1C").unwrap();
    assert_eq!(configuration[CONFIGURATION], SEQUENCE_HEADER);
    assert!(boxes.iter().any(|(kind, _)| kind == "pasp"));
}

#[test]
fn a_rendition_streams_out_while_it_is_made() {
    let (packets, parameters) = encode(&config(), &pictures());
    let pieces = mux(&[(parameters, packets)]);
    let first = pieces.iter().position(|piece| !piece.is_empty()).unwrap();
    assert!((15..=17).contains(&first), "the first fragment came with packet {first}");
    assert_eq!(kinds(&pieces[first]), ["ftyp", "moov", "moof", "mdat"]);
}

#[test]
fn times_survive_across_the_wrap_and_without_one() {
    let pictures = pictures();
    for start in [0, 1, 900_001, WRAP - 90_000, WRAP - 1] {
        let moved = at(&pictures, |number| start + 3003 * number as Ticks / 2);
        let info = segment_info(&rendition(&config(), &moved), &limits()).unwrap();
        assert_eq!(info.container, Container::Mp4);
        assert_eq!(info.video.unwrap().pts, times(&moved), "from {start}");
    }
}

/// Times and bytes without the headers that MPEG-TS has in front of AAC.
fn sound(packets: &[Packet]) -> Vec<(Ticks, Vec<u8>)> {
    const ADTS_HEADER: usize = 7;
    let bytes = |packet: &Packet| match packet.data() {
        [0xff, second, ..] if second & 0xf6 == 0xf0 => packet.data()[ADTS_HEADER..].to_vec(),
        data => data.to_vec(),
    };
    packets.iter().map(|packet| (packet.pts().unwrap(), bytes(packet))).collect()
}

#[test]
fn sound_is_the_same_packets_at_the_same_times() {
    for sample_rate in [44_100, 48_000] {
        let source = synthetic(|spec| {
            spec.duration = 180_000;
            spec.start_pts = WRAP - 90_000;
            spec.audio = spec.audio.map(|audio| framemill_media::ClipAudio { sample_rate, ..audio });
        });
        let heard = packets(source.clone()).swap_remove(1);
        let parameters = Demuxer::from_bytes(source.clone(), &limits()).unwrap().parameters(1).unwrap();
        let reader = VideoReader::open(source, &DecoderConfig::default(), &limits()).unwrap();
        let pictures: Vec<Frame> = reader.map(Result::unwrap).collect();
        let (video, video_parameters) = encode(&config(), &pictures);
        let pieces = mux(&[(video_parameters, video), (parameters, heard.clone())]);
        let first = pieces.iter().position(|piece| !piece.is_empty()).unwrap();
        assert!(first < pieces.len() / 2, "sound does not hold back what is seen");
        let data = whole(&pieces);
        let track =
            boxes(inside(&data, &["moov"])).into_iter().filter(|(kind, _)| kind == "trak").nth(1).unwrap().1;
        assert_eq!(
            (timescale(track), kinds(track)),
            (sample_rate, vec!["tkhd".to_owned(), "mdia".to_owned()])
        );
        let made = packets(data);
        let shown: Vec<_> = made[0].iter().map(|packet| packet.pts().unwrap()).collect();
        assert_eq!(shown, times(&pictures));
        let (made, heard) = (sound(&made[1]), sound(&heard));
        assert_eq!(made.len(), heard.len());
        for (made, heard) in made.iter().zip(&heard) {
            assert_eq!(made.1, heard.1);
            assert!((made.0 - heard.0).abs() <= 1, "{} for {}", made.0, heard.0);
        }
    }
}

#[test]
fn sound_a_tick_apart_stays_apart_in_the_time_of_its_samples() {
    let source = synthetic(|spec| spec.duration = 90_000);
    let parameters = Demuxer::from_bytes(source.clone(), &limits()).unwrap().parameters(1).unwrap();
    let mut heard = packets(source).swap_remove(1);
    for (packet, time) in heard.iter_mut().zip(0..) {
        packet.set_pts(time);
        packet.set_dts(time);
    }
    let made = packets(whole(&mux(&[(parameters, heard.clone())]))).swap_remove(0);
    assert_eq!(made.len(), heard.len());
}
