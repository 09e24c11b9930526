//! A fragmented MP4 taken apart into boxes and samples, to be put together again with a lie in it.

use std::ops::Range;

/// Boxes whose content is boxes.
const NODES: [&[u8; 4]; 9] =
    [b"moov", b"trak", b"mdia", b"minf", b"stbl", b"dinf", b"mvex", b"moof", b"traf"];
/// `sample_is_non_sync_sample` and `sample_depends_on`.
const NO_SYNC: u32 = 0x0101_0000;

/// A box.
#[derive(Clone)]
pub(crate) struct Mp4Box {
    pub(crate) kind: [u8; 4],
    pub(crate) content: Vec<u8>,
    pub(crate) boxes: Vec<Mp4Box>,
}

impl Mp4Box {
    pub(crate) fn leaf(kind: &[u8; 4], content: &[u8]) -> Self {
        Self { kind: *kind, content: content.to_vec(), boxes: Vec::new() }
    }

    fn read_all(mut bytes: &[u8]) -> Vec<Self> {
        let mut boxes = Vec::new();
        while let Some((head, _)) = bytes.split_first_chunk::<8>() {
            let length = u32::from_be_bytes(head[..4].try_into().expect("four bytes")) as usize;
            let kind: [u8; 4] = head[4..].try_into().expect("four bytes");
            let content = &bytes[8..length];
            boxes.push(match NODES.contains(&&kind) {
                true => Self { kind, content: Vec::new(), boxes: Self::read_all(content) },
                false => Self::leaf(&kind, content),
            });
            bytes = &bytes[length..];
        }
        boxes
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let content = [self.content.clone(), self.boxes.iter().flat_map(Self::write).collect()].concat();
        let length = u32::try_from(content.len() + 8).expect("a short box");
        [&length.to_be_bytes()[..], &self.kind, &content].concat()
    }

    /// The box at a path of kinds, of each the first, or the second where a `2` follows.
    pub(crate) fn at(&mut self, path: &str) -> &mut Self {
        path.split('/').fold(self, |parent, step| {
            let (kind, skip) = step.strip_suffix('2').map_or((step, 0), |kind| (kind, 1));
            let mut all = parent.boxes.iter_mut().filter(|child| child.kind == kind.as_bytes());
            all.nth(skip).expect("a box at the path")
        })
    }
}

/// A sample.
#[derive(Clone)]
pub(crate) struct Mp4Sample {
    pub(crate) duration: u32,
    pub(crate) shift: u32,
    pub(crate) sync: bool,
    pub(crate) data: Vec<u8>,
}

/// A track of the fragments.
#[derive(Clone)]
pub(crate) struct Mp4Track {
    pub(crate) id: u32,
    pub(crate) start: u64,
    pub(crate) samples: Vec<Mp4Sample>,
}

/// A segment: its head, and the samples of all of its fragments.
#[derive(Clone)]
pub(crate) struct Mp4Parts {
    pub(crate) head: Vec<Mp4Box>,
    pub(crate) tracks: Vec<Mp4Track>,
}

