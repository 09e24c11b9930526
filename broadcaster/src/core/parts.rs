//! The playlist of a stream in parts (draft-pantos-hls-rfc8216bis): what is bought, verified and published as a whole is a part of a
//! longer segment, and is listed as soon as it is there.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use super::files::{Files, Maps};
use super::playlist::{Entry, Kind, Seconds, TICKS_PER_SECOND, head, put, rounded_seconds, version};

/// Most parts that a segment may have: bounds what is read for one request.
pub const MAX_PARTS: u64 = 16;

/// The part target is a multiple of so many ticks, 50 ms: it should not change, and sources have parts that differ by a frame.
const TARGET_STEP: u64 = TICKS_PER_SECOND / 20;

/// Least share of the part target that a part must last which is not its segment's last, in percent.
const LEAST_PERCENT: u64 = 85;

/// Whole segments whose parts are listed, beside the one that is being filled: no player begins further from the edge.
const SEGMENTS_IN_PARTS: usize = 2;

/// The common timeline of all renditions of a stream in parts.
///
/// A segment ends with its last part, and before that where it must: with its first part if the stream begins with it, so that there is a
/// segment from the start; before a part that was lost, which is a gap of its own, so that nothing is lost with it; before a break of
/// the timeline or of the numbers; before a part that needs another initialization section; where another part might make it longer than
/// the target; and where parts of very different lengths would stand in one segment.
#[derive(Debug, Clone)]
pub struct PartPlaylist {
    kind: Kind,
    per_segment: usize,
    segments: VecDeque<Segment>,
    media_sequence: u64,
    discontinuity_sequence: u64,
    target_seconds: u64,
    part_target_90k: u64,
    ended: bool,
}

/// A run of parts, never empty. Gaps, breaks and new sections stand first.
#[derive(Debug, Clone)]
struct Segment {
    parts: Vec<Entry>,
    /// No part will follow.
    whole: bool,
}

impl Segment {
    fn first(&self) -> &Entry {
        self.parts.first().expect("a segment has a part")
    }

    fn last(&self) -> &Entry {
        self.parts.last().expect("a segment has a part")
    }

    fn duration_90k(&self) -> u64 {
        self.parts.iter().map(|part| part.duration_90k).sum()
    }

    /// Its name without the extension, which [`numbers_in`] reads.
    fn name(&self) -> String {
        match (self.first().sequence, self.last().sequence) {
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}-{last}"),
        }
    }
}

/// The numbers of the parts that follow each other in the segment of this name, `FIRST-LAST`; `None` where it is no such name.
pub fn numbers_in(name: &str) -> Option<RangeInclusive<u64>> {
    let (first, last) = name.split_once('-')?;
    let (first, last) = (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?);
    let more = last.checked_sub(first)?;
    (more > 0 && more < MAX_PARTS).then_some(first..=last)
}

impl PartPlaylist {
    /// An empty playlist of segments of `per_segment` parts, each of which is to last `part_90k`.
    pub fn new(kind: Kind, part_90k: u64, per_segment: u64) -> Self {
        let per_segment = per_segment.clamp(1, MAX_PARTS);
        let target_90k = part_90k.saturating_mul(per_segment);
        Self {
            kind,
            per_segment: per_segment as usize,
            segments: VecDeque::new(),
            media_sequence: 0,
            discontinuity_sequence: 0,
            target_seconds: target_90k.div_ceil(TICKS_PER_SECOND).max(1),
            part_target_90k: stepped(part_90k),
            ended: false,
        }
    }

    /// Appends a part, or a gap where it was lost.
    ///
    /// Neither target should change. A longer part raises them, because one above its target is the worse violation.
    pub fn push(&mut self, part: Entry) {
        self.target_seconds = self.target_seconds.max(rounded_seconds(part.duration_90k));
        self.part_target_90k = self.part_target_90k.max(stepped(part.duration_90k));
        match self.segments.back_mut().filter(|open| !open.whole) {
            Some(open) if takes(open, &part, self.part_target_90k, self.target_seconds) => {
                open.parts.push(part)
            }
            open => {
                if let Some(open) = open {
                    open.whole = true;
                }
                self.segments.push_back(Segment { parts: vec![part], whole: false });
            }
        }
        let is_first = self.media_sequence == 0 && self.segments.len() == 1;
        let (per_segment, part_target, target) =
            (self.per_segment, self.part_target_90k, self.target_seconds);
        if let Some(newest) = self.segments.back_mut() {
            newest.whole = is_first
                || part.gap
                || newest.parts.len() >= per_segment
                || is_short(&part, part_target)
                || rounded_seconds(newest.duration_90k() + part_target) > target;
        }
    }

