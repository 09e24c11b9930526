//! All stores of one stream: the first, on which publication depends, and further ones that follow by themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use framemill_media::{OutputFormat, SegmentInfo};
use framemill_network::Ladder;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::StreamConfig;
use crate::copies::{Copier, Queue, Ready};
use crate::core::codecs::codec_strings;
use crate::core::files::Files;
use crate::core::parts::PartPlaylist;
use crate::core::playlist::Variant;
use crate::editions::Herald;
use crate::error::StoreError;
use crate::event::{CopySummary, Events, StreamEvent};
use crate::format::output_format;
use crate::metrics::{CopyEnd, Metrics};
use crate::publish::{Piece, Place, Publisher, frame_rate};
use crate::service::Shared;
use crate::store::Store;
use crate::stream::rate_of;

/// What the first store is called in events.
const FIRST: &str = "first";

/// A store with the name that events call it by.
pub(crate) struct NamedStore {
    pub(crate) name: String,
    pub(crate) store: Arc<dyn Store>,
}

/// Tells when a store begins to fail, and when it works again.
pub(crate) struct Health {
    store: String,
    stream: String,
    events: Events,
    metrics: Metrics,
    /// The store did not take what it was offered last.
    fails: Arc<AtomicBool>,
    /// What is counted of a further store already: segments that it took, and missed.
    counted: (u64, u64),
}

impl Health {
    pub(crate) fn store(&self) -> &str {
        &self.store
    }

    /// Whether the store did not take what it was offered last, now and later.
    fn fails(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.fails)
    }

    /// Counts the segments that a further store took and missed until now.
    pub(crate) fn count(&mut self, published: u64, missed: u64) {
        self.metrics.copied.add(CopyEnd::Published, published - self.counted.0);
        self.metrics.copied.add(CopyEnd::Missed, missed - self.counted.1);
        self.counted = (published, missed);
    }

    /// Notes how an exchange went; `missed` segments of the stream are gaps in the store.
    pub(crate) fn note<T>(&mut self, result: &Result<T, StoreError>, missed: u64) {
        let (store, stream) = (self.store.clone(), &self.stream);
        let failed = self.fails.swap(result.is_err(), Ordering::Relaxed);
        match result {
            Ok(_) if failed => {
                tracing::info!(%stream, %store, missed, "the store takes what is published again");
                self.events.send(StreamEvent::StoreWorks { store, missed });
            }
            Err(error) if !failed => {
                let reason = error.to_string();
                tracing::error!(%stream, %store, %reason, "the store does not take what is published; check that it runs, its key and its space");
                self.events.send(StreamEvent::StoreFails { store, reason });
            }
            _ => {}
        }
    }
}

/// Where a stream is published.
pub(crate) struct Outlets {
    first: Publisher,
    health: Health,
    missed: u64,
    variants: Option<Arc<[Variant]>>,
    copies: Vec<Further>,
}

/// A further store, with the task that brings the stream there. The task ends by itself when the stream is gone.
struct Further {
    queue: Arc<Queue>,
    task: Option<JoinHandle<CopySummary>>,
}

impl Drop for Further {
    fn drop(&mut self) {
        self.queue.close(Instant::now());
    }
}

impl Outlets {
    pub(crate) fn new(shared: &Shared, config: &StreamConfig, events: &Events) -> Self {
        let publisher = |store: &Arc<dyn Store>| {
            let window = config.stored_playlist();
            Publisher::new(Arc::clone(store), config.name.clone(), window, config.target_90k())
        };
        let mut first = publisher(&shared.store);
        if config.parts() > 1 {
            let playlist = PartPlaylist::new(config.playlist.kind(), config.target_90k(), config.parts());
            first = first.told_by(Herald::new(Arc::clone(&shared.editions), config.name.clone(), playlist));
        }
        let health = |store: &str| Health {
            store: store.to_owned(),
            stream: config.name.clone(),
            events: events.clone(),
            metrics: shared.metrics.clone(),
            fails: Arc::default(),
            counted: (0, 0),
        };
        let copy = |named: &NamedStore| {
            let health = health(&named.name);
            let queue = Arc::new(Queue::new(health.fails()));
            let copier = Copier::new(Arc::clone(&queue), publisher(&named.store), health);
            Further { queue, task: Some(shared.tasks.spawn(copier.run())) }
        };
        Self {
            first,
            health: health(FIRST),
            missed: 0,
            variants: None,
            copies: shared.copies.iter().filter(|named| config.goes_to(&named.name)).map(copy).collect(),
        }
    }

