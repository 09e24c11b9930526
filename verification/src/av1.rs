//! Sequence and frame headers of AV1 (the AV1 bitstream specification, 5.5 and 5.9), and a walk over every unit of a stream.

use crate::bits::BitReader;
use crate::nal::NalWalk;
use crate::sequence::{Color, Sequence, SliceSyntax};

/// Types of units (6.2.2).
mod kind {
    pub(super) const SEQUENCE_HEADER: u8 = 1;
    pub(super) const FRAME_HEADER: u8 = 3;
    pub(super) const METADATA: u8 = 5;
    pub(super) const FRAME: u8 = 6;
}

/// `frame_type` of pictures that refer to none.
const KEY_FRAME: u32 = 0;
const INTRA_ONLY_FRAME: u32 = 2;
const SWITCH_FRAME: u32 = 3;
/// `primary_ref_frame` and the places that references have.
const REFERENCES: u32 = 7;
const PLACES: u32 = 8;
const ALL_PLACES: u32 = 0xff;
/// Values of `seq_level_idx` that stand for no level; 31 stands for any.
const RESERVED_LEVELS: std::ops::RangeInclusive<u32> = 24..=30;
/// `seq_level_idx` of level 3.3.
const LAST_LEVEL_WITHOUT_TIER: u32 = 7;
/// `chroma_format_idc` of pictures without colour.
const GREY: u32 = 0;
/// Longest number of bytes of a length.
const MAX_LENGTH_BYTES: usize = 8;

/// A flag that the sequence decides, or leaves to each frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    Always(bool),
    PerFrame,
}

/// A sequence header, as far as frame headers and a strict reader need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// What it promises of the pictures. Pixels are square: their shape stands in the container.
    pub(crate) sequence: Sequence,
    /// Whether decoders add grain, or choose between several streams in one.
    pub(crate) ambiguous: bool,
    /// Bits of the time of a frame, where frames carry one.
    time_bits: Option<u32>,
    /// Bits of the time at which a frame leaves the decoder's buffer, where the stream has a model of it.
    removal: Option<Removal>,
    ids: Option<FrameIds>,
    screen_content: Choice,
    integer_motion: Choice,
    order_bits: u32,
    superres: bool,
    /// Level and tier of the first operating point.
    level: (u32, bool),
}

/// Times at which frames leave the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Removal {
    bits: u32,
    /// Operating points that have them; of a plain stream there is one point.
    points: u32,
}

/// Lengths of the numbers that frames have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FrameIds {
    bits: u32,
    difference_bits: u32,
}

impl Header {
    /// Reads the payload of a sequence header; `None` of still pictures, too.
    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        let mut bits = BitReader::plain(payload);
        let profile = bits.bits(3)?;
        let (still, reduced) = (bits.flag()?, bits.flag()?);
        if still || reduced {
            return None;
        }
        let timing = Timing::read(&mut bits)?;
        let points = OperatingPoints::read(&mut bits, timing.model)?;
        let (width_bits, height_bits) = (bits.bits(4)? + 1, bits.bits(4)? + 1);
        let (width, height) = (bits.bits(width_bits)? + 1, bits.bits(height_bits)? + 1);
        let ids = if bits.flag()? { Some(FrameIds::read(&mut bits)?) } else { None };
        let tools = Tools::read(&mut bits)?;
        let (chroma_format, depth, color) = color(&mut bits, profile)?;
        let grain = bits.flag()?;
        is_trailing(&mut bits).then_some(())?;
        Some(Self {
            sequence: Sequence {
                profile,
                width,
                height,
                crop: [0; 4],
                chroma_format,
                depth,
                interlaced: false,
                aspect: (1, 1),
                color,
                trimmed: false,
                id: 0,
                syntax: SliceSyntax::default(),
                picture_struct: None,
            },
            ambiguous: grain || points.several || !points.has_plain_level(),
            time_bits: timing.model.filter(|_| !timing.equal).map(|model| model.time_bits),
            removal: timing.model.map(|model| Removal { bits: model.removal_bits, points: points.modelled }),
            ids,
            screen_content: tools.screen_content,
            integer_motion: tools.integer_motion,
            order_bits: tools.order_bits,
            superres: tools.superres,
            level: points.level,
        })
    }

    /// Whether decoders show the same of both.
    fn shows_as(&self, other: &Self) -> bool {
        (&self.sequence, self.level, self.ambiguous) == (&other.sequence, other.level, other.ambiguous)
    }

    /// The bytes that a set-up of decoders has for this behind its first, what [`SETUP_KNOWN`] leaves out at zero.
    fn setup(&self) -> [u8; 3] {
        let Sequence { profile, depth, chroma_format, .. } = self.sequence;
        let (level, tier) = self.level;
        let grey = chroma_format == GREY;
        let flags = [tier, depth > 8, depth > 10, grey, chroma_format < 3, chroma_format < 2];
        let second = flags.iter().fold(0u8, |byte, &flag| byte << 1 | u8::from(flag)) << 2;
        // Three bits of profile and five of level.
        [(profile << 5 | level) as u8, second, 0]
    }
}

