//! Connections without a socket, for tests and fuzzing: what publishers send, and what has to hold whatever they send.

use bytes::Bytes;

use super::RtmpError;
use super::amf::{self, Value};
use super::chunk::{self, Message, kind};
use super::container::{Tag, Writer};
use super::handshake::{HANDSHAKE, VERSION};
use super::session::{Event, Session, object, text};

/// Takes an input as a connection's: what follows an even byte as it is, what follows an odd one behind an honest greeting, which
/// few inputs would get past. The byte says as well how it is cut.
///
/// # Panics
/// The parsers are wrong.
pub(crate) fn any_input(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let greeting = if first & 1 == 0 { Vec::new() } else { obs("live", "cam") };
    connection(&greeting, rest, 1 + usize::from(first >> 1) * 16);
    if let Ok(values) = amf::decode(rest) {
        assert!(amf::decode(&amf::encode(&values)).is_ok(), "what is encoded is decoded");
    }
}

/// A connection whose bytes arrive in steps and at once: each ends in a stream or an error, and two streams are the same.
pub(super) fn connection(greeting: &[u8], bytes: &[u8], step: usize) {
    let begun = || std::iter::once(greeting);
    let at_once = taken(begun().chain([bytes]));
    let in_steps = taken(begun().chain(bytes.chunks(step)));
    for file in [&at_once, &in_steps].into_iter().flatten() {
        assert!(is_flv(file) || is_matroska(file), "whole tags with their lengths");
    }
    if let (Ok(at_once), Ok(in_steps)) = (at_once, in_steps) {
        assert_eq!(at_once, in_steps, "it does not matter how bytes arrive");
    }
}

/// The stream of a publisher that is let in.
fn taken<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Result<Vec<u8>, RtmpError> {
    let (mut session, mut writer, mut file) = (Session::new(), Writer::new(), Vec::new());
    // What came behind the wish to publish, without waiting for the answer, comes at last with nothing.
    for piece in pieces.chain(std::iter::once(&[][..])) {
        for event in session.receive(piece)? {
            match event {
                Event::Publish { .. } => session.accept(),
                Event::Media { kind, timestamp, data } => {
                    writer.tag(Tag { kind, timestamp, data })?;
                    file.extend(writer.take().unwrap_or_default());
                }
                Event::Finished => return Ok(file),
            }
        }
        session.take_output();
        assert!(session.is_bounded(), "what is held is counted");
    }
    Ok(file)
}

/// Whether these are whole elements of Matroska, the one that ends with the file aside.
fn is_matroska(file: &[u8]) -> bool {
    const SEGMENT: [u8; 4] = [0x18, 0x53, 0x80, 0x67];
    let (mut rest, mut first) = (file, true);
    while let Some((id, after)) = rest.split_first_chunk::<4>() {
        let Some((size, body)) = after.split_first_chunk() else { return false };
        let size = u64::from_be_bytes(*size) & ((1 << 56) - 1);
        let begins = std::mem::take(&mut first);
        if begins && *id != [0x1a, 0x45, 0xdf, 0xa3] {
            return false;
        }
        rest = match usize::try_from(size).ok().and_then(|size| body.get(size..)) {
            Some(rest) => rest,
            None if *id == SEGMENT => body,
            None => return false,
        };
    }
    rest.is_empty() && !first
}

fn is_flv(flv: &[u8]) -> bool {
    let Some((header, mut tags)) = flv.split_at_checked(13) else { return flv.is_empty() };
    while let [kind, a, b, c, ..] = *tags {
        let length = 11 + u32::from_be_bytes([0, a, b, c]) as usize;
        let Some((tag, rest)) = tags.split_at_checked(length + 4) else { return false };
        if !matches!(kind, kind::AUDIO | kind::VIDEO) || tag[length..] != (length as u32).to_be_bytes() {
            return false;
        }
        tags = rest;
    }
    tags.is_empty() && header.starts_with(b"FLV\x01")
}

