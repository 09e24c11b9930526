//! A walk over every NAL unit of an Annex B stream of H.264 or HEVC, at the speed of a search for two zero bytes.

use std::collections::BTreeSet;

use memchr::memmem::Finder;

use crate::sei::{Message, messages, said};
pub use crate::sequence::{Color, Sequence};
use crate::sequence::{PictureSet, Slice};
use crate::{avc, hevc};

/// Syntax of an elementary stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// ITU-T H.264
    H264,
    /// ITU-T H.265
    Hevc,
}

/// Parameter sets that are told apart before counting stops: one more than is ever allowed suffices.
const MAX_DISTINCT: usize = 4;
/// Messages of the content that are kept of a segment; captions take one for every frame. More count as foreign.
const MAX_CARRIED: usize = 8192;

/// What a walk found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NalWalk {
    /// Pictures: slices that start one.
    pub pictures: u64,
    /// Pictures that are instantaneous decoder refreshes.
    pub idr_pictures: u64,
    /// Whether the first picture is one, after its parameter sets.
    pub starts_with_idr: bool,
    /// Different parameter sets, by content (counting stops at four of a kind): sequence, picture, video.
    pub sequence_sets: usize,
    /// Different picture parameter sets.
    pub picture_sets: usize,
    /// Different video parameter sets, of HEVC.
    pub video_sets: usize,
    /// The first sequence parameter set, where it can be read.
    pub sequence: Option<Sequence>,
    /// Picture parameter sets that allow pictures which some decoders show and others do not, or that cannot be read.
    pub ambiguous_sets: u64,
    /// Slices without a readable header, or that refer to no parameter set that came before.
    pub orphaned_slices: u64,
    /// Pictures that tell decoders to throw away what is not shown yet.
    pub withholding_pictures: u64,
    /// Messages that say a picture is no whole frame, shown once.
    pub field_messages: u64,
    /// Messages that make players show something else than the picture.
    pub display_messages: u64,
    /// Messages of unknown kinds, and units of messages that cannot be read.
    pub foreign_messages: u64,
    /// Different messages that belong to the content, with their numbers.
    pub carried: BTreeSet<(u32, Vec<u8>)>,
    /// Bytes of supplemental messages.
    pub message_bytes: u64,
    /// Bytes that fill the stream up: filler units and messages, zeros between units, padding words behind slices.
    pub idle_bytes: u64,
    /// NAL units of types that have no business in a rendition: data partitions, auxiliary and extension slices.
    pub foreign_units: u64,
    /// Access units that do not hold exactly one picture.
    pub uneven_units: u64,
    /// NAL units in a place of their access unit where they must not be.
    pub misplaced_units: u64,
    /// Bytes before the first start code of an access unit, and sequences that no unit may contain.
    pub stray_bytes: u64,
}

/// Walks an elementary stream, access unit by access unit.
pub fn walk<'a>(units: impl IntoIterator<Item = &'a [u8]>, syntax: Syntax) -> NalWalk {
    let mut walker = Walker::new(syntax);
    for unit in units {
        walker.access_unit(unit);
    }
    walker.finish()
}

struct Walker<'a> {
    syntax: Syntax,
    zeros: Finder<'static>,
    out: NalWalk,
    sequence: Vec<&'a [u8]>,
    picture: Vec<&'a [u8]>,
    video: Vec<&'a [u8]>,
    picture_set: Option<PictureSet>,
    /// Whether the stream said that it ends.
    ended: bool,
    /// Of the access unit at hand.
    stage: Stage,
    pictures: u64,
}

/// How far an access unit has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Start,
    Headers,
    Slices,
    End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Slice { idr: bool },
    SequenceSet,
    PictureSet,
    VideoSet,
    Sei { after_slices: bool },
    Filler,
    Delimiter,
    End,
    Foreign,
}

impl<'a> Walker<'a> {
    fn new(syntax: Syntax) -> Self {
        Self {
            syntax,
            zeros: Finder::new(b"\0\0"),
            out: NalWalk::default(),
            sequence: Vec::new(),
            picture: Vec::new(),
            video: Vec::new(),
            picture_set: None,
            ended: false,
            stage: Stage::Start,
            pictures: 0,
        }
    }

    fn finish(self) -> NalWalk {
        NalWalk {
            sequence_sets: self.sequence.len(),
            picture_sets: self.picture.len(),
            video_sets: self.video.len(),
            ..self.out
        }
    }

