//! Input that means harm, or is merely broken.

use std::time::Instant;

use bytes::Bytes;
use framemill_media::{
    ClipSpec, DecoderConfig, Limit, MediaError, MediaLimits, OutputFormat, Segmenter, SegmenterConfig,
    VideoReader, generate_clip, probe, segment_info,
};
use proptest::prelude::*;

use crate::common::{THIRTY, clip, frames, limits, segments, synthetic};

/// Everything a consumer does with an input from a stranger. Only must end.
fn try_everything(data: Bytes) {
    let limits = MediaLimits::segment();
    let _ = probe(&data, &limits);
    let _ = segment_info(&data, &limits);
    if let Ok(reader) = VideoReader::open(data.clone(), &DecoderConfig::default(), &limits) {
        for frame in reader {
            if frame.is_err() {
                break;
            }
        }
    }
    let _ = segments(data);
}

fn limit_of(error: MediaError) -> Limit {
    match error {
        MediaError::LimitExceeded { limit, .. } => limit,
        other => panic!("not a limit: {other}"),
    }
}

#[test]
fn text_is_not_media() {
    let text = Bytes::from("Once upon a time there was a transcoder.\n".repeat(100));
    assert_eq!(probe(&text, &limits()).unwrap_err().code(), "not_media");
}

#[test]
fn nothing_is_truncated() {
    assert_eq!(probe(&Bytes::new(), &limits()).unwrap_err().code(), "truncated");
}

#[test]
fn zeros_are_not_media() {
    assert_eq!(probe(&Bytes::from(vec![0; 100_000]), &limits()).unwrap_err().code(), "not_media");
}

#[test]
fn containers_that_end_in_their_header_are_truncated() {
    let flv = Bytes::from_static(b"FLV\x01\x05\0\0\0\x09\0\0\0\0");
    assert_eq!(probe(&flv, &limits()).unwrap_err().code(), "truncated");
    let mp4 = synthetic(|spec| spec.format = OutputFormat::FragmentedMp4).slice(..40);
    assert_eq!(probe(&mp4, &limits()).unwrap_err().code(), "truncated");
    let one_packet = synthetic(|_| {}).slice(..188);
    assert_eq!(probe(&one_packet, &limits()).unwrap_err().code(), "truncated");
}

#[test]
fn truncated_segment_decodes_as_far_as_it_goes() {
    let data = synthetic(|_| {});
    let count = frames(data.slice(..data.len() / 2)).unwrap().len();
    assert!((20..110).contains(&count), "{count} frames");
}

#[test]
fn damage_is_counted() {
    let mut bytes = synthetic(|spec| spec.audio = None).to_vec();
    for place in (20_000..bytes.len()).step_by(97) {
        bytes[place] ^= 0x55;
    }
    let mut reader = VideoReader::open(bytes.into(), &DecoderConfig::default(), &limits()).unwrap();
    let corrupt =
        reader.by_ref().filter(|frame| frame.as_ref().is_ok_and(|frame| frame.is_corrupt())).count();
    assert!(reader.errors() + corrupt as u64 > 0);
}

#[test]
fn strict_decoder_fails_on_damage() {
    let mut bytes = synthetic(|spec| spec.audio = None).to_vec();
    for place in (20_000..bytes.len()).step_by(97) {
        bytes[place] ^= 0x55;
    }
    let config = DecoderConfig { strict: true, ..DecoderConfig::default() };
    let result: Result<Vec<_>, _> = VideoReader::open(bytes.into(), &config, &limits()).unwrap().collect();
    assert_eq!(result.unwrap_err().code(), "decode");
}

