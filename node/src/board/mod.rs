//! What the dashboard shows: a bounded picture of what happened, kept up to date by the roles.

mod rows;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, RwLock},
};

use alloy_primitives::B128;
use serde::Serialize;
use tokio::sync::watch;

pub use rows::{
    AttemptRow, JobRow, OrchestratorRow, Rates, SegmentRow, SegmentState, Standing, StreamRow, TranscoderRow,
};
pub(crate) use rows::{Row, words};

/// Segments kept for show; the page would be unreadable with more.
const MAX_SEGMENTS: usize = 500;
/// Streams kept: as many as may be open by default. Beyond it those that ended go first.
const MAX_STREAMS: usize = 256;
/// Orchestrators kept: more than a broadcaster knows at a time.
const MAX_ORCHESTRATORS: usize = 1_024;
/// Transcoders kept, those that left included.
const MAX_TRANSCODERS: usize = 256;
/// Segments that an orchestrator keeps for show.
const MAX_JOBS: usize = 200;

/// The whole picture.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Picture {
    /// Counts changes.
    revision: u64,
    title: String,
    /// By name.
    streams: BTreeMap<String, StreamRow>,
    /// Newest last.
    segments: VecDeque<SegmentRow>,
    /// By address.
    orchestrators: BTreeMap<String, OrchestratorRow>,
    /// By peer.
    transcoders: BTreeMap<String, TranscoderRow>,
    /// Newest last.
    jobs: VecDeque<JobRow>,
    /// Named figures.
    pub totals: BTreeMap<&'static str, String>,
}

/// What has changed since somebody looked.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// Names the board: that of another process counts anew.
    pub epoch: String,
    /// What the board is at.
    pub revision: u64,
    /// Everything is here, not only what has changed.
    pub whole: bool,
    /// What this node is.
    pub title: String,
    /// Named figures, all of them.
    pub totals: BTreeMap<&'static str, String>,
    /// By name.
    pub streams: Vec<StreamRow>,
    /// Newest last.
    pub segments: Vec<SegmentRow>,
    /// By address.
    pub orchestrators: Vec<OrchestratorRow>,
    /// By peer.
    pub transcoders: Vec<TranscoderRow>,
    /// Newest last.
    pub jobs: Vec<JobRow>,
}

/// A picture that many may read while somebody draws. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Board(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    epoch: String,
    picture: RwLock<Picture>,
    revision: watch::Sender<u64>,
}

impl Board {
    /// An empty board under a title.
    pub fn new(title: &str) -> Self {
        let picture = Picture { title: title.to_owned(), ..Picture::default() };
        Self(Arc::new(Inner {
            epoch: format!("{:x}", B128::random()),
            picture: RwLock::new(picture),
            revision: watch::Sender::new(0),
        }))
    }

    /// Changes the picture and tells who follows it.
    pub fn draw<T>(&self, change: impl FnOnce(&mut Picture) -> T) -> T {
        let (result, revision) = {
            let mut picture = self.0.picture.write().expect("no holder of this lock panics");
            picture.revision += 1;
            let result = change(&mut picture);
            picture.forget();
            (result, picture.revision)
        };
        self.0.revision.send_replace(revision);
        result
    }

    /// What this node is.
    pub fn title(&self) -> String {
        self.0.picture.read().expect("no holder of this lock panics").title.clone()
    }

    /// Everything at this moment.
    pub fn snapshot(&self) -> Change {
        self.since(None)
    }

    /// What has changed since a revision of a board, everything where it is not known: another board's, or one to come.
    pub fn since(&self, known: Option<(&str, u64)>) -> Change {
        let picture = self.0.picture.read().expect("no holder of this lock panics");
        let known = known.filter(|(epoch, revision)| *epoch == self.0.epoch && *revision <= picture.revision);
        picture.since(&self.0.epoch, known.map(|(_, revision)| revision))
    }

    /// Follows the count of changes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.revision.subscribe()
    }
}

/// The rows that changed after a revision.
fn newer<'a, R: Clone + Row + 'a>(rows: impl Iterator<Item = &'a R>, since: Option<u64>) -> Vec<R> {
    rows.filter(|row| since.is_none_or(|since| row.changed() > since)).cloned().collect()
}

impl Picture {
    fn since(&self, epoch: &str, since: Option<u64>) -> Change {
        Change {
            epoch: epoch.to_owned(),
            revision: self.revision,
            whole: since.is_none(),
            title: self.title.clone(),
            totals: self.totals.clone(),
            streams: newer(self.streams.values(), since),
            segments: newer(self.segments.iter(), since),
            orchestrators: newer(self.orchestrators.values(), since),
            transcoders: newer(self.transcoders.values(), since),
            jobs: newer(self.jobs.iter(), since),
        }
    }

    /// Keeps the bounds.
    fn forget(&mut self) {
        while self.segments.len() > MAX_SEGMENTS {
            self.segments.pop_front();
        }
        while self.jobs.len() > MAX_JOBS {
            self.jobs.pop_front();
        }
        forget_least(&mut self.streams, MAX_STREAMS, |stream| (!stream.ended, stream.started_ms));
        forget_least(&mut self.orchestrators, MAX_ORCHESTRATORS, |row| (row.segments > 0, row.changed()));
        forget_least(&mut self.transcoders, MAX_TRANSCODERS, |row| (row.connected, row.since_ms));
    }