    fn access_unit(&mut self, data: &'a [u8]) {
        (self.stage, self.pictures) = (Stage::Start, 0);
        let mut from = 0;
        let mut start = None;
        loop {
            let stray = self.out.stray_bytes;
            let mark = self.next_mark(data, from);
            let end = mark.map_or(data.len(), |(at, _)| at);
            match start {
                Some(start) => self.padded_unit(&data[start..end]),
                None => self.out.stray_bytes = stray + end as u64,
            }
            let Some((at, run)) = mark else { break };
            // A start code has two zeros, and one more where it begins an access unit or comes with parameter sets.
            self.out.idle_bytes += (run - 2) as u64;
            from = (at + run + 1).min(data.len());
            start = (at + run < data.len()).then_some(from);
            if start.is_none() {
                self.out.idle_bytes += 2;
                break;
            }
        }
        self.out.pictures += self.pictures;
        self.out.uneven_units += u64::from(self.pictures != 1);
    }

    /// The next run of two or more zeros at or after `from` that ends a unit: its place and its length. Zeros that
    /// emulation prevention guards are passed; those that no unit may contain are counted.
    fn next_mark(&mut self, data: &[u8], mut from: usize) -> Option<(usize, usize)> {
        loop {
            let at = from + self.zeros.find(data.get(from..)?)?;
            let run = data[at..].iter().position(|&byte| byte != 0).unwrap_or(data.len() - at);
            match data.get(at + run) {
                None | Some(1) => return Some((at, run)),
                Some(3..) if run == 2 => {}
                Some(_) => self.out.stray_bytes += run as u64,
            }
            from = at + run;
        }
    }

    /// A unit with the padding words that may follow a slice's last byte.
    fn padded_unit(&mut self, mut unit: &'a [u8]) {
        while let [rest @ .., 0, 0, 3] = unit {
            self.out.idle_bytes += 3;
            unit = rest;
        }
        self.unit(unit);
    }

    fn unit(&mut self, unit: &'a [u8]) {
        let Some((kind, payload)) = self.kind(unit) else {
            self.out.foreign_units += 1;
            return;
        };
        self.place(kind);
        match kind {
            Kind::Slice { idr } => self.slice(unit, payload, idr),
            Kind::SequenceSet => self.sequence_set(unit, payload),
            Kind::PictureSet => self.picture_set(unit, payload),
            Kind::VideoSet => remember(&mut self.video, unit),
            Kind::Sei { .. } => {
                self.out.message_bytes += unit.len() as u64;
                self.supplement(payload);
            }
            Kind::Filler => self.out.idle_bytes += unit.len() as u64,
            Kind::End => self.ended = true,
            Kind::Delimiter => {}
            Kind::Foreign => self.out.foreign_units += 1,
        }
    }

    /// Checks the order of the units of an access unit.
    fn place(&mut self, kind: Kind) {
        let (allowed, next) = match kind {
            Kind::Delimiter => (self.stage == Stage::Start, Stage::Headers),
            Kind::SequenceSet | Kind::PictureSet | Kind::VideoSet | Kind::Sei { after_slices: false } => {
                (self.stage <= Stage::Headers, Stage::Headers)
            }
            Kind::Slice { .. } => (self.stage <= Stage::Slices && !self.ended, Stage::Slices),
            Kind::Sei { after_slices: true } | Kind::Filler => (self.stage == Stage::Slices, Stage::Slices),
            Kind::End => (self.stage >= Stage::Slices, Stage::End),
            Kind::Foreign => (true, self.stage),
        };
        self.out.misplaced_units += u64::from(!allowed);
        self.stage = self.stage.max(next);
    }

    fn sequence_set(&mut self, unit: &'a [u8], payload: &[u8]) {
        if self.sequence.is_empty() {
            self.out.sequence = match self.syntax {
                Syntax::H264 => avc::sequence(payload),
                Syntax::Hevc => hevc::sequence(payload),
            };
        }
        remember(&mut self.sequence, unit);
    }

    fn picture_set(&mut self, unit: &'a [u8], payload: &[u8]) {
        if self.picture.contains(&unit) {
            return;
        }
        let set = match self.syntax {
            Syntax::H264 => avc::picture_set(payload),
            Syntax::Hevc => hevc::picture_set(payload),
        };
        self.out.ambiguous_sets += u64::from(set.is_none_or(|set| set.ambiguous));
        if self.picture.is_empty() {
            self.picture_set = set;
        }
        remember(&mut self.picture, unit);
    }

    fn slice(&mut self, unit: &[u8], payload: &[u8], idr: bool) {
        let Some(slice) = self.slice_header(unit, payload) else {
            self.out.orphaned_slices += 1;
            return;
        };
        let sequence = self.out.sequence.as_ref().map(|sequence| sequence.id);
        let known =
            self.picture_set.is_some_and(|set| set.id == slice.picture_set && Some(set.sequence) == sequence);
        self.out.orphaned_slices += u64::from(!known);
        self.out.withholding_pictures += u64::from(slice.withholds);
        if self.out.pictures + self.pictures == 0 {
            self.out.starts_with_idr = idr && slice.first && known;
        }
        if slice.first {
            self.pictures += 1;
            self.out.idr_pictures += u64::from(idr);
        }
    }

