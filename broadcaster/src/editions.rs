//! Playlists in parts, as the HTTP server shows them: the newest edition of each stream's, and requests that wait for a later one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Semaphore, watch};

use crate::core::parts::{Edge, PartPlaylist};
use crate::core::playlist::{Entry, Variant, texts};
use crate::publish::LIVE_PLAYLIST;
use crate::service::lock;

/// Requests that wait at a time, over all streams: each has a connection and some kilobytes, and a player has two.
const MAX_WAITING: usize = 8_192;

/// A request waits for so many target durations at most, and the last edition of a stream is shown for so long.
const PATIENCE: u64 = 3;

/// One state of a stream's playlists, which have the same timeline for all its renditions.
#[derive(Debug, Clone)]
pub(crate) struct Edition {
    pub(crate) edge: Edge,
    /// The part that is hinted at.
    next: u64,
    renditions: Arc<[Shown]>,
    patience: Duration,
    ended: Option<Instant>,
}

/// A file in the folder of a stream's rendition.
struct Asked<'a> {
    stream: &'a str,
    rendition: &'a str,
    file: &'a str,
}

impl<'a> Asked<'a> {
    /// What a path leads to, if there is such a rendition.
    fn of(path: &'a str) -> Option<Self> {
        let (folder, file) = path.rsplit_once('/')?;
        let (stream, rendition) = folder.split_once('/')?;
        Some(Self { stream, rendition, file })
    }

    /// Number and extension of a segment.
    fn segment(&self) -> Option<(u64, &'a str)> {
        let (number, extension) = self.file.rsplit_once('.')?;
        Some((number.parse().ok()?, extension))
    }
}

/// What an edition shows of one rendition.
#[derive(Debug)]
struct Shown {
    name: String,
    /// The playlist.
    text: Bytes,
    /// What segments' names end with, without the dot.
    extension: &'static str,
}

impl Edition {
    /// The playlist of the rendition whose folder the path leads into.
    pub(crate) fn text(&self, path: &str) -> Option<Bytes> {
        self.shown(Asked::of(path)?.rendition).map(|shown| shown.text.clone())
    }

    fn shown(&self, rendition: &str) -> Option<&Shown> {
        self.renditions.iter().find(|shown| shown.name == rendition)
    }

    /// Whether no other will follow.
    pub(crate) fn is_last(&self) -> bool {
        self.ended.is_some()
    }
}

/// Why a request waited for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotWaited {
    /// It did not come in time.
    Late,
    /// Too many wait.
    Crowded,
}

/// The newest editions of all streams in parts.
pub(crate) struct Editions {
    streams: Mutex<HashMap<String, watch::Receiver<Edition>>>,
    room: Semaphore,
}

impl Default for Editions {
    fn default() -> Self {
        Self::with_room(MAX_WAITING)
    }
}

impl Editions {
    fn with_room(requests: usize) -> Self {
        Self { streams: Mutex::default(), room: Semaphore::new(requests) }
    }

    /// The playlist of this path.
    pub(crate) fn playlist(&self, path: &str) -> Option<watch::Receiver<Edition>> {
        let asked = Asked::of(path).filter(|asked| asked.file == LIVE_PLAYLIST)?;
        self.find(&asked)
    }

    /// Waits while the playlist hints at the file of this path.
    pub(crate) async fn wait_for_hinted(&self, path: &str) -> Result<(), NotWaited> {
        let Some(asked) = Asked::of(path) else { return Ok(()) };
        let (Some(editions), Some((number, extension))) = (self.find(&asked), asked.segment()) else {
            return Ok(());
        };
        let hints = |edition: &Edition| {
            edition.next == number
                && edition.shown(asked.rendition).is_some_and(|shown| shown.extension == extension)
        };
        self.wait(editions, |edition| !hints(edition)).await.map(drop)
    }

