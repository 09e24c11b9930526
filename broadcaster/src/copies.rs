//! Further stores of a stream: each has playlists of its own, and none can hold up the stream or another store.
//!
//! A segment waits in memory until its store takes it. While a store is away the newest few wait, and older ones become gaps in
//! that store's playlists alone.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::core::playlist::Variant;
use crate::error::StoreError;
use crate::event::CopySummary;
use crate::outlets::Health;
use crate::publish::{Piece, Place, Publisher};
use crate::service::lock;

/// Segments that wait for one store, beside the one it is offered: bounds the memory of an outage, and its length without a
/// gap, to some sixteen seconds of a stream.
const BACKLOG: usize = 8;
/// Pause after a store has refused or not answered; doubles.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// Longest such pause.
const RETRY_LIMIT: Duration = Duration::from_secs(4);
/// Time to catch up for a store that takes what it is offered, once its stream has ended. One that does not holds the stream's name
/// for the last word only.
const DRAIN: Duration = Duration::from_secs(15);
/// Time for the playlists' ends once the time to catch up is over.
const LAST_WORD: Duration = Duration::from_secs(2);

/// A segment with what a master playlist says of its renditions.
#[derive(Debug, Clone)]
pub(crate) struct Ready {
    pub(crate) place: Place,
    pub(crate) pieces: Arc<[Piece]>,
    pub(crate) variants: Arc<[Variant]>,
}

#[derive(Debug)]
enum Work {
    Segment(Ready),
    /// Nobody delivered the segment, or there was no room for it.
    Gap(Place),
}

/// What is taken from a queue at once.
enum Taken {
    Segment(Ready),
    Gaps(Vec<Place>),
}

/// What one store has yet to take, in the order of the stream.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    news: Notify,
    /// The store did not take what it was offered last.
    fails: Arc<AtomicBool>,
    /// Nothing follows, and the store may be asked until then.
    closed: watch::Sender<Option<Instant>>,
}

#[derive(Default)]
struct Waiting {
    work: VecDeque<Work>,
    segments: usize,
    /// Segments that found no room and are gaps now.
    crowded_out: u64,
}

impl Queue {
    /// `fails` tells whether the store did not take what it was offered last.
    pub(crate) fn new(fails: Arc<AtomicBool>) -> Self {
        Self { fails, ..Self::default() }
    }

    pub(crate) fn push(&self, ready: Ready) {
        let mut waiting = lock(&self.waiting);
        waiting.work.push_back(Work::Segment(ready));
        waiting.segments += 1;
        if waiting.segments > BACKLOG {
            waiting.crowd_out();
        }
        drop(waiting);
        self.news.notify_one();
    }

    pub(crate) fn push_gap(&self, place: Place) {
        lock(&self.waiting).work.push_back(Work::Gap(place));
        self.news.notify_one();
    }

    /// Nothing follows; the store has some time to catch up.
    pub(crate) fn end(&self) {
        let time = if self.fails.load(Ordering::Relaxed) { LAST_WORD } else { DRAIN };
        self.close(Instant::now() + time);
    }

    /// Nothing follows; the store may be asked until `until`.
    pub(crate) fn close(&self, until: Instant) {
        self.closed.send_replace(Some(until));
        self.news.notify_one();
    }

    /// The next segment, or all gaps before it; `None` when nothing follows.
    async fn next(&self) -> Option<Taken> {
        loop {
            if let Some(taken) = lock(&self.waiting).take() {
                return Some(taken);
            }
            if self.closed.borrow().is_some() {
                return None;
            }
            self.news.notified().await;
        }
    }

    /// Waits before the store is asked for the same again; `false` when it is not to be, because others need the room.
    async fn may_ask_again(&self, pause: Duration) -> bool {
        let end = Instant::now() + pause;
        while lock(&self.waiting).segments < BACKLOG {
            tokio::select! {
                () = tokio::time::sleep_until(end) => return true,
                () = self.news.notified() => {}
            }
        }
        false
    }

    /// Resolves when the store may not be asked any more.
    async fn over(&self) {
        let mut closed = self.closed.subscribe();
        loop {
            let until = *closed.borrow_and_update();
            let late = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = late => return,
                changed = closed.changed() => if changed.is_err() { return },
            }
        }
    }

    fn crowded_out(&self) -> u64 {
        lock(&self.waiting).crowded_out
    }
}

impl Waiting {
    fn take(&mut self) -> Option<Taken> {
        match self.work.pop_front()? {
            Work::Segment(ready) => {
                self.segments -= 1;
                Some(Taken::Segment(ready))
            }
            Work::Gap(place) => {
                let mut places = vec![place];
                while let Some(Work::Gap(place)) = self.work.front() {
                    places.push(*place);
                    self.work.pop_front();
                }
                Some(Taken::Gaps(places))
            }
        }
    }

    /// Makes the oldest segment a gap.
    fn crowd_out(&mut self) {
        let oldest = self.work.iter_mut().find(|work| matches!(work, Work::Segment(_)));
        if let Some(work) = oldest
            && let Work::Segment(Ready { place, .. }) = work
        {
            *work = Work::Gap(*place);
            self.segments -= 1;
            self.crowded_out += 1;
        }
    }
}

/// The task that brings a stream to one further store.
pub(crate) struct Copier {
    queue: Arc<Queue>,
    publisher: Publisher,
    health: Health,
    /// The segment that the store is offered.
    offered: Option<Place>,
    published: u64,
    /// Segments that were offered and given up.
    given_up: u64,
}

