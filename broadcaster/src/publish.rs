//! Puts verified segments into the store and the playlists, in order and all renditions together.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use framemill_network::LadderEntry;
use futures::future::{join_all, try_join_all};

use crate::config::PlaylistMode;
use crate::core::playlist::{Entry, Kind, MediaPlaylist, Variant, render_master};
use crate::editions::Herald;
use crate::error::StoreError;
use crate::store::Store;

/// File of a rendition's media playlist while the stream runs.
pub(crate) const LIVE_PLAYLIST: &str = "index.m3u8";
/// File of a rendition's playlist of the whole stream.
const VOD_PLAYLIST: &str = "vod.m3u8";
/// File of a stream's master playlist, in its folder of the store, while the stream runs.
pub const LIVE_MASTER: &str = "master.m3u8";
/// Master playlist of [`VOD_PLAYLIST`]s.
const VOD_MASTER: &str = "vod.m3u8";
/// Extension of segment files.
pub(crate) const EXTENSION: &str = "ts";
/// Name of the source when it is published as a rendition.
pub(crate) const SOURCE_NAME: &str = "source";

/// Writes of one object before the store counts as failed.
const PUT_ATTEMPTS: u32 = 3;
/// Pause after a failed write; doubles.
const PUT_PAUSE: Duration = Duration::from_millis(100);
/// Longest time for one object, all attempts together: a store that does not answer costs a stream so much, and no more.
const PUT_PATIENCE: Duration = Duration::from_secs(10);
/// Longest time for the removal of what nobody can ask for: it may as well stay.
const DELETE_PATIENCE: Duration = Duration::from_secs(2);
/// A segment that starts this far from the end of the one before breaks the timeline; players bridge less.
const CONTINUITY_TICKS: i64 = 45_000;
/// Timestamps of MPEG-TS wrap at 33 bits.
const WRAP: i64 = 1 << 33;

/// A segment's place on the timeline.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) sequence: u64,
    pub(crate) start_pts_90k: i64,
    pub(crate) duration_90k: u64,
}

/// One rendition's bytes with what the master playlist says of them.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(crate) name: String,
    pub(crate) data: Bytes,
}

/// The published side of one stream.
pub(crate) struct Publisher {
    store: Arc<dyn Store>,
    stream: String,
    live: MediaPlaylist,
    archive: Option<MediaPlaylist>,
    /// Tells of the stream in parts.
    herald: Option<Herald>,
    /// Segments that left the window and are still there, with how many of them stay; `None` keeps all for good.
    retired: Option<(VecDeque<Entry>, usize)>,
    variants: Vec<Variant>,
    /// The master playlist in the store is not there, or promises less than a segment took.
    master_is_stale: bool,
    expected_start: Option<i64>,
    published: u64,
}

impl Publisher {
    pub(crate) fn new(store: Arc<dyn Store>, stream: String, mode: PlaylistMode, target_90k: u64) -> Self {
        let keeps_all = matches!(mode, PlaylistMode::Live { .. });
        Self {
            store,
            stream,
            live: MediaPlaylist::new(mode.kind(), target_90k),
            // The archive's text is written once, at the end, so its target is that of its longest segment.
            archive: keeps_all.then(|| MediaPlaylist::new(Kind::Event, 0)),
            herald: None,
            // RFC 8216, 6.2.2: a segment stays for its own duration and that of the longest playlist it was in.
            retired: match mode {
                PlaylistMode::Sliding { segments } => Some((VecDeque::new(), segments + 1)),
                PlaylistMode::Live { .. } | PlaylistMode::Event => None,
            },
            variants: Vec::new(),
            master_is_stale: true,
            expected_start: None,
            published: 0,
        }
    }

    /// Every segment is also told of as a part of a longer one.
    pub(crate) fn told_by(self, herald: Herald) -> Self {
        Self { herald: Some(herald), ..self }
    }

    /// Where a rendition's segment lies in the store.
    pub(crate) fn path(&self, rendition: &str, sequence: u64) -> String {
        format!("{}/{rendition}/{sequence}.{EXTENSION}", self.stream)
    }

    /// Whether the renditions' attributes are known already.
    pub(crate) fn has_variants(&self) -> bool {
        !self.variants.is_empty()
    }

    /// Sets the renditions of the master playlist.
    pub(crate) fn set_variants(&mut self, variants: Vec<Variant>) {
        self.variants = variants;
    }

