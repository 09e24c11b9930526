//! Follows the stream: prints a line per segment, counts, and says when the plot turns.

use std::{collections::BTreeMap, time::Instant};

use alloy_primitives::Address;
use framemill_broadcaster::{AttemptOutcome, SegmentReport, StreamEvent};
use futures::{Stream, StreamExt as _};

use super::Report;
use crate::{board::Board, feed};

/// When somebody dies, and who may.
pub(super) struct Plot {
    /// Segments that are published before.
    pub(super) kill_after: u64,
    /// Whoever of these delivered last is killed: it is at work, so its death is felt.
    pub(super) candidates: Vec<Address>,
}

/// Follows one stream.
pub(super) struct Watch {
    board: Board,
    stream: &'static str,
    names: BTreeMap<Address, String>,
    plot: Option<Plot>,
    last: Option<Address>,
    begun: Instant,
    report: Report,
}

impl Watch {
    pub(super) fn new(
        board: Board,
        stream: &'static str,
        names: BTreeMap<Address, String>,
        plot: Plot,
    ) -> Self {
        println!("\n segment      in     out  orchestrator    verdict  renditions  tickets");
        Self {
            board,
            stream,
            names,
            plot: Some(plot),
            last: None,
            begun: Instant::now(),
            report: Report::default(),
        }
    }

    /// Follows the stream until somebody is to be killed (who), or to its end (nobody).
    pub(super) async fn until_kill(
        &mut self,
        events: &mut (impl Stream<Item = StreamEvent> + Unpin),
    ) -> Option<Address> {
        while let Some(event) = events.next().await {
            let elapsed = feed::millis(self.begun.elapsed());
            feed::draw(&self.board, self.stream, &event, feed::now_ms());
            match event {
                StreamEvent::Segment(segment) => {
                    self.show(&segment, elapsed);
                    self.report.count(&segment);
                    self.last = segment.orchestrator.or(self.last);
                    if let Some(victim) = self.victim() {
                        return Some(victim);
                    }
                }
                StreamEvent::Ended(_) => return None,
                _ => {}
            }
        }
        None
    }

    pub(super) fn into_report(self) -> Report {
        self.report
    }

    fn victim(&mut self) -> Option<Address> {
        let plot = self.plot.take_if(|plot| self.report.segments >= plot.kill_after.max(1))?;
        let at_work = self.last.filter(|last| plot.candidates.contains(last));
        let victim = at_work.or(plot.candidates.first().copied())?;
        println!("          {} is killed with SIGKILL", self.name(victim));
        self.board.draw(|picture| picture.orchestrator(&victim.to_string()).note = "killed".to_owned());
        Some(victim)
    }

    fn name(&self, address: Address) -> String {
        self.names.get(&address).cloned().unwrap_or_else(|| address.to_string())
    }

    fn show(&self, segment: &SegmentReport, elapsed_ms: u64) {
        for attempt in &segment.attempts {
            if !matches!(attempt.result, AttemptOutcome::Delivered) {
                println!("          {}: {}", self.name(attempt.orchestrator), attempt.result.summary());
            }
        }
        let took = segment.timeline.published_ms.unwrap_or(0);
        let seconds = |ms: u64| format!("{}.{}", ms / 1000, ms % 1000 / 100);
        println!(
            "{:>8} {:>7} {:>7}  {:<14}  {:<7}  {:>10}  {:>7}",
            segment.sequence,
            seconds(elapsed_ms.saturating_sub(took)),
            seconds(elapsed_ms),
            segment.orchestrator.map_or_else(|| "-".to_owned(), |who| self.name(who)),
            if segment.is_published() { "pass" } else { "LOST" },
            segment.renditions,
            segment.tickets,
        );
    }
}