impl Copier {
    pub(crate) fn new(queue: Arc<Queue>, publisher: Publisher, health: Health) -> Self {
        Self { queue, publisher, health, offered: None, published: 0, given_up: 0 }
    }

    /// Works until the queue is closed and empty, or the time to catch up is over.
    pub(crate) async fn run(mut self) -> CopySummary {
        let queue = Arc::clone(&self.queue);
        let finished = tokio::select! {
            master = self.work() => Some(master),
            () = queue.over() => None,
        };
        let master_playlist = match finished {
            Some(master) => master,
            None => self.stop().await,
        };
        self.health.count(self.published, self.missed());
        CopySummary {
            store: self.health.store().to_owned(),
            published: self.published,
            missed: self.missed(),
            master_playlist,
        }
    }

    /// Brings everything there and returns the path of the master playlist. May be dropped at any point.
    async fn work(&mut self) -> String {
        while let Some(taken) = self.queue.next().await {
            match taken {
                Taken::Segment(ready) => self.bring(ready).await,
                Taken::Gaps(places) => places.into_iter().for_each(|place| self.publisher.lose(place)),
            }
            // What cannot be listed now is listed with what follows.
            let listed = self.publisher.list().await;
            self.note(&listed);
        }
        self.finish().await
    }

    async fn bring(&mut self, ready: Ready) {
        self.offered = Some(ready.place);
        if !self.publisher.has_variants() {
            self.publisher.set_variants(ready.variants.to_vec());
        }
        let mut pause = RETRY_PAUSE;
        loop {
            let stored = self.publisher.store(ready.place, &ready.pieces).await;
            if stored.is_ok() {
                // No wait lies between this and the entry in the playlist.
                self.offered = None;
                self.published += 1;
            }
            self.note(&stored);
            match stored {
                Ok(_) => return,
                Err(error) if error.is_refusal() => break,
                Err(_) => {}
            }
            if !self.queue.may_ask_again(pause).await {
                break;
            }
            pause = (pause * 2).min(RETRY_LIMIT);
        }
        self.publisher.discard(ready.place, &ready.pieces).await;
        self.give_up();
    }

    /// What was offered becomes a gap.
    fn give_up(&mut self) {
        if let Some(place) = self.offered.take() {
            self.publisher.lose(place);
            self.given_up += 1;
        }
    }

    async fn finish(&mut self) -> String {
        let mut pause = RETRY_PAUSE;
        loop {
            let finished = self.publisher.finish().await;
            self.note(&finished);
            match finished {
                Ok(master) => return master,
                Err(error) if error.is_refusal() => return String::new(),
                Err(_) => {}
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_LIMIT);
        }
    }

    /// Gives up what waits, and tells players that nothing follows if that is done at once.
    async fn stop(&mut self) -> String {
        self.give_up();
        while let Some(taken) = self.queue.next().await {
            match taken {
                Taken::Segment(ready) => {
                    self.offered = Some(ready.place);
                    self.give_up();
                }
                Taken::Gaps(places) => places.into_iter().for_each(|place| self.publisher.lose(place)),
            }
        }
        let finished = tokio::time::timeout(LAST_WORD, self.publisher.finish()).await;
        finished.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// Segments that are gaps in this store and may not be in others.
    fn missed(&self) -> u64 {
        self.given_up + self.queue.crowded_out()
    }

    fn note<T>(&mut self, result: &Result<T, StoreError>) {
        let missed = self.missed();
        if result.is_err() || !self.publisher.is_silent() {
            self.health.note(result, missed);
        }
        self.health.count(self.published, missed);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn ready(sequence: u64) -> Ready {
        let place = Place { sequence, start_pts_90k: 0, duration_90k: 90_000 };
        let piece = Piece { name: "360p".into(), data: Bytes::from_static(b"segment") };
        Ready { place, pieces: Arc::from([piece]), variants: Arc::from([]) }
    }

    async fn drain(queue: &Queue) -> (Vec<u64>, Vec<u64>) {
        let (mut segments, mut gaps) = (Vec::new(), Vec::new());
        while let Some(taken) = queue.next().await {
            match taken {
                Taken::Segment(ready) => segments.push(ready.place.sequence),
                Taken::Gaps(places) => gaps.extend(places.iter().map(|place| place.sequence)),
            }
        }
        (segments, gaps)
    }

    #[tokio::test]
    async fn the_newest_segments_wait_and_older_ones_become_gaps() {
        let queue = Queue::default();
        let count = BACKLOG as u64 + 4;
        (0..count).for_each(|sequence| queue.push(ready(sequence)));
        queue.close(Instant::now());
        queue.over().await;
        let (segments, gaps) = drain(&queue).await;
        assert_eq!(gaps, (0..4).collect::<Vec<_>>());
        assert_eq!(segments, (4..count).collect::<Vec<_>>());
        assert_eq!(queue.crowded_out(), 4);
    }

    #[tokio::test]
    async fn a_store_is_asked_again_until_others_need_the_room() {
        let queue = Queue::default();
        assert!(queue.may_ask_again(Duration::from_millis(1)).await);
        (0..BACKLOG as u64).for_each(|sequence| queue.push(ready(sequence)));
        assert!(!queue.may_ask_again(Duration::from_secs(3600)).await);
    }
}
