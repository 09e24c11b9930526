//! A strict reader of fragmented MP4 (ISO/IEC 14496-12), in which renditions of codecs travel that transport streams have no place for:
//! the whole segment, or the first thing that is wrong.
//!
//! The normal form is a file type, a movie without samples, and fragments that each stand before their data. Every byte of the data
//! belongs to one sample, and what could make one player show something else than another (edit lists, several descriptions of a track,
//! turned or moved tracks, data in other files) is an error.

mod fields;
mod track;

use thiserror::Error;

use fields::{Boxes, Fields, HEADER, Kind, Parsed, first};
use track::{Defaults, movie};
pub(crate) use track::{Format, Track, VideoFormat};

/// Longest list of brands.
const MAX_FILE_TYPE: usize = 64;
/// Brands that muxers give to fragmented files of these codecs, and that no player takes for another kind of file.
const BRANDS: [&Kind; 19] = [
    b"isom", b"iso2", b"iso3", b"iso4", b"iso5", b"iso6", b"iso7", b"iso8", b"iso9", b"mp41", b"mp42",
    b"av01", b"avc1", b"dby1", b"cmfc", b"cmf2", b"dash", b"msdh", b"msix",
];
/// Most fragments: one for each of the frames that a segment may have.
const MAX_FRAGMENTS: u32 = 1 << 16;

/// Most samples of all tracks: the packets that [`MediaLimits::segment`](framemill_media::MediaLimits::segment) allows.
const MAX_SAMPLES: usize = 240_000;

/// Flags of a fragment's track: its data may not lie relative to anything but its fragment.
mod track_flags {
    pub(super) const BASE_OFFSET: u32 = 0x01;
    pub(super) const DESCRIPTION: u32 = 0x02;
    pub(super) const DURATION: u32 = 0x08;
    pub(super) const SIZE: u32 = 0x10;
    pub(super) const FLAGS: u32 = 0x20;
    pub(super) const BASE_IS_FRAGMENT: u32 = 0x02_0000;
    pub(super) const KNOWN: u32 = DESCRIPTION | DURATION | SIZE | FLAGS | BASE_IS_FRAGMENT;
}

/// Flags of a run of samples.
mod run_flags {
    pub(super) const OFFSET: u32 = 0x01;
    pub(super) const FIRST_FLAGS: u32 = 0x04;
    pub(super) const DURATION: u32 = 0x100;
    pub(super) const SIZE: u32 = 0x200;
    pub(super) const FLAGS: u32 = 0x400;
    pub(super) const COMPOSITION: u32 = 0x800;
    pub(super) const KNOWN: u32 = OFFSET | FIRST_FLAGS | DURATION | SIZE | FLAGS | COMPOSITION;
}

/// What muxers say of samples at which decoding may begin, and of others: nothing, or whether they depend on others as well. Players
/// believe different ones of these flags, so they have to agree.
const SYNC: [u32; 2] = [0, 0x0200_0000];
const NO_SYNC: [u32; 2] = [0x0001_0000, 0x0101_0000];
/// Latest time of a sample, so that sums of times stay far from where they would wrap.
const MAX_TIME: u64 = 1 << 53;

/// Why bytes are no fragmented MP4 in normal form.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("in the box at byte {offset}: {reason}")]
pub(crate) struct Mp4Error {
    /// Where the outermost box begins.
    offset: usize,
    /// What is wrong with it.
    reason: &'static str,
}

/// A sample of a track. Times are in the units of its track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// When it is decoded.
    pub(crate) dts: i64,
    /// When it is shown or heard.
    pub(crate) pts: i64,
    pub(crate) duration: u32,
    /// Whether players believe that decoding may begin here.
    pub(crate) sync: bool,
    /// Whether it is the last of its track in its fragment: its duration says nothing about the next one's time.
    pub(crate) last: bool,
    /// Where its bytes begin in the segment.
    pub(crate) start: usize,
    /// How many there are.
    pub(crate) size: usize,
}

/// A track and its samples, in the order of decoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Samples {
    pub(crate) track: Track,
    pub(crate) samples: Vec<Sample>,
}

impl Samples {
    /// The bytes of every sample of the segment that this was read from.
    pub(crate) fn data<'a>(&self, segment: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.samples.iter().map(|sample| &segment[sample.start..sample.start + sample.size])
    }
}

/// Reads a whole segment.
pub(crate) fn parse(bytes: &[u8]) -> Result<Vec<Samples>, Mp4Error> {
    let mut reader = Reader { size: bytes.len(), ..Reader::default() };
    let mut offset = 0;
    let fail = |offset| move |reason| Mp4Error { offset, reason };
    while offset < bytes.len() {
        let (kind, content, rest) = first(&bytes[offset..]).map_err(fail(offset))?;
        reader.outermost(&kind, content, offset).map_err(fail(offset))?;
        offset = bytes.len() - rest.len();
    }
    reader.finish().map_err(fail(offset))
}

