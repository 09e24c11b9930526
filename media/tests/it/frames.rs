//! Pictures: planes, formats, sizes.

use framemill_media::{
    DecoderConfig, Frame, MediaError, MediaLimits, PixelFormat, ScaleFilter, Scaler, ScalerConfig,
    VideoReader,
};
use proptest::prelude::*;

use crate::common::{clip, frames, limits, synthetic};

fn flat(width: u32, height: u32, luma: u8) -> Frame {
    let (chroma_width, chroma_height) = (width.div_ceil(2) as usize, height.div_ceil(2) as usize);
    let chroma = vec![128; chroma_width * chroma_height];
    let luma = vec![luma; width as usize * height as usize];
    Frame::from_yuv420p(width, height, [&luma, &chroma, &chroma], 0, &limits()).unwrap()
}

#[test]
fn planes_give_back_what_was_put_in() {
    let luma: Vec<u8> = (0..=255).cycle().take(7 * 5).collect();
    let blue: Vec<u8> = (0..12).collect();
    let red: Vec<u8> = (50..62).collect();
    let frame = Frame::from_yuv420p(7, 5, [&luma, &blue, &red], 42, &limits()).unwrap();
    let plane =
        |index: usize| frame.plane(index).unwrap().iter_rows().flatten().copied().collect::<Vec<u8>>();
    assert_eq!((plane(0), plane(1), plane(2)), (luma, blue, red));
    assert_eq!(frame.pts(), Some(42));
    assert!(frame.plane(3).is_none());
}

#[test]
fn planes_of_the_wrong_length_are_refused() {
    let error = Frame::from_yuv420p(4, 4, [&[0; 16], &[0; 4], &[0; 5]], 0, &limits()).unwrap_err();
    assert_eq!(error.code(), "invalid_setting");
}

#[test]
fn frame_beyond_the_limit_is_refused_before_it_is_allocated() {
    let error = Frame::from_yuv420p(30_000, 30_000, [&[], &[], &[]], 0, &limits()).unwrap_err();
    assert!(matches!(error, MediaError::LimitExceeded { .. }), "{error}");
    assert!(Scaler::new(ScalerConfig::yuv420p(30_000, 30_000), &limits()).is_err());
}

#[test]
fn narrow_frames_are_legal() {
    let mut scaler = Scaler::new(ScalerConfig::yuv420p(16, 4000), &limits()).unwrap();
    let frame = scaler.scale(&flat(64, 64, 100)).unwrap();
    assert_eq!((frame.width(), frame.height()), (16, 4000));
}

#[test]
fn four_two_two_becomes_four_two_zero_with_the_same_luma() {
    let Some(data) = clip("dark-720p-422.ts") else { return };
    let source = frames(data).unwrap().swap_remove(100);
    assert_eq!(source.format(), PixelFormat::YUV422P);
    let result = Scaler::new(ScalerConfig::yuv420p(1280, 720), &limits()).unwrap().scale(&source).unwrap();
    assert_eq!((result.format(), result.pts()), (PixelFormat::YUV420P, source.pts()));
    let luma = |frame: &Frame| frame.plane(0).unwrap().iter_rows().flatten().copied().collect::<Vec<u8>>();
    assert_eq!(luma(&result), luma(&source));
}

#[test]
fn frame_that_fits_is_shared_not_copied() {
    let frame = flat(64, 64, 90);
    let same = Scaler::new(ScalerConfig::yuv420p(64, 64), &limits()).unwrap().scale(&frame).unwrap();
    let start = |frame: &Frame| frame.plane(0).unwrap().data().as_ptr();
    assert_eq!(start(&same), start(&frame));
}

#[test]
fn scaler_follows_a_source_that_changes_size() {
    let mut scaler = Scaler::new(ScalerConfig::yuv420p(64, 36), &limits()).unwrap();
    for (width, height) in [(128, 72), (321, 179), (64, 36), (2, 2)] {
        let frame = scaler.scale(&flat(width, height, 77)).unwrap();
        assert_eq!((frame.width(), frame.height()), (64, 36));
        // swscale's vector kernels round a flat picture up or down by one.
        assert!(frame.plane(0).unwrap().iter_rows().flatten().all(|&value| value.abs_diff(77) <= 1));
    }
}

#[test]
fn scaled_frames_that_are_kept_do_not_change() {
    let mut scaler = Scaler::new(ScalerConfig::yuv420p(32, 32), &limits()).unwrap();
    let kept: Vec<Frame> = (0..40).map(|luma| scaler.scale(&flat(64, 64, luma)).unwrap()).collect();
    for (luma, frame) in (0u8..).zip(&kept) {
        assert!(frame.plane(0).unwrap().iter_rows().flatten().all(|&value| value == luma));
    }
}

#[test]
fn synthetic_clips_move_and_differ_by_seed() {
    let luma = |seed, index| {
        let frame = frames(synthetic(|spec| spec.seed = seed)).unwrap().swap_remove(index);
        frame.plane(0).unwrap().iter_rows().flatten().copied().collect::<Vec<u8>>()
    };
    assert_ne!(luma(1, 0), luma(1, 30));
    assert_ne!(luma(1, 30), luma(2, 30));
}

#[test]
fn synthetic_clips_of_one_seed_show_the_same() {
    let luma = || {
        let frame = frames(synthetic(|spec| spec.seed = 7)).unwrap().swap_remove(30);
        frame.plane(0).unwrap().iter_rows().flatten().copied().collect::<Vec<u8>>()
    };
    let (one, other) = (luma(), luma());
    // x264 itself is not repeatable to the bit.
    let difference: u64 = one.iter().zip(&other).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    assert!(difference / (one.len() as u64) < 4, "{difference}");
}

#[test]
fn sizes_off_the_macroblock_grid_decode_under_their_exact_pixel_bound() {
    for (width, height) in [(854, 480), (66, 50)] {
        let data = synthetic(|spec| {
            (spec.width, spec.height) = (width, height);
            spec.duration = 15_000;
        });
        let limits =
            MediaLimits { pixels_per_frame: u64::from(width) * u64::from(height), ..MediaLimits::default() };
        let reader = VideoReader::open(data, &DecoderConfig::default(), &limits).unwrap();
        let frames: Vec<Frame> = reader.collect::<Result<_, _>>().unwrap();
        assert_eq!((frames.len(), frames[0].width(), frames[0].height()), (5, width, height));
    }
}

#[test]
fn cancelled_scaler_stops() {
    let limits = MediaLimits::default();
    let mut scaler = Scaler::new(ScalerConfig::yuv420p(32, 32), &limits).unwrap();
    limits.cancel.cancel();
    assert_eq!(scaler.scale(&flat(64, 64, 0)).unwrap_err(), MediaError::Cancelled);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_size_scales_to_every_size(
        (width, height) in (1u32..200, 1u32..200),
        (to_width, to_height) in (1u32..200, 1u32..200),
        filter in prop::sample::select(vec![
            ScaleFilter::Bilinear, ScaleFilter::Bicubic, ScaleFilter::Lanczos, ScaleFilter::Area,
        ]),
    ) {
        let config = ScalerConfig { filter, ..ScalerConfig::yuv420p(to_width, to_height) };
        let mut scaler = Scaler::new(config, &limits()).unwrap();
        // Sizes FFmpeg has no kernel for are refused with an error; none may crash.
        if let Ok(frame) = scaler.scale(&flat(width, height, 120)) {
            prop_assert_eq!((frame.width(), frame.height()), (to_width, to_height));
        }
    }
}
