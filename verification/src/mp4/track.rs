//! The movie box: which tracks there are, and how their samples are decoded.

use super::fields::{Boxes, Fields, Kind, Parsed};
use crate::sequence::Color;

/// The matrix that neither turns nor moves the picture (ISO/IEC 14496-12, 6.2.2).
const UPRIGHT: [u8; 36] = [
    0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0,
    0, 0,
];
/// User data in which there is none: a list of metadata without entries, as muxers write it that have nothing to say.
const NO_USER_DATA: &[u8] =
    b"\0\0\0\x35meta\0\0\0\0\0\0\0\x21hdlr\0\0\0\0\0\0\0\0mdirappl\0\0\0\0\0\0\0\0\0\0\0\0\x08ilst";
/// Most tracks: one video and its sound, with room to spare.
const MAX_TRACKS: usize = 32;
/// Longest name of a handler, or of a compressor.
const MAX_NAME: usize = 64;
/// Flag of a track that is shown or heard.
const ENABLED: u32 = 1;
/// Why a sample entry with other fields than usual is none that players agree on.
const PLAIN_ENTRY: &str = "a sample entry has fields that are not plain";
/// Boxes of sound that say how it is decoded.
const SOUND_SETUPS: [&Kind; 4] = [b"esds", b"dOps", b"dac3", b"dec3"];

/// A track and how its samples are decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Track {
    pub(crate) id: u32,
    /// Whether it is shown or heard unless another is chosen; videos are.
    pub(crate) enabled: bool,
    /// Units of its times in a second.
    pub(crate) timescale: u32,
    pub(crate) format: Format,
}

/// What the samples of a track are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// AV1.
    Video(VideoFormat),
    /// Sound of any codec.
    Sound(SoundFormat),
}

/// How pictures are decoded and shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VideoFormat {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Shape of a pixel.
    pub(crate) aspect: (u32, u32),
    pub(crate) color: Option<Color>,
    /// The content of the box that says how AV1 is decoded (AV1 codec ISO media file format binding, 2.3.3).
    pub(crate) setup: Vec<u8>,
}

/// How sound is decoded: equal formats and equal samples are heard alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SoundFormat {
    kind: Kind,
    channels: u16,
    rate: u32,
    setup: Vec<u8>,
}

/// Values of samples where fragments name none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Defaults {
    pub(super) track: u32,
    pub(super) duration: u32,
    pub(super) size: u32,
    pub(super) flags: u32,
}

/// Reads a movie box without samples of its own.
pub(super) fn movie(bytes: &[u8]) -> Parsed<(Vec<Track>, Vec<Defaults>)> {
    let boxes = Boxes::read(bytes, &[b"mvhd", b"trak", b"mvex", b"udta"])?;
    movie_header(boxes.one(b"mvhd")?)?;
    if boxes.maybe(b"udta")?.is_some_and(|content| content != NO_USER_DATA) {
        return Err("a movie carries data of its user");
    }
    let tracks: Vec<Track> = boxes.all(b"trak").map(track).collect::<Parsed<_>>()?;
    if tracks.is_empty() || tracks.len() > MAX_TRACKS {
        return Err("a movie has no track or too many");
    }
    let extends = Boxes::read(boxes.one(b"mvex")?, &[b"trex"])?;
    let defaults: Vec<Defaults> = extends.all(b"trex").map(defaults).collect::<Parsed<_>>()?;
    let ids = tracks.iter().map(|track| track.id);
    if !ids.eq(defaults.iter().map(|defaults| defaults.track)) {
        return Err("the tracks of fragments are not those of the movie");
    }
    let twice = |(at, track): (usize, &Track)| tracks[..at].iter().any(|before| before.id == track.id);
    if tracks.iter().enumerate().any(twice) {
        return Err("two tracks share an identifier");
    }
    Ok((tracks, defaults))
}

