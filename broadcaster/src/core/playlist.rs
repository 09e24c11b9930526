//! The text of HLS playlists (RFC 8216), from exact durations and real byte counts.

use std::collections::VecDeque;
use std::fmt::Write;

use bytes::Bytes;

use super::files::{Files, Maps};

/// Ticks of the 90 kHz clock in one second.
pub(super) const TICKS_PER_SECOND: u64 = 90_000;

/// Entries that a growing playlist holds at most: 48 hours of 2 s segments, about 4 MB of text.
pub const MAX_ENTRIES: usize = 86_400;

/// One segment of a playlist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Number in the file name.
    pub sequence: u64,
    /// Exact duration in ticks of 90 kHz.
    pub duration_90k: u64,
    /// The segment was lost; players step over it without asking for it.
    pub gap: bool,
    /// The timeline breaks before this segment.
    pub discontinuity: bool,
    /// A rendition needs another initialization section than for the segment before.
    pub new_section: bool,
}

/// What a media playlist may still become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A sliding window of the newest segments.
    Window(usize),
    /// Everything from the start; grows, never loses.
    Event,
}

/// The common timeline of all renditions of a stream: they are published together, so one list serves them all, and only their files
/// differ.
#[derive(Debug, Clone)]
pub struct MediaPlaylist {
    kind: Kind,
    entries: VecDeque<Entry>,
    media_sequence: u64,
    discontinuity_sequence: u64,
    target_seconds: u64,
    ended: bool,
}

impl MediaPlaylist {
    /// An empty playlist whose target duration is at least `target_90k`.
    pub fn new(kind: Kind, target_90k: u64) -> Self {
        Self {
            kind,
            entries: VecDeque::new(),
            media_sequence: 0,
            discontinuity_sequence: 0,
            target_seconds: target_90k.div_ceil(TICKS_PER_SECOND).max(1),
            ended: false,
        }
    }

    /// Appends a segment and returns those that left the window.
    ///
    /// `EXT-X-TARGETDURATION` should not change, so the configured target is used from the start; a longer segment
    /// raises it, because an `EXTINF` above the target is the worse violation.
    ///
    /// A window counts from its first segment's number on, so that it does not go back for players where another broadcaster had
    /// published the stream until then.
    pub fn push(&mut self, entry: Entry) -> Vec<Entry> {
        if self.entries.is_empty() && matches!(self.kind, Kind::Window(_)) {
            self.media_sequence = entry.sequence;
        }
        self.target_seconds = self.target_seconds.max(rounded_seconds(entry.duration_90k));
        self.entries.push_back(entry);
        let keep = match self.kind {
            Kind::Window(segments) => segments.max(1),
            Kind::Event => MAX_ENTRIES,
        };
        let mut gone = Vec::new();
        while self.entries.len() > keep {
            let Some(first) = self.entries.pop_front() else { break };
            self.media_sequence += 1;
            self.discontinuity_sequence += u64::from(first.discontinuity);
            gone.push(first);
        }
        gone
    }

    /// No segment will follow.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// Nothing was appended yet.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Most that a segment lasts, rounded to seconds, in ticks of 90 kHz.
    pub fn target_90k(&self) -> u64 {
        self.target_seconds.saturating_mul(TICKS_PER_SECOND)
    }

    /// Segments listed now, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// The playlist's text for a rendition with these files, which lie beside it.
    pub fn render(&self, files: &Files) -> String {
        let version = version(files, self.entries.iter().any(|entry| entry.gap));
        let mut text = head(version, self.target_seconds, self.media_sequence, self.discontinuity_sequence);
        match (self.kind, self.ended) {
            (Kind::Event, true) => text.push_str("#EXT-X-PLAYLIST-TYPE:VOD\n"),
            (Kind::Event, false) => text.push_str("#EXT-X-PLAYLIST-TYPE:EVENT\n"),
            (Kind::Window(_), _) => {}
        }
        let mut maps = Maps::of(files);
        for entry in &self.entries {
            if entry.discontinuity {
                text.push_str("#EXT-X-DISCONTINUITY\n");
            }
            maps.write(&mut text, entry.sequence);
            if entry.gap {
                text.push_str("#EXT-X-GAP\n");
            }
            let (duration, file) = (Seconds(entry.duration_90k), files.segment(entry.sequence));
            put(&mut text, format_args!("#EXTINF:{duration},\n{file}\n"));
        }
        if self.ended {
            text.push_str("#EXT-X-ENDLIST\n");
        }
        text
    }
}