/// A one and zeros to the end.
fn is_trailing(bits: &mut BitReader<'_>) -> bool {
    bits.flag() == Some(true) && std::iter::from_fn(|| bits.flag()).all(|bit| !bit)
}

/// What is said of time (5.5.3 and 5.5.4).
struct Timing {
    equal: bool,
    model: Option<Model>,
}

#[derive(Clone, Copy)]
struct Model {
    delay_bits: u32,
    removal_bits: u32,
    time_bits: u32,
}

impl Timing {
    fn read(bits: &mut BitReader<'_>) -> Option<Self> {
        if !bits.flag()? {
            return Some(Self { equal: false, model: None });
        }
        bits.skip(64)?;
        let equal = bits.flag()?;
        if equal {
            uvlc(bits)?;
        }
        let model = if bits.flag()? { Some(Model::read(bits)?) } else { None };
        Some(Self { equal, model })
    }
}

impl Model {
    fn read(bits: &mut BitReader<'_>) -> Option<Self> {
        let delay_bits = bits.bits(5)? + 1;
        bits.skip(32)?;
        Some(Self { delay_bits, removal_bits: bits.bits(5)? + 1, time_bits: bits.bits(5)? + 1 })
    }
}

/// Passes over a number of variable length (4.10.3).
fn uvlc(bits: &mut BitReader<'_>) -> Option<()> {
    let mut zeros = 0;
    while !bits.flag()? {
        zeros += 1;
    }
    if zeros < 32 { bits.skip(zeros) } else { Some(()) }
}

/// Parts of a stream that decoders may choose from.
struct OperatingPoints {
    /// There are several, or layers.
    several: bool,
    /// Points with a model of the buffer.
    modelled: u32,
    /// Level and tier of the first.
    level: (u32, bool),
}

impl OperatingPoints {
    fn read(bits: &mut BitReader<'_>, model: Option<Model>) -> Option<Self> {
        let delays = bits.flag()?;
        let count = bits.bits(5)? + 1;
        let (mut several, mut modelled, mut first) = (count > 1, 0, None);
        for _ in 0..count {
            several |= bits.bits(12)? != 0;
            let level = bits.bits(5)?;
            let tier = level > LAST_LEVEL_WITHOUT_TIER && bits.flag()?;
            first.get_or_insert((level, tier));
            if let Some(model) = model
                && bits.flag()?
            {
                modelled += 1;
                bits.skip(2 * model.delay_bits + 1)?;
            }
            if delays && bits.flag()? {
                bits.skip(4)?;
            }
        }
        Some(Self { several, modelled, level: first? })
    }
}

impl OperatingPoints {
    /// Whether the level is one that there is, of the main tier: players leave streams of others out.
    fn has_plain_level(&self) -> bool {
        let (level, high_tier) = self.level;
        !high_tier && !RESERVED_LEVELS.contains(&level)
    }
}

impl FrameIds {
    fn read(bits: &mut BitReader<'_>) -> Option<Self> {
        let difference_bits = bits.bits(4)? + 2;
        Some(Self { bits: bits.bits(3)? + difference_bits + 1, difference_bits })
    }
}

/// Coding tools that show in frame headers.
struct Tools {
    screen_content: Choice,
    integer_motion: Choice,
    order_bits: u32,
    superres: bool,
}