fn movie_header(bytes: &[u8]) -> Parsed<()> {
    let mut fields = Fields(bytes);
    let (version, _) = fields.version()?;
    fields.sized(version)?;
    fields.sized(version)?;
    if fields.u32()? == 0 {
        return Err("a movie has no timescale");
    }
    unknown_duration(&mut fields, version)?;
    fields.expect(&[0, 1, 0, 0], "a movie does not run at its own speed")?;
    fields.take(2 + 10)?;
    fields.expect(&UPRIGHT, "a movie is turned or moved")?;
    fields.take(24 + 4)?;
    fields.end()
}

/// What fragments hold is not counted in the movie: to some players it would be a length.
fn unknown_duration(fields: &mut Fields<'_>, version: u8) -> Parsed<()> {
    if fields.sized(version)? == 0 { Ok(()) } else { Err("a movie says how long it is") }
}

fn defaults(bytes: &[u8]) -> Parsed<Defaults> {
    let mut fields = Fields(bytes);
    fields.version()?;
    let track = fields.u32()?;
    if fields.u32()? != 1 {
        return Err("samples have another description than the first");
    }
    let defaults = Defaults { track, duration: fields.u32()?, size: fields.u32()?, flags: fields.u32()? };
    fields.end()?;
    Ok(defaults)
}

fn track(bytes: &[u8]) -> Parsed<Track> {
    // Without edit lists: what is shown, and when, is what the samples say.
    let boxes = Boxes::read(bytes, &[b"tkhd", b"mdia"])?;
    let TrackHeader { id, enabled, size } = track_header(boxes.one(b"tkhd")?)?;
    let media = Boxes::read(boxes.one(b"mdia")?, &[b"mdhd", b"hdlr", b"minf"])?;
    let timescale = media_header(media.one(b"mdhd")?)?;
    let format = match &handler(media.one(b"hdlr")?)? {
        b"vide" if !enabled => return Err("a video is not enabled"),
        b"vide" => Format::Video(video(media.one(b"minf")?, size)?),
        b"soun" => Format::Sound(sound(media.one(b"minf")?)?),
        _ => return Err("a track is neither video nor sound"),
    };
    Ok(Track { id, enabled, timescale, format })
}

struct TrackHeader {
    id: u32,
    enabled: bool,
    /// In which it is shown, in 65536ths of a pixel.
    size: (u32, u32),
}

fn track_header(bytes: &[u8]) -> Parsed<TrackHeader> {
    let mut fields = Fields(bytes);
    let (version, flags) = fields.version()?;
    fields.sized(version)?;
    fields.sized(version)?;
    let id = fields.u32()?;
    fields.take(4)?;
    unknown_duration(&mut fields, version)?;
    // Reserved, layer, group, volume.
    fields.take(8 + 2 + 2 + 2 + 2)?;
    fields.expect(&UPRIGHT, "a track is turned or moved")?;
    let size = (fields.u32()?, fields.u32()?);
    fields.end()?;
    if id == 0 {
        Err("a track has no identifier")
    } else {
        Ok(TrackHeader { id, enabled: flags & ENABLED != 0, size })
    }
}

fn media_header(bytes: &[u8]) -> Parsed<u32> {
    let mut fields = Fields(bytes);
    let (version, _) = fields.version()?;
    fields.sized(version)?;
    fields.sized(version)?;
    let timescale = fields.u32()?;
    unknown_duration(&mut fields, version)?;
    fields.take(4)?;
    fields.end()?;
    // Some players read it with a sign.
    if timescale == 0 || timescale > i32::MAX.cast_unsigned() {
        Err("a track has no timescale")
    } else {
        Ok(timescale)
    }
}

fn handler(bytes: &[u8]) -> Parsed<Kind> {
    let mut fields = Fields(bytes);
    fields.take(4 + 4)?;
    let kind = fields.take(4)?;
    fields.take(12)?;
    if fields.0.len() > MAX_NAME {
        return Err("a handler has too long a name");
    }
    Ok(kind.try_into().expect("four bytes were taken"))
}

