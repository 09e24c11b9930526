//! Every real clip.

use framemill_media::{AudioCodec, Container, MediaError, VideoCodec, probe, segment_info};

use crate::common::{clip, frame_times, frames, limits, packets, rendition, segments};

/// Clips with video that can be shown.
const PLAYABLE: [&str; 7] = [
    "kitchen-1080p60-2s.mp4",
    "desk-360p-aac.flv",
    "dark-720p-422.ts",
    "car-720p-segment-1.ts",
    "car-720p-segment-2.ts",
    "bad-missing-dts.ts",
    "bad-duplicate-audio-dts.ts",
];

fn each(clips: &[&str], check: impl Fn(&str, bytes::Bytes)) {
    for name in clips {
        if let Some(data) = clip(name) {
            check(name, data);
        }
    }
}

#[test]
fn probe_names_container_codecs_and_format() {
    let Some(data) = clip("dark-720p-422.ts") else { return };
    let probe = probe(&data, &limits()).unwrap();
    let video = probe.require_video().unwrap();
    assert_eq!(probe.container, Container::MpegTs);
    assert_eq!((video.codec.clone(), video.width, video.height), (VideoCodec::H264, 1280, 720));
    assert_eq!(video.pixel_format.unwrap().name(), "yuv422p");
    assert_eq!(video.profile.as_deref(), Some("High 4:2:2"));
    assert_eq!((video.frame_rate.num, video.frame_rate.den), (30_000, 1001));
    assert_eq!(probe.audio[0].codec, AudioCodec::Aac);
    assert_eq!((probe.audio[0].sample_rate, probe.audio[0].channels), (44_100, 1));
}

#[test]
fn segments_keep_every_frame_at_its_time() {
    each(&PLAYABLE, |name, data| {
        let whole = frame_times(data.clone());
        let cut: Vec<i64> =
            segments(data).unwrap().into_iter().flat_map(|segment| frame_times(segment.data)).collect();
        assert_eq!(cut, whole, "{name}");
    });
}

#[test]
fn segments_keep_audio_bit_for_bit() {
    each(&["dark-720p-422.ts", "bad-duplicate-audio-dts.ts"], |name, data| {
        let payload = |data| -> Vec<_> {
            packets(data)[1].iter().map(|packet| (packet.pts(), packet.data().to_vec())).collect()
        };
        let cut: Vec<_> =
            segments(data.clone()).unwrap().into_iter().flat_map(|segment| payload(segment.data)).collect();
        assert_eq!(cut, payload(data), "{name}");
    });
}

#[test]
fn raw_aac_of_flv_keeps_its_payload_behind_adts_headers() {
    const ADTS_HEADER: usize = 7;
    let Some(data) = clip("desk-360p-aac.flv") else { return };
    let raw: Vec<Vec<u8>> = packets(data.clone())[1].iter().map(|packet| packet.data().to_vec()).collect();
    let framed: Vec<Vec<u8>> = segments(data)
        .unwrap()
        .into_iter()
        .flat_map(|segment| packets(segment.data).swap_remove(1))
        .map(|packet| packet.data()[ADTS_HEADER..].to_vec())
        .collect();
    assert_eq!(framed, raw);
}

#[test]
fn segments_say_of_themselves_what_inspection_finds() {
    each(&PLAYABLE, |name, data| {
        for segment in segments(data).unwrap() {
            let found = segment_info(&segment.data, &limits()).unwrap();
            assert_eq!(found.video, segment.info.video, "{name} {}", segment.sequence);
            assert_eq!(found.start(), Some(segment.start_pts), "{name} {}", segment.sequence);
            let packets = |tracks: &[framemill_media::AudioTrack]| -> Vec<_> {
                tracks.iter().map(|track| (track.start, track.packets)).collect()
            };
            assert_eq!(packets(&found.audio), packets(&segment.info.audio), "{name} {}", segment.sequence);
        }
    });
}

#[test]
fn segments_follow_each_other_without_a_gap() {
    let Some(data) = clip("desk-360p-aac.flv") else { return };
    let segments = segments(data).unwrap();
    assert_eq!(segments.len(), 10);
    for pair in segments.windows(2) {
        assert_eq!(pair[0].start_pts + pair[0].duration, pair[1].start_pts);
    }
}

#[test]
fn renditions_keep_the_frame_times_of_their_source() {
    each(&PLAYABLE, |name, data| {
        let segment = segments(data).unwrap().swap_remove(0);
        let made = segment_info(&rendition(&segment.data, 256, 144), &limits()).unwrap();
        let (made, source) = (made.video.unwrap(), segment.info.video.unwrap());
        assert_eq!(made.pts, source.pts, "{name}");
        assert!(made.starts_with_key, "{name}");
        assert_eq!((made.width, made.height), (256, 144));
    });
}

#[test]
fn renditions_keep_audio_packets() {
    each(&["dark-720p-422.ts", "desk-360p-aac.flv", "bad-duplicate-audio-dts.ts"], |name, data| {
        let segment = segments(data).unwrap().swap_remove(0);
        let audio = |data| -> Vec<_> {
            packets(data)[1].iter().map(|packet| (packet.pts(), packet.data().to_vec())).collect()
        };
        assert_eq!(audio(rendition(&segment.data, 256, 144)), audio(segment.data), "{name}");
    });
}

#[test]
fn every_frame_decodes_without_errors() {
    let counts = [120, 569, 217, 35, 35, 120, 59];
    for (name, count) in PLAYABLE.into_iter().zip(counts) {
        if let Some(data) = clip(name) {
            assert_eq!(frames(data).unwrap().len(), count, "{name}");
        }
    }
}

#[test]
fn announced_video_without_a_frame_is_no_frames() {
    let Some(data) = clip("bad-zero-frame.ts") else { return };
    assert_eq!(segments(data.clone()).unwrap_err(), MediaError::NoFrames);
    assert_eq!(frames(data.clone()).unwrap_err(), MediaError::NoFrames);
    assert_eq!(segment_info(&data, &limits()).unwrap_err(), MediaError::NoFrames);
}
