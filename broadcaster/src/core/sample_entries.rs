//! RFC 6381 codec strings of the sample entries of an MP4 file.

use super::mp4::{boxes, find, handler, tracks};

/// Bytes of a sample entry before its boxes (ISO/IEC 14496-12, 12.1.3 and 12.2.3).
const VISUAL: usize = 78;
const AUDIO: usize = 28;
/// Bytes of a decoder configuration before its specific part (ISO/IEC 14496-1, 7.2.6.6).
const DECODER_CONFIG: usize = 13;
/// A colour that the stream does not say (ISO/IEC 23091-2).
const UNSPECIFIED: u16 = 2;

/// The strings of the first video and the first audio track; empty when the video's cannot be told.
pub(super) fn codec_strings(segment: &[u8]) -> Vec<String> {
    let Some(video) = first(segment, b"vide", video_codec) else { return Vec::new() };
    std::iter::once(video).chain(first(segment, b"soun", audio_codec)).collect()
}

/// What `named` makes of type and content of the first sample entry that it knows, in a track of this kind.
fn first(segment: &[u8], kind: &[u8; 4], named: fn([u8; 4], &[u8]) -> Option<String>) -> Option<String> {
    tracks(segment).find_map(|track| {
        let media = find(track, b"mdia").filter(|media| handler(media) == Some(&kind[..]))?;
        let table = find(find(media, b"minf")?, b"stbl")?;
        let entry = boxes(find(table, b"stsd")?.get(8..)?).next()?;
        named(entry.kind, entry.payload)
    })
}

fn video_codec(kind: [u8; 4], entry: &[u8]) -> Option<String> {
    let parts = entry.get(VISUAL..)?;
    match &kind {
        b"av01" => av1(find(parts, b"av1C")?, find(parts, b"colr")),
        _ => None,
    }
}

/// `av01.P.LLT.DD`, with the optional fields where one of them is not what is meant without them (AV1 codec ISO media file format
/// binding, 2.3 and 5).
fn av1(configuration: &[u8], colour: Option<&[u8]>) -> Option<String> {
    let [_, level, depth, ..] = configuration else { return None };
    let (profile, tier) = (level >> 5, if depth & 0x80 != 0 { 'H' } else { 'M' });
    let bits = match (depth & 0x40 != 0, depth & 0x20 != 0) {
        (true, true) if profile == 2 => 12,
        (true, _) => 10,
        _ => 8,
    };
    let short = format!("av01.{profile}.{:02}{tier}.{bits:02}", level & 0x1f);
    let (mono, x, y, place) = (depth >> 4 & 1, depth >> 3 & 1, depth >> 2 & 1, depth & 3);
    let known = colour.and_then(coded_colour);
    let (primaries, transfer, matrix, full) = known.unwrap_or((1, 1, 1, 0));
    // Where the chroma samples lie says nothing of what it takes to decode them.
    if (mono, x, y) == (0, 1, 1) && (primaries, transfer, matrix, full) == (1, 1, 1, 0) {
        return Some(short);
    }
    Some(format!("{short}.{mono}.{x}{y}{place}.{primaries:02}.{transfer:02}.{matrix:02}.{full}"))
}

/// Primaries, transfer, matrix and full range of a `colr` box, where all are said.
fn coded_colour(colour: &[u8]) -> Option<(u16, u16, u16, u8)> {
    let [b'n', b'c', b'l', b'x', codes @ ..] = colour else { return None };
    let [p0, p1, t0, t1, m0, m1, range, ..] = *codes else { return None };
    let code = |high, low| Some(u16::from_be_bytes([high, low])).filter(|code| *code != UNSPECIFIED);
    Some((code(p0, p1)?, code(t0, t1)?, code(m0, m1)?, range >> 7))
}

fn audio_codec(kind: [u8; 4], entry: &[u8]) -> Option<String> {
    let name = match &kind {
        b"mp4a" => return mpeg4(find(entry.get(AUDIO..)?, b"esds")?),
        b"Opus" => "opus",
        b"ac-3" => "ac-3",
        b"ec-3" => "ec-3",
        b"fLaC" => "flac",
        b"alac" => "alac",
        _ => return None,
    };
    Some(name.to_owned())
}

/// `mp4a.40.N` from the object types of an elementary stream descriptor (ISO/IEC 14496-1, 7.2.6.5; 14496-3, 1.6.2.1).
fn mpeg4(descriptor: &[u8]) -> Option<String> {
    let stream = tagged(descriptor.get(4..)?, 3)?;
    let flags = *stream.get(2)?;
    let mut at = 3;
    if flags & 0x80 != 0 {
        at += 2;
    }
    if flags & 0x40 != 0 {
        at += 1 + usize::from(*stream.get(at)?);
    }
    if flags & 0x20 != 0 {
        at += 2;
    }
    let decoder = tagged(stream.get(at..)?, 4)?;
    match decoder.first()? {
        0x40 => {
            let [first, second, ..] = *tagged(decoder.get(DECODER_CONFIG..)?, 5)? else { return None };
            let object = match first >> 3 {
                31 => 32 + ((first & 7) << 3 | second >> 5),
                object => object,
            };
            Some(format!("mp4a.40.{object}"))
        }
        // MP3 by the name that transport streams have it under, which players look for.
        0x69 | 0x6b => Some("mp4a.40.34".to_owned()),
        object => Some(format!("mp4a.{object:02x}")),
    }
}