/// The one sample entry of a track whose samples lie in fragments and in this file.
fn entry<'a>(information: &'a [u8], (header, plain): (&Kind, &[u8])) -> Parsed<(Kind, Fields<'a>)> {
    let boxes = Boxes::read(information, &[header, b"dinf", b"stbl"])?;
    if boxes.one(header)? != plain {
        return Err("pictures are mixed, or sound is not in the middle");
    }
    let references = Boxes::read(boxes.one(b"dinf")?, &[b"dref"])?;
    // One reference, to this file.
    let here = [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 12, b'u', b'r', b'l', b' ', 0, 0, 0, 1];
    if references.one(b"dref")? != here {
        return Err("samples lie in another file");
    }
    let table = Boxes::read(boxes.one(b"stbl")?, &[b"stsd", b"stts", b"sdtp", b"stsc", b"stsz", b"stco"])?;
    if table.maybe(b"sdtp")?.is_some_and(|content| content != [0; 4]) {
        return Err("a movie has samples outside of fragments");
    }
    for (kind, bytes) in [(b"stts", 8), (b"stsc", 8), (b"stsz", 12), (b"stco", 8)] {
        let content = table.one(kind)?;
        if content.len() != bytes || content.iter().any(|&byte| byte != 0) {
            return Err("a movie has samples outside of fragments");
        }
    }
    let mut fields = Fields(table.one(b"stsd")?);
    fields.expect(&[0, 0, 0, 0, 0, 0, 0, 1], "a track has not one sample description")?;
    let (kind, content, rest) = super::fields::first(fields.0)?;
    Fields(rest).end()?;
    let mut content = Fields(content);
    content.expect(&[0, 0, 0, 0, 0, 0, 0, 1], "samples lie in another file")?;
    Ok((kind, content))
}

fn video(information: &[u8], shown: (u32, u32)) -> Parsed<VideoFormat> {
    let (kind, mut fields) = entry(information, (b"vmhd", &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]))?;
    if &kind != b"av01" {
        return Err("video is not av1");
    }
    fields.expect(&[0; 16], PLAIN_ENTRY)?;
    let (width, height) = (u32::from(fields.u16()?), u32::from(fields.u16()?));
    // Resolution, reserved, and one frame in each sample.
    fields.take(8 + 4)?;
    fields.expect(&[0, 1], "a sample has more than one frame")?;
    fields.take(32)?;
    fields.expect(&[0, 0x18, 0xff, 0xff], PLAIN_ENTRY)?;
    let boxes = Boxes::read(fields.0, &[b"av1C", b"colr", b"pasp", b"btrt", b"fiel"])?;
    boxes.maybe(b"btrt")?;
    if boxes.maybe(b"fiel")?.is_some_and(|fields| fields != [1, 0]) {
        return Err("pictures are fields");
    }
    let aspect = boxes.maybe(b"pasp")?.map(aspect).transpose()?.unwrap_or((1, 1));
    let color = boxes.maybe(b"colr")?.map(color).transpose()?;
    if !is_shown_whole((width, height), aspect, shown) {
        return Err("a track is shown in another size than its pictures have");
    }
    Ok(VideoFormat { width, height, aspect, color, setup: boxes.one(b"av1C")?.to_vec() })
}

fn aspect(bytes: &[u8]) -> Parsed<(u32, u32)> {
    let mut fields = Fields(bytes);
    let aspect = (fields.u32()?, fields.u32()?);
    fields.end()?;
    let sides = 1..=u32::from(u16::MAX);
    if sides.contains(&aspect.0) && sides.contains(&aspect.1) {
        Ok(aspect)
    } else {
        Err("a pixel has no shape")
    }
}

fn color(bytes: &[u8]) -> Parsed<Color> {
    let mut fields = Fields(bytes);
    fields.expect(b"nclx", "colour is told in a way that is not known")?;
    let [primaries, transfer, matrix] = [fields.u16()?, fields.u16()?, fields.u16()?].map(u32::from);
    let full_range = fields.u8()? & 0x80 != 0;
    fields.end()?;
    Ok(Color { full_range, primaries, transfer, matrix })
}