impl Tools {
    fn read(bits: &mut BitReader<'_>) -> Option<Self> {
        // Superblocks, two intra tools, and four inter tools.
        bits.skip(3 + 4)?;
        let order = bits.flag()?;
        if order {
            bits.skip(2)?;
        }
        let choice = |bits: &mut BitReader<'_>| match bits.flag()? {
            true => Some(Choice::PerFrame),
            false => bits.flag().map(Choice::Always),
        };
        let screen_content = choice(bits)?;
        let integer_motion = match screen_content {
            Choice::Always(false) => Choice::PerFrame,
            _ => choice(bits)?,
        };
        let order_bits = if order { bits.bits(3)? + 1 } else { 0 };
        let superres = bits.flag()?;
        bits.skip(2)?;
        Some(Self { screen_content, integer_motion, order_bits, superres })
    }
}

/// Chroma format as H.264 numbers it, bits of a sample, and colour (5.5.2).
fn color(bits: &mut BitReader<'_>, profile: u32) -> Option<(u32, u32, Color)> {
    const PROFESSIONAL: u32 = 2;
    let deep = bits.flag()?;
    let depth = match deep {
        true if profile == PROFESSIONAL && bits.flag()? => 12,
        true => 10,
        false => 8,
    };
    let grey = profile != 1 && bits.flag()?;
    let mut color = Color::default();
    if bits.flag()? {
        [color.primaries, color.transfer, color.matrix] = [bits.bits(8)?, bits.bits(8)?, bits.bits(8)?];
    }
    if grey {
        color.full_range = bits.flag()?;
        return Some((GREY, depth, color));
    }
    // sRGB is full and not subsampled, and says neither.
    let is_rgb = (color.primaries, color.transfer, color.matrix) == (1, 13, 0);
    color.full_range = is_rgb || bits.flag()?;
    let (across, down) = match profile {
        _ if is_rgb => (false, false),
        0 => (true, true),
        1 => (false, false),
        _ if depth == 12 => {
            let across = bits.flag()?;
            (across, across && bits.flag()?)
        }
        _ => (true, false),
    };
    if across && down {
        bits.skip(2)?;
    }
    bits.skip(1)?;
    let chroma_format = match (across, down) {
        (true, true) => 1,
        (true, false) => 2,
        _ => 3,
    };
    Some((chroma_format, depth, color))
}

/// What matters of a frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FrameHeader {
    /// A key frame that is shown: decoding may begin here.
    key: bool,
    /// Whether the frame, or an earlier one that it names, is shown.
    shown: bool,
    /// An earlier frame is shown, and no tiles follow.
    existing: bool,
    /// Its size, or the one in which it wants to be shown, is not that of the sequence.
    resized: bool,
}

impl FrameHeader {
    /// Reads a frame header up to its size (5.9.2).
    fn read(payload: &[u8], header: &Header) -> Option<Self> {
        let bits = &mut BitReader::plain(payload);
        let time = |bits: &mut BitReader<'_>| header.time_bits.map_or(Some(()), |count| bits.skip(count));
        if bits.flag()? {
            bits.skip(3)?;
            time(bits)?;
            if let Some(ids) = header.ids {
                bits.skip(ids.bits)?;
            }
            return is_trailing(bits).then_some(Self {
                key: false,
                shown: true,
                existing: true,
                resized: false,
            });
        }
        let frame_type = bits.bits(2)?;
        let shown = bits.flag()?;
        if shown {
            time(bits)?;
        } else {
            bits.skip(1)?;
        }
        let key = frame_type == KEY_FRAME && shown;
        let resilient = frame_type == SWITCH_FRAME || key || bits.flag()?;
        let intra = matches!(frame_type, KEY_FRAME | INTRA_ONLY_FRAME);
        let resized = frame_type == SWITCH_FRAME || header.resized(bits, key, intra, resilient)?;
        Some(Self { key, shown, existing: false, resized })
    }
}