#[test]
fn headers_and_packets_that_are_cut_off_are_the_medias_fault() {
    let whole = synthetic(|spec| spec.format = OutputFormat::FragmentedMp4);
    let mut bytes = whole.to_vec();
    let headers = bytes.windows(4).position(|name| name == b"avcC").unwrap();
    // The length of the first parameter set.
    bytes[headers + 10..headers + 12].fill(0xff);
    let config = DecoderConfig { strict: true, ..DecoderConfig::default() };
    let error = VideoReader::open(bytes.into(), &config, &limits()).err().unwrap();
    assert_eq!(error.code(), "truncated");
    for eighth in 2..8 {
        if let Err(error) = segments(whole.slice(..whole.len() * eighth / 8)) {
            assert!(error.is_bad_media(), "{error}");
        }
    }
}

#[test]
fn packets_that_claim_gigabytes_are_the_medias_fault() {
    let mut bytes = synthetic(|spec| spec.format = OutputFormat::FragmentedMp4).to_vec();
    let samples = bytes.windows(4).position(|name| name == b"trun").unwrap();
    // Behind flags, count and offset of the samples stand their sizes, among times and flags.
    bytes[samples + 16..samples + 80].fill(0x7f);
    let error = segment_info(&bytes.into(), &limits()).unwrap_err();
    assert_eq!(error.code(), "truncated", "{error}");
}

#[test]
fn input_beyond_its_bytes_is_refused() {
    let limits = MediaLimits { input_bytes: 1000, ..MediaLimits::default() };
    assert_eq!(limit_of(probe(&synthetic(|_| {}), &limits).unwrap_err()), Limit::InputBytes);
}

#[test]
fn picture_beyond_its_pixels_is_refused() {
    let limits = MediaLimits { pixels_per_frame: 320 * 179, ..MediaLimits::default() };
    let mp4 = synthetic(|spec| spec.format = OutputFormat::FragmentedMp4);
    assert_eq!(limit_of(probe(&mp4, &limits).unwrap_err()), Limit::PixelsPerFrame);
    let error = VideoReader::open(synthetic(|_| {}), &DecoderConfig::default(), &limits).err().unwrap();
    assert!(error.is_bad_media(), "{error}");
}

#[test]
fn frames_beyond_their_number_are_refused() {
    let limits = MediaLimits { frames: 50, ..MediaLimits::default() };
    let error = segment_info(&synthetic(|_| {}), &limits).unwrap_err();
    assert_eq!(limit_of(error), Limit::Frames);
}

#[test]
fn packets_beyond_their_number_are_refused() {
    let limits = MediaLimits { packets: 50, ..MediaLimits::default() };
    assert_eq!(limit_of(segment_info(&synthetic(|_| {}), &limits).unwrap_err()), Limit::Packets);
    let cut = Segmenter::from_bytes(synthetic(|_| {}), SegmenterConfig::default(), &limits).unwrap();
    let error = cut.collect::<Result<Vec<_>, _>>().unwrap_err();
    assert_eq!(limit_of(error), Limit::Packets);
}

#[test]
fn pixels_beyond_their_sum_are_refused() {
    let limits = MediaLimits { total_pixels: 320 * 180 * 10, ..MediaLimits::default() };
    let reader = VideoReader::open(synthetic(|_| {}), &DecoderConfig::default(), &limits).unwrap();
    let error = reader.collect::<Result<Vec<_>, _>>().unwrap_err();
    assert_eq!(limit_of(error), Limit::TotalPixels);
}

/// Four pictures of the synthetic clip.
const FOUR_PICTURES: u64 = 4 * 320 * 180 * 3 / 2;

#[test]
fn pictures_beyond_their_bytes_are_refused() {
    let limits = MediaLimits { picture_bytes: FOUR_PICTURES, ..MediaLimits::default() };
    for threads in [1, 4] {
        let config = DecoderConfig { threads, strict: false };
        let reader = VideoReader::open(synthetic(|_| {}), &config, &limits).unwrap();
        let kept: Result<Vec<_>, _> = reader.collect();
        assert_eq!(limit_of(kept.unwrap_err()), Limit::PictureBytes, "{threads} threads");
    }
}

