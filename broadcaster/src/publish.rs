//! Puts verified segments into the store and the playlists, in order and all renditions together.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use framemill_media::time::WRAP;
use framemill_network::LadderEntry;
use futures::future::{join_all, try_join_all};

use crate::config::PlaylistMode;
use crate::core::files::{Files, Section};
use crate::core::mp4::{section_length, video_start_90k};
use crate::core::playlist::{Entry, Kind, MediaPlaylist, Variant, render_master, texts};
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

/// A segment's place on the timeline.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) sequence: u64,
    pub(crate) start_pts_90k: i64,
    pub(crate) duration_90k: u64,
}

/// One rendition's bytes, as they were delivered.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(crate) name: String,
    pub(crate) data: Bytes,
}

/// A piece as it is stored.
struct Cut {
    path: String,
    media: Bytes,
    /// What players need before the media, which may be in the store already.
    section: Option<(Section, Bytes)>,
}

/// What is known of a segment because it was stored.
struct Stored {
    /// When its MP4 begins.
    mp4_start: Option<i64>,
    new_section: bool,
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
    /// The same on the clock of MP4.
    expected_mp4: Option<i64>,
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
            expected_mp4: None,
            published: 0,
        }
    }

    /// Every segment is also told of as a part of a longer one.
    pub(crate) fn told_by(self, herald: Herald) -> Self {
        Self { herald: Some(herald), ..self }
    }

    /// Where a rendition's file lies in the store.
    fn path(&self, rendition: &str, file: impl std::fmt::Display) -> String {
        format!("{}/{rendition}/{file}", self.stream)
    }

    /// What a rendition's files are called.
    fn files(&self, rendition: &str) -> Option<&Files> {
        let variant = self.variants.iter().find(|variant| variant.name == rendition);
        variant.map(|variant| &variant.files)
    }

    fn segment_path(&self, rendition: &str, sequence: u64) -> String {
        self.path(rendition, self.files(rendition).unwrap_or(&Files::TS).segment(sequence))
    }

    /// A piece as its rendition's playlists name it: of MP4 what stands before the first fragment is a file of its own.
    fn cut(&self, piece: &Piece, sequence: u64) -> Cut {
        let path = self.segment_path(&piece.name, sequence);
        let length =
            section_length(&piece.data).filter(|_| self.files(&piece.name).is_some_and(Files::is_mp4));
        let section = length.map(|length| piece.data.slice(..length));
        Cut {
            path,
            media: piece.data.slice(length.unwrap_or(0)..),
            section: section.map(|content| (Section::of(&content), content)),
        }
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
        let cuts: Vec<Cut> = pieces.iter().map(|piece| self.cut(piece, place.sequence)).collect();
        self.put_sections(pieces, &cuts).await?;
        try_join_all(cuts.iter().map(|cut| self.put(&cut.path, cut.media.clone()))).await?;
        self.published += 1;
        let stored = Stored {
            mp4_start: pieces.iter().find_map(|piece| video_start_90k(&piece.data)),
            new_section: self.need_sections(place, pieces, &cuts),
        };
        self.append(place, Some(stored));
        let target = self.live.target_90k();
        for (piece, cut) in pieces.iter().zip(&cuts) {
            if let Some(variant) = self.variants.iter_mut().find(|v| v.name == piece.name) {
                let bytes = cut.media.len() as u64;
                self.master_is_stale |= variant.count(bytes, place.duration_90k, target);
            }
        }
        Ok(cuts.into_iter().map(|cut| cut.path).collect())
    }

    /// Stores the sections that no segment has needed until now.
    async fn put_sections(&self, pieces: &[Piece], cuts: &[Cut]) -> Result<(), StoreError> {
        let puts = pieces.iter().zip(cuts).filter_map(|(piece, cut)| {
            let (section, content) = cut.section.clone()?;
            if self.files(&piece.name).is_some_and(|files| files.has(section)) {
                return None;
            }
            Some(async move { self.put(&self.path(&piece.name, section), content).await })
        });
        try_join_all(puts).await.map(drop)
    }

    /// Notes the sections that the segment needs. Returns whether there is another than before.
    fn need_sections(&mut self, place: Place, pieces: &[Piece], cuts: &[Cut]) -> bool {
        let mut changes = false;
        for (piece, cut) in pieces.iter().zip(cuts) {
            let variant = self.variants.iter_mut().find(|variant| variant.name == piece.name);
            if let (Some(variant), Some((section, _))) = (variant, &cut.section) {
                changes |= variant.files.need(place.sequence, *section);
            }
        }
        changes
    }

    /// Gives the next segment up: players step over its time without asking for it.
    pub(crate) fn lose(&mut self, place: Place) {
        self.variants.iter_mut().for_each(Variant::interrupt);
        self.append(place, None);
    }

    /// Removes what was stored of a segment that is not listed; what cannot be removed stays and is never listed. Sections stay as well: who
    /// published the stream before may have listed the same.
    pub(crate) async fn discard(&self, place: Place, pieces: &[Piece]) {
        let paths = pieces.iter().map(|piece| self.segment_path(&piece.name, place.sequence));
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

    /// Lists a segment; one of which nothing is stored is a gap.
    fn append(&mut self, place: Place, stored: Option<Stored>) {
        let entry = Entry {
            sequence: place.sequence,
            duration_90k: place.duration_90k,
            gap: stored.is_none(),
            discontinuity: self.breaks(place, stored.as_ref().and_then(|stored| stored.mp4_start)),
            new_section: stored.is_some_and(|stored| stored.new_section),
        };
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

    /// Whether the timeline breaks before the segment at this place. Timestamps of MPEG-TS wrap at 33 bits; those of MP4 begin anew there
    /// with the segment that begins behind. All renditions break where one does: they have one timeline.
    fn breaks(&mut self, place: Place, mp4_start: Option<i64>) -> bool {
        let (start, length) = (place.start_pts_90k, i64::try_from(place.duration_90k).unwrap_or(0));
        let mp4_start = mp4_start.unwrap_or(start.rem_euclid(WRAP));
        let expected = self.expected_start.replace(start.saturating_add(length));
        let expected_mp4 = self.expected_mp4.replace(mp4_start.saturating_add(length));
        let has_mp4 = self.variants.iter().any(|variant| variant.files.is_mp4());
        let is_far = |expected: i64| expected.abs_diff(mp4_start) > CONTINUITY_TICKS.unsigned_abs();
        expected.is_some_and(|expected| is_break(expected, start))
            || has_mp4 && expected_mp4.is_some_and(is_far)
    }

    async fn write_playlists(&self, playlist: &MediaPlaylist, file: &str) -> Result<(), StoreError> {
        let texts = texts(&self.variants, |files| playlist.render(files));
        let puts = self
            .variants
            .iter()
            .zip(texts)
            .map(|(variant, text)| async move { self.put(&self.path(&variant.name, file), text).await });
        try_join_all(puts).await.map(drop)
    }

    async fn write_master(&self, master: &str, file: &str) -> Result<(), StoreError> {
        let text = render_master(&self.variants, file);
        self.put(&format!("{}/{master}", self.stream), Bytes::from(text)).await
    }

    async fn retire(&mut self) {
        let mut over = Vec::new();
        if let Some((retired, stay)) = &mut self.retired {
            over.extend(retired.drain(..retired.len().saturating_sub(*stay)));
        }
        for entry in over {
            let paths = self.variants.iter().map(|variant| self.segment_path(&variant.name, entry.sequence));
            self.delete(paths.collect()).await;
        }
        let unneeded = self.forget_sections();
        if self.retired.is_some() && !unneeded.is_empty() {
            self.delete(unneeded).await;
        }
    }

    /// Forgets the sections that no segment needs that is listed or still there, and returns their paths.
    fn forget_sections(&mut self) -> Vec<String> {
        let retired = self.retired.as_ref().and_then(|(retired, _)| retired.front());
        let listed = || self.archive.as_ref().unwrap_or(&self.live).entries().next();
        let Some(oldest) = retired.or_else(listed).map(|entry| entry.sequence) else { return Vec::new() };
        let gone: Vec<_> = self
            .variants
            .iter_mut()
            .flat_map(|variant| {
                variant.files.forget_before(oldest).into_iter().map(|section| (&variant.name, section))
            })
            .collect();
        gone.into_iter()
            .map(|(rendition, section)| format!("{}/{rendition}/{section}", self.stream))
            .collect()
    }

    async fn delete(&self, paths: Vec<String>) {
        let removals = paths.iter().map(|path| async move {
            if let Err(error) = self.store.delete(path).await {
                tracing::warn!(%error, "file that left the window could not be deleted");
            }
        });
        if tokio::time::timeout(DELETE_PATIENCE, join_all(removals)).await.is_err() {
            tracing::warn!(stream = %self.stream, ?paths, "files that left the window were not deleted in time");
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
mod mp4_tests;

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
            let path = "cam/240p/index.m3u8";
            let text = editions.playlist(path).unwrap().borrow().text(path).unwrap();
            let text = std::str::from_utf8(&text).unwrap();
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