/// What may come next.
#[derive(Default)]
enum Due {
    #[default]
    FileType,
    Movie,
    Fragment,
    /// Data of these places, first and behind the last, in rising order.
    Data(Vec<(usize, usize)>),
}

#[derive(Default)]
struct Reader {
    size: usize,
    due: Due,
    fragments: u32,
    defaults: Vec<Defaults>,
    tracks: Vec<Samples>,
}

impl Reader {
    fn outermost(&mut self, kind: &Kind, content: &[u8], offset: usize) -> Parsed<()> {
        self.due = match (std::mem::take(&mut self.due), kind) {
            (Due::FileType, b"ftyp") => {
                file_type(content)?;
                Due::Movie
            }
            (Due::Movie, b"moov") => {
                let (tracks, defaults) = movie(content)?;
                self.defaults = defaults;
                self.tracks =
                    tracks.into_iter().map(|track| Samples { track, samples: Vec::new() }).collect();
                Due::Fragment
            }
            (Due::Fragment, b"moof") => Due::Data(self.fragment(content, offset)?),
            (Due::Data(places), b"mdat") => {
                let start = offset + HEADER;
                fill(&places, start, start + content.len())?;
                Due::Fragment
            }
            _ => return Err("a box is in a place where it has no business"),
        };
        Ok(())
    }

    fn finish(self) -> Parsed<Vec<Samples>> {
        if !matches!(self.due, Due::Fragment) || self.fragments == 0 {
            return Err("the segment ends before its data");
        }
        if self.tracks.iter().any(|track| track.samples.is_empty()) {
            return Err("a track has no samples");
        }
        Ok(self.tracks)
    }

    fn samples(&self) -> usize {
        self.tracks.iter().map(|track| track.samples.len()).sum()
    }

    /// Reads a fragment whose box begins at `offset`, and returns the places of its samples.
    fn fragment(&mut self, content: &[u8], offset: usize) -> Parsed<Vec<(usize, usize)>> {
        self.fragments += 1;
        if self.fragments > MAX_FRAGMENTS {
            return Err("a segment has too many fragments");
        }
        let boxes = Boxes::read(content, &[b"mfhd", b"traf"])?;
        let mut header = Fields(boxes.one(b"mfhd")?);
        header.take(4 + 4)?;
        header.end()?;
        // Players put runs of samples in the order of their data, so that has to be the one in which they are told.
        let (mut places, mut seen) = (Vec::new(), Vec::new());
        for content in boxes.all(b"traf") {
            let track = self.track_fragment(content, offset, &mut places)?;
            if seen.contains(&track) {
                return Err("a fragment has a track twice");
            }
            seen.push(track);
        }
        Ok(places)
    }

    fn track_fragment(
        &mut self,
        content: &[u8],
        offset: usize,
        places: &mut Vec<(usize, usize)>,
    ) -> Parsed<u32> {
        let boxes = Boxes::read(content, &[b"tfhd", b"tfdt", b"trun"])?;
        let defaults = self.track_header(boxes.one(b"tfhd")?)?;
        let mut room = MAX_SAMPLES.saturating_sub(self.samples());
        let known = self.tracks.iter_mut().find(|samples| samples.track.id == defaults.track);
        let samples = &mut known.ok_or("a fragment is of a track that there is not")?.samples;
        let mut time = start_time(boxes.one(b"tfdt")?)?;
        let before = samples.len();
        for run in boxes.all(b"trun") {
            let mut run = Run::read(run, defaults, offset)?;
            room = room.checked_sub(run.count as usize).ok_or("a segment has too many samples")?;
            places.push((run.start, run.start));
            for _ in 0..run.count {
                let sample = run.sample(&mut time, self.size)?;
                samples.push(sample);
            }
            if let Some(place) = places.last_mut() {
                place.1 = run.start;
            }
        }
        let last =
            samples[before..].last_mut().ok_or("a fragment has no samples of a track that it names")?;
        last.last = true;
        Ok(defaults.track)
    }

    fn track_header(&self, content: &[u8]) -> Parsed<Defaults> {
        let mut fields = Fields(content);
        let (_, flags) = fields.version()?;
        if flags & track_flags::BASE_OFFSET != 0 || flags & track_flags::BASE_IS_FRAGMENT == 0 {
            return Err("data does not lie relative to its fragment");
        }
        if flags & !track_flags::KNOWN != 0 {
            return Err("a fragment has a flag that is not known");
        }
        let track = fields.u32()?;
        let known = self.defaults.iter().find(|defaults| defaults.track == track);
        let mut defaults = *known.ok_or("a fragment is of a track that there is not")?;
        if flags & track_flags::DESCRIPTION != 0 && fields.u32()? != 1 {
            return Err("samples have another description than the first");
        }
        for (flag, value) in [
            (track_flags::DURATION, &mut defaults.duration),
            (track_flags::SIZE, &mut defaults.size),
            (track_flags::FLAGS, &mut defaults.flags),
        ] {
            if flags & flag != 0 {
                *value = fields.u32()?;
            }
        }
        fields.end()?;
        Ok(defaults)
    }
}