/// What a descriptor of this tag holds (ISO/IEC 14496-1, 8.3.3).
fn tagged(data: &[u8], tag: u8) -> Option<&[u8]> {
    let (_, mut rest) = data.split_first().filter(|(found, _)| **found == tag)?;
    let mut length = 0usize;
    for _ in 0..4 {
        let (byte, more) = rest.split_first()?;
        rest = more;
        length = length << 7 | usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            break;
        }
    }
    rest.get(..length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::mp4::tests::{make, track};
    use super::*;

    fn file(tracks: &[Vec<u8>]) -> Vec<u8> {
        [make(b"ftyp", &[b"iso5"]), make(b"moov", &[&tracks.concat()])].concat()
    }

    fn video(configuration: [u8; 3], colour: &[u8]) -> Vec<u8> {
        let entry = make(b"av01", &[&[0; VISUAL], &make(b"av1C", &[&configuration, &[0]]), colour]);
        track(1, b"vide", 90_000, &entry)
    }

    fn sound(kind: &[u8; 4], boxes: &[u8]) -> Vec<u8> {
        track(2, b"soun", 48_000, &make(kind, &[&[0; AUDIO], boxes]))
    }

    /// An `esds` as FFmpeg writes it, with lengths of four bytes.
    fn esds(object: u8, specific: &[u8]) -> Vec<u8> {
        let tag =
            |tag: u8, payload: &[u8]| [&[tag, 0x80, 0x80, 0x80, payload.len() as u8][..], payload].concat();
        let decoder = tag(4, &[&[object, 0x15][..], &[0; 11], &tag(5, specific)].concat());
        make(b"esds", &[&[0; 4], &tag(3, &[&[0, 2, 0][..], &decoder].concat())])
    }

    #[test]
    fn av1_is_named_with_profile_level_tier_and_depth() {
        let named = |configuration| codec_strings(&file(&[video(configuration, &[])]));
        assert_eq!(named([0x81, 0x05, 0x0c]), ["av01.0.05M.08"]);
        assert_eq!(named([0x81, 0x0d, 0xcd]), ["av01.0.13H.10"]);
        assert_eq!(named([0x81, 0x48, 0x60]), ["av01.2.08M.12.0.000.01.01.01.0"]);
    }

    #[test]
    fn another_colour_than_that_of_television_is_told() {
        let colour = |codes: [u8; 7]| make(b"colr", &[b"nclx", &codes]);
        let named = |codes| codec_strings(&file(&[video([0x81, 0x08, 0x4c], &colour(codes))]));
        assert_eq!(named([0, 9, 0, 16, 0, 9, 0]), ["av01.0.08M.10.0.110.09.16.09.0"]);
        assert_eq!(named([0, 1, 0, 1, 0, 1, 0]), ["av01.0.08M.10"]);
        assert_eq!(named([0, 2, 0, 2, 0, 2, 0]), ["av01.0.08M.10"]);
    }

    #[test]
    fn sound_is_named_by_its_sample_entry() {
        let named = |track: Vec<u8>| codec_strings(&file(&[track, video([0x81, 0, 0x0c], &[])]));
        let table = [
            (sound(b"mp4a", &esds(0x40, &[0x11, 0x90])), "mp4a.40.2"),
            (sound(b"mp4a", &esds(0x40, &[0x2b, 0x92])), "mp4a.40.5"),
            (sound(b"mp4a", &esds(0x40, &[0xf9, 0x46])), "mp4a.40.42"),
            (sound(b"mp4a", &esds(0x6b, &[])), "mp4a.40.34"),
            (sound(b"Opus", &[]), "opus"),
            (sound(b"ac-3", &[]), "ac-3"),
            (sound(b"ec-3", &[]), "ec-3"),
        ];
        for (track, name) in table {
            assert_eq!(named(track), ["av01.0.00M.08", name]);
        }
        assert_eq!(named(sound(b"none", &[])), ["av01.0.00M.08"]);
    }

    #[test]
    fn sound_without_a_known_video_is_not_named() {
        assert!(codec_strings(&file(&[sound(b"Opus", &[])])).is_empty());
    }

    proptest! {
        #[test]
        fn damaged_files_never_panic(at in 0usize..700, bytes in prop::collection::vec(any::<u8>(), 0..6)) {
            let mut file = file(&[video([0x81, 0, 0x0c], &[]), sound(b"mp4a", &esds(0x40, &[0x11, 0x90]))]);
            for (place, byte) in file.iter_mut().skip(at).zip(bytes) {
                *place = byte;
            }
            let _ = codec_strings(&file);
        }
    }
}