    /// Removes the segments with parts up to this number.
    pub fn forget(&mut self, sequence: u64) {
        while let Some(gone) = self.segments.pop_front_if(|segment| segment.first().sequence <= sequence) {
            self.media_sequence += 1;
            self.discontinuity_sequence += u64::from(gone.first().discontinuity);
        }
    }

    /// No part will follow.
    pub fn end(&mut self) {
        self.ended = true;
        if let Some(newest) = self.segments.back_mut() {
            newest.whole = true;
        }
    }

    /// Most that a segment lasts, in seconds.
    pub fn target_seconds(&self) -> u64 {
        self.target_seconds
    }

    /// Number of the next part, if numbers go on one by one.
    pub fn next(&self) -> u64 {
        self.segments.back().map_or(0, |newest| newest.last().sequence.saturating_add(1))
    }

    /// How far the playlist has come.
    pub fn edge(&self) -> Edge {
        let open = self.segments.back().filter(|newest| !newest.whole);
        let whole = self.segments.len() - usize::from(open.is_some());
        let parts_of = |segment: Option<&Segment>| segment.map_or(0, |segment| segment.parts.len() as u64);
        let ahead = (3 * TICKS_PER_SECOND).div_ceil(self.part_target_90k.clamp(1, TICKS_PER_SECOND));
        Edge {
            open_sequence: self.media_sequence + whole as u64,
            open_parts: parts_of(open),
            parts_before: parts_of(whole.checked_sub(1).and_then(|last| self.segments.get(last))),
            // Players that do not play at low latency ask for the last part of a segment that has none yet.
            most_ahead: ahead.max(self.per_segment as u64),
        }
    }

    /// The playlist's text for a rendition with these files, for a server that holds requests for what is not there yet.
    pub fn render(&self, files: &Files) -> String {
        let version = version(files, self.segments.iter().any(|segment| segment.first().gap));
        let mut text = head(version, self.target_seconds, self.media_sequence, self.discontinuity_sequence);
        put(
            &mut text,
            format_args!(
                "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK={}\n#EXT-X-PART-INF:PART-TARGET={}\n",
                Seconds(3 * self.part_target_90k),
                Seconds(self.part_target_90k)
            ),
        );
        if self.kind == Kind::Event {
            text.push_str("#EXT-X-PLAYLIST-TYPE:EVENT\n");
        }
        let in_parts = self.segments.len() - self.listed_in_parts();
        let mut maps = Maps::of(files);
        for (number, segment) in self.segments.iter().enumerate() {
            let first = segment.first();
            if first.discontinuity {
                text.push_str("#EXT-X-DISCONTINUITY\n");
            }
            maps.write(&mut text, first.sequence);
            if first.gap {
                text.push_str("#EXT-X-GAP\n");
            }
            for part in segment.parts.iter().filter(|_| number >= in_parts) {
                let kind = if part.gap { "GAP" } else { "INDEPENDENT" };
                let (duration, file) = (Seconds(part.duration_90k), files.segment(part.sequence));
                put(&mut text, format_args!("#EXT-X-PART:DURATION={duration},URI=\"{file}\",{kind}=YES\n"));
            }
            if segment.whole {
                let (duration, file) = (Seconds(segment.duration_90k()), files.segment(segment.name()));
                put(&mut text, format_args!("#EXTINF:{duration},\n{file}\n"));
            }
        }
        match self.ended {
            true => text.push_str("#EXT-X-ENDLIST\n"),
            false => put(
                &mut text,
                format_args!("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{}\"\n", files.segment(self.next())),
            ),
        }
        text
    }