    /// Waits for an edition that is as it should be, or the last one. Returns the newest.
    pub(crate) async fn wait(
        &self,
        mut editions: watch::Receiver<Edition>,
        is_due: impl Fn(&Edition) -> bool,
    ) -> Result<Edition, NotWaited> {
        let is_due = |edition: &Edition| edition.is_last() || is_due(edition);
        let newest = editions.borrow().clone();
        if is_due(&newest) {
            return Ok(newest);
        }
        let _place = self.room.try_acquire().map_err(|_| NotWaited::Crowded)?;
        let waited = tokio::time::timeout(newest.patience, editions.wait_for(is_due)).await;
        match waited.map_err(|_| NotWaited::Late)? {
            Ok(due) => Ok(due.clone()),
            // The stream has died. What there was is all there will be.
            Err(_) => Ok(newest),
        }
    }

    /// The editions of a stream that is shown and has the rendition.
    fn find(&self, asked: &Asked<'_>) -> Option<watch::Receiver<Edition>> {
        let editions = lock(&self.streams).get(asked.stream)?.clone();
        let is_shown = is_shown(&editions) && editions.borrow().shown(asked.rendition).is_some();
        is_shown.then_some(editions)
    }

    fn add(&self, stream: &str, editions: watch::Receiver<Edition>) {
        let mut streams = lock(&self.streams);
        streams.retain(|_, editions| is_shown(editions));
        streams.insert(stream.to_owned(), editions);
    }
}

/// Whether the stream goes on, or has ended so lately that its players may ask once more. Later its store has all there is.
fn is_shown(editions: &watch::Receiver<Edition>) -> bool {
    let newest = editions.borrow();
    match newest.ended {
        Some(ended) => ended.elapsed() < newest.patience,
        None => editions.has_changed().is_ok(),
    }
}

/// Makes the editions of one stream.
pub(crate) struct Herald {
    editions: Arc<Editions>,
    stream: String,
    playlist: PartPlaylist,
    told: Option<watch::Sender<Edition>>,
    ended: Option<Instant>,
}

impl Herald {
    pub(crate) fn new(editions: Arc<Editions>, stream: String, playlist: PartPlaylist) -> Self {
        Self { editions, stream, playlist, told: None, ended: None }
    }

    /// A part follows, and those up to `gone` have left the window.
    pub(crate) fn append(&mut self, part: Entry, gone: Option<u64>) {
        self.playlist.push(part);
        if let Some(gone) = gone {
            self.playlist.forget(gone);
        }
    }

    /// No part follows.
    pub(crate) fn end(&mut self) {
        self.playlist.end();
        self.ended = Some(Instant::now());
    }

