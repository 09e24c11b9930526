//! Draws what happens on streams, and what is known of those who sell to them, onto the dashboard's board.

use std::{
    convert::Infallible,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use framemill_broadcaster::{
    AttemptOutcome, AttemptReport, Broadcaster, HedgeWinner, OrchestratorId, OrchestratorView, SegmentReport,
    StreamEvent, StreamSummary, Timeline,
};
use framemill_network::PPM;

use crate::board::{AttemptRow, Board, OrchestratorRow, Picture, Rates, SegmentState, Standing, words};

/// Ticks of a segment's duration in a millisecond.
const TICKS_PER_MS: u64 = 90;
/// Pause between two looks at who sells.
const MARKET_INTERVAL: Duration = Duration::from_secs(1);
/// Addresses shown of one orchestrator: it may list any number.
const MAX_ADDRESSES: usize = 4;

/// Milliseconds of a duration, as events count them.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What the clock on the wall says, in Unix milliseconds.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
}

/// Draws one event of the stream called `stream`.
pub(crate) fn draw(board: &Board, stream: &str, event: &StreamEvent, now_ms: u64) {
    board.draw(|picture| draw_on(picture, stream, event, now_ms));
}

fn draw_on(picture: &mut Picture, stream: &str, event: &StreamEvent, now_ms: u64) {
    match event {
        StreamEvent::Attempt(attempt) => draw_attempt(picture, stream, attempt, now_ms),
        StreamEvent::Segment(report) => draw_segment(picture, stream, report, now_ms),
        StreamEvent::Suspended { orchestrator, reason, millis } => {
            let note = format!("suspended for {:.1} s: {reason}", *millis as f64 / 1000.0);
            picture.orchestrator(&orchestrator.to_string()).note = words(&note);
        }
        StreamEvent::Audit(audit) if audit.worth_ppm < PPM => {
            let note = format!(
                "worth {} % beside a second encode, {}",
                audit.worth_ppm / (PPM / 100),
                audit.rendition
            );
            picture.orchestrator(&audit.orchestrator.to_string()).note = words(&note);
        }
        StreamEvent::FoundWrong { sequence, orchestrator, reason } => {
            let who = orchestrator.to_string();
            picture.stream(stream, now_ms).rejected += 1;
            picture.orchestrator(&who).rejected += 1;
            picture.segment(stream, *sequence).add(AttemptRow {
                orchestrator: who,
                outcome: "rejected",
                reason: words(&format!("found after it was published: {reason}")),
                timeline: Timeline::default(),
                verdicts: Vec::new(),
            });
        }
        StreamEvent::Ended(summary) => draw_end(picture, stream, summary, now_ms),
        _ => {}
    }
}

fn draw_attempt(picture: &mut Picture, stream: &str, attempt: &AttemptReport, now_ms: u64) {
    let (outcome, reason) = told(&attempt.result);
    let row = picture.stream(stream, now_ms);
    row.tickets += u64::from(attempt.tickets);
    row.value_wei = row.value_wei.saturating_add(attempt.expected_value);
    row.rejected += u64::from(outcome == "rejected");
    row.failed += u64::from(is_failure(outcome));

    let who = attempt.orchestrator.to_string();
    let row = picture.orchestrator(&who);
    row.price = Some(attempt.price);
    row.value_wei = row.value_wei.saturating_add(attempt.expected_value);
    row.rejected += u64::from(outcome == "rejected");
    row.failed += u64::from(is_failure(outcome));

    let row = match outcome {
        // It may come after its segment.
        "outpaced" => picture.segment(stream, attempt.sequence),
        _ => picture.open_segment(stream, attempt.sequence),
    };
    if row.state == SegmentState::Open {
        row.orchestrator.clone_from(&who);
        row.timeline = attempt.timeline;
    }
    row.add(AttemptRow {
        orchestrator: who,
        outcome,
        reason: words(&reason),
        timeline: attempt.timeline,
        verdicts: attempt.renditions.clone(),
    });
}

/// One that another outpaced has not failed.
fn is_failure(outcome: &str) -> bool {
    matches!(outcome, "refused" | "failed" | "late")
}