    /// Stores all pieces of the next segment. They are listed by [`Publisher::list`], which follows: a player never hears of
    /// what is not there. On an error the segment may be stored again, or be given up by [`Publisher::lose`].
    pub(crate) async fn store(&mut self, place: Place, pieces: &[Piece]) -> Result<Vec<String>, StoreError> {
        let paths: Vec<String> = pieces.iter().map(|piece| self.path(&piece.name, place.sequence)).collect();
        let puts = paths.iter().zip(pieces).map(|(path, piece)| self.put(path, piece.data.clone()));
        try_join_all(puts).await?;
        self.published += 1;
        self.append(place, false);
        let target = self.live.target_90k();
        for piece in pieces {
            if let Some(variant) = self.variants.iter_mut().find(|v| v.name == piece.name) {
                let bytes = piece.data.len() as u64;
                self.master_is_stale |= variant.count(bytes, place.duration_90k, target);
            }
        }
        Ok(paths)
    }

    /// Gives the next segment up: players step over its time without asking for it.
    pub(crate) fn lose(&mut self, place: Place) {
        self.variants.iter_mut().for_each(Variant::interrupt);
        self.append(place, true);
    }

    /// Removes what was stored of a segment that is not listed; what cannot be removed stays and is never listed.
    pub(crate) async fn discard(&self, place: Place, pieces: &[Piece]) {
        let paths = pieces.iter().map(|piece| self.path(&piece.name, place.sequence));
        let removals = paths.map(|path| async move { drop(self.store.delete(&path).await) });
        drop(tokio::time::timeout(DELETE_PATIENCE, join_all(removals)).await);
    }

    /// Nothing was stored yet: no playlist is written either, and what [`Publisher::list`] returns tells nothing about the store.
    pub(crate) fn is_silent(&self) -> bool {
        self.published == 0
    }

    /// Writes the playlists with all that was stored and given up until now. After an error the next call tells the same and more.
    pub(crate) async fn list(&mut self) -> Result<(), StoreError> {
        if self.is_silent() {
            // Nothing to play yet: the playlists appear together with the first real segment.
            return Ok(());
        }
        if let Some(herald) = &mut self.herald {
            herald.tell(&self.variants);
        }
        self.write_playlists(&self.live, LIVE_PLAYLIST).await?;
        if self.master_is_stale {
            self.write_master(LIVE_MASTER, LIVE_PLAYLIST).await?;
            self.master_is_stale = false;
        }
        self.retire().await;
        Ok(())
    }

    /// Ends the playlists and returns the path of the master playlist that covers most of the stream.
    pub(crate) async fn finish(&mut self) -> Result<String, StoreError> {
        if self.is_silent() {
            return Ok(String::new());
        }
        if let Some(herald) = &mut self.herald {
            herald.end();
            herald.tell(&self.variants);
        }
        self.live.end();
        self.write_playlists(&self.live, LIVE_PLAYLIST).await?;
        self.write_master(LIVE_MASTER, LIVE_PLAYLIST).await?;
        if let Some(archive) = &mut self.archive {
            archive.end();
        }
        let Some(archive) = &self.archive else { return Ok(format!("{}/{LIVE_MASTER}", self.stream)) };
        self.write_playlists(archive, VOD_PLAYLIST).await?;
        self.write_master(VOD_MASTER, VOD_PLAYLIST).await?;
        Ok(format!("{}/{VOD_MASTER}", self.stream))
    }

    fn append(&mut self, place: Place, gap: bool) {
        let entry = Entry {
            sequence: place.sequence,
            duration_90k: place.duration_90k,
            gap,
            discontinuity: self
                .expected_start
                .is_some_and(|expected| is_break(expected, place.start_pts_90k)),
        };
        let length = i64::try_from(place.duration_90k).unwrap_or(0);
        self.expected_start = Some(place.start_pts_90k.saturating_add(length));
        let gone = self.live.push(entry);
        if let Some(herald) = &mut self.herald {
            herald.append(entry, gone.last().map(|gone| gone.sequence));
        }
        if let Some((retired, _)) = &mut self.retired {
            retired.extend(gone.into_iter().filter(|entry| !entry.gap));
        }
        if let Some(archive) = &mut self.archive {
            archive.push(entry);
        }
    }

