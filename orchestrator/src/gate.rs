//! What a request must look like before it costs us anything, and what a result must look like
//! before we sign for it. Pure functions over our own limits and our own stored quote.

use framemill_media::SegmentInfo;
use framemill_network::{LadderEntry, PricePerPixel, QuoteRequest, SegmentHeader, SourceVideo};

use crate::config::{OrchestratorConfig, SegmentLimits};
use crate::refusal::Refusal;
use crate::relay::Fault;
use crate::session::Terms;

/// Ticks of the wire's clock per second.
const TICKS: u64 = 90_000;

/// A segment may need this many times the quoted pixel rate: variable frame rates come in bursts.
/// More means that the quote was asked for with a rate that is not the stream's.
const RATE_SLACK: u64 = 2;

/// How far the announced duration may be from the source's: one frame of a slow stream. What a
/// segment costs does not depend on it.
const DURATION_SLACK_90K: u64 = TICKS / 5;

/// Checks a request for a quote; the pixel rate to reserve.
pub(crate) fn check_quote(
    request: &QuoteRequest,
    config: &OrchestratorConfig,
) -> Result<(u64, PricePerPixel), Refusal> {
    request.ladder.ensure_concrete().map_err(|error| Refusal::BadRequest(error.to_string()))?;
    check_picture(&request.source, &config.segments)?;
    let price = config.price_for(Some(request.sender), request.commitments).ok_or_else(|| {
        Refusal::BadRequest("feature commitments are not offered here; ask without them".into())
    })?;
    if let Some(ceiling) = request.max_price
        && price.cmp_value(&ceiling).is_gt()
    {
        return Err(Refusal::PriceTooLow { price, ceiling });
    }
    let own = request.ladder.pixels_per_second(request.source.fps);
    // Without a known frame rate only the client can say how much it is going to send.
    match own.max(request.pixels_per_second) {
        0 => Err(Refusal::BadRequest(
            "pixel rate is 0; give the source's frame rate or pixels per second".into(),
        )),
        rate => Ok((rate, price)),
    }
}

fn check_picture(source: &SourceVideo, limits: &SegmentLimits) -> Result<(), Refusal> {
    let pixels = u64::from(source.width) * u64::from(source.height);
    at_most("pixels of the source's picture", pixels, limits.max_source_pixels)
}

/// Checks what a header announces against our limits; no session is needed for it.
pub(crate) fn check_header(header: &SegmentHeader, limits: &SegmentLimits) -> Result<(), Refusal> {
    let max_duration = u64::try_from(limits.max_duration.as_millis()).unwrap_or(u64::MAX);
    at_most("source bytes", header.source_len, limits.max_source_bytes)?;
    at_most("duration in ms", header.duration_90k / (TICKS / 1000), max_duration)?;
    at_most("frames", u64::from(header.frames), u64::from(limits.max_frames))?;
    at_most("output pixels", header.expected_pixels(), limits.max_output_pixels)?;
    if header.source_len == 0 || header.frames == 0 || header.duration_90k == 0 {
        return Err(Refusal::BadMedia(format!(
            "{} bytes, {} frames, {} ticks announced; a segment has some of each",
            header.source_len, header.frames, header.duration_90k
        )));
    }
    Ok(())
}

/// Checks that a segment is of the stream its session was quoted for.
pub(crate) fn check_rate(header: &SegmentHeader, terms: &Terms) -> Result<(), Refusal> {
    // A short segment is as long as a second, or its first frame alone would break the bound.
    let ticks = u128::from(header.duration_90k.max(TICKS));
    let bound = u128::from(terms.pixels_per_second) * u128::from(RATE_SLACK) * ticks / u128::from(TICKS);
    let bound = u64::try_from(bound).unwrap_or(u64::MAX);
    at_most("output pixels for the quoted rate", header.expected_pixels(), bound)
}

/// Checks a source against its header; returns the presentation times of its frames.
///
/// A source need not begin with a frame that is marked as a keyframe: cameras exist that refresh without IDR frames.
/// Whether it decodes without an error is found out by decoding it.
pub(crate) fn check_source(
    info: SegmentInfo,
    header: &SegmentHeader,
    limits: &SegmentLimits,
) -> Result<Vec<i64>, Refusal> {
    let video = info.video.ok_or_else(|| Refusal::BadMedia("no video stream".into()))?;
    let found = video.pts.len() as u64;
    if found != u64::from(header.frames) {
        return Err(mismatch("frames", u64::from(header.frames), found));
    }
    let duration = u64::try_from(video.duration).unwrap_or(0);
    if duration.abs_diff(header.duration_90k) > DURATION_SLACK_90K {
        return Err(mismatch("duration in ticks of 90 kHz", header.duration_90k, duration));
    }
    let picture = u64::from(video.width) * u64::from(video.height);
    at_most("pixels of the source's picture", picture, limits.max_source_pixels)?;
    Ok(video.pts)
}

/// Checks a rendition against what was asked; its frames and pixels.
pub(crate) fn check_rendition(
    index: u32,
    entry: &LadderEntry,
    source_pts: &[i64],
    info: &SegmentInfo,
) -> Result<(u32, u64), Fault> {
    let not_media = |reason: &str| Fault::NotMedia { index, reason: reason.to_owned() };
    let video = info.video.as_ref().ok_or_else(|| not_media("no video stream"))?;
    let expected = entry.kept_frames(source_pts);
    let found = video.pts.len() as u64;
    let checks = [
        ("width", u64::from(video.width), u64::from(entry.width)),
        ("height", u64::from(video.height), u64::from(entry.height)),
        ("frame count", found, expected),
    ];
    for (what, found, expected) in checks {
        if found != expected {
            return Err(Fault::Mismatch { index, what, found, expected });
        }
    }
    let frames = u32::try_from(found).map_err(|_| not_media("too many frames"))?;
    Ok((frames, found.saturating_mul(entry.pixels_per_frame())))
}

fn at_most(what: &'static str, value: u64, bound: u64) -> Result<(), Refusal> {
    if value > bound { Err(Refusal::TooLarge { what, value, bound }) } else { Ok(()) }
}

fn mismatch(what: &'static str, announced: u64, found: u64) -> Refusal {
    Refusal::SourceMismatch { what, announced, found }
}

#[cfg(test)]
mod tests;