    /// Publishes a segment, and hands it to further stores. On an error it is a gap in the first store already:
    /// [`Outlets::lose`] must not follow.
    pub(crate) async fn publish(
        &mut self,
        place: Place,
        pieces: Vec<Piece>,
        variants: impl FnOnce(&[Piece]) -> Vec<Variant>,
    ) -> Result<Vec<String>, StoreError> {
        let variants = self.variants.get_or_insert_with(|| Arc::from(variants(&pieces)));
        if !self.first.has_variants() {
            self.first.set_variants(variants.to_vec());
        }
        let ready = Ready { place, pieces: Arc::from(pieces), variants: Arc::clone(variants) };
        for copy in &self.copies {
            copy.queue.push(ready.clone());
        }
        match self.first.store(place, &ready.pieces).await {
            Ok(paths) => {
                self.list().await;
                Ok(paths)
            }
            Err(error) => {
                self.missed += 1;
                self.note::<()>(&Err(error.clone()));
                self.first.discard(place, &ready.pieces).await;
                self.first.lose(place);
                self.list().await;
                Err(error)
            }
        }
    }

    /// Nobody delivered the segment: it is a gap everywhere.
    pub(crate) async fn lose(&mut self, place: Place) {
        for copy in &self.copies {
            copy.queue.push_gap(place);
        }
        self.first.lose(place);
        self.list().await;
    }

    /// What cannot be listed now is listed with what follows.
    async fn list(&mut self) {
        let listed = self.first.list().await;
        self.note(&listed);
    }

    fn note<T>(&mut self, result: &Result<T, StoreError>) {
        if result.is_err() || !self.first.is_silent() {
            self.health.note(result, self.missed);
        }
    }

    /// Ends all playlists. Returns the path of the first store's master playlist, and what came to further ones.
    pub(crate) async fn finish(&mut self, cancel: &CancellationToken) -> (String, Vec<CopySummary>) {
        self.copies.iter().for_each(|copy| copy.queue.end());
        let finished = self.first.finish().await;
        self.note(&finished);
        let mut summaries = Vec::with_capacity(self.copies.len());
        for copy in &mut self.copies {
            summaries.extend(copy.end(cancel).await);
        }
        (finished.unwrap_or_default(), summaries)
    }
}

impl Further {
    async fn end(&mut self, cancel: &CancellationToken) -> Option<CopySummary> {
        let mut task = self.task.take()?;
        let ended = tokio::select! {
            ended = &mut task => ended,
            () = cancel.cancelled() => {
                self.queue.close(Instant::now());
                task.await
            }
        };
        // A panic in it is a defect, told where it happened; the stream's own end does not depend on it.
        ended.ok()
    }
}

/// Attributes of the master playlist, read from what was really delivered.
pub(crate) fn variants(ladder: &Ladder, pieces: &[Piece], info: &SegmentInfo) -> Vec<Variant> {
    let source_rate = rate_of(info);
    let mut variants: Vec<Variant> = ladder
        .iter()
        .zip(pieces)
        .map(|(entry, piece)| {
            let rate = frame_rate(entry, source_rate);
            let codecs = codec_strings(&piece.data);
            let files = match output_format(entry.codec) {
                OutputFormat::FragmentedMp4 => Files::MP4,
                _ => Files::TS,
            };
            Variant::new(entry.name.clone(), entry.width, entry.height, rate, codecs).with_files(files)
        })
        .collect();
    if let (Some(piece), Some(video)) = (pieces.get(ladder.len()), &info.video) {
        let codecs = codec_strings(&piece.data);
        variants.push(Variant::new(piece.name.clone(), video.width, video.height, source_rate, codecs));
    }
    variants
}