/// Reads the brands of a file.
fn file_type(content: &[u8]) -> Parsed<()> {
    let (kinds, rest) = content.as_chunks::<4>();
    // A brand, its version, and brands that the file is compatible with.
    let [major, _, compatible @ ..] = kinds else { return Err("a file has no brand") };
    let known = |kind: &Kind| BRANDS.contains(&kind);
    if content.len() > MAX_FILE_TYPE || !rest.is_empty() || !known(major) || !compatible.iter().all(known) {
        return Err("a file is of another brand");
    }
    Ok(())
}

/// When the first sample of a fragment is decoded.
fn start_time(content: &[u8]) -> Parsed<i64> {
    let mut fields = Fields(content);
    let (version, _) = fields.version()?;
    let time = fields.sized(version)?;
    fields.end()?;
    i64::try_from(time).ok().filter(|_| time <= MAX_TIME).ok_or("a time is too late")
}

/// Whether places follow each other and fill what lies between.
fn fill(places: &[(usize, usize)], start: usize, end: usize) -> Parsed<()> {
    let reached = places.iter().try_fold(start, |reached, place| (place.0 == reached).then_some(place.1));
    if reached == Some(end) { Ok(()) } else { Err("data belongs to no sample or to two") }
}

/// A run of samples on its way through its table.
struct Run<'a> {
    flags: u32,
    signed: bool,
    count: u32,
    /// Where the next sample's bytes begin.
    start: usize,
    first_flags: Option<u32>,
    defaults: Defaults,
    table: Fields<'a>,
}

impl<'a> Run<'a> {
    fn read(content: &'a [u8], defaults: Defaults, fragment: usize) -> Parsed<Self> {
        let mut fields = Fields(content);
        let (version, flags) = fields.version()?;
        let count = fields.u32()?;
        let twice = flags & run_flags::FIRST_FLAGS != 0 && flags & run_flags::FLAGS != 0;
        if flags & !run_flags::KNOWN != 0 || flags & run_flags::OFFSET == 0 || version > 1 || twice {
            return Err("a run of samples is of a kind that is not known");
        }
        let distance = fields.u32()?;
        let first_flags = if flags & run_flags::FIRST_FLAGS != 0 { Some(fields.u32()?) } else { None };
        let start = usize::try_from(distance).ok().and_then(|distance| fragment.checked_add(distance));
        let run = Self {
            flags,
            signed: version == 1,
            count,
            start: start.ok_or("data lies outside of the segment")?,
            first_flags,
            defaults,
            table: fields,
        };
        if run.table.0.len() as u64 != run.entry_bytes() * u64::from(count) {
            return Err("a run of samples is not as long as it says");
        }
        Ok(run)
    }

    fn entry_bytes(&self) -> u64 {
        let columns = [run_flags::DURATION, run_flags::SIZE, run_flags::FLAGS, run_flags::COMPOSITION];
        4 * columns.iter().filter(|&&column| self.flags & column != 0).count() as u64
    }

    /// The next sample, which is decoded at `time`.
    fn sample(&mut self, time: &mut i64, segment: usize) -> Parsed<Sample> {
        let duration = self.column(run_flags::DURATION)?.unwrap_or(self.defaults.duration);
        let size = self.column(run_flags::SIZE)?.unwrap_or(self.defaults.size) as usize;
        let own = self.column(run_flags::FLAGS)?;
        let flags = self.first_flags.take().or(own).unwrap_or(self.defaults.flags);
        let shift = self.column(run_flags::COMPOSITION)?.unwrap_or(0);
        let shift = if self.signed { i64::from(shift.cast_signed()) } else { i64::from(shift) };
        let end = self.start.checked_add(size).filter(|&end| size > 0 && end <= segment);
        let sample = Sample {
            dts: *time,
            pts: *time + shift,
            duration,
            sync: SYNC.contains(&flags),
            last: false,
            start: self.start,
            size,
        };
        if !SYNC.contains(&flags) && !NO_SYNC.contains(&flags) {
            return Err("a sample has flags that contradict each other");
        }
        self.start = end.ok_or("a sample is empty or lies outside of the segment")?;
        *time += i64::from(duration);
        if *time > MAX_TIME.cast_signed() { Err("a time is too late") } else { Ok(sample) }
    }

    fn column(&mut self, column: u32) -> Parsed<Option<u32>> {
        if self.flags & column != 0 { self.table.u32().map(Some) } else { Ok(None) }
    }
}
