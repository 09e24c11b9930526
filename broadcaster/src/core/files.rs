//! The files of a rendition, as its playlists name them: numbered segments, and the initialization sections that those of MP4 need.

use std::collections::VecDeque;
use std::fmt;

use sha2::{Digest, Sha256};

use super::playlist::put;

/// An initialization section (RFC 8216, 3.3), named by what is in it: who writes the same again changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section([u8; 16]);

impl Section {
    /// The name of a section with this content.
    pub fn of(content: &[u8]) -> Self {
        let digest = <[u8; 32]>::from(Sha256::digest(content));
        Self(*digest.first_chunk().expect("a digest is longer than its half"))
    }

    /// Whether a file may be a section by its name.
    pub fn is_name(file: &str) -> bool {
        let digits = file.strip_prefix("init-").and_then(|rest| rest.strip_suffix(".mp4"));
        digits.is_some_and(|digits| digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "init-{:032x}.mp4", u128::from_be_bytes(self.0))
    }
}

/// What the files of one rendition are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    extension: &'static str,
    /// Where another section is needed than before, by the number of the first segment that needs it, oldest first.
    sections: VecDeque<(u64, Section)>,
}

impl Files {
    /// Segments of MPEG-TS, which need nothing beside them.
    pub const TS: Self = Self { extension: "ts", sections: VecDeque::new() };
    /// Segments of fragmented MP4, none of which is there yet.
    pub const MP4: Self = Self { extension: "m4s", sections: VecDeque::new() };

    /// Whether segments need an initialization section. Those of all renditions that do not are called the same.
    pub fn is_mp4(&self) -> bool {
        self.extension == Self::MP4.extension
    }

    /// The file of a segment, by its number or the numbers of its parts.
    pub fn segment(&self, name: impl fmt::Display) -> String {
        format!("{name}.{}", self.extension)
    }

    /// What segments' names end with, without the dot.
    pub fn extension(&self) -> &'static str {
        self.extension
    }

    /// The segment of this number, later than all before, needs that section. `true` when the one before it needs another.
    pub fn need(&mut self, sequence: u64, section: Section) -> bool {
        let changes = self.sections.back().is_none_or(|(_, last)| *last != section);
        if changes {
            self.sections.push_back((sequence, section));
        }
        changes
    }

    /// Whether a segment needs this section that is not forgotten.
    pub fn has(&self, section: Section) -> bool {
        self.sections.iter().rev().any(|(_, known)| *known == section)
    }

    /// Forgets what only segments before this one need, and returns it.
    pub fn forget_before(&mut self, sequence: u64) -> Vec<Section> {
        let needed = self.sections.partition_point(|(first, _)| *first <= sequence).saturating_sub(1);
        let mut gone: Vec<Section> = self.sections.drain(..needed).map(|(_, section)| section).collect();
        gone.retain(|section| !self.has(*section));
        gone
    }

    /// The section that the segment of this number needs, `None` where segments need none.
    fn section_of(&self, sequence: u64) -> Option<Section> {
        let after = self.sections.partition_point(|(first, _)| *first <= sequence);
        self.sections.get(after.checked_sub(1)?).map(|(_, section)| *section)
    }
}

/// The sections of a playlist while its text is written.
pub(super) struct Maps<'a> {
    files: &'a Files,
    named: Option<Section>,
}

impl<'a> Maps<'a> {
    pub(super) fn of(files: &'a Files) -> Self {
        Self { files, named: None }
    }

    /// Names the section of the segment that follows, where it is not that of the segment before. It has to stand before what else is
    /// said of the segment: hls.js takes the tags that stand before it for the section's own.
    pub(super) fn write(&mut self, text: &mut String, sequence: u64) {
        let needed = self.files.section_of(sequence);
        if let Some(section) = needed.filter(|_| needed != self.named) {
            put(text, format_args!("#EXT-X-MAP:URI=\"{section}\"\n"));
            self.named = needed;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(number: u8) -> Section {
        Section::of(&[number])
    }

    #[test]
    fn a_section_is_named_by_what_is_in_it() {
        let name = Section::of(b"").to_string();
        assert_eq!(name, "init-e3b0c44298fc1c149afbf4c8996fb924.mp4");
        assert!(Section::is_name(&name));
        for other in [
            "init-.mp4",
            "clip.mp4",
            "init-e3b0c44298fc1c14.mp4",
            "init-e3b0c44298fc1c149afbf4c8996fb92x.mp4",
        ] {
            assert!(!Section::is_name(other), "{other}");
        }
    }

    #[test]
    fn a_segment_needs_the_last_section_that_began_before_it() {
        let mut files = Files::MP4;
        assert!(files.need(3, section(1)) && !files.need(4, section(1)) && files.need(6, section(2)));
        let needed: Vec<_> = (2..8).map(|sequence| files.section_of(sequence)).collect();
        let (first, second) = (Some(section(1)), Some(section(2)));
        assert_eq!(needed, [None, first, first, first, second, second]);
    }

    #[test]
    fn only_what_no_later_segment_needs_is_forgotten() {
        let mut files = Files::MP4;
        for (sequence, number) in [(0, 1), (2, 2), (4, 1), (6, 3)] {
            files.need(sequence, section(number));
        }
        assert!(files.forget_before(1).is_empty());
        assert!(files.forget_before(2).is_empty(), "it is needed again later");
        assert_eq!(files.forget_before(5), [section(2)]);
        assert!(files.has(section(1)));
        assert_eq!(files.forget_before(9), [section(1)]);
        assert_eq!(files.section_of(9), Some(section(3)));
    }
}