impl Header {
    /// Whether the frame at hand, whose header is read up to `error_resilient_mode`, has a size of its own. What follows a size of
    /// its own is not read.
    fn resized(&self, bits: &mut BitReader<'_>, key: bool, intra: bool, resilient: bool) -> Option<bool> {
        bits.skip(1)?;
        let screen_content = self.screen_content.of(bits)?;
        if screen_content {
            self.integer_motion.of(bits)?;
        }
        if let Some(ids) = self.ids {
            bits.skip(ids.bits)?;
        }
        if bits.flag()? {
            return Some(true);
        }
        bits.skip(self.order_bits)?;
        if !intra && !resilient {
            bits.skip(3)?;
        }
        if let Some(removal) = self.removal
            && bits.flag()?
        {
            bits.skip(removal.points * removal.bits)?;
        }
        let refreshed = if key { ALL_PLACES } else { bits.bits(PLACES)? };
        if (!intra || refreshed != ALL_PLACES) && resilient && self.order_bits > 0 {
            for _ in 0..PLACES {
                bits.skip(self.order_bits)?;
            }
        }
        if !intra {
            self.skip_references(bits)?;
        }
        if self.superres && bits.flag()? {
            bits.skip(3)?;
        }
        bits.flag()
    }

    fn skip_references(&self, bits: &mut BitReader<'_>) -> Option<()> {
        let short = self.order_bits > 0 && bits.flag()?;
        if short {
            bits.skip(6)?;
        }
        for _ in 0..REFERENCES {
            if !short {
                bits.skip(3)?;
            }
            if let Some(ids) = self.ids {
                bits.skip(ids.difference_bits)?;
            }
        }
        Some(())
    }
}

impl Choice {
    fn of(self, bits: &mut BitReader<'_>) -> Option<bool> {
        match self {
            Self::Always(choice) => Some(choice),
            Self::PerFrame => bits.flag(),
        }
    }
}

/// A unit: its type and its payload.
type Unit<'a> = (u8, &'a [u8]);

/// Takes the next unit off; `None` where it has no length of its own, or belongs to a layer.
pub(crate) fn next_unit<'a>(bytes: &mut &'a [u8]) -> Option<Unit<'a>> {
    let (&head, rest) = bytes.split_first()?;
    // A forbidden bit, an extension, a missing length, and a reserved bit.
    if head & 0b1000_0111 != 0b010 {
        return None;
    }
    let (length, rest) = leb128(rest)?;
    let (payload, rest) = rest.split_at_checked(length)?;
    *bytes = rest;
    Some((head >> 3, payload))
}

/// A length in groups of seven bits (4.10.5).
fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let groups = 1 + bytes.iter().take(MAX_LENGTH_BYTES).position(|byte| byte & 0x80 == 0)?;
    let (coded, rest) = bytes.split_at(groups);
    let value = coded.iter().rev().fold(0u64, |value, byte| value << 7 | u64::from(byte & 0x7f));
    Some((usize::try_from(value).ok()?, rest))
}

/// Whether a set-up of decoders (AV1 codec ISO media file format binding, 2.3.3) is that of the stream that begins with this temporal
/// unit: the same profile, level and depth, and a sequence header that promises the same pictures, if any. Encoders may write that one
/// before they have chosen their tools; decoders take the stream's own.
pub(crate) fn is_setup_of(setup: &[u8], mut unit: &[u8]) -> bool {
    let units = std::iter::from_fn(|| next_unit(&mut unit));
    let own =
        units.take_while(|(kind, _)| *kind != kind::FRAME).find(|(kind, _)| *kind == kind::SEQUENCE_HEADER);
    let Some((_, payload)) = own else { return false };
    let Some(header) = Header::read(payload) else { return false };
    let [0x81, first, second, third, units @ ..] = setup else { return false };
    let mut units = units;
    let told = match next_unit(&mut units) {
        Some((kind::SEQUENCE_HEADER, told)) => Header::read(told).is_some_and(|told| told.shows_as(&header)),
        Some(_) => false,
        None => true,
    };
    told && units.is_empty() && header.setup() == [*first, *second & SETUP_KNOWN, third & SETUP_RESERVED]
}

/// Bits of the second byte of a set-up, and of the third, that a sequence header decides: the place of chroma samples is left out, and
/// so is the delay of the first picture.
const SETUP_KNOWN: u8 = 0xfc;
const SETUP_RESERVED: u8 = 0xe0;