/// What OBS Studio (librtmp) sends: version and random bytes, their echo, and the commands up to `publish`, of which those
/// without an answer come along with others.
pub(super) fn obs(app: &str, key: &str) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes.extend([0; 4]);
    bytes.extend([0x80, 0, 7, 2]);
    bytes.extend([5; HANDSHAKE - 8]);
    bytes.extend([6; HANDSHAKE]);
    let control = Message {
        kind: kind::SET_CHUNK_SIZE,
        timestamp: 0,
        stream: 0,
        data: 4096_u32.to_be_bytes().to_vec().into(),
    };
    chunk::write(&mut bytes, 2, &control);
    let url = format!("rtmp://localhost/{app}");
    let target = object([
        ("app", text(app)),
        ("type", text("nonprivate")),
        ("flashVer", text("FMLE/3.0")),
        ("tcUrl", text(&url)),
    ]);
    for values in [
        vec![text("connect"), Value::Number(1.0), target],
        vec![text("releaseStream"), Value::Number(2.0), Value::Nothing, text(key)],
        vec![text("FCPublish"), Value::Number(3.0), Value::Nothing, text(key)],
        vec![text("createStream"), Value::Number(4.0), Value::Nothing],
        vec![text("publish"), Value::Number(5.0), Value::Nothing, text(key), text("live")],
    ] {
        // All of them are shorter than a chunk of the size that was set, so each is one chunk.
        let data: Bytes = amf::encode(&values).into();
        bytes.extend([3, 0, 0, 0]);
        bytes.extend(&(data.len() as u32).to_be_bytes()[1..]);
        bytes.extend([kind::AMF0_COMMAND, 0, 0, 0, 0]);
        bytes.extend(&data);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::process::{Command, Stdio};
    use std::sync::OnceLock;
    use std::time::Duration;

    use framemill_media::{MediaLimits, VideoCodec, probe, segment_info};
    use proptest::prelude::*;

    use super::*;

    /// What FFmpeg sends of half a second, up to its wish to publish and from there on.
    fn recorded() -> &'static (Vec<u8>, Vec<u8>) {
        static RECORDED: OnceLock<(Vec<u8>, Vec<u8>)> = OnceLock::new();
        RECORDED.get_or_init(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut ffmpeg = Command::new("ffmpeg");
            ffmpeg.args(["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=64x48:rate=10", "-f", "lavfi"]);
            ffmpeg.args(["-i", "sine", "-t", "0.5", "-pix_fmt", "yuv420p", "-c:v", "libx264", "-g", "3"]);
            ffmpeg.args(["-c:a", "aac", "-f", "flv"]);
            ffmpeg.arg(format!("rtmp://{}/live/cam", listener.local_addr().unwrap()));
            let mut publisher = ffmpeg.stdin(Stdio::null()).spawn().unwrap();
            let (mut socket, _) = listener.accept().unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            let (mut session, mut piece) = (Session::new(), [0; 4096]);
            let (mut greeting, mut rest, mut greeted) = (Vec::new(), Vec::new(), false);
            loop {
                let count = socket.read(&mut piece).unwrap();
                if count == 0 {
                    break;
                }
                let part = if greeted { &mut rest } else { &mut greeting };
                part.extend(&piece[..count]);
                let events = session.receive(&piece[..count]).unwrap();
                if events.iter().any(|event| matches!(event, Event::Publish { .. })) {
                    session.accept();
                    greeted = true;
                }
                socket.write_all(&session.take_output()).unwrap();
            }
            assert!(publisher.wait().unwrap().success());
            (greeting, rest)
        })
    }

    #[test]
    fn what_ffmpeg_sends_is_the_clip_that_it_read() {
        let (greeting, rest) = recorded();
        connection(greeting, rest, 100);
        let flv = taken([&greeting[..], &rest[..]].into_iter()).unwrap();
        let probed = probe(&flv.into(), &MediaLimits::segment()).unwrap();
        let video = probed.video.unwrap();
        assert_eq!((video.width, video.height, probed.audio.len()), (64, 48, 1));
    }

    /// Connections of real publishers (`tests/rtmp`), with the codec and the number of their pictures.
    const PUBLISHERS: [(&str, &[u8], VideoCodec, usize); 7] = [
        ("obs-29", include_bytes!("../../../tests/rtmp/obs-29.rtmp"), VideoCodec::H264, 21),
        ("ffmpeg-5.1", include_bytes!("../../../tests/rtmp/ffmpeg-5.1.rtmp"), VideoCodec::H264, 12),
        ("rtmpsink-1.22", include_bytes!("../../../tests/rtmp/rtmpsink-1.22.rtmp"), VideoCodec::H264, 12),
        ("rtmp2sink-1.22", include_bytes!("../../../tests/rtmp/rtmp2sink-1.22.rtmp"), VideoCodec::H264, 12),
        ("librtmp-late", include_bytes!("../../../tests/rtmp/librtmp-late.rtmp"), VideoCodec::H264, 12),
        ("ffmpeg-7.0-hevc", include_bytes!("../../../tests/rtmp/ffmpeg-7.0-hevc.rtmp"), VideoCodec::Hevc, 12),
        ("ffmpeg-7.0-av1", include_bytes!("../../../tests/rtmp/ffmpeg-7.0-av1.rtmp"), VideoCodec::Av1, 12),
    ];

    #[test]
    fn what_real_publishers_said_is_their_clip_wherever_it_is_split() {
        for (name, bytes, codec, pictures) in PUBLISHERS {
            let whole = taken(std::iter::once(bytes)).unwrap();
            let info = segment_info(&whole.clone().into(), &MediaLimits::segment()).unwrap();
            let video = info.video.unwrap();
            assert_eq!((video.codec.clone(), video.frames()), (codec, pictures), "{name}");
            assert_eq!((video.width, video.height, info.audio.len()), (128, 72, 1), "{name}");
            // The handshake is random bytes; behind it every odd place.
            let handshake = 1 + 2 * HANDSHAKE;
            for at in (1..handshake).step_by(97).chain((handshake..bytes.len()).step_by(2)) {
                let (first, second) = bytes.split_at(at);
                assert!(taken([first, second].into_iter()).unwrap() == whole, "{name} split at {at}");
            }
            assert!(taken(bytes.chunks(1)).unwrap() == whole, "{name} byte by byte");
        }
    }

    #[test]
    fn a_stream_that_is_cut_or_holds_other_tags_is_told_from_a_whole_one() {
        let (greeting, rest) = recorded();
        let flv = taken([&greeting[..], &rest[..]].into_iter()).unwrap();
        assert!(is_flv(&flv) && is_flv(&[]) && !is_matroska(&flv));
        assert!(!is_flv(&flv[..flv.len() - 1]) && !is_flv(&flv[..20]) && !is_flv(&flv[1..]));
    }

    proptest! {
        #[test]
        fn any_input_ends_in_a_stream_or_an_error(data in prop::collection::vec(any::<u8>(), 0..3_000)) {
            any_input(&data);
        }

        #[test]
        fn damaged_connections_of_ffmpeg_end_in_a_stream_or_an_error(
            edits in prop::collection::vec((0..4_u8, any::<u16>(), any::<u8>()), 1..6),
            early in any::<bool>(),
            step in 1..3_000_usize,
        ) {
            let (mut greeting, mut rest) = recorded().clone();
            for (edit, at, byte) in edits {
                let damaged = if early { &mut greeting } else { &mut rest };
                let at = usize::from(at) % damaged.len().max(1);
                match edit {
                    0 => damaged.truncate(at),
                    1 => damaged.extend_from_within(at..),
                    2 => drop(damaged.splice(at..at, [byte])),
                    _ if damaged.is_empty() => {}
                    _ => damaged[at] ^= byte,
                }
            }
            connection(&greeting, &rest, step);
        }
    }
}
