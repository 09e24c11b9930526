//! Lies of the container: each rule of the structure is broken once.

use std::sync::OnceLock;

use bytes::Bytes;
use framemill_media::MediaLimits;
use framemill_network::ladder::LadderEntry;
use framemill_verification::{Policy, Report, SourceReference, Tier, verify};

use crate::studio::{Clip, Recipe, audio_of, encode, entry, honest, mux, scaled, with_sound};

const PACKET: usize = 188;

struct Stage {
    clip: Clip,
    source: SourceReference,
    entry: LadderEntry,
}

fn stage() -> &'static Stage {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(|| {
        let clip = with_sound(1);
        let source =
            SourceReference::new(clip.data.clone(), &MediaLimits::segment()).expect("source is sound");
        Stage { clip, source, entry: entry(320, 180, 300_000) }
    })
}

fn judge(bytes: Vec<u8>) -> Report {
    let Stage { source, entry, .. } = stage();
    verify(source, &Bytes::from(bytes), entry, &Policy::STRUCTURE_ONLY, &[0; 32]).expect("a verdict")
}

fn failed(report: &Report) -> Vec<&'static str> {
    report.failures().map(|check| check.name).collect()
}

fn good() -> Vec<u8> {
    let Stage { clip, entry, .. } = stage();
    honest(clip, entry, &Recipe::default()).to_vec()
}

fn pid(packet: &[u8]) -> u16 {
    u16::from(packet[1] & 0x1f) << 8 | u16::from(packet[2])
}

/// Encodes the clip's frames without those at `dropped`, all times moved by `moved`.
fn remade(dropped: Option<usize>, moved: i64, with_audio: bool) -> Vec<u8> {
    let Stage { clip, entry, .. } = stage();
    let recipe = Recipe::default();
    let mut frames = scaled(clip, entry, recipe.filter);
    if let Some(index) = dropped {
        frames.remove(index);
    }
    let frames: Vec<_> = frames
        .into_iter()
        .map(|frame| {
            let pts = frame.pts().expect("time") + moved;
            frame.with_pts(pts)
        })
        .collect();
    let mut streams = vec![encode(&frames, entry, clip.rate, &recipe)];
    if with_audio {
        streams.extend(audio_of(&clip.data));
    }
    mux(streams).to_vec()
}

#[test]
fn the_honest_rendition_has_nothing_to_hide() {
    assert_eq!(judge(good()).reason(), None);
}

#[test]
fn notices_a_dropped_frame() {
    assert!(failed(&judge(remade(Some(7), 0, true))).contains(&"frames"));
}

#[test]
fn notices_times_that_are_off_by_a_frame() {
    assert!(failed(&judge(remade(None, 3000, true))).contains(&"wrong_times"));
}

#[test]
fn notices_missing_sound() {
    assert!(failed(&judge(remade(None, 0, false))).contains(&"audio_streams"));
}

#[test]
fn notices_one_altered_byte_of_sound() {
    let mut bytes = good();
    let audio = bytes.chunks_exact_mut(PACKET).filter(|packet| pid(packet) == 257).nth(3).expect("sound");
    audio[PACKET - 1] ^= 1;
    assert_eq!(failed(&judge(bytes)), ["audio_changed"]);
}

#[test]
fn notices_a_lost_packet() {
    let mut bytes = good();
    let lost = bytes.chunks_exact(PACKET).position(|packet| pid(packet) == 256 && packet[1] & 0x40 == 0);
    let at = lost.expect("a continuation") * PACKET;
    bytes.drain(at..at + PACKET);
    assert!(failed(&judge(bytes)).contains(&"discontinuities"));
}

#[test]
fn notices_packets_that_no_table_names() {
    let mut bytes = good();
    let mut stray = bytes[bytes.len() - PACKET..].to_vec();
    (stray[1], stray[2]) = (stray[1] & 0xe0 | 0x0f, 0x0f);
    bytes.extend(stray);
    assert_eq!(failed(&judge(bytes)), ["stray_packets"]);
}

#[test]
fn notices_padding() {
    let mut bytes = good();
    let mut null = vec![0xff; PACKET];
    null[..4].copy_from_slice(&[0x47, 0x1f, 0xff, 0x10]);
    bytes.extend(null);
    assert_eq!(failed(&judge(bytes)), ["null_packets"]);
}

#[test]
fn notices_another_picture_size() {
    let Stage { clip, .. } = stage();
    let report = judge(honest(clip, &entry(256, 144, 300_000), &Recipe::default()).to_vec());
    let failed = failed(&report);
    assert!(failed.contains(&"width") || failed.contains(&"readable"), "{failed:?}");
}

#[test]
fn notices_another_codec() {
    let Stage { clip, entry, .. } = stage();
    let hevc = LadderEntry { codec: framemill_network::ladder::Codec::Hevc, ..entry.clone() };
    let bytes = honest(clip, &hevc, &Recipe { preset: "ultrafast", ..Recipe::default() });
    assert!(failed(&judge(bytes.to_vec())).contains(&"codec"));
}

#[test]
fn notices_a_rendition_that_is_two_put_together() {
    let bytes = [good(), good()].concat();
    let report = judge(bytes);
    assert!(failed(&report).contains(&"frames"), "{:?}", failed(&report));
}

#[test]
fn notices_bytes_that_are_no_transport_stream() {
    for bytes in [Vec::new(), b"not media at all".to_vec(), vec![0x47; PACKET * 4], vec![0; PACKET]] {
        assert_eq!(failed(&judge(bytes)), ["transport_stream"]);
    }
}

#[test]
fn the_picture_of_a_broken_container_is_not_looked_at() {
    let Stage { source, entry, .. } = stage();
    let bytes = Bytes::from(remade(Some(7), 0, true));
    let report = verify(source, &bytes, entry, &Policy::FULL, &[0; 32]).expect("a verdict");
    assert_eq!(report.tier, Tier::Structure);
}