/// Walks a stream, temporal unit by temporal unit. Of a strict stream each has one frame that is shown, its last. Tells of each as well
/// whether decoding may begin there: a sequence header, and a key frame that is shown.
pub(crate) fn walk<'a>(units: impl IntoIterator<Item = &'a [u8]>) -> (NalWalk, Vec<bool>) {
    let mut walker = Walker::default();
    let keys = units.into_iter().map(|unit| walker.temporal_unit(unit)).collect();
    (NalWalk { sequence_sets: walker.sequences.len(), ..walker.out }, keys)
}

#[derive(Default)]
struct Walker<'a> {
    out: NalWalk,
    sequences: Vec<&'a [u8]>,
    header: Option<Header>,
    /// A frame was there.
    begun: bool,
    /// Of the temporal unit at hand.
    stage: Stage,
    shown: u64,
    /// A sequence header was there.
    told: bool,
}

/// How far a temporal unit has come.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    /// Headers and messages may come.
    #[default]
    Headers,
    /// Frames that are not shown were there; more frames have to come.
    Frames,
    /// Its frame was there, and is shown.
    Shown,
}

impl<'a> Walker<'a> {
    fn temporal_unit(&mut self, mut bytes: &'a [u8]) -> bool {
        (self.stage, self.shown, self.told) = (Stage::Headers, 0, false);
        let keys = self.out.idr_pictures;
        while !bytes.is_empty() {
            let before = bytes.len();
            let Some((kind, payload)) = next_unit(&mut bytes) else {
                self.out.foreign_units += 1;
                break;
            };
            self.unit(kind, payload, (before - bytes.len()) as u64);
        }
        self.out.pictures += self.shown;
        self.out.uneven_units += u64::from(self.shown != 1 || self.stage != Stage::Shown);
        self.told && self.out.idr_pictures > keys
    }

    fn unit(&mut self, kind: u8, payload: &'a [u8], bytes: u64) {
        let allowed = match kind {
            kind::SEQUENCE_HEADER | kind::METADATA => self.stage == Stage::Headers,
            kind::FRAME | kind::FRAME_HEADER => matches!(self.stage, Stage::Headers | Stage::Frames),
            _ => true,
        };
        self.out.misplaced_units += u64::from(!allowed);
        match kind {
            kind::SEQUENCE_HEADER => self.sequence_header(payload),
            kind::METADATA => {
                self.out.foreign_messages += 1;
                self.out.message_bytes += bytes;
            }
            kind::FRAME => self.frame(payload, true),
            kind::FRAME_HEADER => self.frame(payload, false),
            // Tiles apart from their frame may be some of it only, and padding may be cut off where decoders do not agree.
            _ => self.out.foreign_units += 1,
        }
    }

    fn sequence_header(&mut self, payload: &'a [u8]) {
        self.told = true;
        if self.sequences.is_empty() {
            self.header = Header::read(payload);
            self.out.sequence = self.header.as_ref().map(|header| header.sequence.clone());
            self.out.ambiguous_sets += u64::from(self.header.as_ref().is_none_or(|header| header.ambiguous));
        }
        if !self.sequences.contains(&payload) && self.sequences.len() < MAX_DISTINCT {
            self.sequences.push(payload);
        }
    }

    fn frame(&mut self, payload: &[u8], with_tiles: bool) {
        let frame = self.header.as_ref().and_then(|header| FrameHeader::read(payload, header));
        // A frame comes with all of its tiles, and one that exists has none.
        let Some(frame) = frame.filter(|frame| frame.existing != with_tiles) else {
            self.out.orphaned_slices += 1;
            return;
        };
        if !std::mem::replace(&mut self.begun, true) {
            self.out.starts_with_idr = frame.key;
        }
        self.out.idr_pictures += u64::from(frame.key);
        self.out.orphaned_slices += u64::from(frame.resized);
        self.shown += u64::from(frame.shown);
        self.stage = if frame.shown { Stage::Shown } else { Stage::Frames };
    }
}

/// Sequence headers that are told apart before counting stops.
const MAX_DISTINCT: usize = 4;
