//! Whatever bytes a stranger returns, a judgement ends with a verdict.

use std::sync::OnceLock;

use bytes::Bytes;
use framemill_media::{ClipSpec, MediaLimits, OutputFormat, Rational, generate_clip};
use framemill_network::ladder::LadderEntry;
use framemill_verification::{Policy, Report, SourceReference, VerifyError, inspect, verify};
use proptest::prelude::*;

use crate::rewrite::Parts;
use crate::studio::{Recipe, entry, honest, with_sound};

struct Stage {
    source: SourceReference,
    entry: LadderEntry,
    good: Bytes,
}

fn stage() -> &'static Stage {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(|| {
        let clip = with_sound(1);
        let entry = entry(192, 108, 150_000);
        let good = honest(&clip, &entry, &Recipe { preset: "ultrafast", ..Recipe::default() });
        let source = SourceReference::new(clip.data, &MediaLimits::segment()).expect("source is sound");
        Stage { source, entry, good }
    })
}

fn judge(bytes: Vec<u8>) -> Report {
    let Stage { source, entry, .. } = stage();
    verify(source, &Bytes::from(bytes), entry, &Policy::FULL, &[0; 32]).expect("a verdict")
}

/// Offsets of coded picture bytes: the ends of video packets that continue a picture.
fn coded_bytes(bytes: &[u8]) -> Vec<usize> {
    let packets = bytes.chunks_exact(188).enumerate();
    let video = packets.filter(|(_, p)| p[1] & 0x5f == 1 && p[2] == 0 && p[3] & 0x30 == 0x10);
    video.flat_map(|(i, _)| i * 188 + 20..i * 188 + 188).collect()
}

#[test]
fn the_stage_is_sound() {
    assert_eq!(judge(stage().good.to_vec()).reason(), None);
    assert!(!coded_bytes(&stage().good).is_empty());
}

#[test]
fn a_rendition_cut_anywhere_fails() {
    let good = &stage().good;
    for tenth in 0..10 {
        assert!(!judge(good[..good.len() * tenth / 10].to_vec()).passed(), "{tenth} tenths pass");
    }
}

fn look(bytes: Vec<u8>) -> Report {
    let Stage { source, entry, .. } = stage();
    verify(source, &Bytes::from(bytes), entry, &Policy::STRUCTURE_ONLY, &[0; 32]).expect("a verdict")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn the_structure_of_changed_bytes_is_read_to_a_verdict(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..32), cut in any::<prop::sample::Index>()) {
        let mut bytes = stage().good.to_vec();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        // Most are cut between packets, where more is read than of what is cut within one.
        bytes.truncate(bytes.len() - cut.index(8) * 188);
        look(bytes);
    }

    #[test]
    fn units_that_are_changed_inside_sound_packets_are_read_to_a_verdict(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), prop_oneof![Just(0u8), Just(1), Just(3), any::<u8>()]), 1..32)) {
        let mut parts = Parts::of(&stage().good);
        for (unit, at, value) in changes {
            let unit = unit.index(parts.video().len());
            let data = &mut parts.video()[unit].data;
            let at = at.index(data.len().min(200));
            data[at] = value;
        }
        let report = look(parts.write());
        let container = report.checks.iter().find(|check| check.name == "transport_stream");
        prop_assert!(container.is_some_and(|check| check.pass()), "the units are reached");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn changed_bytes_end_in_a_verdict(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..64)) {
        let mut bytes = stage().good.to_vec();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        judge(bytes);
    }

    #[test]
    fn changed_pictures_end_in_a_verdict(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..64)) {
        let mut bytes = stage().good.to_vec();
        let coded = coded_bytes(&bytes);
        for (at, value) in changes {
            bytes[coded[at.index(coded.len())]] = value;
        }
        judge(bytes);
    }

    #[test]
    fn packets_in_another_order_end_in_a_verdict(swaps in prop::collection::vec(any::<(prop::sample::Index, prop::sample::Index)>(), 1..16)) {
        let mut packets: Vec<Vec<u8>> = stage().good.chunks(188).map(<[u8]>::to_vec).collect();
        for (a, b) in swaps {
            let (a, b) = (a.index(packets.len()), b.index(packets.len()));
            packets.swap(a, b);
        }
        judge(packets.concat());
    }
}

/// Inputs that mean harm or are merely broken, as those of the media crate's own tests.
fn harmful() -> Vec<(&'static str, Bytes)> {
    let clip = |change: fn(&mut ClipSpec)| {
        let mut spec = ClipSpec { start_pts: 90_000, ..ClipSpec::new(192, 108, Rational::new(30, 1), 1) };
        change(&mut spec);
        generate_clip(&spec, &MediaLimits::default()).expect("a clip")
    };
    let sound = clip(|_| {});
    let later = clip(|spec| spec.start_pts = 36_000 * 90_000);
    let mp4 = clip(|spec| spec.format = OutputFormat::FragmentedMp4);
    let mut damaged = sound.to_vec();
    damaged.iter_mut().skip(5_000).step_by(97).for_each(|byte| *byte ^= 0x55);
    let text = Bytes::from("Once upon a time there was a transcoder.\n".repeat(100));
    vec![
        ("nothing", Bytes::new()),
        ("text", text),
        ("zeros", vec![0; 100_000].into()),
        ("sync bytes", vec![0x47; 188 * 500].into()),
        ("an FLV header", Bytes::from_static(b"FLV\x01\x05\0\0\0\x09\0\0\0\0")),
        ("an MP4 header", mp4.slice(..40)),
        ("half an MP4", mp4.slice(..mp4.len() / 2)),
        ("another container", mp4),
        ("one packet", sound.slice(..188)),
        ("half a segment", sound.slice(..sound.len() / 2)),
        ("the end of a segment", sound.slice(sound.len() / 2..)),
        ("damage", damaged.into()),
        ("ten hours between two pictures", [sound.clone(), later].concat().into()),
        ("a segment twice", [sound.clone(), sound.clone()].concat().into()),
        ("sound alone", {
            let mut parts = Parts::of(&sound);
            parts.video().clear();
            parts.write().into()
        }),
    ]
}

#[test]
fn what_is_no_rendition_fails_whatever_it_is() {
    for (what, bytes) in harmful() {
        assert!(!judge(bytes.to_vec()).passed(), "{what} passes");
    }
}

#[test]
fn a_source_that_means_harm_ends_in_a_verdict_or_is_named_as_the_reason() {
    let Stage { entry, good, .. } = stage();
    for (what, bytes) in harmful() {
        let Ok(source) = SourceReference::new(bytes.clone(), &MediaLimits::segment()) else { continue };
        for rendition in [good, &bytes] {
            match verify(&source, rendition, entry, &Policy::FULL, &[0; 32]) {
                Ok(report) => assert!(rendition == &bytes || !report.passed(), "{what} is the source"),
                Err(VerifyError::Source(_) | VerifyError::NoSourcePicture) => {}
                Err(error) => panic!("{what}: {error}"),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn a_changed_source_is_judged_against_or_refused(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..64), cut in any::<prop::sample::Index>()) {
        let Stage { entry, good, .. } = stage();
        let mut bytes = good.to_vec();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(bytes.len() - cut.index(bytes.len() / 4));
        if let Ok(source) = SourceReference::new(bytes.into(), &MediaLimits::segment()) {
            let judged = verify(&source, good, entry, &Policy::FULL, &[0; 32]);
            let inspected = inspect(&source, good, entry, None);
            if let (Ok(report), Ok(inspection)) = (judged, inspected) {
                prop_assert_eq!(report.hash, inspection.report.hash);
            }
        }
    }
}