impl Mp4Parts {
    /// Takes apart what our muxer has written.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut parts = Self { head: Vec::new(), tracks: Vec::new() };
        let mut offset = 0;
        for mut each in Mp4Box::read_all(bytes) {
            let length = each.write().len();
            match &each.kind {
                b"moof" => each.boxes.iter_mut().skip(1).for_each(|traf| parts.take(traf, bytes, offset)),
                b"mdat" => {}
                _ => parts.head.push(each),
            }
            offset += length;
        }
        parts
    }

    fn take(&mut self, traf: &mut Mp4Box, bytes: &[u8], offset: usize) {
        let header = words(&traf.at("tfhd").content);
        let (id, mut defaults) = (header[1], header[2..].iter().copied());
        let flags = header[0] & 0xff_ffff;
        let mut default = |flag: u32| if flags & flag != 0 { defaults.next() } else { None };
        let (duration, size, own) = (default(8), default(16), default(32));
        let time = words(&traf.at("tfdt").content);
        let start =
            if time[0] >> 24 == 1 { u64::from(time[1]) << 32 | u64::from(time[2]) } else { time[1].into() };
        let known = self.tracks.iter().position(|track| track.id == id);
        let index = known.unwrap_or_else(|| {
            self.tracks.push(Mp4Track { id, start, samples: Vec::new() });
            self.tracks.len() - 1
        });
        let run = words(&traf.at("trun").content);
        let (flags, count) = (run[0] & 0xff_ffff, run[1]);
        let mut place = offset + run[2] as usize;
        let mut rest = run[3..].iter().copied();
        let first = if flags & 4 != 0 { rest.next() } else { None };
        for number in 0..count {
            let mut column = |flag: u32, default: Option<u32>| match flags & flag {
                0 => default,
                _ => rest.next(),
            };
            let (duration, size) = (column(0x100, duration), column(0x200, size));
            let (own, shift) = (column(0x400, own), column(0x800, Some(0)));
            let flags = if number == 0 { first.or(own) } else { own };
            let end = place + size.expect("a size") as usize;
            self.tracks[index].samples.push(Mp4Sample {
                duration: duration.expect("a duration"),
                shift: shift.unwrap_or(0),
                sync: flags.expect("flags") & 0x1_0000 == 0,
                data: bytes[place..end].to_vec(),
            });
            place = end;
        }
    }

    pub(crate) fn video(&mut self) -> &mut Mp4Track {
        &mut self.tracks[0]
    }

    pub(crate) fn moov(&mut self) -> &mut Mp4Box {
        self.head.iter_mut().find(|each| &each.kind == b"moov").expect("a movie")
    }

    /// The sample description of the video.
    pub(crate) fn entry(&mut self) -> &mut Vec<u8> {
        &mut self.moov().at("trak/mdia/minf/stbl/stsd").content
    }

    /// Adds a box to the sample description of the video.
    pub(crate) fn describe(&mut self, kind: &[u8; 4], content: &[u8]) {
        let added = Mp4Box::leaf(kind, content).write();
        let entry = self.entry();
        entry.extend(&added);
        let length = u32::try_from(entry.len() - 8).expect("a short box");
        entry[8..12].copy_from_slice(&length.to_be_bytes());
    }

    /// Puts everything together, in one fragment.
    pub(crate) fn write(&self) -> Vec<u8> {
        let head: Vec<u8> = self.head.iter().flat_map(Mp4Box::write).collect();
        [head, self.fragment().0, self.data()].concat()
    }

    /// The box before the data, and where in it each track's distance to its data stands.
    pub(crate) fn fragment(&self) -> (Vec<u8>, Vec<Range<usize>>) {
        let mut moof = Mp4Box { kind: *b"moof", content: Vec::new(), boxes: Vec::new() };
        moof.boxes.push(Mp4Box::leaf(b"mfhd", &[0, 0, 0, 0, 0, 0, 0, 1]));
        moof.boxes.extend(self.tracks.iter().map(Mp4Track::fragment));
        let mut bytes = moof.write();
        let mut place = bytes.len() + 8;
        let mut fields = Vec::new();
        let mut from = 0;
        for track in &self.tracks {
            let at = from + bytes[from..].windows(4).position(|kind| kind == b"trun").expect("a run");
            let field = at + 12..at + 16;
            bytes[field.clone()]
                .copy_from_slice(&u32::try_from(place).expect("a short segment").to_be_bytes());
            fields.push(field.clone());
            place += track.samples.iter().map(|sample| sample.data.len()).sum::<usize>();
            from = field.end;
        }
        (bytes, fields)
    }

    pub(crate) fn data(&self) -> Vec<u8> {
        let samples = self.tracks.iter().flat_map(|track| &track.samples);
        Mp4Box::leaf(b"mdat", &samples.flat_map(|sample| sample.data.clone()).collect::<Vec<_>>()).write()
    }
}

impl Mp4Track {
    fn fragment(&self) -> Mp4Box {
        let header = [&0x02_0000_u32.to_be_bytes()[..], &self.id.to_be_bytes()].concat();
        let time = [&[1, 0, 0, 0][..], &self.start.to_be_bytes()].concat();
        let count = u32::try_from(self.samples.len()).expect("a short run");
        let mut run = vec![0x0000_0f01, count, 0];
        for sample in &self.samples {
            let size = u32::try_from(sample.data.len()).expect("a short sample");
            run.extend([sample.duration, size, if sample.sync { 0 } else { NO_SYNC }, sample.shift]);
        }
        let run: Vec<u8> = run.into_iter().flat_map(u32::to_be_bytes).collect();
        let boxes = [(b"tfhd", header), (b"tfdt", time), (b"trun", run)];
        let boxes = boxes.map(|(kind, content)| Mp4Box::leaf(kind, &content)).to_vec();
        Mp4Box { kind: *b"traf", content: Vec::new(), boxes }
    }
}

fn words(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks(4).map(|word| u32::from_be_bytes(word.try_into().expect("whole words"))).collect()
}