/// How an attempt ended in a word, and why.
fn told(outcome: &AttemptOutcome) -> (&'static str, String) {
    match outcome {
        AttemptOutcome::Delivered => ("delivered", String::new()),
        AttemptOutcome::Refused { code, reason } => ("refused", format!("{code}: {reason}")),
        AttemptOutcome::Failed { code, reason } => ("failed", format!("{code}: {reason}")),
        AttemptOutcome::Late { allowed_ms } => ("late", format!("nothing complete after {allowed_ms} ms")),
        AttemptOutcome::Outpaced { after_ms } => {
            ("outpaced", format!("another delivered after {after_ms} ms"))
        }
        AttemptOutcome::Rejected { reason } => ("rejected", reason.clone()),
        other => ("failed", other.summary()),
    }
}

fn draw_segment(picture: &mut Picture, stream: &str, report: &SegmentReport, now_ms: u64) {
    let published = report.is_published();
    let row = picture.stream(stream, now_ms);
    row.published += u64::from(published);
    row.lost += u64::from(!published);
    row.hedges += u64::from(report.hedge.is_some());
    row.ended = false;
    if published {
        row.playlist = format!("{stream}/{}", framemill_broadcaster::LIVE_MASTER);
    }

    let row = picture.segment(stream, report.sequence);
    row.arrived_ms = now_ms.saturating_sub(report.timeline.published_ms.unwrap_or(0));
    row.duration_ms = report.duration_90k / TICKS_PER_MS;
    row.source_bytes = report.source_bytes;
    row.state = if published { SegmentState::Published } else { SegmentState::Lost };
    row.lost = report.lost.as_deref().map(words);
    row.renditions = report.renditions as usize;
    row.tickets = u64::from(report.tickets);
    row.value_wei = report.expected_value;
    row.hedge = report.hedge.map(HedgeWinner::as_str);
    row.timeline = report.timeline;
    if let Some(who) = report.orchestrator {
        row.orchestrator = who.to_string();
        picture.orchestrator(&who.to_string()).segments += 1;
    }
}

fn draw_end(picture: &mut Picture, stream: &str, summary: &StreamSummary, now_ms: u64) {
    let row = picture.stream(stream, now_ms);
    row.ended = true;
    if !summary.master_playlist.is_empty() {
        row.playlist.clone_from(&summary.master_playlist);
    }
}

/// Draws everybody who sells, as the broadcaster sees them now.
pub(crate) fn draw_market(board: &Board, broadcaster: &Broadcaster) {
    let views = broadcaster.orchestrators();
    board.draw(|picture| {
        for view in &views {
            picture.refresh(&name(view), |row| draw_view(row, view));
        }
    });
}

/// Keeps everybody who sells drawn, for as long as it is polled.
pub(crate) async fn keep_market_drawn(board: &Board, broadcaster: &Broadcaster) -> Infallible {
    let mut clock = tokio::time::interval(MARKET_INTERVAL);
    loop {
        clock.tick().await;
        draw_market(board, broadcaster);
    }
}

/// An account where one is known, as events name it.
fn name(view: &OrchestratorView) -> String {
    match (view.orchestrator.account, view.orchestrator.id) {
        (Some(account), _) | (None, OrchestratorId::Account(account)) => account.to_string(),
        (None, OrchestratorId::Peer(peer)) => peer.to_string(),
    }
}

fn draw_view(row: &mut OrchestratorRow, view: &OrchestratorView) {
    let performance = &view.performance;
    let addresses = view.orchestrator.addresses.iter().take(MAX_ADDRESSES);
    row.addresses = addresses.map(|address| words(&address.to_string())).collect();
    row.stake_wei = view.orchestrator.stake;
    row.standing = match view.standing {
        framemill_broadcaster::Standing::Good => Standing::Good,
        framemill_broadcaster::Standing::LastResort => Standing::LastResort,
        framemill_broadcaster::Standing::Barred => Standing::Barred,
    };
    row.suspended_ms = millis(view.suspended_for);
    row.delivered = performance.delivered;
    row.success_ppm = ppm(performance.success) as u32;
    row.slowness_ppm = ppm(performance.slowness);
    row.tail_ppm = ppm(performance.tail);
    row.worth_ppm = ppm(performance.worth) as u32;
    row.trust_ppm = ppm(performance.trust) as u32;
    row.rates = view.rates.map(|rates| Rates {
        first_frame_ppm: rates.first_frame_ppm,
        whole_ppm: rates.whole_ppm,
        claim_ppm: rates.claim_ppm,
    });
}

