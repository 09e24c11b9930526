//! What the dashboard shows: a bounded picture of what happened, kept up to date by the roles.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, RwLock},
};

use serde::Serialize;

/// Segments kept for show; the page would be unreadable with more.
const MAX_SEGMENTS: usize = 500;

/// One segment's way through the market.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct SegmentRow {
    /// The stream it belongs to.
    pub stream: String,
    /// Its number in the stream.
    pub sequence: u64,
    /// Who made its renditions.
    pub orchestrator: String,
    /// When it came in, in milliseconds since the stream began.
    pub time_in_ms: u64,
    /// When it was published, likewise; none while it is not.
    pub time_out_ms: Option<u64>,
    /// What was decided about it.
    pub verdict: String,
    /// Renditions published.
    pub renditions: usize,
    /// Tickets sent for it, to whomever.
    pub tickets: u64,
    /// Attempts that failed, each with its reason.
    pub failures: Vec<String>,
}

/// What is known of one orchestrator.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct OrchestratorRow {
    /// Segments published.
    pub segments: u64,
    /// Results rejected.
    pub rejected: u64,
    /// Fees paid on chain, in wei; none where that is not known.
    pub fees_wei: Option<String>,
    /// What is said of it: why it is suspended, or that it was killed.
    pub note: String,
}

/// The whole picture.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Picture {
    /// What this node is.
    pub title: String,
    /// Newest last.
    pub segments: VecDeque<SegmentRow>,
    /// By address.
    pub orchestrators: BTreeMap<String, OrchestratorRow>,
    /// Named figures.
    pub totals: BTreeMap<&'static str, String>,
    /// Master playlists, to open in a player.
    pub playlists: Vec<String>,
}

/// A picture that many may read while somebody draws. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<RwLock<Picture>>);

impl Board {
    /// An empty board under a title.
    pub fn new(title: &str) -> Self {
        let board = Self::default();
        board.draw(|picture| picture.title = title.to_owned());
        board
    }

    /// Changes the picture.
    pub fn draw<T>(&self, change: impl FnOnce(&mut Picture) -> T) -> T {
        let mut picture = self.0.write().expect("no holder of this lock panics");
        let result = change(&mut picture);
        while picture.segments.len() > MAX_SEGMENTS {
            picture.segments.pop_front();
        }
        result
    }

    /// The picture at this moment.
    pub fn snapshot(&self) -> Picture {
        self.0.read().expect("no holder of this lock panics").clone()
    }
}

impl Picture {
    /// The row of a segment, new when it is not there.
    pub fn segment(&mut self, stream: &str, sequence: u64) -> &mut SegmentRow {
        let place = self.segments.iter().rposition(|row| row.sequence == sequence && row.stream == stream);
        let place = place.unwrap_or_else(|| {
            self.segments.push_back(SegmentRow {
                stream: stream.to_owned(),
                sequence,
                ..SegmentRow::default()
            });
            self.segments.len() - 1
        });
        &mut self.segments[place]
    }

    /// The row of an orchestrator, new when it is not there.
    pub fn orchestrator(&mut self, address: &str) -> &mut OrchestratorRow {
        self.orchestrators.entry(address.to_owned()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn board_forgets_the_oldest_segments() {
        let board = Board::new("test");
        for sequence in 0..(MAX_SEGMENTS as u64 + 7) {
            board.draw(|picture| picture.segment("s", sequence).tickets = 1);
        }
        let picture = board.snapshot();
        assert_eq!(picture.segments.len(), MAX_SEGMENTS);
        assert_eq!(picture.segments[0].sequence, 7);
    }

    #[test]
    fn segment_rows_are_found_again() {
        let mut picture = Picture::default();
        picture.segment("a", 1).tickets = 3;
        picture.segment("b", 1).tickets = 5;
        assert_eq!(picture.segment("a", 1).tickets, 3);
        assert_eq!(picture.segments.len(), 2);
    }
}
