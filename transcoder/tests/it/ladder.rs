//! What the software engine makes of good sources.

use bytes::Bytes;
use framemill_media::{ClipAudio, ClipSpec, MediaLimits, PixelFormat, Rational, VideoReader, segment_info};
use framemill_network::ladder::{Codec, Ladder, LadderEntry};
use framemill_transcoder::{SoftwareEngine, measure};

use crate::support::*;

/// Everything that must hold for every rendition of every source.
pub(crate) async fn check(source: &Bytes, ladder: Ladder) -> Vec<Bytes> {
    let renditions = transcode(source, ladder.clone()).await.expect("a source that can be transcoded");
    assert_eq!(renditions.len(), ladder.len());
    let (expected_times, expected_sound) = (times(source), sound(source));
    for (rendition, entry) in renditions.iter().zip(&ladder) {
        let info = segment_info(&rendition.data, &MediaLimits::default()).expect("a readable rendition");
        let video = info.require_video().expect("a rendition with video");
        assert_eq!((video.width, video.height), (entry.width, entry.height), "{}", entry.name);
        assert_eq!(video.codec.name(), entry.codec.as_str());
        assert!(video.starts_with_key, "{} does not start with a keyframe", entry.name);
        assert_eq!(rendition.summary.frames, video.frames() as u64);
        assert_eq!(rendition.summary.pixels, video.pixels());
        assert_eq!(rendition.summary.bytes, rendition.data.len() as u64);
        if entry.fps.is_source() {
            assert_eq!(video.pts, expected_times, "{}", entry.name);
        }
        assert_same_sound(&sound(&rendition.data), &expected_sound, entry);
    }
    renditions.into_iter().map(|rendition| rendition.data).collect()
}

/// The same packets at the same times; MP4 counts in samples, so there a time may be a tick off, or two where packets shared one.
fn assert_same_sound(made: &[Sound], source: &[Sound], entry: &LadderEntry) {
    if entry.codec != Codec::Av1 {
        return assert_eq!(made, source, "{}", entry.name);
    }
    let bytes = |tracks: &[Sound]| -> Vec<Vec<_>> {
        tracks.iter().map(|track| track.iter().map(|(_, data)| data.clone()).collect()).collect()
    };
    assert!(bytes(made) == bytes(source), "{}: other sound", entry.name);
    for ((made, _), (source, _)) in made.iter().flatten().zip(source.iter().flatten()) {
        assert!((made - source).abs() <= 2, "{}: sound at {made} for {source}", entry.name);
    }
}

async fn check_segments(name: &str, ladder: &str) {
    let Some(clip) = clip(name) else { return };
    let segments = segments(clip);
    assert!(!segments.is_empty());
    for segment in segments {
        let ladder = ladder_for(&segment, ladder);
        check(&segment, ladder).await;
    }
}

#[tokio::test]
async fn makes_a_ladder_of_a_synthetic_clip() {
    let source = synthetic(640, 360, 30, 2);
    check(&source, ladder_for(&source, "360:600k,240:300k,144:150k")).await;
}

#[tokio::test]
async fn takes_natural_1080p60() {
    check_segments("kitchen-1080p60-2s.mp4", "360:800k,144:150k").await;
}

#[tokio::test]
async fn takes_a_webcam_recording_in_flv() {
    check_segments("desk-360p-aac.flv", "240:300k").await;
}

#[tokio::test]
async fn takes_4_2_2_and_gives_4_2_0() {
    let Some(clip) = clip("dark-720p-422.ts") else { return };
    let source = segments(clip).swap_remove(0);
    let renditions = check(&source, ladder_for(&source, "240:300k")).await;
    let mut reader = VideoReader::open(renditions[0].clone(), &Default::default(), &MediaLimits::default())
        .expect("a rendition");
    let frame = reader.next_frame().expect("a decodable rendition").expect("a frame");
    assert_eq!(frame.format(), PixelFormat::YUV420P);
}

#[tokio::test]
async fn takes_segments_of_a_live_stream() {
    check_segments("car-720p-segment-1.ts", "360:800k,240:300k").await;
    check_segments("car-720p-segment-2.ts", "360:800k,240:300k").await;
}

#[tokio::test]
async fn takes_packets_without_decoding_times() {
    check_segments("bad-missing-dts.ts", "240:300k").await;
}

#[tokio::test]
async fn takes_audio_packets_that_share_a_decoding_time() {
    check_segments("bad-duplicate-audio-dts.ts", "240:300k").await;
}

#[tokio::test]
async fn passes_every_audio_track() {
    let audio = Some(ClipAudio { tracks: 3, ..ClipAudio::default() });
    let source = clip_of(&ClipSpec { audio, ..ClipSpec::new(320, 180, Rational::new(30, 1), 1) });
    let renditions = check(&source, ladder_for(&source, "144:150k")).await;
    assert_eq!(sound(&renditions[0]).len(), 3);
}

#[tokio::test]
async fn takes_a_source_without_sound() {
    let source = clip_of(&ClipSpec { audio: None, ..ClipSpec::new(320, 180, Rational::new(30, 1), 1) });
    check(&source, ladder_for(&source, "144:150k")).await;
}

