//! Draws what happens on streams onto the dashboard's board.

use std::time::Duration;

use framemill_broadcaster::{AttemptOutcome, StreamEvent};
use framemill_network::PPM;

use crate::board::{Board, Picture};

/// Milliseconds of a duration, as events count them.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Draws one event of the stream called `stream`, which began `elapsed_ms` ago.
pub(crate) fn draw(board: &Board, stream: &str, event: &StreamEvent, elapsed_ms: u64) {
    board.draw(|picture| draw_on(picture, stream, event, elapsed_ms));
}

fn draw_on(picture: &mut Picture, stream: &str, event: &StreamEvent, elapsed_ms: u64) {
    match event {
        StreamEvent::Attempt(attempt) => {
            let who = attempt.orchestrator.to_string();
            if matches!(attempt.result, AttemptOutcome::Rejected { .. }) {
                picture.orchestrator(&who).rejected += 1;
            }
            let row = picture.segment(stream, attempt.sequence);
            if !matches!(attempt.result, AttemptOutcome::Delivered) {
                row.failures.push(format!("{who}: {}", attempt.result.summary()));
            }
        }
        StreamEvent::Segment(report) => {
            let row = picture.segment(stream, report.sequence);
            let took = report.timeline.published_ms.unwrap_or(0);
            row.time_in_ms = elapsed_ms.saturating_sub(took);
            row.time_out_ms = report.is_published().then_some(elapsed_ms);
            row.renditions = report.renditions as usize;
            row.tickets = u64::from(report.tickets);
            row.verdict =
                report.lost.clone().map_or_else(|| "pass".to_owned(), |reason| format!("lost: {reason}"));
            if let Some(who) = report.orchestrator {
                row.orchestrator = who.to_string();
                picture.orchestrator(&who.to_string()).segments += 1;
            }
        }
        StreamEvent::Suspended { orchestrator, reason, millis } => {
            picture.orchestrator(&orchestrator.to_string()).note =
                format!("suspended for {:.1} s: {reason}", *millis as f64 / 1000.0);
        }
        StreamEvent::Audit(audit) if audit.worth_ppm < PPM => {
            picture.orchestrator(&audit.orchestrator.to_string()).note = format!(
                "worth {} % beside a second encode, {}",
                audit.worth_ppm / (PPM / 100),
                audit.rendition
            );
        }
        StreamEvent::Ended(summary) if !summary.master_playlist.is_empty() => {
            picture.playlists.push(summary.master_playlist.clone());
        }
        _ => {}
    }
}
