//! Boxes of fragmented MP4 (ISO/IEC 14496-12), as far as publication looks into them. Any bytes may be asked about.

/// Ticks of the stream's clock in one second.
const TICKS_PER_SECOND: u128 = 90_000;

/// Whether the bytes begin as those of an MP4 file do.
pub fn is_mp4(segment: &[u8]) -> bool {
    segment.get(4..8) == Some(b"ftyp")
}

/// Bytes before the first fragment: the initialization section. `None` where there is no fragment, or nothing before it.
pub fn section_length(segment: &[u8]) -> Option<usize> {
    let fragment = boxes(segment).find(|found| &found.kind == b"moof")?;
    Some(fragment.at).filter(|at| *at > 0)
}

/// When the video begins, in ticks of 90 kHz: the decoding time of its first fragment, which is the presentation time of renditions.
pub fn video_start_90k(segment: &[u8]) -> Option<i64> {
    let (id, timescale) = video_track(segment)?;
    let fragment = find(segment, b"moof")?;
    let begun = boxes(fragment).filter(|found| &found.kind == b"traf").find_map(|run| {
        let header = find(run.payload, b"tfhd")?;
        (number(header, 4)? == id).then(|| decoding_time(run.payload)).flatten()
    })?;
    let ticks = u128::from(begun) * TICKS_PER_SECOND / u128::from(timescale.max(1));
    i64::try_from(ticks).ok()
}

/// Identifier and ticks per second of the first video track.
fn video_track(segment: &[u8]) -> Option<(u32, u32)> {
    tracks(segment).find_map(|track| {
        let media = find(track, b"mdia")?;
        if handler(media)? != b"vide" {
            return None;
        }
        let (track, media) = (find(track, b"tkhd")?, find(media, b"mdhd")?);
        Some((number(track, after_times(track))?, number(media, after_times(media))?))
    })
}

/// Where a header's fields stand behind its two times, which version 1 has with 64 bits.
fn after_times(header: &[u8]) -> usize {
    if header.first() == Some(&1) { 20 } else { 12 }
}

fn decoding_time(run: &[u8]) -> Option<u64> {
    let time = find(run, b"tfdt")?;
    match time.first()? {
        1 => Some(u64::from_be_bytes(*time.get(4..)?.first_chunk()?)),
        _ => number(time, 4).map(u64::from),
    }
}

/// What each track holds, in the file's order.
pub(super) fn tracks(segment: &[u8]) -> impl Iterator<Item = &[u8]> {
    let index = find(segment, b"moov").unwrap_or_default();
    boxes(index).filter(|found| &found.kind == b"trak").map(|found| found.payload)
}

/// The kind of media that a `mdia` is about.
pub(super) fn handler(media: &[u8]) -> Option<&[u8]> {
    find(media, b"hdlr")?.get(8..12)
}

/// What the first box of this type holds.
pub(super) fn find<'a>(data: &'a [u8], kind: &[u8; 4]) -> Option<&'a [u8]> {
    boxes(data).find(|found| &found.kind == kind).map(|found| found.payload)
}

/// Boxes one after the other, until one that is none.
pub(super) fn boxes(data: &[u8]) -> Boxes<'_> {
    Boxes { data, at: 0 }
}

/// A box without its header.
pub(super) struct Found<'a> {
    pub(super) kind: [u8; 4],
    pub(super) payload: &'a [u8],
    /// Where its header begins.
    at: usize,
}

pub(super) struct Boxes<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Boxes<'a> {
    type Item = Found<'a>;

    fn next(&mut self) -> Option<Found<'a>> {
        let (at, rest) = (self.at, self.data.get(self.at..)?);
        let kind = *rest.get(4..8)?.first_chunk()?;
        let (header, size) = match number(rest, 0)? {
            // It goes on to the end.
            0 => (8, rest.len()),
            1 => (16, usize::try_from(u64::from_be_bytes(*rest.get(8..16)?.first_chunk()?)).ok()?),
            size => (8, usize::try_from(size).ok()?),
        };
        let payload = rest.get(header..size)?;
        self.at = at + size;
        Some(Found { kind, payload, at })
    }
}

pub(super) fn number(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*data.get(at..)?.first_chunk()?))
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A box of this type around its parts.
    pub(crate) fn make(kind: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
        let payload = parts.concat();
        [&(payload.len() as u32 + 8).to_be_bytes()[..], kind, &payload].concat()
    }

    /// The index of a file with one track of this handler and sample entry.
    pub(crate) fn track(id: u32, handler: &[u8; 4], timescale: u32, entry: &[u8]) -> Vec<u8> {
        let header = make(b"tkhd", &[&[0; 12], &id.to_be_bytes()]);
        let times = make(b"mdhd", &[&[0; 12], &timescale.to_be_bytes()]);
        let kind = make(b"hdlr", &[&[0; 8], handler]);
        let table = make(b"stbl", &[&make(b"stsd", &[&[0, 0, 0, 0, 0, 0, 0, 1], entry])]);
        make(b"trak", &[&header, &make(b"mdia", &[&times, &kind, &make(b"minf", &[&table])])])
    }

    /// A fragment of one track that begins at this time.
    pub(crate) fn fragment(id: u32, time: u64) -> Vec<u8> {
        let header = make(b"tfhd", &[&[0; 4], &id.to_be_bytes()]);
        let begun = make(b"tfdt", &[&[1, 0, 0, 0], &time.to_be_bytes()]);
        [make(b"moof", &[&make(b"traf", &[&header, &begun])]), make(b"mdat", &[b"media"])].concat()
    }

    fn file(time: u64) -> Vec<u8> {
        let index = [track(1, b"soun", 48_000, &[]), track(2, b"vide", 90_000, &[])].concat();
        let fragments = [fragment(1, 7), fragment(2, time)].concat();
        [make(b"ftyp", &[b"iso5"]), make(b"moov", &[&index]), fragments].concat()
    }

    #[test]
    fn the_section_ends_where_the_first_fragment_begins() {
        let file = file(0);
        let length = section_length(&file).unwrap();
        assert_eq!(&file[length + 4..length + 8], b"moof");
        assert!(is_mp4(&file));
        assert_eq!(section_length(&file[..length]), None, "no fragment follows");
        assert_eq!(section_length(&file[length..]), None, "nothing stands before it");
    }

    #[test]
    fn the_start_is_that_of_the_video() {
        let mut file = [make(b"ftyp", &[]), make(b"moov", &[&track(2, b"vide", 30_000, &[])])].concat();
        assert_eq!(video_start_90k(&file), None);
        file.extend(fragment(2, (1 << 33) + 10));
        assert_eq!(video_start_90k(&file), Some(3 * ((1 << 33) + 10)));
    }

    #[test]
    fn a_long_box_and_one_up_to_the_end_are_boxes() {
        let long =
            [&[0, 0, 0, 1][..], b"free", &20u64.to_be_bytes(), b"rest", &[0; 4], b"mdat", b"all"].concat();
        let kinds: Vec<_> = boxes(&long).map(|found| (found.kind, found.payload.len())).collect();
        assert_eq!(kinds, [(*b"free", 4), (*b"mdat", 3)]);
    }

    proptest! {
        #[test]
        fn damaged_files_never_panic(time: u64, cut in 0usize..400, at in 0usize..400, byte: u8) {
            let mut file = file(time);
            if let Some(damaged) = file.get_mut(at) {
                *damaged = byte;
            }
            file.truncate(cut);
            let _ = (section_length(&file), video_start_90k(&file));
        }
    }
}
