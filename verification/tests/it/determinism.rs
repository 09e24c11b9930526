//! The same bytes get the same report, however the judge's machine decodes them.

use framemill_media::{DecoderConfig, MediaLimits, VideoReader};
use framemill_verification::features::{FrameFeatures, Lattice, Picture, Range};
use framemill_verification::plane::Plane;
use framemill_verification::{Policy, Report, verify};

use crate::clips::synthetic_set;
use crate::studio::{Recipe, entry, honest};
use crate::suite::source;

#[test]
fn decoder_threads_leave_the_report_as_it_is() {
    let clip = &synthetic_set()[0];
    let entry = entry(426, 240, 400_000);
    let rendition = honest(clip, &entry, &Recipe::default());
    let judged = |threads: u32, policy: &Policy| -> Report {
        let source = source(clip).with_decoder_threads(threads);
        verify(&source, &rendition, &entry, policy, &[0; 32]).expect("a verdict")
    };
    for policy in [Policy::FULL, Policy::FIRST_FRAMES] {
        let single = judged(1, &policy);
        assert_eq!(single.reason(), None);
        for threads in [0, 3, 8] {
            assert_eq!(judged(threads, &policy).hash, single.hash, "{threads} threads");
        }
    }
}

/// Samples of a plane moved to rows that lie `stride` bytes apart, what is between them filled with noise.
fn restrided(rows: &[&[u8]], stride: usize) -> Vec<u8> {
    let mut out: Vec<u8> = (0..stride * rows.len()).map(|i| (i * 151 % 256) as u8).collect();
    for (to, row) in out.chunks_exact_mut(stride).zip(rows) {
        to[..row.len()].copy_from_slice(row);
    }
    out
}

#[test]
fn the_space_between_rows_leaves_the_features_as_they_are() {
    let config = DecoderConfig::default();
    let data = synthetic_set()[0].data.clone();
    let mut reader = VideoReader::open(data, &config, &MediaLimits::segment()).expect("source opens");
    let frame = reader.next_frame().expect("source decodes").expect("a frame");
    let measured = |padding: usize| {
        let planes = [0, 1, 2].map(|index| {
            let raw = frame.plane(index).expect("three planes");
            let rows: Vec<&[u8]> = raw.iter_rows().collect();
            let stride = raw.row_bytes() + padding;
            (restrided(&rows, stride), stride, raw.row_bytes(), raw.rows())
        });
        let plane = |index: usize| {
            let (data, stride, width, rows) = &planes[index];
            Plane::new(data, *stride, *width, *rows, 8).expect("sound plane")
        };
        let picture =
            Picture { pts: 7, range: Range::Limited, y: plane(0), chroma: Some((plane(1), plane(2))) };
        FrameFeatures::measure(&picture, Lattice::for_picture(960, 540)).canonical_bytes()
    };
    let tight = measured(0);
    for padding in [1, 13, 64, 999] {
        assert_eq!(measured(padding), tight, "{padding} bytes between rows");
    }
}