    async fn write_playlists(&self, playlist: &MediaPlaylist, file: &str) -> Result<(), StoreError> {
        // Files lie beside each other in every rendition's folder, so one text serves all.
        let text = Bytes::from(playlist.render(EXTENSION));
        let puts = self.variants.iter().map(|variant| {
            let path = format!("{}/{}/{file}", self.stream, variant.name);
            let text = text.clone();
            async move { self.put(&path, text).await }
        });
        try_join_all(puts).await.map(drop)
    }

    async fn write_master(&self, master: &str, file: &str) -> Result<(), StoreError> {
        let text = render_master(&self.variants, file);
        self.put(&format!("{}/{master}", self.stream), Bytes::from(text)).await
    }

    async fn retire(&mut self) {
        let Some((retired, stay)) = &mut self.retired else { return };
        let over = retired.len().saturating_sub(*stay);
        let over: Vec<Entry> = retired.drain(..over).collect();
        for entry in over {
            self.delete(entry.sequence).await;
        }
    }

    async fn delete(&self, sequence: u64) {
        let removals = self.variants.iter().map(|variant| async move {
            if let Err(error) = self.store.delete(&self.path(&variant.name, sequence)).await {
                tracing::warn!(%error, "segment that left the window could not be deleted");
            }
        });
        if tokio::time::timeout(DELETE_PATIENCE, join_all(removals)).await.is_err() {
            tracing::warn!(stream = %self.stream, sequence, "segment that left the window was not deleted in time");
        }
    }

    async fn put(&self, path: &str, data: Bytes) -> Result<(), StoreError> {
        let late = |_| StoreError {
            operation: "write",
            path: path.to_owned(),
            source: Arc::new(std::io::Error::new(
                std::io::ErrorKind::TimedOut,
                format!("no answer within {} s", PUT_PATIENCE.as_secs()),
            )),
        };
        tokio::time::timeout(PUT_PATIENCE, self.try_put(path, data)).await.map_err(late)?
    }