    fn slice_header(&self, unit: &[u8], payload: &[u8]) -> Option<Slice> {
        match self.syntax {
            Syntax::H264 => {
                let syntax = self.out.sequence.as_ref().map(|sequence| &sequence.syntax);
                avc::slice(unit[0], payload, syntax.zip(self.picture_set.as_ref()))
            }
            Syntax::Hevc => hevc::slice(unit[0] >> 1 & 0x3f, payload),
        }
    }

    fn supplement(&mut self, payload: &[u8]) {
        let picture_struct = self.out.sequence.as_ref().and_then(|sequence| sequence.picture_struct);
        let out = &mut self.out;
        messages(payload, self.syntax, picture_struct, |message| match message {
            Message::Plain => {}
            Message::Filler(length) => out.idle_bytes += length as u64,
            Message::Display => out.display_messages += 1,
            Message::Field => out.field_messages += 1,
            Message::Carried(number, content) if out.carried.len() < MAX_CARRIED => {
                out.carried.insert((number, said(number, content)));
            }
            Message::Carried(..) | Message::Foreign => out.foreign_messages += 1,
        });
    }

    /// Kind and payload of a unit; `None` for one whose header is none of a single-layer stream.
    fn kind<'b>(&self, unit: &'b [u8]) -> Option<(Kind, &'b [u8])> {
        let (&head, rest) = unit.split_first()?;
        if head & 0x80 != 0 {
            return None;
        }
        match self.syntax {
            Syntax::H264 => Some((h264_kind(head & 0x1f), rest)),
            Syntax::Hevc => {
                let (&second, rest) = rest.split_first()?;
                let layer = (head & 1) << 5 | second >> 3;
                (layer == 0 && second & 7 != 0).then(|| (hevc_kind(head >> 1), rest))
            }
        }
    }
}

/// Table 7-1 of H.264.
fn h264_kind(number: u8) -> Kind {
    match number {
        1 => Kind::Slice { idr: false },
        5 => Kind::Slice { idr: true },
        6 => Kind::Sei { after_slices: false },
        7 => Kind::SequenceSet,
        8 => Kind::PictureSet,
        9 => Kind::Delimiter,
        10 | 11 => Kind::End,
        12 => Kind::Filler,
        _ => Kind::Foreign,
    }
}

/// Table 7-1 of HEVC.
fn hevc_kind(number: u8) -> Kind {
    match number {
        19 | 20 => Kind::Slice { idr: true },
        0..=9 | 16..=18 | 21 => Kind::Slice { idr: false },
        32 => Kind::VideoSet,
        33 => Kind::SequenceSet,
        34 => Kind::PictureSet,
        35 => Kind::Delimiter,
        36 | 37 => Kind::End,
        38 => Kind::Filler,
        39 => Kind::Sei { after_slices: false },
        40 => Kind::Sei { after_slices: true },
        _ => Kind::Foreign,
    }
}

fn remember<'a>(sets: &mut Vec<&'a [u8]>, unit: &'a [u8]) {
    if sets.len() < MAX_DISTINCT && !sets.contains(&unit) {
        sets.push(unit);
    }
}