    /// Newest segments whose parts are listed: a part target that has risen may be too long for older ones.
    fn listed_in_parts(&self) -> usize {
        let has_open = self.segments.back().is_some_and(|newest| !newest.whole);
        let fits = |segment: &&Segment| {
            let but_last = segment.parts.len() - 1;
            !segment.parts[..but_last].iter().any(|part| is_short(part, self.part_target_90k))
        };
        let newest = SEGMENTS_IN_PARTS + usize::from(has_open);
        self.segments.iter().rev().take(newest).take_while(fits).count()
    }
}

/// Whether a part may stand behind those of an open segment.
fn takes(open: &Segment, part: &Entry, part_target_90k: u64, target_seconds: u64) -> bool {
    !part.gap
        && !part.discontinuity
        && !part.new_section
        && open.last().sequence.checked_add(1) == Some(part.sequence)
        && !open.parts.iter().any(|before| is_short(before, part_target_90k))
        && rounded_seconds(open.duration_90k() + part.duration_90k) <= target_seconds
}

/// Whether a part must be its segment's last.
fn is_short(part: &Entry, part_target_90k: u64) -> bool {
    part.duration_90k.saturating_mul(100) < part_target_90k.saturating_mul(LEAST_PERCENT)
}

fn stepped(duration_90k: u64) -> u64 {
    duration_90k.div_ceil(TARGET_STEP).max(1).saturating_mul(TARGET_STEP)
}

/// How far a playlist has come, for requests that wait for what is not in it yet (6.2.5.2 of the draft).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// Media sequence number of the segment that is being filled, or will be next.
    open_sequence: u64,
    /// Parts that it has.
    open_parts: u64,
    /// Parts of the segment before it.
    parts_before: u64,
    /// Parts beyond the last one that may be asked for.
    most_ahead: u64,
}

impl Edge {
    /// Whether the segment of this media sequence number, or this part of it, is there, or something later. A part behind the last of
    /// a whole segment is the first of the next one.
    pub fn has(&self, sequence: u64, part: Option<u64>) -> bool {
        match (sequence.checked_add(1), part) {
            (Some(next), Some(part)) if next == self.open_sequence => {
                part < self.parts_before || self.open_parts > 0
            }
            (_, Some(part)) if sequence == self.open_sequence => part < self.open_parts,
            _ => sequence < self.open_sequence,
        }
    }