    async fn try_put(&self, path: &str, data: Bytes) -> Result<(), StoreError> {
        let mut pause = PUT_PAUSE;
        for _ in 1..PUT_ATTEMPTS {
            match self.store.put(path, data.clone()).await {
                Ok(()) => return Ok(()),
                Err(error) => tracing::debug!(%error, "write failed, trying again"),
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        self.store.put(path, data).await
    }
}

/// Whether a segment that starts at `start` does not follow one that ended at `expected`, on a clock of 33 bits.
fn is_break(expected: i64, start: i64) -> bool {
    let distance = start.wrapping_sub(expected).rem_euclid(WRAP);
    distance.min(WRAP - distance) > CONTINUITY_TICKS
}

/// The frame rate a rendition has: its own, or the source's.
pub(crate) fn frame_rate(entry: &LadderEntry, source: (u32, u32)) -> (u32, u32) {
    if entry.fps.is_source() { source } else { (entry.fps.num(), entry.fps.den()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StreamConfig;
    use crate::core::parts::{PartPlaylist, numbers_in};
    use crate::editions::Editions;
    use crate::store::ObjectStorage;

    const SECOND: u64 = 90_000;

    struct Fixture {
        folder: tempfile::TempDir,
        publisher: Publisher,
    }

    impl Fixture {
        fn new(mode: PlaylistMode) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let store = Arc::new(ObjectStorage::folder(folder.path()).unwrap());
            let mut publisher = Publisher::new(store, "cam".into(), mode, 2 * SECOND);
            let variant = |name: &str| Variant::new(name.into(), 640, 360, (30, 1), Vec::new());
            publisher.set_variants(vec![variant("360p"), variant("240p")]);
            Self { folder, publisher }
        }

        async fn publish(&mut self, sequence: u64) {
            let piece = |name: &str| Piece { name: name.into(), data: Bytes::from_static(b"segment") };
            self.publisher.store(place(sequence), &[piece("360p"), piece("240p")]).await.unwrap();
            self.publisher.list().await.unwrap();
        }

        fn read(&self, path: &str) -> String {
            std::fs::read_to_string(self.folder.path().join("cam").join(path)).unwrap()
        }

        fn exists(&self, path: &str) -> bool {
            self.folder.path().join("cam").join(path).exists()
        }
    }

    fn place(sequence: u64) -> Place {
        Place { sequence, start_pts_90k: (sequence * 2 * SECOND) as i64, duration_90k: 2 * SECOND }
    }

    #[tokio::test]
    async fn a_finished_live_stream_leaves_a_vod_playlist_of_every_segment() {
        let mut fixture = Fixture::new(PlaylistMode::Live { segments: 2 });
        for sequence in 0..5 {
            fixture.publish(sequence).await;
        }
        assert_eq!(fixture.publisher.finish().await.unwrap(), "cam/vod.m3u8");
        let vod = fixture.read("240p/vod.m3u8");
        assert_eq!(vod.matches("#EXTINF").count(), 5);
        assert!(
            vod.ends_with("#EXT-X-ENDLIST\n")
                && fixture.read("360p/index.m3u8").ends_with("#EXT-X-ENDLIST\n")
        );
    }

    #[tokio::test]
    async fn a_sliding_stream_deletes_what_no_player_asks_for_any_more() {
        let mut fixture = Fixture::new(PlaylistMode::Sliding { segments: 2 });
        for sequence in 0..7 {
            fixture.publish(sequence).await;
        }
        assert!(!fixture.read("360p/index.m3u8").contains("4.ts"));
        assert!(!fixture.exists("360p/1.ts") && fixture.exists("360p/2.ts"));
    }

    #[tokio::test]
    async fn a_sliding_stream_keeps_every_part_that_a_playlist_names() {
        let (playlist, editions) = (PlaylistMode::Sliding { segments: 2 }, Arc::new(Editions::default()));
        let config = StreamConfig { playlist, parts_per_segment: 3, ..StreamConfig::new("cam") };
        let mut fixture = Fixture::new(config.stored_playlist());
        let parts = PartPlaylist::new(playlist.kind(), 2 * SECOND, 3);
        fixture.publisher =
            fixture.publisher.told_by(Herald::new(Arc::clone(&editions), "cam".into(), parts));
        for sequence in 0..30 {
            fixture.publish(sequence).await;
            let newest = editions.playlist("cam/240p/index.m3u8").unwrap().borrow().clone();
            let text = std::str::from_utf8(&newest.text).unwrap();
            let parts = text.lines().filter(|line| line.starts_with("#EXT-X-PART:"));
            let parts = parts.filter_map(|line| line.split('"').nth(1));
            for file in parts.chain(text.lines().filter(|line| !line.starts_with('#'))) {
                let name = file.strip_suffix(".ts").unwrap();
                for number in numbers_in(name).unwrap_or_else(|| {
                    let number = name.parse().unwrap();
                    number..=number
                }) {
                    assert!(fixture.exists(&format!("240p/{number}.ts")), "{file} of {text}");
                }
            }
        }
        assert!(!fixture.exists("240p/16.ts") && fixture.exists("240p/17.ts"));
    }

    #[tokio::test]
    async fn a_lost_segment_keeps_the_timeline_whole() {
        let mut fixture = Fixture::new(PlaylistMode::Event);
        fixture.publish(0).await;
        fixture.publisher.lose(place(1));
        fixture.publish(2).await;
        let text = fixture.read("360p/index.m3u8");
        assert!(text.contains("#EXT-X-GAP\n#EXTINF:2.000000,\n1.ts\n"));
        assert!(!text.contains("DISCONTINUITY"));
    }

    #[tokio::test]
    async fn a_jump_of_the_source_clock_is_a_discontinuity() {
        let mut fixture = Fixture::new(PlaylistMode::Event);
        fixture.publish(0).await;
        fixture.publish(7).await;
        assert!(fixture.read("360p/index.m3u8").contains("#EXT-X-DISCONTINUITY\n#EXTINF:2.000000,\n7.ts\n"));
    }

    #[tokio::test]
    async fn nothing_is_listed_before_the_first_real_segment() {
        let mut fixture = Fixture::new(PlaylistMode::Event);
        fixture.publisher.lose(place(0));
        fixture.publisher.list().await.unwrap();
        assert!(!fixture.exists("master.m3u8") && !fixture.exists("360p/index.m3u8"));
        fixture.publish(1).await;
        assert!(fixture.exists("master.m3u8") && fixture.read("360p/index.m3u8").contains("#EXT-X-GAP"));
    }

    #[test]
    fn the_wrap_of_the_clock_is_no_break() {
        assert!(!is_break(WRAP - 10, 5));
        assert!(!is_break(WRAP + 3_000, 3_000));
        assert!(is_break(0, 2 * 90_000));
    }
}