/// Whether a size in 65536ths of a pixel is that of the pictures within a pixel: as they are coded, or with one side stretched to
/// the shape of their pixels.
fn is_shown_whole((width, height): (u32, u32), (num, den): (u32, u32), shown: (u32, u32)) -> bool {
    const PIXEL: u64 = 1 << 16;
    let close = |shown: u32, wanted: u64| u64::from(shown).abs_diff(wanted.saturating_mul(PIXEL)) <= PIXEL;
    let (wide, high) = (u64::from(width), u64::from(height));
    let stretched = |side: u64, num: u32, den: u32| side * u64::from(num) / u64::from(den);
    let coded = close(shown.0, wide) && close(shown.1, high);
    coded
        || close(shown.0, stretched(wide, num, den)) && close(shown.1, high)
        || close(shown.0, wide) && close(shown.1, stretched(high, den, num))
}

fn sound(information: &[u8]) -> Parsed<SoundFormat> {
    let (kind, mut fields) = entry(information, (b"smhd", &[0; 8]))?;
    // A version other than zero would have more fields.
    fields.expect(&[0; 8], PLAIN_ENTRY)?;
    let channels = fields.u16()?;
    fields.expect(&[0, 16, 0, 0, 0, 0], PLAIN_ENTRY)?;
    let rate = fields.u32()?;
    let boxes = Boxes::read(fields.0, &[b"esds", b"dOps", b"dac3", b"dec3", b"btrt"])?;
    boxes.maybe(b"btrt")?;
    let mut setups =
        SOUND_SETUPS.iter().filter_map(|kind| boxes.maybe(kind).transpose().map(|setup| (*kind, setup)));
    let (Some((setup, content)), None) = (setups.next(), setups.next()) else {
        return Err("sound is told to be decoded in no way or in several");
    };
    let content = content?;
    let setup = if setup == b"esds" { decoder_of(content)? } else { content.to_vec() };
    Ok(SoundFormat { kind, channels, rate, setup })
}

/// Object type and set-up of the decoder that an elementary stream descriptor names (ISO/IEC 14496-1, 7.2.6), without the bit rates
/// beside them.
fn decoder_of(bytes: &[u8]) -> Parsed<Vec<u8>> {
    const STREAM: u8 = 3;
    const DECODER: u8 = 4;
    const SETUP: u8 = 5;
    const PACKETS: u8 = 6;
    const SOUND_STREAM: u8 = 0x15;
    let mut fields = Fields(bytes);
    fields.version()?;
    let mut stream = descriptor(&mut fields, STREAM)?;
    fields.end()?;
    stream.take(2)?;
    if stream.u8()? & 0xe0 != 0 {
        return Err("sound depends on another stream");
    }
    let mut decoder = descriptor(&mut stream, DECODER)?;
    let mut setup = vec![decoder.u8()?];
    if decoder.u8()? != SOUND_STREAM {
        return Err("a decoder of sound is for something else");
    }
    decoder.take(3 + 4 + 4)?;
    if !decoder.0.is_empty() {
        setup.extend_from_slice(descriptor(&mut decoder, SETUP)?.0);
    }
    decoder.end()?;
    // Packets are as the container has them.
    if descriptor(&mut stream, PACKETS)?.0 != [2] {
        return Err("packets of sound are not as the container has them");
    }
    stream.end()?;
    Ok(setup)
}

fn descriptor<'a>(fields: &mut Fields<'a>, wanted: u8) -> Parsed<Fields<'a>> {
    const MAX_LENGTH_BYTES: usize = 4;
    if fields.u8()? != wanted {
        return Err("a descriptor is missing");
    }
    let mut length = 0;
    for _ in 0..MAX_LENGTH_BYTES {
        let byte = fields.u8()?;
        length = length << 7 | usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return fields.take(length).map(Fields);
        }
    }
    Err("a descriptor has no length")
}