#[tokio::test]
async fn takes_portrait() {
    let source = synthetic(360, 640, 25, 1);
    let ladder = ladder_for(&source, "320:300k");
    assert!(ladder.entries()[0].width < ladder.entries()[0].height);
    check(&source, ladder).await;
}

#[tokio::test]
async fn takes_odd_sizes() {
    let odd = ["-i", "testsrc2=s=359x641:r=30:d=1", "-c:v", "libx264", "-pix_fmt", "yuv444p"];
    let Some(source) = ffmpeg_clip(&odd) else { return };
    let ladder = ladder_for(&source, "320:300k");
    assert!(ladder.is_concrete());
    check(&source, ladder).await;
}

#[tokio::test]
async fn takes_ten_bit_and_gives_eight() {
    let ten_bit = ["-i", "testsrc2=s=320x180:r=30:d=1", "-c:v", "libx264", "-pix_fmt", "yuv420p10le"];
    let Some(source) = ffmpeg_clip(&ten_bit) else { return };
    let renditions = check(&source, ladder_for(&source, "144:150k")).await;
    let mut reader = VideoReader::open(renditions[0].clone(), &Default::default(), &MediaLimits::default())
        .expect("a rendition");
    let frame = reader.next_frame().expect("a decodable rendition").expect("a frame");
    assert_eq!(frame.format(), PixelFormat::YUV420P);
}

async fn check_ffmpeg(arguments: &[&str]) {
    let Some(clip) = ffmpeg_clip(arguments) else { return };
    for segment in segments(clip) {
        check(&segment, ladder_for(&segment, "144:150k")).await;
    }
}

#[tokio::test]
async fn takes_hevc() {
    let quiet = "log-level=none:keyint=30:open-gop=0";
    check_ffmpeg(&["-i", "testsrc2=s=320x180:r=30:d=4", "-c:v", "libx265", "-x265-params", quiet]).await;
}

#[tokio::test]
async fn takes_interlaced_pictures() {
    let fields =
        ["-i", "testsrc2=s=320x180:r=25:d=4", "-c:v", "libx264", "-flags", "+ildct+ilme", "-top", "1"];
    check_ffmpeg(&fields).await;
}

#[tokio::test]
async fn keeps_a_variable_frame_rate() {
    let uneven =
        ["-i", "testsrc2=s=320x180:r=60:d=1", "-vf", "select='mod(n\\,3)-mod(n\\,7)'", "-fps_mode", "vfr"];
    let Some(source) = ffmpeg_clip(&[&uneven[..], &["-c:v", "libx264"]].concat()) else { return };
    check(&source, ladder_for(&source, "144:150k")).await;
}

#[tokio::test]
async fn halves_the_frame_rate_by_leaving_out_every_second_frame() {
    let source = synthetic(320, 180, 60, 1);
    let renditions = check(&source, ladder_for(&source, "144p30:150k")).await;
    let every_second: Vec<_> = times(&source).into_iter().step_by(2).collect();
    assert_eq!(times(&renditions[0]), every_second);
}

#[tokio::test]
async fn never_repeats_frames_for_a_rate_above_the_sources() {
    let source = synthetic(320, 180, 25, 1);
    let text = r#"[{"name":"fast","width":256,"height":144,"bitrate":150000,"fps":60}]"#;
    let renditions = transcode(&source, text.parse().expect("a ladder")).await.expect("renditions");
    assert_eq!(times(&renditions[0].data), times(&source));
}

#[tokio::test]
async fn takes_times_beyond_33_bits_of_the_clock() {
    let near_the_wrap = (1 << 33) - 45_000;
    let spec = ClipSpec { start_pts: near_the_wrap, ..ClipSpec::new(320, 180, Rational::new(30, 1), 1) };
    let source = clip_of(&spec);
    check(&source, ladder_for(&source, "144:150k")).await;
}

#[tokio::test]
async fn bitrate_follows_the_entry() {
    let source = synthetic(640, 360, 30, 4);
    let ladder = ladder_for(&source, "360:800k");
    let renditions = transcode(&source, ladder).await.expect("renditions");
    let (video, _) = packets(&renditions[0].data);
    let bits = 8 * video.iter().map(|packet| packet.data().len()).sum::<usize>() / 4;
    assert!((600_000..1_000_000).contains(&bits), "asked for 800000 bits per second, got {bits}");
}

#[tokio::test]
async fn intra_only_rungs_have_keyframes_only() {
    let source = synthetic(320, 180, 30, 1);
    let text = r#"[{"name":"i","width":256,"height":144,"bitrate":400000,"gop":"intra"}]"#;
    let renditions = transcode(&source, text.parse().expect("a ladder")).await.expect("renditions");
    assert!(packets(&renditions[0].data).0.iter().all(framemill_media::Packet::is_key));
}

#[tokio::test]
async fn measures_itself() {
    let measurement = measure(&SoftwareEngine::default()).await.expect("an engine that works");
    assert_eq!(measurement.pixels, 30 * (1280 * 720 + 854 * 480 + 640 * 360));
    assert!(measurement.first_byte <= measurement.elapsed);
    assert!(measurement.capacity(None).pixels_per_second > 0);
}