/// The payload of a unit: its bytes without emulation prevention.
pub fn unescape(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut zeros = 0;
    for &byte in bytes {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stream(units: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for unit in units {
            out.extend([0, 0, 0, 1]);
            out.extend_from_slice(unit);
        }
        out
    }

    fn walk_one(units: &[&[u8]], syntax: Syntax) -> NalWalk {
        walk([stream(units).as_slice()], syntax)
    }

    /// 64x48 pixels, baseline, picture order of type 2.
    const SPS: &[u8] = &[0x67, 66, 0, 10, 0xda, 0x11, 0xe4];
    const PPS: &[u8] = &[0x68, 0xce, 0x3c, 0x80];
    const IDR: &[u8] = &[0x65, 0x88, 0x84, 7];
    const INTER: &[u8] = &[0x41, 0x9a, 7];
    const SECOND_SLICE: &[u8] = &[0x41, 0x46, 0xa7];

    #[test]
    fn reads_a_small_parameter_set() {
        let found = walk_one(&[SPS, PPS, IDR], Syntax::H264);
        let sequence = found.sequence.expect("a readable set");
        assert_eq!((sequence.width, sequence.height, sequence.profile), (64, 48, 66));
        assert_eq!((found.ambiguous_sets, found.orphaned_slices, found.withholding_pictures), (0, 0, 0));
    }

    #[test]
    fn counts_pictures_not_slices() {
        let units = [stream(&[SPS, PPS, IDR]), stream(&[INTER, SECOND_SLICE])];
        let walk = walk(units.iter().map(Vec::as_slice), Syntax::H264);
        assert_eq!((walk.pictures, walk.idr_pictures, walk.uneven_units), (2, 1, 0));
        assert!(walk.starts_with_idr);
        assert_eq!((walk.sequence_sets, walk.picture_sets, walk.stray_bytes), (1, 1, 0));
    }

    #[test]
    fn two_pictures_in_one_unit_are_uneven() {
        assert_eq!(walk_one(&[SPS, PPS, IDR, INTER], Syntax::H264).uneven_units, 1);
        assert_eq!(walk_one(&[SPS, PPS], Syntax::H264).uneven_units, 1);
    }

    #[test]
    fn an_idr_without_parameter_sets_does_not_start_a_rendition() {
        assert!(!walk_one(&[IDR], Syntax::H264).starts_with_idr);
        assert!(!walk_one(&[SPS, PPS, INTER], Syntax::H264).starts_with_idr);
    }

    #[test]
    fn sees_a_parameter_set_that_changes() {
        let other = &[0x67, 66, 0, 11, 0xda, 0x11, 0xe4];
        assert_eq!(walk_one(&[SPS, PPS, IDR, other, IDR], Syntax::H264).sequence_sets, 2);
    }

    #[test]
    fn finds_a_display_orientation_behind_another_message() {
        let walk_sei = |sei: &[u8]| walk_one(&[sei], Syntax::H264);
        let sei = [0x06, 5, 2, 0xaa, 0xbb, 47, 1, 0x80, 0x80];
        assert_eq!(walk_sei(&sei).display_messages, 1);
        assert_eq!(walk_sei(&sei[..5]).foreign_messages, 1);
        assert_eq!(walk_sei(&[6, 5, 2, 0xaa, 0xbb, 0x80]).foreign_messages, 0);
        assert_eq!(walk_sei(&[6, 200, 1, 0xaa, 0x80]).foreign_messages, 1);
    }

    #[test]
    fn slices_before_headers_are_misplaced() {
        assert_eq!(walk_one(&[SPS, PPS, IDR], Syntax::H264).misplaced_units, 0);
        assert_eq!(walk_one(&[IDR, SPS, PPS], Syntax::H264).misplaced_units, 2);
    }

    #[test]
    fn counts_what_only_fills_the_stream_up() {
        let mut bytes = stream(&[SPS, PPS, IDR, &[0x0c, 0xff, 0xff, 0x80]]);
        bytes.extend([0; 10]);
        // Four bytes of filler, ten zeros, one zero of each start code.
        assert_eq!(walk([bytes.as_slice()], Syntax::H264).idle_bytes, 4 + 10 + 4);
    }

    #[test]
    fn counts_what_no_unit_may_contain() {
        assert_eq!(walk_one(&[SPS, PPS, &[0x65, 0x88, 0x84, 0, 0, 2, 9]], Syntax::H264).stray_bytes, 2);
        assert_eq!(walk_one(&[SPS, PPS, &[0x65, 0x88, 0x84, 0, 0, 3, 1]], Syntax::H264).stray_bytes, 0);
    }

    #[test]
    fn counts_bytes_outside_units_once() {
        assert_eq!(walk([[5, 0, 0, 0, 7, 0, 0, 1, 9].as_slice()], Syntax::H264).stray_bytes, 5);
    }

    #[test]
    fn reads_hevc_headers() {
        let first = stream(&[&[0x40, 1, 1], &[0x42, 1, 1], &[0x44, 1, 0xc0, 0x80], &[0x26, 1, 0xa0, 0x80]]);
        let walk = walk([first.as_slice(), &stream(&[&[0x02, 1, 0xc0]])], Syntax::Hevc);
        assert_eq!((walk.pictures, walk.idr_pictures, walk.uneven_units), (2, 1, 0));
        assert_eq!((walk.video_sets, walk.sequence_sets, walk.picture_sets), (1, 1, 1));
        // The sequence parameter set is no whole one.
        assert_eq!((walk.sequence, walk.orphaned_slices), (None, 2));
    }

    #[test]
    fn refuses_units_of_other_layers() {
        assert_eq!(walk_one(&[&[0x02, 9, 0xc0]], Syntax::Hevc).foreign_units, 1);
        assert_eq!(walk_one(&[&[0x82, 1, 0xc0]], Syntax::Hevc).foreign_units, 1);
    }

    proptest! {
        #[test]
        fn every_byte_is_walked_and_survived(
            data in prop::collection::vec(prop_oneof![Just(0u8), Just(1u8), Just(3u8), any::<u8>()], 0..300),
        ) {
            let starts = data.windows(3).filter(|w| w == &[0, 0, 1]).count() as u64;
            for syntax in [Syntax::H264, Syntax::Hevc] {
                let found = walk([data.as_slice()], syntax);
                prop_assert!(found.pictures + found.foreign_units <= starts);
            }
        }
    }
}