    /// Whether it is so far ahead that nobody who reads the playlist asks for it.
    pub fn is_far(&self, sequence: u64, part: Option<u64>) -> bool {
        let there = match sequence.checked_sub(self.open_sequence) {
            Some(0) => self.open_parts,
            Some(1) => 0,
            Some(_) => return true,
            None if sequence + 1 == self.open_sequence => self.parts_before,
            None => return false,
        };
        part.is_some_and(|part| part >= there.saturating_add(self.most_ahead))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::files::Section;

    const SECOND: u64 = 90_000;

    fn part(sequence: u64) -> Entry {
        Entry { sequence, duration_90k: SECOND, gap: false, discontinuity: false, new_section: false }
    }

    fn playlist(parts: impl IntoIterator<Item = Entry>) -> PartPlaylist {
        let mut playlist = PartPlaylist::new(Kind::Window(6), SECOND, 3);
        parts.into_iter().for_each(|part| playlist.push(part));
        playlist
    }

    /// Names of the segments, the open one's with its parts.
    fn names(playlist: &PartPlaylist) -> Vec<String> {
        let name = |segment: &Segment| match segment.whole {
            true => segment.name(),
            false => format!("{}…", segment.name()),
        };
        playlist.segments.iter().map(name).collect()
    }

    #[test]
    fn a_stream_in_parts_is_listed_as_the_draft_has_it() {
        let playlist = playlist((0..9).map(part));
        assert_eq!(
            playlist.render(&Files::TS),
            "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-TARGETDURATION:3\n\
             #EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=3.000000\n\
             #EXT-X-PART-INF:PART-TARGET=1.000000\n#EXTINF:1.000000,\n0.ts\n\
             #EXT-X-PART:DURATION=1.000000,URI=\"1.ts\",INDEPENDENT=YES\n\
             #EXT-X-PART:DURATION=1.000000,URI=\"2.ts\",INDEPENDENT=YES\n\
             #EXT-X-PART:DURATION=1.000000,URI=\"3.ts\",INDEPENDENT=YES\n#EXTINF:3.000000,\n1-3.ts\n\
             #EXT-X-PART:DURATION=1.000000,URI=\"4.ts\",INDEPENDENT=YES\n\
             #EXT-X-PART:DURATION=1.000000,URI=\"5.ts\",INDEPENDENT=YES\n\
             #EXT-X-PART:DURATION=1.000000,URI=\"6.ts\",INDEPENDENT=YES\n#EXTINF:3.000000,\n4-6.ts\n\
             #EXT-X-PART:DURATION=1.000000,URI=\"7.ts\",INDEPENDENT=YES\n\
             #EXT-X-PART:DURATION=1.000000,URI=\"8.ts\",INDEPENDENT=YES\n\
             #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"9.ts\"\n"
        );
    }

    #[test]
    fn the_end_makes_the_open_segment_whole() {
        let mut playlist = playlist((0..3).map(part));
        playlist.end();
        assert_eq!(names(&playlist), ["0", "1-2"]);
        let text = playlist.render(&Files::TS);
        assert!(text.ends_with("#EXTINF:2.000000,\n1-2.ts\n#EXT-X-ENDLIST\n"), "{text}");
        assert!(!text.contains("PRELOAD-HINT"));
    }

    #[test]
    fn a_lost_part_is_a_gap_of_its_own_and_costs_its_neighbours_nothing() {
        let lost = Entry { gap: true, ..part(3) };
        let playlist = playlist([part(0), part(1), part(2), lost, part(4), part(5)]);
        assert_eq!(names(&playlist), ["0", "1-2", "3", "4-5…"]);
        let text = playlist.render(&Files::TS);
        assert!(text.contains(
            "#EXTINF:2.000000,\n1-2.ts\n#EXT-X-GAP\n#EXT-X-PART:DURATION=1.000000,URI=\"3.ts\",GAP=YES\n\
             #EXTINF:1.000000,\n3.ts\n#EXT-X-PART:DURATION=1.000000,URI=\"4.ts\",INDEPENDENT=YES\n"
        ));
        assert!(text.contains("#EXT-X-VERSION:8\n"));
    }

    #[test]
    fn a_break_of_the_timeline_or_of_the_numbers_ends_a_segment() {
        let jump = Entry { discontinuity: true, ..part(3) };
        let broken = playlist([part(0), part(1), part(2), jump, part(4)]);
        assert_eq!(names(&broken), ["0", "1-2", "3-4…"]);
        assert!(broken.render(&Files::TS).contains("1-2.ts\n#EXT-X-DISCONTINUITY\n#EXT-X-PART:"));
        assert_eq!(names(&playlist([part(0), part(2), part(4), part(5)])), ["0", "2", "4-5…"]);
    }

    #[test]
    fn a_segment_joins_parts_of_one_section_only() {
        let mut files = Files::MP4;
        for (sequence, content) in [(0, b"a"), (3, b"b"), (4, b"a")] {
            files.need(sequence, Section::of(content));
        }
        let [a, b] = [Section::of(b"a"), Section::of(b"b")];
        let other = |sequence| Entry { new_section: true, ..part(sequence) };
        let playlist = playlist([part(0), part(1), part(2), other(3), other(4), part(5)]);
        assert_eq!(names(&playlist), ["0", "1-2", "3", "4-5…"]);
        let text = playlist.render(&files);
        let head = format!(
            "#EXT-X-PART-INF:PART-TARGET=1.000000\n#EXT-X-MAP:URI=\"{a}\"\n#EXTINF:1.000000,\n0.m4s\n"
        );
        assert!(text.contains(&head) && text.contains("#EXT-X-VERSION:6\n"), "{text}");
        let changes = format!(
            "1-2.m4s\n#EXT-X-MAP:URI=\"{b}\"\n#EXT-X-PART:DURATION=1.000000,URI=\"3.m4s\",INDEPENDENT=YES\n\
             #EXTINF:1.000000,\n3.m4s\n#EXT-X-MAP:URI=\"{a}\"\n#EXT-X-PART:DURATION=1.000000,URI=\"4.m4s\""
        );
        assert!(text.contains(&changes), "{text}");
        assert!(text.ends_with("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"6.m4s\"\n"), "{text}");
        // Renditions without sections have the same segments.
        assert!(playlist.render(&Files::TS).contains("\n3.ts\n#EXT-X-PART:"));
    }

    #[test]
    fn a_longer_part_raises_the_part_target_and_never_stands_behind_short_ones() {
        let long = |sequence| Entry { duration_90k: 2 * SECOND, ..part(sequence) };
        let playlist = playlist([part(0), part(1), part(2), long(3), long(4), part(5), part(6)]);
        // Another of two seconds would not fit behind one in three seconds.
        assert_eq!(names(&playlist), ["0", "1-2", "3", "4", "5", "6"]);
        let text = playlist.render(&Files::TS);
        assert!(text.contains("PART-HOLD-BACK=6.000000\n#EXT-X-PART-INF:PART-TARGET=2.000000\n"), "{text}");
        assert!(!text.contains("URI=\"1.ts\""), "parts that are too short now are not listed: {text}");
    }

    #[test]
    fn parts_that_differ_by_a_frame_leave_the_part_target_as_it_is() {
        let long = |sequence| Entry { duration_90k: 90_090, ..part(sequence) };
        let playlist = playlist([long(0), part(1), Entry { duration_90k: 93_000, ..part(2) }]);
        assert!(playlist.render(&Files::TS).contains("PART-TARGET=1.050000\n"));
        assert_eq!(names(&playlist), ["0", "1-2…"]);
    }

    #[test]
    fn what_left_the_window_is_still_counted() {
        let jump = Entry { discontinuity: true, ..part(1) };
        let mut playlist = playlist([part(0), jump, part(2), part(3), part(4), part(5)]);
        playlist.forget(0);
        playlist.forget(2);
        let text = playlist.render(&Files::TS);
        assert!(text.contains("#EXT-X-MEDIA-SEQUENCE:2\n#EXT-X-DISCONTINUITY-SEQUENCE:1\n"), "{text}");
        assert_eq!(names(&playlist), ["4-5…"]);
    }

    #[test]
    fn names_of_segments_are_read_and_bounded() {
        assert_eq!(numbers_in("4-6"), Some(4..=6));
        for name in ["4", "4-4", "6-4", "-4", "4-", "a-b", "4-6-8", "0-16", "0-18446744073709551615", ""] {
            assert_eq!(numbers_in(name), None, "{name:?}");
        }
    }

    #[test]
    fn a_request_is_due_when_its_part_or_anything_later_is_there() {
        // Segments 0 (one part), 1 (three), and 2 with a part so far.
        let edge = playlist((0..5).map(part)).edge();
        let due = [(0, None), (1, None), (0, Some(9)), (1, Some(2)), (1, Some(3)), (2, Some(0))];
        assert!(due.iter().all(|(sequence, part)| edge.has(*sequence, *part)), "{edge:?}");
        let waits = [(2, None), (2, Some(1)), (3, Some(0)), (3, None)];
        assert!(waits.iter().all(|(sequence, part)| !edge.has(*sequence, *part)), "{edge:?}");
        let between = playlist((0..4).map(part)).edge();
        assert!(between.has(1, Some(2)) && !between.has(1, Some(3)) && !between.has(2, Some(0)));
    }

    #[test]
    fn only_what_is_near_may_be_waited_for() {
        let edge = playlist((0..5).map(part)).edge();
        let near = [(0, Some(u64::MAX)), (1, Some(5)), (2, Some(3)), (3, None), (3, Some(2))];
        assert!(near.iter().all(|(sequence, part)| !edge.is_far(*sequence, *part)), "{edge:?}");
        let far =
            [(4, None), (u64::MAX, None), (u64::MAX, Some(0)), (1, Some(6)), (2, Some(4)), (3, Some(3))];
        assert!(far.iter().all(|(sequence, part)| edge.is_far(*sequence, *part)), "{edge:?}");
    }

    /// What a line says behind a tag, up to a comma.
    fn value<'a>(line: &'a str, tag: &str) -> Option<&'a str> {
        line.strip_prefix(tag)?.split(',').next()
    }

    fn seconds(line: &str, tag: &str) -> Option<f64> {
        value(line, tag)?.parse().ok()
    }

    proptest! {
        /// Rules of the draft that hold of every edition of every stream.
        #[test]
        fn every_edition_keeps_the_rules(
            parts in prop::collection::vec((20_000u64..400_000, 0u8..20, 0u8..20, 0u8..20, 1u64..3), 1..50),
            per_segment in 1u64..6,
            window in 1usize..30,
        ) {
            let mut playlist = PartPlaylist::new(Kind::Window(window), SECOND, per_segment);
            let mut files = Files::MP4;
            let (mut sequence, mut numbers, mut before) = (0, VecDeque::new(), Vec::new());
            for (duration_90k, gap, discontinuity, section, step) in parts {
                sequence += step;
                let new_section = gap > 0 && section <= 1 && files.need(sequence, Section::of(&[section]));
                let (gap, discontinuity) = (gap == 0, discontinuity == 0);
                playlist.push(Entry { sequence, duration_90k, gap, discontinuity, new_section });
                numbers.push_back(sequence);
                while numbers.len() > window * per_segment as usize {
                    playlist.forget(numbers.pop_front().unwrap_or_default());
                }
                let text = playlist.render(&files);
                let find = |tag: &str| text.lines().find_map(|line| seconds(line, tag));
                let target = find("#EXT-X-TARGETDURATION:").expect("a target");
                let part_target = find("#EXT-X-PART-INF:PART-TARGET=").expect("a part target");
                let first = find("#EXT-X-MEDIA-SEQUENCE:").expect("a number") as usize;
                let hold_back = text.split("PART-HOLD-BACK=").nth(1).and_then(|rest| rest.lines().next());
                prop_assert!(hold_back.and_then(|text| text.parse::<f64>().ok()).expect("a number") >= 3.0 * part_target - 1e-6);

                let (mut listed, mut in_segment, mut is_gap) = (Vec::new(), Vec::new(), false);
                for line in text.lines() {
                    if let Some(duration) = seconds(line, "#EXT-X-PART:DURATION=") {
                        prop_assert!(duration <= part_target);
                        prop_assert!(in_segment.last().is_none_or(|last| *last >= 0.85 * part_target - 1e-6));
                        prop_assert_eq!(is_gap, line.ends_with("GAP=YES"));
                        in_segment.push(duration);
                    } else if let Some(duration) = seconds(line, "#EXTINF:") {
                        prop_assert!(duration.round() <= target);
                        let sum: f64 = in_segment.iter().sum();
                        prop_assert!(in_segment.is_empty() || (sum - duration).abs() < 1e-4);
                        prop_assert!(in_segment.len() as u64 <= per_segment);
                        in_segment.clear();
                    } else if line == "#EXT-X-GAP" {
                        is_gap = true;
                    } else if line == "#EXT-X-DISCONTINUITY" {
                        prop_assert!(in_segment.is_empty());
                    } else if line.starts_with("#EXT-X-MAP:") {
                        prop_assert!(in_segment.is_empty() && !is_gap);
                    } else if !line.starts_with('#') {
                        listed.push(line.to_owned());
                        is_gap = false;
                    }
                }
                prop_assert_eq!(text.matches("#EXT-X-PRELOAD-HINT:TYPE=PART").count(), 1);
                // A number once given to a segment stays its own.
                prop_assert!(first + listed.len() >= before.len());
                before.resize(first + listed.len(), String::new());
                for (number, name) in listed.into_iter().enumerate() {
                    let known = &mut before[first + number];
                    prop_assert!(known.is_empty() || *known == name);
                    *known = name;
                }
                let edge = playlist.edge();
                prop_assert!(edge.has((before.len() as u64).saturating_sub(1), None) && !edge.has(before.len() as u64, None));
            }
        }
    }
}