    /// Shows the playlist as it is now, and wakes who waited for it.
    pub(crate) fn tell(&mut self, variants: &[Variant]) {
        let texts = texts(variants, |files| self.playlist.render(files));
        let shown = |(variant, text): (&Variant, Bytes)| Shown {
            name: variant.name.clone(),
            text,
            extension: variant.files.extension(),
        };
        let edition = Edition {
            edge: self.playlist.edge(),
            next: self.playlist.next(),
            renditions: variants.iter().zip(texts).map(shown).collect(),
            patience: Duration::from_secs(self.playlist.target_seconds().saturating_mul(PATIENCE)),
            ended: self.ended,
        };
        match &self.told {
            Some(told) => drop(told.send_replace(edition)),
            None => {
                let (told, editions) = watch::channel(edition);
                self.editions.add(&self.stream, editions);
                self.told = Some(told);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::files::Files;
    use crate::core::playlist::Kind;

    const SECOND: u64 = 90_000;
    const PATH: &str = "cam/720p/index.m3u8";

    fn herald(editions: &Arc<Editions>) -> Herald {
        let playlist = PartPlaylist::new(Kind::Window(6), SECOND, 2);
        let mut herald = Herald::new(Arc::clone(editions), "cam".into(), playlist);
        tell(&mut herald, 0);
        herald
    }

    fn tell(herald: &mut Herald, sequence: u64) {
        let part =
            Entry { sequence, duration_90k: SECOND, gap: false, discontinuity: false, new_section: false };
        herald.append(part, None);
        herald.tell(&[Variant::new("720p".into(), 1280, 720, (30, 1), Vec::new())]);
    }

    /// What comes of a request for the first part of this segment.
    async fn ask(editions: &Editions, sequence: u64) -> Result<Edition, NotWaited> {
        let playlist = editions.playlist(PATH).unwrap();
        editions.wait(playlist, |edition| edition.edge.has(sequence, Some(0))).await
    }

    #[tokio::test]
    async fn no_more_requests_wait_than_there_is_room_for() {
        let editions = Arc::new(Editions::with_room(1));
        let mut herald = herald(&editions);
        let first = tokio::spawn({
            let editions = Arc::clone(&editions);
            async move { ask(&editions, 1).await.map(drop) }
        });
        while editions.room.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(ask(&editions, 1).await.map(drop), Err(NotWaited::Crowded));
        assert_eq!(editions.wait_for_hinted("cam/720p/1.ts").await, Err(NotWaited::Crowded));
        assert!(ask(&editions, 0).await.is_ok(), "what is there is not waited for");
        tell(&mut herald, 1);
        assert_eq!(first.await.unwrap(), Ok(()));
        assert_eq!(editions.room.available_permits(), 1);
    }

    #[tokio::test]
    async fn a_request_may_wait_for_three_target_durations() {
        let editions = Arc::new(Editions::default());
        let _herald = herald(&editions);
        assert_eq!(editions.playlist(PATH).unwrap().borrow().patience, Duration::from_secs(6));
    }

    #[tokio::test]
    async fn the_end_wakes_all_and_a_dead_stream_does_too() {
        let editions = Arc::new(Editions::default());
        let mut herald = herald(&editions);
        let (playlist, hinted) = (ask(&editions, 1), editions.wait_for_hinted("cam/720p/1.ts"));
        let end = async {
            herald.end();
            herald.tell(&[Variant::new("720p".into(), 1280, 720, (30, 1), Vec::new())]);
        };
        let (playlist, hinted, ()) = tokio::join!(playlist, hinted, end);
        assert!(playlist.unwrap().text(PATH).unwrap().ends_with(b"#EXT-X-ENDLIST\n") && hinted.is_ok());
        assert!(editions.playlist(PATH).is_some(), "the end is shown for a while");

        let other = self::herald(&editions);
        let (waited, ()) = tokio::join!(ask(&editions, 1), async { drop(other) });
        assert!(waited.is_ok());
        assert!(editions.playlist(PATH).is_none(), "the store has what there is");
    }

    #[tokio::test]
    async fn each_rendition_has_files_of_its_own() {
        let editions = Arc::new(Editions::default());
        let mut herald = herald(&editions);
        let variant = |name: &str| Variant::new(name.into(), 1280, 720, (30, 1), Vec::new());
        herald.tell(&[variant("720p"), variant("av1").with_files(Files::MP4)]);
        let hint = |path: &str| {
            let text = editions.playlist(path).unwrap().borrow().text(path).unwrap();
            let text = String::from_utf8(text.to_vec()).unwrap();
            text.split("URI=").last().unwrap().to_owned()
        };
        assert_eq!(hint(PATH), "\"1.ts\"\n");
        assert_eq!(hint("cam/av1/index.m3u8"), "\"1.m4s\"\n");
        for path in ["cam/720p/1.m4s", "cam/av1/1.ts"] {
            assert_eq!(editions.wait_for_hinted(path).await, Ok(()), "{path}");
        }
        let hinted = editions.wait_for_hinted("cam/av1/1.m4s");
        let (hinted, ()) = tokio::join!(hinted, async { tell(&mut herald, 1) });
        assert_eq!(hinted, Ok(()));
    }

    #[tokio::test]
    async fn nothing_else_is_waited_for() {
        let editions = Arc::new(Editions::default());
        let _herald = herald(&editions);
        for path in
            ["cam/720p/2.ts", "cam/480p/1.ts", "other/720p/1.ts", "1.ts", "cam/720p/1.m4s", "cam/1.ts", ""]
        {
            assert_eq!(editions.wait_for_hinted(path).await, Ok(()), "{path}");
        }
        assert!(editions.playlist("cam/480p/index.m3u8").is_none());
        assert!(editions.playlist("cam/720p/vod.m3u8").is_none());
    }
}
