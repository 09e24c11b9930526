//! What FFmpeg's own command makes, in many settings, is in normal form as well: nothing of it is peculiar to one engine.

use bytes::Bytes;
use framemill_media::{ClipSpec, MediaLimits, Pattern, Rational, generate_clip};
use framemill_network::ladder::{Codec, LadderEntry};
use framemill_verification::{Policy, Report, SourceReference, Tier, verify};

use crate::studio::{entry, ffmpeg};

const H264: &[&str] = &["-c:v", "libx264", "-b:v", "300k"];
const HEVC: &[&str] = &["-c:v", "libx265", "-b:v", "300k"];

fn source(pattern: Pattern) -> Bytes {
    let rate = Rational::new(30, 1);
    let spec = ClipSpec { start_pts: 900_000, pattern, ..ClipSpec::new(640, 384, rate, 1) };
    generate_clip(&spec, &MediaLimits::default()).expect("clip is made")
}

fn transcoded(source: &Bytes, settings: &[&str]) -> Bytes {
    let common = ["-map", "0", "-c:a", "copy", "-vf", "scale=320:192", "-threads", "1"];
    ffmpeg(source, &[&common, settings].concat())
}

fn judge(source: &Bytes, rendition: &Bytes, codec: Codec, policy: &Policy) -> Report {
    let source = SourceReference::new(source.clone(), &MediaLimits::segment()).expect("source is sound");
    let entry = LadderEntry { codec, ..entry(320, 192, 300_000) };
    verify(&source, rendition, &entry, policy, &[0; 32]).expect("a verdict")
}

fn refused(pattern: Pattern, codec: Codec, common: &[&str], settings: &[&[&str]]) -> Vec<String> {
    let source = source(pattern);
    let verdicts = settings.iter().map(|settings| {
        let rendition = transcoded(&source, &[common, *settings].concat());
        let report = judge(&source, &rendition, codec, &Policy::STRUCTURE_ONLY);
        (settings, report)
    });
    verdicts
        .filter(|(_, report)| !report.passed())
        .map(|(settings, report)| format!("{settings:?}: {:?}", report.failures().collect::<Vec<_>>()))
        .collect()
}

#[test]
fn h264_of_many_settings_is_in_normal_form() {
    let settings: &[&[&str]] = &[
        &["-preset", "ultrafast"],
        &["-preset", "veryfast", "-profile:v", "baseline"],
        &["-preset", "veryfast", "-profile:v", "main", "-level", "3.1"],
        &["-preset", "slow", "-tune", "film"],
        &["-preset", "veryfast", "-tune", "zerolatency", "-slices", "4"],
        &["-preset", "veryfast", "-g", "1"],
        &["-preset", "veryfast", "-crf", "23", "-maxrate", "400k", "-bufsize", "400k"],
        &[
            "-preset",
            "veryfast",
            "-x264-params",
            "nal-hrd=vbr:vbv-maxrate=400:vbv-bufsize=400:pic-struct=1:aud=1",
        ],
        &["-preset", "veryfast", "-x264-params", "open-gop=1:keyint=10:b-pyramid=normal:bframes=5"],
        &["-preset", "veryfast", "-x264-params", "intra-refresh=1:keyint=15"],
        &["-preset", "veryfast", "-bsf:v", "h264_metadata=aud=insert"],
        &["-preset", "veryfast", "-bsf:v", "dump_extra"],
        &["-preset", "veryfast", "-mpegts_flags", "resend_headers+pat_pmt_at_frames"],
        &["-preset", "veryfast", "-muxdelay", "0.7", "-mpegts_copyts", "1"],
        &["-preset", "veryfast", "-pes_payload_size", "0"],
        &["-preset", "veryfast", "-x264-params", "stitchable=1:repeat-headers=1"],
    ];
    let refused = refused(Pattern::Motion, Codec::H264, H264, settings);
    assert!(refused.is_empty(), "{refused:#?}");
}

#[test]
fn hevc_of_many_settings_is_in_normal_form() {
    let settings: &[&[&str]] = &[
        &["-preset", "ultrafast", "-x265-params", "log-level=none"],
        &["-preset", "medium", "-x265-params", "log-level=none:open-gop=1:keyint=10:bframes=5"],
        &[
            "-preset",
            "veryfast",
            "-x265-params",
            "log-level=none:aud=1:hrd=1:vbv-maxrate=400:vbv-bufsize=400:hash=1:slices=2",
        ],
        &["-preset", "veryfast", "-tune", "zerolatency", "-x265-params", "log-level=none:repeat-headers=1"],
    ];
    let refused = refused(Pattern::Motion, Codec::Hevc, HEVC, settings);
    assert!(refused.is_empty(), "{refused:#?}");
}

#[test]
fn filler_up_to_the_agreed_rate_is_in_normal_form() {
    let constant = "nal-hrd=cbr:filler=1:vbv-maxrate=300:vbv-bufsize=150";
    let settings = ["-preset", "veryfast", "-maxrate", "300k", "-bufsize", "150k", "-x264-params", constant];
    let source = source(Pattern::Black);
    let rendition = transcoded(&source, &[H264, &settings].concat());
    let report = judge(&source, &rendition, Codec::H264, &Policy::STRUCTURE_ONLY);
    assert_eq!(report.reason(), None);
    let filler = report.checks.iter().find(|check| check.name == "idle_bytes").expect("the check");
    assert!(filler.value > 20_000, "there is filler: {filler:?}");
}

#[test]
fn fields_are_not_in_normal_form() {
    let source = source(Pattern::Motion);
    let rendition = transcoded(&source, &[H264, &["-flags", "+ildct+ilme", "-preset", "veryfast"]].concat());
    let report = judge(&source, &rendition, Codec::H264, &Policy::STRUCTURE_ONLY);
    let failed: Vec<_> = report.failures().map(|check| check.name).collect();
    assert_eq!(failed, ["field_messages", "interlaced"]);
}

#[test]
fn what_another_muxer_made_passes_with_its_picture() {
    let source = source(Pattern::Motion);
    let rendition = transcoded(&source, &[H264, &["-preset", "veryfast"]].concat());
    let report = judge(&source, &rendition, Codec::H264, &Policy::FULL);
    assert_eq!((report.reason(), report.tier), (None, Tier::Whole));
}