#[test]
fn pictures_that_nobody_keeps_count_no_more() {
    let limits = MediaLimits { picture_bytes: 8 * FOUR_PICTURES, ..MediaLimits::default() };
    for threads in [1, 4] {
        let config = DecoderConfig { threads, strict: true };
        let reader = VideoReader::open(synthetic(|_| {}), &config, &limits).unwrap();
        assert_eq!(reader.filter(|frame| frame.is_ok()).count(), 120, "{threads} threads");
    }
}

#[test]
fn mp4_that_arrives_may_not_claim_more_than_it_can_hold() {
    let boxed = |name: &[u8], body: &[u8]| [&(body.len() as u32 + 8).to_be_bytes(), name, body].concat();
    let table: Vec<u8> = [0, 1, u32::MAX].iter().flat_map(|number: &u32| number.to_be_bytes()).collect();
    let stream = [boxed(b"ftyp", b"isom"), boxed(b"moov", &boxed(b"stsz", &table))].concat();
    let opened = Segmenter::open(std::io::Cursor::new(stream), SegmenterConfig::default(), &limits());
    assert_eq!(limit_of(opened.err().unwrap()), Limit::Samples);
}

#[test]
fn ten_hours_between_two_frames_are_refused() {
    let first = synthetic(|spec| spec.duration = 90_000);
    let second = synthetic(|spec| {
        spec.duration = 90_000;
        spec.start_pts = 36_000 * 90_000;
    });
    let joined = Bytes::from([first, second].concat());
    let error = segment_info(&joined, &MediaLimits::segment()).unwrap_err();
    assert_eq!(limit_of(error), Limit::Duration);
}

#[test]
fn passed_deadline_ends_the_work() {
    let limits = MediaLimits::default().with_deadline(Instant::now());
    assert_eq!(probe(&synthetic(|_| {}), &limits).unwrap_err(), MediaError::DeadlineExceeded);
}

#[test]
fn cancellation_ends_decoding() {
    let limits = MediaLimits::default();
    let mut reader = VideoReader::open(synthetic(|_| {}), &DecoderConfig::default(), &limits).unwrap();
    reader.next_frame().unwrap();
    limits.cancel.cancel();
    let error = reader.find_map(Result::err).unwrap();
    assert_eq!(error, MediaError::Cancelled);
}

#[test]
fn synthetic_clip_obeys_the_limits() {
    let spec = ClipSpec::new(320, 180, THIRTY, 60);
    let error = generate_clip(&spec, &MediaLimits::segment()).unwrap_err();
    assert_eq!(limit_of(error), Limit::Duration);
}

#[test]
fn program_with_a_thousand_streams_is_refused() {
    let error = probe(&crowded_program(1000), &limits()).unwrap_err();
    assert!(error.is_bad_media(), "{error}");
}

#[test]
fn announced_streams_that_never_come_do_not_hide_the_others() {
    let data = [crowded_tables(4, 100), synthetic(|_| {}).to_vec()].concat();
    let probe = probe(&data.into(), &limits()).unwrap();
    assert_eq!(probe.require_video().unwrap().width, 320);
}

#[test]
fn change_of_resolution_within_a_segment_decodes() {
    let first = synthetic(|spec| spec.duration = 90_000);
    let second = synthetic(|spec| {
        spec.duration = 90_000;
        spec.start_pts = 90_000;
        (spec.width, spec.height) = (160, 120);
    });
    let frames = frames([first, second].concat().into()).unwrap();
    assert_eq!(frames.len(), 60);
    assert_eq!((frames[0].width(), frames[59].width()), (320, 160));
}

