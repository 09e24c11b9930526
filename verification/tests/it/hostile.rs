//! Whatever bytes a stranger returns, a judgement ends with a verdict.

use std::sync::OnceLock;

use bytes::Bytes;
use framemill_media::MediaLimits;
use framemill_network::ladder::LadderEntry;
use framemill_verification::{Policy, Report, SourceReference, verify};
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