    /// The row of a stream, new when it is not there.
    pub fn stream(&mut self, name: &str, now_ms: u64) -> &mut StreamRow {
        let row = self.streams.entry(name.to_owned()).or_insert_with(|| StreamRow {
            name: name.to_owned(),
            started_ms: now_ms,
            ..StreamRow::default()
        });
        stamped(row, self.revision)
    }

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
        stamped(&mut self.segments[place], self.revision)
    }

    /// The row of a segment that is being bought: a new one where there is none, or one of a stream of that name before.
    pub fn open_segment(&mut self, stream: &str, sequence: u64) -> &mut SegmentRow {
        let is_over = |row: &SegmentRow| {
            row.sequence == sequence && row.stream == stream && row.state != SegmentState::Open
        };
        self.segments.retain(|row| !is_over(row));
        self.segment(stream, sequence)
    }

    /// The row of an orchestrator, new when it is not there.
    pub fn orchestrator(&mut self, address: &str) -> &mut OrchestratorRow {
        stamped(orchestrator(&mut self.orchestrators, address), self.revision)
    }

    /// Changes the row of an orchestrator; it counts as changed only where it is another afterwards.
    pub fn refresh(&mut self, address: &str, change: impl FnOnce(&mut OrchestratorRow)) {
        let row = orchestrator(&mut self.orchestrators, address);
        let before = row.clone();
        change(row);
        if *row != before || row.changed() == 0 {
            stamped(row, self.revision);
        }
    }

    /// The row of a transcoder, new when it is not there.
    pub fn transcoder(&mut self, peer: &str) -> &mut TranscoderRow {
        let row = self
            .transcoders
            .entry(peer.to_owned())
            .or_insert_with(|| TranscoderRow { peer: peer.to_owned(), ..TranscoderRow::default() });
        stamped(row, self.revision)
    }

    /// Adds a segment that an orchestrator worked on.
    pub fn job(&mut self, job: JobRow) {
        self.jobs.push_back(JobRow { revision: self.revision, ..job });
    }
}

fn orchestrator<'a>(
    rows: &'a mut BTreeMap<String, OrchestratorRow>,
    address: &str,
) -> &'a mut OrchestratorRow {
    rows.entry(address.to_owned())
        .or_insert_with(|| OrchestratorRow { address: address.to_owned(), ..OrchestratorRow::default() })
}

fn stamped<R: Row>(row: &mut R, revision: u64) -> &mut R {
    row.stamp(revision);
    row
}

/// Drops those that are worth least.
fn forget_least<R, K: Ord>(rows: &mut BTreeMap<String, R>, most: usize, worth: impl Fn(&R) -> K) {
    while rows.len() > most {
        let least = rows.iter().min_by_key(|(_, row)| worth(row)).map(|(key, _)| key.clone());
        rows.remove(&least.expect("there are more than the bound"));
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

    #[test]
    fn who_knows_a_revision_gets_what_came_after_it() {
        let board = Board::new("test");
        board.draw(|picture| picture.segment("s", 1).tickets = 1);
        let first = board.snapshot();
        assert!(first.whole);
        board.draw(|picture| picture.segment("s", 2).tickets = 1);
        board.draw(|picture| picture.stream("s", 0).published = 2);

        let change = board.since(Some((&first.epoch, first.revision)));
        assert!(!change.whole);
        assert_eq!(change.segments.iter().map(|row| row.sequence).collect::<Vec<_>>(), [2]);
        assert_eq!(change.streams.len(), 1);
        let nothing = board.since(Some((&change.epoch, change.revision)));
        assert_eq!((nothing.segments.len(), nothing.streams.len()), (0, 0));
    }

    #[test]
    fn a_revision_of_another_board_or_of_the_future_gets_everything() {
        let board = Board::new("test");
        board.draw(|picture| picture.segment("s", 1).tickets = 1);
        let now = board.snapshot();
        for known in [("another", now.revision), (now.epoch.as_str(), now.revision + 1)] {
            assert!(board.since(Some(known)).whole, "{known:?}");
        }
    }

    #[test]
    fn a_row_that_stays_the_same_is_not_sent_again() {
        let board = Board::new("test");
        board.draw(|picture| picture.refresh("o", |row| row.failed = 1));
        let now = board.snapshot();
        board.draw(|picture| picture.refresh("o", |row| row.failed = 1));
        assert!(board.since(Some((&now.epoch, now.revision))).orchestrators.is_empty());
        board.draw(|picture| picture.refresh("o", |row| row.failed = 2));
        assert_eq!(board.since(Some((&now.epoch, now.revision))).orchestrators.len(), 1);
    }

    #[test]
    fn streams_that_ended_are_forgotten_before_those_that_run() {
        let board = Board::new("test");
        board.draw(|picture| picture.stream("live", 0).tickets = 1);
        for number in 0..=MAX_STREAMS as u64 {
            board.draw(|picture| picture.stream(&format!("over-{number}"), number + 1).ended = true);
        }
        let streams = board.snapshot().streams;
        assert_eq!(streams.len(), MAX_STREAMS);
        assert!(streams.iter().any(|stream| stream.name == "live"), "the oldest one, and it runs");
        assert!(streams.iter().all(|stream| stream.name != "over-0"), "the oldest of those that ended");
    }
}