#[test]
fn real_clips_cut_anywhere_do_no_harm() {
    for name in ["desk-360p-aac.flv", "bad-zero-frame.ts", "car-720p-segment-1.ts"] {
        let Some(data) = clip(name) else { continue };
        for eighth in 1..8 {
            try_everything(data.slice(..data.len() * eighth / 8));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn random_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..20_000)) {
        try_everything(bytes.into());
    }

    #[test]
    fn random_bytes_behind_a_true_start_do_no_harm(
        kind in 0usize..4,
        bytes in prop::collection::vec(any::<u8>(), 0..20_000),
    ) {
        let starts: [&[u8]; 4] =
            [b"FLV\x01\x05\0\0\0\x09\0\0\0\0", b"\0\0\0\x18ftypisom\0\0\x02\0isomiso2", b"\x1a\x45\xdf\xa3", b"\0\0\x10\0moov"];
        try_everything([starts[kind], &bytes].concat().into());
    }

    #[test]
    fn flipped_bytes_do_no_harm(
        mp4 in any::<bool>(),
        flips in prop::collection::vec((0usize..100_000, any::<u8>()), 1..60),
    ) {
        let mut bytes = sample(mp4).to_vec();
        for (place, value) in flips {
            let length = bytes.len();
            bytes[place % length] = value;
        }
        try_everything(bytes.into());
    }
}

/// A second of each container, made once.
fn sample(mp4: bool) -> Bytes {
    use std::sync::OnceLock;
    static SAMPLES: OnceLock<[Bytes; 2]> = OnceLock::new();
    let samples = SAMPLES.get_or_init(|| {
        [OutputFormat::MpegTs, OutputFormat::FragmentedMp4].map(|format| {
            synthetic(|spec| {
                spec.duration = 90_000;
                spec.format = format;
                (spec.width, spec.height) = (96, 64);
                spec.bitrate = 50_000;
            })
        })
    });
    samples[usize::from(mp4)].clone()
}

/// A transport stream of tables alone, announcing many H.264 streams.
fn crowded_program(streams: usize) -> Bytes {
    crowded_tables(streams, 20).into()
}

fn crowded_tables(streams: usize, repeats: usize) -> Vec<u8> {
    const PMT_PID: u16 = 0x1000;
    // A table holds at most 1021 bytes, so many streams take many programs.
    let programs: Vec<Vec<usize>> =
        (0..streams).collect::<Vec<_>>().chunks(150).map(<[usize]>::to_vec).collect();
    let mut packets = Vec::new();
    for _ in 0..repeats {
        let entries = (0..programs.len() as u16)
            .flat_map(|number| [(number + 1).to_be_bytes(), (0xe000 | (PMT_PID + number)).to_be_bytes()])
            .flatten()
            .collect::<Vec<u8>>();
        packets.extend(table_packets(0, 0, 1, &entries));
        for (number, streams) in (0u16..).zip(&programs) {
            let mut body = vec![0xe1, 0x00, 0xf0, 0x00];
            for &stream in streams {
                let pid = 0xe000 | (0x200 + stream as u16);
                body.push(0x1b);
                body.extend(pid.to_be_bytes());
                body.extend([0xf0, 0x00]);
            }
            packets.extend(table_packets(PMT_PID + number, 2, number + 1, &body));
        }
    }
    packets
}

/// One table section in packets of 188 bytes.
fn table_packets(pid: u16, table: u8, id: u16, body: &[u8]) -> Vec<u8> {
    let length = (body.len() + 9) as u16;
    let mut section = vec![table];
    section.extend((0xb000 | length).to_be_bytes());
    section.extend(id.to_be_bytes());
    section.extend([0xc1, 0, 0]);
    section.extend(body);
    section.extend(crc32(&section).to_be_bytes());
    section.insert(0, 0);
    section
        .chunks(184)
        .enumerate()
        .flat_map(|(index, chunk)| {
            let start = if index == 0 { 0x4000 } else { 0 };
            let mut packet = vec![0x47];
            packet.extend((start | pid).to_be_bytes());
            packet.push(0x10 | index as u8 & 0x0f);
            packet.extend(chunk);
            packet.resize(188, 0xff);
            packet
        })
        .collect()
}

/// CRC-32/MPEG-2 (ISO/IEC 13818-1, annex A).
fn crc32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte) << 24, |crc, _| {
            if crc & 0x8000_0000 == 0 { crc << 1 } else { crc << 1 ^ 0x04c1_1db7 }
        })
    })
}
