use std::time::Duration;

use alloy_primitives::{Address, B256, U256};
use bytes::Bytes;
use framemill_media::{Container, Rational, VideoCodec, VideoTrack};
use framemill_network::{FrameRate, Ladder, PeerId, PricePerPixel, QualityTerms};

use super::*;
use crate::config::CommitmentOffer;

fn config() -> OrchestratorConfig {
    OrchestratorConfig { price: price(3, 2), ..OrchestratorConfig::default() }
}

fn price(wei: u64, pixels: u64) -> PricePerPixel {
    PricePerPixel::new(U256::from(wei), pixels).unwrap()
}

fn fps(rate: u32) -> FrameRate {
    FrameRate::new(rate, 1).unwrap()
}

fn ladder() -> Ladder {
    r#"[{"name":"a","width":100,"height":50,"bitrate":100000}]"#.parse().unwrap()
}

fn request() -> QuoteRequest {
    QuoteRequest {
        sender: Address::ZERO,
        ladder: ladder(),
        source: SourceVideo { width: 200, height: 100, fps: fps(30) },
        pixels_per_second: 0,
        max_price: None,
        commitments: false,
    }
}

fn header() -> SegmentHeader {
    SegmentHeader {
        session: B256::ZERO,
        sequence: 0,
        duration_90k: 2 * TICKS,
        frames: 60,
        source_len: 1000,
        source_sha256: B256::ZERO,
        ladder: ladder(),
        deadline: Duration::from_secs(8),
        payment: Bytes::new(),
        sampling_commitment: None,
    }
}

fn terms(pixels_per_second: u64) -> Terms {
    Terms {
        id: B256::ZERO,
        peer: PeerId::random(),
        ladder_hash: ladder().hash(),
        ladder: ladder(),
        price: price(3, 2),
        commitments: false,
        quality: QualityTerms::WHOLE,
        pixels_per_second,
    }
}

fn info(width: u32, height: u32, frames: u32) -> SegmentInfo {
    let pts = (0..i64::from(frames)).map(|n| n * 3000).collect();
    let video = VideoTrack {
        codec: VideoCodec::H264,
        width,
        height,
        pts,
        duration: i64::from(frames) * 3000,
        starts_with_key: true,
        key_frames: 1,
        leading: 0,
        frame_rate: Rational::new(30, 1),
    };
    SegmentInfo { container: Container::MpegTs, video: Some(video), audio: Vec::new(), bytes: 1000 }
}

fn too_large(refusal: Result<(), Refusal>) -> Option<&'static str> {
    match refusal {
        Err(Refusal::TooLarge { what, .. }) => Some(what),
        _ => None,
    }
}

#[test]
fn reserves_the_ladders_rate_whatever_the_client_claims() {
    assert_eq!(check_quote(&request(), &config()), Ok((100 * 50 * 30, config().price)));
}

#[test]
fn reserves_the_claimed_rate_when_it_is_higher() {
    let request = QuoteRequest { pixels_per_second: 1_000_000, ..request() };
    assert_eq!(check_quote(&request, &config()), Ok((1_000_000, config().price)));
}

#[test]
fn refuses_a_quote_without_any_rate() {
    let mut request = request();
    request.source.fps = FrameRate::SOURCE;
    assert!(matches!(check_quote(&request, &config()), Err(Refusal::BadRequest(_))));
}

#[test]
fn compares_prices_by_value() {
    let ceiling = |wei, pixels| QuoteRequest { max_price: Some(price(wei, pixels)), ..request() };
    assert!(check_quote(&ceiling(6, 4), &config()).is_ok());
    assert!(matches!(check_quote(&ceiling(4, 3), &config()), Err(Refusal::PriceTooLow { .. })));
}

#[test]
fn holds_the_price_with_commitments_against_the_ceiling() {
    let offer = CommitmentOffer { surcharge_ppm: 250_000, ..CommitmentOffer::default() };
    let config = OrchestratorConfig { commitments: Some(offer), ..config() };
    let asked = |ceiling| QuoteRequest { commitments: true, max_price: Some(ceiling), ..request() };
    let price = config.price.surcharged(250_000).expect("a price");
    assert_eq!(check_quote(&asked(price), &config), Ok((100 * 50 * 30, price)));
    let refused = check_quote(&asked(config.price), &config);
    assert!(matches!(refused, Err(Refusal::PriceTooLow { .. })));
}

#[test]
fn a_sender_with_a_price_of_its_own_gets_it() {
    let (known, own) = (Address::repeat_byte(7), price(1, 9));
    let config = OrchestratorConfig { prices: [(known, own)].into(), ..config() };
    let quoted = |sender| check_quote(&QuoteRequest { sender, ..request() }, &config).map(|(_, price)| price);
    assert_eq!(quoted(known), Ok(own));
    assert_eq!(quoted(Address::ZERO), Ok(config.price));
}