/// A ratio in millionths; the conversion saturates.
fn ppm(ratio: f64) -> u64 {
    (ratio * f64::from(PPM)) as u64
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, U256};
    use framemill_network::PricePerPixel;

    use super::*;

    fn attempt(sequence: u64, result: AttemptOutcome) -> StreamEvent {
        let price = PricePerPixel::new(U256::from(7), 1_000).unwrap();
        let mut report = AttemptReport::new(sequence, Address::repeat_byte(1), result, price);
        (report.tickets, report.expected_value) = (2, U256::from(10));
        StreamEvent::Attempt(report)
    }

    #[test]
    fn an_attempt_counts_for_its_stream_its_segment_and_its_orchestrator() {
        let board = Board::new("test");
        draw(&board, "cam", &attempt(3, AttemptOutcome::Rejected { reason: "wrong".into() }), 1_000);
        draw(&board, "cam", &attempt(3, AttemptOutcome::Outpaced { after_ms: 5 }), 1_001);
        draw(&board, "cam", &attempt(3, AttemptOutcome::Late { allowed_ms: 5 }), 1_002);
        let picture = board.snapshot();
        let stream = &picture.streams[0];
        assert_eq!((stream.rejected, stream.failed, stream.tickets), (1, 1, 6));
        assert_eq!((stream.value_wei, stream.started_ms), (U256::from(30), 1_000));
        let outcomes: Vec<_> = picture.segments[0].attempts.iter().map(|attempt| attempt.outcome).collect();
        assert_eq!(outcomes, ["rejected", "outpaced", "late"]);
        let orchestrator = &picture.orchestrators[0];
        assert_eq!((orchestrator.rejected, orchestrator.failed), (1, 1));
        assert_eq!(orchestrator.price.map(|price| price.wei()), Some(U256::from(7)));
    }

    #[test]
    fn what_is_found_wrong_after_its_publication_counts_as_rejected() {
        let board = Board::new("test");
        draw(&board, "cam", &attempt(3, AttemptOutcome::Delivered), 0);
        let found = StreamEvent::FoundWrong {
            sequence: 3,
            orchestrator: Address::repeat_byte(1),
            reason: "frozen".to_owned(),
        };
        draw(&board, "cam", &found, 1);
        let picture = board.snapshot();
        assert_eq!((picture.streams[0].rejected, picture.orchestrators[0].rejected), (1, 1));
        let attempts = &picture.segments[0].attempts;
        assert_eq!((attempts.len(), attempts[1].outcome), (2, "rejected"));
        assert!(attempts[1].reason.ends_with("frozen"), "{}", attempts[1].reason);
    }

    #[test]
    fn a_stream_that_comes_back_begins_its_segments_anew() {
        let board = Board::new("test");
        draw(&board, "cam", &attempt(1, AttemptOutcome::Late { allowed_ms: 5 }), 0);
        board.draw(|picture| picture.segment("cam", 1).state = SegmentState::Lost);
        draw(&board, "cam", &attempt(2, AttemptOutcome::Delivered), 0);
        draw(&board, "cam", &attempt(1, AttemptOutcome::Delivered), 0);
        let segments = board.snapshot().segments;
        assert_eq!(segments.iter().map(|row| row.sequence).collect::<Vec<_>>(), [2, 1]);
        assert_eq!((segments[1].attempts.len(), segments[1].state), (1, SegmentState::Open));
    }

    #[test]
    fn what_a_peer_says_is_cut() {
        let board = Board::new("test");
        let reason = "é".repeat(10_000);
        draw(&board, "cam", &attempt(1, AttemptOutcome::Refused { code: "busy".into(), reason }), 0);
        let said = &board.snapshot().segments[0].attempts[0].reason;
        assert!(said.starts_with("busy: é") && said.chars().count() < 1_000, "{said}");
    }
}