/// The version that a playlist of such files needs: `EXT-X-GAP` came with 8, `EXT-X-MAP` of whole segments with 6, and without either
/// 3 (fractional `EXTINF`) reaches the oldest players.
pub(super) fn version(files: &Files, has_gap: bool) -> u8 {
    match (has_gap, files.is_mp4()) {
        (true, _) => 8,
        (false, true) => 6,
        (false, false) => 3,
    }
}

/// What a media playlist begins with.
pub(super) fn head(version: u8, target_seconds: u64, sequence: u64, discontinuities: u64) -> String {
    let mut text = format!(
        "#EXTM3U\n#EXT-X-VERSION:{version}\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-TARGETDURATION:{target_seconds}\n\
         #EXT-X-MEDIA-SEQUENCE:{sequence}\n"
    );
    if discontinuities > 0 {
        put(&mut text, format_args!("#EXT-X-DISCONTINUITY-SEQUENCE:{discontinuities}\n"));
    }
    text
}

/// One rendition in the master playlist, with the totals of what was really published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    /// Folder of the rendition.
    pub name: String,
    /// Picture width in pixels.
    pub width: u32,
    /// Picture height in pixels.
    pub height: u32,
    /// Frames per second as a fraction.
    pub frame_rate: (u32, u32),
    /// RFC 6381 codec strings; empty leaves the attribute out.
    pub codecs: Vec<String>,
    /// What its files are called.
    pub files: Files,
    bytes: u64,
    duration_90k: u64,
    peak_bps: u64,
    /// Bytes and durations of the newest segments, as far back as a peak is measured.
    recent: VecDeque<(u64, u64)>,
}

impl Variant {
    /// A rendition in MPEG-TS of which nothing was published yet.
    pub fn new(name: String, width: u32, height: u32, frame_rate: (u32, u32), codecs: Vec<String>) -> Self {
        Self {
            name,
            width,
            height,
            frame_rate,
            codecs,
            files: Files::TS,
            bytes: 0,
            duration_90k: 0,
            peak_bps: 0,
            recent: VecDeque::new(),
        }
    }

    /// The same in other files.
    pub fn with_files(self, files: Files) -> Self {
        Self { files, ..self }
    }

    /// Counts a published segment of a playlist with this target duration; `true` when the peak rate rose.
    ///
    /// The peak is that of RFC 8216, 4.1: of any run of segments that lasts between half and one and a half times the target. A
    /// short one alone counts only while there is nothing else.
    pub fn count(&mut self, bytes: u64, duration_90k: u64, target_90k: u64) -> bool {
        let first = self.duration_90k == 0;
        self.bytes = self.bytes.saturating_add(bytes);
        self.duration_90k = self.duration_90k.saturating_add(duration_90k);
        self.recent.push_back((bytes, duration_90k));
        let (least, most) = (target_90k / 2, target_90k.saturating_mul(3) / 2);
        let (mut run_bytes, mut run) = (0u64, 0u64);
        let mut peak = if first { bits_per_second(bytes, duration_90k) } else { 0 };
        let mut used = 0;
        for (bytes, duration) in self.recent.iter().rev() {
            run_bytes = run_bytes.saturating_add(*bytes);
            run = run.saturating_add(*duration);
            if run > most && used > 0 {
                break;
            }
            used += 1;
            if run >= least {
                peak = peak.max(bits_per_second(run_bytes, run));
            }
        }
        self.recent.drain(..self.recent.len() - used);
        let risen = peak > self.peak_bps;
        self.peak_bps = self.peak_bps.max(peak);
        risen
    }

    /// Something else stands between what was counted and what follows.
    pub fn interrupt(&mut self) {
        self.recent.clear();
    }

    /// Highest bit rate of any part as long as a segment.
    pub fn peak_bps(&self) -> u64 {
        self.peak_bps
    }

    /// Bit rate over everything published.
    pub fn average_bps(&self) -> u64 {
        bits_per_second(self.bytes, self.duration_90k)
    }
}

/// The master playlist; each variant's media playlist is `<name>/<file>`. It asks for no later version than its own tags do, so that old
/// players find the variants that they can play.
pub fn render_master(variants: &[Variant], file: &str) -> String {
    let mut text = String::from("#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-INDEPENDENT-SEGMENTS\n");
    for variant in variants {
        put(
            &mut text,
            format_args!(
                "#EXT-X-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={}",
                variant.peak_bps.max(1),
                variant.average_bps().max(1)
            ),
        );
        if !variant.codecs.is_empty() {
            put(&mut text, format_args!(",CODECS=\"{}\"", variant.codecs.join(",")));
        }
        if variant.width > 0 && variant.height > 0 {
            put(&mut text, format_args!(",RESOLUTION={}x{}", variant.width, variant.height));
        }
        let (num, den) = variant.frame_rate;
        if num > 0 && den > 0 {
            let millis = (u64::from(num) * 1_000 + u64::from(den) / 2) / u64::from(den);
            put(&mut text, format_args!(",FRAME-RATE={}.{:03}", millis / 1_000, millis % 1_000));
        }
        put(&mut text, format_args!("\n{}/{file}\n", variant.name));
    }
    text
}

