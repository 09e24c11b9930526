//! Timestamps, the 33-bit clock, and repair of bad ones.

use framemill_media::time::{Unwrapper, WRAP, wrapped, wrapped_difference};
use framemill_media::{
    OutputFormat, Packet, SourceSegment, TICKS_PER_SECOND, repair_timestamps, segment_info,
};
use proptest::prelude::*;

use crate::common::{frame_times, limits, packets, rendition, segments, synthetic};

/// A clip whose clock wraps after one and a half seconds.
fn wrapping_clip() -> bytes::Bytes {
    synthetic(|spec| spec.start_pts = WRAP - TICKS_PER_SECOND * 3 / 2)
}

#[test]
fn clock_counts_on_across_a_wrap() {
    let times = frame_times(wrapping_clip());
    assert_eq!(times.len(), 120);
    assert_eq!(times[0], WRAP - TICKS_PER_SECOND * 3 / 2);
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 3000));
}

#[test]
fn segments_join_across_a_wrap() {
    let segments = segments(wrapping_clip()).unwrap();
    assert_eq!(segments[0].start_pts + segments[0].duration, segments[1].start_pts);
    assert!(segments[1].start_pts > WRAP);
    let alone = segment_info(&segments[1].data, &limits()).unwrap();
    assert_eq!(alone.start(), Some(wrapped(segments[1].start_pts)));
}

#[test]
fn rendition_of_a_segment_with_a_wrap_inside_keeps_its_times() {
    let segment = segments(wrapping_clip()).unwrap().swap_remove(0);
    let made = segment_info(&rendition(&segment.data, 160, 90), &limits()).unwrap();
    assert_eq!(made.video.unwrap().pts, segment.info.video.unwrap().pts);
}

#[test]
fn audio_keeps_its_times_across_a_wrap() {
    let data = wrapping_clip();
    let cut: Vec<_> = segments(data.clone())
        .unwrap()
        .iter()
        .flat_map(|SourceSegment { data, .. }| packets(data.clone()).swap_remove(1))
        .map(|packet| wrapped(packet.pts().unwrap()))
        .collect();
    let source: Vec<_> = packets(data)[1].iter().map(|packet| wrapped(packet.pts().unwrap())).collect();
    assert_eq!(cut, source);
}

#[test]
fn decoding_times_before_zero_survive_muxing() {
    let lanes = packets(synthetic(|spec| spec.start_pts = 0));
    assert_eq!(lanes[0][0].pts(), Some(0));
    assert!(lanes[0][0].dts().unwrap() < 0, "{:?}", lanes[0][0]);
}

#[test]
fn fragmented_mp4_keeps_frame_times() {
    let times = |format| {
        frame_times(synthetic(|spec| {
            spec.format = format;
            spec.start_pts = 900_000;
        }))
    };
    assert_eq!(times(OutputFormat::FragmentedMp4), times(OutputFormat::MpegTs));
}

#[test]
fn repair_leaves_good_times_alone() {
    let good = packets(synthetic(|_| {})).swap_remove(0);
    let mut repaired = good.clone();
    repair_timestamps(&mut repaired).unwrap();
    let times = |packets: &[Packet]| -> Vec<_> { packets.iter().map(|p| (p.pts(), p.dts())).collect() };
    assert_eq!(times(&repaired), times(&good));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn repaired_decoding_times_rise_and_never_lie_after_presentation(
        times in prop::collection::vec((-1_000_000i64..1_000_000, -1_000_000i64..1_000_000), 1..60)
    ) {
        let template = sample_packet();
        let mut packets: Vec<Packet> = times
            .iter()
            .map(|&(pts, dts)| {
                let mut packet = template.clone();
                packet.set_pts(pts);
                packet.set_dts(dts);
                packet
            })
            .collect();
        repair_timestamps(&mut packets).unwrap();
        for (packet, (pts, _)) in packets.iter().zip(&times) {
            prop_assert_eq!(packet.pts(), Some(*pts));
            prop_assert!(packet.dts() <= packet.pts());
        }
        for pair in packets.windows(2) {
            prop_assert!(pair[0].dts() < pair[1].dts());
        }
    }

    #[test]
    fn unwrapping_inverts_wrapping(
        start in 0i64..WRAP,
        steps in prop::collection::vec(-(WRAP / 2)..WRAP / 2, 1..50),
    ) {
        let mut clock = Unwrapper::new();
        let mut time = start;
        prop_assert_eq!(clock.advance(wrapped(time)), time);
        for step in steps {
            time += step;
            prop_assert_eq!(clock.advance(wrapped(time)), time);
        }
    }

    #[test]
    fn wrapped_difference_is_antisymmetric(from in 0i64..WRAP, to in 0i64..WRAP) {
        let forth = wrapped_difference(from, to);
        prop_assert_eq!(wrapped(from + forth), to);
        if forth != -WRAP / 2 {
            prop_assert_eq!(wrapped_difference(to, from), -forth);
        }
    }
}

fn sample_packet() -> Packet {
    use std::sync::OnceLock;
    static PACKET: OnceLock<Packet> = OnceLock::new();
    PACKET
        .get_or_init(|| packets(synthetic(|spec| spec.duration = 3000)).swap_remove(0).swap_remove(0))
        .clone()
}
