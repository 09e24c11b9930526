//! Clips, ladders and what lies in a rendition.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use framemill_media::{
    ClipSpec, Demuxer, MediaLimits, Packet, Rational, Segmenter, SegmenterConfig, Ticks, generate_clip,
    segment_info,
};
use framemill_network::{FrameRate, Ladder, SourceVideo};
use framemill_transcoder::{Engine, Job, Rendition, SessionId, SoftwareEngine, TranscodeError};

/// Longer than any test's job takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// A real clip, or `None` where the folder of clips is not at hand.
pub(crate) fn clip(name: &str) -> Option<Bytes> {
    let folder = std::env::var_os("FRAMEMILL_MEDIA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/media"), PathBuf::from);
    let path = folder.join(name);
    let data = std::fs::read(&path).ok();
    if data.is_none() {
        eprintln!("skipped: {} is not there", path.display());
    }
    data.map(Bytes::from)
}

/// A synthetic clip with sound.
pub(crate) fn synthetic(width: u32, height: u32, fps: u32, seconds: u32) -> Bytes {
    clip_of(&ClipSpec::new(width, height, Rational::new(fps, 1), seconds))
}

pub(crate) fn clip_of(spec: &ClipSpec) -> Bytes {
    generate_clip(spec, &MediaLimits::default()).expect("the clip can be made")
}

/// A clip made by the `ffmpeg` command line, for formats that no ladder has; `None` where it is not installed.
pub(crate) fn ffmpeg_clip(arguments: &[&str]) -> Option<Bytes> {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let path = folder.path().join("clip.ts");
    ffmpeg(&[&["-f", "lavfi"], arguments].concat(), &path)?;
    Some(std::fs::read(path).expect("ffmpeg wrote the clip").into())
}

/// Runs the `ffmpeg` command line; `None` where it is not installed.
pub(crate) fn ffmpeg(arguments: &[&str], output: &Path) -> Option<()> {
    let mut command = Command::new("ffmpeg");
    // SVT-AV1 writes past FFmpeg's log.
    command.args(["-v", "error", "-y"]).args(arguments).arg(output).stderr(Stdio::piped());
    let Ok(run) = command.output() else {
        eprintln!("skipped: no ffmpeg command line");
        return None;
    };
    assert!(run.status.success(), "ffmpeg {arguments:?}: {}", String::from_utf8_lossy(&run.stderr));
    Some(())
}

/// What a tool of FFmpeg prints.
pub(crate) fn told(program: &str, arguments: &[&str], input: &Path, rest: &[&str]) -> Vec<u8> {
    let mut command = Command::new(program);
    command.args(["-v", "error"]).args(arguments).arg("-i").arg(input).args(rest);
    let run = command.output().expect("ffmpeg's tools come together");
    assert!(run.status.success(), "{program} {}: {}", input.display(), String::from_utf8_lossy(&run.stderr));
    run.stdout
}

/// The source cut into MPEG-TS segments of about two seconds.
pub(crate) fn segments(data: Bytes) -> Vec<Bytes> {
    let cut = Segmenter::from_bytes(data, SegmenterConfig::default(), &MediaLimits::default());
    let segments = cut.expect("a clip that can be cut");
    segments.map(|segment| segment.expect("a segment").data).collect()
}

/// A ladder in text form, made concrete for a source.
pub(crate) fn ladder_for(source: &Bytes, text: &str) -> Ladder {
    let info = segment_info(source, &MediaLimits::default()).expect("a readable source");
    let video = info.require_video().expect("a source with video");
    let fps = FrameRate::new(video.frame_rate.num, video.frame_rate.den).unwrap_or(FrameRate::SOURCE);
    let source = SourceVideo { width: video.width, height: video.height, fps };
    text.parse::<Ladder>().and_then(|ladder| ladder.resolve(&source)).expect("a ladder")
}

/// A concrete ladder of one small rung, for sources that cannot be looked at.
pub(crate) fn small_ladder() -> Ladder {
    let text = r#"[{"name":"small","width":128,"height":72,"bitrate":100000}]"#;
    text.parse().expect("a ladder")
}

pub(crate) fn job(source: Bytes, ladder: Ladder) -> Job {
    Job { session: SessionId::ZERO, sequence: 0, source, ladder, deadline: Instant::now() + PATIENCE }
}

pub(crate) async fn transcode(source: &Bytes, ladder: Ladder) -> Result<Vec<Rendition>, TranscodeError> {
    SoftwareEngine::default().transcode(job(source.clone(), ladder)).collect_all().await
}

/// Presentation times of the video, in rising order.
pub(crate) fn times(data: &Bytes) -> Vec<Ticks> {
    let info = segment_info(data, &MediaLimits::default()).expect("a readable segment");
    info.video.expect("a segment with video").pts
}

/// Packets of the video stream and of each audio track, in decoding order.
pub(crate) fn packets(data: &Bytes) -> (Vec<Packet>, Vec<Vec<Packet>>) {
    let mut demuxer = Demuxer::from_bytes(data.clone(), &MediaLimits::default()).expect("a readable segment");
    let video_stream = demuxer.probe().video.as_ref().map(|video| video.stream);
    let tracks: Vec<usize> = demuxer.probe().audio.iter().map(|audio| audio.stream).collect();
    let (mut video, mut audio) = (Vec::new(), vec![Vec::new(); tracks.len()]);
    while let Some(packet) = demuxer.next_packet().expect("a readable packet") {
        match tracks.iter().position(|&track| track == packet.stream()) {
            Some(track) => audio[track].push(packet),
            None if Some(packet.stream()) == video_stream => video.push(packet),
            None => {}
        }
    }
    audio.retain(|track: &Vec<Packet>| !track.is_empty());
    (video, audio)
}

/// Time and bytes of every packet of one audio track.
pub(crate) type Sound = Vec<(Ticks, Vec<u8>)>;

/// Every audio track, without the headers that MPEG-TS wants in front of AAC.
pub(crate) fn sound(data: &Bytes) -> Vec<Sound> {
    const ADTS_HEADER: usize = 7;
    let payload = |packet: &Packet| match packet.data() {
        [0xff, second, ..] if second & 0xf6 == 0xf0 => packet.data()[ADTS_HEADER..].to_vec(),
        data => data.to_vec(),
    };
    let tag = |packet: &Packet| (packet.pts().expect("a timed packet"), payload(packet));
    packets(data).1.iter().map(|track| track.iter().map(tag).collect()).collect()
}