/// What `render` writes for each of the renditions, once for all that are MPEG-TS: their files lie beside the playlists under the same
/// names.
pub fn texts(variants: &[Variant], render: impl Fn(&Files) -> String) -> Vec<Bytes> {
    let mut common: Option<Bytes> = None;
    let text = |variant: &Variant| match variant.files.is_mp4() {
        true => Bytes::from(render(&variant.files)),
        false => common.get_or_insert_with(|| Bytes::from(render(&variant.files))).clone(),
    };
    variants.iter().map(text).collect()
}

/// A duration as decimal seconds, exact to the microsecond.
pub(super) struct Seconds(pub(super) u64);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let micros = (u128::from(self.0) * 1_000_000 + u128::from(TICKS_PER_SECOND / 2))
            / u128::from(TICKS_PER_SECOND);
        write!(f, "{}.{:06}", micros / 1_000_000, micros % 1_000_000)
    }
}

pub(super) fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("writing to a string cannot fail");
}

/// RFC 8216 section 4.3.3.1 compares the target with `EXTINF` rounded to the nearest second.
pub(super) fn rounded_seconds(ticks: u64) -> u64 {
    ticks.saturating_add(TICKS_PER_SECOND / 2) / TICKS_PER_SECOND
}

fn bits_per_second(bytes: u64, duration_90k: u64) -> u64 {
    if duration_90k == 0 {
        return 0;
    }
    let rate = (u128::from(bytes) * 8 * u128::from(TICKS_PER_SECOND)).div_ceil(u128::from(duration_90k));
    u64::try_from(rate).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::files::Section;

    fn entry(sequence: u64) -> Entry {
        Entry { sequence, duration_90k: 180_180, gap: false, discontinuity: false, new_section: false }
    }

    #[test]
    fn an_event_playlist_becomes_vod_when_it_ends() {
        let mut playlist = MediaPlaylist::new(Kind::Event, 180_000);
        playlist.push(entry(0));
        playlist.push(entry(1));
        assert!(playlist.render(&Files::TS).contains("#EXT-X-PLAYLIST-TYPE:EVENT\n"));
        playlist.end();
        assert_eq!(
            playlist.render(&Files::TS),
            "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-TARGETDURATION:2\n\
             #EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXTINF:2.002000,\n0.ts\n#EXTINF:2.002000,\n1.ts\n\
             #EXT-X-ENDLIST\n"
        );
    }

    #[test]
    fn a_window_slides_and_counts_what_left_it() {
        let mut playlist = MediaPlaylist::new(Kind::Window(3), 180_000);
        let gone: Vec<u64> = (10..15).flat_map(|n| playlist.push(entry(n))).map(|e| e.sequence).collect();
        assert_eq!(gone, vec![10, 11]);
        let text = playlist.render(&Files::TS);
        assert!(
            text.contains("#EXT-X-MEDIA-SEQUENCE:12\n") && !text.contains("11.ts") && text.contains("12.ts")
        );
    }

    #[test]
    fn a_discontinuity_that_left_the_window_is_still_counted() {
        let mut playlist = MediaPlaylist::new(Kind::Window(1), 180_000);
        playlist.push(Entry { discontinuity: true, ..entry(0) });
        playlist.push(entry(1));
        assert!(playlist.render(&Files::TS).contains("#EXT-X-DISCONTINUITY-SEQUENCE:1\n"));
    }

    #[test]
    fn the_section_of_the_first_segment_and_every_change_are_named() {
        let mut files = Files::MP4;
        let [a, b] = [Section::of(b"a"), Section::of(b"b")];
        for (sequence, section) in [(1, a), (5, b), (6, a)] {
            files.need(sequence, section);
        }
        let mut playlist = MediaPlaylist::new(Kind::Window(4), 180_000);
        for number in 1..8 {
            playlist.push(Entry { gap: number == 4, discontinuity: number == 4, ..entry(number) });
        }
        let text = playlist.render(&files);
        let list = format!(
            "#EXT-X-MEDIA-SEQUENCE:4\n#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"{a}\"\n#EXT-X-GAP\n#EXTINF:2.002000,\n4.m4s\n\
             #EXT-X-MAP:URI=\"{b}\"\n#EXTINF:2.002000,\n5.m4s\n#EXT-X-MAP:URI=\"{a}\"\n#EXTINF:2.002000,\n6.m4s\n\
             #EXTINF:2.002000,\n7.m4s\n"
        );
        assert!(text.ends_with(&list), "{text}");
        assert!(text.contains("#EXT-X-VERSION:8\n"));
        playlist.push(entry(8));
        assert!(playlist.render(&files).contains("#EXT-X-VERSION:6\n"));
    }

    #[test]
    fn renditions_of_the_same_names_share_one_text() {
        let variant = |name: &str| Variant::new(name.into(), 640, 360, (30, 1), Vec::new());
        let mp4 = |name: &str| variant(name).with_files(Files::MP4);
        let made = std::cell::Cell::new(0);
        let texts = texts(&[variant("a"), mp4("b"), variant("c"), mp4("d")], |files| {
            made.set(made.get() + 1);
            files.segment(made.get())
        });
        assert_eq!(texts, ["1.ts", "2.m4s", "1.ts", "3.m4s"]);
    }

    #[test]
    fn a_lost_segment_is_a_gap_of_its_own_duration() {
        let mut playlist = MediaPlaylist::new(Kind::Event, 180_000);
        playlist.push(Entry { gap: true, ..entry(0) });
        let text = playlist.render(&Files::TS);
        assert!(
            text.contains("#EXT-X-VERSION:8\n") && text.contains("#EXT-X-GAP\n#EXTINF:2.002000,\n0.ts\n")
        );
    }

    #[test]
    fn bandwidths_are_those_of_the_real_bytes() {
        let mut variant = Variant::new("720p".into(), 1280, 720, (30_000, 1_001), vec!["avc1.64001f".into()]);
        assert!(variant.count(250_000, 180_000, 180_000));
        assert!(!variant.count(125_000, 180_000, 180_000));
        assert_eq!(
            render_master(&[variant], "index.m3u8"),
            "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-STREAM-INF:BANDWIDTH=1000000,\
             AVERAGE-BANDWIDTH=750000,CODECS=\"avc1.64001f\",RESOLUTION=1280x720,FRAME-RATE=29.970\n720p/index.m3u8\n"
        );
    }

    #[test]
    fn a_short_segment_is_no_peak_by_itself() {
        let mut variant = Variant::new("720p".into(), 1280, 720, (30, 1), Vec::new());
        assert!(variant.count(100_000, 180_000, 180_000));
        // Four times the rate for a fifth of the target: together with what comes before it is a little more.
        assert!(variant.count(80_000, 36_000, 180_000));
        assert_eq!(variant.peak_bps(), 180_000 * 8 * 10 / 24);
        variant.interrupt();
        assert!(!variant.count(80_000, 36_000, 180_000));
    }

    proptest! {
        #[test]
        fn no_extinf_exceeds_the_target(durations in prop::collection::vec(1u64..2_000_000, 1..60), window in 1usize..10) {
            let mut playlist = MediaPlaylist::new(Kind::Window(window), 180_000);
            let mut last = 0;
            for (n, duration_90k) in durations.into_iter().enumerate() {
                playlist.push(Entry { duration_90k, ..entry(n as u64) });
                let text = playlist.render(&Files::TS);
                let number = |tag: &str| text.lines().find_map(|l| l.strip_prefix(tag)?.parse::<u64>().ok());
                let target = number("#EXT-X-TARGETDURATION:").expect("a target");
                for line in text.lines().filter_map(|l| l.strip_prefix("#EXTINF:")) {
                    let seconds: f64 = line.trim_end_matches(',').parse().expect("a number");
                    prop_assert!(seconds.round() as u64 <= target);
                }
                let first = number("#EXT-X-MEDIA-SEQUENCE:").expect("a sequence");
                prop_assert!(first >= last, "the playlist went back");
                last = first;
            }
        }

        #[test]
        fn durations_add_up_to_the_source(durations in prop::collection::vec(1u64..1_000_000, 1..300)) {
            let mut playlist = MediaPlaylist::new(Kind::Event, 180_000);
            let ticks: u64 = durations.iter().sum();
            for (n, duration_90k) in durations.iter().enumerate() {
                playlist.push(Entry { duration_90k: *duration_90k, ..entry(n as u64) });
            }
            let text = playlist.render(&Files::TS);
            let micros: u64 = text
                .lines()
                .filter_map(|line| line.strip_prefix("#EXTINF:"))
                .map(|line| line.trim_end_matches(',').replace('.', "").parse::<u64>().expect("digits"))
                .sum();
            let exact = ticks * 100 / 9;
            prop_assert!(micros.abs_diff(exact) <= durations.len() as u64);
        }
    }
}