#[test]
fn refuses_commitments_where_none_are_offered() {
    let config = OrchestratorConfig { commitments: None, ..config() };
    let request = QuoteRequest { commitments: true, ..request() };
    assert!(matches!(check_quote(&request, &config), Err(Refusal::BadRequest(_))));
}

#[test]
fn refuses_an_open_ladder() {
    let request = QuoteRequest { ladder: Ladder::default(), ..request() };
    assert!(matches!(check_quote(&request, &config()), Err(Refusal::BadRequest(_))));
}

#[test]
fn takes_a_usual_header() {
    assert_eq!(check_header(&header(), &SegmentLimits::default()), Ok(()));
}

#[test]
fn bounds_everything_a_header_announces() {
    let limits = SegmentLimits::default();
    let bytes = SegmentHeader { source_len: u64::MAX, ..header() };
    let ticks = SegmentHeader { duration_90k: u64::MAX, ..header() };
    let frames = SegmentHeader { frames: u32::MAX, ..header() };
    let found = [bytes, ticks, frames].map(|header| too_large(check_header(&header, &limits)));
    assert_eq!(found, [Some("source bytes"), Some("duration in ms"), Some("frames")]);
}

#[test]
fn refuses_a_segment_of_nothing() {
    let limits = SegmentLimits::default();
    let headers = [
        SegmentHeader { source_len: 0, ..header() },
        SegmentHeader { frames: 0, ..header() },
        SegmentHeader { duration_90k: 0, ..header() },
    ];
    for header in headers {
        assert!(matches!(check_header(&header, &limits), Err(Refusal::BadMedia(_))));
    }
}

#[test]
fn lets_a_stream_burst_but_not_run_at_another_rate() {
    let quoted = terms(100 * 50 * 30);
    let burst = SegmentHeader { frames: 120, ..header() };
    let other = SegmentHeader { frames: 121, ..header() };
    assert_eq!(check_rate(&burst, &quoted), Ok(()));
    assert!(matches!(check_rate(&other, &quoted), Err(Refusal::TooLarge { .. })));
}

#[test]
fn a_segment_of_one_frame_is_within_its_rate() {
    let short = SegmentHeader { frames: 1, duration_90k: 1, ..header() };
    assert_eq!(check_rate(&short, &terms(100 * 50 * 30)), Ok(()));
}

#[test]
fn takes_a_source_that_is_as_announced() {
    let pts = check_source(info(200, 100, 60), &header(), &SegmentLimits::default());
    assert_eq!(pts.map(|pts| pts.len()), Ok(60));
}

#[test]
fn refuses_a_source_with_other_frames_or_duration() {
    let limits = SegmentLimits::default();
    let frames = check_source(info(200, 100, 61), &header(), &limits);
    assert!(matches!(frames, Err(Refusal::SourceMismatch { what: "frames", announced: 60, found: 61 })));
    let longer = SegmentHeader { duration_90k: 3 * TICKS, ..header() };
    assert!(matches!(
        check_source(info(200, 100, 60), &longer, &limits),
        Err(Refusal::SourceMismatch { .. })
    ));
}

#[test]
fn refuses_a_source_without_video() {
    let limits = SegmentLimits::default();
    let mut deaf = info(200, 100, 60);
    deaf.video = None;
    assert!(matches!(check_source(deaf, &header(), &limits), Err(Refusal::BadMedia(_))));
}

#[test]
fn takes_a_source_that_begins_without_an_idr_frame() {
    let mut open = info(200, 100, 60);
    if let Some(video) = &mut open.video {
        video.starts_with_key = false;
    }
    assert_eq!(check_source(open, &header(), &SegmentLimits::default()).map(|pts| pts.len()), Ok(60));
}

#[test]
fn vouches_for_a_rendition_with_the_frames_that_are_kept() {
    let source: Vec<i64> = (0..60).map(|n| n * 3000).collect();
    let mut entry = ladder().entries()[0].clone();
    assert_eq!(check_rendition(0, &entry, &source, &info(100, 50, 60)), Ok((60, 60 * 100 * 50)));
    entry.fps = fps(15);
    assert_eq!(check_rendition(0, &entry, &source, &info(100, 50, 30)), Ok((30, 30 * 100 * 50)));
}

#[test]
fn refuses_a_rendition_of_another_shape() {
    let source: Vec<i64> = (0..60).map(|n| n * 3000).collect();
    let entry = ladder().entries()[0].clone();
    let shapes = [(102, 50, 60), (100, 48, 60), (100, 50, 59)];
    for (width, height, frames) in shapes {
        let found = check_rendition(0, &entry, &source, &info(width, height, frames));
        assert!(matches!(found, Err(Fault::Mismatch { index: 0, .. })), "{found:?}");
    }
}
