//! `tracing` spans for whoever follows this process: one for each segment, from its arrival to its publication, and in it one for each
//! attempt.
//!
//! Two attempts may run at a time, so a segment's span has the stages of the one that delivered: they are known when that one has
//! ended, and `published_ms` when the segment stands in the playlists.

use alloy_primitives::Address;
use tracing::Span;
use tracing::field::{Empty, display};

use crate::attempt::Trace;
use crate::check::Delivered;
use crate::event::{SegmentReport, Timeline};
use crate::failure::Failure;
use crate::market::Bought;

/// The span of a segment that has arrived.
pub(crate) fn open(stream: &str, sequence: u64) -> Span {
    tracing::info_span!(
        "segment",
        stream,
        sequence,
        orchestrator = Empty,
        attempts = Empty,
        quote_ms = Empty,
        accepted_ms = Empty,
        uploaded_ms = Empty,
        first_byte_ms = Empty,
        downloaded_ms = Empty,
        verified_ms = Empty,
        published_ms = Empty,
        lost = Empty,
    )
}

/// The span of an attempt that begins, in that of its segment.
pub(crate) fn attempt(orchestrator: Address) -> Span {
    tracing::debug_span!(
        "attempt",
        %orchestrator,
        quote_ms = Empty,
        accepted_ms = Empty,
        uploaded_ms = Empty,
        first_byte_ms = Empty,
        downloaded_ms = Empty,
        verified_ms = Empty,
        outcome = Empty,
    )
}

/// Notes how an attempt ended.
pub(crate) fn attempted(span: &Span, trace: &Trace, result: &Result<Delivered, Failure>) {
    if span.is_disabled() {
        return;
    }
    stages(span, &trace.timeline);
    match result {
        Ok(_) => span.record("outcome", "delivered"),
        Err(failure) => span.record("outcome", failure.outcome.summary()),
    };
}

/// Notes what a purchase came to.
pub(crate) fn bought(span: &Span, bought: &Bought) {
    if span.is_disabled() {
        return;
    }
    span.record("attempts", bought.attempts.len());
    if let Ok(purchase) = &bought.result {
        span.record("orchestrator", display(purchase.session.account));
    }
    if let Some(last) = bought.attempts.last() {
        stages(span, &last.timeline);
    }
}

/// Notes how a segment ended.
pub(crate) fn ended(span: &Span, report: &SegmentReport) {
    span.record("published_ms", report.timeline.published_ms);
    span.record("lost", report.lost.as_deref());
}

/// Notes the stages that an attempt reached.
fn stages(span: &Span, timeline: &Timeline) {
    span.record("quote_ms", timeline.quote_ms);
    span.record("accepted_ms", timeline.accepted_ms);
    span.record("uploaded_ms", timeline.uploaded_ms);
    span.record("first_byte_ms", timeline.first_byte_ms);
    span.record("downloaded_ms", timeline.downloaded_ms);
    span.record("verified_ms", timeline.verified_ms);
}
